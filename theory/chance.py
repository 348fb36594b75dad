"""Random directions: how large their cosines are, from integrals of powers of the cosine and not from a Beta CDF.

With theta the angle from the equator, |cos| = sin(theta) and P(|cos| <= sin a) = C_{d-2}(a) / C_{d-2}(pi/2) where
``C_n(a) = int_0^a cos^n``, by the recursion ``C_n = cos^{n-1} sin / n + (n-1)/n C_{n-2}`` of positive terms.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, linear_sum_assignment
from scipy.special import betainc, gammaln

from theory._premises import count

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def abs_cosine_cdf(angle: npt.ArrayLike, d: int) -> Array:
    """Return P(|cos| <= sin(angle)) for two independent uniform directions in R^d, ``angle`` in [0, pi/2].

    d = 2: 2 angle / pi. d = 3: sin(angle) (Archimedes). d = 1 is excluded, where |cos| = 1 always.
    """
    count("d", d, 2)
    a = np.asarray(angle, dtype=np.float64)
    if not ((a >= 0.0) & (a <= math.pi / 2 + 1e-12)).all():
        raise ValueError(f"angle must lie in [0, pi/2], from the equator; got {angle!r}.")
    sine, cosine = np.sin(a), np.cos(a)
    integral, whole, square = (a, math.pi / 2, cosine**2) if d % 2 == 0 else (sine, 1.0, cosine**2)
    term = cosine * sine if d % 2 == 0 else square * sine  # cos^{n-1} sin
    for power in range(2 + d % 2, d - 1, 2):
        integral = term / power + (power - 1) / power * integral
        whole = (power - 1) / power * whole
        term = term * square
    return np.clip(integral / whole, 0.0, 1.0)


def mean_abs_cosine(d: int) -> float:
    """Return E|cos| of two independent directions in R^d, Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))."""
    count("d", d)
    return float(np.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi))


def mean_max_abs_cosine(p: int, d: int) -> float:
    """Return E max of p independent |cos| in R^d: p/(p+1) for d = 3; the chance level of MMCS.

    ``int_0^{pi/2} [1 - F(sin a)^p] cos a da`` by the double-exponential rule of Takahasi and Mori (1974).
    """
    count("p", p)
    count("d", d)
    if d == 1:
        return 1.0
    step = 0.002 / math.sqrt(max(1.0, d / 1000.0))  # the integrand has a width of order 1/sqrt(d)
    s = np.arange(-4.0, 4.0 + step, step)
    inner = math.pi / 2 * np.sinh(s)
    angle = math.pi / 2 / (1.0 + np.exp(-2.0 * inner))
    to_pole = math.pi / 2 / (1.0 + np.exp(2.0 * inner))  # cos(angle) = sin(to_pole), without cancellation at the pole
    weight = math.pi / 4 * (math.pi / 2 * np.cosh(s)) / np.cosh(inner) ** 2
    return min(1.0, float(step * ((1.0 - abs_cosine_cdf(angle, d) ** p) * np.sin(to_pole) * weight).sum()))


def max_abs_cosine_quantile(p: int, d: int, level: float) -> float:
    """Return the value that the largest of p independent |cos| in R^d stays below with probability ``level``."""
    count("p", p)
    count("d", d, 2)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie strictly between 0 and 1; got {level}.")

    def excess(angle: float) -> float:
        return float(abs_cosine_cdf(angle, d)) - math.exp(math.log(level) / p)

    root: float = brentq(excess, 0.0, math.pi / 2, xtol=1e-14)
    return math.sin(root)


def packing_asymptote(p: int, d: int) -> float:
    """Return the leading term of 1 - E max|cos| for p -> infinity at fixed d, the Weibull law of the nearest direction.

    P(1 - cos^2 < u) ~ A u^{(d-1)/2} with 1/A = ((d-1)/2) B(1/2, (d-1)/2), so that the smallest of p has
    E[1 - max cos^2] ~ (p A)^{-2/(d-1)} Gamma(1 + 2/(d-1)), and 1 - max|cos| is half of it.
    Relative error O(1/p + p^{-2/(d-1)}).
    """
    count("p", p)
    count("d", d, 2)
    half = (d - 1) / 2
    log_beta = gammaln(0.5) + gammaln(half) - gammaln(half + 0.5)
    log_pa = math.log(p) - math.log(half) - log_beta
    return float(0.5 * np.exp(-log_pa / half + gammaln(1.0 + 1.0 / half)))


def high_dimension_asymptote(p: int, d: int) -> float:
    """Return sqrt(2 ln p / d), the leading term of E max|cos| for p, d -> infinity with ln p / d -> 0.

    The relative correction is of order ln ln p / ln p, slow enough that it is a scale and not an estimate.

    Raises
    ------
    ValueError
        Where 2 ln p >= d, far outside the limit, or p < 2.
    """
    count("p", p, 2)
    count("d", d)
    if 2.0 * math.log(p) >= d:
        raise ValueError(
            f"needs ln p << d; got p={p}, d={d} with 2 ln p = {2 * math.log(p):.3g}. Use mean_max_abs_cosine."
        )
    return math.sqrt(2.0 * math.log(p) / d)


def random_coherence_median(n: int, d: int) -> float:
    """Return the median coherence of n independent directions in R^d as if their pairs were independent.

    P(coherence < t) = F(t)^{n(n-1)/2}. The pairs are independent two by two, not jointly: within 3 % for d >= 16.
    """
    count("n", n, 2)
    return max_abs_cosine_quantile(n * (n - 1) // 2, d, 0.5)


def expected_close_pairs(n: int, d: int, cosine: float) -> float:
    """Return the exact expected number of pairs with |cos| above ``cosine`` among n independent directions in R^d."""
    count("n", n, 2)
    count("d", d, 2)
    if not 0.0 <= cosine < 1.0:
        raise ValueError(f"cosine must lie in [0, 1); got {cosine!r}.")
    return n * (n - 1) / 2 * _tail(cosine, d)


def _tail(cosine: float, d: int) -> float:
    """Return P(|cos| > cosine) without cancellation: the regularised incomplete Beta((d-1)/2, 1/2) at 1 - cosine^2."""
    return float(betainc((d - 1) / 2, 0.5, (1.0 - cosine) * (1.0 + cosine)))


def random_packing_count(d: int, cosine: float) -> float:
    """Return how many random directions in R^d have one expected pair above ``cosine``: about sqrt(2 / P(|cos| > t)).

    The positive root of n (n-1) / 2 * P = 1. It grows exponentially in d, the Johnson-Lindenstrauss count of features
    that superposition can hold at that interference; optimised packings hold more, `theory.frames` says how many.
    """
    count("d", d, 2)
    if not 0.0 < cosine < 1.0:
        raise ValueError(f"cosine must lie strictly between 0 and 1; got {cosine!r}.")
    tail = _tail(cosine, d)
    if tail == 0.0:
        raise ValueError(f"at d={d}, cosine={cosine:g} the count exceeds 1e150. Ask for a smaller cosine.")
    return 0.5 + math.sqrt(0.25 + 2.0 / tail)


def sequential_match_mean(m: int, p: int, d: int) -> float:
    """Return the mean |cos| of matching in sequence, each row taking the best of those left, as if these stayed random.

    With q = min(m, p) of r = max(m, p) directions: the mean over j = r-q+1 ... r of E max of j. The directions left are
    slightly more crowded than random ones, so this is a model of greedy matching, below the optimal one.
    """
    count("m", m)
    count("p", p)
    few, many = min(m, p), max(m, p)
    return float(np.mean([mean_max_abs_cosine(left, d) for left in range(many - few + 1, many + 1)]))


def matched_mean_estimate(m: int, p: int, d: int) -> float:
    """Return the chance level of MCC, optimal one-to-one matching of m and p random directions in R^d, to within 0.01.

    The midpoint of `sequential_match_mean`, which is below it, and `mean_max_abs_cosine` of the larger number, which no
    one-to-one matching exceeds in the mean. No closed form is known; the midpoint is a rule checked by simulation.
    """
    return (sequential_match_mean(m, p, d) + mean_max_abs_cosine(max(m, p), d)) / 2.0


def simulated_matched_mean(m: int, p: int, d: int, draws: int, rng: np.random.Generator) -> Array:
    """Return ``draws`` independent values of MCC by chance: the mean |cos| of the optimal matching of random rows.

    The directions are uniform on the sphere, m against p of them; ``min(m, p)`` pairs are averaged.
    """
    for name, value in (("m", m), ("p", p), ("d", d), ("draws", draws)):
        count(name, value)
    found = np.empty(draws)
    for draw in range(draws):
        rows, columns = rng.standard_normal((m, d)), rng.standard_normal((p, d))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        columns /= np.linalg.norm(columns, axis=1, keepdims=True)
        cosines = np.abs(rows @ columns.T)
        found[draw] = cosines[linear_sum_assignment(cosines, maximize=True)].mean()
    return found


def rv_by_chance(energy: float, n: int, d: int) -> float:
    """Return the RV coefficient of a covariance of n features with the Gram matrix of n random directions in R^d.

    The features have variance one and ``energy`` is the mean over rows of the sum of squares of the covariance, 1 where
    they are uncorrelated. Only the diagonals agree: ``n / sqrt(n energy * n (1 + (n - 1) / d))``, with the expected
    squares of the Gram matrix. With an orthonormal one it is 1 / sqrt(energy). A best order is a little above.

    Raises
    ------
    ValueError
        Unless energy is at least 1 and n and d are positive.
    """
    count("n", n)
    count("d", d)
    if not energy >= 1.0:
        raise ValueError(f"energy must be at least 1, the square on the diagonal; got {energy}.")
    return 1.0 / math.sqrt(energy * (1.0 + (n - 1) / d))
