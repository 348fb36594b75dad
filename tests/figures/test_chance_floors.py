"""Chance levels: the scores of random directions lie on their theory, and claims say what their sentences say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import chance_floors as figure
from paper_figures.__main__ import TABLES
from sparsesim.report.claims import Verdict
from sparsesim.study import run
from sparsesim.study.table import Table
from studies import chance_floors as declared
from studies.tiers import Tier
from theory.chance import matched_mean_estimate, mean_max_abs_cosine

NAMES = ("part", "solver", "place", "seed", "status", *(one.__name__ for one in declared.METRICS))
SIZE = declared.SIZES[Tier.LAPTOP]


def invented(mmcs: float = 0.0, mcc: float = 0.0, **ranked: tuple[float, float]) -> Table:
    """Floors on their theory, or beside it, and a ranking in which the wide random dictionary flips with ICA."""
    ranking = {"random": (0.5, 0.0), "random_wide": (0.7, 0.0), "pca": (0.2, 0.0), "ica": (0.4, 0.3)}
    ranking |= {"kmeans": (0.6, 0.3), "mod": (0.9, 0.8), **ranked}
    made = []
    for seed in range(3):
        wobble = 1e-4 * (seed - 1)
        sizes = [("dimension", d, (2 * d, 2 * d, d)) for d in SIZE.dims]
        sizes += [("width", ratio, (32, round(32 * ratio), 16)) for ratio in SIZE.ratios]
        for part, place, (m, p, d) in sizes:
            matched = (figure._level("mcc", m, p, d) + mcc) * min(m, p) / m
            row = {"part": part, "solver": "random", "place": float(place), "seed": seed, "status": "done"}
            row |= {"n_features": m, "width": p, "dim": d, "mmcs": mean_max_abs_cosine(p, d) + mmcs, "mcc": matched}
            made.append({**row, "mmcs": row["mmcs"] + wobble, "mcc": matched + wobble})
        for name, (raw, corrected) in ranking.items():
            row = {"part": "ranking", "solver": name, "place": 0.0, "seed": seed, "status": "done", "mmcs": 0.5}
            made.append({**row, "mcc": raw + wobble, "mcc_corrected": corrected + wobble})
    return Table.of_rows(NAMES, [[one.get(name, 0.5) for name in NAMES] for one in made])


def verdicts(begins: str, **changes: object) -> list[Verdict]:
    return [one.verdict for one in figure.claims(invented(**changes)) if one.sentence.startswith(begins)]


def test_every_claim_follows_its_number():
    assert [one.verdict for one in figure.claims(invented())] == [Verdict.REPRODUCED] * 7
    assert verdicts("The chance level of MMCS", mmcs=0.05) == [Verdict.FAILED]
    assert verdicts("The chance level of MCC", mcc=-0.05) == [Verdict.FAILED]
    assert verdicts("A raw MCC of 0.6", mcc=-0.05) == [Verdict.FAILED]
    assert verdicts("By the raw score", ica=(0.8, 0.3)) == [Verdict.FAILED]
    assert verdicts("Above chance it is worse", ica=(0.4, -0.1)) == [Verdict.FAILED]
    assert verdicts("Above chance, random", random_wide=(0.7, 0.5)) == [Verdict.FAILED]
    assert verdicts("Principal components", pca=(0.7, 0.5)) == [Verdict.FAILED]


def test_a_matched_pair_is_counted_once():
    table = invented()
    for ratio in (0.25, 1.0, 4.0):
        expected = matched_mean_estimate(32, round(32 * ratio), 16)
        np.testing.assert_allclose(figure.score(table, "width", ratio, "mcc").mean(), expected)
        assert figure.theory(table, "width", ratio, "mcc") == expected


@pytest.mark.slow
def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    found = figure.claims(table)
    assert len(found) == 5  # no size from d = 16 on
    for place in (4.0, 8.0):  # three seeds of a dozen directions scatter by about 0.02, five times less than 0.1
        floor = figure.score(table, "dimension", place, "mmcs").mean()
        assert abs(floor - figure.theory(table, "dimension", place, "mmcs")) < 0.1
    assert len(figure.draw(table).axes) == 3
    assert {len(one) for one in figure.rows(table)} == {len(figure.HEADER)}


@pytest.mark.skipif(not (TABLES / "chance_floors.csv").is_file(), reason="the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_lies_on_theory():
    table = Table.read(TABLES / "chance_floors.csv")
    cells = {tuple(value for _, value in label) for label in declared.study(Tier.LAPTOP).cells}
    assert {tuple(one[name] for name in NAMES[:4]) for one in table.rows()} == cells
    assert json.loads((TABLES / "chance_floors.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert [one.verdict for one in figure.claims(table)][:2] == [Verdict.REPRODUCED] * 2
