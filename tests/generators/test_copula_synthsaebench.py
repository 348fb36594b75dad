"""The SynthSAEBench law: against a slow dense twin of the released procedure, closed forms, and what is published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from sparsesim.generators import (
    BlockCorrelation,
    EqualRates,
    FactorCorrelation,
    GivenRates,
    LowRankCorrelation,
    SynthSAEBenchSupport,
    ZipfRates,
)
from sparsesim.kernels.latent import gated_rates
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import gated, parent_tuples, probabilities, seeds
from tests.generators.test_supports import dense

N = 60_000
PARENTS = (-1, -1, 0, 0, 0, 1, 1, 2, 2, 2, 5, 5, -1, 5)
RATES = (0.6, 0.5, 0.3, 0.25, 0.2, 0.3, 0.1, 0.1, 0.15, 0.1, 0.1, 0.2, 0.3, 0.05)
STRONG = LowRankCorrelation(3, 0.3, seed=1)
SOME = tuple(feature != 5 for feature in range(14))
POSITIVE = tuple(0.6 + 0.4 * (feature % 3) / 2 for feature in range(14))
LAWS = {
    "compensated": SynthSAEBenchSupport(GivenRates(RATES), PARENTS, STRONG),
    "as_declared": SynthSAEBenchSupport(GivenRates(RATES), PARENTS, STRONG, compensate=False),
    "some_exclusive": SynthSAEBenchSupport(GivenRates(RATES), PARENTS, STRONG, SOME, positive=POSITIVE),
    "independent": SynthSAEBenchSupport(GivenRates(RATES), PARENTS, STRONG, exclusive=False, positive=POSITIVE),
}
laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


def released(law, n, rng):
    """Draw all m features, strike out level by level and let siblings compete: the published procedure, dense."""
    m, parents = law.n_features, np.array(law.parents)
    factor = law.correlation.factor(m)
    own = np.sqrt(1.0 - np.square(factor).sum(axis=1))
    latent = rng.standard_normal((n, factor.shape[1])) @ factor.T + own * rng.standard_normal((n, m))
    on = latent > -ndtri(law.drawn_rates())
    if law.positive is not None:
        on &= rng.random((n, m)) < np.array(law.positive)
    exclusive = np.full(m, law.exclusive)
    level = np.flatnonzero(parents < 0)
    while len(level):
        below = [node for node in range(m) if parents[node] in level]
        on[:, level] &= np.where(parents[level] < 0, True, on[:, parents[level]])
        for parent in level[exclusive[level]]:
            children = np.flatnonzero(parents == parent)
            if len(children):
                lot = np.where(on[:, children], rng.random((n, len(children))), -1.0)
                on[:, children] &= lot == lot.max(axis=1, keepdims=True)
        level = np.array(below, dtype=int)
    return on.astype(float)


@laws
def test_the_law_is_that_of_the_released_procedure(law):
    fires, twin = dense(law.draw(N, np.random.default_rng(0))), released(law, N, np.random.default_rng(1))
    # Of the firings of a feature or a pair in both, each is as likely to be in one as in the other; where a pair
    # fires often the two counts vary less than the binomial law says, never more.
    first, second = fires.T @ fires, twin.T @ twin
    assert_rates(first, np.ravel(first + second), np.full(first.size, 0.5))
    thirds = [fires[:, [0]] * fires, twin[:, [0]] * twin]
    first, second = (third.T @ third for third in thirds)
    assert_rates(first, np.ravel(first + second), np.full(first.size, 0.5))


@laws
def test_every_feature_fires_at_its_true_rate(law):
    rates, errors = law.marginals(), law.marginal_errors()
    # The quadrature is much finer than the counts: a fifth of their error adds 2% to it.
    assert np.all(errors <= 0.2 * np.sqrt(rates * (1 - rates) / N))
    assert_rates(dense(law.draw(N, np.random.default_rng(2))).sum(axis=0), N, rates)
    roots = np.array(law.parents) < 0
    assert np.all(errors[roots] == 0.0)
    assert np.array_equal(rates[roots], np.array(RATES)[roots] * np.array(law.positive or np.ones(14))[roots])


@laws
def test_successive_samples_are_independent(law):
    fires = dense(law.draw(N, np.random.default_rng(3)))
    product = fires[0::2].T @ fires[1::2]
    assert_rates(product, N // 2, np.outer(law.marginals(), law.marginals()))


def test_rates_agree_with_quadrature_over_one_factor():
    """A root, two competing children and a grandchild under one shared factor: a one-dimensional integral."""
    load, drawn = np.array([0.6, -0.5, 0.4, 0.7]), (0.4, 0.3, 0.2, 0.5)
    law = SynthSAEBenchSupport(
        GivenRates(drawn), (-1, 0, 0, 1), FactorCorrelation(tuple((float(f),) for f in load)), compensate=False
    )
    node, weight = np.polynomial.hermite_e.hermegauss(120)
    root, one, two, last = ndtr((ndtri(np.array(drawn)) + node[:, None] * load) / np.sqrt(1.0 - load**2)).T
    given = [root, root * one * (1.0 - two / 2.0), root * two * (1.0 - one / 2.0)]
    given.append(given[1] * last)
    expected = np.array([weight @ rate for rate in given]) / weight.sum()
    rates, errors = law.marginals(), law.marginal_errors()
    # Six standard errors, of 16 randomisations; Monte Carlo with 8,192 points would have errors of 2e-3.
    assert np.all(np.abs(rates - expected) <= 6.0 * errors + 1e-13) and errors.max() < 1e-4


@given(chances=st.lists(probabilities, min_size=1, max_size=9), positive=probabilities)
@settings(max_examples=60)
def test_the_winner_among_siblings_has_its_probability_exactly(chances, positive):
    """E[1 / (1 + others)] by summing over all patterns of the siblings; the factors have no effect here."""
    k = len(chances)
    patterns = (np.arange(2**k)[:, None] >> np.arange(k) & 1).astype(bool)
    probability = np.where(patterns, chances, 1.0 - np.array(chances)).prod(axis=1)
    wins = patterns / np.maximum(patterns.sum(axis=1), 1)[:, None]
    level = ndtri(np.array([positive, *chances]))
    law = (level, np.zeros((k + 1, 1)), np.ones(k + 1))
    tree = (np.array([0, *[k] * (k + 1)]), np.arange(1, k + 1, dtype=np.int32), np.ones(k + 1, dtype=bool))
    rates = gated_rates(np.zeros((2, 3, 1)), law, np.arange(k + 1), tree)
    # A few dozen roundings and the probit and back, of relative error 1e-14 in the far tail.
    assert rates == pytest.approx(np.tile([positive, *(positive * (probability @ wins))], (2, 1)), rel=1e-12, abs=1e-15)


@given(law=gated(), seed=seeds)
@settings(max_examples=30)
def test_no_child_is_on_without_its_parent_and_no_two_exclusive_siblings(law, seed):
    fires = dense(law.draw(300, np.random.default_rng(seed))) > 0
    exclusive = np.full(law.n_features, law.exclusive)
    for node, parent in enumerate(law.parents):
        if parent >= 0:
            assert not np.any(fires[:, node] & ~fires[:, parent])
    for parent in np.flatnonzero(exclusive):
        assert fires[:, np.array(law.parents) == parent].sum(axis=1).max(initial=0) <= 1
    rates, errors = law.marginals(), law.marginal_errors()
    assert np.all((rates >= 0) & (rates <= 1) & (errors >= 0))


@pytest.mark.parametrize("n", [100_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_no_implication_is_violated_in_many_draws(n):
    law, size = regular(1_024, 8), 10**5
    parents = np.array(law.parents)
    for seed in range(n // size):
        support = law.draw(size, np.random.default_rng(seed))
        row = np.repeat(np.arange(size, dtype=np.int64), np.diff(support.indptr))
        on = np.zeros((size, law.n_features), dtype=bool)
        on[row, support.indices] = True
        child = parents[support.indices] >= 0
        above = row[child], parents[support.indices[child]]
        assert on[above].all()
        assert len(np.unique(above[0] * law.n_features + above[1])) == np.count_nonzero(child)  # one child a parent


def regular(m, roots, rank=25, seed=0):
    """The published recipe: Zipf rates mapped to [5e-4, 0.4], three levels of four competing children below roots."""
    power = np.arange(1.0, m + 1.0) ** -0.5
    rates = 5e-4 + (power - power[-1]) / (power[0] - power[-1]) * (0.4 - 5e-4)
    parents, level = [-1] * m, range(roots)
    first = roots
    for _ in range(3):
        below = range(first, first + 4 * len(level))
        parents[first : below.stop] = [level[child // 4] for child in range(len(below))]
        first, level = below.stop, below
    rng = np.random.default_rng(seed)
    ratio = np.linspace(5.0, 4.0, m) / np.abs(rng.normal(0.5, 0.5, m))
    return SynthSAEBenchSupport(
        GivenRates(tuple(rates.tolist())),
        tuple(parents),
        LowRankCorrelation(rank, 0.1, seed),
        positive=tuple(ndtr(ratio).tolist()),
    )


def test_the_published_configuration_has_the_published_sparsity():
    """Measured on the released package: mean L0 34.44, sd 11.65; 7,165 of 16,384 drawn before striking out.

    Its loadings and magnitudes are other draws of the same laws: over seeds the mean of ours varies by 0.06 and the sd
    by 0.12 (six seeds), sampling errors included; four of these are allowed.
    """
    law = regular(16_384, 128)
    assert np.sum(np.array(law.parents) >= 0) == 512 + 2_048 + 8_192
    size = np.diff(law.draw(20_000, np.random.default_rng(0)).indptr)
    assert size.mean() == pytest.approx(34.44, abs=0.24 + 0.1)  # 0.1: the sampling error of the published mean
    assert size.std() == pytest.approx(11.65, abs=0.48)
    assert law.drawn_rates().sum() == pytest.approx(7_165, abs=5)  # a measured mean, of a spread of some 300 / sqrt(n)


@pytest.mark.slow
def test_the_rates_of_the_published_configuration_are_true():
    law, n = regular(16_384, 128), 200_000
    support = law.draw(n, np.random.default_rng(0))
    rates, errors = law.marginals(), law.marginal_errors()
    counts = np.bincount(support.indices, minlength=law.n_features)
    spread = np.sqrt(n * rates * (1.0 - rates) + (n * errors) ** 2)
    assert np.abs((counts - n * rates) / spread).max() < 6.0  # of 16,384 nearly normal numbers
    assert_mean(np.diff(support.indptr).astype(float), rates.sum())


def test_without_compensation_or_trees_the_rates_are_those_declared():
    flat = SynthSAEBenchSupport(ZipfRates(40, 1.0, 0.5), (-1,) * 40, STRONG)
    assert np.array_equal(flat.marginals(), ZipfRates(40, 1.0, 0.5).rates())
    assert np.array_equal(LAWS["as_declared"].drawn_rates(), np.array(RATES))


def test_compensation_is_the_released_correction():
    """p / q (1 + sum of the other siblings' p / q) for competing children of a parent declared at q, at most 1."""
    drawn = LAWS["some_exclusive"].drawn_rates()
    assert drawn[3] == pytest.approx(0.25 / 0.6 * (1.0 + (0.3 + 0.2) / 0.6), rel=1e-15)
    assert drawn[11] == pytest.approx(0.2 / 0.3, rel=1e-15)  # the children of feature 5 do not compete
    crowded = SynthSAEBenchSupport(GivenRates((0.3, 0.3, 0.3)), (-1, 0, 0), STRONG)
    assert np.array_equal(crowded.drawn_rates()[1:], [1.0, 1.0])
    barren = SynthSAEBenchSupport(GivenRates((0.0, 0.3)), (-1, 0), STRONG)
    assert np.array_equal(barren.marginals(), [0.0, 0.0])


@given(parents=parent_tuples(), seed=seeds)
@settings(max_examples=20)
def test_the_same_stream_gives_the_same_rows_in_ascending_order(parents, seed):
    law = SynthSAEBenchSupport(EqualRates(len(parents), 0.4), parents, STRONG, exclusive=False)
    support, again = law.draw(300, np.random.default_rng(seed)), law.draw(300, np.random.default_rng(seed))
    assert np.array_equal(support.indices, again.indices) and np.array_equal(support.indptr, again.indptr)
    for low, high in zip(support.indptr[:-1], support.indptr[1:], strict=True):
        assert np.all(np.diff(support.indices[low:high]) > 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SynthSAEBenchSupport(EqualRates(2, 0.1), (1, 0), STRONG), "cycle 0 -> 1 -> 0"),
        (
            lambda: SynthSAEBenchSupport(EqualRates(2, 0.1), (-1,), STRONG),
            "parents must be as many as rates, m=2; got 1",
        ),
        (
            lambda: SynthSAEBenchSupport(EqualRates(1, 0.1), (-1,), STRONG, (True, True)),
            "a tuple of m=1 of these; got 2",
        ),
        (
            lambda: SynthSAEBenchSupport(EqualRates(1, 0.1), (-1,), STRONG, positive=(0.5, 0.5)),
            "positive must be as many as rates, m=1; got 2",
        ),
        (
            lambda: SynthSAEBenchSupport(EqualRates(1, 0.1), (-1,), STRONG, positive=(1.5,)),
            r"positive\[0\] must be finite and lie in \[0, 1\]; got 1.5",
        ),
        (
            lambda: SynthSAEBenchSupport(EqualRates(60, 0.1), (-1,) * 60, LowRankCorrelation(3, 0.9)),
            "must share at most 0.99",
        ),
    ],
)
def test_infeasible_requests_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SynthSAEBenchSupport(EqualRates(2, 0.1), (-1, 0), BlockCorrelation((2,), 0.1)),
            "correlation must be by shared factors",
        ),
        (lambda: SynthSAEBenchSupport(0.1, (-1,), STRONG), "rates must be a rate law such as"),
        (
            lambda: SynthSAEBenchSupport(EqualRates(1, 0.1), (-1,), STRONG, compensate=1),
            "compensate must be True or False",
        ),
        (lambda: SynthSAEBenchSupport(EqualRates(1, 0.1), (-1,), STRONG, 1), "exclusive must be True or False; got 1"),
    ],
)
def test_requests_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
