"""Toy models of superposition: matrices, the plane of two features, polygons, and dimensions per feature."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from paper_figures.seeds import by_seed
from paper_figures.toy_claims import claims, densities, gram, grid, levels, named, plane
from sparsesim.report.palette import FLOOR, INK, NAVY, VERMILLION
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table
from theory.capacity import STICKY_FRACTIONS
from theory.toy_model import polygon_optimum, superposition_interval

__all__ = ["CAPTION", "HEADER", "QUESTION", "TITLE", "claims", "draw", "rows"]

TITLE = "Toy models of superposition"
QUESTION = "When do more features than dimensions share them, and in which arrangements?"
CAPTION = (
    "Models x' = ReLU(x W Wᵀ + b) of features that are uniform on [0, 1] with probability p, their density, and else "
    "0. Top: W Wᵀ of 20 features in 5 dimensions, feature i of importance 0.7ⁱ (one seed); a white dash: below -0.15. "
    "Left: two features in one dimension; shade is -W₁W₂ of the best of several starts (mean over seeds), 1 for an "
    "antipodal pair and 0 where one feature is dropped. Lines: where the antipodal pair and dropping a feature have "
    "equal loss (solid), and where the exact optimum changes (dashed). Middle: equally important features; D* = d / "
    "‖W‖² (line, mean and 95% interval over seeds) and the dimensionality of each represented feature (dots, one "
    "seed), with the fractions of regular arrangements. Right: loss of k features in a plane of which exactly one is "
    "active, beside that of the regular polygon and of dropping all but four."
)
BLUE, DARK, WARM = NAVY, INK, VERMILLION
FRACTIONS = {
    "orthogonal": "1",
    "tetrahedron": "3/4",
    "triangle": "2/3",
    "digon": "1/2",
    "pentagon": "2/5",
    "square antiprism": "3/8",
}


def _matrices(figure: SubFigure, table: Table) -> None:
    found = densities(table, "matrix")[::-1]
    for axes, density in zip(figure.subplots(1, len(found)), found, strict=True):
        products = gram(table, density)
        image = axes.imshow(products, cmap="RdBu_r", vmin=-1.2, vmax=1.2, interpolation="nearest")
        rows, columns = np.nonzero(products < -0.15)
        axes.plot(columns, rows, "_", color="white", ms=2.0, mew=0.6)  # a sign that is seen in grey
        axes.set_title(f"p = {density:g}")
        axes.set_xticks([])
        axes.set_yticks([])
        if density == found[0]:
            axes.set_ylabel("feature, by importance")
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.8, pad=0.01)
    bar.set_label("Wᵢ · Wⱼ")


def _edges(centres: np.ndarray) -> np.ndarray:
    steps = np.diff(centres)
    return np.concatenate([[centres[0] - steps[0] / 2], centres[:-1] + steps / 2, [centres[-1] + steps[-1] / 2]])


def _plane(axes: Axes, table: Table) -> None:
    p, ratios = grid(table)
    shade, optimum = -plane(table, "product").mean(axis=2).T, -plane(table, "optimal_product", "optimum")[:, :, 0].T
    height = np.log10(ratios)
    image = axes.pcolormesh(_edges(p), _edges(height), shade, cmap="Blues", vmin=0, vmax=1.1, rasterized=True)
    axes.contour(p, height, optimum, levels=[0.3], colors=DARK, linewidths=0.9, linestyles="--")
    fine = np.linspace(p[0], 4 / 7, 200)
    low = np.log10([superposition_interval(float(one))[0] for one in fine])
    axes.plot(fine, low, color=WARM, lw=1.2)
    axes.plot(fine, -low, color=WARM, lw=1.2)
    axes.set_ylim(height[0], height[-1])
    axes.set_xlim(p[0], p[-1])
    for height_of, text in ((0.9, "first dropped"), (0.1, "second dropped")):
        axes.text(0.97, height_of, text, transform=axes.transAxes, color=DARK, ha="right", va="center", fontsize=7)
    axes.text(0.04, 0.5, "antipodal pair", transform=axes.transAxes, color="white", va="center", fontsize=7)
    axes.set_yticks([-1, 0, 1], ["0.1", "1", "10"])
    axes.set_xlabel("density p")
    axes.set_ylabel("importance, second over first")
    axes.set_title("two features, one dimension")
    axes.figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, pad=0.02, label="-W₁W₂")


def _uniform(axes: Axes, table: Table) -> None:
    rows = table.where(part="uniform")
    features = [row for row in rows.rows() if row["feature"] >= 0 and row["squared_norm"] > 0.25]
    axes.plot(
        [1 / float(row["density"]) for row in features],
        [float(row["dimensionality"]) for row in features],
        ".", color=WARM, ms=2.2, mew=0, alpha=0.6, zorder=2,
    )  # fmt: skip
    for name, fraction in STICKY_FRACTIONS.items():
        axes.axhline(fraction, color=FLOOR, lw=0.5, zorder=0)
        axes.text(21.5, fraction, FRACTIONS[name], fontsize=6, va="bottom" if name == "pentagon" else "center")
        if name == "square antiprism":
            axes.texts[-1].set_va("top")
    places = levels(table)
    values = [
        mean_interval(by_seed(table, "hidden_per_feature", part="uniform", density=p, feature=-1)) for p in places
    ]
    x = [1 / p for p in places]
    axes.errorbar(x, [v.mean for v in values], [v.half_width for v in values], color=BLUE, lw=1.3, marker="o", ms=3)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_xlim(0.93, 21)
    axes.set_ylim(0, 1.06)
    axes.set_xlabel("1 / p")
    axes.set_ylabel("dimensions per feature")
    axes.set_title("equal features")


def _polygons(axes: Axes, table: Table) -> None:
    corners = sorted(int(value) for value in table.where(part="polygon").levels("m"))
    axes.plot(
        corners, [polygon_optimum(k)[0] for k in corners], "_", color=DARK, ms=11, mew=1.3, label="regular polygon"
    )
    axes.plot(corners, [(k - 4) / (3 * k) for k in corners], color=FLOOR, ls=":", label="drop k - 4")
    for k in corners:
        value = mean_interval(by_seed(table, "loss", part="polygon", m=k))
        axes.errorbar(k, value.mean, value.half_width, color=BLUE, marker="o", ms=3.5, ls="none", zorder=3)
    axes.plot([], [], "o", color=BLUE, ms=3.5, label="trained")
    axes.set_xticks(corners)
    axes.set_xlabel("features k in the plane")
    axes.set_ylabel("loss a sample, one active")
    axes.set_title("polygons")
    axes.legend(frameon=False, loc="upper left")


def draw(table: Table) -> Figure:
    """Return the figure: matrices above; the plane, dimensions per feature and polygons below."""
    figure = Figure(figsize=(7.2, 4.9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 2.1))
    _matrices(above, table)
    panels = below.subplots(1, 3, width_ratios=(1.15, 1.25, 0.9))
    _plane(panels[0], table)
    _uniform(panels[1], table)
    _polygons(panels[2], table)
    for axes in panels[1:]:
        axes.set_axisbelow(True)
    return figure


HEADER = ("models", "at", "seeds", "measured", "theory")


def _row(models: str, at: str, value: Interval, theory: str, digits: int = 3) -> tuple[str, ...]:
    shown = f"{value.mean:.{digits}f} ± {value.half_width:.{digits}f}"
    return models, at, str(value.n), shown, theory


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: features represented, losses of the plane and of polygons, and D*."""
    found = []
    for density in densities(table, "matrix")[::-1]:
        value = mean_interval(by_seed(table, "represented", part="matrix", density=density, feature=-1))
        found.append(_row("20 features in 5 dimensions: represented", f"p = {density:g}", value, "", 1))
    (p, ratios), loss, optimal = grid(table), plane(table, "loss"), plane(table, "optimal_loss", "optimum")[:, :, 0]
    for x, density in enumerate(p):
        for y in np.flatnonzero(ratios <= 1.0)[::4]:
            beside = ", ".join(f"{one} {value:.4f}" for one, value in named(float(density), float(ratios[y])).items())
            at = f"p = {density:g}, importance {ratios[y]:g}"
            theory = f"optimum {optimal[x, y]:.4f}; {beside}"
            found.append(_row("two features in one dimension: loss", at, mean_interval(loss[x, y]), theory, 4))
    for k in sorted(int(value) for value in table.where(part="polygon").levels("m")):
        value = mean_interval(by_seed(table, "loss", part="polygon", m=k))
        found.append(_row("features in a plane: loss", f"k = {k}", value, f"polygon {polygon_optimum(k)[0]:z.4f}", 4))
    for density in levels(table):
        value = mean_interval(by_seed(table, "hidden_per_feature", part="uniform", density=density, feature=-1))
        found.append(_row("equal features: D*", f"1/p = {1 / density:.2f}", value, ""))
    return found
