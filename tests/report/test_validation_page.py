"""The page of a validation says the verdict first, shows what it was given and nothing else, and leaves no halves."""

from __future__ import annotations

import dataclasses
import re

import matplotlib
import numpy as np
import pytest

from sparsesim.report.palette import LOOKS, look
from sparsesim.report.pictures import blocks, bounded, curve, matched_order
from sparsesim.report.validation import MARKS, render_validation, write_validation
from sparsesim.report.verdicts import needed, percent, verdict, way
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table
from sparsesim.validate.files import read_validation
from sparsesim.validate.result import Outcome, Portrait, Standing
from tests.report.sample import EVIL, sample_validation, small_validation
from tests.report.test_page import parse


@pytest.fixture(scope="module")
def page():
    return render_validation(small_validation())


@pytest.fixture(scope="module")
def evil_page():
    """Everything that comes from users holds markup, quotes and dollars."""
    whole = small_validation(EVIL)
    renamed = {
        name: tuple(dataclasses.replace(one, world=EVIL) for one in getattr(whole, name))
        for name in ("standings", "portraits")
    }
    return render_validation(
        dataclasses.replace(
            whole,
            protocol=EVIL,
            card=((EVIL, EVIL),),
            questions={EVIL: EVIL},
            comparisons=tuple(dataclasses.replace(one, world=EVIL, reference=EVIL) for one in whole.comparisons[:1]),
            causes=tuple(dataclasses.replace(one, world=EVIL, property=EVIL) for one in whole.causes),
            failures=(EVIL,),
            command=EVIL,
            provenance={EVIL: EVIL},
            **renamed,
        )
    )


def test_what_is_given_is_shown_and_cannot_become_markup(page, evil_page):
    assert "<img" not in evil_page
    assert evil_page.count("<script>") == evil_page.count("</script>") == 1
    for name in ("onerror", "onclick", "onload"):
        assert not [attributes for _, attributes in parse(evil_page).seen if name in attributes]
    assert evil_page.count("&lt;img src=x") > 20
    assert "alert(" not in evil_page[evil_page.index("<script>") :]


def test_tags_nest_and_every_link_has_its_target(page, evil_page):
    for text in (page, evil_page):
        tags = parse(text)
        assert len(tags.ids) == len(set(tags.ids))
        targets = {attributes.get("href", "#verdict") for tag, attributes in tags.seen if tag == "a"}
        assert {target.removeprefix("#") for target in targets} <= set(tags.ids)


def test_nothing_outside_the_file_is_referred_to(page):
    for tag, attributes in parse(page).seen:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("href", "xlink:href", "src", "action"):
            assert re.match(r"#|data:image/png;base64,", attributes.get(name, "#"))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_order_is_verdict_pictures_matrix_worlds_causes_provenance(page):
    order = re.findall(r'<section id="(\w+)"', page)
    assert order == ["verdict", "portraits", "matrices", "comparisons", "worlds", "causes", "provenance"]


def test_the_verdict_counts_what_the_comparisons_say():
    validation = sample_validation(failures=("one",))
    text = verdict(validation)
    for outcome in Outcome:
        count = sum(one.outcome is outcome for one in validation.comparisons)
        assert f"{outcome.name} {count}</a>" in text
    assert "1 cell failed" in text
    largest = max(
        (one for one in validation.comparisons if one.outcome is Outcome.BETTER), key=lambda one: one.difference.mean
    )
    assert f"<li>MCC in {largest.world} against {look(largest.reference).label}" in text


def test_a_validation_without_comparisons_has_a_page_and_says_so():
    text = render_validation(small_validation(comparisons=(), causes=(), portraits=(), standings=()))
    assert "was compared with nothing" in text
    parse(text)


def test_every_comparison_stands_in_a_matrix_and_in_the_table(page):
    validation = small_validation()
    rows = [attributes for tag, attributes in parse(page).seen if tag == "tr" and "data-outcome" in attributes]
    expected = [(one.world, one.reference, one.metric, one.outcome.value) for one in validation.comparisons]
    found = [tuple(row[f"data-{name}"] for name in ("world", "reference", "metric", "outcome")) for row in rows]
    assert found == expected
    cells = re.findall(r'<td class="(better|worse|same|undecided)">', page)
    assert sorted(cells) == sorted(outcome for *_, outcome in expected)


def test_the_page_can_be_made_again_from_what_was_saved(tmp_path):
    path = write_validation(small_validation(), tmp_path / "first")
    again = write_validation(read_validation(path.parent), tmp_path / "second")
    assert path.read_bytes() == again.read_bytes()
    assert sorted(one.name for one in path.parent.iterdir()) == ["report.html", "rows.csv", "validation.json"]
    assert path.stat().st_size < 1_000_000  # of one world; nine of them stay far below 10 MB


def test_a_page_that_cannot_be_drawn_leaves_no_file(tmp_path):
    odd = small_validation(portraits=(Portrait("tree", 0, np.zeros((2, 2)), np.zeros(2), np.zeros(3)),))
    with pytest.raises(IndexError):
        write_validation(odd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_drawing_leaves_rc_params_alone(page):
    before = dict(matplotlib.rcParams)
    render_validation(small_validation(portraits=(), causes=()))
    assert dict(matplotlib.rcParams) == before


def test_rows_are_sorted_by_rate_and_matched_atoms_stand_on_the_diagonal():
    rng = np.random.default_rng(0)
    cosines = np.concatenate([np.eye(5), np.zeros((5, 2))], axis=1)
    rows, columns = matched_order(Portrait("w", 0, cosines, np.zeros(5), rng.permutation(5) / 5))
    np.testing.assert_array_equal(cosines[np.ix_(rows, columns)], cosines)
    assert list(columns[5:]) == [5, 6]


def test_fewer_atoms_than_features_stand_in_the_order_of_their_features():
    rate = np.array([0.1, 0.4, 0.2, 0.3])
    cosines = np.zeros((4, 2))
    cosines[0, 0], cosines[1, 1] = 0.9, -0.8  # atom 0 is the rarest feature, atom 1 the most frequent
    rows, columns = matched_order(Portrait("w", 0, cosines, np.ones(4), rate))
    assert list(rows) == [1, 3, 2, 0]
    assert list(columns) == [1, 0]


def test_a_block_shows_its_largest_cosine_with_its_sign():
    rng = np.random.default_rng(1)
    cosines = rng.uniform(-1, 1, (7, 10))
    cells, side = blocks(cosines, most=4)
    assert side == 3 and cells.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            block = cosines[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].ravel()
            assert cells[i, j] == block[np.abs(block).argmax()]
    assert blocks(cosines, most=10)[1] == 1


def test_a_dictionary_beyond_the_resolution_says_what_a_cell_is():
    cosines = np.zeros((300, 300))
    cosines[np.arange(300), np.arange(300)] = -1.0
    text = render_validation(
        small_validation(
            comparisons=(), causes=(), standings=(), portraits=(Portrait("w", 0, cosines, np.zeros(300), np.ones(300)),)
        )
    )
    assert "A cell is the largest cosine of a block of 2 × 2." in text


def test_a_curve_leaves_out_what_has_no_score():
    nan = float("nan")
    rows = [(2, 1.9, 0.5), (2, 2.1, 0.7), (3, nan, 0.9), (3, 3.0, nan), (1, 1.0, 0.2)]
    points = curve(Table.of_rows(["budget", "l0", "mcc"], rows), "mcc")
    assert [(point[0].mean, round(point[1].mean, 12), point[1].n) for point in points] == [(1.0, 0.2, 1), (2.0, 0.6, 2)]


def test_the_way_from_floor_to_oracle():
    def standing(score: float, floor: float, oracle: float) -> Standing:
        return Standing("w", "mcc", *(mean_interval([one, one]) for one in (score, floor, oracle, oracle)))

    assert percent(way(standing(0.6, 0.2, 1.0))) == "50%"
    assert percent(way(standing(0.1, 0.2, 1.0))) == "−12%"
    assert percent(way(standing(0.1, 0.2, 0.2))) == "–"
    assert bounded([standing(0.5, -3.0, 1.0), standing(0.5, 0.1, 1.0)]) == [standing(0.5, 0.1, 1.0)]


def test_seeds_needed_are_said_for_open_comparisons_only():
    one = sample_validation().comparisons[0]
    open_one = dataclasses.replace(one, outcome=Outcome.UNDECIDED, difference=Interval(0.02, -0.02, 0.06, 5))
    assert int(needed(open_one, 0.02)) > 5
    hopeless = dataclasses.replace(open_one, difference=Interval(0.001, -0.039, 0.041, 5))
    assert needed(hopeless, 1e-4) == "over 1000"
    assert needed(dataclasses.replace(open_one, outcome=Outcome.SAME), 0.02) == ""
    assert needed(dataclasses.replace(open_one, difference=mean_interval([0.1])), 0.02) == ""


def test_looks_are_fixed_distinct_and_have_a_mark_in_the_legend():
    names = ["topk", "batch_topk", "matryoshka", "mp", "subject", "floor", "oracle", "genie"]
    assert len({look(name).colour for name in names}) == len({look(name).marker for name in names}) == len(names)
    assert {look(name).marker for name in (*names, *LOOKS, *map(str, range(50)))} <= set(MARKS)
    assert look("my own") == look("my own")
    assert all(look(name)[1:] == LOOKS[name][1:] for name in LOOKS)
