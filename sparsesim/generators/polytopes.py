"""Directions at the corners of polygons and polytopes, the geometries of toy models of superposition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, unit_rows
from sparsesim.generators.blocks import check_flag, equicorrelated, placed_blocks

PolytopeName = Literal["digon", "triangle", "pentagon", "tetrahedron", "square antiprism", "octahedron", "icosahedron"]


@final
@dataclass(frozen=True)
class Polygons:
    """Every ``sides`` successive features are the corners of a regular polygon around 0, in a random plane.

    2 sides are an antipodal pair (a digon), which takes one dimension. With ``orthogonal`` the planes are mutually
    orthogonal; without, independent. Within a polygon the cosine of corners i and j is cos(2 pi (i - j) / sides).
    Each polygon is a tight frame, so that features in orthogonal planes have dimensionality 2 / sides.

    References
    ----------
    Elhage et al. (2022), "Toy models of superposition", arXiv:2209.10652, section on geometry.
    """

    sides: int
    orthogonal: bool = True

    def __post_init__(self) -> None:
        check_int("sides", self.sides, 2)
        check_flag("orthogonal", self.orthogonal)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If ``sides`` does not divide m, or the planes do not fit in d dimensions.
        """
        angle = 2.0 * np.pi * np.arange(self.sides) / self.sides
        corners = np.array([[1.0], [-1.0]]) if self.sides == 2 else np.column_stack([np.cos(angle), np.sin(angle)])
        return _tiled(corners, m, d, rng, self.orthogonal, f"Polygons({self.sides})")


@final
@dataclass(frozen=True)
class Polytopes:
    """Successive features are the corners of copies of one polytope around 0, as in toy models of superposition.

    Each is a tight frame of v corners in r dimensions, so that features in orthogonal copies have dimensionality r / v:
    digon 1/2, triangle 2/3, pentagon 2/5, tetrahedron 3/4, square antiprism 3/8, octahedron 1/2, icosahedron 1/4.

    The square antiprism is the tight one (height^2 = 1/3 on the unit sphere); that with equal edges is flatter, and the
    one of least electrostatic energy lies between the two. With ``orthogonal`` the copies lie in mutually orthogonal
    subspaces; without, independently (Haar).

    References
    ----------
    Elhage et al. (2022), "Toy models of superposition", arXiv:2209.10652, section on geometry.
    """

    kind: PolytopeName
    orthogonal: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(PolytopeName):
            raise ValueError(f"kind must be one of {', '.join(get_args(PolytopeName))}; got {self.kind!r}.")
        check_flag("orthogonal", self.orthogonal)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If the number of corners does not divide m, or the copies do not fit in d dimensions.
        """
        sides = {"digon": 2, "triangle": 3, "pentagon": 5}.get(self.kind)
        if sides is not None:
            return Polygons(sides, self.orthogonal).atoms(m, d, rng)
        return _tiled(_solid(self.kind), m, d, rng, self.orthogonal, f"Polytopes({self.kind!r})")


def _solid(kind: PolytopeName) -> FloatArray:
    if kind == "tetrahedron":
        return equicorrelated(4, -1.0 / 3.0)
    if kind == "octahedron":
        return np.concatenate([np.eye(3), -np.eye(3)])
    if kind == "square antiprism":
        angle, height = np.pi / 4.0 * np.arange(8), (-1.0) ** np.arange(8)
        return np.column_stack([np.cos(angle), np.sin(angle), height / math.sqrt(2.0)]) * math.sqrt(2.0 / 3.0)
    golden = (1.0 + math.sqrt(5.0)) / 2.0
    corner = np.array([[0.0, one, two * golden] for one in (1.0, -1.0) for two in (1.0, -1.0)])
    return unit_rows(np.concatenate([np.roll(corner, shift, axis=1) for shift in range(3)]))[0]


def _tiled(corners: FloatArray, m: int, d: int, rng: Rng, orthogonal: bool, name: str) -> FloatArray:
    copies, rest = divmod(m, len(corners))
    if rest or not copies:
        raise ValueError(f"{name} needs a multiple of {len(corners)} features; got m={m}.")
    return placed_blocks([corners] * copies, d, rng, orthogonal, name)
