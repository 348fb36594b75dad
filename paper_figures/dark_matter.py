"""Dark matter: the share of the error that is linear in the input, on the line of theory, and what widths leave."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, extreme, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import GREEN, INK, JADE, LOOKS, MINT
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table

TITLE = "Dark matter: which part of the error is linear in the input?"
QUESTION = "How much of what an autoencoder misses can be predicted linearly from its input?"
CAPTION = (
    "Half-normal codes, each feature active in 5% of the samples; as many orthonormal features as dimensions (left), "
    "twice as many random ones (middle). R² of the best affine prediction of the error from the input against the "
    "share of true features that have an atom. Filled: lasso with the true atoms, by its penalty; lines: closed form "
    "for shrinkage alone (no interference). Open: trained autoencoders by their width. Right: what they leave "
    "unexplained in the superposed world, by p/m: the part that is linear in the input (light) and the rest (dark). "
    "Bars are 95% t-intervals over worlds."
)
SOURCE = "arXiv:2410.14670, abstract"
SHADES = (MINT, JADE, GREEN)
TRAINED = ("topk", "relu_l1")
PLACES = {"orthonormal": "orthonormal, m = d", "superposed": "superposed, m = 2d"}
EXACT = 0.015  # four standard errors of R^2 at 20 000 samples of d = 64


def lassos(table: Table) -> list[str]:
    """Return the names of the lassos with true atoms, by penalty."""
    names = [str(name) for name in table.levels("solver") if str(name).startswith("oracle_lasso")]
    return sorted(names, key=lambda name: float(name.split()[1]))


def widths(table: Table, solver: str) -> list[float]:
    """Return p/m of the rows of ``solver``, ascending."""
    return sorted(float(value) for value in table.where(solver=solver).levels("widths"))


def draw(table: Table) -> Figure:
    """Return the figure: share of the error that is linear in two worlds, and its size by width."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    for axes, world in ((left, "orthonormal"), (middle, "superposed")):
        _shares(axes, table, world)
        axes.set_title(PLACES[world], fontsize=8)
    left.set_ylabel("R² of error from input")
    middle.set_yticklabels([])
    _sizes(right, table)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    return figure


def _shares(axes: Axes, table: Table, world: str) -> None:
    for name, colour in zip(lassos(table), SHADES, strict=True):
        places = widths(table, name)
        values = [interval(table, "linear_error_share", world=world, solver=name, widths=w) for w in places]
        theory = [by_seed(table, "predicted_share", world=world, solver=name, widths=w).mean() for w in places]
        axes.plot(places, theory, color=colour, lw=1.1, zorder=1)
        axes.vlines(places, [v.low for v in values], [v.high for v in values], color=colour, lw=1.0)
        label = f"true atoms + lasso, {name.split()[1]}"
        axes.plot(places, [v.mean for v in values], "<", color=colour, ms=4.5, mec="white", mew=0.3, label=label)
    for solver in TRAINED:
        look = LOOKS[solver]
        places = widths(table, solver)
        values = [interval(table, "linear_error_share", world=world, solver=solver, widths=w) for w in places]
        axes.vlines(places, [v.low for v in values], [v.high for v in values], color=look.colour, lw=1.0)
        axes.plot(
            places, [v.mean for v in values], look.marker, color=look.colour, ms=5, mfc="white", label=look.label,
            ls=":", lw=0.7,
        )  # fmt: skip
    axes.set_ylim(-0.03, 1.05)
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.25, 0.5, 1, 2], ["1/4", "1/2", "1", "2"])
    axes.set_xlabel("atoms a true feature, p/m")
    axes.grid(axis="y")


def _sizes(axes: Axes, table: Table) -> None:
    row = 0
    ticks: dict[int, str] = {}
    for solver in TRAINED:
        for w in widths(table, solver):
            whole = interval(table, "fvu", world="superposed", solver=solver, widths=w)
            rest = interval(table, "nonlinear_unexplained", world="superposed", solver=solver, widths=w)
            colour = LOOKS[solver].colour
            axes.barh(row, whole.mean, color=colour, alpha=0.35, height=0.7)
            axes.barh(row, rest.mean, color=colour, height=0.7)
            axes.plot([whole.low, whole.high], [row, row], color=INK, lw=1.0)
            ticks[row] = f"{w:g}"
            row += 1
        axes.text(0.99, row - 1.0, LOOKS[solver].label, transform=axes.get_yaxis_transform(), ha="right", va="center")
        row += 1
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(row - 1.5, -0.5)
    axes.set_xlabel("variance unexplained")
    axes.set_title("superposed, by p/m", fontsize=8)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _off_at(table: Table, world: str, name: str, w: float) -> np.ndarray:
    """Return measured less predicted share of a lasso at p/m = w, by seed."""
    row = {"world": world, "solver": name, "widths": w}
    return by_seed(table, "linear_error_share", **row) - by_seed(table, "predicted_share", **row)


def _share(
    table: Table, solver: str, w: float, column: str = "linear_error_share", world: str = "superposed"
) -> np.ndarray:
    return by_seed(table, column, world=world, solver=solver, widths=w)


def claims(table: Table) -> list[Claim]:
    """Return the claims: theory, what superposition does to it, and the sentences of the paper."""
    return [*_of_theory(table), *_of_autoencoders(table)]


def _of_theory(table: Table) -> list[Claim]:
    flat = np.stack([_off_at(table, "orthonormal", name, w) for name in lassos(table) for w in widths(table, name)])
    worst = flat[np.abs(flat.mean(axis=1)).argmax()]
    middle = lassos(table)[1]

    return [
        Claim(
            "On orthonormal features the linear share of the error of an L1 penalty is the closed form.",
            "calibration; theory.dark_matter",
            "measured - predicted R² of the true atoms with lasso, where it is farthest from 0",
            mean_interval(worst),
            Near(0.0, EXACT),
            tier="laptop",
        ),
        Claim(
            "With an atom for every feature, superposition makes the errors of an L1 penalty less predictable than "
            "its shrinkage alone would.",
            "native",
            "measured - predicted R² of the true atoms with lasso, p = m, superposed, the largest over penalties",
            extreme([_off_at(table, "superposed", name, 1.0) for name in lassos(table)], worst=False),
            Below(0.0),
            tier="laptop",
        ),
        Claim(
            "Missing features make the error predictable.",
            "native",
            f"R² with half of the features missing - with none, superposed, {middle}",
            paired_interval(_share(table, middle, 0.5), _share(table, middle, 1.0)),
            Above(0.0),
        ),
    ]


def _of_autoencoders(table: Table) -> list[Claim]:
    return [
        Claim(
            "About half of the error vector can be predicted linearly from the input.",
            SOURCE,
            "R² of the error of TopK with half as many latents as features, superposed",
            mean_interval(_share(table, "topk", 0.5)),
            Near(0.5, 0.15),
            tier="laptop",
            note="the paper speaks of language models, whose features nobody knows; here R² is set by how many of them "
            "the width leaves out",
        ),
        Claim(
            "More than 90% of the norm of the error can be predicted linearly from the input.",
            SOURCE,
            "R² of the squared norm of that error",
            mean_interval(_share(table, "topk", 0.5, "linear_error_norm_share")),
            Above(0.9),
            tier="laptop",
            note="If half of the features are missing and nothing else is wrong, the closed form is 0.85 for "
            "orthonormal ones, since the norm sums squares of which a linear map sees a part, and 0.44 in these "
            "worlds, where superposition hides codes and adds their pairs: true atoms have 0.47, TopK 0.43 (tested).",
        ),
        Claim(
            "What an autoencoder leaves when it is wide enough is less linear than what a narrow one leaves.",
            "native",
            "R² of the error of TopK at p = m/4 - at p = 2m, superposed",
            paired_interval(_share(table, "topk", 0.25), _share(table, "topk", 2.0)),
            Above(0.0),
            tier="laptop",
        ),
    ]


HEADER = ("world", "solver", "p/m", "R² of error", "theory", "R² of squared norm", "FVU", "MCC", "L0")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report."""
    found = []
    for world in PLACES:
        for solver in (*lassos(table), *TRAINED):
            for w in widths(table, solver):
                row = {"world": world, "solver": solver, "widths": w}

                def show(column: str, row: dict[str, str | float] = row) -> str:
                    scores = by_seed(table, column, **row)
                    if not np.isfinite(scores).all():
                        return ""  # theory is of the lassos alone
                    value = mean_interval(scores)
                    return f"{value.mean:.3f} ± {value.half_width:.3f}"

                name = LOOKS[solver].label if solver in LOOKS else f"true atoms + lasso, {solver.split()[1]}"
                columns = ("linear_error_share", "predicted_share", "linear_error_norm_share", "fvu", "mcc", "l0")
                found.append((PLACES[world], name, f"{w:g}", *(show(column) for column in columns)))
    return found
