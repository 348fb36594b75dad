"""The columns of a validation's rows, and the number that says whether two rows saw the same world and samples."""

from __future__ import annotations

import numpy as np

from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.metrics import codes, hedging, hierarchy, reconstruction, recovery, splitting
from sparsesim.metrics.evaluation import Evaluation, Metric, Samples, Truth

SAME_DATA = 1e-6  # relative; rounding of a sum of 1e5 numbers is 1e-11, another stream differs by percents


def _weighted(values: object) -> float:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return float(np.cos(np.arange(len(flat))) @ flat)


def _fingerprint(truth: Truth, batch: Samples) -> float:
    return _weighted(truth.atoms) + _weighted(batch.x)


def fingerprint(evaluation: Evaluation) -> float:
    """Return a number that tells true atoms and held-out samples from any others: rows are paired only where it agrees.

    ``sum_i cos(i) v_i`` over the entries of the atoms and of the samples, so that the order counts.
    """
    return _fingerprint(evaluation.truth, evaluation.batch)


def fingerprint_of(world: FeatureSpec, seed: int, n_test: int) -> float:
    """Return the `fingerprint` that the rows of ``world`` at ``seed`` have on this machine, found without a fit."""
    truth = world.build(stream(seed, Role.TRUTH))
    return _fingerprint(truth, truth.sample(n_test, stream(seed, Role.TEST)))


def same_data(first: float, second: float) -> bool:
    """Return whether two fingerprints are those of the same world and samples."""
    return abs(first - second) <= SAME_DATA * (1.0 + abs(second))


SHOWN: tuple[Metric, ...] = (
    recovery.mcc,
    recovery.mcc_corrected,
    recovery.recovered_at_90,
    recovery.uniqueness,
    codes.support_f1,
    codes.code_correlation,
    codes.dead_fraction,
    codes.shrinkage,
    reconstruction.explained_variance,
    reconstruction.amortisation_gap,
    hierarchy.absorption_gap,
    hierarchy.absorption_score,
    hedging.hedging_score,
    splitting.feature_splitting,
)
LARGER = (
    *("mcc", "mcc_corrected", "mcc_learned", "mcc_signed", "mmcs", "mmcs_learned", "uniqueness"),
    *("recovered_at_90", "recovered_at_95", "recovered_at_99", "explained_variance"),
    *("support_f1", "support_precision", "support_recall", "latent_f1", "latent_precision", "latent_recall"),
    *("code_correlation", "code_correlation_signed", "parent_recall_child_off", "parent_recall_child_on"),
    *("saelens_accuracy", "saelens_explained_variance", "saelens_f1", "saelens_mcc"),
    *("saelens_precision", "saelens_recall", "saelens_uniqueness"),
)
SMALLER = (
    *("dead_fraction", "code_error", "fvu", "quantised_fvu", "amortisation_gap", "feature_splitting", "composition"),
    *("fake_feature_ratio", "absorption_rate", "absorption_score", "flat_error", "hierarchical_error"),
)


def direction(metric: str) -> int:
    """Return 1 if larger is better for the ``metric`` of this name, -1 if smaller is, and 0 if neither is.

    Neither for a metric with a right value in between (`shrinkage` has 1; `hedging_score` and `absorption_gap` have 0,
    and errors of both signs) or without one (`l0`), and for a name that is not known here.
    """
    return (metric in LARGER) - (metric in SMALLER)


MEASURED: tuple[Metric, ...] = (codes.l0, *SHOWN, fingerprint)
