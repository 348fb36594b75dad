"""The gallery of worlds: cosines, supports, rates and spectra of each, so that one can be chosen by looking."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.seeds import extreme
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import NAVY, SILVER, VERMILLION
from sparsesim.study.interval import mean_interval
from sparsesim.study.table import Table

TITLE = "The worlds"
QUESTION = "What do the worlds look like, and do they keep what they declare?"
CAPTION = (
    "For each world, from left to right. Cosines of every two directions, on one scale for all worlds. Supports: which "
    "features (rows) fire in 48 successive samples (columns). Rates: declared (line) and counted (dots), sorted, both "
    "axes logarithmic. Spectra: shares of the eigenvalues, descending, of the directions' frame atomsᵀ atoms (grey) "
    "and of the covariance of the signal codes @ atoms (blue). m features in d dimensions; L0 is the mean number that "
    "fires. Of more than 32 features 32 or fewer are shown, spaced geometrically, and as many eigenvalues."
)
ORDER = (
    "flat", "superposed", "random sphere", "Zipf rates", "Indian buffet", "exactly three", "block copula",
    "low-rank copula", "tree, in cones", "acyclic graph", "exclusive groups", "circles", "persistent",
    "equiangular", "clusters", "levels", "crystal", "pentagons", "trained toy", "SynthSAEBench",
)  # fmt: skip
SCALE = "RdBu_r"
FRAME, SIGNAL, COUNTED = SILVER, NAVY, VERMILLION
RASTER = 48
ACROSS = 2
CARD = (3.8, 1.25)  # inches: width and height of a card, then the panels' height and their left edges and widths
PANEL = 0.86
LEFTS = ((0.32, 0.86), (1.26, 0.90), (2.56, 0.55), (3.18, 0.55))
FOOT = 0.85


def worlds(table: Table) -> list[str]:
    """Return the worlds of the table in the order of the gallery, others behind them."""
    found = [str(world) for world in table.levels("world")]
    return [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]


def looked(table: Table, world: str) -> Table:
    """Return the rows of the features of ``world`` that are shown, in their order."""
    return table.where(world=world, part="feature").sorted("index")


def checked(table: Table, world: str, metric: str) -> np.ndarray:
    """Return ``metric`` for each seed of ``world``, in the order of the seeds."""
    return table.where(world=world, part="seed").sorted("index").column(metric)


def cosines(rows: Table) -> np.ndarray:
    """Return the cosines of the features that are shown, ``(shown, shown)``, from the lower triangle in the table."""
    size = len(rows)
    lower = np.array([rows.column(f"cosine_{j}") for j in range(size - 1)]).reshape(size - 1, size).T
    gram = np.where(np.tri(size, k=-1, dtype=bool), np.pad(lower, ((0, 0), (0, 1))), 0.0)
    return gram + gram.T + np.eye(size)


def supports(rows: Table) -> np.ndarray:
    """Return who fires, ``(shown, RASTER)`` of 0 and 1."""
    bits = rows.column("fired_bits").astype(np.int64)
    return bits[:, None] >> np.arange(RASTER) & 1


def _rates(axes: Axes, rows: Table) -> None:
    rank, rate, counted = (rows.column(name) for name in ("rank", "rate", "realised"))
    order = np.argsort(rank)
    axes.plot(rank[order], rate[order], color=SIGNAL)
    seen = counted > 0
    axes.plot(rank[seen], counted[seen], ".", color=COUNTED, ms=2.5, mew=0)
    axes.set_xscale("log")
    axes.set_yscale("log")


def _spectra(axes: Axes, rows: Table) -> None:
    for name, colour, width in (("frame_share", FRAME, 2.5), ("signal_share", SIGNAL, 1.0)):
        share = rows.column(name)
        share = share[share > 0]
        axes.plot(np.arange(1, len(share) + 1), share, color=colour, lw=width)
    axes.set_yscale("log")


def _panels(figure: Figure, line: int, column: int, lines: int) -> list[Axes]:
    """Return the four axes of the card in ``line`` and ``column``, placed in inches."""
    width, height = figure.get_size_inches()
    bottom = FOOT + CARD[1] * (lines - 1 - line)
    return [
        figure.add_axes(((CARD[0] * column + left) / width, bottom / height, wide / width, PANEL / height))
        for left, wide in LEFTS
    ]


def _card(panels: list[Axes], rows: Table, title: str, most: float) -> None:
    """Draw the four panels of a world from its feature ``rows``; ``most`` is the largest rank among all worlds."""
    size = len(rows)
    gram, raster, rates, spectra = panels
    gram.imshow(cosines(rows), cmap=SCALE, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    raster.imshow(1 - supports(rows), cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for axes in (gram, raster):
        axes.set_yticks([0, size - 1], ["1", str(size)])
        axes.spines[["top", "right"]].set_visible(True)
    raster.set_yticks([])
    gram.set_xticks([0, size - 1], ["1", str(size)])
    raster.set_xticks([RASTER // 2 - 1, RASTER - 1], [str(RASTER // 2), str(RASTER)])
    _rates(rates, rows)
    _spectra(spectra, rows)
    decades = 10.0 ** np.arange(0, int(np.log10(most)) + 1, 2 if most > 200 else 1)
    rates.set_xlim(0.8, 1.3 * most)
    rates.set_xticks(decades, [f"{decade:.0f}" for decade in decades])
    spectra.set_xlim(0, 33)
    spectra.set_xticks([1, 16, 32], ["1", "16", "32"])
    for axes, labels in ((rates, ["0.001", "0.01", "0.1", "1"]), (spectra, [""] * 4)):
        axes.set_ylim(5e-4, 1.5)
        axes.set_yticks([0.001, 0.01, 0.1, 1], labels)
        axes.minorticks_off()
        axes.grid(axis="y")
    gram.set_ylabel("feature", labelpad=-4)
    rates.set_title("rate", fontsize=7.5, pad=3)
    spectra.set_title("share", fontsize=7.5, pad=3)
    gram.set_title(title, loc="left", fontsize=7.5, pad=3)


def draw(table: Table) -> Figure:
    """Return the figure: a card of four panels for each world, two cards a row."""
    names = worlds(table)
    lines = -(-len(names) // ACROSS)
    figure = Figure(figsize=(ACROSS * CARD[0], FOOT + lines * CARD[1] - 0.12))
    most = float(table.where(part="feature").column("rank").max())
    for place, world in enumerate(names):
        panels = _panels(figure, *divmod(place, ACROSS), lines)
        m, d, l0 = (checked(table, world, name)[0] for name in ("n_features", "dim", "mean_l0"))
        _card(panels, looked(table, world), f"{world}:  m={m:.0f}, d={d:.0f}, L0={l0:.3g}", most)
        if place + ACROSS >= len(names):  # nothing below it
            for axes, label in zip(panels, ("feature", "sample", "rank", "number"), strict=True):
                axes.set_xlabel(label, labelpad=1)
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    bar = figure.add_axes((0.35 / width, 0.3 / height, 1.6 / width, 0.08 / height))
    figure.colorbar(ScalarMappable(Normalize(-1, 1), SCALE), cax=bar, orientation="horizontal", ticks=[-1, 0, 1])
    bar.set_title("cosine", fontsize=7, pad=2)
    handles = [
        Line2D([], [], color=SIGNAL, lw=1.0, label="declared rate; spectrum of the signal"),
        Line2D([], [], ls="", marker=".", color=COUNTED, ms=5, label="counted rate"),
        Line2D([], [], color=FRAME, lw=2.5, label="spectrum of the frame"),
    ]
    figure.legend(handles=handles, loc=(2.4 / width, 0.08 / height), ncols=3, frameon=False, handletextpad=0.4)


def _worst(table: Table, metric: str) -> list[np.ndarray]:
    """Return ``metric`` for each seed of every world in which it is defined."""
    found = [checked(table, world, metric) for world in worlds(table)]
    return [values for values in found if np.isfinite(values).all()]


def claims(table: Table) -> list[Claim]:
    """Return what the worlds declare of themselves, each held against every seed."""
    return [*_firing(table), *_directions(table)]


def _firing(table: Table) -> list[Claim]:
    rates, pairs, broken = (_worst(table, name) for name in ("worst_rate_z", "worst_pair_z", "violations"))
    return [
        Claim(
            f"In each of {len(rates)} worlds every feature fires at the rate that is declared.",
            "calibration",
            "largest |z| of a firing count in any world",
            extreme(rates, worst=False),
            # Of 1,000 correct counts the largest |z| is 3.2 on average, of 10,000 3.8: a mean of 4.5 is a wrong law.
            Below(4.5),
        ),
        Claim(
            f"In each of {len(pairs)} worlds every two features fire together as often as the law's closed form says.",
            "calibration",
            "largest |z| of a pair's count in any world",
            extreme(pairs, worst=False),
            Below(5.0),  # of 10,000 correct counts 3.8 on average; exact tails of rare pairs are coarser, not wider
        ),
        Claim(
            "No child fires without its parent, no two features that exclude each other fire together.",
            "calibration",
            f"violations in a seed of all {len(broken)} worlds together",
            mean_interval(np.sum(broken, axis=0)),
            Near(0.0, 0.0),
        ),
    ]


def _directions(table: Table) -> list[Claim]:
    excess = _worst(table, "coherence_excess")
    return [
        Claim(
            "No world's directions are less coherent than the Welch bound allows.",
            "Welch 1974",
            "smallest coherence − bound in any world",
            extreme(excess),
            Above(-1e-9),  # rounding of a unit row
        ),
        Claim(
            "The equiangular tight frame is as incoherent as 28 directions in 7 dimensions can be.",
            "Welch 1974; Fickus, Mixon and Tremain 2012",
            "equiangular: coherence − Welch bound",
            mean_interval(checked(table, "equiangular", "coherence_excess")),
            Near(0.0, 1e-9),
        ),
        Claim(
            "Five sparse features in two dimensions, trained in superposition, are a regular pentagon.",
            "arXiv:2209.10652, section on the geometry of superposition",
            "trained toy: largest |cosine| − cos 36°",
            mean_interval(checked(table, "trained toy", "largest_cosine") - np.cos(np.pi / 5.0)),
            Near(0.0, 0.02),  # the angles are learned from 4,096 samples, 1/64 of a radian
        ),
    ]


HEADER = ("world", "m", "d", "L0 declared", "L0 counted", "coherence", "above Welch", "worst rate |z|",
          "worst pair |z|", "violations")  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: sizes, and over seeds the mean L0, coherence and the worst deviations."""
    return [_row(table, world) for world in worlds(table)]


def _row(table: Table, world: str) -> tuple[str, ...]:
    def show(metric: str, digits: int, reduce: str = "mean") -> str:
        values = checked(table, world, metric)
        if not np.isfinite(values).all():
            return "no closed form"
        return f"{getattr(values, reduce)():z.{digits}f}"

    return (
        world,
        show("n_features", 0),
        show("dim", 0),
        show("mean_l0", 3),
        show("realised_l0", 3),
        show("largest_cosine", 3),
        show("coherence_excess", 3),
        show("worst_rate_z", 2, "max"),
        show("worst_pair_z", 2, "max"),
        show("violations", 0, "sum"),
    )
