"""Matching pursuit in the few atoms that a network is learning, forward and backward, row by row.

Row i of ``x (E B, d)`` belongs to member i // B of an ensemble whose atoms stand below each other, ``(E p, d)``. Atoms
may have any norm: they change while the pursuit is in use, and its gradient is that of the steps as they are.
"""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True)
def _best(scores: Any, signed: bool) -> int:
    """Return the place of the largest score (``signed``: of the largest magnitude), the lowest among equals."""
    place = 0
    for j in range(1, len(scores)):
        if signed:
            if abs(scores[j]) > abs(scores[place]):
                place = j
        elif scores[j] > scores[place]:
            place = j
    return place


@njit(cache=True, fastmath={"reassoc", "contract"})
def _dot(a: Any, b: Any) -> Any:
    total = a[0] * b[0]
    for j in range(1, len(a)):
        total += a[j] * b[j]
    return total


@njit(cache=True, fastmath={"contract"})
def _subtract_(row: Any, weight: Any, other: Any) -> None:
    for j in range(len(row)):
        row[j] -= weight * other[j]


@njit(cache=True)
def unroll_(residual: Any, scores: Any, atoms: Any, gram: Any, limits: Any, signed: bool, out: Any) -> None:
    """Pursue each row of ``residual (E B, d)`` in place; ``out`` gets the atoms, magnitudes and numbers of steps.

    ``scores (E B, p)`` are its inner products with the atoms of its member and are used up; ``gram (E, p, p)``.
    ``limits`` are the norm at which a residual is small enough, and the relative size of what is rounding.
    """
    chosen, value, count = out
    width, batch = gram.shape[1], len(residual) // len(gram)
    for i in range(len(residual)):
        member, row = i // batch, residual[i]
        rounding = limits[1] * _dot(row, row) ** 0.5
        floor = max(rounding, limits[0])
        for t in range(chosen.shape[1]):
            j = _best(scores[i], signed)
            score = abs(scores[i, j]) if signed else scores[i, j]
            if score <= rounding or _dot(row, row) <= floor * floor:
                break
            v = _dot(row, atoms[member * width + j])  # not the score, which has rounded more often
            if not signed and v <= 0:
                break
            _subtract_(row, v, atoms[member * width + j])
            _subtract_(scores[i], v, gram[member, j])
            chosen[i, t], value[i, t], count[i] = member * width + j, v, t + 1


@njit(cache=True)
def unroll_back_(slope: Any, residual: Any, atoms: Any, steps: Any, gradient: Any) -> None:
    """Turn the gradient at the last residuals into that at the samples, in place, and add to that of the atoms.

    With v = <d, r> and r' = r - v d, the gradient g at r' gives g - <g, d> d at r and -v g - <g, d> r at d. The
    residuals, ``(E B, d)``, are wound back to the samples.
    """
    chosen, value, count = steps
    for i in range(len(slope)):
        for t in range(count[i] - 1, -1, -1):
            j, v = chosen[i, t], value[i, t]
            along = _dot(slope[i], atoms[j])
            _subtract_(residual[i], -v, atoms[j])
            _subtract_(gradient[j], v, slope[i])
            _subtract_(gradient[j], along, residual[i])
            _subtract_(slope[i], along, atoms[j])
