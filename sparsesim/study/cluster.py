"""Engines on other machines: a running dask cluster, and Slurm through submitit. The store lies on a shared disk."""

from __future__ import annotations

import importlib
import time
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, final

from sparsesim._arrays import check_int, check_real
from sparsesim.study.engine import HEARTBEAT, Chunk, ChunkDone, ChunkLost, State, Work, one_threaded


def _optional(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"engine '{extra}:...' needs {package}, which is not installed: pip install 'sparsesim[{extra}]'."
        ) from error


@final
@dataclass(frozen=True)
class Dask:
    """Runs chunks on the workers of a dask scheduler that is running; no result travels over the network.

    Workers need one thread each (``dask worker --nthreads 1``), the same code, and the folder of the store under the
    same path. The scheduler itself tries a task whose worker died three times more before it says so; with
    ``DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0`` in its environment every death is seen, and what a chunk had
    finished is not run again.

    Parameters
    ----------
    address : of the scheduler, such as ``tcp://host:8786``.
    """

    address: str

    @cached_property
    def workers(self) -> int:
        """Return how many workers there are now, at least one: others may join."""
        distributed = _optional("distributed", "dask")
        with self._client(distributed) as client:
            return max(1, len(client.nthreads()))

    @property
    def chunk_seconds(self) -> float:
        return 30.0  # a task costs the scheduler some milliseconds, with which it serves all workers

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[State]:
        """Yield what became of each chunk, and None about twice a second while nothing is heard of any.

        Raises
        ------
        ImportError
            If dask.distributed is not installed.
        OSError
            If no scheduler answers.
        ValueError
            If a worker has several threads: cells of one process would disturb one another.
        """
        distributed = _optional("distributed", "dask")
        source, pending, ended = iter(chunks), dict[Any, Chunk](), SimpleQueue[Any]()
        with self._client(distributed) as client:
            try:
                while True:
                    for chunk in islice(source, max(0, self._window(client) - len(pending))):
                        name = f"sparsesim-{uuid.uuid4().hex}"
                        future = client.submit(one_threaded, work, chunk, key=name, pure=False)
                        pending[future] = chunk
                        future.add_done_callback(ended.put)  # called in a thread of the client
                    if not pending:
                        return
                    try:
                        yield _heard(distributed, future := ended.get(timeout=HEARTBEAT), pending.pop(future))
                    except Empty:
                        yield None
            finally:
                client.cancel(list(pending))

    def _client(self, distributed: Any) -> Any:
        try:
            return distributed.Client(self.address, set_as_default=False, timeout=10)
        except (OSError, TimeoutError) as error:
            raise OSError(
                f"no dask scheduler answers at {self.address}: {error}. Start one by: dask scheduler"
            ) from error

    def _window(self, client: Any) -> int:
        """Return how many chunks to have with the scheduler: one a worker, since all that it has die with it."""
        threads = client.nthreads()
        several = sorted(name for name, count in threads.items() if count > 1)
        if several:
            raise ValueError(f"dask workers must have one thread each; {several[0]} has more. Start with --nthreads 1.")
        return max(1, len(threads))


def _heard(distributed: Any, future: Any, chunk: Chunk) -> State:
    """Return what became of the chunk of a task that has ended; an exception of the work is raised."""
    error = future.exception() if future.status == "error" else None
    if isinstance(error, distributed.KilledWorker):
        return ChunkLost(chunk, str(error))
    future.result()
    return ChunkDone(chunk)


@final
@dataclass(frozen=True)
class Slurm:
    """Runs chunks as jobs of Slurm arrays, submitted by submitit; the driver waits for them on the login node.

    A job that is preempted is queued again by submitit and repeats its chunk. If the driver is killed, its jobs go on
    and their rows are there when it is started again.

    Parameters
    ----------
    folder : of submitit's scripts, pickles and logs, on the shared disk; they are yours to delete.
    jobs : chunks that are queued or run at once, in arrays of at least half as many; sites allow about 1000.
    minutes : that a chunk should take, a part of the job's time limit.
    cluster : "slurm", or "local" to try it out in processes of this machine.
    parameters : of submitit's executor by name, such as ``slurm_partition`` and ``timeout_min``.
    """

    folder: str
    jobs: int = 200
    minutes: float = 10.0
    cluster: str = "slurm"
    parameters: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_int("jobs", self.jobs, 1)
        check_real("minutes", self.minutes, 0.0, open_low=True)
        if self.cluster not in ("slurm", "local"):
            raise ValueError(f"cluster must be 'slurm' or 'local'; got {self.cluster!r}.")

    @classmethod
    def read(cls, path: str) -> Slurm:
        """Return the engine that a TOML file describes: the fields, and a table ``[parameters]``.

        Raises
        ------
        ValueError
            If it is no TOML, or a field is missing or unknown.
        """
        try:
            given = tomllib.loads(Path(path).read_text("utf-8"))
            parameters = tuple(sorted(given.pop("parameters", {}).items()))
            return cls(**given, parameters=parameters)
        except (tomllib.TOMLDecodeError, TypeError) as error:
            raise ValueError(
                f"{path} must be TOML with folder, and maybe jobs, minutes, cluster and a table [parameters] for "
                f"submitit's executor: {error}"
            ) from error

    @property
    def workers(self) -> int:
        return self.jobs

    @property
    def chunk_seconds(self) -> float:
        return 60.0 * self.minutes

    def run(self, chunks: Iterable[Chunk], work: Work) -> Iterator[State]:
        """Yield what became of each chunk, and None about twice a second while nothing is heard of any.

        Raises
        ------
        ImportError
            If submitit is not installed.
        RuntimeError
            If the work itself raised an exception.
        """
        submitit = _optional("submitit", "slurm")
        executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
        executor.update_parameters(**dict(self.parameters))
        source, pending = iter(chunks), dict[Any, Chunk]()
        try:
            while True:
                # Few large arrays: sites ask for no more than some ten submissions a minute.
                fresh = list(islice(source, self.jobs - len(pending))) if len(pending) <= self.jobs // 2 else []
                if fresh:
                    submitted = executor.map_array(partial(one_threaded, work), fresh)
                    pending.update(zip(submitted, fresh, strict=True))
                if not pending:
                    return
                ended = [job for job in pending if job.done()]
                for job in ended:
                    yield _became(submitit, job, pending.pop(job))
                if not ended:
                    yield None
                    time.sleep(HEARTBEAT)
        finally:
            for job in pending:
                job.cancel(check=False)


def _became(submitit: Any, job: Any, chunk: Chunk) -> State:
    """Return what became of the chunk of a job that has ended; an exception of the work is raised."""
    error = job.exception()
    if error is None:
        return ChunkDone(chunk)
    # Without a result the process was killed; a time limit that is reached is told by an exception of submitit's own.
    raised = isinstance(error, submitit.core.utils.FailedJobError) and "Job not requeued because" not in str(error)
    if raised:
        raise RuntimeError(f"the work on a chunk raised an exception in job {job.job_id}: {error}")
    return ChunkLost(chunk, str(error))
