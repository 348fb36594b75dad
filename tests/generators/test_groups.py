"""Exclusive groups and blocks: one winner, whole blocks, limits that equal simpler laws, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from sparsesim.generators import (
    Bernoulli,
    BlockSupport,
    EqualRates,
    ExactlyK,
    ExclusiveGroups,
    ForestOver,
    GivenRates,
    Persistent,
    Relabelled,
    modular,
)
from tests.generators.strategies import block_supports, exclusive_groups, seeds
from tests.generators.test_relabelled import FirstOrder
from tests.generators.test_supports import dense


@given(law=exclusive_groups(), seed=seeds)
@settings(max_examples=80)
def test_at_most_one_of_a_group_fires_and_exactly_one_where_rates_sum_to_one(law, seed):
    fires = dense(law.draw(300, np.random.default_rng(seed)))
    start = 0
    for group in law.groups:
        count = fires[:, start : start + len(group)].sum(axis=1)
        assert count.max() <= 1
        if abs(sum(group) - 1.0) < 1e-12:
            assert count.min() == 1
        start += len(group)


def test_rates_that_sum_to_one_up_to_rounding_are_read_as_if_exactly():
    law = ExclusiveGroups(((0.1,) * 10,))
    assert sum((0.1,) * 10) < 1.0
    for size in range(2, 60):  # or one sample in 10^16 would have no winner
        assert ExclusiveGroups(((1.0 / size,) * size,))._tree.weight[-1] == 1.0
    assert law.marginals().sum() == pytest.approx(1.0, abs=2e-15)  # twenty roundings of 2^-53
    assert np.all(np.diff(law.draw(50_000, np.random.default_rng(0)).indptr) == 1)


def test_a_group_with_unlikely_last_members_still_has_its_one_winner():
    """The last rates vanish beside the sum of the others; a winner beyond the last sum must not be lost."""
    law = ExclusiveGroups(((1.0 / 3, 1.0 / 3, 1.0 / 3, 1e-300, 0.0),))
    support = law.draw(20_000, np.random.default_rng(0))
    assert np.all(np.diff(support.indptr) == 1) and support.indices.max() == 2


def test_groups_of_one_are_the_bernoulli_law():
    rates = (0.2, 0.9, 0.0, 1.0)
    law, alone = ExclusiveGroups(tuple((rate,) for rate in rates)), Bernoulli(GivenRates(rates))
    assert np.array_equal(law.pairwise(), alone.pairwise())
    vectors = np.random.default_rng(0).standard_normal((4, 3))
    assert law.energy(vectors) == pytest.approx(alone.energy(vectors), rel=1e-13)


def by_rows(law, n, seed):
    """The rule of the law, slowly: which blocks fire, by row, from the features that fire."""
    fires, start, blocks = dense(law.draw(n, np.random.default_rng(seed))), 0, []
    laws = law.inner if isinstance(law.inner, tuple) else (law.inner,) * law.outer.n_features
    for inner in laws:
        blocks.append(fires[:, start : start + inner.n_features])
        start += inner.n_features
    return blocks


@given(law=block_supports(), seed=seeds)
@settings(max_examples=80)
def test_joint_rates_are_those_of_the_blocks_times_those_within(law, seed):
    laws = law.inner if isinstance(law.inner, tuple) else (law.inner,) * law.outer.n_features
    outer, joint = law.outer.pairwise(), law.pairwise()
    place = [(block, inner, i) for block, inner in enumerate(laws) for i in range(inner.n_features)]
    assert len(place) == law.n_features
    for row, (a, first, i) in enumerate(place):
        for column, (b, second, j) in enumerate(place):
            within = first.pairwise()[i, j] if a == b else first.marginals()[i] * second.marginals()[j]
            assert joint[row, column] == pytest.approx(outer[a, b] * within, abs=1e-15)  # two products
    assert len(by_rows(law, 30, seed)) == law.outer.n_features


def test_within_a_block_members_fire_as_the_inner_law_says():
    law = BlockSupport(Bernoulli(EqualRates(3, 0.4)), (ExactlyK(4, 2), ExactlyK(2, 2), ExactlyK(3, 1)))
    for block, size in zip(by_rows(law, 3_000, 0), (2, 2, 1), strict=True):
        counts = block.sum(axis=1)
        assert set(counts) == {0, size}


def test_blocks_of_one_feature_are_the_outer_law_and_one_block_is_the_inner_law():
    outer = ExactlyK(6, 2)
    vectors = np.random.default_rng(0).standard_normal((6, 3))
    for law in (BlockSupport(outer, ExactlyK(1, 1)), BlockSupport(ExactlyK(1, 1), outer)):
        assert np.array_equal(law.pairwise(), outer.pairwise())
        assert law.energy(vectors) == pytest.approx(outer.energy(vectors), rel=1e-13)


def test_permuting_blocks_permutes_the_law():
    inner = (ExactlyK(3, 1), Bernoulli(GivenRates((0.2, 0.7))), ExactlyK(2, 2))
    rates = (0.2, 0.5, 0.9)
    law = BlockSupport(Bernoulli(GivenRates(rates)), inner)
    order = (2, 0, 1)
    moved = BlockSupport(Bernoulli(GivenRates(tuple(rates[b] for b in order))), tuple(inner[b] for b in order))
    where = [[0, 1, 2], [3, 4], [5, 6]]
    features = [feature for block in order for feature in where[block]]
    assert np.array_equal(moved.pairwise(), law.pairwise()[np.ix_(features, features)])


def test_blocks_that_share_a_draw_must_be_of_independent_samples_and_say_whether_their_own_are():
    """Two blocks of a sample would be successive times of one chain, and fire together more often than `pairwise`."""
    chain = Persistent(EqualRates(2, 0.5), 0.99)
    rooted = ForestOver(chain, (0,), (0.5,))
    turned = Relabelled(chain, (1, 0))
    for inner in (chain, rooted, turned, BlockSupport(chain, ExactlyK(1, 1)), (ExactlyK(2, 1), chain)):
        with pytest.raises(ValueError, match="inner must draw independent samples, since blocks of one sample share"):
            BlockSupport(ExactlyK(2, 2), inner)
    law = BlockSupport(chain, ExactlyK(3, 1))
    assert not (law.independent_rows or rooted.independent_rows or turned.independent_rows)
    assert modular(2, 3).independent_rows and Relabelled(modular(1, 2), (1, 0)).independent_rows


def test_modular_codes_have_one_winner_in_each_module_and_share_one_in_k_by_chance():
    law = modular(8, 5)
    rows = law.draw(4_000, np.random.default_rng(0)).indices.reshape(4_000, 8)
    assert np.array_equal(rows // 5, np.tile(np.arange(8), (4_000, 1)))
    overlap = (rows[0::2] == rows[1::2]).mean(axis=1)
    error = overlap.std(ddof=1) / np.sqrt(2_000)
    assert abs(overlap.mean() - 1 / 5) < 5 * error  # false alarm 6e-7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExclusiveGroups(()), "at least one group"),
        (lambda: ExclusiveGroups(((0.6, 0.6),)), r"groups\[0\] sum to 1.2 > 1"),
        (lambda: ExclusiveGroups(((0.6,), (-0.1,))), r"groups\[1\]\[0\] must be finite and lie in \[0, 1\]"),
        (lambda: ExclusiveGroups(((0.6,), ())), r"groups\[1\] must hold at least one rate"),
        (lambda: BlockSupport(ExactlyK(3, 1), (ExactlyK(2, 1),) * 2), "one for each of the 3 blocks; got 2"),
        (lambda: BlockSupport(ExactlyK(2**20, 1), ExactlyK(2**12, 1)), "number of features must lie in"),
        (lambda: modular(0, 3), r"m must lie in \[1"),
        (lambda: modular(3, 2).energy(np.ones((5, 1))), r"vectors must have shape \(m, d\) with m=6"),
        (lambda: modular(3, 2).draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
        (lambda: ExclusiveGroups(((0.5,),)).draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
    ],
)
def test_infeasible_groups_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExclusiveGroups([(0.5,)]), "groups must be a tuple of tuples"),
        (lambda: ExclusiveGroups((0.5,)), r"groups\[0\] must be a tuple of rates"),
        (lambda: BlockSupport(ExactlyK, ExactlyK(2, 1)), "outer must be a support law"),
        (lambda: BlockSupport(ExactlyK(2, 1), EqualRates(2, 0.5)), "inner must be a support law with pairwise"),
        (lambda: BlockSupport(ExactlyK(2, 1), Relabelled(FirstOrder(), (2, 0, 1))), "inner must be a support law with"),
    ],
)
def test_groups_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
