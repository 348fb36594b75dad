"""Dark matter: how much of what the reconstruction misses is a linear function of the sample."""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.metrics.evaluation import Evaluation

_ROWS = 4096  # rows held in float64 at once


def linear_error_share(evaluation: Evaluation) -> float:
    """Return R^2 of the best affine prediction of the error x - xhat from x: the share of its variance, summed over d.

    1 where features are missing and nothing else is wrong; shrinkage makes an error predictable, too, interference does
    not. An error that x says nothing of scores r / (n - 1) by chance, r the rank of the covariance of x: take n >> d.
    NaN if the error is rounding, or does not vary, or there are no more than r + 1 samples. What to expect is in
    `theory.dark_matter`.

    References
    ----------
    Engels, Smith, Tegmark (2025), "Decomposing the dark matter of sparse autoencoders", arXiv 2410.14670.
    """
    return _linear_share(evaluation.batch.x, _error(evaluation))


def linear_error_norm_share(evaluation: Evaluation) -> float:
    """Return R^2 of the best affine prediction of the squared norm of the error from x.

    Where sparse features that are missing make the error, each adds its square to the norm, and x shows how strong it
    is: the norm is predictable even where superposition hides much of the vector. Chance and NaN are as in
    `linear_error_share`.
    """
    error = _error(evaluation)
    size = float(np.abs(error).max(initial=0.0)) or 1.0
    return _linear_share(evaluation.batch.x, np.square(error / size).sum(axis=1, keepdims=True))


def _error(evaluation: Evaluation) -> FloatArray:
    """Return x - xhat ``(n, d)``, zero where it is no more than the rounding of x."""
    x = evaluation.batch.x
    error = x.astype(np.float64) - evaluation.reconstruction
    rounding = 16 * np.finfo(x.dtype).eps * np.abs(x).max(initial=0.0)
    return error if np.abs(error).max(initial=0.0) > rounding else np.zeros_like(error)


def _linear_share(x: FloatArray, target: FloatArray) -> float:
    """Return R^2 of the affine prediction of ``target (n, t)`` from ``x (n, d)``."""
    n = len(x)
    inputs, cross, energy, noise = _moments(x, target)
    values, vectors = np.linalg.eigh(inputs)
    kept = values > max(noise, values[-1] * len(values) * np.finfo(np.float64).eps)
    rank = int(kept.sum()) if values[-1] > 0 else 0
    if energy <= 0.0 or n <= rank + 1:
        return float("nan")
    along = vectors[:, kept].T @ cross if rank else np.zeros((0, cross.shape[1]))
    explained = float((np.square(along) / values[kept, None]).sum()) if rank else 0.0
    return min(explained / energy, 1.0)


def _moments(x: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray, float, float]:
    """Return x'x ``(d, d)``, x'target ``(d, t)`` and sum target^2, centred, in units of the largest entries.

    Last, what the rounding of x adds to x'x along a direction, at most. The energy is 0 where the target is constant
    up to the rounding of its precision.
    """
    x_mean, t_mean = x.mean(axis=0, dtype=np.float64), target.mean(axis=0, dtype=np.float64)
    x_size = float(np.abs(x - x_mean).max(initial=0.0)) or 1.0
    reach = float(np.abs(target).max(initial=0.0)) or 1.0
    inputs, cross = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1], target.shape[1]))
    energy = 0.0
    for start in range(0, len(x), _ROWS):
        rows = (x[start : start + _ROWS] - x_mean) / x_size
        part = (target[start : start + _ROWS] - t_mean) / reach
        inputs += rows.T @ rows
        cross += rows.T @ part
        energy += float(np.square(part).sum())
    silent = energy <= target.size * (16 * np.finfo(x.dtype).eps) ** 2
    rounding = min(float(np.finfo(x.dtype).eps) * float(np.abs(x).max(initial=0.0)) / x_size, 1e100)
    return inputs, cross, 0.0 if silent else energy, len(x) * rounding**2
