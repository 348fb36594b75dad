"""Atoms are shown at the features to which they are matched, and every atom once."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim import Role, stream
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.validate import worlds
from sparsesim.validate.portrait import matched_columns, portrait


def evaluation(order, extra=0):
    """Return the evaluation of true atoms in another order, with ``extra`` random ones between them."""
    world = worlds.superposed(8, 12, 2).build(stream(0, Role.TRUTH))
    atoms = np.concatenate([stream(1, Role.SOLVER).standard_normal((extra, 8)), world.atoms[order]])
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    fitted = FittedDictionary(atoms, np.zeros(8), OrthogonalMatchingPursuit(2), Status.CONVERGED)
    return Evaluation(world, fitted, world.sample(50, stream(0, Role.TEST)))


@pytest.mark.parametrize("extra", [0, 3])
def test_true_atoms_in_any_order_stand_on_the_diagonal(extra):
    order = stream(2, Role.SOLVER).permutation(12)
    found = portrait("superposed", 0, evaluation(order, extra))
    np.testing.assert_allclose(np.diag(found.cosines), 1.0, atol=1e-12)  # a cosine of two unit vectors in float64
    np.testing.assert_allclose(found.error, 0.0, atol=1e-12)
    assert found.cosines.shape == (12, 12 + extra)


def test_with_fewer_atoms_than_features_every_atom_is_shown_once():
    assert sorted(matched_columns(evaluation([3, 7, 1]))) == [0, 1, 2]
