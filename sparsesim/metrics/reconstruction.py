"""How well the held-out samples are rebuilt, and how much of the error is the encoder's own.

A dictionary may rebuild well and be wrong: at a budget below the true sparsity the best dictionary is not the truth.
"""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.pursuit import orthogonal_matching_pursuit

_ROWS = 4096  # rows held in float64 at once


def _energies(x: FloatArray, estimate: FloatArray) -> tuple[float, float, float]:
    """Return the sums over n and d of (x - estimate)^2, (x - mean)^2 and (estimate - mean)^2, in units of x's range^2.

    All in float64; NaN three times if there is one sample or all are equal, exactly.
    """
    high, low = x.max(axis=0).astype(np.float64), x.min(axis=0).astype(np.float64)
    scale = float((high - low).max(initial=0.0))
    if scale == 0.0:
        return float("nan"), float("nan"), float("nan")
    mean = low + (x - low.astype(x.dtype)).mean(axis=0, dtype=np.float64)
    error = variance = signal = 0.0
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS].astype(np.float64)
        rebuilt = estimate[start : start + _ROWS].astype(np.float64)
        error += float(np.square((rows - rebuilt) / scale).sum())
        variance += float(np.square((rows - mean) / scale).sum())
        signal += float(np.square((rebuilt - mean) / scale).sum())
    return error, variance, signal


def fvu_of(x: FloatArray, estimate: FloatArray) -> float:
    """Return sum ||x - estimate||^2 / sum ||x - mean||^2 of samples ``(n, d)``; NaN where they do not vary."""
    error, variance, _ = _energies(x, estimate)
    return error / variance


def fvu(evaluation: Evaluation) -> float:
    """Return the fraction of variance unexplained, sum ||x - xhat||^2 / sum ||x - mean||^2, about the batch mean.

    0 is perfect, 1 is what predicting the mean reaches, and there is no upper limit. NaN for a single sample or
    constant data, which have no variance to explain.
    """
    return fvu_of(evaluation.batch.x, evaluation.reconstruction)


def explained_variance(evaluation: Evaluation) -> float:
    """Return 1 - `fvu`: 1 is perfect, 0 is what predicting the mean reaches."""
    return 1.0 - fvu(evaluation)


def relative_norm(evaluation: Evaluation) -> float:
    """Return sqrt(sum ||xhat - mean||^2 / sum ||x - mean||^2), with the mean of the samples: below 1 is shrunken.

    About the mean, so that a large constant offset cannot hide shrinkage. The best estimate from noisy samples is
    itself below 1. NaN where `fvu` is.
    """
    _, variance, signal = _energies(evaluation.batch.x, evaluation.reconstruction)
    return float(np.sqrt(signal / variance))


def amortisation_gap(evaluation: Evaluation) -> float:
    """Return `fvu` less the one of orthogonal matching pursuit on the same atoms with as many non-zeros per sample.

    Positive where the encoder, and not the dictionary, loses. Pursuit is itself not optimal, so the gap is a lower
    bound on that loss and may be negative. Samples with more than min(p, d) non-zeros are compared at min(p, d),
    beyond which no atom can help. NaN where `fvu` is.

    References
    ----------
    O'Neill, Gumran and Klindt (2024), "Compute optimal inference and provable amortisation gap in sparse
    autoencoders", arXiv:2411.13117.
    """
    own = fvu(evaluation)
    if np.isnan(own):
        return own
    x, fitted = evaluation.batch.x, evaluation.fitted
    k = np.minimum(np.diff(evaluation.codes.indptr), min(fitted.atoms.shape))
    if not k.any():
        return 0.0  # both say nothing
    centred = x - fitted.bias.astype(x.dtype)
    pursued = orthogonal_matching_pursuit(centred, fitted.atoms.astype(x.dtype, copy=False), k)
    return own - fvu_of(x, fitted.decode(pursued))
