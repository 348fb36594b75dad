"""Frozen maps whose features are known: one that reads directions as they are, and layers of ReLU units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim.solvers.neural.downstream import Downstream, DownstreamMap, LinearMap


@final
@dataclass(frozen=True)
class DirectReadout(Downstream):
    """Reads y = P x, with P the directions: the sample itself where none are given. ``seed`` has no effect."""

    def module(self, dim: int) -> LinearMap:
        return LinearMap(self.jacobian(dim))

    def jacobian(self, dim: int) -> FloatArray:
        read = self.read(dim)
        if len(read) != self.outputs:
            raise ValueError(
                f"outputs must be the number of directions that are read, {len(read)} (all coordinates where none are "
                f"given); got {self.outputs}."
            )
        return read


@final
class ReLUMap(DownstreamMap):
    """y = ReLU(x A' + c) B'."""

    first: Tensor
    offset: Tensor
    second: Tensor

    def __init__(self, first: FloatArray, offset: FloatArray, second: FloatArray) -> None:
        super().__init__()
        for name, value in (("first", first), ("offset", offset), ("second", second)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def activations(self, x: Tensor) -> list[Tensor]:
        hidden = (x @ self.first.mT + self.offset.unsqueeze(-2)).relu()
        return [hidden, hidden @ self.second.mT]

    def pulled_back(self, x: Tensor, slope: Tensor) -> Tensor:
        on = x @ self.first.mT + self.offset.unsqueeze(-2) > 0.0
        return ((slope @ self.second) * on) @ self.first


@final
@dataclass(frozen=True)
class ReLULayer(Downstream):
    """Reads y = B ReLU(A P x + c), with P the directions, A, B and c random: a layer of units that can be looked for.

    Parameters
    ----------
    hidden : number of ReLU units.
    offset : standard deviation of c, positive, so that no unit has its kink at the origin.
    """

    hidden: int = 32
    offset: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("hidden", self.hidden, 1)
        check_real("offset", self.offset, 0.0, open_low=True)

    def units(self, dim: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what each unit reads ``(h, d)``, its offset ``(h,)`` and what it writes ``(h, o)``."""
        read = self.read(dim)
        first = self.weights(0, self.hidden, len(read)) @ read
        offset = self.offset * self.weights(2, self.hidden, 1)[:, 0]
        return first, offset, np.ascontiguousarray(self.weights(1, self.outputs, self.hidden).T)

    def module(self, dim: int) -> ReLUMap:
        first, offset, written = self.units(dim)
        return ReLUMap(first, offset, written.T)

    def jacobian(self, dim: int) -> FloatArray:
        first, offset, written = self.units(dim)
        return np.asarray(written.T @ ((offset > 0.0)[:, None] * first))


@final
@dataclass(frozen=True)
class PassingLayer(Downstream):
    """Reads y = P' ReLU(P x - threshold), with P the directions: it passes on the features along these and no others.

    The unit of a direction writes what it reads, so that for unit directions what a transcoder of this layer is to find
    are the directions themselves. There are as many outputs as coordinates; ``seed`` has no effect.

    Parameters
    ----------
    threshold : what a unit takes away from its reading.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("threshold", self.threshold, 0.0)

    def units(self, dim: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what each unit reads ``(r, d)``, its offset ``(r,)`` and what it writes ``(r, d)``."""
        if self.outputs != dim:
            raise ValueError(f"outputs must be the dimension of the samples, {dim}; got {self.outputs}.")
        read = self.read(dim)
        return read, np.full(len(read), -self.threshold), read

    def module(self, dim: int) -> ReLUMap:
        first, offset, written = self.units(dim)
        return ReLUMap(first, offset, written.T)

    def jacobian(self, dim: int) -> FloatArray:
        """Return zeros: at or below its threshold no unit passes anything on."""
        self.units(dim)
        return np.zeros((dim, dim))
