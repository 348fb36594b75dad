"""The claims of the bake-off say what their sentences say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paper_figures import bakeoff
from paper_figures.__main__ import TABLES, main, record
from sparsesim.report.claims import Claim, Verdict
from sparsesim.report.palette import LOOKS
from sparsesim.study.table import Table
from studies.bakeoff import METRICS, study
from studies.tiers import Tier

COMMITTED = Table.read(TABLES / "bakeoff.csv")
GALLERY = Path(bakeoff.__file__).parent / "gallery"
NAMES = tuple(metric.__name__ for metric in METRICS)


def invented(**scores: float) -> Table:
    """A table of three seeds in which every score is 0.5 but those given as ``world__solver__metric``."""
    rows = [
        [world, solver, seed, "done", *(scores.get(f"{world}__{solver}__{name}", 0.5) + 1e-4 * seed for name in NAMES)]
        for world in bakeoff.ORDER
        for solver in LOOKS
        for seed in range(3)
    ]
    return Table.of_rows(["world", "solver", "seed", "status", *NAMES], rows)


def claim(table: Table, begins: str) -> Claim:
    (found,) = [one for one in bakeoff.claims(table) if one.sentence.startswith(begins)]
    return found


def test_chance_that_is_missed_upwards_in_one_world_and_downwards_in_another_is_not_reproduced():
    assert claim(invented(), "A random dictionary").verdict is Verdict.REPRODUCED
    off = invented(flat__random__mcc=0.6, tree__random__mcc=0.4)
    assert claim(off, "A random dictionary").verdict is Verdict.FAILED


@pytest.mark.parametrize("world", bakeoff.ORDER)
def test_a_vae_that_finds_the_axes_of_any_world_contradicts_the_claim(world):
    blind = {f"{name}__vae__mcc_corrected": 0.0 for name in bakeoff.ORDER}
    assert claim(invented(**blind), "A Gaussian VAE").verdict is Verdict.REPRODUCED
    assert claim(invented(**{**blind, f"{world}__vae__mcc_corrected": 0.9}), "A Gaussian VAE").verdict is Verdict.FAILED


def test_the_hierarchy_is_compared_with_a_world_of_rates_as_unequal():
    worse = invented(zipf__topk__mcc_corrected=0.9, superposed__topk__mcc_corrected=0.1)
    assert claim(worse, "Hierarchical").measured.mean == pytest.approx(0.4)  # 0.9 - 0.5, seeds cancel


def test_a_missing_table_is_named_with_the_command_that_makes_it(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--tables", str(tmp_path), "--out", str(tmp_path)])
    assert "studies run bakeoff" in capsys.readouterr().err


def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    declared = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    found = {(row["world"], row["solver"], row["seed"]) for row in COMMITTED.rows()}
    assert found == declared
    assert set(NAMES) <= set(COMMITTED.columns)
    assert set(COMMITTED.values("status")) <= {"converged", "budget_spent"}  # nothing diverged


def test_the_committed_claims_are_those_of_the_committed_table():
    written = json.loads((GALLERY / "claims.json").read_text(encoding="utf-8"))["bakeoff"]
    assert written == json.loads(json.dumps([record(one) for one in bakeoff.claims(COMMITTED)]))
    assert "FAILED" not in {one["verdict"] for one in written}


def test_claims_and_rows_do_not_depend_on_the_order_of_the_table():
    rows = list(COMMITTED.rows())
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = Table.of_rows(list(COMMITTED.columns), [list(rows[i].values()) for i in order])
    assert bakeoff.claims(shuffled) == bakeoff.claims(COMMITTED)
    assert sorted(bakeoff.rows(shuffled)) == sorted(bakeoff.rows(COMMITTED))


@pytest.mark.parametrize("world", bakeoff.ORDER)
def test_the_ceiling_lies_above_the_floor_and_no_learner_is_above_it(world):
    here = COMMITTED.where(world=world)
    ceiling = bakeoff.best_encoder(here).mean
    floor = here.where(solver="random").column("support_f1").mean()
    learned = [here.where(solver=name).column("support_f1").mean() for name in ("mod", "ksvd", *bakeoff.SAES)]
    assert floor < min(learned) < max(learned) <= ceiling + 0.01  # a mean over ten seeds of 4,000 samples


def test_every_solver_of_the_study_has_a_look_of_its_own():
    assert set(COMMITTED.levels("solver")) <= set(LOOKS)
    looks = list(LOOKS.values())
    assert len({one.label for one in looks}) == len({(one.colour, one.marker) for one in looks}) == len(looks)


def test_the_figure_has_a_column_a_world_and_every_point_within_its_axes():
    figure = bakeoff.draw(COMMITTED)
    panels = np.array(figure.axes).reshape(3, 5)
    assert [panel.get_title() for panel in panels[0]] == list(bakeoff.ORDER)
    for panel in panels.ravel():
        assert panel.get_xlabel()
        (left, right), (bottom, top) = panel.get_xlim(), sorted(panel.get_ylim())
        for line in panel.lines:
            if line.get_marker() not in ("None", "", None):
                x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
                assert np.all((x >= left) & (x <= right) & (y >= bottom) & (y <= top))
