"""What a deep linear joint-embedding or masked autoencoder learns, and exactly when.

Each feature is a direction in which x has variance sigma^2 and covariance lam with the target y; ``rho = lam/sigma^2``
is its regression coefficient. An encoder of L layers and one linear predictor (or decoder) start balanced, every layer
at the value ``a0 > 0`` in each direction, and follow the gradient flow of half the squared error. With a(t) the common
value of the layers, ``w = a^L`` the encoder and ``a w`` the prediction,

    JEPA (target: the encoder of y, without gradient):  a' = lam a^{2L} (1 - a / rho),
    MAE (target: y itself):                             a' = lam a^L (1 - a^{L+1} / rho).

Time is in units of the inverse learning rate. The two differ in what is slow: from a small start the JEPA needs
``1 / ((2L-1) lam a0^{2L-1})`` and then a correction ``1 / ((2L-2) lam rho a0^{2L-2})`` that grows without bound as a0
falls, so that of two features of equal lam the one of larger rho comes first; the MAE needs
``1 / ((L-1) lam a0^{L-1})`` up to a bounded term, whatever rho.

References
----------
Littwin et al. (2024), "How JEPA avoids noisy features: the implicit bias of deep linear self distillation networks",
arXiv 2407.03475; the forms here are derived for a predictor that is balanced with the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from theory._premises import count, positive

_LAST = 1.0 - 2.0**-53  # a quotient of two different numbers may round to one


def jepa_fixed_point(rho: float, depth: int) -> float:
    """Return rho^L, the encoder product that a JEPA of ``depth`` L layers converges to; each layer ends at rho."""
    return float(positive("rho", rho) ** count("depth", depth))


def mae_fixed_point(rho: float, depth: int) -> float:
    """Return rho^{L/(L+1)}, the encoder product that an MAE of ``depth`` L layers converges to.

    Encoder times decoder is then rho, the regression of y on x; each layer ends at rho^{1/(L+1)}.
    """
    return float(positive("rho", rho) ** (count("depth", depth) / (depth + 1)))


def _check(start: float, stop: float, lam: float, rho: float, depth: int, top: float) -> None:
    positive("lam", lam)
    if not 0.0 < start <= stop < top:
        raise ValueError(
            f"needs 0 < start <= stop < {top:g}, the fixed point of a layer at rho={rho:g}, L={depth}, which is "
            f"reached at infinity; got start={start!r}, stop={stop!r}."
        )
    if (2 * depth - 1) * max(math.log(top / start), -math.log(start)) - min(0.0, math.log(lam)) > 600.0:
        raise ValueError(f"the time from start={start!r} exceeds 1e260 at L={depth}. Start from a larger value.")


def jepa_time(start: float, stop: float, lam: float, rho: float, depth: int) -> float:
    """Return the exact time in which the layers of a JEPA of ``depth`` L grow from ``start`` to ``stop``, below rho.

    ``t = [sum_{m=1}^{2L-1} (a0^-m - a1^-m) / (m rho^{2L-1-m}) + rho^{1-2L} ln(a1 (rho-a0) / (a0 (rho-a1)))] / lam``.

    Raises
    ------
    ValueError
        Unless 0 < start <= stop < rho, lam > 0 and depth >= 1.
    """
    _check(start, stop, lam, positive("rho", rho), count("depth", depth), rho)
    last = 2 * depth - 1
    low, high = min(start / rho, _LAST), min(stop / rho, _LAST)
    terms = sum((low**-m - high**-m) / m for m in range(1, last + 1))
    logarithm = math.log(high / low) + math.log1p((high - low) / (1.0 - high))
    return (terms + logarithm) / (lam * rho**last)


def _saturation(low: float, high: float, depth: int) -> float:
    """Return ``int u / (1 - u^N) du``, N = L+1, from the partial fractions of the N-th roots of unity."""
    roots = np.exp(2j * math.pi * np.arange(depth + 1) / (depth + 1))
    logs = np.log1p(roots * (high - low) / (1.0 - roots * high))
    return float((roots**-2 * logs).real.sum() / (depth + 1))


def mae_time(start: float, stop: float, lam: float, rho: float, depth: int) -> float:
    """Return the exact time in which the layers of an MAE grow from ``start`` to ``stop``, below rho^{1/(L+1)}.

    With ``u = a / rho^{1/(L+1)}`` the integrand ``1 / (u^L (1 - u^{L+1}))`` is ``u^{-L} + u / (1 - u^{L+1})``, and
    ``-1/(L+1) sum_k w_k^{-2} ln(1 - w_k u)`` over the roots of unity ``w_k^{L+1} = 1`` integrates the second term; at
    L = 1 the time is ``ln(u1^2 (1-u0^2) / (u0^2 (1-u1^2))) / (2 lam)``.

    Raises
    ------
    ValueError
        Unless 0 < start <= stop < rho^{1/(L+1)}, lam > 0 and depth >= 1.
    """
    top = float(positive("rho", rho) ** (1.0 / (count("depth", depth) + 1)))
    _check(start, stop, lam, rho, depth, top)
    low, high = min(start / top, _LAST), min(stop / top, _LAST)
    power = math.log(high / low) if depth == 1 else (low ** (1 - depth) - high ** (1 - depth)) / (depth - 1)
    span = power + _saturation(low, high, depth)
    return span / (lam * top ** (depth - 1))


def jepa_onset(start: float, lam: float, rho: float, depth: int) -> float:
    """Return ``1/((2L-1) lam a0^{2L-1}) + 1/((2L-2) lam rho a0^{2L-2})``, the two leading terms of `jepa_time`, L > 1.

    Asymptotic in a0/rho -> 0 for stops of the order of rho. The first depends on lam alone, the second makes features
    of high rho come first.

    Raises
    ------
    ValueError
        Unless L > 1, 0 < start < rho.
    """
    _check(start, start, lam, positive("rho", rho), count("depth", depth, 2), rho)
    return 1.0 / ((2 * depth - 1) * lam * start ** (2 * depth - 1)) + 1.0 / (
        (2 * depth - 2) * lam * rho * start ** (2 * depth - 2)
    )


def mae_onset(start: float, lam: float, depth: int) -> float:
    """Return ``1 / ((L-1) lam a0^{L-1})``, the leading term of `mae_time` as the start goes to zero, L > 1.

    What it leaves out is bounded, so that of two features of equal lam neither comes first by more than a constant.
    """
    return 1.0 / ((count("depth", depth, 2) - 1) * positive("lam", lam) * positive("start", start) ** (depth - 1))


def jepa_layer(time: float, start: float, lam: float, rho: float, depth: int) -> float:
    """Return a(t), the common value of the layers of a JEPA after ``time``, by inverting `jepa_time`."""
    _check(start, start, lam, positive("rho", rho), count("depth", depth), rho)
    return _invert(lambda stop: jepa_time(start, stop, lam, rho, depth), time, start, rho)


def mae_layer(time: float, start: float, lam: float, rho: float, depth: int) -> float:
    """Return a(t), the common value of the layers of an MAE after ``time``, by inverting `mae_time`."""
    top = float(positive("rho", rho) ** (1.0 / (count("depth", depth) + 1)))
    _check(start, start, lam, rho, depth, top)
    return _invert(lambda stop: mae_time(start, stop, lam, rho, depth), time, start, top)


def _invert(reached_at: Callable[[float], float], time: float, start: float, top: float) -> float:
    if not (time >= 0.0 and math.isfinite(time)):
        raise ValueError(f"time must be finite and not negative; got {time!r}.")
    last = float(np.nextafter(top, 0.0))
    if time >= reached_at(last):
        return last  # within rounding of the fixed point
    return float(brentq(lambda stop: reached_at(stop) - time, start, last, xtol=1e-15 * top, rtol=1e-14))
