"""The order in which a learned dictionary is shown against the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparsesim.metrics.evaluation import Evaluation
from sparsesim.validate.attribution import feature_errors, feature_rates
from sparsesim.validate.result import Portrait


def matched_columns(evaluation: Evaluation) -> npt.NDArray[np.intp]:
    """Return the atoms ``(p,)`` in the order of the features to which they are matched, all others last.

    Features without an atom take one of the others, so that column i belongs to row i as far as there are columns.
    """
    match = evaluation.match
    rest = np.setdiff1d(np.arange(evaluation.fitted.width), match.atoms)
    partner = np.full(evaluation.truth.n_features, -1)
    partner[match.features] = match.atoms
    free = iter(rest.tolist())
    order = [int(atom) if atom >= 0 else next(free, -1) for atom in partner]
    columns = [atom for atom in order if atom >= 0]
    taken = set(columns)
    return np.array([*columns, *(atom for atom in rest.tolist() if atom not in taken)], dtype=np.intp)


def portrait(world: str, seed: int, evaluation: Evaluation) -> Portrait:
    """Return the portrait of the fitted dictionary of ``evaluation``."""
    cosines = evaluation.cosines[:, matched_columns(evaluation)]
    return Portrait(world, seed, cosines, feature_errors(evaluation), feature_rates(evaluation))
