"""Worlds with known truth: what is said (`FeatureSpec`, hashable) apart from what is drawn (`FeatureModel`, arrays).

A sample is ``x = codes @ atoms + bias + noise`` with sparse ``codes``. Which features fire is a `SupportLaw`, how
their directions lie a `Geometry`, how strongly they fire a `MagnitudeLaw`; the axes are independent. Where a world says
so, the signal ``codes @ atoms`` is changed before bias and noise are added, entries of x are lost at last, coefficients
depend on a label, and targets come with x.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim._identity import Role, fork, pass_over, stream
from sparsesim._source import Source
from sparsesim.generators.laws import Geometry as Geometry
from sparsesim.generators.laws import MagnitudeLaw as MagnitudeLaw
from sparsesim.generators.laws import SecondOrderLaw as SecondOrderLaw
from sparsesim.generators.laws import Support as Support
from sparsesim.generators.laws import SupportLaw as SupportLaw
from sparsesim.generators.moments import Estimate, Moments
from sparsesim.generators.moments import moments as moments_of
from sparsesim.generators.moments import signal_energy as energy_of
from sparsesim.generators.noise import Gaussian, NoiseLaw
from sparsesim.generators.observation import AddedSignal, BoolArray, Missing, Observation, SignalMap
from sparsesim.generators.segments import Segments, SegmentTable
from sparsesim.generators.targets import Readout, TargetMap
from sparsesim.kernels.synthesis import synthesise

if TYPE_CHECKING:
    import torch

NOISELESS = Gaussian(0.0)
_SEGMENTS, _TARGETS, _CHANGES = 0, 1, 2  # tell apart what is drawn from the entropy of a world


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """Samples with their truth: ``x (n, d)`` and ``codes (n, m)``.

    Attributes
    ----------
    x : (n, d) samples, codes @ atoms + bias + noise where the world is linear (`FeatureModel.is_linear`).
    codes : (n, m) true codes.
    observed : (n, d) which entries of x were not lost, in a world with `Missing`.
    targets : (n, outputs), in a world with a `Readout`.
    labels : (n,), in a world with `Segments`.
    """

    x: FloatArray
    codes: Codes
    observed: BoolArray | None = None
    targets: FloatArray | None = None
    labels: IntArray | None = None


@final
@dataclass(frozen=True)
class FeatureSpec:
    """A declarative, hashable description of a world; `build` draws the directions.

    Parameters
    ----------
    dim : d, the ambient dimension.
    support, geometry, magnitude : the three laws.
    noise : additive noise, such as ``Gaussian(sigma)`` or ``SignalToNoise(db)``; none by default.
    bias : Euclidean norm of a constant offset in a random direction.
    observation : changes of the signal codes @ atoms, in their order, before bias and noise: `Interactions`,
        `LeakyMixing`, `Background`.
    missing : which entries of x are lost at last.
    segments : a label on which the coefficients depend.
    targets : a downstream map of the codes.
    """

    dim: int
    support: SupportLaw
    geometry: Geometry
    magnitude: MagnitudeLaw
    noise: NoiseLaw = NOISELESS
    bias: float = 0.0
    observation: tuple[Observation, ...] = ()
    missing: Missing | None = None
    segments: Segments | None = None
    targets: Readout | None = None

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
        self._check_observation()

    def _check_observation(self) -> None:
        if not isinstance(self.observation, tuple):
            raise TypeError(f"observation must be a tuple of changes; got {self.observation!r}. Pass (change,).")
        for place, change in enumerate(self.observation):
            if isinstance(change, type) or not hasattr(change, "realise") or isinstance(change, Segments | Readout):
                raise TypeError(
                    f"observation[{place}] must be a change of the signal such as Background(rank=4, fraction=0.2); "
                    f"got {change!r}. Missing, Segments and Readout have arguments of their own."
                )
        for name, kind in (("missing", Missing), ("segments", Segments), ("targets", Readout)):
            if not isinstance(getattr(self, name), kind | None):
                raise TypeError(f"{name} must be a {kind.__name__}(...) or None; got {getattr(self, name)!r}.")

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.support.n_features

    def build(self, rng: Rng) -> FeatureModel:
        """Return the realised world: atoms ``(m, d)``, bias ``(d,)``, and what observation, segments and targets draw.

        Worlds that differ only in the latter share atoms and bias under one ``rng``.
        """
        atom_rng, bias_rng = fork(rng, 2)
        atoms = self.geometry.atoms(self.n_features, self.dim, atom_rng)
        direction = bias_rng.standard_normal(self.dim)
        bias = self.bias * direction / np.linalg.norm(direction)
        low, high = bias_rng.integers(0, 2**64, size=2, dtype=np.uint64).tolist()
        return FeatureModel(self, atoms, bias, low + (high << 64))


@final
@dataclass(frozen=True, eq=False)
class FeatureModel:
    """The realised ground truth of a `FeatureSpec`: it samples, streams and describes itself.

    Attributes
    ----------
    spec : what was asked for.
    atoms : (m, d) unit rows, read-only; the directions before any change of the signal.
    bias : (d,) constant offset, read-only.
    entropy : a number below 2^128 from which observation, segments and targets are drawn.
    observation : the realised changes of the signal, one for each of ``spec.observation``.
    segments : the realised tables, if the world has labels.
    targets : the realised downstream map, if there is one.
    """

    spec: FeatureSpec
    atoms: FloatArray
    bias: FloatArray
    entropy: int = 0
    observation: tuple[SignalMap, ...] = field(init=False)
    segments: SegmentTable | None = field(init=False)
    targets: TargetMap | None = field(init=False)

    def __post_init__(self) -> None:
        expected = (self.spec.n_features, self.spec.dim)
        if self.atoms.shape != expected:
            raise ValueError(f"the geometry must return atoms of shape (m, d)={expected}; got {self.atoms.shape}.")
        check_int("entropy", self.entropy, 0, 2**128 - 1)
        object.__setattr__(self, "atoms", read_only(self.atoms))
        object.__setattr__(self, "bias", read_only(self.bias))
        segments, targets = self.spec.segments, self.spec.targets
        table = None if segments is None else segments.realise(self.n_features, self._drawing(_SEGMENTS))
        task = None if targets is None else targets.realise(self.n_features, self._drawing(_TARGETS))
        object.__setattr__(self, "segments", table)
        object.__setattr__(self, "targets", task)
        object.__setattr__(self, "observation", self._changes())

    def _drawing(self, index: int) -> Rng:
        return stream(self.entropy, Role.OBSERVATION, index)

    def _changes(self) -> tuple[SignalMap, ...]:
        changes: tuple[SignalMap, ...] = ()
        for index, change in enumerate(self.spec.observation):
            energy = partial(self._energy_after, changes)
            changes += (change.realise(self.atoms, energy, self._drawing(_CHANGES + index)),)
        return changes

    def _energy_after(self, changes: tuple[SignalMap, ...]) -> float:
        return energy_of(self, changes).value

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.spec.n_features

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return self.spec.dim

    @property
    def is_linear(self) -> bool:
        """Whether x = codes @ atoms + bias + something of mean zero, independent of the codes.

        If not, the true atoms and codes do not rebuild x: reconstruction by the truth is no ceiling, and only scores of
        codes, supports and (for what is learned before the change) directions have a meaning.
        """
        lost = self.spec.missing is not None and self.spec.missing.rate > 0
        return not lost and all(isinstance(change, AddedSignal) for change in self.observation)

    def check_linear(self, purpose: str) -> None:
        """Raise ValueError, naming ``purpose``, unless the world `is_linear`."""
        if not self.is_linear:
            raise ValueError(
                f"{purpose} needs a world that is linear in its codes, since the true atoms must rebuild x; got "
                f"observation={self.spec.observation!r:.200}, missing={self.spec.missing!r}. Leave these out, or score "
                "fits of this world by their codes alone."
            )

    @cached_property
    def noise_std(self) -> float:
        """Standard deviation of the noise in each coordinate (root mean square over them)."""
        return self.spec.noise.std(self.signal_energy, self.dim)

    @cached_property
    def energy(self) -> Estimate:
        """E||signal||^2 and its standard error, 0 where it is a closed form; see `signal_energy`."""
        return energy_of(self, self.observation)

    def signal_energy(self) -> float:
        """Return E||signal||^2 (summed over d, without bias and noise), signal = codes @ atoms after its changes.

        With coefficients of mean mu_i and second moment s_i, independent given the support, this is
        E||sum mu_i d_i||^2 + sum_i p_i (s_i - mu_i^2) ||d_i||^2 for an unchanged signal: exact where the law has
        `energy`, else the mean over 20,000 samples of a stream of its own. `energy` has its standard error.
        """
        return self.energy.value

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of x before entries are lost, with their errors; exact where there are closed forms."""
        return moments_of(self)

    def mean(self) -> FloatArray:
        """Return E[x] ``(d,)``, before entries are lost; exact where x is linear in the codes, else see `moments`."""
        return self.moments.mean

    def covariance(self) -> FloatArray:
        """Return the covariance ``(d, d)`` of x, before entries are lost; ``moments`` says whether it is exact."""
        return self.moments.covariance

    @cached_property
    def _single_precision(self) -> FloatArray:
        return read_only(self.atoms.astype(np.float32))

    def change(self, codes: Codes, changes: tuple[SignalMap, ...], rng: Rng) -> FloatArray:
        """Return codes @ atoms after ``changes``, ``(n, d)``, in the precision of ``codes (n, m)``."""
        signal = self._synthesise(codes)
        for change, own in zip(changes, fork(rng, len(changes)), strict=True):
            signal = change.apply(signal, codes, own)
        if changes and not np.isfinite(signal).all():
            raise ValueError(
                f"the changed signal leaves the range of {codes.dtype}: {self.spec.observation!r:.200}. "
                "Bring the scales nearer to 1, or sample in float64."
            )
        return signal

    def _synthesise(self, codes: Codes, offset: FloatArray | None = None) -> FloatArray:
        atoms = self._single_precision if codes.dtype == np.float32 else self.atoms
        return synthesise(codes, atoms, offset)

    def draw_codes(self, n: int, rng: Rng, dtype: np.dtype[Any]) -> tuple[Codes, IntArray | None]:
        """Return the codes ``(n, m)`` of ``n`` fresh samples, and their labels ``(n,)`` if the world has any."""
        support_rng, magnitude_rng = fork(rng, 2)
        support, labels = self.spec.support.draw(n, support_rng), None
        with np.errstate(over="ignore", under="ignore"):  # both are found below
            data = self.spec.magnitude.draw(support, magnitude_rng)
            if self.segments is not None:
                labels = self.segments.draw(n, fork(rng, 1)[0])
                data = self.segments.change(data, labels, support.indptr, support.indices)
            data = data.astype(dtype, copy=False)
        if not (np.isfinite(data).all() and data.all()):
            raise ValueError(
                f"the coefficients hold zeros or infinities in {dtype}: {self.spec.magnitude!r} leaves its range, or "
                f"segments={self.spec.segments!r} shift them to zero. Bring scales nearer to 1, or sample in float64."
            )
        return support.codes(data), labels

    def sample(self, n: int, rng: Rng, *, dtype: npt.DTypeLike = np.float64) -> Batch:
        """Return ``n`` fresh samples with their codes, in ``dtype`` (float32 or float64).

        The cost follows the number of features that fire, not m. Worlds that differ only in their noise share their
        codes, labels, targets, backgrounds and lost entries under one ``rng``.
        """
        n = check_int("n", n, 0)
        kind = np.dtype(dtype)
        if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"dtype must be float32 or float64; got {kind}.")
        code_rng, noise_rng = fork(rng, 2)
        batch = self._complete(n, code_rng, noise_rng, kind)
        target_rng, lost_rng = fork(code_rng, 2)
        targets = None if self.targets is None else self.targets.draw(batch.codes, target_rng)
        observed = None if self.spec.missing is None else self.spec.missing.lose_(batch.x, lost_rng)
        return replace(batch, observed=observed, targets=targets)

    def complete(self, n: int, rng: Rng, dtype: np.dtype[Any]) -> Batch:
        """Return the samples of `sample` before entries are lost, without targets."""
        code_rng, noise_rng = fork(rng, 2)
        return self._complete(n, code_rng, noise_rng, dtype)

    def _complete(self, n: int, code_rng: Rng, noise_rng: Rng, kind: np.dtype[Any]) -> Batch:
        codes, labels = self.draw_codes(n, code_rng, kind)
        if self.observation:
            x = self.change(codes, self.observation, code_rng)
            x += self.bias.astype(kind)
        else:
            x = self._synthesise(codes, self.bias)
        if self.noise_std > 0:
            x += self.spec.noise.draw((n, self.dim), noise_rng, kind) * np.asarray(self.noise_std, dtype=kind)
        return Batch(x, codes, labels=labels)

    def source(self, *, dtype: npt.DTypeLike = np.float32) -> Source:
        """Return an endless source of fresh samples, for training at scale."""
        return FreshSamples(self, np.dtype(dtype))

    def stream(
        self, batch: int, device: str | torch.device = "cpu", *, rng: Rng, dtype: npt.DTypeLike = np.float32
    ) -> Iterator[torch.Tensor]:
        """Return endless fresh samples as tensors ``(batch, d)`` on ``device``, all drawn from ``rng``.

        SAELens takes it as a data provider, dictionary_learning as ``data`` of its trainer; see `TensorStream`.
        """
        from sparsesim.generators.device import TensorStream

        return TensorStream(self, batch, rng, device, dtype)

    def describe(self) -> dict[str, object]:
        """Return coherence, rates, effective rank, signal-to-noise ratio and which recovery guarantees hold."""
        from sparsesim.generators.describe import describe

        return describe(self)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the world to ``folder``, which afterwards holds all of it or is as it was; see `files.save`."""
        from sparsesim.generators.files import save

        save(self, folder, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> FeatureModel:
        """Return the world saved in ``folder``, which samples the same bits; see `files.load`."""
        from sparsesim.generators.files import load

        return load(folder)


@final
@dataclass(frozen=True, eq=False)
class FreshSamples:
    """The `Source` of a `FeatureModel`: no sample is ever seen twice."""

    model: FeatureModel
    dtype: np.dtype[Any]

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return self.model.dim

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield fresh samples ``(size, d)`` for ever."""
        return self.batches_after(0, size, rng)

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what `batches` yields after its first ``passed`` batches, which are not drawn."""
        pass_over(rng, passed, 2)  # all that a sample takes from its generator are two children
        while True:
            yield self.model.sample(size, rng, dtype=self.dtype).x
