"""JEPA and MAE: which of two features of equal covariance comes first, on the exact learning times."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import GREY, NAVY, VERMILLION, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.jepa import jepa_fixed_point, jepa_time, mae_fixed_point, mae_time

TITLE = "JEPA and MAE: which feature comes first?"
QUESTION = "In which order do joint-embedding and masked autoencoders learn features of equal covariance?"
CAPTION = (
    "Gradient flow of whole matrices: L encoder layers and a predictor start at a0 times the identity in random axes; "
    "five features have covariance 1 with the target and regression coefficients from 0.5 to 2. A feature is learned "
    "when its encoding has half of its last norm. Left: time of the lowest over that of the highest "
    "coefficient, at a0 = 0.1, from covariances of 20 000 samples. Right: the delay of the lowest after the highest "
    "against a0, from exact covariances; open markers: the other order. Lines: closed forms. Bars are 95% t-intervals "
    "over draws."
)
SOURCE = "arXiv:2407.03475, abstract"
SHOWN = {"jepa": Look("JEPA", NAVY, "D"), "mae": Look("MAE", VERMILLION, "^")}
TIMES = {"jepa": (jepa_time, jepa_fixed_point), "mae": (mae_time, mae_fixed_point)}
LOW, HIGH, MIDDLE = 0.5, 2.0, 0.1
REACHED = 0.5
SAMPLED, EXACT = 20_000, 0
CHANCE = 0.5  # share of pairs that are in order if the coefficient decides nothing


def predicted(objective: str, rho: float, depth: int, start: float) -> float:
    """Return the exact time at which a feature of covariance 1 reaches half of its last value."""
    time, fixed = TIMES[objective]
    return time(start, (REACHED * fixed(rho, depth)) ** (1 / depth), 1.0, rho, depth)


def depths(table: Table) -> list[int]:
    """Return the numbers of encoder layers in the table."""
    return sorted(int(value) for value in table.levels("depth"))


def starts(table: Table) -> list[float]:
    """Return the starts in the table, ascending."""
    return sorted(float(value) for value in table.levels("start"))


def _pair(table: Table, objective: str, depth: int, start: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    row = {"objective": objective, "depth": depth, "start": start, "samples": samples}
    return by_seed(table, "time_lowest", **row), by_seed(table, "time_highest", **row)


def ratio(table: Table, objective: str, depth: int, start: float = MIDDLE, samples: int = SAMPLED) -> np.ndarray:
    """Return the time of the lowest over that of the highest coefficient, by seed."""
    low, high = _pair(table, objective, depth, start, samples)
    return low / high


def draw(table: Table) -> Figure:
    """Return the figure: the ratio of times by depth, and the delay by start."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for objective, look in SHOWN.items():
        known = [predicted(objective, LOW, n, MIDDLE) / predicted(objective, HIGH, n, MIDDLE) for n in depths(table)]
        left.plot(depths(table), known, color=look.colour, lw=1.1, zorder=1)
        for depth in depths(table):
            _point(left, depth, mean_interval(ratio(table, objective, depth)), look, True)
        for depth, style in zip([n for n in depths(table) if n > 1], ("-", "--", ":"), strict=False):
            _delays(right, table, objective, depth, style)
    left.axhline(1.0, color=GREY, lw=0.8)
    left.set_xticks(depths(table))
    left.set_xlabel("encoder layers L")
    left.set_ylabel("time of lowest / of highest coefficient")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(starts(table), [f"{start:g}" for start in starts(table)])
    right.minorticks_off()
    right.set_xlabel("start of every layer, a0")
    right.set_ylabel("delay (1 / learning rate)")
    right.legend(fontsize=7, frameon=False)
    for axes in (left, right):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    return figure


def _delays(axes: Axes, table: Table, objective: str, depth: int, style: str) -> None:
    look = SHOWN[objective]
    grid = np.geomspace(starts(table)[0], starts(table)[-1], 30)
    gaps = [predicted(objective, LOW, depth, a) - predicted(objective, HIGH, depth, a) for a in grid]
    axes.plot(grid, np.abs(gaps), color=look.colour, lw=1.1, ls=style, label=f"{look.label}, L = {depth}", zorder=1)
    for start in starts(table):
        low, high = _pair(table, objective, depth, start, EXACT)
        value = mean_interval(low - high)
        shown = Interval(abs(value.mean), *sorted((abs(value.low), abs(value.high))), value.n)
        _point(axes, start, shown, look, value.mean > 0)


def _point(axes: Axes, place: float, value: Interval, look: Look, filled: bool) -> None:
    axes.vlines(place, value.low, value.high, color=look.colour, lw=1.0)
    inside = look.colour if filled else "white"
    axes.plot(place, value.mean, look.marker, color=look.colour, ms=5, mec=look.colour, mfc=inside)


def _worst(table: Table, samples: int) -> Interval:
    """Return the largest relative deviation from theory over objectives, depths and starts, by seed."""
    groups = [
        by_seed(table, "worst_deviation", objective=objective, depth=depth, start=start, samples=samples)
        for objective in SHOWN
        for depth in depths(table)
        for start in starts(table)
    ]
    return mean_interval(np.stack(groups).max(axis=0))


def _order(table: Table, objective: str) -> Interval:
    """Return the share of pairs in order of their coefficients, the mean over depths above 1, at the middle start."""
    groups = [
        by_seed(table, "in_order", objective=objective, depth=depth, start=MIDDLE, samples=SAMPLED)
        for depth in depths(table)
        if depth > 1
    ]
    return mean_interval(np.stack(groups).mean(axis=0))


def _log_delay(table: Table, depth: int) -> np.ndarray:
    """Return log10 of the delay of a JEPA at the middle start, by seed."""
    low, high = _pair(table, "jepa", depth, MIDDLE, SAMPLED)
    return np.asarray(np.log10(low - high))


def claims(table: Table) -> list[Claim]:
    """Return the claims: the closed forms, the order, and what depth and a small start do to it."""
    deepest, second = depths(table)[-1], 2
    ends = starts(table)[0], starts(table)[-1]
    delays = [np.subtract(*_pair(table, "jepa", second, start, SAMPLED)) for start in ends]
    slope = np.log(delays[0] / delays[1]) / np.log(ends[1] / ends[0])
    return [
        Claim(
            "Whole matrices in rotated axes follow the exact learning times.",
            "calibration; theory.jepa",
            "largest relative deviation of a time, exact covariances",
            _worst(table, EXACT),
            Near(0.0, 1e-4),
        ),
        Claim(
            "Joint-embedding architectures learn features of high regression coefficient first.",
            SOURCE,
            "share of pairs of features in this order, L > 1, covariances of 20 000 samples",
            _order(table, "jepa"),
            Above(CHANCE),
        ),
        Claim(
            "Masked autoencoders have no such preference.",
            SOURCE,
            "share of pairs of features in this order, L > 1, covariances of 20 000 samples",
            _order(table, "mae"),
            Below(CHANCE),
        ),
        Claim(
            "Depth amplifies this preference.",
            "arXiv:2407.03475",
            f"time of lowest / highest coefficient, JEPA of {deepest} - of 1 layers",
            paired_interval(ratio(table, "jepa", deepest), ratio(table, "jepa", 1)),
            Above(0.0),
        ),
        Claim(
            "The delay grows with depth, too.",
            "native",
            f"log10 of the delay, JEPA, {deepest} layers - 2 layers",
            mean_interval(_log_delay(table, deepest) - _log_delay(table, 2)),
            Above(0.0),
        ),
        Claim(
            "With two layers the delay of the low coefficient grows as the start to the power -2.",
            "theory.jepa.jepa_onset: 1 / ((2L-2) lam rho a0^(2L-2))",
            f"exponent of the delay between a0 = {ends[1]:g} and {ends[0]:g}, JEPA, L = 2",
            mean_interval(slope),
            Near(2.0, 0.25),
        ),
    ]


HEADER = ("objective", "L", "a0", "samples", "time, lowest", "theory", "time, highest", "theory", "pairs in order")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report."""
    every = sorted(int(value) for value in table.levels("samples"))
    groups = [(o, n, a, s) for o in SHOWN for n in depths(table) for a in starts(table) for s in every]
    return [_row(table, *group) for group in groups]


def _row(table: Table, objective: str, depth: int, start: float, samples: int) -> tuple[str, ...]:
    low, high = (mean_interval(times) for times in _pair(table, objective, depth, start, samples))
    order = interval(table, "in_order", objective=objective, depth=depth, start=start, samples=samples)
    return (
        SHOWN[objective].label,
        str(depth),
        f"{start:g}",
        str(samples) if samples else "exact",
        f"{low.mean:.5g} ± {low.half_width:.2g}",
        f"{predicted(objective, LOW, depth, start):.5g}",
        f"{high.mean:.5g} ± {high.half_width:.2g}",
        f"{predicted(objective, HIGH, depth, start):.5g}",
        f"{order.mean:.2f} ± {order.half_width:.2f}",
    )
