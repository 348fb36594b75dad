"""Diagnoses test what they say: one thing differs, seeds are paired, and the notes of lost duels are computed."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from paper_figures import diagnoses as figure
from paper_figures import duels as duels_figure
from paper_figures.__main__ import TABLES
from sparsesim.report.claims import Verdict
from sparsesim.study.table import Table
from studies.diagnoses import AGAIN, diagnoses, study
from studies.duels import STANDARD, duels
from studies.tiers import Tier

NAMES = tuple(metric.__name__ for metric in STANDARD)
COLUMNS = ["diagnosis", "cause", "trial", "expected", "duel", "role", "solver", "metric", "better", "claim", "seed"]


def invented(won: float, lost: float) -> Table:
    """A diagnosis with one trial in which the variant is better by ``won``, and a control, by ``lost``."""
    rows = []
    for trial, expected, gap in ((AGAIN, "lost", -0.1), ("freed", "won", won), ("kept", "lost", lost)):
        for role, score in (("challenger", 0.5 + gap), ("baseline", 0.5), ("floor", 0.2), ("ceiling", 0.9)):
            for seed in range(5):
                value = score + 1e-3 * seed * (role == "challenger")
                label = [
                    "kron",
                    "it is small",
                    trial,
                    expected,
                    f"kron: {trial}",
                    role,
                    role,
                    "mcc",
                    "larger",
                    "It is.",
                ]
                rows.append([*label, seed, *(value if name == "mcc" else 1.0 for name in NAMES)])
    return Table.of_rows([*COLUMNS, *NAMES], rows)


@pytest.mark.parametrize(("won", "lost", "agree"), [(0.2, -0.2, 2), (-0.2, -0.2, 1), (0.2, 0.2, 1), (-0.2, 0.2, 0)])
def test_a_diagnosis_counts_the_trials_that_come_out_as_it_expects(won, lost, agree):
    table = invented(won, lost)
    again, freed, kept = figure.claims(table)
    assert again.verdict is Verdict.REPRODUCED
    assert (freed.verdict is Verdict.REPRODUCED) == (won > 0)
    assert (kept.verdict is Verdict.REPRODUCED) == (lost < 0)
    (note,) = figure.notes(table).values()
    assert f"({agree} of 2 trials" in note and "it is small" in note
    assert all(len(row) == len(figure.HEADER) for row in figure.rows(table))
    assert len(figure.draw(table).axes) == 1


def test_every_diagnosis_has_a_trial_to_win_and_a_control_to_lose_and_belongs_to_a_duel():
    for name, diagnosis in diagnoses().items():
        assert name in duels()
        assert {trial.won for trial in diagnosis.trials.values()} == {True, False}, name
        for place, trial in diagnosis.trials.items():
            assert trial.duel.metric == duels()[name].metric and trial.duel.seeds >= 5
            assert trial.won != trial.duel.claim.startswith("Control"), (name, place)
            changed = {
                f.name for f in fields(trial.duel) if getattr(trial.duel, f.name) != getattr(duels()[name], f.name)
            }
            assert "claim" in changed and changed & {"world", "challenger", "baseline"}


def test_rows_are_paired_and_have_a_floor_and_a_ceiling():
    seeds: dict[tuple[object, object], set[object]] = {}
    for label in study(Tier.LAPTOP).cells:
        row = dict(label)
        seeds.setdefault((row["duel"], row["role"]), set()).add(row["seed"])
    rows = {duel for duel, _ in seeds}
    assert len(rows) == sum(1 + len(one.trials) for one in diagnoses().values())
    for duel in rows:
        assert {frozenset(seeds[duel, role]) for role in ("challenger", "baseline", "floor", "ceiling")} == {
            frozenset(range(5))
        }


def test_the_smallest_tier_runs():
    found = {"challenger": [], "baseline": [], "floor": [], "ceiling": []}
    for label, cell in study(Tier.SMOKE).cells.items():
        row = dict(label)
        if row["duel"] == "top_afa: orthonormal" and row["seed"] == 0:
            evaluation = cell.evaluate()
            found[row["role"]] = [metric(evaluation) for metric in STANDARD]
    assert np.isfinite(list(found.values())).all()
    mcc = {role: values[NAMES.index("mcc")] for role, values in found.items()}
    assert mcc["floor"] < mcc["ceiling"] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.skipif(not (TABLES / "diagnoses.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_lost_duels_name_their_diagnosis():
    table = Table.read(TABLES / "diagnoses.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    names = [name for name, _ in next(iter(study(Tier.LAPTOP).cells))]
    assert {tuple(row[name] for name in names) for row in table.rows()} == cells
    assert json.loads((TABLES / "diagnoses.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    lost = [one for one in duels_figure.claims(Table.read(TABLES / "duels.csv")) if one.verdict is Verdict.FAILED]
    assert len(lost) == len(diagnoses())
    for claim in lost:
        assert claim.note == figure.notes(table)[claim.quantity.split(":")[0]]
