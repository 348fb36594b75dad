"""How much of what matters was found: recovery in which true features weigh by their relevance or by their energy.

`sparsesim.metrics.recovery` counts every feature once. Where a few features carry a task, or most of the variance, a
dictionary may find these and miss most others, or the reverse; each score here is

    max over one-to-one matchings pi of  sum_i w_i |<d_i, a_pi(i)>| / sum_i w_i,   w_i >= 0 the weight of feature i,

so that atoms are spent where the weight is. Equal weights give `sparsesim.metrics.recovery.mcc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsesim._arrays import FloatArray
from sparsesim.metrics.chance import chance_mcc
from sparsesim.metrics.evaluation import Evaluation


def _weighted(evaluation: Evaluation, weights: FloatArray) -> float:
    """Return the score of the module with ``weights (m,)``; NaN if all are zero."""
    largest = float(weights.max(initial=0.0))
    if largest == 0.0:
        return float("nan")
    counted = np.flatnonzero(weights)
    share = weights[counted] / largest
    gains = share[:, None] * np.abs(evaluation.cosines[counted])
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return float(gains[rows, columns].sum() / share.sum())


def _relevance(evaluation: Evaluation) -> FloatArray:
    """Return 1 for each feature that the targets of the world depend on, else 0, ``(m,)``."""
    truth: Any = evaluation.truth
    targets = getattr(truth, "targets", None)
    if targets is None:
        return np.ones(len(truth.atoms))
    weights = np.zeros(len(truth.atoms))
    weights[targets.features] = 1.0
    return weights


def mcc_relevant(evaluation: Evaluation) -> float:
    """Return the matched |cos| of the features that the targets of the world depend on, averaged over these alone.

    The matching is theirs: an atom that another feature would have more use for is not taken away from them, and with
    fewer atoms than relevant features the score is at most p / r. All features are relevant in a world without
    `Readout`, where it equals `mcc`. The targets of a world have weights of norm one, so each relevant feature counts
    once. Chance is `mcc_relevant_chance`; the true atoms have 1.

    References
    ----------
    Braun, Taylor, Goldowsky-Dill, Sharkey (2024), arXiv 2405.12241; Olmo et al. (2024), arXiv 2411.10397: features
    that matter for what comes after a sample. The score is ours.
    """
    return _weighted(evaluation, _relevance(evaluation))


def mcc_irrelevant(evaluation: Evaluation) -> float:
    """Return the matched |cos| of the features that the targets do not depend on, averaged over these alone.

    It has a matching of its own, so that one atom may count here and in `mcc_relevant`. NaN where every feature is
    relevant, as in a world without `Readout`.
    """
    return _weighted(evaluation, 1.0 - _relevance(evaluation))


def mcc_relevant_chance(evaluation: Evaluation) -> float:
    """Return the `mcc_relevant` that random directions reach: `chance_mcc` of r relevant features, p atoms and d.

    Atoms that are exactly zero are no directions and are not counted. Simulated to a standard error below 0.002.
    """
    learned = evaluation.fitted.atoms
    p, r = int(learned.any(axis=1).sum()), int(_relevance(evaluation).sum())
    return chance_mcc(r, p, learned.shape[1]).mean if p else 0.0


def mcc_by_energy(evaluation: Evaluation) -> float:
    """Return the matched |cos| in which each feature weighs by its share of the energy, sum_n c_ni^2 in the batch.

    It says how much of the variance that features carry belongs to found ones: loud and frequent features decide it,
    and a rare one that is missed costs little. NaN if no feature fires. Chance is above `mcc_chance`, since the
    matching can prefer loud features: read it beside that of a `RandomDictionary`.
    """
    codes = evaluation.true_codes
    values = codes.data.astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    summed = np.bincount(codes.indices, weights=np.square(values / largest), minlength=codes.shape[1])
    energy: FloatArray = summed.astype(np.float64, copy=False)  # integers where there is no code at all
    return _weighted(evaluation, energy)
