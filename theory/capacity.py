"""How much of a dimension each feature gets: dimensionality, capacity, and their optimal allocation."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from theory._premises import count, matrix, moderate
from theory.frames import welch_bound

Array: TypeAlias = npt.NDArray[np.floating[Any]]

# Dimensions a feature of regular arrangements (rows, dimensions): n unit rows that form a tight frame in R^d have d/n.
STICKY_FRACTIONS = {
    "orthogonal": 1.0,
    "tetrahedron": 3 / 4,
    "triangle": 2 / 3,
    "digon": 1 / 2,
    "pentagon": 2 / 5,
    "square antiprism": 3 / 8,
}


def feature_dimensionality(weights: npt.ArrayLike) -> Array:
    """Return the fraction of a dimension that each row of ``weights (n, d)`` has; 0 for a row of zeros.

    ``D_i = ||W_i||^2 / sum_j (W_i . W_j / ||W_i||)^2``. The sum over i is at most rank(W) (Cauchy-Schwarz with the
    pseudo-inverse of W^T W), with equality iff W^T W acts on each row as a multiple of it, e.g. for tight frames.

    References
    ----------
    Elhage et al. (2022), arXiv 2209.10652, "feature dimensionality".
    """
    rows = matrix("weights", weights)
    peaks = np.abs(rows).max(axis=1)  # each row is divided by its own, so that no square underflows or overflows
    alive = peaks > 0
    unit = np.divide(rows, peaks[:, None], out=np.zeros_like(rows), where=alive[:, None])
    lengths = np.where(alive, np.linalg.norm(unit, axis=1), 1.0)
    unit /= lengths[:, None]
    with np.errstate(over="ignore", invalid="ignore"):  # a neighbour infinitely longer leaves nothing
        log_peaks = np.log(np.where(alive, peaks, 1.0))
        relative = np.exp(log_peaks[None, :] - log_peaks[:, None])
        crowd = np.square((unit @ unit.T) * relative * lengths[None, :] / lengths[:, None])
        crowd = np.where(np.isnan(crowd), 0.0, crowd).sum(axis=1)
    return np.where(alive, 1.0 / np.maximum(crowd, 1.0), 0.0)


def dimensions_per_feature(weights: npt.ArrayLike) -> float:
    """Return ``D* = d / ||W||_F^2``, hidden dimensions over the number of features represented (of unit norm)."""
    rows = matrix("weights", weights)
    size = float(np.abs(rows).max())
    if size == 0:
        raise ValueError("weights are all zero: no feature is represented.")
    return float(rows.shape[1] / np.square(rows / moderate("the largest weight", size)).sum() / size**2)


def gram_capacities(gram: npt.ArrayLike) -> Array:
    """Return ``C_i = G_ii^2 / sum_j G_ij^2`` of a symmetric ``gram (n, n)``; they sum to at most its rank.

    References
    ----------
    Scherlis et al. (2022), "Polysemanticity and capacity in neural networks", arXiv 2210.01892.
    """
    g = matrix("gram", gram)
    g = g / (np.abs(g).max() or 1.0)  # capacities have no scale
    if g.shape[0] != g.shape[1] or not np.allclose(g, g.T, rtol=1e-9, atol=1e-12 * np.abs(g).max()):
        raise ValueError(f"gram must be symmetric; got shape {g.shape}.")
    energy = np.square(g).sum(axis=1)
    return np.asarray(np.divide(np.diag(g) ** 2, energy, out=np.zeros(len(g)), where=energy > 0))


def _check_kurtosis(fourth_moment: float) -> float:
    if not 1.0 < fourth_moment <= 1e100:
        raise ValueError(
            f"fourth_moment E x^4 at E x^2 = 1 must be above 1, and at most 1e100; got {fourth_moment!r}. "
            "At 1, x^2 is constant and nothing is to be learned."
        )
    return fourth_moment - 1.0


def _shares(capacity: npt.ArrayLike, value: npt.ArrayLike) -> tuple[Array, Array]:
    share, v = np.asarray(capacity, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"capacity must lie in [0, 1]; got {share}.")
    if not (np.abs(v) <= 1e150).all():
        raise ValueError(f"value must be finite, and at most 1e150 in size; got {v}.")
    return share, v


def capacity_loss(capacity: npt.ArrayLike, value: npt.ArrayLike, fourth_moment: float) -> Array:
    """Return the least loss of features of ``value`` v that are given capacity C: v^2 2a(1-C) / (2 + (a-2)C).

    The target is ``sum_i v_i x_i^2`` and the model ``x^T G x + constant`` with a Gram matrix of rank m; a = E x^4 - 1.
    A row of G with diagonal g and capacity C costs ``a (v-g)^2 + 2 g^2 (1-C)/C``, least at g = a v / (a + 2(1-C)/C).

    References
    ----------
    Scherlis et al. (2022), arXiv 2210.01892.
    """
    a = _check_kurtosis(fourth_moment)
    share, v = _shares(capacity, value)
    return np.asarray(v**2 * 2.0 * a * (1.0 - share) / (2.0 + (a - 2.0) * share))


def capacity_benefit(capacity: npt.ArrayLike, value: npt.ArrayLike, fourth_moment: float) -> Array:
    """Return the marginal benefit -dL/dC = 2 a^2 v^2 / (2 + (a-2) C)^2: falling in C iff kurtosis exceeds 3."""
    a = _check_kurtosis(fourth_moment)
    share, v = _shares(capacity, value)
    return np.asarray(2.0 * a**2 * v**2 / (2.0 + (a - 2.0) * share) ** 2)


def allocate_capacity(values: npt.ArrayLike, total: float, fourth_moment: float) -> Array:
    """Return the capacities ``(n,)`` in [0, 1] with sum ``total`` that minimise the summed `capacity_loss`.

    For kurtosis above 3 the marginal benefit falls, and water-filling gives
    ``C_i = clip((a |v_i| sqrt(2 / L) - 2) / (a - 2), 0, 1)`` with the multiplier L at which they sum to ``total``:
    features are ignored, represented in part (superposition) or whole. At or below 3 the benefit does not fall, and
    whole dimensions go to the largest |v|, the rest of ``total`` to the next.

    Raises
    ------
    ValueError
        If ``total`` is outside [0, n].
    """
    a = _check_kurtosis(fourth_moment)
    v = np.abs(np.asarray(values, dtype=np.float64))
    if v.ndim != 1 or not len(v) or not np.isfinite(v).all():
        raise ValueError(f"values must be a finite vector (n,); got shape {v.shape}.")
    if not 0.0 <= total <= len(v):
        raise ValueError(f"total must lie in [0, n={len(v)}]: a feature uses at most one dimension; got {total!r}.")
    excess = a - 2.0
    if excess <= 1e-12 or total in (0, len(v)) or total >= np.count_nonzero(v):
        order = np.argsort(-v, kind="stable")
        shares = np.zeros(len(v))
        shares[order] = np.clip(total - np.arange(len(v)), 0.0, 1.0)
        return shares

    def shares_at(log_level: float) -> Array:
        return np.clip((a * v * math.exp(-log_level) - 2.0) / excess, 0.0, 1.0)  # level = sqrt(L / 2)

    positive = v[v > 0]
    low = math.log(float(positive.min())) - math.log1p(excess) - 1.0  # every feature of positive value is whole
    high = math.log(a * float(v.max()) / 2.0)  # none has anything
    level = brentq(lambda x: float(shares_at(x).sum()) - total, low, high, xtol=1e-14, rtol=1e-14)
    return shares_at(float(level))


def compressed_computation_loss(neurons: int, features: int, density: float) -> float:
    """Return the loss a feature of learning ``y = x + ReLU(x)`` with a dedicated neuron each for some: (1 - m/n) p / 6.

    x is uniform on [-1, 1] with probability ``density``, else 0; a feature without a neuron loses E ReLU(x)^2 = p/6.
    """
    if not 0 <= neurons <= features or features < 1:
        raise ValueError(f"neurons must lie in [0, features={features}]; got {neurons}.")
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"density must lie in [0, 1]; got {density!r}.")
    return (1.0 - neurons / features) * density / 6.0


def weak_superposition_loss(rates: npt.ArrayLike, second_moment: float, d: int) -> float:
    """Return the loss when the d most frequent features are kept whole and the rest ignored: E c^2 sum_{i > d} p_i.

    With Zipf rates ``p_i ~ i^-s``, s > 1, it falls as d^(1-s).

    References
    ----------
    Liu et al. (2025), "Superposition yields robust neural scaling", arXiv 2505.10465 (weak superposition).
    """
    p = np.asarray(rates, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("rates must be a vector of probabilities.")
    count("d", d, 0)
    if not 0.0 <= second_moment < math.inf:
        raise ValueError(f"second_moment must be finite and not negative; got {second_moment!r}.")
    return second_moment * float(np.sort(p)[::-1][d:].sum())


def strong_superposition_overlap(n: int, d: int) -> float:
    """Return the least mean squared overlap of n unit directions in R^d, (n-d) / (d (n-1)), about 1/d for n >> d.

    Attained iff they form a tight frame (Welch); in strong superposition the loss is proportional to it.

    References
    ----------
    Welch (1974); Liu et al. (2025), arXiv 2505.10465 (strong superposition).
    """
    if d < 1 or n < 2:
        raise ValueError(f"n must be at least 2 and d at least 1; got n={n}, d={d}.")
    return welch_bound(n, d) ** 2 if n > d else 0.0
