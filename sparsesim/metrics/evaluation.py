"""One fitted dictionary held against the truth on held-out samples; what is expensive is computed once, when read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias, final

import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsesim._arrays import Codes, FloatArray, IntArray, unit_rows
from sparsesim.metrics.sums import Detection, Energies, Firing, Norms, Pairs


class Truth(Protocol):
    """What a metric reads of the ground truth; a `FeatureModel` has it."""

    @property
    def atoms(self) -> FloatArray:
        """Return the true directions ``(m, d)``."""
        ...

    @property
    def bias(self) -> FloatArray:
        """Return what is added to every sample, ``(d,)``."""
        ...

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        ...


class Samples(Protocol):
    """Held-out samples ``x (n, d)`` with their true codes ``(n, m)``; a `Batch` has them."""

    @property
    def x(self) -> FloatArray:
        """Return the samples ``(n, d)``."""
        ...

    @property
    def codes(self) -> Codes:
        """Return their true codes ``(n, m)``."""
        ...


class Fitted(Protocol):
    """What a metric reads of a solution; a `FittedDictionary` has it."""

    @property
    def atoms(self) -> FloatArray:
        """Return the learned atoms ``(p, d)``."""
        ...

    @property
    def bias(self) -> FloatArray:
        """Return what is added to every output, ``(d,)``."""
        ...

    @property
    def width(self) -> int:
        """Return p, the number of atoms."""
        ...

    def encode(self, x: object) -> Codes:
        """Return the codes ``(n, p)`` of samples ``x (n, d)``."""
        ...

    def decode(self, codes: Codes) -> FloatArray:
        """Return ``codes @ atoms + bias``, ``(n, d)``."""
        ...


# Below this similarity a pair is orthogonal up to rounding (d * 2^-52 stays under it for d < 1e7), and which of many
# orthogonal rows it would be given is arbitrary: no match, rather than one that a rotation of the data changes.
_ORTHOGONAL = 1e-8
_COLUMNS = 256  # atoms whose |cos| are held beside the cosines


@final
@dataclass(frozen=True, eq=False)
class Match:
    """A one-to-one matching of true features to learned atoms, ``r <= min(m, p)`` pairs in ascending feature order.

    Attributes
    ----------
    features, atoms : (r,) indices of the matched pairs; orthogonal rows are not matched.
    similarity : (r,) the matched similarity, |cos| or cos, positive.
    """

    features: IntArray
    atoms: IntArray
    similarity: FloatArray


def match_rows(similarity: FloatArray) -> Match:
    """Return the one-to-one matching of rows to columns that maximises the total ``similarity`` (Hungarian method).

    Only pairs of positive similarity are kept: a row with nothing but orthogonal or opposite columns left stays alone.
    """
    # The copy that clips is half a gigabyte for 16,384 features and 4,096 atoms, and |cos| needs none.
    gains = np.maximum(similarity, 0.0) if similarity.min(initial=0.0) < 0.0 else similarity
    rows, columns = linear_sum_assignment(gains, maximize=True)
    matched = similarity[rows, columns]
    kept = matched > _ORTHOGONAL
    return Match(rows[kept], columns[kept], matched[kept])


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cosine of every row of ``a (m, d)`` with every row of ``b (p, d)``, in float64, clipped to [-1, 1].

    A zero row has cosine 0 with everything.

    Raises
    ------
    ValueError
        If a row holds NaN or infinity.
    """
    for name, rows in (("the true atoms", a), ("the learned atoms", b)):
        if not np.isfinite(rows).all():
            raise ValueError(
                f"{name} hold {np.count_nonzero(~np.isfinite(rows))} NaN or infinite values, so no cosine is defined. "
                "Return the last finite atoms of a diverged fit, or zero rows."
            )
    unit_a, _ = unit_rows(np.asarray(a, dtype=np.float64))
    unit_b, _ = unit_rows(np.asarray(b, dtype=np.float64))
    product = unit_a @ unit_b.T
    return np.clip(product, -1.0, 1.0, out=product)


def entry_keys(codes: Codes) -> IntArray:
    """Return one ascending integer for each stored entry of canonical ``codes``: row * columns + column, ``(nnz,)``."""
    rows = np.repeat(np.arange(codes.shape[0], dtype=np.int64), np.diff(codes.indptr))
    keys: IntArray = rows * codes.shape[1] + codes.indices
    return keys


def locate(keys: IntArray, table: IntArray) -> tuple[IntArray, IntArray]:
    """Return where in ``keys`` stand those that the ascending ``table`` also has, and where in ``table`` they stand."""
    place = np.searchsorted(table, keys)
    inside = np.flatnonzero(place < len(table))
    found = inside[table[place[inside]] == keys[inside]]
    return found, place[found]


def _canonical(codes: Codes) -> Codes:
    """Return ``codes`` with sorted indices and without explicit zeros; the argument, if it is so already."""
    if codes.has_canonical_format and np.all(codes.data):
        return codes
    clean = codes.copy()
    clean.sum_duplicates()
    clean.eliminate_zeros()
    return clean


@final
@dataclass(frozen=True, eq=False)
class Alignment:
    """How learned atoms lie to the true ones; computed once, when first read, and shared by blocks of samples."""

    truth: Truth
    fitted: Fitted

    @cached_property
    def cosines(self) -> FloatArray:
        """Signed cosines ``(m, p)`` of true with learned atoms."""
        return cosines(self.truth.atoms, self.fitted.atoms)

    @cached_property
    def match(self) -> Match:
        """One-to-one matching on |cos|."""
        return match_rows(np.abs(self.cosines))

    @cached_property
    def match_signed(self) -> Match:
        """One-to-one matching on signed cos: an atom that points against a feature does not match it."""
        return match_rows(self.cosines)

    @cached_property
    def nearest(self) -> IntArray:
        """The true feature of largest |cos| with each learned atom, ``(p,)``; several may share one."""
        p = self.fitted.atoms.shape[0]
        blocks = [np.abs(self.cosines[:, start : start + _COLUMNS]).argmax(axis=0) for start in range(0, p, _COLUMNS)]
        return np.concatenate([np.empty(0, dtype=np.int64), *blocks])


class Judged(ABC):
    """What a score may read that is a function of atoms or of sums over samples, however many there were.

    `Evaluation` holds all samples, `sparsesim.metrics.blocks.StreamedEvaluation` saw them block by block.
    """

    truth: Truth
    fitted: Fitted
    alignment: Alignment

    @property
    def cosines(self) -> FloatArray:
        """Signed cosines ``(m, p)`` of true with learned atoms."""
        return self.alignment.cosines

    @property
    def match(self) -> Match:
        """One-to-one matching on |cos|."""
        return self.alignment.match

    @property
    def match_signed(self) -> Match:
        """One-to-one matching on signed cos: an atom that points against a feature does not match it."""
        return self.alignment.match_signed

    @property
    @abstractmethod
    def firing(self) -> Firing:
        """In how many samples features, latents and partners fire."""

    @property
    @abstractmethod
    def detection(self) -> Detection:
        """How often each latent fires with its nearest feature."""

    @property
    @abstractmethod
    def pairs(self) -> Pairs:
        """Moments of the coefficients of features and their partners."""

    @property
    @abstractmethod
    def energies(self) -> Energies:
        """Energies of samples, residuals and reconstructions about the mean."""

    @property
    @abstractmethod
    def norms(self) -> Norms:
        """Energies and norms about zero."""


LEAST_NORM = 1e-6  # samples up to this norm have no relative norm, as in SAELens


@final
@dataclass(frozen=True, eq=False)
class Evaluation(Judged):
    """Truth, solution and held-out samples; codes, cosines and matchings are computed once, when first read.

    Parameters
    ----------
    truth : the `FeatureModel` that made the samples.
    fitted : the `FittedDictionary` under test.
    batch : held-out samples with their true codes.
    alignment : that of the two, where it is known already.
    """

    truth: Truth
    fitted: Fitted
    batch: Samples
    alignment: Alignment = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.alignment is None:
            object.__setattr__(self, "alignment", Alignment(self.truth, self.fitted))
        (m, d), n = self.truth.atoms.shape, self.batch.x.shape[0]
        if self.fitted.atoms.shape[1] != d:
            raise ValueError(
                f"the world has dimension d={d}, but the fitted dictionary has d={self.fitted.atoms.shape[1]}."
            )
        if m == 0 or n == 0:
            raise ValueError(f"an evaluation needs at least one feature and one sample; got m={m} and n={n}.")
        if self.batch.x.shape != (n, d) or self.batch.codes.shape != (n, m):
            raise ValueError(
                f"the batch must hold x of shape (n, d)={(n, d)} and codes of shape (n, m)={(n, m)}; "
                f"got {self.batch.x.shape} and {self.batch.codes.shape}. Sample it from the truth of this evaluation."
            )

    @cached_property
    def true_codes(self) -> Codes:
        """True codes ``(n, m)`` of the held-out samples, indices sorted, explicit zeros removed."""
        return _canonical(self.batch.codes)

    @cached_property
    def codes(self) -> Codes:
        """Learned codes ``(n, p)`` of the held-out samples, indices sorted, explicit zeros removed."""
        codes = self.fitted.encode(self.batch.x)
        expected = (self.batch.x.shape[0], self.fitted.atoms.shape[0])
        if codes.shape != expected:
            raise ValueError(f"encode must return codes of shape (n, p)={expected}; got {codes.shape}.")
        return _canonical(codes)

    @cached_property
    def aligned(self) -> Codes:
        """Learned codes of the matched atoms alone, ``(n, m)``: columns and signs are those of the true features.

        The code of an atom that points against its feature is negated. An unmatched feature has an empty column.
        """
        match, codes, p = self.match, self.codes, self.fitted.atoms.shape[0]
        feature = np.full(p, -1, dtype=np.int64)
        feature[match.atoms] = match.features
        sign = np.ones(p)
        sign[match.atoms] = np.sign(self.cosines[match.features, match.atoms])
        kept = feature[codes.indices] >= 0
        atoms = codes.indices[kept]
        rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))[kept]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=codes.shape[0]))])
        data = codes.data[kept] * sign[atoms].astype(codes.dtype)
        aligned = Codes((data, feature[atoms], indptr), shape=(codes.shape[0], self.truth.atoms.shape[0]))
        aligned.sort_indices()
        return aligned

    @cached_property
    def aligned_atoms(self) -> FloatArray:
        """Unit atoms matched to the true features, ``(m, d)``, with their signs; a zero row where there is none."""
        match = self.match
        rows, _ = unit_rows(np.asarray(self.fitted.atoms, dtype=np.float64)[match.atoms])
        atoms = np.zeros(self.truth.atoms.shape)
        atoms[match.features] = rows * np.sign(self.cosines[match.features, match.atoms])[:, None]
        return atoms

    @cached_property
    def common(self) -> tuple[IntArray, IntArray]:
        """Where in ``true_codes.data`` and in ``aligned.data`` a feature and its atom both fire, ``(hits,)`` each."""
        return locate(entry_keys(self.true_codes), entry_keys(self.aligned))

    @cached_property
    def reconstruction(self) -> FloatArray:
        """Reconstructed samples ``(n, d)``."""
        return self.fitted.decode(self.codes)

    @cached_property
    def firing(self) -> Firing:
        """In how many samples features, latents and partners fire."""
        return Firing.of(self.true_codes, self.codes, self.aligned, self.common)

    @cached_property
    def pairs(self) -> Pairs:
        """Moments of the coefficients of features and their partners."""
        return Pairs.of(self.true_codes, self.aligned, self.common)

    @cached_property
    def energies(self) -> Energies:
        """Energies of samples, residuals and reconstructions about the mean."""
        return Energies.of(self.batch.x, self.reconstruction)

    @cached_property
    def norms(self) -> Norms:
        """Energies and norms about zero."""
        return Norms.of(self.batch.x, self.reconstruction, LEAST_NORM)

    @cached_property
    def detection(self) -> Detection:
        """How often each latent fires with its nearest feature."""
        codes, true, nearest = self.codes, self.true_codes, self.alignment.nearest
        (n, m), p = true.shape, codes.shape[1]
        positive = true.data > 0
        rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(codes.indptr))
        hits, _ = locate(rows * m + nearest[codes.indices], entry_keys(true)[positive])
        return Detection(
            n,
            np.bincount(codes.indices[hits], minlength=p),
            np.bincount(codes.indices, minlength=p),
            np.bincount(true.indices[positive], minlength=m)[nearest],
        )


Metric: TypeAlias = Callable[[Evaluation], float]
