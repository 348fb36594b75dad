"""How well the held-out samples are rebuilt, and how much of the error is the encoder's own.

A dictionary may rebuild well and be wrong: at a budget below the true sparsity the best dictionary is not the truth.
"""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.metrics.evaluation import Evaluation, Judged
from sparsesim.metrics.sums import Energies
from sparsesim.solvers.pursuit import orthogonal_matching_pursuit


def fvu_of(x: FloatArray, estimate: FloatArray) -> float:
    """Return sum ||x - estimate||^2 / sum ||x - mean||^2 of samples ``(n, d)``; NaN where they do not vary."""
    return _unexplained(Energies.of(x, estimate))


def _unexplained(energies: Energies) -> float:
    return _relative(energies.error, energies)


def _relative(energy: float, energies: Energies) -> float:
    """Return ``energy`` over the variance, NaN where samples do not vary, and infinity beyond the range of float64."""
    if not energies.vary:
        return float("nan")
    return energy / energies.variance if energies.variance != 0 else energy * float("inf")


def fvu(evaluation: Judged) -> float:
    """Return the fraction of variance unexplained, sum ||x - xhat||^2 / sum ||x - mean||^2, about the batch mean.

    0 is perfect, 1 is what predicting the mean reaches, and there is no upper limit. NaN for a single sample or
    constant data, which have no variance to explain.
    """
    return _unexplained(evaluation.energies)


def explained_variance(evaluation: Judged) -> float:
    """Return 1 - `fvu`: 1 is perfect, 0 is what predicting the mean reaches."""
    return 1.0 - fvu(evaluation)


def relative_norm(evaluation: Judged) -> float:
    """Return sqrt(sum ||xhat - mean||^2 / sum ||x - mean||^2), with the mean of the samples: below 1 is shrunken.

    About the mean, so that a large constant offset cannot hide shrinkage. The best estimate from noisy samples is
    itself below 1. NaN where `fvu` is.
    """
    energies = evaluation.energies
    return float(np.sqrt(_relative(energies.signal, energies)))


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
