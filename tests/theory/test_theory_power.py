"""Power of a paired difference, exact binomial intervals, Holm's procedure."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from scipy import stats

from theory.power import (
    clopper_pearson,
    half_width,
    holm,
    minimum_detectable_difference,
    paired_p_value,
    paired_power,
    seeds_for_difference,
    unpaired_power,
)

effects = st.floats(0.01, 5.0)
deviations = st.floats(0.05, 20.0)


def test_power_agrees_with_published_sample_sizes():
    # One-sample t test, two-sided at 0.05 with power 0.8: 34 samples at d = 0.5 and 15 at d = 0.8, as tables give them.
    assert seeds_for_difference(0.5, 1.0) == 34
    assert seeds_for_difference(0.8, 1.0) == 15


def test_power_agrees_with_simulation_within_its_standard_error():
    rng = np.random.default_rng(0)
    for effect, sd, n in ((0.02, 0.02, 5), (0.5, 1.0, 10), (1.0, 0.6, 3)):
        draws = rng.normal(effect, sd, (40_000, n))
        t = draws.mean(1) / (draws.std(1, ddof=1) / math.sqrt(n))
        found = (np.abs(t) > stats.t.ppf(0.975, n - 1)).mean()
        predicted = paired_power(effect, sd, n)
        assert abs(found - predicted) < 5 * math.sqrt(predicted * (1 - predicted) / 40_000)  # one in 10^6 by chance


def test_power_of_no_effect_is_alpha_and_tends_to_one():
    assert paired_power(0.0, 1.0, 7, 0.03) == pytest.approx(0.03, abs=1e-12)
    assert paired_power(1e-9, 1.0, 7, 0.03) == pytest.approx(0.03, abs=1e-9)  # continuous at zero
    assert paired_power(50.0, 1.0, 10) == pytest.approx(1.0, abs=1e-12)
    assert paired_power(1e6, 1.0, 1000) == 1.0


def test_power_agrees_with_the_noncentral_t_law_of_scipy():
    for shift, n, alpha in itertools.product((0.1, 0.7, 2.0), (2, 5, 30, 400), (0.001, 0.05)):
        critical = stats.t.ppf(1 - alpha / 2, n - 1)
        law = stats.nct(n - 1, shift * math.sqrt(n))
        reference = law.sf(critical) + law.cdf(-critical)
        if np.isfinite(reference):  # its series fails for some
            assert paired_power(shift, 1.0, n, alpha) == pytest.approx(reference, abs=1e-9)


def test_unpaired_power_agrees_with_published_sample_sizes_and_the_noncentral_t_law_of_scipy():
    # Two-sample t test, two-sided at 0.05 with power 0.8: 64 a group at d = 0.5 and 26 at d = 0.8, as tables give them.
    for effect, n in ((0.5, 64), (0.8, 26)):
        assert unpaired_power(effect, 1.0, n) >= 0.8 > unpaired_power(effect, 1.0, n - 1)
    for shift, n, alpha in itertools.product((0.3, 1.5), (2, 8, 50), (0.001, 0.05)):
        critical = stats.t.ppf(1 - alpha / 2, 2 * n - 2)
        law = stats.nct(2 * n - 2, shift * math.sqrt(n / 2))
        reference = law.sf(critical) + law.cdf(-critical)
        if np.isfinite(reference):
            assert unpaired_power(shift, 1.0, n, alpha) == pytest.approx(reference, abs=1e-9)


def test_unpaired_power_agrees_with_simulation_within_its_standard_error():
    rng = np.random.default_rng(1)
    for effect, sd, n in ((0.03, 0.02, 5), (1.5, 1.0, 8)):
        first, second = rng.normal(effect, sd, (40_000, n)), rng.normal(0.0, sd, (40_000, n))
        found = (stats.ttest_ind(first, second, axis=1).pvalue < 0.05).mean()
        predicted = unpaired_power(effect, sd, n)
        assert abs(found - predicted) < 5 * math.sqrt(predicted * (1 - predicted) / 40_000)  # one in 10^6 by chance


def test_the_unpaired_difference_is_the_inverse_of_its_power_and_that_of_uncorrelated_pairs_at_many():
    for n in (2, 5, 40):
        least = minimum_detectable_difference(0.3, n, 0.7, paired=False)
        assert unpaired_power(least, 0.3, n) == pytest.approx(0.7, abs=1e-9)
    # Uncorrelated pairs differ by sqrt(2) sd; they lose n - 1 degrees of freedom, which no longer matters at many.
    paired = minimum_detectable_difference(math.sqrt(2.0), 5)
    assert minimum_detectable_difference(1.0, 5, paired=False) < paired
    many = minimum_detectable_difference(math.sqrt(2.0), 20_000)
    assert minimum_detectable_difference(1.0, 20_000, paired=False) == pytest.approx(many, rel=1e-4)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        unpaired_power(1.0, 1.0, 1)
    with pytest.raises(ValueError, match="finite"):
        unpaired_power(math.inf, 1.0, 3)


def test_the_normal_limit_of_power():
    n, effect = 20_000, 0.02
    critical, shift = stats.norm.ppf(0.975), effect * math.sqrt(n)
    normal = stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift)
    assert paired_power(effect, 1.0, n) == pytest.approx(normal, abs=1e-4)  # the t law differs by O(1/n) = 5e-5


@given(effects, deviations, st.integers(2, 200), st.sampled_from([0.001, 0.05, 0.2]))
def test_power_grows_with_effect_and_seeds_and_falls_with_comparisons(effect, sd, n, alpha):
    power = paired_power(effect, sd, n, alpha)
    slack = 1e-9  # the noncentral series is accurate to about 1e-12
    assert power >= alpha - slack
    assert paired_power(-effect, sd, n, alpha) == power
    assert paired_power(1.5 * effect, sd, n, alpha) >= power - slack
    assert paired_power(effect, sd, n + 1, alpha) >= power - slack
    assert paired_power(effect, sd, n, alpha, comparisons=5) <= power + slack
    assert paired_power(3 * effect, 3 * sd, n, alpha) == pytest.approx(power, abs=1e-9)  # scale


@given(st.floats(0.2, 3.0), st.sampled_from([0.5, 0.8, 0.95]), st.integers(1, 20))
def test_the_seeds_returned_are_enough_and_one_fewer_is_not(effect, power, comparisons):
    n = seeds_for_difference(effect, 1.0, power, comparisons=comparisons)
    assert paired_power(effect, 1.0, n, comparisons=comparisons) >= power
    event("more than the least possible number" if n > 2 else "two seeds are enough")
    if n > 2:
        assert paired_power(effect, 1.0, n - 1, comparisons=comparisons) < power


@given(deviations, st.integers(2, 60), st.sampled_from([0.5, 0.8, 0.99]))
def test_the_minimum_detectable_difference_has_the_power_asked_for(sd, n, power):
    assert paired_power(minimum_detectable_difference(sd, n, power), sd, n) == pytest.approx(power, abs=1e-8)


@pytest.mark.parametrize(("n", "p"), list(itertools.product((1, 2, 5, 20), (0.0, 0.01, 0.3, 0.5, 0.97, 1.0))))
def test_clopper_pearson_covers_at_least_as_often_as_it_says(n, p):
    mass = stats.binom.pmf(np.arange(n + 1), n, p)
    covered = [low <= p <= high for low, high in (clopper_pearson(s, n, 0.1) for s in range(n + 1))]
    assert mass[covered].sum() >= 0.9 - 1e-12  # rounding of the mass


def test_clopper_pearson_is_tight_somewhere_and_a_normal_interval_does_not_cover():
    n = 10
    grid = np.linspace(0.001, 0.999, 4000)
    exact, normal = [], []
    for p in grid:
        mass = stats.binom.pmf(np.arange(n + 1), n, p)
        exact.append(sum(mass[s] for s in range(n + 1) if np.prod(np.subtract(clopper_pearson(s, n, 0.1), p)) <= 0))
        half = 1.645 * np.sqrt(np.arange(n + 1) / n * (1 - np.arange(n + 1) / n) / n)
        normal.append(mass[np.abs(np.arange(n + 1) / n - p) <= half].sum())
    assert 0.9 - 1e-9 <= min(exact) < 0.93  # near 0.9 at some p: the interval cannot be shortened much
    assert min(normal) < 0.5  # the control: Wald's interval fails badly near 0 and 1


def test_clopper_pearson_agrees_with_scipy():
    for s, n in ((0, 7), (3, 7), (7, 7), (190, 1000)):
        reference = stats.binomtest(s, n).proportion_ci(0.95, method="exact")
        assert clopper_pearson(s, n) == pytest.approx((reference.low, reference.high), abs=1e-10)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_exactly_what_its_sequential_procedure_rejects(p_values, alpha):
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    rejected, count = np.zeros(len(p_values), bool), len(p_values)
    for step, place in enumerate(order):
        if p_values[place] * (count - step) > alpha:
            break
        rejected[place] = True
    np.testing.assert_array_equal(adjusted <= alpha, rejected)
    assert (adjusted >= np.asarray(p_values)).all()


def test_holm_keeps_its_level_where_the_unadjusted_test_does_not():
    p = np.random.default_rng(1).random((20_000, 10))
    assert (p.min(1) <= 0.05).mean() > 0.35  # 1 - .95^10 = .401
    wrong = np.mean([holm(row).min() <= 0.05 for row in p[:5000]])
    assert wrong < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 5000)


@given(st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=30).filter(lambda values: np.std(values) > 1e-3))
def test_the_paired_p_value_agrees_with_scipy(differences):
    assert paired_p_value(differences) == pytest.approx(
        stats.ttest_1samp(differences, 0.0).pvalue, rel=1e-8, abs=1e-300
    )


def test_the_half_width_is_that_of_the_t_interval():
    values = np.random.default_rng(2).normal(size=9)
    low, high = stats.t.interval(0.95, 8, values.mean(), values.std(ddof=1) / 3)
    assert half_width(values.std(ddof=1), 9) == pytest.approx((high - low) / 2, rel=1e-12)


def test_holm_adjusts_as_worked_by_hand():
    assert holm([0.03, 0.01, 0.02, 0.5]) == pytest.approx([0.06, 0.04, 0.06, 0.5], rel=1e-12)
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8], rel=1e-12)


def test_very_small_levels_keep_their_digits():
    # 1 - alpha / 2 in place of the tail itself is wrong by 1e-4 at alpha = 1e-12 and infinite at 1e-17.
    for n, alpha in ((10, 1e-12), (5, 1e-17), (200, 1e-10)):
        assert paired_power(0.0, 1.0, n, alpha) == pytest.approx(alpha, rel=1e-6)
        assert half_width(1.0, n, alpha) == pytest.approx(stats.t.isf(alpha / 2, n - 1) / math.sqrt(n), rel=1e-9)
    low, high = clopper_pearson(3, 10, 1e-17)
    assert (low, high) == pytest.approx((1 - clopper_pearson(7, 10, 1e-17)[1], 1 - clopper_pearson(7, 10, 1e-17)[0]))
    assert high < 0.999


def test_the_p_value_has_no_scale_and_equal_differences_have_none():
    whole = paired_p_value([1.0, 2.0, 2.5])
    for scale in (1e-300, 1e-170, -1.0, 1e300):
        assert paired_p_value(scale * np.array([1.0, 2.0, 2.5])) == pytest.approx(whole, rel=1e-12)
    for count in range(2, 30):  # the deviation of equal numbers is rounding, not always zero
        with pytest.raises(ValueError, match="no standard error"):
            paired_p_value([0.1] * count)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_power(1.0, 0.0, 5), "sd"),
        (lambda: paired_power(math.nan, 1.0, 5), "effect"),
        (lambda: paired_power(1.0, 1.0, 1), "2 seeds"),
        (lambda: paired_power(1.0, 1.0, 5, 1.0), "alpha"),
        (lambda: paired_power(1.0, 1.0, 5, comparisons=0), "comparisons"),
        (lambda: seeds_for_difference(0.0, 1.0), "not 0"),
        (lambda: seeds_for_difference(1e-9, 1.0), "more than"),
        (lambda: minimum_detectable_difference(1.0, 5, 0.05), "power"),
        (lambda: half_width(1.0, 1), "2 seeds"),
        (lambda: clopper_pearson(4, 3), "successes"),
        (lambda: holm([0.5, 1.5]), "p_values"),
        (lambda: paired_p_value([0.1, 0.1]), "no standard error"),
        (lambda: paired_p_value([0.1]), "at least 2"),
    ],
)
def test_what_has_no_answer_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
