"""What cells cost is learned from those that are finished, and chunks are made of it."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from sparsesim.study import Inline, Local, labels
from sparsesim.study.plan import SAMPLE, CostModel, Costs, Plan
from sparsesim.study.policy import Policy


def known(count, seconds, start=0):
    """Return the costs of cells in which every third is of the kind `slow`."""
    costs = Costs()
    for seed in range(start, start + count):
        costs.add(one(seed), seconds(one(seed)))
    return costs


def one(seed):
    return labels(solver="slow" if seed % 3 == 0 else "fast", width=2 ** (4 + seed % 5), seed=seed)


def law(label):
    """Seconds that grow with the square of the width for one kind, and not at all for the other."""
    solver, width = label[0][1], label[1][1]
    return 1e-4 * width**2 if solver == "slow" else 0.02


def plan(count, costs, wanted=lambda unit: True):
    of = {str(seed): one(seed) for seed in range(count)}
    return Plan([(key,) for key in of], of.__getitem__, tuple, wanted, costs)


@dataclass(frozen=True)
class Counted:
    """An engine of which only these numbers are asked."""

    workers: int = 2
    chunk_seconds: float = 5.0


def test_a_law_that_differs_between_solvers_is_learned_from_noisy_times():
    rng = np.random.default_rng(0)
    model = CostModel(known(300, lambda label: law(label) * np.exp(0.3 * rng.standard_normal())))
    new = [one(seed) for seed in range(1000, 1030)]
    error = np.abs(np.log(model.seconds(new) / np.array(list(map(law, new)))))
    # log w^2 is not linear in log(1 + w), the ridge pulls a little, and 20 samples of a kind have 0.3 / sqrt(20) of
    # noise: 0.25 is more than those, and far below the factor of 2 that would matter.
    assert error.max() < 0.25


def test_a_prediction_stays_near_what_was_seen_and_knows_nothing_of_new_words():
    model = CostModel(known(60, law))
    assert model.seconds([labels(solver="slow", width=10**9, seed=0)])[0] <= 4 * 1e-4 * 256**2 * 1.001
    assert 0.005 <= model.seconds([labels(solver="new", width=32, seed=0)])[0] <= 4 * 1e-4 * 256**2
    flat = Costs()
    flat.add(labels(name="a"), 2.0)
    assert CostModel(flat).seconds([labels(name="b")])[0] == pytest.approx(2.0)


def test_times_that_are_none_say_nothing():
    costs = known(9, law)
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        costs.add(one(100), seconds)
    assert costs.count == 13 and len(costs.labels) == len(costs.seconds) == 9
    assert np.isfinite(CostModel(costs).seconds([one(100)])).all()


def test_a_sample_of_many_costs_is_bounded_and_spread_over_all():
    costs = Costs()
    for seed in range(50_000):
        if costs.wanted:
            costs.add(one(seed), 1.0)
        else:
            costs.skip()
    seeds = np.array([label[2][1] for label in costs.labels])
    assert SAMPLE / 4 <= len(seeds) <= SAMPLE and costs.count == 50_000
    quarters = np.bincount(seeds // 12_500, minlength=4) / len(seeds)
    assert np.all(quarters > 0.15)  # each quarter of the run has its part


def test_chunks_are_sized_in_seconds_longest_first_and_end_small():
    chunks = [chunk.items for chunk in plan(300, known(100, law)).chunks(Counted(), Policy(), "salt")]
    assert sorted(int(unit[0]) for chunk in chunks for unit in chunk) == list(range(300))
    seconds = [[law(one(int(unit[0]))) for unit in chunk] for chunk in chunks]
    sums = list(map(sum, seconds))
    assert max(sums) < 5.0 + 1e-4 * 256**2 * 1.5  # one cell over, at most
    assert seconds[0][0] == 1e-4 * 256**2 and sums[-1] < sums[0] / 10
    total = sum(sums)
    assert all(part <= left / 8 + 7 for part, left in zip(sums, total - np.cumsum([0, *sums[:-1]]), strict=True))


def test_without_knowledge_first_chunks_are_single_and_the_inline_engine_keeps_the_order():
    sizes = [len(chunk.items) for chunk in plan(4000, Costs()).chunks(Counted(), Policy(), "salt")]
    assert sizes[:4] == [1] * 4 and max(sizes) == 4000 // 128 and sum(sizes) == 4000
    inline = [chunk.items for chunk in plan(30, known(100, law)).chunks(Inline(), Policy(), "salt")]
    assert inline == [((str(seed),),) for seed in range(30)]
    fixed = [len(chunk.items) for chunk in plan(30, known(100, law)).chunks(Local(2), Policy(chunk_size=7), "s")]
    assert fixed == [7, 7, 7, 7, 2]


def test_what_is_learned_amid_a_run_changes_the_order_of_the_rest():
    costs = Costs()
    chunks = plan(600, costs).chunks(Counted(), Policy(), "salt")
    for seed in range(1000, 1060):
        costs.add(one(seed), law(one(seed)))
    first = next(chunks).items
    assert law(one(int(first[0][0]))) == 1e-4 * 256**2


def test_two_drivers_begin_with_different_cells_and_send_what_the_other_has_not_done():
    ends = [list(plan(200, Costs()).chunks(Counted(), Policy(), salt)) for salt in ("one", "two")]
    first = [{unit[0] for chunk in chunks[:10] for unit in chunk.items} for chunks in ends]
    assert len(first[0] & first[1]) < len(first[0]) / 2
    left = plan(200, Costs(), wanted=lambda unit: int(unit[0]) % 2 == 0)
    sent = [unit[0] for chunk in left.chunks(Counted(), Policy(), "salt") for unit in chunk.items]
    assert sorted(map(int, sent)) == list(range(0, 200, 2))


def test_lost_units_come_again_and_suspects_alone_at_the_end():
    work = plan(50, known(100, law))
    chunks = work.chunks(Counted(), Policy(), "salt")
    first = next(chunks).items
    work.suspect(first[0])
    work.again(first[1:])
    rest = [chunk.items for chunk in chunks]
    assert rest[-1] == (first[0],)
    sent = sorted(unit[0] for chunk in rest for unit in chunk)
    assert sent == sorted(str(seed) for seed in range(50))


def test_planning_holds_keys_and_no_units():
    def peak(count):
        left = plan(count, known(100, law))
        tracemalloc.start()
        for _ in left.chunks(Counted(), Policy(), "salt"):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(1000), peak(16_000)
    assert (large - small) / 15_000 < 200  # bytes a cell: some numbers for its place, and no specification
