"""How the latent Gaussians of features that fire together are correlated: given, in blocks, or by shared factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol, TypeAlias, final

import numpy as np
from scipy.special import ndtri

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim._identity import Role, stream
from sparsesim.generators.rates import MOST_FEATURES

Draw: TypeAlias = Callable[[int, Rng], tuple[IntArray, IntArray]]

MOST_SHARED = 0.99  # of the variance of a latent number; the rest is its own
_GATHERED = 2**22  # loadings of the first of each pair that are copied together, 32 MiB
_SMALLEST = 1e-10  # eigenvalue of a correlation matrix that is positive definite beyond rounding


class Correlation(Protocol):
    """The correlation C of latent standard normal numbers. A frozen dataclass, so that it has a key."""

    def check(self, m: int) -> None:
        """Raise ValueError unless there is such a correlation of ``m`` features."""
        ...

    def at(self, m: int, first: IntArray, second: IntArray) -> FloatArray:
        """Return the latent correlations of the pairs ``(first, second)``, 1 of a feature with itself."""
        ...

    def blocks(self, m: int) -> IntArray:
        """Return where blocks of consecutive features begin, and m; there is no correlation between blocks."""
        ...

    def draw(self, rates: FloatArray) -> Draw:
        """Return what draws, from n and a generator, the rows of features with g_i > -probit(p_i)."""
        ...


def check_factor(name: str, factor: FloatArray, shrink: bool) -> FloatArray:
    """Return the loadings ``factor (m, r)``; if ``shrink``, rows of a squared norm above `MOST_SHARED` scaled to it."""
    shared = np.square(factor).sum(axis=1)
    worst = int(np.argmax(shared))
    if shared[worst] <= MOST_SHARED:
        return factor
    if not shrink:
        raise ValueError(
            f"{name} must share at most {MOST_SHARED} of each feature's variance, the squared norm of its row; that of "
            f"feature {worst} is {shared[worst]:.6g} > {MOST_SHARED}. Lower it, or pass shrink=True to scale such rows "
            "to the limit."
        )
    return np.asarray(factor * np.sqrt(np.minimum(1.0, MOST_SHARED / np.maximum(shared, MOST_SHARED)))[:, None])


def levels_and_loads(rates: FloatArray, factor: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the scores at z = 0 ``(m,)`` and loadings ``(m, r)`` with P(fires | z) = Phi(level + load . z).

    With g = F z + sqrt(1 - |F|^2) e they are probit(p) and F over sqrt(1 - |F|^2).
    """
    own = np.sqrt(1.0 - np.square(factor).sum(axis=1))
    return np.asarray(ndtri(rates) / own), factor / own[:, None]


def _draw_by_factor(rates: FloatArray, factor: FloatArray) -> Draw:
    from sparsesim.kernels.copula import draw_factors, factors_of

    m = len(rates)
    nothing = np.full(m, -1), np.zeros(m, dtype=bool)
    law = factors_of(*levels_and_loads(rates, factor), np.ones(m), *nothing, float(rates.sum()))
    return partial(draw_factors, law)


def _dots(factor: FloatArray, first: IntArray, second: IntArray) -> FloatArray:
    size = max(_GATHERED // factor.shape[1], 1)
    inner = np.empty(len(first))
    for low in range(0, len(first), size):
        own = slice(low, low + size)
        inner[own] = np.einsum("ij,ij->i", factor[first[own]], factor[second[own]])
    return np.where(first == second, 1.0, inner)


@final
@dataclass(frozen=True)
class LowRankCorrelation:
    """C = F F^T + diag(1 - |F_i|^2) with F = scale * N(0, 1), ``rank`` numbers a feature, drawn from ``seed``.

    Features are independent given ``rank`` shared factors, so that drawing costs rank multiply-adds a feature without
    a parent. Two latent numbers have correlations of standard deviation scale^2 sqrt(rank).

    Parameters
    ----------
    rank, scale, seed : of the loadings F.
    shrink : scale rows of F with |F_i|^2 > 0.99 down to that limit instead of refusing them.

    Raises
    ------
    ValueError
        On use with m features, if a row has |F_i|^2 > 0.99 and ``shrink`` is not set.
    """

    rank: int
    scale: float
    seed: int = 0
    shrink: bool = False

    def __post_init__(self) -> None:
        check_int("rank", self.rank, 1)
        check_real("scale", self.scale, 0.0)
        check_int("seed", self.seed, 0)
        if not isinstance(self.shrink, bool):
            raise TypeError(f"shrink must be True or False; got {self.shrink!r}.")

    def factor(self, m: int) -> FloatArray:
        """Return the loadings F ``(m, rank)``, read-only."""
        return _random_factor(self, m)

    def check(self, m: int) -> None:
        """Raise ValueError unless there is such a correlation of ``m`` features."""
        self.factor(m)

    def at(self, m: int, first: IntArray, second: IntArray) -> FloatArray:
        """Return F_i . F_j for the pairs, 1 of a feature with itself."""
        return _dots(self.factor(m), first, second)

    def blocks(self, m: int) -> IntArray:
        """Return 0 and m: all features are correlated."""
        return np.array([0, m])

    def draw(self, rates: FloatArray) -> Draw:
        """Return what draws, from n and a generator, the rows of features with g_i > -probit(p_i)."""
        return _draw_by_factor(rates, self.factor(len(rates)))


@lru_cache(maxsize=8)
def _random_factor(law: LowRankCorrelation, m: int) -> FloatArray:
    normal = stream(law.seed, Role.LAW).standard_normal((m, int(law.rank)))
    name = f"scale={law.scale:g} at rank={law.rank}"
    return read_only(check_factor(name, float(law.scale) * normal, law.shrink))


@final
@dataclass(frozen=True)
class FactorCorrelation:
    """C = F F^T + diag(1 - |F_i|^2) with the loadings F given, one row ``(r,)`` of ``rows`` a feature.

    Raises
    ------
    ValueError
        If rows differ in length, or a row has |F_i|^2 > 0.99.
    """

    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        check_factor("rows", _matrix("rows", self.rows), shrink=False)

    def factor(self, m: int) -> FloatArray:
        """Return the loadings F ``(m, r)``, read-only."""
        self.check(m)
        return _given_factor(self)

    def check(self, m: int) -> None:
        """Raise ValueError unless there is such a correlation of ``m`` features."""
        _check_number("rows", len(self.rows), m)

    def at(self, m: int, first: IntArray, second: IntArray) -> FloatArray:
        """Return F_i . F_j for the pairs, 1 of a feature with itself."""
        return _dots(self.factor(m), first, second)

    def blocks(self, m: int) -> IntArray:
        """Return 0 and m: all features are correlated."""
        return np.array([0, m])

    def draw(self, rates: FloatArray) -> Draw:
        """Return what draws, from n and a generator, the rows of features with g_i > -probit(p_i)."""
        return _draw_by_factor(rates, self.factor(len(rates)))


@lru_cache(maxsize=4)
def _given_factor(law: FactorCorrelation) -> FloatArray:
    return read_only(np.array(law.rows, dtype=np.float64))


def _check_number(name: str, number: int, m: int) -> None:
    if number != m:
        raise ValueError(f"the correlation must be of as many features as there are rates, m={m}; {name} has {number}.")


def _matrix(name: str, rows: object) -> FloatArray:
    """Return ``rows`` as a matrix, raising unless they are a tuple of tuples of finite numbers, equally long."""
    if not isinstance(rows, tuple) or not all(isinstance(row, tuple) for row in rows):
        raise TypeError(f"{name} must be a tuple of tuples; got {type(rows).__name__}. Pass tuple(map(tuple, {name})).")
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{name} must be at least one row of at least one number, all of the same length.")
    matrix = np.array(rows)
    if matrix.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers; got dtype {matrix.dtype}.")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must hold finite numbers; got NaN or infinity.")
    return matrix.astype(np.float64)


@final
@dataclass(frozen=True)
class DenseCorrelation:
    """C is the matrix given by ``rows (m, m)``; a sample costs m^2 multiply-adds, so this is for up to some thousands.

    Raises
    ------
    ValueError
        If C is not symmetric with a diagonal of ones, or not positive definite.
    """

    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        matrix = _matrix("rows", self.rows)
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"rows must be a square matrix (m, m); got shape {matrix.shape}.")
        if not (np.array_equal(matrix, matrix.T) and np.all(np.diag(matrix) == 1.0)):
            raise ValueError(
                "rows must be symmetric with ones on the diagonal. Pass (rows + rows.T) / 2 over the scales."
            )
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        if smallest < _SMALLEST:
            raise ValueError(
                f"a correlation must be positive definite; the smallest eigenvalue of rows is {smallest:.6g} < "
                f"{_SMALLEST:g}. Divide the entries off the diagonal by 1 + c, c > {-smallest:.3g}."
            )

    def check(self, m: int) -> None:
        """Raise ValueError unless there is such a correlation of ``m`` features."""
        _check_number("rows", len(self.rows), m)

    def at(self, m: int, first: IntArray, second: IntArray) -> FloatArray:
        """Return the entries of C."""
        self.check(m)
        return _given_matrix(self)[first, second]

    def blocks(self, m: int) -> IntArray:
        """Return 0 and m: all features may be correlated."""
        return np.array([0, m])

    def draw(self, rates: FloatArray) -> Draw:
        """Return what draws, from n and a generator, the rows of features with g_i > -probit(p_i)."""
        from sparsesim.kernels.latent import draw_cholesky

        factor = np.ascontiguousarray(np.linalg.cholesky(_given_matrix(self)))
        return partial(draw_cholesky, factor, ndtri(rates), float(rates.sum()))


@lru_cache(maxsize=4)
def _given_matrix(law: DenseCorrelation) -> FloatArray:
    return read_only(np.array(law.rows, dtype=np.float64))


@final
@dataclass(frozen=True)
class BlockCorrelation:
    """C has ``rho`` within blocks of consecutive features, which have these ``sizes``, and 0 between blocks.

    With rho >= 0 a block shares one factor and drawing costs a number a block and some a firing feature; with rho < 0
    it costs a number a feature.

    Raises
    ------
    ValueError
        If rho >= 1, or rho <= -1 / (size - 1) for the largest block: C would not be positive definite.
    """

    sizes: tuple[int, ...]
    rho: float

    def __post_init__(self) -> None:
        if not isinstance(self.sizes, tuple):
            raise TypeError(f"sizes must be a tuple; got {type(self.sizes).__name__}. Pass tuple(sizes).")
        if not self.sizes:
            raise ValueError("sizes must hold at least one block; got an empty tuple.")
        for index, size in enumerate(self.sizes):
            check_int(f"sizes[{index}]", size, 1, MOST_FEATURES)
        check_real("rho", self.rho, -1.0)
        largest = max(self.sizes)
        if self.rho >= 1.0 or (largest > 1 and self.rho <= -1.0 / (largest - 1)):
            limit = f"-1 / (size - 1) = {-1.0 / (largest - 1):.6g} < " if largest > 1 else ""
            raise ValueError(
                f"rho must satisfy {limit}rho < 1 for a positive definite block of size={largest}; got {self.rho!r}."
            )

    def check(self, m: int) -> None:
        """Raise ValueError unless there is such a correlation of ``m`` features."""
        _check_number("the sum of sizes", sum(self.sizes), m)

    def at(self, m: int, first: IntArray, second: IntArray) -> FloatArray:
        """Return rho within blocks and 0 between them."""
        start = self.blocks(m)
        same = np.searchsorted(start, first, side="right") == np.searchsorted(start, second, side="right")
        return np.where(first == second, 1.0, np.where(same, float(self.rho), 0.0))

    def blocks(self, m: int) -> IntArray:
        """Return where the blocks begin, and m."""
        self.check(m)
        return np.concatenate([[0], np.cumsum(self.sizes)])

    def draw(self, rates: FloatArray) -> Draw:
        """Return what draws supports of these rates: by one number that a block shares, or exchangeably if rho < 0."""
        from sparsesim.kernels.copula import draw_shared, shared_of
        from sparsesim.kernels.latent import draw_exchangeable

        start, rho, mean = self.blocks(len(rates)), float(self.rho), float(rates.sum())
        if rho < 0.0:
            return partial(draw_exchangeable, start, rho, ndtri(rates), mean)
        block = np.repeat(np.arange(len(self.sizes)), np.diff(start))
        own = np.sqrt(1.0 - rho)
        return partial(draw_shared, shared_of(ndtri(rates) / own, float(np.sqrt(rho) / own), block, mean))
