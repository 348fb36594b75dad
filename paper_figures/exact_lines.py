"""Four exact lines and the simulations on them: local minima, the genie's floor, coherence, and capacity."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, GREY, INK, NAVY, ORANGE, SKY, VERMILLION, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.amortisation import genie_floor
from theory.chance import random_coherence_median
from theory.frames import levenshtein_bound, orthoplex_bound, welch_bound
from theory.identifiability import equal_correlation_limit

TITLE = "On the line: four limits that are known exactly"
QUESTION = "Do simulations lie on the lines that are known exactly?"
CAPTION = (
    "Top left: bases of 8 atoms with equal cosines, signed sparse codes: does descent on the l1 norm of the codes come "
    "back after a displacement, to a cosine of 1 - 1e-5 (filled: in all worlds; open: in none)? Line: exact limit of "
    "local minima. Top right: relative error of active entries read linearly by a genie that knows which are active, "
    "32 features in 16 dimensions; line: the floor of any dictionary. Bottom left: coherence of n directions in 16 "
    "dimensions and the largest crosstalk of two encoders of random ones; lines: median of random directions, and the "
    "largest lower bound. Bottom right: capacity of 12 features of falling value in 4 dimensions at the best Gram "
    "matrix that descent finds, by fourth moment of the features; lines: the optimal allocation. Bars are 95% "
    "t-intervals over the seeds."
)
READ = {
    "random tied": Look("random, tied", ORANGE, "v"),
    "random inverse": Look("random, pseudo-inverse", SKY, "s"),
    "random best": Look("random, best", NAVY, "o"),
    "tight best": Look("tight frame, best", CEILING, "*"),
}
FRAMES = {
    "random": Look("random (tied crosstalk)", ORANGE, "v"),
    "inverse": Look("random, pseudo-inverse", SKY, "s"),
    "programme": Look("random, best encoder", NAVY, "o"),
    "optimised": Look("optimised directions", CEILING, "*"),
}
KURTOSES = (GREY, NAVY, ORANGE, VERMILLION)
MARKERS = ("x", "o", "^", "D")


def numbers(table: Table, column: str, **labels: str | float) -> list[float]:
    """Return the values of ``column`` among the rows with ``labels``, ascending."""
    return sorted(float(value) for value in table.where(**labels).levels(column))


def count(table: Table, part: str) -> int:
    """Return the number of atoms of a part, or its dimension."""
    return int(table.where(part=part).column("size")[0])


def draw(table: Table) -> Figure:
    """Return the figure, a panel a line."""
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    panels = figure.subplots(2, 2)
    for axes, part in zip(panels.flat, (_local, _read, _frames, _capacity), strict=True):
        part(axes, table)
        axes.grid()
        axes.set_axisbelow(True)
    return figure


def _local(axes: Axes, table: Table) -> None:
    rates, n = numbers(table, "knob", part="local"), count(table, "local")
    fine = np.linspace(rates[0] * 0.9, rates[-1] * 1.03, 100)
    limits = [equal_correlation_limit(n, float(p)) for p in fine]
    axes.plot(fine, limits, color=INK, lw=1.2, label="exact limit")
    for rate in rates:
        for share in numbers(table, "place", part="local", knob=rate):
            back = float(by_seed(table, "measured", part="local", knob=rate, place=share).mean())
            mu = share * equal_correlation_limit(n, rate)
            colour = CEILING if share < 1 else VERMILLION
            style = "full" if back == 1 else "none" if back == 0 else "bottom"
            axes.plot(rate, mu, "o" if share < 1 else "s", color=colour, ms=5, fillstyle=style, mew=0.9)
    axes.plot([], [], "o", color=CEILING, ms=5, label="came back, below the limit")
    axes.plot([], [], "s", color=VERMILLION, ms=5, fillstyle="none", label="left, above it")
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("rate p of the codes")
    axes.set_ylabel("cosine of the atoms μ")
    axes.set_title(f"local minima of l1, {n} atoms")
    axes.legend(frameon=False)


def _marks(axes: Axes, x: list[float], values: list[Interval], look: Look) -> None:
    axes.vlines(x, [v.low for v in values], [v.high for v in values], color=look.colour, lw=1.1)
    size = 7 if look.marker == "*" else 4.5
    edge, thick = (look.colour, 1.0) if look.marker == "x" else ("white", 0.3)
    means = [v.mean for v in values]
    axes.plot(x, means, look.marker, color=look.colour, ms=size, mec=edge, mew=thick, label=look.label)


def _read(axes: Axes, table: Table) -> None:
    active, n = numbers(table, "knob", part="read"), count(table, "read")
    d = round(n * numbers(table, "place", part="read")[0])
    fine = np.arange(int(active[0]), int(active[-1]) + 1)
    axes.plot(fine, [genie_floor(n, d, int(k)) for k in fine], color=INK, lw=1.2, label="floor")
    for shift, (name, look) in zip((0.0, -0.15, 0.15, 0.0), READ.items(), strict=True):
        places = [k + shift for k in active]
        _marks(axes, places, [interval(table, "measured", part="read", name=name, knob=k) for k in active], look)
    axes.set_xlabel("active features k")
    axes.set_ylabel("relative error of an active entry")
    axes.set_ylim(0, None)
    axes.set_title(f"told what is active, m = {n}, d = {d}")
    axes.legend(frameon=False)


def _frames(axes: Axes, table: Table) -> None:
    d = int(numbers(table, "place", part="frame")[0])
    ratios = numbers(table, "knob", part="frame")
    sizes = np.arange(round(ratios[0] * d), round(ratios[-1] * d) + 1)
    axes.plot(sizes / d, [random_coherence_median(int(n), d) for n in sizes], color=FLOOR, lw=1.1, ls="--",
              label="random, median (theory)")  # fmt: skip
    axes.plot(sizes / d, [welch_bound(int(n), d) for n in sizes], color=INK, lw=1.2, label="Welch bound")
    wide = np.arange(d * (d + 1) // 2 + 1, sizes[-1] + 1)
    if len(wide):
        axes.plot(wide / d, [max(orthoplex_bound(int(n), d), levenshtein_bound(int(n), d)) for n in wide], color=INK)
    for name, look in FRAMES.items():
        _marks(axes, ratios, [interval(table, "measured", part="frame", name=name, knob=r) for r in ratios], look)
    axes.set_xlabel("directions over dimensions, n/d")
    axes.set_ylabel("coherence, largest crosstalk")
    axes.set_ylim(0, 1.55)
    axes.set_title(f"coherence and crosstalk, d = {d}")
    axes.legend(frameon=False, ncols=2, fontsize=6.5, handlelength=1.5, columnspacing=1.0)


def _capacity(axes: Axes, table: Table) -> None:
    fourths = numbers(table, "knob", part="capacity")
    for colour, marker, fourth in zip(KURTOSES[-len(fourths) :], MARKERS[-len(fourths) :], fourths, strict=True):
        places = [place for place in numbers(table, "place", part="capacity", knob=fourth) if place >= 0]
        known = [by_seed(table, "expected", part="capacity", knob=fourth, place=i).mean() for i in places]
        axes.plot([i + 1 for i in places], known, color=colour, lw=1.0)
        values = [interval(table, "measured", part="capacity", knob=fourth, place=i) for i in places]
        _marks(axes, [i + 1 for i in places], values, Look(f"E x⁴ = {fourth:g}", colour, marker))
    axes.set_xlabel("feature, by falling value")
    axes.set_ylabel("capacity, dimensions")
    axes.set_title("capacity of a feature")
    axes.legend(frameon=False)


def _worst(groups: list[np.ndarray]) -> Interval:
    """Return the interval of the group whose mean is farthest from zero."""
    stacked = np.stack(groups)
    return mean_interval(stacked[np.abs(stacked.mean(axis=1)).argmax()])


def _off(table: Table, part: str, name: str, knob: float, place: float) -> np.ndarray:
    own = table.where(part=part, name=name, knob=knob, place=place)
    return np.asarray(by_seed(own, "measured") - by_seed(own, "expected"))


def claims(table: Table) -> list[Claim]:
    """Return the claims, two or three a panel."""
    return [*_of_minima(table), *_of_reading(table), *_of_frames(table), *_of_capacity(table)]


def _of_minima(table: Table) -> list[Claim]:
    rates = numbers(table, "knob", part="local")
    shares = numbers(table, "place", part="local")

    def back(kept: list[float]) -> Interval:
        known = [(p, s) for p in rates for s in numbers(table, "place", part="local", knob=p) if s in kept]
        return mean_interval(
            np.mean([by_seed(table, "measured", part="local", knob=p, place=s) for p, s in known], axis=0)
        )

    below, above = [s for s in shares if s < 1], [s for s in shares if s > 1]
    return [
        Claim(
            "Below the limit of the cosine a basis is a local minimum of the l1 norm of the codes.",
            "arXiv:1505.04363; theory.identifiability.equal_correlation_limit",
            f"share of descents that come back, {below[-1]:g} of the limit and less",
            back(below),
            Above(0.95),
            tier="laptop",
        ),
        Claim(
            "Above the limit it is none.",
            "arXiv:1505.04363; theory.identifiability.equal_correlation_limit",
            f"share of descents that come back, {above[0]:g} of the limit and more",
            back(above),
            Below(0.05),
            tier="laptop",
        ),
    ]


def _of_reading(table: Table) -> list[Claim]:
    active, d = numbers(table, "knob", part="read"), numbers(table, "place", part="read")[0]
    n = count(table, "read")
    best = [_off(table, "read", name, k, d) for name in ("random best", "tight best") for k in active]
    floors = {k: genie_floor(n, round(n * d), int(k)) for k in active}
    tight = [by_seed(table, "measured", part="read", name="tight best", knob=k) - floors[k] for k in active]
    tied, own = (np.stack([by_seed(table, "measured", part="read", name=f"random {name}", knob=k) for k in active])
                 for name in ("tied", "best"))  # fmt: skip
    return [
        Claim(
            "The best linear reading of an active entry errs by its leverage.",
            "theory.amortisation.genie_errors",
            "relative error - theory, regression on simulated codes, farthest from 0",
            _worst(best),
            Near(0.0, 0.01),
            tier="laptop",
        ),
        Claim(
            "Tight frames attain the floor of all dictionaries.",
            "theory.amortisation.genie_floor",
            "relative error of a tight frame - floor, farthest from 0",
            _worst(tight),
            Near(0.0, 0.01),
            tier="laptop",
        ),
        Claim(
            "A tied encoder reads random features worse than the best linear map, even told what is active.",
            "native",
            "relative error, tied - best, the least over k",
            mean_interval((tied - own).min(axis=0)),
            Above(0.0),
        ),
    ]


def _of_frames(table: Table) -> list[Claim]:
    ratios, d = numbers(table, "knob", part="frame"), numbers(table, "place", part="frame")[0]
    random = [_off(table, "frame", "random", r, d) for r in ratios]
    best = [_off(table, "frame", "programme", r, d) for r in ratios]
    optimised = np.stack([by_seed(table, "measured", part="frame", name="optimised", knob=r) for r in ratios])
    bound = np.stack([by_seed(table, "expected", part="frame", name="optimised", knob=r) for r in ratios])
    two = min(ratios, key=lambda r: abs(r - 2.0))
    one = {name: by_seed(table, "measured", part="frame", name=name, knob=two) for name in FRAMES}
    few = len(one["programme"])  # random directions have more draws, of which the first are the others'
    return [
        Claim(
            "The coherence of random directions has the median of independent pairs.",
            "theory.chance.random_coherence_median",
            "coherence - theory, mean over n/d",
            mean_interval(np.mean(random, axis=0)),
            Near(0.0, 0.03),
            tier="laptop",
        ),
        Claim(
            "No encoder has less crosstalk than the Welch bound.",
            "theorem; theory.encoders.crosstalk",
            "largest crosstalk of the best encoder - bound, the least over n/d",
            mean_interval(np.stack(best).min(axis=0)),
            Above(0.0),
        ),
        Claim(
            "A free encoder halves the crosstalk of a tied one on random features.",
            "theory.encoders.least_crosstalk",
            f"largest crosstalk, best over tied, n/d = {two:g}",
            mean_interval(one["programme"] / one["random"][:few]),
            Below(0.6),
            tier="laptop",
        ),
        Claim(
            "Optimised directions come within a fifth of the bound on coherence.",
            "native",
            "coherence over the bound, the largest over n/d",
            mean_interval((optimised / bound).max(axis=0)),
            Below(1.2),
            tier="laptop",
        ),
    ]


def _of_capacity(table: Table) -> list[Claim]:
    fourths = numbers(table, "knob", part="capacity")
    places = numbers(table, "place", part="capacity")
    sparse = [f for f in fourths if f > 3]
    dense = [f for f in fourths if f < 3]
    shares = [_off(table, "capacity", "descent", f, i) for f in sparse for i in places if i >= 0]
    losses = [_off(table, "capacity", "descent", f, -1.0) for f in fourths]
    found = [
        Claim(
            "Features of kurtosis above 3 share dimensions as water-filling says.",
            "arXiv:2210.01892; theory.capacity.allocate_capacity",
            "capacity at the best Gram matrix found - optimal allocation, farthest from 0",
            _worst(shares),
            Near(0.0, 0.01),
            tier="laptop",
        ),
        Claim(
            "The optimal allocation's loss is attained and not undercut.",
            "theory.capacity.capacity_loss",
            "loss found - loss of the optimal allocation, farthest from 0",
            _worst(losses),
            Near(0.0, 0.01),
            tier="laptop",
        ),
    ]
    if dense and sparse:
        middle = max(sparse)
        fraction = {
            f: np.mean([np.abs(by_seed(table, "measured", part="capacity", knob=f, place=i) - 0.5) < 0.45
                        for i in places if i >= 0], axis=0)
            for f in (dense[0], middle)
        }  # fmt: skip
        found.append(
            Claim(
                "Only features of kurtosis above 3 are held in part (superposition).",
                "arXiv:2210.01892",
                f"share of features with capacity in (0.05, 0.95), E x⁴ = {middle:g} - {dense[0]:g}",
                paired_interval(fraction[middle], fraction[dense[0]]),
                Above(0.2),
                tier="laptop",
            )
        )
    return found


HEADER = ("part", "what", "knob", "place", "seeds", "measured", "theory")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    for part in ("local", "read", "frame", "capacity"):
        own = table.where(part=part)
        for name, knob, place in sorted({(str(r["name"]), float(r["knob"]), float(r["place"])) for r in own.rows()}):
            one = own.where(name=name, knob=knob, place=place)
            value = mean_interval(one.column("measured"))
            shown = f"{value.mean:z.3f} ± {value.half_width:.3f}"
            known = f"{one.column('expected').mean():z.3f}"
            found.append((part, name, f"{knob:g}", f"{place:g}", str(value.n), shown, known))
    return found
