"""Engines run chunks of work somewhere. They see no metrics and move no results: the work stores them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

from threadpoolctl import threadpool_limits

from sparsesim._arrays import check_int

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_HEARTBEAT = 0.5  # seconds between two looks at the store while workers compute
_PATIENCE = 3  # deaths of the pool without a finished chunk, before chunks are run one item at a time


@final
@dataclass(frozen=True)
class Chunk:
    """Items of work that go to a worker together."""

    items: tuple[Any, ...]


@final
@dataclass(frozen=True)
class ChunkDone:
    """The work on ``chunk`` has returned."""

    chunk: Chunk


class WorkerDiedError(RuntimeError):
    """Workers died on ``chunks`` of one item each whenever they were tried; all other chunks are done."""

    def __init__(self, message: str, chunks: tuple[Chunk, ...]) -> None:
        super().__init__(message)
        self.chunks = chunks


Work: TypeAlias = Callable[[Chunk], None]


@runtime_checkable
class Engine(Protocol):
    """Runs work on chunks, each at least once; an exception of the work itself ends the run and is raised."""

    @property
    def workers(self) -> int:
        """Return how many chunks are worked on at once."""
        ...

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[ChunkDone | None]:
        """Yield a `ChunkDone` for each chunk, and None about twice a second while none finishes."""
        ...


@final
@dataclass(frozen=True)
class Inline:
    """Runs everything in this process, one chunk after the other: for debuggers and for small studies."""

    @property
    def workers(self) -> int:
        return 1

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[ChunkDone | None]:
        with one_thread():  # around all of them: to enter it takes some milliseconds
            for chunk in chunks:
                work(chunk)
                yield ChunkDone(chunk)


@final
@dataclass(frozen=True)
class Local:
    """Runs chunks in fresh processes on this machine, one thread each; survives workers that are killed.

    When a worker dies the pool is rebuilt and what was in flight goes to the end of the queue. After three deaths
    without a finished chunk the rest is run one item at a time, so that only the items that kill are missing.

    Parameters
    ----------
    processes : workers; by default as many as the cores this process may use.
    """

    processes: int | None = None

    def __post_init__(self) -> None:
        if self.processes is not None:
            check_int("workers", self.processes, 1)

    @property
    def workers(self) -> int:
        return self.processes or _cores()

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[ChunkDone | None]:
        """Yield a `ChunkDone` for each chunk, and None about twice a second while none finishes.

        Raises
        ------
        TypeError
            If the work or an item cannot be sent to another process; nothing has been run then.
        WorkerDiedError
            If some items killed their worker each time; all the others are done.
        """
        waiting = deque(chunks)
        _check_portable(work, waiting)
        deaths = 0
        while waiting and deaths < _PATIENCE:
            finished, cause = yield from _drain(waiting, work, self.workers, 2 * self.workers)
            deaths = 0 if cause is None else 1 if finished else deaths + 1
        yield from _one_by_one(waiting, work)


def _drain(
    waiting: deque[Chunk], work: Work, workers: int, window: int
) -> Generator[ChunkDone | None, None, tuple[int, BaseException | None]]:
    """Run chunks, ``window`` in flight, until none waits or the pool breaks; return how many finished and why it broke.

    Chunks in flight at the break go to the end of the queue, behind those that are not suspected of having caused it.
    """
    from joblib.externals.loky import ProcessPoolExecutor  # here, so that reading a table does not import joblib

    threads = dict.fromkeys((*_BLAS_THREADS, "NUMBA_NUM_THREADS"), "1")
    pool = ProcessPoolExecutor(workers, initializer=_end_with_driver, initargs=(os.getpid(),), env=threads)
    pending: dict[Future[None], Chunk] = {}
    finished, graceful = 0, False
    try:
        while waiting or pending:
            while waiting and len(pending) < window:
                pending[pool.submit(_one_threaded, work, waiting[0])] = waiting[0]
                waiting.popleft()
            ready, _ = wait(pending, timeout=_HEARTBEAT, return_when=FIRST_COMPLETED)
            for future in sorted(ready, key=lambda one: one.exception() is not None):
                future.result()
                finished += 1
                yield ChunkDone(pending.pop(future))
            if not ready:
                yield None
        graceful = True
        return finished, None
    except BrokenExecutor as error:
        waiting.extend(pending.values())
        return finished, error
    finally:
        pool.shutdown(wait=True, kill_workers=not graceful)


def _one_by_one(waiting: Iterable[Chunk], work: Work) -> Iterator[ChunkDone | None]:
    """Run each item alone, so that a death has one culprit, which is not tried again."""
    queue = deque(Chunk((item,)) for chunk in waiting for item in chunk.items)
    lost: list[Chunk] = []
    cause: BaseException | None = None
    while queue:
        left = len(queue)
        finished, broken = yield from _drain(queue, work, workers=1, window=1)
        if broken is not None and len(queue) == left - finished:  # else it died idle, and nothing was in flight
            cause = broken
            lost.append(queue.pop())
    if lost:
        names = "\n".join(f"  {chunk.items[0]!r:.400}" for chunk in lost[:10])
        raise WorkerDiedError(
            f"a worker died each time on {len(lost)} item(s); all others are done. They crash Python or exceed "
            f"the memory; run one with engine='inline' to see. The pool said: {cause}\nThe first of them:\n{names}",
            tuple(lost),
        )


def _check_portable(work: Work, chunks: Iterable[Chunk]) -> None:
    from joblib.externals.loky.backend.reduction import dumps

    try:
        dumps(work)
    except Exception as error:
        raise TypeError(
            f"the metrics cannot be sent to another process ({error}); define them at module level."
        ) from error
    for chunk in chunks:
        for item in chunk.items:
            try:
                dumps(item)
            except Exception as error:
                raise TypeError(
                    f"{item!r:.400} cannot be sent to another process ({error}). Build cells of frozen dataclasses, "
                    "tuples, numbers and strings, or use engine='inline'."
                ) from error


def _one_threaded(work: Work, chunk: Chunk) -> None:
    with one_thread():
        work(chunk)


def _end_with_driver(driver: int) -> None:
    """Start a thread that ends this worker when its driver is gone: a killed driver must not leave workers behind."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(_HEARTBEAT)
        os._exit(1)

    if os.name == "posix":  # elsewhere a process keeps the number of a dead parent
        threading.Thread(target=watch, daemon=True).start()


def _cores() -> int:
    """Return how many cores this process may use, as affinity and container limits have it."""
    from joblib import cpu_count

    return int(cpu_count())


def _first_number(threads: str | None) -> int:
    """Return the outermost level of an ``OMP_NUM_THREADS`` such as ``"4,2"``, or 0."""
    first = (threads or "").split(",")[0].strip()
    return int(first) if first.isdecimal() else 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block numpy, torch and numba compute on one thread, also if imported only there; restored on exit.

    The order in which threads add up is part of a sum's bits, so one thread a cell gives the same bits on all engines.
    """
    before = {name: os.environ.get(name) for name in _BLAS_THREADS}
    torch, numba = sys.modules.get("torch"), sys.modules.get("numba")
    torch_threads = torch.get_num_threads() if torch else 0
    numba_threads = numba.get_num_threads() if numba else 0
    os.environ.update(dict.fromkeys(_BLAS_THREADS, "1"))
    try:
        with threadpool_limits(1):
            if torch:
                torch.set_num_threads(1)
            if numba:
                numba.set_num_threads(1)
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        late = sys.modules.get("torch")
        if torch:
            torch.set_num_threads(torch_threads)
        elif late:  # imported within the block: give it the threads it would have taken outside
            late.set_num_threads(_first_number(before["OMP_NUM_THREADS"]) or _cores())
        if numba:
            numba.set_num_threads(numba_threads)


def make_engine(flag: str, workers: int | None = None) -> Engine:
    """Return the engine that ``flag`` names: ``"inline"``, ``"local"`` or ``"local:4"`` (four workers).

    Raises
    ------
    ValueError
        For another flag, or two different numbers of workers.
    """
    name, colon, count = flag.partition(":")
    if name == "inline" and not colon and workers in (None, 1):
        return Inline()
    if name == "local" and (not colon or (count.isascii() and count.isdigit())):
        if colon and workers not in (None, int(count)):
            raise ValueError(f"engine={flag!r} and workers={workers} contradict each other; give one of them.")
        return Local(int(count) if colon else workers)
    raise ValueError(
        f"engine must be 'inline' (one worker), 'local' or 'local:<workers>'; got {flag!r} with workers={workers}."
    )
