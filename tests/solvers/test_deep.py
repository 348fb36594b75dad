"""Deep dictionary learning never raises its objective, is ISTA and MOD at one layer, and recovers the product."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.deep import DeepDictionaryLearning, balanced, code_step, factor_step, product
from sparsesim.solvers.learn import optimal_directions


def fit(solver, x, seed=0):
    return solver.fit(x, rng=stream(seed, Role.SOLVER))


def objective(x, codes, factors, penalty):
    dense = codes.toarray()
    return np.square(x - dense @ np.linalg.multi_dot([np.eye(dense.shape[1]), *factors[::-1]])).sum() / 2 + (
        penalty * np.abs(dense).sum()
    )


def random_state(seed, n, widths, density=0.5):
    """Samples, codes and factors B_1 (h_1, d), ..., B_L (p, h_{L-1}) for widths (d, h_1, ..., p)."""
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((out, into)) for into, out in pairwise(widths)]
    dense = rng.standard_normal((n, widths[-1])) * (rng.random((n, widths[-1])) < density)
    return rng.standard_normal((n, widths[0])), csr_array(dense), factors


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.floats(0.0, 2.0), st.integers(0, 10**6))
def test_no_step_raises_the_objective(widths, penalty, seed):
    x, codes, factors = random_state(seed, 12, widths)
    before = objective(x, codes, factors, penalty)
    slack = 1e-9 * before  # rounding of conditions up to 1e6
    codes = code_step(x, codes, factors, penalty, 3)
    values = [before, objective(x, codes, factors, penalty)]
    for layer in range(len(factors)):
        factors[layer] = factor_step(x, codes, factors, layer)
        values.append(objective(x, codes, factors, penalty))
    values.append(objective(x, codes, balanced(factors), penalty))
    assert all(after <= before + slack for before, after in pairwise(values)), values
    assert abs(values[-1] - values[-2]) <= slack


def test_a_layered_step_is_the_sum_written_out():
    x, codes, (first, second, third) = random_state(1, 9, (4, 5, 3, 6))
    z = codes.toarray()
    sizes = [np.linalg.norm(factor, 2) ** 2 for factor in (first, second, third)]
    h2, h1 = z @ third, z @ third @ second
    t1 = h1 + (x - h1 @ first) @ first.T / sizes[0]
    t2 = h2 + (t1 - h2 @ second) @ second.T / sizes[1]
    t3 = z + (t2 - z @ third) @ third.T / sizes[2]
    level = 0.7 / np.prod(sizes)
    expected = np.where(np.abs(t3) > level, t3 - level * np.sign(t3), 0.0)
    np.testing.assert_allclose(code_step(x, codes, [first, second, third], 0.7, 1).toarray(), expected, atol=1e-12)
    middle = factor_step(x, codes, [first, second, third], 1)
    np.testing.assert_allclose(middle, np.linalg.lstsq(h2, t1, rcond=None)[0], atol=1e-9)


def test_one_layer_is_ista_and_mod():
    x, codes, factors = random_state(2, 40, (5, 7))
    z, (atoms,), penalty = codes.toarray(), factors, 0.3
    for _ in range(4):  # the textbook iteration
        step = 1 / np.linalg.norm(atoms, 2) ** 2
        move = z + step * (x - z @ atoms) @ atoms.T
        z = np.sign(move) * np.maximum(np.abs(move) - penalty * step, 0)
    np.testing.assert_allclose(code_step(x, codes, factors, penalty, 4).toarray(), z, atol=1e-12)
    mod = optimal_directions(x, csr_array(z))
    np.testing.assert_allclose(unit_rows(factor_step(x, csr_array(z), factors, 0))[0], mod, atol=1e-8)


@pytest.mark.parametrize("hidden", [(), (6,), (9, 7)])
def test_without_normalisation_a_whole_fit_is_monotone(hidden):
    x = np.random.default_rng(3).standard_normal((80, 6))
    fitted = fit(DeepDictionaryLearning(10, 0.2, hidden, 40, normalise=False, tolerance=0.0), x)
    values = fitted.trace["objective"]
    assert values[0] < 1.0  # that of zero codes
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(values))
    assert len(values) == len(fitted.trace["fvu"]) == len(fitted.trace["replaced"]) == 40


def test_balanced_factors_are_isometries_of_the_same_product():
    for widths in ((4, 6, 3, 5), (5, 5, 5), (3, 2, 2, 6)):
        _, _, factors = random_state(4, 1, widths)
        new = balanced(factors)
        np.testing.assert_allclose(product(new), product(factors), atol=1e-10)
        for factor in new[:-1]:
            np.testing.assert_allclose(np.linalg.svd(factor, compute_uv=False), 1.0, atol=1e-12)


@pytest.mark.parametrize("hidden", [(), (12, 10)])
def test_the_product_recovers_a_planted_dictionary(hidden):
    rng = np.random.default_rng(5)
    atoms, codes = unit_rows(rng.standard_normal((12, 10)))[0], np.zeros((600, 12))
    for row in codes:
        row[rng.choice(12, 2, replace=False)] = rng.choice([-1, 1], 2) * rng.uniform(1, 2, 2)
    x = codes @ atoms
    scores, fits = [], []
    for seed in range(2):
        fits.append(fit(DeepDictionaryLearning(12, 0.1, hidden, 80), x, seed))
        scores.append(match_rows(np.abs(cosines(atoms, fits[-1].atoms))).similarity.mean())
    assert max(scores) > 0.99, scores  # chance is 0.57; a fit that misses an atom or two scores 0.93
    assert isinstance(fits[0].encoder, Lasso) and fits[0].encoder.penalty == 0.1


def test_a_narrow_layer_bounds_the_rank():
    x = np.random.default_rng(6).standard_normal((100, 8))
    fitted = fit(DeepDictionaryLearning(12, 0.1, (3,), 5), x)
    assert np.linalg.matrix_rank(fitted.atoms, tol=1e-9) == 3


def test_unused_atoms_are_replaced_and_reported():
    x = np.concatenate(
        [2.0 * np.eye(6)[:4], 0.01 * np.eye(6)[[4, 4, 5, 5]]]
    )  # all eight are atoms, four below the penalty
    fitted = fit(DeepDictionaryLearning(8, 0.5, (6,), 10), x)
    assert fitted.trace["replaced"][0] == 4 and np.isfinite(fitted.atoms).all()


@pytest.mark.parametrize("scale", [0.0, 1e-150, -1.0, 1e150])
def test_degenerate_and_extreme_samples_give_a_dictionary(scale):
    rng = np.random.default_rng(7)
    for x in (rng.standard_normal((20, 3)), np.ones((1, 3)), np.full((5, 1), 2.0)):
        fitted = fit(DeepDictionaryLearning(4, 0.1, (2,), 3), scale * x)
        assert np.isfinite(fitted.atoms).all() and fitted.status is not Status.DIVERGED


def test_bad_configurations_are_refused():
    for arguments in ({"width": 0}, {"penalty": 0.0}, {"hidden": (0,)}, {"iterations": 0}, {"code_steps": 0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            DeepDictionaryLearning(**({"width": 4, "penalty": 1.0} | arguments))
    with pytest.raises(TypeError, match="hidden must be a tuple"):
        DeepDictionaryLearning(4, 1.0, [3])
