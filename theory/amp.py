"""State evolution: the error of message passing, the lasso and the Bayes-optimal algorithm on random dictionaries.

n code entries are seen through d = delta n measurements, by a dictionary of independent N(0, 1/d) entries and noise of
variance sigma2. Asymptotically, each entry is estimated from ``s + tau z`` with ``tau2 = sigma2 + mse(tau2) / delta``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr

from theory.denoisers import Array, SpikeSlab
from theory.phase import soft_energy

Risk: TypeAlias = Callable[[Array], Array]  # noise levels tau2 (t,) -> mean squared errors (t,)

_LARGEST_ALPHA = 12.0  # in noise deviations: beyond, nothing of the noise passes in double precision
_STEP = 0.01  # in noise deviations, of the parabola
_FINEST = 1e-13  # of the code's variance: a smaller error counts as exact recovery


def _check_system(delta: npt.ArrayLike, noise_variance: float) -> Array:
    ratio = np.asarray(delta, dtype=np.float64)
    if not np.all((ratio > 0.0) & np.isfinite(ratio)):
        raise ValueError(f"delta must be positive and finite; got {ratio}.")
    if not (noise_variance >= 0.0 and math.isfinite(noise_variance)):
        raise ValueError(f"noise_variance must be finite and not negative; got {noise_variance}.")
    return ratio


def soft_mse(prior: SpikeSlab, tau2: npt.ArrayLike, alpha: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return ``E (eta(s + tau z; alpha tau) - s)^2``, the error of soft thresholding, in the common shape of the two.

    Non-negative: eta(r) = (r - alpha tau)_+. The spike's part is ``(1 - eps) tau2 kappa E (g - alpha)_+^2``, the slab's
    is integrated as ``E [(eta(r) - E(s | r))^2 + Var(s | r)]``.

    Raises
    ------
    ValueError
        Unless tau2 is positive and alpha at least 0, both finite.

    References
    ----------
    Donoho, Maleki and Montanari, arXiv:0907.3574; Bayati and Montanari, arXiv:1008.2581.
    """
    level, factor, shape = _levels(prior, tau2, alpha)
    tau = np.sqrt(level)
    cut = (factor * tau)[:, None]
    r, weights = prior.rule(level, np.concatenate([-cut, cut], axis=1))
    mean, spread = prior.slab.moments(r, level[:, None])
    estimate = np.maximum(r - cut, 0.0) if non_negative else np.sign(r) * np.maximum(np.abs(r) - cut, 0.0)
    density = weights * np.exp(prior.slab.log_density(r, level[:, None]))
    slab = (density * ((estimate - mean) ** 2 + spread)).sum(axis=1)
    spike = level * soft_energy(factor, non_negative=non_negative)
    return np.asarray(prior.scale**2 * ((1.0 - prior.eps) * spike + prior.eps * slab)).reshape(shape)


def soft_active(prior: SpikeSlab, tau2: npt.ArrayLike, alpha: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return ``P(|s + tau z| > alpha tau)``, the share of entries that soft thresholding keeps.

    Raises
    ------
    ValueError
        As `soft_mse`.
    """
    level, factor, shape = _levels(prior, tau2, alpha)
    cut = (factor * np.sqrt(level))[:, None]
    r, weights = prior.rule(level, np.concatenate([-cut, cut], axis=1))
    kept = r > cut if non_negative else np.abs(r) > cut
    slab = (weights * kept * np.exp(prior.slab.log_density(r, level[:, None]))).sum(axis=1)
    spike = (1 if non_negative else 2) * ndtr(-factor)
    return np.asarray((1.0 - prior.eps) * spike + prior.eps * slab).reshape(shape)


def _levels(prior: SpikeSlab, tau2: npt.ArrayLike, alpha: npt.ArrayLike) -> tuple[Array, Array, tuple[int, ...]]:
    level, factor = np.broadcast_arrays(np.asarray(tau2, dtype=np.float64), np.asarray(alpha, dtype=np.float64))
    if not np.all((level > 0.0) & np.isfinite(level)):
        raise ValueError(f"tau2 must be positive and finite; got {level}.")
    if not np.all((factor >= 0.0) & (factor <= 1e100)):
        raise ValueError(f"alpha must not be negative, nor above 1e100; got {factor}.")
    return level.reshape(-1) / prior.scale**2, factor.reshape(-1), level.shape


def best_alpha(prior: SpikeSlab, tau2: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return the threshold, in units of tau, of least `soft_mse`, at most 12, in the shape of ``tau2``.

    A grid narrowed three times around its minimum, then a parabola: the error is within a relative 1e-7 of the least.

    Raises
    ------
    ValueError
        Unless tau2 is positive and finite.
    """
    level, _, shape = _levels(prior, tau2, 0.0)
    blocks = [_narrow(prior, level[low : low + 8], non_negative) for low in range(0, len(level), 8)]
    alpha = np.concatenate([np.empty(0), *blocks])
    # The grid's integrals do not resolve the corner at the threshold; the parabola is through exact ones.
    points = np.clip(alpha, _STEP, None) + _STEP * np.array([[-1.0], [0.0], [1.0]])
    levels = np.broadcast_to(prior.scale**2 * level, points.shape)
    left, middle, right = soft_mse(prior, levels, points, non_negative=non_negative)
    bend, tilt = left - 2.0 * middle + right, 0.5 * (right - left)
    shift = np.clip(-tilt / np.where(bend > 0.0, bend, np.inf), -2.0, 2.0)
    return np.asarray(np.clip(points[1] + _STEP * shift, 0.0, _LARGEST_ALPHA).reshape(shape))


def _narrow(prior: SpikeSlab, level: Array, non_negative: bool) -> Array:
    r, weights = prior.rule(level)
    tau = np.sqrt(level)[:, None]
    mean, _ = prior.slab.moments(r, level[:, None])
    density = (weights * np.exp(prior.slab.log_density(r, level[:, None])))[:, None]
    r, mean = r[:, None] / tau[..., None], mean[:, None] / tau[..., None]
    size = r if non_negative else np.abs(r)
    sign = np.ones_like(r) if non_negative else np.sign(r)
    centre, step = np.full((len(level), 1), _LARGEST_ALPHA / 2), _LARGEST_ALPHA / 16
    for _ in range(4):
        alpha = np.clip(centre + step * np.arange(-8, 9), 0.0, _LARGEST_ALPHA)
        slab = (density * (sign * np.maximum(size - alpha[..., None], 0.0) - mean) ** 2).sum(axis=-1)
        error = (1.0 - prior.eps) * soft_energy(alpha, non_negative=non_negative) + prior.eps * slab
        centre = np.take_along_axis(alpha, error.argmin(axis=1)[:, None], axis=1)
        step /= 5.0
    return np.asarray(centre[:, 0])


def best_soft_mse(prior: SpikeSlab, tau2: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return the error of soft thresholding at `best_alpha`, in the shape of ``tau2``."""
    return soft_mse(prior, tau2, best_alpha(prior, tau2, non_negative=non_negative), non_negative=non_negative)


def evolve(risk: Risk, delta: float, noise_variance: float, start: float, steps: int) -> Array:
    """Return tau2_0 ... tau2_steps of ``tau2 <- sigma2 + risk(tau2) / delta``, from an error of ``start`` an entry.

    The effective noise of approximate message passing after that many iterations. ``risk`` is `SpikeSlab.mmse`, or a
    `soft_mse` of tau2 alone; message passing from zero codes starts at the power E s^2, from their mean at the
    variance.

    Raises
    ------
    ValueError
        Unless delta is positive, the noise variance and steps are not negative, and start is positive.

    References
    ----------
    Bayati and Montanari, arXiv:1001.3448, Theorem 1.
    """
    _check_system(delta, noise_variance)
    if not (start > 0.0 and steps >= 0):
        raise ValueError(f"start must be positive and steps not negative; got start={start}, steps={steps}.")
    levels = np.empty(steps + 1)
    levels[0] = noise_variance + start / delta
    for step in range(steps):
        reached = levels[step]
        levels[step + 1] = noise_variance + (float(risk(np.array([reached]))[0]) / delta if reached > 0.0 else 0.0)
    return levels


def fixed_points(risk: Risk, delta: npt.ArrayLike, noise_variance: float, start: float) -> Array:
    """Return the tau2 that state evolution reaches from an error of ``start``, one for each delta, in its shape.

    The largest solution of ``delta = risk(tau2) / (tau2 - sigma2)`` below the start, found on a grid of 160 levels and
    polished to a relative 1e-9 (of tau2 - sigma2). An error below 1e-13 of the start counts as exact recovery: tau2 =
    sigma2 + risk(sigma2) / delta, so 0 without noise.

    Parameters
    ----------
    risk : error of the scalar estimate, increasing in tau2 and at most ``start``; `SpikeSlab.mmse` or `best_soft_mse`.
    delta : measurements an entry, any shape: a column of a phase diagram in one call.
    noise_variance : sigma2.
    start : error before any measurement, the variance of the code (`SpikeSlab.variance`), or its power for the lasso.

    Raises
    ------
    ValueError
        Unless delta and start are positive and the noise variance is not negative.
    """
    ratio = _check_system(delta, noise_variance).reshape(-1)
    if not (start > 0.0 and math.isfinite(start)):
        raise ValueError(f"start must be positive and finite; got {start}.")
    bottom = float(risk(np.array([noise_variance]))[0]) if noise_variance > 0.0 else 0.0
    low = max(0.5 * bottom / ratio.max(initial=0.0), _FINEST * start) if len(ratio) else 1.0
    grid = np.linspace(math.log(low), math.log(1.01 * start / ratio.min(initial=math.inf)), 160) if len(ratio) else None
    if grid is None:
        return np.empty(np.shape(delta))

    def curve(x: Array) -> Array:
        """Return the logarithm of the delta whose fixed point is at tau2 = sigma2 + exp(x)."""
        return np.log(np.maximum(risk(noise_variance + np.exp(x)), 1e-300)) - x

    height = curve(grid)
    above = height[None, :] >= np.log(ratio)[:, None]
    index = above.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
    found = above.any(axis=1)
    gap = bottom / ratio
    where = np.flatnonzero(found)
    if len(where):
        gap[where] = np.exp(_polish(curve, grid, height, index[where], np.log(ratio[where])))
    return np.asarray(noise_variance + gap).reshape(np.shape(delta))


def _polish(curve: Risk, grid: Array, height: Array, index: npt.NDArray[np.intp], target: Array) -> Array:
    """Return where ``curve`` falls through ``target`` between grid points ``index`` and ``index + 1``.

    Bisection of the spline of the grid, then steps of Newton with its slope and the exact value, kept in the bracket.
    """
    spline = CubicSpline(grid, height)
    slope = spline.derivative()
    index = np.minimum(index, len(grid) - 2)
    low, high = grid[index], grid[index + 1]
    bracket = low, high
    for _ in range(40):
        middle = 0.5 * (low + high)
        over = spline(middle) >= target
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    x = 0.5 * (low + high)
    pending = np.arange(len(x))
    for _ in range(30):
        error = curve(x[pending]) - target[pending]
        # At a spinodal the slope vanishes; a bounded step keeps the iteration inside the bracket.
        step = error / np.minimum(slope(x[pending]), -1e-9)
        moved = np.clip(x[pending] - step, bracket[0][pending], bracket[1][pending])
        change = np.abs(moved - x[pending])
        x[pending] = moved
        pending = pending[change > 1e-7]  # the slope is right to 1e-3, so is what such a step leaves
        if not len(pending):
            break
    return np.asarray(x)


def bayes_threshold(prior: SpikeSlab) -> float:
    """Return delta_alg, the measurements an entry above which Bayes-optimal message passing recovers without noise.

    ``sup_tau2 mmse(tau2) / tau2``, at least eps for slabs with a density (what any method needs, Wu and Verdu). Below
    it and above that limit, recovery is possible but no efficient algorithm is known to do it.

    References
    ----------
    Krzakala et al., arXiv:1109.4424 and 1206.3953; Wu and Verdu, arXiv:1103.0484 for the limit.
    """
    power = prior.scale**2
    grid = power * np.logspace(-9.0, 3.0, 121)
    ratio = prior.mmse(grid) / grid
    peak = int(ratio.argmax())
    for _ in range(4):
        grid = np.geomspace(grid[max(peak - 1, 0)], grid[min(peak + 1, len(grid) - 1)], 21)
        ratio = prior.mmse(grid) / grid
        peak = int(ratio.argmax())
    dense = prior.slab.moments(np.zeros(1), np.full(1, 1e-12))[1][0] > 0.0
    return max(float(ratio[peak]), prior.eps if dense else 0.0)


def lasso_fixed_point(
    prior: SpikeSlab, delta: float, noise_variance: float, alpha: float, *, non_negative: bool = False
) -> float:
    """Return tau2 of soft-thresholding message passing at threshold ``alpha tau``; unique.

    Raises
    ------
    ValueError
        If there is none: ``kappa E (g - alpha)_+^2 >= delta``, where the noise of zero entries alone is amplified; or
        without noise, where it is `statistical_dimension` that decides; or for arguments out of their range.

    References
    ----------
    Donoho, Maleki and Montanari (2011), "The noise-sensitivity phase transition", arXiv:1004.1218; Bayati and
    Montanari, arXiv:1008.2581, Proposition 1.3.
    """
    _check_system(delta, noise_variance)
    if noise_variance == 0.0:
        raise ValueError("noise_variance must be positive here; got 0. Use phase.statistical_dimension without noise.")
    gain = float(soft_energy(alpha, non_negative=non_negative))
    if gain >= delta:
        raise ValueError(f"alpha={alpha:g} passes {gain:.4g} of the noise, not below delta={delta:g}. Raise alpha.")

    def excess(log_level: float) -> float:
        level = np.array([math.exp(log_level)])
        error = soft_mse(prior, level, np.array([alpha]), non_negative=non_negative)[0]
        return math.log((noise_variance + error / delta) / level[0])

    high = math.log(noise_variance + prior.power / delta)
    while excess(high) > 0.0:  # ends: for large tau2 the ratio tends to gain / delta < 1
        high += math.log(4.0)
    return math.exp(brentq(excess, math.log(noise_variance), high, xtol=1e-12))


def lasso_penalty(prior: SpikeSlab, delta: float, tau2: float, alpha: float, *, non_negative: bool = False) -> float:
    """Return the penalty of the lasso ``||y - D s||^2 / 2 + penalty ||s||_1`` whose solution thresholds at alpha tau.

    ``alpha tau (1 - P(|s + tau z| > alpha tau) / delta)`` at the fixed point tau2 of that alpha; negative where too
    many are active.

    References
    ----------
    Bayati and Montanari, arXiv:1008.2581, equation (1.9).
    """
    _check_system(delta, 0.0)
    active = float(soft_active(prior, tau2, alpha, non_negative=non_negative))
    return alpha * math.sqrt(tau2) * (1.0 - active / delta)


def lasso_state(
    prior: SpikeSlab, delta: float, noise_variance: float, penalty: float, *, non_negative: bool = False
) -> tuple[float, float]:
    """Return (alpha, tau2) of the lasso with this penalty; its mean squared error an entry is delta (tau2 - sigma2).

    Raises
    ------
    ValueError
        Unless penalty is positive and the others as for `lasso_fixed_point`.
    """
    _check_system(delta, noise_variance)
    if not (penalty > 0.0 and math.isfinite(penalty)):
        raise ValueError(f"penalty must be positive and finite; got {penalty}.")
    lowest = _least_alpha(delta, non_negative)

    def excess(alpha: float) -> float:
        tau2 = lasso_fixed_point(prior, delta, noise_variance, alpha, non_negative=non_negative)
        return lasso_penalty(prior, delta, tau2, alpha, non_negative=non_negative) - penalty

    low, high = lowest + 1e-6, lowest + 1.0
    while excess(high) < 0.0:
        low, high = high, 2.0 * high
    while low > lowest and excess(low) >= 0.0:  # a small penalty, from delta = 1 on one of any size above 0
        low, high = lowest + (low - lowest) / 16.0, low
    if low == lowest:
        raise ValueError(f"penalty={penalty:g} is too small to be told from none. Raise it.")
    alpha = float(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
    return alpha, lasso_fixed_point(prior, delta, noise_variance, alpha, non_negative=non_negative)


def _least_alpha(delta: float, non_negative: bool) -> float:
    """Return the threshold that passes delta of the noise energy, 0 if none does: fixed points exist above it."""
    if float(soft_energy(0.0, non_negative=non_negative)) <= delta:
        return 0.0
    return float(brentq(lambda a: float(soft_energy(a, non_negative=non_negative)) - delta, 0.0, 38.0, xtol=1e-12))
