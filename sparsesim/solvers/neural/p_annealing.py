"""p-annealing: a ReLU autoencoder whose penalty goes from the L1 norm towards a count while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.priced import PricedModule
from sparsesim.solvers.neural.resampling import Resampling, check_resampling
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

SMALL_CODE = 1e-4  # z^p goes on as a straight line through zero below: its slope grows without bound there


@final
class PAnnealingModule(PricedModule):
    """z = ReLU(u) with the penalty sum_i z_i^p, p falling by a staircase and the penalty's weight following."""

    penalty: Tensor
    spent: Tensor
    next_spent: Tensor

    def __init__(self, spec: PAnnealing, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng, spec.resampling)
        self.start, self.end, self.queue = spec.start, spec.end, spec.queue
        self.powers = tuple(np.linspace(1.0, spec.power, spec.stages).tolist())
        self.register_buffer("penalty", torch.tensor(spec.penalty, dtype=torch.float32))
        for name in ("spent", "next_spent"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float32))

    def changes(self, total: int) -> tuple[int, ...]:
        """Return the steps at which each power of the staircase, the first one included, comes into force."""
        steps = np.linspace(self.start * total, self.end * total, len(self.powers)).round().astype(int)
        return tuple(steps.tolist())

    def prices(self, codes: Tensor, step: Step) -> dict[str, Tensor]:
        changes = self.changes(step.total)
        stage = max(sum(change <= step.index for change in changes), 1)
        if self.training and stage > 1 and step.index == changes[stage - 1]:
            self._follow()
        spent = powered(codes, self.powers[stage - 1]).sum(-1)
        upcoming = stage < len(changes) and changes[stage] - self.queue <= step.index < changes[stage]
        if self.training and upcoming:
            with torch.no_grad():
                self.spent.add_(spent.sum(-1))
                self.next_spent.add_(powered(codes, self.powers[stage]).sum(-1).sum(-1))
        return {"lp": spent * self.penalty.unsqueeze(-1)}

    @torch.no_grad()
    def _follow(self) -> None:
        """Change the weight so that the batches of the queue pay at the new power what they paid at the old one."""
        known = (self.spent > 0.0) & (self.next_spent > 0.0)
        self.penalty.mul_(torch.where(known, self.spent / self.next_spent, 1.0))
        self.spent.zero_()
        self.next_spent.zero_()


def powered(codes: Tensor, power: float) -> Tensor:
    """Return z^p of codes z >= 0, continued below `SMALL_CODE` by the chord through zero; z itself for p = 1."""
    if power == 1.0:
        return codes
    small = codes < SMALL_CODE
    return torch.where(small, codes * SMALL_CODE ** (power - 1.0), codes.clamp_min(SMALL_CODE).pow(power))


@final
@dataclass(frozen=True)
class PAnnealing(NeuralSolver):
    """Learns atoms and a ReLU encoder under the penalty sum_i z_i^p with p annealed from 1 towards a count of latents.

    The model is that of `ReLUL1`; the loss mean_B (||x - x_hat||^2 + lambda_s * sum_i z_i^{p_s}). p_s runs through
    ``stages`` equal steps down from 1, the first in force from the share ``start`` of the training and the last,
    ``power``, from ``end``. Each time p changes, lambda_{s+1} = lambda_s * Q(p_s) / Q(p_{s+1}), Q(p) the sum of z^p
    over the last ``queue`` batches, so that the penalty does not jump. p = 1 throughout is `ReLUL1`, bit by bit. The
    paper ends the staircase at the last step, so that the last power is never trained with; the default leaves a tenth
    of the training to it. A code below `SMALL_CODE` pays along a chord, since the slope of z^p has no bound there.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : lambda_1, weight of the L1 norm at first, for the squared error summed over d.
    power : last power, in (0, 1].
    stages : number of powers, the first of them 1.
    start, end : shares of the training.
    queue : batches from which the weight is matched.
    resampling : when silent latents are replaced; None, as in the paper, leaves them alone.

    References
    ----------
    Karvonen et al. (2024), "Measuring progress in dictionary learning ... with board game models", arXiv 2408.00113,
    equations 13 and 14.
    """

    width: int
    penalty: float = 1.0
    power: float = 0.2
    stages: int = 10
    start: float = 0.25
    end: float = 0.9
    queue: int = 10
    training: Training = field(default_factory=Training)
    resampling: Resampling | None = None

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_real("power", self.power, 0.0, 1.0, open_low=True)
        check_int("stages", self.stages, 2)
        check_real("start", self.start, 0.0, 1.0)
        check_real("end", self.end, self.start, 1.0)
        check_int("queue", self.queue, 1)
        check_resampling(self.resampling)

    def module(self, dim: int, rng: Rng) -> PAnnealingModule:
        return PAnnealingModule(self, dim, rng)
