"""Restarting: a whole model whose latents fire far too often or too seldom begins again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Optimiser, SparseModule
from sparsesim.solvers.neural.solver import NeuralSolver


@final
@dataclass(frozen=True)
class Restarting:
    """When a model has gone astray: mean over latents of (|rate_i - rho| / rho)^power > threshold, in one batch.

    rate_i is the share of the batch in which latent i speaks. Silent latents count 1 each, so silence alone never
    reaches the default threshold; a latent that speaks 1 + 2.5^(1/3) = 2.4 times as often as it should counts 2.5.

    Parameters
    ----------
    threshold : released code has 2.5 with cubes, and had 3 with powers of one before.
    power : 3 in released code, 1 in its first version.
    rate : rho, what a latent is to fire; None stands for k / p of the model. Released code has 1/16 whatever k and p
        are, so that a model of another k / p would begin again for ever.
    every : batches from one look to the next; 1 in released code.
    """

    threshold: float = 2.5
    power: float = 3.0
    rate: float | None = None
    every: int = 1

    def __post_init__(self) -> None:
        check_real("threshold", self.threshold, 0.0)
        check_real("power", self.power, 0.0, open_low=True)
        if self.rate is not None:
            check_real("rate", self.rate, 0.0, 1.0, open_low=True)
        check_int("every", self.every, 1)

    def expected(self, base: NeuralSolver) -> float:
        """Return rho for models of ``base``; raises ValueError where neither says it."""
        if self.rate is not None:
            return float(self.rate)
        k = getattr(base, "k", None)
        if k is None:
            raise ValueError(f"rate must be given for a base without k, how often a latent is to fire; got {base!r}.")
        return float(k) / base.width


def excess(rates: Tensor, expected: float, power: float) -> Tensor:
    """Return the mean over latents of (|rate - expected| / expected)^power, ``()`` or ``(E,)``; ``rates (..., p)``."""
    return ((rates - expected).abs() / expected).pow(power).mean(-1)


class Restarter(nn.Module):
    """Looks at how often the latents of one model fire, and gives it new weights after the step if they go astray.

    The new weights are those that ``base`` would begin with under another seed, and the optimiser forgets the moments
    of all of them; what is not learned (counters, penalties) stays. Released code restarts before the step on the same
    batch, here it is after it, so that the last step of the old weights is lost.
    """

    threshold: Tensor
    seed: Tensor
    restarts: Tensor

    def __init__(self, plan: Restarting, base: NeuralSolver, dim: int, rng: Rng) -> None:
        super().__init__()
        self.every, self.power, self.expected, self.dim = plan.every, plan.power, plan.expected(base), dim
        self._base = base
        self.register_buffer("threshold", torch.tensor(plan.threshold, dtype=torch.float32))
        self.register_buffer("seed", torch.tensor(int(rng.integers(2**62))))
        self.register_buffer("restarts", torch.tensor(0))
        self._astray: Tensor | None = None

    @torch.no_grad()
    def observe(self, codes: Tensor, index: int) -> None:
        """Take note of who speaks in ``codes (..., B, p)`` of step ``index``."""
        if index % self.every == 0:
            rates = (codes != 0.0).to(codes.dtype).mean(-2)
            self._astray = excess(rates, self.expected, self.power) > self.threshold

    @torch.no_grad()
    def restart(self, module: SparseModule, optimiser: Optimiser) -> None:
        """Give ``module`` (or those members of an ensemble that went astray) new weights."""
        astray, self._astray = self._astray, None
        if astray is None or not bool(astray.any()):
            return
        for place in astray.nonzero():
            member = tuple(place.tolist())  # empty for a model alone
            words = [int(self.seed[member]), int(self.restarts[member])]
            fresh = dict(self._base.module(self.dim, np.random.default_rng(words)).named_parameters())
            for name, parameter in module.named_parameters():
                parameter[member].copy_(fresh[name])
        for parameter in module.parameters():
            optimiser.forget(parameter, astray.reshape(astray.shape + (1,) * (parameter.ndim - astray.ndim)))
        self.restarts.add_(astray)


def check_restarting(value: object) -> None:
    """Check the field ``restarting`` of a solver: a `Restarting` or None."""
    if value is not None and not isinstance(value, Restarting):
        raise TypeError(f"restarting must be None or a Restarting, e.g. Restarting(threshold=2.5); got {value!r}.")
