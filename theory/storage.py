"""How many dimensions it takes to store features so that a linear map reads each one off.

Features are ``atoms (n, d)`` and are read by ``readout (n, d)`` with ``M = readout @ atoms.T`` of unit diagonal. Where
at most k features are active, none above 1 in size, the crosstalk on a feature is at most the sum of the k largest
``|M_ij|``, j != i, and some input attains it.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from theory._premises import count, matrix
from theory.chance import expected_close_pairs

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def _check(n: int, k: int, error: float) -> None:
    if count("n", n) < 2 or not 1 <= count("k", k, 0) < n:
        raise ValueError(f"k active features of n must satisfy 1 <= k < n; got k={k}, n={n}.")
    if not 0.0 < error < 1.0:
        raise ValueError(f"error must lie strictly between 0 and 1, the size of a feature; got {error!r}.")


def worst_crosstalk(readout: npt.ArrayLike, atoms: npt.ArrayLike, k: int) -> float:
    """Return the largest error that k other features of size at most 1 can cause on any feature's linear readout.

    Raises
    ------
    ValueError
        If a readout does not read its own feature as 1 (to 1e-9), or shapes differ.
    """
    w, a = matrix("readout", readout), matrix("atoms", atoms)
    if w.shape != a.shape:
        raise ValueError(f"readout and atoms must be matrices (n, d) of one shape; got {w.shape} and {a.shape}.")
    _check(len(a), k, 0.5)
    response = w @ a.T
    own = np.diag(response)
    if np.abs(own - 1.0).max() > 1e-9:
        raise ValueError(f"each readout must give 1 for its own feature; got {own.min():.6g} to {own.max():.6g}.")
    other = np.abs(response - np.diag(own))
    return float(np.sort(other, axis=1)[:, -k:].sum(axis=1).max())


def necessary_dimension(n: int, k: int, error: float) -> float:
    """Return a d below which no atoms and readout keep `worst_crosstalk` within ``error``: of order k^2 / error^2.

    If the k largest of a row sum to at most e, their squares sum to at most e^2 and every other is at most e/k, so that
    ``||M||_F^2 <= n (1 + e^2 + (n-1-k) e^2 / k^2)``, while ``n^2 = (tr M)^2 <= rank(M) ||M||_F^2``. At k = 1 it is the
    Welch bound, attained by equiangular tight frames.
    """
    _check(n, k, error)
    return n / (1.0 + error**2 * (1.0 + (n - 1 - k) / k**2))


def sufficient_dimension(n: int, k: int, error: float) -> int:
    """Return a d at which unit atoms with crosstalk within ``error`` exist, read by themselves: O((k/error)^2 log n).

    With coherence at most error / k the crosstalk is at most ``error``; and some n directions have that coherence where
    n random ones have less than one expected pair above it (Johnson and Lindenstrauss by the probabilistic method).
    """
    _check(n, k, error)
    cosine = error / k
    low, high = 1, 2
    while high < n and expected_close_pairs(n, high, cosine) >= 1.0:
        low, high = high, 2 * high
    high = min(high, n)  # n orthonormal atoms have no crosstalk at all
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if expected_close_pairs(n, middle, cosine) >= 1.0 else (low, middle)
    return high


def bits_to_compute(features: int, outputs: int, arity: int = 2) -> float:
    """Return log2 of how many ordered lists of ``outputs`` distinct ANDs of ``arity`` of the ``features`` there are.

    A family of models that can compute any such list has a different setting of its parameters for each, since the
    lists are different functions: at b bits a parameter it has at least 1/b times as many parameters, of order
    ``outputs * log(features)``. Representing the answers takes only the dimensions of `sufficient_dimension`.

    References
    ----------
    The counting argument of Adler and Shavit (2024), "On the complexity of neural computation in superposition",
    arXiv:2409.15318; with its constant here.
    """
    m, many, few = count("features", features, 1), count("outputs", outputs, 1), count("arity", arity, 1)
    if few > m:
        raise ValueError(f"arity must be at most features={m}; got {few}.")
    tuples = math.comb(m, few)
    if many > tuples:
        raise ValueError(f"outputs must be at most the {tuples} distinct ANDs; got {many}.")
    if tuples.bit_length() > 1000:
        raise ValueError(f"arity={few} of features={m} leaves the range of floating point. Use a smaller arity.")
    return float(np.log2(float(tuples) - np.arange(many)).sum())
