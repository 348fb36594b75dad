"""The bake-off: recovery of the truth by world and solver, between floor and ceiling, and the FVU-L0 plane."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.seeds import by_seed, extreme, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, LOOKS
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table

TITLE = "Bake-off: who recovers what?"
QUESTION = "At the true width and sparsity, which solver recovers the true features of which world?"
CAPTION = (
    "Top: MCC with the true atoms, one-to-one matched; grey tick: chance for this (m, p, d), the floor; the ceiling "
    "is 1, or p/m for PCA and ICA, which have at most d atoms. Middle: F1 of the support on held-out samples; dashed: "
    "random dictionary with OMP (floor); band: the best encoder that is given the true atoms (ceiling). Bottom: "
    "unexplained variance against the number of active latents, linear below 0.01; the vertical line is the true L0. "
    "Bars, and ± in the table, are 95% t-intervals over the seeds, often smaller than the marker."
)
ENCODERS = ("oracle_mp", "oracle_omp", "oracle_stop", "oracle_lasso")
ORACLES = (*ENCODERS, "genie")
SAES = ("relu_l1", "topk", "batch_topk")
CODERS = ("mod", "ksvd")
ORDER = ("flat", "superposed", "zipf", "tree", "noisy")


def _worlds(table: Table) -> list[str]:
    """Return the worlds of the table, from the easiest to the noisiest, others behind them."""
    found = [str(world) for world in table.levels("world")]
    return [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]


def _learners(table: Table) -> list[str]:
    return [name for name in LOOKS if name in table.levels("solver") and name not in ORACLES]


def _point(axes: Axes, x: tuple[float, float, float], y: tuple[float, float, float], solver: str) -> None:
    """Draw a marker at the means ``(mean, low, high)`` of x and y with both intervals."""
    look = LOOKS[solver]
    axes.plot([x[1], x[2]], [y[0], y[0]], color=look.colour, lw=1.2, zorder=3)
    axes.plot([x[0], x[0]], [y[1], y[2]], color=look.colour, lw=1.2, zorder=3)
    filled = look.marker not in "x"
    axes.plot(
        x[0],
        y[0],
        look.marker,
        color=look.colour,
        ms=4.5,
        mec="white" if filled else look.colour,
        mew=0.4 if filled else 1.2,
        zorder=4,
    )


def _ladder(axes: Axes, table: Table, metric: str, solvers: list[str]) -> None:
    """Draw one row a solver, its interval of ``metric`` on a 0-1 axis."""
    for row, solver in enumerate(solvers):
        value = interval(table, metric, solver=solver)
        _point(axes, (value.mean, value.low, value.high), (row, row, row), solver)
    axes.set_ylim(len(solvers) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.06)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks(range(len(solvers)), [LOOKS[solver].label for solver in solvers])
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _plane(axes: Axes, table: Table, solvers: list[str]) -> None:
    for solver in solvers:
        l0, fvu = (interval(table, metric, solver=solver) for metric in ("l0", "fvu"))
        _point(axes, (l0.mean, l0.low, l0.high), (fvu.mean, fvu.low, fvu.high), solver)
    axes.axvline(float(np.mean(table.column("true_l0"))), color=CEILING, lw=0.8)
    axes.set_xscale("log")
    axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes.set_xlim(0.8, 130)
    axes.set_yscale("symlog", linthresh=0.01, linscale=0.5)
    axes.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
    axes.set_ylim(-0.004, 1.5)
    axes.minorticks_off()
    axes.set_xlabel("L0 (latents a sample)")
    axes.grid(True)
    axes.set_axisbelow(True)


def best_encoder(table: Table) -> Interval:
    """Return the support F1 of the encoder that does best with the true atoms: the ceiling for learned ones."""
    reached = [interval(table, "support_f1", solver=name) for name in ENCODERS if name in table.levels("solver")]
    return max(reached, key=lambda one: one.mean)


def draw(table: Table) -> Figure:
    """Return the figure: worlds in columns; MCC, support F1 and the FVU-L0 plane in rows."""
    worlds, learners = _worlds(table), _learners(table)
    everyone = learners + [name for name in ORACLES if name in table.levels("solver")]
    figure = Figure(figsize=(7.6, 7.4), layout="constrained")
    heights = [len(learners), len(everyone), 8.5]
    grid = figure.subplots(3, len(worlds), sharey="row", squeeze=False, height_ratios=heights)
    for column, world in enumerate(worlds):
        here = table.where(world=world)
        mcc, support, plane = grid[:, column]
        _ladder(mcc, here, "mcc", learners)
        for row, solver in enumerate(learners):
            mcc.plot(interval(here, "mcc_chance", solver=solver).mean, row, "|", color=FLOOR, ms=9, mew=1.4, zorder=2)
        mcc.axvline(1.0, color=CEILING, lw=0.9)
        mcc.set_title(world)
        mcc.set_xlabel("MCC")
        _ladder(support, here, "support_f1", everyone)
        support.axvline(interval(here, "support_f1", solver="random").mean, color=FLOOR, ls="--", lw=0.9)
        ceiling = best_encoder(here)
        support.axvspan(ceiling.low - 0.004, ceiling.high + 0.004, color=CEILING, alpha=0.25, lw=0)
        support.set_xlabel("F1 of the support")
        _plane(plane, here, everyone)
    grid[2, 0].set_ylabel("FVU (unexplained variance)")
    handles = [
        Line2D([], [], color=FLOOR, ls="--", marker="|", ms=8, mew=1.4, lw=0.9, label="floor"),
        Line2D([], [], color=CEILING, lw=1.5, label="ceiling (true atoms); bottom: true L0"),
    ]
    handles += [
        Line2D([], [], ls="", marker=LOOKS[s].marker, color=LOOKS[s].colour, ms=4.5, label=LOOKS[s].label)
        for s in everyone
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=5, frameon=False, handletextpad=0.4, columnspacing=1.2
    )
    return figure


def claims(table: Table) -> list[Claim]:
    """Return the claims of the bake-off, each on paired seeds."""
    return [*_calibration(table), *_codes(table), *_atoms(table), *_identifiability(table)]


def _calibration(table: Table) -> list[Claim]:
    worlds = _worlds(table)
    excess = [
        by_seed(table, "mcc", world=w, solver="random") - by_seed(table, "mcc_chance", world=w, solver="random")
        for w in worlds
    ]
    oracle = [by_seed(table, "support_f1", world=w, solver="oracle_stop") for w in ("flat", "superposed")]
    return [
        Claim(
            "A random dictionary scores the simulated chance level of MCC in every world.",
            "calibration",
            "MCC − chance in the world where it is farthest from 0",
            # Not the mean over worlds, in which deviations of opposite sign would cancel.
            mean_interval(max(excess, key=lambda one: abs(float(one.mean())))),
            # Chance is simulated to a standard error of 0.002; the atoms of a world are not uniform on the sphere,
            # which moves the matched mean by about 0.01.
            Near(0.0, 0.02),
            note="Chance averages over random truths; the orthonormal atoms of flat are easier to match by 0.01.",
        ),
        Claim(
            "Given the true atoms, OMP that pursues until nothing is left finds the support of flat and superposed.",
            "calibration; Tropp 2004, Theorem 3.1 (sufficient condition)",
            "worst support F1 of the two",
            extreme(oracle),
            Above(0.99),
        ),
    ]


def _best(table: Table, metric: str, world: str, solvers: tuple[str, ...]) -> np.ndarray:
    """Return the largest ``metric`` among ``solvers`` in each seed."""
    return np.max([by_seed(table, metric, world=world, solver=solver) for solver in solvers], axis=0)


def _codes(table: Table) -> list[Claim]:
    """Return what the literature says of codes: inference and shrinkage."""
    return [
        Claim(
            "Iterated sparse inference finds the codes of superposed features better than an SAE's encoder does.",
            "arXiv:2411.13117, abstract",
            "superposed: code correlation, best of MOD and K-SVD − best SAE",
            paired_interval(
                _best(table, "code_correlation", "superposed", CODERS),
                _best(table, "code_correlation", "superposed", SAES),
            ),
            Above(0.0),
        ),
        Claim(
            "The linear encoder of an SAE leaves an amortisation gap: pursuit on its own atoms explains more variance.",
            "arXiv:2411.13117, abstract",
            "superposed: FVU of TopK's encoder − FVU of OMP on its atoms at the same L0",
            interval(table, "amortisation_gap", world="superposed", solver="topk"),
            Above(0.0),
        ),
        Claim(
            "An L1 penalty shrinks the codes.",
            "arXiv:2404.16014, abstract",
            "flat: slope of learned on true coefficients, ReLU + L1",
            interval(table, "shrinkage", world="flat", solver="relu_l1"),
            Below(0.98),
        ),
        Claim(
            "TopK, which has no penalty, shrinks less than ReLU + L1.",
            "native; the shrinkage is that of arXiv:2404.16014, abstract",
            "flat: slope of TopK − slope of ReLU + L1",
            paired_interval(
                by_seed(table, "shrinkage", world="flat", solver="topk"),
                by_seed(table, "shrinkage", world="flat", solver="relu_l1"),
            ),
            Above(0.0),
        ),
    ]


def _atoms(table: Table) -> list[Claim]:
    """Return what the literature says of atoms: where they are found, and where not."""
    return [
        Claim(
            "The atoms themselves are found by dictionary learning and by SAEs alike: the gap is in the codes.",
            "native",
            "superposed: recovered at 0.9, best of MOD and K-SVD − best SAE",
            paired_interval(
                _best(table, "recovered_at_90", "superposed", CODERS),
                _best(table, "recovered_at_90", "superposed", SAES),
            ),
            Near(0.0, 0.05),  # three atoms of 64
        ),
        Claim(
            # zipf, not superposed: its rates are as unequal as those of the tree, so that rarity is not the difference.
            "Hierarchical features are recovered worse than independent ones of similarly unequal rates.",
            "native; absorption, arXiv:2409.14507, abstract, is one reason",
            "chance-corrected MCC of TopK, zipf − tree",
            paired_interval(
                by_seed(table, "mcc_corrected", world="zipf", solver="topk"),
                by_seed(table, "mcc_corrected", world="tree", solver="topk"),
            ),
            Above(0.0),
        ),
        Claim(
            "An SAE can explain most of the variance and yet recover few of the true features.",
            "arXiv:2602.14111, abstract (there 71% of the variance and 9% of the features)",
            "tree: explained variance − fraction recovered at 0.9, TopK",
            mean_interval(
                1.0
                - by_seed(table, "fvu", world="tree", solver="topk")
                - by_seed(table, "recovered_at_90", world="tree", solver="topk")
            ),
            Above(0.5),
        ),
        Claim(
            "Noise at 15 dB does not keep dictionary learning from the atoms.",
            "native",
            "noisy: fraction recovered at 0.9, best of MOD and K-SVD",
            mean_interval(_best(table, "recovered_at_90", "noisy", CODERS)),
            Above(0.9),
        ),
    ]


def _identifiability(table: Table) -> list[Claim]:
    """Return what theory says of solvers that need no superposition, or identify nothing."""
    return [
        Claim(
            "Independent components are identifiable without superposition.",
            "Comon 1994, Theorem 11",
            "flat: fraction of true atoms recovered at 0.9 by ICA",
            interval(table, "recovered_at_90", world="flat", solver="ica"),
            Above(0.95),
        ),
        Claim(
            "A Gaussian VAE with a linear decoder finds principal directions, which are not the sparse features.",
            "arXiv:1911.02469, abstract (the optimum of a linear VAE is the principal directions)",
            # In every world: in flat alone it leaves most of the variance unexplained, and so shows little.
            "largest chance-corrected MCC of the VAE among the worlds",
            extreme(
                [by_seed(table, "mcc_corrected", world=world, solver="vae") for world in _worlds(table)], worst=False
            ),
            Below(0.3),
        ),
    ]


HEADER = (
    "world", "solver", "seeds", "m", "p", "MCC (floor)", "chance-corrected", "recovered ≥ 0.9",
    "support F1 (floor … ceiling)", "L0 (true)", "FVU", "amortisation gap", "dead",
)  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: each score with its interval, its floor, its ceiling and the widths."""
    result = []
    for world in _worlds(table):
        here = table.where(world=world)
        for solver in (name for name in LOOKS if name in here.levels("solver")):
            result.append(_row(here, world, solver))
    return result


def _row(here: Table, world: str, solver: str) -> tuple[str, ...]:
    def show(metric: str) -> str:
        value = interval(here, metric, solver=solver)
        return f"{value.mean:z.3f} ± {value.half_width:.3f}"

    def plain(metric: str, other: str | None = None) -> float:
        return interval(here, metric, solver=other or solver).mean

    mine = here.where(solver=solver)
    return (
        world,
        LOOKS[solver].label,
        str(len(mine)),
        f"{plain('n_features'):.0f}",
        f"{plain('width'):.0f}",
        f"{show('mcc')} ({plain('mcc_chance'):.3f})",
        show("mcc_corrected"),
        show("recovered_at_90"),
        f"{show('support_f1')} ({plain('support_f1', 'random'):.3f} … {best_encoder(here).mean:.3f})",
        f"{plain('l0'):.2f} ({plain('true_l0'):.2f})",
        show("fvu"),
        show("amortisation_gap"),
        f"{plain('dead_fraction'):.2f}",
    )
