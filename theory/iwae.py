"""The importance-weighted bound of k samples, exactly, where posterior and proposal are one-dimensional Gaussians.

``L_k = E ln (1/k) sum_i p(x, z_i) / q(z_i | x)``; with posterior N(m, v) and proposal N(m', v') its distance from
ln p(x) depends on ``shift = (m' - m) / sqrt(v)`` and ``ratio = v' / v`` alone.

References
----------
Burda, Grosse, Salakhutdinov (2016), arXiv 1509.00519; Domke and Sheldon (2018), arXiv 1808.09034, and Maddison et al.
(2017), arXiv 1705.09279, for the rate 1/k.
"""

from __future__ import annotations

import math

import numpy as np

from theory._premises import count, positive


def elbo_gap(shift: float, ratio: float) -> float:
    """Return ln p(x) - L_1 = KL(q || posterior) = ``(shift^2 + ratio - 1 - ln ratio) / 2`` nats."""
    return 0.5 * (_finite(shift) ** 2 + positive("ratio", ratio) - 1.0 - math.log(ratio))


def _finite(shift: float) -> float:
    if not abs(shift) <= 1e150:
        raise ValueError(f"shift must be finite, and at most 1e150 in size; got {shift!r}.")
    return float(shift)


def weight_variance(shift: float, ratio: float) -> float:
    """Return the variance of p(z|x) / q(z) under q, ``ratio / sqrt(2 ratio - 1) exp(shift^2 / (2 ratio - 1)) - 1``.

    Infinite for ratio <= 1/2: a proposal much narrower than the posterior.
    """
    left = 2.0 * positive("ratio", ratio) - 1.0
    if left <= 0.0:
        return math.inf
    exponent = _finite(shift) ** 2 / left + math.log(ratio) - 0.5 * math.log(left)
    return math.expm1(exponent) if exponent < 700.0 else math.inf


def iwae_gap(k: int, shift: float, ratio: float) -> float:
    """Return ln p(x) - L_k >= 0 in nats, exactly up to quadrature: not increasing in k, the KL at k = 1.

    With S the mean of k weights of mean one, ``-E ln S = int_0^inf (E e^{-tS} - e^{-t}) / t dt`` and
    ``E e^{-tS} = (E e^{-tw/k})^k``, so that k samples cost no more than one. Absolute error below 1e-8.

    Raises
    ------
    ValueError
        If |shift| > 5 or ratio is outside [0.05, 4], where the quadrature has not been checked.
    """
    count("k", k)
    if abs(_finite(shift)) > 5.0 or not 0.05 <= positive("ratio", ratio) <= 4.0:
        raise ValueError(f"needs |shift| <= 5 and ratio in [0.05, 4]; got shift={shift!r}, ratio={ratio!r}.")
    z = np.linspace(-12.0, 12.0, 1201)  # in units of the proposal; what lies beyond has a probability of 1e-32
    density = np.exp(-0.5 * z * z)
    density /= density.sum()
    log_weight = 0.5 * math.log(ratio) - 0.5 * (shift + math.sqrt(ratio) * z) ** 2 + 0.5 * z * z
    # In u = ln t the integrand is analytic in a strip of half-width pi/2: the trapezoidal rule errs by e^{-pi^2/step}.
    step = 0.2
    u = np.arange(-40.0, 5.0 + math.log(k) - float(log_weight[np.abs(z) < 9.0].min()), step)
    exponent = np.exp(np.minimum(u[:, None] + log_weight - math.log(k), 100.0))
    mean = np.maximum(np.expm1(-exponent) @ density, -1.0 + 1e-16)  # E e^{-t w / k} - 1
    return max(0.0, float(step * (np.exp(k * np.log1p(mean)) - np.exp(-np.exp(u))).sum()))


def iwae_asymptote(k: int, shift: float, ratio: float) -> float:
    """Return ``weight_variance / (2 k)``, the leading term of `iwae_gap` as k grows, for ratio > 1/2."""
    variance = weight_variance(shift, ratio)
    if not math.isfinite(variance):
        raise ValueError(f"the weights have no finite variance at shift={shift!r}, ratio={ratio!r}; needs ratio > 1/2.")
    return variance / (2 * count("k", k))
