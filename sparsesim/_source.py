"""Endless training data, as the gradient-trained solvers see it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Protocol, final, runtime_checkable

import numpy as np

from sparsesim._arrays import FloatArray, Rng


@runtime_checkable
class Source(Protocol):
    """Endless training data: `FeatureModel.source` draws fresh samples, `Rows` reshuffles given ones."""

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        ...

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield batches ``(size, d)`` for ever."""
        ...


@runtime_checkable
class Skipping(Protocol):
    """A `Source` that goes on where an earlier stream of it was left, without drawing again what was seen."""

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what ``batches(size, rng)`` yields after its first ``passed`` batches."""
        ...


def batches_after(source: Source, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
    """Return the batches of ``source`` after the first ``passed``, which are drawn and left if it is not `Skipping`."""
    if isinstance(source, Skipping):
        return source.batches_after(passed, size, rng)
    return islice(source.batches(size, rng), passed, None)


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """The `Source` of a given matrix ``x (n, d)``: all rows are seen, in random order, before any is seen again."""

    x: FloatArray

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return int(self.x.shape[1])

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield rows in random order, every row once a pass."""
        return self.batches_after(0, size, rng)

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what `batches` yields after its first ``passed`` batches; only orders are drawn of these."""
        order = np.empty(0, dtype=np.int64)
        for index in count():
            while len(order) < size:
                order = np.concatenate([order, rng.permutation(len(self.x))])
            if index >= passed:
                yield self.x[order[:size]]
            order = order[size:]


@final
@dataclass(frozen=True, eq=False)
class SideRows:
    """Given samples ``x (n, d)`` with side information ``side (n, s)``, seen beside each: a label, or a condition.

    As a `Source` it yields rows ``(size, d + s)``, the side information last; ``dim`` is d all the same, since what is
    coded is x. Only a model that asks for s columns can be trained on it.
    """

    x: FloatArray
    side: FloatArray

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return int(self.x.shape[1])

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield rows in random order, every row once a pass."""
        return self.batches_after(0, size, rng)

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what `batches` yields after its first ``passed`` batches."""
        return Rows(np.hstack([self.x, self.side])).batches_after(passed, size, rng)


@final
@dataclass(frozen=True, eq=False)
class Shared:
    """The `Source` of one stream for all models that are trained together on it: each batch is drawn once for all.

    Batches are those of ``source`` and ``rng``, whichever generator a model brings along: a model that is trained alone
    on this object sees the same ones. Weights, and noise of their own, still differ from model to model.
    """

    source: Source
    rng: Rng

    def __post_init__(self) -> None:
        if isinstance(self.source, SideRows | Shared):
            raise TypeError(f"source must be rows or a stream without side information; got {self.source!r:.100}.")

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return self.source.dim

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield batches of ``source``; ``rng`` is not used."""
        return self.batches_after(0, size, rng)

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what `batches` yields after its first ``passed`` batches."""
        return batches_after(self.source, passed, size, copy.deepcopy(self.rng))
