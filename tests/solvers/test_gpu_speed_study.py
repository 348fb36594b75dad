"""Every goal that needs a GPU has a measurement that runs, here on the CPU and at tiny sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sparsesim.generators import (
    CorrelatedBernoulli,
    FeatureSpec,
    ForestOver,
    GivenRates,
    LowRankCorrelation,
    RandomSphere,
    RectifiedNormal,
)
from sparsesim.solvers.neural.device import place
from sparsesim.study.table import Table
from studies.speed import gpu
from studies.speed.gpu_steps import Clock, ours, plain
from studies.speed.scale_goals import AWAY, COLUMNS, NO_GPU, UNMEASURED, row

TINY = (8, 32, 16, 2)
DEVICE_ONLY = {"G12", "G13", "G14"}


@pytest.fixture(autouse=True)
def away_from_the_host(monkeypatch):
    monkeypatch.setattr(place, "on_host", lambda tensor: False)


def test_all_goals_are_measured_but_for_those_of_the_peer_and_of_the_device_alone():
    clock = Clock(torch.device("cpu"), repetitions=6, run=2)
    roots = CorrelatedBernoulli(GivenRates((0.5, 0.2)), LowRankCorrelation(1, 0.1))
    spec = FeatureSpec(8, ForestOver(roots, (0,), (0.5,)), RandomSphere(), RectifiedNormal(1.0, 0.5))
    rows = [
        *gpu.step_times(clock, [TINY] * 3),
        *gpu.stacked(clock, TINY, TINY, 3),
        *gpu.generation(clock, spec, 64, TINY),
        *gpu.selection(clock, TINY),
        *gpu.variants(clock, TINY),
    ]
    found = {each["quantity"] for each in rows}
    assert found == {each[1] for each in AWAY if each[0] not in DEVICE_ONLY} - set(UNMEASURED)
    for each in rows:
        assert 0 < each["low"] <= each["value"] <= each["high"] < np.inf, each


def test_a_cold_clock_times_one_action_at_a_time_and_counts_none_of_the_first():
    taken = []
    clock = Clock(torch.device("cpu"), repetitions=7, run=5, cold=True)
    times = clock.times(lambda: taken.append(1))
    assert times.shape == (7,) and len(taken) == 7 + 6
    warm = Clock(torch.device("cpu"), repetitions=7, run=5)
    taken.clear()
    warm.times(lambda: taken.append(1))
    assert len(taken) == 7 * 5 + 6


def test_our_step_and_the_plain_one_train():
    for step in (ours(gpu._topk(TINY), TINY[0], torch.device("cpu")), plain("topk", *TINY, torch.device("cpu"))):
        for _ in range(12):
            step()


def test_a_goal_has_one_name_and_is_met_from_one_side():
    names = [each[1] for each in AWAY]
    assert len(set(names)) == len(names) and set(UNMEASURED) <= set(names)
    assert all(np.isnan(least) != np.isnan(most) for *_, least, most in AWAY)
    assert {each[0] for each in AWAY} == {f"G{number}" for number in range(1, 15)} - {"G11"}  # which is of the CPU


without = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which would be measured")


@without
def test_without_a_gpu_the_table_says_of_every_goal_that_it_was_not_measured(tmp_path, capsys):
    out = tmp_path / "speed.csv"
    gpu.main(["--out", str(out)])
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("not measured (no CUDA device): G") for line in said) == len(AWAY) == len(said) - 1
    table = Table.read(out)
    assert tuple(table.columns) == COLUMNS and set(table.values("measured")) == {NO_GPU}
    assert np.isnan([table.column(name) for name in ("value", "low", "high")]).all()
    assert json.loads(out.with_suffix(".provenance.json").read_text())["measured"] == NO_GPU


@without
def test_without_a_gpu_nothing_that_was_measured_is_replaced(tmp_path, capsys):
    out = tmp_path / "speed.csv"
    rows = [row(*each[:2], "any", 1.0, each[2]) for each in AWAY]
    Table.of_rows(COLUMNS, (each.values() for each in rows)).write(out)
    before = out.read_bytes()
    gpu.main(["--out", str(out)])
    assert out.read_bytes() == before and "for it was measured" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["speed.csv"]


def test_the_committed_table_names_the_goals_that_are_set_now_and_the_device_it_speaks_of():
    table, facts = Table.read(gpu.TABLE), json.loads(gpu.TABLE.with_suffix(".provenance.json").read_text())
    found = {(each["goal"], each["quantity"], each["unit"]) for each in table.rows()}
    assert found == {each[:3] for each in AWAY} and len(table) == len(AWAY)
    goals = {each[1]: np.array(each[3:]) for each in AWAY}
    for each in table.rows():
        np.testing.assert_array_equal([each["least"], each["most"]], goals[each["quantity"]])
    nowhere = set(table.values("measured")) == {NO_GPU}
    assert (facts["device"] == "none") == (facts["measured"] == NO_GPU) == nowhere
