"""Unions of manifolds, linear and curved: each sample lies on one of them, and the features that span it all fire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy.sparse import csr_array

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec, Support
from sparsesim.generators.blocks import Subspaces
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.groups import BlockSupport
from sparsesim.generators.magnitude import Constant, SignedGaussian
from sparsesim.generators.magnitude_coupled import OnSphere
from sparsesim.generators.mixing import LeakyMixing
from sparsesim.generators.rates import MOST_FEATURES
from sparsesim.generators.scales import Scaled
from sparsesim.generators.support import ExactlyK, check_vectors
from sparsesim.generators.toys import GaussianNorms

_COORDINATES = 31  # tells this draw of a seed from its others


@final
@dataclass(frozen=True)
class UnionSupport:
    """One of the given sets of features fires as a whole, all equally likely; the sets may overlap.

    Where they do not, `BlockSupport` (ExactlyK(sets, 1), ExactlyK(size, size)) is the same law without a list.

    Parameters
    ----------
    m : number of features; those in no set never fire.
    sets : features of each set, each named once; a set may be empty.
    """

    m: int
    sets: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        if not isinstance(self.sets, tuple) or not all(isinstance(own, tuple) for own in self.sets):
            raise TypeError(f"sets must be a tuple of tuples of features; got {self.sets!r:.80}.")
        if not self.sets:
            raise ValueError("sets must hold at least one set; got an empty tuple.")
        for number, own in enumerate(self.sets):
            for place, feature in enumerate(own):
                check_int(f"sets[{number}][{place}]", feature, 0, self.m - 1, high_name="m-1")
            if len(set(own)) < len(own):
                raise ValueError(f"a set must name each feature once; sets[{number}] is {own}.")

    @property
    def n_features(self) -> int:
        return int(self.m)

    @cached_property
    def _list(self) -> Support:
        indices = np.array([feature for own in self.sets for feature in sorted(own)], dtype=np.int32)
        return Support(np.cumsum([0, *map(len, self.sets)]), indices, self.n_features)

    @cached_property
    def _incidence(self) -> csr_array:
        return self._list.codes(np.ones(len(self._list.indices)))

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, the share of the sets that a feature is in."""
        return np.bincount(self._list.indices, minlength=self.n_features) / len(self.sets)

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal."""
        return np.asarray((self._incidence.T @ self._incidence).toarray() / len(self.sets))

    def scatter(self, vectors: FloatArray) -> FloatArray:
        """Return E[s s^T] ``(d, d)``, s the sum of the firing rows of ``vectors (m, d)``."""
        sums = self._incidence @ check_vectors(vectors, self.n_features)
        return np.asarray(sums.T @ sums / len(self.sets))

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2, the mean over the sets."""
        return float(np.square(self._incidence @ check_vectors(vectors, self.n_features)).sum() / len(self.sets))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        picked = rng.integers(0, len(self.sets), size=check_int("n", n, 0))
        sizes = np.diff(self._list.indptr)[picked]
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        place = np.repeat(self._list.indptr[picked] - indptr[:-1], sizes) + np.arange(indptr[-1])
        return Support(indptr, self._list.indices[place], self.n_features)


def linear_union(
    form: str = "corrected", *, manifolds: int = 3, coordinates: int = 4, dim: int = 40, seed: int = 0
) -> FeatureSpec:
    """Return the union of linear manifolds of the VAEase experiments: Gaussians in one of a few subspaces of R^40.

    A sample chooses a manifold uniformly and has standard normal coefficients in its ``coordinates`` directions; there
    is no noise. ``corrected``, manifolds have no direction in common and all directions are orthonormal, as the release
    intends: every one has dimension ``coordinates``. ``as_released``, each manifold draws its coordinates *with
    replacement* from ``dim``, so that manifolds can share directions or have fewer dimensions (both are drawn under
    ``seed``, and true in the support law), and directions are normal vectors that are not orthogonalised; their norms,
    near sqrt(dim), are drawn under ``seed`` and multiply the coefficients. Features that no manifold has are left out.

    References
    ----------
    Lu, Zhu, He and Wipf (2025), "Sparse autoencoders, again?", arXiv:2506.04859, and its released generator.
    """
    if form not in ("as_released", "corrected"):
        raise ValueError(f'form must be "as_released" or "corrected"; got {form!r}.')
    check_int("manifolds", manifolds, 1)
    check_int("coordinates", coordinates, 1)
    check_int("seed", seed, 0)
    if form == "corrected":
        support = BlockSupport(ExactlyK(manifolds, 1), ExactlyK(coordinates, coordinates))
        return FeatureSpec(dim, support, Orthonormal(), SignedGaussian())
    chosen = stream(seed, Role.LAW, _COORDINATES).integers(0, check_int("dim", dim, 1), size=(manifolds, coordinates))
    used, place = np.unique(chosen, return_inverse=True)
    sets = tuple(tuple(np.unique(row).tolist()) for row in place.reshape(chosen.shape))
    scales = GaussianNorms(dim, seed)
    return FeatureSpec(dim, UnionSupport(len(used), sets), RandomSphere(), Scaled(SignedGaussian(), scales))


def sphere_union(
    spheres: int = 3, sphere_dim: int = 1, *, dim: int = 40, radius: float = 1.0, mixing: LeakyMixing | None = None
) -> FeatureSpec:
    """Return a union of spheres of dimension r = ``sphere_dim`` (1: circles), each in a random (r+1)-dim. subspace.

    A sample lies uniformly on one of the spheres, chosen uniformly, about the origin; the r + 1 features that span it
    all fire. With ``mixing`` the union goes through a nonlinear network and is one of curved manifolds in general
    position.

    References
    ----------
    The r-spheres of the generators released with arXiv:2506.04859.
    """
    check_int("spheres", spheres, 1)
    check_real("radius", radius, 0.0, open_low=True)
    size = check_int("sphere_dim", sphere_dim, 1) + 1
    support = BlockSupport(ExactlyK(spheres, 1), ExactlyK(size, size))
    changes = () if mixing is None else (mixing,)
    magnitude = OnSphere(size, Constant(radius))
    return FeatureSpec(dim, support, Subspaces((size,) * spheres), magnitude, observation=changes)
