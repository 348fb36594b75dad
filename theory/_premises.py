"""What the closed forms ask of their arguments: counts, positive numbers, spectra, covariances."""

from __future__ import annotations

import math
import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def count(name: str, value: int, low: int = 1) -> int:
    """Return an integer that is at least ``low``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r}.") from None
    if number < low:
        raise ValueError(f"{name} must be at least {low}; got {number}.")
    return number


def sparsity(k: int, n: int, low: int = 1) -> int:
    """Return k, how many of n things are active: an integer in [low, n]."""
    total = count("n", n)
    try:
        number = operator.index(k)
    except TypeError:
        raise TypeError(f"k must be an integer; got {k!r}.") from None
    if not low <= number <= total:
        raise ValueError(f"k must lie in [{low}, n={total}]; got {number}.")
    return number


def positive(name: str, value: float) -> float:
    """Return a finite number above zero."""
    number = float(value)
    if not (number > 0.0 and math.isfinite(number)):
        raise ValueError(f"{name} must be positive and finite; got {value!r}.")
    return number


def moderate(name: str, value: float) -> float:
    """Return a number in [1e-150, 1e150]: its square and the inverse of its square are floats."""
    number = float(value)
    if not 1e-150 <= number <= 1e150:
        raise ValueError(f"{name} must lie in [1e-150, 1e150]; got {value!r}. Change the units.")
    return number


def vector(name: str, values: npt.ArrayLike, *, low: float = -math.inf, strict: bool = False) -> Array:
    """Return a non-empty finite vector whose entries are at least ``low``, or above it with ``strict``."""
    entries = np.asarray(values, dtype=np.float64)
    if entries.ndim != 1 or not entries.size or not np.isfinite(entries).all():
        raise ValueError(f"{name} must be a non-empty vector of finite numbers; got {values!r}.")
    if (entries <= low).any() if strict else (entries < low).any():
        raise ValueError(f"{name} must be {'above' if strict else 'at least'} {low:g}; got {entries.min():g}.")
    return entries


def spectrum(values: npt.ArrayLike) -> Array:
    """Return eigenvalues of a covariance in descending order; those below zero by rounding alone become zero."""
    entries = vector("eigenvalues", values)
    if entries.min() < -1e-12 * entries.max():
        raise ValueError(f"eigenvalues of a covariance must not be negative; got {entries.min():g}.")
    return np.asarray(np.sort(np.maximum(entries, 0.0))[::-1])


def matrix(name: str, values: npt.ArrayLike) -> Array:
    """Return a finite matrix with at least one row and one column."""
    entries = np.asarray(values, dtype=np.float64)
    if entries.ndim != 2 or not entries.size or not np.isfinite(entries).all():
        raise ValueError(f"{name} must be a non-empty matrix of finite numbers; got shape {entries.shape}.")
    return entries


def covariance(name: str, values: npt.ArrayLike) -> Array:
    """Return a symmetric matrix without a negative eigenvalue, up to the rounding of its largest one."""
    entries = matrix(name, values)
    if entries.shape[0] != entries.shape[1]:
        raise ValueError(f"{name} must be square; got shape {entries.shape}.")
    size = float(np.abs(entries).max())
    if not np.allclose(entries, entries.T, rtol=0.0, atol=1e-10 * size):
        raise ValueError(
            f"{name} must be symmetric; its two triangles differ by {np.abs(entries - entries.T).max():g}."
        )
    symmetric = np.asarray((entries + entries.T) / 2.0)
    lowest = float(np.linalg.eigvalsh(symmetric)[0])
    if lowest < -1e-10 * size * len(symmetric):
        raise ValueError(f"{name} must be positive semi-definite; its smallest eigenvalue is {lowest:g}.")
    return symmetric
