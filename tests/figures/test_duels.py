"""Duels say what they compare, run, and are judged by their paired differences."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

import sparsesim.metrics
from paper_figures import duels as figure
from paper_figures.__main__ import TABLES
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.ensemble import Bagging
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import study_keys
from sparsesim.study.table import Table
from studies.duels import SMOKE_STEPS, STANDARD, duels, shortened, study
from studies.tiers import Tier

NAMES = tuple(metric.__name__ for metric in STANDARD)


def invented(better: str, challenger: float, baseline: float) -> Table:
    rows = [
        ["one", role, role, "fvu", better, "It wins (arXiv:2412.06410).", seed, *[1.0] * len(NAMES)]
        for role in ("challenger", "baseline")
        for seed in range(5)
    ]
    columns = ["duel", "role", "solver", "metric", "better", "claim", "seed", *NAMES]
    for row in rows:
        score = challenger if row[1] == "challenger" else baseline
        row[columns.index("fvu")] = score + 1e-3 * row[6]
    return Table.of_rows(columns, rows)


@pytest.mark.parametrize(
    ("better", "challenger", "baseline", "verdict"),
    [
        ("larger", 0.6, 0.5, Verdict.REPRODUCED),
        ("larger", 0.4, 0.5, Verdict.FAILED),
        ("smaller", 0.4, 0.5, Verdict.REPRODUCED),
        ("smaller", 0.6, 0.5, Verdict.FAILED),
    ],
)
def test_a_duel_is_won_in_the_direction_that_its_metric_says(better, challenger, baseline, verdict):
    table = invented(better, challenger, baseline)
    (claim,) = figure.claims(table)
    assert claim.verdict is verdict and claim.source == "arXiv:2412.06410"
    assert abs(claim.measured.mean) == pytest.approx(0.1) and claim.measured.n == 5
    (row,) = figure.rows(table)
    assert len(row) == len(figure.HEADER)
    assert len(figure.draw(table).axes) == 1


def test_every_duel_names_a_metric_a_source_and_two_different_solvers():
    entries = duels()
    assert len(entries) >= 30
    for name, duel in entries.items():
        assert callable(getattr(sparsesim.metrics, duel.metric)), name
        assert re.search(r"\d{4}\.\d{4,5}|\([^)]*\d{4}[^)]*\)|native", duel.claim), f"{name} names no source"
        assert duel.challenger != duel.baseline, name
        assert duel.seeds >= 5


def test_every_cell_of_the_study_has_a_key_of_its_own_and_roles_are_paired():
    declared = study(Tier.LAPTOP)
    keys = study_keys(declared)
    assert len(keys) == len(declared.cells)
    seeds: dict[tuple[object, object], set[object]] = {}
    for label in declared.cells:
        row = dict(label)
        seeds.setdefault((row["duel"], row["role"]), set()).add(row["seed"])
    for name in duels():
        assert seeds[name, "challenger"] == seeds[name, "baseline"] and len(seeds[name, "baseline"]) >= 5


def test_a_shortened_solver_differs_in_its_training_alone_however_deep_it_lies():
    base = TopK(8, 2, training=Training(steps=5_000))
    short = shortened(Bagging(base, 3))
    assert short.base.training == Training(steps=SMOKE_STEPS)
    assert dataclasses.replace(short, base=base) == Bagging(base, 3)
    quick = Bagging(dataclasses.replace(base, training=Training(steps=7)), 3)
    assert shortened(quick) == quick


@pytest.mark.parametrize("name", ["abs_topk", "mp"])
def test_the_smallest_tier_of_a_duel_runs(name):
    declared = study(Tier.SMOKE)
    scores = {}
    for label, cell in declared.cells.items():
        row = dict(label)
        if row["duel"] == name and row["seed"] == 0:
            evaluation = cell.evaluate()
            scores[row["role"]] = [metric(evaluation) for metric in STANDARD]
    assert set(scores) == {"challenger", "baseline"} and np.isfinite(list(scores.values())).all()


@pytest.mark.skipif(not (TABLES / "duels.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_every_duel_of_it_is_spelt():
    table = Table.read(TABLES / "duels.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    names = [name for name, _ in next(iter(study(Tier.LAPTOP).cells))]
    assert {tuple(row[name] for name in names) for row in table.rows()} == cells
    assert json.loads((TABLES / "duels.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert len(figure.claims(table)) == len(duels()) == len(figure.rows(table))
    assert not [row[0] for row in figure.rows(table) if "_" in row[0]]
