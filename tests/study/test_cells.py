"""Cells of one seed share their luck, so that differences are paired; a replica changes the solver's alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsesim import Role, key, stream, worlds
from sparsesim.metrics import mcc, pairwise_mcc, support_f1
from sparsesim.metrics.consistency import pairwise_mcc_chance
from sparsesim.solvers import MethodOfOptimalDirections, OrthogonalMatchingPursuit, RandomDictionary
from sparsesim.study import ConsistencyCell, FitCell, OracleCell, Store, Study, labels, run

WORLD = worlds.superposed(dim=12, n_features=16, k=2)
PURSUIT = OrthogonalMatchingPursuit(2)
LEARNER = MethodOfOptimalDirections(16, PURSUIT, iterations=60)
CELL = FitCell(WORLD, seed=3, n_test=200, solver=LEARNER, n_train=1500)


def test_cells_of_one_seed_share_the_truth_and_the_held_out_samples():
    fitted, oracle = CELL.evaluate(), OracleCell(WORLD, seed=3, n_test=200, encoder=PURSUIT).evaluate()
    np.testing.assert_array_equal(fitted.truth.atoms, oracle.truth.atoms)
    np.testing.assert_array_equal(fitted.batch.x, oracle.batch.x)
    other = replace(CELL, seed=4).evaluate()
    assert not np.array_equal(fitted.truth.atoms, other.truth.atoms)


def test_a_replica_changes_the_solver_but_neither_truth_nor_samples():
    (truth, first), (same, second) = CELL.fit(), replace(CELL, replica=1).fit()
    np.testing.assert_array_equal(truth.atoms, same.atoms)
    assert not np.array_equal(first.atoms, second.atoms)
    assert key(CELL) != key(replace(CELL, replica=1))


def test_training_and_held_out_samples_do_not_overlap():
    truth = CELL.model()
    held_out = CELL.held_out(truth).x
    again = replace(CELL, solver=RandomDictionary(16, PURSUIT)).evaluate().batch.x
    np.testing.assert_array_equal(held_out, again)
    train = truth.sample(CELL.n_train, stream(CELL.seed, Role.TRAIN)).x
    assert not set(map(bytes, held_out)) & set(map(bytes, train))


def test_the_genie_knows_the_support_and_the_oracle_the_atoms():
    genie = OracleCell(WORLD, seed=3, n_test=200).evaluate()
    assert mcc(genie) == pytest.approx(1.0, abs=1e-12)  # rounding of unit rows
    assert support_f1(genie) == 1.0
    np.testing.assert_allclose(
        genie.codes.toarray(), genie.batch.codes.toarray(), atol=1e-9
    )  # conditioning of two atoms


def test_consistency_is_one_where_the_dictionary_is_found_and_chance_where_it_is_random(tmp_path):
    cells = {
        labels(solver="mod"): ConsistencyCell(CELL, replicas=2),
        labels(solver="random"): ConsistencyCell(replace(CELL, solver=RandomDictionary(16, PURSUIT)), replicas=4),
    }
    study = Study("agreement", "Do seeds agree?", cells, (pairwise_mcc, pairwise_mcc_chance))
    table = run(study, Store(tmp_path), engine="inline")
    found, random = table.where(solver="mod"), table.where(solver="random")
    assert found.column("pairwise_mcc")[0] > 0.95
    # Six pairs of 16 random directions in 12 dimensions: the deviation of their mean is about 0.01.
    assert random.column("pairwise_mcc")[0] == pytest.approx(random.column("pairwise_mcc_chance")[0], abs=0.05)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"seed": -1}, "seed"), ({"n_train": 0}, "n_train"), ({"n_test": 1}, "n_test"), ({"replica": -1}, "replica")],
)
def test_infeasible_cells_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(CELL, **change)


def test_one_replica_has_nothing_to_agree_with():
    with pytest.raises(ValueError, match="replicas must lie in"):
        ConsistencyCell(CELL, replicas=1)
