"""Persistent features: every row has the rates, rows depend as said, intervals widen as said, a slow twin."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators import Bernoulli, EqualRates, GivenRates, Persistent, ZipfRates
from sparsesim.kernels import sampling
from sparsesim.kernels.persistent import draw_chains
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import persistents, seeds
from tests.generators.test_sampling_kernels import Twin
from tests.generators.test_supports import dense

RATES, STAY = (0.3, 0.01, 1.0, 0.0, 0.6, 0.5), (0.9, 0.5, 1.0, 0.3, 0.4, 0.5)
LAW = Persistent(GivenRates(RATES), STAY)


def switch_on(law):
    """P(on | was off), from the balance of a stationary chain: as many switch on as off."""
    rates, stay = law.rates.rates(), np.broadcast_to(law.persistence, law.n_features)
    return np.array([p * (1 - a) / (1 - p) if p < 1 else 1.0 for p, a in zip(rates, stay, strict=True)])


@given(law=persistents(), seed=seeds, n=st.integers(0, 300))
@settings(max_examples=60)
def test_chains_are_drawn_as_by_the_twin(law, seed, n):
    support = law.draw(n, np.random.default_rng(seed))
    words = np.random.default_rng(seed).integers(0, 2**64, size=(1, 4), dtype=np.uint64)
    assert law.n_features <= sampling.BLOCK  # one block, one random state
    twin, expected = Twin(words[0]), np.zeros((n, law.n_features))
    stay, enter = np.broadcast_to(law.persistence, law.n_features), np.minimum(switch_on(law), 1.0)
    for feature, rate in enumerate(law.rates.rates().tolist()):
        row = 0 if twin.uniform() < rate else 1 + twin.misses(enter[feature])
        while row < n:
            stop = min(row + 1 + twin.misses(1.0 - stay[feature]), n)
            expected[row:stop, feature] = 1.0
            row = stop + 1 + twin.misses(enter[feature])
    assert np.array_equal(dense(support), expected)


@given(law=persistents(), seed=seeds)
@settings(max_examples=60)
def test_rows_are_ascending_and_the_moments_of_a_row_are_those_of_independent_features(law, seed):
    support = law.draw(50, np.random.default_rng(seed))
    assert (support.indptr.dtype, support.indices.dtype) == (np.int64, np.int32)
    for low, high in zip(support.indptr[:-1], support.indptr[1:], strict=True):
        assert np.all(np.diff(support.indices[low:high]) > 0)
    alone = Bernoulli(law.rates)
    vectors = np.random.default_rng(seed).standard_normal((law.n_features, 2))
    assert np.array_equal(law.pairwise(), alone.pairwise()) and law.energy(vectors) == alone.energy(vectors)
    assert np.array_equal(law.lagged(0), law.pairwise())


def copies_of(law, count):
    """The law with every feature ``count`` times: as good as that many independent draws of it."""
    return Persistent(GivenRates(law.rates.values * count), law.persistence * count)


def test_every_row_and_pairs_of_rows_have_their_rates():
    draws = 6_000
    fires = dense(copies_of(LAW, draws).draw(7, np.random.default_rng(0))).reshape(7, draws, 6)
    for row in (0, 1, 6):
        assert_rates(fires[row].sum(axis=0), draws, RATES)
        assert_rates(fires[row].T @ fires[row], draws, LAW.pairwise())
    for lag in (1, 3):
        assert_rates(fires[6 - lag].T @ fires[6], draws, LAW.lagged(lag))
    on, stays = fires[4].sum(axis=0), (fires[4] * fires[5]).sum(axis=0)
    for feature in (0, 1, 4, 5):
        assert_rates([stays[feature]], on[feature], [STAY[feature]])


def test_lagged_rates_are_powers_of_the_transition_matrix():
    enter = switch_on(LAW)
    for feature in (0, 1, 4, 5):
        step = np.array([[1 - enter[feature], enter[feature]], [1 - STAY[feature], STAY[feature]]])
        for lag in range(6):
            twice = RATES[feature] * np.linalg.matrix_power(step, lag)[1, 1]
            assert LAW.lagged(lag)[feature, feature] == pytest.approx(twice, abs=1e-15)  # a few roundings of 2^-53


def test_a_mean_over_rows_varies_as_inflated():
    """Variance of the mean of n rows is p (1 - p) / n times (1 + r)/(1 - r) - 2 r (1 - r^n) / (n (1 - r)^2)."""
    n, m, r = 400, 20_000, 0.9
    law = Persistent(EqualRates(m, 0.2), 0.2 + 0.8 * r)
    assert law.inflation() == pytest.approx(np.full(m, (1 + r) / (1 - r)), rel=1e-12)
    means = np.bincount(law.draw(n, np.random.default_rng(0)).indices, minlength=m) / n
    assert_mean(np.square(means - 0.2), 0.2 * 0.8 / n * ((1 + r) / (1 - r) - 2 * r * (1 - r**n) / (n * (1 - r) ** 2)))


def test_persistence_equal_to_the_rate_makes_rows_independent():
    law = Persistent(EqualRates(5, 0.3), 0.3)
    assert law.inflation() == pytest.approx(np.ones(5), abs=1e-15)
    fires = dense(law.draw(20_000, np.random.default_rng(0)))
    assert_rates(fires[0::2].T @ fires[1::2], 10_000, np.full((5, 5), 0.09))


def test_features_that_are_always_or_never_on_and_those_that_never_switch():
    law = Persistent(GivenRates((0.0, 1.0, 0.5)), (0.5, 1.0, 1.0))
    assert law.inflation().tolist() == [1.0, 1.0, np.inf]
    fires = dense(copies_of(law, 400).draw(20, np.random.default_rng(0))).reshape(20, 400, 3)
    assert not fires[:, :, 0].any() and fires[:, :, 1].all()
    assert np.array_equal(fires[0, :, 2], fires.min(axis=0)[:, 2])
    assert np.array_equal(fires[0, :, 2], fires.max(axis=0)[:, 2])
    assert_rates([fires[0, :, 2].sum()], 400, [0.5])


def test_memory_follows_what_fires_where_few_features_do_most_of_the_firing():
    """Room for the busiest block in each of the 1,563 blocks would be 1 GB."""
    law = Persistent(ZipfRates(400_000, 1.0, 0.5), 0.9)
    tracemalloc.start()
    try:
        support = law.draw(50_000, np.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Some arrays of one number a feature, and 48 bytes a run of ten rows with room for as many again.
    assert peak < 20 * (8 * law.n_features + support.indices.nbytes)


def test_runs_that_find_no_room_are_drawn_again_with_room():
    """All on in the first row and switching in every row: 500 runs a feature where the rates of that row promise 1."""
    always = np.ones(3)
    indptr, indices = draw_chains(always, always, always, 1_000, np.random.default_rng(0))
    assert np.array_equal(np.diff(indptr), np.tile([3, 0], 500)) and np.array_equal(indices, np.tile([0, 1, 2], 500))


def test_a_feature_that_must_switch_off_at_once_alternates():
    fires = dense(Persistent(EqualRates(1, 0.5), 0.0).draw(50, np.random.default_rng(0)))[:, 0]
    assert np.all(fires[1:] != fires[:-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Persistent(EqualRates(2, 0.8), 0.5), r"feature 0 has rate p=0.8 and persistence a=0.5 < .* = 0.75"),
        (lambda: Persistent(GivenRates((0.1, 1.0)), 0.9), "feature 1 has rate p=1 and persistence a=0.9"),
        (lambda: Persistent(EqualRates(2, 0.1), 1.5), r"persistence must be finite and lie in \[0, 1\]; got 1.5"),
        (lambda: Persistent(EqualRates(2, 0.1), (0.5,)), "one for each of m=2 features; got 1"),
        (lambda: Persistent(EqualRates(2, 0.1), (0.5, -1.0)), r"persistence\[1\] must be finite"),
        (lambda: LAW.lagged(-1), r"lag must lie in \[0"),
        (lambda: LAW.draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
    ],
)
def test_infeasible_chains_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_chains_of_the_wrong_type_are_refused():
    with pytest.raises(TypeError, match="rates must be a rate law"):
        Persistent(0.5, 0.5)
    with pytest.raises(TypeError, match="persistence must be a real number"):
        Persistent(EqualRates(2, 0.1), "long")
