"""How well any one latent tells whether a feature is present, whatever its atom: the codes alone are read.

References
----------
Fel et al. (2025), "Archetypal SAE", arXiv:2502.12892, for soft identifiability.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array

from sparsesim._arrays import FloatArray, IntArray
from sparsesim.metrics.evaluation import Evaluation


def _most_gained(magnitude: FloatArray, indptr: IntArray, present: IntArray, most: FloatArray) -> None:
    """Raise ``most (m,)`` to the largest 2 TP - P of any threshold on one latent.

    ``magnitude (s,)`` are its values in the samples in which it fires, in descending order; ``present`` and ``indptr``
    the features of those samples. P samples exceed a threshold, and TP of them hold the feature. Between two equal
    values there is no threshold.
    """
    last = np.searchsorted(-magnitude, -magnitude, side="right")  # how many exceed a threshold just below each value
    reached = np.repeat(last, np.diff(indptr))
    order = np.argsort(present, kind="stable")  # by feature, values still descending
    feature, count = present[order], len(present)
    first = np.searchsorted(feature, feature, side="left")
    np.maximum.at(most, feature, 2 * (np.arange(count) - first + 1) - reached[order])


def _accuracies(evaluation: Evaluation) -> tuple[FloatArray, FloatArray]:
    """Return the best accuracy for each feature that is present in some but not all samples, and that of guessing."""
    true, learned = evaluation.true_codes, csc_array(evaluation.codes)
    (n, m), most = true.shape, np.zeros(true.shape[1])
    for latent in range(learned.shape[1]):
        own = slice(learned.indptr[latent], learned.indptr[latent + 1])
        magnitude = np.abs(learned.data[own])
        order = np.argsort(-magnitude, kind="stable")
        samples = true[learned.indices[own][order]]
        _most_gained(magnitude[order], samples.indptr, samples.indices, most)
    often = np.bincount(true.indices, minlength=m)
    varies = (often > 0) & (often < n)
    # A threshold below zero says "present" everywhere: right as often as the feature is.
    best = np.maximum((n - often + most) / n, often / n)[varies]
    guess = np.maximum(often, n - often)[varies] / n
    return best, guess


def soft_identifiability(evaluation: Evaluation) -> float:
    """Return the best accuracy of a threshold on one latent's magnitude as a detector of a feature, a mean over them.

    ``max over latents i and thresholds t of P(1{|z_i| > t} = 1{feature present})``; one latent may serve several
    features. The truth has 1; guessing has max(rate, 1 - rate), near 1 for rare features: read
    `soft_identifiability_gain`. Features that are present in all samples or none are left out; NaN if there is no
    other.
    """
    best, _ = _accuracies(evaluation)
    return float(best.mean()) if len(best) else float("nan")


def soft_identifiability_gain(evaluation: Evaluation) -> float:
    """Return (accuracy - guess) / (1 - guess) of `soft_identifiability`, guess = max(rate, 1 - rate), a mean.

    The truth has 1 and silence 0. A maximum over p latents and their thresholds is above 0 by chance, the more so the
    fewer samples hold the feature. Left out and NaN as there.
    """
    best, guess = _accuracies(evaluation)
    return float(((best - guess) / (1.0 - guess)).mean()) if len(best) else float("nan")
