"""A variational autoencoder of two levels: latents of samples, and latents of those latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.gaussians import deviation_of, drawn_from, standard_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import affine, drawn, unit_normal
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver, opened


@final
class TwoLevelModule(VariationalModule):
    """p(z2) = N(0, I), p(z1|z2) = N(z2 T + t, tau^2 I), p(x|z1); q(z1|x), q(z2|z1) = N(z1 V + v, diag s2)."""

    weights: Tensor
    lower_log_variance: Tensor

    def __init__(self, spec: TwoLevelVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng, spread=0 if spec.lower_variance is not None else None)
        p, upper = spec.width, spec.width if spec.upper_width is None else spec.upper_width
        self.prior_variance = float(spec.prior_variance)
        top = unit_normal(upper, p, rng)
        self.top = drawn(top)
        self.top_bias = drawn(np.zeros(p))
        self.up = drawn(0.5 * min(1.0, p / upper) * top.T)
        self.up_bias = drawn(np.zeros(upper))
        spread = torch.full((upper,), math.log(spec.upper_variance or 1.0))
        if spec.upper_variance is None:
            self.up_log_variance: Tensor = nn.Parameter(spread)
        else:
            self.register_buffer("up_log_variance", spread)
        self.register_buffer("lower_log_variance", torch.tensor(math.log(spec.lower_variance or 1.0)))
        self.register_buffer("weights", torch.tensor(spec.beta, dtype=torch.float32))

    def lower(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of z1 given x, ``(..., B, p)`` each."""
        mean, spread = self.outputs(x)
        return mean, spread if self.spread else self.lower_log_variance[..., None, None].expand_as(mean)

    def upper(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of z2 given z1, ``(..., B, p2)`` each."""
        mean = affine(z, self.up, self.up_bias)
        return mean, self.up_log_variance.unsqueeze(-2).expand_as(mean)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance = self.lower(x)
        z = drawn_from(mean, log_variance, step)
        above, above_log_variance = self.upper(z)
        # z2 is integrated out: E ||z1 - z2 T - t||^2 = ||z1 - E z2 T - t||^2 + sum_j s2_j ||T_j||^2.
        strength = self.top.square().sum(-1)
        distance = (z - affine(above, self.top, self.top_bias)).square().sum((-2, -1)) / x.shape[-2]
        distance = distance + (deviation_of(self.up_log_variance).square() * strength).sum(-1)
        entropy = log_variance.sum((-2, -1)) / x.shape[-2] + self.width * (1.0 - math.log(self.prior_variance))
        return {
            "reconstruction": self.surprise(x, self.decode(z)),
            "lower": 0.5 * self.weights[..., 0] * (distance / self.prior_variance - entropy),
            "upper": self.weights[..., 1] * standard_kl(above, above_log_variance),
        }


@final
@dataclass(frozen=True)
class TwoLevelVAE(VariationalSolver):
    """Learns latents z1 of the samples whose prior is itself a latent model, p(z1|z2) = N(z2 T + t, tau^2 I).

    The loss is -ln p(x|z1) + beta[0] E ln q(z1|x) / p(z1|z2) + beta[1] E KL(q(z2|z1) || N(0, I)) with z1 drawn from
    q(z1|x) and z2 from q(z2|z1) = N(z1 V + v, diag s2), which is integrated in closed form. The codes are the means of
    z1, the atoms those of the decoder; `upper_posterior` gives z2. The upper level is linear with a variance that
    does not depend on the sample. Without hidden layers the whole is the linear model of arXiv 2306.05023: at
    beta = (1, 1) two levels are worth no more than one, and whether z2 collapses is decided by what is held fixed (see
    the oracle `theory.collapse.two_level_vae`).

    Parameters
    ----------
    upper_width : latents of the upper level; None is as many as of the lower.
    beta : weights of the two divergences.
    prior_variance : tau^2.
    lower_variance, upper_variance : of q(z1|x) and q(z2|z1), held fixed; None learns them.
        The others are those of `VariationalSolver`.

    References
    ----------
    Dang, Tran, Nguyen, Ho (2024), "Beyond vanilla variational autoencoders: detecting posterior collapse in
    conditional and hierarchical variational autoencoders", arXiv 2306.05023.
    """

    upper_width: int | None = None
    beta: tuple[float, float] = (1.0, 1.0)
    prior_variance: float = 1.0
    lower_variance: float | None = None
    upper_variance: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.upper_width is not None:
            check_int("upper_width", self.upper_width, 1)
        if not isinstance(self.beta, tuple) or len(self.beta) != 2:
            raise TypeError(f"beta must be a tuple of two weights such as (1.0, 1.0); got {self.beta!r}.")
        for place, weight in enumerate(self.beta):
            check_real(f"beta[{place}]", weight, 0.0)
        check_real("prior_variance", self.prior_variance, 0.0, open_low=True)
        for name in ("lower_variance", "upper_variance"):
            if getattr(self, name) is not None:
                check_real(name, getattr(self, name), 0.0, open_low=True)

    def module(self, dim: int, rng: Rng) -> TwoLevelModule:
        return TwoLevelModule(self, dim, rng)


def upper_posterior(fitted: FittedDictionary, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of z2 given the mean of z1 for samples ``x (n, d)``, ``(n, p2)`` each.

    A latent of the upper level that has collapsed has a mean of zero and a variance of one, where that is learned.

    Raises
    ------
    TypeError
        If ``fitted`` was not learned by `TwoLevelVAE`.
    """
    module, inside, _ = opened(fitted, x, "TwoLevelVAE", diagonal=False)
    if not isinstance(module, TwoLevelModule):
        raise TypeError(f"fitted must be a fit of TwoLevelVAE; got one with {type(module).__name__}.")
    with torch.no_grad():
        mean, log_variance = module.upper(module.lower(inside)[0])
    return mean.double().numpy(), log_variance.double().exp().numpy()
