"""Coefficients that depend on one another: their moments one by one, in pairs, and the supports they need."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators import (
    Bernoulli,
    Constant,
    CorrelatedLogNormal,
    EqualRates,
    FeatureSpec,
    Forest,
    Gamma,
    HalfNormal,
    LinearScales,
    LogNormal,
    OnSphere,
    ParentScaled,
    RandomSphere,
    RectifiedNormal,
    SignedGaussian,
    Support,
    Uniform,
)
from sparsesim.kernels.coupled import cascade_
from tests.generators.chance import assert_mean
from tests.generators.strategies import forests, parent_tuples, seeds

N = 40_000
PARENTS = (4, -1, 0, 0, -1, 2)  # 4 > 0 > 2 > 5, and 3 below 0; 1 alone
BASE = Uniform(0.5, 1.5)
ROWS = ((0.8, 0.0), (0.6, 0.6), (-0.5, 0.5), (0.0, 0.0))


def everything(m, n=N):
    return Support(np.arange(n + 1, dtype=np.int64) * m, np.tile(np.arange(m, dtype=np.int32), n), m)


LAWS = {
    "parents": (ParentScaled(BASE, PARENTS), 6),
    "parents_reference": (ParentScaled(BASE, PARENTS, LinearScales(1.0, 2.0)), 6),
    "parents_rectified": (ParentScaled(RectifiedNormal(LinearScales(5.0, 4.0), 0.5), PARENTS, 5.0), 6),
    "lognormal_equal": (CorrelatedLogNormal(0.2, 0.4, 0.6), 4),
    "lognormal_loadings": (CorrelatedLogNormal(-0.5, 0.5, ROWS), 4),
    "lognormal_one": (CorrelatedLogNormal(0.0, 0.3, 1.0), 3),
    "circle": (OnSphere(2, Constant(3.0)), 6),
    "sphere": (OnSphere(4, Gamma(2.0)), 4),
    "sign": (OnSphere(1), 2),
}
laws = pytest.mark.parametrize(("law", "m"), LAWS.values(), ids=LAWS.keys())


@laws
def test_moments_of_one_and_of_two_coefficients_are_true(law, m):
    values = law.draw(everything(m), np.random.default_rng(0)).reshape(N, m)
    cross = law.cross(m)
    tests = m + m * m
    assert not law.independent
    assert np.array_equal(cross, cross.T)
    assert np.diag(cross) == pytest.approx(law.second_moment(m), rel=1e-14)
    for i in range(m):
        assert_mean(values[:, i], law.mean(m)[i], tests=tests)
        for j in range(m):
            assert_mean(values[:, i] * values[:, j], cross[i, j], tests=tests)


@laws
def test_coefficients_are_neither_zero_nor_infinite_in_single_precision_and_the_stream_decides_all(law, m):
    first, second = (law.draw(everything(m, 2_000), np.random.default_rng(1)) for _ in range(2))
    single = first.astype(np.float32)
    assert np.array_equal(first, second) and np.all(np.isfinite(single)) and np.all(single != 0)
    empty = Support(np.zeros(4, np.int64), np.zeros(0, np.int32), m)
    assert law.draw(empty, np.random.default_rng(0)).shape == (0,)


@laws
def test_samples_are_independent(law, m):
    """Disjoint pairs of successive samples."""
    values = law.draw(everything(m), np.random.default_rng(2)).reshape(N, m) - law.mean(m)
    for i in range(m):
        assert_mean(values[0::2, i] * values[1::2, m - 1 - i], 0.0, tests=m)


def by_recursion(support, parents, reference, data):
    rows = []
    for low, high in zip(support.indptr[:-1], support.indptr[1:], strict=True):
        own = dict(zip(support.indices[low:high].tolist(), data[low:high].tolist(), strict=True))

        def value(feature, own=own):
            parent = parents[feature]
            return own[feature] * (1.0 if parent < 0 else value(parent) / reference[parent])

        rows.extend(value(feature) for feature in own)
    return np.array(rows)


@given(law=forests(), seed=seeds, n=st.integers(0, 60))
@settings(max_examples=60)
def test_the_cascade_is_the_recursion_over_parents(law, seed, n):
    rng = np.random.default_rng(seed)
    support = law.draw(n, rng)
    data, reference = rng.uniform(0.5, 2.0, len(support.indices)), rng.uniform(0.5, 2.0, law.n_features)
    expected = by_recursion(support, law.parents, reference, data)
    assert cascade_(support.indptr, support.indices, np.array(law.parents, np.int64), reference, data) == -1
    assert data == pytest.approx(expected, rel=1e-14)  # at most 12 products, in another order of division


@given(parents=parent_tuples(), seed=seeds)
@settings(max_examples=60)
def test_pairs_share_what_their_last_common_ancestor_has(parents, seed):
    m = len(parents)
    reference = tuple(np.random.default_rng(seed).uniform(0.5, 2.0, m).tolist())
    law = ParentScaled(BASE, parents, reference)

    def path(feature):
        return {feature} | (path(parents[feature]) if parents[feature] >= 0 else set())

    def weight(feature, node):  # the power of the draw of ``node`` in the coefficient of ``feature``, and its divisor
        return 1.0 if feature == node else 1.0 / reference[node]

    mean, second = BASE.mean(1)[0], BASE.second_moment(1)[0]
    for i in range(m):
        for j in range(m):
            mine, theirs = path(i), path(j)
            expected = math.prod(
                (second if node in mine and node in theirs else mean)
                * (weight(i, node) if node in mine else 1.0)
                * (weight(j, node) if node in theirs else 1.0)
                for node in mine | theirs
            )
            assert law.cross(m)[i, j] == pytest.approx(expected, rel=1e-12)  # products of at most 48 numbers


def test_with_the_means_as_reference_the_means_stay_those_of_the_base():
    law = ParentScaled(LogNormal(0.1, 0.3), PARENTS)
    assert law.mean(6) == pytest.approx(LogNormal(0.1, 0.3).mean(6), rel=1e-14)
    spread = math.exp(0.3**2)  # s / mu^2, once for each node on the path
    depth = np.array([2, 1, 3, 3, 1, 4])
    assert law.second_moment(6) == pytest.approx(law.mean(6) ** 2 * spread**depth, rel=1e-13)


def test_roots_alone_keep_the_draws_of_the_base():
    support = Bernoulli(EqualRates(5, 0.4)).draw(50, np.random.default_rng(0))
    law = ParentScaled(BASE, (-1,) * 5)
    assert np.array_equal(law.draw(support, np.random.default_rng(1)), BASE.draw(support, np.random.default_rng(1)))


def test_a_child_of_a_constant_parent_over_its_mean_is_its_own_draw():
    law = ParentScaled(Constant(3.0), PARENTS)
    assert np.array_equal(law.draw(everything(6, 9), np.random.default_rng(0)), np.full(54, 3.0))


@pytest.mark.parametrize(
    ("support", "law"),
    [
        (Forest(PARENTS, (0.7, 0.3, 0.6, 0.5, 0.8, 0.9), exclusive=False), ParentScaled(BASE, PARENTS)),
        (Bernoulli(EqualRates(4, 0.4)), CorrelatedLogNormal(-0.5, 0.5, ROWS)),
        (Forest((-1, 0, -1, 2), (0.5, 1.0, 0.3, 1.0)), OnSphere(2, Constant(3.0))),
    ],
    ids=["parents", "lognormal", "circles"],
)
def test_the_energy_of_a_world_with_coupled_coefficients_is_that_of_its_samples(support, law):
    model = FeatureSpec(3, support, RandomSphere(), law).build(np.random.default_rng(0))
    x = model.sample(N, np.random.default_rng(1)).x
    assert_mean(np.square(x).sum(axis=1), model.signal_energy(), tests=3)


def test_points_lie_on_the_sphere_of_their_radius():
    support = Support(np.array([0, 4, 4, 6]), np.array([0, 1, 4, 5, 2, 3], np.int32), 6)
    points = OnSphere(2, Constant(3.0)).draw(support, np.random.default_rng(0)).reshape(-1, 2)
    assert np.square(points).sum(axis=1) == pytest.approx(np.full(3, 9.0), rel=1e-14)
    signs = OnSphere(1, Constant(2.0)).draw(everything(2), np.random.default_rng(0))
    assert set(np.unique(signs)) == {-2.0, 2.0}


def test_a_point_at_the_origin_is_put_on_the_sphere():
    class Zeros:
        def standard_normal(self, size):
            return np.zeros(size)

    points = OnSphere(2, Constant(3.0)).draw(everything(2, 4), Zeros()).reshape(-1, 2)
    assert np.square(points).sum(axis=1) == pytest.approx(np.full(4, 9.0), rel=1e-14)


def test_points_on_a_circle_have_a_uniform_angle():
    points = OnSphere(2).draw(everything(2), np.random.default_rng(3)).reshape(-1, 2)
    angle = np.arctan2(points[:, 1], points[:, 0])
    for harmonic in range(1, 7):
        assert_mean(np.cos(harmonic * angle), 0.0, tests=12)
        assert_mean(np.sin(harmonic * angle), 0.0, tests=12)


def test_full_correlation_makes_the_coefficients_of_a_sample_equal():
    values = CorrelatedLogNormal(0.0, 1.0, 1.0).draw(everything(3, 50), np.random.default_rng(0)).reshape(50, 3)
    assert np.array_equal(values[:, 0], values[:, 2]) and len(np.unique(values)) == 50


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")
def test_the_same_bits_for_one_thread_and_two():
    before, drawn = numba.get_num_threads(), []
    law = ParentScaled(HalfNormal(), PARENTS)
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            drawn.append(law.draw(everything(6, 3_000), np.random.default_rng(1)))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(*drawn)


ORPHAN = Support(np.array([0, 1, 3]), np.array([1, 2, 4], np.int32), 6)  # 2 without 0
HALF = Support(np.array([0, 2, 5]), np.array([0, 1, 2, 3, 4], np.int32), 6)  # 4 without 5
SHIFTED = Support(np.array([0, 2]), np.array([1, 2], np.int32), 6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: ParentScaled(BASE, PARENTS).draw(ORPHAN, np.random.default_rng(0)),
            ValueError,
            "feature 2 fires without its parent 0",
        ),
        (lambda: ParentScaled(BASE, (1, 0)), ValueError, "the cycle 0 -> 1 -> 0"),
        (lambda: ParentScaled(BASE, [-1]), TypeError, "parents must be a tuple"),
        (lambda: ParentScaled(SignedGaussian(), PARENTS), ValueError, "base must have positive means; feature 0 has 0"),
        (lambda: ParentScaled(OnSphere(2), PARENTS), ValueError, "base must draw independent coefficients"),
        (lambda: ParentScaled(1.0, PARENTS), TypeError, "base must be a magnitude law"),
        (lambda: ParentScaled(BASE, PARENTS, 0.0), ValueError, "reference must be positive; feature 0 has 0"),
        (lambda: ParentScaled(BASE, PARENTS, (1.0, 2.0)), ValueError, "one number for each of m=6"),
        (lambda: ParentScaled(BASE, PARENTS).mean(5), ValueError, "parents must be as many as features, m=5; got 6"),
        (
            lambda: ParentScaled(Constant(1e100), (-1, 0, 1, 2), 1e-50),
            ValueError,
            "second moments must be finite and above 0; that of feature 1",
        ),
        (lambda: CorrelatedLogNormal(0.0, 1.0, 1.5), ValueError, "loadings, as one correlation,"),
        (lambda: CorrelatedLogNormal(0.0, 1.0, -0.1), ValueError, "loadings, as one correlation,"),
        (lambda: CorrelatedLogNormal(0.0, 0.0, 0.5), ValueError, "sigma"),
        (lambda: CorrelatedLogNormal(0.0, 1.0, (0.5, 0.5)), TypeError, "tuple of tuples"),
        (lambda: CorrelatedLogNormal(0.0, 1.0, ((0.5,), (0.5, 0.1))), ValueError, "rows of one length"),
        (lambda: CorrelatedLogNormal(0.0, 1.0, ((0.8, 0.7),)), ValueError, "that of row 0 is 1.13"),
        (lambda: CorrelatedLogNormal(0.0, 1.0, ROWS).cross(5), ValueError, "rows of loadings must be as many"),
        (lambda: OnSphere(0), ValueError, r"size must lie in \[1"),
        (lambda: OnSphere(2, 1.0), TypeError, "radius must be a magnitude law"),
        (lambda: OnSphere(2, OnSphere(1)), ValueError, "radius must draw independent coefficients"),
        (lambda: OnSphere(4).mean(6), ValueError, "size must divide the number of features, m=6; got 4"),
        (lambda: OnSphere(2).draw(HALF, np.random.default_rng(0)), ValueError, "must fire as a whole"),
        (lambda: OnSphere(2).draw(SHIFTED, np.random.default_rng(0)), ValueError, "must begin at multiples"),
    ],
)
def test_what_cannot_be_coupled_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
