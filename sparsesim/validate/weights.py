"""A trained one-layer autoencoder as numpy arrays: what a folder of weights becomes, whoever saved it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int


class Activation(Protocol):
    """What makes codes of pre-activations, row by row."""

    def apply(self, u: FloatArray) -> FloatArray:
        """Return the codes ``(n, p)`` of pre-activations ``u (n, p)``."""
        ...


@final
@dataclass(frozen=True)
class Rectified:
    """z = ReLU(u)."""

    def apply(self, u: FloatArray) -> FloatArray:
        return np.maximum(u, 0.0)


@final
@dataclass(frozen=True)
class Largest:
    """z = ReLU(TopK_k(u)), or with ``signed`` u on the k entries of largest magnitude; ties go to the lowest index."""

    k: int
    signed: bool = False

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)

    def apply(self, u: FloatArray) -> FloatArray:
        size = np.abs(u) if self.signed else u
        places = np.argsort(-size, axis=1, kind="stable")[:, : self.k]
        codes = np.zeros_like(u)
        np.put_along_axis(codes, places, np.take_along_axis(u, places, axis=1), axis=1)
        return codes if self.signed else np.maximum(codes, 0.0)


@final
@dataclass(frozen=True)
class GroupMaximum:
    """z = ReLU(u) on the largest entry of each of k consecutive groups of equal size."""

    k: int

    def apply(self, u: FloatArray) -> FloatArray:
        grouped = u.reshape(len(u), self.k, -1)
        first = np.arange(grouped.shape[2]) == grouped.argmax(axis=2)[..., None]
        return np.where(first, np.maximum(grouped, 0.0), 0.0).reshape(u.shape)


@final
@dataclass(frozen=True, eq=False)
class Jump:
    """z = ReLU(u) 1[u > threshold], thresholds ``(p,)``."""

    threshold: FloatArray

    def apply(self, u: FloatArray) -> FloatArray:
        return np.where(u > self.threshold, np.maximum(u, 0.0), 0.0)


@final
@dataclass(frozen=True, eq=False)
class Gate:
    """z = 1[u + gate > 0] ReLU(exp(log_scale) u + magnitude), each ``(p,)``."""

    gate: FloatArray
    log_scale: FloatArray
    magnitude: FloatArray

    def apply(self, u: FloatArray) -> FloatArray:
        return np.where(
            u + self.gate > 0, np.maximum(np.exp(self.log_scale.astype(u.dtype)) * u + self.magnitude, 0.0), 0.0
        )


@final
@dataclass(frozen=True, eq=False)
class LoadedModel:
    """u = (x - shift) W_enc + b_enc, z = activation(u), x_hat = z W_dec + b_dec, for `adapt` and `evaluate`.

    Weights keep the precision of the file, and sums are in that of x where it is higher.

    Attributes
    ----------
    W_enc, b_enc : (d, p) and (p,).
    W_dec, b_dec : (p, d) of any norm, and (d,).
    shift : (d,) what the encoder subtracts, ``b_dec`` or zero.
    activation : of the pre-activations.
    origin : what the file said that it is.
    """

    W_enc: FloatArray
    b_enc: FloatArray
    W_dec: FloatArray
    b_dec: FloatArray
    shift: FloatArray
    activation: Activation
    origin: str

    def encode(self, x: FloatArray) -> FloatArray:
        """Return the codes ``(n, p)`` of samples ``x (n, d)``."""
        return self.activation.apply((x - self.shift) @ self.W_enc + self.b_enc)

    def decode(self, codes: FloatArray) -> FloatArray:
        """Return the reconstruction ``(n, d)`` of ``codes (n, p)``."""
        return codes @ self.W_dec + self.b_dec

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return decode(encode(x)), ``(n, d)``."""
        return self.decode(self.encode(x))

    def __str__(self) -> str:
        d, p = self.W_enc.shape
        return f"{self.origin}: width p={p}, dimension d={d}, {type(self.activation).__name__}"
