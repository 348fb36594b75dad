"""Correlated firing: rates, pairs, triples and counts of every correlation, the kernels, and what is refused."""

from __future__ import annotations

import math
import tracemalloc

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import chi2

from sparsesim._identity import key
from sparsesim.generators import (
    BlockCorrelation,
    CorrelatedBernoulli,
    DenseCorrelation,
    EqualRates,
    FactorCorrelation,
    FeatureSpec,
    GivenRates,
    HalfNormal,
    LowRankCorrelation,
    RandomSphere,
    ZipfRates,
)
from sparsesim.kernels import copula
from tests.generators.chance import ALPHA, assert_mean, assert_rates
from tests.generators.strategies import correlated, seeds
from tests.generators.test_supports import dense

N = 40_000
RATES = GivenRates((0.0, 1.0, 0.5, 0.3, 0.01, 0.9, 0.99, 1e-6, 0.2, 0.1, 0.4, 0.05))
TOEPLITZ = tuple(tuple((-0.8) ** abs(i - j) for j in range(12)) for i in range(12))
LAWS = {
    "dense": CorrelatedBernoulli(RATES, DenseCorrelation(TOEPLITZ)),
    "low_rank": CorrelatedBernoulli(RATES, LowRankCorrelation(3, 0.3, seed=1)),
    "low_rank_strong": CorrelatedBernoulli(RATES, LowRankCorrelation(2, 5.0, seed=2, shrink=True)),
    "many_tiles": CorrelatedBernoulli(ZipfRates(600, 0.9, 0.9), LowRankCorrelation(5, 0.2, seed=3)),
    "given_factor": CorrelatedBernoulli(RATES, FactorCorrelation(((0.7, 0.7), (0.7, -0.7)) * 6)),
    "blocks": CorrelatedBernoulli(RATES, BlockCorrelation((3, 4, 5), 0.6)),
    "blocks_nearly_equal": CorrelatedBernoulli(RATES, BlockCorrelation((3, 4, 5), 0.9999)),
    "blocks_uncorrelated": CorrelatedBernoulli(RATES, BlockCorrelation((3, 4, 5), 0.0)),
    "blocks_negative": CorrelatedBernoulli(RATES, BlockCorrelation((3, 4, 5), -0.24)),
}
laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@laws
def test_every_feature_and_every_pair_fires_at_its_true_rate(law):
    fires = dense(law.draw(N, np.random.default_rng(0)))
    assert_rates(fires.sum(axis=0), N, law.marginals())
    assert_rates(fires.T @ fires, N, law.pairwise())


@laws
def test_successive_samples_are_independent(law):
    """The clock runs on from tile to tile but never from sample to sample; pairs of these are disjoint here."""
    fires = dense(law.draw(N, np.random.default_rng(1)))
    rates = law.marginals()
    assert_rates(fires[0::2].T @ fires[1::2], N // 2, np.outer(rates, rates))


@laws
def test_energy_is_the_mean_squared_norm_of_the_firing_rows(law):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((law.n_features, 4)) + 0.5
    fires = dense(law.draw(N, rng))
    assert_mean(np.square(fires @ vectors).sum(axis=1), law.energy(vectors))


def given_one_factor(rates, load):
    """Gauss-Hermite points of one factor, their weights, and the firing probabilities given it."""
    node, weight = np.polynomial.hermite_e.hermegauss(120)
    chance = ndtr((ndtri(rates) + load * node[:, None]) / np.sqrt(1.0 - load**2))
    return weight / weight.sum(), chance


@pytest.mark.parametrize("kind", ["shared", "factor", "dense"])
def test_the_number_that_fires_and_triples_follow_the_law_given_the_factor(kind):
    """Beyond pairs: with one shared factor the count is a mixture of Poisson-binomial laws, an integral over it."""
    rates, rho = np.array([0.5, 0.3, 0.2, 0.1, 0.4, 0.05]), 0.5
    rows = tuple(tuple(1.0 if i == j else rho for j in range(6)) for i in range(6))
    correlation = {
        "shared": BlockCorrelation((6,), rho),
        "factor": FactorCorrelation(((math.sqrt(rho),),) * 6),
        "dense": DenseCorrelation(rows),
    }[kind]
    fires = dense(CorrelatedBernoulli(GivenRates(tuple(rates.tolist())), correlation).draw(N, np.random.default_rng(4)))
    weight, chance = given_one_factor(rates, math.sqrt(rho))
    assert_rates([np.sum(fires[:, 0] * fires[:, 1] * fires[:, 3])], N, [weight @ chance[:, [0, 1, 3]].prod(axis=1)])
    counts = np.zeros((len(weight), 7))
    counts[:, 0] = 1.0
    for feature in range(6):
        p = chance[:, [feature]]
        counts = counts * (1.0 - p) + np.roll(counts, 1, axis=1) * p
    expected = N * (weight @ counts)
    seen = np.bincount(fires.sum(axis=1).astype(int), minlength=7)
    assert np.sum((seen - expected) ** 2 / expected) < chi2.isf(ALPHA, 6)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_one_correlation_said_in_four_ways_is_one_law(rho):
    sizes, rates = (3, 2), GivenRates((0.1, 0.5, 0.7, 0.02, 0.3))
    same = np.repeat([0, 1], sizes)[:, None] == np.repeat([0, 1], sizes)
    matrix = np.where(np.eye(5, dtype=bool), 1.0, np.where(same, rho, 0.0))
    factor = np.sqrt(rho) * np.eye(2)[np.repeat([0, 1], sizes)]
    ways = [BlockCorrelation(sizes, rho), DenseCorrelation(tuple(map(tuple, matrix.tolist())))]
    ways.append(FactorCorrelation(tuple(map(tuple, factor.tolist()))))
    joint = [CorrelatedBernoulli(rates, way).pairwise() for way in ways]
    # The factor squares the root of rho, one rounding.
    assert joint[1] == pytest.approx(joint[0], abs=1e-15) and joint[2] == pytest.approx(joint[0], abs=1e-15)


def test_permuting_rates_and_correlation_permutes_the_law():
    rng, order = np.random.default_rng(0), np.random.default_rng(1).permutation(12)
    rates, matrix, vectors = RATES.rates(), np.array(TOEPLITZ), rng.standard_normal((12, 3))
    moved = CorrelatedBernoulli(
        GivenRates(tuple(rates[order].tolist())), DenseCorrelation(tuple(map(tuple, matrix[np.ix_(order, order)])))
    )
    law = LAWS["dense"]
    assert np.array_equal(moved.pairwise(), law.pairwise()[np.ix_(order, order)])
    assert moved.energy(vectors[order]) == pytest.approx(law.energy(vectors), rel=1e-12)  # another order of summation


@given(law=correlated(), seed=seeds, n=st.integers(0, 600))
@settings(max_examples=30)
def test_the_result_does_not_depend_on_the_number_of_threads(law, seed, n):
    before = numba.get_num_threads()
    try:
        rows = []
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(threads)
            rows.append(law.draw(n, np.random.default_rng(seed)))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(rows[0].indptr, rows[1].indptr) and np.array_equal(rows[0].indices, rows[1].indices)


@laws
def test_what_has_rate_one_always_fires_and_what_has_rate_zero_never(law):
    counts = np.bincount(law.draw(N, np.random.default_rng(5)).indices, minlength=law.n_features)
    assert np.all(counts[law.marginals() == 1.0] == N) and np.all(counts[law.marginals() == 0.0] == 0)


@given(seed=seeds, rank=st.integers(1, 11), scale=st.sampled_from([0.1, 1.0, 30.0, 1000.0]))
@settings(max_examples=30)
def test_bounds_in_single_precision_are_above_every_hazard_and_not_far_above(seed, rank, scale):
    """Law of the thinning: no feature's hazard may exceed its chunk's bound, whatever the rounding."""
    rng = np.random.default_rng(seed)
    m, n = 300, 6
    level, load = rng.uniform(-12.0, 8.0, m), scale * rng.standard_normal((m, rank)) / math.sqrt(rank)
    law = copula.factors_of(level, load, np.ones(m), np.full(m, -1), np.zeros(m, dtype=bool), 1.0)
    z = rng.standard_normal((n, rank))
    exact = level + z @ load.T
    for tile, flat in enumerate(law.member):
        member = flat.reshape(copula.CHUNKS, copula.STRIPS)
        score = np.empty((n, copula.TILE), np.float32)
        copula._scores_(law.tile_load[tile], law.tile_level[tile], z.astype(np.float32), score)
        reach = law.height[tile] + law.reach[tile] * np.linalg.norm(z, axis=1)
        slack = (1e-5 + copula.ROUNDING * (rank + 4) * reach).astype(np.float32)
        strips = score.reshape(n, copula.STRIPS, copula.CHUNKS).transpose(0, 2, 1)
        wrong = np.where(there := member >= 0, np.abs(strips - exact[:, member]), 0.0)
        assert np.all(wrong.max(axis=(1, 2)) <= slack)
        bound, group = np.empty((n, copula.CHUNKS), np.float32), np.empty((n, copula.GROUPS), np.float32)
        copula._bounds_(score, slack, np.empty(copula.CHUNKS, np.int32), bound, group)
        hazard = np.where(there, -log_ndtr(-np.minimum(exact[:, member], 9.0)), 0.0)
        assert np.all(bound >= hazard.max(axis=2))
        # One cell further up at most, by the mean-value theorem: h' = phi / (1 - Phi) <= |a| + 1 for a > 0, and below
        # that log h changes at most |a| + 1 times as fast as a.
        top = np.where(there, exact[:, member], -20.0).max(axis=2)
        above = np.minimum(top + 2.0 * slack[:, None] + 1.1 / copula.FINE, 9.0)
        assert np.all(bound <= -log_ndtr(-np.maximum(above, -8.9)) * (1 + 1e-6))
        sums = bound.reshape(n, -1, copula.GROUPS).sum(axis=1, dtype=np.float64)
        assert np.all(group.astype(np.float64) * copula.WIDER >= sums)


def test_decisions_have_their_probabilities_also_where_the_table_does_not_decide():
    state, n = np.array([5, 6, 7, 8], dtype=np.uint64), 60_000
    for score in (-2.0, -2.0 + 0.7 / 64, 0.0, 0.011, 3.1):
        hazard = -log_ndtr(-score)
        fired = sum(copula._fires_(state, score) for _ in range(n))
        kept = sum(copula._kept_(state, score, 1.01 * hazard) for _ in range(n))
        assert_rates([fired, kept], n, [ndtr(score), 1.0 / 1.01])


@pytest.mark.parametrize("score", [-np.inf, -40.0, -9.0, -8.99, 8.99, 9.0, 40.0, np.inf])
def test_scores_beyond_the_table_are_decided(score):
    state = np.array([5, 6, 7, 8], dtype=np.uint64)
    fires = [copula._fires_(state, score) for _ in range(1_000)]
    assert all(fires) if score > 0 else not any(fires)


def test_tables_bracket_the_functions_in_every_cell():
    edge = copula.LOWEST + np.arange(copula.CELLS + 1) / copula.FINE
    inside = np.minimum(edge + 0.5 / copula.FINE, 9.0)
    hazard, chance = -log_ndtr(-inside), ndtr(inside)
    less, more = 1.0 - 1e-13, 1.0 + 1e-13  # two implementations of the functions, where a cell ends
    assert np.all(less * copula.HAZARD_LOW[1:] <= hazard[1:]) and np.all(hazard <= more * copula.HAZARD_HIGH)
    assert np.all(less * copula.PHI_LOW[1:] <= chance[1:]) and np.all(chance <= more * copula.PHI_HIGH)
    assert copula.HAZARD_LOW[0] == 0.0 and copula.PHI_LOW[0] == 0.0
    assert copula.HAZARD_HIGH[-1] > 53 * math.log(2)  # what is certain rings: exponential numbers stay below


def test_many_features_with_shared_factors_have_their_rates_and_joint_rates():
    m, n = 16_384, 20_000
    law = CorrelatedBernoulli(ZipfRates(m, 0.5, 0.1), LowRankCorrelation(25, 0.1, seed=0))
    support = law.draw(n, np.random.default_rng(0))
    assert_rates(np.bincount(support.indices, minlength=m), n, law.marginals())
    frequent = np.arange(40)
    fires = np.zeros((n, 40))
    mine = support.indices < 40
    fires[np.repeat(np.arange(n), np.diff(support.indptr))[mine], support.indices[mine]] = 1.0
    first, second = (index.ravel() for index in np.meshgrid(frequent, frequent))
    assert_rates(fires.T @ fires, n, law.pairwise_at(first, second))


def test_energy_takes_the_pairs_in_tiles(monkeypatch):
    law = CorrelatedBernoulli(ZipfRates(70, 0.5, 0.5), LowRankCorrelation(4, 0.2, seed=0))
    vectors = np.random.default_rng(0).standard_normal((70, 3))
    direct = np.sum(law.pairwise() * (vectors @ vectors.T))
    monkeypatch.setattr("sparsesim.generators.copula._TILE", 100)
    assert law.energy(vectors) == pytest.approx(direct, rel=1e-12)  # some 5,000 terms, rounding 2^-53 each
    assert np.array_equal(law.pairwise(), law.pairwise().T)


def test_loadings_are_a_function_of_the_specification_and_shrink_only_when_asked():
    first, second = (LowRankCorrelation(3, 0.1, seed).factor(50) for seed in (0, 1))
    assert np.array_equal(first, LowRankCorrelation(3, 0.1, 0).factor(50)) and not np.array_equal(first, second)
    strong = LowRankCorrelation(3, 0.5, 0, shrink=True).factor(50)
    norms = np.square(5.0 * first).sum(axis=1)
    assert 0 < np.sum(norms > 0.99) < 50
    # Rows above the limit keep their direction, the others all: a few roundings.
    assert strong == pytest.approx(5.0 * first * np.minimum(1.0, np.sqrt(0.99 / norms))[:, None], rel=1e-13)
    assert key(LowRankCorrelation(3, 0.1, 0)) != key(LowRankCorrelation(3, 0.1, 1))


def test_the_loadings_have_the_stated_spread():
    factor = LowRankCorrelation(25, 0.1, seed=0).factor(4_000)
    assert_mean(factor.ravel(), 0.0)
    products = np.einsum("ij,ij->i", factor[0::2], factor[1::2])
    assert_mean(np.square(products), 0.1**4 * 25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseCorrelation(((1.0, 0.5), (0.4, 1.0))), "rows must be symmetric with ones on the diagonal"),
        (lambda: DenseCorrelation(((2.0,),)), "rows must be symmetric with ones on the diagonal"),
        (lambda: DenseCorrelation(((1.0, 0.0),)), r"rows must be a square matrix \(m, m\); got shape \(1, 2\)"),
        (lambda: DenseCorrelation(((1.0, 0.5), (0.5,))), "all of the same length"),
        (lambda: DenseCorrelation(()), "at least one row"),
        (lambda: DenseCorrelation(((float("nan"),),)), "got NaN or infinity"),
        (
            lambda: DenseCorrelation(((1.0, 0.9, -0.9), (0.9, 1.0, 0.9), (-0.9, 0.9, 1.0))),
            "the smallest eigenvalue of rows is -0.8 < 1e-10",
        ),
        (lambda: DenseCorrelation(((1.0, 1.0), (1.0, 1.0))), "must be positive definite"),
        (lambda: BlockCorrelation((4, 2), -0.4), r"-1 / \(size - 1\) = -0.333333 < rho < 1 .* size=4; got -0.4"),
        (lambda: BlockCorrelation((4, 2), 1.0), "rho < 1"),
        (lambda: BlockCorrelation((0, 2), 0.1), r"sizes\[0\] must lie in \[1"),
        (lambda: BlockCorrelation((), 0.1), "at least one block"),
        (lambda: BlockCorrelation((2,), float("nan")), "rho must be finite"),
        (lambda: LowRankCorrelation(0, 0.1), r"rank must lie in \[1"),
        (lambda: LowRankCorrelation(2, -0.1), "scale must be finite"),
        (lambda: LowRankCorrelation(2, 0.1, -1), r"seed must lie in \[0"),
        (lambda: FactorCorrelation(((0.9, 0.9),)), r"that of feature 0 is 1.62 > 0.99"),
        (
            lambda: CorrelatedBernoulli(EqualRates(50, 0.1), LowRankCorrelation(3, 0.9)),
            r"scale=0.9 at rank=3 must share at most 0.99 .* pass shrink=True",
        ),
        (
            lambda: CorrelatedBernoulli(EqualRates(3, 0.1), BlockCorrelation((2, 2), 0.1)),
            "as many features as there are rates, m=3; the sum of sizes has 4",
        ),
        (lambda: CorrelatedBernoulli(EqualRates(3, 0.1), DenseCorrelation(((1.0,),))), "m=3; rows has 1"),
        (lambda: CorrelatedBernoulli(EqualRates(3, 0.1), FactorCorrelation(((0.1,),))), "m=3; rows has 1"),
        (
            lambda: CorrelatedBernoulli(EqualRates(8_193, 0.1), LowRankCorrelation(1, 0.1)).pairwise(),
            r"m <= 8192; got m=8193. Ask for the pairs that matter: pairwise_at",
        ),
        (
            lambda: CorrelatedBernoulli(EqualRates(32_769, 0.1), LowRankCorrelation(1, 0.1)).energy(
                np.ones((32_769, 1))
            ),
            "at most 32768 features; got 32769",
        ),
        (lambda: LAWS["blocks"].draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
        (lambda: LAWS["blocks"].energy(np.ones((3, 1))), "vectors must have shape"),
    ],
)
def test_infeasible_requests_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseCorrelation([[1.0]]), r"rows must be a tuple of tuples; got list"),
        (lambda: DenseCorrelation((("a",),)), "rows must hold real numbers"),
        (lambda: BlockCorrelation([2], 0.1), "sizes must be a tuple; got list"),
        (lambda: LowRankCorrelation(2.0, 0.1), "rank must be an integer"),
        (lambda: LowRankCorrelation(2, 0.1, 0, 1), "shrink must be True or False; got 1"),
        (lambda: CorrelatedBernoulli(0.1, BlockCorrelation((2,), 0.1)), "rates must be a rate law such as"),
        (lambda: CorrelatedBernoulli(EqualRates(2, 0.1), 0.1), "correlation must be a correlation such as"),
    ],
)
def test_requests_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_latent_correlations_of_many_pairs_are_gathered_in_pieces(monkeypatch):
    law, first, second = LowRankCorrelation(7, 0.2), *np.triu_indices(30, 0)
    whole = law.at(30, first, second)
    monkeypatch.setattr("sparsesim.generators.correlation._GATHERED", 70)  # ten pairs at once, of 465
    assert np.array_equal(law.at(30, first, second), whole)
    factor = law.factor(30)
    expected = factor @ factor.T
    np.fill_diagonal(expected, 1.0)
    assert whole == pytest.approx(expected[first, second], abs=1e-15)  # seven products below 1/4


def test_joint_rates_of_many_pairs_take_memory_for_the_pairs_and_not_for_their_loadings():
    law = LowRankCorrelation(200, 0.03)
    first, second = np.triu_indices(1_000, 1)
    law.factor(1_000)
    tracemalloc.start()
    try:
        law.at(1_000, first, second)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # all loadings of half a million pairs at once are 1.6 GB


def test_a_block_too_large_to_sum_is_estimated_from_samples(monkeypatch):
    monkeypatch.setattr("sparsesim.generators.copula.MOST_SUMMED", 29)
    law = CorrelatedBernoulli(EqualRates(30, 0.1), LowRankCorrelation(2, 0.1))
    with pytest.raises(ValueError, match="at most 29 features; got 30"):
        law.energy(np.ones((30, 1)))
    model = FeatureSpec(2, law, RandomSphere(), HalfNormal()).build(np.random.default_rng(0))
    assert model.energy.error > 0 and not model.moments.exact


def test_blocks_of_many_features_are_summed_block_by_block():
    """A hundred thousand features in blocks of four: the energy needs 150,000 pairs, not 5 * 10^9."""
    m = 100_000
    law = CorrelatedBernoulli(EqualRates(m, 0.001), BlockCorrelation((4,) * (m // 4), 0.5))
    pair = float(law.pairwise_at(np.array([0]), np.array([1]))[0])
    expected = m * 0.001 + 3 * m * pair + m * (m - 4) * 0.001**2
    assert law.energy(np.ones((m, 1))) == pytest.approx(expected, rel=1e-10)  # 10^5 terms, correlated rounding 2^-53
    support = law.draw(2_000, np.random.default_rng(0))
    assert_mean(np.square(np.diff(support.indptr).astype(float)), expected)
