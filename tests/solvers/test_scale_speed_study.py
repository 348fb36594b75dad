"""The measurement at scale times what it says it times, and its sentences are computed from the table."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

import sparsesim.generators as generators
from sparsesim._source import Rows
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study.table import Table
from studies.speed import scale, scale_memory
from studies.speed.scale_goals import COLUMNS, NO_GPU, away, over, row, sentences
from studies.speed.sliced import EnoughError, Sliced, rates, timed
from studies.speed.timing import Median


class Clock:
    """Stands still unless told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_a_slice_is_the_time_of_its_steps_and_batches_and_of_nothing_else(monkeypatch):
    clock, pauses = Clock(), []
    monkeypatch.setattr("studies.speed.sliced.time", clock)

    class Drawn:
        dim = 3

        def batches(self, size, rng):
            while True:
                clock.now += 2.0
                yield np.zeros((size, 3))

    def pause() -> None:
        pauses.append(clock.now)
        clock.now += 1000.0

    source = Sliced(Drawn(), steps=5, slices=3, between=pause)
    seen = 0
    with pytest.raises(EnoughError):
        for _ in source.batches(10, np.random.default_rng(0)):
            clock.now += 1.0 if seen else 50.0  # the first step compiles
            seen += 1

    assert seen == 20 and len(pauses) == 3 and source.first == 52.0
    assert source.seconds == [15.0] * 3 and source.drawing == [10.0] * 3  # the first slice is left out
    sample, share = rates(source, batch=10)
    np.testing.assert_allclose(sample, 0.3)  # 3 seconds a step of 10 samples
    np.testing.assert_allclose(share, 2 / 3)


def test_a_training_that_is_too_short_for_its_slices_is_refused():
    source = Sliced(Rows(np.random.default_rng(0).standard_normal((50, 3))), 10, 5, lambda: None)
    with pytest.raises(ValueError, match="before 5 slices of 10 steps"):
        timed(TopK(4, 1, training=Training(steps=40, batch_size=8)), source, np.random.default_rng(1), None)


def small_world():
    law = generators.Bernoulli(generators.EqualRates(20, 0.1))
    spec = generators.FeatureSpec(8, law, generators.RandomSphere(), generators.HalfNormal(), bias=0.5)
    return spec.build(np.random.default_rng(0))


def test_training_and_evaluation_of_a_small_world_fill_the_table(monkeypatch, tmp_path):
    monkeypatch.setattr(scale, "WHOLE", 64 * 400)
    options = argparse.Namespace(width=12, k=2, batch=64, slices=2, steps=60, samples=500, evaluations=2)
    world = small_world()
    world.save(tmp_path / "world")
    rows = scale.trained("batch_topk", world, options, None, tmp_path / "world")
    rows += scale.together("topk", world, options)
    fitted = TopK(12, 2, training=Training(steps=60, batch_size=64)).fit_stream(
        world.source(), rng=np.random.default_rng(1)
    )
    rows += scale.evaluated(world, fitted, options, None)
    table = Table.of_rows(COLUMNS, (each.values() for each in rows))
    table.write(tmp_path / "scale.csv")
    assert sentences(Table.read(tmp_path / "scale.csv")) == sentences(table)
    found = {each["quantity"]: each for each in table.rows()}
    speed, projected = found["training and generation"], found["25,600 samples, projected"]
    assert 0 < speed["value"] < 1e9 and projected["value"] == pytest.approx(25_600 / 3600 / speed["value"], rel=0.5)
    assert 0 < found["generation in a step of one model"]["value"] < 1
    assert 0 < found["generation in a step of 4 models"]["value"] < 1
    assert found["resident memory of training over the bound"]["value"] > 0  # of toys: libraries take more than weights
    assert found["size of a checkpoint"]["value"] > 12 * 8 * 4 * 4 / 1e6  # two tables, and two moments of each
    assert found["step without generation over that product, as is wanted"]["value"] > 1  # it is a part of the step
    assert {"G5", "G11", "G13", "G14", "scale"} == {each["goal"] for each in table.rows()}
    assert -1 < found["explained_variance of that fit"]["value"] < 1 and 0 < found["mcc of that fit"]["value"] < 1


def test_the_memory_of_a_training_is_that_of_its_own_process_and_at_least_what_it_must_hold(tmp_path):
    law = generators.Bernoulli(generators.EqualRates(64, 0.1))
    spec = generators.FeatureSpec(256, law, generators.RandomSphere(), generators.HalfNormal(), bias=0.5)
    spec.build(np.random.default_rng(0)).save(tmp_path / "world")
    weights = 2 * 4096 * 256 * 4  # bytes of encoder and decoder: 8 MB
    ballast = np.ones(2**24)  # of this process, 134 MB
    grown = scale_memory.grown(tmp_path / "world", "topk", 4096, 4, 256, 3)
    # Weights, two moments and the last finite weights are there, and u (B, p); less would be a wrong baseline.
    assert 4 * weights + 4 * 256 * 4096 < grown < ballast.nbytes


def test_the_bound_is_16_bytes_a_parameter_and_some_blocks_of_a_batch():
    assert scale_memory.bound(4096, 768, 1024) == pytest.approx(127.09e6, rel=1e-4)  # 100.66 + 20.13 + 6.29 MB


def test_a_step_is_held_to_the_product_that_was_timed_after_it():
    rows = scale._stepped("topk", np.array([0.05] * 6), [0.04] * 3 + [0.025] * 3)
    found = [(each["value"], each["low"], each["high"]) for each in rows]
    np.testing.assert_allclose(found, [(20, 20, 20), (32.5, 25, 40), (1.625, 1.25, 2.0)])
    last = sentences(Table.of_rows(COLUMNS, (each.values() for each in rows)))[2]
    assert last.startswith("DOES NOT HOLD: G11: topk: step without generation over that product, as is wanted: 1.62")


def test_a_race_is_judged_slice_by_slice():
    theirs = [{"seconds": 6e-3, "drawing": 4e-3}] * 6
    rows = scale._raced("topk", np.full(6, 1e-3), np.full(6, 0.1), theirs)
    found = {each["quantity"]: each for each in rows}
    assert found["training and generation over sae-lens"]["value"] == pytest.approx(6.0)
    assert found["generation over sae-lens"]["value"] == pytest.approx(40.0)  # 4 ms over 0.1 ms
    assert found["training alone over sae-lens"]["value"] == pytest.approx(2 / 0.9)
    assert found["sae-lens: 200,000,000 samples, projected"]["value"] == pytest.approx(2e8 * 6e-3 / 3600)
    first = sentences(Table.of_rows(COLUMNS, (each.values() for each in rows)))[2]
    assert first == "holds: G3: topk: training and generation over sae-lens: 6 times (at least 5)"


@pytest.mark.parametrize(
    ("found", "limits", "word"),
    [
        (Median(6.0, 5.1, 7.0), {"least": 5.0}, "holds"),
        (Median(6.0, 4.9, 7.0), {"least": 5.0}, "DOES NOT HOLD"),
        (Median(6.0, np.nan, np.nan), {"least": 5.0}, "DOES NOT HOLD"),  # too few slices prove nothing
        (Median(0.08, 0.07, 0.09), {"most": 0.1}, "holds"),
        (Median(0.08, 0.07, 0.11), {"most": 0.1}, "DOES NOT HOLD"),
        (3.0, {"most": 5.0}, "holds"),
        (3.0, {}, "measured"),
    ],
)
def test_a_goal_is_judged_by_the_end_of_the_interval_that_speaks_against_it(found, limits, word):
    each = row("G0", "something", "topk", found, "s", **limits)
    (line,) = sentences(Table.of_rows(COLUMNS, [each.values()]))
    assert line.startswith(f"{word}: G0: topk: something: ")


def test_what_needs_a_gpu_is_said_not_to_be_measured():
    lines = sentences(Table.of_rows(COLUMNS, (each.values() for each in away())))
    assert all(line.startswith("not measured (no CUDA device): G") for line in lines)
    assert {each["goal"] for each in away()} == {f"G{n}" for n in (*range(1, 11), 12, 13, 14)}
    assert all(each["measured"] == NO_GPU and np.isnan(each["value"]) for each in away())


def test_ratios_are_of_what_was_measured_in_turn():
    assert over([2.0, 8.0, 30.0], [1.0, 2.0, 10.0]).value == 3.0


def test_batches_that_come_several_at_a_time_cannot_be_timed_one_by_one(capsys):
    for arguments, said in (
        (["--world", "1k", "--batch", "1024"], "--batch must be above 4096"),
        (["--steps", "40"], "--steps must be at least 50"),
        (["--peer-python", "/no/such/python"], "there is no file"),
    ):
        with pytest.raises(SystemExit):
            scale.parsed(arguments)
        assert said in capsys.readouterr().err
