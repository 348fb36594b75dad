"""Who wins where, over correlation, hierarchy and skew of rates: scores along each axis, and two maps of winners."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from paper_figures.who_wins_claims import claims
from paper_figures.who_wins_numbers import (
    AXES,
    LEARNERS,
    NAMES,
    SCORES,
    column,
    decided,
    fall,
    field,
    grid,
    overall,
    running,
)
from sparsesim.report.palette import CEILING, FLOOR, MIST, SILVER, look
from sparsesim.study.interval import mean_interval
from sparsesim.study.table import Table

__all__ = ["CAPTION", "HEADER", "QUESTION", "TITLE", "claims", "draw", "rows"]

TITLE = "Who wins where: correlation, hierarchy and skew of rates against sparsity"
QUESTION = "Which solver finds codes and atoms best where features correlate, form trees, or differ in frequency?"
CAPTION = (
    "32 random directions in 16 dimensions, half-normal codes, no noise, k active in the mean. Left: features of equal "
    "rate whose firings have this correlation within blocks of four. Middle: families of a parent and three children, "
    "each a third as frequent; from independent (0) to children that fire only with their parent (1), at the same "
    "rates. Right: independent features whose rates fall by Zipf's law. Above: correlation of codes with the truth, "
    "mean over k, with 95% intervals over seeds; dashed green: the best encoder of the true atoms; grey: random atoms "
    "with OMP. Below: the learner of the highest mean at each point, by codes and by atoms (chance-corrected MCC), "
    "where a paired interval tells it from each other; hatched: open, with all that are in the running (+: and more). "
    "All are at the true width; autoencoders are told k, or have the penalty whose L0 is nearest to k, and are trained "
    "on 1500 batches of 128, which is short: longer training raises linear encoders most."
)
MARKS = dict(zip(LEARNERS, "DOPLJTBM", strict=True))
LABELS = {
    "correlation": "correlation of firings",
    "hierarchy": "hierarchy (0: none, 1: tree)",
    "skew": "exponent of Zipf's law",
}
WORDS = {"code_correlation": "by codes", "mcc_corrected": "by atoms"}
SHOWN = 5  # letters that a cell has room for


def _ink(colour: str) -> str:
    """Return black or white, whichever is read on ``colour``."""
    red, green, blue = to_rgb(colour)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def _lines(axes: Axes, table: Table, axis: str) -> None:
    strengths, _ = grid(table, axis)
    places = range(len(strengths))
    for shift, name in enumerate(LEARNERS):
        shown = look(name)
        values = [mean_interval(column(table, axis, name, place)) for place in places]
        x = [place + 0.045 * (shift - 3.5) for place in places]
        axes.vlines(x, [v.low for v in values], [v.high for v in values], color=shown.colour, lw=0.8)
        means = [v.mean for v in values]
        axes.plot(x, means, shown.marker, ls="-", lw=0.8, color=shown.colour, ms=3.5, mec="white", mew=0.2)
    for name, colour, style in (("ceiling", CEILING, "--"), ("random", FLOOR, "-")):
        means = [float(column(table, axis, name, place).mean()) for place in places]
        axes.plot(places, means, style, color=colour, lw=1.0)
    axes.set_xticks(places, [f"{one:g}" for one in strengths])
    axes.set_xlim(-0.5, len(strengths) - 0.5)
    axes.set_ylim(0.0, 1.04)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _cell(axes: Axes, corner: tuple[float, float], names: Sequence[str]) -> None:
    """Draw one point of a map: the colour of its winner, or hatched with the letters of who is in the running."""
    middle = corner[0] + 0.5, corner[1] + 0.5
    if len(names) == 1:
        colour = look(names[0]).colour
        axes.add_patch(Rectangle(corner, 1.0, 1.0, facecolor=colour, edgecolor="white", lw=0.8))
        axes.text(*middle, MARKS[names[0]], ha="center", va="center", fontsize=9, color=_ink(colour))
        return
    axes.add_patch(Rectangle(corner, 1.0, 1.0, facecolor=MIST, edgecolor=SILVER, hatch="////", lw=0.0))
    axes.add_patch(Rectangle(corner, 1.0, 1.0, facecolor="none", edgecolor="white", lw=0.8))
    letters = "".join(MARKS[name] for name in names[:SHOWN]) + ("+" if len(names) > SHOWN else "")
    back = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    axes.text(*middle, letters, ha="center", va="center", fontsize=6, color="black", bbox=back)


def _map(axes: Axes, table: Table, axis: str, metric: str) -> None:
    strengths, actives = grid(table, axis)
    for row, line in enumerate(running(table, axis, metric)):
        for place, names in enumerate(line):
            _cell(axes, (place - 0.5, row - 0.5), names)
    axes.set_xlim(-0.5, len(strengths) - 0.5)
    axes.set_ylim(-0.5, len(actives) - 0.5)
    axes.set_xticks(range(len(strengths)), [f"{one:g}" for one in strengths])
    axes.set_yticks(range(len(actives)), [str(k) for k in actives])
    axes.tick_params(length=0)


def _legend(figure: Figure) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], ls="", marker=look(name).marker, ms=5, color=look(name).colour, label=f"{MARKS[name]}: {label}")
        for name, label in NAMES.items()
    ]
    handles += [
        Line2D([], [], color=CEILING, ls="--", lw=1.0, label="true atoms"),
        Line2D([], [], color=FLOOR, lw=1.0, label="random atoms"),
        Patch(facecolor=MIST, edgecolor=SILVER, hatch="////", label="open"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncol=6, frameon=False, fontsize=7)


def draw(table: Table) -> Figure:
    """Return the figure: for each axis the scores along it, and who wins by codes and by atoms."""
    figure = Figure(figsize=(7.2, 6.0), layout="constrained")
    widths = [len(grid(table, axis)[0]) for axis in AXES]
    panels = figure.subplots(3, len(AXES), width_ratios=widths, height_ratios=(1.35, 1.0, 1.0), sharey="row")
    for axes, axis in zip(panels.T, AXES, strict=True):
        _lines(axes[0], table, axis)
        axes[0].set_title(axis, fontsize=8)
        for one, metric in zip(axes[1:], SCORES, strict=True):
            _map(one, table, axis, metric)
        axes[-1].set_xlabel(LABELS[axis])
    panels[0, 0].set_ylabel("correlation of codes")
    for axes, metric in zip(panels[1:, 0], SCORES, strict=True):
        axes.set_ylabel(f"who wins {WORDS[metric]}\nk")
    _legend(figure)
    return figure


HEADER = ("axis", "solver", "seeds", "codes, mean over the plane", "lost along the axis", "atoms", "lost", "wins")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: means over each plane with intervals over seeds, and points won by codes."""
    found: list[tuple[str, ...]] = []
    for axis in AXES:
        won = [names[0] for line in running(table, axis, SCORES[0]) for names in line if len(names) == 1]
        points = field(table, axis, "random", SCORES[0])[..., 0].size
        for name in (*LEARNERS, "ceiling", "random"):
            scores = [of(table, axis, name, metric) for metric in SCORES for of in (overall, fall)]
            values = [mean_interval(one) for one in scores]
            label = {**NAMES, "ceiling": "true atoms, best encoder", "random": "random atoms"}[name]
            text = [f"{v.mean:z.3f} ± {v.half_width:.3f}" for v in values]
            share = f"{won.count(name)} of {points}" if name in LEARNERS else ""
            found.append((axis, label, str(values[0].n), *text, share))
    known = [decided(table, metric) for metric in SCORES]
    words = [f"{count} of {all_} decided" for count, all_ in known]
    return [*found, ("all", "", "", words[0], "", words[1], "", "")]
