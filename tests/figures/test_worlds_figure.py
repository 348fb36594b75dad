"""The gallery shows what the table holds, and its claims say what their sentences say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from paper_figures import worlds as figure_of
from paper_figures.__main__ import TABLES, main, record
from paper_figures.worlds import ACROSS, CARD, LEFTS
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Support
from sparsesim.report.claims import Claim, Verdict
from sparsesim.report.figure import style
from sparsesim.study.cell import Study
from sparsesim.study.run import run
from sparsesim.study.table import Table
from studies import portraits
from studies.portraits import Check, CheckCell, LookCell, portrait, shown_of
from studies.tiers import Tier
from studies.worlds import SIZES, gallery, study

SAMPLES = 1_000


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    """Three worlds and two seeds of the study, through the store as the command does it."""
    declared = study(Tier.SMOKE)
    few = {"tree, in cones", "equiangular", "trained toy"}
    cells = {
        label: type(cell)(cell.world, SAMPLES, getattr(cell, "place", getattr(cell, "seed", 0)))
        for label, cell in declared.cells.items()
        if dict(label)["world"] in few and (dict(label)["part"] == "feature" or dict(label)["index"] < 2)
    }
    part = Study(declared.name, declared.question, cells, declared.metrics)
    return run(part, tmp_path_factory.mktemp("store"), engine="inline")


def changed(table: Table, part: str, column: str, value: float, **labels: str) -> Table:
    rows = [
        {**row, column: value} if row["part"] == part and all(row[k] == v for k, v in labels.items()) else row
        for row in table.rows()
    ]
    return Table.of_rows(table.columns, [list(row.values()) for row in rows])


def claim(table: Table, begins: str) -> Claim:
    (found,) = [one for one in figure_of.claims(table) if begins in one.sentence]
    return found


def test_every_world_of_the_gallery_has_rows_for_its_features_and_its_seeds():
    for tier, (seeds, _) in SIZES.items():
        labels = [dict(label) for label in study(tier).cells]
        for name, world in gallery().items():
            mine = [label for label in labels if label["world"] == name]
            assert sum(label["part"] == "seed" for label in mine) == seeds
            assert (
                sum(label["part"] == "feature" for label in mine) == len(shown_of(world.n_features)) <= portraits.SHOWN
            )
    assert set(gallery()) == set(figure_of.ORDER)


def test_the_features_shown_are_all_or_spread_from_the_first_to_the_last():
    assert np.array_equal(shown_of(32), np.arange(32))
    many = shown_of(1024)
    assert many[0] == 0 and many[-1] == 1023 and len(many) <= 32 and (np.diff(many) > 0).all()


@pytest.mark.parametrize("name", ["tree, in cones", "equiangular", "trained toy"])
def test_the_figure_reads_back_the_cosines_and_supports_of_the_world(table, name):
    world, rows = gallery()[name], figure_of.looked(table, name)
    atoms = world.build(stream(0, Role.TRUTH)).atoms
    assert np.abs(figure_of.cosines(rows) - atoms @ atoms.T).max() <= 0.5e-4 + 1e-12  # four digits are kept
    codes = world.build(stream(0, Role.TRUTH)).sample(SAMPLES, stream(0, Role.TEST)).codes
    assert np.array_equal(figure_of.supports(rows), codes[: figure_of.RASTER].toarray().T != 0)
    assert np.array_equal(rows.column("realised") * SAMPLES, np.bincount(codes.indices, minlength=len(rows)))
    assert np.array_equal(rows.column("rate"), world.support.marginals())
    assert figure_of.RASTER == portraits.RASTER


def test_the_spectra_are_shares_of_a_whole_and_flat_for_a_tight_frame(table):
    rows = figure_of.looked(table, "equiangular")
    frame = rows.column("frame_share")
    assert np.isfinite(frame).sum() == 7  # d
    assert np.abs(frame[:7] - 1.0 / 7.0).max() <= 0.5e-4 + 1e-12
    assert np.nansum(rows.column("signal_share")) == pytest.approx(1.0, abs=7 * 0.5e-4)


def test_a_share_of_zero_and_a_world_of_one_atom_are_drawn():
    shared = ["world", "part", "index"]
    look = {"rank": 1.0, "rate": 0.5, "realised": 0.0, "frame_share": 1.0, "signal_share": 0.0, "fired_bits": 5.0}
    check = {"n_features": 1.0, "dim": 1.0, "mean_l0": 0.5}
    undefined = dict.fromkeys(look, np.nan), dict.fromkeys(check, np.nan)
    feature, seed = look | undefined[1], undefined[0] | check
    lines = [["one", "feature", 0, *feature.values()], ["one", "seed", 0, *seed.values()]]
    one = Table.of_rows([*shared, *feature], lines)
    assert figure_of.cosines(figure_of.looked(one, "one")).tolist() == [[1.0]]
    assert figure_of.supports(figure_of.looked(one, "one"))[0, :4].tolist() == [1, 0, 1, 0]
    assert len(figure_of.draw(one).axes) == 5  # four panels and the scale


def test_the_figure_has_four_panels_a_world_none_of_them_over_another(table):
    figure = figure_of.draw(table)
    *panels, _scale = figure.axes
    assert len(panels) == 4 * 3
    boxes = [panel.get_position() for panel in panels]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1
        assert not any(box.overlaps(other) for other in boxes[:i])
    titles = [panel.get_title(loc="left") for panel in panels[::4]]
    assert [title.split(":")[0] for title in titles] == ["tree, in cones", "equiangular", "trained toy"]


def test_no_title_of_the_gallery_reaches_into_the_next_panel():
    with style("worlds"):
        figure = Figure(figsize=(ACROSS * CARD[0], 1.0), dpi=300)  # at fewer, hinting makes text narrower
        renderer = FigureCanvasAgg(figure).get_renderer()
        for name, world in gallery().items():
            rates = world.support.marginals().sum()
            long = f"{name}:  m={world.n_features}, d={world.dim}, L0={rates:.3g}"
            width = figure.text(0, 0, long, fontsize=7.5).get_window_extent(renderer).width / figure.dpi
            word = figure.text(0, 0, "rate", fontsize=7.5).get_window_extent(renderer).width / figure.dpi
            assert LEFTS[0][0] + width < LEFTS[2][0] + (LEFTS[2][1] - word) / 2, name


def test_the_claims_hold_in_the_three_worlds_and_fail_where_one_world_breaks_them(table):
    assert {one.verdict for one in figure_of.claims(table) if "pair" not in one.quantity} <= {
        Verdict.REPRODUCED,
        Verdict.INCONCLUSIVE,  # two seeds have wide intervals
    }
    for begins, column, value in [
        ("at the rate that is declared", "worst_rate_z", 9.0),
        ("fire together as often", "worst_pair_z", 9.0),
        ("without its parent", "violations", 1.0),
        ("Welch bound allows", "coherence_excess", -0.1),
    ]:
        broken = changed(table, "seed", column, value, world="tree, in cones")
        assert claim(broken, begins).verdict is Verdict.FAILED
    loose = changed(table, "seed", "coherence_excess", 0.1, world="equiangular")
    assert claim(loose, "equiangular tight frame").verdict is Verdict.FAILED
    assert claim(loose, "Welch bound allows").verdict is Verdict.REPRODUCED


def test_a_world_without_closed_form_for_pairs_is_left_out_and_says_so(table):
    unknown = changed(table, "seed", "worst_pair_z", float("nan"), world="equiangular")
    assert "2 worlds" in claim(unknown, "fire together as often").sentence
    (row,) = [row for row in figure_of.rows(unknown) if row[0] == "equiangular"]
    assert row[figure_of.HEADER.index("worst pair |z|")] == "no closed form"


def test_a_child_without_its_parent_and_two_that_exclude_each_other_are_counted():
    world = gallery()["tree, in cones"]
    model, law = world.build(stream(0, Role.TRUTH)), world.support

    def check(*samples: list[int]) -> Check:
        indptr = np.cumsum([0, *map(len, samples)])
        return Check(
            model, Support(indptr, np.array([node for sample in samples for node in sample], np.int32), law.n_features)
        )

    child = next(node for node, parent in enumerate(law.parents) if parent >= 0)
    parent = law.parents[child]
    other = next(node for node, above in enumerate(law.parents) if above == parent and node != child)
    assert portraits.violations(check([parent, child], [parent], [])) == 0
    assert portraits.violations(check([child])) >= 1
    assert portraits.violations(check(sorted([parent, child, other]))) == 2  # each excludes the other


def test_counts_that_are_off_are_far_in_z_and_exact_ones_are_not():
    n, rates = 10_000, np.array([0.1, 1e-4, 0.0, 1.0])
    assert portraits._largest_z(np.array([1_000.0, 1.0, 0.0, n]), n, rates).max() < 0.5
    # (1300 - 1000) / 30 = 10 standard deviations; a feature of rate 0 that fires once is as far as can be.
    assert portraits._largest_z(np.array([1_300.0, 1.0, 0.0, n]), n, rates)[0] == pytest.approx(9.6, abs=0.4)
    assert portraits._largest_z(np.array([1_000.0, 1.0, 1.0, n]), n, rates)[2] > 30


def test_rows_that_depend_on_each_other_are_judged_by_the_inflation_they_state():
    world = gallery()["persistent"]
    scores = [portraits.worst_rate_z(CheckCell(world, 5_000, seed).evaluate()) for seed in range(10)]
    # 320 normal deviates: the mean over ten seeds of the largest of 32 is 2.3, with a standard error near 0.15.
    assert 1.6 < np.mean(scores) < 3.2
    assert np.isnan(portraits.worst_pair_z(CheckCell(world, 100, 0).evaluate()))


def test_a_row_is_a_function_of_its_cell():
    world = gallery()["flat"]
    portrait.cache_clear()
    first = [metric(LookCell(world, 200, 3).evaluate()) for metric in portraits.METRICS]
    portrait.cache_clear()
    second = [metric(LookCell(world, 200, 3).evaluate()) for metric in portraits.METRICS]
    assert np.array_equal(first, second, equal_nan=True)


COMMITTED = TABLES / "worlds.csv"
committed = pytest.mark.skipif(not COMMITTED.is_file(), reason="the laptop tier has not been computed in this checkout")


@committed
def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    found = {(row["world"], row["part"], row["index"]) for row in Table.read(COMMITTED).rows()}
    assert found == {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}


@committed
def test_the_committed_claims_are_those_of_the_committed_table_and_none_has_failed():
    gallery_of_figures = Path(figure_of.__file__).parent / "gallery"
    written = json.loads((gallery_of_figures / "claims.json").read_text(encoding="utf-8"))["worlds"]
    assert written == json.loads(json.dumps([record(one) for one in figure_of.claims(Table.read(COMMITTED))]))
    assert "FAILED" not in {one["verdict"] for one in written}


def test_the_command_draws_the_figure_and_the_report_from_the_table(table, tmp_path):
    table.write(tmp_path / "worlds.csv")
    (tmp_path / "worlds.provenance.json").write_text('{"tier": "smoke"}', encoding="utf-8")
    assert main(["worlds", "--tables", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "figures" / "worlds.png").stat().st_size > 10_000
    assert "pentagon" in (tmp_path / "report.html").read_text(encoding="utf-8")
