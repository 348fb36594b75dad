"""The scores of SAELens 6.54 under their own definitions, so that numbers can be compared with published ones.

Each says how it can be raised without finding a feature. For conclusions use `recovery`, `codes` and `reconstruction`.
"""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import FloatArray, IntArray
from sparsesim.metrics.evaluation import Judged


def saelens_mcc(evaluation: Judged) -> float:
    """Return the matched |cos| of the Hungarian method averaged over min(m, p) pairs; 0 for a dictionary without atoms.

    Ours (`mcc`) divides by m. Here a dictionary that is narrower than the truth can reach 1, and so can one with 64
    exact atoms among a thousand random ones: nothing says how much is missed or made up.
    """
    return float(evaluation.match.similarity.sum() / max(min(evaluation.cosines.shape), 1))


def saelens_uniqueness(evaluation: Judged) -> float:
    """Return the number of distinct true features that are the nearest (largest |cos|) of some latent, divided by p.

    Ours (`uniqueness`) compares learned atoms with each other. This one uses neither the matching of `saelens_mcc`
    nor a threshold, so random latents look nearly unique; with p > m it cannot reach 1.
    0 for a dictionary without atoms.
    """
    nearest = evaluation.alignment.nearest
    return float(len(np.unique(nearest)) / max(len(nearest), 1))


def _macro(above: IntArray, below: IntArray) -> float:
    """Return the mean of above / below, undefined as 0."""
    ratio: FloatArray = np.divide(above, below, out=np.zeros(len(above)), where=below != 0)
    return float(ratio.sum() / max(len(ratio), 1))


def saelens_precision(evaluation: Judged) -> float:
    """Return the mean over ALL latents of their precision as detectors of their nearest true feature; undefined is 0.

    A latent is on when its code is not 0, a feature when its coefficient is > 0 (negative ones are off). The mean is
    over latents, not over features: a dictionary whose latents all detect one feature scores as that one does.
    """
    detection = evaluation.detection
    return _macro(detection.hits, detection.fires)


def saelens_recall(evaluation: Judged) -> float:
    """Return the mean over ALL latents of their recall of their nearest true feature; see `saelens_precision`."""
    detection = evaluation.detection
    return _macro(detection.hits, detection.positive)


def saelens_f1(evaluation: Judged) -> float:
    """Return the mean over ALL latents of their own F1 as detectors of their nearest feature; see `saelens_precision`.

    It is 1 when every latent detects the same single feature perfectly. Ours (`latent_f1`) averages over the features.
    """
    detection = evaluation.detection
    return _macro(2 * detection.hits, detection.fires + detection.positive)


def saelens_accuracy(evaluation: Judged) -> float:
    """Return the mean over ALL latents of the share of samples on which latent and nearest feature agree.

    Silence is right on all samples without the feature: dead latents score 1 less the firing rate.
    """
    detection = evaluation.detection
    wrong = detection.fires + detection.positive - 2 * detection.hits
    return _macro(detection.n - wrong, np.full(len(wrong), detection.n))


def saelens_shrinkage(evaluation: Judged) -> float:
    """Return the mean over samples of ||xhat|| / ||x||, samples of norm <= 1e-6 left out; NaN if none is left.

    Norms include the bias, so a large offset gives 1 whatever the codes; noise that is not rebuilt looks like
    shrinkage. The limit 1e-6 is absolute. Ours is a slope of coefficients (`shrinkage`) or about the mean
    (`relative_norm`).
    """
    norms = evaluation.norms
    return norms.ratios / norms.counted if norms.counted else float("nan")


def saelens_explained_variance(evaluation: Judged) -> float:
    """Return 1 - E||x - xhat||^2 / (E||x||^2 - ||E x||^2), in float64.

    Equal to ours (`explained_variance`) but for the cancellation in the variance: with an offset of c times the spread
    it loses 2 log10(c) digits. NaN where that variance is not positive.
    """
    norms = evaluation.norms
    variance = norms.squares / norms.n - float(np.square(norms.total / norms.n).sum())
    return 1.0 - norms.error / norms.n / variance if variance > 0 else float("nan")
