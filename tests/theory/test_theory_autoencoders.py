"""Two-layer autoencoders: the error of the sign against sampling, its limits, and when sparsity can be seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ortho_group

from theory.autoencoders import (
    activation_mse,
    hermite_coefficients,
    identity_beats_rotation,
    identity_sign_mse,
    near_identity_mse,
    rotation_mse,
    sign_autoencoder_mse,
    sparse_rotation_mse,
)
from theory.frames import identity_hadamard, paley_etf, simplex
from theory.water_filling import gaussian_distortion


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def tight_frame(n, d, rng):
    """Return n unit rows, nearly a tight frame: rescaled columns of a random rotation of R^n, normalised."""
    return unit(ortho_group.rvs(n, random_state=rng)[:, :d])


def sampled(x, codes):
    """Return the error per dimension of the best affine map from codes, and its standard error."""
    design = np.column_stack([codes, np.ones(len(codes))])
    error = ((x - design @ np.linalg.lstsq(design, x, rcond=None)[0]) ** 2).mean(axis=1)
    return error.mean(), error.std() / math.sqrt(len(x)) + error.mean() * design.shape[1] / len(x)


@pytest.mark.parametrize(("rate", "mse"), [
    (0.25, 0.8408450569081046), (0.5, 0.6816901138162093), (1.0, 0.3633802276324186), (1.5, 0.2756409789843284),
    (2.0, 0.22203094070331453), (3.0, 0.15985126973266395),
])  # fmt: skip
def test_the_limits_have_their_reference_values(rate, mse):
    assert rotation_mse(rate) == pytest.approx(mse, rel=1e-12)


@pytest.mark.parametrize("encoder", [simplex(5), paley_etf(6), identity_hadamard(4), np.eye(4)[:2]])
def test_the_error_of_the_sign_agrees_with_sampling(encoder):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100_000, encoder.shape[1]))
    mean, error = sampled(x, np.sign(x @ encoder.T))
    assert abs(mean - sign_autoencoder_mse(encoder)) < 4.9 * error  # alpha = 1e-6, and the optimism of the fit


@given(st.integers(1, 8), st.integers(1, 8), st.floats(-5.0, 0.5), st.integers(0, 2**32 - 1))
def test_below_one_bit_no_encoder_beats_orthonormal_rows(n, d, log_size, seed):
    n = min(n, d)
    rng = np.random.default_rng(seed)
    rows = ortho_group.rvs(d, random_state=rng)[:n] if d > 1 else np.ones((1, 1))
    assert sign_autoencoder_mse(rows) == pytest.approx(rotation_mse(n / d), abs=1e-12)
    moved = unit(rows + 10.0**log_size * rng.standard_normal((n, d)))
    assert sign_autoencoder_mse(moved) >= rotation_mse(n / d) - 1e-12


@given(
    st.integers(2, 8), st.floats(1.0, 4.0), st.sampled_from(["random", "tight", "simplex"]), st.integers(0, 2**32 - 1)
)
def test_above_one_bit_no_finite_encoder_was_seen_below_the_limit(d, rate, kind, seed):
    rng = np.random.default_rng(seed)
    n = max(d + 1, math.ceil(rate * d))
    rows = {"random": lambda: unit(rng.standard_normal((n, d))), "tight": lambda: tight_frame(n, d, rng),
            "simplex": lambda: simplex(d)}[kind]()  # fmt: skip
    event(kind)
    assert sign_autoencoder_mse(rows) > rotation_mse(len(rows) / d)


def test_an_optimised_encoder_stays_above_the_limit():
    rng = np.random.default_rng(0)
    d, n = 3, 5
    best = min(
        minimize(lambda flat: sign_autoencoder_mse(unit(flat.reshape(n, d))), rng.standard_normal(n * d)).fun
        for _ in range(3)
    )
    assert rotation_mse(n / d) < best < sign_autoencoder_mse(unit(rng.standard_normal((n, d))))


@pytest.mark.parametrize(("rate", "mse"), [(1.5, 0.27640), (2, 0.22324), (3, 0.16148)])
def test_tight_frames_approach_the_limit_above_one_bit(rate, mse):
    gaps = []
    for d in (30, 120):
        rng = np.random.default_rng(0)
        gaps.append(sign_autoencoder_mse(tight_frame(int(rate * d), d, rng)) - rotation_mse(rate))
    assert 0.0 < gaps[1] < gaps[0] / 2  # of order 1/d
    assert rotation_mse(rate) + gaps[1] == pytest.approx(mse, abs=5e-4)  # another draw of the frame gave these


@given(st.floats(0.01, 6.0))
def test_the_sign_is_a_code_and_so_never_below_the_rate_distortion_function(rate):
    assert rotation_mse(rate) >= gaussian_distortion([1.0], rate * math.log(2.0))


def test_equal_and_opposite_rows_repeat_a_bit():
    rows = np.eye(3)
    assert sign_autoencoder_mse(np.vstack([rows, -rows, rows])) == pytest.approx(rotation_mse(1.0), abs=1e-12)


def test_hermite_coefficients_have_their_closed_forms():
    sign = hermite_coefficients(np.sign, 3)
    assert sign == pytest.approx([0, math.sqrt(2 / math.pi), 0, -1 / math.sqrt(3 * math.pi)], abs=1e-9)
    relu = hermite_coefficients(lambda x: np.maximum(x, 0.0), 2)
    assert relu == pytest.approx([1 / math.sqrt(2 * math.pi), 0.5, 0.5 / math.sqrt(math.pi)], abs=1e-9)
    cube = hermite_coefficients(lambda x: x**3, 5)
    assert cube == pytest.approx([0, 3, 0, math.sqrt(6), 0, 0], abs=1e-8)


@pytest.mark.parametrize("activation", [np.tanh, lambda x: np.maximum(x, 0.0), lambda x: x + np.cos(x)])
def test_the_error_of_an_activation_agrees_with_sampling(activation):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((100_000, 4))
    rows = unit(rng.standard_normal((6, 4)))
    coefficients = hermite_coefficients(activation, 40)
    power = (hermite_coefficients(lambda z: activation(z) ** 2, 0) - coefficients[0] ** 2)[0]
    mean, error = sampled(x, activation(x @ rows.T))
    assert abs(mean - activation_mse(rows, coefficients, power)) < 4.9 * error


def test_the_hermite_series_of_the_sign_returns_the_arcsine():
    rows = simplex(4)
    series = activation_mse(rows, hermite_coefficients(np.sign, 60), 1.0)
    assert series == pytest.approx(sign_autoencoder_mse(rows), abs=1e-10)  # inner products -1/4 to the power 61


odd = st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=4)


@given(st.integers(1, 6), st.integers(1, 6), odd, st.floats(-5.0, 0.5), st.integers(0, 2**32 - 1))
def test_no_unit_rows_beat_orthonormal_ones_for_an_odd_activation(n, d, higher, log_size, seed):
    n = min(n, d)
    rng = np.random.default_rng(seed)
    coefficients = np.zeros(2 * len(higher) + 2)
    coefficients[1], coefficients[3::2] = 1.0, higher
    share = 1.0 / (coefficients**2).sum()
    rows = ortho_group.rvs(d, random_state=rng)[:n] if d > 1 else np.ones((1, 1))
    assert activation_mse(rows, coefficients) == pytest.approx(rotation_mse(n / d, share), abs=1e-12)
    moved = unit(rows + 10.0**log_size * rng.standard_normal((n, d)))
    assert activation_mse(moved, coefficients) >= rotation_mse(n / d, share) - 1e-10


def test_for_relu_antipodal_rows_beat_the_rotation():
    relu = hermite_coefficients(lambda x: np.maximum(x, 0.0), 60)
    power = 0.5 - 0.5 / math.pi
    # The control: x = ReLU(x) - ReLU(-x). What the series lacks, 1e-5 of the power, is left on the diagonal.
    pairs = np.vstack([np.eye(3), -np.eye(3)])
    assert activation_mse(pairs, relu) == pytest.approx(0.0, abs=1e-9)
    assert rotation_mse(2.0, relu[1] ** 2 / power) > 0.15


def test_a_linear_activation_loses_only_what_it_does_not_span():
    assert rotation_mse(0.4, 1.0) == pytest.approx(0.6)
    assert rotation_mse(1.7, 1.0) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("p", [0.2, 0.6, 0.65, 0.9])
def test_the_identity_wins_on_plus_minus_bernoulli_above_two_over_pi(p):
    assert identity_beats_rotation(math.sqrt(p)) == (p > 2 / math.pi)


@given(st.floats(1e-3, 1.0))
def test_the_identity_never_wins_on_bernoulli_gauss(p):
    assert not identity_beats_rotation(math.sqrt(2 * p / math.pi) * (1 - 1e-12))


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_the_error_of_the_identity_agrees_with_sampling(p):
    rng = np.random.default_rng(2)
    x = (rng.random((200_000, 2)) < p) * rng.choice([-1.0, 1.0], (200_000, 2)) / math.sqrt(p)
    coin = np.where(x == 0, rng.choice([-1.0, 1.0], x.shape), np.sign(x))
    mean, error = sampled(x, coin)
    assert abs(mean - identity_sign_mse(1.0, math.sqrt(p))) < 4.9 * error
    assert sampled(x, np.sign(x))[0] == pytest.approx(0.0, abs=1e-12)
    assert identity_sign_mse(1.0, math.sqrt(p), p) == pytest.approx(0.0, abs=1e-12)


def test_a_rotation_makes_sparse_data_gaussian():
    # Excess kurtosis of a coordinate after rotation is about 3 (1/p - 1) / d: the error of the sign moves by as much.
    rng = np.random.default_rng(3)
    d, p = 100, 0.5
    x = (rng.random((20_000, d)) < p) * rng.choice([-1.0, 1.0], (20_000, d)) / math.sqrt(p)
    mean, error = sampled(x, np.sign(x @ ortho_group.rvs(d, random_state=rng).T))
    assert abs(mean - rotation_mse(1.0)) < 4.9 * error + 3 * (1 / p - 1) / d


@pytest.mark.parametrize("call", [
    lambda: sign_autoencoder_mse(2 * np.eye(2)), lambda: sign_autoencoder_mse(np.ones(3)), lambda: rotation_mse(0.0),
    lambda: rotation_mse(1.0, 0.0), lambda: rotation_mse(1.0, 1.1), lambda: identity_sign_mse(1.1, 0.5),
    lambda: identity_sign_mse(1.0, 1.1), lambda: identity_sign_mse(1.0, 0.9, 0.5), lambda: identity_sign_mse(1.0, 0.0),
    lambda: hermite_coefficients(np.sign, -1), lambda: hermite_coefficients(lambda x: 1 / (x - x), 2),
    lambda: activation_mse(np.eye(2), [1.0, 0.0]), lambda: activation_mse(np.eye(2), [0.0, 1.0], 0.5),
    lambda: hermite_coefficients(lambda x: 1.0, 2),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize(
    ("rows", "density", "signs"),
    [("even", 0.3, False), ("even", 0.2, False), ("random", 0.3, False), ("random", 0.6, True), ("random", 1.0, True)],
)
def test_sparse_data_cost_a_rotation_their_kurtosis_over_the_size(rows, density, signs):
    n, d, rng = 60_000, 32, np.random.default_rng(3)
    encoder = identity_hadamard(d)[d:] if rows == "even" else ortho_group.rvs(d, random_state=rng)
    values = rng.choice([-1.0, 1.0], (n, d)) if signs else rng.standard_normal((n, d))
    x = values * (rng.random((n, d)) < density) / math.sqrt(density)
    excess, fourth = (1.0 if signs else 3.0) / density - 3.0, float((encoder**4).sum(axis=1).mean())
    mean, error = sampled(x, np.sign(x @ encoder.T + 1e-12 * rng.standard_normal((n, d))))
    expected = sparse_rotation_mse(1.0, excess, fourth)
    # second order in kurtosis: twice the square of the first-order term, which is at most 0.05 of 2/pi here
    assert abs(mean - expected) < 4.9 * error + 2 * (excess * fourth / 12) ** 2
    if rows == "even":
        assert fourth == pytest.approx(1 / d)
    assert abs(mean - rotation_mse(1.0)) > 5 * error  # the term of first order is seen


def test_a_rotation_of_normal_data_has_no_first_order_term():
    assert sparse_rotation_mse(0.5, 0.0, 0.7) == rotation_mse(0.5)
    assert sparse_rotation_mse(1.0, 3.0, 0.1) > rotation_mse(1.0) > sparse_rotation_mse(1.0, -2.0, 0.1)
    for rate, excess, fourth in ((1.5, 0.0, 0.5), (0.5, -3.0, 0.5), (0.5, 0.0, 1.5)):
        with pytest.raises(ValueError, match=r"rate must|needs excess"):
            sparse_rotation_mse(rate, excess, fourth)


@pytest.mark.parametrize("density", [0.5, 0.7, 0.9])
def test_ties_that_tell_of_other_features_lower_the_error_of_reading_each(density):
    n, d, rng = 60_000, 64, np.random.default_rng(5)
    x = rng.choice([-1.0, 1.0], (n, d)) * (rng.random((n, d)) < density) / math.sqrt(density)
    turn = ortho_group.rvs(d, random_state=rng)
    skew = turn @ np.kron(np.eye(d // 2), [[0.0, 1.0], [-1.0, 0.0]]) @ turn.T  # orthogonal, skew, no diagonal
    other = turn @ np.diag(np.repeat([1.0, -1.0], d // 2)) @ turn.T  # orthogonal and symmetric, trace zero
    other -= np.diag(np.diag(other))
    found = {}
    for name, ties in (("skew", skew), ("symmetric", other)):
        found[name] = sampled(x, np.sign(x @ (np.eye(d) + 1e-6 * ties).T))
    mean, error = found["skew"]
    # a sum of (1-p) d features is normal up to its kurtosis: a relative error of excess 3/(d+2)/12 of the ties' share
    finite = 2 / math.pi * (1 - density) ** 2 * (abs(1 / density - 3) * 3 / (d + 2) / 12 + 4 / d)
    assert abs(mean - near_identity_mse(density)) < 4.9 * error + finite
    assert mean < identity_sign_mse(1.0, math.sqrt(density)) - 5 * error
    assert found["symmetric"][0] > mean


def test_reading_features_with_telling_ties_beats_a_rotation_from_a_density_of_0_429_on():
    # 1 - p - (2/pi)(1-p)^2 = 1 - 2/pi is a quadratic in 1 - p
    critical = 1.0 - (1.0 - math.sqrt(1.0 - 8.0 / math.pi * (1.0 - 2.0 / math.pi))) * math.pi / 4.0
    assert critical == pytest.approx(0.4292, abs=1e-4)
    assert near_identity_mse(critical) == pytest.approx(rotation_mse(1.0), abs=1e-12)
    with pytest.raises(ValueError, match="density"):
        near_identity_mse(0.0)
