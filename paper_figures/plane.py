"""One plane, every family of solvers: recovery over superposition and sparsity, under the exact curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from paper_figures.plane_claims import claims
from paper_figures.plane_numbers import KNOWN, LEARNED, NAMES, ROWS, SAES, axes_of, dimension, field, overall, winners
from paper_figures.transitions import bayes_rho
from sparsesim.report.palette import LOOKS
from sparsesim.study.interval import mean_interval
from sparsesim.study.table import Table
from theory.phase import constraint_threshold, weak_threshold

__all__ = ["CAPTION", "HEADER", "QUESTION", "TITLE", "claims", "draw", "rows"]

TITLE = "The plane of superposition and sparsity: what each family of solvers finds"
QUESTION = "How many active features, at how much superposition, does each family of solvers find?"
CAPTION = (
    "k of m random directions in d = 16 dimensions, half-normal codes, no noise. Colour: the mean over features of the "
    "correlation of their codes with the matched latent's, on held-out samples, one scale for all; the number in a "
    "title is its mean over the plane, with the half-width of its 95% interval over seeds. First row: encoders given "
    "the true atoms. Second: the floor, random directions with OMP told k, and learners of other families. Third: "
    "autoencoders at the true width, told k or with the better of two penalties, after 1200 batches of 128. That is a "
    "short training, and longer ones raise linear encoders most. Black on white: exact theory for m → ∞ with the atoms "
    "known, the Donoho-Tanner curve of l1 (solid), the threshold of Bayes-optimal message passing (dashed), and of "
    "non-negativity alone (dotted). White: half of the atoms found at |cos| ≥ 0.9. Below: the learner with the highest "
    "mean at each point; who is not told from it by a paired interval shares the cell."
)
MARKS = {
    "kmeans": "K", "ica": "I", "online": "D", "vae": "V", "relu_l1": "L", "topk": "T", "batch_topk": "B",
    "matryoshka": "M", "mp": "P",
}  # fmt: skip
TEXT = {name: "black" if name in ("relu_l1", "matryoshka", "vae") else "white" for name in MARKS}


def _edges(centres: np.ndarray) -> np.ndarray:
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _curve(axes: Axes, x: np.ndarray, rho: np.ndarray, d: int, style: str) -> None:
    """Draw a curve that is seen on dark and on light: black with a white rim."""
    y = np.log2(np.maximum(rho, 1e-9) * d)
    axes.plot(np.log2(x), y, style, color="white", lw=2.2, alpha=0.8)
    axes.plot(np.log2(x), y, style, color="black", lw=1.0)


def _panel(axes: Axes, table: Table, solver: str) -> ScalarMappable:
    (ratios, actives), d = axes_of(table), dimension(table)
    x, y = np.log2(ratios), np.log2(actives)
    shade = field(table, solver).mean(axis=-1)
    image = axes.pcolormesh(_edges(x), _edges(y), shade, cmap="cividis", vmin=0.0, vmax=1.0, rasterized=True)
    grid = np.geomspace(1.02, 2.0 ** _edges(x)[-1], 60)
    _curve(axes, grid, np.asarray(weak_threshold(1.0 / grid, non_negative=True)), d, "-")
    _curve(axes, grid, np.array([bayes_rho(1.0 / one, True) for one in grid]), d, "--")
    if solver == "nnls":
        _curve(axes, grid, np.asarray(constraint_threshold(1.0 / grid)), d, ":")
    if solver not in KNOWN and solver != "random":
        found = field(table, solver, "recovered_at_90").mean(axis=-1)
        if found.min() < 0.5 < found.max():
            axes.contour(x, y, found, [0.5], colors="white", linewidths=1.3)
    value = mean_interval(overall(table, solver))
    axes.set_title(f"{NAMES[solver]}\n{value.mean:.3f} ± {value.half_width:.3f}", fontsize=7.5)
    axes.set_xlim(_edges(x)[0], _edges(x)[-1])
    axes.set_ylim(_edges(y)[0], _edges(y)[-1])
    axes.set_xticks(x, [f"{one:g}" for one in ratios], fontsize=6.5)
    axes.set_yticks(y, [f"{k / d:.2g}" for k in actives], fontsize=6.5)
    axes.minorticks_off()
    return image


def _map(axes: Axes, table: Table, solvers: Sequence[str], title: str) -> None:
    """Draw who wins where: a cell is shared out among the best and those who are not told from it."""
    (ratios, actives), d = axes_of(table), dimension(table)
    x, y = _edges(np.log2(ratios)), _edges(np.log2(actives))
    for row, line in enumerate(winners(table, solvers)):
        for column, names in enumerate(line):
            width, height = (x[column + 1] - x[column]) / len(names), y[row + 1] - y[row]
            for place, name in enumerate(names):
                corner = x[column] + place * width, y[row]
                box = Rectangle(corner, width, height, facecolor=LOOKS[name].colour, edgecolor="white", lw=0.4)
                axes.add_patch(box)
                middle = corner[0] + width / 2, corner[1] + height / 2
                axes.text(*middle, MARKS[name], ha="center", va="center", fontsize=6, color=TEXT[name])
    axes.set_title(title, fontsize=7.5)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    axes.set_xticks(np.log2(ratios), [f"{one:g}" for one in ratios], fontsize=6.5)
    axes.set_yticks(np.log2(actives), [f"{k / d:.2g}" for k in actives], fontsize=6.5)
    axes.minorticks_off()
    axes.set_xlabel("m / d", fontsize=7.5)


def draw(table: Table) -> Figure:
    """Return the figure: a panel for each solver, on one scale, and below them who wins where."""
    figure = Figure(figsize=(7.4, 7.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(5.3, 2.3))
    panels = upper.subplots(len(ROWS), len(ROWS[0]), sharex=True, sharey=True)
    for line, names in zip(panels, ROWS, strict=True):
        for axes, solver in zip(line, names, strict=True):
            image = _panel(axes, table, solver)
    for axes in panels[-1]:
        axes.set_xlabel("m / d", fontsize=7.5)
    for axes, words in zip(panels[:, 0], ("true atoms given", "floor, other learners", "autoencoders"), strict=True):
        axes.set_ylabel(f"{words}\nk / d", fontsize=7.5)
    upper.colorbar(image, ax=panels, label="correlation of codes with the truth", fraction=0.03, aspect=40)
    lines = [
        Line2D([], [], color="black", ls=style, lw=1.0, label=label)
        for style, label in (
            ("-", "l1, Donoho-Tanner (exact)"),
            ("--", "Bayes-optimal message passing (exact)"),
            (":", "non-negativity alone (exact)"),
        )
    ]
    upper.legend(handles=lines, loc="outside lower center", ncol=3, frameon=False, fontsize=7)
    left, right = lower.subplots(1, 2, sharey=True)
    _map(left, table, LEARNED, "who wins where: all learners")
    _map(right, table, SAES, "autoencoders alone")
    left.set_ylabel("k / d", fontsize=7.5)
    handles = [
        Line2D([], [], ls="", marker="s", ms=6, color=LOOKS[name].colour, label=f"{MARKS[name]}: {NAMES[name]}")
        for name in LEARNED
    ]
    lower.legend(handles=handles, loc="outside right upper", ncol=1, frameon=False, fontsize=6.5)
    return figure


HEADER = ("solver", "seeds", "correlation of codes", "points above 0.9", "support F1", "chance-corrected MCC", "L0 / k")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: means over the plane with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    actives = np.array(axes_of(table)[1])[:, None, None]
    for name in (name for line in ROWS for name in line):
        codes = mean_interval(overall(table, name))
        support = mean_interval(overall(table, name, "support_f1"))
        atoms = mean_interval(overall(table, name, "mcc_corrected"))
        share = float((field(table, name).mean(axis=-1) >= 0.9).mean())
        size = float((field(table, name, "l0") / actives).mean())
        found.append(
            (
                f"{NAMES[name]}{', true atoms' if name in KNOWN else ''}",
                str(codes.n),
                f"{codes.mean:.3f} ± {codes.half_width:.3f}",
                f"{share:.0%}",
                f"{support.mean:.3f} ± {support.half_width:.3f}",
                "1" if name in KNOWN else f"{atoms.mean:z.3f} ± {atoms.half_width:.3f}",
                f"{size:.2f}",
            )
        )
    return found
