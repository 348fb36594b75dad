"""Local minima against directional derivatives, the oracle's error against simulation, identities exactly."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from scipy.sparse import coo_array, eye_array, hstack, vstack

from theory.frames import simplex
from theory.identifiability import (
    bias_adaptation_window,
    co_occurrence,
    column_programme_limit,
    equal_correlation_limit,
    equal_correlation_limit_fixed,
    fourth_moment,
    identification_error,
    local_identifiability,
    oracle_dictionary_error,
    oracle_dictionary_scale,
)

seeds = st.integers(0, 2**32 - 1)


def random_unit(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def equal_correlations(n, mu):
    return np.linalg.cholesky(np.full((n, n), mu) + (1 - mu) * np.eye(n))


def bernoulli_gauss(rng, samples, n, p):
    return rng.standard_normal((samples, n)) * (rng.random((samples, n)) < p)


def fixed_size(rng, samples, n, k):
    on = np.argsort(rng.random((samples, n)), axis=1) < k
    return rng.standard_normal((samples, n)) * on


def slopes(codes, atoms, row, z):
    """Each sample's derivative of ||x D(t)^{-1}||_1 as every other atom j moves by t z_j along atom ``row``.

    Atoms stay unit: d_j + t z_j d_row has length 1 + t z_j G_{j,row}, so its own code grows by that factor.
    """
    gram = atoms @ atoms.T
    others = np.delete(np.arange(len(atoms)), row)
    own = (np.abs(codes[:, others]) * (z * gram[row, others])).sum(axis=1)
    moved = -codes[:, others] @ z
    return own + np.where(codes[:, row] == 0, np.abs(moved), np.sign(codes[:, row]) * moved)


def test_the_derivative_of_the_test_is_that_of_the_cost():
    rng = np.random.default_rng(0)
    atoms, z = random_unit(rng, 5, 5), rng.standard_normal(4)
    codes, step = bernoulli_gauss(rng, 50, 5, 0.4), 1e-7
    moved = atoms.copy()
    moved[1:] += step * z[:, None] * atoms[0]
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    difference = np.abs(codes @ atoms @ np.linalg.inv(moved)).sum(axis=1) - np.abs(codes).sum(axis=1)
    np.testing.assert_allclose(difference / step, slopes(codes, atoms, 0, z), atol=1e-5)  # the step times curvature


@pytest.mark.parametrize(("n", "values"), [
    (10, [.8488461891889323, .7251368900858376, .5381391407649285, .4058681134527536, .23190289734397102]),
    (50, [.5619747212395777, .3957299887766482, .2528035021097392, .18145070441352026, .1007524203183116]),
])  # fmt: skip
def test_the_limit_of_equal_correlations_has_its_reference_values(n, values):
    got = [equal_correlation_limit(n, p) for p in (0.05, 0.1, 0.2, 0.3, 0.5)]
    np.testing.assert_allclose(got, values, rtol=1e-12)


@pytest.mark.parametrize(("factor", "sign"), [(0.8, 1), (1.2, -1)])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_cost_falls_along_one_direction_exactly_above_the_limit(factor, sign, fixed):
    n, rng = 10, np.random.default_rng(3)
    limit = equal_correlation_limit_fixed(n, 2) if fixed else equal_correlation_limit(n, 0.2)
    codes = fixed_size(rng, 200_000, n, 2) if fixed else bernoulli_gauss(rng, 200_000, n, 0.2)
    change = slopes(codes, equal_correlations(n, factor * limit), 0, -np.ones(n - 1))
    assert sign * change.mean() > 5 * change.std() / math.sqrt(len(change))  # a z-test at alpha below 1e-6


@pytest.mark.parametrize("n", [3, 6, 10])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.6])
def test_the_general_condition_has_the_closed_form_at_equal_correlations(n, p):
    limit = equal_correlation_limit(n, p)
    mu = min(0.9, limit)
    got = local_identifiability(equal_correlations(n, mu), p)
    assert got.low == pytest.approx(1 - mu / limit, abs=1e-8)
    assert got.high == pytest.approx(1 - mu / limit, abs=1e-8)
    if limit < 0.9:
        assert local_identifiability(equal_correlations(n, 0.99 * limit), p).holds
        assert not local_identifiability(equal_correlations(n, 1.01 * limit), p).holds


def test_the_bracket_holds_a_general_optimisers_answer_and_agrees_with_the_known_sufficient_condition():
    held = []

    @settings(max_examples=30)
    @given(seeds, st.integers(2, 5), st.floats(0.05, 0.7), st.floats(0.05, 0.6))
    def check(seed, n, p, wobble):
        rng = np.random.default_rng(seed)
        atoms = np.eye(n) + wobble * rng.standard_normal((n, n))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        if np.linalg.svd(atoms, compute_uv=False)[-1] < 1e-3:
            return
        got = local_identifiability(atoms, p)
        assert got.low <= got.high
        gram = atoms @ atoms.T - np.eye(n)
        longest = np.linalg.norm(gram, axis=1).max()
        held.append(longest < 1 - p)
        event(f"premise of Gribonval and Schnass: {held[-1]}")
        if held[-1]:
            assert got.holds
        # The other bound: no direction has a ratio above the dual norm.
        subsets = [list(s) for size in range(1, n) for s in combinations(range(n - 1), size)]
        weights = [p ** len(s) * (1 - p) ** (n - 1 - len(s)) for s in subsets]
        for atom in range(n):
            m = np.delete(gram[atom], atom)

            def norm(z):
                return sum(w * np.linalg.norm(z[s]) for w, s in zip(weights, subsets, strict=True))

            for z in (m, np.sign(m), *np.eye(n - 1)):
                assert p * abs(m @ z) / norm(z) <= (1 - got.low) * (1 - p) * (1 + 1e-9) + 1e-12

    check()
    assert np.mean(held) >= 0.2


def test_the_bracket_closes_on_the_minimum_found_by_a_general_optimiser():
    rng = np.random.default_rng(4)
    atoms = np.eye(4) + 0.4 * rng.standard_normal((4, 4))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    gram, p = atoms @ atoms.T, 0.3
    subsets = [list(s) for size in (1, 2, 3) for s in combinations(range(3), size)]
    duals = []
    for atom in range(4):
        m = np.delete(gram[atom], atom)

        def inverse_ratio(z, m=m):
            norm = sum(p ** len(s) * (1 - p) ** (3 - len(s)) * np.linalg.norm(z[s]) for s in subsets)
            return norm / abs(m @ z)

        duals.append(1 / min(minimize(inverse_ratio, rng.standard_normal(3), method="Nelder-Mead",
                                      options={"maxiter": 4000, "xatol": 1e-10, "fatol": 1e-12}).fun
                             for _ in range(4)))  # fmt: skip
    expected = 1 - p * max(duals) / (1 - p)
    got = local_identifiability(atoms, p)
    assert got.low == pytest.approx(expected, abs=1e-5)  # the bracket is 1e-6 wide
    assert got.high == pytest.approx(expected, abs=1e-5)


def test_two_atoms_are_a_minimum_exactly_below_one_less_the_rate():
    # One other atom: ||z||_* = |z| / p, so mu < 1 - p, the condition of Gribonval and Schnass, which is then exact.
    for p in (0.2, 0.5, 0.8):
        assert equal_correlation_limit(2, p) == pytest.approx(1 - p)
        assert local_identifiability(equal_correlations(2, 0.99 * (1 - p)), p).holds
        assert local_identifiability(equal_correlations(2, min(0.999, 1.01 * (1 - p))), p).high < 0


def test_orthonormal_atoms_are_a_minimum_at_every_rate():
    got = local_identifiability(np.eye(6), 0.9)
    assert (got.holds, got.low, got.high) == (True, 1.0, 1.0)


def test_local_identifiability_ignores_rotation_order_and_sign():
    rng = np.random.default_rng(0)
    atoms = random_unit(rng, 6, 6)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    other = (atoms * rng.choice([-1.0, 1.0], (6, 1)))[rng.permutation(6)] @ turn
    assert local_identifiability(other, 0.2).low == pytest.approx(local_identifiability(atoms, 0.2).low, abs=1e-5)


# l4


@settings(max_examples=50)
@given(seeds, st.integers(2, 8), st.floats(0.01, 0.99))
def test_the_fourth_moment_is_largest_at_the_axes_and_least_at_the_diagonal(seed, n, theta):
    a = random_unit(np.random.default_rng(seed), 1, n)[0]
    axis, diagonal = np.eye(n)[0], np.full(n, n**-0.5)
    assert fourth_moment(axis, theta) == pytest.approx(3 * theta)
    assert fourth_moment(diagonal, theta) - 1e-12 <= fourth_moment(a, theta) <= fourth_moment(axis, theta) + 1e-12
    assert fourth_moment(2 * a, theta) == pytest.approx(16 * fourth_moment(a, theta))


def test_the_fourth_moment_is_that_of_samples():
    rng = np.random.default_rng(1)
    a = random_unit(rng, 1, 6)[0]
    values = (bernoulli_gauss(rng, 400_000, 6, 0.3) @ a) ** 4
    assert abs(values.mean() - fourth_moment(a, 0.3)) < 5 * values.std() / math.sqrt(len(values))  # alpha below 1e-6


def test_dense_codes_have_no_preferred_direction():
    assert fourth_moment(np.eye(3)[0], 1.0) == fourth_moment(np.full(3, 3**-0.5), 1.0) == pytest.approx(3)


# The oracle


def test_least_squares_on_true_codes_attains_the_oracles_error():
    rng = np.random.default_rng(2)
    n, d, k, samples, sigma = 8, 5, 2, 60, 0.3
    codes = fixed_size(rng, samples, n, k)
    atoms, solve = random_unit(rng, n, d), np.linalg.pinv(codes)
    errors = [
        np.square(solve @ (codes @ atoms + sigma * rng.standard_normal((samples, d))) - atoms).sum()
        for _ in range(3000)
    ]
    expected = oracle_dictionary_error(codes, d, sigma**2)
    assert abs(np.mean(errors) - expected) < 5 * np.std(errors) / math.sqrt(3000)  # alpha below 1e-6


def test_the_oracles_scale_has_its_reference_value_and_is_approached_from_below():
    # d = 16, n = 32, N = 3000, k = 3, sigma = .1: .0182, one draw of codes .01880.
    assert oracle_dictionary_scale(32, 16, 3, 3000, 1.0, 0.01) == pytest.approx(0.0182, abs=5e-5)
    rng, ratios = np.random.default_rng(0), []
    for samples in (300, 3000, 30_000):
        errors = [oracle_dictionary_error(fixed_size(rng, samples, 32, 3), 16, 0.01) for _ in range(6)]
        ratios.append(np.mean(errors) / oracle_dictionary_scale(32, 16, 3, samples, 1.0, 0.01))
    assert ratios[0] > ratios[1] > ratios[2] > 1  # Jensen: the mean of an inverse is above the inverse of the mean
    assert ratios[2] < 1.02


# What identifies features


def test_copies_are_free_and_everything_else_costs_its_cosine():
    atoms = simplex(6)
    assert identification_error(atoms, np.concatenate([atoms[::-1], atoms[2:4]])) == pytest.approx(0, abs=1e-12)
    assert identification_error(atoms, -atoms) == pytest.approx(1 - 1 / 6)  # a sign is no symmetry of features
    assert identification_error(atoms, atoms[:-1]) == pytest.approx(1 + 1 / 6)  # one is missing
    turned = atoms.copy()
    turned[0] = math.cos(0.1) * atoms[0] + math.sin(0.1) * np.linalg.svd(atoms[:1])[2][1]
    assert identification_error(atoms, turned) == pytest.approx(1 - math.cos(0.1))


@given(seeds, st.integers(1, 8), st.integers(1, 8), st.integers(1, 4))
def test_the_error_of_identification_is_symmetric_and_bounded(seed, n, m, d):
    rng = np.random.default_rng(seed)
    first, second = random_unit(rng, n, d), random_unit(rng, m, d)
    error = identification_error(first, second)
    assert 0 <= error <= 2 + 1e-12
    assert error == identification_error(second, first)
    assert identification_error(first, first) < 1e-12


def test_uniform_subsets_co_occur_as_their_closed_form_says():
    n, k = 50, 4
    pairs = np.full((n, n), k * (k - 1) / (n * (n - 1)))
    np.fill_diagonal(pairs, k / n)
    rho, scaled = co_occurrence(pairs)
    assert rho == pytest.approx((k - 1) / (n - 1))
    assert scaled == pytest.approx((k - 1) * math.sqrt(n) / (n - 1))
    assert co_occurrence([[0.2, 0.2], [0.2, 0.5]])[0] == 1.0  # a child always has its parent


def test_the_window_of_bias_adaptation_opens_with_sparsity_and_dimension():
    low, high = bias_adaptation_window(65_536, 256, 3, 0.1, 0.1)
    assert low == 1 / 65_536 and high > 0
    values = [bias_adaptation_window(4096, d, 8, 0.1, 0.01)[1] for d in (8, 64, 512, 4096)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(8**0.99 / 4096)
    # At d >= sqrt(n) it is the first term that binds for large k: the dimension no longer matters.
    assert values[2] == values[3] == pytest.approx(4096 ** -max((1 + 1 / 8) / 2, 2 * 1.1**2 / 8))
    assert bias_adaptation_window(10**6, 2, 2, 0.5, 0.9)[1] < 10**-5  # a dense code leaves nothing above 1/n


@pytest.mark.parametrize(
    "call",
    [
        lambda: equal_correlation_limit(1, 0.1),
        lambda: equal_correlation_limit(5, 0.0),
        lambda: equal_correlation_limit_fixed(5, 6),
        lambda: local_identifiability(simplex(4), 0.1),
        lambda: local_identifiability(np.eye(15), 0.1),
        lambda: local_identifiability(np.array([[1.0, 0.0], [1.0, 0.0]]), 0.1),
        lambda: local_identifiability(np.eye(3), 1.0),
        lambda: fourth_moment([1.0, 0.0], 1.5),
        lambda: oracle_dictionary_error(np.zeros((5, 2)), 3, 0.1),
        lambda: oracle_dictionary_error(np.ones((5, 2)), 3, 0.1),
        lambda: oracle_dictionary_error(np.ones((1, 2)), 3, 0.1),
        lambda: oracle_dictionary_error(np.eye(2), 3, -0.1),
        lambda: oracle_dictionary_scale(5, 3, 0, 10, 1.0, 0.1),
        lambda: identification_error(np.eye(3), np.eye(2)),
        lambda: co_occurrence([[0.5, 0.6], [0.6, 0.7]]),
        lambda: co_occurrence([[0.0, 0.0], [0.0, 0.7]]),
        lambda: bias_adaptation_window(10, 5, 2, 0.0, 0.5),
    ],
)
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


def row_found(x, b):
    """The minimiser of ||u^T X||_1 with b^T u = 1, as u = e_1 / b_1 or not."""
    n, count = x.shape
    cost = np.concatenate([np.zeros(n), np.ones(count)])
    both = vstack([hstack([coo_array(x.T), -eye_array(count)]), hstack([coo_array(-x.T), -eye_array(count)])])
    equal = np.concatenate([b, np.zeros(count)])[None, :]
    bounds = [(None, None)] * n + [(0, None)] * count
    found = linprog(cost, A_ub=both.tocsr(), b_ub=np.zeros(2 * count), A_eq=equal, b_eq=[1.0], bounds=bounds)
    u = found.x[:n]
    return bool(np.abs(u[1:]).max() < 1e-6 * np.abs(u[0]))  # linprog is accurate to about 1e-9


@pytest.mark.parametrize(("others", "theta"), [(6, 0.3), (9, 0.2)])
def test_the_programme_finds_one_row_exactly_below_the_limit(others, theta):
    limit = column_programme_limit(others, theta)
    rng, n = np.random.default_rng(others), others + 3
    x = rng.standard_normal((n, 2500)) * (rng.random((n, 2500)) < theta)
    for factor, expected in ((0.75, True), (1.3, False)):  # 2,500 samples move the limit by a few per cent
        b = np.zeros(n)
        b[0], b[1 : others + 1] = 1.0, factor * limit
        assert row_found(x, b) is expected


def test_the_programme_meets_its_barrier_where_the_rate_passes_the_inverse_root():
    n = 100_000
    low, high = 0.02 / math.sqrt(n), 20 / math.sqrt(n)
    # Far below the barrier the other entries never fire together, E sqrt(Bin) = theta * others to relative theta^2 n.
    assert column_programme_limit(max(1, round(2 * low * n)), low) == pytest.approx(1 - low, rel=2e-3)
    # Far above, E sqrt(Bin) is the root of its mean, 2 theta^2 n = 800, to relative 1/(8 * 800).
    expected = (1 - high) / (high * math.sqrt(2 * n))
    assert column_programme_limit(round(2 * high * n), high) == pytest.approx(expected, rel=2e-3)
