"""How well the codes of the held-out samples were found, read from the sparse rows: the cost follows the non-zeros.

A true feature and its one-to-one partner (`Evaluation.match`) are compared sample by sample. "Fires" means non-zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray
from sparsesim.metrics.evaluation import Judged
from sparsesim.metrics.sums import Firing, ratio


def support_precision(evaluation: Judged) -> float:
    """Return the share of all learned activations that fall on a firing partner (micro average).

    Activations of unmatched atoms are false positives. 0 if nothing was activated: an encoder that says nothing
    has said nothing right.
    """
    firing = evaluation.firing
    return float(ratio(firing.both.sum(), firing.latents.sum()))


def support_recall(evaluation: Judged) -> float:
    """Return the share of all true activations that their partner reports (micro average); 0 if no feature fires.

    Activations of unmatched features are false negatives.
    """
    firing = evaluation.firing
    return float(ratio(firing.both.sum(), firing.true.sum()))


def support_f1(evaluation: Judged) -> float:
    """Return the harmonic mean of `support_precision` and `support_recall`, 2 TP / (learned + true activations).

    0 where there is neither a learned nor a true activation.
    """
    firing = evaluation.firing
    return float(ratio(2 * firing.both.sum(), firing.latents.sum() + firing.true.sum()))


def _mean_over_firing(score: FloatArray, firing: Firing) -> float:
    present = firing.true > 0
    return float(score[present].mean()) if present.any() else 0.0


def latent_precision(evaluation: Judged) -> float:
    """Return the mean over TRUE features that fire in the batch of the precision of their partner as a detector.

    A feature without a partner, or whose partner never fires, counts 0 and not "undefined": dropping it would reward
    a dictionary for what it does not find. Features that never fire in the batch say nothing about the fit, and are
    excluded; 0 if there is no other.
    """
    firing = evaluation.firing
    return _mean_over_firing(ratio(firing.both, firing.partners), firing)


def latent_recall(evaluation: Judged) -> float:
    """Return the mean over TRUE features that fire in the batch of their partner's recall; see `latent_precision`."""
    firing = evaluation.firing
    return _mean_over_firing(ratio(firing.both, firing.true), firing)


def latent_f1(evaluation: Judged) -> float:
    """Return the mean over TRUE features that fire in the batch of the F1 of their partner; see `latent_precision`.

    Unlike a mean over latents it cannot reach 1 while a feature is missed.
    """
    firing = evaluation.firing
    return _mean_over_firing(ratio(2 * firing.both, firing.true + firing.partners), firing)


def _correlations(evaluation: Judged) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the Pearson correlation of each feature with its partner ``(m,)`` and which features vary."""
    pairs = evaluation.pairs
    true, learned = np.sqrt(pairs.scatter)
    return np.clip(ratio(pairs.product, true * learned), -1.0, 1.0), true > 0


def code_correlation(evaluation: Judged) -> float:
    """Return the mean over true features of the |Pearson correlation| of their codes with those of their partner.

    A dead, constant or missing partner counts 0; nothing undefined is dropped. Features whose true codes are constant
    in the batch have no correlation with anything and are excluded; 0 if there is no other.
    """
    correlation, varies = _correlations(evaluation)
    return float(np.abs(correlation[varies]).mean()) if varies.any() else 0.0


def code_correlation_signed(evaluation: Judged) -> float:
    """Return `code_correlation` with its sign, after an atom that points against its feature has had its codes negated.

    An atom that fires when its feature does not lowers it; for non-negative codes this is the score to read.
    """
    correlation, varies = _correlations(evaluation)
    return float(correlation[varies].mean()) if varies.any() else 0.0


def shrinkage(evaluation: Judged) -> float:
    """Return the mean over matched features of the slope of learned on true coefficients; 1 is no shrinkage.

    ``slope_i = sum a b / sum a^2`` over the samples where feature i (coefficient a) and its partner (b, with the sign
    of the feature) both fire. The line goes through the origin, since a soft threshold subtracts a constant, which an
    intercept would hide; missed activations are the business of `support_recall`. Features that never fire together
    with a partner are excluded; 0 if there is no other.
    """
    pairs = evaluation.pairs
    slope = ratio(pairs.overlap, pairs.energy) * ratio(pairs.unit[1], pairs.unit[0])
    both = pairs.energy > 0
    return float(slope[both].mean()) if both.any() else 0.0


def code_error(evaluation: Judged) -> float:
    """Return the squared error of the matched codes relative to the true ones, ||A - S||_F^2 / ||S||_F^2.

    A holds the learned codes of the matched atoms (0 for a missed feature), so silence scores 1; activations of
    unmatched atoms are not in it. NaN if no feature fires.
    """
    pairs = evaluation.pairs
    return pairs.error / pairs.strength if pairs.strength > 0 else float("nan")


def l0(evaluation: Judged) -> float:
    """Return the mean number of non-zero learned codes in a sample."""
    return float(evaluation.firing.latents.sum() / evaluation.firing.n)


def true_l0(evaluation: Judged) -> float:
    """Return the mean number of non-zero true codes in a sample."""
    return float(evaluation.firing.true.sum() / evaluation.firing.n)


def dead_fraction(evaluation: Judged) -> float:
    """Return the fraction of learned atoms that never fire in the batch; 0 for a dictionary without atoms.

    It falls as the batch grows: compare it at equal n only.
    """
    latents = evaluation.firing.latents
    return float(np.count_nonzero(latents == 0) / max(len(latents), 1))
