"""ER-SpUD recovers a square dictionary exactly while codes are sparse; its programmes carry a duality certificate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.erspud import ERSpUD, ExactInverse
from sparsesim.solvers.least_absolute import least_absolute, whitener
from theory.identifiability import column_programme_limit


def bernoulli_gauss(rng, n, d, theta):
    return rng.standard_normal((n, d)) * (rng.random((n, d)) < theta)


def planted(seed, n, d, theta):
    rng = np.random.default_rng(seed)
    atoms = unit_rows(rng.standard_normal((d, d)))[0]
    codes = bernoulli_gauss(rng, n, d, theta)
    return atoms, codes, codes @ atoms


def worst(atoms, fitted):
    return match_rows(np.abs(cosines(atoms, fitted.atoms))).similarity.min()


def fit(solver, x, seed=0):
    return solver.fit(x, rng=stream(seed, Role.SOLVER))


def simplex_value(x, equation):
    """The minimum of ||x w||_1 over <equation, w> = 1 by HiGHS: w free, residuals split in two parts."""
    n, d = x.shape
    left = np.block([[x, -np.eye(n), np.eye(n)], [equation[None], np.zeros((1, 2 * n))]])
    bounds = [(None, None)] * d + [(0, None)] * (2 * n)
    cost = np.concatenate([np.zeros(d), np.ones(2 * n)])
    return linprog(cost, A_eq=left, b_eq=np.append(np.zeros(n), 1.0), bounds=bounds, method="highs").fun


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(1, 40), st.floats(0.2, 1.0), st.integers(0, 10**6))
def test_the_programme_has_the_minimum_that_highs_finds(d, extra, theta, seed):
    rng = np.random.default_rng(seed)
    x = bernoulli_gauss(rng, d + extra, d, theta) + 1e-3 * rng.standard_normal((d + extra, d))
    equations = rng.standard_normal((3, d))
    w, gaps = least_absolute(x, equations)
    assert gaps.max() <= 1e-9
    np.testing.assert_allclose((w * equations).sum(axis=1), 1.0, atol=1e-9)
    expected = [simplex_value(x, equation) for equation in equations]
    np.testing.assert_allclose(np.abs(x @ w.T).sum(axis=0), expected, rtol=1e-7)  # the feasibility tolerance of HiGHS


def test_scale_and_a_change_of_basis_change_nothing():
    atoms, codes, x = planted(0, 200, 5, 0.3)
    equations = np.random.default_rng(1).standard_normal((4, 5))
    values = np.abs(codes @ least_absolute(codes, equations)[0].T).sum(axis=0)
    for factor in (1e-100, 1.0, 1e100):
        w, gaps = least_absolute(factor * x, factor * equations @ atoms)
        assert gaps.max() <= 1e-9
        np.testing.assert_allclose(np.abs(factor * x @ w.T).sum(axis=0), values, rtol=1e-8)


@pytest.mark.parametrize(("others", "theta"), [(6, 0.3), (9, 0.2)])
def test_the_programme_finds_one_column_exactly_below_the_limit_of_the_theory(others, theta):
    rng, d = np.random.default_rng(others), others + 3
    codes = bernoulli_gauss(rng, 2500, d, theta)
    equations = np.zeros((2, d))
    equations[:, 0] = 1.0
    limit = column_programme_limit(others, theta)
    equations[:, 1 : others + 1] = np.array([[0.75], [1.3]]) * limit  # 2,500 samples move the limit by a few per cent
    w = least_absolute(codes, equations)[0]
    np.testing.assert_allclose(w[0], np.eye(d)[0], atol=1e-8)
    assert np.abs(w[1] - np.eye(d)[0]).max() > 0.1


@pytest.mark.parametrize("pairs", [True, False])
def test_sparse_codes_are_recovered_to_rounding(pairs):
    for seed, d, n, theta in ((0, 8, 200, 0.2), (1, 12, 500, 0.15), (2, 20, 800, 0.1)):
        atoms, codes, x = planted(seed, n, d, theta)
        fitted = fit(ERSpUD(d, pairs=pairs, programmes=8 * d), x)
        assert fitted.status is Status.CONVERGED and max(fitted.trace["gap"]) <= 1e-6
        assert worst(atoms, fitted) > 1 - 1e-12
        found = fitted.encode(x)
        assert found.nnz == np.count_nonzero(codes)  # the zeros are exact as well
        np.testing.assert_allclose(fitted.decode(found), x, atol=1e-10)
        silent = np.sort((codes == 0).mean(axis=0))
        np.testing.assert_allclose(np.sort(fitted.trace["zeros"]), silent, atol=1e-12)


def test_dense_codes_are_not_recovered():
    # theta far above 1 / sqrt(d) = 0.29: sums of columns are cheaper than columns; chance of the worst atom is 0.1
    for pairs in (True, False):
        atoms, _, x = planted(3, 600, 12, 0.7)
        assert worst(atoms, fit(ERSpUD(12, pairs=pairs, programmes=96), x)) < 0.9


def test_the_combinations_are_sparsest_among_all_found():
    _, codes, x = planted(4, 150, 6, 0.25)
    fitted = fit(ERSpUD(6), x)
    # No combination of two columns of the codes, at any of the ratios that cancel an entry, has as many zeros.
    fewest = min(fitted.trace["zeros"])
    for i in range(6):
        for j in range(i):
            both = (codes[:, i] != 0) & (codes[:, j] != 0)
            for ratio in -codes[both, i] / codes[both, j]:
                combined = codes[:, i] + ratio * codes[:, j]
                assert (np.abs(combined) < 1e-12).mean() < fewest


def test_too_few_programmes_fill_up_and_say_so():
    atoms, _, x = planted(5, 300, 10, 0.15)
    fitted = fit(ERSpUD(10, programmes=4), x)
    assert fitted.status is Status.BUDGET_SPENT and len(fitted.trace["zeros"]) <= 4
    assert np.linalg.matrix_rank(fitted.atoms) == 10
    columns = np.abs(np.linalg.inv(fitted.atoms).T @ atoms.T)  # row j: the codes that combination j reads
    read = (columns > 1e-8 * columns.max(axis=1, keepdims=True)).sum(axis=1)
    assert (read == 1).sum() >= len(fitted.trace["zeros"]) - 1  # every combination but perhaps one is a column


def test_noise_gives_a_basis_and_no_zeros():
    _, _, x = planted(6, 200, 5, 0.3)
    fitted = fit(ERSpUD(5), x + 0.1 * np.random.default_rng(0).standard_normal(x.shape))
    assert fitted.status is Status.CONVERGED
    assert max(fitted.trace["zeros"]) <= 5 / 200  # a vertex annihilates d - 1 samples


@pytest.mark.parametrize("scale", [1e-150, -1.0, 1e150])
def test_the_scale_of_the_samples_does_not_matter(scale):
    atoms, _, x = planted(7, 120, 6, 0.2)
    assert worst(atoms, fit(ERSpUD(6), scale * x)) > 1 - 1e-12


def test_the_exact_inverse_gives_the_codes_of_any_basis():
    atoms, codes, x = planted(8, 50, 7, 0.3)
    np.testing.assert_allclose(ExactInverse().encode(x, atoms).toarray(), codes, atol=1e-12)
    assert ExactInverse().encode(x, atoms).nnz == np.count_nonzero(codes)
    with pytest.raises(ValueError, match="atoms must be a basis"):
        ExactInverse().encode(x, atoms[:6])
    with pytest.raises(ValueError, match="rank 6"):
        ExactInverse().encode(x, np.concatenate([atoms[:6], atoms[:1]]))


def test_the_whitened_samples_are_uncorrelated():
    x = np.random.default_rng(9).standard_normal((40, 4)) @ np.diag([1.0, 1e3, 1e-3, 1.0])
    white = x @ whitener(x)
    np.testing.assert_allclose(white.T @ white, 40 * np.eye(4), atol=1e-9)


def test_bad_configurations_and_samples_are_refused():
    for arguments in ({"width": 0}, {"programmes": -1}, {"zero": 0.5}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ERSpUD(**({"width": 4} | arguments))
    _, _, x = planted(0, 60, 4, 0.3)
    with pytest.raises(ValueError, match="width must be d=4"):
        fit(ERSpUD(5), x)
    with pytest.raises(ValueError, match="rank 3"):
        fit(ERSpUD(4), np.concatenate([x[:, :3], x[:, :1]], axis=1))
    with pytest.raises(ValueError, match="rank 2 from 2 samples"):
        fit(ERSpUD(4), np.eye(4)[:2])
    with pytest.raises(ValueError, match="equations must not be zero"):
        least_absolute(x, np.zeros((1, 4)))
