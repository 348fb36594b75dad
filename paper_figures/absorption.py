"""Absorption: the tilt of a child's atom to its parent, on the exact optimum of the l1 loss, and what it hides."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, INK, LOOKS, ORANGE, SAND, UMBER, Look
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table, Value
from theory.absorption import FULL_ABSORPTION, limit_tilt
from theory.population_lasso import BestAtoms, best_atoms

TITLE = "Absorption: how far an l1 penalty tilts a child's atom to its parent"
QUESTION = "How far does an l1 penalty tilt atoms towards what they occur with?"
CAPTION = (
    "Top left: two orthonormal features; the tilt of the child's atom to the parent's (0 is the truth, 1 full "
    "absorption) by how often the child is alone, for three penalties l. Lines are the exact optimum, dotted its limit "
    "for small penalties, circles trained autoencoders (of several starts the one of least loss on its "
    "training samples), crosses dictionary learning with exact codes. Top right: three features with "
    "random joint supports; each tilt against its first order in the penalty. Bottom: four features in 50 dimensions, "
    "feature 1 the child of feature 0; cosines of encoder and decoder rows with the true features, the "
    "mean over seeds, and how often the parent's latent fires with its child and without. Bars are 95% t-intervals."
)
PAPER, POST = "arXiv:2409.14507", "Chanin et al. (2024), Toy models of feature absorption in SAEs"
PARENT, BOTH = 0.2, 0.1  # probabilities of the parent alone and of both
PAIR = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
STARTS = np.array([[[1.0, 0.02], [tilt, 1.0]] for tilt in (0.05, 0.5, 1.0)])
SHADES = {0: UMBER, 1: ORANGE, 2: SAND}  # of the penalties, from the smallest
TIED = LOOKS["relu_l1_tied"].named("tied ReLU + L1")
TILT = 0.05  # what noise of training may move a tilt by, outside of the steep part
ONSET = (0.5, 0.75)  # ratios between which the optimum jumps, and training with it
FIRST_ORDER = 0.2  # relative error of the first order at these penalties


@cache
def best_pair(penalty: float, ratio: float) -> BestAtoms:
    """Return the exact optimum of two features, both atoms free, with the child alone at this ratio."""
    return best_atoms(PAIR, (PARENT, BOTH, ratio * penalty * BOTH), STARTS, penalty)


def exact_tilt(penalty: float, ratio: float) -> float:
    """Return the tilt of the child's atom in the exact optimum."""
    child = best_pair(penalty, ratio).atoms[1]
    return float(child[0] / child[1])


def levels(table: Table, name: str, **labels: Value) -> list[float]:
    """Return the values of a numeric label among the rows with ``labels``, ascending."""
    return sorted({float(value) for value in table.where(**labels).column(name)})


def _pair(**more: Value) -> dict[str, Value]:
    return {"part": "pair", "atom": 1, "along": 0, **more}


def _tilts(axes: Axes, table: Table) -> None:
    grid = np.concatenate([np.linspace(0.0, 0.58, 4), np.linspace(0.6, 1.2, 17), np.linspace(1.4, 4.0, 8)])
    axes.plot(grid, [limit_tilt(float(x)) for x in grid], ":", color=INK, lw=1.0, label="limit of small l")
    for index, penalty in enumerate(levels(table, "penalty", part="pair")):
        colour = SHADES[index]
        axes.plot(grid, [exact_tilt(penalty, float(x)) for x in grid], color=colour, lw=1.1, label=f"l = {penalty:g}")
        for ratio in levels(table, "ratio", part="pair"):
            for solver, marker, shift in (("sae", "o", 0.0), ("lasso", "x", 0.03)):
                value = interval(table, "tilt", **_pair(solver=solver, penalty=penalty, ratio=ratio))
                x = ratio + shift + 0.02 * (index - 1)
                axes.plot([x, x], [value.low, value.high], color=colour, lw=0.9)
                axes.plot(x, value.mean, marker, color=colour, ms=4)
    axes.axvline(FULL_ABSORPTION, color=FLOOR, lw=0.7)
    axes.set_xlabel("P(child alone) / (l P(both))")
    axes.set_ylabel("tilt of the child's atom")
    axes.set_ylim(-0.1, 1.2)
    axes.legend(frameon=False)


def matrix(table: Table, solver: str, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the tilts of every pair of atoms of every law, predicted ``(entries,)`` and found ``(entries, seeds)``."""
    predicted, found = [], []
    own = table.where(part="matrix", solver=solver, penalty=penalty)
    for world in own.levels("world"):
        for atom in own.levels("atom"):
            for along in own.where(atom=atom).levels("along"):
                entry = {"world": world, "atom": atom, "along": along}
                predicted.append(float(by_seed(own, "first_order", **entry)[0]))
                found.append(by_seed(own, "tilt", **entry))
    return np.array(predicted), np.array(found)


def slope(table: Table, solver: str, penalty: float) -> np.ndarray:
    """Return the least-squares slope of found against predicted tilts for each seed; 1 where the first order holds."""
    predicted, found = matrix(table, solver, penalty)
    return np.asarray(predicted @ found / (predicted @ predicted))


def _matrix(axes: Axes, table: Table) -> None:
    high = 0.0
    for index, penalty in enumerate(levels(table, "penalty", part="matrix")):
        for solver, look in (("lasso", Look("exact codes", INK, "+x"[index])), ("sae", LOOKS["relu_l1"])):
            predicted, found = matrix(table, solver, penalty)
            fill = "none" if index == 0 else look.colour
            label = f"{look.label}, l = {penalty:g}"
            mean = found.mean(axis=1)
            axes.plot(predicted, mean, look.marker, color=look.colour, ms=4, ls="none", label=label, mfc=fill)
            high = max(high, float(predicted.max()), float(mean.max()))
    axes.plot([0.0, high], [0.0, high], color=FLOOR, lw=0.8)
    axes.set_xlabel("tilt, first order in l")
    axes.set_ylabel("tilt found")
    axes.legend(frameon=False, loc="lower right")


def _toy(**more: Value) -> dict[str, Value]:
    return {"part": "toy", **more}


def heat(table: Table, metric: str, world: str, solver: str) -> np.ndarray:
    """Return the mean over seeds of a cosine, matched latents by rows and features by columns ``(4, 4)``."""
    return np.array(
        [
            [by_seed(table, metric, **_toy(world=world, solver=solver, atom=i, along=j)).mean() for j in range(4)]
            for i in range(4)
        ]
    )


def _heat(axes: Axes, values: np.ndarray, title: str) -> None:
    axes.imshow(values, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 else INK
        axes.text(j, i, f"{value:z.2f}", ha="center", va="center", fontsize=5.5, color=colour)
    axes.set_title(title, fontsize=7.5)
    axes.set_xticks(range(4))
    axes.set_yticks(range(4))
    axes.set_xlabel("feature")


def _recall(axes: Axes, table: Table) -> None:
    shown = (("sae", LOOKS["relu_l1"].named("SAE")), ("tied", TIED.named("tied")))
    for row, (solver, look) in enumerate(shown):
        for metric, marker, fill in (
            ("recall_child_off", look.marker, "none"),
            ("recall_child_on", look.marker, look.colour),
        ):
            value = interval(table, metric, **_toy(world="hierarchy", solver=solver, atom=0, along=1))
            axes.plot([value.low, value.high], [row, row], color=look.colour, lw=1.1)
            axes.plot(value.mean, row, marker, color=look.colour, mfc=fill, ms=6)
    axes.set_yticks(range(2), [look.label for _, look in shown])
    axes.set_ylim(1.6, -0.6)
    axes.set_xlim(-0.1, 1.25)
    axes.set_xticks([0.0, 0.5, 1.0])
    axes.set_xlabel("parent's recall\n(open: no child)")
    axes.axvline(1.0, color=CEILING, lw=0.7)
    axes.set_box_aspect(1.0)


def draw(table: Table) -> Figure:
    """Return the figure: tilts on the exact optimum, the matrix of tilts, and the toy of the paper."""
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 8, height_ratios=(1.35, 1.0))
    tilts, tilts_of_three = figure.add_subplot(grid[0, :5]), figure.add_subplot(grid[0, 5:])
    _tilts(tilts, table)
    _matrix(tilts_of_three, table)
    for axes in (tilts, tilts_of_three):
        axes.grid()
        axes.set_axisbelow(True)
    panels = (("encoder_cosine", "sae", "SAE encoder"), ("decoder_cosine", "sae", "SAE decoder"))
    for place, (metric, solver, title) in enumerate((*panels, ("decoder_cosine", "tied", "tied decoder"))):
        axes = figure.add_subplot(grid[1, 2 * place : 2 * place + 2])
        _heat(axes, heat(table, metric, "hierarchy", solver), title)
        if not place:
            axes.set_ylabel("latent matched to")
    _recall(figure.add_subplot(grid[1, 6:]), table)
    return figure


def _exact(table: Table) -> list[Claim]:
    found = []
    for penalty in levels(table, "penalty", part="pair"):
        for ratio in levels(table, "ratio", part="pair"):
            if ONSET[0] < ratio < ONSET[1]:
                continue  # the jump: a small error of the sample moves the optimum by half of its range
            tilt = exact_tilt(penalty, ratio)
            for solver, name in (("sae", "a trained autoencoder"), ("lasso", "dictionary learning with exact codes")):
                found.append(
                    Claim(
                        f"The tilt of {name} is that of the exact optimum.",
                        f"derived here, after {PAPER}",
                        f"tilt, l = {penalty:g}, P(child alone) = {ratio:g} l P(both) (theory: {tilt:.3f})",
                        interval(table, "tilt", **_pair(solver=solver, penalty=penalty, ratio=ratio)),
                        Near(tilt, TILT),
                    )
                )
    return found


def _jump(table: Table) -> list[Claim]:
    found = []
    for penalty in levels(table, "penalty", part="pair"):
        ratios = levels(table, "ratio", part="pair")
        low, high = max(x for x in ratios if x <= FULL_ABSORPTION), min(x for x in ratios if x > 0.8)
        tilts = {x: by_seed(table, "tilt", **_pair(solver="sae", penalty=penalty, ratio=x)) for x in (low, high)}
        drop = exact_tilt(penalty, low) - exact_tilt(penalty, high)
        found.append(
            Claim(
                "Full absorption ends abruptly where the child is alone about 0.59 times the penalty times as often as "
                "with its parent.",
                "derived here",
                f"tilt at ratio {low:g} - at {high:g}, l = {penalty:g} (theory: {drop:.3f})",
                paired_interval(tilts[low], tilts[high]),
                Near(drop, 2 * TILT),
            )
        )
    return found


def _losses(table: Table) -> list[Claim]:
    found = []
    for solver in ("sae", "lasso"):
        gains, excess = [], []
        for penalty in levels(table, "penalty", part="pair"):
            for ratio in levels(table, "ratio", part="pair"):
                own = _pair(solver=solver, penalty=penalty, ratio=ratio)
                loss, best = by_seed(table, "loss", **own), best_pair(penalty, ratio).loss
                gains.append((by_seed(table, "truth_loss", **own) - loss) / best)
                excess.append((loss - best) / best)
        found += [
            Claim(
                "The l1 loss of the learned atoms is below that of the true ones.",
                f"{PAPER}, proof for the toy",
                f"loss of the truth - learned, over the least, the worst of all pairs, {solver}",
                mean_interval(np.min(gains, axis=0)),
                Above(0.0),
            ),
            Claim(
                "No learned atoms are below the exact optimum, and all are near it.",
                "calibration",
                f"loss - exact optimum, over the latter, the worst of all pairs, {solver}",
                mean_interval(np.max(excess, axis=0)),
                Near(0.0, 0.01),
            ),
            Claim(
                "No learned atoms are below the exact optimum.",
                "calibration",
                f"loss - exact optimum, over the latter, the least of all pairs, {solver}",
                mean_interval(np.min(excess, axis=0)),
                Above(-1e-9),
            ),
        ]
    return found


def _three(table: Table) -> list[Claim]:
    return [
        Claim(
            "Every atom leans to every feature that its own occurs with, by the first order in the penalty.",
            "derived here",
            f"slope of found against predicted tilts, random joint supports, l = {penalty:g}, {solver}",
            mean_interval(slope(table, solver, penalty)),
            Near(1.0, FIRST_ORDER),
            note=note,
        )
        for penalty in levels(table, "penalty", part="matrix")
        for solver, note in (
            ("lasso", ""),
            (
                "sae",
                "One layer cannot give exact codes to all seven supports, and its loss is another than the lasso's.",
            ),
        )
    ]


def _paper(table: Table) -> list[Claim]:
    leaning = {s: by_seed(table, "tilt", **_toy(world="hierarchy", solver=s, atom=1, along=0)) for s in ("sae", "tied")}
    recall: dict[str, Value] = {"world": "hierarchy", "solver": "sae", "atom": 0, "along": 1}
    reading = by_seed(table, "encoder_cosine", **_toy(world="hierarchy", solver="sae", atom=0, along=1))
    floor = by_seed(table, "mcc", **_toy(world="independent", solver="random", atom=0, along=0))
    alone = by_seed(table, "mcc", **_toy(world="independent", solver="sae", atom=0, along=0))
    return [
        Claim(
            "With independent features the autoencoder finds every one.",
            f"{PAPER}, toy model",
            f"MCC, independent (random dictionary: {floor.mean():.2f})",
            mean_interval(alone),
            Above(0.98),
        ),
        Claim(
            "The child's decoder row holds the parent as much as the child.",
            f"{PAPER}, toy model",
            "tilt of the child's atom to the parent, hierarchy",
            mean_interval(leaning["sae"]),
            Near(1.0, 0.1),
        ),
        Claim(
            "The parent's encoder row reads the child with a negative sign.",
            f"{PAPER}, toy model",
            "cosine of the parent's encoder row with the child, hierarchy",
            mean_interval(reading),
            Below(-0.1),
        ),
        Claim(
            "The parent's latent is silent where the child fires.",
            f"{PAPER}, toy model",
            "recall of the parent's latent with the child, hierarchy",
            interval(table, "recall_child_on", **_toy(**recall)),
            Below(0.05),
        ),
        Claim(
            "The parent's latent fires where no child does.",
            f"{PAPER}, toy model",
            "recall of the parent's latent without the child, hierarchy",
            interval(table, "recall_child_off", **_toy(**recall)),
            Above(0.95),
        ),
        Claim(
            "Tying the encoder to the decoder solves absorption.",
            POST,
            "tilt of the child's atom, hierarchy, tied",
            mean_interval(leaning["tied"]),
            Near(0.0, 0.1),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: the exact optimum point by point, the jump, the losses, the matrix, and the paper's toy."""
    return _paper(table) + _exact(table) + _jump(table) + _losses(table) + _three(table)


HEADER = ("world", "solver", "l", "P(child alone) / (l P(both))", "seeds", "tilt", "exact", "parent's code with child")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    for solver in ("sae", "lasso"):
        for penalty in levels(table, "penalty", part="pair"):
            for ratio in levels(table, "ratio", part="pair"):
                own = _pair(solver=solver, penalty=penalty, ratio=ratio)
                value, held = interval(table, "tilt", **own), interval(table, "held_code", **own)
                shown = f"{value.mean:z.3f} ± {value.half_width:.3f}"
                exact = f"{exact_tilt(penalty, ratio):.3f}"
                found.append(
                    ("pair", solver, f"{penalty:g}", f"{ratio:g}", str(value.n), shown, exact, f"{held.mean:z.2f}")
                )
    for solver in ("sae", "tied"):
        value = interval(table, "tilt", **_toy(world="hierarchy", solver=solver, atom=1, along=0))
        shown = f"{value.mean:z.3f} ± {value.half_width:.3f}"
        found.append(("toy, hierarchy", solver, "0.05", "0", str(value.n), shown, "", ""))
    return found
