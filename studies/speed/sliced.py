"""A training that is timed slice by slice from within its source, and ended when enough is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng
from sparsesim._source import Source
from sparsesim.solvers.neural.checkpoint import Checkpoint
from sparsesim.solvers.neural.solver import NeuralSolver


class EnoughError(Exception):
    """Ends a training of which enough slices were timed."""


@final
@dataclass
class Sliced:
    """The source of a training whose steps are timed in ``slices`` of ``steps``; the first slice is left out.

    A batch is asked for when the step before it is done, so the time between two requests is that of a step and its
    batch. That is so where batches are fetched one by one: where they hold 2^19 numbers or more. Between slices the
    clock stands still and ``between`` is called.

    Attributes
    ----------
    seconds, drawing : of each slice, and what drawing its batches took of them.
    first : the clock when the first step was done.
    """

    source: Source
    steps: int
    slices: int
    between: Callable[[], None]
    seconds: list[float] = field(default_factory=list)
    drawing: list[float] = field(default_factory=list)
    first: float = float("nan")

    @property
    def dim(self) -> int:
        return self.source.dim

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield the batches of the source until there are enough slices, then raise `EnoughError`."""
        stream, drawn, started = self.source.batches(size, rng), 0.0, time.perf_counter()
        for index in count():
            now = time.perf_counter()
            if index == 1:
                self.first = now
            if index and not index % self.steps:
                if index > self.steps:
                    self.seconds.append(now - started)
                    self.drawing.append(drawn)
                    self.between()
                if len(self.seconds) == self.slices:
                    raise EnoughError
                drawn, started = 0.0, time.perf_counter()
            before = time.perf_counter()
            batch = next(stream)
            drawn += time.perf_counter() - before
            yield batch


def timed(solver: NeuralSolver, source: Sliced, rng: Rng, checkpoint: Checkpoint | None) -> float:
    """Train until `source` has enough, and return the seconds from the call to the end of the first step."""
    started = time.perf_counter()
    try:
        solver.fit_stream(source, rng=rng, checkpoint=checkpoint)
    except EnoughError:
        return source.first - started
    raise ValueError(f"training ended before {source.slices} slices of {source.steps} steps were timed. Train longer.")


def rates(source: Sliced, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds a sample, drawing included, and the share of drawing, of each slice."""
    seconds, drawing = np.array(source.seconds), np.array(source.drawing)
    return seconds / (source.steps * batch), drawing / seconds
