"""Repertoires and superposed items: the list is fixed by its seed, rates are those of the list."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from sparsesim.generators import Bernoulli, EqualRates, ExactlyK, Repertoire, SuperposedItems
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import repertoires, seeds, superposed_items
from tests.generators.test_supports import dense


def distinct(law, n=2_000):
    return {tuple(row) for row in dense(law.draw(n, np.random.default_rng(0))).astype(int).tolist()}


@given(law=repertoires(), seed=seeds)
@settings(max_examples=60)
def test_all_draws_show_the_same_few_supports_equally_often(law, seed):
    n = 400
    first, second = (dense(law.draw(n, np.random.default_rng(own))) for own in (seed, seed + 1))
    shown = {tuple(row) for rows in (first, second) for row in rows.astype(int).tolist()}
    assert len(shown) <= law.count
    assert_rates(first.sum(axis=0), n, law.marginals())


def test_another_seed_is_another_list_and_one_support_is_constant():
    law = ExactlyK(40, 5)
    assert distinct(Repertoire(law, 6, 0)) == distinct(Repertoire(law, 6, 0)) != distinct(Repertoire(law, 6, 1))
    assert len(distinct(Repertoire(law, 6, 0))) == 6
    assert len(distinct(Repertoire(law, 1, 0))) == 1


def test_a_long_list_has_nearly_the_rates_of_its_law():
    count, law = 20_000, Bernoulli(EqualRates(8, 0.3))
    frozen = Repertoire(law, count, 0)
    assert_rates(np.round(frozen.pairwise() * count), count, law.pairwise())


def by_unions(law):
    """Joint rates by forming the union of every set of distinct items."""
    codes = np.arange(law.modules) * law.units + law.winners()
    unions = []
    for chosen in itertools.combinations(range(len(codes)), law.items):
        fires = np.zeros(law.n_features)
        fires[codes[list(chosen)].ravel()] = 1.0
        unions.append(fires)
    return np.array(unions)


@given(law=superposed_items())
@settings(max_examples=80)
def test_rates_equal_the_mean_over_all_sets_of_items(law):
    if law.items > 4 and len(law.winners()) > 12:
        law = SuperposedItems(law.modules, law.units, law.branching, law.overlap, 3, law.seed)
    unions = by_unions(law)
    joint = unions.T @ unions / len(unions)
    assert law.pairwise() == pytest.approx(joint, abs=1e-12)  # differences of products of at most 64 quotients
    assert law.marginals() == pytest.approx(np.diag(joint), abs=1e-12)
    vectors = np.random.default_rng(0).standard_normal((law.n_features, 3))
    expected = np.square(unions @ vectors).sum(axis=1).mean()
    assert law.energy(vectors) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@given(law=superposed_items(), seed=seeds)
@settings(max_examples=60)
def test_every_module_has_a_winner_and_at_most_one_for_each_item(law, seed):
    fires = dense(law.draw(50, np.random.default_rng(seed))).reshape(50, law.modules, law.units)
    counts = fires.sum(axis=2)
    assert counts.min() >= 1 and counts.max() <= law.items


@pytest.mark.parametrize("overlap", [0.2, 0.5, 0.9, 1.0])
def test_siblings_share_the_fraction_of_winners_asked_for_and_strangers_share_by_chance(overlap):
    law = SuperposedItems(20_000, 5, (2, 2), overlap)
    table = law.winners()
    siblings, strangers = table[0] == table[1], table[0] == table[2]
    assert_mean(siblings.astype(float), overlap, tests=2)
    assert_mean(strangers.astype(float), 0.2, tests=2)


def test_cousins_share_less_than_siblings():
    """Two items below different children of one category agree through two more steps of inheritance."""
    law = SuperposedItems(40_000, 5, (1, 2, 2), 0.6)
    table, keep = law.winners(), (0.6 - 0.2) / 0.8  # the square of the probability to inherit
    assert_mean((table[0] == table[1]).astype(float), 0.6, tests=2)
    assert_mean((table[0] == table[2]).astype(float), keep**2 + (1 - keep**2) / 5, tests=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Repertoire(ExactlyK(4, 2), 0, 0), r"count must lie in \[1"),
        (lambda: Repertoire(ExactlyK(4, 2), 3, -1), r"seed must lie in \[0"),
        (lambda: Repertoire(ExactlyK(4, 2), 3, 0).draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
        (lambda: SuperposedItems(0, 3, (2,), 0.5), r"modules must lie in \[1"),
        (lambda: SuperposedItems(2, 1, (2,), 1.0), r"units must lie in \[2"),
        (lambda: SuperposedItems(2**16, 2**16, (2,), 0.5), r"modules \* units must lie in"),
        (lambda: SuperposedItems(2, 4, (2, 0), 0.5), r"branching\[1\] must lie in \[1"),
        (lambda: SuperposedItems(8, 4, (2**20, 2**20), 0.5), "modules \\* size of the vocabulary must lie in"),
        (lambda: SuperposedItems(2, 4, (2,), 0.1), "overlap must be at least 1/units=0.25"),
        (lambda: SuperposedItems(2, 4, (2,), 1.1), r"overlap must be finite and lie in \[0, 1\]"),
        (lambda: SuperposedItems(2, 4, (2, 3), 0.5, 7), r"items must lie in \[1, size of the vocabulary=6\]; got 7"),
    ],
)
def test_infeasible_lists_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_lists_of_the_wrong_type_are_refused():
    with pytest.raises(TypeError, match="law must be a support law"):
        Repertoire(ExactlyK, 3, 0)
    with pytest.raises(TypeError, match="branching must be a non-empty tuple"):
        SuperposedItems(2, 4, (), 0.5)
