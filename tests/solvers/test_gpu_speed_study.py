"""Every goal that needs a GPU has a measurement that runs, here on the CPU and at tiny sizes."""

from __future__ import annotations

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
from studies.speed import gpu
from studies.speed.gpu_steps import Clock, ours, plain
from studies.speed.scale_goals import AWAY

TINY = (8, 32, 16, 2)
PEER, DEVICE_ONLY = {"training and generation over SAELens on the GPU"}, {"G12", "G14"}


@pytest.fixture(autouse=True)
def away_from_the_host(monkeypatch):
    monkeypatch.setattr(place, "on_host", lambda tensor: False)


def test_all_goals_are_measured_but_for_those_of_the_peer_and_of_the_device_alone():
    clock = Clock(torch.device("cpu"), repetitions=6, run=2)
    names = [(each[1], 1.0) for each in AWAY[:3]]
    roots = CorrelatedBernoulli(GivenRates((0.5, 0.2)), LowRankCorrelation(1, 0.1))
    spec = FeatureSpec(8, ForestOver(roots, (0,), (0.5,)), RandomSphere(), RectifiedNormal(1.0, 0.5))
    rows = [
        *gpu.step_times(clock, [TINY] * 3, names),
        *gpu.stacked(clock, TINY, 3),
        *gpu.generation(clock, spec, 64),
        *gpu.selection(clock, TINY),
        *gpu.variants(clock, TINY),
    ]
    found = {row["quantity"] for row in rows}
    assert found == {each[1] for each in AWAY if each[0] not in DEVICE_ONLY} - PEER
    for row in rows:
        assert 0 < row["low"] <= row["value"] <= row["high"] < np.inf, row


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which would be measured")
def test_without_a_gpu_every_goal_is_named_and_no_table_written(tmp_path, capsys):
    gpu.main(["--out", str(tmp_path / "speed.csv")])
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("not measured (needs a GPU)") for line in said) == len(AWAY) == len(said) - 1
    assert not list(tmp_path.iterdir())
