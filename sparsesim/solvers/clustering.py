"""k-means: a dictionary of which every sample uses one atom, at one magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, unit_rows
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.blocks import row_blocks
from sparsesim.solvers.learn import prepare
from sparsesim.solvers.pursuit import checked

BLOCK_ENTRIES = 2**22  # distances held at a time


def _nearest(x: FloatArray, atoms: FloatArray, norms: FloatArray) -> IntArray:
    """Return the index of the nearest of the centroids ``norms * atoms``, the lowest among equals."""
    index = np.empty(len(x), dtype=np.int64)
    for rows in row_blocks(len(x), BLOCK_ENTRIES, len(atoms)):
        largest = np.maximum(np.abs(x[rows]).max(axis=1, initial=0.0), norms.max(initial=0.0))[:, None]
        scale = np.where(largest > 0, largest, 1.0)  # squares of 1e+-200 leave the range
        length = norms / scale
        index[rows] = np.argmin(length * (length / 2 - correlate(x[rows] / scale, atoms)), axis=1)
    return index


@final
@dataclass(frozen=True)
class NearestCentroid:
    """Encodes by the nearest centroid alone, ``z_j = ||c_j||`` for ``j = argmin ||x - c_j||`` (lowest index wins ties).

    Parameters
    ----------
    norms : ``||c_j||`` for each of the p unit atoms ``c_j / ||c_j||``.
    """

    norms: tuple[float, ...]

    def __post_init__(self) -> None:
        for norm in self.norms:
            check_real("norms", norm, 0.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return codes ``(n, p)`` with one entry a row; raises ValueError where p is not the number of norms."""
        x, atoms = checked(x, atoms)
        if len(self.norms) != len(atoms):
            raise ValueError(f"there are {len(self.norms)} norms for p={len(atoms)} atoms. Give one norm for each.")
        norms = np.asarray(self.norms, dtype=x.dtype)
        index = _nearest(x, atoms, norms)
        return Codes((norms[index], index.astype(np.int32), np.arange(len(x) + 1)), shape=(len(x), len(atoms)))


@final
@dataclass(frozen=True)
class KMeans:
    """Learns centroids that minimise ``sum_i min_j ||x_i - c_j||^2`` by Lloyd's alternation from a k-means++ start.

    The squared error never increases. A centroid that loses all its samples moves to the sample farthest from its own.
    CONVERGED when no sample changes its centroid, a local minimum; the trace has ``fvu`` at each assignment and
    ``replaced``. An atom is a centroid's direction, and `NearestCentroid` knows the norms. If there are fewer distinct
    samples than ``width``, centroids coincide.

    Parameters
    ----------
    width : p.
    iterations : at most.
    centre : take the mean of the samples as the bias, from which directions are then seen.

    References
    ----------
    Lloyd (1982); Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
    """

    width: int
    iterations: int = 100
    centre: bool = False

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("iterations", self.iterations, 1)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the directions of the centroids of ``x (n, d)``."""
        samples, scale, bias, variance = prepare(x, centre=self.centre)
        samples /= scale
        centroids = _spread_start(samples, self.width, rng)
        errors: list[float] = []
        replaced: list[float] = []
        before, status = np.full(len(samples), -1), Status.BUDGET_SPENT
        for _ in range(self.iterations):
            index = _nearest(samples, *unit_rows(centroids))
            errors.append(float(np.square(samples - centroids[index]).sum()))
            if np.array_equal(index, before) or (len(errors) > 1 and errors[-1] >= errors[-2]):
                status = Status.CONVERGED
                break
            centroids, count = _means(samples, index, centroids)
            replaced.append(float(count))
            before = index
        atoms, norms = unit_rows(centroids)
        fvu = tuple(error / variance if variance > 0 else float("nan") for error in errors)
        encoder = NearestCentroid(tuple(float(norm) for norm in norms * scale))
        return FittedDictionary(atoms, bias, encoder, status, {"fvu": fvu, "replaced": tuple(replaced)})


def _spread_start(x: FloatArray, width: int, rng: Rng) -> FloatArray:
    """Return samples ``(width, d)``, each drawn with probability proportional to its squared distance to the chosen."""
    rows = [int(rng.integers(len(x)))]
    distance = np.square(x - x[rows[0]]).sum(axis=1)
    while len(rows) < width:
        total = distance.sum()
        row = int(rng.choice(len(x), p=distance / total if total > 0 else None))
        rows.append(row)
        distance = np.minimum(distance, np.square(x - x[row]).sum(axis=1))
    return x[rows]


def _means(x: FloatArray, index: IntArray, centroids: FloatArray) -> tuple[FloatArray, int]:
    """Return the means of the clusters, those without samples at the samples farthest from their centroids."""
    p = len(centroids)
    counts = np.bincount(index, minlength=p)
    member = Codes((np.ones(len(x)), index, np.arange(len(x) + 1)), shape=(len(x), p))
    means: FloatArray = (member.T @ x) / np.maximum(counts, 1)[:, None]
    empty = np.flatnonzero(counts == 0)
    far = np.argsort(-np.square(x - centroids[index]).sum(axis=1), kind="stable")[: len(empty)]
    means[empty] = centroids[empty]
    means[empty[: len(far)]] = x[far]
    return means, len(empty)
