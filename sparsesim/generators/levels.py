"""Directions with exact relations: orthogonal levels, bundles around centres, crystals of parallelograms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.generators.blocks import check_sizes, check_total, equicorrelated, placed, placed_blocks
from sparsesim.generators.geometry import Cones, RandomSphere


@final
@dataclass(frozen=True)
class Levels:
    """Two features of one level have exactly the cosine of the level; features of different levels are orthogonal.

    So, given the level above, the next one is read without interference (conditional orthogonality). The frame is
    determined up to rotation, which is uniform (Haar).

    Parameters
    ----------
    levels : the level of each feature, numbered from 0 without gaps; a family of siblings may be a level of its own.
    cosines : of each level, in [-1/(size - 1), 1).

    References
    ----------
    Costa et al. (2025), "From flat to hierarchical: extracting sparse representations with matching pursuit",
    arXiv:2506.03093; `mixed` has the parameters of its toy model.
    """

    levels: tuple[int, ...]
    cosines: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.levels, tuple) or not isinstance(self.cosines, tuple):
            raise TypeError(f"levels and cosines must be tuples; got {self.levels!r} and {self.cosines!r}.")
        for i, level in enumerate(self.levels):
            check_int(f"levels[{i}]", level, 0)
        count = len(set(self.levels))
        if not count or max(self.levels) != count - 1 or len(self.cosines) != count:
            raise ValueError(
                f"levels must be numbered 0, 1, ... without gaps, each with a cosine; got {count} different levels "
                f"up to {max(self.levels, default=None)}, and {len(self.cosines)} cosines."
            )
        for level, cosine in enumerate(self.cosines):
            check_real(f"cosines[{level}]", cosine, -1.0, 1.0)
            equicorrelated(self.levels.count(level), cosine)

    @classmethod
    def mixed(cls, levels: tuple[int, ...], mixing: tuple[float, ...]) -> Levels:
        """Return the levels in which ``v_i ∝ (1 - eps) q_i + eps mean_{j != i} q_j``, the q orthonormal.

        In a level of s features with a = 1 - eps and b = eps / (s - 1) the cosine is
        (2 a b + (s - 2) b^2) / (a^2 + (s - 1) b^2); ``mixing`` has the eps of each level, below (s - 1)/s, where all
        directions are one. In the toy model of Costa et al. each family of three siblings is a level of its own.
        """
        plain = cls(levels, (0.0,) * len(mixing) if isinstance(mixing, tuple) else mixing)
        cosines = []
        for level, eps in enumerate(mixing):
            size = plain.levels.count(level)
            check_real(f"mixing[{level}]", eps, 0.0, (size - 1) / size)
            if size > 1 and eps >= (size - 1) / size:
                raise ValueError(
                    f"mixing[{level}] must be below {size - 1}/{size}, where all directions are one; got {eps:g}."
                )
            a, b = 1.0 - eps, eps / max(size - 1, 1)
            cosines.append((2 * a * b + (size - 2) * b * b) / (a * a + (size - 1) * b * b) if size > 1 else 0.0)
        return cls(levels, tuple(cosines))

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If there are not m features, or the levels do not fit in d dimensions side by side.
        """
        check_total("Levels", len(self.levels), m)
        blocks = [equicorrelated(self.levels.count(level), cosine) for level, cosine in enumerate(self.cosines)]
        rows = np.empty((m, d))
        rows[np.argsort(self.levels, kind="stable")] = placed_blocks(blocks, d, rng, True, "Levels")
        return rows


@final
@dataclass(frozen=True)
class Bundles:
    """Every feature lies at exactly the angle arccos(``cosine``) from the centre of its bundle, around it at random.

    The centres are uniform on the sphere and are no features. Two features of a bundle have cosine^2 on average; a
    bundle may hold more features than there are dimensions. Features are numbered bundle by bundle.
    """

    sizes: tuple[int, ...]
    cosine: float

    def __post_init__(self) -> None:
        check_sizes("sizes", self.sizes)
        check_real("cosine", self.cosine, -1.0, 1.0)
        if abs(self.cosine) == 1.0:
            raise ValueError("cosine must lie in (-1, 1): at 1 all features of a bundle would be one. Pass e.g. 0.99.")

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If the sizes do not sum to m, or d = 1.
        """
        check_total("Bundles", sum(self.sizes), m)
        centres = len(self.sizes)
        members = np.repeat(np.arange(centres), self.sizes)
        around = Cones((-1,) * centres + tuple(members.tolist()), self.cosine)
        return np.ascontiguousarray(around.atoms(centres + m, d, rng)[centres:])


@final
@dataclass(frozen=True)
class Crystal:
    """Features are all combinations of the values of several factors, so that analogies are parallelograms, exactly.

    ``atom(i, j, ...) = (w_1 u_i + w_2 v_j + ...) / sqrt(w_1^2 + w_2^2 + ...)`` with unit vectors u_i, v_j, ... of
    different factors orthogonal: all sums have the same norm, so that after normalisation still
    ``atom(i, j) - atom(i, k) = atom(l, j) - atom(l, k)``. Two features have the cosine
    sum_f w_f^2 <their values of factor f> / sum_f w_f^2. Values of one factor are orthonormal, or, where ``dims``
    leaves them fewer dimensions than values, uniform on the sphere (two values in one dimension are +u and -u).

    The features are linearly dependent: a 2 x 2 crystal has rank 3. They are numbered like the entries of an array of
    the given shape, the last factor fastest.

    Parameters
    ----------
    shape : number of values of each factor; m is their product.
    weights : w_f > 0 of each factor; all 1 if empty.
    dims : dimensions of each factor; as many as it has values if empty.

    References
    ----------
    Li et al. (2024), "The geometry of concepts: sparse autoencoder feature structure", arXiv:2410.19750 (crystals).
    """

    shape: tuple[int, ...]
    weights: tuple[float, ...] = ()
    dims: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_sizes("shape", self.shape)
        if not isinstance(self.weights, tuple):
            raise TypeError(f"weights must be a tuple of numbers; got {self.weights!r}.")
        if self.weights and len(self.weights) != len(self.shape):
            raise ValueError(f"weights must be as many as the {len(self.shape)} factors; got {len(self.weights)}.")
        for f, weight in enumerate(self.weights):
            check_real(f"weights[{f}]", weight, 0.0, open_low=True)
        if self.dims != ():
            check_sizes("dims", self.dims)
        if self.dims and len(self.dims) != len(self.shape):
            raise ValueError(f"dims must be as many as the {len(self.shape)} factors; got {len(self.dims)}.")
        for f, (values, dim) in enumerate(zip(self.shape, self.dims, strict=False)):
            if dim == 1 and values > 2:
                raise ValueError(
                    f"dims[{f}] must be at least 2 for {values} values: one dimension holds +u and -u; got 1."
                )

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``.

        Raises
        ------
        ValueError
            If the product of ``shape`` is not m, or the dimensions of the factors sum to more than d.
        """
        check_total("Crystal", math.prod(self.shape), m)
        dims = [min(pair) for pair in zip(self.shape, self.dims or self.shape, strict=True)]
        if sum(dims) > d:
            raise ValueError(f"Crystal needs d >= {sum(dims)}, the sum of the dimensions of its factors; got d={d}.")
        weights = np.array(self.weights or (1.0,) * len(self.shape))
        weights /= weights.max()  # so that no square overflows or vanishes
        values = [_factor(*size, rng) for size in zip(self.shape, dims, strict=True)]
        chosen = np.unravel_index(np.arange(m), self.shape)
        parts = [w * value[pick] for w, value, pick in zip(weights, values, chosen, strict=True)]
        return placed(np.concatenate(parts, axis=1) / np.linalg.norm(weights), d, rng)


def _factor(values: int, dim: int, rng: Rng) -> FloatArray:
    if values == dim:
        return np.eye(values)
    return np.array([[1.0], [-1.0]]) if dim == 1 else RandomSphere().atoms(values, dim, rng)
