"""Absorption: how the l1 penalty tilts atoms towards features that their own feature occurs with, and how to undo it.

The loss of a sample is ``||x - f A||^2 + penalty sum_i f_i``, summed over d, minimised over codes ``f >= 0`` and unit
rows ``A (n, d)``. The truth is ``x = s A0`` with orthonormal rows ``A0 (n, d)`` and codes ``s >= 0``.
A tilt ``T (n, n)`` has a zero diagonal and stands for the atoms ``a_i + sum_j T_ij a_j``, scaled to unit norm.

References
----------
Chanin et al. (2024), "A is for absorption", arXiv 2409.14507, for the phenomenon; Tang et al. (2025), arXiv 2512.05534,
for absorbed solutions as partial minima. The closed forms are derived here.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Array: TypeAlias = npt.NDArray[np.floating[Any]]

FULL_ABSORPTION = 2.0 - math.sqrt(2.0)  # of penalty P(both): with the child alone less often, limit_tilt is 1


def _check_penalty(penalty: float) -> None:
    if not (penalty >= 0.0 and math.isfinite(penalty)):
        raise ValueError(f"penalty must be finite and not negative; got {penalty}.")


def _check_pair(penalty: float, parent: float, both: float, child: float) -> None:
    _check_penalty(penalty)
    if penalty > 1.0:
        raise ValueError(f"penalty must be at most 1, beyond which codes of size 1 begin to vanish; got {penalty}.")
    if not (min(parent, both, child) >= 0.0 and parent + both + child <= 1.0 + 1e-12):
        raise ValueError(f"the probabilities must be a sub-distribution; got {(parent, both, child)}.")


def _checked_codes(codes: npt.ArrayLike, weights: npt.ArrayLike | None) -> tuple[Array, Array]:
    s = np.asarray(codes, dtype=np.float64)
    if s.ndim != 2 or not len(s) or not np.isfinite(s).all() or (s < 0.0).any():
        raise ValueError(f"codes must be a finite array (N, n) without negative entries; got shape {s.shape}.")
    w = np.full(len(s), 1.0 / len(s)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(s),) or not np.isfinite(w).all() or (w < 0.0).any() or not w.sum() > 0.0:
        raise ValueError(f"weights must be {len(s)} numbers, not negative and not all zero; got shape {w.shape}.")
    return s, w / w.sum()


def _mixing(tilt: npt.ArrayLike, n: int) -> Array:
    """Return the unit rows of ``I + tilt``, in the coordinates of the true atoms."""
    t = np.asarray(tilt, dtype=np.float64)
    if t.shape != (n, n) or not np.isfinite(t).all() or np.diag(t).any():
        raise ValueError(f"tilt must be a finite matrix ({n}, {n}) with a zero diagonal; got shape {t.shape}.")
    rows = np.eye(n) + t
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def child_l1(tilt: npt.ArrayLike, cosine: float) -> Array:
    """Return the l1 norm of the exact code of parent plus child, after the child's atom is tilted to the parent.

    ``sqrt(1 + 2 c t + t^2) + 1 - t`` for features of size 1 and cosine c, 0 <= t <= 1: strictly decreasing in t unless
    c = 1, while the reconstruction stays exact. Where the child never occurs alone, the l1 penalty absorbs fully.

    Raises
    ------
    ValueError
        Unless every tilt lies in [0, 1], where the code is not negative, and the cosine in [-1, 1].
    """
    t = np.asarray(tilt, dtype=np.float64)
    if not (np.all((t >= 0.0) & (t <= 1.0)) and -1.0 <= cosine <= 1.0):
        raise ValueError(f"tilt must lie in [0, 1] and cosine in [-1, 1]; got {t} and {cosine}.")
    return np.asarray(np.sqrt(1.0 + 2.0 * cosine * t + t * t) + 1.0 - t)


def pair_loss(tilt: npt.ArrayLike, penalty: float, parent: float, both: float, child: float) -> Array:
    """Return the exact expected loss where the child's atom is tilted to the parent's and the parent's is true.

    Orthonormal features of size 1, with probabilities ``parent`` (alone), ``both`` and ``child`` (alone). With
    ``v = sqrt(1 + t^2)``, the three samples cost ``l - l^2/4``, ``l (v + 1 - t) - l^2 / (2 (1 + t/v))`` (both atoms
    used; else ``2 - ((1 + t)/v - l/2)^2``) and ``1 - (1/v - l/2)_+^2``, l the penalty.

    Raises
    ------
    ValueError
        Unless tilt is not negative, penalty in [0, 1] and the probabilities a sub-distribution.
    """
    _check_pair(penalty, parent, both, child)
    t = np.asarray(tilt, dtype=np.float64)
    if not np.all(t >= 0.0):
        raise ValueError(f"tilt must not be negative; got {t}.")
    v = np.sqrt(1.0 + t * t)
    overlap = 2.0 * (1.0 + t / v)
    shared = np.where(
        1.0 - t >= penalty / overlap,
        penalty * (v + 1.0 - t) - penalty**2 / overlap,
        2.0 - np.square((1.0 + t) / v - penalty / 2.0),
    )
    alone = 1.0 - np.square(np.maximum(1.0 / v - penalty / 2.0, 0.0))
    return np.asarray(parent * (penalty - penalty**2 / 4.0) + both * shared + child * alone)


def pair_tilt(penalty: float, parent: float, both: float, child: float) -> float:
    """Return the tilt that minimises `pair_loss`, by refined search over [0, 1].

    Above 1 both the sample with both and the child alone cost more. Zero without a penalty or co-occurrence.

    Raises
    ------
    ValueError
        As `pair_loss`.
    """
    _check_pair(penalty, parent, both, child)
    if penalty == 0.0 or both == 0.0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(5):  # 1e-10 wide in the end, below which the loss is flat to rounding
        grid = np.linspace(low, high, 401)
        best = int(pair_loss(grid, penalty, parent, both, child).argmin())
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, 400)])
    return 0.5 * (low + high)


def limit_tilt(ratio: float) -> float:
    """Return the limit of `pair_tilt` for penalty -> 0 at a fixed ratio ``child / (penalty both)``.

    It solves ``t/v + 2 ratio t/v^4 = 1``, v = sqrt(1 + t^2), and is exactly 1, full absorption, up to
    `FULL_ABSORPTION` = 2 - sqrt(2); for large ratios it tends to ``1 / (1 + 2 ratio)``.

    Raises
    ------
    ValueError
        If the ratio is negative or not finite.
    """
    if not (ratio >= 0.0 and math.isfinite(ratio)):
        raise ValueError(f"ratio must be finite and not negative; got {ratio}.")
    if ratio <= FULL_ABSORPTION:
        return 1.0

    def slope(t: float) -> float:
        square = 1.0 + t * t
        return t / math.sqrt(square) + 2.0 * ratio * t / square**2 - 1.0

    # On [0, 1] the slope rises and then may fall, to a positive value at 1: it crosses zero once.
    return float(brentq(slope, 0.0, 1.0, xtol=1e-14))


def tilt_matrix(codes: npt.ArrayLike, penalty: float, weights: npt.ArrayLike | None = None) -> Array:
    """Return the tilt ``(n, n)`` of the population's best atoms, to first order in the penalty.

    Column i, over the atoms J that are tilted towards feature i, all others, is
    ``l (2 E[s_J^T s_J 1{s_i = 0}] + l diag E[s_J])^-1 E[s_J 1{s_i > 0}]``, l the penalty. Any co-occurrence tilts:
    n independent features of size 1 and probability p by about l/2 p / ((1 - p) (1 + (n - 2) p)). The error is O(l^2)
    at a fixed law; where j hardly ever occurs without i, the tilt is not small and the formula interpolates (see
    `limit_tilt`).

    Parameters
    ----------
    codes : (N, n), the true codes, or codes close to them.
    penalty : not negative.
    weights : (N,), probabilities of the rows up to a factor; equal if not given.

    Raises
    ------
    ValueError
        If the codes or weights are negative, not finite or of another shape, or the penalty is negative.
    """
    _check_penalty(penalty)
    s, w = _checked_codes(codes, weights)
    n = s.shape[1]
    mean = w @ s
    tilt = np.zeros((n, n))
    for i in range(n):
        others = np.flatnonzero((np.arange(n) != i) & (mean > 0.0))  # what never occurs is tilted nowhere
        if penalty == 0.0 or not len(others):
            continue
        on = s[:, i] > 0.0
        off = s[~on][:, others]
        curvature = 2.0 * off.T @ (w[~on, None] * off) + penalty * np.diag(mean[others])
        tilt[others, i] = np.linalg.solve(curvature, penalty * (w[on] @ s[on][:, others]))
    return tilt


def absorbed_solution(codes: npt.ArrayLike, tilt: npt.ArrayLike) -> tuple[Array, Array]:
    """Return other unit atoms ``(n, n)``, in coordinates of the true ones, and the codes >= 0 of the same samples.

    ``codes = f B`` exactly: the reconstruction is perfect and its gradient zero in atoms and codes, so that with the
    pattern of zeros held neither alone can improve it, a partial minimum.

    Raises
    ------
    ValueError
        If a code would be negative: the tilt is realisable only where an atom is tilted towards features that are
        active, and large enough, whenever its own is.

    References
    ----------
    Tang et al. (2025), arXiv 2512.05534, on absorption patterns as partial minima.
    """
    s, _ = _checked_codes(codes, None)
    mixing = _mixing(tilt, s.shape[1])
    if np.linalg.matrix_rank(mixing) < len(mixing):
        raise ValueError("tilt must leave the atoms independent; got dependent ones. Tilt less.")
    other = np.linalg.solve(mixing.T, s.T).T
    rounding = 1e-12 * max(1.0, float(s.max()))
    if other.min() < -rounding:
        row, column = np.unravel_index(int(other.argmin()), other.shape)
        raise ValueError(
            f"the tilt gives sample {row} the code {other.min():.3g} at atom {column}; it is not realisable."
        )
    return mixing, np.where(other > rounding, other, 0.0)  # an absorbed code is zero, not the solver's last bit


def stationary_atoms(
    x: npt.ArrayLike, codes: npt.ArrayLike, penalty: float, weights: npt.ArrayLike | None = None
) -> Array:
    """Return ``(E f^T f + penalty/2 diag E f)^-1 E f^T x``, which every best dictionary equals at its own codes f.

    Exact, for any truth: at unit atoms and their lasso codes, the gradient in atom i is ``-2 E f_i (x - f A)``; it must
    be parallel to a_i, and as ``a_i (x - f A) = penalty/2`` wherever ``f_i > 0``, ``E f_i (x - f A) = penalty/2 E f_i
    a_i``. Debiased codes would leave out the second term.

    Raises
    ------
    ValueError
        If codes or weights are out of range, x is of another length, or an atom is never used.
    """
    _check_penalty(penalty)
    f, w = _checked_codes(codes, weights)
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 2 or len(samples) != len(f):
        raise ValueError(f"x must be an array ({len(f)}, d); got shape {samples.shape}.")
    mean = w @ f
    if not mean.min() > 0.0:
        raise ValueError(f"every atom must be used; atom {int(mean.argmin())} never is. Leave it out.")
    weighted = w[:, None] * f
    return np.asarray(np.linalg.solve(f.T @ weighted + penalty / 2.0 * np.diag(mean), weighted.T @ samples))


def _debiased(atoms: Array, codes: Array, penalty: float) -> Array:
    """Return ``f + penalty/2 G_SS^-1 1`` on each support S: the least-squares codes of the same supports."""
    gram = atoms @ atoms.T
    supports, index = np.unique(codes > 0.0, axis=0, return_inverse=True)
    shift = np.zeros(supports.shape)
    for row, support in zip(shift, supports, strict=True):
        row[support] = np.linalg.solve(gram[np.ix_(support, support)], np.ones(int(support.sum())))
    return np.asarray(codes + penalty / 2.0 * shift[index.reshape(-1)])


def deabsorb(
    atoms: npt.ArrayLike, codes: npt.ArrayLike, penalty: float, weights: npt.ArrayLike | None = None
) -> tuple[Array, Array]:
    """Return atoms ``(n, d)`` with the predicted tilt undone, and that tilt ``(n, n)``.

    `tilt_matrix` of the debiased codes gives the tilt T, and the truth is ``M^-1 A``, M the unit rows of ``I + T``. To
    first order in the penalty the result is the orthonormal truth, where the atoms are off by that order: correcting
    the codes for the tilt, or iterating, changes it by higher orders only. The atoms must be an optimum. Full
    absorption leaves no trace in the codes and is not undone.

    Parameters
    ----------
    atoms : (n, d), the unit rows found with the penalty, n <= d.
    codes : (N, n), their lasso codes.
    penalty : of the loss at the top of this file.
    weights : (N,), probabilities of the rows up to a factor; equal if not given.

    Raises
    ------
    ValueError
        If the atoms are not n <= d independent unit rows, or codes or penalty out of range.
    """
    _check_penalty(penalty)
    f, w = _checked_codes(codes, weights)
    rows = np.asarray(atoms, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != f.shape[1] or not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6):
        raise ValueError(f"atoms must be {f.shape[1]} unit rows; got shape {rows.shape}. Normalise them.")
    if np.linalg.matrix_rank(rows) < len(rows):
        raise ValueError(f"atoms must be independent, at most d={rows.shape[1]} of them; got n={len(rows)}.")
    fitted = _debiased(rows, f, penalty)
    tilt = tilt_matrix(np.maximum(fitted, 0.0), penalty, w)
    found = np.linalg.solve(_mixing(tilt, len(rows)), rows)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True)), tilt
