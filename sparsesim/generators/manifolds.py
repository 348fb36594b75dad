"""Unions of manifolds, linear and curved: each sample lies on one of them, and the features that span it all fire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy.sparse import csr_array

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, read_only
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
    """One of the given sets of features fires as a whole, each with its weight; the sets may overlap.

    Where they do not, `BlockSupport` (ExactlyK(sets, 1), ExactlyK(size, size)) is the same law without a list.

    Parameters
    ----------
    m : number of features; those in no set never fire.
    sets : features of each set, each named once; a set may be empty.
    weights : the probability of each set, up to a common factor; without any they are equally likely.
    """

    m: int
    sets: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...] = ()

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
        self._check_weights()

    def _check_weights(self) -> None:
        if not isinstance(self.weights, tuple):
            raise TypeError(f"weights must be a tuple of numbers; got {self.weights!r:.80}. Pass tuple(weights).")
        for number, weight in enumerate(self.weights):
            check_real(f"weights[{number}]", weight, 0.0)
        if self.weights and (len(self.weights) != len(self.sets) or not sum(self.weights) > 0.0):
            raise ValueError(
                f"weights must be one number a set, {len(self.sets)}, not all zero; got {self.weights!r:.80}. "
                "Leave them out for sets that are equally likely."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    @cached_property
    def _list(self) -> Support:
        indices = np.array([feature for own in self.sets for feature in sorted(own)], dtype=np.int32)
        return Support(np.cumsum([0, *map(len, self.sets)]), indices, self.n_features)

    @cached_property
    def _incidence(self) -> csr_array:
        return self._list.codes(np.ones(len(self._list.indices)))

    @cached_property
    def _shares(self) -> FloatArray:
        """The probability of each set, ``(sets,)``."""
        weights = np.array(self.weights or (1.0,) * len(self.sets), dtype=np.float64)
        return read_only(weights / weights.sum())

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, the probability of the sets that a feature is in."""
        each = np.repeat(self._shares, np.diff(self._list.indptr))
        return np.minimum(np.bincount(self._list.indices, weights=each, minlength=self.n_features), 1.0)

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal."""
        weighted = self._incidence.multiply(self._shares[:, None]).tocsr()
        joint = (self._incidence.T @ weighted).toarray()
        np.fill_diagonal(joint, self.marginals())  # the same sums in another order
        return np.asarray(joint)

    def scatter(self, vectors: FloatArray) -> FloatArray:
        """Return E[s s^T] ``(d, d)``, s the sum of the firing rows of ``vectors (m, d)``."""
        sums = self._incidence @ check_vectors(vectors, self.n_features)
        return np.asarray(sums.T @ (self._shares[:, None] * sums))

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2, the mean over the sets."""
        sums = self._incidence @ check_vectors(vectors, self.n_features)
        return float(self._shares @ np.square(sums).sum(axis=1))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        count = check_int("n", n, 0)
        picked = (
            rng.choice(len(self.sets), size=count, p=self._shares)
            if self.weights
            else rng.integers(0, len(self.sets), size=count)
        )
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
