"""Graphs, groups, blocks, successive samples and repertoires: rates, pairs, independence of samples, threads, cost."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from sparsesim.generators import (
    AcyclicGraph,
    Bernoulli,
    BlockSupport,
    EqualRates,
    ExactlyK,
    ExclusiveGroups,
    Forest,
    GivenRates,
    Persistent,
    Repertoire,
    SuccessiveSampling,
    SuperposedItems,
    modular,
)
from sparsesim.kernels import sampling
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.test_supports import dense

N = 20_000
DIAMOND = ((), (0,), (0,), (1, 2), (), (3, 4))
FAMILY = Forest((-1, 0, 0), (1.0, 0.4, 0.3))
LAWS = {
    "graph_any": AcyclicGraph(DIAMOND, (0.6, 0.5, 0.7, 0.9, 0.3, 0.8)),
    "graph_all": AcyclicGraph(DIAMOND, (0.9, 0.8, 0.7, 0.9, 0.6, 1.0), "all"),
    "graph_mixed": AcyclicGraph(
        (*DIAMOND, (5, 0, 1)), (0.9, 0.8, 0.7, 0.9, 0.6, 1.0, 0.5), ("any", "all") * 3 + ("all",)
    ),
    "graph_shallow_parent_first": AcyclicGraph(((), (0,), (1,), (0, 2)), (0.9, 0.8, 0.9, 0.7), "all"),
    "groups_exactly_one": ExclusiveGroups(((0.1,) * 10, (0.25, 0.75))),
    "groups_at_most_one": ExclusiveGroups(((0.2, 0.0, 0.3), (0.05,), (0.0, 0.0), (1e-3, 0.4))),
    "blocks_together": BlockSupport(Bernoulli(EqualRates(4, 0.3)), ExactlyK(3, 3)),
    "blocks_inner_rate": BlockSupport(ExactlyK(5, 2), Bernoulli(GivenRates((0.2, 0.9)))),
    "blocks_unlike": BlockSupport(
        Forest((-1, 0, 0), (0.7, 0.5, 0.4)), (FAMILY, ExactlyK(1, 1), Bernoulli(EqualRates(2, 0.5)))
    ),
    "modular": modular(4, 3),
    "successive": SuccessiveSampling((5.0, 1.0, 0.0, 2.0, 0.1, 1.0), 3),
    "successive_one": SuccessiveSampling((5.0, 1.0, 2.0), 1),
    "successive_all": SuccessiveSampling((5.0, 1.0, 2.0), 3),
    "repertoire": Repertoire(ExactlyK(10, 3), 7, 0),
    "items": SuperposedItems(4, 3, (2, 3), 0.6, 2, 1),
    "item": SuperposedItems(4, 3, (2, 3), 0.6, 1, 1),
}
laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@laws
def test_features_and_pairs_fire_at_their_true_rates(law):
    fires = dense(law.draw(N, np.random.default_rng(0)))
    assert_rates(fires.T @ fires, N, np.clip(law.pairwise(), 0.0, 1.0))


@laws
def test_successive_samples_are_independent(law):
    fires, rates = dense(law.draw(N, np.random.default_rng(2))), np.minimum(law.marginals(), 1.0)
    assert_rates(fires[0::2].T @ fires[1::2], N // 2, np.outer(rates, rates))


@laws
def test_energy_is_the_mean_squared_norm_of_the_firing_rows(law):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((law.n_features, 5)) + 0.5
    assert_mean(np.square(dense(law.draw(N, rng)) @ vectors).sum(axis=1), law.energy(vectors))


@pytest.mark.parametrize("law", [law for name, law in LAWS.items() if name != "successive_all"], ids=repr)
def test_another_stream_gives_other_samples(law):
    first, second = (law.draw(500, np.random.default_rng(seed)) for seed in (0, 1))
    assert not (np.array_equal(first.indptr, second.indptr) and np.array_equal(first.indices, second.indices))


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")
@pytest.mark.parametrize(
    "law", [*LAWS.values(), Persistent(EqualRates(700, 0.1), 0.8)], ids=[*LAWS.keys(), "persistent"]
)
def test_the_same_bits_for_one_thread_and_two(law):
    before, drawn = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            drawn.append(law.draw(1_000, np.random.default_rng(1)))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(drawn[0].indptr, drawn[1].indptr) and np.array_equal(drawn[0].indices, drawn[1].indices)


def test_a_draw_of_fewer_samples_is_the_start_of_a_longer_one_in_whole_blocks():
    law = LAWS["graph_mixed"]
    few, more = (law.draw(n, np.random.default_rng(0)) for n in (sampling.BLOCK, 3 * sampling.BLOCK))
    assert np.array_equal(few.indices, more.indices[: len(few.indices)])


def test_wide_worlds_cost_what_fires():
    """Dense, each of these draws would hold 10^8 numbers or more."""
    graph = AcyclicGraph((*((),) * 100, *((node % 100, (node + 1) % 100) for node in range(49_900))), (0.01,) * 50_000)
    assert_rates([len(graph.draw(2_000, np.random.default_rng(0)).indices) > 0], 1, [1.0])
    blocks = BlockSupport(Bernoulli(EqualRates(100_000, 1e-5)), ExactlyK(8, 8))
    support = blocks.draw(2_000, np.random.default_rng(0))
    assert_rates([len(support.indices) // 8], 2_000 * 100_000, [1e-5])
    chains = Persistent(EqualRates(200_000, 1e-5), 0.9).draw(2_000, np.random.default_rng(0))
    assert 200 < len(chains.indices) < 20_000  # the mean is 4,000, in runs of 10: standard deviation 300
