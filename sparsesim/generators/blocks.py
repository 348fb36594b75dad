"""Directions in blocks: clusters, pairs, subspaces and direct sums of other geometries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, unit_rows
from sparsesim.generators.base import Geometry
from sparsesim.generators.geometry import haar_rows


def placed(rows: FloatArray, d: int, rng: Rng) -> FloatArray:
    """Return unit ``rows (m, r)`` under a uniform (Haar) isometry of R^r into R^d, ``(m, d)``; needs r <= d.

    Inner products are kept up to rounding. The bits do not depend on the number of threads.
    """
    return placed_blocks([rows], d, rng, True, "the frame")


def placed_blocks(blocks: Sequence[FloatArray], d: int, rng: Rng, orthogonal: bool, name: str) -> FloatArray:
    """Return the ``blocks`` of unit rows ``(m_b, r_b)`` one below the other in R^d, each under a Haar isometry.

    They lie in mutually orthogonal subspaces, or independently of one another.

    Raises
    ------
    ValueError
        If the dimensions r_b do not fit: their sum, or for independent blocks the largest of them, is above d.
    """
    ranks = [block.shape[1] for block in blocks]
    need, law = (sum(ranks), "the sum") if orthogonal else (max(ranks), "the largest")
    if need > d:
        also = ", or pass orthogonal=False" if orthogonal and max(ranks) <= d else ""
        raise ValueError(
            f"{name} needs d >= {need}, {law} of the dimensions of its {len(ranks)} blocks; got d={d}. Raise dim{also}."
        )
    with threadpool_limits(limits=1, user_api="blas"):
        if orthogonal:
            frames = np.split(haar_rows(need, d, rng), np.cumsum(ranks)[:-1])
        else:
            frames = [haar_rows(rank, d, rng) for rank in ranks]
        return unit_rows(np.concatenate([block @ frame for block, frame in zip(blocks, frames, strict=True)]))[0]


def equicorrelated(size: int, cosine: float) -> FloatArray:
    """Return unit rows ``(size, r)`` every two of which have the given ``cosine``; r = size, or the rank if less.

    Raises
    ------
    ValueError
        If cosine is below -1/(size - 1), where the Gram matrix would not be positive semi-definite, or 1.
    """
    if size == 1:
        return np.ones((1, 1))
    least = -1.0 / (size - 1)
    if cosine < least - 1e-12:
        raise ValueError(f"{size} directions can have equal cosines in [-1/{size - 1}, 1); got {cosine:g} < {least:g}.")
    if cosine >= 1.0:
        raise ValueError("cosine must be below 1: at 1 the directions would be one. Pass e.g. 0.99.")
    # The root of the Gram matrix (1 - c) I + c J, with eigenvalues 1 + (size - 1) c along (1, ..., 1), and 1 - c.
    along = math.sqrt(max(0.0, 1.0 + (size - 1) * cosine))
    across = math.sqrt(1.0 - cosine)
    if cosine > least + 1e-12:
        return np.asarray(across * np.eye(size) + (along - across) / size)
    corners = np.eye(size) - 1.0 / size
    with threadpool_limits(limits=1, user_api="blas"):  # so that the bits do not depend on the number of threads
        return unit_rows(corners @ np.linalg.qr(corners[:, :-1])[0])[0]


def check_sizes(name: str, sizes: object) -> None:
    """Raise TypeError or ValueError unless ``sizes`` is a non-empty tuple of positive integers."""
    if not isinstance(sizes, tuple):
        raise TypeError(f"{name} must be a tuple of integers; got {sizes!r}. Pass tuple({name}).")
    if not sizes:
        raise ValueError(f"{name} must hold at least one size; got an empty tuple.")
    for i, size in enumerate(sizes):
        check_int(f"{name}[{i}]", size, 1)


def check_total(name: str, total: int, m: int) -> None:
    """Raise ValueError unless the blocks have ``m`` features in all."""
    if total != m:
        raise ValueError(f"{name} has {total} features, but the world has m={m}. Make the two equal.")


def check_flag(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {value!r}.")


@final
@dataclass(frozen=True)
class Block:
    """``features`` directions of a ``geometry`` within a subspace of dimension ``dim``."""

    geometry: Geometry
    features: int
    dim: int

    def __post_init__(self) -> None:
        check_int("features", self.features, 1)
        check_int("dim", self.dim, 1)
        if isinstance(self.geometry, type) or not hasattr(self.geometry, "atoms"):
            raise TypeError(f"geometry must be an object with a method atoms(); got {self.geometry!r}.")


@final
@dataclass(frozen=True)
class Blocks:
    """The features of each block lie in a random subspace (Haar) of the block's dimension, as its geometry says.

    With ``orthogonal`` the subspaces are mutually orthogonal, so that the Gram matrix is block-diagonal (a direct sum);
    without, they are independent. Features are numbered block by block.
    """

    blocks: tuple[Block, ...]
    orthogonal: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, tuple) or not all(isinstance(block, Block) for block in self.blocks):
            raise TypeError(f"blocks must be a tuple of Block; got {self.blocks!r}.")
        if not self.blocks:
            raise ValueError("blocks must hold at least one Block; got an empty tuple.")
        check_flag("orthogonal", self.orthogonal)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If the blocks do not have m features in all, do not fit in d dimensions, or one is infeasible.
        """
        check_total("Blocks", sum(block.features for block in self.blocks), m)
        rows = [block.geometry.atoms(block.features, block.dim, rng) for block in self.blocks]
        return placed_blocks(rows, d, rng, self.orthogonal, "Blocks")


@final
@dataclass(frozen=True)
class Clusters:
    """Every two features of one cluster have exactly the given ``cosine``; the clusters lie independently (Haar).

    A cluster of s features spans s dimensions, s - 1 at the least possible cosine -1/(s - 1), where it is a regular
    simplex. `Levels` makes the clusters orthogonal, `Bundles` has clusters larger than d. One feature is a cluster of
    size 1. Features are numbered cluster by cluster.
    """

    sizes: tuple[int, ...]
    cosine: float

    def __post_init__(self) -> None:
        check_sizes("sizes", self.sizes)
        check_real("cosine", self.cosine, -1.0, 1.0)
        equicorrelated(max(self.sizes), self.cosine)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If the sizes do not sum to m, or a cluster spans more than d dimensions.
        """
        check_total("Clusters", sum(self.sizes), m)
        return placed_blocks([equicorrelated(size, self.cosine) for size in self.sizes], d, rng, False, "Clusters")


@final
@dataclass(frozen=True)
class Pairs:
    """Features 2i and 2i + 1 have exactly the given ``cosine``; at -1 they are the two ends of one axis.

    With ``orthogonal`` all other pairs of features are orthogonal (m <= d; at cosine -1, m <= 2d); without, the pairs
    lie independently (Haar). A cosine near 1 is the adversary of dictionary learning: two features look like one.
    """

    cosine: float
    orthogonal: bool = True

    def __post_init__(self) -> None:
        check_real("cosine", self.cosine, -1.0, 1.0)
        check_flag("orthogonal", self.orthogonal)
        equicorrelated(2, self.cosine)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If m is odd, or the pairs do not fit in d dimensions.
        """
        if m % 2:
            raise ValueError(f"Pairs needs an even number of features; got m={m}.")
        return placed_blocks([equicorrelated(2, self.cosine)] * (m // 2), d, rng, self.orthogonal, "Pairs")


@final
@dataclass(frozen=True)
class Subspaces:
    """Successive features are orthonormal bases of subspaces of the given ``dims``: one multi-dimensional feature each.

    With ``orthogonal`` the subspaces are mutually orthogonal; without, they lie independently (Haar), and the sum of
    ``dims`` may exceed d. With coefficients whose law is invariant under rotations within a block, such as points on a
    sphere, a block is irreducible: any other basis of it describes the same world, and only the subspace is identified.

    References
    ----------
    Engels et al. (2024), "Not all language model features are one-dimensionally linear", arXiv:2405.14860.
    """

    dims: tuple[int, ...]
    orthogonal: bool = False

    def __post_init__(self) -> None:
        check_sizes("dims", self.dims)
        check_flag("orthogonal", self.orthogonal)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If the dims do not sum to m, or do not fit in d dimensions.
        """
        check_total("Subspaces", sum(self.dims), m)
        return placed_blocks([np.eye(dim) for dim in self.dims], d, rng, self.orthogonal, "Subspaces")
