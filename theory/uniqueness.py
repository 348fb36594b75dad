"""Non-negative codes without a penalty: when is the sparse one the only one, exactly at finite n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.stats import binom

from theory._premises import count, sparsity
from theory.certificates import _SOLVER, Certificate
from theory.frames import _chosen, _unit

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def half_space_probability(n: int, d: int) -> float:
    """Return the probability 2^{-(n-1)} sum_{l<d} C(n-1, l) that n random points of R^d lie in one open half-space.

    For points in general position whose joint law is unchanged by the sign of each.

    References
    ----------
    Wendel (1962), "A problem in geometric probability".
    """
    count("n", n)
    count("d", d, 0)
    return float(binom.cdf(d - 1, n - 1, 0.5))


def non_negative_uniqueness(n: int, d: int, k: int) -> float:
    """Return the probability that a code s >= 0 with k non-zeros is the only z >= 0 with z D = s D.

    ``1 - 2^{-(n-k-1)} sum_{l=0}^{n-d-1} C(n-k-1, l)`` for n atoms in R^d in general position, whose joint law is
    unchanged by the sign of each: exact at every size, and the same for every such law. It is Wendel's probability for
    the other n - k atoms, projected on the d - k dimensions off the support. In large dimension it tends to 1 for
    k < 2d - n and to 0 above: with n > 2d atoms, not being negative is not enough for any k.

    Raises
    ------
    ValueError
        If k is not in [0, n] or a dimension is not positive.

    References
    ----------
    Donoho and Tanner (2010), "Counting the faces of randomly-projected hypercubes and orthants", arXiv:0807.3590;
    Wendel (1962).
    """
    sparsity(k, n, 0)
    count("d", d)
    if n <= d:
        return 1.0
    return 0.0 if k >= d else half_space_probability(n - k, d - k)


def non_negative_certificate(atoms: Array, support: Sequence[int]) -> Certificate:
    """Return whether every code >= 0 on the support is the only non-negative one with its sample.

    Exactly if v exists with D_S v = 0 and d_j . v > 0 for all j outside; the margin is the largest
    min_j d_j . v with all |v_i| <= 1, by a linear programme, at least 0. An empty support asks it of x = 0. Without a
    penalty: non-negative least squares then recovers the code.

    Raises
    ------
    ValueError
        If the atoms of S are dependent or repeated.

    References
    ----------
    Bruckstein, Elad and Zibulevsky (2008), "On the uniqueness of nonnegative sparse solutions to underdetermined
    systems of equations"; Gordan's theorem of alternatives.
    """
    rows = _unit(atoms)
    chosen = _chosen(rows, support)
    outside, d = np.delete(rows, chosen, axis=0), rows.shape[1]
    if not len(outside):
        return Certificate(True, 1.0)
    answer = linprog(
        np.r_[np.zeros(d), -1.0],
        A_ub=np.c_[-outside, np.ones(len(outside))],
        b_ub=np.zeros(len(outside)),
        A_eq=np.c_[rows[chosen], np.zeros(len(chosen))] if len(chosen) else None,
        b_eq=np.zeros(len(chosen)) if len(chosen) else None,
        bounds=[(-1, 1)] * d + [(0, None)],
        method="highs",
    )
    if answer.status != 0:
        raise ArithmeticError(f"the linear programme of the uniqueness certificate ended with: {answer.message}")
    margin = max(0.0, -float(answer.fun))
    return Certificate(margin > _SOLVER, margin)
