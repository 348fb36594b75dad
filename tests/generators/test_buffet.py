"""Indian buffets: the growth, the rows and the exchangeability that the predictive rule implies."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import poisson

from sparsesim.generators import Bernoulli, BuffetRates, IndianBuffet
from tests.generators.chance import assert_mean, assert_rates

TRIALS, ROWS = 1_500, 6
BUFFETS = [IndianBuffet(2.0), IndianBuffet(3.0, 1.0, 0.4), IndianBuffet(1.5, -0.3, 0.6), IndianBuffet(2.5, 7.0, 0.2)]
buffets = pytest.mark.parametrize("buffet", BUFFETS, ids=repr)


def dense(support):
    fires = np.zeros((support.n_samples, support.n_features))
    fires[np.repeat(np.arange(support.n_samples), np.diff(support.indptr)), support.indices] = 1.0
    return fires


def by_the_rule(buffet, n, rng):
    """Rows one after the other, each feature by the number of rows that had it: the definition, word for word."""
    alpha, c, sigma = buffet.alpha, buffet.concentration, buffet.discount
    columns = []
    for t in range(1, n + 1):
        for column in columns:
            column.append(int(rng.random() < (sum(column) - sigma) / (t - 1 + c)))
        new = alpha * math.exp(
            math.lgamma(1 + c) + math.lgamma(t - 1 + c + sigma) - math.lgamma(t + c) - math.lgamma(c + sigma)
        )
        columns.extend([0] * (t - 1) + [1] for _ in range(rng.poisson(new)))
    return np.array(columns).reshape(-1, n).T


@cache
def draws(buffet):
    rng = np.random.default_rng(0)
    return [dense(buffet.draw(ROWS, rng)) for _ in range(TRIALS)]


def test_the_expected_number_of_features_has_the_published_value():
    # Sum of 60 means, given to four digits.
    assert IndianBuffet(3.0, 1.0, 0.4).expected_features(60) == pytest.approx(36.18, abs=5e-3)


@buffets
def test_the_means_of_new_features_are_the_ratio_of_gamma_functions(buffet):
    alpha, c, sigma = buffet.alpha, buffet.concentration, buffet.discount
    expected = [
        alpha * math.gamma(1 + c) * math.gamma(t - 1 + c + sigma) / (math.gamma(t + c) * math.gamma(c + sigma))
        for t in range(1, 41)
    ]
    assert buffet.new_features(40) == pytest.approx(expected, rel=1e-12)  # 40 products of rounded ratios
    assert buffet.new_features(0).shape == (0,) and buffet.expected_features(0) == 0


def test_one_parameter_buffets_grow_as_harmonic_numbers_and_discounts_as_powers():
    harmonic = sum(1 / t for t in range(1, 101))
    assert IndianBuffet(2.0).expected_features(100) == pytest.approx(2.0 * harmonic, rel=1e-13)
    powers = IndianBuffet(2.0, 1.0, 0.5)
    growth = powers.expected_features(400_000) / powers.expected_features(100_000)
    assert growth == pytest.approx(2.0, rel=1e-2)  # 4^0.5, up to a relative 1/sqrt(n) = 0.003


@buffets
def test_the_number_of_features_has_its_mean_and_is_poisson(buffet):
    counts = np.array([matrix.shape[1] for matrix in draws(buffet)])
    expected = buffet.expected_features(ROWS)
    assert_mean(counts, expected, tests=2)
    assert_mean((counts - expected) ** 2, expected, tests=2)


@buffets
def test_every_row_has_poisson_many_features(buffet):
    sums = np.array([matrix.sum(axis=1) for matrix in draws(buffet)])
    table = np.array([[(sums[:, row] == count).sum() for count in range(9)] for row in range(ROWS)])
    assert_rates(table, TRIALS, np.tile(poisson.pmf(np.arange(9), buffet.alpha), (ROWS, 1)))


@buffets
def test_rows_are_exchangeable_any_two_or_three_share_equally_many_features(buffet):
    c, sigma = buffet.concentration, buffet.discount
    pair = buffet.alpha * (1 - sigma) / (1 + c)  # what row 2 takes of the features of row 1
    triple = pair * (2 - sigma) / (2 + c)
    matrices = draws(buffet)
    for s, t in itertools.combinations(range(ROWS), 2):
        assert_mean(np.array([(z[s] * z[t]).sum() for z in matrices]), pair, tests=35)
    for s, t, u in itertools.combinations(range(ROWS), 3):
        assert_mean(np.array([(z[s] * z[t] * z[u]).sum() for z in matrices]), triple, tests=35)


@buffets
def test_drawing_by_weights_is_drawing_by_the_predictive_rule(buffet):
    """How many features fire in exactly c of the rows first seen in row t, for all t and c."""
    rng = np.random.default_rng(3)
    twins = [by_the_rule(buffet, ROWS, rng) for _ in range(TRIALS)]

    def spectrum(matrices):
        table = np.zeros((len(matrices), ROWS, ROWS + 1))
        for which, z in enumerate(matrices):
            if z.size:
                np.add.at(table[which], (z.argmax(axis=0), z.sum(axis=0).astype(int)), 1.0)
        return table

    ours, theirs = spectrum(draws(buffet)), spectrum(twins)
    for t, c in itertools.product(range(ROWS), range(1, ROWS + 1)):
        if c <= ROWS - t:  # both sides are means over as many trials, so their difference is one
            assert_mean(ours[:, t, c] - theirs[:, t, c], 0.0, tests=ROWS * ROWS)
        else:
            assert not ours[:, t, c].any() and not theirs[:, t, c].any()


def test_rows_ascend_features_are_numbered_by_their_first_row_and_the_stream_decides_all():
    buffet = IndianBuffet(4.0, 1.0, 0.5)
    support, again = (buffet.draw(80, np.random.default_rng(5)) for _ in range(2))
    assert (support.indptr.dtype, support.indices.dtype) == (np.int64, np.int32)
    assert np.array_equal(support.indices, again.indices) and np.array_equal(support.indptr, again.indptr)
    matrix = dense(support)
    assert matrix.any(axis=0).all() and np.all(np.diff(matrix.argmax(axis=0)) >= 0)
    for low, high in itertools.pairwise(support.indptr):
        assert np.all(np.diff(support.indices[low:high]) > 0)


def test_empty_buffets_and_extreme_weights():
    assert IndianBuffet(3.0).draw(0, np.random.default_rng(0)).n_samples == 0
    nothing = IndianBuffet(1e-12).draw(5, np.random.default_rng(0))
    assert nothing.n_features == 0 and np.array_equal(nothing.indptr, np.zeros(6))
    rare = IndianBuffet(5.0, 1e9).draw(50, np.random.default_rng(0))  # weights near 1e-9: no feature comes twice
    assert rare.n_features == len(rare.indices) > 100
    assert IndianBuffet(5.0, 1.0, 0.999).draw(50, np.random.default_rng(0)).n_features > 100


def test_rates_of_a_buffet_are_its_weights_and_miss_on_average_what_they_say():
    buffet = IndianBuffet(3.0, 1.0, 0.4)
    laws = [BuffetRates(buffet, 20, seed) for seed in range(400)]
    assert_mean(np.array([law.rates().sum() for law in laws]) + laws[0].missing_l0, buffet.alpha, tests=2)
    assert_mean(np.array([law.n_features for law in laws]), buffet.expected_features(20), tests=2)
    law = Bernoulli(laws[0])
    assert np.array_equal(law.marginals(), laws[0].rates())
    assert law.draw(10, np.random.default_rng(0)).n_features == laws[0].n_features


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: IndianBuffet(0.0), ValueError, r"alpha must be finite and lie in \(0"),
        (lambda: IndianBuffet(1.0, 1.0, 1.0), ValueError, "discount must be finite and lie in"),
        (lambda: IndianBuffet(1.0, 1.0, -0.1), ValueError, "discount"),
        (lambda: IndianBuffet(1.0, -0.4, 0.4), ValueError, r"concentration must exceed -discount=-0.4; got -0.4"),
        (lambda: IndianBuffet(1.0, 0.0), ValueError, "concentration must exceed"),
        (lambda: IndianBuffet(1e9).draw(100, np.random.default_rng(0)), ValueError, "more than indices can number"),
        (lambda: IndianBuffet(1.0).draw(-1, np.random.default_rng(0)), ValueError, r"n must lie in \[0"),
        (lambda: BuffetRates(IndianBuffet(1e-9), 3, 0), ValueError, "no feature in rounds=3 rows"),
        (lambda: BuffetRates(IndianBuffet(1.0), 0, 0), ValueError, r"rounds must lie in \[1"),
        (lambda: BuffetRates(3.0, 5, 0), TypeError, "buffet must be an IndianBuffet"),
    ],
)
def test_what_is_no_buffet_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
