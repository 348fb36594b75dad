"""Rate laws: their formulas, their limits in one another, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from sparsesim.generators import (
    AffineZipfRates,
    Bernoulli,
    BetaRates,
    EqualRates,
    GivenRates,
    LinearRates,
    MandelbrotRates,
    UniformRates,
    WithMeanL0,
    ZipfRates,
)
from tests.generators.chance import ALPHA
from tests.generators.strategies import rate_laws


@given(law=rate_laws())
@settings(max_examples=100)
def test_rates_are_probabilities_one_a_feature_and_the_same_each_time(law):
    rates = law.rates()
    assert rates.shape == (law.n_features,) and rates.dtype == np.float64
    assert np.all((rates >= 0) & (rates <= 1))
    assert np.array_equal(rates, law.rates())
    assert np.array_equal(Bernoulli(law).marginals(), rates)


def test_mandelbrot_rates_follow_the_shifted_power_and_are_zipf_without_a_shift():
    law = MandelbrotRates(50, 1.3, 2.5, 0.4)
    rank = np.arange(1, 51)
    # c / (i + q)^s with c fixed by the first rate; powers are rounded to 2^-52 or so.
    assert law.rates() == pytest.approx(0.4 * 3.5**1.3 / (rank + 2.5) ** 1.3, rel=1e-14)
    assert MandelbrotRates(50, 1.3, 0.0, 0.4).rates() == pytest.approx(ZipfRates(50, 1.3, 0.4).rates(), rel=1e-14)
    assert np.all(np.diff(MandelbrotRates(50, 1.3, -0.99, 0.4).rates()) < 0)


@pytest.mark.parametrize("exponent", [1e-9, 1e-3, 0.5, 1.0, 3.0, 500.0])
def test_affine_zipf_rates_begin_at_the_largest_end_at_the_least_and_are_affine_in_the_power(exponent):
    rates = AffineZipfRates(1_000, exponent, 0.4, 5e-4).rates()
    assert rates[0] == 0.4 and rates[-1] == 5e-4
    assert np.all(np.diff(rates) <= 0)
    rank = np.arange(1, 1_001)
    share = (rates - 5e-4) / (0.4 - 5e-4)
    if exponent == 1e-9:  # the limit, wrong by exponent * log(m) of itself
        assert share == pytest.approx(1.0 - np.log(rank) / np.log(1_000), abs=1e-8)
    else:
        power = rank ** -float(exponent)
        # Differences of powers that are near 1 lose 1 / exponent of the digits, in this formula only.
        assert share == pytest.approx((power - power[-1]) / (1.0 - power[-1]), abs=1e-14 / min(1.0, exponent))


def test_the_published_firing_probabilities_of_the_16k_benchmark_sum_to_what_their_formula_says():
    weights = [rank**-0.5 for rank in range(1, 16_385)]
    share = [(weight - weights[-1]) / (weights[0] - weights[-1]) for weight in weights]
    expected = sum(5e-4 + (0.4 - 5e-4) * value for value in share)
    assert AffineZipfRates(16_384, 0.5, 0.4, 5e-4).rates().sum() == pytest.approx(expected, rel=1e-12)


def test_linear_rates_are_equally_spaced_either_way():
    assert np.array_equal(LinearRates(3, 0.5, 0.0).rates(), [0.5, 0.25, 0.0])
    assert np.array_equal(LinearRates(3, 0.0, 1.0).rates(), [0.0, 0.5, 1.0])
    assert np.array_equal(LinearRates(1, 0.2, 0.2).rates(), [0.2])


def test_random_rates_have_the_law_they_name_and_the_seed_decides_them():
    assert kstest(BetaRates(5_000, 0.7, 3.0, 0).rates(), "beta", args=(0.7, 3.0)).pvalue > ALPHA
    assert kstest(UniformRates(5_000, 0.1, 0.3, 0).rates(), "uniform", args=(0.1, 0.2)).pvalue > ALPHA
    assert not np.array_equal(BetaRates(9, 1.0, 1.0, 0).rates(), BetaRates(9, 1.0, 1.0, 1).rates())
    assert np.array_equal(UniformRates(4, 0.3, 0.3, 7).rates(), np.full(4, 0.3))


@given(base=rate_laws(), share=st.floats(1e-3, 1.0))
@settings(max_examples=60)
def test_a_mean_l0_asked_for_is_had_with_the_ratios_unchanged(base, share):
    rates = base.rates()
    if rates.max() < 1e-300:  # ratios of denormal numbers are not kept
        return
    most = float((rates / rates.max()).sum())
    scaled = WithMeanL0(base, share * most).rates()
    assert scaled.sum() == pytest.approx(share * most, rel=1e-13)
    assert np.all(scaled <= 1)
    # Normal numbers keep ratios to a few roundings; below them, to the spacing of 5e-324.
    assert scaled * rates.max() == pytest.approx(rates * scaled.max(), rel=1e-14, abs=1e-320)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: WithMeanL0(ZipfRates(4, 1.0, 0.1), 2.1),
            r"mean_l0 must be at most sum\(rates\)/max\(rates\) = 2.08333",
        ),
        (lambda: WithMeanL0(EqualRates(4, 0.1), 4.1), r"= 4 of base, or its largest rate would be 1.025 > 1"),
        (lambda: WithMeanL0(EqualRates(4, 0.1), 0.0), r"mean_l0 must be finite and lie in \(0"),
        (lambda: WithMeanL0(GivenRates((0.0, 0.0)), 1.0), "base must have a rate above 0"),
        (lambda: MandelbrotRates(5, 1.0, -1.0, 0.1), r"offset must be finite and lie in \(-1"),
        (lambda: MandelbrotRates(5, -1.0, 0.0, 0.1), "exponent"),
        (lambda: MandelbrotRates(5, 1.0, 0.0, 1.1), "max_rate"),
        (lambda: AffineZipfRates(1, 1.0, 0.3, 0.1), r"m must lie in \[2"),
        (lambda: AffineZipfRates(5, 1.0, 0.1, 0.3), r"min_rate must be finite and lie in \[0, 0.1\]; got 0.3"),
        (lambda: AffineZipfRates(5, 0.0, 0.3, 0.1), "exponent"),
        (lambda: LinearRates(5, 0.0, 1.5), "last must be finite"),
        (lambda: LinearRates(1, 0.0, 0.5), "one feature has one rate"),
        (lambda: UniformRates(5, 0.5, 0.4, 0), "low must be finite"),
        (lambda: UniformRates(5, 0.1, 0.4, -1), r"seed must lie in \[0"),
        (lambda: BetaRates(5, 0.0, 1.0, 0), "a must be finite"),
        (lambda: BetaRates(5, 1.0, np.nan, 0), "b must be finite"),
    ],
)
def test_infeasible_rates_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("base", [0.1, ZipfRates, Bernoulli(EqualRates(3, 0.1))], ids=repr)
def test_only_rate_laws_are_scaled(base):
    with pytest.raises(TypeError, match="base must be a rate law"):
        WithMeanL0(base, 0.5)
