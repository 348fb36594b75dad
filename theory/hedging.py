"""Hedging: what an autoencoder that is too narrow, or allowed too few active latents, does instead of the truth.

Latents read and write along unit rows, ``x' = sum_i f_i u_i`` with ``f >= 0``, the best code for its atoms, and no bias
unless said. Losses are squared errors summed over d. A law is given by samples ``x (N, d)`` and their probabilities.

References
----------
Chanin et al. (2025), "Feature hedging", arXiv 2505.11756, and "Sparse but wrong", arXiv 2508.16560, for the phenomena.
The optima are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_MOST_SAMPLES = 11  # their partitions are enumerated: 678,570 at 11


def _check_pair(parent: float, both: float, child: float) -> None:
    if not (min(parent, both, child) >= 0.0 and 0.0 < parent + both + child <= 1.0 + 1e-12):
        raise ValueError(f"the probabilities must be a sub-distribution, not all 0; got {(parent, both, child)}.")


def _law(x: npt.ArrayLike, weights: npt.ArrayLike | None) -> tuple[Array, Array]:
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise ValueError(f"x must be a finite array (N, d) with N >= 1; got shape {rows.shape}.")
    w = np.full(len(rows), 1.0 / len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(rows),) or not np.isfinite(w).all() or (w < 0.0).any():
        raise ValueError(f"weights must be {len(rows)} numbers, none negative; got shape {w.shape}.")
    return rows, w


def narrow_bound(second_moment: npt.ArrayLike, width: int) -> float:
    """Return the sum of all but the ``width`` largest eigenvalues: no autoencoder of that many latents loses less.

    Its reconstruction ``f U`` has rank ``width``, whatever the encoder, penalty or number of active latents. Give the
    covariance instead of ``E x^T x`` where there is a free decoder bias. Attained by a linear code; with f >= 0 by one
    latent on data with non-negative moments.

    Raises
    ------
    ValueError
        Unless the matrix is symmetric and positive semidefinite and the width not negative.
    """
    moment = np.asarray(second_moment, dtype=np.float64)
    if moment.ndim != 2 or moment.shape[0] != moment.shape[1] or not np.allclose(moment, moment.T, atol=1e-12):
        raise ValueError(f"second_moment must be a symmetric matrix (d, d); got shape {moment.shape}.")
    values = np.linalg.eigvalsh(moment)
    if width < 0 or values[0] < -1e-9 * max(1.0, float(values[-1])):
        raise ValueError(f"needs width >= 0 and no negative eigenvalue; got {width} and {values[0]:.3g}.")
    return float(np.maximum(values[: max(len(values) - width, 0)], 0.0).sum())


def hedging_angle(parent: float, both: float, child: float = 0.0, *, penalty: float = 0.0) -> float:
    """Return the angle by which a single latent leaves the first of two orthonormal features of size 1.

    Without penalty ``1/2 atan2(2 both, parent - child)``, the top eigenvector of ``E x^T x``: any co-occurrence tilts.
    With the loss ``||x - f u||^2 + penalty f`` the codes are ``(x u - penalty/2)_+``; the slope of the loss at angle 0,
    ``-both (2 - penalty)``, is negative for every penalty below 2, at which all codes of size 1 vanish.

    Parameters
    ----------
    parent, both, child : probabilities of the first feature alone, of both, of the second alone.
    penalty : in [0, 2).

    Raises
    ------
    ValueError
        If the probabilities are no sub-distribution or the penalty out of range.
    """
    _check_pair(parent, both, child)
    if not 0.0 <= penalty < 2.0:
        raise ValueError(f"penalty must lie in [0, 2); got {penalty}.")
    if penalty == 0.0:
        return 0.5 * math.atan2(2.0 * both, parent - child)
    low, high = 0.0, 0.5 * math.pi
    for _ in range(5):
        grid = np.linspace(low, high, 401)
        best = int(_one_latent_gain(grid, parent, both, child, penalty).argmax())
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, 400)])
    return 0.5 * (low + high)


def _one_latent_gain(angle: Array, parent: float, both: float, child: float, penalty: float) -> Array:
    """Return how much a latent at this angle lowers the loss: ``E (x u - penalty/2)_+^2``."""
    cosine, sine = np.cos(angle), np.sin(angle)
    gain = np.zeros_like(cosine)
    for weight, score in ((parent, cosine), (both, cosine + sine), (child, sine)):
        gain = gain + weight * np.square(np.maximum(score - penalty / 2.0, 0.0))
    return gain


@final
@dataclass(frozen=True)
class OneActive:
    """The best atoms where one latent is active at a time.

    Attributes
    ----------
    loss : the smallest expected squared error.
    atoms : (width, d) unit rows; zero rows where fewer are needed.
    labels : (N,) which atom each sample uses.
    """

    loss: float
    atoms: Array
    labels: npt.NDArray[np.intp]


def one_active_optimum(x: npt.ArrayLike, weights: npt.ArrayLike | None, width: int) -> OneActive:
    """Return the global optimum of an autoencoder with one active latent (k = 1) and no bias, by enumeration.

    For a given assignment of samples to atoms, the best atom is the top eigenvector of its samples' second moment;
    minimising over atoms and over assignments commute, so the best partition of the samples is the optimum. The codes
    are non-negative where the samples' inner products are, which is required.

    Parameters
    ----------
    x : (N, d), at most 11 samples with non-negative inner products.
    weights : (N,), their probabilities; equal if not given.
    width : number of latents, at least 1.

    Raises
    ------
    ValueError
        For more samples, a negative inner product, negative weights or no latent.
    """
    rows, w = _law(x, weights)
    if len(rows) > _MOST_SAMPLES or width < 1:
        raise ValueError(f"needs at most {_MOST_SAMPLES} samples and width >= 1; got {len(rows)} and {width}.")
    gram = rows @ rows.T
    if gram.min() < -1e-12 * max(1.0, float(gram.max())):
        raise ValueError(f"samples must have inner products >= 0; got {gram.min():.3g}. Their codes could be negative.")
    scaled = np.sqrt(w)[:, None] * rows
    kernel = scaled @ scaled.T
    gains: dict[int, float] = {}  # of a set of samples, as bits: the top eigenvalue of its second moment
    best, chosen = -math.inf, np.zeros(len(rows), dtype=np.intp)
    for labels in _partitions(len(rows), width):
        total = 0.0
        for block in range(max(labels) + 1):
            members = [index for index, label in enumerate(labels) if label == block]
            key = sum(1 << index for index in members)
            if key not in gains:
                gains[key] = float(np.linalg.eigvalsh(kernel[np.ix_(members, members)])[-1])
            total += gains[key]
        if total > best:
            best, chosen = total, np.array(labels, dtype=np.intp)
    atoms = np.zeros((width, rows.shape[1]))
    for block in range(int(chosen.max()) + 1):
        atoms[block] = _leading(scaled[chosen == block])
    return OneActive(max(float(np.trace(kernel)) - best, 0.0), atoms, chosen)


def _partitions(n: int, blocks: int) -> Iterator[tuple[int, ...]]:
    """Yield every partition of n things into at most ``blocks`` blocks once, as restricted growth strings."""

    def extend(labels: tuple[int, ...], used: int) -> Iterator[tuple[int, ...]]:
        if len(labels) == n:
            yield labels
            return
        for label in range(min(used + 1, blocks)):
            yield from extend((*labels, label), max(used, label + 1))

    return extend((), 0)


def _leading(rows: Array) -> Array:
    """Return the direction of the largest second moment, pointing to the samples."""
    direction = np.linalg.svd(rows, full_matrices=False)[2][0]
    return np.asarray(direction if (rows @ direction).sum() >= 0.0 else -direction)


def one_active_tilt(parent: float, both: float, child: float) -> tuple[float, float]:
    """Return (loss, tilt) of two latents, one active, on two orthonormal features of size 1: asymmetric.

    One atom stays true and serves its feature alone; the other serves its own and both, tilted from its feature by
    ``psi = 1/2 atan2(2 both, alone)``, at the loss ``alone/2 + both - sqrt(alone^2/4 + both^2)``, which grows with
    ``alone``: it is the feature that is alone more seldom that gives way, ``alone = min(parent, child)``. Independent
    features hedge as well. The loss is below ``both``, that of the truth, and below ``alone``, that of an atom kept for
    the joint samples: this is the global optimum.

    Raises
    ------
    ValueError
        If the probabilities are no sub-distribution.
    """
    _check_pair(parent, both, child)
    alone = min(parent, child)
    root = math.hypot(alone / 2.0, both)
    loss = 0.0 if root == 0.0 else (alone / 2.0) * (2.0 * both) / (alone / 2.0 + both + root)
    return loss, 0.5 * math.atan2(2.0 * both, alone)


def truncated_truth_loss(codes: npt.ArrayLike, weights: npt.ArrayLike | None, k: int) -> float:
    """Return the loss of orthonormal true atoms, k of them active: the expected energy below the k largest codes.

    Raises
    ------
    ValueError
        Unless codes are a finite array and k is not negative.
    """
    s, w = _law(codes, weights)
    if k < 0:
        raise ValueError(f"k must not be negative; got {k}.")
    energy = np.sort(np.square(s), axis=1)[:, : max(s.shape[1] - k, 0)]
    return float(w @ energy.sum(axis=1))


def _check_sharing(active: float, k: float, mean: float, deviation: float) -> None:
    if not (0.0 < active < math.inf and 0.0 < k < math.inf):
        raise ValueError(f"active and k must be positive and finite; got {active} and {k}.")
    if not (deviation > 0.0 and mean >= 4.0 * deviation):
        raise ValueError(
            f"the mean must be at least 4 deviations, so that codes are positive; got {mean} and {deviation}."
        )


def sharing_threshold(active: float, k: float, mean: float, deviation: float) -> float:
    """Return the code above which ``k`` of ``active`` features a sample lie on average; 0 if k >= active.

    ``mean + deviation probit(1 - k / active)`` for normal codes: the threshold that sharing out k latents a sample
    among a large batch comes to, with orthonormal true atoms, whatever the correlations of the features.

    Raises
    ------
    ValueError
        Unless both numbers are positive and normal codes are positive but for a chance below 4e-5.
    """
    _check_sharing(active, k, mean, deviation)
    return max(0.0, mean + deviation * float(ndtri(1.0 - k / active))) if k < active else 0.0


def shared_truth_loss(active: float, k: float, mean: float, deviation: float) -> float:
    """Return the loss of orthonormal true atoms where a large batch shares out ``k`` latents a sample.

    ``active E[s^2; s < q]``, q the `sharing_threshold`, which is ``(mean^2 + deviation^2) Phi(t) - deviation (2 mean +
    deviation t) phi(t)`` at ``t = (q - mean) / deviation``. Zero from k = active on. `truncated_truth_loss` is the same
    where each sample has its own k.

    Raises
    ------
    ValueError
        As `sharing_threshold`.
    """
    _check_sharing(active, k, mean, deviation)
    if k >= active:
        return 0.0
    t = float(ndtri(1.0 - k / active))
    density = math.exp(-t * t / 2.0) / math.sqrt(2.0 * math.pi)
    below = (mean**2 + deviation**2) * float(ndtr(t)) - deviation * (2.0 * mean + deviation * t) * density
    return active * below


def bias_escape(distance: float) -> tuple[Array, Array, float]:
    """Return bias ``(2,)``, two atoms ``(2, 2)`` and worst error of one active latent on the corners of a square.

    With a free decoder bias at ``(-distance, 1/2)`` two nearly parallel rays pass by the corners of the unit square:
    the worst squared error is below ``1 / (4 distance)^2``, so that the loss has no minimum and tends to zero while
    the bias and the codes diverge. Where k is too small the bias must be fixed or penalised.

    Raises
    ------
    ValueError
        Unless the distance is positive and finite.
    """
    if not (distance > 0.0 and math.isfinite(distance)):
        raise ValueError(f"distance must be positive and finite; got {distance}.")
    bias = np.array([-distance, 0.5])
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) - bias
    low, high = _leading(corners[:2]), _leading(corners[2:])
    worst = max(
        abs(corner[0] * atom[1] - corner[1] * atom[0])
        for atom, pair in ((low, corners[:2]), (high, corners[2:]))
        for corner in pair
    )
    return bias, np.stack([low, high]), worst * worst
