"""Diagnoses: why variants lose duels, each cause put to trials that come out one way if it is right."""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_figures import pairs
from paper_figures.pairs import LOST, OPEN, WON, difference, facts, unit, variant
from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Below, Claim, Verdict
from sparsesim.report.palette import MIST, SLATE, spelt
from sparsesim.study.table import Table

TITLE = "Diagnoses: why variants lose duels"
QUESTION = "Is the reason that is thought to be why a variant loses its duel the reason?"
CAPTION = (
    "The five duels that variants lose, and below each the trials of its diagnosis: the paired difference of the "
    "metric, oriented so that positive means that the variant (or the setting named) wins, in units of the mean of the "
    "two, with the 95% t-interval over the seeds. Circles: the cause is taken away and the variant must win; diamonds: "
    "controls, in which it is still there; squares: the duel itself. Shaded: the side on which the diagnosis expects "
    "the row. Filled: the whole interval is on one side of zero. The axis is linear within 0.1 and logarithmic beyond; "
    "the table gives both scores, random atoms with a pursuit as floor and the true atoms with one as ceiling."
)
AGAIN = "the duel"
MARKERS = {"again": "s", "won": "o", "lost": "D"}
HEADER = ("diagnosis", "trial", "expected", *pairs.HEADER, "floor … ceiling")


def _names(table: Table, diagnosis: str) -> list[str]:
    """Return the rows of ``diagnosis``: the duel itself, what is to be won, what is to be lost."""
    names = [str(name) for name in table.where(diagnosis=diagnosis).levels("duel")]
    return sorted(names, key=lambda name: (_trial(table, name) != AGAIN, _expected(table, name) != "won", name))


def _one(table: Table, name: str, label: str) -> str:
    return str(table.where(duel=name).values(label)[0])


def _trial(table: Table, name: str) -> str:
    return _one(table, name, "trial")


def _expected(table: Table, name: str) -> str:
    return _one(table, name, "expected")


def _claim(table: Table, diagnosis: str, name: str) -> Claim:
    said = facts(table, name)
    again = _trial(table, name) == AGAIN
    sentence = f"{variant(diagnosis)} loses its duel, here as there." if again else said["claim"]
    better = f"{spelt(said['metric'])} ({said['better']} is better)"
    quantity = f"{name}: {better}, {said['challenger']} over {said['baseline']}"
    expectation = Above(0.0) if _expected(table, name) == "won" else Below(0.0)
    source = f"native; a trial of what `duels` says of {variant(diagnosis)}"
    return Claim(sentence, source, quantity, difference(table, name), expectation, tier="laptop")


def claims(table: Table) -> list[Claim]:
    """Return one claim a row: it comes out as the diagnosis expects."""
    found = [str(one) for one in table.levels("diagnosis")]
    return [_claim(table, one, name) for one in found for name in _names(table, one)]


def notes(table: Table) -> dict[str, str]:
    """Return by duel what its diagnosis is and how many of its trials came out as it expects."""
    found = {}
    for one in map(str, table.levels("diagnosis")):
        trials = [_claim(table, one, name) for name in _names(table, one) if _trial(table, name) != AGAIN]
        agree = sum(trial.verdict is Verdict.REPRODUCED for trial in trials)
        cause = str(table.where(diagnosis=one).values("cause")[0])
        found[one] = f"Diagnosis: {cause} ({agree} of {len(trials)} trials of `diagnoses` come out as it expects)."
    return found


def _row(axes: Axes, table: Table, name: str, row: int) -> None:
    value, scale = difference(table, name), unit(table, name)
    decided = value.low > 0 or value.high < 0
    colour = (WON if value.mean > 0 else LOST) if decided else OPEN
    expected = _expected(table, name)
    marker = MARKERS["again" if _trial(table, name) == AGAIN else expected]
    left, right = (0.0, 3.0) if expected == "won" else (-3.0, 0.0)
    axes.fill_between([left, right], row - 0.42, row + 0.42, color=MIST, lw=0, zorder=0)
    axes.plot([value.low / scale, value.high / scale], [row, row], color=colour, lw=1.4)
    axes.plot(value.mean / scale, row, marker, color=colour, ms=4.5, mfc=colour if decided else "white")


def draw(table: Table) -> Figure:
    """Return the figure: one block a diagnosis, one row a trial."""
    blocks = [(one, _names(table, one)) for one in map(str, table.levels("diagnosis"))]
    count = sum(len(names) for _, names in blocks)
    figure = Figure(figsize=(7.0, 1.3 + 0.24 * (count + len(blocks))), layout="constrained")
    axes = figure.subplots()
    ticks, texts, row = [], [], 0
    for one, names in blocks:
        metric = spelt(facts(table, names[0])["metric"])
        axes.text(-2.9, row, f"{variant(one)}: {metric}", weight="bold", va="center")
        for name in names:
            row += 1
            _row(axes, table, name, row)
            ticks.append(row)
            texts.append(_trial(table, name))
        row += 1
    axes.axvline(0.0, color=SLATE, lw=0.8)
    axes.set_yticks(ticks, texts)
    axes.set_ylim(row - 0.4, -0.6)
    axes.set_xscale("symlog", linthresh=0.1, linscale=1.0)
    axes.set_xlim(-3.0, 3.0)
    axes.set_xticks([-2, -1, -0.1, 0, 0.1, 1, 2], ["−2", "−1", "−0.1", "0", "0.1", "1", "2"])
    axes.minorticks_off()
    axes.set_xlabel("baseline better   ←   relative paired difference   →   variant better")
    axes.set_axisbelow(True)
    kinds = {"the duel": "s", "cause taken away": "o", "control": "D"}
    handles: list[Artist] = [
        Line2D([], [], ls="", marker=m, color=SLATE, ms=4.5, label=label) for label, m in kinds.items()
    ]
    handles.append(Patch(color=MIST, label="expected by the diagnosis"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a trial, with both scores, floor and ceiling."""
    found = []
    for one in map(str, table.levels("diagnosis")):
        for name in _names(table, one):
            metric = facts(table, name)["metric"]
            ends = [pairs.shown(by_seed(table, metric, duel=name, role=role)) for role in ("floor", "ceiling")]
            label = (variant(one), _trial(table, name), _expected(table, name))
            found.append((*label, *pairs.cells(table, name), " … ".join(ends)))
    return found
