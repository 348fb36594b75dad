"""Reverse water-filling against its inverse, its closed forms and every other way to spread the distortion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from theory.water_filling import gaussian_distortion, gaussian_rate, water_level

spectra = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12)


@given(spectra, st.floats(1e-6, 1.0))
def test_the_water_level_spreads_the_distortion_asked_for(values, share):
    target = share * sum(values)
    theta = water_level(values, target)
    assert np.minimum(values, theta).sum() == pytest.approx(target, rel=1e-10)  # sums of at most 12 terms


@given(spectra, st.floats(1e-6, 1.0))
def test_rate_and_distortion_are_each_other_s_inverse(values, share):
    target = share * sum(values)
    rate = gaussian_rate(values, target)
    assert rate >= 0.0
    # rel=1e-9: near the full variance the rate has a slope of zero, which squares the rounding of 1e-16
    assert gaussian_distortion(values, rate) == pytest.approx(target, rel=1e-7)


def test_the_level_is_that_of_a_root_finder():
    values = np.array([4.0, 1.5, 0.6, 0.2, 0.0])
    for target in (0.01, 0.5, 0.8, 1.1, 2.0, 4.1, 6.3):
        root = brentq(lambda t, target=target: np.minimum(values, t).sum() - target, 0.0, 4.0, xtol=1e-14)
        assert min(water_level(values, target), 4.0) == pytest.approx(root, abs=1e-12)  # the finder's own tolerance


def test_equal_directions_lose_six_decibels_a_bit():
    assert gaussian_distortion(np.ones(5), 5 * math.log(2.0)) == pytest.approx(5 * 2.0**-2, rel=1e-12)


@given(spectra, st.floats(1e-3, 0.99), st.integers(0, 2**32 - 1))
def test_no_other_spread_of_the_distortion_needs_a_lower_rate(values, share, seed):
    rng = np.random.default_rng(seed)
    source = np.array(values)
    other = source * rng.uniform(1e-6, 1.0, len(source)) ** (3.0 * share)  # any distortion at most the variance
    rate = 0.5 * np.log(source / other).sum()
    assert gaussian_rate(source, other.sum()) <= rate + 1e-9 * (1 + rate)  # rounding of the logarithms


@pytest.mark.parametrize("call", [
    lambda: water_level([1.0, 2.0], 0.0), lambda: water_level([1.0, 2.0], 3.1), lambda: water_level([], 1.0),
    lambda: water_level([-1.0, 2.0], 1.0), lambda: water_level([0.0], 1.0), lambda: gaussian_distortion([1.0], -0.1),
    lambda: gaussian_distortion([1.0], math.inf), lambda: gaussian_rate([math.nan], 1.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
