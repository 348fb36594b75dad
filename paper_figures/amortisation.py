"""The amortisation gap: what one pass of an encoder loses, what operations buy back, and the exact lines."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.amortisation_claims import claims
from paper_figures.amortisation_numbers import LARGE, cost, grid, predicted, score
from paper_figures.seeds import interval
from sparsesim.report.palette import CEILING, FLOOR, LOOKS, SILVER, Look
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table

__all__ = ["CAPTION", "HEADER", "QUESTION", "TITLE", "claims", "draw", "rows"]

TITLE = "The amortisation gap: what one pass of an encoder loses"
QUESTION = "How much of a sparse code does one pass of an encoder lose, and what buys it back?"
CAPTION = (
    "Left: 16 features in 8 dimensions, 3 active, half-normal; correlation of matched codes (MCC of codes) against the "
    "length of training, dictionary unknown; blue lines: alternating sparse coding with its own pursuit and with exact "
    "search in its atoms; dashed: random dictionary with basis pursuit (floor). Middle: MCC against operations a code; "
    "open: true dictionary, full: also shown the true codes; lines: proximal gradient steps from zero (grey), from the "
    "one-layer encoder (brown), and from a learned autoencoder (dashed); green: basis pursuit and exact search "
    "(ceilings). Right: mean squared error of a code entry in large systems (d = m/2, noise variance 0.001) by the "
    "share of active features; lines are theory as m grows, markers simulation at m = 1,024 with the true dictionary; "
    "open: trained at m = 128, with true atoms and codes (down) or nothing given (TopK, up). Bars are "
    "95% intervals over dictionaries."
)
LEARNED = {
    "relu_l1": LOOKS["relu_l1"],
    "gated": LOOKS["gated"],
    "topk": LOOKS["topk"],
    "mlp_32": LOOKS["mlp_32"],
    "mlp_256": LOOKS["mlp_256"].named("the same, 256 units"),
}
LAYERS = {
    "one_layer": LOOKS["one_layer"].named("one layer"),
    "mlp_32": LEARNED["mlp_32"],
    "mlp_256": LEARNED["mlp_256"],
}


def _series(
    axes: Axes,
    x: list[float],
    values: list[Interval],
    colour: str,
    marker: str = "",
    style: str = "-",
    width: float = 1.2,
) -> None:
    mean, low, high = (np.array([getattr(one, name) for one in values]) for name in ("mean", "low", "high"))
    bars = np.nan_to_num(np.stack([mean - low, high - mean]))
    axes.errorbar(
        x, mean, bars, color=colour, marker=marker, ls=style, lw=width, ms=4.5, elinewidth=0.8, zorder=4,
        mec=colour if marker in "x+" else "white", mew=1.2 if marker in "x+" else 0.4,
    )  # fmt: skip


def _learning(axes: Axes, table: Table) -> None:
    for name, look in LEARNED.items():
        steps = grid(table, "learned", name)
        found = [mean_interval(score(table, "learned", name, at)) for at in steps]
        _series(axes, steps, found, look.colour, look.marker)
    for part, dashes in (("learned", "-"), ("swapped", "-.")):
        axes.axhline(score(table, part, "mod").mean(), color=LOOKS["mod"].colour, ls=dashes, lw=1.1, zorder=2)
    axes.axhline(score(table, "floor", "random").mean(), color=FLOOR, ls="--", lw=1.0, zorder=2)
    axes.set_xlabel("steps of training")
    axes.set_ylabel("MCC of codes")
    axes.set_title("dictionary unknown")


def _operations(axes: Axes, table: Table) -> None:
    for method in ("exhaustive", "basis_pursuit"):
        axes.axhline(score(table, "ceiling", method).mean(), color=CEILING, lw=1.1, zorder=2)
    for part, method, colour, style in (
        ("cold", "iterations", SILVER, "-"),
        ("warm", "one_layer", LOOKS["one_layer"].colour, "-"),
        ("refined", "relu_l1", LOOKS["relu_l1"].colour, "--"),
    ):
        counts = grid(table, part, method)
        found = [mean_interval(score(table, part, method, at)) for at in counts]
        _series(axes, [cost(table, part, method, at) for at in counts], found, colour, "", style)
    for part, filled in (("supervised", True), ("known", False)):
        for method, look in LAYERS.items():
            at = grid(table, part, method)[-1]
            value = mean_interval(score(table, part, method))
            axes.plot(
                cost(table, part, method, at), value.mean, look.marker, color=look.colour, ms=6, zorder=5,
                mfc=look.colour if filled else "white", mew=0.9, mec="white" if filled else look.colour,
            )  # fmt: skip
    axes.set_xlabel("operations a code")
    axes.set_title("by cost")


def _density(axes: Axes, table: Table) -> None:
    rates = grid(table, "density", "bayes")
    fine = np.geomspace(rates[0] / 1.15, rates[-1] * 1.15, 12)
    for name, look in LARGE.items():
        axes.plot(fine, [predicted(name, float(rate)) for rate in fine], color=look.colour, lw=1.1, zorder=2)
        found = [mean_interval(score(table, "density", name, rate, "entry_error")) for rate in rates]
        _series(axes, rates, found, look.colour, look.marker, "")
    for name, look in (("supervised", LARGE["one_layer"]), ("topk", LOOKS["topk"])):
        found = [mean_interval(score(table, "density", name, rate, "entry_error")) for rate in rates]
        axes.plot(
            rates, [one.mean for one in found], look.marker, color=look.colour, mfc="white", ms=5, mew=0.9, zorder=5
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.set_xlabel("share of active features")
    axes.set_ylabel("squared error of a code entry")
    axes.set_title("large systems")


def draw(table: Table) -> Figure:
    """Return the figure: MCC of codes by training and by cost, and errors of large systems on their lines."""
    figure = Figure(figsize=(7.6, 4.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _learning(left, table)
    _operations(middle, table)
    for axes, lowest in ((left, 0.15), (middle, 0.6)):
        axes.set_xscale("log")
        axes.set_ylim(lowest, 1.02)
    _density(right, table)
    for axes in (left, middle, right):
        axes.minorticks_off()
        axes.grid(True)
        axes.set_axisbelow(True)
    figure.legend(handles=_handles(), loc="outside lower center", ncols=3, frameon=False, columnspacing=1.2)
    return figure


def _line(colour: str, label: str, style: str = "-", marker: str = "") -> Line2D:
    return Line2D([], [], color=colour, ls=style, marker=marker, ms=4.5, lw=1.2, label=label)


def _open(look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, ls="", marker=look.marker, ms=5.0, mfc="white", label=look.label)


def _handles() -> list[Line2D]:
    return [
        *(_line(look.colour, look.label, marker=look.marker) for look in LEARNED.values()),
        _line(LOOKS["mod"].colour, "sparse coding (MOD): OMP, exact (-.)"),
        _line(FLOOR, "floor: random dictionary", "--"),
        _line(CEILING, "ceilings: basis pursuit, exact search"),
        _line(SILVER, "steps from zero, true atoms"),
        _line(LOOKS["one_layer"].colour, "steps from one layer, true atoms"),
        _line(LOOKS["relu_l1"].colour, "steps from SAE, its atoms", "--"),
        *(_line(look.colour, look.label, marker=look.marker) for look in LARGE.values()),
        _open(LARGE["one_layer"].named("one layer, trained")),
        _open(LOOKS["topk"].named("SAE TopK, trained")),
    ]


HEADER = (
    "setting", "method", "at", "seeds", "operations", "MCC of codes", "MCC of atoms (chance)", "L0",
    "error of an entry", "theory",
)  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a setting, method and point, with intervals over the dictionaries."""
    found = []
    for part in table.levels("part"):
        for method in table.where(part=part).levels("method"):
            for at in grid(table, str(part), str(method)):
                found.append(_row(table, str(part), str(method), at))
    return found


def _row(table: Table, part: str, method: str, at: float) -> tuple[str, ...]:
    here = table.where(part=part, method=method, at=at)

    def show(metric: str, digits: int = 3) -> str:
        value = interval(here, metric)
        return f"{value.mean:z.{digits}f} ± {value.half_width:.{digits}f}"

    error = interval(here, "entry_error")
    theory = f"{predicted(method, at):.2e}" if part == "density" and method in LARGE else ""
    spent = cost(table, part, method, at)
    return (
        part,
        method,
        f"{at:g}",
        str(len(here)),
        f"{spent:.0f}" if spent else "–",
        show("code_mcc"),
        f"{show('mcc')} ({interval(here, 'mcc_chance').mean:.3f})",
        show("l0", 1),
        f"{error.mean:.2e} ± {error.half_width:.1e}",
        theory,
    )
