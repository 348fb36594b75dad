"""The ReLU-output toy model of superposition: its loss in closed form where few features are active at once.

n features are uniform on [0, 1] with probability ``density`` and else zero, independently. The model keeps d numbers
``h = x W`` with ``W (n, d)`` and answers ``x' = ReLU(h W^T + b)``, so that it depends on W through the Gram matrix
``G = W W^T (n, n)`` alone. The loss is ``E sum_i importance_i (x_i - x'_i)^2``, summed over features.

References
----------
Elhage et al. (2022), "Toy models of superposition", arXiv 2209.10652.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from theory._premises import count

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)  # exact for polynomials of degree 7; here it is at most 3


def _ramp_moments(slope: Array, offset: Array) -> tuple[Array, Array]:
    """Return ``int_0^1 r dx``-type moments of ``r = ReLU(slope x + offset)``: those of ``r^2`` and of ``x r``."""
    slope, offset = np.broadcast_arrays(np.asarray(slope, dtype=np.float64), np.asarray(offset, dtype=np.float64))
    flat = slope == 0
    kink = np.clip(np.divide(-offset, slope, out=np.zeros_like(offset), where=~flat), 0.0, 1.0)
    low = np.where(slope > 0, kink, 0.0)
    high = np.where(slope < 0, kink, np.where(flat & (offset <= 0), 0.0, 1.0))
    high = np.where((slope < 0) & (offset <= 0), 0.0, high)
    centre, half = (low + high) / 2.0, (high - low) / 2.0
    x = centre[..., None] + half[..., None] * _NODES
    ramp = np.maximum(slope[..., None] * x + offset[..., None], 0.0)
    weight = half[..., None] * _WEIGHTS
    return (weight * ramp**2).sum(-1), (weight * x * ramp).sum(-1)


def _check(gram: npt.ArrayLike, bias: npt.ArrayLike, importance: npt.ArrayLike) -> tuple[Array, Array, Array]:
    g, b, weight = (np.asarray(value, dtype=np.float64) for value in (gram, bias, importance))
    if g.ndim != 2 or g.shape[0] != g.shape[1] or not np.isfinite(g).all() or not np.allclose(g, g.T, atol=1e-12):
        raise ValueError(f"gram must be a finite symmetric matrix (n, n), W W^T; got shape {g.shape}.")
    if b.shape != (len(g),) or weight.shape != (len(g),) or not np.isfinite(b).all():
        raise ValueError(f"bias and importance must be finite vectors of n={len(g)}; got {b.shape} and {weight.shape}.")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(f"importance must not be negative; got {weight.min()}.")
    return g, b, weight


def _check_density(density: float) -> None:
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"density must lie in [0, 1], the probability that a feature is active; got {density!r}.")


def _check_feature(density: float, importance: float) -> None:
    _check_density(density)
    if not 0.0 <= importance <= 1e100:
        raise ValueError(f"importance must lie in [0, 1e100]; got {importance!r}.")


def one_sparse_loss(gram: npt.ArrayLike, bias: npt.ArrayLike, importance: npt.ArrayLike) -> float:
    """Return the loss of a sample in which exactly one feature, any of the n, is active: the limit of low density.

    With feature i alone at x: ``I_i (x - ReLU(G_ii x + b_i))^2 + sum_j I_j ReLU(G_ij x + b_j)^2``, integrated over x.
    """
    g, b, weight = _check(gram, bias, importance)
    square, moment = _ramp_moments(g, b[None, :])
    own = np.diag_indices(len(g))
    return float((square * weight).sum() + (weight * (1.0 / 3.0 - 2.0 * moment[own])).sum()) / len(g)


def _pair_moments(slope: float, other: float, offset: float) -> tuple[float, float]:
    """Return the integrals over the unit square of ``r^2`` and ``x r``, ``r = ReLU(slope x + other y + offset)``.

    The integral over x is a cubic polynomial in y between the heights at which the kink enters and leaves [0, 1].
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # then the kink is far away
        kinks = np.array([-offset, -offset - slope]) / other
    breaks = np.unique(np.concatenate([[0.0, 1.0], kinks[(kinks > 0) & (kinks < 1)]]))
    half, centre = np.diff(breaks)[:, None] / 2.0, (breaks[1:] + breaks[:-1])[:, None] / 2.0
    y = centre + half * _NODES
    square, moment = _ramp_moments(np.full_like(y, slope), other * y + offset)
    return float((half * _WEIGHTS * square).sum()), float((half * _WEIGHTS * moment).sum())


def two_feature_loss(gram: npt.ArrayLike, bias: npt.ArrayLike, importance: npt.ArrayLike, density: float) -> float:
    """Return the exact expected loss of a toy model of n = 2 features, for any number of hidden dimensions.

    Parameters
    ----------
    gram : (2, 2), W W^T; of rank one for one hidden dimension.
    bias, importance : (2,).
    density : probability that a feature is active, 1 - S in the paper's letters.
    """
    g, b, weight = _check(gram, bias, importance)
    _check_density(density)
    if len(g) != 2:
        raise ValueError(f"gram must be of n=2 features; got {len(g)}. Use one_sparse_loss in the sparse limit.")
    silent = float((weight * np.maximum(b, 0.0) ** 2).sum())
    both = 0.0
    for i in range(2):
        square, moment = _pair_moments(g[i, i], g[i, 1 - i], b[i])
        both += weight[i] * (1.0 / 3.0 - 2.0 * moment + square)
    p = density
    return (1 - p) ** 2 * silent + 2 * p * (1 - p) * one_sparse_loss(g, b, weight) + p**2 * both


def dropped_loss(density: float, importance: float = 1.0) -> float:
    """Return the loss of a feature that is not represented, its bias at its mean: I (p/3 - p^2/4), its variance."""
    _check_feature(density, importance)
    return importance * (density / 3.0 - density**2 / 4.0)


def antipodal_loss(density: float, importance: float = 1.0) -> float:
    """Return the loss of the antipodal pair W = (1, -1), b = 0 of importances 1 and r: p^2 (1 + r) / 6.

    Only a sample with both active errs: the smaller feature is lost and the larger reads x1 - x2, E min(x1, x2)^2 = 1/6
    for each.
    """
    _check_feature(density, importance)
    return density**2 * (1.0 + importance) / 6.0


def superposition_interval(density: float) -> tuple[float, float]:
    """Return the relative importances r between which the antipodal pair beats dropping either feature.

    It beats dropping feature 2 iff ``r > 2 p / (4 - 5 p)`` and dropping feature 1 iff ``r < 2 / p - 5 / 2``; the two
    meet at r = 1, p = 4/7, above which the interval is empty (low > high; infinite from p = 4/5 on).

    These compare named solutions. The true optimum over (W, b), `two_feature_optimum`, can be slightly below all three.
    """
    _check_density(density)
    low = 2.0 * density / (4.0 - 5.0 * density) if density < 0.8 else math.inf
    return low, (2.0 / density - 2.5 if density > 0 else math.inf)


def two_feature_optimum(density: float, importance: float = 1.0) -> tuple[float, Array, Array]:
    """Return the smallest loss found for n = 2, d = 1 with importances (1, r), its weights ``(2,)`` and bias ``(2,)``.

    Numerical: BFGS from the named solutions and starts around them; an upper bound on the optimum that
    is never above the named solutions.
    """
    _check_feature(density, importance)

    def loss(flat: Array) -> float:
        return two_feature_loss(np.outer(flat[:2], flat[:2]), flat[2:], (1.0, importance), density)

    p, best = density, None
    for start in (
        (1.0, -1.0, 0.0, 0.0),
        (1.0, -1.0, 0.2, 0.2),
        (1.0, 0.0, 0.0, p / 2),
        (0.0, 1.0, p / 2, 0.0),
        (1.0, -0.5, 0.0, p / 2),
        (0.7, 0.7, 0.2, 0.2),
        (1.0, 0.5, 0.0, 0.2),
    ):
        found = minimize(loss, np.array(start), method="BFGS", options={"gtol": 1e-8})
        if best is None or found.fun < best.fun:
            best = found
    if best is None:  # there is a start, so this only tells the type checker
        raise ValueError("no start was tried.")
    return float(best.fun), np.asarray(best.x[:2]), np.asarray(best.x[2:])


def linear_model_loss(importance: npt.ArrayLike, variance: npt.ArrayLike, d: int) -> float:
    """Return the least loss of the model without ReLU: it keeps the d features of largest I_i Var_i and drops the rest.

    ``sum_i I_i E(x_i - x'_i)^2`` with ``x' = x W W^T + b`` and independent features; no superposition is ever better
    (Eckart-Young on ``diag(sqrt(I Var))``, whose singular vectors are the axes).
    """
    weight, spread = np.asarray(importance, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    worth = weight * spread
    if worth.ndim != 1 or weight.shape != spread.shape or not (np.isfinite(worth) & (worth >= 0)).all():
        raise ValueError("importance and variance must be vectors (n,) of one length, of non-negative numbers.")
    return float(np.sort(worth)[::-1][count("d", d, 0) :].sum())


def polygon_gram(k: int, scale: float) -> Array:
    """Return the Gram matrix ``(k, k)`` of k directions of squared norm ``scale`` at equal angles in a plane."""
    if count("k", k) < 2:
        raise ValueError(f"k must be at least 2 corners; got {k}.")
    if not 0.0 <= scale < math.inf:
        raise ValueError(f"scale must be finite and not negative, a squared norm; got {scale!r}.")
    angle = 2.0 * math.pi * np.arange(k) / k
    return np.asarray(scale * np.cos(angle[:, None] - angle[None, :]))


def polygon_optimum(k: int) -> tuple[float, float, float]:
    """Return the least one-sparse loss of the regular k-gon in d = 2, with its squared norm and bias.

    Loss, squared norm and (shared) bias; zero for k <= 4, where no two corners have a positive inner product.
    """
    cosine = polygon_gram(k, 1.0)[0]

    def loss(flat: Array) -> float:
        """Every corner sees the same, so the loss is that of the first: its own error and what leaks elsewhere."""
        square, moment = _ramp_moments(flat[0] * cosine, np.full(k, flat[1]))
        return float(square.sum() + 1.0 / 3.0 - 2.0 * moment[0])

    best = (math.inf, 1.0, 0.0)
    for scale, bias in ((1.0, 0.0), (2.0, -0.9)):
        found = minimize(loss, np.array([scale, bias]), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
        if found.fun < best[0] - 1e-14:
            best = float(found.fun), float(found.x[0]), float(found.x[1])
    return best
