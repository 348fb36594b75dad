"""The scores of SynthSAEBench against L0 on a world of 1,024 features, between references that know the truth."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.seeds import by_seed
from paper_figures.variants import matched
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import INK, LOOKS, SLATE, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table

TITLE = "SynthSAEBench on a laptop: scores against L0, and what the truth would score"
QUESTION = "How do the scores of a benchmark move with L0, and what would the truth score?"
CAPTION = (
    "1,024 features in 128 dimensions with trees, correlations and true rates, 256 latents; six scores by the "
    "definitions of the benchmark against the number of active latents. Lines: autoencoders, means over the seeds with "
    "95% intervals. References: random directions with OMP (dashed grey), the true atoms of the 256 most frequent "
    "features as a matched filter (dotted), with OMP (green) or the lasso (dash-dotted), linear probes of those "
    "features (diamond) and their true codes (star), which are all there is to find in 256 latents. The vertical line "
    "is the true L0 of those "
    "features. MCC is averaged over latents, as the benchmark does, and cannot tell the other 768 features are missing."
)
SOURCE = "arXiv:2602.14687 and the results page of the benchmark, L0 = 25 (the true L0 of the features that fit)"
WORLD = "corrected"
SHOWN = {
    "relu_l1": LOOKS["relu_l1"],
    "jump_relu": LOOKS["jump_relu"],
    "batch_topk": LOOKS["batch_topk"],
    "matryoshka": LOOKS["matryoshka"],
    "mp": LOOKS["mp"],
}
REFERENCES = {
    "random": LOOKS["random"].named("floor: random directions with OMP"),
    "matched_filter": LOOKS["matched_filter"]._replace(marker=""),
    "true_omp": LOOKS["oracle_omp"].named("true atoms with OMP")._replace(marker=""),
    "true_lasso": LOOKS["oracle_lasso"].named("true atoms with the lasso")._replace(marker=""),
    "probes": LOOKS["probes"],
    "perfect": Look("true codes of the frequent features", INK, "*"),
}
STYLES = {"random": "--", "matched_filter": ":", "true_omp": "-", "true_lasso": "-."}
PANELS = {
    "saelens_f1": "F1 of the latents",
    "saelens_mcc": "MCC",
    "saelens_uniqueness": "uniqueness",
    "saelens_explained_variance": "explained variance",
    "saelens_precision": "precision",
    "saelens_recall": "recall",
}


def points(table: Table, variant: str) -> list[int]:
    """Return the points of the grid of ``variant``, ascending."""
    return sorted({int(value) for value in table.where(variant=variant).column("point")})


def scores(table: Table, variant: str, metric: str) -> np.ndarray:
    """Return ``metric`` ``(points, seeds)`` of ``variant``."""
    rows = table.where(variant=variant)
    return np.stack([by_seed(rows.where(point=point), metric) for point in points(table, variant)])


def _panel(axes: Axes, table: Table, metric: str) -> None:
    for name, look in {**REFERENCES, **SHOWN}.items():
        l0, values = (scores(table, name, column) for column in ("l0", metric))
        order = np.argsort(l0.mean(axis=1))
        x, found = l0.mean(axis=1)[order], [mean_interval(values[index]) for index in order]
        bars = np.nan_to_num([[one.mean - one.low for one in found], [one.high - one.mean for one in found]])
        single = len(x) == 1
        axes.errorbar(
            x, [one.mean for one in found], bars, color=look.colour, ls="" if single else STYLES.get(name, "-"),
            marker="" if name in STYLES else look.marker, lw=1.1, elinewidth=0.8, mec="white", mew=0.4,
            ms=8 if name == "perfect" else 5, zorder=5 if single else 3,
        )  # fmt: skip
    axes.axvline(float(table.column("true_l0").mean()), color=SLATE, lw=0.7, zorder=1)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_title(PANELS[metric])


def draw(table: Table) -> Figure:
    """Return the figure: six scores against L0."""
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True)
    for axes, metric in zip(grid.ravel(), PANELS, strict=True):
        _panel(axes, table, metric)
        axes.set_ylim(-0.03, 1.04)
    for axes in grid[1]:
        axes.set_xlabel("L0 (active latents a sample)")
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ms=4.5, lw=1.1, label=look.label)
        for look in SHOWN.values()
    ]
    handles += [
        Line2D(
            [],
            [],
            color=look.colour,
            ls=STYLES.get(name, ""),
            marker="" if name in STYLES else look.marker,
            ms=5,
            lw=1.1,
            label=look.label,
        )
        for name, look in REFERENCES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def at_truth(table: Table, variant: str, metric: str) -> np.ndarray:
    """Return ``metric`` ``(seeds,)`` at the true L0: interpolated on the grid, or as it is where there is no grid."""
    if len(points(table, variant)) == 1:
        return np.asarray(scores(table, variant, metric)[0])
    found: np.ndarray = matched(table, WORLD, variant, metric)
    return found


def _interval(values: np.ndarray) -> Interval:
    return mean_interval(values) if np.isfinite(values).all() else Interval(np.nan, np.nan, np.nan, len(values))


def _compared(table: Table, metric: str, first: str, second: str) -> Interval:
    a, b = at_truth(table, first, metric), at_truth(table, second, metric)
    both = np.isfinite(a) & np.isfinite(b)
    return paired_interval(a[both], b[both]) if both.any() else Interval(np.nan, np.nan, np.nan, 0)


# metric, what is said to score more, what less, and the difference of the published means
PUBLISHED = (
    ("saelens_f1", "matryoshka", "batch_topk", 0.148),
    ("saelens_f1", "batch_topk", "relu_l1", 0.175),
    ("saelens_f1", "relu_l1", "mp", 0.110),
    ("saelens_mcc", "matryoshka", "batch_topk", 0.035),
    ("saelens_mcc", "batch_topk", "mp", 0.064),
    ("saelens_mcc", "mp", "relu_l1", 0.089),
    ("saelens_uniqueness", "matryoshka", "batch_topk", 0.015),
    ("saelens_uniqueness", "batch_topk", "mp", 0.156),
    ("saelens_explained_variance", "mp", "batch_topk", 0.043),
    ("saelens_explained_variance", "batch_topk", "matryoshka", 0.013),
    ("saelens_explained_variance", "matryoshka", "relu_l1", 0.014),
)


def claims(table: Table) -> list[Claim]:
    """Return the published orderings at the true L0, what they say of L0, and what the references add."""
    found = [
        Claim(
            f"{_name(more)} scores more {PANELS[metric]} than {_name(less)}.",
            SOURCE,
            f"{PANELS[metric]} at the true L0, {more} - {less} (published: {difference:+.3f})",
            _compared(table, metric, more, less),
            Above(0.0),
            tier="laptop",
            note="Published for 16,384 features in 768 dimensions, 4,096 latents and 200 million samples.",
        )
        for metric, more, less, difference in PUBLISHED
    ]
    return [*found, *_trade(table), *_references(table)]


def _name(variant: str) -> str:
    return SHOWN[variant].label


def _trade(table: Table) -> list[Claim]:
    made = []
    for metric, expectation in (("saelens_precision", Below(0.0)), ("saelens_recall", Above(0.0))):
        values = scores(table, "batch_topk", metric)
        made.append(
            Claim(
                f"L0 trades precision for recall: {PANELS[metric]} {'falls' if expectation == Below(0.0) else 'rises'} "
                "with it.",
                "arXiv:2602.14687, abstract",
                f"{PANELS[metric]} of BatchTopK, largest - smallest L0",
                paired_interval(values[-1], values[0]),
                expectation,
                tier="laptop",
            )
        )
    return made


def _references(table: Table) -> list[Claim]:
    best = np.max([at_truth(table, name, "saelens_f1") for name in SHOWN], axis=0)
    variance = np.max([at_truth(table, name, "saelens_explained_variance") for name in SHOWN], axis=0)
    perfect = at_truth(table, "perfect", "saelens_explained_variance")
    greedy, priced = (at_truth(table, name, "saelens_f1") - best for name in ("true_omp", "true_lasso"))
    gain = _interval(priced - greedy)
    return [
        Claim(
            "Autoencoders probe poorly: supervised linear probes detect the same number of features better.",
            "arXiv:2602.14687, abstract",
            "F1, linear probes of the most frequent features - best autoencoder at the true L0",
            _interval(at_truth(table, "probes", "saelens_f1") - best),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Explained variance has no ceiling at the truth: an autoencoder explains more than the true codes of the "
            "features that fit.",
            "native",
            "explained variance at the true L0, best autoencoder - perfect codes of the most frequent features",
            _interval(variance - perfect),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Greedy sparse coding in the true atoms finds the features better than any autoencoder learns to.",
            "native",
            "F1 at the true L0, true atoms with OMP - best autoencoder",
            _interval(greedy),
            Above(0.0),
            tier="laptop",
            note="The encoder loses it, not the atoms: OMP takes equally many features of every sample. The lasso, "
            f"which does not, scores {gain.mean:.2f} [{gain.low:.2f}, {gain.high:.2f}] more in the same atoms.",
        ),
        Claim(
            "A priced code in the true atoms finds the features better than any autoencoder learns to.",
            "native",
            "F1 at the true L0, true atoms with the lasso - best autoencoder",
            _interval(priced),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Perfect codes score 1 in F1 and MCC.",
            "calibration",
            "smaller of F1 and MCC, true codes of the most frequent features",
            _interval(np.minimum(*(at_truth(table, "perfect", name) for name in ("saelens_f1", "saelens_mcc")))),
            Near(1.0, 1e-9),
        ),
        Claim(
            "Random directions are nearly unique: uniqueness has a floor far above zero.",
            "native",
            "uniqueness by the definition of the benchmark, random directions",
            _interval(scores(table, "random", "saelens_uniqueness")[1]),
            Above(0.7),
        ),
    ]


HEADER = (
    "variant", "seeds", "L0 of the grid", "F1", "MCC", "uniqueness", "explained variance", "precision", "recall",
    "F1 over all features", "dead",
)  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a variant and reference: scores at the true L0 with their intervals."""

    def show(variant: str, metric: str) -> str:
        value = _interval(at_truth(table, variant, metric))
        return "–" if not np.isfinite(value.mean) else f"{value.mean:z.3f} ± {value.half_width:.3f}"

    found = []
    for name, look in {**SHOWN, **REFERENCES}.items():
        l0 = scores(table, name, "l0").mean(axis=1)
        reach = f"{l0.min():.1f}" if len(l0) == 1 else f"{l0.min():.1f}–{l0.max():.1f}"
        metrics = (*PANELS, "latent_f1", "dead_fraction")
        seeds = str(scores(table, name, "l0").shape[1])
        found.append((look.label, seeds, reach, *(show(name, metric) for metric in metrics)))
    return found
