"""A certificate that holds is obeyed by every method it speaks of, and one that fails has its counter-example."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, nnls

from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.pursuit import orthogonal_matching_pursuit
from theory.certificates import (
    basis_pursuit_certificate,
    lasso_certificate,
    lasso_value,
    one_step_certificate,
    one_step_limit,
    pursuit_certificate,
    sparsest_certificate,
)
from theory.frames import coherence, exact_recovery_coefficient, identity_hadamard, paley_etf, simplex
from theory.power import clopper_pearson
from theory.uniqueness import half_space_probability, non_negative_certificate, non_negative_uniqueness

seeds = st.integers(0, 2**32 - 1)

FRAMES = {
    "identity and Hadamard 16": identity_hadamard(16),
    "identity and Hadamard 32": identity_hadamard(32),
    "Paley 18": paley_etf(18),
    "Paley 30": paley_etf(30),
    "simplex 11": simplex(11),
}


def perturbed(name, wobble, rng):
    atoms = FRAMES[name] + wobble * rng.standard_normal(FRAMES[name].shape)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def draw_code(rng, n, k, *, signed):
    code = np.zeros(n)
    code[rng.choice(n, k, replace=False)] = 0.2 + rng.random(k)
    return code * rng.choice([-1.0, 1.0], n) if signed else code


def l1_programme(atoms, x, *, signed):
    """Minimise ||z||_1 over z D = x, and over z >= 0 unless signed, as a linear programme."""
    sides = np.concatenate([atoms, -atoms]) if signed else atoms
    z = linprog(np.ones(len(sides)), A_eq=sides.T, b_eq=x, method="highs").x
    return z[: len(atoms)] - z[len(atoms) :] if signed else z


def objective(x, atoms, z, penalty):
    return np.square(x - z @ atoms).sum() / 2 + penalty * np.abs(z).sum()


# The lasso


def test_a_certified_lasso_solution_is_what_every_solver_returns():
    held = []

    @settings(max_examples=35)
    @given(seeds, st.sampled_from(sorted(FRAMES)), st.integers(1, 4), st.sampled_from([0.0, 0.02]),
           st.floats(0.01, 0.3), st.sampled_from([0.0, 0.03]), st.booleans())  # fmt: skip
    def check(seed, name, k, wobble, penalty, noise, signed):
        rng = np.random.default_rng(seed)
        atoms = perturbed(name, wobble, rng)
        code = draw_code(rng, len(atoms), k, signed=signed)
        support = np.flatnonzero(code)
        x = code @ atoms + noise * rng.standard_normal(atoms.shape[1])
        signs = np.sign(code[support]) if signed else None
        certificate = lasso_certificate(x, atoms, support, penalty, signs=signs)
        solver = Lasso(penalty, non_negative=not signed, tolerance=1e-13)
        found = solver.encode(x[None], atoms).toarray()[0]
        held.append(certificate.holds)
        event(f"certified: {certificate.holds}")
        if certificate.holds:
            # A gap of 1e-13 bounds the distance by its root over the conditioning of the support's Gram matrix.
            np.testing.assert_allclose(found, certificate.code, atol=2e-6)
            plain = Lasso(penalty, not signed, tolerance=1e-13, accelerated=False).encode(x[None], atoms).toarray()[0]
            np.testing.assert_allclose(plain, certificate.code, atol=2e-6)
        elif min(certificate.inside, certificate.outside) < -1e-4:
            # Refuted: the minimiser's signs are not these. Its zeros are exact, up to the tolerance of the solver.
            assert not np.array_equal(np.sign(np.where(np.abs(found) > 1e-6, found, 0.0)), np.sign(code))
        assert objective(x, atoms, found, penalty) <= certificate.value + 1e-9  # never above any feasible point

    check()
    assert np.mean(held) >= 0.2


@pytest.mark.parametrize("signed", [False, True])
def test_the_certificate_in_terms_of_code_and_noise_is_the_one_in_terms_of_the_sample(signed):
    rng = np.random.default_rng(3)
    atoms, penalty = perturbed("Paley 30", 0.05, rng), 0.1
    code = draw_code(rng, 30, 3, signed=signed)
    support, noise = np.flatnonzero(code), 0.05 * rng.standard_normal(15)
    sigma, inside, outside = np.sign(code[support]), atoms[support], np.delete(atoms, support, axis=0)
    inverse = np.linalg.inv(inside @ inside.T)
    shifted = code[support] + inverse @ (inside @ noise - penalty * sigma)
    off = noise - inside.T @ inverse @ inside @ noise
    slopes = outside @ off / penalty + outside @ inside.T @ inverse @ sigma
    got = lasso_certificate(code @ atoms + noise, atoms, support, penalty, signs=sigma if signed else None)
    np.testing.assert_allclose(got.code[support], shifted, atol=1e-12)  # rounding
    assert got.inside == pytest.approx((sigma * shifted).min(), abs=1e-12)
    assert got.outside == pytest.approx(1 - (np.abs(slopes) if signed else slopes).max(), abs=1e-12)


def test_the_value_of_the_lasso_is_linear_in_the_penalty_less_a_square():
    rng = np.random.default_rng(0)
    atoms = FRAMES["identity and Hadamard 16"]
    code = draw_code(rng, 32, 2, signed=True)
    for penalty in (1e-3, 0.01, 0.05):
        found = Lasso(penalty, tolerance=1e-14).encode((code @ atoms)[None], atoms).toarray()[0]
        got = lasso_value(atoms, code, penalty)
        assert got == pytest.approx(objective(code @ atoms, atoms, found, penalty), abs=1e-12)
    support, sigma = np.flatnonzero(code), np.sign(code[np.flatnonzero(code)])
    slope = lasso_value(atoms, code, 1e-7) / 1e-7
    assert slope == pytest.approx(np.abs(code).sum(), abs=1e-5)  # the limit of basis pursuit, off by penalty x 2 / 2
    gram = atoms[support] @ atoms[support].T
    assert got == pytest.approx(0.05 * np.abs(code).sum() - 0.05**2 / 2 * sigma @ np.linalg.solve(gram, sigma))


def test_orthonormal_atoms_shrink_by_the_penalty_and_nothing_else():
    certificate = lasso_certificate(np.array([3.0, 0.1, -2.0]), np.eye(3), [0, 2], 0.5, signs=[1, -1])
    assert certificate.holds
    np.testing.assert_allclose(certificate.code, [2.5, 0.0, -1.5], atol=1e-15)
    assert certificate.outside == pytest.approx(1 - 0.1 / 0.5)
    assert certificate.value == pytest.approx(0.25 + 0.005 + 0.5 * 4)


def test_no_atom_is_on_exactly_above_the_largest_correlation():
    x, atoms = np.array([0.3, -0.4]), np.eye(2)
    assert lasso_certificate(x, atoms, [], 0.41, signs=[]).holds
    assert not lasso_certificate(x, atoms, [], 0.39, signs=[]).holds
    assert lasso_certificate(x, atoms, [], 0.31).holds  # the negative correlation is no threat to z >= 0


def test_at_a_margin_of_zero_the_support_may_still_be_the_minimisers():
    # Strictness is sufficient and not necessary: where a slope outside equals the penalty, uniqueness is open.
    atoms = np.array([[1.0, 0.0], [0.6, 0.8]])
    x = np.array([2.0, 0.5])  # r = (1, 0.5) has d_1 . r = 0.6 + 0.4 = 1 = penalty
    certificate = lasso_certificate(x, atoms, [0], 1.0)
    assert abs(certificate.outside) < 1e-12 and not certificate.holds
    found = Lasso(1.0, non_negative=True, tolerance=1e-15).encode(x[None], atoms).toarray()[0]
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-6)  # and it is the only minimiser: the atoms are independent


# Basis pursuit


def test_basis_pursuit_recovers_exactly_where_the_dual_certificate_exists():
    held = []

    @settings(max_examples=60)
    @given(seeds, st.sampled_from(sorted(FRAMES)), st.integers(1, 6), st.floats(0.0, 0.05), st.booleans())
    def check(seed, name, k, wobble, signed):
        rng = np.random.default_rng(seed)
        atoms = perturbed(name, wobble, rng)
        code = draw_code(rng, len(atoms), k, signed=signed)
        support = np.flatnonzero(code)
        signs = np.sign(code[support]) if signed else None
        certificate = basis_pursuit_certificate(atoms, support, signs=signs)
        held.append(certificate.holds)
        event(f"certified: {certificate.holds}")
        assert certificate.closed_form <= certificate.margin + 1e-7  # the tolerance of the programme
        assert pursuit_certificate(atoms, support).margin <= certificate.closed_form + 1e-9  # ERC covers all signs
        found = l1_programme(atoms, code @ atoms, signed=signed)
        if certificate.margin > 1e-6:
            np.testing.assert_allclose(found, code, atol=1e-6)  # tolerance of the programme
        elif certificate.margin < -1e-6:
            assert np.abs(found).sum() < np.abs(code).sum()  # another code is strictly shorter

    check()
    assert np.mean(held) >= 0.2


def test_all_codes_of_a_pattern_share_their_fate():
    rng = np.random.default_rng(5)
    fates = set()
    for _ in range(12):
        atoms = rng.standard_normal((12, 6))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        holds = basis_pursuit_certificate(atoms, [0, 1, 2], signs=[1, -1, 1]).holds
        fates.add(holds)
        for scale in (0.1, 1.0, 10.0):
            code = np.zeros(12)
            code[:3] = np.array([scale, -1.0, 1 / scale])
            assert np.allclose(l1_programme(atoms, code @ atoms, signed=True), code, atol=1e-6) == holds
    assert fates == {True, False}


@pytest.mark.parametrize("d", [3, 5, 7])
def test_the_simplex_is_where_the_l1_margin_is_exactly_zero(d):
    k = (d + 1) // 2  # s on one half and -s on the other have the same sample and the same norm
    sharp = basis_pursuit_certificate(simplex(d), range(k), signs=np.ones(k))
    assert abs(sharp.margin) < 1e-9 and not sharp.holds
    assert basis_pursuit_certificate(simplex(d), range(k - 1), signs=np.ones(k - 1)).holds
    assert basis_pursuit_certificate(simplex(d), range(k)).holds  # not being negative decides between the two


@pytest.mark.parametrize("signed", [False, True])
def test_the_dual_certificate_exists_beyond_its_closed_form_and_decides_on_random_atoms(signed):
    rng = np.random.default_rng(1)
    gained, fates = 0, []
    for _ in range(60):
        atoms = rng.standard_normal((14, 7))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        code = np.r_[0.5 + rng.random(3), np.zeros(11)]
        certificate = basis_pursuit_certificate(atoms, range(3), signs=np.ones(3) if signed else None)
        gained += certificate.holds and certificate.closed_form < -1e-3
        fates.append(certificate.holds)
        assert np.allclose(l1_programme(atoms, code @ atoms, signed=signed), code, atol=1e-6) == certificate.holds
    assert gained >= 3
    assert 0.2 < np.mean(fates) < 0.98


def test_a_whole_basis_is_always_recovered():
    assert basis_pursuit_certificate(np.eye(4), range(4)).margin == 1.0
    assert sparsest_certificate(np.eye(4), np.ones(4)).margin == math.inf


# Orthogonal matching pursuit


def test_a_certified_support_is_found_by_the_pursuit_and_a_refuted_one_defeats_it():
    held = []

    @settings(max_examples=60)
    @given(seeds, st.sampled_from(sorted(FRAMES)), st.integers(1, 5), st.floats(0.0, 0.05))
    def check(seed, name, k, wobble):
        rng = np.random.default_rng(seed)
        atoms = perturbed(name, wobble, rng)
        code = draw_code(rng, len(atoms), k, signed=True)
        support = np.flatnonzero(code)
        certificate = pursuit_certificate(atoms, support)
        assert certificate.margin == 1 - exact_recovery_coefficient(atoms, support)
        held.append(certificate.holds)
        event(f"certified: {certificate.holds}")
        if certificate.margin > 1e-6:
            found = orthogonal_matching_pursuit((code @ atoms)[None], atoms, k).toarray()[0]
            np.testing.assert_allclose(found, code, atol=1e-8)  # least squares on a support conditioned below 1e3
        elif certificate.margin < -1e-6:
            inverse = np.linalg.pinv(atoms[support])
            outside = np.delete(np.arange(len(atoms)), support)
            worst = outside[np.abs(atoms[outside] @ inverse).sum(axis=1).argmax()]
            x = inverse @ np.sign(atoms[worst] @ inverse)  # of equal scores on the whole support
            first = orthogonal_matching_pursuit(x[None], atoms, 1).indices[0]
            assert first not in support

    check()
    assert np.mean(held) >= 0.2


# Exhaustive search


def test_a_certified_code_is_the_only_one_of_its_size_by_least_squares_on_every_support():
    held = []

    @settings(max_examples=40)
    @given(seeds, st.integers(4, 8), st.integers(2, 4), st.integers(1, 3), st.booleans())
    def check(seed, n, d, k, integers):
        rng = np.random.default_rng(seed)
        atoms = rng.integers(-1, 2, (n, d)) + 0.0 if integers else rng.standard_normal((n, d))
        atoms[~atoms.any(axis=1)] = 1.0
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        code = draw_code(rng, n, k, signed=True)
        x = code @ atoms
        if np.linalg.norm(x) < 1e-9:
            return
        certificate = sparsest_certificate(atoms, code)
        held.append(certificate.holds)
        event(f"certified: {certificate.holds}")
        distances = [0.0] if np.linalg.matrix_rank(atoms[np.flatnonzero(code)]) < k else []
        for chosen in map(list, combinations(range(n), k)):
            if chosen != np.flatnonzero(code).tolist():
                z = np.linalg.lstsq(atoms[chosen].T, x, rcond=1e-10)[0]
                distances.append(np.linalg.norm(x - z @ atoms[chosen]))
        assert certificate.margin == pytest.approx(min(distances) / np.linalg.norm(x), abs=1e-8)

    check()
    assert np.mean(held) >= 0.2


def test_not_being_negative_tells_codes_apart_that_signs_do_not():
    atoms = simplex(3)
    code = np.array([1.0, 1.0, 0.0, 0.0])  # = -(d_2 + d_3)
    assert not sparsest_certificate(atoms, code).holds
    assert sparsest_certificate(atoms, code, non_negative=True).holds


def test_noise_of_half_the_margin_does_not_change_the_best_support():
    rng = np.random.default_rng(4)
    atoms = paley_etf(14)
    for _ in range(10):
        code = draw_code(rng, 14, 2, signed=True)
        x = code @ atoms
        margin = sparsest_certificate(atoms, code).margin
        noise = rng.standard_normal(7)
        noise *= 0.499 * margin * np.linalg.norm(x) / np.linalg.norm(noise)
        residuals = {
            chosen: np.linalg.norm(
                x + noise - np.linalg.lstsq(atoms[list(chosen)].T, x + noise, rcond=None)[0] @ atoms[list(chosen)]
            )
            for chosen in combinations(range(14), 2)
        }
        assert min(residuals, key=residuals.get) == tuple(np.flatnonzero(code))


# One step


def test_below_its_limit_one_step_finds_every_support():
    held = []

    @settings(max_examples=80)
    @given(seeds, st.sampled_from(sorted(FRAMES)), st.integers(1, 4), st.floats(0.3, 1.0), st.floats(0.0, 0.01))
    def check(seed, name, k, ratio, wobble):
        rng = np.random.default_rng(seed)
        atoms = perturbed(name, wobble, rng)
        values = ratio + (1 - ratio) * rng.random(k)
        values[0], values[-1] = ratio if k > 1 else 1.0, 1.0
        code = np.zeros(len(atoms))
        code[rng.choice(len(atoms), k, replace=False)] = values
        certificate = one_step_certificate(code @ atoms, atoms, np.flatnonzero(code))
        premise = k <= one_step_limit(coherence(atoms), ratio if k > 1 else 1.0)
        held.append(premise)
        event(f"premise: {premise}")
        assert certificate.holds or not premise
        top = np.sort(np.argsort(-(atoms @ (code @ atoms)), kind="stable")[:k])
        assert np.array_equal(top, np.flatnonzero(code)) or not certificate.holds
        assert not (np.array_equal(top, np.flatnonzero(code)) and certificate.margin < -1e-9)

    check()
    assert np.mean(held) >= 0.2


@pytest.mark.parametrize(("d", "k"), [(5, 3), (9, 4), (12, 3), (21, 5)])
def test_the_simplex_attains_the_one_step_limit_at_every_ratio(d, k):
    # All inner products are -1/d: the weakest score is ratio - (k-1)/d, any other |score| is (k - 1 + ratio)/d.
    tied = 2 * (k - 1) / (d - 1)  # the ratio at which they are equal
    atoms = simplex(d)
    for ratio, separated in ((tied * 1.01, True), (tied * 0.99, False)):
        if ratio > 1:
            continue
        code = np.zeros(d + 1)
        code[:k] = 1.0
        code[0] = ratio
        scores = np.abs(atoms @ (code @ atoms))
        assert (scores[:k].min() > scores[k:].max()) == separated
        assert (one_step_limit(1 / d, ratio) >= k) == separated


def test_at_equal_values_one_step_has_the_limit_of_the_pursuits():
    for mu in (0.05, 0.1, 1 / 7, 0.25, 0.5, 1.0):
        assert one_step_limit(mu) == math.ceil((1 + 1 / mu) / 2 - 1e-9) - 1


# Non-negative codes without a penalty


@pytest.mark.parametrize(("n", "d", "k", "p"), [
    (16, 8, 1, 0.395263671875), (16, 8, 3, 0.19384765625), (16, 12, 3, 0.927001953125), (20, 12, 2, 0.6854705810546875),
    (20, 14, 5, 0.78802490234375), (24, 16, 6, 0.6854705810546875), (12, 8, 2, 0.74609375),
])  # fmt: skip
def test_the_uniqueness_of_non_negative_codes_has_its_reference_values(n, d, k, p):
    assert non_negative_uniqueness(n, d, k) == pytest.approx(p, abs=1e-14)  # dyadic rationals
    direct = 1 - sum(math.comb(n - k - 1, j) for j in range(n - d)) / 2 ** (n - k - 1)
    assert direct == pytest.approx(p, abs=1e-14)


def test_wendel_counts_the_half_spaces_of_small_cases():
    assert half_space_probability(3, 2) == pytest.approx(0.75)  # three points of the circle miss the centre
    assert half_space_probability(4, 3) == pytest.approx(7 / 8)
    assert half_space_probability(4, 4) == half_space_probability(2, 3) == 1.0


@pytest.mark.parametrize(("n", "d", "k"), [(16, 8, 3), (12, 8, 2), (10, 5, 0), (9, 6, 4), (10, 7, 6), (6, 4, 4)])
def test_certificates_hold_as_often_as_the_exact_probability_says(n, d, k):
    rng = np.random.default_rng(n * d)
    draws, successes = 250, 0
    for trial in range(draws):
        # Not Gaussian: any law that does not change with the sign of an atom, in general position, has the same count.
        atoms = rng.standard_t(3, (n, d)) if trial % 2 else rng.choice([-1.0, 1.0], (n, 1)) * rng.random((n, d)) ** 2
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        successes += non_negative_certificate(atoms, range(k)).holds
    low, high = clopper_pearson(successes, draws, 1e-6)
    assert low <= non_negative_uniqueness(n, d, k) <= high


def test_atoms_in_one_orthant_are_not_covered_by_the_count():
    # The sharpness control: with the signs not symmetric the probability is another one, here 1 for k = 0.
    rng = np.random.default_rng(0)
    atoms = rng.random((10, 5))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    assert non_negative_certificate(atoms, []).holds
    assert non_negative_uniqueness(10, 5, 0) == 0.5


def test_a_certified_support_is_found_by_non_negative_least_squares_and_another_has_a_second_code():
    rng = np.random.default_rng(7)
    fates = []
    for _ in range(60):
        n, d, k = 14, 9, 3
        atoms = rng.standard_normal((n, d))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        code = np.zeros(n)
        code[:k] = 0.5 + rng.random(k)
        x, holds = code @ atoms, non_negative_certificate(atoms, range(k)).holds
        fates.append(holds)
        # The largest total outside the support over all non-negative codes of this sample.
        gain = np.r_[np.zeros(k), -np.ones(n - k)]
        other = linprog(gain, A_eq=atoms.T, b_eq=x, bounds=(0, 100.0), method="highs")
        assert (-other.fun < 1e-6) == holds
        if holds:
            np.testing.assert_allclose(nnls(atoms.T, x)[0], code, atol=1e-8)
    assert 0.2 < np.mean(fates) < 0.99


def test_the_probability_tends_to_a_step_at_twice_the_dimension_less_the_atoms():
    # rho = 2 - 1/delta: at n = 4000, d = 3000 the step is at k = 2000; its width is of order sqrt(n - k).
    assert non_negative_uniqueness(4000, 3000, 1700) > 1 - 1e-9
    assert non_negative_uniqueness(4000, 3000, 2300) < 1e-9
    assert non_negative_uniqueness(4000, 3000, 2000) == pytest.approx(0.5, abs=0.02)
    values = [non_negative_uniqueness(40, 25, k) for k in range(41)]
    assert np.all(np.diff(values) <= 0)
    assert values[25:] == [0.0] * 16
    assert non_negative_uniqueness(5, 5, 5) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: lasso_certificate(np.ones(3), np.eye(3), [0, 0], 0.1),
        lambda: lasso_certificate(np.ones(2), np.eye(3), [0], 0.1),
        lambda: lasso_certificate(np.ones(3), np.eye(3), [True, False, False], 0.1),
        lambda: lasso_certificate(np.ones(3), np.eye(3), [0.5], 0.1),
        lambda: lasso_certificate(np.ones(3), np.eye(3), [0], 0.0),
        lambda: lasso_certificate(np.ones(3), np.eye(3), [3], 0.1),
        lambda: lasso_certificate(np.ones(3), np.eye(3), [-1], 0.1),
        lambda: lasso_certificate(np.ones(3), np.eye(3), [0], 0.1, signs=[0]),
        lambda: lasso_certificate(np.full(3, np.nan), np.eye(3), [0], 0.1),
        lambda: lasso_value(np.eye(3), [0.1, 0, 0], 0.2),
        lambda: lasso_value(np.eye(3), [0.1, 0], 0.01),
        lambda: basis_pursuit_certificate(np.eye(3), []),
        lambda: basis_pursuit_certificate(simplex(2), [0, 1, 2]),
        lambda: pursuit_certificate(np.eye(3), [0, 7]),
        lambda: sparsest_certificate(np.eye(3), np.zeros(3)),
        lambda: sparsest_certificate(np.eye(3), -np.ones(3), non_negative=True),
        lambda: sparsest_certificate(identity_hadamard(64), np.r_[np.ones(5), np.zeros(123)]),
        lambda: one_step_certificate(np.ones(3), np.eye(3), [0, 1, 2]),
        lambda: one_step_certificate(np.ones(3), np.eye(3), []),
        lambda: one_step_limit(0.0),
        lambda: one_step_limit(0.1, 1.5),
        lambda: non_negative_uniqueness(5, 3, 6),
        lambda: non_negative_uniqueness(5, 0, 1),
        lambda: half_space_probability(0, 3),
        lambda: non_negative_certificate(np.eye(3), [1, 1]),
    ],
)
def test_outside_its_assumptions_a_certificate_raises(call):
    with pytest.raises(ValueError):
        call()
