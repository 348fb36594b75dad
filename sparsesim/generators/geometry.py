"""How the feature directions lie in space: unit rows ``(m, d)``, from orthonormal to crowded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, unit_rows
from sparsesim.generators.hierarchy import parents_first

_BLOCK = 1024  # rows of the Gram matrix that are in memory together
_MOST_PAIRS = 8192**2  # beyond, the Gram matrix and its gradient would take gigabytes and hours


def _sphere(m: int, d: int, rng: Rng) -> FloatArray:
    return unit_rows(rng.standard_normal((m, d)))[0]


def haar_rows(m: int, d: int, rng: Rng) -> FloatArray:
    """Return m <= d orthonormal rows ``(m, d)``, uniform over all such frames (Haar)."""
    q, r = np.linalg.qr(rng.standard_normal((d, m)))
    sign = np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the factorisation unique, hence the law uniform
    return np.ascontiguousarray((q * sign).T)


def inner_products(atoms: FloatArray) -> Iterator[FloatArray]:
    """Yield |<d_i, d_j>| in blocks of rows ``(b, m)``, float64, with 0 for j = i; clipped to 1."""
    rows = np.asarray(atoms, dtype=np.float64)
    for low in range(0, len(rows), _BLOCK):
        block = np.abs(rows[low : low + _BLOCK] @ rows.T)
        np.minimum(block, 1.0, out=block)
        own = np.arange(len(block))
        block[own, low + own] = 0.0
        yield block


def coherence(atoms: FloatArray) -> float:
    """Return max |<d_i, d_j>| over i != j of unit ``atoms (m, d)``; 0 for one atom. Memory is 1024 m numbers."""
    return max(float(block.max(initial=0.0)) for block in inner_products(atoms))


@final
@dataclass(frozen=True)
class RandomSphere:
    """Directions are independent and uniform on the unit sphere."""

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``."""
        return _sphere(m, d, rng)


@final
@dataclass(frozen=True)
class Orthonormal:
    """Directions are orthonormal, uniform over all such frames (Haar)."""

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return orthonormal rows ``(m, d)``; the same bits whatever the number of threads.

        Raises
        ------
        ValueError
            If m > d.
        """
        if m > d:
            raise ValueError(
                f"at most d={d} directions can be orthonormal; got m={m} features. "
                "Raise dim, or use LowCoherence() or RandomSphere()."
            )
        with threadpool_limits(limits=1, user_api="blas"):  # so that the bits do not depend on the machine's load
            return haar_rows(m, d, rng)


@final
@dataclass(frozen=True)
class LowCoherence:
    """Directions are optimised from a random start until even the closest two are nearly as far apart as can be.

    First the frame is made tight, through its d x d Gram matrix: the mean squared inner product then is the least
    possible, (m - d) / (d (m - 1)). Then the norm (sum_{i<j} |<d_i, d_j>|^p)^{1/p} is minimised for p = 4, 16, ...,
    ``order``, by L-BFGS, which lowers the coherence max |<d_i, d_j>|. The coherence is never above that of the random
    start, nor, with ``order=2``, the mean squared inner product.

    Measured, as a multiple of the Welch bound sqrt((m - d) / (d (m - 1))): 1 + 1e-9 where an equiangular tight frame
    is easily found, (m, d) = (6, 3) and (28, 7); 1.09 at (64, 32), 1.19 at (128, 32), 1.34 at (512, 64), where the
    bound need not be attainable. For m <= d the directions are orthonormal.

    Parameters
    ----------
    steps : L-BFGS steps at each p, and at most as many steps towards tightness.
    order : the last p, a power of two. 2 makes the frame tight and stops, at O(m d^2) a step: the choice for thousands
        of features, where it lowers the mean squared inner product (a little) and leaves the coherence where it was.
        Larger orders cost O(m^2 d) a step.

    References
    ----------
    Benedetto and Fickus (2003), "Finite normalized tight frames"; Strohmer and Heath (2003), "Grassmannian frames".
    """

    steps: int = 50
    order: int = 1024

    def __post_init__(self) -> None:
        check_int("steps", self.steps, 1)
        check_int("order", self.order, 2, 2**16)
        if self.order & (self.order - 1):
            raise ValueError(
                f"order must be a power of two; got {self.order}. Pass e.g. {1 << self.order.bit_length()}."
            )

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``; the same bits whatever the number of threads.

        Raises
        ------
        ValueError
            If m is above 8192 and ``order`` above 2: the m x m Gram matrix would not fit.
        """
        if m <= d:
            return Orthonormal().atoms(m, d, rng)
        if self.order > 2 and m * m > _MOST_PAIRS:
            raise ValueError(
                f"m={m} features are too many for order={self.order}, which forms the m x m Gram matrix in every step. "
                "Use LowCoherence(order=2)."
            )
        start = _sphere(m, d, rng)
        # One thread, so that rounding and hence the world do not depend on the machine's load; it is faster, too.
        with threadpool_limits(limits=1, user_api="blas"):
            rows = _tight(start, self.steps)
            exponent = 2
            while exponent < self.order:
                exponent = min(4 * exponent if exponent > 2 else 4, self.order)
                rows = _spread(rows, exponent, self.steps)
        crowding = _frame_potential if self.order == 2 else coherence
        return rows if crowding(rows) <= crowding(start) else start


def _frame_potential(rows: FloatArray) -> float:
    """Return the sum of all squared inner products of ``rows (m, d)``, from their d x d Gram matrix."""
    return float(np.square(rows.T @ rows).sum())


def _tight(rows: FloatArray, steps: int) -> FloatArray:
    """Return unit rows whose Gram matrix (d, d) is m/d times the identity, by alternating projection."""
    m, d = rows.shape
    for _ in range(steps):
        values, vectors = np.linalg.eigh(rows.T @ rows)
        if np.abs(values * d / m - 1.0).max() < 1e-10:
            break
        rows, _ = unit_rows(rows @ (vectors / np.sqrt(np.maximum(values, 1e-12))) @ vectors.T)
    return rows


def _spread(rows: FloatArray, p: int, steps: int) -> FloatArray:
    options = {"maxiter": steps, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(_crowding, rows.ravel(), args=(*rows.shape, p), jac=True, method="L-BFGS-B", options=options)
    return unit_rows(found.x.reshape(rows.shape))[0]


def _crowding(flat: FloatArray, m: int, d: int, p: int) -> tuple[float, FloatArray]:
    """Return the p-norm of the off-diagonal inner products of the rows after normalisation, and its gradient."""
    rows = flat.reshape(m, d)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / norms
    gram = unit @ unit.T
    np.fill_diagonal(gram, 0.0)
    size = np.abs(gram)
    largest = size.max()
    size /= largest
    size[size < math.exp(-40.0 / p)] = 0.0  # their p-th power is below 1e-17, and denormal numbers are slow
    size *= size
    power = size.copy()
    for _ in range(p.bit_length() - 2):
        power *= power
    total = power.sum()
    np.divide(power * gram, size, out=power, where=size > 0)
    pull = 2.0 * total ** (1.0 / p - 1.0) / largest * (power @ unit)
    along = np.einsum("ij,ij->i", pull, unit)[:, None]
    return float(largest * total ** (1.0 / p)), ((pull - along * unit) / norms).ravel()


@final
@dataclass(frozen=True)
class Cones:
    """Every child lies at exactly the angle arccos(``cosine``) from its parent; all else is random.

    child = cosine * parent + sqrt(1 - cosine^2) * u with u uniform among the unit vectors orthogonal to the parent;
    roots are uniform on the sphere. ``parents`` is as in `Forest`, which need not be the support law of the world.
    """

    parents: tuple[int, ...]
    cosine: float

    def __post_init__(self) -> None:
        parents_first(self.parents)
        check_real("cosine", self.cosine, -1.0, 1.0)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If ``parents`` is not of length m, or d = 1 (nothing is orthogonal to the parent).
        """
        if len(self.parents) != m:
            raise ValueError(f"Cones has {len(self.parents)} parents, but the world has m={m} features. Pass one each.")
        if d < 2:
            raise ValueError(f"Cones needs dim >= 2, to have a direction orthogonal to the parent; got d={d}.")
        rows, sine = _sphere(m, d, rng), math.sqrt(1.0 - self.cosine**2)
        for node in parents_first(self.parents):
            if self.parents[node] < 0:
                continue
            parent = rows[self.parents[node]]
            aside = _orthogonal_to(parent, _orthogonal_to(parent, rows[node]))  # twice is enough (Kahan)
            child = self.cosine * parent + sine * aside
            rows[node] = child / np.linalg.norm(child)
        return rows


def _orthogonal_to(direction: FloatArray, row: FloatArray) -> FloatArray:
    rest = row - (row @ direction) * direction
    return np.asarray(rest / np.linalg.norm(rest))


@final
@dataclass(frozen=True)
class GivenAtoms:
    """The directions are those given, unit ``rows`` as a tuple of tuples."""

    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.rows, tuple) or not all(isinstance(row, tuple) for row in self.rows):
            raise TypeError("rows must be a tuple of tuples of numbers. Pass tuple(map(tuple, array.tolist())).")
        lengths = sorted({len(row) for row in self.rows})
        if len(lengths) != 1 or lengths[0] == 0:
            raise ValueError(f"rows must be at least one, all of the same positive length; got lengths {lengths}.")
        for i, row in enumerate(self.rows):
            for j, value in enumerate(row):
                check_real(f"rows[{i}][{j}]", value)
        norms = np.linalg.norm(np.array(self.rows, dtype=np.float64), axis=1)
        worst = int(np.argmax(np.abs(norms - 1.0)))
        if abs(norms[worst] - 1.0) > 1e-6:  # leaves room for rows normalised in float32
            raise ValueError(
                f"rows must have unit norm; row {worst} has norm {norms[worst]:.6g}. "
                "Divide each row by its norm: array / np.linalg.norm(array, axis=1, keepdims=True)."
            )

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return the given rows ``(m, d)``, normalised to the last digit.

        Raises
        ------
        ValueError
            If they are of another shape.
        """
        shape = (len(self.rows), len(self.rows[0]))
        if shape != (m, d):
            raise ValueError(f"GivenAtoms has rows of shape {shape}, but the world has (m, d)=({m}, {d}).")
        return unit_rows(np.array(self.rows, dtype=np.float64))[0]
