"""The claims and the table of the variants say what their sentences say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import variants
from paper_figures.__main__ import TABLES
from sparsesim.report.claims import Claim, Verdict
from sparsesim.study.table import Table
from studies.tiers import Tier
from studies.variants import COUNTS, METRICS, by_count, by_penalty, study, without

NAMES = tuple(metric.__name__ for metric in METRICS)
SEEDS = 3


def invented(**scores: float) -> Table:
    """Every score is 0.5, L0 is 2, 3, 5 along a grid whose true L0 is 3; ``variant__metric=value`` replaces a score."""
    rows = []
    names = ["random", *variants.VARIANTS, "oracle"]
    single = set(without())
    for world in ("superposed", "zipf", "tree"):
        for name in names:
            for point in (1,) if name in single else (0, 1, 2):
                for seed in range(SEEDS):
                    values = dict.fromkeys(NAMES, 0.5 + 1e-4 * seed)
                    values |= {"l0": (2.0, 3.0, 5.0)[point], "true_l0": 3.0, "n_features": 64, "width": 64}
                    values |= {key.split("__")[1]: v for key, v in scores.items() if key.split("__")[0] == name}
                    if point != 1 or name == "oracle":
                        values["seed_agreement"] = float("nan")
                    rows.append([world, name, point, seed, "budget_spent", *(values[metric] for metric in NAMES)])
    return Table.of_rows(["world", "variant", "point", "seed", "status", *NAMES], rows)


def claim(table: Table, begins: str) -> Claim:
    (found,) = [one for one in variants.claims(table) if one.sentence.startswith(begins)]
    return found


@pytest.mark.parametrize(
    ("begins", "scores"),
    [
        ("The Gated", {"gated__shrinkage": 0.9}),
        ("JumpReLU", {"jump_relu__fvu": 0.1}),
        ("p-annealing", {"p_annealing__fvu": 0.1}),
        ("Where samples differ", {"batch_topk__fvu": 0.1}),
        ("Matryoshka", {"matryoshka__absorption_gap": 0.1}),
        ("Matching pursuit", {"mp__mcc_corrected": 0.9}),
        ("Archetypal", {"archetypal__seed_agreement": 0.9}),
    ],
)
def test_a_claim_is_reproduced_by_its_own_numbers_and_failed_by_the_opposite(begins, scores):
    assert claim(invented(**scores), begins).verdict is Verdict.REPRODUCED
    ((key, value),) = scores.items()
    assert claim(invented(**{key: 1.0 - value}), begins).verdict is Verdict.FAILED


def test_the_calibration_claims_see_chance_that_is_missed_and_a_ceiling_that_is_passed():
    assert claim(invented(), "A random dictionary").verdict is Verdict.REPRODUCED
    assert claim(invented(random__mcc=0.7), "A random dictionary").verdict is Verdict.FAILED
    assert claim(invented(), "No variant").verdict is Verdict.REPRODUCED
    assert claim(invented(kron__support_f1=0.9), "No variant").verdict is Verdict.FAILED


def test_a_score_at_the_true_l0_is_interpolated_in_log_l0_and_missing_beyond_the_grid():
    rows = [
        ["tree", "topk", point, seed, l0, 3.0, score]
        for seed in range(2)
        for point, l0, score in ((0, 1.0, 0.0), (1, 9.0, 1.0), (2, 20.0, 5.0))
    ]
    table = Table.of_rows(["world", "variant", "point", "seed", "l0", "true_l0", "mcc"], rows)
    np.testing.assert_allclose(variants.matched(table, "tree", "topk", "mcc"), 0.5)  # log 3 is half of log 9
    beyond = Table.of_rows(table.columns, [[*row[:5], 30.0, row[6]] for row in rows])
    assert np.isnan(variants.matched(beyond, "tree", "topk", "mcc")).all()
    assert claim(invented(jump_relu__l0=50.0), "JumpReLU").verdict is Verdict.INCONCLUSIVE


def test_every_variant_of_the_study_is_in_one_family_of_the_figure():
    declared = {*by_count(), *by_penalty(), *without()}
    assert declared == set(variants.VARIANTS) and len(variants.VARIANTS) == len(declared)


def test_the_grid_is_at_the_true_width_and_spans_the_true_sparsity():
    declared = study(Tier.LAPTOP)
    kinds = {name for label in declared.cells for name, value in label}
    assert kinds == {"world", "variant", "point", "seed"}
    (topk,) = {
        tuple(cell.cell.solver.k for label, cell in declared.cells.items() if dict(label)["variant"] == "topk"
              and dict(label)["world"] == "superposed" and dict(label)["seed"] == 0)
    }  # fmt: skip
    assert topk == (2, 3, 5) and len(COUNTS) == 3
    assert all(cell.cell.solver.width == 64 for label, cell in declared.cells.items()
               if dict(label)["world"] == "superposed" and dict(label)["variant"] != "oracle")  # fmt: skip


def test_the_figure_shows_floor_and_ceiling_in_every_column():
    figure = variants.draw(invented())
    panels = np.array(figure.axes).reshape(3, 3)
    assert [panel.get_title() for panel in panels[0]] == ["superposed", "zipf", "tree"]
    for panel in panels[1]:
        colours = {line.get_color() for line in panel.lines}
        assert {variants.FLOOR, variants.CEILING} <= colours
    rows = variants.rows(invented())
    assert len(rows) == 3 * (len(variants.VARIANTS) + 2) and all(len(row) == len(variants.HEADER) for row in rows)


def test_the_smallest_tier_runs_for_a_few_variants():
    declared = study(Tier.SMOKE)
    wanted = {"batch_topk", "jump_relu", "mp", "bagging", "oracle", "random"}
    for label, cell in declared.cells.items():
        if dict(label)["variant"] in wanted and dict(label)["seed"] == 0 and dict(label)["point"] == 1:
            twins = cell.evaluate()
            scores = {metric.__name__: metric(twins) for metric in declared.metrics}
            assert scores["mcc"] > 0.2 and scores["true_l0"] == 3.0
            assert np.isnan(scores["seed_agreement"]) == (dict(label)["variant"] == "oracle")


@pytest.mark.skipif(not (TABLES / "variants.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    table = Table.read(TABLES / "variants.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in ("world", "variant", "point", "seed")) for row in table.rows()} == cells
    assert json.loads((TABLES / "variants.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert {one.verdict for one in variants.claims(table)} <= set(Verdict)
