"""The one runner: what is missing from the store is computed, by whichever engine, and the table is read back."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

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
from sparsesim.study.grouping import Grouped
from sparsesim.study.policy import Policy
from sparsesim.study.provenance import code_digest, provenance, source_digest, types_within
from sparsesim.study.store import Failure, Store
from sparsesim.study.table import Table

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
    code, names = code_digest(), tuple(metric.__name__ for metric in study.metrics)
    sources = functools.cache(lambda kinds: source_digest([*study.metrics, *kinds]))
    groups: dict[int, tuple[str, frozenset[type]]] = {}
    keys: dict[Labels, str] = {}
    for labels, cell in study.cells.items():
        try:
            what, kinds = _identity(cell, groups)
            keys[labels] = key_of(what, names, PROTOCOL, (code, sources(kinds)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"the cell {dict(labels)} of study {study.name} has no key: {error}") from error
    return keys


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
    store, began, policy = _opened(store), time.monotonic(), policy or Policy()
    chosen = make_engine(engine, workers) if isinstance(engine, str) else engine
    if policy.timeout is not None and isinstance(chosen, Inline):
        raise ValueError("a timeout kills the worker of a cell, which is this process here; take engine='local:1'.")
    keys = study_keys(study)
    watch = Watch(store.tail(), {key: labels for labels, key in reversed(keys.items())}, on_event or _ignore)
    watch.begin(study, store)
    crew = Crew(study, store, policy, watch, provenance())
    try:
        crew.work_off(chosen)
    finally:
        store.close()
    watch.look()
    left = len(watch.left)
    watch.on_event(Finished(len(watch.labels) - left, left, time.monotonic() - began))
    if watch.left:
        raise _failed(study, store, watch, crew.vain)
    return table(study, store)


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
