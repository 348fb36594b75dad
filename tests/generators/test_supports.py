"""Every support law: its true rates, joint rates and energy, and that the same stream gives the same bits."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators import Bernoulli, EqualRates, ExactlyK, Forest, GivenRates, ZipfRates
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import seeds, supports

N = 40_000
MIXED = (-1, 4, 0, 0, -1, 2, 2, 1, 7, -1)  # two trees and a loner, nodes in no order
LAWS = {
    "bernoulli_equal": Bernoulli(EqualRates(30, 0.07)),
    "bernoulli_zipf": Bernoulli(ZipfRates(60, 1.3, 1.0)),
    "bernoulli_extreme": Bernoulli(GivenRates((0.0, 1e-4, 1.0, 0.999, 0.5, 0.25, 0.2500001, 1e-300, 5e-324))),
    "exactly_one": ExactlyK(9, 1),
    "exactly_some": ExactlyK(23, 5),
    "exactly_all": ExactlyK(6, 6),
    "forest_exclusive": Forest.regular(3, 3, 3, root_rate=0.6, child_rate=0.33),
    "forest_full": Forest.regular(2, 4, 2, root_rate=0.5, child_rate=0.25),
    "forest_independent": Forest.regular(3, 3, 2, root_rate=0.5, child_rate=0.6, exclusive=False),
    "forest_mixed": Forest(MIXED, (0.5, 0.9, 0.6, 0.4, 0.7, 0.1, 0.7, 0.5, 1.0, 0.2)),
    "forest_mixed_independent": Forest(MIXED, (0.5, 0.9, 0.6, 0.9, 0.7, 0.1, 0.7, 0.5, 1.0, 0.2), exclusive=False),
    "forest_chain": Forest((-1, *range(19)), (0.9,) * 20),
}
laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


def dense(support):
    fires = np.zeros((support.n_samples, support.n_features), dtype=np.float64)
    fires[np.repeat(np.arange(support.n_samples), np.diff(support.indptr)), support.indices] = 1.0
    return fires


@laws
def test_every_feature_fires_at_its_true_rate(law):
    support = law.draw(N, np.random.default_rng(0))
    assert_rates(np.bincount(support.indices, minlength=law.n_features), N, law.marginals())


@laws
def test_every_pair_fires_at_its_true_joint_rate(law):
    fires = dense(law.draw(N, np.random.default_rng(1)))
    assert_rates(fires.T @ fires, N, law.pairwise())


@laws
def test_successive_samples_are_independent(law):
    """Gaps are carried from one sample to the next, so the pairs (i in sample t, j in sample t + 1) are tested, too."""
    fires = dense(law.draw(N, np.random.default_rng(2)))
    rates = law.marginals()
    # Disjoint pairs of samples, so that each count is binomial.
    assert_rates(fires[0::2].T @ fires[1::2], N // 2, np.outer(rates, rates))


@laws
def test_energy_is_the_mean_squared_norm_of_the_firing_rows(law):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((law.n_features, 5)) + 0.5
    fires = dense(law.draw(N, rng))
    assert_mean(np.square(fires @ vectors).sum(axis=1), law.energy(vectors))


@given(law=supports(), seed=seeds, d=st.integers(1, 70))
@settings(max_examples=80)
def test_energy_equals_the_sum_over_joint_rates(law, seed, d):
    vectors = np.random.default_rng(seed).standard_normal((law.n_features, d))
    direct = np.sum(law.pairwise() * (vectors @ vectors.T))
    scale = np.square(vectors).sum() * law.n_features
    # Both are sums of at most 12 * 12 * 70 terms bounded by ``scale``: rounding below 1e4 * 2^-53 of it.
    assert law.energy(vectors) == pytest.approx(direct, abs=1e-12 * scale)


@given(law=supports())
@settings(max_examples=80)
def test_joint_rates_are_symmetric_feasible_and_have_the_marginals_on_the_diagonal(law):
    joint, rates = law.pairwise(), law.marginals()
    slack = 1e-12  # rounding of products of at most 12 rates
    assert np.array_equal(joint, joint.T)
    assert np.array_equal(np.diag(joint), rates)
    assert np.all(joint <= np.minimum.outer(rates, rates) + slack)
    assert np.all(joint >= np.add.outer(rates, rates) - 1.0 - slack)
    # The covariance of the indicators is positive semi-definite.
    assert np.linalg.eigvalsh(joint - np.outer(rates, rates)).min() > -1e-9


@given(law=supports(), seed=seeds, n=st.integers(0, 600))
@settings(max_examples=80)
def test_rows_hold_ascending_distinct_features_and_the_same_stream_gives_the_same_bits(law, seed, n):
    support, again = law.draw(n, np.random.default_rng(seed)), law.draw(n, np.random.default_rng(seed))
    assert (support.indptr.dtype, support.indices.dtype) == (np.int64, np.int32)
    assert support.indptr.shape == (n + 1,) and support.indptr[0] == 0 and support.indptr[-1] == len(support.indices)
    for low, high in zip(support.indptr[:-1], support.indptr[1:], strict=True):
        row = support.indices[low:high]
        assert np.all(np.diff(row) > 0)
        assert len(row) == 0 or (row[0] >= 0 and row[-1] < law.n_features)
    assert np.array_equal(support.indptr, again.indptr) and np.array_equal(support.indices, again.indices)


@pytest.mark.parametrize("law", [law for name, law in LAWS.items() if name != "exactly_all"], ids=repr)
def test_another_stream_gives_other_samples(law):
    first, second = (law.draw(2_000, np.random.default_rng(seed)) for seed in (0, 1))
    assert not (np.array_equal(first.indptr, second.indptr) and np.array_equal(first.indices, second.indices))


def test_features_of_rate_zero_never_fire_and_of_rate_one_always():
    support = Bernoulli(GivenRates((0.0, 1.0, 0.3))).draw(5_000, np.random.default_rng(0))
    counts = np.bincount(support.indices, minlength=3)
    assert counts[0] == 0 and counts[1] == 5_000


def test_a_law_that_never_fires_has_empty_rows():
    support = Bernoulli(GivenRates((0.0, 0.0))).draw(300, np.random.default_rng(0))
    assert len(support.indices) == 0 and support.n_samples == 300


def test_a_forest_without_edges_is_the_bernoulli_law_bit_by_bit():
    rates = tuple(np.linspace(0.01, 0.9, 17).tolist())
    forest, independent = Forest((-1,) * 17, rates), Bernoulli(GivenRates(rates))
    first, second = forest.draw(700, np.random.default_rng(5)), independent.draw(700, np.random.default_rng(5))
    assert np.array_equal(first.indices, second.indices) and np.array_equal(first.indptr, second.indptr)
    assert np.array_equal(forest.pairwise(), independent.pairwise())


def test_permuting_the_rates_permutes_the_law():
    rng = np.random.default_rng(0)
    rates, order = rng.random(12), rng.permutation(12)
    law, moved = (Bernoulli(GivenRates(tuple(values.tolist()))) for values in (rates, rates[order]))
    vectors = rng.standard_normal((12, 4))
    assert np.array_equal(moved.pairwise(), law.pairwise()[np.ix_(order, order)])
    assert moved.energy(vectors[order]) == pytest.approx(law.energy(vectors), rel=1e-13)  # another order of summation


@laws
def test_energy_is_invariant_to_rotation(law):
    rng = np.random.default_rng(4)
    vectors, rotation = rng.standard_normal((law.n_features, 6)), np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert law.energy(vectors @ rotation) == pytest.approx(law.energy(vectors), rel=1e-12)  # rounding of 6-term sums


def test_large_sparse_worlds_cost_what_fires():
    """Twenty thousand samples of two million features, of which some 400 fire; dense, that is 4 * 10^10 numbers."""
    law = ExactlyK(50_000, 3)
    assert len(law.draw(1_000, np.random.default_rng(0)).indices) == 3_000
    rare = Bernoulli(EqualRates(2_000_000, 1e-8))
    support = rare.draw(20_000, np.random.default_rng(0))
    assert_rates([len(support.indices)], 20_000 * 2_000_000, [1e-8])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EqualRates(0, 0.1), r"m must lie in \[1"),
        (lambda: EqualRates(3, 0.0), r"rate must be finite and lie in \(0, 1\]; got 0.0"),
        (lambda: EqualRates(3, 1.5), "got 1.5"),
        (lambda: EqualRates(3, float("nan")), "got nan"),
        (lambda: ZipfRates(3, -1.0, 0.1), "exponent must be finite"),
        (lambda: ZipfRates(3, 1.0, 2.0), "max_rate must be finite"),
        (lambda: GivenRates(()), "at least one rate"),
        (lambda: GivenRates((0.1, -0.2)), r"values\[1\] must be finite and lie in \[0, 1\]; got -0.2"),
        (lambda: ExactlyK(5, 6), r"k must lie in \[1, m=5\]; got 6"),
        (lambda: ExactlyK(5, 0), r"k must lie in \[1, m=5\]; got 0"),
        (lambda: ExactlyK(5, 2).energy(np.zeros((4, 2))), r"vectors must have shape \(m, d\) with m=5"),
        (lambda: ExactlyK(5, 2).draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
    ],
)
def test_infeasible_requests_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@dataclass(frozen=True)
class Careless:
    """A rate law of somebody else that does not keep its word."""

    n_features: int
    values: tuple[float, ...]

    def rates(self):
        return np.array(self.values)


@pytest.mark.parametrize("law", [Careless(2, (0.5, 1.5)), Careless(2, (0.5,)), Careless(1, (float("nan"),))], ids=repr)
def test_rates_outside_the_unit_interval_or_of_another_number_are_refused(law):
    with pytest.raises(ValueError, match=r"rates must give m=\d numbers in \[0, 1\]"):
        Bernoulli(law)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GivenRates([0.1]), r"values must be a tuple of rates; got list. Pass tuple\(values\)"),
        (lambda: GivenRates((0.1, "a")), r"values\[1\] must be a real number"),
        (lambda: EqualRates(2.0, 0.1), "m must be an integer; got 2.0"),
        (lambda: Bernoulli(0.1), "rates must be a rate law such as"),
    ],
)
def test_requests_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.filterwarnings("error")
def test_small_numpy_integers_are_the_numbers_they_are():
    narrow, wide = ExactlyK(np.int32(65536), np.int32(10)), ExactlyK(65536, 10)
    assert narrow.energy(np.ones((65536, 1))) == wide.energy(np.ones((65536, 1)))
    for law in (Bernoulli(EqualRates(6, 0.3)), ExactlyK(6, 2), Forest((-1, 0), (0.5, 0.5))):
        few, same = (law.draw(n, np.random.default_rng(0)) for n in (np.int8(100), 100))
        assert few.n_samples == 100 and np.array_equal(few.indices, same.indices)


def test_one_sample_of_a_wide_dense_law_takes_no_memory_for_the_rest_of_its_block():
    law = Bernoulli(EqualRates(2**20, 1.0))
    law.draw(0, np.random.default_rng(0))  # lays the rates out, once
    tracemalloc.start()
    support = law.draw(1, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(support.indices) == 2**20
    assert peak < 2**24  # 16 bytes a feature; a whole block would take 256 * 4.4
