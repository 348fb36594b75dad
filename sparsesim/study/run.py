"""The one runner: what is missing from the store is computed, by whichever engine, and the table is read back."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, final

from tqdm import tqdm

from sparsesim._arrays import check_int
from sparsesim._identity import key
from sparsesim.study.engine import Chunk, Engine, Inline, WorkerDiedError, make_engine
from sparsesim.study.provenance import code_digest, provenance, source_digest, types_within
from sparsesim.study.store import Failure, Store, Tail
from sparsesim.study.table import Table

if TYPE_CHECKING:
    from sparsesim.study.cell import Cell, Labels, Study

PROTOCOL = 1  # raise it when the meaning of a row changes in a way that the digest of the code does not see


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
class Finished:
    """The run is over: ``done`` cells are in the store, ``failed`` are not, after ``seconds``."""

    done: int
    failed: int
    seconds: float


Event: TypeAlias = Started | CellsDone | Failed | Finished


class StudyFailedError(RuntimeError):
    """Some cells of a study ended in an exception; all the others are in the store."""

    def __init__(self, message: str, failures: Mapping[Labels, Failure]) -> None:
        super().__init__(message)
        self.failures = dict(failures)


class CodeChangedError(RuntimeError):
    """The package was edited while a study ran, so that its rows would stand under the key of other code."""


@final
@dataclass(frozen=True)
class _Item:
    key: str
    labels: Labels
    cell: Cell

    def __repr__(self) -> str:
        return f"cell {dict(self.labels)}"


@final
@dataclass(frozen=True, eq=False)
class _Work:
    """What a worker does with a chunk: evaluate each cell, measure, append the row. It returns nothing."""

    store: Store
    metrics: tuple[Callable[[Any], float], ...]
    study: str
    software: Mapping[str, Any]
    digest: str

    def __call__(self, chunk: Chunk) -> None:
        if code_digest() != self.digest:
            raise CodeChangedError(
                "sparsesim was edited while the study ran; start the run again to compute by the new code."
            )
        for item in chunk.items:
            began = time.perf_counter()
            result = self._measured(item)
            beside = {
                **self.software,
                "time": provenance()["time"],
                "study": self.study,
                "labels": dict(item.labels),
                "seconds": round(time.perf_counter() - began, 6),
            }
            if isinstance(result, Failure):
                self.store.append_failure(item.key, result, beside)
            else:
                self.store.append(item.key, result, beside)
        self.store.sync(every=1.0)  # a power cut costs a second of rows; to wait for the disk takes milliseconds

    def _measured(self, item: _Item) -> dict[str, Any] | Failure:
        try:
            evaluation = item.cell.evaluate()
            status = getattr(getattr(evaluation, "fitted", None), "status", None)
            row: dict[str, Any] = {"status": "done" if status is None else str(status.value)}
            for metric in self.metrics:
                row[metric.__name__] = float(metric(evaluation))
            return row
        except (Exception, SystemExit) as error:  # a cell that calls sys.exit must not end the study
            return Failure(type(error).__qualname__, str(error), traceback.format_exc())


def study_keys(study: Study) -> dict[Labels, str]:
    """Return the key of each cell's row: the cell, the metrics, the protocol and the code that computes them.

    Labels are not part of it: renaming them, or adding cells, recomputes nothing.

    Raises
    ------
    TypeError, ValueError
        If a cell holds something that has no identity, such as an array or NaN.
    """
    kinds = {kind for cell in study.cells.values() for kind in types_within(cell)}
    code = (code_digest(), source_digest([*study.metrics, *kinds]))
    names = tuple(metric.__name__ for metric in study.metrics)
    keys: dict[Labels, str] = {}
    for labels, cell in study.cells.items():
        try:
            keys[labels] = key(cell, names, PROTOCOL, code)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the cell {dict(labels)} of study {study.name} has no key: {error}") from error
    return keys


def table(study: Study, store: Store | str | os.PathLike[str]) -> Table:
    """Return the rows of ``study`` that ``store`` holds, sorted by their labels.

    The columns are the labels, ``status`` and the metrics. The order of cells and segments does not matter.
    """
    keys = study_keys(study)
    rows = _opened(store).load(keys.values())
    names = [name for name, _ in next(iter(study.cells), ())]
    metrics = [metric.__name__ for metric in study.metrics]
    found = [(labels, rows[key]) for labels, key in keys.items() if key in rows]
    lines = [
        [*(value for _, value in labels), row["status"], *(row[metric] for metric in metrics)] for labels, row in found
    ]
    return Table.of_rows([*names, "status", *metrics], lines).sorted(by=names)


def run(
    study: Study,
    store: Store | str | os.PathLike[str],
    *,
    engine: str | Engine = "local",
    workers: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    chunk_size: int | None = None,
) -> Table:
    """Return the full table of ``study``, after computing the cells that ``store`` lacks.

    Interrupt it at any moment, by Ctrl-C or kill -9, and call it again: only what is missing is computed. Cells of
    equal specification are computed once. Same key, same bits: whatever the engine, the order and the chunks.

    Parameters
    ----------
    study : the cells and what is measured on them.
    store : a `Store` or its path, shared with as many other runs as there are.
    engine : ``"local"``, ``"local:4"``, ``"inline"`` or an `Engine`.
    workers : processes of the local engine.
    on_event : called in this thread with `Started`, `CellsDone`, `Failed` and `Finished`; see `progress`.
    chunk_size : cells that go to a worker together; by default few enough for even progress.

    Raises
    ------
    StudyFailedError
        After all other cells are done, if some ended in an exception; ``table(study, store)`` has those that succeeded.
    StoreConflictError
        If one cell has given two different rows.
    """
    store, began = _opened(store), time.monotonic()
    chosen = make_engine(engine, workers) if isinstance(engine, str) else engine
    labels_of = {key: labels for labels, key in reversed(study_keys(study).items())}
    done = store.load(labels_of).keys()
    missing = [
        _Item(key, labels, study.cells[labels]) for key, labels in reversed(labels_of.items()) if key not in done
    ]
    watch = _Watch(store.tail(), {item.key: item.labels for item in missing}, len(labels_of), on_event or _ignore)
    watch.on_event(Started(study.name, len(labels_of), len(done)))
    work = _Work(store, study.metrics, study.name, provenance(), code_digest())
    try:
        if missing:
            with closing(_as_generator(chosen.run(_chunks(missing, chosen, chunk_size), work))) as progressing:
                for _ in progressing:
                    watch.look()
    except WorkerDiedError as error:
        for chunk in error.chunks:
            lost = Failure("WorkerDiedError", "the worker process died on this cell each time it was tried", str(error))
            store.append_failure(chunk.items[0].key, lost, work.software)
    finally:
        store.close()
    watch.look()
    watch.on_event(Finished(len(labels_of) - len(watch.left), len(watch.left), time.monotonic() - began))
    if watch.left:
        raise _failed(study, store, watch)
    return table(study, store)


def _opened(store: Store | str | os.PathLike[str]) -> Store:
    return store if isinstance(store, Store) else Store(store)


def _ignore(event: Event) -> None:
    """Be told and do nothing."""


def _as_generator(states: Iterator[Any]) -> Any:
    """Pass ``states`` on, closing them (and so the engine's workers) when closed itself."""
    try:
        yield from states
    finally:
        if hasattr(states, "close"):
            states.close()


def _chunks(items: Sequence[_Item], engine: Engine, size: int | None) -> list[Chunk]:
    """Deal ``items`` out to chunks in turn, so that a corner of costly cells is spread over all of them."""
    if size is None:
        # 64 chunks a worker: the last one delays the end by at most 1/64. 32 cells: overhead (0.3 ms a chunk) is gone.
        size = 1 if isinstance(engine, Inline) else min(32, max(1, len(items) // (64 * engine.workers)))
    count = -(-len(items) // check_int("chunk_size", size, 1))
    return [Chunk(tuple(items[index::count])) for index in range(count)]


@final
@dataclass(eq=False)
class _Watch:
    """Follows the store, which is the only channel from workers to the driver, and reports what has arrived."""

    tail: Tail
    left: dict[str, Labels]
    total: int
    on_event: Callable[[Event], None]

    def __post_init__(self) -> None:
        for _ in self.tail.new():  # failures of earlier runs are no news
            pass

    def look(self) -> None:
        """Report what has arrived in the store since the last look."""
        before = len(self.left)
        for record in self.tail.new():
            if record.failure is not None and record.key in self.left:
                self.on_event(Failed(self.left[record.key], record.failure))
            elif record.kind == "row":
                self.left.pop(record.key, None)
        if len(self.left) < before:
            self.on_event(CellsDone(self.total - len(self.left), self.total))


def _failed(study: Study, store: Store, watch: _Watch) -> StudyFailedError:
    known = store.failures()
    unknown = Failure("LostRow", "the row is not in the store, though the engine reported no failure", "")
    failures = {labels: known.get(key, unknown) for key, labels in watch.left.items()}
    labels, first = next(iter(failures.items()))
    return StudyFailedError(
        f"{len(failures)} of {watch.total} cells of study {study.name} failed; the others are in {store.path} and "
        f"table(study, store) reads them. Fix the cause and call run(study, store) again: only these are computed.\n"
        f"The first, {dict(labels)}, ended in {first.exc_type}: {first.message}\n{first.traceback}",
        failures,
    )


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
        elif isinstance(event, Failed):
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
    return f"finished in {event.seconds:.1f} s: {event.done} done, {event.failed} failed"
