"""The scores of SAELens 6.54 under their own definitions, so that numbers can be compared with published ones.

Each says how it can be raised without finding a feature. For conclusions use `recovery`, `codes` and `reconstruction`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray
from sparsesim.metrics.evaluation import Evaluation, entry_keys, locate


def saelens_mcc(evaluation: Evaluation) -> float:
    """Return the matched |cos| of the Hungarian method averaged over min(m, p) pairs; 0 for a dictionary without atoms.

    Ours (`mcc`) divides by m. Here a dictionary that is narrower than the truth can reach 1, and so can one with 64
    exact atoms among a thousand random ones: nothing says how much is missed or made up.
    """
    return float(evaluation.match.similarity.sum() / max(min(evaluation.cosines.shape), 1))


def saelens_uniqueness(evaluation: Evaluation) -> float:
    """Return the number of distinct true features that are the nearest (largest |cos|) of some latent, divided by p.

    Ours (`uniqueness`) compares learned atoms with each other. This one uses neither the matching of `saelens_mcc`
    nor a threshold, so random latents look nearly unique; with p > m it cannot reach 1.
    0 for a dictionary without atoms.
    """
    nearest = np.abs(evaluation.cosines).argmax(axis=0)
    return float(len(np.unique(nearest)) / max(len(nearest), 1))


@final
@dataclass(frozen=True, eq=False)
class _Detection:
    """Each latent as a detector of its nearest feature: true positives, latent fires, feature is positive; ``(p,)``."""

    hits: IntArray
    fires: IntArray
    positive: IntArray
    n: int


def _detection(evaluation: Evaluation) -> _Detection:
    codes, true = evaluation.codes, evaluation.true_codes
    (n, m), p = true.shape, codes.shape[1]
    nearest = np.abs(evaluation.cosines).argmax(axis=0)
    positive = true.data > 0
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(codes.indptr))
    hits, _ = locate(rows * m + nearest[codes.indices], entry_keys(true)[positive])
    return _Detection(
        np.bincount(codes.indices[hits], minlength=p),
        np.bincount(codes.indices, minlength=p),
        np.bincount(true.indices[positive], minlength=m)[nearest],
        n,
    )


def _macro(above: IntArray, below: IntArray) -> float:
    """Return the mean of above / below, undefined as 0."""
    ratio: FloatArray = np.divide(above, below, out=np.zeros(len(above)), where=below != 0)
    return float(ratio.sum() / max(len(ratio), 1))


def saelens_precision(evaluation: Evaluation) -> float:
    """Return the mean over ALL latents of their precision as detectors of their nearest true feature; undefined is 0.

    A latent is on when its code is not 0, a feature when its coefficient is > 0 (negative ones are off). The mean is
    over latents, not over features: a dictionary whose latents all detect one feature scores as that one does.
    """
    detection = _detection(evaluation)
    return _macro(detection.hits, detection.fires)


def saelens_recall(evaluation: Evaluation) -> float:
    """Return the mean over ALL latents of their recall of their nearest true feature; see `saelens_precision`."""
    detection = _detection(evaluation)
    return _macro(detection.hits, detection.positive)


def saelens_f1(evaluation: Evaluation) -> float:
    """Return the mean over ALL latents of their own F1 as detectors of their nearest feature; see `saelens_precision`.

    It is 1 when every latent detects the same single feature perfectly. Ours (`latent_f1`) averages over the features.
    """
    detection = _detection(evaluation)
    return _macro(2 * detection.hits, detection.fires + detection.positive)


def saelens_accuracy(evaluation: Evaluation) -> float:
    """Return the mean over ALL latents of the share of samples on which latent and nearest feature agree.

    Silence is right on all samples without the feature: dead latents score 1 less the firing rate.
    """
    detection = _detection(evaluation)
    wrong = detection.fires + detection.positive - 2 * detection.hits
    return _macro(detection.n - wrong, np.full(len(wrong), detection.n))


def saelens_shrinkage(evaluation: Evaluation) -> float:
    """Return the mean over samples of ||xhat|| / ||x||, samples of norm <= 1e-6 left out; NaN if none is left.

    Norms include the bias, so a large offset gives 1 whatever the codes; noise that is not rebuilt looks like
    shrinkage. The limit 1e-6 is absolute. Ours is a slope of coefficients (`shrinkage`) or about the mean
    (`relative_norm`).
    """
    norms = np.linalg.norm(evaluation.batch.x.astype(np.float64), axis=1)
    rebuilt = np.linalg.norm(evaluation.reconstruction.astype(np.float64), axis=1)
    kept = norms > 1e-6
    return float((rebuilt[kept] / norms[kept]).mean()) if kept.any() else float("nan")


def saelens_explained_variance(evaluation: Evaluation) -> float:
    """Return 1 - E||x - xhat||^2 / (E||x||^2 - ||E x||^2), in float64.

    Equal to ours (`explained_variance`) but for the cancellation in the variance: with an offset of c times the spread
    it loses 2 log10(c) digits. NaN where that variance is not positive.
    """
    x = evaluation.batch.x.astype(np.float64)
    error = np.square(x - evaluation.reconstruction.astype(np.float64)).sum(axis=1).mean()
    variance = np.square(x).sum(axis=1).mean() - np.square(x.mean(axis=0)).sum()
    return float(1.0 - error / variance) if variance > 0 else float("nan")
