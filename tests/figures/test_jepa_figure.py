"""The study of learning order runs, follows the closed forms, and is drawn and judged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import jepa as figure
from paper_figures.__main__ import TABLES
from sparsesim.study import Store, run, study_keys
from sparsesim.study.table import Table
from studies.jepa import METRICS, RHOS, FlowCell, _slopes, study
from studies.tiers import Tier


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return run(study(Tier.SMOKE), Store(tmp_path_factory.mktemp("store")), engine="inline")


def test_the_smoke_tier_runs_and_is_drawn_and_judged(smoke):
    assert len(figure.claims(smoke)) == 6
    assert {len(row) for row in figure.rows(smoke)} == {len(figure.HEADER)}
    assert len(figure.draw(smoke).axes) == 2


@pytest.mark.parametrize("objective", ["jepa", "mae"])
def test_slopes_are_the_gradient_of_the_loss_with_the_target_held(objective):
    rng = np.random.default_rng(0)
    layers, size = rng.standard_normal((3, 3, 3)), 3
    root = rng.standard_normal((size, size))
    inputs, cross = root @ root.T, rng.standard_normal((size, size))
    held = layers[1] @ layers[0]

    def loss(parts):
        # E||V W x - t||^2 / 2 up to what does not depend on the layers; t = y, or W y with W held
        map_ = parts[2] @ parts[1] @ parts[0]
        target = held @ cross if objective == "jepa" else cross
        return np.trace(map_ @ inputs @ map_.T) / 2 - np.trace(map_ @ target.T)

    found = _slopes(layers, inputs, cross, objective)
    for index in np.ndindex(layers.shape):
        step = np.zeros_like(layers)
        step[index] = 1e-6
        slope = (loss(layers + step) - loss(layers - step)) / 2e-6
        assert -found[index] == pytest.approx(slope, rel=1e-6, abs=1e-6)  # central differences of a polynomial


def test_times_from_exact_covariances_are_those_of_theory():
    for objective in ("jepa", "mae"):
        flow = FlowCell(objective, 2, 0.2, 0, 3).evaluate()
        np.testing.assert_allclose(flow.times, flow.predicted, rtol=1e-5)  # 1e-8 a step of the integrator
        known = [figure.predicted(objective, rho, 2, 0.2) for rho in RHOS]
        np.testing.assert_allclose(flow.predicted, known, rtol=1e-12)


def test_an_unknown_objective_is_refused():
    with pytest.raises(ValueError, match="objective must be one of"):
        FlowCell("byol", 2, 0.2, 0, 0)


def test_the_committed_table_is_the_laptop_tier():
    table, declared = Table.read(TABLES / "jepa.csv"), study(Tier.LAPTOP)
    assert len(table) == len(set(study_keys(declared).values())) == len(declared.cells)
    assert {metric.__name__ for metric in METRICS} <= set(table.columns)
    assert json.loads((TABLES / "jepa.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
