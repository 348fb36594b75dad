"""Rows of a prescribed number of features: every sum over subsets against enumeration, and the draws against both."""

from __future__ import annotations

import itertools
import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom, poisson

from sparsesim.generators import (
    BuffetRates,
    EqualRates,
    ExactlyK,
    FixedCount,
    GivenRates,
    IndianBuffet,
    MandelbrotRates,
    NegativeBinomialCount,
    PoissonCount,
    RowRestricted,
    UniformCount,
)
from sparsesim.kernels import restricted as kernel
from sparsesim.kernels.sampling import BLOCK
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import restricted, seeds
from tests.generators.test_sampling_kernels import Twin

N = 40_000
LAWS = {
    "fixed": RowRestricted(GivenRates((0.3, 0.9, 0.05, 0.5, 1e-6, 0.5)), FixedCount(3)),
    "uniform": RowRestricted(GivenRates((0.3, 0.0, 0.9, 1.0, 0.05, 0.5)), UniformCount(1, 5)),
    "poisson": RowRestricted(MandelbrotRates(7, 1.0, 0.5, 0.6), PoissonCount(2.0, 0, 6)),
    "negative_binomial": RowRestricted(EqualRates(6, 0.2), NegativeBinomialCount(2.0, 0.7, 0, 6)),
    "all": RowRestricted(GivenRates((0.3, 0.0, 0.9)), FixedCount(2)),
    "forced_only": RowRestricted(GivenRates((1.0, 0.4, 1.0)), FixedCount(2)),
}
laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


def enumerated(law):
    """Every row and its probability: the product of its odds, normalised among rows of the same number."""
    rates = law.rates.rates()
    rows = np.array(list(itertools.product([0.0, 1.0], repeat=len(rates))))
    rows = rows[np.all((rows <= np.ceil(rates)) & (rows >= np.floor(rates)), axis=1)]  # rates of 0 and 1 have no choice
    odds = np.where((rates > 0) & (rates < 1), rates / np.where(rates < 1, 1.0 - rates, 1.0), 1.0)
    weight, number = rows @ np.log(odds), rows.sum(axis=1).astype(int)
    highest = np.full(len(rates) + 1, -np.inf)
    np.maximum.at(highest, number, weight)
    weight = np.exp(weight - highest[number])  # products of odds as small as 1e-300 would vanish
    count = np.zeros(len(rates) + 1)
    given_count = law.count.probabilities()
    count[: len(given_count)] = given_count
    return rows, weight / np.bincount(number, weight)[number] * count[number]


def dense(support):
    fires = np.zeros((support.n_samples, support.n_features))
    fires[np.repeat(np.arange(support.n_samples), np.diff(support.indptr)), support.indices] = 1.0
    return fires


@given(law=restricted(9), seed=seeds)
@settings(max_examples=50)
def test_rates_pairs_and_energy_are_sums_over_all_rows(law, seed):
    rows, probability = enumerated(law)
    joint = (rows * probability[:, None]).T @ rows
    vectors = np.random.default_rng(seed).standard_normal((law.n_features, 3))
    # Sums of at most 512 positive numbers below 1, from logarithms below 7,000: 7,000 * 2^-52 = 2e-12.
    assert law.marginals() == pytest.approx(np.diag(joint), abs=1e-11)
    assert law.pairwise() == pytest.approx(joint, abs=1e-11)
    energy = probability @ np.square(rows @ vectors).sum(axis=1)
    assert law.energy(vectors) == pytest.approx(energy, abs=1e-11 * (1.0 + np.square(vectors).sum() * len(vectors)))


@laws
def test_every_row_is_drawn_with_its_probability(law):
    rows, probability = enumerated(law)
    drawn = dense(law.draw(N, np.random.default_rng(0))) @ 2.0 ** np.arange(law.n_features)
    counts = (drawn[:, None] == rows @ 2.0 ** np.arange(law.n_features)).sum(axis=0)
    assert_rates(counts, N, np.minimum(probability, 1.0))


@laws
def test_successive_rows_are_independent(law):
    fires, rates = dense(law.draw(N, np.random.default_rng(2))), law.marginals()
    assert_rates(fires[0::2].T @ fires[1::2], N // 2, np.outer(rates, rates))  # disjoint pairs: binomial counts


@given(log_odds=st.lists(st.floats(-30.0, 30.0), max_size=9), data=st.data())
@settings(max_examples=60)
def test_symmetric_sums_are_the_coefficients_of_a_product(log_odds, data):
    most = data.draw(st.integers(0, len(log_odds)))
    sums = kernel.symmetric_sums(np.array(log_odds), most)
    assert sums.shape == (most + 1, len(log_odds) + 1)
    for i in range(len(log_odds) + 1):
        coefficients = [1.0] + [0.0] * most  # of prod (1 + w x), one factor at a time; all terms positive
        for value in log_odds[i:]:
            for j in range(most, 0, -1):
                coefficients[j] += math.exp(value) * coefficients[j - 1]
        for j, coefficient in enumerate(coefficients):
            expected = math.log(coefficient) if coefficient > 0 else -math.inf
            assert sums[j, i] == pytest.approx(expected, abs=1e-12)  # logarithms below 300, 18 roundings of 3e-14
    assert np.all(sums[:, 1:] <= sums[:, :-1])  # what the bisection of the sampler relies on


def twin_rows(law, n, seed):
    """The feature that fires next is found by walking along the row of sums, one step at a time."""
    rng, rates, counts = np.random.default_rng(seed), law.rates.rates(), law.count.probabilities()
    free, forced = np.flatnonzero((rates > 0) & (rates < 1)), np.flatnonzero(rates == 1).tolist()
    uniform = rng.random(n)
    seeds_ = rng.integers(0, 2**64, size=(-(-n // BLOCK), 4), dtype=np.uint64)
    sums = kernel.symmetric_sums(np.log(rates[free]) - np.log1p(-rates[free]), len(counts) - 1 - len(forced))
    for row in range(n):
        if row % BLOCK == 0:
            twin = Twin(seeds_[row // BLOCK])
        left = next(j for j in range(len(counts)) if uniform[row] < counts[: j + 1].sum()) - len(forced)
        place, chosen = 0, list(forced)
        for j in range(left, 0, -1):
            level = sums[j, place] + math.log(1.0 - twin.uniform())
            while place + 1 <= len(free) - j and sums[j, place + 1] >= level:
                place += 1
            chosen.append(free[place])
            place += 1
        yield sorted(chosen)


@given(law=restricted(), seed=seeds, n=st.integers(0, 400))
@settings(max_examples=25)
def test_rows_are_drawn_as_by_the_twin(law, seed, n):
    support, expected = law.draw(n, np.random.default_rng(seed)), list(twin_rows(law, n, seed))
    assert np.array_equal(np.diff(support.indptr), [len(row) for row in expected])
    assert np.array_equal(support.indices, [feature for row in expected for feature in row])


def test_equal_rates_and_a_fixed_count_are_uniform_subsets():
    law, uniform = RowRestricted(EqualRates(30, 0.01), FixedCount(7)), ExactlyK(30, 7)
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    # 30 * 7 recursions, each rounded.
    assert law.marginals() == pytest.approx(uniform.marginals(), rel=1e-12)
    assert law.pairwise() == pytest.approx(uniform.pairwise(), rel=1e-12)
    assert law.energy(vectors) == pytest.approx(uniform.energy(vectors), rel=1e-12)


def test_the_law_of_the_count_undoes_the_restriction():
    """Given the number that independent features have by themselves, they are independent."""
    rates = (0.3, 0.6, 0.1, 0.8)
    poly = np.array([1.0])
    for rate in rates:
        poly = np.convolve(poly, [1 - rate, rate])
    joint = np.zeros((4, 4))
    for k in range(5):
        joint += poly[k] * RowRestricted(GivenRates(rates), FixedCount(k)).pairwise()
    assert joint == pytest.approx(np.outer(rates, rates) + np.diag(np.array(rates) * (1 - np.array(rates))), abs=1e-14)


@given(law=restricted(), factor=st.floats(0.01, 100.0))
@settings(max_examples=25)
def test_only_ratios_of_odds_matter(law, factor):
    rates = law.rates.rates()
    tilted = np.where(rates < 1, factor * rates / (1.0 - rates + factor * rates), 1.0)
    if np.any((tilted == 1) & (rates < 1)) or np.any((rates > 0) & (rates < 1e-300)) or np.any(rates[rates < 1] > 0.99):
        return  # the odds themselves are lost by rounding
    moved = RowRestricted(GivenRates(tuple(tilted.tolist())), law.count)
    assert moved.pairwise() == pytest.approx(law.pairwise(), abs=1e-11)  # odds near 100 lose two digits


@given(law=restricted(), seed=seeds)
@settings(max_examples=25)
def test_permuting_the_rates_permutes_the_law(law, seed):
    rates, order = law.rates.rates(), np.random.default_rng(seed).permutation(law.n_features)
    moved = RowRestricted(GivenRates(tuple(rates[order].tolist())), law.count)
    assert moved.pairwise() == pytest.approx(law.pairwise()[np.ix_(order, order)], abs=1e-12)


@pytest.mark.parametrize(("m", "k"), [(10_000, 30), (2_000, 1_500), (500, 500)])
def test_many_features_have_rates_that_sum_to_the_count_and_are_met(m, k):
    law = RowRestricted(MandelbrotRates(m, 1.5, 1.0, 0.7), FixedCount(k))
    rates = law.marginals()
    assert rates.sum() == pytest.approx(k, rel=1e-11)  # logarithms up to 1e4 keep 12 digits
    assert np.all((rates > 0) & (rates <= 1.0 + 1e-11))
    support = law.draw(300, np.random.default_rng(0))
    assert np.all(np.diff(support.indptr) == k)
    assert_rates(np.bincount(support.indices, minlength=m), 300, np.minimum(rates, 1.0))


def test_pairs_of_many_features_sum_to_the_count_times_the_rate():
    law = RowRestricted(MandelbrotRates(400, 1.0, 1.0, 0.7), FixedCount(20))
    assert law.pairwise().sum(axis=1) == pytest.approx(20 * law.marginals(), rel=1e-11)
    vectors = np.random.default_rng(0).standard_normal((400, 9))
    assert law.energy(vectors) == pytest.approx(np.sum(law.pairwise() * (vectors @ vectors.T)), rel=1e-11)


def test_rates_at_the_ends_of_the_numbers_are_no_trouble():
    law = RowRestricted(GivenRates((5e-324, 1e-300, 1.0 - 2.0**-53, 0.5, 1e-300)), FixedCount(3))
    # Both of the common features, and one of the two whose odds are 1e-300; the denormal one never.
    assert law.marginals() == pytest.approx([5e-24, 0.5, 1.0, 1.0, 0.5], rel=1e-2)
    support = law.draw(2_000, np.random.default_rng(0))
    counts = np.bincount(support.indices, minlength=5)
    assert counts[0] == 0 and counts[2] == counts[3] == 2_000
    assert_rates(counts[[1, 4]], 2_000, [0.5, 0.5])


def test_a_restricted_buffet_has_the_row_sums_asked_for():
    rates = BuffetRates(IndianBuffet(6.0, 1.0, 0.4), 200, 0)
    law = RowRestricted(rates, NegativeBinomialCount(8.0, 2.0, 1, 40))
    fired = np.diff(law.draw(N, np.random.default_rng(0)).indptr)
    assert_rates(np.bincount(fired, minlength=41), N, law.count.probabilities())
    assert law.marginals().sum() == pytest.approx(np.arange(41) @ law.count.probabilities(), rel=1e-12)


def test_counts_are_the_named_laws_cut_to_their_range():
    r, mean = 0.7, 2.0
    inside = np.arange(2, 7)
    for law, full in (
        (PoissonCount(mean, 2, 6), poisson.pmf(inside, mean)),
        (NegativeBinomialCount(mean, r, 2, 6), nbinom.pmf(inside, r, r / (r + mean))),
        (UniformCount(2, 6), np.ones(5)),
    ):
        assert law.probabilities() == pytest.approx(np.concatenate([[0, 0], full / full.sum()]), rel=1e-12)
    assert np.array_equal(FixedCount(2).probabilities(), [0, 0, 1])
    far = PoissonCount(1e-3, 900, 1_000).probabilities()  # a tail of 1e-4000 before it is normalised
    assert far.sum() == pytest.approx(1.0, abs=1e-12) and far[900] > 0.999
    many = NegativeBinomialCount(30.0, 1e9, 0, 80).probabilities()  # the Poisson limit, wrong by mean^2 / dispersion
    assert many == pytest.approx(PoissonCount(30.0, 0, 80).probabilities(), abs=1e-5)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")
def test_the_same_bits_for_one_thread_and_two():
    before, drawn = numba.get_num_threads(), []
    law = RowRestricted(MandelbrotRates(60, 1.0, 1.0, 0.7), UniformCount(2, 9))
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            drawn.append((law.draw(3_000, np.random.default_rng(1)), law.pairwise()))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(drawn[0][0].indices, drawn[1][0].indices) and np.array_equal(drawn[0][1], drawn[1][1])


def test_the_energy_is_the_mean_squared_norm_of_what_is_drawn():
    law = LAWS["uniform"]
    vectors = np.random.default_rng(3).standard_normal((6, 4)) + 0.5
    fires = dense(law.draw(N, np.random.default_rng(4)))
    assert_mean(np.square(fires @ vectors).sum(axis=1), law.energy(vectors))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: RowRestricted(GivenRates((0.1, 0.0, 0.2)), FixedCount(3)),
            ValueError,
            r"number of rates above 0; got counts up to 3 > 2",
        ),
        (
            lambda: RowRestricted(GivenRates((1.0, 1.0, 0.2)), UniformCount(1, 3)),
            ValueError,
            r"number of rates equal to 1; got counts from 1 < 2",
        ),
        (lambda: RowRestricted(EqualRates(10**6, 0.1), FixedCount(1_000)), ValueError, r"at most 2\^27"),
        (lambda: RowRestricted(0.1, FixedCount(3)), TypeError, "rates must be a rate law"),
        (lambda: RowRestricted(EqualRates(5, 0.1), 3), TypeError, r"count must be a count law such as FixedCount\(5\)"),
        (lambda: RowRestricted(EqualRates(5, 0.1), FixedCount), TypeError, "count must be a count law"),
        (lambda: FixedCount(-1), ValueError, r"k must lie in \[0"),
        (lambda: UniformCount(3, 2), ValueError, r"low must lie in \[0, high=2\]; got 3"),
        (lambda: PoissonCount(0.0, 0, 3), ValueError, "mean must be finite"),
        (lambda: NegativeBinomialCount(1.0, 0.0, 0, 3), ValueError, "dispersion must be finite"),
        (lambda: LAWS["fixed"].energy(np.zeros((5, 2))), ValueError, "vectors must have shape"),
        (lambda: LAWS["fixed"].draw(-1, np.random.default_rng(0)), ValueError, r"n must lie in \[0"),
    ],
)
def test_infeasible_counts_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
