"""The numbers behind the plane: scores by point and seed, the curve of l1 at finite size, and who wins where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figures.transitions import l1_band
from sparsesim.study.interval import paired_interval
from sparsesim.study.table import Table

ROWS = (
    ("bayes", "l1", "oracle_omp", "nnls", "one_step"),
    ("random", "kmeans", "ica", "online", "vae"),
    ("relu_l1", "topk", "batch_topk", "matryoshka", "mp"),
)
NAMES = {
    "bayes": "message passing",
    "l1": "basis pursuit",
    "oracle_omp": "OMP",
    "nnls": "NNLS",
    "one_step": "one linear step",
    "random": "random atoms",
    "kmeans": "k-means",
    "ica": "ICA",
    "online": "online lasso DL",
    "vae": "VAE",
    "relu_l1": "ReLU + L1",
    "topk": "TopK",
    "batch_topk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "mp": "MP-SAE",
}
KNOWN, LEARNED, SAES = ROWS[0], (*ROWS[1][1:], *ROWS[2]), ROWS[2]
LINEAR = ("relu_l1", "topk", "batch_topk", "matryoshka")  # one linear map and a nonlinearity encode


def axes_of(table: Table) -> tuple[list[float], list[int]]:
    """Return the values of m / d and of k in the table, ascending."""
    return sorted(map(float, table.levels("ratio"))), sorted(map(int, table.levels("k")))


def _versions(table: Table, solver: str) -> list[str]:
    """Return the names under which ``solver`` stands in the table: one, or one for each penalty."""
    return [str(name) for name in table.levels("solver") if str(name) == solver or str(name).startswith(f"{solver}_")]


def field(table: Table, solver: str, metric: str = "code_correlation") -> np.ndarray:
    """Return ``metric`` over the plane ``(k, m / d, seeds)``; of several penalties the best in the mean at each point.

    The penalty is chosen by the correlation with the truth, which flatters that solver.
    """
    ratios, actives = axes_of(table)
    own = table.where(solver=solver)
    if len(own):
        levels = np.array(actives), np.array(ratios), np.unique(own.column("seed"))
        places = [
            np.searchsorted(one, own.column(name)) for one, name in zip(levels, ("k", "ratio", "seed"), strict=True)
        ]
        found = np.full([len(one) for one in levels], np.nan)
        found[tuple(places)] = own.column(metric)
        return found
    names = _versions(table, solver)
    scores = np.array([field(table, name) for name in names])
    values = np.array([field(table, name, metric) for name in names])
    best = scores.mean(axis=-1).argmax(axis=0)
    return np.asarray(np.take_along_axis(values, best[None, :, :, None], axis=0)[0])


def overall(table: Table, solver: str, metric: str = "code_correlation") -> np.ndarray:
    """Return the mean over the plane for each seed, ``(seeds,)``."""
    return np.asarray(field(table, solver, metric).mean(axis=(0, 1)))


def dimension(table: Table) -> int:
    """Return d."""
    return round(float(table.column("dim").mean()))


def inside_l1(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return masks ``(k, m / d)``: the points below, and above, the finite Donoho-Tanner curve with both its bounds.

    As many atoms as dimensions leave one solution: all of that column is below.
    """
    (ratios, actives), d = axes_of(table), dimension(table)
    bands = [l1_band(round(x * d), 1.0 / x, True) if x > 1 else (np.inf, np.inf) for x in ratios]
    rho = np.array(actives)[:, None] / d
    return rho < np.array([low for low, _ in bands]), rho > np.array([high for _, high in bands])


def winners(table: Table, solvers: Sequence[str]) -> list[list[list[str]]]:
    """Return for every point ``[k][m / d]`` the best solver in the mean and all that are not told from it, best first.

    Told from it is who lies below by a paired interval over the seeds that leaves out 0, at 95% over all of a point.
    """
    fields = {name: field(table, name) for name in solvers}
    confidence = 1.0 - 0.05 / (len(solvers) - 1)
    found = []
    for row in range(len(axes_of(table)[1])):
        found.append([told(fields, (row, column), confidence) for column in range(len(axes_of(table)[0]))])
    return found


def told(fields: dict[str, np.ndarray], point: tuple[int, int], confidence: float) -> list[str]:
    """Return the best at a point of fields ``(rows, columns, seeds)``, then all that are not told from it."""
    order = sorted(fields, key=lambda name: -fields[name][point].mean())
    best = fields[order[0]][point]
    beside = [name for name in order[1:] if paired_interval(best, fields[name][point], confidence).low <= 0.0]
    return [order[0], *beside]


def first(table: Table, solver: str, solvers: Sequence[str]) -> np.ndarray:
    """Return by seed the share of points at which ``solver`` is the best of ``solvers``."""
    fields = np.array([field(table, name) for name in solvers])
    return np.asarray((fields.argmax(axis=0) == list(solvers).index(solver)).mean(axis=(0, 1)))
