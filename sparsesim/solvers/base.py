"""What every solver gives back, and the little it is asked for. Solvers never see the truth."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_matrix, read_only, unit_rows
from sparsesim._source import Source
from sparsesim.kernels.synthesis import synthesise


class Status(enum.Enum):
    """How a fit ended. A gradient-trained model never says CONVERGED: it has spent its budget."""

    CONVERGED = "converged"
    BUDGET_SPENT = "budget_spent"
    DIVERGED = "diverged"


@runtime_checkable
class Encoder(Protocol):
    """Finds sparse codes for given atoms, row by row: a row's codes do not depend on the rows beside it."""

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)`` in unit ``atoms (p, d)``."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """A decoder that is not linear in the codes."""

    def decode(self, codes: Codes) -> FloatArray:
        """Return the centred reconstruction ``(n, d)`` of ``codes (n, p)``, which have the norms of atoms folded in."""
        ...


@runtime_checkable
class ReadsSide(Protocol):
    """An encoder or decoder that reads side information, such as a label, beside each sample."""

    def with_side(self, side: FloatArray) -> Any:
        """Return the same for samples beside which ``side (n, s)`` is seen, row by row."""
        ...


SAME_ATOMS = 1e-5  # float32 rounding of unit rows


def check_own_atoms(atoms: FloatArray, own: FloatArray, encoder: str, remedy: str) -> None:
    """Check that ``atoms`` are the ``own`` ones of a trained encoder, which has no codes in others.

    Raises
    ------
    ValueError
        If they are not; the message names the ``encoder`` and says the ``remedy``.
    """
    if atoms.shape != own.shape or np.abs(atoms - own).max(initial=0.0) > SAME_ATOMS:
        raise ValueError(
            f"{encoder} encodes in the atoms it was trained for, {own.shape}; got others, {atoms.shape}. {remedy}"
        )


@final
@dataclass(frozen=True, eq=False)
class FittedDictionary:
    """Learned atoms, a bias and an encoder; ``dataclasses.replace(fitted, encoder=...)`` swaps the encoder.

    Attributes
    ----------
    atoms : (p, d)
        Unit rows (a dead atom may be exactly zero); the norms are folded into the codes. Read-only.
    bias : (d,)
        Subtracted before encoding, added after decoding. Read-only.
    encoder : Encoder
    status : Status
    trace : named series recorded while fitting, e.g. the loss per epoch.
    decoder : None where x_hat = codes @ atoms + bias; else what decodes, and ``atoms`` are a local linearisation of it.
    """

    atoms: FloatArray
    bias: FloatArray
    encoder: Encoder
    status: Status
    trace: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    decoder: Decoder | None = None

    def __post_init__(self) -> None:
        if self.atoms.ndim != 2 or self.bias.shape != (self.atoms.shape[1],):
            raise ValueError(
                f"atoms must have shape (p, d) and bias (d,); got {self.atoms.shape} and {self.bias.shape}."
            )
        norms = np.linalg.norm(self.atoms, axis=1)
        # 1e-5 leaves room for float32 rows normalised in float32 (d <= 1e4: rounding below 1e-6).
        if not np.all((np.abs(norms - 1) < 1e-5) | (norms == 0)):
            raise ValueError(
                "atoms must be unit rows (or exactly zero for a dead atom); "
                f"got norms in [{norms.min():g}, {norms.max():g}]. "
                "Fold the norms into the codes, as `unit_dictionary` does."
            )
        object.__setattr__(self, "atoms", read_only(self.atoms))
        object.__setattr__(self, "bias", read_only(self.bias))

    @property
    def linear_decoder(self) -> bool:
        """Return whether a reconstruction is ``codes @ atoms + bias``."""
        return self.decoder is None

    @property
    def width(self) -> int:
        """Return p, the number of atoms."""
        return int(self.atoms.shape[0])

    @property
    def dim(self) -> int:
        """Return d, the ambient dimension."""
        return int(self.atoms.shape[1])

    def encode(self, x: object) -> Codes:
        """Return the codes ``(n, p)`` of samples ``x (n, d)``; an empty ``x`` has empty codes.

        Raises
        ------
        ValueError, TypeError
            If ``x`` is not a finite real matrix with d columns.
        """
        samples = check_matrix(x, dim=self.dim)
        if not len(samples):
            return Codes((0, self.width), dtype=samples.dtype)
        return self.encoder.encode(
            samples - self.bias.astype(samples.dtype), self.atoms.astype(samples.dtype, copy=False)
        )

    def decode(self, codes: Codes) -> FloatArray:
        """Return the reconstruction ``(n, d)``: ``codes @ atoms + bias``, or that of ``decoder`` where there is one."""
        if codes.shape[1] != self.width:
            raise ValueError(f"codes have {codes.shape[1]} columns, but the dictionary has width p={self.width}.")
        if self.decoder is None:
            return synthesise(codes, self.atoms, self.bias)
        decoded: FloatArray = self.decoder.decode(codes) + self.bias.astype(codes.dtype)
        return decoded

    def with_side(self, side: object) -> FittedDictionary:
        """Return the dictionary for samples beside which ``side (n, s)`` is seen: rows of x and side belong together.

        Raises
        ------
        TypeError
            If its encoder reads no side information.
        ValueError
            If ``side`` is not a finite real matrix of as many columns as it was trained with.
        """
        if not isinstance(self.encoder, ReadsSide):
            raise TypeError(f"this encoder reads nothing beside the samples: {self.encoder!r:.200}. Encode without.")
        known = check_matrix(side, "side")
        decoder = self.decoder.with_side(known) if isinstance(self.decoder, ReadsSide) else self.decoder
        return replace(self, encoder=self.encoder.with_side(known), decoder=decoder)


def unit_dictionary(
    atoms: FloatArray,
    bias: FloatArray,
    encoder: Encoder,
    status: Status,
    trace: Mapping[str, tuple[float, ...]] | None = None,
) -> FittedDictionary:
    """Return the `FittedDictionary` of ``atoms`` of any norm, for an encoder that works with unit atoms."""
    unit, _ = unit_rows(atoms)
    return FittedDictionary(unit, bias, encoder, status, trace or {})


@runtime_checkable
class Solver(Protocol):
    """Learns a dictionary from samples. A frozen dataclass: the configuration is the object."""

    @property
    def width(self) -> int:
        """Return p, the number of atoms that a fit has."""
        ...

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, the same bits for the same ``rng`` state."""
        ...


@runtime_checkable
class StreamSolver(Solver, Protocol):
    """A solver that also learns from endless fresh data."""

    def fit_stream(self, source: Source, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``source``, the same bits for the same ``rng`` state."""
        ...


@runtime_checkable
class SideSolver(Solver, Protocol):
    """A solver that learns from samples and from what is seen beside each: a label, or a condition."""

    @property
    def side(self) -> int:
        """Return s, the number of columns of side information that it asks for; with 0, `fit` is enough."""
        ...

    def fit_with_side(self, x: FloatArray, side: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)`` beside ``side (n, s)``."""
        ...
