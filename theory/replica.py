"""The Bayes-optimal error of random dictionaries, and where efficient algorithms stop short of it.

n code entries, d = delta n measurements with independent N(0, 1/d) coefficients and noise of variance sigma2. E is the
mean squared error an entry, tau2 = sigma2 + E / delta. Stationary points of the free energy are the fixed points of
state evolution; its global minimum is the error of the posterior mean, its largest fixed point what message passing
reaches.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from theory.denoisers import Array, SpikeSlab

_POINTS = 240
_LEAST = 1e-4  # of eps: no transition is at a smaller delta
_FLAT = 1e-6  # a lower peak of ln delta is the rounding of a curve without one
_FINEST = 1e-9  # of the noise variance: a smaller E / delta does not change tau2 to single precision


def _check(prior: SpikeSlab, noise_variance: float, delta: float = 1.0) -> None:
    if prior.variance <= 0.0:
        raise ValueError(f"the code must not be constant; got {prior}. Lower eps.")
    if not (noise_variance > 0.0 and math.isfinite(noise_variance)):
        raise ValueError(
            f"noise_variance must be positive and finite; got {noise_variance}. Without noise use amp.bayes_threshold."
        )
    if not (delta > 0.0 and math.isfinite(delta)):
        raise ValueError(f"delta must be positive and finite; got {delta}.")


def free_energy(prior: SpikeSlab, delta: float, noise_variance: float, error: npt.ArrayLike) -> Array:
    """Return ``I(s; s + tau z) + (delta/2) [ln(tau2/sigma2) - E / (delta tau2)]`` in nats an entry, at errors ``E``.

    Its least value over E is the mutual information between code and measurements, an entry, as n -> inf; its
    derivative is ``(E - mmse(tau2)) / (2 delta tau2^2)``.

    Raises
    ------
    ValueError
        Unless delta and the noise variance are positive and E is not negative.

    References
    ----------
    Barbier et al., arXiv:1701.05823 and 1708.03395; Reeves and Pfister, arXiv:1607.02524, who prove the formula.
    """
    _check(prior, noise_variance, delta)
    mse = np.asarray(error, dtype=np.float64)
    if not np.all((mse >= 0.0) & np.isfinite(mse)):
        raise ValueError(f"error must be finite and not negative; got {mse}.")
    tau2 = noise_variance + mse / delta
    gain = np.log1p(mse / (delta * noise_variance)) - mse / (delta * tau2)
    return np.asarray(prior.mutual_information(tau2) + 0.5 * delta * gain)


def _log_delta(prior: SpikeSlab, noise_variance: float, x: npt.ArrayLike) -> Array:
    """Return ln of the delta that has a fixed point at tau2 = sigma2 + exp(x)."""
    gap = np.asarray(x, dtype=np.float64)
    return np.asarray(np.log(np.maximum(prior.mmse(noise_variance + np.exp(gap)), 1e-300)) - gap)


def _curve(prior: SpikeSlab, noise_variance: float, delta: float) -> tuple[Array, Array, tuple[int, int] | None]:
    """Return a grid x, `_log_delta` on it and where among it are its valley and peak, which the grid contains exactly.

    So no pair of fixed points falls between two grid points, however close to a spinodal.
    """
    least = float(prior.mmse(noise_variance))
    low = max(0.5 * min(least / max(delta, 1.0), noise_variance), _FINEST * noise_variance)
    x = np.linspace(math.log(low), math.log(1.01 * prior.variance / min(delta, _LEAST * prior.eps)), _POINTS)
    height = _log_delta(prior, noise_variance, x)
    peaks = 1 + np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] >= height[2:]))
    if not len(peaks):
        return x, height, None
    peak = int(peaks[height[peaks].argmax()])
    valley = int(height[: peak + 1].argmin())
    if height[peak] - height[valley] < _FLAT:
        return x, height, None
    for index, sign in ((valley, -1.0), (peak, 1.0)):
        x[index], height[index] = _extremum(prior, noise_variance, x, index, sign)
    return x, height, (valley, peak)


def _extremum(prior: SpikeSlab, noise_variance: float, x: Array, index: int, sign: float) -> tuple[float, float]:
    low, high = x[max(index - 1, 0)], x[min(index + 1, len(x) - 1)]
    best, value = x[index], 0.0
    for _ in range(5):
        fine = np.linspace(low, high, 21)
        height = _log_delta(prior, noise_variance, fine)
        at = int((sign * height).argmax())
        best, value = fine[at], float(height[at])
        low, high = fine[max(at - 1, 0)], fine[min(at + 1, 20)]
    return best, value


def fixed_errors(prior: SpikeSlab, delta: float, noise_variance: float) -> Array:
    """Return all solutions of ``E = mmse(sigma2 + E / delta)``, ascending: one, or stable, unstable and stable.

    Raises
    ------
    ValueError
        Unless delta and the noise variance are positive.
    """
    _check(prior, noise_variance, delta)
    x, height, _ = _curve(prior, noise_variance, delta)
    return _roots(prior, delta, noise_variance, x, height)


def _roots(prior: SpikeSlab, delta: float, noise_variance: float, x: Array, height: Array) -> Array:
    target = math.log(delta)
    above = height >= target
    found = [
        math.exp(brentq(lambda u: float(_log_delta(prior, noise_variance, u)) - target, x[i], x[i + 1], xtol=1e-13))
        for i in np.flatnonzero(above[1:] != above[:-1])
    ]
    errors = delta * np.array(found)
    if not above[0]:  # a fixed point below the grid, where tau2 is sigma2
        errors = np.concatenate([np.atleast_1d(prior.mmse(noise_variance)), errors])
    return errors


def bayes_mse(prior: SpikeSlab, delta: float, noise_variance: float) -> float:
    """Return the mean squared error an entry of the posterior mean, n -> inf: the fixed point of least free energy.

    No estimate has a smaller one. Message passing attains it unless `is_hard`.

    Raises
    ------
    ValueError
        Unless delta and the noise variance are positive.

    References
    ----------
    Reeves and Pfister, arXiv:1607.02524; Barbier et al., arXiv:1701.05823.
    """
    errors = fixed_errors(prior, delta, noise_variance)
    return float(errors[free_energy(prior, delta, noise_variance, errors).argmin()])


def is_hard(prior: SpikeSlab, delta: float, noise_variance: float) -> bool:
    """Return whether message passing ends at a larger error than the posterior mean has.

    Raises
    ------
    ValueError
        Unless delta and the noise variance are positive.
    """
    errors = fixed_errors(prior, delta, noise_variance)
    return int(free_energy(prior, delta, noise_variance, errors).argmin()) < len(errors) - 1


def spinodals(prior: SpikeSlab, noise_variance: float) -> tuple[float, float] | None:
    """Return the deltas between which there are three fixed points, None if there is one at every delta.

    Above the larger, message passing is Bayes-optimal; below the smaller, no good fixed point exists. They are the
    local extrema of ``delta(tau2) = mmse(tau2) / (tau2 - sigma2)``.

    Raises
    ------
    ValueError
        Unless the noise variance is positive.

    References
    ----------
    Krzakala et al., arXiv:1206.3953, section on the phase diagram.
    """
    _check(prior, noise_variance)
    _, height, ends = _curve(prior, noise_variance, 1.0)
    return None if ends is None else (math.exp(height[ends[0]]), math.exp(height[ends[1]]))


def information_threshold(prior: SpikeSlab, noise_variance: float) -> float | None:
    """Return the delta at which the posterior mean's error jumps, None where it does not jump.

    The smallest and the largest fixed point have the same free energy there.

    Between it and the larger of `spinodals` is the hard phase.

    Raises
    ------
    ValueError
        Unless the noise variance is positive.
    """
    _check(prior, noise_variance)
    x, height, ends = _curve(prior, noise_variance, 1.0)
    if ends is None:
        return None
    top = height[ends[1]]
    low = max(height[ends[0]], math.log(2.0 * _LEAST * prior.eps))  # discrete slabs have valleys of e^-100

    def preference(log_delta: float) -> float:
        """Return how much lower the free energy of the smallest error is than that of the largest."""
        delta = math.exp(log_delta)
        errors = _roots(prior, delta, noise_variance, x, height)
        energy = free_energy(prior, delta, noise_variance, errors[[0, -1]])
        return float(energy[1] - energy[0])

    inset = 1e-9 * (top - low)
    return math.exp(brentq(preference, low + inset, top - inset, xtol=1e-12))
