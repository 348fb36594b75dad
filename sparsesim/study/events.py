"""What a run reports while it goes on, and how it is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, final

from tqdm import tqdm

from sparsesim.study.store import Failure

if TYPE_CHECKING:
    from sparsesim.study.cell import Labels


@final
@dataclass(frozen=True)
class Started:
    """A run has begun on a study of ``total`` distinct cells, ``done`` of which are in the store already."""

    study: str
    total: int
    done: int


@final
@dataclass(frozen=True)
class CellsDone:
    """``done`` of ``total`` cells are in the store by now."""

    done: int
    total: int


@final
@dataclass(frozen=True)
class Failed:
    """The cell with these ``labels`` ended in an exception; the others go on."""

    labels: Labels
    failure: Failure


@final
@dataclass(frozen=True)
class Died:
    """A worker died on the cell with these ``labels``, the ``deaths``-th to do so; it will be tried again."""

    labels: Labels
    deaths: int


@final
@dataclass(frozen=True)
class Finished:
    """The run is over: ``done`` cells are in the store, ``failed`` are not, after ``seconds``."""

    done: int
    failed: int
    seconds: float


Event: TypeAlias = Started | CellsDone | Failed | Died | Finished


def progress(file: TextIO | None = None, every: float = 30.0) -> Callable[[Event], None]:
    """Return an ``on_event`` that draws a bar on a terminal, elsewhere prints a line in ``every`` seconds at most."""
    out = sys.stderr if file is None else file
    return _Bar(out) if out.isatty() else _Lines(out, every)


@final
class _Bar:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._bar = tqdm(
                total=event.total, initial=event.done, desc=event.study, unit="cell", file=self._out, dynamic_ncols=True
            )
        elif isinstance(event, CellsDone):
            self._bar.update(event.done - self._bar.n)
        elif isinstance(event, Failed | Died):
            self._bar.write(_sentence(event), file=self._out)
        else:
            self._bar.close()


@final
class _Lines:
    def __init__(self, out: TextIO, every: float) -> None:
        self._out, self._every = out, every
        self._next = self._began = 0.0
        self._first = 0

    def __call__(self, event: Event) -> None:
        left = ""
        if isinstance(event, Started):
            self._next, self._began, self._first = 0.0, time.monotonic(), event.done
        if isinstance(event, CellsDone):
            now = time.monotonic()
            if now < self._next:
                return
            if self._next and event.done > self._first:  # the first cells compile, and say little of the others
                seconds = (now - self._began) * (event.total - event.done) / (event.done - self._first)
                left = f", about {_duration(seconds)} left"
            self._next = now + self._every
        print(_sentence(event) + left, file=self._out, flush=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _sentence(event: Event) -> str:
    if isinstance(event, Started):
        return f"{event.study}: {event.done} of {event.total} cells done before"
    if isinstance(event, CellsDone):
        return f"{event.done} of {event.total} cells done"
    if isinstance(event, Failed):
        return f"failed: {dict(event.labels)}: {event.failure.exc_type}: {event.failure.message}"
    if isinstance(event, Died):
        return f"a worker died on {dict(event.labels)}, {event.deaths} by now; it is tried again"
    return f"finished in {event.seconds:.1f} s: {event.done} done, {event.failed} failed"
