"""Where run-to-run spread comes from: world, start and order of samples, by exact components of a crossed design."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsesim.report.claims import Above, Below, Claim
from sparsesim.report.palette import INK, LOOKS, SAND, SKY, SLATE, VERMILLION, Look
from sparsesim.study.interval import Interval
from sparsesim.study.table import Table
from theory.variance_components import Factors, surrogates, variance_components, variance_of_mean

TITLE = "Where run-to-run spread comes from: worlds, initial weights, order of samples"
QUESTION = "What does a recovery score vary with: the world, the initial weights, or the order of the samples?"
CAPTION = (
    "MCC of autoencoders on 32 features in 16 dimensions, in a full crossing of worlds (directions and samples), "
    "initial weights and orders of the samples. Left: standard deviation of each part, exact unbiased estimates of the "
    "balanced design with 95% intervals; a part within a world is the sum of a factor's own effect and its interaction "
    "with worlds. Middle: the parts as shares of the variance. Right: standard error of a mean MCC of TopK over a "
    "number of trainings, each in a world of its own (solid), all in one world with new weights and orders (dashed), "
    "or with new orders only (dotted)."
)
AXES = ("seed", "start", "order")
PARTS: dict[str, tuple[tuple[Factors, ...], str, str]] = {
    "world": (((0,),), INK, "d"),
    "start": (((1,), (0, 1)), VERMILLION, "o"),
    "order": (((2,), (0, 2)), SKY, "s"),
    "both": (((1, 2), (0, 1, 2)), SAND, "^"),
}
WORDS = {
    "world": "world",
    "start": "initial weights, within a world",
    "order": "order of samples, within a world",
    "both": "weights and order together",
}
SHOWN: dict[str, Look] = {
    "relu_l1": LOOKS["relu_l1"],
    "topk": LOOKS["topk"],
    "batch_topk": LOOKS["batch_topk"],
    "matryoshka": LOOKS["matryoshka"],
    "mp": LOOKS["mp"],
}
DRAWS = 20_000  # the quantiles then have a Monte-Carlo error below 2% of the interval
SEED = 8  # of the surrogates: one fixed stream


def scores(table: Table, solver: str, metric: str = "mcc") -> np.ndarray:
    """Return ``metric`` by world, start and order, ``(worlds, starts, orders)``.

    Raises
    ------
    ValueError
        If the design is not a full crossing.
    """
    own = table.where(solver=solver)
    levels = [sorted(int(value) for value in own.levels(name)) for name in AXES]
    found = np.full([len(one) for one in levels], np.nan)
    places = [np.searchsorted(one, own.column(name)) for one, name in zip(levels, AXES, strict=True)]
    found[tuple(places)] = own.column(metric)
    if len(own) != found.size or not np.isfinite(found).all():
        raise ValueError(f"{solver} needs one finite row for each of {found.shape} cells; got {len(own)} rows.")
    return found


@lru_cache(maxsize=64)  # the figure, its claims and its rows ask for the same few
def _drawn(values: bytes, shape: tuple[int, ...]) -> dict[Factors, np.ndarray]:
    return surrogates(np.frombuffer(values).reshape(shape), DRAWS, np.random.default_rng(SEED))


def function(table: Table, solver: str, of: Callable[[dict[Factors, np.ndarray]], np.ndarray]) -> Interval:
    """Return ``of`` the components of ``solver``: its value at the estimates and its 95% interval by surrogates."""
    values = scores(table, solver)
    estimate = {factors: np.array([value]) for factors, value in variance_components(values).items()}
    low, high = np.quantile(of(_drawn(values.tobytes(), values.shape)), [0.025, 0.975])
    return Interval(float(of(estimate)[0]), float(low), float(high), len(values))


def part(components: dict[Factors, np.ndarray], name: str) -> np.ndarray:
    """Return the variance of one of `PARTS`, a sum of components, negative sums taken as zero."""
    return np.maximum(sum(components[factors] for factors in PARTS[name][0]), 0.0)


def share(components: dict[Factors, np.ndarray], name: str) -> np.ndarray:
    """Return the share of one of `PARTS` in the sum of all."""
    return np.asarray(part(components, name) / sum(part(components, one) for one in PARTS))


def deviation(table: Table, solver: str, name: str) -> Interval:
    """Return the standard deviation of one of `PARTS` with its interval."""
    return function(table, solver, lambda found: np.sqrt(part(found, name)))


def _deviations(axes: Axes, table: Table) -> None:
    for row, solver in enumerate(SHOWN):
        for index, (name, (_, colour, marker)) in enumerate(PARTS.items()):
            value, y = deviation(table, solver, name), row + 0.17 * (index - 1.5)
            axes.plot([value.low, value.high], [y, y], color=colour, lw=1.2)
            axes.plot(value.mean, y, marker, color=colour, ms=4.5, mec="white", mew=0.4)
    axes.set_yticks(range(len(SHOWN)), [look.label for look in SHOWN.values()])
    axes.set_ylim(len(SHOWN) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("standard deviation of MCC")
    axes.grid(axis="x")


def _shares(axes: Axes, table: Table) -> None:
    for row, solver in enumerate(SHOWN):
        left = 0.0
        for name, (_, colour, _) in PARTS.items():
            width = function(table, solver, lambda found, name=name: share(found, name)).mean
            axes.barh(row, width, left=left, color=colour, height=0.62, edgecolor="white", lw=0.5)
            left += width
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.set_xlabel("share of the variance")


def _errors(axes: Axes, table: Table, solver: str) -> None:
    found = variance_components(scores(table, solver))
    kept = {factors: max(value, 0.0) for factors, value in found.items()}
    counts = np.unique(np.geomspace(1, 200, 40).astype(int)).tolist()
    # New worlds, weights and orders each time: all components fall together.
    plans: tuple[tuple[str, str, Callable[[int], float]], ...] = (
        ("-", "all new", lambda n: sum(kept.values()) / n),
        ("--", "one world", lambda n: kept[0,] + (sum(kept.values()) - kept[0,]) / n),
        (":", "one world, one start", lambda n: variance_of_mean(kept, (1, 1, n))),
    )
    for style, label, variance in plans:
        axes.plot(counts, np.sqrt([variance(n) for n in counts]), style, color=SLATE, lw=1.3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes.set_xlabel("trainings averaged")
    axes.legend(frameon=False, fontsize=6.5, loc="lower left")
    axes.set_title(f"standard error of MCC, {SHOWN[solver].label}", fontsize=8)
    ticks = [0.002, 0.005, 0.01, 0.02, 0.05]
    axes.set_yticks(ticks, [f"{one:g}" for one in ticks])
    axes.minorticks_off()
    axes.grid()


def draw(table: Table) -> Figure:
    """Return the figure: deviations, shares, and what averaging buys."""
    figure = Figure(figsize=(7.4, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 0.8, 1.1))
    _deviations(left, table)
    _shares(middle, table)
    middle.sharey(left)
    middle.tick_params(labelleft=False)
    _errors(right, table, "topk")
    for axes in (left, right):
        axes.set_axisbelow(True)
    handles = [
        left.plot([], [], marker, color=colour, ms=4.5, mec="white", mew=0.4, label=WORDS[name])[0]
        for name, (_, colour, marker) in PARTS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncol=4, frameon=False, fontsize=7)
    return figure


def _least(found: dict[str, Interval]) -> str:
    return min(found, key=lambda name: found[name].mean)


def _most(found: dict[str, Interval]) -> str:
    return max(found, key=lambda name: found[name].mean)


def claims(table: Table) -> list[Claim]:
    """Return the claims: which part is largest, in the solver in which it is least clear."""
    gap = {
        name: function(table, name, lambda found: np.sqrt(part(found, "start")) - np.sqrt(part(found, "order")))
        for name in SHOWN
    }
    common = {name: function(table, name, lambda found: _own(found, (1,))) for name in SHOWN}
    within = {name: function(table, name, lambda found: 1.0 - share(found, "world")) for name in SHOWN}
    joint = {
        name: function(table, name, lambda found: np.sqrt(part(found, "both")) - np.sqrt(part(found, "order")))
        for name in SHOWN
    }
    starts = [deviation(table, name, "start") for name in ("topk", "relu_l1")]
    return [
        Claim(
            "In a given world the initial weights move recovery more than the order of the samples does.",
            "native",
            f"deviation by initial weights - by order, least in {SHOWN[_least(gap)].label}",
            gap[_least(gap)],
            Above(0.0),
        ),
        Claim(
            "No initial weights are good as such: what one set of weights has in all worlds is a small part.",
            "native; directions are uniform, so that weights and their rotations are equally good on average",
            f"share of the effect of the weights common to all worlds, largest in {SHOWN[_most(common)].label}",
            common[_most(common)],
            Below(0.25),
            note="Six sets of weights leave the interval of what they have in common wide: more sets would decide.",
        ),
        Claim(
            "Runs in one world differ by more than worlds do: one training a world says little of that world.",
            "native",
            f"share of the variance within a world, least in {SHOWN[_least(within)].label}",
            within[_least(within)],
            Above(0.5),
        ),
        Claim(
            "No order of samples is good as such: it moves a training together with the weights that it starts from.",
            "native",
            f"deviation by both - by the order alone, within a world, least in {SHOWN[_least(joint)].label}",
            joint[_least(joint)],
            Above(0.0),
        ),
        Claim(
            "Autoencoders with TopK depend more on the initial weights than ones with an L1 penalty.",
            "arXiv:2501.16615, abstract (of which latents are found in language models; here, of how many are)",
            "deviation of MCC by initial weights within a world, TopK - ReLU + L1",
            _difference(starts[0], starts[1]),
            Above(0.0),
            note="MCC counts how much of the truth is found, whichever part; agreement between seeds says which part.",
        ),
    ]


def _own(found: dict[Factors, np.ndarray], factors: Factors) -> np.ndarray:
    total = sum(part(found, one) for one in PARTS)
    return np.asarray(np.maximum(found[factors], 0.0) / total)


def _difference(first: Interval, second: Interval) -> Interval:
    """Return first - second with an interval that adds the half-widths in squares, side by side.

    Both solvers see the same worlds; ignoring that their estimates are correlated makes the interval wider.
    """
    mean = first.mean - second.mean
    low = mean - float(np.hypot(first.mean - first.low, second.high - second.mean))
    high = mean + float(np.hypot(first.high - first.mean, second.mean - second.low))
    return Interval(mean, low, high, min(first.n, second.n))


HEADER = (
    "solver", "worlds × weights × orders", "MCC (chance … 1)", "world", "weights in a world", "order in a world",
    "both", "share of worlds",
)  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: the mean, and the standard deviation of each part with its interval."""
    found = []
    for solver, look in SHOWN.items():
        values = scores(table, solver)
        chance = float(table.where(solver=solver).column("mcc_chance").mean())
        deviations = [deviation(table, solver, name) for name in PARTS]
        worlds = function(table, solver, lambda one: share(one, "world"))
        found.append(
            (
                look.label,
                " × ".join(map(str, values.shape)),
                f"{values.mean():.3f} ({chance:.3f} … 1)",
                *(f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]" for one in deviations),
                f"{worlds.mean:.2f} [{worlds.low:.2f}, {worlds.high:.2f}]",
            )
        )
    return found
