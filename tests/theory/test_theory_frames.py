"""Bounds are obeyed and attained where they should be, certificates imply recovery, and fail where they must."""

from __future__ import annotations

import math
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import ortho_group

from theory.frames import (
    babel,
    babel_limit,
    coherence,
    coherence_bound,
    coherence_limit,
    exact_recovery_coefficient,
    identity_hadamard,
    levenshtein_bound,
    orthoplex_bound,
    paley_etf,
    simplex,
    spark,
    spark_bound,
    uniqueness_limit,
    welch_bound,
)

seeds = st.integers(0, 2**32 - 1)


def random_unit(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def one_of_each_line(vectors):
    kept = []
    for v in np.asarray(vectors, dtype=float):
        if all(abs(v @ w) < 0.999 * (v @ v) for w in kept):
            kept.append(v)
    rows = np.array(kept)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cell_24():
    """The 12 lines of the root system D4."""
    return one_of_each_line([v for v in product((-1, 0, 1), repeat=4) if sum(map(abs, v)) == 2])


def e8():
    """The 120 lines of the root system E8."""
    whole = [v for v in product((-1, 0, 1), repeat=8) if sum(map(abs, v)) == 2]
    halves = [v for v in product((-0.5, 0.5), repeat=8) if np.prod(v) > 0]
    return one_of_each_line(whole + halves)


def equiangular_28():
    """The 28 lines of the permutations of (3, 3, -1, ..., -1), orthogonal to the constant in R^8: an ETF in R^7."""
    vectors = np.array(sorted(set(permutations((3.0, 3, -1, -1, -1, -1, -1, -1)))))
    basis = np.linalg.svd(np.ones((1, 8)))[2][1:]
    return one_of_each_line(vectors @ basis.T)


LOW_COHERENCE = {
    "identity and Hadamard 16": identity_hadamard(16),
    "identity and Hadamard 64": identity_hadamard(64),
    "Paley 18": paley_etf(18),
    "Paley 38": paley_etf(38),
    "simplex 11": simplex(11),
    "simplex 12": simplex(12),
}


# Bounds


@pytest.mark.parametrize(("d", "n", "value"), [
    (2, 3, .5), (3, 6, 1 / math.sqrt(5)), (7, 28, 1 / 3), (23, 276, .2), (8, 16, .25820), (16, 32, .17961),
    (64, 512, .11704), (128, 1024, .08272), (512, 4096, .04134), (768, 24576, .03552),
])  # fmt: skip
def test_the_welch_bound_has_its_reference_values(d, n, value):
    assert welch_bound(n, d) == pytest.approx(value, abs=5e-6)  # the reference is rounded to five digits


@pytest.mark.parametrize(("d", "n"), [(4, 12), (8, 120)])
def test_the_levenshtein_bound_has_its_reference_values(d, n):
    assert levenshtein_bound(n, d) == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize("d", range(2, 30))
def test_levenshtein_meets_welch_at_the_gerzon_limit(d):
    n = d * (d + 1) // 2
    assert levenshtein_bound(n, d) == pytest.approx(welch_bound(n, d), rel=1e-12)


def test_six_and_seven_lines_in_space_meet_the_known_optima():
    # Conway, Hardin and Sloane (1996), Table 1: 63.4349 and 54.7356 degrees.
    assert coherence_bound(6, 3) == pytest.approx(math.cos(math.radians(63.4349488)), abs=1e-8)
    assert coherence_bound(7, 3) == pytest.approx(math.cos(math.radians(54.7356103)), abs=1e-8)


@pytest.mark.parametrize("n", [6, 14, 18, 30, 38])
def test_paley_frames_are_equiangular_tight_and_attain_welch(n):
    atoms = paley_etf(n)
    gram = np.abs(atoms @ atoms.T)[~np.eye(n, dtype=bool)]
    assert atoms.shape == (n, n // 2)
    # 1e-12: eigenvectors of a symmetric matrix of order n <= 38
    np.testing.assert_allclose(gram, welch_bound(n, n // 2), atol=1e-12)
    np.testing.assert_allclose(atoms.T @ atoms, 2 * np.eye(n // 2), atol=1e-12)
    assert welch_bound(n, n // 2) == pytest.approx(1 / math.sqrt(n - 1), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 12])
def test_the_simplex_attains_welch(d):
    gram = simplex(d) @ simplex(d).T
    np.testing.assert_allclose(gram, np.eye(d + 1) * (1 + 1 / d) - 1 / d, atol=1e-13)  # rounding
    assert coherence(simplex(d)) == pytest.approx(welch_bound(d + 1, d), abs=1e-13)


def test_the_28_lines_in_dimension_7_attain_welch_and_root_systems_attain_levenshtein():
    assert equiangular_28().shape == (28, 7)
    assert coherence(equiangular_28()) == pytest.approx(welch_bound(28, 7), abs=1e-12)
    assert cell_24().shape == (12, 4)
    assert coherence(cell_24()) == pytest.approx(levenshtein_bound(12, 4), abs=1e-12)
    assert e8().shape == (120, 8)
    assert coherence(e8()) == pytest.approx(levenshtein_bound(120, 8), abs=1e-12)


@given(seeds, st.integers(1, 6), st.integers(2, 40))
def test_no_dictionary_is_below_any_bound(seed, d, n):
    atoms = random_unit(np.random.default_rng(seed), n, d)
    mu = coherence(atoms)
    assert mu >= coherence_bound(n, d) - 1e-12  # rounding of an inner product
    if n > d:
        squares = np.square(atoms @ atoms.T)
        assert (squares.sum() - n) / (n * (n - 1)) >= welch_bound(n, d) ** 2 - 1e-12  # the mean-square form


@given(st.integers(2, 40), st.integers(1, 4), st.integers(2, 2000))
def test_higher_orders_and_all_bounds_stay_in_the_unit_interval(d, order, n):
    assert 0 <= coherence_bound(n, d) <= 1
    c = math.prod((2 * i - 1) / (d + 2 * i - 2) for i in range(1, order + 1))
    if n * c > 1.001:
        assert 0 < welch_bound(n, d, order) <= 1


def test_welch_of_higher_order_is_attained_by_the_lines_of_a_spherical_design():
    # The even moments of order 2 and 4 over the 120 lines of E8 equal those of the sphere: a projective 3-design.
    atoms = e8()
    for order in (1, 2, 3):
        c = math.prod((2 * i - 1) / (8 + 2 * i - 2) for i in range(1, order + 1))
        assert ((atoms @ atoms.T) ** (2 * order)).mean() == pytest.approx(c, abs=1e-12)


@pytest.mark.parametrize("call", [
    lambda: welch_bound(4, 4), lambda: welch_bound(3, 4), lambda: welch_bound(5, 4, 2), lambda: orthoplex_bound(6, 3),
    lambda: levenshtein_bound(5, 3), lambda: welch_bound(5, 0), lambda: welch_bound(5, 2, 0),
    lambda: coherence_limit(0.0), lambda: coherence_limit(1.5), lambda: coherence(2 * np.eye(3)),
    lambda: coherence(np.eye(1)), lambda: spark(random_unit(np.random.default_rng(0), 21, 3)), lambda: paley_etf(10),
    lambda: paley_etf(8), lambda: paley_etf(2), lambda: identity_hadamard(12), lambda: identity_hadamard(1),
    lambda: simplex(0), lambda: uniqueness_limit(1), lambda: exact_recovery_coefficient(np.eye(3), []),
    lambda: exact_recovery_coefficient(np.eye(3), [0, 0]), lambda: exact_recovery_coefficient(simplex(2), [0, 1, 2]),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


# Coherence, Babel, spark


@settings(max_examples=50)
@given(seeds, st.integers(2, 6), st.integers(1, 4))
def test_babel_equals_its_definition_by_enumeration(seed, n, d):
    atoms = random_unit(np.random.default_rng(seed), n, d)
    gram = np.abs(atoms @ atoms.T)
    for k, value in enumerate(babel(atoms), start=1):
        others = ((i, s) for i in range(n) for s in combinations([j for j in range(n) if j != i], k))
        assert value == pytest.approx(max(gram[i, list(s)].sum() for i, s in others), abs=1e-12)


@given(seeds, st.integers(2, 12), st.integers(1, 6))
def test_babel_grows_from_the_coherence_at_most_linearly(seed, n, d):
    atoms = random_unit(np.random.default_rng(seed), n, d)
    values, mu = babel(atoms), coherence(atoms)
    assert values[0] == mu
    assert np.all(np.diff(values) >= 0)
    assert np.all(values <= mu * np.arange(1, n) + 1e-12)


@given(seeds, st.integers(2, 10), st.integers(1, 6))
def test_coherence_and_babel_ignore_rotation_order_and_sign(seed, n, d):
    rng = np.random.default_rng(seed)
    atoms = random_unit(rng, n, d)
    turn = ortho_group.rvs(d, random_state=rng) if d > 1 else np.eye(1)
    other = (atoms * rng.choice([-1.0, 1.0], (n, 1)))[rng.permutation(n)] @ turn
    np.testing.assert_allclose(babel(other), babel(atoms), atol=1e-12)


def test_identity_and_hadamard_has_its_reference_values():
    atoms = identity_hadamard(16)
    np.testing.assert_allclose(babel(atoms)[:16], np.arange(1, 17) / 4, atol=1e-12)
    assert coherence(atoms) == 0.25
    assert spark_bound(atoms) == 5
    assert coherence_limit(0.25) == babel_limit(atoms) == 2
    # An explicit 4 + 4 double representation, so spark <= 8 = 2 sqrt(d); the support is the subgroup {0, 1, 2, 3}.
    comb = np.zeros(16)
    comb[:4] = 1.0
    code = atoms[16:] @ comb
    assert np.count_nonzero(np.abs(code) > 1e-12) == 4
    np.testing.assert_allclose(code @ atoms[16:], comb, atol=1e-12)


def test_the_spark_of_identity_and_hadamard_is_twice_the_root_of_d():
    assert spark(identity_hadamard(4)) == 4


@pytest.mark.parametrize(("n", "d"), [(5, 3), (8, 4), (10, 2), (4, 6)])
def test_the_spark_of_generic_atoms_is_full(n, d):
    atoms = random_unit(np.random.default_rng(0), n, d)
    assert spark(atoms) == min(n, d) + 1


def test_planted_dependence_is_found():
    atoms = random_unit(np.random.default_rng(1), 9, 6)
    planted = atoms[[0, 3, 5]].sum(axis=0)
    assert spark(np.concatenate([atoms, planted[None] / np.linalg.norm(planted)])) == 4
    assert spark(np.concatenate([atoms, -atoms[:1]])) == 2
    assert spark(np.eye(5)) == 6


@settings(max_examples=40)
@given(seeds, st.integers(2, 9), st.integers(1, 5), st.booleans())
def test_the_spark_bound_is_one_and_is_no_worse_than_by_coherence(seed, n, d, signs):
    rng = np.random.default_rng(seed)
    atoms = rng.choice([-1.0, 1.0], (n, d)) / math.sqrt(d) if signs else random_unit(rng, n, d)
    mu, bound = coherence(atoms), spark_bound(atoms)
    assert bound <= spark(atoms)
    if mu > 0:
        assert bound >= min(n + 1, math.ceil(1 + 1 / mu - 1e-9))


# Certificates of recovery


def pursue(atoms, x, k):
    """Orthogonal matching pursuit, k steps, slow and obvious."""
    chosen, residual, code = [], x, np.zeros(len(atoms))
    for _ in range(k):
        chosen.append(int(np.abs(atoms @ residual).argmax()))
        solution = np.linalg.lstsq(atoms[chosen].T, x, rcond=None)[0]
        residual = x - solution @ atoms[chosen]
    code[chosen] = solution
    return code


def basis_pursuit(atoms, x):
    """Minimise ||s||_1 subject to s @ atoms = x as a linear programme."""
    n = len(atoms)
    answer = linprog(np.ones(2 * n), A_eq=np.concatenate([atoms, -atoms]).T, b_eq=x, bounds=(0, None), method="highs")
    return answer.x[:n] - answer.x[n:]


def draw_code(rng, n, k):
    code = np.zeros(n)
    code[rng.choice(n, k, replace=False)] = rng.choice([-1.0, 1.0], k) * (0.1 + rng.random(k))
    return code


@settings(max_examples=60)
@given(seeds, st.sampled_from(sorted(LOW_COHERENCE)), st.integers(1, 8), st.floats(0.0, 0.02))
def test_coherence_implies_babel_implies_the_exact_condition_implies_recovery(seed, name, k, wobble):
    rng = np.random.default_rng(seed)
    atoms = LOW_COHERENCE[name]
    atoms = atoms + wobble * rng.standard_normal(atoms.shape)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    k = min(k, atoms.shape[1] // 2)
    code = draw_code(rng, len(atoms), k)
    coefficient = exact_recovery_coefficient(atoms, np.flatnonzero(code))
    if k <= coherence_limit(coherence(atoms)):
        assert k <= babel_limit(atoms)
    if k <= babel_limit(atoms):
        assert coefficient < 1
    if coefficient < 1 - 1e-9:
        np.testing.assert_allclose(
            pursue(atoms, code @ atoms, k), code, atol=1e-8
        )  # least squares, conditioned below 1e3
        np.testing.assert_allclose(basis_pursuit(atoms, code @ atoms), code, atol=1e-6)  # tolerance of the solver


def test_the_premises_hold_often_enough_for_the_test_above_to_say_something():
    limits = {name: (coherence_limit(coherence(a)), babel_limit(a)) for name, a in LOW_COHERENCE.items()}
    assert all(low >= 2 and high >= low for low, high in limits.values())
    assert limits["simplex 11"][0] == 5  # (1 + 11)/2 = 6, and the inequality is strict
    assert limits["identity and Hadamard 64"][0] == 4


@pytest.mark.parametrize("d", [3, 5, 7, 11])
def test_one_past_the_limit_the_simplex_defeats_every_method(d):
    atoms, k = simplex(d), (d + 1) // 2
    assert coherence_limit(coherence(atoms)) == babel_limit(atoms) == k - 1
    first, second = np.zeros(d + 1), np.zeros(d + 1)
    first[:k], second[k:] = 1.0, -1.0
    np.testing.assert_allclose(first @ atoms, second @ atoms, atol=1e-12)  # two codes, one sample, equal l0 and l1
    assert exact_recovery_coefficient(atoms, range(k)) >= 1 - 1e-12
    assert uniqueness_limit(spark(atoms)) == k - 1


def test_the_exact_condition_equals_its_definition():
    rng = np.random.default_rng(0)
    atoms = random_unit(rng, 9, 6)
    support = [1, 4, 7]
    solve = [np.linalg.lstsq(atoms[support].T, atoms[j], rcond=None)[0] for j in range(9) if j not in support]
    assert exact_recovery_coefficient(atoms, support) == pytest.approx(max(np.abs(s).sum() for s in solve), abs=1e-12)
    assert exact_recovery_coefficient(np.eye(3), [0, 1, 2]) == 0.0


def test_where_the_exact_condition_fails_pursuit_fails_on_some_code():
    # Tropp (2004), Theorem 3.10: a partial converse. Here by the code whose sample leans most on an outside atom.
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(30):
        atoms = random_unit(rng, 10, 5)
        support = [0, 1, 2]
        inverse = np.linalg.pinv(atoms[support])  # (d, k)
        if exact_recovery_coefficient(atoms, support) <= 1.05:
            continue
        worst = int(np.abs(atoms[3:] @ inverse).sum(axis=1).argmax()) + 3
        signs = np.sign(atoms[worst] @ inverse)
        x = signs @ np.linalg.pinv(atoms[support]).T  # in the span, with equal scores on the whole support
        chosen = int(np.abs(atoms @ x).argmax())
        assert chosen not in support
        failures += 1
    assert failures >= 20


def test_a_unique_sparsest_code_is_unique_below_half_the_spark():
    atoms = paley_etf(6)
    k = uniqueness_limit(spark(atoms))
    assert (spark(atoms), k) == (4, 1)
    for first, second in combinations(range(6), 2):
        assert abs(atoms[first] @ atoms[second]) < 1
