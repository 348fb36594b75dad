"""Weak thresholds agree with each other, with exact finite-size formulas and with linear programmes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize_scalar, nnls
from scipy.stats import binom, norm

from theory.phase import (
    all_or_nothing_threshold,
    constraint_dimension,
    constraint_threshold,
    descent_dimension_bounds,
    lasso_support_threshold,
    minimax_threshold,
    parametric_threshold,
    soft_energy,
    statistical_dimension,
    success_band,
    weak_threshold,
)

densities = st.floats(1e-6, 1 - 1e-6)
signs = st.booleans()

# delta, rho for signed codes, for non-negative codes, for constraints alone
WEAK = [
    (0.01, 0.10687762024324227, 0.12336939025420796, 0), (0.05, 0.15436052314567414, 0.18885473217250953, 0),
    (0.1, 0.18942936775967403, 0.24097589618635473, 0), (0.2, 0.243300964385935, 0.32585962321647555, 0),
    (0.25, 0.26738355240775724, 0.3650891595610119, 0), (0.3, 0.29078436824677595, 0.4036005388559587, 0),
    (0.4, 0.3373259864761472, 0.4802824164022736, 0), (0.5, 0.3856896661818587, 0.5582276913141736, 0),
    (0.6, 0.43839054346934814, 0.6386930871874408, 1 / 3), (0.7, 0.49884275247700316, 0.7225125830052473, 4 / 7),
    (0.8, 0.5733133173884626, 0.8103222402959457, 0.75), (0.9, 0.6781693781345113, 0.902657232687375, 8 / 9),
    (0.99, 0.8837148650833543, 0.9900272492540763, 98 / 99),
]  # fmt: skip


def l1_recovers(rng, n, d, k, non_negative=False):
    """Minimise ||s||_1 under Gaussian measurements of a code of k entries +-1 (or +1), by a linear programme."""
    code = np.zeros(n)
    code[:k] = 1.0 if non_negative else rng.choice([-1.0, 1.0], k)
    atoms = rng.standard_normal((n, d))
    signed = [atoms.T] if non_negative else [atoms.T, -atoms.T]
    columns = np.concatenate(signed, axis=1)
    answer = linprog(np.ones(columns.shape[1]), A_eq=columns, b_eq=code @ atoms, bounds=(0, None), method="highs")
    found = answer.x if non_negative else answer.x[:n] - answer.x[n:]
    return np.abs(found - code).max() < 1e-5  # far above the solver's 1e-7, far below the entries


@pytest.mark.parametrize(("delta", "signed", "positive", "box"), WEAK)
def test_the_weak_thresholds_have_their_reference_values(delta, signed, positive, box):
    assert weak_threshold(delta) == pytest.approx(signed, abs=2e-11)  # what the reference's forms agree to
    assert weak_threshold(delta, non_negative=True) == pytest.approx(positive, abs=2e-11)
    assert constraint_threshold(delta) == pytest.approx(box, abs=1e-14)


@pytest.mark.parametrize(("n", "k", "signed", "positive"), [
    (100, 10, 32.87935054536298, 26.530432476290045), (256, 16, 61.07688593317609, 49.77816492878879),
    (1000, 50, 203.89985632964007, 167.0818736743538), (4096, 32, 206.77053480357938, 177.27109219497675),
    (24576, 64, 513.5849067055249, 449.9705388669711),
])  # fmt: skip
def test_the_measurements_needed_have_their_reference_values(n, k, signed, positive):
    assert n * statistical_dimension(k / n) == pytest.approx(signed, rel=1e-11)
    assert n * statistical_dimension(k / n, non_negative=True) == pytest.approx(positive, rel=1e-11)


@pytest.mark.parametrize(("eps", "signed", "positive"), [
    (.001, .00946, .00842), (.005, .03542, .03066), (.01, .06124, .05222), (.02, .10418, .08737), (.05, .2039, .16708),
    (.1, .32879, .2653), (.2, .51113, .4099), (.3, .64557, .52149), (.4, .74974, .61467), (.5, .8313, .69563),
])  # fmt: skip
def test_the_threshold_of_l1_has_its_reference_values(eps, signed, positive):
    assert statistical_dimension(eps) == pytest.approx(signed, abs=5.1e-6)  # rounded to five digits
    assert statistical_dimension(eps, non_negative=True) == pytest.approx(positive, abs=5.1e-6)


@given(st.floats(1e-4, 0.999), signs)
def test_three_forms_of_the_weak_threshold_agree(delta, non_negative):
    rho = float(weak_threshold(delta, non_negative=non_negative))
    # as a root of the statistical dimension, whose minimum is taken here by a search
    eps = rho * delta

    def objective(z):
        return eps * (1 + z * z) + (1 - eps) * float(soft_energy(z, non_negative=non_negative))

    lowest = minimize_scalar(objective, bounds=(0, 10), method="bounded", options={"xatol": 1e-9}).fun
    assert lowest == pytest.approx(delta, abs=1e-12)  # a minimum is flat
    assert statistical_dimension(eps, non_negative=non_negative) == pytest.approx(delta, abs=1e-12)
    # as the largest of Donoho, Maleki and Montanari's rho(z)

    def maximin(z):
        noise = float(soft_energy(z, non_negative=non_negative))
        return -(1 - noise / delta) / (1 + z * z - noise)

    best = minimize_scalar(maximin, bounds=(0, 10), method="bounded", options={"xatol": 1e-9})
    assert -best.fun == pytest.approx(rho, abs=1e-11)
    # on the parametric curve, at the minimax threshold
    point = parametric_threshold(minimax_threshold(eps, non_negative=non_negative), non_negative=non_negative)
    assert point == (pytest.approx(delta, rel=1e-9), pytest.approx(rho, rel=1e-9))


@given(st.floats(0, 8), signs)
def test_soft_energy_is_the_integral_it_stands_for(z, non_negative):
    x, h = np.linspace(z, z + 12, 20_001, retstep=True)
    trapezoid = h * (((x - z) ** 2) * norm.pdf(x)).sum()
    expected = trapezoid * (1 if non_negative else 2)
    # the rule errs by h^2 phi(z) / 6 at the end where the slope is not smooth; cancellation of z^4 times rounding
    assert soft_energy(z, non_negative=non_negative) == pytest.approx(expected, rel=1e-9, abs=1e-7 * norm.pdf(z))


@given(densities, densities)
def test_more_active_entries_take_more_measurements_and_signs_save_some(one, other):
    low, high = sorted((one, other))
    psi = statistical_dimension(np.array([low, high]))
    positive = statistical_dimension(np.array([low, high]), non_negative=True)
    assert psi[0] <= psi[1] and positive[0] <= positive[1]
    assert np.all(np.array([low, high]) < positive) and np.all(positive < psi + 1e-15) and np.all(psi <= 1)
    assert np.all(positive < constraint_dimension(np.array([low, high])))
    rho = weak_threshold(one), weak_threshold(one, non_negative=True), constraint_threshold(one)
    assert 0 < rho[0] < rho[1] < 1
    assert rho[2] <= rho[1]


def test_the_ends_are_no_measurements_for_nothing_and_all_for_a_dense_code():
    for non_negative in (False, True):
        np.testing.assert_array_equal(statistical_dimension([0.0, 1.0], non_negative=non_negative), [0, 1])
        assert minimax_threshold(1.0, non_negative=non_negative) == 0
        assert minimax_threshold(0.0, non_negative=non_negative) == np.inf
        # 2 eps ln(1/eps) is the leading term; what follows is smaller by ln ln(1/eps) / ln(1/eps)
        ratio = statistical_dimension(1e-200, non_negative=non_negative) / (2e-200 * math.log(1e200))
        assert 0.95 < ratio < 1.0


def test_a_phase_diagram_is_one_call():
    delta, rho = np.meshgrid(np.linspace(0.01, 0.99, 100), np.linspace(0.01, 0.99, 100))
    below = rho < weak_threshold(delta)
    np.testing.assert_array_equal(below, statistical_dimension(rho * delta) < delta)
    assert 0.3 < below.mean() < 0.5


@pytest.mark.parametrize(("n", "k"), [(401, 40), (401, 200), (1001, 10)])
def test_constraints_alone_turn_at_their_statistical_dimension(n, k):
    # P(unique) = P(Binomial(n-k-1, 1/2) >= n-d), Donoho and Tanner's exact count of the faces of an orthant.
    d = n * float(constraint_dimension(k / n))
    before, after = (1 - binom.cdf(n - round(x) - 1, n - k - 1, 0.5) for x in (d - 1.5, d + 1.5))
    assert before < 0.5 < after
    assert binom.cdf(n - round(d + 3 * math.sqrt(n)) - 1, n - k - 1, 0.5) < 1e-6


def test_non_negative_least_squares_turns_where_constraints_alone_do():
    rng, n, d = np.random.default_rng(0), 60, 42  # rho = 2 - 1/delta, k = 24

    def recovered(k):
        done = 0
        for _ in range(40):
            atoms, code = rng.standard_normal((n, d)), np.concatenate([1 + rng.random(k), np.zeros(n - k)])
            done += np.abs(nnls(atoms.T, code @ atoms)[0] - code).max() < 1e-6
        return done

    k50 = d * float(constraint_threshold(d / n))
    assert k50 == pytest.approx(24)
    for k in (14, 24, 34):
        exact = 1 - binom.cdf(n - d - 1, n - k - 1, 0.5)  # 0.93, 0.5, 0.02
        done = recovered(k)
        assert binom.cdf(done, 40, exact) > 1e-6 and binom.sf(done - 1, 40, exact) > 1e-6


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize(("n", "k"), [(60, 6), (60, 30), (400, 10)])
def test_the_statistical_dimension_of_the_descent_cone_lies_in_its_bounds(n, k, non_negative):
    rng = np.random.default_rng(0)
    g = rng.standard_normal((1000, n))
    rest = g[:, k:] if non_negative else np.abs(g[:, k:])
    low, high = np.zeros(1000), np.full(1000, 10.0)

    def distance(t):
        return ((g[:, :k] - t[:, None]) ** 2).sum(axis=1) + (np.maximum(rest - t[:, None], 0) ** 2).sum(axis=1)

    for _ in range(60):  # ternary search of a convex function
        third = (high - low) / 3
        left = distance(low + third) < distance(high - third)
        low, high = np.where(left, low, low + third), np.where(left, high - third, high)
    least = distance((low + high) / 2)
    error = least.std(ddof=1) / math.sqrt(1000)
    bounds = descent_dimension_bounds(n, k, non_negative=non_negative)
    assert bounds[0] - 5 * error < least.mean() < bounds[1] + 5 * error  # alpha = 6e-7
    assert bounds[1] - bounds[0] < 2 * math.sqrt(n / k)  # the published gap


@pytest.mark.parametrize(("k", "side"), [(3, "above"), (60, "below")])
def test_outside_the_band_l1_succeeds_or_fails_as_promised(k, side):
    rng, n, failure = np.random.default_rng(1), 100, 0.5
    low, high = success_band(n, k, failure)
    d = math.ceil(high) if side == "above" else math.floor(low)
    assert 1 < d < n  # not vacuous
    good = sum(l1_recovers(rng, n, d, k) for _ in range(25))
    bad = 25 - good if side == "above" else good
    assert binom.sf(bad - 1, 25, failure) > 1e-6  # no evidence for more than the promised failures


def test_at_the_statistical_dimension_itself_neither_success_nor_failure_is_sure():
    rng, n, k = np.random.default_rng(2), 100, 15
    d = round(n * float(statistical_dimension(k / n)))
    good = sum(l1_recovers(rng, n, d, k) for _ in range(40))
    assert 4 < good < 36  # P = 1/2: alpha = 1e-7


@pytest.mark.parametrize(("non_negative", "before", "after"), [(False, 15, 24), (True, 23, 33)])
def test_linear_programmes_turn_at_the_weak_threshold(non_negative, before, after):
    rng, n, d = np.random.default_rng(3), 100, 50
    k50 = d * float(weak_threshold(d / n, non_negative=non_negative))
    assert before + 2 < k50 < after - 2
    assert sum(l1_recovers(rng, n, d, before, non_negative) for _ in range(30)) > 20
    assert sum(l1_recovers(rng, n, d, after, non_negative) for _ in range(30)) < 10


def test_the_all_or_nothing_threshold_has_its_reference_values():
    assert all_or_nothing_threshold(4096, 32, 1.0) == pytest.approx(88.8, abs=0.05)
    assert lasso_support_threshold(4096, 32, 1.0) == pytest.approx(540.7, abs=0.05)
    assert all_or_nothing_threshold(24576, 64, 1.0) == pytest.approx(182.5, abs=0.05)
    assert lasso_support_threshold(24576, 64, 1.0) == pytest.approx(1304, abs=0.5)


@given(st.integers(1, 50), st.integers(100, 10**6), st.floats(0.01, 10))
def test_at_the_all_or_nothing_threshold_the_channel_just_carries_the_support(k, n, noise):
    measurements = all_or_nothing_threshold(n, k, noise)
    carried = 0.5 * measurements * math.log1p(k / noise)
    needed = math.log(math.comb(n, k))
    assert carried <= needed * (1 + 1e-12)  # (n/k)^k <= C(n, k) <= (e n / k)^k
    assert needed <= carried * (1 + 1 / math.log(n / k)) * (1 + 1e-12)
    assert measurements < all_or_nothing_threshold(n, k, 2 * noise)


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("n", [1, 7, 100])
def test_the_bounds_of_a_dense_code_and_the_width_of_the_band_are_known_numbers(n, non_negative):
    # At k = n the slope at t = 0 is -2 sum g, of variance 4 n: a gap of 4 n / (4 n) below n.
    low, high = descent_dimension_bounds(n, n, non_negative=non_negative)
    assert (low, high) == pytest.approx((n - 1, n), abs=1e-12)
    band = success_band(n, n, 4 / math.e**2, non_negative=non_negative)  # ln(4 / failure) = 2
    assert band == pytest.approx((low - 4 * math.sqrt(n), high + 4 * math.sqrt(n)))


@pytest.mark.parametrize("call", [
    lambda: weak_threshold(0.0), lambda: weak_threshold(1.0), lambda: weak_threshold(np.nan),
    lambda: statistical_dimension(-0.1), lambda: statistical_dimension([0.5, 1.1]), lambda: constraint_threshold(1.0),
    lambda: constraint_dimension(2.0), lambda: parametric_threshold(-1.0), lambda: parametric_threshold(40.0),
    lambda: success_band(10, 0, 0.1), lambda: success_band(10, 11, 0.1), lambda: success_band(10, 5, 0.0),
    lambda: all_or_nothing_threshold(10, 10, 1.0), lambda: all_or_nothing_threshold(10, 2, 0.0),
    lambda: lasso_support_threshold(10, 0, 1.0), lambda: minimax_threshold(np.nan),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
