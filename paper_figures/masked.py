"""Masked against plain sparse coding from the true atoms on, along the width and along the noise."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Claim, Near
from sparsesim.report.palette import FLOOR, NAVY, VERMILLION, Look
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table

TITLE = "Hiding data: what becomes of the true atoms?"
QUESTION = "With more atoms than features, which objective leaves the true atoms where they are?"
CAPTION = (
    "200 features in 100 dimensions, five a sample, 1000 samples; descent starts at the true atoms and spare ones, "
    "which are noisy samples. Distance: mean over true atoms of 1 - max |cos|, 0 at the truth. Left: against the width "
    "at the largest noise; right: against the noise at the largest width. Grey: read off the plots of the paper, "
    "to ± 0.01. Bars are 95% t-intervals over the seeds."
)
SOURCE = "arXiv:2302.12715, start at A, read off the plots"
SHOWN = {"plain": Look("plain", VERMILLION, "o"), "masked": Look("masked", NAVY, "s")}
PAPER = {  # (width, noise): what the paper plots, to +- .01; both curves end at the point (1000, .1)
    "plain": {
        **{(200, 0.1): 0.126, (400, 0.1): 0.157, (600, 0.1): 0.202, (800, 0.1): 0.270, (1000, 0.1): 0.331},
        **{(1000, 0.01): 0.003, (1000, 0.0325): 0.055, (1000, 0.055): 0.176, (1000, 0.0775): 0.274},
    },
    "masked": {
        **{(200, 0.1): 0.153, (400, 0.1): 0.149, (600, 0.1): 0.154, (800, 0.1): 0.158, (1000, 0.1): 0.159},
        **{(1000, 0.01): 0.004, (1000, 0.0325): 0.037, (1000, 0.055): 0.082, (1000, 0.0775): 0.122},
    },
}
MIDDLE = 0.055  # the noise at which the paper's curves are about a factor of two apart
SIZE = 0.02  # that of the plots' reading, and that of five seeds against ours


def points(table: Table) -> list[tuple[int, float]]:
    """Return the widths with the noises of the table, in order."""
    found = zip(table.column("width"), table.column("noise"), strict=True)
    return sorted({(int(width), float(noise)) for width, noise in found})


def curves(table: Table) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Return the points of the largest noise, along the width, and those of the largest width, along the noise."""
    every = points(table)
    most, widest = max(noise for _, noise in every), max(width for width, _ in every)
    return [one for one in every if one[1] == most], [one for one in every if one[0] == widest]


def _distance(table: Table, solver: str, point: tuple[int, float]) -> np.ndarray:
    return by_seed(table, "distance", solver=solver, width=point[0], noise=point[1])


def _curve(axes: Axes, table: Table, along: list[tuple[int, float]], axis: int) -> None:
    for name, look in SHOWN.items():
        places, values = [one[axis] for one in along], [mean_interval(_distance(table, name, one)) for one in along]
        published = [(one[axis], PAPER[name][one]) for one in along if one in PAPER[name]]
        if published:
            axes.plot(*zip(*published, strict=True), "_", color=FLOOR, ms=12, mew=1.6, zorder=1)
        for place, value in zip(places, values, strict=True):
            axes.plot([place, place], [value.low, value.high], color=look.colour, lw=1.2)
        means = [value.mean for value in values]
        axes.plot(places, means, look.marker + "-", color=look.colour, ms=4.5, mec="white", mew=0.4, label=look.label)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def draw(table: Table) -> Figure:
    """Return the figure: the distance from the truth of both objectives along the width, and along the noise."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    wide, noisy = curves(table)
    _curve(left, table, wide, 0)
    _curve(right, table, noisy, 1)
    left.set_xticks([width for width, _ in wide])
    left.set_xlabel(f"atoms, at noise {wide[0][1]:g}")
    right.set_xlabel(f"noise, at {noisy[0][0]} atoms")
    left.set_ylabel("distance from the truth, 1 − |cos|")
    left.set_ylim(bottom=0)
    left.plot([], [], "_", color=FLOOR, ms=12, mew=1.6, label="paper")
    left.legend(frameon=False)
    return figure


def claims(table: Table) -> list[Claim]:
    """Return the claims: every published point of the table, and the order of both objectives on paired seeds."""
    wide, noisy = curves(table)
    found = [_published(table, name, point) for name in SHOWN for point in points(table) if point in PAPER[name]]
    middle = min(noisy, key=lambda one: abs(one[1] - MIDDLE))
    for sentence, point in (
        ("With the most spare atoms the masked objective stays nearer to the truth.", wide[-1]),
        ("With spare atoms and less noise the masked objective stays nearer to the truth.", middle),
    ):
        plain, masked = (_distance(table, name, point) for name in ("plain", "masked"))
        what = f"distance, plain - masked, at {_words(point)}"
        found.append(Claim(sentence, "arXiv:2302.12715", what, paired_interval(plain, masked), Above(0.0)))
    sentence = "There the plain objective is more than one and a half times as far from the truth."
    what = f"distance, plain / masked, at {_words(middle)}"
    found.append(Claim(sentence, "arXiv:2302.12715", what, mean_interval(plain / masked), Above(1.5)))
    plain, masked = (_distance(table, name, wide[0]) for name in ("plain", "masked"))
    last = _distance(table, "masked", wide[-1]) - masked
    return [
        *found,
        Claim(
            "Without spare atoms masking costs: the plain objective stays nearer to the truth.",
            SOURCE,
            f"distance, masked - plain, at {_words(wide[0])}",
            paired_interval(masked, plain),
            Above(0.0),
        ),
        Claim(
            "Spare atoms take the plain objective away from the truth.",
            "arXiv:2302.12715",
            f"distance of plain at {wide[-1][0]} - at {wide[0][0]} atoms",
            paired_interval(_distance(table, "plain", wide[-1]), plain),
            Above(0.0),
        ),
        Claim(
            "Spare atoms hardly move the masked objective.",
            "arXiv:2302.12715",
            f"distance of masked at {wide[-1][0]} - at {wide[0][0]} atoms",
            mean_interval(last),
            Near(0.0, SIZE),
        ),
    ]


def _words(point: tuple[int, float]) -> str:
    return f"{point[0]} atoms, noise {point[1]:g}"


def _published(table: Table, name: str, point: tuple[int, float]) -> Claim:
    expected = PAPER[name][point]
    return Claim(
        f"The {name} objective ends as far from the truth as in the paper at {_words(point)}.",
        SOURCE,
        f"distance of {name} (paper: {expected:g})",
        mean_interval(_distance(table, name, point)),
        Near(expected, SIZE),
    )


HEADER = ("objective", "atoms", "noise", "seeds", "distance (truth 0)", "paper", "MCC", "support F1", "FVU")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""

    def show(metric: str, name: str, point: tuple[int, float]) -> str:
        value = interval(table, metric, solver=name, width=point[0], noise=point[1])
        return f"{value.mean:z.3f} ± {value.half_width:.3f}"

    return [
        (
            look.label,
            str(point[0]),
            f"{point[1]:g}",
            str(len(table.where(solver=name, width=point[0], noise=point[1]))),
            show("distance", name, point),
            f"{PAPER[name][point]:g}" if point in PAPER[name] else "",
            *(show(metric, name, point) for metric in ("mcc", "support_f1", "fvu")),
        )
        for point in points(table)
        for name, look in SHOWN.items()
    ]
