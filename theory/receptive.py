"""Receptive fields: which groups of inputs one latent can be active on, and certificates for those it cannot.

A ReLU or JumpReLU latent is active on a half-space, through the origin if it has no bias; one that has to win against
other linear scores on an intersection of half-spaces, a polytope, or a cone if there are no biases. Every answer
carries its proof: the half-space, or a point that the hulls of both groups hold.

References
----------
Hindupur et al. (2025), arXiv 2503.01822, for receptive fields of encoders. The certificates are Farkas' lemma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.special import ndtr

Array: TypeAlias = npt.NDArray[np.floating[Any]]


@final
@dataclass(frozen=True)
class HalfSpace:
    """``weights . x + bias`` is at least 1 on the inside and at most 0 on the outside."""

    weights: Array
    bias: float


@final
@dataclass(frozen=True)
class Overlap:
    """A point both sides hold: ``inside_weights @ inside = outside_weights @ outside``, so no half-space parts them.

    Attributes
    ----------
    inside_weights : (N,), not negative, of sum 1.
    outside_weights : (M,), not negative; of sum 1 too where a bias is allowed.
    """

    inside_weights: Array
    outside_weights: Array


def _points(name: str, value: npt.ArrayLike) -> Array:
    rows = np.asarray(value, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or not rows.shape[1] or not np.isfinite(rows).all():
        raise ValueError(f"{name} must be a finite array (N, d) of at least one point; got shape {rows.shape}.")
    return rows


def _pair(inside: npt.ArrayLike, outside: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = _points("inside", inside), _points("outside", outside)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"inside and outside must agree in d; got {a.shape[1]} and {b.shape[1]}.")
    return a, b


def half_space(inside: npt.ArrayLike, outside: npt.ArrayLike, *, through_origin: bool = False) -> HalfSpace | Overlap:
    """Return a half-space that a latent can be active on exactly the inside with, or the proof that there is none.

    There is one iff the convex hulls are disjoint; through the origin, iff the hull of the inside has no point in
    common with the cone of the outside. A group inside the hull of others has no latent of its own.

    Parameters
    ----------
    inside : (N, d), where the latent must be active.
    outside : (M, d), where it must not.
    through_origin : allow no bias.

    Raises
    ------
    ValueError
        Unless both are finite arrays of at least one point in the same dimension, or if the linear programmes cannot
        decide: the hulls touch to within their tolerance of 1e-7.
    """
    a, b = _pair(inside, outside)
    scale = float(max(np.abs(a).max(), np.abs(b).max(), 1e-300))
    a, b = a / scale, b / scale
    if not through_origin:
        a, b = (np.column_stack([rows, np.ones(len(rows))]) for rows in (a, b))
    # lambda a = mu b with sum lambda = 1; the last coordinate, 1, makes sum mu = 1.
    equal = np.concatenate([np.concatenate([a, -b]).T, np.concatenate([np.ones(len(a)), np.zeros(len(b))])[None]])
    target = np.eye(1, len(equal), len(equal) - 1)[0]
    meeting = linprog(np.zeros(equal.shape[1]), A_eq=equal, b_eq=target, bounds=(0, None), method="highs")
    if meeting.success:
        return Overlap(np.asarray(meeting.x[: len(a)]), np.asarray(meeting.x[len(a) :]))
    limits = np.concatenate([-np.ones(len(a)), np.zeros(len(b))])
    parted = linprog(
        np.zeros(a.shape[1]), A_ub=np.concatenate([-a, b]), b_ub=limits, bounds=(None, None), method="highs"
    )
    if not parted.success:
        raise ValueError("the groups touch to within 1e-7, and neither certificate was found. Move them apart.")
    weights = np.asarray(parted.x)
    return HalfSpace(weights / scale, 0.0) if through_origin else HalfSpace(weights[:-1] / scale, float(weights[-1]))


def polytope(
    inside: npt.ArrayLike, outside: npt.ArrayLike, *, through_origin: bool = False
) -> tuple[HalfSpace, ...] | Overlap:
    """Return half-spaces whose intersection holds the inside and no point of the outside, or why there are none.

    One for each outside point; they exist iff none of these lies in the convex hull of the inside (through the origin:
    iff the cone of none of them meets that hull). What a half-space parts, a polytope parts, not conversely: a group
    amid others has a polytope.

    Raises
    ------
    ValueError
        As `half_space`.
    """
    a, b = _pair(inside, outside)
    walls = []
    for index in range(len(b)):
        found = half_space(a, b[[index]], through_origin=through_origin)
        if isinstance(found, Overlap):
            weights = np.zeros(len(b))
            weights[index] = found.outside_weights[0]
            return Overlap(found.inside_weights, weights)
        walls.append(found)
    return tuple(walls)


def half_space_f1(centres: npt.ArrayLike, shares: npt.ArrayLike, deviation: float, target: int) -> float:
    """Return the largest F1 with which a half-space of the plane tells one round Gaussian cluster from the others.

    Cluster j has the centre ``centres[j] (2,)``, the share ``shares[j]`` of the samples and the same ``deviation`` in
    every direction, so that a half-space w . x > t holds the share Phi((w . c_j - t) / deviation) of it. F1 is
    2 TP / (P + predicted). By search over directions and thresholds, to within 1e-3 from below: no latent that is
    active on a half-space does better.

    Raises
    ------
    ValueError
        Unless there are as many positive shares of sum 1 as centres, the deviation is positive and the target is one.
    """
    places, weights = _points("centres", centres), np.asarray(shares, dtype=np.float64)
    if places.shape[1] != 2 or weights.shape != (len(places),) or weights.min() <= 0 or abs(weights.sum() - 1) > 1e-9:
        raise ValueError(f"needs centres (m, 2) and m positive shares of sum 1; got {places.shape} and {shares!r}.")
    if not deviation > 0.0 or not 0 <= target < len(places):
        raise ValueError(f"needs deviation > 0 and 0 <= target < {len(places)}; got {deviation} and {target}.")
    angles = np.linspace(0.0, 2.0 * np.pi, 720, endpoint=False)
    along = np.column_stack([np.cos(angles), np.sin(angles)]) @ places.T
    reach = float(np.abs(along).max()) + 5.0 * deviation
    best = 0.0
    for threshold in np.linspace(-reach, reach, 601):
        inside = ndtr((along - threshold) / deviation) * weights
        best = max(best, float((2.0 * inside[:, target] / (weights[target] + inside.sum(axis=1))).max()))
    return best
