from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsesim import Role, stream
from sparsesim.study import Interval, mean_interval, paired_interval, seeds_needed

FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("n", "confidence", "quantile"),
    [(2, 0.95, 12.7062047362), (5, 0.95, 2.7764451052), (10, 0.99, 3.2498355440), (31, 0.90, 1.6972608866)],
)
def test_the_half_width_is_the_tabulated_quantile_times_the_standard_error(n, confidence, quantile):
    values = np.arange(n, dtype=float)
    interval = mean_interval(values, confidence)
    # Quantiles of Student's t by the inverse incomplete beta function, to the ten decimals given.
    assert interval.half_width == pytest.approx(quantile * values.std(ddof=1) / np.sqrt(n), rel=1e-9)
    assert interval.mean == pytest.approx((n - 1) / 2) and interval.n == n


@pytest.mark.parametrize(("n", "confidence"), [(3, 0.95), (10, 0.95), (5, 0.8)])
def test_the_interval_covers_the_mean_as_often_as_it_says(n, confidence):
    trials = 4000
    samples = stream(0, Role.METRIC, n).normal(2.0, 3.0, size=(trials, n))
    intervals = [mean_interval(sample, confidence) for sample in samples]
    covered = np.mean([interval.low <= 2.0 <= interval.high for interval in intervals])
    # Coverage is exact for normal samples, so this is a z-test at alpha = 1e-3, two-sided.
    assert abs(covered - confidence) < 3.29 * np.sqrt(confidence * (1 - confidence) / trials)


def test_one_seed_has_no_interval_and_says_so():
    interval = mean_interval([0.25])
    assert np.isnan(interval.low) and np.isnan(interval.high) and np.isnan(interval.half_width)
    assert str(interval) == "0.250 (1 seed, no interval)"
    assert str(mean_interval([1.0, 1.0])) == "1.000 [1.000, 1.000] (2 seeds)"


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf, 0.0]])
def test_missing_and_infinite_values_are_refused(values):
    with pytest.raises(ValueError, match="at least one value and finite ones"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, -0.1, np.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0, 2.0], confidence)


@given(st.lists(FINITE, min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_the_interval_forgets_the_order_and_contains_the_mean(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    one, other = mean_interval(values), mean_interval(shuffled)
    # Sums of 20 values below 1e6 in another order differ by rounding, below 20 * 1e6 * 1e-16 * 10.
    assert one.low == pytest.approx(other.low, rel=1e-9, abs=1e-6) and one.low <= one.mean <= one.high


def test_pairing_removes_what_the_seeds_share():
    rng = stream(1, Role.METRIC)
    luck = rng.normal(0, 10, 20)
    first, second = luck + 1 + rng.normal(0, 0.01, 20), luck + rng.normal(0, 0.01, 20)
    paired = paired_interval(first, second)
    assert paired.low < 1 < paired.high and paired.half_width < 0.05
    assert mean_interval(first).half_width > 1
    with pytest.raises(ValueError, match="same seeds"):
        paired_interval(first, second[:-1])


@given(st.lists(FINITE, min_size=2, max_size=8), st.floats(1e-3, 1e3))
def test_the_seeds_needed_suffice_and_are_not_far_too_many(values, margin):
    interval = mean_interval(values)
    n = seeds_needed(interval, margin, most=10_000)
    deviation = np.std(values, ddof=1)

    def half(count: int) -> float:
        """Rebuild the half-width at ``count`` seeds from a sample of the same standard deviation."""
        sample = np.resize([-1.0, 1.0], count) if count % 2 == 0 else np.r_[np.resize([-1.0, 1.0], count - 1), 0.0]
        return mean_interval(sample * deviation / max(sample.std(ddof=1), 1e-300)).half_width

    assert len(values) <= n <= max(10_500, len(values))
    if n < 10_000:
        assert half(n) <= margin * (1 + 1e-6)  # the deviation is recovered from the interval, up to rounding
    if len(values) < n < 10_000:
        previous = max(len(values), int(n / 1.05) - 2)  # steps of 5 % at most, or of one seed
        assert half(previous) > margin * (1 - 1e-6) or previous == len(values)


def test_no_number_of_seeds_reaches_a_margin_of_zero():
    assert seeds_needed(mean_interval([1.0, 2.0]), 0.0, most=500) == 500
    assert seeds_needed(Interval(1.0, np.nan, np.nan, 1), 0.1, most=500) == 500


def test_an_interval_that_is_narrow_enough_needs_no_more_seeds():
    assert seeds_needed(mean_interval([1.0, 1.1, 0.9]), 10.0) == 3
