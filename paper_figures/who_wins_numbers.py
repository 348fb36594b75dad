"""The numbers behind the maps of who wins: scores by point and seed, floor and ceiling, and who is told from whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figures.plane_numbers import told
from sparsesim.study.table import Table

AXES = ("correlation", "hierarchy", "skew")
SCORES = ("code_correlation", "mcc_corrected")
CLASSICAL = ("online", "mod")
SAES = ("mp", "relu_l1", "jump_relu", "topk", "batch_topk", "matryoshka")
LEARNERS = (*CLASSICAL, *SAES)
NAMES = {
    "online": "online lasso DL",
    "mod": "MOD + OMP",
    "mp": "MP-SAE",
    "relu_l1": "ReLU + L1",
    "jump_relu": "JumpReLU",
    "topk": "TopK",
    "batch_topk": "BatchTopK",
    "matryoshka": "Matryoshka",
}
ORACLES = ("bayes", "l1", "oracle_omp", "nnls")
CONFIDENCE = 1.0 - 0.05 / (len(LEARNERS) - 1)  # over all comparisons of one point


def grid(table: Table, axis: str) -> tuple[list[float], list[int]]:
    """Return the strengths of an axis and the values of k, ascending."""
    own = table.where(axis=axis)
    return sorted(map(float, own.levels("strength"))), sorted(map(int, own.levels("k")))


def _one(table: Table, axis: str, solver: str, metric: str) -> np.ndarray:
    own, (strengths, actives) = table.where(axis=axis, solver=solver), grid(table, axis)
    levels = np.array(actives), np.array(strengths), np.unique(own.column("seed"))
    names = zip(levels, ("k", "strength", "seed"), strict=True)
    places = [np.searchsorted(values, own.column(name)) for values, name in names]
    found = np.full([len(values) for values in levels], np.nan)
    found[tuple(places)] = own.column(metric)
    return found


def field(table: Table, axis: str, solver: str, metric: str) -> np.ndarray:
    """Return ``metric`` over a plane ``(k, strength, seeds)``.

    Of the penalties of ReLU + L1 that is taken at each point whose mean L0 is nearest to k in ratio: what the other
    autoencoders are told, and no look at the truth. ``ceiling`` is the encoder of true atoms that finds codes best.
    """
    if solver == "ceiling":
        return _choice(table, axis, ORACLES, metric, "code_correlation", None)
    names = sorted({str(one) for one in table.levels("solver") if str(one).startswith(f"{solver}_")})
    if solver != "relu_l1":
        return _one(table, axis, solver, metric)
    return _choice(table, axis, names, metric, "l0", np.array(grid(table, axis)[1], dtype=np.float64))


def _choice(
    table: Table, axis: str, names: Sequence[str], metric: str, judge: str, wanted: np.ndarray | None
) -> np.ndarray:
    """Return the values of whoever has the mean of ``judge`` nearest to ``wanted (k,)`` at a point, or the largest."""
    judged = np.array([_one(table, axis, name, judge) for name in names]).mean(axis=-1)
    if wanted is not None:
        judged = -np.abs(np.log(np.maximum(judged, 1e-9) / wanted[:, None]))
    values = np.array([_one(table, axis, name, metric) for name in names])
    return np.asarray(np.take_along_axis(values, judged.argmax(axis=0)[None, :, :, None], axis=0)[0])


def column(table: Table, axis: str, solver: str, place: int, metric: str = "code_correlation") -> np.ndarray:
    """Return by seed the mean over k at one place of the axis: 0 is its begin and -1 its end."""
    return np.asarray(field(table, axis, solver, metric)[:, place].mean(axis=0))


def fall(table: Table, axis: str, solver: str, metric: str = "code_correlation") -> np.ndarray:
    """Return by seed what is lost along the axis, in the mean over k."""
    return column(table, axis, solver, 0, metric) - column(table, axis, solver, -1, metric)


def overall(table: Table, axis: str, solver: str, metric: str = "code_correlation") -> np.ndarray:
    """Return by seed the mean over a plane."""
    return np.asarray(field(table, axis, solver, metric).mean(axis=(0, 1)))


def running(table: Table, axis: str, metric: str) -> list[list[list[str]]]:
    """Return for every point ``[k][strength]`` the best learner and all not told from it; a winner is alone.

    Told from it is who lies below by a paired interval over the seeds that leaves out 0, at 95% over all of a point.
    """
    fields = {name: field(table, axis, name, metric) for name in LEARNERS}
    rows, columns = fields[LEARNERS[0]].shape[:2]
    return [[told(fields, (row, place), CONFIDENCE) for place in range(columns)] for row in range(rows)]


def decided(table: Table, metric: str) -> tuple[int, int]:
    """Return at how many points there is a winner, and of how many, over all planes."""
    points = [names for axis in AXES for line in running(table, axis, metric) for names in line]
    return sum(len(names) == 1 for names in points), len(points)
