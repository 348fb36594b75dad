"""The subject against references: curves read at the subject's own L0, paired over seeds, corrected for their number.

For every seed the difference is the mean over the subject's points of ``subject - reference curve at that L0``; the
curve is linear in log L0 between the points of the reference's grid. Points that lie beyond its ends in any seed are
left out, unless all do; then the nearest end is taken, and the comparison says so. A fit that is dead (L0 = 0) is a
result and is never left out: it is held against the sparse end of the curve. The interval over seeds is Student's, at
the confidence 1 - (1 - c) / (C L) for C comparisons and L numbers of seeds at which the validation could have stopped:
all hold together with confidence c (Bonferroni), whatever made it stop.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray
from sparsesim.study.interval import Interval, mean_interval, seeds_needed
from sparsesim.study.power import detectable_difference, holm, paired_p_value
from sparsesim.validate.measures import direction
from sparsesim.validate.result import Comparison, Outcome, Standing

Row: TypeAlias = Mapping[str, Any]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
SUBJECT = "subject"
INSIDE = 1.1  # factor of L0 by which a point may lie outside of a grid before it is said to
FAINT = 1e-3  # where L0 = 0 stands on a logarithmic axis: one active latent in a thousand samples
NO_INTERVAL = Interval(float("nan"), float("nan"), float("nan"), 0)


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a validation by world, solver and seed."""

    by: Mapping[tuple[str, str], Mapping[int, Sequence[Row]]]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """Return ``rows`` in their order, by world, solver and seed."""
        found: dict[tuple[str, str], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            found[row["world"], row["solver"]][int(row["seed"])].append(row)
        return cls(found)

    def points(self, world: str, solver: str, seed: int, metric: str) -> FloatArray:
        """Return L0 and ``metric`` of each row with a finite value, ``(points, 2)``, by ascending budget, then L0.

        By budget, so that the i-th point is the same point of the grid in each seed, also where a fit is dead.
        """
        rows = self.by.get((world, solver), {}).get(seed, [])
        found = sorted((int(row["budget"]), float(row["l0"]), float(row[metric])) for row in rows)
        kept = [pair for _, *pair in found if math.isfinite(pair[1])]
        return np.array(kept, dtype=np.float64).reshape(-1, 2)

    def seeds(self, world: str, solver: str) -> list[int]:
        """Return the seeds that ``solver`` has rows of in ``world``, ascending."""
        return sorted(self.by.get((world, solver), {}))

    def attempted(self, world: str) -> int:
        """Return the number of seeds that anything has rows of in ``world``: the bounds have some in each."""
        return len({seed for (where, _), seeds in self.by.items() if where == world for seed in seeds})

    def means(self, world: str, solver: str, metric: str) -> list[float]:
        """Return the mean of ``metric`` over the rows of each seed, where it is finite."""
        found = [self.points(world, solver, seed, metric) for seed in self.seeds(world, solver)]
        return [float(one[:, 1].mean()) for one in found if len(one)]


def read_curve(curve: FloatArray, l0: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return the values of ``curve (points, 2)`` at ``l0 (q,)``, and which of these lie on its grid, ``(q,)``.

    Linear in log L0; outside of the grid the nearest end is taken. L0 = 0 is outside of every grid. Dead points of the
    curve are its sparse end, at L0 = `FAINT`; points of one L0 are averaged.
    """
    alive = curve[curve[:, 0] > 0, 0]
    low, high = (alive.min() / INSIDE, alive.max() * INSIDE) if len(alive) else (math.inf, -math.inf)
    places, owner = np.unique(np.log(np.maximum(curve[:, 0], FAINT)), return_inverse=True)
    values = np.bincount(owner, weights=curve[:, 1]) / np.bincount(owner)
    return np.interp(np.log(np.maximum(l0, FAINT)), places, values), (l0 >= low) & (l0 <= high)


@final
@dataclass(frozen=True, eq=False)
class Differences:
    """Paired differences of one comparison, one a seed, in the order of the seeds."""

    world: str
    reference: str
    metric: str
    values: tuple[float, ...]
    l0: float
    inside: bool
    attempted: int = 0


def paired_differences(rows: Rows, world: str, reference: str, metric: str) -> Differences | None:
    """Return how much better the subject is than ``reference`` by ``metric`` in each seed that both have.

    Subject minus reference, negated where smaller is better (`direction`). None with fewer than two seeds.
    """
    found, sign = [], direction(metric) or 1
    for seed in rows.seeds(world, SUBJECT):
        own, curve = (rows.points(world, name, seed, metric) for name in (SUBJECT, reference))
        if len(own) and len(curve):
            read, on_grid = read_curve(curve, own[:, 0])
            found.append((sign * (own[:, 1] - read), own[:, 0], on_grid))
    if len(found) < 2:
        return None
    kept, inside = _compared_points([on_grid for *_, on_grid in found], [sizes <= 0 for _, sizes, _ in found])
    values = tuple(float(gap[mask].mean()) for (gap, *_), mask in zip(found, kept, strict=True))
    l0 = float(np.mean([sizes[mask].mean() for (_, sizes, _), mask in zip(found, kept, strict=True)]))
    return Differences(world, reference, metric, values, l0, inside, rows.attempted(world))


def _compared_points(on_grid: Sequence[BoolArray], dead: Sequence[BoolArray]) -> tuple[list[BoolArray], bool]:
    """Return which points of each seed are compared, and whether they lie on the grid.

    The same points of the subject's grid in every seed, those that lie on the reference's in all of them: to change
    points from seed to seed would add the slope of the curves to the spread. A point that is dead in any seed is one of
    them, though it is on no grid. Where some fits failed, so that points are not the same ones, each seed has its own.
    """
    alive = not any(one.any() for one in dead)
    if len({len(one) for one in on_grid}) == 1:
        common: BoolArray = np.logical_and.reduce(on_grid) | np.logical_or.reduce(dead)
        some = bool(common.any())
        return [common if some else np.ones_like(common)] * len(on_grid), some and alive
    kept = [one | zero for one, zero in zip(on_grid, dead, strict=True)]
    return [one if one.any() else np.ones_like(one) for one in kept], alive and all(one.any() for one in kept)


def outcome(interval: Interval, margin: float) -> Outcome:
    """Return what a simultaneous interval of a difference says.

    SAME where all of it lies within the margin, even if it leaves out zero: a difference that small is none that
    matters. Else BETTER or WORSE where it leaves out zero. Else UNDECIDED.
    """
    if -margin <= interval.low and interval.high <= margin:
        return Outcome.SAME
    if interval.low > 0:
        return Outcome.BETTER
    return Outcome.WORSE if interval.high < 0 else Outcome.UNDECIDED


def decide(
    differences: Sequence[Differences], margin: float, confidence: float = 0.95, looks: int = 1
) -> tuple[Comparison, ...]:
    """Return the comparisons with intervals and p-values corrected for their number and that of the ``looks``.

    Student's interval has its confidence at a number of seeds that was fixed before. Where the seeds are as many as the
    spread of the first ones asked for, it falls short: a spread that is small by luck both ends the validation and
    narrows the interval. Over ``looks`` numbers of seeds at each of which the intervals hold with confidence
    1 - (1 - c) / looks, they hold with confidence c at whichever it ends.
    """
    if not differences:
        return ()
    count, alpha = len(differences) * looks, 1.0 - confidence
    p_values = [paired_p_value(one.values) for one in differences]
    adjusted = holm(p_values)
    found = []
    for one, p_value, corrected in zip(differences, p_values, adjusted, strict=True):
        interval = mean_interval(one.values, 1.0 - alpha / count)
        spread = float(np.std(one.values, ddof=1))
        seen = detectable_difference(spread, len(one.values), alpha=alpha, comparisons=count)
        found.append(
            Comparison(
                one.world,
                one.reference,
                one.metric,
                interval,
                p_value,
                min(1.0, looks * float(corrected)),
                seen,
                outcome(interval, margin),
                one.l0,
                one.inside,
                one.attempted,
            )
        )
    return tuple(found)


def more_seeds(comparisons: Iterable[Comparison], margin: float, looks: Sequence[int]) -> dict[str, int]:
    """Return the number of seeds, among the ascending ``looks``, that each world needs for half-widths of ``margin``.

    Only the width decides, never the mean: a rule that looked at the mean would spend seeds on unlucky ones. Where no
    number suffices it is the last.
    """
    needed: dict[str, int] = {}
    for one in comparisons:
        wanted = seeds_needed(one.difference, margin, looks[-1])
        enough = next((count for count in looks if count >= wanted), looks[-1])
        needed[one.world] = max(needed.get(one.world, 0), enough)
    return needed


def standings(rows: Rows, worlds: Sequence[str], metrics: Sequence[str]) -> tuple[Standing, ...]:
    """Return each metric of the subject in each world beside floor, oracle and genie; undefined ones are left out."""
    found = []
    for world in worlds:
        for metric in metrics:
            score = rows.means(world, SUBJECT, metric)
            if score:
                floor, oracle = (_interval(_read_at_subject(rows, world, name, metric)) for name in ("floor", "oracle"))
                genie = _interval(rows.means(world, "genie", metric))
                found.append(Standing(world, metric, mean_interval(score), floor, oracle, genie))
    return tuple(found)


def _read_at_subject(rows: Rows, world: str, bound: str, metric: str) -> list[float]:
    values = []
    for seed in rows.seeds(world, SUBJECT):
        own, curve = rows.points(world, SUBJECT, seed, "l0"), rows.points(world, bound, seed, metric)
        if len(own) and len(curve):
            values.append(float(read_curve(curve, own[:, 0])[0].mean()))
    return values


def _interval(values: Sequence[float]) -> Interval:
    return mean_interval(values) if values else NO_INTERVAL
