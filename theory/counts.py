"""How many samples, and how many features: sufficient designs, necessary counts, and the wait until all are seen."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from theory._premises import count, sparsity

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def _check_design(n: int, k: int) -> None:
    if sparsity(k, n) == n > 1:
        raise ValueError(f"k must lie in [1, n-1={n - 1}]; got {k}: codes that use every atom do not tell them apart.")


def every_support_samples(n: int, k: int) -> int:
    """Return (k+1) C(n, k): k + 1 generic samples on each support fix the dictionary, if its spark exceeds 2k.

    Unique among all dictionaries of n atoms, up to order, sign and scale. Also the random design of Hillar and Sommer:
    with probability one it is enough for any dictionary whose k-sparse codes are unique.

    Raises
    ------
    ValueError
        Unless 1 <= k < n: no number of codes that all use every atom tells the atoms apart (n = k = 1 is allowed).

    References
    ----------
    Aharon, Elad and Bruckstein (2006), "On the uniqueness of overcomplete dictionaries", Theorem 3; Hillar and Sommer
    (2015), "When can dictionary learning uniquely recover sparse data from subsamples?", arXiv:1106.3616, Theorem 2.
    """
    _check_design(n, k)
    return (k + 1) * math.comb(n, k)


def fixed_design_samples(n: int, k: int) -> int:
    """Return k C(n, k)^2: so many fixed codes suffice for every dictionary whose k-sparse codes are unique.

    Raises
    ------
    ValueError
        Unless 1 <= k < n: no number of codes that all use every atom tells the atoms apart (n = k = 1 is allowed).

    References
    ----------
    Hillar and Sommer (2015), arXiv:1106.3616, Theorem 1.
    """
    _check_design(n, k)
    return k * math.comb(n, k) ** 2


def cyclic_support_samples(n: int, k: int) -> int:
    """Return n ((k-1) C(n, k) + 1): generic codes on the n cyclic intervals of k atoms suffice, stably in noise.

    Raises
    ------
    ValueError
        Unless 1 <= k < n: no number of codes that all use every atom tells the atoms apart (n = k = 1 is allowed).

    References
    ----------
    Garfinkle and Hillar (2019), "On the uniqueness and stability of dictionaries for sparse representation of noisy
    signals", arXiv:1606.06997, Theorem 1 with the n consecutive intervals as supports.
    """
    _check_design(n, k)
    return n * ((k - 1) * math.comb(n, k) + 1)


def counting_samples(n: int, d: int, k: int) -> int:
    """Return the least N with N d >= n (d-1) + N k: below it no method fixes n unit atoms from k-sparse codes.

    Unknowns are the atoms less their scales and the values of the codes, supports given: with fewer equations a
    continuum of other dictionaries explains the samples. Per atom it is d / (d-k) in high dimension, the threshold of
    Bayes-optimal learning without noise.

    Raises
    ------
    ValueError
        If k is not below d, where no number of samples is enough.

    References
    ----------
    Krzakala, Mézard and Zdeborová (2013), "Phase diagram and approximate message passing for blind calibration and
    dictionary learning", arXiv:1301.5898: N / n > delta / (delta - eps), delta = d/n, eps = k/n.
    """
    sparsity(k, n)
    if k >= count("d", d):
        raise ValueError(f"k must be below d; got k={k}, d={d}: codes that fill the space say nothing of the atoms.")
    return -(-n * (d - 1) // (d - k))


def bernoulli_coverage(n: int, k: float, samples: int) -> float:
    """Return (1 - (1 - k/n)^N)^n, the probability that N samples show all n features, each on with probability k/n.

    Raises
    ------
    ValueError
        If k is not in [0, n].
    """
    count("n", n)
    count("samples", samples, 0)
    if not 0.0 <= k <= n:
        raise ValueError(f"k must lie in [0, n={n}]; got {k}.")
    return (1.0 - (1.0 - k / n) ** samples) ** n


def _hypergeometric(n: int, k: int) -> Array:
    """Return P(new | seen), ``(n+1, k+1)``: k of n features drawn, ``new`` of them among the n - seen not yet seen."""
    table = hypergeom.pmf(np.arange(k + 1), n, n - np.arange(n + 1)[:, None], k)
    return np.asarray(table / table.sum(axis=1, keepdims=True))  # so that the chain loses no mass to rounding


def coverage(n: int, k: int, samples: int) -> Array:
    """Return the probabilities that 0, 1, ..., N uniform k-subsets show all n features, ``(N+1,)``.

    By the chain of the number of features seen, of positive terms: the alternating sum
    ``sum_j (-1)^j C(n, j) [C(n-j, k) / C(n, k)]^N`` cancels. No learner can find a feature it has not seen.

    References
    ----------
    The coupon collector in groups: Stadje (1990), "The collector's problem with group drawings".
    """
    sparsity(k, n)
    count("samples", samples, 0)
    step = _hypergeometric(n, k)
    seen = np.zeros(n + 1)
    seen[0] = 1.0
    out = np.zeros(samples + 1)
    for t in range(1, samples + 1):
        moved = np.zeros(n + 1)
        for new in range(k + 1):
            moved[new:] += (seen * step[:, new])[: n + 1 - new]
        seen = moved
        out[t] = seen[n]
    return np.minimum(out, 1.0)


def coverage_samples(n: int, k: int, probability: float) -> int:
    """Return the least number of uniform k-subsets that show all n features with at least this probability."""
    sparsity(k, n)
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability must lie strictly between 0 and 1; got {probability}.")
    if k == n:
        return 1
    # The union bound n (1 - k/n)^N <= 1 - probability is enough, and rarely twice too long.
    most = math.ceil(math.log((1.0 - probability) / n) / math.log1p(-k / n)) + 1
    reached = coverage(n, k, most) >= probability
    return int(np.argmax(reached)) if reached[-1] else most  # a probability within rounding of 1 may never be reached


def fourth_cumulant_limit(d: int) -> int:
    """Return the largest n with n (n-1) <= d^2 (d^2-1) / 6: FOOBI separates n independent sources from d real mixtures.

    The n (n-1)/2 tensors that it needs independent lie in the algebraic curvature tensors, of dimension
    d^2 (d^2-1) / 12, and for generic real atoms they are. The bound n (n-1) <= d^2 (d-1)^2 / 2 that is often quoted
    is for complex mixtures and too large in the real case from d = 4.

    References
    ----------
    De Lathauwer, Castaing and Cardoso (2007), "Fourth-order cumulant-based blind identification of underdetermined
    mixtures"; the real dimension is derived here.
    """
    count("d", d)
    return (1 + math.isqrt(1 + 4 * (d * d * (d * d - 1) // 6))) // 2


def third_cumulant_limit(d: int) -> int:
    """Return the largest n with 3 min(n, d) >= 2n + 2, Kruskal's condition for generic atoms: floor(3d/2) - 1.

    A third-order cumulant sum_i c_i d_i x d_i x d_i then has one decomposition. d = 1 has the single atom.

    References
    ----------
    Kruskal (1977), "Three-way arrays: rank and uniqueness of trilinear decompositions", Theorem 4a.
    """
    count("d", d)
    return max(1, 3 * d // 2 - 1)
