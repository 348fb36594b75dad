"""Hedging: the angle of atoms that must serve more than one feature, on the exact optima."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, INK, LOOKS, ORANGE, SAND, SLATE, UMBER, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table, Value
from theory.hedging import hedging_angle, one_active_tilt

TITLE = "Hedging: too few latents, or too few of them active"
QUESTION = "What becomes of atoms when there are too few latents, or too few of them may be active?"
CAPTION = (
    "Orthonormal features of size 1, no decoder bias unless said. Top left: one latent for two features; its angle "
    "from the first, by how often both fire; lines are exact, one for each l1 penalty. In the ringed world the second "
    "feature is also alone, and a tick is its exact angle. Top right: eight pairs of features, and as many latents "
    "(narrow) or twice as many (full width), by the correlation within pairs; the line is a latent that sees its pair "
    "alone. Bottom left: two latents of which one is active; squares are the global optimum, stars the true atoms. "
    "Bottom right: the same world with a free decoder bias. With one latent, or one active, the best of several starts "
    "by its own loss on its training samples. Bars are 95% t-intervals over the seeds."
)
HEDGING, WRONG = "arXiv:2505.11756", "arXiv:2508.16560"
NARROW = {  # probabilities of the first feature alone, of both, of the second alone
    "hierarchy": (0.2, 0.05, 0.0),
    "loose": (0.2, 0.05, 0.1),
    "rare": (0.3, 0.1, 0.0),
    "even": (0.15, 0.15, 0.0),
    "often": (0.1, 0.3, 0.0),
}
FEW = {
    "apart": (0.35, 0.03, 0.3),
    "independent": (0.21, 0.09, 0.21),
    "uneven": (0.3, 0.1, 0.2),
    "together": (0.1, 0.3, 0.1),
}
RATES, PRICE = (0.3, 0.15), 0.1
SHADES = (UMBER, ORANGE, SAND)  # of the penalties, from the smallest
WIDE = {
    "narrow": LOOKS["relu_l1"].named("narrow SAE"),
    "full": Look("SAE of full width", CEILING, "s"),
    "random": LOOKS["random"],
}
STUCK = (
    "One start may end in another minimum, in most of which one latent never fires; of several the one of least error "
    "is shown."
)
ANGLE = 0.03  # rad: noise of training by batches
SCORE = 0.05


def pair_angle(rho: float) -> float:
    """Return the exact angle of a latent that sees one correlated pair alone."""
    levels = ndtri(np.array(RATES))
    both = float(multivariate_normal.cdf(levels, cov=[[1.0, rho], [rho, 1.0]]))
    return hedging_angle(RATES[0] - both, both, RATES[1] - both, penalty=PRICE)


def numbers(table: Table, part: str) -> list[float]:
    """Return the values of the axis in ``part``, ascending."""
    return sorted({float(value) for value in table.where(part=part).column("axis")})


def _bar(axes: Axes, x: float, value: Interval, colour: str, marker: str) -> None:
    axes.plot([x, x], [value.low, value.high], color=colour, lw=1.1)
    edge = colour if marker == "x" else "white"
    axes.plot(x, value.mean, marker, color=colour, ms=5, mec=edge, mew=1.0 if marker == "x" else 0.4)


def _single(axes: Axes, table: Table) -> None:
    grid = np.linspace(0.05, 3.2, 120)
    for place, penalty in enumerate(numbers(table, "single")):
        colour = SHADES[place]
        angles = [hedging_angle(1.0 / (1.0 + x), x / (1.0 + x), penalty=penalty) for x in grid]
        axes.plot(grid, angles, color=colour, lw=1.1, label=f"l1 penalty {penalty:g}")
        for name, (parent, both, child) in NARROW.items():
            value = interval(table, "largest_angle", part="single", solver="held", law=name, axis=penalty)
            x = both / parent + 0.03 * (place - 1) + (0.15 if child else 0.0)  # beside one another
            _bar(axes, x, value, colour, "o")
            if child:
                axes.plot(x, hedging_angle(parent, both, child, penalty=penalty), "_", color=colour, ms=11, mew=1.2)
                axes.plot(x, value.mean, "o", ms=8, mfc="none", mec=SLATE, mew=0.6)
    axes.set_xlabel("P(both) / P(first alone)")
    axes.set_ylabel("angle from the first feature (rad)")
    axes.legend(frameon=False, loc="lower right")


def _wide(axes: Axes, table: Table) -> None:
    grid = np.linspace(0.0, 0.95, 40)
    exact = np.sin([pair_angle(float(rho)) for rho in grid])
    axes.plot(grid, exact, color=WIDE["narrow"].colour, lw=1.1, label="one latent, exact")
    for name, look in WIDE.items():
        for rho in numbers(table, "wide"):
            value = interval(table, "hedging_score", part="wide", solver=name, axis=rho)
            _bar(axes, rho, value, look.colour, look.marker)
        axes.plot([], [], look.marker, color=look.colour, ms=5, label=look.label)
    axes.axhline(0.0, color=CEILING, lw=0.7)
    axes.set_xlabel("latent correlation within pairs")
    axes.set_ylabel("hedging score (truth 0)")
    axes.legend(frameon=False, loc="upper left")


def _few(axes: Axes, table: Table) -> None:
    look = LOOKS["topk"]
    for row, (name, law) in enumerate(FEW.items()):
        value = interval(table, "squared_error", part="topk", law=name)
        axes.plot(one_active_tilt(*law)[0], row, "s", ms=8, mfc="none", mec=INK, mew=0.9)
        axes.plot([value.low, value.high], [row, row], color=look.colour, lw=1.1)
        axes.plot(value.mean, row, look.marker, color=look.colour, ms=5, mec="white", mew=0.4)
        axes.plot(law[1], row, "*", color=CEILING, ms=8)
        angle = interval(table, "largest_angle", part="topk", law=name)
        text = f"{np.degrees(angle.mean):.1f}° ({np.degrees(one_active_tilt(*law)[1]):.1f}°)"
        axes.text(0.99, row - 0.18, text, transform=axes.get_yaxis_transform(), ha="right", fontsize=6.5)
    axes.plot([], [], "*", color=CEILING, ms=8, label="true atoms")
    axes.plot([], [], "s", ms=7, mfc="none", mec=INK, mew=0.9, label="optimum without bias")
    axes.plot([], [], look.marker, color=look.colour, ms=5, label="TopK, bias held")
    axes.legend(frameon=False, fontsize=6.5, loc="upper center", bbox_to_anchor=(0.52, 1.03), handletextpad=0.2)
    axes.set_yticks(range(len(FEW)), list(FEW))
    axes.set_ylim(len(FEW) - 0.5, -0.6)
    axes.set_xlabel("squared error, k = 1 (tilt in degrees, exact in brackets)")
    axes.set_xlim(0.0, 0.42)


def _escape(axes: Axes, table: Table) -> None:
    look = LOOKS["topk"]
    for steps in numbers(table, "escape"):
        _bar(axes, steps, interval(table, "squared_error", part="escape", axis=steps), look.colour, look.marker)
    axes.axhline(one_active_tilt(*FEW["independent"])[0], color=INK, lw=1.1)
    axes.axhline(FEW["independent"][1], color=CEILING, lw=1.1, ls="--")
    best = one_active_tilt(*FEW["independent"])[0]
    for level, words in ((FEW["independent"][1], "true atoms"), (best, "optimum without bias")):
        axes.annotate(
            words, (0.98, level), xycoords=axes.get_yaxis_transform(), xytext=(0, -3), textcoords="offset points",
            va="top", ha="right", fontsize=6.5,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(numbers(table, "escape"), [f"{steps:g}" for steps in numbers(table, "escape")])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("steps, decoder bias free")
    axes.set_ylabel("squared error, k = 1")


def draw(table: Table) -> Figure:
    """Return the figure: one latent, narrow dictionaries, one active latent, and the escape by the bias."""
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    (single, wide), (few, escape) = figure.subplots(2, 2)
    for axes, part in ((single, _single), (wide, _wide), (few, _few), (escape, _escape)):
        part(axes, table)
        axes.grid(axis="x" if axes is few else "y")
        axes.set_axisbelow(True)
    return figure


def _on_the_line(table: Table) -> list[Claim]:
    found = []
    for name, law in NARROW.items():
        for penalty in numbers(table, "single"):
            exact = hedging_angle(*law, penalty=penalty)
            found.append(
                Claim(
                    "A single latent for two features leaves the first by the exact angle.",
                    f"{HEDGING}, toy of one latent; theory derived here",
                    f"angle in rad, probabilities {law}, l1 penalty {penalty:g} (theory: {exact:.4f})",
                    interval(table, "largest_angle", part="single", solver="held", law=name, axis=penalty),
                    Near(exact, ANGLE),
                )
            )
    return found


def _too_few(table: Table) -> list[Claim]:
    found = []
    for name, law in FEW.items():
        loss, angle = one_active_tilt(*law)
        own: dict[str, Value] = {"part": "topk", "law": name}
        about = f"{name}, probabilities {law}"
        found += [
            Claim(
                "With one active latent for two features the optimum is lopsided: one atom leans by the exact angle.",
                f"derived here, after {WRONG}",
                f"largest angle in rad, {about} (theory: {angle:.4f})",
                interval(table, "largest_angle", **own),
                Near(angle, ANGLE),
                note=STUCK,
            ),
            Claim(
                "With one active latent the learned dictionary reaches the exact least error.",
                f"derived here, after {WRONG}",
                f"squared error, {about} (theory: {loss:.4f})",
                interval(table, "squared_error", **own),
                Near(loss, 0.05 * loss),
                note=STUCK,
            ),
            Claim(
                "The other atom stays true.",
                f"derived here, after {WRONG}",
                f"smallest angle in rad, {about}",
                interval(table, "smallest_angle", **own),
                Near(0.0, ANGLE),
                note=STUCK,
            ),
            Claim(
                "With too few active latents the learned dictionary rebuilds better than the true one.",
                f"{WRONG}, sparsity against reconstruction",
                f"squared error of the true atoms - learned, {about}",
                mean_interval(law[1] - by_seed(table, "squared_error", **own)),
                Above(0.0),
                note=STUCK,
            ),
        ]
    return found


def _wide_claims(table: Table) -> list[Claim]:
    rhos = numbers(table, "wide")
    high = max(rhos)
    score = {name: by_seed(table, "hedging_score", part="wide", solver=name, axis=high) for name in WIDE}
    exact = float(np.sin(pair_angle(high)))
    none = by_seed(table, "hedging_score", part="wide", solver="narrow", axis=0.0)
    return [
        Claim(
            "A dictionary too narrow for its features merges correlated ones.",
            f"{HEDGING}, abstract",
            f"hedging score of narrow - random, correlation {high:g}",
            paired_interval(score["narrow"], score["random"]),
            Above(0.0),
        ),
        Claim(
            "Hedging grows with correlation.",
            f"{HEDGING}, abstract",
            f"hedging score of narrow, correlation {high:g} - 0",
            paired_interval(score["narrow"], none),
            Above(0.0),
        ),
        Claim(
            "Narrower dictionaries hedge more than those of full width.",
            f"{HEDGING}, abstract",
            f"hedging score of narrow - full, correlation {high:g}",
            paired_interval(score["narrow"], score["full"]),
            Above(0.0),
        ),
        Claim(
            "Each latent of the narrow dictionary hedges as if it saw its pair alone.",
            "derived here",
            f"hedging score of narrow, correlation {high:g} (theory of the pair: {exact:.3f})",
            mean_interval(score["narrow"]),
            Near(exact, SCORE),
            note="The line is for strong correlations: without any, a latent leans to the rare features of all pairs "
            "alike (see its angle in the table), which the score does not count.",
        ),
    ]


def _bias_claims(table: Table) -> list[Claim]:
    steps = numbers(table, "escape")
    loss = one_active_tilt(*FEW["independent"])[0]
    norm = {n: by_seed(table, "bias_norm", part="escape", axis=n) for n in (steps[0], steps[-1])}
    return [
        Claim(
            "A free decoder bias leaves the optimum that exists without it.",
            "derived here",
            f"squared error after {steps[-1]:g} steps (theory without bias: {loss:.4f})",
            interval(table, "squared_error", part="escape", axis=steps[-1]),
            Below(loss),
        ),
        Claim(
            "The free bias goes on growing.",
            "derived here",
            f"norm of the bias after {steps[-1]:g} steps - {steps[0]:g} steps",
            paired_interval(norm[steps[-1]], norm[steps[0]]),
            Above(0.0),
            note="Seeds differ in when they leave, so that the interval is wide.",
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: points on the exact lines, what the papers say of narrow dictionaries, and the free bias."""
    return _on_the_line(table) + _wide_claims(table) + _too_few(table) + _bias_claims(table)


HEADER = ("part", "world", "seeds", "angle (rad) or score", "theory", "squared error", "theory", "MCC", "chance")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""

    def show(metric: str, **own: Value) -> str:
        value = interval(table, metric, **own)
        return f"{value.mean:z.3f} ± {value.half_width:.3f}"

    def line(name: str, metric: str, theory: tuple[str, str], **own: Value) -> tuple[str, ...]:
        chance = interval(table, "mcc_chance", **own).mean
        angle, loss = theory
        seeds = str(len(table.where(**own)))
        scores = (show(metric, **own), angle, show("squared_error", **own), loss, show("mcc", **own), f"{chance:.3f}")
        return (str(own["part"]), name, seeds, *scores)

    found = []
    for name, law in NARROW.items():
        for penalty in numbers(table, "single"):
            exact = f"{hedging_angle(*law, penalty=penalty):.3f}"
            own: dict[str, Value] = {"part": "single", "solver": "held", "law": name, "axis": penalty}
            found.append(line(f"{name}, penalty {penalty:g}", "largest_angle", (exact, ""), **own))
    for rho in numbers(table, "wide"):
        for name, look in WIDE.items():
            exact = f"{np.sin(pair_angle(rho)):.3f}" if name == "narrow" else ""
            own = {"part": "wide", "solver": name, "axis": rho}
            found.append(line(f"{look.label}, ρ = {rho:g}", "hedging_score", (exact, ""), **own))
    for name, law in FEW.items():
        loss, angle = one_active_tilt(*law)
        own = {"part": "topk", "law": name}
        found.append(line(f"{name}, k = 1", "largest_angle", (f"{angle:.3f}", f"{loss:.3f}"), **own))
    for steps in numbers(table, "escape"):
        own = {"part": "escape", "axis": steps}
        found.append(line(f"free bias, {steps:g} steps", "largest_angle", ("", ""), **own))
    return found
