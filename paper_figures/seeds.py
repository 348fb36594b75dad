"""Numbers of a table by seed, always in the order of the seeds, so that differences between rows are paired."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table, Value


def by_seed(table: Table, metric: str, **labels: Value) -> np.ndarray:
    """Return ``metric`` of the rows with ``labels``, one value a seed, ordered by seed."""
    rows = table.where(**labels)
    seeds = rows.column("seed")
    if len(np.unique(seeds)) != len(seeds) or not len(seeds):
        raise ValueError(
            f"labels {labels} must single out one row a seed; got {len(seeds)} rows of {len(set(seeds))} seeds."
        )
    return rows.column(metric)[np.argsort(seeds)]


def interval(table: Table, metric: str, **labels: Value) -> Interval:
    """Return mean and interval of ``metric`` over the seeds of one row group."""
    return mean_interval(by_seed(table, metric, **labels))


def extreme(groups: Sequence[np.ndarray], worst: bool = True) -> Interval:
    """Return the interval over seeds of the smallest (``worst``) or largest value among ``groups`` within each seed."""
    stacked = np.stack(list(groups))
    return mean_interval(stacked.min(axis=0) if worst else stacked.max(axis=0))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return by seed Spearman's coefficient of scores ``(n, seeds)``; ties share their ranks.

    0 where one of the two is the same for all: it ranks nothing.
    """
    a, b = (rankdata(one, axis=0) - (len(one) + 1) / 2 for one in (first, second))
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return np.asarray((a * b).sum(axis=0) / np.where(scale > 0, scale, 1.0))
