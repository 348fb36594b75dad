"""More seeds where it matters: at points of a grid whose interval contains the level of a contour."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from sparsesim._arrays import check_int, check_real
from sparsesim.study.interval import mean_interval
from sparsesim.study.run import run
from sparsesim.study.store import Store
from sparsesim.study.table import Table, Value

if TYPE_CHECKING:
    from sparsesim.study.cell import Labels, Study

Point: TypeAlias = tuple[Value, ...]  # of a grid: the values of the labels that span it


@final
@dataclass(frozen=True)
class Contour:
    """Where the mean of a metric over seeds crosses a level, on the grid that some labels span.

    Parameters
    ----------
    metric : column of the table.
    level : that is crossed.
    by : labels that span the grid; the others (the seed) are averaged over.
    stages : seeds at which it is looked whether a point is decided. No point gets more than the last.
    confidence : that no interval of one point, at whichever stage, misses its mean; the error is divided among stages.
    """

    metric: str
    level: float
    by: tuple[str, ...]
    stages: tuple[int, ...] = (5, 10, 20, 40)
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_real("level", self.level)
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie strictly between 0 and 1; got {self.confidence}.")
        for stage in self.stages:
            check_int("stages", stage, 2)
        if not self.stages or sorted(set(self.stages)) != list(self.stages):
            raise ValueError(f"stages must be increasing numbers of seeds, e.g. (5, 10, 20); got {self.stages}.")
        if not self.by:
            raise ValueError("by must name the labels that span the grid, e.g. ('delta', 'rho'); got none.")

    def undecided(self, table: Table) -> set[Point]:
        """Return the points whose interval contains the level; undefined scores (NaN) do not count."""
        values: dict[Point, list[float]] = {}
        scores = table.column(self.metric)
        for point, score in zip(zip(*(table.values(name) for name in self.by), strict=True), scores, strict=True):
            values.setdefault(point, []).extend([float(score)] if np.isfinite(score) else [])
        return {point for point, own in values.items() if self._open(own)}

    def _open(self, scores: list[float]) -> bool:
        if len(scores) < 2:
            return len(scores) == 1  # a point that is undefined throughout is not on the contour
        interval = mean_interval(scores, 1 - (1 - self.confidence) / len(self.stages))
        return interval.low <= self.level <= interval.high


def run_near(
    contour: Contour, make: Callable[[int], Study], store: Store | str | os.PathLike[str], **options: Any
) -> Table:
    """Return the table of a study with the first stage's seeds everywhere, and more where the ``contour`` may pass.

    Rows are those of ``make(seeds)``, and in the same store; points have different numbers of them. A mean whose
    number of seeds was chosen so is biased where it stopped early, by a part of its half-width: read sides off it, and
    quote means of points far from the contour or with all seeds.

    Parameters
    ----------
    contour : where to look.
    make : the study with a number of seeds; a larger one has all cells of a smaller one.
    store : of the rows.
    options : of `run`.
    """
    cells: dict[Labels, Any] = {}
    near: set[Point] | None = None
    table = Table({})
    for seeds in contour.stages:
        study = make(seeds)
        if contour.metric not in {metric.__name__ for metric in study.metrics}:
            raise ValueError(f"metric must be one of the study, {_names(study)}; got {contour.metric!r}.")
        places = {label: _point(label, contour) for label in study.cells}
        wanted = {label: study.cells[label] for label, place in places.items() if near is None or place in near}
        cells |= wanted
        table = run(replace(study, cells=cells), store, **options)
        near = contour.undecided(table)
        if not near:
            break
    return table


def _names(study: Study) -> str:
    return ", ".join(metric.__name__ for metric in study.metrics)


def _point(label: Labels, contour: Contour) -> Point:
    values = dict(label)
    missing = [name for name in contour.by if name not in values]
    if missing:
        raise ValueError(f"by must name labels of the study, {', '.join(values)}; got {missing[0]!r}.")
    return tuple(values[name] for name in contour.by)
