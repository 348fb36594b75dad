"""Stagewise pursuit against its slow twin, with its limits: one atom a stage and all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_encoders import identity_hadamard, random_problem
from slow_greedy import stagewise

from sparsesim.solvers.pursuit import orthogonal_matching_pursuit
from sparsesim.solvers.stagewise import StagewisePursuit
from sparsesim.solvers.thresholding import CorrelationTopK


@settings(max_examples=40)
@given(
    st.integers(0, 2**32), st.integers(6, 14), st.integers(6, 30), st.integers(1, 5), st.floats(0.5, 3), st.booleans()
)
def test_it_is_the_slow_twin(seed, d, p, k, level, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 6, d, p, 3)
    codes = StagewisePursuit(k, level=level, non_negative=non_negative).encode(x, atoms).toarray()
    for row, code in zip(x, codes, strict=True):
        expected = stagewise(row, atoms, k, level, 10, non_negative)
        # five random atoms in six dimensions: condition below 1e4 but for one draw in thousands
        np.testing.assert_allclose(code, expected, atol=1e-8 * np.linalg.norm(row))


def test_without_a_level_one_stage_takes_the_k_largest_correlations():
    x, atoms = random_problem(np.random.default_rng(0), 100, 12, 30, 3)
    ours = StagewisePursuit(4, level=0.0, stages=1).encode(x, atoms).toarray()
    assert np.array_equal(ours, CorrelationTopK(4, refit=True).encode(x, atoms).toarray())


def test_room_for_one_atom_makes_it_the_first_step_of_orthogonal_pursuit():
    x, atoms = random_problem(np.random.default_rng(1), 100, 12, 30, 3)
    ours = StagewisePursuit(1, level=0.0).encode(x, atoms).toarray()
    np.testing.assert_allclose(ours, orthogonal_matching_pursuit(x, atoms, 1).toarray(), atol=1e-14)


def test_sparse_samples_are_recovered_in_a_few_stages():
    atoms, rng = identity_hadamard(64), np.random.default_rng(2)
    truth = np.zeros((300, 128))
    for row in truth:
        row[rng.choice(128, 4, replace=False)] = rng.choice([-1, 1], 4) * rng.uniform(0.8, 1.2, 4)
    codes = StagewisePursuit(8).encode(truth @ atoms, atoms).toarray()
    # crosstalk of three others is at most 3 * 1.2 / 8 = 0.45 and the level 2.5 ||x|| / 8 at most 0.9: nearly all rows
    assert np.mean(np.abs(codes - truth).max(axis=1) < 1e-12) > 0.99


@pytest.mark.parametrize(("field", "value"), [("level", -1.0), ("stages", 0), ("tolerance", 2.0)])
def test_bad_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        StagewisePursuit(2, **{field: value})
