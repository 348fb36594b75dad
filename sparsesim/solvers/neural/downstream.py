"""Frozen maps that read the samples, so that it is known which directions matter to what comes after them.

A map acts on samples as a model sees them: normalised to mean zero and E||x||^2 = d unless its training says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, check_int, check_matrix
from sparsesim._identity import Role, stream

_STREAM = 42  # tells the weights of a map from the other random laws of its seed

Directions = tuple[tuple[float, ...], ...]


class DownstreamMap(nn.Module, ABC):
    """A map y(x) that is not trained: its weights are buffers, with a leading axis in an ensemble."""

    @abstractmethod
    def activations(self, x: Tensor) -> list[Tensor]:
        """Return what comes after ``x (..., B, d)``, layer by layer; the last is y(x), ``(..., B, o)``."""

    @abstractmethod
    def pulled_back(self, x: Tensor, slope: Tensor) -> Tensor:
        """Return J(x)' slope, ``(..., B, d)``, for the Jacobian J of y and ``slope (..., B, o)``."""

    def outputs(self, x: Tensor) -> Tensor:
        """Return y(x), ``(..., B, o)``."""
        return self.activations(x)[-1]

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradient ``(..., B, d)`` of ||y(x)||^2 / 2 in x, which is J' y; it knows no label."""
        return self.pulled_back(x, self.outputs(x))


@final
class LinearMap(DownstreamMap):
    """y = x H'."""

    weight: Tensor

    def __init__(self, weight: FloatArray) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32))

    def activations(self, x: Tensor) -> list[Tensor]:
        return [x @ self.weight.mT]

    def pulled_back(self, x: Tensor, slope: Tensor) -> Tensor:
        return slope @ self.weight


@final
class TanhMap(DownstreamMap):
    """y = tanh(x A') B'."""

    first: Tensor
    second: Tensor

    def __init__(self, first: FloatArray, second: FloatArray) -> None:
        super().__init__()
        for name, value in (("first", first), ("second", second)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def activations(self, x: Tensor) -> list[Tensor]:
        hidden = (x @ self.first.mT).tanh()
        return [hidden, hidden @ self.second.mT]

    def pulled_back(self, x: Tensor, slope: Tensor) -> Tensor:
        hidden = (x @ self.first.mT).tanh()
        return ((slope @ self.second) * (1.0 - hidden.square())) @ self.first


@dataclass(frozen=True)
class Downstream(ABC):
    """A frozen map that depends on a sample only through its products with ``directions``.

    Parameters
    ----------
    outputs : o, the number of outputs.
    directions : r rows of d numbers, what the map reads; none stands for all coordinates. With the rows of the
        pseudo-inverse of the true atoms that belong to some features, the map depends on these features alone.
    seed : of its random weights, N(0, 1 / fan-in).
    """

    outputs: int
    directions: Directions = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("outputs", self.outputs, 1)
        check_int("seed", self.seed, 0)
        if not isinstance(self.directions, tuple):
            raise TypeError(f"directions must be a tuple of tuples of numbers; got {type(self.directions).__name__}.")
        if self.directions:
            check_matrix(self.directions, "directions")

    @abstractmethod
    def module(self, dim: int) -> DownstreamMap:
        """Return the map for samples of ``dim`` coordinates."""

    @abstractmethod
    def jacobian(self, dim: int) -> FloatArray:
        """Return the Jacobian ``(o, d)`` of y at the origin."""

    def relevance(self, atoms: FloatArray) -> FloatArray:
        """Return how far y moves, at the origin, with each atom: ||J d_j|| for ``atoms (m, d)``, of shape ``(m,)``."""
        return np.asarray(np.linalg.norm(atoms @ self.jacobian(atoms.shape[1]).T, axis=1))

    def read(self, dim: int) -> FloatArray:
        """Return the directions ``(r, d)`` that the map reads.

        Raises
        ------
        ValueError
            If the directions have another number of coordinates than ``dim``.
        """
        return check_matrix(self.directions, "directions", dim=dim) if self.directions else np.eye(dim)

    def weights(self, layer: int, rows: int, columns: int) -> FloatArray:
        """Return the random weights ``(rows, columns)`` of ``layer``, N(0, 1 / columns)."""
        drawn = stream(self.seed, Role.LAW, _STREAM, layer).standard_normal((rows, columns))
        return np.asarray(drawn / np.sqrt(columns))


@final
@dataclass(frozen=True)
class LinearReadout(Downstream):
    """Reads y = B P x, with P the directions and B random: its Jacobian is the same everywhere."""

    def module(self, dim: int) -> LinearMap:
        return LinearMap(self.jacobian(dim))

    def jacobian(self, dim: int) -> FloatArray:
        read = self.read(dim)
        return np.asarray(self.weights(0, self.outputs, len(read)) @ read)


@final
@dataclass(frozen=True)
class TanhReadout(Downstream):
    """Reads y = B tanh(A P x), with P the directions, A and B random.

    Parameters
    ----------
    hidden : number of tanh units.
    """

    hidden: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("hidden", self.hidden, 1)

    def module(self, dim: int) -> TanhMap:
        return TanhMap(*self._layers(dim))

    def jacobian(self, dim: int) -> FloatArray:
        first, second = self._layers(dim)
        return np.asarray(second @ first)

    def _layers(self, dim: int) -> tuple[FloatArray, FloatArray]:
        read = self.read(dim)
        return self.weights(0, self.hidden, len(read)) @ read, self.weights(1, self.outputs, self.hidden)
