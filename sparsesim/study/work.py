"""What a worker does: evaluates cells, measures, and appends rows to the store. It returns nothing."""

from __future__ import annotations

import faulthandler
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sparsesim.study.engine import Chunk
from sparsesim.study.grouping import Grouped
from sparsesim.study.provenance import code_digest, provenance
from sparsesim.study.store import Failure, Store, lock
from sparsesim.study.upkeep import TRACES

if TYPE_CHECKING:
    from sparsesim.study.cell import Cell, Labels


class CodeChangedError(RuntimeError):
    """The package was edited while a study ran, so that its rows would stand under the key of other code."""


@final
@dataclass(frozen=True)
class Item:
    """A cell with its key and its labels."""

    key: str
    labels: Labels
    cell: Cell


@final
@dataclass(frozen=True)
class Unit:
    """Items that are computed together: one, or the missing ones of a group that is trained as one model."""

    items: tuple[Item, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the items."""
        return tuple(item.key for item in self.items)

    def __repr__(self) -> str:
        return f"cell {dict(self.items[0].labels)}" + (f" and {len(self.items) - 1} more" if self.items[1:] else "")


@final
@dataclass(frozen=True, eq=False)
class Work:
    """What a worker does with a chunk: evaluate each cell, measure, append the row."""

    store: Store
    metrics: tuple[Callable[[Any], float], ...]
    study: str
    software: Mapping[str, Any]
    digest: str
    timeout: float | None = None

    def __call__(self, chunk: Chunk) -> None:
        if code_digest() != self.digest:
            raise CodeChangedError(
                "sparsesim was edited while the study ran; start the run again to compute by the new code."
            )
        for unit in chunk.items:
            with limited(self.store.path, unit.items[0].key, self.timeout):
                self._unit(unit)
        self.store.sync(every=1.0)  # a power cut costs a second of rows; to wait for the disk takes milliseconds

    def _unit(self, unit: Unit) -> None:
        began = time.perf_counter()
        cells = [item.cell for item in unit.items]
        results, together = _evaluated(cells)
        each = (time.perf_counter() - began) / together
        for item, result in zip(unit.items, results, strict=True):
            began = time.perf_counter()
            measured = result if isinstance(result, Failure) else self._measured(result)
            beside = {
                **self.software,
                "time": provenance()["time"],
                "study": self.study,
                "labels": dict(item.labels),
                "seconds": round(each + time.perf_counter() - began, 6),
            }
            if isinstance(item.cell, Grouped):
                beside["grouped"] = together
            if isinstance(measured, Failure):
                self.store.append_failure(item.key, measured, beside)
            else:
                self.store.append(item.key, measured, beside)

    def _measured(self, evaluation: Any) -> dict[str, Any] | Failure:
        try:
            status = getattr(getattr(evaluation, "fitted", None), "status", None)
            row: dict[str, Any] = {"status": "done" if status is None else str(status.value)}
            for metric in self.metrics:
                row[metric.__name__] = float(metric(evaluation))
            return row
        except (Exception, SystemExit) as error:  # a metric that calls sys.exit must not end the study
            return _failure(error)


def _evaluated(cells: list[Cell]) -> tuple[list[Any], int]:
    """Return what each cell evaluates to, or its failure, and how many were trained as one model."""
    first = cells[0]
    try:
        if isinstance(first, Grouped):
            found, together = first.together()
            own = [found[cell.index] for cell in cells if isinstance(cell, Grouped)]
            return [_failure(one) if isinstance(one, Exception) else one for one in own], together
        return [first.evaluate()], 1
    except (Exception, SystemExit) as error:
        return [_failure(error)] * len(cells), 1


def _failure(error: BaseException) -> Failure:
    try:
        message = str(error)
    except Exception as worse:  # an exception that cannot be told fails its cell, and not the study
        message = f"its message cannot be made: {type(worse).__name__}"
    return Failure(type(error).__qualname__, message, "".join(traceback.format_exception(error)))


@contextmanager
def limited(store: Path, key: str, seconds: float | None) -> Iterator[None]:
    """Within the block this process has ``seconds`` left; then it writes its stacks into the store and ends.

    A thread of C does it, so that a kernel that never returns to Python is ended too.
    """
    if seconds is None:
        yield
        return
    path = store / TRACES / f"{key}-{uuid.uuid4().hex[:12]}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x") as file:
        lock(file)  # `fsck` leaves it alone
        faulthandler.dump_traceback_later(seconds, file=file, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            with suppress(OSError):
                path.unlink()


def stacks_at_timeout(store: Path, key: str) -> str:
    """Return what `limited` wrote when the cell of ``key`` was ended, and remove it; empty if it was not."""
    text = ""
    for path in sorted((store / TRACES).glob(f"{key}-*.txt")):
        with suppress(OSError):
            text = text or path.read_text("utf-8", "replace")
            if path.stat().st_size:  # an empty one is in use, or was killed otherwise
                path.unlink()
    return text
