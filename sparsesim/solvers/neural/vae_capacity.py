"""The capacity schedule: a variational autoencoder whose divergence is held to a target that grows during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.gaussians import drawn_from, standard_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver


@final
class CapacityVAEModule(VariationalModule):
    """The Gaussian autoencoder with gamma |KL - C(t)| in the place of the divergence."""

    capacity: Tensor
    weight: Tensor

    def __init__(self, spec: CapacityVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.ramp = float(spec.ramp)
        self.register_buffer("capacity", torch.tensor(spec.capacity, dtype=torch.float32))
        self.register_buffer("weight", torch.tensor(spec.weight, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        reconstruction = self.decode(drawn_from(mean, log_variance, step))
        excess = standard_kl(mean, log_variance) - self.capacity * step.ramp(0.0, self.ramp)
        return {"reconstruction": self.surprise(x, reconstruction), "capacity": self.weight * excess.abs()}


@final
@dataclass(frozen=True)
class CapacityVAE(VariationalSolver):
    """Learns as `GaussianVAE` under the loss -ln p(x|z) + weight * |KL(N(mu, s^2) || N(0, I)) - C(t)|.

    KL is the mean of a batch in nats. C rises linearly from 0 to ``capacity`` over the share ``ramp`` of training (the
    paper: 25 nats in 100 000 steps) and then stays, so that the divergence ends at ``capacity`` whatever beta would
    have been needed: on Gaussian data a linear model of enough latents then has the distortion D(R) of that rate, by
    reverse water-filling, and meets the strongest directions first on the way. No latent is priced after the ramp; all
    are priced together.

    Parameters
    ----------
    capacity : C in nats at the end.
    weight : gamma. It must exceed the slope -dD/dR / (2 sigma^2) of the reconstruction, or KL stays below C. Far above
        it the gradient is the sign of KL - C, and the rest is learned slowly: on Gaussian data with D(R) = 0.99 at C,
        6000 steps came to 0.97 at weight 10 (with KL 0.03 above C), to 1.2 at 100, to 1.8 to 3.2 at the paper's 1000.
    ramp : share of the steps over which C rises; 0 is the full capacity from the start.
        The others are those of `VariationalSolver`.

    References
    ----------
    Burgess et al. (2018), "Understanding disentangling in beta-VAE", arXiv 1804.03599.
    """

    capacity: float = 25.0
    weight: float = 1000.0
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("capacity", self.capacity, 0.0)
        check_real("weight", self.weight, 0.0)
        check_real("ramp", self.ramp, 0.0, 1.0)

    def module(self, dim: int, rng: Rng) -> CapacityVAEModule:
        return CapacityVAEModule(self, dim, rng)
