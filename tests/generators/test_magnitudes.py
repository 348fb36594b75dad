"""Magnitude laws: moments, signs, never zero, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim.generators import (
    BernoulliSign,
    Constant,
    Exponential,
    HalfNormal,
    LogNormal,
    SignedGaussian,
    Support,
    Uniform,
)
from tests.generators.chance import assert_mean

N = 200_000
LAWS = [
    Constant(2.5),
    Constant(-0.5),
    Uniform(0.5, 1.5),
    Uniform(0.0, 3.0),
    HalfNormal(0.7),
    LogNormal(0.2, 0.5),
    Exponential(1.7),
    SignedGaussian(1.3),
    BernoulliSign(0.4),
]
laws = pytest.mark.parametrize("law", LAWS, ids=repr)
SUPPORT = Support(np.array([0, N]), np.zeros(N, np.int32), 3)


class Zeros:
    """A generator whose every number is the least it can return."""

    def standard_normal(self, size):
        return np.zeros(size)

    standard_exponential = standard_normal

    def random(self, size):
        return np.full(size, 1.0 - 2.0**-53)


@laws
def test_first_and_second_moments_are_true(law):
    values = law.draw(SUPPORT, np.random.default_rng(0))
    assert values.shape == (N,) and values.dtype == np.float64
    assert_mean(values, law.mean(3)[0], tests=2)
    assert_mean(values**2, law.second_moment(3)[0], tests=2)


@laws
def test_moments_are_one_a_feature_and_the_second_is_at_least_the_square_of_the_first(law):
    assert law.mean(3).shape == law.second_moment(3).shape == (3,)
    assert np.all(law.second_moment(3) >= law.mean(3) ** 2 * (1 - 1e-15))  # equal for Constant, up to rounding


@laws
def test_no_coefficient_is_ever_zero_even_where_the_sampler_returns_zero(law):
    assert np.all(law.draw(SUPPORT, Zeros()) != 0)
    assert np.all(law.draw(SUPPORT, np.random.default_rng(1)) != 0)


@laws
def test_the_same_stream_gives_the_same_bits(law):
    first, second = (law.draw(SUPPORT, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second)


def test_signs_and_ranges():
    rng = np.random.default_rng(2)
    for law in (HalfNormal(1.0), LogNormal(), Exponential(), Uniform(0.0, 1.0)):
        assert law.draw(SUPPORT, rng).min() > 0
    uniform = Uniform(0.5, 1.5).draw(SUPPORT, rng)
    assert uniform.min() > 0.5 and uniform.max() <= 1.5
    assert set(np.unique(BernoulliSign(0.4).draw(SUPPORT, rng))) == {-0.4, 0.4}
    assert_mean(SignedGaussian(1.0).draw(SUPPORT, rng) > 0, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0.0), "value must not be 0"),
        (lambda: Constant(np.inf), "value must be finite"),
        (lambda: Uniform(1.0, 1.0), "low must be below high; got low=1.0, high=1.0. Use Constant"),
        (lambda: Uniform(2.0, 1.0), "low must be below high"),
        (lambda: Uniform(-1.0, 1.0), "low must be finite and lie in"),
        (lambda: HalfNormal(0.0), r"scale must be finite and lie in \(0"),
        (lambda: HalfNormal(-1.0), "got -1.0"),
        (lambda: LogNormal(0.0, 0.0), r"sigma must be finite and lie in \(0"),
        (lambda: LogNormal(1e4, 1.0), "mu must be finite"),
        (lambda: Exponential(0.0), "scale"),
        (lambda: SignedGaussian(-2.0), "scale"),
        (lambda: BernoulliSign(0.0), "value"),
        (lambda: Constant(-1e200), r"abs\(value\) must be finite and lie in \[1e-150, 1e\+150\]"),
        (lambda: Constant(1e-200), "abs"),
        (lambda: Uniform(0.0, 1e-200), "high"),
        (lambda: Uniform(0.0, 1e200), "high"),
        (lambda: HalfNormal(1e-200), "scale"),
        (lambda: SignedGaussian(1e200), "scale"),
        (lambda: LogNormal(300.0, 10.0), r"mu \+ sigma\^2 must be at most 345"),
    ],
)
def test_degenerate_magnitudes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_magnitudes_that_are_not_numbers_are_refused():
    with pytest.raises(TypeError, match="scale must be a real number"):
        HalfNormal("1")


@pytest.mark.parametrize(
    "law", [Constant(-1e-150), Constant(1e150), Uniform(0.0, 1e150), Exponential(1e-150), LogNormal(245.0, 10.0)]
)
def test_the_energy_is_finite_and_positive_at_the_ends_of_the_range(law):
    assert np.all(np.isfinite(law.second_moment(2))) and law.second_moment(2).min() > 0
