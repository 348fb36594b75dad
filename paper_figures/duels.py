"""Duels: each variant on the small world on which its paper says it wins, against the baseline it is said to beat."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure

from paper_figures import pairs
from paper_figures.diagnoses import notes
from paper_figures.pairs import LOST, OPEN, WON, difference, facts, unit, variant
from sparsesim.report.claims import Above, Claim, Verdict
from sparsesim.report.palette import SLATE, spelt
from sparsesim.study.table import Table

TITLE = "Duels: does each variant win where its paper says it wins?"
QUESTION = "Does each variant win where its paper says it wins?"
CAPTION = (
    "One row a duel: the paired difference of its metric, oriented so that positive means that the variant wins, in "
    "units of the mean of the two, with the 95% t-interval over the seeds. Filled: the whole interval is on one side "
    "of zero. The axis is linear within 0.1 and logarithmic beyond. The table gives both scores; a variant that does "
    "not win here stays in the list."
)
ABOVE = Above(0.0)
DIAGNOSES = Path(__file__).resolve().parents[1] / "studies" / "tables" / "diagnoses.csv"
HEADER = ("duel", *pairs.HEADER)


def claims(table: Table) -> list[Claim]:
    """Return one claim a duel: the variant is better than the baseline; one that is lost names its diagnosis."""
    known = notes(Table.read(DIAGNOSES)) if DIAGNOSES.is_file() else {}
    found = []
    for name in map(str, table.levels("duel")):
        said, value = facts(table, name), difference(table, name)
        better = f"{said['metric']} ({said['better']} is better)"
        quantity = f"{name}: {better}, {said['challenger']} over {said['baseline']}"
        source = ", ".join(f"arXiv:{number}" for number in re.findall(r"\d{4}\.\d{4,5}", said["claim"]))
        note = known.get(name, "") if ABOVE.verdict(value) is Verdict.FAILED else ""
        found.append(Claim(said["claim"], source or "native", quantity, value, ABOVE, tier="laptop", note=note))
    return found


def draw(table: Table) -> Figure:
    """Return the figure: one row a duel, its relative paired difference with interval."""
    names = [str(name) for name in table.levels("duel")]
    verdicts = {one.quantity.split(":")[0]: one.verdict for one in claims(table)}
    figure = Figure(figsize=(7.0, 0.8 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        value, scale = difference(table, name), unit(table, name)
        colour = {Verdict.REPRODUCED: WON, Verdict.FAILED: LOST}.get(verdicts[name], OPEN)
        axes.plot([value.low / scale, value.high / scale], [row, row], color=colour, lw=1.4)
        filled = verdicts[name] in (Verdict.REPRODUCED, Verdict.FAILED)
        axes.plot(value.mean / scale, row, "o", color=colour, ms=4.5, mfc=colour if filled else "white")
    axes.axvline(0.0, color=SLATE, lw=0.8)
    axes.set_yticks(range(len(names)), [f"{variant(name)}: {spelt(facts(table, name)['metric'])}" for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("symlog", linthresh=0.1, linscale=1.0)
    axes.set_xticks([-2, -1, -0.1, 0, 0.1, 1, 2], ["−2", "−1", "−0.1", "0", "0.1", "1", "2"])
    axes.minorticks_off()
    axes.set_xlabel("baseline better   ←   relative paired difference   →   variant better")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return figure


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a duel, both scores with their intervals and the sizes beside them."""
    return [(variant(name), *pairs.cells(table, name)) for name in map(str, table.levels("duel"))]
