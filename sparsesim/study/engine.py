"""Engines run chunks of work somewhere. They see no metrics and move no results: the work stores them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

from threadpoolctl import threadpool_limits

from sparsesim._arrays import check_int

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
HEARTBEAT = 0.5  # seconds between two looks at the store while workers compute


@final
@dataclass(frozen=True)
class Chunk:
    """Items of work that go to a worker together, and are worked on in their order."""

    items: tuple[Any, ...]


@final
@dataclass(frozen=True)
class ChunkDone:
    """The work on ``chunk`` has returned."""

    chunk: Chunk


@final
@dataclass(frozen=True)
class ChunkLost:
    """The worker of ``chunk`` has died amid it; what it stored before is stored. The engine does not try it again."""

    chunk: Chunk
    reason: str


Work: TypeAlias = Callable[[Chunk], None]
State: TypeAlias = ChunkDone | ChunkLost | None


@runtime_checkable
class Engine(Protocol):
    """Runs work on chunks, each once; an exception of the work itself ends the run and is raised."""

    @property
    def workers(self) -> int:
        """Return how many chunks are worked on at once."""
        ...

    @property
    def chunk_seconds(self) -> float:
        """Return how long a chunk should take, so that what the engine spends on one is little; 0 for single items."""
        ...

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[State]:
        """Yield what became of each chunk, and None about twice a second while nothing is heard of any.

        Chunks are taken from the iterator as workers become free.
        """
        ...


@final
@dataclass(frozen=True)
class Inline:
    """Runs everything in this process, one chunk after the other: for debuggers and for small studies."""

    @property
    def workers(self) -> int:
        return 1

    @property
    def chunk_seconds(self) -> float:
        return 0.0

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[State]:
        with one_thread():  # around all of them: to enter it takes some milliseconds
            for chunk in chunks:
                work(chunk)
                yield ChunkDone(chunk)


@final
@dataclass(frozen=True)
class Local:
    """Runs chunks in fresh processes on this machine, one thread each; survives workers that are killed.

    Each worker is a pool of its own, so that a death costs the chunk that it was on and nobody else's.

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

    @property
    def chunk_seconds(self) -> float:
        return 5.0  # a chunk costs a millisecond, and a worker that is killed loses a cell

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[State]:
        """Yield what became of each chunk, and None about twice a second while nothing is heard of any."""
        source, slots = iter(chunks), [_Slot() for _ in range(self.workers)]
        idle, busy = list(slots), dict[Future[None], tuple[_Slot, Chunk]]()
        try:
            while True:
                while idle and (chunk := next(source, None)) is not None:
                    slot = idle.pop()
                    busy[slot.submit(work, chunk)] = slot, chunk
                if not busy:
                    return
                ready, _ = wait(busy, timeout=HEARTBEAT, return_when=FIRST_COMPLETED)
                for future in ready:
                    slot, chunk = busy.pop(future)
                    idle.append(slot)
                    yield slot.outcome(future, chunk)
                if not ready:
                    yield None
        finally:
            _end(slots)


class _Slot:
    """A place for one worker process, which is started when there is work, and again after a death."""

    def __init__(self) -> None:
        self._pool: Any = None

    def submit(self, work: Work, chunk: Chunk) -> Future[None]:
        """Have the worker begin ``chunk``; one that died while it had nothing to do is replaced, and blames nobody."""
        if self._pool is not None:
            with suppress(BrokenExecutor):
                future: Future[None] = self._pool.submit(one_threaded, work, chunk)
                return future
            self.end()
        from joblib.externals.loky import ProcessPoolExecutor  # here, so that reading a table does not import joblib

        threads = dict.fromkeys((*_BLAS_THREADS, "NUMBA_NUM_THREADS"), "1")
        self._pool = ProcessPoolExecutor(1, initializer=_begin, initargs=(os.getpid(),), env=threads)
        begun: Future[None] = self._pool.submit(one_threaded, work, chunk)
        return begun

    def outcome(self, future: Future[None], chunk: Chunk) -> ChunkDone | ChunkLost:
        """Return what became of a chunk whose ``future`` has ended; an exception of the work is raised."""
        try:
            future.result()
        except BrokenExecutor as error:
            self.end()
            return ChunkLost(chunk, str(error))
        return ChunkDone(chunk)

    def end(self) -> None:
        """Kill the worker, if there is one: rows are with the operating system once appended."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=True)


def _end(slots: Iterable[_Slot]) -> None:
    """Kill all workers at once; a second Ctrl-C meanwhile leaves them to end by themselves, as `_begin` has it."""
    threads = [threading.Thread(target=slot.end, daemon=True) for slot in slots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check_portable(work: Work, items: Iterable[Any]) -> None:
    """Check that ``work`` and ``items`` can be sent to another process.

    Raises
    ------
    TypeError
        If one of them cannot.
    """
    from joblib.externals.loky.backend.reduction import dumps

    try:
        dumps(work)
    except Exception as error:
        raise TypeError(
            f"the metrics cannot be sent to another process ({error}); define them at module level."
        ) from error
    for item in items:
        try:
            dumps(item)
        except Exception as error:
            raise TypeError(
                f"{item!r:.400} cannot be sent to another process ({error}). Build cells of frozen dataclasses, "
                "tuples, numbers and strings, or use engine='inline'."
            ) from error


def one_threaded(work: Work, chunk: Chunk) -> None:
    """Work on ``chunk`` with one thread."""
    with one_thread():
        work(chunk)


def _begin(driver: int) -> None:
    """Leave Ctrl-C to the driver, and end this worker when that is gone: it must not leave workers behind."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(HEARTBEAT)
        os._exit(1)

    with suppress(ValueError):  # only the main thread may say so
        signal.signal(signal.SIGINT, signal.SIG_IGN)

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
    """Return the engine that ``flag`` names.

    ``"inline"``, ``"local"`` or ``"local:4"`` (four workers), ``"dask:tcp://host:8786"`` (a running scheduler), or
    ``"slurm:cluster.toml"`` (see `Slurm`).

    Raises
    ------
    ValueError
        For another flag, or two different numbers of workers.
    """
    name, colon, rest = flag.partition(":")
    if name == "inline" and not colon and workers in (None, 1):
        return Inline()
    if name == "local" and (not colon or (rest.isascii() and rest.isdigit())):
        if colon and workers not in (None, int(rest)):
            raise ValueError(f"engine={flag!r} and workers={workers} contradict each other; give one of them.")
        return Local(int(rest) if colon else workers)
    if name in ("dask", "slurm") and rest and workers is None:
        from sparsesim.study.cluster import Dask, Slurm

        engine: Engine = Dask(rest) if name == "dask" else Slurm.read(rest)
        return engine
    raise ValueError(
        f"engine must be 'inline' (one worker), 'local', 'local:<workers>', 'dask:<address of a scheduler>' or "
        f"'slurm:<file.toml>' (their workers are not counted here); got {flag!r} with workers={workers}."
    )
