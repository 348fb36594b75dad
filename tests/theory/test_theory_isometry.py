"""Isometry and null space constants against enumeration; recovery wherever they promise it; noise within its bounds."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.pursuit import orthogonal_matching_pursuit
from theory.frames import babel, coherence, identity_hadamard, paley_etf, simplex
from theory.isometry import (
    code_norm_interval,
    denoising_error_bound,
    isometry_threshold,
    norm_deviation,
    null_space_constant,
    restricted_isometry,
    restricted_isometry_bounds,
    stable_amplitude,
    support_error_bound,
)

seeds = st.integers(0, 2**32 - 1)

SMALL = {
    "identity and Hadamard 8": identity_hadamard(8),
    "Paley 14": paley_etf(14),
    "simplex 12": simplex(12),
    "simplex 15": simplex(15),
}
LARGE = {
    "identity and Hadamard 64": identity_hadamard(64),
    "identity and Hadamard 256": identity_hadamard(256),
    "Paley 38": paley_etf(38),
    "simplex 30": simplex(30),
}


def perturbed(atoms, wobble, rng):
    atoms = atoms + wobble * rng.standard_normal(atoms.shape)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def draw_code(rng, n, k, low=0.1):
    code = np.zeros(n)
    code[rng.choice(n, k, replace=False)] = rng.choice([-1.0, 1.0], k) * (low + rng.random(k))
    return code


def basis_pursuit(atoms, x):
    n = len(atoms)
    z = linprog(np.ones(2 * n), A_eq=np.concatenate([atoms, -atoms]).T, b_eq=x, method="highs").x
    return z[:n] - z[n:]


def hard_thresholding(atoms, x, k, steps=400):
    """Iterative hard thresholding with unit step, slow and obvious."""
    z = np.zeros(len(atoms))
    for _ in range(steps):
        z = z + atoms @ (x - z @ atoms)
        z[np.argsort(-np.abs(z))[k:]] = 0.0
    return z


@settings(max_examples=30)
@given(seeds, st.sampled_from(sorted(SMALL)), st.integers(1, 4), st.floats(0, 0.3))
def test_the_isometry_constant_lies_between_its_bounds_and_bounds_every_code(seed, name, k, wobble):
    rng = np.random.default_rng(seed)
    atoms = perturbed(SMALL[name], wobble, rng)
    delta = restricted_isometry(atoms, k)
    low, high = restricted_isometry_bounds(atoms, k, rng=rng, draws=50)
    assert low <= delta + 1e-12 and delta <= high + 1e-12  # rounding of eigenvalues of order one
    assert high <= (k - 1) * coherence(atoms) + 1e-12
    code = draw_code(rng, len(atoms), k)
    assert abs(np.square(code @ atoms).sum() / np.square(code).sum() - 1) <= delta + 1e-12


def test_isometry_constants_of_order_one_and_two_and_of_the_simplex_are_known():
    atoms = perturbed(SMALL["Paley 14"], 0.1, np.random.default_rng(0))
    assert restricted_isometry(atoms, 1) == pytest.approx(0, abs=1e-15)
    assert restricted_isometry(atoms, 2) == pytest.approx(coherence(atoms), abs=1e-13)
    for k in range(1, 8):  # G_SS = (1 + 1/d) I - J/d has eigenvalues 1 + 1/d and 1 - (k-1)/d
        expected = 0.0 if k == 1 else max(1, k - 1) / 12
        assert restricted_isometry(simplex(12), k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", ["basis pursuit", "omp", "iht"])
def test_a_small_isometry_constant_implies_recovery(method):
    held = []

    @settings(max_examples=40)
    @given(seeds, st.sampled_from(sorted(SMALL)), st.integers(1, 2), st.floats(0, 0.05))
    def check(seed, name, k, wobble):
        rng = np.random.default_rng(seed)
        atoms = perturbed(SMALL[name], wobble, rng)
        order, limit = isometry_threshold(method, k)
        premise = restricted_isometry(atoms, order) < limit - 1e-9
        held.append(premise)
        event(f"premise: {premise}")
        if not premise:
            return
        code = draw_code(rng, len(atoms), k)
        x = code @ atoms
        if method == "omp":
            found = orthogonal_matching_pursuit(x[None], atoms, k).toarray()[0]
        else:
            found = basis_pursuit(atoms, x) if method == "basis pursuit" else hard_thresholding(atoms, x, k)
        np.testing.assert_allclose(found, code, atol=1e-6)  # tolerance of the programme

    check()
    assert np.mean(held) >= 0.2


def test_pursuit_fails_on_a_code_where_its_isometry_constant_is_above_the_threshold():
    # Mo (2015) shows sharpness without unit rows; with them the simplex of odd d fails at k = (d+1)/2 by a tie.
    d = 3
    order, limit = isometry_threshold("omp", 2)
    assert restricted_isometry(simplex(d), order) == pytest.approx(2 / 3) and limit < 2 / 3
    code = np.array([1.0, 1.0, 0.0, 0.0])
    scores = np.abs(simplex(d) @ (code @ simplex(d)))
    assert scores[:2].max() <= scores[2:].max() + 1e-12  # no rule of the largest score can tell


def test_the_null_space_constant_of_the_simplex_is_the_share_of_the_atoms():
    for d, k in ((3, 1), (3, 2), (5, 2), (6, 3)):  # the only null vector is constant
        assert null_space_constant(simplex(d), k) == pytest.approx(k / (d + 1), abs=1e-9)
    assert null_space_constant(np.eye(4), 2) == pytest.approx(0, abs=1e-9)


def test_basis_pursuit_recovers_every_code_exactly_below_one_half():
    rng = np.random.default_rng(2)
    fates = []
    for atoms in [simplex(6), *(perturbed(simplex(6), wobble, rng) for wobble in (0.1, 0.4, 0.8, 1.2))]:
        constant = null_space_constant(atoms, 2)
        worst = True
        for support in map(list, combinations(range(7), 2)):
            for signs in ((1.0, 1.0), (1.0, -1.0)):
                code = np.zeros(7)
                code[support] = signs
                worst &= np.allclose(basis_pursuit(atoms, code @ atoms), code, atol=1e-6)
        assert worst == (constant < 0.5)
        fates.append(worst)
    assert set(fates) == {True, False}


def test_in_noise_the_pursuit_finds_the_support_and_both_methods_keep_their_error_bounds():
    held, ratios = [], []

    @settings(max_examples=35)
    @given(seeds, st.sampled_from(sorted(LARGE)), st.integers(1, 3), st.floats(0.01, 0.3))
    def check(seed, name, k, size):
        rng = np.random.default_rng(seed)
        atoms, mu = LARGE[name], coherence(LARGE[name])
        noise = rng.standard_normal(atoms.shape[1])
        noise *= size / np.linalg.norm(noise)
        code = draw_code(rng, len(atoms), k)
        x = code @ atoms + noise
        premise = (2 * k - 1) * mu < 1
        if premise:
            code *= 1.0001 * stable_amplitude(mu, k, size) / np.abs(code[code != 0]).min()
            x = code @ atoms + noise
            # Stopped by the residual and not by the count: one step more is allowed and must not be taken.
            found = orthogonal_matching_pursuit(
                x[None], atoms, k + 1, tolerance=min(1.0, size * (1 + 1e-6) / np.linalg.norm(x))
            ).toarray()[0]
            assert np.array_equal(np.flatnonzero(found), np.flatnonzero(code))
            ratios.append(np.square(found - code).sum() / support_error_bound(mu, k, size))
        if (4 * k - 1) * mu < 1:
            penalty = 1.5 * size
            found = Lasso(penalty, tolerance=1e-13).encode(x[None], atoms).toarray()[0]
            tolerance = np.linalg.norm(x - found @ atoms)
            if tolerance >= size:  # the lasso is then basis pursuit denoising at this tolerance
                bound = denoising_error_bound(mu, k, size, tolerance)
                assert np.square(found - code).sum() <= bound * (1 + 1e-6)
        held.append(premise)
        event(f"premise: {premise}")

    check()
    assert np.mean(held) >= 0.2
    assert max(ratios) <= 1 + 1e-9


def test_the_two_published_forms_of_the_noise_condition_are_one():
    for mu, k, noise in ((0.05, 3, 0.1), (0.02, 10, 1.0)):
        least = stable_amplitude(mu, k, noise)
        assert k == pytest.approx((1 + 1 / mu) / 2 - noise / (mu * least))
    assert stable_amplitude(0.1, 3, 0.0) == 0.0
    assert support_error_bound(0.3, 1, 0.5) == 0.25


def test_noise_along_the_weakest_direction_of_a_support_attains_its_error_bound():
    atoms, k = simplex(12), 4
    weakest = atoms[:k].sum(axis=0)  # the eigenvector of the least eigenvalue 1 - (k-1)/d
    noise = 0.3 * weakest / np.linalg.norm(weakest)
    error = np.linalg.lstsq(atoms[:k].T, noise, rcond=None)[0]
    assert np.square(error).sum() == pytest.approx(support_error_bound(1 / 12, k, 0.3), rel=1e-9)


def test_below_the_amplitude_a_sample_exists_on_which_the_pursuit_errs():
    # One atom, noise along the difference to another: the scores tie at s = 2 noise / (1 - mu) (1 - mu)^{1/2} / sqrt 2.
    d = 4
    atoms = simplex(d)
    gap = -atoms[1] - atoms[0]  # |score| of atom 1 is minus its score
    noise = 0.1 * gap / np.linalg.norm(gap)
    tie = 0.1 * np.sqrt(2 * (1 - 1 / d)) / (1 - 1 / d)
    assert tie < stable_amplitude(1 / d, 1, 0.1)
    for scale, correct in ((1.01, True), (0.99, False)):
        x = scale * tie * atoms[0] + noise
        assert (orthogonal_matching_pursuit(x[None], atoms, 1).indices[0] == 0) == correct


@settings(max_examples=100)
@given(seeds, st.sampled_from(sorted(LARGE)), st.integers(1, 5), st.floats(0, 0.01))
def test_the_norm_of_a_code_is_read_off_its_sample(seed, name, k, wobble):
    rng = np.random.default_rng(seed)
    atoms = perturbed(LARGE[name], wobble, rng)
    mu = coherence(atoms)
    event(f"premise: {(k - 1) * mu < 1}")
    if (k - 1) * mu < 1:
        code = draw_code(rng, len(atoms), k)
        for leak in (mu, babel(atoms)[k - 2] / (k - 1) if k > 1 else mu):
            low, high = code_norm_interval(np.square(code @ atoms).sum(), leak, k)
            assert low * (1 - 1e-12) <= np.square(code).sum() <= high * (1 + 1e-12)


def test_the_premise_of_the_norm_interval_holds_on_most_of_its_draws():
    assert sum((k - 1) * coherence(a) < 1 for a in LARGE.values() for k in range(1, 6)) >= 0.8 * 5 * len(LARGE)


def test_the_simplex_attains_both_ends_of_the_norm_interval():
    atoms = simplex(9)
    code = np.r_[np.ones(4), np.zeros(6)]
    assert code_norm_interval(np.square(code @ atoms).sum(), 1 / 9, 4)[1] == pytest.approx(4)
    code = np.r_[1.0, -1.0, np.zeros(8)]
    assert code_norm_interval(np.square(code @ atoms).sum(), 1 / 9, 2)[0] == pytest.approx(2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: restricted_isometry(np.eye(3), 0),
        lambda: restricted_isometry(identity_hadamard(64), 5),
        lambda: restricted_isometry_bounds(np.eye(3), 4, rng=np.random.default_rng(0)),
        lambda: restricted_isometry_bounds(np.eye(3), 2, rng=np.random.default_rng(0), draws=0),
        lambda: isometry_threshold("lasso", 2),
        lambda: isometry_threshold("omp", 0),
        lambda: null_space_constant(identity_hadamard(16), 4),
        lambda: stable_amplitude(0.5, 2, 0.1),
        lambda: stable_amplitude(0.1, 1, -0.1),
        lambda: stable_amplitude(0.1, 1, math.nan),
        lambda: support_error_bound(0.5, 3, 0.1),
        lambda: denoising_error_bound(0.3, 2, 0.1, 0.2),
        lambda: denoising_error_bound(0.1, 1, 0.2, 0.1),
        lambda: code_norm_interval(1.0, 0.5, 3),
        lambda: code_norm_interval(-1.0, 0.1, 3),
    ],
)
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


def test_norms_deviate_as_the_enumeration_of_all_codes_says():
    rng = np.random.default_rng(5)
    atoms = rng.standard_normal((6, 4))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    mean_square = float((np.square(atoms @ atoms.T).sum() - 6) / 30)
    for k in range(1, 7):
        ratios = [
            np.square(np.array(signs) @ atoms[list(support)]).sum() / k - 1.0
            for support in combinations(range(6), k)
            for signs in product((-1.0, 1.0), repeat=k)
        ]
        # the smallest sum of squares is rounding, hence atol
        assert norm_deviation(mean_square, k) == pytest.approx(
            np.sqrt(np.mean(np.square(ratios))), rel=1e-12, abs=1e-12
        )
    with pytest.raises(ValueError, match="mean_square must lie"):
        norm_deviation(1.5, 2)
