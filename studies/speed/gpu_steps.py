"""Steps, selections and products on one device, timed by the device's own clock."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsesim.solvers.neural.adam import Adam
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.device.graphs import Replays
from sparsesim.solvers.neural.module import stack
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.train import Body
from studies.speed.plain import PlainAutoencoder, step

Action = Callable[[], object]
FLUSHED = 2**26  # float32 numbers written between two timings that are to find nothing in a cache
BATCHES = 8  # different batches, taken in turn


@dataclass(frozen=True)
class Clock:
    """Times actions on ``device``: the median is taken by the caller.

    ``run`` actions are timed together, as often as ``repetitions``. With ``cold`` a buffer larger than the cache is
    written before each, and they are timed one by one.
    """

    device: torch.device
    repetitions: int = 50
    run: int = 20
    cold: bool = False
    buffer: list[Tensor] = field(default_factory=list, compare=False)

    def times(self, action: Action) -> np.ndarray:
        """Return seconds an action, ``(repetitions,)``, after a few that are not counted."""
        for _ in range(6):
            action()
        count = 1 if self.cold else self.run
        return np.array([self._one(action, count) / count for _ in range(self.repetitions)])

    def _one(self, action: Action, count: int) -> float:
        if self.cold:
            self._flush()
        if self.device.type != "cuda":
            started = time.perf_counter()
            for _ in range(count):
                action()
            return time.perf_counter() - started
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(count):
            action()
        end.record()
        end.synchronize()
        return 1e-3 * float(begin.elapsed_time(end))

    def _flush(self) -> None:
        if not self.buffer:
            self.buffer.append(torch.zeros(FLUSHED, device=self.device))
        self.buffer[0].add_(1.0)


def batches(dim: int, batch: int, device: torch.device, members: int = 1) -> list[Tensor]:
    """Return Gaussian noise ``(B, d)``, or ``(E, B, d)``, as often as `BATCHES`."""
    lead = () if members == 1 else (members,)
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((*lead, batch, dim), generator=generator).to(device) for _ in range(BATCHES)]


def ours(solver: NeuralSolver, dim: int, device: torch.device, *, members: int = 1, graphs: bool = True) -> Action:
    """Return what takes one step of ``members`` of our models on noise; as graphs where the device has such.

    The precision is that of the solver's training, but for products, of which `place.products` decides.
    """
    training = solver.training
    parts = [solver.module(dim, np.random.default_rng(e)) for e in range(members)]
    module = parts[0] if members == 1 else stack(parts)
    place.move_(module.train(), device)
    optimiser = Adam(module, training, members > 1)
    generators = tuple(torch.Generator(device).manual_seed(e) for e in range(members))
    body = Body(module, optimiser, training.steps, generators, precision=training.precision)
    take: Callable[[int, Tensor], Any] = Replays(body, module.repeats) if graphs and device.type == "cuda" else body
    steps = itertools.cycle(range(training.steps))
    given = itertools.cycle(batches(dim, training.batch_size, device, members))

    def ahead() -> None:
        index = next(steps)
        optimiser.prepare(index)
        take(index, next(given))

    return ahead


def plain(kind: str, dim: int, width: int, batch: int, k: int, device: torch.device) -> Action:
    """Return what takes one step of the same in plain PyTorch."""
    model = PlainAutoencoder(kind, dim, width, k).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
    given = itertools.cycle(batches(dim, batch, device))
    return lambda: step(model, optimiser, next(given))


def launches(action: Action) -> float:
    """Return how many kernels and copies one action starts on the GPU."""
    activity = torch.profiler.ProfilerActivity.CUDA
    action()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[activity]) as profile:
        action()
        torch.cuda.synchronize()
    return float(sum(event.device_type.name == "CUDA" for event in profile.events()))


def waits(action: Action, count: int = 8) -> float:
    """Return 1 if any of ``count`` actions waits for the device, which torch then refuses, else 0."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(count):
            action()
    except RuntimeError:
        return 1.0
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0
