"""Kronecker autoencoders: the covariance in their atoms, beside that of untrained ones and of random directions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.panels import three
from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, INK, LOOKS, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.chance import rv_by_chance

TITLE = "Kronecker autoencoders: is the covariance in their atoms learned or built in?"
QUESTION = "Do the atoms of Kronecker autoencoders carry the covariance of the features, and is it learned?"
CAPTION = (
    "128 features whose covariance is made of blocks of 16, squeezed into 32 dimensions by a toy model; autoencoders "
    "of 8 active latents. Left: RV coefficient of the covariance with the Gram matrix of the atoms in their best "
    "order, after training (filled) and before (open); lines are random directions and orthonormal ones, in closed "
    "form; crosses are the published values, of twice the size. Middle: RV against recovery of the features, less "
    "chance. Right: unexplained variance by the number of weights. Bars are 95% t-intervals over the seeds."
)
SOURCE = "arXiv:2505.22255, toy experiment"
TOPK = LOOKS["topk"]
KRON = LOOKS["kron"]
TOY = Look("toy model", CEILING, "*")
RANDOM = LOOKS["random"].named("random directions")
# heads, left, right of the paper's size, and ours with half as many latents; the published RV
TWINS = {
    "kron_2_4_16": ((2, 4, 32), 0.514),
    "kron_4_4_8": ((4, 8, 8), 0.401),
    "kron_4_2_16": ((4, 2, 32), 0.379),
    "kron_8_2_8": ((8, 2, 16), 0.249),
}
PUBLISHED = {"toy": 0.598, "topk": 0.157, **{name: value for name, (_, value) in TWINS.items()}}
ENERGY, FEATURES, DIM = 1.0 + 15 * 0.6**2, 128, 32  # mean sum of squares of a row of the covariance


def krons(table: Table) -> list[str]:
    """Return the trained Kronecker autoencoders of the table, in the order of the published values where known."""
    seen = {str(one) for one in table.levels("solver") if str(one).startswith("kron") and "untrained" not in str(one)}
    return [*(name for name in TWINS if name in seen), *sorted(seen - set(TWINS))]


def _own(table: Table, metric: str, solver: str) -> np.ndarray:
    return by_seed(table, metric, solver=solver)


def _rv(table: Table, solver: str) -> np.ndarray:
    """Return the RV of ``solver``; that of the toy model in its own order, which is known."""
    return _own(table, "rv_matched" if solver == "toy" else "rv", solver)


def _excess(table: Table, solver: str) -> np.ndarray:
    return np.asarray(_own(table, "mcc", solver) - _own(table, "mcc_chance", solver))


def _bar(axes: Axes, place: float, value: Interval, look: Look, filled: bool = True) -> None:
    axes.plot([place, place], [value.low, value.high], color=look.colour, lw=1.2)
    face = look.colour if filled else "white"
    size = 9 if look.marker == "*" else 5.5
    axes.plot(place, value.mean, look.marker, ms=size, mfc=face, mec=look.colour, mew=0.9)


def _structure(axes: Axes, table: Table) -> None:
    axes.axhline(rv_by_chance(ENERGY, FEATURES, DIM), color=FLOOR, lw=1.0)
    axes.axhline(ENERGY**-0.5, color=FLOOR, lw=1.0, ls="--")
    names = ["toy", "random", "topk", *krons(table)]
    for place, name in enumerate(names):
        look = {"toy": TOY, "random": RANDOM, "topk": TOPK}.get(name, KRON)
        _bar(axes, place, mean_interval(_rv(table, name)), look)
        if name in ("topk", *krons(table)):
            _bar(axes, place + 0.25, mean_interval(_rv(table, f"{name}_untrained")), look, filled=False)
        if name in PUBLISHED:
            axes.plot(place - 0.25, PUBLISHED[name], "+", color=INK, ms=6, mew=1.1)
    words = ["toy model", "random", "TopK", *(name[5:].replace("_", "·") for name in krons(table))]
    axes.set_xticks(range(len(names)), words, rotation=60, ha="right", fontsize=6.5)
    axes.set(ylabel="RV with the covariance", ylim=(0, 1.0))


def _recovery(axes: Axes, table: Table) -> None:
    for name in ("topk", *krons(table)):
        look = TOPK if name == "topk" else KRON
        for suffix, filled in (("", True), ("_untrained", False)):
            x, y = _excess(table, name + suffix), _rv(table, name + suffix)
            axes.plot(x, y, look.marker, ms=4, mfc=look.colour if filled else "white", mec=look.colour, mew=0.8)
    axes.plot(_excess(table, "random"), _rv(table, "random"), "x", color=FLOOR, ms=5, mew=1.1)
    axes.axvline(0.0, color=FLOOR, lw=0.8)
    axes.set(xlabel="MCC less chance", ylabel="RV with the covariance", ylim=(0, 1.0))


def _weights(axes: Axes, table: Table) -> None:
    for name in ("topk", "topk_weights", "topk_encoder", *krons(table)):
        rows = table.where(solver=name)
        look = TOPK if name.startswith("topk") else KRON
        _bar(axes, float(rows.column("weights").mean()) / 1000.0, interval(table, "fvu", solver=name), look)
    axes.set(xlabel="weights (thousands)", ylabel="FVU")
    axes.set_ylim(bottom=0.0)


def draw(table: Table) -> Figure:
    """Return the figure: structure, structure against recovery, and reconstruction at equal weights."""
    figure, panels = three(table, (_structure, _recovery, _weights), 3.1, (1.2, 1.0, 1.0))
    handles = [
        panels[2].plot([], [], look.marker, color=look.colour, ms=6, ls="none", label=look.label)[0]
        for look in (TOPK, KRON, TOY, RANDOM)
    ]
    handles.append(panels[2].plot([], [], KRON.marker, mfc="white", mec=KRON.colour, ms=5, label="before training")[0])
    handles.append(panels[2].plot([], [], "+", color=INK, ms=6, ls="none", label="published")[0])
    handles.append(panels[2].plot([], [], color=FLOOR, lw=1.0, label="random, closed form")[0])
    handles.append(panels[2].plot([], [], "--", color=FLOOR, lw=1.0, label="orthonormal")[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _published(table: Table) -> list[Claim]:
    found = [
        Claim(
            "The atoms of Kronecker autoencoders carry more of the covariance than those of TopK.",
            f"{SOURCE}: RV {PUBLISHED[name]:.3f} for {TWINS[name][0]} against 0.157",
            f"RV, Kronecker {name[5:].replace('_', '·')} − TopK",
            paired_interval(_rv(table, name), _rv(table, "topk")),
            Above(0.0),
            tier="laptop",
        )
        for name in krons(table)
        if name in TWINS
    ]
    first, last = krons(table)[0], krons(table)[-1]
    return [
        *found,
        Claim(
            "Fewer and wider heads carry more of it.",
            f"{SOURCE}: 0.514 for 2 heads, 0.249 for 8",
            f"RV, Kronecker {first[5:].replace('_', '·')} − {last[5:].replace('_', '·')}",
            paired_interval(_rv(table, first), _rv(table, last)),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "The directions of the toy model carry more of it than any autoencoder that learns from it.",
            f"{SOURCE}: 0.598 against at most 0.514",
            "RV, toy model − largest of the trained autoencoders",
            paired_interval(_rv(table, "toy"), np.max([_rv(table, name) for name in ("topk", *krons(table))], axis=0)),
            Above(0.0),
            tier="laptop",
            note="The paper does not state its blocks and sources. With ours the directions carry little of the "
            f"covariance in their true order, an RV of {_rv(table, 'toy').mean():.2f} between that of random and of "
            "orthonormal ones, and a Kronecker autoencoder has more before it has seen a sample. Neither a correlation "
            "of 0.9 within blocks nor a single source gives it more than 0.28: directions of a block, which are active "
            "together, are made all but orthogonal (tested).",
        ),
    ]


def _structural(table: Table) -> list[Claim]:
    return [*_learned(table), *_of_recovery(table), *_by_chance(table), *_of_weights(table)]


def _learned(table: Table) -> list[Claim]:
    names = krons(table)
    still = np.max([_rv(table, f"{name}_untrained") for name in names], axis=0)
    found = [
        Claim(
            "The structure is learned: training raises the RV of Kronecker autoencoders.",
            f"{SOURCE}, its reading; native control",
            f"RV, Kronecker {name[5:].replace('_', '·')}, trained − untrained",
            paired_interval(_rv(table, name), _rv(table, f"{name}_untrained")),
            Above(0.0),
            tier="laptop",
            note="Atoms of a head start as sums of one row of either factor, so that a head is a block of like atoms "
            "before it has seen a sample, and RV in the best order rewards any blocks; the untrained twin tests it.",
        )
        for name in names
    ]
    return [
        *found,
        Claim(
            "Untrained heads carry more of the covariance than trained TopK does.",
            "native control",
            "RV, best untrained Kronecker − trained TopK",
            paired_interval(still, _rv(table, "topk")),
            Above(0.0),
            tier="laptop",
        ),
    ]


def _of_recovery(table: Table) -> list[Claim]:
    largest = krons(table)[0]
    return [
        Claim(
            "RV does not speak of recovery: TopK finds more of the features than the Kronecker autoencoder of largest "
            "RV.",
            "native",
            f"MCC, TopK − Kronecker {largest[5:].replace('_', '·')}",
            paired_interval(_own(table, "mcc", "topk"), _own(table, "mcc", largest)),
            Above(0.0),
            tier="laptop",
        ),
    ]


def _by_chance(table: Table) -> list[Claim]:
    return [
        Claim(
            "Random directions have the RV of the closed form, or little more in their best order.",
            "derived here: theory.chance.rv_by_chance",
            f"RV of random directions (closed form in a given order: {rv_by_chance(ENERGY, FEATURES, DIM):.3f})",
            mean_interval(_own(table, "rv_matched", "random")),
            Near(rv_by_chance(ENERGY, FEATURES, DIM), 0.02),
            tier="laptop",
        ),
        Claim(
            "The trained TopK has the RV of random directions, as the published value has.",
            "native",
            "RV, TopK − random directions, best orders of both",
            paired_interval(_rv(table, "topk"), _rv(table, "random")),
            Near(0.0, 0.05),
            tier="laptop",
        ),
    ]


def _of_weights(table: Table) -> list[Claim]:
    largest = krons(table)[0]
    return [
        Claim(
            "At equal weights a Kronecker autoencoder reconstructs better than TopK.",
            "arXiv:2505.22255, abstract: similar reconstruction at fewer parameters",
            f"FVU, Kronecker {largest[5:].replace('_', '·')} − TopK of as many weights",
            paired_interval(_own(table, "fvu", largest), _own(table, "fvu", "topk_weights")),
            Below(0.0),
            tier="laptop",
            note="At this size weights are better spent on TopK of fewer latents: even with an encoder as large as the "
            f"Kronecker one, and far fewer latents, it leaves {_own(table, 'fvu', 'topk_encoder').mean():.3f} against "
            f"{_own(table, 'fvu', largest).mean():.3f}.",
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: the published orders, and what of them is there before training."""
    return [*_published(table), *_structural(table)]


HEADER = ("autoencoder", "weights", "seeds", "RV, best order", "RV, matched order", "MCC (chance)", "FVU", "dead")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    for name in dict.fromkeys(str(one) for one in table.values("solver")):
        rows = table.where(solver=name)
        shown = []
        for metric in ("rv", "rv_matched", "mcc", "fvu", "dead_fraction"):
            values = _own(table, metric, name)
            finite = np.isfinite(values).all()
            one = mean_interval(values) if finite else None
            shown.append("–" if one is None else f"{one.mean:z.3f} ± {one.half_width:.3f}")
        chance = f"{shown[2]} ({_own(table, 'mcc_chance', name).mean():.3f})"
        weights = f"{float(rows.column('weights').mean()):.0f}"
        found.append((name, weights, str(len(rows)), shown[0], shown[1], chance, *shown[3:]))
    return found
