"""The coding rate of a set of vectors and its reduction by a partition: values, gradients and what attains the maximum.

``z (N, d)`` with samples as rows, precision eps: ``R(Z) = ln det(I + d/(N eps^2) Z^T Z) / 2`` nats, and for classes of
N_j samples ``R_c = sum_j N_j/(2N) ln det(I + d/(N_j eps^2) Z_j^T Z_j)``. The reduction is R - R_c.

References
----------
Yu, Chan, You, Song, Ma (2020), "Learning diverse and discriminative representations via the principle of maximal coding
rate reduction", arXiv 2006.08558; Yu et al. (2023), arXiv 2306.01129, for its sparse form.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from theory._premises import Array, count, matrix, moderate


def coding_rate(z: npt.ArrayLike, eps: float) -> float:
    """Return R(Z), about the nats a sample to code the rows of z up to a squared error of eps^2."""
    rows = matrix("z", z)
    n, d = rows.shape
    gram = rows.T @ rows if d <= n else rows @ rows.T
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + d / (n * moderate("eps", eps) ** 2) * gram)[1])


def coding_rate_gradient(z: npt.ArrayLike, eps: float) -> Array:
    """Return dR/dZ, ``(N, d)``: ``a Z (I + a Z^T Z)^{-1}``, a = d / (N eps^2).

    Each row is its sample's residual in a ridge regression on the others, up to scale: ascent pushes samples apart.
    """
    rows = matrix("z", z)
    n, d = rows.shape
    scale = d / (n * moderate("eps", eps) ** 2)
    return np.asarray(scale * np.linalg.solve(np.eye(d) + scale * rows.T @ rows, rows.T).T)


def compression_rate(z: npt.ArrayLike, bases: npt.ArrayLike, eps: float) -> float:
    """Return ``sum_k ln det(I + r/(N eps^2) (Z U_k)^T (Z U_k)) / 2``, the rate of coding z against K subspaces.

    ``bases (K, d, r)`` with orthonormal columns U_k; each term is `coding_rate` of the coordinates ``Z U_k (N, r)``.

    References
    ----------
    Yu et al. (2023), arXiv 2306.01129.
    """
    rows = matrix("z", z)
    return sum(coding_rate(rows @ basis, eps) for basis in _bases(bases, rows.shape[1]))


def compression_rate_gradient(z: npt.ArrayLike, bases: npt.ArrayLike, eps: float) -> Array:
    """Return the gradient of `compression_rate`, ``(N, d)``: that of each subspace's coordinates, mapped back."""
    rows = matrix("z", z)
    terms = (coding_rate_gradient(rows @ basis, eps) @ basis.T for basis in _bases(bases, rows.shape[1]))
    return np.asarray(np.stack(list(terms)).sum(axis=0))


def _bases(bases: npt.ArrayLike, d: int) -> Array:
    stack: Array = np.asarray(bases, dtype=np.float64)
    if stack.ndim != 3 or not stack.size or stack.shape[1] != d:
        raise ValueError(f"bases must be (K, d, r) with d={d}; got shape {stack.shape}.")
    if not np.allclose(stack.transpose(0, 2, 1) @ stack, np.eye(stack.shape[2]), atol=1e-6):
        raise ValueError("each of the bases must have orthonormal columns. Orthonormalise them.")
    return np.asarray(stack)


def ista_step(x: npt.ArrayLike, codes: npt.ArrayLike, atoms: npt.ArrayLike, step: float, penalty: float) -> Array:
    """Return ``ReLU(z + step (x - z A) A^T - step penalty)``, one layer of a sparse rate-reduction network.

    It is a proximal gradient step of ``||x - z A||^2 / 2 + penalty sum z`` over z >= 0, so that the objective does not
    rise for ``step <= 1 / ||A||^2`` and the fixed points are its minimisers.

    Raises
    ------
    ValueError
        If the shapes of x (N, d), codes (N, n) and atoms (n, d) disagree, the penalty is negative, or the step is not
        in (0, 1/||A||^2], above which a step may raise the objective.

    References
    ----------
    Yu et al. (2023), arXiv 2306.01129; Beck and Teboulle (2009), Lemma 2.3, for the descent.
    """
    data, z, rows = matrix("x", x), matrix("codes", codes), matrix("atoms", atoms)
    if data.shape != (len(z), rows.shape[1]) or z.shape[1] != len(rows):
        raise ValueError(f"x (N, d), codes (N, n), atoms (n, d) must agree; got {data.shape}, {z.shape}, {rows.shape}.")
    norm = float(np.linalg.norm(rows, 2))
    longest = 1.0 / norm / norm if norm else math.inf
    if not 0.0 < step <= longest * (1.0 + 1e-9):
        raise ValueError(f"step must lie in (0, {longest:g}], the inverse of ||A||^2; got {step!r}.")
    if not (penalty >= 0.0 and math.isfinite(penalty)):
        raise ValueError(f"penalty must be finite and not negative; got {penalty!r}.")
    return np.maximum(z + step * ((data - z @ rows) @ rows.T - penalty), 0.0)


def _classes(rows: Array, labels: npt.ArrayLike) -> list[npt.NDArray[np.intp]]:
    of_row = np.asarray(labels)
    if of_row.shape != (len(rows),):
        raise ValueError(f"labels must be one for each of the {len(rows)} rows; got shape {of_row.shape}.")
    return [np.flatnonzero(of_row == label) for label in np.unique(of_row)]


def rate_reduction(z: npt.ArrayLike, labels: npt.ArrayLike, eps: float) -> float:
    """Return ``R(Z) - sum_j N_j/N R(Z_j)`` >= 0, 0 for one class (ln det is concave)."""
    rows = matrix("z", z)
    parts = (len(at) / len(rows) * coding_rate(rows[at], eps) for at in _classes(rows, labels))
    return coding_rate(rows, eps) - sum(parts)


def rate_reduction_gradient(z: npt.ArrayLike, labels: npt.ArrayLike, eps: float) -> Array:
    """Return the gradient of `rate_reduction`, ``(N, d)``."""
    rows = matrix("z", z)
    gradient = coding_rate_gradient(rows, eps)
    for at in _classes(rows, labels):
        gradient[at] -= len(at) / len(rows) * coding_rate_gradient(rows[at], eps)
    return gradient


def _envelope(power: float, scale: float, share: float) -> float:
    """Return the concave envelope of g(s) = ln(1 + a s) - share ln(1 + a s / share) at s = power, a = scale.

    g is convex from 0 to ``sqrt(share) / a`` and concave beyond; the envelope is a line from 0 to where g(s) = s g'(s).
    """

    def value(x: float) -> float:
        return math.log1p(x) - share * math.log1p(x / share)

    def excess(x: float) -> float:
        return value(x) - x * (1.0 / (1.0 + x) - 1.0 / (1.0 + x / share))

    x = power * scale
    if share == 1.0:
        return 0.0
    low, high = math.sqrt(share), 2.0
    while excess(high) < 0.0:
        high *= 2.0
    touch = float(brentq(excess, low, high, xtol=1e-14)) if excess(low) < 0.0 else low
    return value(x) if x >= touch else value(touch) * x / touch


def rate_reduction_bound(sizes: npt.ArrayLike, ranks: npt.ArrayLike, d: int, eps: float) -> float:
    """Return an upper bound on the rate reduction of classes of N_j unit samples that span at most r_j dimensions each.

    ``ln det(I + sum_j M_j) <= sum_j ln det(I + M_j)``, with equality iff classes are orthogonal, leaves a sum over the
    squared singular values of each class, which add up to N_j: at most r_j times the concave envelope of
    ``ln(1 + a s) - N_j/N ln(1 + a s N/N_j)``, a = d/(N eps^2), at s = N_j/r_j. It is attained by orthogonal classes,
    each with r_j equal singular values, once eps is so small that the envelope is the function there. Only
    ``||Z_j||_F^2 = N_j`` is used of the unit norms.

    Raises
    ------
    ValueError
        Unless sizes and ranks are positive integers, one of each for a class, and ranks are at most d.

    References
    ----------
    Yu et al. (2020), arXiv 2006.08558, whose optimum is orthogonal classes with equal singular values but for at
    most the smallest; the bound by the envelope is derived.
    """
    counts, spans = np.asarray(sizes), np.asarray(ranks)
    if counts.ndim != 1 or counts.shape != spans.shape or not len(counts):
        raise ValueError(f"sizes and ranks must be vectors of one length; got {counts.shape} and {spans.shape}.")
    n = sum(count("sizes", size) for size in counts)
    moderate("eps", eps)
    bound = 0.0
    for size, span in zip(counts, spans, strict=True):
        if count("ranks", span) > count("d", d):
            raise ValueError(f"a class in d={d} dimensions spans at most as many; got rank {span}.")
        bound += 0.5 * span * _envelope(size / span, d / (n * eps**2), size / n)
    return float(bound)
