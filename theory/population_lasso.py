"""Dictionary learning with exact non-negative lasso codes, on the whole of a small population.

The loss is ``E ||x - f A||^2 + penalty sum_i f_i``, summed over d, minimised over codes ``f >= 0`` and unit rows
``A (n, d)``. A population is a few points ``x (N, d)`` with their probabilities. Codes are found by trying every set of
atoms, so that they are exact whatever the atoms, and n must be small.

References
----------
Mairal, Bach, Ponce, Sapiro (2010), "Online learning for matrix factorization and sparse coding", for the problem; its
value as a function of the atoms has the gradient at fixed codes (Danskin's theorem).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_MOST_ATOMS = 8  # 255 sets of atoms
_SINGULAR = 1e-10  # determinant of the Gram matrix below which a set of atoms has no codes of its own
_SLOPE = 1e-10  # of the loss, at which the search stops


def _population(x: npt.ArrayLike, weights: npt.ArrayLike | None) -> tuple[Array, Array]:
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
        raise ValueError(f"x must be a finite array (N, d) with N >= 1; got shape {points.shape}.")
    w = np.full(len(points), 1.0 / len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(points),) or not np.isfinite(w).all() or (w < 0.0).any():
        raise ValueError(f"weights must be {len(points)} numbers, none negative; got shape {w.shape}.")
    return points, w


def _atoms(atoms: npt.ArrayLike, dim: int) -> Array:
    rows = np.asarray(atoms, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != dim or not 1 <= len(rows) <= _MOST_ATOMS:
        raise ValueError(f"atoms must be (n, {dim}) with 1 <= n <= {_MOST_ATOMS}; got shape {rows.shape}.")
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(rows).all() and (size > 0.0).all()):
        raise ValueError("atoms must be finite and not zero. Leave out atoms that are not used.")
    return np.asarray(rows / size)


def lasso_codes(x: npt.ArrayLike, atoms: npt.ArrayLike, penalty: float) -> Array:
    """Return the exact codes ``(N, n)`` that minimise ``||x - f A||^2 + penalty sum f`` over ``f >= 0``, A scaled to 1.

    On a set S of active atoms the best codes are ``f_S = G_SS^-1 (A_S x - penalty/2)``, at the value ``||x||^2 - f_S
    G_SS f_S``. The best of all sets where they are positive is the minimum, since its own set is among them.

    Raises
    ------
    ValueError
        For more than 8 atoms, atoms that are zero or of another dimension, or a penalty that is negative or not finite.
    """
    points, _ = _population(x, None)
    rows = _atoms(atoms, points.shape[1])
    if not (penalty >= 0.0 and np.isfinite(penalty)):
        raise ValueError(f"penalty must be finite and not negative; got {penalty}.")
    scores, gram = points @ rows.T - penalty / 2.0, rows @ rows.T
    best, codes = np.zeros(len(points)), np.zeros(scores.shape)
    for size in range(1, len(rows) + 1):
        for chosen in map(np.array, itertools.combinations(range(len(rows)), size)):
            part = gram[np.ix_(chosen, chosen)]
            if np.linalg.det(part) < _SINGULAR:
                continue
            values = np.linalg.solve(part, scores[:, chosen].T).T
            gain = np.where(values.min(axis=1) > 0.0, (values * scores[:, chosen]).sum(axis=1), 0.0)
            better = np.flatnonzero(gain > best)
            best[better] = gain[better]
            codes[better] = 0.0
            codes[np.ix_(better, chosen)] = values[better]
    return codes


def population_loss(
    x: npt.ArrayLike, weights: npt.ArrayLike | None, atoms: npt.ArrayLike, penalty: float
) -> tuple[float, Array]:
    """Return the loss of unit ``atoms (n, d)`` with exact codes, and its gradient ``(n, d)`` on the sphere.

    Raises
    ------
    ValueError
        As `lasso_codes`, or for weights that are negative or of another length.
    """
    points, w = _population(x, weights)
    rows = _atoms(atoms, points.shape[1])
    codes = lasso_codes(points, rows, penalty)
    residual = points - codes @ rows
    slope = -2.0 * (w[:, None] * codes).T @ residual
    slope -= (slope * rows).sum(axis=1, keepdims=True) * rows
    return float(w @ (np.square(residual).sum(axis=1) + penalty * codes.sum(axis=1))), slope


@final
@dataclass(frozen=True)
class BestAtoms:
    """The best dictionary that the search found.

    Attributes
    ----------
    atoms : (n, d) unit rows.
    loss : of them with exact codes.
    slope : the largest entry of its gradient on the sphere, 0 at a stationary point up to rounding.
    """

    atoms: Array
    loss: float
    slope: float


def best_atoms(x: npt.ArrayLike, weights: npt.ArrayLike | None, starts: npt.ArrayLike, penalty: float) -> BestAtoms:
    """Return the best of the local minima that quasi-Newton descent reaches from ``starts (S, n, d)``.

    Dictionary learning has several minima, so that this is the global one only if a start lies in its basin; an upper
    bound of the least loss in any case.

    Raises
    ------
    ValueError
        As `population_loss`, or if starts is not a stack of dictionaries.
    """
    points, w = _population(x, weights)
    stack = np.asarray(starts, dtype=np.float64)
    if stack.ndim != 3 or not len(stack):
        raise ValueError(f"starts must be (S, n, d) with S >= 1; got shape {stack.shape}.")
    shape = stack.shape[1:]

    def value(flat: Array) -> tuple[float, Array]:
        raw = flat.reshape(shape)
        loss, slope = population_loss(points, w, raw, penalty)
        return loss, (slope / np.linalg.norm(raw, axis=1, keepdims=True)).ravel()

    found = [minimize(value, one.ravel(), jac=True, method="BFGS", options={"gtol": _SLOPE}).x for one in stack]
    ends = [_atoms(flat.reshape(shape), points.shape[1]) for flat in found]
    losses = [population_loss(points, w, rows, penalty) for rows in ends]
    best = int(np.argmin([loss for loss, _ in losses]))
    return BestAtoms(ends[best], losses[best][0], float(np.abs(losses[best][1]).max()))
