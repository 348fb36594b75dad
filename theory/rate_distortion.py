"""Rate and distortion of sparse sources, in bits: what no description of a code can undercut.

Distortions are squared errors, of an entry for scalar sources and summed for vectors. R(D) is the least mutual
information between a source and a reproduction of distortion D; every code of a sample, fixed or variable in length,
spends at least R(D) bits on average.

References
----------
Shannon (1959), "Coding theorems for a discrete source with a fidelity criterion"; Blahut (1972), "Computation of
channel capacity and rate-distortion functions"; Weidmann and Vetterli (2012), "Rate distortion behavior of sparse
sources".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_ENOUGH = 1e-4  # bits between the bounds at which the iteration stops
_MIXTURES = np.array([1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2])  # shares of a wider law, of which the best counts
_REACH = 7.0  # standard deviations on the grid; the energy beyond is 1e-10


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0.0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite; got {value}.")


def _check_source(eps: float, variance: float) -> None:
    if not 0.0 < eps <= 1.0:
        raise ValueError(f"eps must lie in (0, 1], the probability of an active entry; got {eps}.")
    _check_positive(variance=variance)


def binary_entropy(p: npt.ArrayLike) -> Array:
    """Return ``-p log2 p - (1-p) log2(1-p)``, the bits of a coin of probability p; 0 at p = 0 and 1.

    Raises
    ------
    ValueError
        Unless every p lies in [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if not np.all((values >= 0.0) & (values <= 1.0)):
        raise ValueError(f"p must lie in [0, 1]; got {values}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(values > 0.0, -values * np.log2(values), 0.0)
        other = np.where(values < 1.0, -(1.0 - values) * np.log1p(-values) / math.log(2.0), 0.0)
    return np.asarray(one + other)


def description_length(rates: npt.ArrayLike, bits: npt.ArrayLike) -> float:
    """Return the bits a sample of sending each latent's activity and, where active, its value: ``sum h_b(p) + p b``.

    For entropy-coded values of entropy b it is the sum of the entropies of the latents, so never below R(D) at the
    distortion reached; it ignores dependences between latents, from which a joint code could gain.

    Parameters
    ----------
    rates : (n,), probabilities of being active.
    bits : (n,) or a number, bits a value; not negative.

    Raises
    ------
    ValueError
        If a rate is outside [0, 1] or a number of bits negative.
    """
    p, b = np.asarray(rates, dtype=np.float64), np.asarray(bits, dtype=np.float64)
    if not (np.isfinite(b).all() and (b >= 0.0).all()) or b.shape not in ((), p.shape):
        raise ValueError(f"bits must be a number or an array {p.shape}, finite and not negative; got {b}.")
    return float((binary_entropy(p) + p * b).sum())


def spike_gaussian_bounds(eps: float, variance: float, distortion: float) -> tuple[float, float]:
    """Return a lower and an upper bound on R(D) of an entry: zero, or normal with probability eps.

    Lower: the support is known, ``eps/2 log2(eps variance / D)``. Upper: the support is sent first, ``h_b(eps)`` more,
    or the source is coded as if normal, ``1/2 log2(eps variance / D)``. For D -> 0 the first upper bound is the limit.

    Raises
    ------
    ValueError
        Unless eps lies in (0, 1] and the others are positive.
    """
    _check_source(eps, variance)
    _check_positive(distortion=distortion)
    as_normal = max(0.5 * math.log2(eps * variance / distortion), 0.0)
    known = eps * as_normal
    return known, min(known + float(binary_entropy(eps)), as_normal)


@final
@dataclass(frozen=True)
class RatePoint:
    """A distortion and two bounds on R there, in bits.

    Attributes
    ----------
    distortion : of the test channel found.
    lower : by duality: holds for every reproduction.
    upper : the mutual information of that channel, which attains the distortion.
    """

    distortion: float
    lower: float
    upper: float


def blahut_arimoto(
    probabilities: npt.ArrayLike, distortions: npt.ArrayLike, slope: float, *, iterations: int = 5000
) -> RatePoint:
    """Return a point of R(D) of a discrete source, at the slope ``-dR/dD`` in nats, between bounds 1e-4 bits apart.

    The bounds hold after any number of iterations; they are further apart only if these did not suffice.

    Parameters
    ----------
    probabilities : (a,), of the source's letters.
    distortions : (a, b), of reproducing letter i by j; not negative.
    slope : positive.

    Raises
    ------
    ValueError
        Unless the probabilities sum to 1, the distortions fit, and slope and iterations are positive.

    References
    ----------
    Blahut (1972), Theorem 6, for the iteration and its bounds; Csiszar (1974), "On the computation of rate-distortion
    functions".
    """
    p, cost = np.asarray(probabilities, dtype=np.float64), np.asarray(distortions, dtype=np.float64)
    if p.ndim != 1 or (p < 0.0).any() or not abs(p.sum() - 1.0) < 1e-9:
        raise ValueError(f"probabilities must be a vector that sums to 1; got {p.sum()} in shape {p.shape}.")
    if cost.ndim != 2 or len(cost) != len(p) or not np.isfinite(cost).all() or (cost < 0.0).any():
        raise ValueError(f"distortions must be a finite array ({len(p)}, b), none negative; got shape {cost.shape}.")
    _check_positive(slope=slope, iterations=float(iterations))
    nearest = cost.min(axis=1, keepdims=True)  # a common factor of each row, lest all of it underflows
    kernel = np.exp(-slope * (cost - nearest))
    q, gain = _iterate(p, kernel, np.full(cost.shape[1], 1.0 / cost.shape[1]), iterations)
    distortion, upper = _attained(p, cost, kernel, q)
    lower = float(p @ (slope * nearest[:, 0] - np.log(kernel @ q))) - slope * distortion - math.log(gain.max())
    return RatePoint(distortion, max(min(lower / math.log(2.0), upper), 0.0), upper)


def _iterate(p: Array, kernel: Array, q: Array, iterations: int) -> tuple[Array, Array]:
    """Improve the output law q in place until the bounds meet; return it and its gains, at most 1 at the optimum."""
    gain = (p / (kernel @ q)) @ kernel
    for _ in range(iterations):
        q *= gain
        q /= q.sum()
        gain = (p / (kernel @ q)) @ kernel
        # The upper bound is above the lower one by this much.
        spread = math.log2(gain.max()) - float((q * gain) @ np.log2(np.maximum(gain, 1e-300)))
        if spread < _ENOUGH:
            break
    return q, gain


def _attained(p: Array, cost: Array, kernel: Array, q: Array) -> tuple[float, float]:
    """Return the distortion and the information in bits of the channel ``q_j kernel_ij / sum``."""
    channel = kernel * q
    channel /= channel.sum(axis=1, keepdims=True)
    output = p @ channel
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where((channel > 0.0) & (output > 0.0), channel * np.log2(channel / output), 0.0)
    return float(p @ (channel * cost).sum(axis=1)), max(float(p @ bits.sum(axis=1)), 0.0)


def spike_gaussian_rate(eps: float, variance: float, slope: float, *, iterations: int = 1000) -> RatePoint:
    """Return a point of R(D) of an entry that is zero, or normal with probability eps, bounds 1e-3 bits apart.

    Upper: Blahut's iteration on a grid of a third of ``slope^-1/2``, for which sums over normal weights are exact to
    rounding. Lower, for reproductions on the grid or not: for every output law q, ``z(x) = sum_y q e^{-slope (x-y)^2}``
    and ``c(y) = sum_x p e^{-slope (x-y)^2} / z(x)`` give ``R(D) >= -E ln z - slope D - ln max c``. As
    ``c'' >= -2 slope c``, the maximum exceeds that on a grid of spacing h by at most ``1 / (1 - slope h^2 / 4)``.
    The iteration's q is mixed with a little of a wider normal, since its tails, of no weight for R, converge last.

    Parameters
    ----------
    slope : ``-dR/dD`` in nats, at most 1e4 / variance; for small D about ``eps / (2 D)``.

    Raises
    ------
    ValueError
        If eps is out of range, or the others not positive, or the slope beyond what the grid can resolve.
    """
    _check_source(eps, variance)
    _check_positive(slope=slope, iterations=float(iterations))
    steep = slope * variance
    if steep > 1e4:
        raise ValueError(f"slope must be at most 1e4 / variance; got {slope}. Use spike_gaussian_bounds below that D.")
    step = min(1.0 / (3.0 * math.sqrt(steep)), 0.25)
    half = math.ceil(_REACH / step)
    x = step * np.arange(-half, half + 1)
    p = np.exp(-0.5 * x * x)
    p *= eps / p.sum()
    p[half] += 1.0 - eps
    cost = np.square(x[:, None] - x)
    kernel = np.exp(-steep * cost)
    q, _ = _iterate(p, kernel, p.copy(), iterations)
    distortion, upper = _attained(p, cost, kernel, q)
    wide = np.exp(-0.25 * x * x)
    mixed = kernel @ ((1.0 - _MIXTURES) * q[:, None] + _MIXTURES * (wide / wide.sum())[:, None])
    fine = step / 8.0 * np.arange(-8 * half, 8 * half + 1)
    blocks = np.array_split(fine, 1 + len(fine) // 1000)
    gains = [(np.exp(-steep * np.square(part[:, None] - x)) @ (p[:, None] / mixed)).max(axis=0) for part in blocks]
    largest = np.max(gains, axis=0) / (1.0 - steep * (step / 8.0) ** 2 / 4.0)
    lower = float((-(p @ np.log(mixed)) - steep * distortion - np.log(largest)).max()) / math.log(2.0)
    return RatePoint(variance * distortion, max(min(lower, upper), 0.0), upper)
