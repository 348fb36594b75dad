"""The nonlinearities of sparse autoencoders as proximal maps: which penalty or set each of them is optimal for.

Each function returns, for every row z of pre-activations, ``argmin_f ||f - z||^2 / 2 + penalty(f)`` over a set. Where
the minimiser is not unique the docstring says which is returned. `objective` evaluates what is minimised.

References
----------
Parikh and Boyd (2014), "Proximal algorithms"; Hindupur et al. (2025), "Projecting assumptions", arXiv 2503.01822, for
the view of autoencoders as projections.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def _finite(name: str, value: npt.ArrayLike) -> Array:
    z = np.asarray(value, dtype=np.float64)
    if not z.ndim or not z.shape[-1] or not np.isfinite(z).all():
        raise ValueError(f"{name} must be a finite array (..., n) with n >= 1; got shape {z.shape}.")
    return z


def _check_level(name: str, value: float) -> None:
    if not (value >= 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be finite and not negative; got {value}.")


def _check_count(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"k must lie in [0, n={n}]; got {k}.")


def objective(f: npt.ArrayLike, z: npt.ArrayLike, *, l1: float = 0.0, l0: float = 0.0) -> Array:
    """Return ``||f - z||^2 / 2 + l1 ||f||_1 + l0 ||f||_0`` of each row, ``(...)``.

    Raises
    ------
    ValueError
        If an array is not finite or a weight negative.
    """
    _check_level("l1", l1)
    _check_level("l0", l0)
    point, start = _finite("f", f), _finite("z", z)
    distance = 0.5 * np.square(point - start).sum(axis=-1)
    return np.asarray(distance + l1 * np.abs(point).sum(axis=-1) + l0 * np.count_nonzero(point, axis=-1))


def relu(z: npt.ArrayLike, threshold: float = 0.0) -> Array:
    """Return ``max(z - threshold, 0)``: minimises ``||f - z||^2 / 2 + threshold sum f`` over f >= 0; unique.

    At threshold 0 it is the projection on the non-negative orthant. A bias is a threshold: ReLU latents are the exact
    lasso codes of orthonormal atoms.

    Raises
    ------
    ValueError
        If z is not finite or the threshold negative.
    """
    _check_level("threshold", threshold)
    return np.asarray(np.maximum(_finite("z", z) - threshold, 0.0))


def soft_threshold(z: npt.ArrayLike, threshold: float) -> Array:
    """Return ``sign(z) max(|z| - threshold, 0)``: minimises ``||f - z||^2 / 2 + threshold ||f||_1``; unique.

    ``z - f`` is the projection of z on the box ``|.| <= threshold`` (Moreau).

    Raises
    ------
    ValueError
        If z is not finite or the threshold negative.
    """
    _check_level("threshold", threshold)
    values = _finite("z", z)
    return values - np.clip(values, -threshold, threshold)


def jump_relu(z: npt.ArrayLike, threshold: float) -> Array:
    """Return z where it is above the threshold, else 0: minimises ``||f - z||^2 / 2 + threshold^2/2 ||f||_0``, f >= 0.

    At z = threshold both 0 and z minimise; it is 0 here.

    Raises
    ------
    ValueError
        If z is not finite or the threshold negative.

    References
    ----------
    Rajamanoharan et al. (2024), "Jumping ahead", arXiv 2407.14435, for the nonlinearity.
    """
    _check_level("threshold", threshold)
    values = _finite("z", z)
    return np.where(values > threshold, values, 0.0)


def hard_threshold(z: npt.ArrayLike, threshold: float) -> Array:
    """Return z where |z| is above the threshold, else 0: minimises ``||f - z||^2 / 2 + threshold^2/2 ||f||_0``.

    At |z| = threshold both 0 and z minimise; it is 0 here.

    Raises
    ------
    ValueError
        If z is not finite or the threshold negative.
    """
    _check_level("threshold", threshold)
    values = _finite("z", z)
    return np.where(np.abs(values) > threshold, values, 0.0)


def _keep_largest(values: Array, size: Array, k: int) -> Array:
    order = np.argsort(-size, axis=-1, kind="stable")[..., :k]
    kept = np.zeros_like(values)
    np.put_along_axis(kept, order, np.take_along_axis(values, order, axis=-1), axis=-1)
    return kept


def top_k(z: npt.ArrayLike, k: int) -> Array:
    """Return the k largest positive entries of each row, else 0: the projection on ``f >= 0, ||f||_0 <= k``.

    Ties go to the first. The projection on the set without f >= 0 is `abs_top_k`; keeping the k largest, negative ones
    included, is the projection on neither.

    Raises
    ------
    ValueError
        If z is not finite or k out of [0, n].
    """
    values = np.maximum(_finite("z", z), 0.0)
    _check_count(k, values.shape[-1])
    return _keep_largest(values, values, k)


def abs_top_k(z: npt.ArrayLike, k: int) -> Array:
    """Return the k entries of largest magnitude of each row, else 0: the projection on ``||f||_0 <= k``.

    Ties go to the first.

    Raises
    ------
    ValueError
        If z is not finite or k out of [0, n].
    """
    values = _finite("z", z)
    _check_count(k, values.shape[-1])
    return _keep_largest(values, np.abs(values), k)


def batch_top_k(z: npt.ArrayLike, k: int) -> Array:
    """Return the ``N k`` largest positive entries of ``z (N, n)``: the projection on ``f >= 0, ||f||_0 <= N k``.

    Ties go to the first. Its threshold is shared by the batch, so within a batch it is a `jump_relu`.

    Raises
    ------
    ValueError
        If z is not a finite matrix or k out of [0, n].
    """
    values = np.maximum(_finite("z", z), 0.0)
    if values.ndim != 2:
        raise ValueError(f"z must be a batch (N, n); got shape {values.shape}.")
    _check_count(k, values.shape[1])
    flat = values.reshape(-1)
    return _keep_largest(flat, flat, k * len(values)).reshape(values.shape)


def sparsemax(z: npt.ArrayLike) -> Array:
    """Return the projection of each row on the simplex ``f >= 0, sum f = 1``; unique.

    ``max(z - t, 0)`` with the t that makes the sum 1: ``t = (sum of the m largest - 1) / m``, m the largest count with
    ``m z_(m) > sum of the m largest - 1``.

    Raises
    ------
    ValueError
        If z is not finite.

    References
    ----------
    Martins and Astudillo (2016), arXiv 1602.02068, Proposition 1.
    """
    values = _finite("z", z)
    with np.errstate(over="ignore"):
        # A shift changes nothing and spares digits; what is 1 or more below the largest is 0 however far below.
        values = np.maximum(values - values.max(axis=-1, keepdims=True), -2.0)
    ordered = -np.sort(-values, axis=-1)
    excess = np.cumsum(ordered, axis=-1) - 1.0
    counts = np.arange(1, values.shape[-1] + 1)
    inside = np.count_nonzero(counts * ordered > excess, axis=-1, keepdims=True)
    level = np.take_along_axis(excess, inside - 1, axis=-1) / inside
    return np.asarray(np.maximum(values - level, 0.0))


def distance_sparsemax(x: npt.ArrayLike, prototypes: npt.ArrayLike, scale: float) -> Array:
    """Return ``sparsemax(-scale ||x - p_i||^2)``, ``(N, n)``: minimises ``||f||^2/2 + scale sum f_i ||x - p_i||^2``.

    Over the simplex. Its receptive fields can be bounded, unlike half-spaces.

    Raises
    ------
    ValueError
        If an array is not finite, their dimensions differ, or the scale is negative.

    References
    ----------
    Hindupur et al. (2025), arXiv 2503.01822, the SpaDE encoder.
    """
    _check_level("scale", scale)
    rows, centres = _finite("x", x), _finite("prototypes", prototypes)
    if rows.ndim != 2 or centres.ndim != 2 or rows.shape[1] != centres.shape[1]:
        raise ValueError(f"x (N, d) and prototypes (n, d) must agree in d; got {rows.shape} and {centres.shape}.")
    return sparsemax(-scale * np.square(rows[:, None, :] - centres[None, :, :]).sum(axis=-1))
