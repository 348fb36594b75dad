"""What one matrix product can do: the top-k threshold of random dictionaries, thresholds, linear estimates.

Random unit directions, n atoms in R^d. A tied encoder scores by ``atoms @ y``; a whitening one by the pseudo-inverse
(or the LMMSE estimate at low noise), whose interference is smaller by ``1 - d/n``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr, ndtr

from theory._premises import count, moderate, positive, sparsity

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_PANELS = 60


def _interference(n: int, d: int, k: int, whiten: bool) -> float:
    if sparsity(k, n) == n:
        raise ValueError(f"k must lie in [1, n-1={n - 1}]; got {k}.")
    if count("d", d) >= n and whiten:
        raise ValueError(f"d must be below n={n} for a whitening encoder; got {d}.")
    return 1.0 - d / n if whiten else 1.0


def top_k_success(n: int, d: int, k: int, *, whiten: bool = False) -> float:
    """Return the probability that the k largest scores of a binary code are its support, scores taken as independent.

    Active scores are N(1, f (k-1)/d), inactive ones N(0, f k/d), f = 1 for a tied encoder and 1 - d/n for a whitening
    one: ``int P(active > t)^k dP(max inactive <= t)``. The scores of a sample are positively dependent, so that it is
    slightly low; within 0.1 of simulations.

    Raises
    ------
    ValueError
        Unless 1 <= k < n and d >= 1 (d < n with ``whiten``).
    """
    factor = _interference(n, d, k, whiten)
    inactive, active = math.sqrt(factor * k / d), math.sqrt(factor * (k - 1) / d)
    # The level x of the largest inactive score in its deviations; its CDF is Phi(x)^(n-k).
    edges = np.linspace(-12.0, 12.0, _PANELS + 1)
    half = 12.0 / _PANELS
    x = (0.5 * (edges[1:] + edges[:-1]))[:, None] + half * _NODES
    count = n - k
    log_density = math.log(count) + (count - 1) * log_ndtr(x) - 0.5 * x * x - 0.5 * math.log(2.0 * math.pi)
    if k == 1:  # the active score is exactly 1
        return float(np.exp(count * log_ndtr(1.0 / inactive)))
    passes = np.exp(log_density + k * log_ndtr((1.0 - inactive * x) / active))
    return float(half * (passes * _WEIGHTS).sum())


def top_k_capacity(n: int, d: int, k: int, *, whiten: bool = False) -> float:
    """Return ``d / (2 f (sqrt(ln k) + sqrt(ln(n - k)))^2)``, the number of active entries where top-k turns.

    The extremes of k active and n - k inactive scores meet; solve ``k = top_k_capacity(n, d, k)`` for the boundary, or
    take it at a k of the right size, on which it depends by logarithms only.

    Raises
    ------
    ValueError
        As `top_k_success`.
    """
    factor = _interference(n, d, k, whiten)
    if n == 2:
        raise ValueError("n must be above 2: one active and one inactive score have no extremes, hence no turn.")
    return d / (2.0 * factor * (math.sqrt(math.log(k)) + math.sqrt(math.log(n - k))) ** 2)


def readout_error(d: float, k: float) -> float:
    """Return ``Q(sqrt(d/k) / 2)``, the error of one score of a tied encoder thresholded at 1/2, active or not.

    The crosstalk of k random directions is about N(0, k/d). n of them make less than one error in all from about
    d = 8 k ln n, where the worst case over inputs takes k^2 (`theory.storage.necessary_dimension`). Asymptotic in k, d.

    Raises
    ------
    ValueError
        Unless d and k are positive.
    """
    return float(ndtr(-0.5 * math.sqrt(positive("d", d) / positive("k", k))))


def _check_channel(variance: float, delta: float, noise_variance: float) -> None:
    moderate("variance", variance)
    moderate("delta", delta)
    if not (noise_variance >= 0.0 and math.isfinite(noise_variance)):
        raise ValueError(f"noise_variance must be finite and not negative; got {noise_variance}.")


def tied_noise(variance: float, delta: float, noise_variance: float) -> float:
    """Return ``sigma2 + variance / delta``, the noise of the scores ``atoms @ (y - E y)`` of a tied encoder.

    Asymptotic in n at fixed delta = d/n, for independent code entries of that variance.

    Raises
    ------
    ValueError
        Unless variance and delta are positive and the noise variance is not negative.
    """
    _check_channel(variance, delta, noise_variance)
    return noise_variance + variance / delta


def linear_noise(variance: float, delta: float, noise_variance: float) -> float:
    """Return the noise t of the scores of the LMMSE estimate, made unbiased: ``t = sigma2 + v t / ((v + t) delta)``.

    The positive root of ``delta t^2 + (delta v - delta sigma2 - v) t - delta sigma2 v``; 0 for d >= n without noise.

    Raises
    ------
    ValueError
        Unless variance and delta are positive and the noise variance is not negative.

    References
    ----------
    Tse and Hanly (1999), "Linear multiuser receivers", whose MMSE receiver has the same fixed point.
    """
    _check_channel(variance, delta, noise_variance)
    slope = delta * (variance - noise_variance) - variance
    product = delta * noise_variance * variance
    root = math.hypot(slope, 2.0 * math.sqrt(delta * product))
    return 2.0 * product / (slope + root) if slope > 0.0 else (root - slope) / (2.0 * delta)


def linear_mse(variance: float, delta: float, noise_variance: float) -> float:
    """Return the mean squared error of the LMMSE estimate of a code entry, ``v t / (v + t)`` at `linear_noise` t.

    Without noise it is ``v (1 - delta)``, the energy outside the row space.
    """
    t = linear_noise(variance, delta, noise_variance)
    return variance * t / (variance + t)
