"""What a number of seeds can see: the exact detectable difference on the spread of real runs, paired and unpaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import stdtrit

from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import GREY, LOOKS, SKY, SLATE, VERMILLION
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table
from theory.power import clopper_pearson, minimum_detectable_difference, paired_power, unpaired_power

TITLE = "What a number of seeds can see, and what pairing is worth"
QUESTION = "How small a difference between two solvers can a number of seeds see, and what is pairing worth?"
CAPTION = (
    "Left: the difference in MCC between TopK and TopK at 0.9 of its learning rate that a two-sided t test at 5% finds "
    "in four cases of five, against the number of seeds. Lines: exact for normal differences with the measured "
    "standard deviation (band: 95% over seeds). Markers: the same test on seeds drawn anew from the measured runs, "
    "whose law is what it is. Middle: power with 5 seeds, exact and simulated so. Right: how many times fewer seeds "
    "each pairing needs when they are many, the ratio of the variances of unpaired and paired differences, with "
    "bootstrap intervals over seeds. Runs of one world share its features and samples; runs of one world and weights "
    "share the stream of random numbers from which the first weights are drawn. 32 features in 16 dimensions."
)


class How(NamedTuple):
    """A design: how runs of two solvers are put side by side."""

    label: str
    colour: str
    marker: str
    line: str


DESIGNS = {
    "unpaired": How("unpaired", GREY, "x", ":"),
    "world": How("same world", SKY, "s", "--"),
    "seed": How("same world and weights", VERMILLION, "o", "-"),
}
PAIRS = (("topk", "topk_slower"), ("topk", "batch_topk"), ("topk", "relu_l1"), ("topk", "mp"), ("batch_topk", "mp"))
LABELS = {name: LOOKS[name].label for name in ("topk", "batch_topk", "relu_l1", "mp")}
SHORT = {"topk_slower": "TopK, slower", **{name: label.removeprefix("SAE ") for name, label in LABELS.items()}}
SEEDS = (3, 5, 8, 12, 20, 40)
FIRST = 5  # seeds that the quickest validation begins with
POWER, LEVEL = 0.8, 0.05
RESAMPLES, BOOTSTRAPS, STREAM = 20_000, 2_000, 9


def runs(table: Table, solver: str, luck: int, metric: str = "mcc") -> np.ndarray:
    """Return a score by seed of one solver under one of its two streams of random numbers."""
    return by_seed(table, metric, solver=solver, luck=luck)


class Bank(NamedTuple):
    """Measured runs of two solvers, ``(seeds,)`` each: the first's, the second's with its luck, and with another."""

    first: np.ndarray
    second: np.ndarray
    other: np.ndarray

    def deviation(self, design: str) -> np.ndarray:
        """Return the deviation over seeds of a paired difference, or of a single run where there is no pairing."""
        if design == "unpaired":
            return np.sqrt((self.first.var(axis=-1, ddof=1) + self.second.var(axis=-1, ddof=1)) / 2)
        return np.asarray((self.first - (self.second if design == "seed" else self.other)).std(axis=-1, ddof=1))

    def worth(self, design: str) -> np.ndarray:
        """Return the variance of an unpaired difference over that of a paired one."""
        return np.asarray(2 * self.deviation("unpaired") ** 2 / self.deviation(design) ** 2)

    def at(self, seeds: np.ndarray) -> Bank:
        """Return the runs of some ``seeds``, repeated ones too."""
        return Bank(*(one[..., seeds] for one in self))

    def interval(self, of: Callable[[Bank], np.ndarray]) -> Interval:
        """Return ``of`` these runs with its 95% bootstrap interval over seeds, on a stream of its own."""
        n = self.first.shape[-1]
        drawn = of(self.at(np.random.default_rng(STREAM).integers(n, size=(BOOTSTRAPS, n))))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Interval(float(of(self)), float(low), float(high), n)


def bank(table: Table, pair: tuple[str, str], metric: str = "mcc") -> Bank:
    """Return the measured runs of a pair of solvers."""
    return Bank(*(runs(table, name, luck, metric) for name, luck in ((pair[0], 0), (pair[1], 0), (pair[1], 1))))


def detectable(design: str, deviation: float, n: int) -> float:
    """Return the exact detectable difference of a design with ``n`` seeds."""
    return minimum_detectable_difference(deviation, n, POWER, LEVEL, paired=design != "unpaired")


def exact_power(design: str, effect: float, deviation: float, n: int) -> float:
    """Return the exact power of a design with ``n`` seeds."""
    power = unpaired_power if design == "unpaired" else paired_power
    return power(effect, deviation, n, LEVEL)


class Trials(NamedTuple):
    """Simulated comparisons ``(resamples,)``: mean difference without effect, its error, and the critical value."""

    mean: np.ndarray
    error: np.ndarray
    critical: float

    def power(self, effect: float) -> float:
        """Return how often the test finds a true difference of this size, half of them of either sign."""
        found = [np.abs(self.mean + sign * effect) > self.critical * self.error for sign in (1.0, -1.0)]
        return float(np.mean(found))

    def detectable(self) -> float:
        """Return the effect that is found in `POWER` of the trials, by bisection."""
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.power(middle) >= POWER else (middle, high)
        return high


def trials(runs_of: Bank, design: str, n: int) -> Trials:
    """Return comparisons on ``n`` seeds drawn with replacement from the measured ones, means taken out."""
    rng, total = np.random.default_rng([STREAM, n]), len(runs_of.first)
    first, second, other = (one - one.mean() for one in runs_of)
    if design == "unpaired":
        a, b = (one[rng.integers(total, size=(RESAMPLES, n))] for one in (first, second))
        error = np.sqrt((a.var(axis=1, ddof=1) + b.var(axis=1, ddof=1)) / n)
        return Trials(a.mean(axis=1) - b.mean(axis=1), error, _critical(2 * n - 2))
    drawn = (first - (second if design == "seed" else other))[rng.integers(total, size=(RESAMPLES, n))]
    return Trials(drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / np.sqrt(n), _critical(n - 1))


def _critical(freedom: int) -> float:
    return float(-stdtrit(freedom, LEVEL / 2))


def _against_seeds(axes: Axes, known: Bank) -> None:
    grid = np.unique(np.geomspace(3, 40, 25).astype(int)).tolist()
    for design, how in DESIGNS.items():
        spread = known.interval(lambda one, design=design: one.deviation(design))
        unit = np.array([detectable(design, 1.0, n) for n in grid])
        axes.fill_between(grid, unit * spread.low, unit * spread.high, color=how.colour, alpha=0.18, lw=0)
        axes.plot(grid, unit * spread.mean, how.line, color=how.colour, lw=1.3)
        found = [trials(known, design, n).detectable() for n in SEEDS]
        axes.plot(SEEDS, found, how.marker, color=how.colour, ms=4.5, label=how.label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(SEEDS, [str(n) for n in SEEDS])
    ticks = [0.005, 0.01, 0.02, 0.05, 0.1]
    axes.set_yticks(ticks, [f"{one:g}" for one in ticks])
    axes.minorticks_off()
    axes.set_xlabel("seeds")
    axes.set_ylabel("detectable difference in MCC")


def _power(axes: Axes, known: Bank) -> None:
    effects = np.linspace(0.0, 0.1, 41)
    for design, how in DESIGNS.items():
        deviation, simulated = float(known.deviation(design)), trials(known, design, FIRST)
        exact = [exact_power(design, one, deviation, FIRST) for one in effects.tolist()]
        axes.plot(effects, exact, how.line, color=how.colour, lw=1.3)
        axes.plot(
            effects[::4], [simulated.power(one) for one in effects[::4].tolist()], how.marker, color=how.colour, ms=4
        )
    axes.axhline(POWER, color=SLATE, lw=0.7)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("true difference in MCC")
    axes.set_ylabel(f"power with {FIRST} seeds")


def _worths(axes: Axes, table: Table) -> None:
    for row, pair in enumerate(PAIRS):
        for shift, (design, metric) in zip((-0.27, -0.09, 0.09, 0.27), SHOWN_WORTHS, strict=True):
            value, how = _worth(table, pair, design, metric), DESIGNS[design]
            face = how.colour if metric == "mcc" else "white"
            axes.plot([value.low, value.high], [row + shift] * 2, color=how.colour, lw=1.1)
            axes.plot(value.mean, row + shift, how.marker, color=how.colour, ms=4.5, mfc=face, mew=0.9)
    axes.axvline(1.0, color=SLATE, lw=0.8)
    names = [" –\n".join(SHORT[one] for one in pair) for pair in PAIRS]
    axes.set_yticks(range(len(PAIRS)), names, fontsize=7)
    axes.set_ylim(len(PAIRS) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4, 8, 16], ["½", "1", "2", "4", "8", "16"])
    axes.minorticks_off()
    axes.set_xlabel("times fewer seeds by pairing\n(filled: MCC, open: FVU)")


SHOWN_WORTHS = (("world", "mcc"), ("seed", "mcc"), ("world", "fvu"), ("seed", "fvu"))


def _worth(table: Table, pair: tuple[str, str], design: str, metric: str = "mcc") -> Interval:
    return bank(table, pair, metric).interval(lambda one: one.worth(design))


def draw(table: Table) -> Figure:
    """Return the figure: detectable difference against seeds, power with few, and the worth of pairing."""
    figure = Figure(figsize=(7.4, 3.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.1, 1.0, 0.9))
    _against_seeds(left, bank(table, PAIRS[0]))
    _power(middle, bank(table, PAIRS[0]))
    _worths(right, table)
    for axes in (left, middle, right):
        axes.grid()
        axes.set_axisbelow(True)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncol=3, frameon=False)
    return figure


def _simulated(table: Table, effect: Callable[[str, float], float]) -> Interval:
    """Return the simulated power with `FIRST` seeds farthest from the exact one over all pairs and designs.

    The interval is that of the simulation, exact for its number of resamples; the law is that of the measured runs.
    """
    farthest, gap = 0.0, -1.0
    for pair in PAIRS:
        known = bank(table, pair)
        shrink = np.sqrt(1.0 - 1.0 / len(known.first))  # the law that is drawn from has this much of the deviation
        for design in DESIGNS:
            deviation = float(known.deviation(design)) * shrink
            size = effect(design, deviation)
            found = trials(known, design, FIRST).power(size)
            target = exact_power(design, size, deviation, FIRST)
            if abs(found - target) > gap:
                farthest, gap = found, abs(found - target)
    low, high = clopper_pearson(round(farthest * RESAMPLES), RESAMPLES)
    return Interval(farthest, low, high, len(known.first))


def claims(table: Table) -> list[Claim]:
    """Return the claims: that the normal theory holds for real spread, and what pairing is worth."""
    return [*_calibration(table), *_pairing(table)]


def _calibration(table: Table) -> list[Claim]:
    return [
        Claim(
            "At the exact detectable difference, tests on real runs find it four times in five.",
            "calibration; Lehmann, Romano (2005)",
            f"power with {FIRST} seeds by {RESAMPLES} resamples of the runs, farthest from 0.8 over pairs and designs",
            _simulated(table, lambda design, deviation: detectable(design, deviation, FIRST)),
            Near(POWER, 0.05),
            note="Differences of real runs are not normal; few seeds feel it most.",
        ),
        Claim(
            "Without a difference, tests on real runs find one no more often than they say.",
            "calibration",
            f"false findings with {FIRST} seeds by {RESAMPLES} resamples, farthest from 0.05 over pairs and designs",
            _simulated(table, lambda design, deviation: 0.0),
            Near(LEVEL, 0.025),  # half as often again
        ),
        Claim(
            "A solver held against itself on another stream of random numbers shows no difference.",
            "calibration",
            "MCC of TopK - MCC of TopK, another stream",
            mean_interval(runs(table, "topk", 0) - runs(table, "topk", 1)),
            Near(0.0, 0.02),
        ),
    ]


def _pairing(table: Table) -> list[Claim]:
    unlike = {pair: _worth(table, pair, "seed") for pair in PAIRS[1:]}
    most = max(unlike, key=lambda pair: unlike[pair].mean)
    variant = bank(table, PAIRS[0])
    errors, scores = (bank(table, ("topk", "mp"), metric) for metric in ("fvu", "mcc"))
    both = Bank(*(np.stack(pair) for pair in zip(errors, scores, strict=True)))
    return [
        Claim(
            "Sharing world and initial weights makes a small variant easier to judge.",
            "native",
            f"variance unpaired / paired, {_named(PAIRS[0])}",
            _worth(table, PAIRS[0], "seed"),
            Above(1.0),
        ),
        Claim(
            "What pairs a solver with its variant is the initial weights more than the world.",
            "native",
            f"worth of the same world and weights - worth of the same world, {_named(PAIRS[0])}",
            variant.interval(lambda one: one.worth("seed") - one.worth("world")),
            Above(0.0),
        ),
        Claim(
            "Between unlike autoencoders pairing is worth less than twice the seeds: their luck is not shared.",
            "native",
            f"variance unpaired / paired, largest: {_named(most)}",
            unlike[most],
            Below(2.0),
        ),
        Claim(
            "Errors are paired better than recovery: the world decides how much variance there is to explain.",
            "native",
            "variance unpaired / paired of FVU - that of MCC, TopK and MP",
            both.interval(lambda one: _column(one, 0).worth("seed") - _column(one, 1).worth("seed")),
            Above(0.0),
        ),
        Claim(
            "Between unlike autoencoders five seeds do not see a hundredth of MCC, however they are paired.",
            "native",
            f"detectable difference with {FIRST} seeds, least of designs and pairs",
            _least_seen(table),
            Above(0.01),
        ),
    ]


def _column(both: Bank, index: int) -> Bank:
    """Return the runs of one of two scores that are resampled together."""
    return Bank(*(one[index] for one in both))


def _named(pair: tuple[str, str]) -> str:
    return " and ".join(SHORT[one] for one in pair)


def _least_seen(table: Table) -> Interval:
    unit = {design: detectable(design, 1.0, FIRST) for design in DESIGNS}
    found = [
        bank(table, pair).interval(lambda one, design=design: unit[design] * one.deviation(design))
        for pair in PAIRS[1:]
        for design in DESIGNS
    ]
    return min(found, key=lambda one: one.mean)


HEADER = ("pair", "seeds", "MCC of both (chance … 1)", "design", "deviation", "detectable with 5, 8, 20 seeds", "worth")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: each pair in each design."""
    found = []
    chance = float(table.column("mcc_chance").mean())
    for pair in PAIRS:
        known = bank(table, pair)
        for design, how in DESIGNS.items():
            deviation = float(known.deviation(design))
            seen = ", ".join(f"{detectable(design, deviation, n):.3f}" for n in (5, 8, 20))
            worth = None if design == "unpaired" else _worth(table, pair, design)
            found.append(
                (
                    _named(pair),
                    str(len(known.first)),
                    f"{known.first.mean():.3f}, {known.second.mean():.3f} ({chance:.3f} … 1)",
                    how.label,
                    f"{deviation:.4f}",
                    seen,
                    "1" if worth is None else f"{worth.mean:.2f} [{worth.low:.2f}, {worth.high:.2f}]",
                )
            )
    return found
