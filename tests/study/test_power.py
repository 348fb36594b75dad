"""Power, detectable differences and corrections are those of the oracle in `theory`, and of simulated tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import theory.power as oracle
from sparsesim.study import detectable_difference, holm, paired_p_value, paired_power


@pytest.mark.parametrize("n", [2, 3, 5, 8, 30, 200])
@pytest.mark.parametrize("comparisons", [1, 8, 72])
def test_power_is_that_of_the_oracle(n, comparisons):
    for effect in (0.0, 0.01, 0.4, 1.0, -3.0, 50.0):
        # Two ways to the noncentral t: a library function here, quadrature there. Both are good to 1e-10.
        expected = oracle.paired_power(effect, 0.7, n, comparisons=comparisons)
        assert paired_power(effect, 0.7, n, comparisons=comparisons) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("n", [2, 5, 8, 40])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.99])
def test_the_detectable_difference_is_that_of_the_oracle_and_has_the_power(n, power):
    found = detectable_difference(0.3, n, power, comparisons=6)
    # Root finding to the last bits on one side, to 1e-12 on the other, on powers good to 1e-10.
    assert found == pytest.approx(oracle.minimum_detectable_difference(0.3, n, power, comparisons=6), rel=1e-8)
    assert paired_power(found, 0.3, n, comparisons=6) == pytest.approx(power, abs=1e-9)


def test_no_spread_detects_everything():
    assert detectable_difference(0.0, 5) == 0.0


def test_holm_is_that_of_the_oracle_and_keeps_the_order_given():
    values = np.random.default_rng(0).uniform(size=25)
    np.testing.assert_array_equal(holm(values), oracle.holm(values))  # the same products and maxima
    assert holm([0.01, 0.04, 0.03]).tolist() == [0.03, 0.06, 0.06]
    assert holm([]).shape == (0,)


def test_the_p_value_is_that_of_the_paired_t_test():
    differences = np.random.default_rng(1).normal(0.4, 1.0, 12)
    # One formula, summed in another order.
    assert paired_p_value(differences) == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, rel=1e-12)
    assert paired_p_value(1e-200 * differences) == pytest.approx(paired_p_value(differences), rel=1e-12)


def test_differences_without_spread_are_certain():
    assert paired_p_value([0.0, 0.0, 0.0]) == 1.0
    assert paired_p_value([0.1, 0.1, 0.1]) == 0.0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: paired_power(1.0, 0.0, 5), "sd"),
        (lambda: paired_power(1.0, 1.0, 1), "n must"),
        (lambda: paired_power(float("nan"), 1.0, 5), "effect"),
        (lambda: detectable_difference(1.0, 5, 0.05), "power"),
        (lambda: detectable_difference(-1.0, 5), "sd"),
        (lambda: holm([0.1, 1.2]), "0, 1"),
        (lambda: holm([float("nan")]), "0, 1"),
        (lambda: paired_p_value([1.0]), "at least 2"),
        (lambda: paired_p_value([1.0, float("nan")]), "finite"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()
