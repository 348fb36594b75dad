"""Coefficients that depend on one another within a sample: on the parent's, on a common factor, on a sphere.

Such a law says ``independent = False``. Its `mean` and `second_moment` are those of one coefficient alone, and
``cross(m)`` holds E[c_i c_j | i and j fire].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real
from sparsesim.generators.base import MagnitudeLaw, Support
from sparsesim.generators.hierarchy import parents_first
from sparsesim.generators.magnitude import Constant, LogNormal, never_zero
from sparsesim.generators.scales import Scales, check_scales, values_of
from sparsesim.kernels.coupled import cascade_

UNIT = Constant(1.0)
_ROUNDING = 1e-9  # squares of loadings such as three times 1/sqrt(3) may sum to a little more than 1


def _check_base(name: str, law: object) -> None:
    if isinstance(law, type) or not hasattr(law, "second_moment"):
        raise TypeError(f"{name} must be a magnitude law such as HalfNormal(); got {law!r}.")
    if not getattr(law, "independent", True):
        raise ValueError(f"{name} must draw independent coefficients; got {law!r}. Couple an independent law.")


def _check_m(name: str, expected: int, m: int) -> None:
    if m != expected:
        raise ValueError(f"{name} must be as many as features, m={m}; got {expected}.")


@final
@dataclass(frozen=True)
class ParentScaled:
    """A child's coefficient is its own draw times its parent's coefficient over the parent's reference, cascading.

    c_i = b_i * c_parent(i) / r_parent(i), b_i drawn from ``base``; c_i = b_i at a root. With references equal to the
    means of ``base`` (the default) the means stay those of ``base``, and with mu, s its two moments

        E[c_i^2] = s_i * prod over ancestors a of s_a / mu_a^2.

    Parameters
    ----------
    base : law of the draws, independent, of positive means.
    parents : index of each feature's parent, -1 for a root.
    reference : what a parent's coefficient is divided by: None for the mean of ``base``, or a number, a tuple of m
        numbers or a scale law. With `RectifiedNormal`, SAELens divides by its parameter ``means``.

    Raises
    ------
    ValueError
        For a cycle; and, when drawing, for a support in which a child fires without its parent.

    References
    ----------
    ``scale_children_by_parent`` of SAELens (``sae_lens.synthetic``).
    """

    independent: ClassVar[bool] = False

    base: MagnitudeLaw
    parents: tuple[int, ...]
    reference: Scales | None = None

    def __post_init__(self) -> None:
        _check_base("base", self.base)
        parents_first(self.parents)
        if self.reference is not None:
            check_scales("reference", self.reference)
        self._moments  # noqa: B018 -- refuses what has none

    @cached_property
    def _order(self) -> list[int]:
        return parents_first(self.parents)

    @cached_property
    def _arrays(self) -> tuple[IntArray, FloatArray]:
        """Parents and references ``(m,)``."""
        m = len(self.parents)
        mean = np.asarray(self.base.mean(m), dtype=np.float64)
        if mean.min() <= 0:
            worst = int(np.argmin(mean))
            raise ValueError(f"base must have positive means; feature {worst} has {mean[worst]:g}.")
        reference = mean if self.reference is None else values_of("reference", self.reference, m)
        if reference.min() <= 0:
            worst = int(np.argmin(reference))
            raise ValueError(f"reference must be positive; feature {worst} has {reference[worst]:g}.")
        return np.array(self.parents, dtype=np.int64), reference

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray]:
        parents, reference = self._arrays
        m = len(parents)
        mean, second = np.array(self.base.mean(m)), np.array(self.base.second_moment(m))
        with np.errstate(over="ignore", under="ignore"):
            for node in self._order:
                if parents[node] >= 0:
                    mean[node] *= mean[parents[node]] / reference[parents[node]]
                    second[node] *= second[parents[node]] / reference[parents[node]] ** 2
        if not (np.isfinite(second).all() and second.all()):
            worst = int(np.flatnonzero(~(np.isfinite(second) & (second > 0)))[0])
            raise ValueError(
                f"the second moments must be finite and above 0; that of feature {worst} is {second[worst]:g}: "
                "its path from the root is too long or the base too spread."
            )
        return mean, second

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return coefficients of the base, each times its parent's relative to the reference, from the roots down."""
        parents, reference = self._arrays
        _check_m("parents", len(parents), support.n_features)
        data = np.array(self.base.draw(support, rng), dtype=np.float64)
        orphan = cascade_(support.indptr, support.indices, parents, reference, data)
        if orphan >= 0:
            raise ValueError(
                f"feature {orphan} fires without its parent {parents[orphan]}, by whose coefficient its own is scaled. "
                "Use a support law in which children fire only with their parents, such as Forest(parents, ...)."
            )
        return never_zero(data)

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        _check_m("parents", len(self.parents), m)
        return self._moments[0].copy()

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        _check_m("parents", len(self.parents), m)
        return self._moments[1].copy()

    def cross(self, m: int) -> FloatArray:
        """Return E[c_i c_j | i and j fire], ``(m, m)``: mean_i mean_j second_a / mean_a^2, a the last common ancestor.

        A feature counts as its own ancestor; in different trees it is mean_i mean_j.
        """
        mean, second = self.mean(m), self._moments[1]
        share = np.ones((m, m))  # second_a / mean_a^2
        done = np.zeros(m, dtype=bool)
        for node in self._order:
            # What is shared with a node already walked is shared by the parent, too.
            parent = self.parents[node]
            row = np.where(done, share[parent] if parent >= 0 else 1.0, 1.0)
            row[node] = second[node] / mean[node] ** 2
            share[node], share[:, node] = row, row
            done[node] = True
        return np.asarray(share * np.outer(mean, mean))


@final
@dataclass(frozen=True)
class CorrelatedLogNormal:
    """Coefficients are exp(mu + sigma g), where the normal g of features that fire together are correlated.

    g_i = F_i . z + sqrt(1 - ||F_i||^2) e_i, with z ~ N(0, I_r) common to a sample and e_i of the feature alone; so
    corr(g_i, g_j) = F_i . F_j, and E[c_i c_j | i and j fire] = exp(2 mu + sigma^2 (1 + F_i . F_j)).

    Parameters
    ----------
    loadings : a number rho in [0, 1], the same correlation of all pairs (F_i = sqrt(rho)); or F, a tuple of m rows of
        r numbers with ||F_i||^2 <= 1. Any correlation matrix is F F^T for some F with r = m. Drawing costs r numbers a
        sample and r steps a firing feature.
    """

    independent: ClassVar[bool] = False

    mu: float
    sigma: float
    loadings: float | tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        LogNormal(self.mu, self.sigma)  # refuses what overflows
        if not isinstance(self.loadings, tuple):
            check_real("loadings, as one correlation,", self.loadings, 0.0, 1.0)
            return
        if not self.loadings or not all(isinstance(row, tuple) for row in self.loadings):
            raise TypeError(
                "loadings must be a number or a non-empty tuple of tuples. Pass tuple(map(tuple, F.tolist()))."
            )
        if not self.loadings[0] or len({len(row) for row in self.loadings}) > 1:
            raise ValueError("loadings must have rows of one length, at least 1.")
        for i, row in enumerate(self.loadings):
            square = sum(check_real(f"loadings[{i}]", value) ** 2 for value in row)
            if square > 1.0 + _ROUNDING:
                raise ValueError(
                    f"each row of loadings must have a squared norm of at most 1; that of row {i} is {square:.6g}. "
                    "Scale it down."
                )

    @cached_property
    def _known(self) -> dict[int, FloatArray]:
        return {}

    def _factor(self, m: int) -> FloatArray:
        """Return F, ``(m, r)``."""
        if m not in self._known:
            if isinstance(self.loadings, tuple):
                _check_m("rows of loadings", len(self.loadings), m)
                self._known[m] = np.array(self.loadings, dtype=np.float64)
            else:
                self._known[m] = np.full((m, 1), float(self.loadings) ** 0.5)
        return self._known[m]

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return exp(mu + sigma g) with g normal and correlated within each sample, ``(nnz,)``."""
        factor = self._factor(support.n_features)
        common = rng.standard_normal((support.n_samples, factor.shape[1]))
        own = rng.standard_normal(len(support.indices))
        at = support.indices
        rows = np.repeat(np.arange(support.n_samples), np.diff(support.indptr))
        shared = np.zeros(len(at))
        for column in range(factor.shape[1]):  # one column at a time: no (nnz, r) array
            shared += factor[at, column] * common[rows, column]
        rest = np.sqrt(np.maximum(1.0 - np.square(factor).sum(axis=1), 0.0))
        return never_zero(np.exp(self.mu + self.sigma * (shared + rest[at] * own)))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return LogNormal(self.mu, self.sigma).mean(m)

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return LogNormal(self.mu, self.sigma).second_moment(m)

    def cross(self, m: int) -> FloatArray:
        """Return E[c_i c_j | i and j fire], ``(m, m)``, with `second_moment` on the diagonal."""
        factor = self._factor(m)
        correlation = factor @ factor.T
        np.fill_diagonal(correlation, 1.0)
        return np.exp(2.0 * self.mu + self.sigma**2 * (1.0 + correlation))


@final
@dataclass(frozen=True)
class OnSphere:
    """Each block of ``size`` features that fires is a uniform point on the (size - 1)-sphere, times a radius.

    Features 0 ... size-1 are the first block, and so on; a block fires as a whole or not at all. One multi-dimensional
    feature is such a block: ``size=2`` with a constant radius is a circle, ``size=1`` a sign. Coefficients of a block
    have mean 0, second moment E[radius^2] / size and are uncorrelated, though not independent.

    Parameters
    ----------
    size : b, features in a block; m must be a multiple.
    radius : law of the radius, independent, one draw for each block that fires; its features are the blocks.

    Raises
    ------
    ValueError
        When drawing, for a support in which a block fires in part.
    """

    independent: ClassVar[bool] = False

    size: int
    radius: MagnitudeLaw = UNIT

    def __post_init__(self) -> None:
        check_int("size", self.size, 1)
        _check_base("radius", self.radius)

    def _blocks(self, m: int) -> int:
        if m % self.size:
            raise ValueError(f"size must divide the number of features, m={m}; got {self.size}.")
        return m // int(self.size)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return a uniform point of the sphere for each block that fires, times its radius, ``(nnz,)``."""
        size, blocks = int(self.size), self._blocks(support.n_features)
        whole = len(support.indices) % size == 0 and not (support.indptr % size).any()
        first = support.indices[::size]
        if not whole or not np.array_equal(support.indices.reshape(-1, size), first[:, None] + np.arange(size)):
            raise ValueError(f"blocks of size={size} features must fire as a whole. Use a support law of such groups.")
        if (first % size).any():
            raise ValueError(f"blocks of size={size} features must begin at multiples of it.")
        radius = self.radius.draw(Support(support.indptr // size, first // size, blocks), rng)
        point = rng.standard_normal((len(first), size))
        point[point == 0] = 2.0**-52  # the square of the smallest number would vanish
        point /= np.sqrt(np.square(point).sum(axis=1))[:, None]  # first, so that a sign is exact
        return never_zero((radius[:, None] * point).ravel())

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        self._blocks(m)
        return np.zeros(m)

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.repeat(self.radius.second_moment(self._blocks(m)) / self.size, int(self.size))

    def cross(self, m: int) -> FloatArray:
        """Return E[c_i c_j | i and j fire], ``(m, m)``: 0, and `second_moment` on the diagonal."""
        return np.diag(self.second_moment(m))
