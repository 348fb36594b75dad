"""Matching pursuit in the atoms that a network is learning, all rows at once; see `sparsesim.kernels.unrolled`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim.solvers.neural.device.place import operations


@final
@dataclass(frozen=True, eq=False)
class Unrolled:
    """The T steps of R pursuits: atoms ``(T, R)`` among those of all members, magnitudes, and which steps were made."""

    chosen: Tensor
    value: Tensor
    made: Tensor

    def codes(self, like: Tensor, width: int) -> Tensor:
        """Return the sums of the magnitudes by atom, ``(..., B, p)``."""
        codes = like.new_zeros((self.chosen.shape[1], width))
        for atom, value in zip(self.chosen % width, self.value, strict=True):
            codes.scatter_add_(1, atom.unsqueeze(1), value.unsqueeze(1))  # one a row: no two additions meet
        return codes.view(*like.shape[:-1], width)


def unroll(
    target: Tensor, atoms: Tensor, steps: int, limits: tuple[float, float], signed: bool
) -> tuple[Tensor, Unrolled]:
    """Return the residual of ``target (..., B, d)`` after at most ``steps`` steps in ``atoms (..., p, d)``, and these.

    ``limits`` are the norm at which a residual is small enough, and the relative size of what is rounding.
    """
    p, d = atoms.shape[-2:]
    table, gram = atoms.reshape(-1, d), (atoms @ atoms.mT).reshape(-1, p)
    scores, residual = (target @ atoms.mT).reshape(-1, p), target.reshape(-1, d).clone()
    rounding = limits[1] * torch.linalg.vector_norm(residual, dim=-1)
    floor = rounding.clamp_min(limits[0]).square()
    first = torch.arange(len(table) // p, device=target.device).mul_(p).repeat_interleave(target.shape[-2])
    alive = torch.ones_like(first, dtype=torch.bool)
    made = []
    for _ in range(steps):
        score, place = (scores.abs() if signed else scores).max(dim=-1)  # the first among equals
        chosen = place + first
        rows = table.index_select(0, chosen)
        value = (residual * rows).sum(-1)  # not the score, which has rounded more often
        alive = alive & (score > rounding) & (residual.square().sum(-1) > floor)
        alive = alive if signed else alive & (value > 0)
        value = value.where(alive, 0.0)
        residual.addcmul_(value.unsqueeze(-1), rows, value=-1.0)
        scores.addcmul_(value.unsqueeze(-1), gram.index_select(0, chosen), value=-1.0)
        made.append((chosen, value, alive))
    return residual.view(target.shape), Unrolled(*(torch.stack(part) for part in zip(*made, strict=True)))


def unroll_back(slope: Tensor, residual: Tensor, atoms: Tensor, done: Unrolled) -> tuple[Tensor, Tensor]:
    """Return the gradients at the targets and at the atoms, given that at the ``residual (..., B, d)``.

    With v = <d, r> and r' = r - v d, the gradient g at r' gives g - <g, d> d at r and -v g - <g, d> r at d.
    """
    table = atoms.reshape(-1, atoms.shape[-1])
    g, r = slope.reshape(-1, slope.shape[-1]).clone(), residual.reshape(-1, slope.shape[-1]).clone()
    at, weights, sources = [], [], []
    for t in range(len(done.chosen) - 1, -1, -1):
        rows, value = table.index_select(0, done.chosen[t]), done.value[t]
        along = (g * rows).sum(-1).where(done.made[t], 0.0)
        r.addcmul_(value.unsqueeze(-1), rows)
        at += [done.chosen[t], done.chosen[t]]
        weights += [value, along]
        sources += [g.clone(), r.clone()]
        g.addcmul_(along.unsqueeze(-1), rows, value=-1.0)
    kernels = operations(g)
    bounds, places = kernels.by_column(torch.cat(at).to(torch.int32), len(table))
    weight = torch.cat(weights).neg_().index_select(0, places)
    total = torch.zeros_like(table)
    kernels.add_sums_(bounds, places, weight, torch.cat(sources), total)
    return g.view(slope.shape), total.view(atoms.shape)
