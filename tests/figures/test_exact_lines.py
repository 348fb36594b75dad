"""The simulations on exact lines are simulations: they know the line only to be compared with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import ortho_group

from paper_figures.__main__ import TABLES
from paper_figures.exact_lines import HEADER, claims, draw, rows
from sparsesim.report.claims import Verdict
from sparsesim.study import run
from sparsesim.study.table import Table
from studies.exact_lines import (
    METRICS,
    CapacityCell,
    FrameCell,
    ReturnCell,
    best_gram,
    equal_correlations,
    sparsest_basis,
    study,
)
from studies.tiers import Tier
from theory.capacity import gram_capacities
from theory.frames import coherence

NAMES = tuple(metric.__name__ for metric in METRICS)
LABELS = ("part", "name", "size", "knob", "place", "seed")


def invented(shift: dict[str, float] | None = None) -> Table:
    """The committed table with each measured number on its line, ``shift`` added to those of a part or a name."""
    made = []
    for row in Table.read(TABLES / "exact_lines.csv").rows():
        value = float(row["expected"])
        part, name = str(row["part"]), str(row["name"])
        value += {"random tied": 0.1, "random inverse": 0.02}.get(name, 0.0)
        value *= {"inverse": 2.2, "programme": 1.6, "optimised": 1.05}.get(name, 1.0)
        value += (shift or {}).get(part, 0.0) + (shift or {}).get(name, 0.0)
        made.append([*(row[label] for label in LABELS), "done", value + 1e-6 * int(row["seed"]), row["expected"]])
    return Table.of_rows([*LABELS, "status", *NAMES], made)


def test_on_the_lines_every_claim_is_reproduced():
    table = invented()
    assert [one.quantity for one in claims(table) if one.verdict is not Verdict.REPRODUCED] == []
    assert {len(row) for row in rows(table)} == {len(HEADER)} and len(draw(table).axes) == 4


@pytest.mark.parametrize(
    ("shift", "begins"),
    [
        ({"local": -1.0}, "Below the limit"),
        ({"local": 1.0}, "Above the limit"),
        ({"random best": 0.1}, "The best linear reading"),
        ({"tight best": 0.1}, "Tight frames"),
        ({"random tied": -0.2}, "A tied encoder"),
        ({"random": 0.2}, "The coherence of random"),
        ({"programme": -0.3}, "No encoder has less"),
        ({"programme": 0.4}, "A free encoder"),
        ({"optimised": 0.3}, "Optimised directions"),
        ({"capacity": 0.1}, "Features of kurtosis"),
        ({"capacity": 0.1}, "The optimal allocation's"),
    ],
)
def test_off_the_lines_they_are_not(shift, begins):
    found = [one.verdict for one in claims(invented(shift)) if one.sentence.startswith(begins)]
    assert len(found) == 1 and found[0] in (Verdict.FAILED, Verdict.DRIFT)


def test_equal_correlations_are_equal():
    gram = equal_correlations(5, 0.3) @ equal_correlations(5, 0.3).T
    np.testing.assert_allclose(gram, 0.7 * np.eye(5) + 0.3, atol=1e-12)


def test_descent_on_the_l1_norm_finds_an_orthonormal_basis_and_stays_at_a_minimum():
    rng = np.random.default_rng(0)
    truth = ortho_group.rvs(5, random_state=rng)
    codes = rng.standard_normal((3000, 5)) * (rng.random((3000, 5)) < 0.3)
    start = truth + 0.3 * rng.standard_normal((5, 5)) / np.sqrt(5)
    found = sparsest_basis(codes @ truth, start / np.linalg.norm(start, axis=1, keepdims=True))
    # the smoothing moves it by about its size over that of the codes
    np.testing.assert_allclose(np.abs(found @ truth.T).max(axis=0), 1.0, atol=1e-5)


def test_a_basis_is_left_above_the_limit_and_kept_below_it():
    assert ReturnCell(5, 0.4, 0.6, 2000, 0).evaluate().measured == 1.0
    assert ReturnCell(5, 0.4, 1.6, 2000, 0).evaluate().measured == 0.0


def test_a_gram_matrix_of_full_rank_is_the_target_and_capacities_are_its_own():
    values = (1.0, 0.5, 0.25)
    gram, loss = best_gram(values, 3, 5.0, 3, 0)
    assert loss < 1e-9
    np.testing.assert_allclose(gram, np.diag(values), atol=1e-4)
    cell = CapacityCell(5.0, 4, 2, 0.8, 4, 0, 1)
    rank = best_gram(tuple((0.8 ** np.arange(4)).tolist()), 2, 5.0, 4, 0)[0]
    assert cell.evaluate().measured == gram_capacities(rank)[1]
    assert np.linalg.matrix_rank(rank, tol=1e-8) == 2


def test_frames_are_those_of_their_kind():
    drawn, best = (FrameCell(kind, 12, 6, 0).evaluate() for kind in ("random", "optimised"))
    assert best.measured < drawn.measured and best.measured >= best.expected - 1e-9
    free = FrameCell("programme", 12, 6, 0).evaluate()
    assert free.expected - 1e-9 <= free.measured <= drawn.measured + 1e-9  # tied encoders are among the free ones
    assert coherence(np.eye(3)) == 0.0


def test_the_smoke_tier_can_be_drawn(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(draw(table).axes) == 4 and len(claims(table)) == 11
    local = table.where(part="local")
    np.testing.assert_array_equal(local.column("measured"), local.column("expected"))  # far from the limit


def test_the_committed_table_is_the_whole_laptop_tier_and_lies_on_the_lines():
    table = Table.read(TABLES / "exact_lines.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in LABELS) for row in table.rows()} == cells
    assert json.loads((TABLES / "exact_lines.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert all(one.verdict is not Verdict.FAILED for one in claims(table) if "theory" in one.source)
