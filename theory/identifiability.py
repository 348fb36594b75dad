"""When the true dictionary is a local minimum, what the best estimator can reach, and what identifies features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from theory._premises import count, sparsity, vector
from theory.frames import _SLACK, _unit

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_MOST_ATOMS = 14  # 2^13 supports


@final
@dataclass(frozen=True)
class LocalIdentifiability:
    """Whether a basis is a strict local minimum, decided by a bracket of its margin.

    Attributes
    ----------
    holds : ``low`` is above rounding. Where ``high`` is below 0 the basis is no local minimum; between, not decided.
    low, high : proved bounds on 1 - max_l p ||m_l||_* / (1 - p), as a rule within 1e-6 of each other.
    """

    holds: bool
    low: float
    high: float


def _check_rate(p: float) -> None:
    if not 0.0 < p < 1.0:
        raise ValueError(f"p must lie strictly between 0 and 1; got {p}.")


def equal_correlation_limit(n: int, p: float) -> float:
    """Return mu*, below which n atoms of R^n with equal correlations mu are a strict local minimum of ||X||_1.

    ``(1-p) E sqrt(Bin(n-1, p)) / (p (n-1))``: signed Bernoulli(p)-Gaussian codes, no noise, population cost under unit
    atoms. Above it they are no local minimum. Exact; may exceed 1.

    References
    ----------
    Derived from the directional derivative, see `local_identifiability`; Wu and Yu (2018), "Local identifiability of
    l1-minimization dictionary learning: a sufficient and almost necessary condition", arXiv:1505.04363.
    """
    count("n", n, 2)
    _check_rate(p)
    sizes = np.arange(n)
    return float((1 - p) * (np.sqrt(sizes) @ binom.pmf(sizes, n - 1, p)) / (p * (n - 1)))


def equal_correlation_limit_fixed(n: int, k: int) -> float:
    """Return (n-k) / (sqrt(k) (n-1)), the limit mu* of `equal_correlation_limit` for exactly k uniform active atoms.

    References
    ----------
    Wu and Yu (2018), arXiv:1505.04363, the s-sparse Gaussian model at constant correlation.
    """
    sparsity(k, count("n", n, 2))
    return (n - k) / (math.sqrt(k) * (n - 1))


def column_programme_limit(others: int, theta: float) -> float:
    """Return the ratio below which the linear programme of ER-SpUD returns one row of the codes, with many samples.

    For square mixtures Y = A X the programme ``min ||w^T Y||_1, r^T w = 1`` is ``min ||u^T X||_1, b^T u = 1`` in the
    codes, where b, a column of X or the sum of two, has one largest entry b_j and ``others`` more, all of size
    ratio * b_j. In the limit of many samples of Bernoulli(theta)-Gaussian codes its minimiser is e_j / b_j iff
    ``theta ratio |sum_i z_i| < (1 - theta) E ||z_S||_2`` for every z on those entries: the derivative along e_j fixes
    the multiplier, the kink at x_j = 0 gives the right side. That is the condition of `equal_correlation_limit` among
    others + 1 atoms. With others = 2 theta n it is passed for every ratio below 1 - theta while theta^2 n is small,
    and for ever smaller ratios, of order 1 / (theta sqrt(2n)), beyond: the barrier theta ~ 1/sqrt(n).

    References
    ----------
    Spielman, Wang, Wright (2012), "Exact recovery of sparsely-used dictionaries", arXiv:1206.5882 (the algorithm and
    the barrier); the condition is derived here.
    """
    count("others", others)
    _check_rate(theta)
    return equal_correlation_limit(others + 1, theta)


def _dual_norm(m: Array, masks: Array, weights: Array, steps: int) -> tuple[float, float]:
    """Return bounds on max <m, z> / E||z_S||, S with these ``masks (c, n-1)`` and ``weights (c,)``, m not zero.

    Majorises each ||z_S|| by a quadratic of curvature 1 / c_S. With u_S = z_S / c_S of norm at most t, E u_S / t is in
    the dual ball, and after each step E u_S is a multiple of m.
    """
    z, floor = m / (m @ m), 1e-6 / float(np.abs(m).max())
    low, high = 0.0, math.inf
    for _ in range(steps):
        radius = np.maximum(np.sqrt(masks @ np.square(z)), floor)
        curvature = masks.T @ (weights / radius)
        z = m / curvature
        multiple = 1.0 / float(m @ z)
        z = z * multiple
        norms = np.sqrt(masks @ np.square(z))
        low = max(low, 1.0 / float(weights @ norms))
        high = min(high, float((norms / radius).max()) / multiple)
        if high - low <= 1e-6 * high:
            break
    return low, max(low, high)  # equal but for rounding


def local_identifiability(atoms: Array, p: float, *, steps: int = 2000) -> LocalIdentifiability:
    """Return whether the basis ``atoms (n, n)`` is a strict local minimum of the l1 cost of its codes.

    Codes are signed, Bernoulli(p) and standard Gaussian, exactly recovered: cost(D) = E||x D^{-1}||_1 over bases of
    unit atoms. Along every direction the derivative is a sum over atoms l of ``(1-p) E||z_S|| - p <m_l, z>`` times
    sqrt(2/pi), m_l the correlations of atom l with the others and S a Bernoulli(p) subset of them. So it is one if
    ``p ||m_l||_* < 1 - p`` for all l, ||.||_* the dual of the norm E||z_S||_2, and none if it is more for some l. By
    Jensen that norm is at least p ||z||, hence ||m_l||_2 < 1 - p is enough.

    Raises
    ------
    ValueError
        If the atoms are no basis, or more than 14.

    References
    ----------
    Gribonval and Schnass (2010), "Dictionary identification: sparse matrix factorisation via l1 minimisation",
    arXiv:0904.4774, Theorem 3.1 (sufficient, ||m_l||_2 < 1 - p); Wu and Yu (2018), arXiv:1505.04363, Theorem 1.
    """
    rows = _unit(atoms, 2)
    _check_rate(p)
    count("steps", steps)
    n = len(rows)
    if rows.shape != (n, n) or np.linalg.svd(rows, compute_uv=False)[-1] < 1e-9:
        raise ValueError(f"atoms must be a basis, n independent rows in R^n; got shape {rows.shape}.")
    if n > _MOST_ATOMS:
        raise ValueError(f"enumerates 2^(n-1) supports for n <= {_MOST_ATOMS}; got n={n}. Use ||m_l||_2 < 1 - p.")
    masks = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1) & 1).astype(np.float64)
    size = masks.sum(axis=1)
    weights = p**size * (1 - p) ** (n - 1 - size)
    gram, worst_low, worst_high = rows @ rows.T, 0.0, 0.0
    for atom in range(n):
        m = np.delete(gram[atom], atom)
        kept = np.abs(m) > 1e-12  # a coordinate of no correlation only adds to the norm
        if kept.any():
            low, high = _dual_norm(m[kept], *_distinct(masks[:, kept], weights), steps)
            worst_low, worst_high = max(worst_low, low), max(worst_high, high)
    odds = p / (1 - p)
    return LocalIdentifiability(1.0 - odds * worst_high > _SLACK, 1.0 - odds * worst_high, 1.0 - odds * worst_low)


def _distinct(masks: Array, weights: Array) -> tuple[Array, Array]:
    """Return the different non-empty rows of ``masks`` and their total weights."""
    codes = masks @ (2.0 ** np.arange(masks.shape[1]))
    values, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    totals = np.bincount(inverse, weights).astype(np.float64)
    return masks[first[values > 0]], totals[values > 0]


def fourth_moment(direction: npt.ArrayLike, theta: float) -> float:
    """Return ``E (a . x)^4 = 3 theta (1-theta) sum_i a_i^4 + 3 theta^2 ||a||^4`` for Bernoulli(theta)-Gaussian x.

    On the sphere it is largest exactly at the 2n signed unit vectors: l4 maximisation finds an orthonormal dictionary.

    References
    ----------
    Zhai, Yang, Liao, Wright and Ma (2020), "Complete dictionary learning via l4-norm maximization over the orthogonal
    group", arXiv:1906.02435, Lemma 2.
    """
    if not 0.0 <= theta <= 1.0:
        raise ValueError(f"theta must lie in [0, 1]; got {theta}.")
    squares = np.square(vector("direction", direction))
    if not squares.max() <= 1e150:
        raise ValueError(f"direction must not be longer than 1e75; got {direction!r}. Normalise it.")
    return float(3 * theta * (1 - theta) * np.square(squares).sum() + 3 * theta**2 * squares.sum() ** 2)


def oracle_dictionary_error(codes: npt.ArrayLike, d: int, noise_variance: float) -> float:
    """Return ``sigma^2 d tr((S^T S)^{-1})``: the Cramér-Rao bound on E||D_hat - D||_F^2 with the codes S (N, n) known.

    Attained by least squares; no unbiased method that must find the codes as well is below it.

    Raises
    ------
    ValueError
        If the codes do not span R^n: some atom is then not estimable.

    References
    ----------
    The Gauss-Markov theorem.
    """
    s = np.asarray(codes, dtype=np.float64)
    count("d", d)
    if not noise_variance >= 0:
        raise ValueError(f"noise_variance must be at least 0; got {noise_variance}.")
    if s.ndim != 2 or len(s) < s.shape[1] or not np.isfinite(s).all():
        raise ValueError(f"codes must be finite, (N, n) with N >= n; got shape {s.shape}.")
    values = np.linalg.svd(s, compute_uv=False)
    if values[-1] <= 1e-10 * values[0]:
        raise ValueError("codes must have full column rank; some atom is never active, or only in a fixed proportion.")
    return float(noise_variance * d * np.sum(values**-2.0))


def oracle_dictionary_scale(
    n: int, d: int, k: float, samples: int, second_moment: float, noise_variance: float
) -> float:
    """Return ``sigma^2 d n^2 / (N k E s^2)``, the large-sample value of `oracle_dictionary_error` for centred codes.

    k of n atoms active, uncorrelated signed values of this second moment. By Jensen a lower bound on its mean.
    """
    for name, value in (("n", n), ("d", d), ("samples", samples)):
        count(name, value)
    if not (0.0 < k <= n and second_moment > 0 and noise_variance >= 0):
        raise ValueError(
            f"needs 0 < k <= n, second_moment > 0, noise_variance >= 0; got {k}, {second_moment}, {noise_variance}."
        )
    return noise_variance * d * n**2 / (samples * k * second_moment)


def identification_error(atoms: Array, others: Array) -> float:
    """Return the least epsilon at which two sets of features are one up to order, positive scale and splitting.

    1 - the smaller of min_i max_j cos(d_i, e_j) and min_j max_i cos(d_i, e_j), signed: every feature of either has its
    like in the other, and copies are free. 0 exactly for copies, at most 2.

    References
    ----------
    Chen et al. (2025), arXiv:2506.14002, Definition 5.1 (epsilon-identifiability), for unit features.
    """
    first, second = _unit(atoms), _unit(others)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"atoms and others must share d; got {first.shape} and {second.shape}.")
    cosines = first @ second.T
    return float(max(0.0, 1.0 - min(cosines.max(axis=0).min(), cosines.max(axis=1).min())))


def co_occurrence(pairs: npt.ArrayLike) -> tuple[float, float]:
    """Return rho_2, the largest P(j on | i on) over i != j, and rho_2 sqrt(n), of P(i and j on) ``pairs (n, n)``.

    The theory of group bias adaptation asks the second number to vanish as n grows; for k of n uniform features it is
    (k-1) sqrt(n) / (n-1). The diagonal holds the marginals.

    References
    ----------
    Chen et al. (2025), arXiv:2506.14002, Definition 5.2 (H3): an order of magnitude, without a constant.
    """
    joint = np.asarray(pairs, dtype=np.float64)
    n = len(joint)
    if joint.shape != (n, n) or n < 2 or not np.all(np.diag(joint) > 0) or not np.all(joint >= 0):
        raise ValueError(f"pairs must be (n, n) probabilities with a positive diagonal; got shape {joint.shape}.")
    if np.any(joint > np.diag(joint)[:, None] * (1 + 1e-12)):
        raise ValueError("pairs must not exceed the marginals on their diagonal.")
    conditional = joint / np.diag(joint)[:, None]
    np.fill_diagonal(conditional, 0.0)
    return float(conditional.max()), float(conditional.max() * math.sqrt(n))


def bias_adaptation_window(n: int, d: int, k: int, epsilon: float, margin: float) -> tuple[float, float]:
    """Return the bounds on the target frequency within which group bias adaptation provably finds all n features.

    ``1/n`` and ``min(n^{-(1+1/k)/2}, n^{-2 (1+epsilon)^2 / k}, d^{1-margin} / n)`` for k-sparse rows, with unknown
    constants put to 1: scales, whose exponents are the claim. The lower is above the upper where the theorem is empty.

    References
    ----------
    Chen et al. (2025), arXiv:2506.14002, Theorem 6.1; not checked here beyond its limits.
    """
    count("n", n, 2)
    count("d", d)
    count("k", k)
    if not (0.0 < epsilon < 1.0 and 0.0 < margin < 1.0):
        raise ValueError(f"epsilon and margin must lie strictly between 0 and 1; got {epsilon} and {margin}.")
    high = min(n ** (-(1 + 1 / k) / 2), n ** (-2 * (1 + epsilon) ** 2 / k), d ** (1 - margin) / n)
    return 1.0 / n, high
