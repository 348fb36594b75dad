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
MEASURED: tuple[Metric, ...] = (codes.l0, *SHOWN, fingerprint)
