"""How well the codes of the held-out samples were found, read from the sparse rows: the cost follows the non-zeros.

A true feature and its one-to-one partner (`Evaluation.match`) are compared sample by sample. "Fires" means non-zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray, IntArray
from sparsesim.metrics.evaluation import Evaluation


@final
@dataclass(frozen=True, eq=False)
class _Firing:
    """In how many samples a true feature fires, its partner fires, and both do; each ``(m,)``."""

    true: IntArray
    learned: IntArray
    both: IntArray


def _firing(evaluation: Evaluation) -> _Firing:
    m = evaluation.truth.atoms.shape[0]
    true = evaluation.true_codes.indices
    return _Firing(
        np.bincount(true, minlength=m),
        np.bincount(evaluation.aligned.indices, minlength=m),
        np.bincount(true[evaluation.common[0]], minlength=m),
    )


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> FloatArray:
    """Return above / below, and 0 where below is 0."""
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    ratio: FloatArray = np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=bottom != 0)
    return ratio


def support_precision(evaluation: Evaluation) -> float:
    """Return the share of all learned activations that fall on a firing partner (micro average).

    Activations of unmatched atoms are false positives. 0 if nothing was activated: an encoder that says nothing
    has said nothing right.
    """
    return float(_ratio(len(evaluation.common[0]), evaluation.codes.nnz))


def support_recall(evaluation: Evaluation) -> float:
    """Return the share of all true activations that their partner reports (micro average); 0 if no feature fires.

    Activations of unmatched features are false negatives.
    """
    return float(_ratio(len(evaluation.common[0]), evaluation.true_codes.nnz))


def support_f1(evaluation: Evaluation) -> float:
    """Return the harmonic mean of `support_precision` and `support_recall`, 2 TP / (learned + true activations).

    0 where there is neither a learned nor a true activation.
    """
    total = evaluation.codes.nnz + evaluation.true_codes.nnz
    return float(_ratio(2 * len(evaluation.common[0]), total))


def _mean_over_firing(score: FloatArray, firing: _Firing) -> float:
    present = firing.true > 0
    return float(score[present].mean()) if present.any() else 0.0


def latent_precision(evaluation: Evaluation) -> float:
    """Return the mean over TRUE features that fire in the batch of the precision of their partner as a detector.

    A feature without a partner, or whose partner never fires, counts 0 and not "undefined": dropping it would reward
    a dictionary for what it does not find. Features that never fire in the batch say nothing about the fit, and are
    excluded; 0 if there is no other.
    """
    firing = _firing(evaluation)
    return _mean_over_firing(_ratio(firing.both, firing.learned), firing)


def latent_recall(evaluation: Evaluation) -> float:
    """Return the mean over TRUE features that fire in the batch of their partner's recall; see `latent_precision`."""
    firing = _firing(evaluation)
    return _mean_over_firing(_ratio(firing.both, firing.true), firing)


def latent_f1(evaluation: Evaluation) -> float:
    """Return the mean over TRUE features that fire in the batch of the F1 of their partner; see `latent_precision`.

    Unlike a mean over latents it cannot reach 1 while a feature is missed.
    """
    firing = _firing(evaluation)
    return _mean_over_firing(_ratio(2 * firing.both, firing.true + firing.learned), firing)


@final
@dataclass(frozen=True, eq=False)
class Column:
    """Sparse columns about their means over all n samples, zeros included."""

    centred: FloatArray  # (nnz,) stored values less their column's mean
    mean: FloatArray  # (m,)
    count: IntArray  # (m,) stored values
    scatter: FloatArray  # (m,) sum over n samples of (value - mean)^2, exactly 0 for a constant column


def centred_columns(data: FloatArray, indices: IntArray, n: int, m: int) -> Column:
    """Return the columns of sparse codes ``(n, m)``, each in units of its largest magnitude, about their means."""
    values = np.asarray(data, dtype=np.float64)
    # The unit of each column is its largest magnitude: 1e-200 and 1e200 square safely, and a constant column is
    # exactly one, so that its scatter is exactly zero.
    largest = np.zeros(m)
    np.maximum.at(largest, indices, np.abs(values))
    values = values / np.where(largest > 0, largest, 1.0)[indices]
    count = np.bincount(indices, minlength=m)
    mean = np.bincount(indices, weights=values, minlength=m) / n
    centred = values - mean[indices]
    scatter = np.bincount(indices, weights=centred**2, minlength=m) + (n - count) * mean**2
    return Column(centred, mean, count, scatter)


def _correlations(evaluation: Evaluation) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the Pearson correlation of each feature with its partner ``(m,)`` and which features vary in the batch.

    The covariance is summed over centred values: both fire, one fires, none fires. Subtracting products of means
    instead would lose all digits for dense codes.
    """
    n, m = evaluation.true_codes.shape
    true, learned = evaluation.true_codes, evaluation.aligned
    a, b = centred_columns(true.data, true.indices, n, m), centred_columns(learned.data, learned.indices, n, m)
    in_true, in_learned = evaluation.common
    where = true.indices[in_true]

    def summed(weights: FloatArray, indices: IntArray) -> FloatArray:
        total: FloatArray = np.bincount(indices, weights=weights, minlength=m).astype(np.float64, copy=False)
        return total

    a_both, b_both = a.centred[in_true], b.centred[in_learned]
    a_alone = summed(a.centred, true.indices) - summed(a_both, where)
    b_alone = summed(b.centred, learned.indices) - summed(b_both, where)
    neither = n - a.count - b.count + np.bincount(where, minlength=m)
    covariance = summed(a_both * b_both, where) - a_alone * b.mean - b_alone * a.mean + neither * a.mean * b.mean
    correlation = _ratio(covariance, np.sqrt(a.scatter) * np.sqrt(b.scatter))
    return np.clip(correlation, -1.0, 1.0), a.scatter > 0


def code_correlation(evaluation: Evaluation) -> float:
    """Return the mean over true features of the |Pearson correlation| of their codes with those of their partner.

    A dead, constant or missing partner counts 0; nothing undefined is dropped. Features whose true codes are constant
    in the batch have no correlation with anything and are excluded; 0 if there is no other.
    """
    correlation, varies = _correlations(evaluation)
    return float(np.abs(correlation[varies]).mean()) if varies.any() else 0.0


def code_correlation_signed(evaluation: Evaluation) -> float:
    """Return `code_correlation` with its sign, after an atom that points against its feature has had its codes negated.

    An atom that fires when its feature does not lowers it; for non-negative codes this is the score to read.
    """
    correlation, varies = _correlations(evaluation)
    return float(correlation[varies].mean()) if varies.any() else 0.0


def shrinkage(evaluation: Evaluation) -> float:
    """Return the mean over matched features of the slope of learned on true coefficients; 1 is no shrinkage.

    ``slope_i = sum a b / sum a^2`` over the samples where feature i (coefficient a) and its partner (b, with the sign
    of the feature) both fire. The line goes through the origin, since a soft threshold subtracts a constant, which an
    intercept would hide; missed activations are the business of `support_recall`. Features that never fire together
    with a partner are excluded; 0 if there is no other.
    """
    in_true, in_learned = evaluation.common
    if not len(in_true):
        return 0.0
    m = evaluation.truth.atoms.shape[0]
    where = evaluation.true_codes.indices[in_true]
    true = evaluation.true_codes.data[in_true].astype(np.float64)
    learned = evaluation.aligned.data[in_learned].astype(np.float64)
    largest = np.zeros(m)
    np.maximum.at(largest, where, np.abs(true))
    unit = true / largest[where]
    energy = np.bincount(where, weights=unit**2, minlength=m)
    slope = _ratio(np.bincount(where, weights=unit * (learned / largest[where]), minlength=m), energy)
    return float(slope[energy > 0].mean())


def code_error(evaluation: Evaluation) -> float:
    """Return the squared error of the matched codes relative to the true ones, ||A - S||_F^2 / ||S||_F^2.

    A holds the learned codes of the matched atoms (0 for a missed feature), so silence scores 1; activations of
    unmatched atoms are not in it. NaN if no feature fires.
    """
    true = evaluation.true_codes.data.astype(np.float64)
    scale = np.abs(true).max(initial=0.0)
    if scale == 0:
        return float("nan")
    in_true, in_learned = evaluation.common
    learned = evaluation.aligned.data.astype(np.float64) / scale
    true = true / scale
    both = np.square(true[in_true] - learned[in_learned]).sum()
    missed = np.square(np.delete(true, in_true)).sum()
    false = np.square(np.delete(learned, in_learned)).sum()
    return float((both + missed + false) / np.square(true).sum())


def l0(evaluation: Evaluation) -> float:
    """Return the mean number of non-zero learned codes in a sample."""
    return float(evaluation.codes.nnz / evaluation.codes.shape[0])


def true_l0(evaluation: Evaluation) -> float:
    """Return the mean number of non-zero true codes in a sample."""
    return float(evaluation.true_codes.nnz / evaluation.true_codes.shape[0])


def dead_fraction(evaluation: Evaluation) -> float:
    """Return the fraction of learned atoms that never fire in the batch; 0 for a dictionary without atoms.

    It falls as the batch grows: compare it at equal n only.
    """
    p = evaluation.codes.shape[1]
    return float((p - len(np.unique(evaluation.codes.indices))) / max(p, 1))
