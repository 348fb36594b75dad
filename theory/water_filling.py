"""The rate-distortion function of a Gaussian source, by reverse water-filling; rates in nats a sample.

A source of covariance eigenvalues ``lambda (d,)`` under squared error summed over d: each direction is given the
distortion ``min(theta, lambda_i)`` below one water level theta, ``D = sum_i min(theta, lambda_i)`` and
``R = sum_i max(0, ln(lambda_i / theta)) / 2``.

References
----------
Kolmogorov (1956); Cover and Thomas, "Elements of information theory", Theorem 10.3.3.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from theory._premises import Array, spectrum


def _descending(eigenvalues: npt.ArrayLike) -> Array:
    values = spectrum(eigenvalues)
    if values[0] == 0.0:
        raise ValueError("eigenvalues are all zero: a constant needs no code.")
    return values


def water_level(eigenvalues: npt.ArrayLike, distortion: float) -> float:
    """Return theta with ``sum_i min(theta, lambda_i) = distortion``, for a distortion in (0, sum lambda].

    Raises
    ------
    ValueError
        Outside that interval: no rate reaches the first end, and the mean alone does not need the other.
    """
    values = _descending(eigenvalues)
    total = float(values.sum())
    if not 0.0 < distortion <= total * (1.0 + 1e-12):
        raise ValueError(f"distortion must lie in (0, {total:g}], the variance of the source; got {distortion!r}.")
    below = np.concatenate([np.cumsum(values[::-1])[::-1][1:], [0.0]])  # what lies below the k-th eigenvalue
    filled = np.arange(1, len(values) + 1) * values + below  # the distortion at theta = lambda_k
    k = max(1, int(np.count_nonzero(filled > distortion)))  # directions above the water
    return min(float((distortion - below[k - 1]) / k), float(values[0]))


def gaussian_rate(eigenvalues: npt.ArrayLike, distortion: float) -> float:
    """Return R(D) in nats, the least rate of any code of a Gaussian source at squared error ``distortion``."""
    values = _descending(eigenvalues)
    theta = water_level(values, distortion)
    above = values[values > theta]
    return float(0.5 * np.log(above / theta).sum())


def gaussian_distortion(eigenvalues: npt.ArrayLike, rate: float) -> float:
    """Return D(R), the least squared error of any code of ``rate`` nats; 2^{-2b} per unit variance at b bits a number.

    Raises
    ------
    ValueError
        If the rate is negative or not finite.
    """
    values = _descending(eigenvalues)
    if not (rate >= 0.0 and math.isfinite(rate)):
        raise ValueError(f"rate must be finite and not negative, in nats; got {rate!r}.")
    logs = np.log(values[values > 0.0])
    counts = np.arange(1, len(logs) + 1)
    sums = np.cumsum(logs)
    needed = 0.5 * (sums - counts * logs)  # the rate at theta = lambda_k
    k = max(1, int(np.count_nonzero(needed < rate)))
    theta = math.exp((sums[k - 1] - 2.0 * rate) / k)
    return float(np.minimum(values, theta).sum())
