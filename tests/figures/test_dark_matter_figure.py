"""The study of the linear part of errors runs, is drawn and judged, and its committed table says what theory says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import dark_matter as figure
from paper_figures.__main__ import TABLES
from paper_figures.seeds import by_seed
from sparsesim._identity import Role, stream
from sparsesim.study import Store, run, study_keys
from sparsesim.study.table import Table
from studies.dark_matter import METRICS, RATE, SHARES, SIZES, PartialOracle, predicted_share, study, worlds
from studies.tiers import Tier
from theory.dark_matter import linear_share, missing_norm_share, shrinkage_moments


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    declared = study(Tier.SMOKE)
    kept = {label: cell for label, cell in declared.cells.items() if dict(label)["seed"] < 2}
    small = type(declared)(declared.name, declared.question, kept, declared.metrics)
    return run(small, Store(tmp_path_factory.mktemp("store")), engine="inline")


def test_the_smoke_tier_runs_and_is_drawn_and_judged(smoke):
    assert len(smoke) == 2 * 2 * (3 * 4 + 2 * 4)
    assert len(figure.claims(smoke)) == 6
    assert {len(row) for row in figure.rows(smoke)} == {len(figure.HEADER)}
    assert len(figure.draw(smoke).axes) == 3


def test_the_prediction_is_that_of_the_atoms_that_are_there():
    cell = next(
        cell for label, cell in study(Tier.SMOKE).cells.items()
        if isinstance(cell, PartialOracle) and dict(label)["widths"] == 0.5
    )  # fmt: skip
    evaluation = cell.evaluate()
    m = evaluation.truth.n_features
    moments = shrinkage_moments(0.05, 2 * evaluation.fitted.encoder.penalty, np.arange(m) >= m // 2)
    assert predicted_share(evaluation) == linear_share(evaluation.truth.atoms, moments)
    assert evaluation.fitted.width == m // 2


def test_cells_have_keys_of_their_own_and_worlds_the_stated_sizes():
    declared = study(Tier.LAPTOP)
    assert len(set(study_keys(declared).values())) == len(declared.cells) == 200
    assert {name: world.n_features / world.dim for name, world in worlds(64).items()} == {
        "orthonormal": 1.0,
        "superposed": 2.0,
    }


def test_the_committed_table_is_the_laptop_tier():
    table = Table.read(TABLES / "dark_matter.csv")
    assert len(table) == len(study(Tier.LAPTOP).cells)
    assert {metric.__name__ for metric in METRICS} <= set(table.columns)
    assert json.loads((TABLES / "dark_matter.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    for name in figure.lassos(table):  # all features missing but none: the error is what is missing, and linear
        rows = table.where(world="orthonormal", solver=name)
        assert (rows.column("linear_error_share") > 0.5).all()
    assert sorted({float(value) for value in table.where(solver=figure.lassos(table)[0]).levels("widths")}) == sorted(
        1.0 - share for share in SHARES
    )


def test_the_diagnosis_that_superposition_hides_the_norm_of_what_is_missing():
    """The closed form for half of the features missing, and nothing else, is what oracles and TopK have."""
    table, atoms = Table.read(TABLES / "dark_matter.csv"), {}
    half, seeds = {"widths": 0.5}, range(SIZES[Tier.LAPTOP].seeds)
    for name, world in worlds(SIZES[Tier.LAPTOP].d).items():
        atoms[name] = [world.build(stream(seed, Role.TRUTH)).atoms for seed in seeds]
    known = {
        name: [missing_norm_share(one, RATE, np.arange(len(one)) >= len(one) // 2) for one in own]
        for name, own in atoms.items()
    }
    assert known["orthonormal"] == pytest.approx([0.8476] * 5, abs=1e-4)  # corr(s, s^2)^2, whatever the rotation
    assert max(known["superposed"]) < 0.5 < figure.claims(table)[4].expectation.bound
    for name, near in (("orthonormal", 0.02), ("superposed", 0.06)):
        for solver in ("oracle_lasso 0.05", "topk"):
            found = by_seed(table, "linear_error_norm_share", world=name, solver=solver, **half)
            # fourth moments of sparse codes: single worlds differ by 0.05 where features interfere
            assert found.mean() == pytest.approx(np.mean(known[name]), abs=near)
