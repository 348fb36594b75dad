"""Sparse codes of all rows at once by gradient steps: FISTA, and iterative hard thresholding; in float64.

Whether all rows have ended is asked of the device every `LOOK` steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsesim.kernels.gradient import EPSILON, SAFETY, SHRINK
from sparsesim.solvers.neural.device.reference import largest_of_rows

LOOK = 20  # steps between two looks at whether all rows have ended


def _gap(x: Tensor, alpha: Tensor, slope: Tensor, z: Tensor, level: Tensor, rest: Tensor, positive: bool) -> Tensor:
    """Return the duality gaps ``(n,)`` of the lasso at codes z, with residual ``rest`` and correlations ``slope``."""
    steepest = (slope if positive else slope.abs()).amax(-1)
    scale = (level / steepest.clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1.0)  # scale * rest is dual feasible
    energy, against = rest.square().sum(-1), (x * rest).sum(-1)
    return 0.5 * energy * (1 + scale.square()) - scale * against + level * z.abs().sum(-1)


def fista(
    x: Tensor, atoms: Tensor, level: Tensor, lipschitz: float, *, positive: bool, stop: tuple[float, int], fast: bool
) -> Tensor:
    """Return codes ``(n, p)`` that minimise ||x - z A||^2 / 2 + level ||z||_1, to a relative gap of ``stop[0]``.

    ``level (n,)``; at most ``stop[1]`` steps. Without ``fast`` these are ISTA's. A row begins anew where its momentum
    points uphill.
    """
    tolerance, most = stop
    alpha, half = x @ atoms.mT, 0.5 * x.square().sum(-1)
    z, done = torch.zeros_like(alpha), torch.zeros_like(half, dtype=torch.bool)
    y, age = z, torch.ones_like(half)
    bar = (level / lipschitz).unsqueeze(1)
    for index in range(most):
        u = y + (x - y @ atoms) @ atoms.mT / lipschitz
        fresh = (u - bar).clamp_min(0.0) if positive else u - u.clamp(-bar, bar)
        uphill = ((y - fresh) * (fresh - z)).sum(-1) > 0
        age = torch.where(uphill, 1.0, age)
        older = 0.5 + (0.25 + age.square()).sqrt()
        push = torch.where(uphill, 0.0, (age - 1.0) / older) if fast else torch.zeros_like(age)
        fresh = torch.where(done.unsqueeze(1), z, fresh)
        y, z, age = fresh + push.unsqueeze(1) * (fresh - z), fresh, older
        if index % LOOK == 0 or index + 1 == most:
            rest = x - z @ atoms
            done = done | (_gap(x, alpha, rest @ atoms.mT, z, level, rest, positive) <= tolerance * half)
            y = torch.where(done.unsqueeze(1), z, y)
            if bool(done.all()):
                break
    return z


def _kept(score: Tensor, k: int, positive: bool) -> Tensor:
    """Return where ``score (n, p)`` is among the k largest positive ones (magnitudes if not ``positive``) of a row."""
    columns, filled = largest_of_rows(score, k, magnitude=not positive)
    kept = torch.zeros_like(score, dtype=torch.int32)
    return kept.scatter_add_(1, columns.to(torch.int64), filled.to(torch.int32)) > 0


def hard_thresholding(
    x: Tensor, atoms: Tensor, k: int, *, step: float, positive: bool, stop: tuple[float, int, float], floor: float
) -> Tensor:
    """Return codes ``(n, p)`` that a gradient step cut to ``k`` atoms does not change; see `IterativeHardThresholding`.

    ``step`` 0 is the normalised one. ``stop`` are the tolerance of the residual, the most steps, and the relative
    change to end at; ``floor`` is the correlation not told from rounding, as a fraction of ||x||.
    """
    tolerance, most, precision = stop
    alpha, energy = x @ atoms.mT, x.square().sum(-1)
    dark = (floor * energy.sqrt()).unsqueeze(1)
    z, slope, least = torch.zeros_like(alpha), alpha, energy.clone()
    support = _kept(torch.where((alpha if positive else alpha.abs()) > dark, alpha, 0.0), k, positive)
    best, done = z, torch.zeros_like(energy, dtype=torch.bool)
    for index in range(most):
        seen = torch.where(slope.abs() > dark, slope, 0.0)
        length = _normalised(seen * support, atoms) if step == 0 else torch.full_like(energy, step)
        fresh, new = _moved(z, seen, length, k, positive)
        if step == 0:
            fresh, new = _shortened((z, support, seen), (fresh, new, length), atoms, done, k, positive)
        norm = (fresh - z).square().sum(-1)
        z = torch.where(done.unsqueeze(1), z, fresh)
        support = torch.where(done.unsqueeze(1), support, new)
        slope = (x - z @ atoms) @ atoms.mT
        left = energy - (z * (alpha + slope)).sum(-1)
        lost = ~(left <= 4.0 * energy)  # it diverges, NaN included
        better = ~done & ~lost & (left <= least + EPSILON * energy)
        best = torch.where(better.unsqueeze(1), z, best)
        least = torch.where(better, torch.minimum(left, least), least)
        near = (left <= tolerance**2 * energy) if tolerance > 0 else torch.zeros_like(done)
        done = done | lost | near | (norm <= precision**2 * z.square().sum(-1))
        if index % LOOK == 0 and bool(done.all()):
            break
    return best


def _normalised(seen: Tensor, atoms: Tensor) -> Tensor:
    """Return the step of least error along the gradient ``seen`` on the support, 1 where that gradient is zero."""
    bend = (seen @ atoms).square().sum(-1)
    return torch.where(bend > 0, seen.square().sum(-1) / bend, 1.0)


def _moved(z: Tensor, seen: Tensor, length: Tensor, k: int, positive: bool) -> tuple[Tensor, Tensor]:
    """Return the step from ``z`` of ``length`` along ``seen``, cut to k atoms, and its support."""
    score = z + length.unsqueeze(1) * seen
    kept = _kept(score, k, positive)
    return torch.where(kept, score, 0.0), kept


def _shortened(
    now: tuple[Tensor, Tensor, Tensor],
    move: tuple[Tensor, Tensor, Tensor],
    atoms: Tensor,
    done: Tensor,
    k: int,
    positive: bool,
) -> tuple[Tensor, Tensor]:
    """Return codes and support after halving every step that changes the support and could raise the error."""
    (z, support, seen), (fresh, new, length) = now, move
    while True:
        change = fresh - z
        risky = length * (change @ atoms).square().sum(-1) > SAFETY * change.square().sum(-1)
        long = ~done & risky & (new != support).any(-1)
        if not bool(long.any()):
            return fresh, new
        length = torch.where(long, length / SHRINK, length)
        fresh, new = _moved(z, seen, length, k, positive)
