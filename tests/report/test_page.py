"""The page is one file, escapes what it is given, and says every verdict."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import matplotlib
import matplotlib.pyplot
import pytest
from matplotlib.figure import Figure

from sparsesim.report.claims import Above, Claim
from sparsesim.report.figure import save_figure, style, svg
from sparsesim.report.page import Card, render, write
from sparsesim.study.interval import mean_interval

EVIL = "<script>alert('x')</script>&\"'"


def picture(name: str) -> str:
    with style(name):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([0, 1], [1, 0])
    return svg(figure, name)


def card(name: str = "demo", text: str = "text") -> Card:
    claim = Claim(text, text, text, mean_interval([1.0, 1.1]), Above(0.0), note=text)
    return Card(name, text, text, ((text, picture(name)),), (claim,), (text,), ((text,),), text, {text: text})


class Tags(HTMLParser):
    """Collects tags and checks that they nest."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    return tags


def test_tags_nest_and_ids_are_unique_with_two_figures_on_one_page():
    tags = parse(render("title", [card("one"), card("two")]))
    assert len(tags.ids) == len(set(tags.ids))
    targets = {
        attrs[k][1:] for _, attrs in tags.seen for k in ("href", "xlink:href") if attrs.get(k, "").startswith("#")
    }
    assert targets <= set(tags.ids)


def test_nothing_outside_the_file_is_referred_to():
    tags = parse(render("title", [card()]))
    assert not [tag for tag, _ in tags.seen if tag in ("script", "link", "img", "iframe")]
    for _, attrs in tags.seen:
        for name in ("href", "xlink:href", "src"):
            assert attrs.get(name, "#").startswith("#")
    assert "@import" not in render("title", [card()])
    assert not re.search(r"url\((?!#)", render("title", [card()]))


def test_every_text_field_is_escaped():
    page = render(EVIL, [card("demo", EVIL)])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_verdict_shown_is_the_computed_one():
    assert "REPRODUCED</span>" in render("title", [card()])


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = write(tmp_path / "deep" / "report.html", "title", [card()])
    assert path.read_text(encoding="utf-8") == render("title", [card()])
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_the_same_figure_is_the_same_bytes_and_rc_params_are_restored(tmp_path):
    before = dict(matplotlib.rcParams)
    assert picture("same") == picture("same")
    with style("same"):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([0, 1])
    first = {p.name: p.read_bytes() for p in save_figure(figure, tmp_path / "a", "same")}
    second = {p.name: p.read_bytes() for p in save_figure(figure, tmp_path / "b", "same")}
    assert first == second
    assert set(first) == {"same.pdf", "same.png", "same.svg"}
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_svg_carries_no_date(name):
    assert "<metadata>" not in picture(name)
