"""What a mini-batch tells about a dictionary: second moments of codes and samples, and the updates that read them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, fastmath={"contract"})
def _add_(out: Any, weight: float, row: Any) -> None:
    for column in range(out.shape[0]):
        out[column] += weight * row[column]


@njit(cache=True)
def add_moments_(indptr: Any, indices: Any, data: Any, x: Any, gram: Any, cross: Any) -> None:
    """Add ``codes.T @ codes`` to ``gram (p, p)`` and ``codes.T @ x`` to ``cross (p, d)``, sample by sample."""
    for row in range(len(x)):
        low, high = indptr[row], indptr[row + 1]
        for t in range(low, high):
            atom, value = indices[t], data[t]
            _add_(cross[atom], value, x[row])
            for u in range(low, high):
                gram[atom, indices[u]] += value * data[u]


@njit(cache=True, fastmath={"contract"})
def sweep_atoms_(gram: Any, cross: Any, atoms: Any) -> None:
    """Set each unit atom in turn to the one that minimises ``tr(A.T G A) / 2 - tr(A.T C)``, the others held fixed.

    With ``u_j = C_j - sum_{l != j} G_jl a_l`` that is ``u_j / ||u_j||``, since ``G_jj ||a_j||^2`` is the same for all
    unit atoms. Atoms that no code has used (``G_jj = 0``), or of which nothing is left, stay.
    """
    p, d = atoms.shape
    target = np.empty(d)
    for j in range(p):
        if gram[j, j] <= 0:
            continue
        target[:] = cross[j]
        for other in range(p):
            weight = gram[j, other]
            if other != j and weight != 0:
                _add_(target, -weight, atoms[other])
        energy = 0.0
        for column in range(d):
            energy += target[column] * target[column]
        if energy > 0:
            inverse = 1 / math.sqrt(energy)
            for column in range(d):
                atoms[j, column] = target[column] * inverse


@njit(cache=True, fastmath={"contract"})
def _gain_(low: int, high: int, indices: Any, data: Any, inverse: Any, moved: Any) -> float:
    """Write ``P z`` into ``moved`` and return ``z' P z``."""
    moved[:] = 0
    for t in range(low, high):
        _add_(moved, data[t], inverse[indices[t]])
    size = 0.0
    for t in range(low, high):
        size += data[t] * moved[indices[t]]
    return size


@njit(cache=True, fastmath={"contract"})
def recurse_(indptr: Any, indices: Any, data: Any, x: Any, forget: Any, inverse: Any, limit: float, atoms: Any) -> None:
    """Take in samples one by one: ``inverse (p, p)`` and ``atoms (p, d)`` stay the weighted least squares solution.

    With code z, factor f and gain ``g = P z / (f + z' P z)`` a sample does ``A += g (x - z A)`` and
    ``P = (P - g (P z)') / f``, of which P stays symmetric to the bit. An atom whose ``P_jj`` exceeds ``limit`` has not
    been used for so long that nothing is left of what was known: it is decoupled, with ``P_jj = 1``.
    """
    p, d = atoms.shape
    moved, residual = np.empty(p), np.empty(d)
    for row in range(len(x)):
        low, high = indptr[row], indptr[row + 1]
        size = forget[row] + _gain_(low, high, indices, data, inverse, moved)
        residual[:] = x[row]
        for t in range(low, high):
            _add_(residual, -data[t], atoms[indices[t]])
        for i in range(p):
            gain = moved[i] / size
            if gain != 0:
                _add_(atoms[i], gain, residual)
            for j in range(i + 1):
                value = (inverse[i, j] - gain * moved[j]) / forget[row]
                inverse[i, j] = value
                inverse[j, i] = value
        for i in range(p):
            if not 0 < inverse[i, i] <= limit:
                inverse[i, :] = 0
                inverse[:, i] = 0
                inverse[i, i] = 1
