"""Sample counts: thresholds are areas, bounds are theorems, and claims say what their sentences say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures.__main__ import TABLES
from paper_figures.sample_counts import HEADER, SPREAD, claims, coupon, draw, needed, rows, share_seen, worlds
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.study import run
from sparsesim.study.table import Table
from studies.sample_counts import METRICS, SIZES, Spanned, counts, solvers, study
from studies.tiers import Tier
from theory.counts import counting_samples, coverage

NAMES = tuple(metric.__name__ for metric in METRICS)
LAPTOP = SIZES[Tier.LAPTOP]


def invented(late: dict[str, float], early: bool = False) -> Table:
    """A table in which every learner finds all at once, ``late`` doublings after the coupon count (default 1)."""
    made = []
    every = [(m, m, LAPTOP.k) for m in LAPTOP.square] + [LAPTOP.overcomplete]
    for d, m, k in every:
        for name in solvers(d, m, k, 1):
            place = coupon((d, m, k), list(LAPTOP.samples)) + late.get(name, 1.0)
            for n in LAPTOP.samples:
                for seed in range(3):
                    seen = float(share_seen((d, m, k), n)) + 1e-4 * seed
                    found = float(np.log2(n) > place and name != "random" and not (name == "descent" and d < m))
                    found = 1.0 if early and name == "mod" else found
                    shares = [min(seen, 1.0), min(found, 1.0 if early else seen), found, 0.9, 0.5]
                    made.append([d, m, k, name, n, seed, "converged", *shares])
    return Table.of_rows(["d", "m", "k", "solver", "samples", "seed", "status", *NAMES], made)


def test_the_threshold_is_the_area_above_the_curve():
    table = invented({})
    for world in worlds(table, True):
        grid = list(LAPTOP.samples)
        np.testing.assert_allclose(
            needed(table, world, "ksvd"),
            coupon(world, grid) + 1,
            atol=0.25 + 1e-9,  # half a step of the grid
        )
        by_hand = 2.0 + 0.5 * sum(1 - coverage(world[1], world[2], n)[n] for n in grid) - 0.25
        assert coupon(world, grid) == pytest.approx(by_hand, abs=0.02)  # counts are rounded to whole numbers


def test_where_learners_follow_the_coupon_count_every_claim_is_reproduced():
    table = invented({"erspud": 0.9, "ica": 3.0, "ksvd": 2.0})
    assert [one.quantity for one in claims(table) if one.verdict is not Verdict.REPRODUCED] == []
    assert {len(row) for row in rows(table)} == {len(HEADER)} and len(draw(table).axes) == 3


@pytest.mark.parametrize(
    ("late", "begins"),
    [
        ({"ica": 0.0, "erspud": 2.0}, "On square dictionaries the sparsest"),
        ({"descent": 4.0}, "Signed descent from"),
        ({"mod": 9.0}, "(k+1) C(m,k)"),
    ],
)
def test_another_threshold_is_not_reproduced(late, begins):
    found = [one.verdict for one in claims(invented(late)) if one.sentence.startswith(begins)]
    assert found and any(verdict is not Verdict.REPRODUCED for verdict in found)


def test_recovery_before_the_bounds_is_not_reproduced():
    seen, excess, early = claims(invented({}, early=True))[:3]
    assert seen.verdict is Verdict.REPRODUCED
    assert excess.verdict is Verdict.FAILED and excess.measured.mean > 0.3
    assert early.verdict is Verdict.FAILED


def test_cells_count_the_features_of_their_own_samples_and_samples_of_low_rank_are_refused():
    cells = {labels: cell for labels, cell in study(Tier.SMOKE).cells.items() if dict(labels)["solver"] == "ica"}
    cell = next(cell for labels, cell in cells.items() if dict(labels)["samples"] == 4)
    counted = cell.evaluate()
    train = cell.cell.model().sample(4, stream(cell.cell.seed, Role.TRAIN))
    assert counted.seen == (np.abs(train.codes.toarray()).sum(axis=0) > 0).mean()
    assert isinstance(cell.cell.solver, Spanned) and counted.fitted.atoms.shape == (6, 6)
    assert "kurtosis" not in counted.fitted.trace  # four samples span no basis of six dimensions


def test_the_grid_is_even_in_logarithms():
    assert counts(4, 64, 2) == (4, 6, 8, 11, 16, 23, 32, 45, 64)
    assert all(counting_samples(m, m, LAPTOP.k) < LAPTOP.samples[-1] for m in LAPTOP.square)


@pytest.mark.slow
def test_the_smoke_tier_can_be_drawn(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    verdicts = [one.verdict for one in claims(table)]
    assert verdicts[1:3] == [Verdict.REPRODUCED] * 2  # theorems hold at any size
    assert len(draw(table).axes) == 3


def test_the_committed_table_is_the_whole_laptop_tier_and_keeps_the_bounds():
    table = Table.read(TABLES / "sample_counts.csv")
    names = ("d", "m", "k", "solver", "samples", "seed")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in names) for row in table.rows()} == cells
    assert json.loads((TABLES / "sample_counts.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert [one.verdict for one in claims(table)][:3] == [Verdict.REPRODUCED] * 3
    error = claims(table)[0].measured.half_width / 2.57  # Student, six worlds
    assert error * 4.5 < SPREAD
