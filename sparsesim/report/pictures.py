"""What a validation found, drawn: dictionaries against the truth, curves over L0, standings and causes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from sparsesim._arrays import FloatArray
from sparsesim.report.figure import style, svg
from sparsesim.report.palette import GREY, INK, MIST, STONE, look, spelt
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table
from sparsesim.validate.result import Cause, Portrait, Standing

CELLS = 256  # rows and columns of a heat-map; beyond, a cell stands for a block
BOUNDED = (-0.25, 1.1)  # scores that share the axis of the standings


@contextmanager
def _drawing(name: str) -> Iterator[None]:
    """Draw in the house style, taking dollars in names for dollars."""
    with style(name), matplotlib.rc_context({"text.parse_math": False, "font.size": 8.5, "ytick.labelsize": 8}):
        yield


def matched_order(portrait: Portrait) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the order of rows, by falling rate, and of columns, so that each atom stands at the feature it resembles.

    Where every feature has an atom of its own, column i is the atom of row i and the others follow; where atoms are
    fewer than features, each stands where the feature to which it is nearest does.
    """
    m, p = portrait.cosines.shape
    rows = np.argsort(-portrait.rate, kind="stable")
    if p >= m:
        return rows, np.concatenate([rows, np.arange(m, p)])
    rank = np.empty(m, np.intp)
    rank[rows] = np.arange(m)
    return rows, np.argsort(rank[np.abs(portrait.cosines).argmax(0)], kind="stable")


def blocks(cosines: FloatArray, most: int = CELLS) -> tuple[FloatArray, int]:
    """Return ``cosines (m, p)`` at no more than ``most`` cells a side, and the side of the block a cell stands for.

    A cell shows the entry of largest magnitude in its block, with its sign, so that no match is averaged away.
    """
    side = -(-max(cosines.shape) // most)
    if side == 1:
        return cosines, 1
    padded = np.pad(cosines, [(0, -n % side) for n in cosines.shape])
    m, p = padded.shape
    tiles = padded.reshape(m // side, side, p // side, side).swapaxes(1, 2).reshape(m // side, p // side, side * side)
    largest = np.abs(tiles).argmax(-1)[..., None]
    return np.take_along_axis(tiles, largest, -1)[..., 0], side


def draw_portrait(portrait: Portrait, name: str) -> str:
    """Return the heat-map of the learned dictionary against the truth, with the error of each feature beside it."""
    rows, columns = matched_order(portrait)
    cells, side = blocks(portrait.cosines[np.ix_(rows, columns)])
    m, p = portrait.cosines.shape
    with _drawing(name):
        figure = Figure(figsize=(4.4, 3.7), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[5, 1], sharey=True)
        image = left.imshow(
            cells, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none", aspect="auto",
            extent=(-0.5, cells.shape[1] * side - 0.5, cells.shape[0] * side - 0.5, -0.5),
        )  # fmt: skip
        left.set(xlabel="atoms, in matched order", ylabel="true features, frequent first", xlim=(-0.5, p - 0.5))
        left.set_ylim(m - 0.5, -0.5)
        if p > m:
            left.axvline(m - 0.5, color=INK, lw=0.8, ls=":")
        edges = np.arange(m + 1) - 0.5
        right.stairs(portrait.error[rows], edges, orientation="horizontal", fill=True, color=STONE, lw=0)
        right.set(xlim=(0, 1), xlabel="1 − |cos|", xticks=[0, 1])
        right.tick_params(left=False, labelleft=False)
        bar = figure.colorbar(
            image, ax=[left, right], location="top", fraction=0.04, aspect=50, ticks=[-1, -0.5, 0, 0.5, 1]
        )
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.set_label("cosine")
        return svg(figure, name)


def draw_curves(rows: Table, metric: str, references: Sequence[str], name: str) -> str:
    """Return ``metric`` against L0 of all solvers in the ``rows`` of one world: means over seeds with 95% intervals.

    Intervals may leave the frame, points do not. Floor and oracle are lines where each was computed at one L0 only.
    """
    with _drawing(name):
        figure = Figure(figsize=(3.7, 2.7), layout="constrained")
        axes = figure.subplots()
        means = []
        for solver, width in (("floor", 0.9), ("oracle", 0.9), *((one, 1.1) for one in references), ("subject", 1.8)):
            points = curve(rows.where(solver=solver), metric)
            if points:
                _curve(axes, solver, points, width)
                means += [point[1].mean for point in points]
        axes.set(xscale="log", xlabel="mean L0 (log scale)", ylabel=spelt(metric))
        _plain_log_ticks(axes)
        axes.set_ylim(framed(means, axes.get_ylim()))
        axes.grid(True, axis="y")
        return svg(figure, name)


def curve(rows: Table, metric: str) -> list[tuple[Interval, Interval]]:
    """Return L0 and ``metric`` with their intervals over the seeds at each budget, by rising L0.

    Rows that did not succeed, whose score is not a finite number, are left out.
    """
    points = []
    for budget in rows.levels("budget"):
        here = rows.where(budget=budget)
        l0, score = here.column("l0"), here.column(metric)
        known = np.isfinite(l0) & np.isfinite(score) & (l0 > 0)
        if known.any():
            points.append((mean_interval(l0[known]), mean_interval(score[known])))
    return sorted(points, key=lambda point: point[0].mean)


def _curve(axes: Axes, solver: str, points: list[tuple[Interval, Interval]], width: float) -> None:
    shown = look(solver)
    x, y = [point[0].mean for point in points], [point[1].mean for point in points]
    bars = np.nan_to_num(np.array([point[1].half_width for point in points]))
    strong = solver == "subject"
    if len(points) == 1 and solver in ("floor", "oracle"):
        axes.axhline(y[0], color=shown.colour, lw=width, ls="--")
    axes.errorbar(
        x, y, yerr=bars, color=shown.colour, marker=shown.marker, ms=7 if strong else 4.5, lw=width, elinewidth=1,
        mec="white" if strong else shown.colour, mew=0.8, zorder=5 if strong else 3,
        ls="--" if solver in ("floor", "oracle") else "-",
    )  # fmt: skip


def framed(means: Sequence[float], limits: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of an axis, cut to half the spread of the ``means`` beyond them: bars may leave the frame.

    Intervals over two seeds can be a hundred times as long as what they stand around.
    """
    if not means:
        return limits
    low, high = min(means), max(means)
    room = max(0.5 * (high - low), 0.05)
    return max(limits[0], low - room), min(limits[1], high + room)


def _plain_log_ticks(axes: Axes) -> None:
    """Label a logarithmic L0 axis by the round numbers that it shows, by fewer of them where it is long."""
    low, high = axes.get_xlim()
    low, high = low / 1.08, high * 1.08
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for bases in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,)):
        ticks = [base * 10.0**decade for decade in decades for base in bases]
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) <= 7:
            break
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:g}" for tick in shown])
    axes.set_xlim(low, high)


def bounded(standings: Sequence[Standing]) -> list[Standing]:
    """Return the standings of which score, floor, oracle and genie all lie on one axis from about 0 to 1."""
    low, high = BOUNDED
    return [
        one
        for one in standings
        if all(low <= level.mean <= high for level in (one.score, one.floor, one.oracle, one.genie))
    ]


def draw_standings(standings: Sequence[Standing], name: str) -> str:
    """Return the scores of one world as intervals on one axis, each between its floor, its oracle and its genie."""
    with _drawing(name):
        figure = Figure(figsize=(3.9, 0.8 + 0.27 * len(standings)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(standings), dtype=np.float64)
        ways = [(one.floor.mean, one.oracle.mean) for one in standings]
        axes.hlines(places, *zip(*ways, strict=True), color=MIST, lw=5)
        levels = {
            "floor": [one.floor for one in standings],
            "genie": [one.genie for one in standings],
            "oracle": [one.oracle for one in standings],
            "subject": [one.score for one in standings],
        }
        for who, shown in levels.items():
            _dots(axes, look(who).colour, look(who).marker, shown, places, 7 if who == "subject" else 5)
        axes.set_yticks(range(len(standings)), [spelt(one.metric) for one in standings])
        axes.set_ylim(len(standings) - 0.4, -0.6)
        axes.set_xlim(framed([level.mean for shown in levels.values() for level in shown], axes.get_xlim()))
        axes.grid(True, axis="x")
        axes.set_axisbelow(True)
        return svg(figure, name)


def draw_causes(causes: Sequence[Cause], name: str) -> str:
    """Return the standardised slopes of the error of a feature on its properties, with 95% intervals over seeds."""
    with _drawing(name):
        figure = Figure(figsize=(3.7, 0.95 + 0.3 * len(causes)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=STONE, lw=0.8)
        places = np.arange(len(causes), dtype=np.float64)
        _dots(axes, GREY, "D", [one.alone for one in causes], places + 0.18, 3.5)
        _dots(axes, look("subject").colour, "o", [one.slope for one in causes], places - 0.12, 6)
        axes.set_yticks(range(len(causes)), [one.property for one in causes])
        axes.set_ylim(len(causes) - 0.4, -0.6)
        reach = 1.05 * max([0.1, *(abs(edge) for one in causes for edge in _edges(one.slope) + _edges(one.alone))])
        axes.set_xlim(-reach, reach)
        axes.set_xlabel("← learned better      learned worse →")
        return svg(figure, name)


def _edges(level: Interval) -> list[float]:
    return [edge for edge in (level.low, level.mean, level.high) if math.isfinite(edge)]


def _dots(axes: Axes, colour: str, marker: str, levels: Sequence[Interval], places: FloatArray, size: float) -> None:
    """Draw ``levels`` as points with their intervals; one seed has no interval, and no bar."""
    strong = size > 6 and marker not in "xX+"
    axes.errorbar(
        [level.mean for level in levels], places, xerr=np.nan_to_num([level.half_width for level in levels]),
        color=colour, marker=marker, ms=size, mec="white" if strong else colour, mew=0.8 if strong else 1.4, ls="",
        elinewidth=1.6 if strong else 1.1, zorder=size,
    )  # fmt: skip
