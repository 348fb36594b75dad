"""Greedy pursuits of all rows at once: k steps of dense operations, and nothing that waits for the device.

Rows are scaled to magnitude about one. A row that has ended takes no further step, but time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsesim.kernels.pursuit import DEPENDENT64, ROUNDING, STORED_GRAM_BYTES

DEPENDENT = {torch.float32: 1e-6, torch.float64: DEPENDENT64}  # as in `kernels.pursuit`
Found = tuple[Tensor, Tensor]  # atoms (n, k) and codes (n, k), zero where no step was made


def _bounds(x: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the energies of the rows, the correlations not told from rounding, and the energies to stop at."""
    energy = x.double().square().sum(-1)
    target = energy * tolerance**2 if tolerance > 0 else torch.full_like(energy, -torch.inf)
    return energy, ROUNDING * torch.finfo(x.dtype).eps * energy.sqrt(), target


def _largest(alpha: Tensor, non_negative: bool) -> tuple[Tensor, Tensor]:
    """Return the largest correlation (or magnitude) of each row and its atom, the lowest among equals."""
    score = alpha if non_negative else alpha.abs()
    top, atom = score.max(dim=-1)
    return top.double(), atom


def matching_pursuit(x: Tensor, atoms: Tensor, k: int, *, non_negative: bool, tolerance: float) -> Found:
    """Return atoms and codes ``(n, k)`` of ``k`` selections, see `MatchingPursuit`; an atom may come more than once."""
    energy, floor, target = _bounds(x, tolerance)
    alpha, residual = x @ atoms.mT, x.clone()
    small = len(atoms) ** 2 * atoms.element_size() <= STORED_GRAM_BYTES
    gram = atoms @ atoms.mT if small else None
    alive = torch.ones_like(energy, dtype=torch.bool)
    steps = []
    for _ in range(k):
        top, atom = _largest(alpha, non_negative)
        alive = alive & (top > floor)
        value = alpha.gather(1, atom.unsqueeze(1)).squeeze(1).where(alive, 0.0)
        steps.append((atom, value))
        energy = energy - value.double().square()
        alive = alive & (energy > target)
        if gram is None:
            residual = residual - value.unsqueeze(1) * atoms.index_select(0, atom)
            alpha = residual @ atoms.mT
        else:
            alpha = alpha - value.unsqueeze(1) * gram.index_select(0, atom)
    places, values = zip(*steps, strict=True)
    return torch.stack(places, dim=1), torch.stack(values, dim=1)


def orthogonal_matching_pursuit(x: Tensor, atoms: Tensor, k: int, *, tolerance: float) -> Found:
    """Return atoms and codes ``(n, k)``, least squares on atoms chosen one at a time; see `OrthogonalMatchingPursuit`.

    The chosen atoms are made orthonormal as they come, so that one product a step gives the new correlations.
    """
    energy, floor, target = _bounds(x, tolerance)
    alpha, alive = x @ atoms.mT, torch.ones_like(energy, dtype=torch.bool)
    basis = x.new_zeros((len(x), 0, x.shape[1]))
    chosen = torch.zeros((len(x), 0), dtype=torch.int64, device=x.device)
    taken = torch.zeros((len(x), 0), dtype=torch.bool, device=x.device)
    for _ in range(k):
        top, atom = _largest(alpha, False)
        direction = _orthogonal(atoms.index_select(0, atom), basis)
        pivot = direction.double().square().sum(-1)
        alive = alive & (top > floor) & (pivot >= DEPENDENT[x.dtype])
        unit = (direction / pivot.sqrt().to(x.dtype).unsqueeze(1)).where(alive.unsqueeze(1), 0.0)
        weight = (unit * x).sum(-1, keepdim=True)
        energy = energy - weight.squeeze(1).double().square()
        chosen, taken = torch.cat([chosen, atom.unsqueeze(1)], 1), torch.cat([taken, alive.unsqueeze(1)], 1)
        basis = torch.cat([basis, unit.unsqueeze(1)], 1)
        alpha = (alpha - weight * (unit @ atoms.mT)).scatter(1, chosen, 0.0)
        alive = alive & (energy > target)
    return chosen, least_squares(x, atoms, chosen, taken).to(x.dtype)


def _orthogonal(rows: Tensor, basis: Tensor) -> Tensor:
    """Return ``rows (n, d)`` less their projections on ``basis (n, j, d)``; twice, for once leaves rounding behind."""
    for _ in range(2):
        along = basis @ rows.unsqueeze(2)
        rows = rows - (along.mT @ basis).squeeze(1)
    return rows


def least_squares(x: Tensor, atoms: Tensor, chosen: Tensor, taken: Tensor) -> Tensor:
    """Return the float64 least squares codes ``(n, k)`` on the ``taken`` of the ``chosen`` atoms, zero elsewhere."""
    rows = atoms.double()[chosen] * taken.unsqueeze(2)
    empty = torch.diag_embed((~taken).double())
    factor, _ = torch.linalg.cholesky_ex(rows @ rows.mT + empty)
    codes: Tensor = torch.cholesky_solve(rows @ x.double().unsqueeze(2), factor).squeeze(2)
    return codes * taken
