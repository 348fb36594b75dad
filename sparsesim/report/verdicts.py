"""Comparisons on a page: the verdict in a sentence, chips, the matrix of references and worlds, the table of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TypeAlias

from sparsesim.report.palette import look, spelt
from sparsesim.study.interval import Interval
from sparsesim.validate.result import Comparison, Outcome, Standing, Validation

SIGNS = {Outcome.BETTER: "▲", Outcome.WORSE: "▼", Outcome.SAME: "=", Outcome.UNDECIDED: "?"}
MOST_SEEDS = 1000
Cell: TypeAlias = "tuple[str, float | None]"  # what is shown, already escaped, and by what it is sorted


def chip(outcome: Outcome, more: str = "") -> str:
    """Return the outcome as a chip: a sign and a word, so that it is read without its colour."""
    return f'<span class="chip {outcome.value}">{SIGNS[outcome]} {outcome.name}{more}</span>'


def bracket(level: Interval, signed: bool = False) -> str:
    """Return mean and interval as text; one seed has no interval."""
    sign = "+" if signed else ""
    if math.isnan(level.mean):
        return "–"
    mean = f"{level.mean:{sign}.3f}".replace("-", "−")
    if not math.isfinite(level.half_width):
        return f"{mean} [no interval]"
    return f"{mean} [{level.low:{sign}.3f}, {level.high:{sign}.3f}]".replace("-", "−")


def needed(one: Comparison, margin: float) -> str:
    """Return how many seeds would decide an open comparison, if its mean and its spread stay what they are."""
    if one.outcome is not Outcome.UNDECIDED or one.difference.n < 2:
        return ""
    seeds = one.seeds_to_decide(margin, MOST_SEEDS)
    return f"over {MOST_SEEDS}" if seeds >= MOST_SEEDS else str(seeds)


def sortable(header: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]]) -> str:
    """Return a table that the script sorts; each row is its attributes, trusted, and its cells."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr{attributes}>{''.join(map(_cell, cells))}</tr>" for attributes, cells in rows)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(cell: Cell) -> str:
    shown, value = cell
    order = "" if value is None else f' data-value="{"" if math.isnan(value) else repr(float(value))}"'
    return f"<td{order}>{shown}</td>"


def attributes(**names: str) -> str:
    """Return ``data-`` attributes for the filters, escaped."""
    return "".join(f' data-{name}="{escape(value)}"' for name, value in names.items())


def verdict(validation: Validation) -> str:
    """Return the verdict: a sentence, a chip for each outcome, and what stands out on either side."""
    found = validation.comparisons
    counts = {outcome: sum(one.outcome is outcome for one in found) for outcome in Outcome}
    chips = (
        ""
        if not found
        else "".join(
            f'<a class="chip {outcome.value}" href="#comparisons" data-outcome="{outcome.value}">'
            f"{SIGNS[outcome]} {outcome.name} {counts[outcome]}</a>"
            for outcome in Outcome
        )
    )
    failed = len(validation.failures)
    warning = (
        f'<p><a href="#failures">{failed} cell{"s" * (failed > 1)} failed</a> or could not be compared; their rows '
        "are missing.</p>"
    )
    return (
        f'<p class="sentence">{_sentence(validation, counts)}</p><div class="chips">{chips}</div>'
        f'{warning if failed else ""}{_ways(validation.standings)}<div class="sides">'
        f"{_outstanding(found, Outcome.BETTER)}{_outstanding(found, Outcome.WORSE)}</div>"
    )


def _sentence(validation: Validation, counts: dict[Outcome, int]) -> str:
    found = validation.comparisons
    name = f"<b>{escape(validation.subject)}</b>"
    if not found:
        return f"{name} was compared with nothing under {escape(validation.protocol)}; its standings are below."
    references = {one.reference for one in found}
    worlds = {one.world for one in found}
    who = escape(look(*references).label) if len(references) == 1 else f"{len(references)} references"
    seeds = sorted({one.difference.n for one in found})
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"Held against {who} in {len(worlds)} world{'s' * (len(worlds) > 1)} over {span} paired seeds at its "
        f"own L0, {name} is better in {counts[Outcome.BETTER]}, worse in {counts[Outcome.WORSE]} and the same in "
        f"{counts[Outcome.SAME]} of {len(found)} comparisons; {counts[Outcome.UNDECIDED]} are undecided."
    )


def way(one: Standing) -> float:
    """Return the share of the way from floor to oracle that the score has gone; NaN where the two coincide."""
    reach = one.oracle.mean - one.floor.mean
    return (one.score.mean - one.floor.mean) / reach if abs(reach) > 1e-3 else math.nan


def percent(share: float) -> str:
    """Return a share as a percentage, and a dash for NaN."""
    return "–" if math.isnan(share) else f"{share:z.0%}".replace("-", "−")


def _ways(standings: Sequence[Standing]) -> str:
    """Return how far the first metric has come in each world."""
    if not standings:
        return ""
    metric = standings[0].metric
    ways = [(one.world, way(one)) for one in standings if one.metric == metric]
    said = " · ".join(f"{escape(world)} <b>{percent(share)}</b>" for world, share in ways)
    return f"<p>Of the way from floor to oracle in {escape(spelt(metric))}: {said}.</p>"


def _outstanding(found: Sequence[Comparison], outcome: Outcome, most: int = 3) -> str:
    """Return a list of the largest differences with this outcome."""
    chosen = sorted((one for one in found if one.outcome is outcome), key=lambda one: -abs(one.difference.mean))
    if not chosen:
        return ""
    items = "".join(
        f"<li>{escape(spelt(one.metric))} in {escape(one.world)} against {escape(look(one.reference).label)}: "
        f"{bracket(one.difference, signed=True)}</li>"
        for one in chosen[:most]
    )
    title = "Where it gains most" if outcome is Outcome.BETTER else "Where it loses most"
    return f"<div><h3>{title}</h3><ul>{items}</ul></div>"


def matrix(found: Sequence[Comparison], metric: str, margin: float) -> str:
    """Return references by worlds for one metric: outcome, difference with interval, seeds needed where open."""
    worlds = list(dict.fromkeys(one.world for one in found))
    cells = {(one.reference, one.world): one for one in found if one.metric == metric}
    head = "".join(f'<th scope="col">{escape(world)}</th>' for world in worlds)
    body = ""
    for reference in dict.fromkeys(reference for reference, _ in cells):
        label = escape(look(reference).label)
        body += f'<tr><th scope="row">{label}</th>'
        body += "".join(_matrix_cell(cells.get((reference, world)), margin) for world in worlds) + "</tr>"
    return (
        f'<h3>{escape(spelt(metric))}</h3><div class="scroll"><table class="matrix"><thead><tr>'
        f'<th scope="col">reference</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _matrix_cell(one: Comparison | None, margin: float) -> str:
    if one is None:
        return "<td>–</td>"
    seeds = needed(one, margin)
    more = f"<br>needs {seeds} seeds" if seeds else ""
    note = "" if one.inside else "<br>L0 off the grid"
    interval = bracket(one.difference, signed=True).split(" ", 1)
    return (
        f'<td class="{one.outcome.value}">{chip(one.outcome)}<br>{interval[0]}<br><span class="small">{interval[1]}'
        f"{more}{note}</span></td>"
    )


def comparisons(found: Sequence[Comparison], margin: float) -> str:
    """Return the table of all comparisons, sortable and filtered by world, reference, metric and outcome."""
    header = (
        "outcome", "difference [simultaneous interval]", "world", "reference", "metric", "p", "p (Holm)", "detectable",
        "L0", "seeds", "seeds needed",
    )  # fmt: skip
    rows = []
    for one in found:
        seeds = needed(one, margin)
        cells: list[Cell] = [
            (chip(one.outcome), float(list(Outcome).index(one.outcome))),
            (bracket(one.difference, signed=True), one.difference.mean),
            (escape(one.world), None),
            (escape(look(one.reference).label), None),
            (escape(spelt(one.metric)), None),
            (f"{one.p_value:.2g}", one.p_value),
            (f"{one.adjusted:.2g}", one.adjusted),
            (f"{one.detectable:.3f}", one.detectable),
            (f"{one.l0:.2f}" + ("" if one.inside else " (off the grid)"), one.l0),
            (one.seeds, float(one.difference.n)),
            (seeds or "–", float(seeds.removeprefix("over ")) if seeds else math.nan),
        ]
        data = attributes(world=one.world, reference=one.reference, metric=one.metric, outcome=one.outcome.value)
        rows.append((data, cells))
    return _filters(found) + sortable(header, rows)


def _said(choice: str, value: str) -> str:
    return look(value).label if choice == "reference" else spelt(value) if choice == "metric" else value


def _filters(found: Sequence[Comparison]) -> str:
    """Return the choices; they are hidden until the script, which makes them work, shows them."""
    choices: dict[str, Callable[[Comparison], str]] = {
        "world": lambda one: one.world,
        "reference": lambda one: one.reference,
        "metric": lambda one: one.metric,
        "outcome": lambda one: one.outcome.value,
    }
    text = ""
    for name, of in choices.items():
        options = "".join(
            f'<option value="{escape(v)}">{escape(_said(name, v))}</option>' for v in dict.fromkeys(map(of, found))
        )
        text += f'<label>{name} <select name="{name}"><option value="">all</option>{options}</select></label>'
    return f'<div class="filters" hidden>{text}<button type="button">show all</button><output></output></div>'
