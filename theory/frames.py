"""Frames: bounds on the coherence, certificates of exact recovery, and dictionaries that attain them.

``atoms (n, d)`` has unit rows; mu is the largest |inner product| of two of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from theory._premises import count

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_SLACK = 1e-9  # an equality missed by rounding must not pass for a strict inequality


def _unit(atoms: Array, least: int = 1) -> Array:
    rows = np.asarray(atoms, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < least:
        raise ValueError(f"atoms must be a (n, d) array with n >= {least}; got shape {rows.shape}.")
    with np.errstate(over="ignore"):  # what overflows is refused
        norms = np.linalg.norm(rows, axis=1)
    if not np.all(np.abs(norms - 1.0) < 1e-6):
        raise ValueError(f"atoms must be unit rows; got norms in [{norms.min():g}, {norms.max():g}]. Normalise them.")
    return np.asarray(rows / norms[:, None])


def _chosen(rows: Array, support: Sequence[int]) -> npt.NDArray[np.intp]:
    """Return ``support`` as an array of different indices of independent rows, perhaps none."""
    given = np.asarray(support)
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu") or len(np.unique(given)) != len(given):
        raise ValueError(f"support must be a list of different atoms, by their indices; got {support!r}.")
    chosen = given.astype(np.intp)
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(rows):
        raise ValueError(f"support must lie in [0, n={len(rows)}); got {chosen.tolist()}.")
    if len(chosen) > rows.shape[1] or (len(chosen) and np.linalg.svd(rows[chosen], compute_uv=False)[-1] < _SLACK):
        raise ValueError(
            f"the atoms of the support {chosen.tolist()} are linearly dependent, so no code on it is unique."
        )
    return chosen


def welch_bound(n: int, d: int, order: int = 1) -> float:
    """Return the Welch lower bound on the coherence of n unit vectors in R^d, n > d.

    ``mu^(2 order) >= (n c - 1) / (n - 1)`` with ``c = prod_{i=1}^order (2i-1) / (d+2i-2)``; order 1 is
    sqrt((n-d) / (d(n-1))), attained exactly by equiangular tight frames, hence only where n <= d(d+1)/2. Its square
    is also a lower bound on the mean of the squared off-diagonal Gram entries, attained exactly by tight frames.

    Raises
    ------
    ValueError
        Where the bound says nothing, n c <= 1 (n <= d at order 1).

    References
    ----------
    Welch (1974), "Lower bounds on the maximum cross correlation of signals", in its real form.
    """
    count("n", n)
    count("d", d)
    count("order", order)
    c = math.prod((2 * i - 1) / (d + 2 * i - 2) for i in range(1, order + 1))
    if n * c <= 1.0 + 1e-12:
        raise ValueError(f"the Welch bound of order {order} needs n > {1 / c:g} vectors in d={d}; got n={n}.")
    return float(((n * c - 1.0) / (n - 1.0)) ** (0.5 / order))


def orthoplex_bound(n: int, d: int) -> float:
    """Return the lower bound 1/sqrt(d) on the coherence of n > d(d+1)/2 unit vectors in R^d.

    References
    ----------
    Conway, Hardin and Sloane (1996), "Packing lines, planes, etc.", section 5 (via Rankin).
    """
    count("d", d)
    if 2 * count("n", n) <= d * (d + 1):
        raise ValueError(f"the orthoplex bound needs n > d(d+1)/2 = {d * (d + 1) // 2}; got n={n}.")
    return 1.0 / math.sqrt(d)


def levenshtein_bound(n: int, d: int) -> float:
    """Return Levenshtein's bound sqrt((3n - d^2 - 2d) / ((d+2)(n-d))) on the coherence of n >= d(d+1)/2 vectors in R^d.

    At equality it is the Welch bound; the 24-cell (d=4, n=12) and E8 (d=8, n=120) attain it.

    References
    ----------
    Levenshtein (1982), "Bounds of the maximal capacity of a code with a limited scalar product modulus".
    """
    count("d", d)
    if 2 * count("n", n) < d * (d + 1) or n <= d:
        raise ValueError(f"the Levenshtein bound needs n >= d(d+1)/2 = {d * (d + 1) // 2} and n > d; got n={n}, d={d}.")
    return math.sqrt((3 * n - d * d - 2 * d) / ((d + 2) * (n - d)))


def coherence_bound(n: int, d: int) -> float:
    """Return the largest of the Welch (orders 1 to 3), orthoplex and Levenshtein bounds that apply; 0 for n <= d."""
    count("n", n)
    count("d", d)
    best = 0.0
    for bound in (
        *(lambda n, d, order=order: welch_bound(n, d, order) for order in (1, 2, 3)),
        orthoplex_bound,
        levenshtein_bound,
    ):
        try:
            best = max(best, bound(n, d))
        except ValueError:
            continue
    return best


def coherence(atoms: Array) -> float:
    """Return mu, the largest |inner product| of two different unit rows of ``atoms (n, d)``, n >= 2."""
    return float(babel(atoms)[0])


def babel(atoms: Array) -> Array:
    """Return mu_1(k) for k = 1 ... n-1, ``(n-1,)``: the largest sum of |inner products| of one atom with k others.

    ``mu_1(k) = max_i max_{|S|=k, i not in S} sum_{j in S} |<d_i, d_j>|``, so mu_1(1) is the coherence.

    References
    ----------
    Tropp (2004), "Greed is good", Definition (cumulative coherence), section 2.4.
    """
    rows = _unit(atoms, 2)
    gram = np.abs(rows @ rows.T)
    np.fill_diagonal(gram, -1.0)
    ordered = -np.sort(-gram, axis=1)[:, :-1]
    return np.asarray(np.cumsum(ordered, axis=1).max(axis=0))


def spark(atoms: Array) -> int:
    """Return the size of the smallest linearly dependent set of rows, by enumeration; n + 1 if all are independent.

    Raises
    ------
    ValueError
        For more than 20 atoms: the number of subsets is exponential. Use `spark_bound`.
    """
    rows = _unit(atoms)
    n, d = rows.shape
    if n > 20:
        raise ValueError(f"spark enumerates subsets and takes at most 20 atoms; got {n}. Use spark_bound.")
    for size in range(2, min(n, d) + 1):
        subsets = combinations(range(n), size)
        while chunk := list(islice(subsets, 20_000)):
            smallest = np.linalg.svd(rows[np.array(chunk)], compute_uv=False)[:, -1]
            if float(smallest.min()) < _SLACK:
                return size
    return int(min(n, d)) + 1


def spark_bound(atoms: Array) -> int:
    """Return a lower bound on the spark, 1 + min{k : mu_1(k) >= 1}, at most n + 1; never below ceil(1 + 1/mu).

    References
    ----------
    Donoho and Elad (2003), "Optimally sparse representation in general dictionaries", Theorem 6; Tropp (2004).
    """
    reached = np.flatnonzero(babel(atoms) >= 1.0 - _SLACK)
    return int(reached[0]) + 2 if len(reached) else len(atoms) + 1


def uniqueness_limit(smallest_dependent: int) -> int:
    """Return the largest k such that every k-sparse code is the only one of its sparsity, k < spark / 2.

    References
    ----------
    Donoho and Elad (2003), Corollary 1.
    """
    count("spark", smallest_dependent, 2)
    return (smallest_dependent - 1) // 2


def exact_recovery_coefficient(atoms: Array, support: Sequence[int]) -> float:
    """Return max_{j not in S} ||D_S^+ d_j||_1: below 1, OMP and basis pursuit recover every code on the support S.

    0 if S holds all atoms.

    Raises
    ------
    ValueError
        If the atoms of S are dependent, repeated or none.

    References
    ----------
    Tropp (2004), Theorems 3.1 (OMP) and 3.3 (basis pursuit), the Exact Recovery Condition.
    """
    rows = _unit(atoms)
    chosen = _chosen(rows, support)
    if not len(chosen):
        raise ValueError("support must name at least one atom; got none.")
    outside = np.delete(rows, chosen, axis=0)
    coefficients = outside @ np.linalg.pinv(rows[chosen])
    return float(np.abs(coefficients).sum(axis=1).max(initial=0.0))


def coherence_limit(mu: float) -> int:
    """Return the largest k < (1 + 1/mu)/2: OMP and basis pursuit recover every k-sparse code exactly.

    References
    ----------
    Donoho and Elad (2003), Theorem 7; Gribonval and Nielsen (2003); Tropp (2004), Corollary 3.6.
    """
    if not 0.0 < mu <= 1.0:
        raise ValueError(f"mu must lie in (0, 1]; got {mu}. Orthonormal atoms (mu = 0) have no limit.")
    return math.ceil((1.0 + 1.0 / max(mu, 1e-300)) / 2.0 - _SLACK) - 1


def babel_limit(atoms: Array) -> int:
    """Return the largest k with mu_1(k-1) + mu_1(k) < 1: OMP and basis pursuit recover every k-sparse code.

    Never less than `coherence_limit`, but that it is at most n - 1.

    References
    ----------
    Tropp (2004), Theorem 3.5.
    """
    values = np.concatenate([[0.0], babel(atoms)])
    return int(np.count_nonzero(values[1:] + values[:-1] < 1.0 - _SLACK))


def simplex(d: int) -> Array:
    """Return d + 1 unit rows in R^d with all inner products -1/d, an equiangular tight frame."""
    count("d", d)
    centred = np.eye(d + 1) - 1.0 / (d + 1)
    rows = np.linalg.eigh(centred)[1][:, 1:]  # the eigenvalue 0 comes first, its eigenvector is the constant
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def identity_hadamard(d: int) -> Array:
    """Return the 2d rows of [I; H/sqrt(d)], H the Sylvester-Hadamard matrix: coherence 1/sqrt(d), d a power of two.

    mu_1(k) = k/sqrt(d) for k <= d; the spark is 2 sqrt(d) where d is a power of four (Poisson summation).
    """
    if count("d", d) < 2 or d & (d - 1):
        raise ValueError(f"d must be a power of two, at least 2; got {d}.")
    hadamard = np.ones((1, 1))
    while len(hadamard) < d:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    return np.concatenate([np.eye(d), hadamard / math.sqrt(d)])


def paley_etf(n: int) -> Array:
    """Return n equiangular unit rows in R^{n/2}, coherence 1/sqrt(n-1), for n - 1 a prime that is 1 modulo 4.

    The Gram matrix is I + C/sqrt(q) with C the symmetric conference matrix of Paley, q = n - 1: n = 6, 14, 18, 30, 38.

    References
    ----------
    Paley (1933), "On orthogonal matrices"; Strohmer and Heath (2003), "Grassmannian frames".
    """
    q = count("n", n) - 1
    if q < 5 or q % 4 != 1 or any(q % factor == 0 for factor in range(2, math.isqrt(q) + 1)):
        raise ValueError(f"n - 1 must be a prime that is 1 modulo 4 (n = 6, 14, 18, 30, 38, ...); got n={n}.")
    character = np.full(q, -1.0)
    character[np.unique(np.arange(1, q) ** 2 % q)] = 1.0
    character[0] = 0.0
    conference = np.ones((n, n))
    conference[1:, 1:] = character[np.subtract.outer(np.arange(q), np.arange(q)) % q]
    conference[0, 0] = 0.0
    rows = math.sqrt(2.0) * np.linalg.eigh(conference)[1][:, n // 2 :]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
