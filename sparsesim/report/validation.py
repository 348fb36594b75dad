"""A validation as one self-contained page: the verdict first, then the pictures and numbers that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from sparsesim.report.dressing import SCRIPT, STYLE
from sparsesim.report.page import document, facts
from sparsesim.report.palette import look, spelt
from sparsesim.report.pictures import bounded, draw_causes, draw_curves, draw_portrait, draw_standings
from sparsesim.report.verdicts import (
    Cell,
    attributes,
    bracket,
    chip,
    comparisons,
    matrix,
    percent,
    sortable,
    verdict,
    way,
)
from sparsesim.study.interval import Interval
from sparsesim.study.table import write_whole
from sparsesim.validate.files import save_validation
from sparsesim.validate.result import Cause, Portrait, Standing, Validation

if TYPE_CHECKING:
    from sparsesim.validate.versus import Turn

PAGE = "report.html"
MARKS = {
    "o": "●", "^": "▲", "v": "▼", "s": "■", "D": "◆", "d": "♦", "p": "⬟", "h": "⬢", "x": "✕", "X": "✖", "P": "✚",
    "+": "+", "*": "★", "<": "◀", ">": "▶",
}  # fmt: skip


def write_validation(validation: Validation, folder: str | Path) -> Path:
    """Write ``report.html``, ``rows.csv`` and ``validation.json`` into ``folder``; return the path of the page.

    Each file is written in one atomic step, the page last; `sparsesim.validate.read_validation` reads the other two,
    from which the page can be made again.

    Raises
    ------
    TypeError
        If a fact of the provenance is no string, number, list or mapping of such.
    """
    page = render_validation(validation)
    return write_whole(save_validation(validation, folder) / PAGE, page)


def write_versus(before: Validation, after: Validation, folder: str | Path) -> Path:
    """Write the page, and what it is made of, of the subject of ``after`` against that of ``before``; return its path.

    It is the page of `versus`, and says first which comparisons with references turned out differently.

    Raises
    ------
    ValueError
        If the two cannot be paired, see `sparsesim.validate.versus`.
    """
    from sparsesim.validate.versus import turns, versus  # here: it takes seconds to import, a page alone does not

    both, turned = versus(before, after), _turned(turns(before, after))
    title = f"{after.subject} against {before.subject}, before"
    page = _page(both, title, [("turned", "Against the references: what turned", turned)])
    return write_whole(save_validation(both, folder) / PAGE, page)


def render_validation(validation: Validation) -> str:
    """Return the page as text; every name, finding and failure in it is escaped."""
    return _page(validation, f"{validation.subject}: validation on ground truth", [])


def _page(validation: Validation, title: str, more: Sequence[tuple[str, str, str]]) -> str:
    parts = (
        ("verdict", "Verdict", verdict(validation)),
        *more,
        ("portraits", "The learned dictionary against the truth", _portraits(validation.portraits)),
        ("matrices", "Against the references, world by world", _matrices(validation)),
        ("comparisons", "All comparisons", _comparisons(validation)),
        ("worlds", "World by world", _worlds(validation)),
        ("causes", "What the errors go with", _causes(validation)),
        ("failures", "Failures", _failures(validation.failures)),
        ("provenance", "Provenance", _provenance(validation)),
    )
    shown = [part for part in parts if part[2]]
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in shown)
    body = "".join(f'<section id="{name}"><h2>{heading}</h2>{text}</section>' for name, heading, text in shown)
    head = (
        f'<p class="soft">Protocol {escape(validation.protocol)}. Every verdict is computed from the numbers beside '
        "it; intervals of comparisons hold for all of them together.</p>"
    )
    return document(title, f"{head}<nav>{links}</nav>{body}", style=STYLE, script=SCRIPT)


def _turned(turned: Sequence[Turn]) -> str:
    """Return a table of the comparisons with references that turned out differently."""
    header = ("before", "after", "world", "reference", "metric")
    rows = []
    for one in turned:
        cells: list[Cell] = [(chip(one.before), None), (chip(one.after), None)]
        cells += [(escape(word), None) for word in (one.world, look(one.reference).label, spelt(one.metric))]
        rows.append((attributes(world=one.world), cells))
    return sortable(header, rows) if rows else "<p>No comparison that both have turned out differently.</p>"


def _figure(picture: str, caption: str, world: str) -> str:
    """Return ``picture``, which is trusted, over ``caption``, which is trusted too."""
    return f"<figure{attributes(world=world)}>{picture}<figcaption>{caption}</figcaption></figure>"


def _portraits(portraits: Sequence[Portrait]) -> str:
    if not portraits:
        return ""
    figures = ""
    for number, one in enumerate(portraits):
        m, p = one.cosines.shape
        side = -(-max(m, p) // 256)
        blocks = f" A cell is the largest cosine of a block of {side} × {side}." if side > 1 else ""
        found = int((one.error <= 0.1).sum())
        caption = (
            f"<b>{escape(one.world)}</b>, seed {one.seed}: {m} features, {p} atoms; {found} features "
            f"have an atom within cosine 0.9.{blocks}"
        )
        figures += _figure(draw_portrait(one, f"portrait-{number}"), caption, one.world)
    return (
        "<p>Each row is a true feature, frequent ones on top, and each column an atom, in the order of the features "
        "to which they are matched: a diagonal of ±1 on white is the truth. Beside it stands the error of each "
        "feature; right of the dotted line, if there is one, are the atoms without a feature.</p>"
        f'<div class="pictures">{figures}</div>'
    )


def _matrices(validation: Validation) -> str:
    found = validation.comparisons
    if not found:
        return ""
    confidence = found[0].difference.confidence
    metrics = dict.fromkeys(one.metric for one in found)
    return (
        "<p>Subject minus reference at the subject's own L0, paired over seeds, so turned that positive is better for "
        f"the subject. The intervals, each at {confidence:.2%}, hold for all comparisons together, whichever number of "
        f"seeds was enough. SAME: the whole interval lies within the margin of {validation.margin:g}. UNDECIDED: these "
        "seeds do not tell; as many as are said would narrow the interval to the margin.</p>"
        + "".join(matrix(found, metric, validation.margin) for metric in metrics)
    )


def _comparisons(validation: Validation) -> str:
    if not validation.comparisons:
        return ""
    return (
        "<p>Detectable is the smallest true difference that these seeds find with probability 0.8 after correction. "
        "Click a header to sort.</p>" + comparisons(validation.comparisons, validation.margin)
    )


def _worlds(validation: Validation) -> str:
    names = dict.fromkeys([*validation.questions, *(one.world for one in validation.standings)])
    references = list(dict.fromkeys(one.reference for one in validation.comparisons))
    cards = "".join(_world(validation, name, number, references) for number, name in enumerate(names))
    return _legend(validation.subject, references) + cards if names else ""


def _legend(subject: str, references: Sequence[str]) -> str:
    items = ""
    for name in ("subject", *references, "floor", "oracle", "genie"):
        shown = look(name)
        label = escape(subject if name == "subject" else shown.label)
        items += f'<li><b style="color:{shown.colour}">{MARKS.get(shown.marker, "●")}</b> {label}</li>'
    return f'<ul class="legend">{items}</ul>'


def _world(validation: Validation, world: str, number: int, references: Sequence[str]) -> str:
    standings = [one for one in validation.standings if one.world == world]
    drawn = bounded(standings)
    pictures = ""
    if drawn:
        left = [spelt(one.metric) for one in standings if one not in drawn]
        rest = f" Not on this axis, and in the table only: {escape(', '.join(left))}." if left else ""
        caption = f"Scores with 95% intervals; the bar runs from floor to oracle.{rest}"
        pictures += _figure(draw_standings(drawn, f"standings-{number}"), caption, world)
    rows = validation.table.where(world=world) if "world" in validation.table.columns else validation.table
    for place, metric in enumerate(dict.fromkeys(one.metric for one in validation.comparisons)):
        if {"l0", "budget", "solver", metric} <= rows.columns.keys() and len(rows):
            picture = draw_curves(rows, metric, references, f"curves-{number}-{place}")
            pictures += _figure(picture, f"{escape(spelt(metric))} against L0, means with 95% intervals.", world)
    question = escape(validation.questions.get(world, ""))
    return (
        f'<div class="world"{attributes(world=world)}><h3>{escape(world)}</h3><p class="soft">{question}</p>'
        f'<div class="pictures narrow">{pictures}</div>{_standings(standings)}</div>'
    )


def _standings(standings: Sequence[Standing]) -> str:
    if not standings:
        return ""
    header = ("metric", "score [95% interval]", "floor", "oracle", "genie", "way from floor to oracle")
    rows = []
    for one in standings:
        cells: list[Cell] = [(escape(spelt(one.metric)), None), (bracket(one.score), one.score.mean)]
        cells += [(_number(level), level.mean) for level in (one.floor, one.oracle, one.genie)]
        rows.append(("", [*cells, (percent(way(one)), way(one))]))
    return f"<details><summary>All scores as numbers</summary>{sortable(header, rows)}</details>"


def _number(level: Interval) -> str:
    return "–" if isnan(level.mean) else f"{level.mean:z.3f}".replace("-", "−")


def _causes(validation: Validation) -> str:
    if not validation.causes:
        return ""
    worlds = dict.fromkeys(one.world for one in validation.causes)
    figures = ""
    for number, world in enumerate(worlds):
        here = [one for one in validation.causes if one.world == world]
        figures += _figure(draw_causes(here, f"causes-{number}"), f"<b>{escape(world)}</b>", world)
    return (
        "<p>Regression of the error 1 − |cos| of each true feature on all of its properties together "
        '(<span style="color:#0b5d8a">●</span>, standardised slope) and its rank correlation with each property alone '
        '(<span style="color:#8c8c8c">◆</span>), with 95% intervals over seeds. Left of zero, features with more of it '
        f'are learned better.</p><div class="pictures narrow">{figures}</div>{_cause_table(validation.causes)}'
    )


def _cause_table(causes: Sequence[Cause]) -> str:
    header = ("world", "property", "slope [95% interval]", "rank correlation alone [95% interval]", "seeds")
    rows = []
    for one in causes:
        cells: list[Cell] = [
            (escape(one.world), None),
            (escape(one.property), None),
            (bracket(one.slope, signed=True), one.slope.mean),
            (bracket(one.alone, signed=True), one.alone.mean),
            (str(one.slope.n), float(one.slope.n)),
        ]
        rows.append((attributes(world=one.world), cells))
    return f"<details><summary>All slopes as numbers</summary>{sortable(header, rows)}</details>"


def _failures(failures: Sequence[str]) -> str:
    if not failures:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in failures)
    return (
        "<p>These cells ended in an exception; their rows are missing from all numbers above.</p>"
        f'<ul class="failures">{items}</ul>'
    )


def _provenance(validation: Validation) -> str:
    return (
        f"<h3>Made again by</h3><p><code>{escape(validation.command)}</code></p>"
        f"<h3>What probing found</h3>{facts(dict(validation.card))}"
        f"<h3>Made with</h3>{facts(validation.provenance)}"
    )
