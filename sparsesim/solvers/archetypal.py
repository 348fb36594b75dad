"""Archetypal analysis: atoms in the convex hull of the samples, samples near the convex hull of the atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_matrix, check_real, unit_rows
from sparsesim.kernels.simplex import nearest_points_
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.learn import EXACT, prepare
from sparsesim.solvers.pursuit import checked


def nearest_in_hull(
    x: FloatArray,
    points: FloatArray,
    *,
    start: Codes | None = None,
    tolerance: float = 1e-12,
    max_iterations: int = 10_000,
) -> tuple[Codes, FloatArray]:
    """Return the weights ``(n, p)`` of the points of ``conv(points)`` nearest to the samples, and their gaps ``(n,)``.

    ``argmin ||x - z B||^2`` over ``z >= 0, sum z = 1``, at most min(p, d + 1) weights positive. The gap
    ``max_j <b_j - z B, x - z B>`` is zero at the minimum alone and bounds ``||x - z B||^2 / 2`` less its minimum; a row
    is done where it is at most ``tolerance`` times the mean squared distance of the points from the sample.

    Parameters
    ----------
    x : (n, d).
    points : (p, d), of any norm.
    start : (n, p) weights to begin from.
    max_iterations : points admitted for a row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit or a number is out of range.

    References
    ----------
    Wolfe (1976), "Finding the nearest point in a polytope"; Lawson and Hanson (1974) for the active set.
    """
    corners = check_matrix(points, "points").astype(np.float64)
    samples = check_matrix(x, dim=corners.shape[1]).astype(np.float64)
    n, (p, d) = len(samples), corners.shape
    if not p:
        raise ValueError("points must have at least one row; got none.")
    check_real("tolerance", tolerance, 0.0, 1.0)
    check_int("max_iterations", max_iterations, 1)
    begin = Codes((n, p)) if start is None else Codes(start)
    if begin.shape != (n, p):
        raise ValueError(f"start must have shape (n, p)=({n}, {p}); got {begin.shape}.")
    largest = max(np.abs(samples).max(initial=0.0), np.abs(corners).max(initial=0.0))
    scale = np.ldexp(1.0, min(int(np.frexp(largest)[1]), 1023))
    out = (
        np.zeros(n, np.int64),
        np.zeros((n, min(p, d + 1) + 1), np.int64),
        np.zeros((n, min(p, d + 1) + 1)),
        np.zeros(n),
    )
    weights = (begin.indptr.astype(np.int64), begin.indices.astype(np.int64), begin.data.astype(np.float64))
    nearest_points_(samples / scale, corners / scale, weights, (float(tolerance), int(max_iterations)), out)
    stored = np.arange(out[1].shape[1]) < out[0][:, None]
    indptr = np.concatenate([[0], np.cumsum(out[0])])
    codes = Codes((out[2][stored], out[1][stored].astype(np.int32), indptr), shape=(n, p))
    codes.sort_indices()
    return codes, out[3] * scale**2


@final
@dataclass(frozen=True)
class SimplexLeastSquares:
    """Encodes each row by the nearest point of a polytope, ``argmin ||x - w C||^2`` over ``w >= 0, sum w = 1``.

    The corners are ``c_j = norm_j a_j`` for unit atoms ``a_j``, and the codes ``z_j = w_j norm_j``, so that
    ``z A = sum_j w_j c_j``: the weights are the codes over the norms. A corner at the origin has norm 0, a zero atom
    and no code; its weight is what the others leave of 1. Exact, see `nearest_in_hull`.

    Parameters
    ----------
    norms : distance of each of the p corners from the origin; empty where all are 1.
    tolerance : relative gap.
    """

    norms: tuple[float, ...] = ()
    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        for norm in self.norms:
            check_real("norms", norm, 0.0)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where norms are not p."""
        x, atoms = checked(x, atoms)
        norms = np.asarray(self.norms) if self.norms else np.ones(len(atoms))
        if len(norms) != len(atoms):
            raise ValueError(f"there are {len(norms)} norms for p={len(atoms)} atoms. Give one norm for each.")
        codes, _ = nearest_in_hull(x, norms[:, None] * atoms, tolerance=self.tolerance)
        codes.data *= norms[codes.indices]
        codes.eliminate_zeros()
        return codes.astype(x.dtype)


@final
@dataclass(frozen=True)
class ArchetypalAnalysis:
    """Learns archetypes ``c_j = b_j x``, convex combinations of samples, whose own hull is nearest to the samples.

    ``min ||x - W B x||_F^2`` with the rows of W (n, p) and B (p, n) on simplexes. An iteration finds the exact weights
    W, then each archetype in turn: all else fixed, its best place is ``sum_i w_ij r_i / sum_i w_ij^2``, r what the
    others leave, and the point of the samples' hull nearest to that is the exact minimum. The squared error never
    rises. CONVERGED if it fell by less than the fraction ``tolerance`` in one iteration: to a local minimum. The trace
    has ``fvu`` at each coding. An atom is an archetype's direction seen from the bias, and the encoder of the fit,
    `SimplexLeastSquares`, knows the distances; `archetypes` puts them together. The hull, and so the fit, does not
    depend on where the bias is. An archetype that no sample uses stays.

    Parameters
    ----------
    width : p.
    iterations : updates of the archetypes, at most; there is one coding more.
    tolerance : relative fall of the squared error that counts as none.
    centre : take the mean of the samples as the bias, else the origin.

    References
    ----------
    Cutler and Breiman (1994), "Archetypal analysis"; Mørup and Hansen (2012), "Archetypal analysis for machine learning
    and data mining", for the start at samples far from each other.
    """

    width: int
    iterations: int = 50
    tolerance: float = 1e-4
    centre: bool = False

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("iterations", self.iterations, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the archetypes of ``x (n, d)``, started at samples that are far from each other."""
        samples, scale, bias, variance = prepare(x, centre=self.centre)
        samples /= scale
        rows = _far_apart(samples, self.width, rng)
        makeup = Codes((np.ones(self.width), rows, np.arange(self.width + 1)), shape=(self.width, len(samples)))
        corners, errors = samples[rows], []
        weights, status = Codes((len(samples), self.width)), Status.BUDGET_SPENT
        for iteration in range(self.iterations + 1):
            weights, _ = nearest_in_hull(samples, corners, start=weights)
            errors.append(float(np.square(samples - synthesise(weights, corners)).sum()))
            small = errors[-1] <= EXACT * max(float(np.square(samples).sum()), 1.0)
            if small or (iteration and errors[-2] - errors[-1] < self.tolerance * errors[-2]):
                status = Status.CONVERGED
                break
            if iteration < self.iterations:
                corners, makeup = _move(samples, weights, corners, makeup)
        atoms, norms = unit_rows(corners)
        fvu = tuple(error / variance if variance > 0 else float("nan") for error in errors)
        encoder = SimplexLeastSquares(tuple((norms * scale).tolist()))
        return FittedDictionary(atoms, bias, encoder, status, {"fvu": fvu})


def archetypes(fitted: FittedDictionary) -> FloatArray:
    """Return the archetypes ``(p, d)`` of a fit, in the units of its samples: ``bias + norm_j a_j``.

    Raises
    ------
    TypeError
        If the encoder of the fit is not `SimplexLeastSquares`.
    """
    if not isinstance(fitted.encoder, SimplexLeastSquares):
        raise TypeError(f"the encoder must be SimplexLeastSquares; got {type(fitted.encoder).__name__}.")
    norms = np.asarray(fitted.encoder.norms) if fitted.encoder.norms else np.ones(fitted.width)
    return fitted.bias + norms[:, None] * fitted.atoms


def _far_apart(x: FloatArray, width: int, rng: Rng) -> FloatArray:
    """Return the rows of ``width`` samples, each that of largest summed distance to those before; then at random."""
    first = int(rng.integers(len(x)))
    total = np.zeros(len(x))
    rows: list[int] = []
    row = int(np.argmax(np.linalg.norm(x - x[first], axis=1)))  # the first is only where to look from
    while len(rows) < min(width, len(x)):
        rows.append(row)
        total += np.linalg.norm(x - x[row], axis=1)
        total[rows] = -np.inf
        row = int(np.argmax(total))
    return np.concatenate([rows, rng.integers(len(x), size=width - len(rows))]).astype(np.int64)


def _move(x: FloatArray, weights: Codes, corners: FloatArray, makeup: Codes) -> tuple[FloatArray, Codes]:
    """Return the archetypes and their weights on the samples after each has gone to its best place in the hull."""
    columns = weights.tocsc()
    residual, corners = x - synthesise(weights, corners), corners.copy()
    rows = [makeup[[j]] for j in range(len(corners))]
    for j in range(len(corners)):
        place = slice(columns.indptr[j], columns.indptr[j + 1])
        used, weight = columns.indices[place], columns.data[place]
        if not np.any(weight):
            continue
        target = corners[j] + weight @ residual[used] / np.square(weight).sum()
        rows[j], _ = nearest_in_hull(target[None], x, start=rows[j])
        moved = synthesise(rows[j], x)[0]
        residual[used] -= weight[:, None] * (moved - corners[j])
        corners[j] = moved
    return corners, Codes(vstack(rows, format="csr"))
