"""ARD-VAE: prior variances that follow the encoded data, and the relevance of a latent that remains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.gaussians import drawn_from, gaussian_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver, opened

BLOCK_VALUES = 2**20  # entries of Jacobians held at a time


@final
class ARDVAEModule(VariationalModule):
    """The Gaussian autoencoder with the prior N(0, diag v), v a running estimate and not a parameter."""

    beta: Tensor
    prior: Tensor
    power: Tensor

    def __init__(self, spec: ARDVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.refresh = int(spec.refresh)
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))
        self.register_buffer("prior", torch.ones(spec.width))
        self.register_buffer("power", torch.zeros(spec.width))  # sum over batches since the last refresh

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        if step.index and step.index % self.refresh == 0:
            self.prior.copy_(self.power / self.refresh)
            self.power.zero_()
        mean, log_variance = self.posterior(x)
        with torch.no_grad():
            self.power += (mean.square() + log_variance.exp()).mean(-2)
        reconstruction = self.decode(drawn_from(mean, log_variance, step))
        divergence = gaussian_kl(mean, log_variance, 0.0, self.prior.log().unsqueeze(-2))
        return {"reconstruction": self.surprise(x, reconstruction), "kl": self.beta * divergence}


@final
@dataclass(frozen=True)
class ARDVAE(VariationalSolver):
    """Learns as `GaussianVAE` with the prior N(0, diag v), v_j the mean square of latent j in the encoded data.

    The loss is -ln p(x|z) + beta * KL(N(mu, s^2) || N(0, v)). v = E z^2 = E (mu^2 + s^2) is taken over the batches
    since it was last renewed and held constant in between: with the paper's prior z ~ N(0, 1/alpha), alpha ~ Gamma, it
    is what the data make of a flat hyperprior. The scale of a latent is then free: a linear model has the optimum of
    `GaussianVAE` in other units, and what tells latents apart is not v but the `relevance` of v for the output.

    Parameters
    ----------
    beta : weight of the divergence (0.05 to 0.5 in released code).
    refresh : steps between two renewals of v, which starts at one. The default is 10 000 samples in batches of 256; the
        paper renews v once an epoch.
        The others are those of `VariationalSolver`.

    References
    ----------
    Saha, Joshi, Whitaker (2025), "ARD-VAE: a statistical formulation to find the relevant latent dimensions of
    variational autoencoders", arXiv 2501.10901.
    """

    beta: float = 0.5
    refresh: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("beta", self.beta, 0.0)
        check_int("refresh", self.refresh, 1)

    def module(self, dim: int, rng: Rng) -> ARDVAEModule:
        return ARDVAEModule(self, dim, rng)


def relevance(fitted: FittedDictionary, x: FloatArray) -> FloatArray:
    """Return v_j sum_i (E |dx_i / dz_j|)^2 of each latent over samples ``x (n, d)``, ``(p,)``.

    v_j = E (mu_j^2 + s_j^2), the derivative is taken at the means, and both are in the scale E||x - mean||^2 = d. Of a
    linear decoder it is v_j times the squared norm of the atom: the variance that the latent brings to the output.

    Raises
    ------
    TypeError, ValueError
        If ``fitted`` was not learned by an autoencoder with diagonal posteriors, or ``x`` has no rows.
    """
    module, inside, _ = opened(fitted, x, "ARDVAE, GaussianVAE or a kin model of diagonal posteriors")
    if module.gated:
        raise TypeError("fitted must be a fit whose decoder hears all of a latent; that of VAEase hears (1 - s) z.")
    if type(module).decode is not VariationalModule.decode:
        raise TypeError(f"fitted must be a fit whose decoder is that of ARDVAE; {type(module).__name__} has another.")
    if not len(inside):
        raise ValueError("x must have at least one row; got none.")
    slope, power = torch.zeros(fitted.width, fitted.dim).double(), torch.zeros(fitted.width).double()
    size = max(1, BLOCK_VALUES // (fitted.width * fitted.dim))
    with torch.no_grad():
        for start in range(0, len(inside), size):
            block = inside[start : start + size]
            mean, log_variance = module.posterior(block)
            power += (mean.square() + log_variance.exp()).double().sum(0)
            slope += module.jacobian(mean).abs().double().sum(0)
    n = len(inside)
    found: FloatArray = (power / n * (slope / n).square().sum(1)).numpy()
    return found


def relevant(relevances: FloatArray, share: float = 0.99) -> IntArray:
    """Return the fewest latents whose relevances add up to at least ``share`` of the whole, most relevant first.

    Raises
    ------
    ValueError
        If ``relevances (p,)`` are not finite and non-negative with a positive sum, or ``share`` is not in (0, 1].
    """
    values = np.asarray(relevances, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or values.min(initial=0.0) < 0 or not values.sum() > 0:
        raise ValueError(f"relevances must be a vector of non-negative numbers, not all zero; got {relevances!r:.200}.")
    check_real("share", share, 0.0, 1.0, open_low=True)
    order: IntArray = np.argsort(-values, kind="stable")
    reached = np.cumsum(values[order]) / values.sum()
    count = int(np.searchsorted(reached, share - 1e-12)) + 1
    return order[:count]
