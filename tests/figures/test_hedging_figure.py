"""Hedging: numbers on the exact lines reproduce every claim, others fail them, and the study runs end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import hedging
from paper_figures.__main__ import TABLES
from paper_figures.hedging import FEW, NARROW, WIDE, claims, draw, pair_angle, rows
from sparsesim.report.claims import Verdict
from sparsesim.study import Store, run
from sparsesim.study import table as table_of
from sparsesim.study.table import Table
from studies import hedging as declared
from studies.hedging import METRICS, SIZES, paired, study, two
from studies.tiers import Tier
from theory.hedging import hedging_angle, one_active_tilt

NAMES = tuple(metric.__name__ for metric in METRICS)


def truth(part: str, solver: str, law: str, axis: float) -> dict[str, float]:
    if part == "single":
        return {"largest_angle": hedging_angle(*NARROW[law], penalty=axis)}
    if part == "wide":
        return {"hedging_score": float(np.sin(pair_angle(axis))) if solver == "narrow" and axis > 0 else 0.0}
    if part == "topk":
        loss, angle = one_active_tilt(*FEW[law])
        return {"largest_angle": angle, "smallest_angle": 0.001, "squared_error": loss}
    return {"squared_error": 0.03, "bias_norm": axis}


def invented(**changes: float) -> Table:
    """A table with the labels of the laptop tier whose numbers are those of theory, plus the given changes."""
    made = []
    for labels in study(Tier.LAPTOP).cells:
        own = dict(labels)
        scores = truth(own["part"], own["solver"], own["law"], own["axis"])
        noise = 1e-4 * (own["seed"] - 2)
        values = [scores.get(name, 0.5) + changes.get(f"{own['part']}_{name}", 0.0) + noise for name in NAMES]
        made.append([*own.values(), "done", *values])
    return Table.of_rows(["part", "solver", "law", "axis", "seed", "status", *NAMES], made)


def test_the_numbers_of_theory_reproduce_every_claim():
    table = invented()
    assert {one.verdict for one in claims(table)} == {Verdict.REPRODUCED}
    assert {len(row) for row in rows(table)} == {len(hedging.HEADER)}
    assert len(draw(table).axes) == 4


@pytest.mark.parametrize(
    ("change", "begins"),
    [
        ({"single_largest_angle": 0.2}, "A single latent"),
        ({"wide_hedging_score": 0.3}, "Each latent of the narrow"),
        ({"topk_largest_angle": 0.2}, "With one active latent for two"),
        ({"topk_smallest_angle": 0.2}, "The other atom"),
        ({"topk_squared_error": 0.5}, "With too few active latents the learned"),
        ({"escape_squared_error": 0.5}, "A free decoder bias"),
    ],
)
def test_other_numbers_fail(change, begins):
    found = [one.verdict for one in claims(invented(**change)) if one.sentence.startswith(begins)]
    assert found and set(found) == {Verdict.FAILED}


def test_figure_and_study_speak_of_the_same_worlds():
    assert NARROW == declared.NARROW and FEW == declared.FEW
    assert hedging.RATES == declared.RATES and hedging.PRICE == declared.PRICE
    assert {"narrow", "full", "random"} == set(WIDE)
    law = paired(0.6).support
    both = law.pairwise()[0, 1]
    angle = hedging_angle(law.marginals()[0] - both, both, law.marginals()[1] - both, penalty=hedging.PRICE)
    assert pair_angle(0.6) == pytest.approx(angle, abs=1e-6)  # another routine of the bivariate normal
    pairwise = two(FEW["uneven"]).support.pairwise()
    assert pairwise == pytest.approx(np.array([[0.4, 0.1], [0.1, 0.3]]), abs=1e-15)


@pytest.mark.slow
def test_the_smoke_tier_runs_is_judged_and_drawn(tmp_path):
    small, store = study(Tier.SMOKE), Store(tmp_path)
    run(small, store, engine="inline")
    table = table_of(small, store)
    assert len(table) == len(small.cells) and len(claims(table)) > 20
    held = table.where(part="topk")
    assert set(held.column("bias_norm")) == {0.0}
    assert len(draw(table).axes) == 4 and SIZES[Tier.SMOKE].seeds == 2


@pytest.mark.skipif(not (TABLES / "hedging.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_lies_on_the_lines():
    table = Table.read(TABLES / "hedging.csv")
    names = ("part", "solver", "law", "axis", "seed")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in names) for row in table.rows()} == cells
    assert json.loads((TABLES / "hedging.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    lines = [one.verdict for one in claims(table) if one.sentence.startswith("A single latent")]
    assert Verdict.FAILED not in lines
