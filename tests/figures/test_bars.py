"""Bars: the images, what counts as a permutation, and the claims."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures.__main__ import TABLES
from paper_figures.bars import HEADER, claims, draw, rows
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.report.claims import Verdict
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import run
from sparsesim.study.table import Table
from studies.bars import METRICS, PENALTIES, SIDE, SIZES, exact_zeros, permutation_share, silent, study, worlds
from studies.tiers import Tier

NAMES = tuple(metric.__name__ for metric in METRICS)


def invented(one: float = 0.97, independent: float = 1.0, zeros: float = 0.875, free: float = 0.4) -> Table:
    """A table with the given shares at the largest penalty and ``free`` without one."""
    made = []
    for world, most in (("one", one), ("independent", independent)):
        for penalty in PENALTIES:
            for seed in range(3):
                share = free + (most - free) * penalty / max(PENALTIES)
                scores = dict.fromkeys(NAMES, 0.5) | {
                    "permutation_share": share,
                    "exact_zeros": zeros,
                    "code_mcc": share,
                }
                made.append([world, penalty, seed, "budget spent", *(scores[n] + 1e-6 * seed for n in NAMES)])
    return Table.of_rows(["world", "penalty", "seed", "status", *NAMES], made)


def verdicts(table: Table) -> list[Verdict]:
    return [one.verdict for one in claims(table)]


def test_the_claims_say_what_their_sentences_say():
    good, bad = Verdict.REPRODUCED, Verdict.FAILED
    assert verdicts(invented()) == [good, good, good, good, good, bad]  # a permutation in both: the last is refuted
    assert verdicts(invented(one=0.5)) == [bad, good, good, good, good, good]
    assert verdicts(invented(independent=0.3, zeros=0.0)) == [good, bad, bad, bad, bad, bad]
    assert len(draw(invented()).axes) == 2
    found = rows(invented())
    assert len(found) == 2 * len(PENALTIES) and {len(row) for row in found} == {len(HEADER)}


def test_the_images_are_bars_of_the_stated_brightness():
    for name, rate in (("one", 1 / SIDE), ("independent", 0.4)):
        x = worlds()[name].build(stream(0, Role.TRUTH)).sample(4000, stream(0, Role.TEST)).x
        images = x.reshape(4000, SIDE, SIDE)
        on = images.mean(axis=2) > 0.25  # the mean of a row is 0 or 0.5, with noise 0.05 / sqrt(8)
        assert abs(on.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / (4000 * SIDE))
        assert abs(images[on].mean() - 0.5) < 4 * 0.05 / np.sqrt(8 * on.sum())
        assert abs(images[~on].std() / 0.05 - 1) < 4 / np.sqrt(2 * 8 * (~on).sum())
        assert name != "one" or (on.sum(axis=1) == 1).all()


def test_a_permutation_has_share_one_and_anything_else_less():
    model = worlds()["one"].build(stream(0, Role.TRUTH))
    batch = model.sample(20, stream(0, Role.TEST))

    def evaluated(atoms):
        encoder = OrthogonalMatchingPursuit(1)
        return Evaluation(model, FittedDictionary(atoms, np.zeros(64), encoder, Status.CONVERGED), batch)

    order = np.random.default_rng(0).permutation(SIDE)
    exact = evaluated(-model.atoms[order])
    assert permutation_share(exact) == pytest.approx(1.0, abs=1e-12)
    assert exact_zeros(exact) == 1 - 1 / SIDE and silent(exact) == 0
    half = model.atoms.copy()
    half[0] = 0.0
    half[1] = (model.atoms[1] + model.atoms[2]) / np.sqrt(2)
    assert permutation_share(evaluated(half)) == pytest.approx((SIDE - 2 + 0.5) / SIDE, abs=1e-12)
    assert silent(evaluated(half)) == 1


def test_the_smoke_tier_runs_and_can_be_judged_and_drawn(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(claims(table)) == 6 and len(draw(table).axes) == 2


@pytest.mark.skipif(not (TABLES / "bars.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_finds_independent_bars():
    table = Table.read(TABLES / "bars.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {(row["world"], row["penalty"], row["seed"]) for row in table.rows()} == cells
    assert json.loads((TABLES / "bars.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert SIZES[Tier.LAPTOP].seeds >= 5
    assert claims(table)[1].verdict is Verdict.REPRODUCED
