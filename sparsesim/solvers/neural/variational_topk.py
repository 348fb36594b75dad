"""The variational TopK autoencoder: TopK with sampled codes and a Kullback-Leibler term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.dense import dense_losses
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import affine, drawn
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selection import largest_magnitude
from sparsesim.solvers.neural.selective import SelectiveSolver
from sparsesim.solvers.neural.topk import TopKModule

VARIANCES = ("none", "unit", "learned")
RAMP = 0.1  # share of training over which the weight of the divergence rises from zero
BOUNDS = (-6.0, 2.0)  # of log sigma^2
START = -2.0  # of log sigma^2
FARTHEST = 10.0  # |mu| beyond which the divergence no longer grows


@final
class VariationalTopKModule(TopKModule):
    """mu = ReLU(u), z = mu + sigma eps in training, the k largest |z| speak; in inference z = mu."""

    beta: Tensor

    def __init__(self, spec: VariationalTopK, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.variance, self.masked, self.sample, self.weight = spec.variance, spec.masked, spec.sample, 0.0
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))
        if spec.variance == "learned":
            bound = np.sqrt(6.0 / dim)  # Kaiming's uniform law
            self.log_variance = drawn(rng.uniform(-bound, bound, (spec.width, dim)))
            self.log_variance_bias = drawn(np.full(spec.width, START))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        self.weight = step.ramp(0.0, RAMP)
        return super().losses(x, step) if self.variance == "none" else self._sampled_losses(x, step)

    def errors(self, x: Tensor, u: Tensor, values: Tensor, chosen: Selection) -> tuple[dict[str, Tensor], Tensor]:
        errors, reconstruction = super().errors(x, u, values, chosen)
        mean = self.pre_activations(x).relu()
        kept = self.select(u) if self.masked else None
        return {**errors, "divergence": self.divergence(mean, torch.zeros_like(mean), kept)}, reconstruction

    def divergence(self, mean: Tensor, log_variance: Tensor, kept: Tensor | None) -> Tensor:
        """Return beta w KL(N(mu, sigma^2) || N(0, 1)), mean over the batch, of all latents or of those ``kept``."""
        terms = mean.clamp(-FARTHEST, FARTHEST).square() + log_variance.exp() - 1.0 - log_variance
        total = (terms if kept is None else terms * kept).sum((-2, -1))
        return self.beta * total * (0.5 * self.weight / mean.shape[-2])

    def _sampled_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        mean, log_variance = u.relu(), self.log_variances(x)
        z = mean + (0.5 * log_variance).exp() * step.normal(mean) if self.sample else mean
        kept = largest_magnitude(z, self.k)
        divergence = self.divergence(mean, log_variance, kept if self.masked else None)
        return {**dense_losses(self, x, u, z, kept, step), "divergence": divergence}

    def log_variances(self, x: Tensor) -> Tensor:
        """Return log sigma^2, ``(..., B, p)``: zero if the variance is one."""
        if self.variance != "learned":
            return x.new_zeros((*x.shape[:-1], self.decoder.shape[-2]))
        return affine(x, self.log_variance.mT, self.log_variance_bias).clamp(*BOUNDS)


@final
@dataclass(frozen=True)
class VariationalTopK(SelectiveSolver):
    """Learns atoms as `TopK`, with noise on the codes in training and a price on their distance from a normal law.

    mu = ReLU(u),  z = mu + sigma eps,  the k largest |z| keep their signed values, and the loss is

        mean_B (||x - x_hat||^2 + beta w(t) sum_j (mu_j^2 + sigma_j^2 - 1 - log sigma_j^2) / 2) + AuxK

    with w rising from 0 to 1 over the first tenth of training; the sum is over all p latents or, ``masked``, over
    those that speak. Inference is `TopK` of mu. ``variance`` "unit" is the paper, sigma = 1; "learned" has
    log sigma^2 = x W_v + b_v, clipped to [-6, 2]; "none" is the released code for a fixed variance, which
    does not sample: with ``beta`` = 0 that is `TopK` bit by bit. The decoder has unit rows and a pre-bias, as in older
    versions of that code. The other parameters are those of `SelectiveSolver`.

    Parameters
    ----------
    beta : weight of the divergence, for the squared error summed over d.
    variance : "none", "unit" or "learned".
    masked : the divergence is that of the latents that speak.
    sample : add the noise in training; without it nothing but the divergence reaches a learned variance.

    References
    ----------
    Baker, Li (2025), arXiv 2509.22994.
    """

    beta: float = 1.0
    variance: str = "unit"
    masked: bool = False
    sample: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("beta", self.beta, 0.0)
        if self.variance not in VARIANCES:
            raise ValueError(f"variance must be one of {VARIANCES}; got {self.variance!r}.")
        for name in ("masked", "sample"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; got {getattr(self, name)!r}.")

    def module(self, dim: int, rng: Rng) -> VariationalTopKModule:
        return VariationalTopKModule(self, dim, rng)
