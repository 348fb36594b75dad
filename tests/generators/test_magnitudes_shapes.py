"""Truncated, rectified, gamma, discrete and scaled coefficients: true moments, ranges, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, truncnorm

from sparsesim.generators import (
    Constant,
    CorrelatedLogNormal,
    Discrete,
    EqualRates,
    ExactlyK,
    FoldedNormalScales,
    Forest,
    FrequencyScales,
    Gamma,
    GeometricScales,
    HalfNormal,
    LinearScales,
    RectifiedNormal,
    Scaled,
    SignedGaussian,
    Support,
    TruncatedNormal,
    ZipfRates,
)
from tests.generators.chance import ALPHA, assert_mean
from tests.generators.strategies import magnitudes

N, M = 60_000, 3
LAWS = [
    TruncatedNormal(1.0, 2.0),
    TruncatedNormal(0.0, 1.0, -1.0, 0.5),
    TruncatedNormal(0.0, 1.0, 5.0),
    TruncatedNormal(2.0, 0.5, -math.inf, -10.0),
    TruncatedNormal(0.0, 1.0, 1.0, 1.001),
    TruncatedNormal(3.0, 1.0, -math.inf),
    RectifiedNormal(5.0, 0.5),
    RectifiedNormal((1.0, -3.0, 0.2), (0.5, 1.0, 0.0)),
    RectifiedNormal(LinearScales(5.0, 4.0), FoldedNormalScales(0.5, 0.5, seed=42)),
    Gamma(0.5, 2.0),
    Gamma(7.0, 0.1),
    Discrete((1.0, -2.0, 0.5), (0.25, 0.25, 0.5)),
    Discrete((3.0,), (1.0,)),
    Scaled(HalfNormal(), (0.1, 1.0, 10.0)),
    Scaled(Scaled(SignedGaussian(), 3.0), GeometricScales(1.0, 100.0)),
    Scaled(Gamma(2.0), FrequencyScales(ZipfRates(3, 1.0, 0.5), -0.5)),
]
laws = pytest.mark.parametrize("law", LAWS, ids=repr)
SUPPORT = Support(np.arange(N + 1) * M, np.tile(np.arange(M, dtype=np.int32), N), M)  # all features in all samples


class Zeros:
    """A generator whose every number is the least it can return."""

    def standard_normal(self, size):
        return np.zeros(size)

    def standard_gamma(self, shape, size):
        return np.zeros(size)

    def random(self, size):
        return np.zeros(size)


class Dependent:
    """A law of dependent coefficients that does not say how they depend."""

    independent = False

    def second_moment(self, m):
        return np.ones(m)


@laws
def test_first_and_second_moments_of_every_feature_are_true(law):
    values = law.draw(SUPPORT, np.random.default_rng(0)).reshape(N, M)
    assert values.dtype == np.float64
    for feature in range(M):
        assert_mean(values[:, feature], law.mean(M)[feature], tests=2 * M)
        assert_mean(values[:, feature] ** 2, law.second_moment(M)[feature], tests=2 * M)


@given(law=magnitudes, seed=st.integers(0, 9))
@settings(max_examples=60)
def test_every_law_has_its_moments_and_neither_zeros_nor_infinities_in_single_precision(law, seed):
    n = 20_000
    support = Support(np.arange(n + 1), np.arange(n, dtype=np.int32) % 4, 4)
    values = law.draw(support, np.random.default_rng(seed))
    single = values.astype(np.float32)
    assert np.all(np.isfinite(single)) and np.all(single != 0)
    for feature in range(4):
        mine = values[support.indices == feature]
        for power, moment in ((1, law.mean(4)[feature]), (2, law.second_moment(4)[feature])):
            error = np.std(mine**power) / np.sqrt(len(mine))
            # 480 comparisons; heavy tails make the estimated error itself uncertain, hence 8 standard errors.
            assert abs(np.mean(mine**power) - moment) <= 8.0 * error + 1e-9 * abs(moment)


@laws
def test_no_coefficient_is_zero_even_where_the_sampler_returns_zero_and_the_stream_decides_all(law):
    assert np.all(law.draw(SUPPORT, Zeros()) != 0)
    first, second = (law.draw(SUPPORT, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second) and np.all(np.isfinite(first)) and np.all(first != 0)
    assert law.draw(Support(np.zeros(4, np.int64), np.zeros(0, np.int32), M), np.random.default_rng(0)).shape == (0,)


@given(
    location=st.floats(-5.0, 5.0),
    scale=st.floats(0.1, 5.0),
    low=st.floats(-20.0, 20.0),
    width=st.floats(0.01, 40.0),
)
@settings(max_examples=60)
def test_truncated_moments_agree_with_the_closed_form_where_that_is_accurate(location, scale, low, width):
    a, b = (low - location) / scale, (low + width - location) / scale
    if a > 8 or b < -8:
        return  # beyond, the mass is below 1e-15 and the closed form has no digit left
    law = TruncatedNormal(location, scale, low, low + width)
    reference = truncnorm(a, b, location, scale)
    size = abs(location) + scale * (1 + min(abs(a), abs(b)))
    assert law.mean(1)[0] == pytest.approx(reference.mean(), abs=1e-7 * size)
    assert law.second_moment(1)[0] == pytest.approx(reference.var() + reference.mean() ** 2, abs=1e-7 * size**2)


@pytest.mark.parametrize("bound", [0.0, 3.0, 10.0, 25.0, 30.0])
def test_tails_have_the_moments_of_their_asymptotic_series(bound):
    """Mills: E[z - a | z > a] from the continued fraction of the tail, which converges fast for large a."""
    law, mirrored = TruncatedNormal(0.0, 1.0, bound), TruncatedNormal(0.0, 1.0, -math.inf, -bound)
    tail = bound
    if bound >= 3.0:
        for k in range(400, 0, -1):
            tail = bound + k / tail  # phi(a) / (1 - Phi(a)) = a + 1/(a + 2/(a + 3/(...)))
    else:
        tail = math.sqrt(2 / math.pi)
    assert law.mean(1)[0] == pytest.approx(tail, rel=1e-12)
    assert law.second_moment(1)[0] == pytest.approx(1.0 + bound * tail, rel=1e-12)
    assert mirrored.mean(1)[0] == pytest.approx(-tail, rel=1e-12)
    values = law.draw(SUPPORT, np.random.default_rng(1))
    assert values.min() >= bound
    assert kstest(values, truncnorm(bound, np.inf).cdf).pvalue > ALPHA
    assert kstest(-mirrored.draw(SUPPORT, np.random.default_rng(2)), truncnorm(bound, np.inf).cdf).pvalue > ALPHA


def test_intervals_on_both_sides_and_short_ones_have_the_right_shape():
    for low, high in ((-1.0, 0.5), (-0.2, 9.0), (2.0, 2.5), (-40.0, 0.1), (9.0, 9.5)):
        values = TruncatedNormal(0.0, 1.0, low, high).draw(SUPPORT, np.random.default_rng(3))
        assert values.min() >= low and values.max() <= high
        assert kstest(values, truncnorm(low, high).cdf).pvalue > ALPHA


def test_rectified_normals_are_what_is_left_of_a_relu():
    means, stds = (1.0, -1.0, 0.3), (0.5, 1.0, 2.0)
    law = RectifiedNormal(means, stds)
    raw = np.array(means) + np.array(stds) * np.random.default_rng(0).standard_normal((N, 3))
    for feature in range(3):
        kept = raw[raw[:, feature] > 0, feature]
        assert_mean(raw[:, feature] > 0, law.firing_probability(3)[feature], tests=9)
        assert_mean(kept, law.mean(3)[feature], tests=9)
        assert_mean(kept**2, law.second_moment(3)[feature], tests=9)
        ours = law.draw(SUPPORT, np.random.default_rng(1)).reshape(N, 3)[:, feature]
        ours, kept = np.sort(ours), np.sort(kept)
        # Two-sample Kolmogorov-Smirnov at 1e-6 / 3: sqrt(-log(alpha / 2) / 2 * (1/n + 1/k)).
        distance = np.abs(np.arange(1, N + 1) / N - np.searchsorted(kept, ours, side="right") / len(kept)).max()
        assert distance < math.sqrt(-math.log(ALPHA / 6) / 2 * (1 / N + 1 / len(kept)))


def test_rectified_moments_are_the_published_formulas():
    mean, std = 0.8, 0.6
    ratio = mean / std
    mills = math.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(-ratio / math.sqrt(2)))
    law = RectifiedNormal(mean, std)
    assert law.mean(2) == pytest.approx(np.full(2, mean + std * mills), rel=1e-13)
    assert law.second_moment(2) == pytest.approx(np.full(2, mean**2 + std**2 + mean * std * mills), rel=1e-13)
    assert np.array_equal(RectifiedNormal(2.0, 0.0).second_moment(2), [4.0, 4.0])


def test_scales_are_linear_geometric_random_but_fixed_or_a_power_of_the_rate():
    assert np.array_equal(LinearScales(5.0, 4.0).values(3), [5.0, 4.5, 4.0])
    assert GeometricScales(1.0, 100.0).values(3) == pytest.approx([1.0, 10.0, 100.0], rel=1e-14)
    folded = FoldedNormalScales(0.5, 0.5, seed=1)
    assert np.array_equal(folded.values(7), folded.values(9)[:7])
    assert not np.array_equal(folded.values(7), FoldedNormalScales(0.5, 0.5, seed=2).values(7))
    assert kstest(folded.values(4_000), "foldnorm", args=(1.0, 0.0, 0.5)).pvalue > ALPHA
    clipped = FoldedNormalScales(0.5, 0.5, 1, 0.3, 0.6).values(100)
    assert clipped.min() == 0.3 and clipped.max() == 0.6
    forest = Forest((-1, 0), (0.5, 0.5))
    assert FrequencyScales(forest, 0.5, 2.0).values(2) == pytest.approx(2.0 * forest.marginals() ** 0.5, rel=1e-15)
    assert np.array_equal(FrequencyScales((0.5, 0.25), -1.0).values(2), [2.0, 4.0])
    assert np.array_equal(FrequencyScales(EqualRates(2, 0.5), 1.0).values(2), [0.5, 0.5])


@pytest.mark.parametrize("scale", [np.int64(2), np.float32(2.0), Fraction(2)], ids=repr)
def test_every_kind_of_real_number_is_a_scale(scale):
    support = Support(np.array([0, 3]), np.arange(3, dtype=np.int32), 3)
    drawn = [Scaled(HalfNormal(), own).draw(support, np.random.default_rng(0)) for own in (scale, 2.0)]
    assert np.array_equal(*drawn)
    assert np.array_equal(RectifiedNormal(scale, scale).mean(3), RectifiedNormal(2.0, 2.0).mean(3))
    with pytest.raises(ValueError, match="Put a sign into the base"):
        Scaled(HalfNormal(), -scale)


def test_rectified_normals_take_scale_laws_of_one_number_of_features_only():
    law = RectifiedNormal(FrequencyScales((0.1, 0.2, 0.4), -0.5), 0.0)
    assert np.array_equal(law.mean(3), FrequencyScales((0.1, 0.2, 0.4), -0.5).values(3))
    with pytest.raises(ValueError, match="as many as features, m=4; got 3"):
        law.mean(4)


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_the_energy_of_rectified_normals_is_finite_and_positive_at_the_ends_of_the_range(size):
    for law in (RectifiedNormal(size, 0.0), RectifiedNormal(0.0, size), RectifiedNormal(-size, size / 30.0 * 1.0001)):
        assert np.all(np.isfinite(law.second_moment(2))) and law.second_moment(2).min() > 0


def test_scaling_scales_what_the_base_draws_and_keeps_its_dependence():
    base, scales = Gamma(2.0), (0.5, 2.0, 3.0)
    drawn = (law.draw(SUPPORT, np.random.default_rng(0)).reshape(N, M) for law in (Scaled(base, scales), base))
    assert np.array_equal(next(drawn), next(drawn) * scales)
    law, dependent = Scaled(base, scales), Scaled(CorrelatedLogNormal(0.0, 1.0, 0.5), scales)
    assert law.independent and not dependent.independent
    expected = np.outer(law.mean(3), law.mean(3))
    np.fill_diagonal(expected, law.second_moment(3))
    assert np.array_equal(law.cross(3), expected)
    assert dependent.cross(3) == pytest.approx(np.outer(scales, scales) * dependent.base.cross(3), rel=1e-15)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TruncatedNormal(0.0, 1.0, 1.0, 1.0), ValueError, "low must be below high; got low=1.0, high=1.0"),
        (lambda: TruncatedNormal(0.0, 1.0, math.nan), ValueError, "low must be finite"),
        (lambda: TruncatedNormal(0.0, 1.0, 31.0), ValueError, "must begin within 30 scales of location"),
        (lambda: TruncatedNormal(0.0, 1.0, -99.0, -31.0), ValueError, "must begin within 30 scales"),
        (lambda: TruncatedNormal(1.0, 1.0, 1.0, 1.0 + 1e-15), ValueError, "must differ in the digits"),
        (lambda: TruncatedNormal(0.0, 0.0), ValueError, "scale must be finite"),
        (lambda: TruncatedNormal(0.0, 1.0, math.inf), ValueError, "low must be below high"),
        (lambda: RectifiedNormal(-31.0, 1.0), ValueError, "feature 0 has mean=-31, std=1. Raise its mean"),
        (lambda: RectifiedNormal(0.0, 0.0), ValueError, "positive where stds are 0"),
        (lambda: RectifiedNormal((1.0, 2.0), (1.0, -1.0)), ValueError, "feature 1 has mean=2, std=-1"),
        (lambda: RectifiedNormal((1.0, 2.0), (1.0,)), ValueError, r"stds must hold one number for each of m=2"),
        (lambda: RectifiedNormal((1.0, 2.0), 1.0).mean(3), ValueError, "means must hold one number for each of m=3"),
        (lambda: RectifiedNormal(1e200, 1.0), ValueError, r"must lie in \[1e-150, 1e\+150\]; got values in \[1e\+200"),
        (lambda: RectifiedNormal(-1e-200, 1e-200), ValueError, r"must lie in \[1e-150, 1e\+150\]"),
        (lambda: RectifiedNormal("1", 1.0), TypeError, "means, if it is neither"),
        (lambda: Gamma(0.2), ValueError, r"shape must be finite and lie in \[0.25"),
        (lambda: Gamma(1.0, 0.0), ValueError, "scale must be finite"),
        (lambda: Discrete((), ()), ValueError, "at least one"),
        (lambda: Discrete((0.0, 1.0), (0.5, 0.5)), ValueError, r"abs\(values\[0\]\)"),
        (lambda: Discrete((1.0, 2.0), (0.5, 0.4)), ValueError, "must sum to 1; got 0.9"),
        (lambda: Discrete((1.0, 1.0), (0.5, 0.5)), ValueError, "values must differ"),
        (lambda: Discrete((1.0, 2.0), (1.5, -0.5)), ValueError, r"probabilities\[0\]"),
        (lambda: Discrete([1.0], (1.0,)), TypeError, "values must be a tuple; got list"),
        (
            lambda: Scaled(Dependent(), 1.0),
            TypeError,
            r"base must give cross\(m\) where its coefficients are dependent",
        ),
        (lambda: Scaled(HalfNormal, 1.0), TypeError, "base must be a magnitude law"),
        (lambda: Scaled(HalfNormal(), (1.0, 0.0)), ValueError, r"scales must lie in \[1e-150, 1e\+150\]"),
        (lambda: Scaled(HalfNormal(), -1.0), ValueError, "Put a sign into the base"),
        (lambda: Scaled(HalfNormal(), (1.0, 2.0)).mean(3), ValueError, "one number for each of m=3"),
        (lambda: Scaled(Constant(1e150), 1e100).second_moment(2), ValueError, "a finite second moment above 0"),
        (lambda: FrequencyScales((0.5, 0.0), 1.0), ValueError, r"rates must lie in \(0, 1\]"),
        (lambda: FrequencyScales(ExactlyK(3, 1), 1.0).values(4), ValueError, "as many as features, m=4; got 3"),
        (lambda: FrequencyScales(0.5, 1.0), TypeError, "rates must be a support law, a rate law or a tuple"),
        (
            lambda: Scaled(HalfNormal(), FrequencyScales((0.5, 1e-300), -2.0)).mean(2),
            ValueError,
            "scales must be finite; feature 1 is not",
        ),
        (lambda: FoldedNormalScales(1.0, 1.0, 0, 2.0, 1.0), ValueError, "high must be finite"),
        (lambda: LinearScales(0.0, 1.0), ValueError, "first must be finite"),
    ],
)
def test_degenerate_magnitudes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
