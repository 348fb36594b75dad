"""The one runner: what is missing from the store is computed, by whichever engine, and the table is read back."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sparsesim._identity import key as key_of
from sparsesim.study.crew import VAIN, Crew, Watch
from sparsesim.study.engine import Engine, Inline, make_engine
from sparsesim.study.events import CellsDone as CellsDone
from sparsesim.study.events import Died as Died
from sparsesim.study.events import Event as Event
from sparsesim.study.events import Failed as Failed
from sparsesim.study.events import Finished as Finished
from sparsesim.study.events import Started as Started
from sparsesim.study.events import progress as progress
from sparsesim.study.grid import Grid
from sparsesim.study.grouping import Grouped
from sparsesim.study.policy import Policy
from sparsesim.study.provenance import code_digest, provenance, source_digest, types_within
from sparsesim.study.roster import Hashes, Roster
from sparsesim.study.store import Failure, Store
from sparsesim.study.table import Table, Value, rank

if TYPE_CHECKING:
    from sparsesim.study.cell import Cell, Labels, Study

PROTOCOL = 1  # raise it when the meaning of a row changes in a way that the digest of the code does not see


class StudyFailedError(RuntimeError):
    """Some cells of a study ended in an exception; all the others are in the store."""

    def __init__(self, message: str, failures: Mapping[Labels, Failure]) -> None:
        super().__init__(message)
        self.failures = dict(failures)


def study_keys(study: Study) -> dict[Labels, str]:
    """Return the key of each cell's row: the cell, the metrics, the protocol and the code that computes them.

    Labels are not part of it: renaming them, or adding cells, recomputes nothing.

    Raises
    ------
    TypeError, ValueError
        If a cell holds something that has no identity, such as an array or NaN.
    """
    return dict(zip(study.cells, _keys(study), strict=True))


def _keys(study: Study) -> Iterator[str]:
    """Yield the key of each cell, in the order of the study."""
    code, names = code_digest(), tuple(metric.__name__ for metric in study.metrics)
    sources = functools.cache(lambda kinds: source_digest([*study.metrics, *kinds]))
    groups: dict[int, tuple[str, frozenset[type]]] = {}
    for labels, cell in study.cells.items():
        try:
            what, kinds = _identity(cell, groups)
            yield key_of(what, names, PROTOCOL, (code, sources(kinds)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"the cell {dict(labels)} of study {study.name} has no key: {error}") from error


def _roster(study: Study) -> Roster:
    """Return the cells of ``study`` in little memory."""
    cells = study.cells
    return Roster(cells.points if isinstance(cells, Grid) else list(cells), _keys(study))


def _identity(cell: Cell, groups: dict[int, tuple[str, frozenset[type]]]) -> tuple[object, frozenset[type]]:
    """Return what a key is made of, and the types in it; ``groups`` remembers those of groups, by their address.

    All cells of a group hold the same tuple, of which a key for each of them would make as many texts.
    """
    if not isinstance(cell, Grouped):
        return cell, frozenset(types_within(cell))
    at = id(cell.group)
    if at not in groups:
        groups[at] = key_of(cell.group), frozenset(types_within(cell))
    return ("grouped", groups[at][0], cell.index), groups[at][1]


def table(study: Study, store: Store | str | os.PathLike[str]) -> Table:
    """Return the rows of ``study`` that ``store`` holds, sorted by their labels.

    The columns are the labels, ``status`` and the metrics. The order of cells and segments does not matter.
    """
    return _table(study, _opened(store), _roster(study))


def _table(study: Study, store: Store, roster: Roster) -> Table:
    """Return `table`, of cells whose keys are known, holding no more of a row than its values."""
    columns = _found(study, store, roster)
    numbers = [each for each in range(len(roster.names)) if columns["status"][roster.place(each)] is not None]
    names = [name for name, _ in next(iter(study.cells), ())]
    for index in reversed(range(len(names))):  # sorts are stable
        numbers.sort(key=lambda number: rank(roster.names[number][index][1]))
    found: dict[str, tuple[Value, ...]] = {
        name: tuple(roster.names[number][index][1] for number in numbers) for index, name in enumerate(names)
    }
    for name, own in columns.items():
        found[name] = tuple(own[roster.place(number)] for number in numbers)
    return Table(found)


def _found(study: Study, store: Store, roster: Roster) -> dict[str, list[Any]]:
    """Return status and metrics of the cells that have a row, by their numbers; None for the others."""
    count = len(roster.names)
    columns: dict[str, list[Any]] = {name: [None] * count for name in ("status", *(m.__name__ for m in study.metrics))}
    hashes = Hashes(roster)
    for record in store.records():
        number = roster.number(record.key) if record.kind == "row" else None
        if number is None:
            continue
        known, text = bool(hashes.known[number]), hash(record.text)
        if hashes.setdefault(record.key, text) != text:
            store.load([record.key])  # says which rows contradict each other
        row = (not known and record.row) or {}
        for name, column in columns.items() if row else ():
            column[number] = sys.intern(row[name]) if isinstance(row[name], str) else row[name]
    return columns


def run(
    study: Study,
    store: Store | str | os.PathLike[str],
    *,
    engine: str | Engine = "local",
    workers: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    policy: Policy | None = None,
) -> Table:
    """Return the full table of ``study``, after computing the cells that ``store`` lacks.

    Interrupt it at any moment, by Ctrl-C or kill -9, and call it again: only what is missing is computed. Cells of
    equal specification are computed once. Same key, same bits: whatever the engine, the order and the chunks.

    A cell on which a worker dies is tried again, alone. Deaths are kept in the store, and after ``policy.deaths`` of
    them, in whatever runs, the cell is given up and not taken up again before `upkeep.retry`.

    Parameters
    ----------
    study : the cells and what is measured on them; `grouped` trains cells of equal shape together.
    store : a `Store` or its path, shared with as many other runs as there are.
    engine : ``"local"``, ``"local:4"``, ``"inline"``, ``"dask:tcp://host:8786"``, ``"slurm:cluster.toml"`` or an
        `Engine`.
    workers : processes of the local engine.
    on_event : called in this thread with `Started`, `CellsDone`, `Failed`, `Died` and `Finished`; see `progress`.
    policy : timeouts, deaths and sizes of chunks.

    Raises
    ------
    StudyFailedError
        After all other cells are done, if some ended in an exception; ``table(study, store)`` has those that succeeded.
    StoreConflictError
        If one cell has given two different rows.
    """
    store, policy = _opened(store), policy or Policy()
    chosen = make_engine(engine, workers) if isinstance(engine, str) else engine
    if policy.timeout is not None and isinstance(chosen, Inline):
        raise ValueError("a timeout kills the worker of a cell, which is this process here; take engine='local:1'.")
    roster = _roster(study)
    watch = Watch(store.tail(), roster, on_event or _ignore)
    _drive(Crew(study, store, policy, watch, provenance()), chosen)
    del watch  # a table is made of the store, and of what is left here
    return _table(study, store, roster)


def _drive(crew: Crew, engine: Engine) -> None:
    """Have the missing cells computed; raise if some failed."""
    began, watch = time.monotonic(), crew.watch
    watch.begin(crew.study, crew.store)
    try:
        crew.work_off(engine)
    finally:
        crew.store.close()
    watch.look()
    left = len(watch.left)
    watch.on_event(Finished(len(watch.labels) - left, left, time.monotonic() - began))
    if left:
        raise _failed(crew.study, crew.store, watch, crew.vain)


def _opened(store: Store | str | os.PathLike[str]) -> Store:
    return store if isinstance(store, Store) else Store(store)


def _ignore(event: Event) -> None:
    """Be told and do nothing."""


def _failed(study: Study, store: Store, watch: Watch, vain: int) -> StudyFailedError:
    known = watch.index.failures()
    reason = "the row is not in the store, though the engine reported no failure"
    if vain >= VAIN:
        reason = f"not tried to the end: {vain} workers in a row died without finishing a cell, on whatever they were"
    unknown = Failure("LostRow", reason, "")
    failures = {
        labels: (known[key].failure if key in known else None) or watch.failed.get(key, unknown)
        for key, labels in watch.left.items()
    }
    labels, first = next(iter(failures.items()))
    return StudyFailedError(
        f"{len(failures)} of {len(watch.labels)} cells of study {study.name} failed; the others are in {store.path} "
        f"and table(study, store) reads them. Fix the cause and call run(study, store) again: only these are "
        f"computed.\nThe first, {dict(labels)}, ended in {first.exc_type}: {first.message}\n{first.traceback}",
        failures,
    )
