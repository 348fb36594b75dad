"""Variational sparse coding: latents that are exactly zero with a learned probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.gaussians import deviation_of, drawn_from
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver


def spike_and_slab_kl(mean: Tensor, log_variance: Tensor, gate: Tensor, alpha: Tensor) -> Tensor:
    """Return KL of gamma N(mean, s^2) + (1 - gamma) delta_0 from alpha N(0, 1) + (1 - alpha) delta_0, ``()`` or (E,).

    gamma (mean^2 + s^2 - 1 - ln s^2) / 2 + (1 - gamma) ln((1 - gamma) / (1 - alpha)) + gamma ln(gamma / alpha), summed
    over p, mean over B, with gamma = sigmoid(``gate``). It is 0 where gamma = alpha, mean = 0, s = 1, and only there.
    """
    open_, shut = torch.sigmoid(gate), torch.sigmoid(-gate)
    slab = 0.5 * (mean.square() + deviation_of(log_variance).square() - 1.0 - log_variance)
    prior = alpha[..., None, None]
    choice = open_ * (nn.functional.logsigmoid(gate) - prior.log())
    choice = choice + shut * (nn.functional.logsigmoid(-gate) - (-prior).log1p())
    return (open_ * slab + choice).sum((-2, -1)) / mean.shape[-2]


@final
class VariationalSparseCodingModule(VariationalModule):
    """q(z_j|x) = gamma_j N(mu_j, s_j^2) + (1 - gamma_j) delta_0, with gamma_j = sigmoid(h_j(x))."""

    alpha: Tensor
    beta: Tensor

    def __init__(self, spec: VariationalSparseCoding, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng, spread=2 * spec.width)
        self.warmup, self.sharpness = spec.warmup, spec.sharpness
        self.register_buffer("alpha", torch.tensor(spec.alpha, dtype=torch.float32))
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))

    def slabs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and log variance of the slab, and the log odds that it is open, ``(..., B, p)`` each."""
        mean, rest = self.outputs(x)
        return mean, rest[..., : self.width], rest[..., self.width :]

    def encode(self, x: Tensor) -> Tensor:
        mean, _, gate = self.slabs(x)
        return mean * (gate > 0)

    def gates(self, gate: Tensor, step: Step) -> Tensor:
        """Return relaxed gates in (0, 1): the sharper they are, the nearer to 1 with probability gamma, else to 0."""
        uniform = torch.special.ndtr(step.normal(gate))
        low, high = self.sharpness
        sharp = low + (high - low) * step.ramp(0.0, self.warmup)
        return torch.sigmoid(sharp * (uniform - 1.0 + torch.sigmoid(gate)))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance, gate = self.slabs(x)
        z = drawn_from(mean, log_variance, step) * self.gates(gate, step)
        divergence = spike_and_slab_kl(mean, log_variance, gate, self.alpha)
        weight = self.beta * step.ramp(0.0, self.warmup)
        return {"reconstruction": self.surprise(x, self.decode(z)), "kl": weight * divergence}


@final
@dataclass(frozen=True)
class VariationalSparseCoding(VariationalSolver):
    """Learns a decoder of spike-and-slab latents; the codes are exact zeros where the spike is likelier.

    The prior is p(z_j) = alpha N(0, 1) + (1 - alpha) delta_0, the posterior gamma_j N(mu_j, s_j^2) + (1 - gamma_j)
    delta_0, all three functions of x, and the loss in nats

        -ln N(x; f(z), sigma^2 I) + beta KL(q(z|x) || p(z)),

    z_j = (mu_j + s_j eps_j) sigmoid(c (eta_j - 1 + gamma_j)) with eta uniform on (0, 1): a relaxed gate, hard as c
    grows. c rises from the first to the second number of ``sharpness``, and beta from 0, over the first share
    ``warmup`` of training. The code is mu_j where gamma_j > 1/2.

    Published code has gamma = exp(-ReLU(-h)), clipped: once h is positive a gate is open and has no gradient to shut
    by. Here it is a sigmoid. The pseudo-inputs of the later version of the prior are left out.

    Parameters
    ----------
    alpha : prior probability that a latent is active, in (0, 1).
    beta : weight of the divergence after its warm-up.
    warmup, sharpness : as above.
    The others are those of `VariationalSolver`.

    References
    ----------
    Tonolini, Jensen, Murray-Smith (2019), "Variational sparse coding".
    """

    alpha: float = 0.1
    beta: float = 1.0
    warmup: float = 0.3
    sharpness: tuple[float, float] = (50.0, 200.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if check_real("alpha", self.alpha, 0.0, 1.0, open_low=True) == 1.0:
            raise ValueError("alpha must be below 1, or no latent may ever be silent; got 1.0.")
        check_real("beta", self.beta, 0.0)
        check_real("warmup", self.warmup, 0.0, 1.0)
        if not isinstance(self.sharpness, tuple) or len(self.sharpness) != 2:
            raise TypeError(f"sharpness must be a tuple (first, last) such as (50.0, 200.0); got {self.sharpness!r}.")
        for place, value in enumerate(self.sharpness):
            check_real(f"sharpness[{place}]", value, 0.0, open_low=True)

    def module(self, dim: int, rng: Rng) -> VariationalSparseCodingModule:
        return VariationalSparseCodingModule(self, dim, rng)
