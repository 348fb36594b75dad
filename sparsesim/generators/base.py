"""Worlds with known truth: what is said (`FeatureSpec`, hashable) apart from what is drawn (`FeatureModel`, arrays).

A sample is ``x = codes @ atoms + bias + noise`` with sparse ``codes``. Which features fire is a `SupportLaw`, how
their directions lie a `Geometry`, how strongly they fire a `MagnitudeLaw`; the axes are independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim._identity import Role, fork, stream
from sparsesim._source import Source
from sparsesim.generators.noise import Gaussian, NoiseLaw
from sparsesim.kernels.synthesis import synthesise

NOISELESS = Gaussian(0.0)


@final
@dataclass(frozen=True, eq=False)
class Support:
    """Which features fire in each of ``n`` samples: compressed rows with ascending ``indices`` in each.

    Attributes
    ----------
    indptr : (n + 1,) int64
    indices : (nnz,) int32
    n_features : m
    """

    indptr: IntArray
    indices: IntArray
    n_features: int

    @property
    def n_samples(self) -> int:
        return len(self.indptr) - 1

    def codes(self, data: FloatArray) -> Codes:
        """Return the codes ``(n, m)`` that have ``data (nnz,)`` on this support."""
        return Codes((data, self.indices, self.indptr), shape=(self.n_samples, self.n_features))


class SupportLaw(Protocol):
    """Which features fire. A frozen dataclass of numbers and tuples, so that it has a key."""

    @property
    def n_features(self) -> int: ...

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, after every effect of the law."""
        ...

    def draw(self, n: int, rng: Rng) -> Support: ...


@runtime_checkable
class SecondOrderLaw(SupportLaw, Protocol):
    """A support law whose second moments are known in closed form."""

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, P(i and j fire), with `marginals` on the diagonal."""
        ...

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2 without forming an (m, m) matrix."""
        ...


class Geometry(Protocol):
    """How the feature directions lie in space."""

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``; raises ValueError where (m, d) admits none of this kind."""
        ...


class MagnitudeLaw(Protocol):
    """How strongly the features fire, given which fire; zero has probability zero."""

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        ...

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        ...

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """Samples with their truth: ``x (n, d)`` and ``codes (n, m)`` such that x = codes @ atoms + bias + noise."""

    x: FloatArray
    codes: Codes


@final
@dataclass(frozen=True)
class FeatureSpec:
    """A declarative, hashable description of a world; `build` draws the directions.

    Parameters
    ----------
    dim : d, the ambient dimension.
    support, geometry, magnitude : the three laws.
    noise : additive noise, ``Gaussian(sigma)`` or ``SignalToNoise(db)``; none by default.
    bias : Euclidean norm of a constant offset in a random direction.
    """

    dim: int
    support: SupportLaw
    geometry: Geometry
    magnitude: MagnitudeLaw
    noise: NoiseLaw = NOISELESS
    bias: float = 0.0

    def __post_init__(self) -> None:
        check_int("dim", self.dim, 1)
        check_real("bias", self.bias, 0.0)
        for name in ("support", "geometry", "magnitude", "noise"):
            law = getattr(self, name)
            if isinstance(law, type):
                raise TypeError(f"{name} must be an object, not a class; got {law!r}. Pass {law.__name__}(...).")
        for name, method in (("support", "marginals"), ("geometry", "atoms"), ("magnitude", "second_moment")):
            if not hasattr(getattr(self, name), method):
                raise TypeError(f"{name} must have a method {method}(); got {getattr(self, name)!r}.")
        if not hasattr(self.noise, "std"):
            raise TypeError(
                f"noise must be a noise law such as Gaussian(sigma=0.1) or SignalToNoise(db=20); got {self.noise!r}."
            )

    @property
    def n_features(self) -> int:
        return self.support.n_features

    def build(self, rng: Rng) -> FeatureModel:
        """Return the realised world: atoms ``(m, d)``, bias ``(d,)`` and the standard deviation of the noise."""
        atom_rng, bias_rng = fork(rng, 2)
        atoms = self.geometry.atoms(self.n_features, self.dim, atom_rng)
        direction = bias_rng.standard_normal(self.dim)
        bias = self.bias * direction / np.linalg.norm(direction)
        return FeatureModel(self, atoms, bias)


@final
@dataclass(frozen=True, eq=False)
class FeatureModel:
    """The realised ground truth of a `FeatureSpec`: it samples, streams and describes itself.

    Attributes
    ----------
    spec : what was asked for.
    atoms : (m, d) unit rows, read-only.
    bias : (d,) constant offset, read-only.
    """

    spec: FeatureSpec
    atoms: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        expected = (self.spec.n_features, self.spec.dim)
        if self.atoms.shape != expected:
            raise ValueError(f"the geometry must return atoms of shape (m, d)={expected}; got {self.atoms.shape}.")
        object.__setattr__(self, "atoms", read_only(self.atoms))
        object.__setattr__(self, "bias", read_only(self.bias))

    @property
    def n_features(self) -> int:
        return self.spec.n_features

    @property
    def dim(self) -> int:
        return self.spec.dim

    @cached_property
    def noise_std(self) -> float:
        """Standard deviation of the noise in each coordinate."""
        return self.spec.noise.std(self.signal_energy, self.dim)

    def signal_energy(self) -> float:
        """Return E||codes @ atoms||^2 (summed over d, without bias and noise).

        With coefficients of mean mu_i and second moment s_i, independent given the support, this is
        E||sum mu_i d_i||^2 + sum_i p_i (s_i - mu_i^2) ||d_i||^2: exact where the law has `energy`, else the mean over
        20,000 samples of a stream of its own.
        """
        law, m = self.spec.support, self.n_features
        if not isinstance(law, SecondOrderLaw):
            batch = self._draw(20_000, stream(0, Role.MODEL_PROBE), np.dtype(np.float64))
            return float(np.square(self._synthesise(batch)).sum(axis=1).mean())
        mean, second = self.spec.magnitude.mean(m), self.spec.magnitude.second_moment(m)
        spread = law.marginals() * (second - mean**2) * np.square(self.atoms).sum(axis=1)
        return law.energy(mean[:, None] * self.atoms) + float(spread.sum())

    @cached_property
    def _single_precision(self) -> FloatArray:
        return read_only(self.atoms.astype(np.float32))

    def _synthesise(self, codes: Codes, offset: FloatArray | None = None) -> FloatArray:
        atoms = self._single_precision if codes.dtype == np.float32 else self.atoms
        return synthesise(codes, atoms, offset)

    def _draw(self, n: int, rng: Rng, dtype: np.dtype[Any]) -> Codes:
        support_rng, magnitude_rng = fork(rng, 2)
        support = self.spec.support.draw(n, support_rng)
        with np.errstate(over="ignore", under="ignore"):  # both are found below
            data = self.spec.magnitude.draw(support, magnitude_rng).astype(dtype, copy=False)
        if not (np.isfinite(data).all() and data.all()):
            raise ValueError(
                f"the magnitudes hold zeros or infinities in {dtype}: {self.spec.magnitude!r} leaves its range. "
                "Bring the scale nearer to 1, or sample in float64."
            )
        return support.codes(data)

    def sample(self, n: int, rng: Rng, *, dtype: npt.DTypeLike = np.float64) -> Batch:
        """Return ``n`` fresh samples with their codes, in ``dtype`` (float32 or float64).

        The cost follows the number of features that fire, not m. Worlds that differ only in their noise share their
        codes under one ``rng``.
        """
        n = check_int("n", n, 0)
        kind = np.dtype(dtype)
        if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"dtype must be float32 or float64; got {kind}.")
        code_rng, noise_rng = fork(rng, 2)
        codes = self._draw(n, code_rng, kind)
        x = self._synthesise(codes, self.bias)
        if self.noise_std > 0:
            x += self.spec.noise.draw((n, self.dim), noise_rng, kind) * np.asarray(self.noise_std, dtype=kind)
        return Batch(x, codes)

    def source(self, *, dtype: npt.DTypeLike = np.float32) -> Source:
        """Return an endless source of fresh samples, for training at scale."""
        return FreshSamples(self, np.dtype(dtype))

    def describe(self) -> dict[str, object]:
        """Return coherence, rates, effective rank, signal-to-noise ratio and which recovery guarantees hold."""
        from sparsesim.generators.describe import describe

        return describe(self)


@final
@dataclass(frozen=True, eq=False)
class FreshSamples:
    """The `Source` of a `FeatureModel`: no sample is ever seen twice."""

    model: FeatureModel
    dtype: np.dtype[Any]

    @property
    def dim(self) -> int:
        return self.model.dim

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        while True:
            yield self.model.sample(size, rng, dtype=self.dtype).x
