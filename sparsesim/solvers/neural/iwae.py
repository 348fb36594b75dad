"""The importance-weighted autoencoder: a tighter bound on the evidence from several samples of the posterior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.gaussians import deviation_of, log_density
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.vae import GaussianVAEModule
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver, opened

BLOCK = 2**16  # rows decoded at a time by `importance_bound`


def log_mean_weight(module: VariationalModule, x: Tensor, samples: int, step: Step) -> Tensor:
    """Return ln (1/K) sum_k p(x, z_k) / q(z_k | x) of each row of x, ``(..., B)``, for K draws z_k of its posterior."""
    mean, log_variance = module.posterior(x)
    apart = (*(1,) * (x.ndim - 2), samples, 1)  # the K draws lie below each other on the axis of the batch
    many, mean, log_variance = x.repeat(apart), mean.repeat(apart), log_variance.repeat(apart)
    noise = step.normal(mean)  # (z - mean) / s, which z itself no longer holds where s is small beside the mean
    z = mean + deviation_of(log_variance) * noise
    heard = log_density(many, module.decode(z), module.log_noise[..., None, None])
    weight = heard + 0.5 * (noise.square() + log_variance - z.square()).sum(-1)  # the constants cancel
    each = weight.reshape(*weight.shape[:-1], samples, x.shape[-2])
    return torch.logsumexp(each, -2) - math.log(samples)


@final
class ImportanceWeightedModule(VariationalModule):
    """The loss is -L_K, the importance-weighted bound of K samples."""

    def __init__(self, spec: ImportanceWeightedVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.samples = int(spec.samples)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return {"bound": -log_mean_weight(self, x, self.samples, step).mean(-1)}


@final
@dataclass(frozen=True)
class ImportanceWeightedVAE(VariationalSolver):
    """Learns as `GaussianVAE` under the bound L_K = E ln (1/K) sum_k p(x, z_k) / q(z_k|x) of K samples (IWAE).

    L_1 is the evidence bound of `GaussianVAE` at beta = 1, here with its divergence estimated from the draw instead of
    in closed form; L_K does not decrease in K and tends to ln p(x). Gradients are those of the bound: each sample is
    weighted by its share of the sum of weights (some published code has the sign of these weights wrong). The better
    the bound, the less the encoder is told: the signal-to-noise ratio of its gradient falls as 1 / sqrt(K). The loss is
    -L_K in nats in the scale E||x - mean||^2 = d; `importance_bound` evaluates fits in the scale of the data.

    Parameters
    ----------
    samples : K. The others are those of `VariationalSolver`.

    References
    ----------
    Burda, Grosse, Salakhutdinov (2016), arXiv 1509.00519; for the gradients Rainforth et al. (2018), arXiv 1802.04537.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("samples", self.samples, 1)

    def module(self, dim: int, rng: Rng) -> ImportanceWeightedModule:
        return ImportanceWeightedModule(self, dim, rng)


def importance_bound(fitted: FittedDictionary, x: FloatArray, samples: int, *, rng: Rng) -> FloatArray:
    """Return one draw of L_K of each sample ``x (n, d)``, in nats in the scale of the data, ``(n,)``.

    Its mean over draws is at most ln p(x) under the fitted model, the evidence bound at K = 1, and closer the larger K.

    Raises
    ------
    TypeError, ValueError
        If ``fitted`` was not learned by `GaussianVAE` or `ImportanceWeightedVAE`, or ``samples`` is below 1.
    """
    solvers = "GaussianVAE or ImportanceWeightedVAE"
    module, inside, scale = opened(fitted, x, solvers)
    if not isinstance(module, GaussianVAEModule | ImportanceWeightedModule) or module.gated:
        raise TypeError(
            f"fitted must be a fit of {solvers}, whose prior is N(0, I); got one with {type(module).__name__}."
        )
    k = check_int("samples", samples, 1)
    step = Step(0, 1, (torch.Generator().manual_seed(int(rng.integers(2**63))),))
    size, parts = max(1, BLOCK // k), []
    with torch.no_grad():
        for start in range(0, len(inside), size):
            parts.append(log_mean_weight(module, inside[start : start + size], k, step).double().numpy())
    bound: FloatArray = np.concatenate([np.empty(0), *parts]) - fitted.dim * math.log(scale)
    return bound
