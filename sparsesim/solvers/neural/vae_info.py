"""InfoVAE: the aggregate posterior is held to the prior by MMD, each posterior by what is left of the divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.gaussians import drawn_from, standard_kl
from sparsesim.solvers.neural.mmd import check_batches, squared_mmd
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver


@final
class InfoVAEModule(VariationalModule):
    """The Gaussian autoencoder with weights on the divergence of each posterior and on the MMD of all of them."""

    each: Tensor
    aggregate: Tensor

    def __init__(self, spec: InfoVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.register_buffer("each", torch.tensor(1.0 - spec.alpha, dtype=torch.float32))
        self.register_buffer("aggregate", torch.tensor(spec.alpha + spec.penalty - 1.0, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        z = drawn_from(mean, log_variance, step)
        return {
            "reconstruction": self.surprise(x, self.decode(z)),
            "kl": self.each * standard_kl(mean, log_variance),
            "mmd": self.aggregate * squared_mmd(z, step.normal(z)),
        }


@final
@dataclass(frozen=True)
class InfoVAE(VariationalSolver):
    """Learns as `GaussianVAE` under -ln p(x|z) + (1 - alpha) KL(q(z|x) || p) + (alpha + penalty - 1) MMD^2(q(z), p).

    q(z) is the law of the codes of a batch, drawn from their posteriors, MMD^2 the unbiased estimate against as many
    draws of the prior p = N(0, I). KL(q(z|x) || p) = I(x; z) + KL(q(z) || p), so that alpha gives back the price of
    information. alpha = 0 with penalty = 1 is `GaussianVAE`; alpha = 1 is the MMD-VAE, in which a posterior costs
    nothing by itself and its variance is free to vanish.

    Parameters
    ----------
    alpha : weight of the information between x and z, at most 1.
    penalty : lambda, the weight of the aggregate posterior against the prior, at least 1 - alpha. Its value depends on
        the scale of the divergence put in for KL(q(z) || p); published code has 10 to 10 000 (the default is ours).
        The others are those of `VariationalSolver`.

    References
    ----------
    Zhao, Song, Ermon (2019), "InfoVAE: balancing learning and inference in variational autoencoders", arXiv 1706.02262.
    """

    alpha: float = 1.0
    penalty: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batches(self.training.batch_size)
        if check_real("penalty", self.penalty) < 1.0 - check_real("alpha", self.alpha, high=1.0):
            raise ValueError(
                f"penalty must be at least 1 - alpha = {1.0 - self.alpha:g}, or the aggregate posterior is driven away "
                f"from the prior; got {self.penalty!r}."
            )

    def module(self, dim: int, rng: Rng) -> InfoVAEModule:
        return InfoVAEModule(self, dim, rng)
