"""The driver's side of a run: what has arrived in the store, and what becomes of cells on which workers die."""

from __future__ import annotations

import time
import uuid
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, final

from sparsesim.study.engine import HEARTBEAT, ChunkLost, Engine, Inline, check_portable
from sparsesim.study.events import CellsDone, Died, Event, Failed, Started
from sparsesim.study.grouping import Grouped
from sparsesim.study.plan import Costs, Plan
from sparsesim.study.policy import Policy
from sparsesim.study.provenance import code_digest, provenance
from sparsesim.study.roster import Hashes, Keys, Left, Roster, Units
from sparsesim.study.store import Failure, Index, Record, Store, Tail
from sparsesim.study.work import Item, Unit, Work, stacks_at_timeout

if TYPE_CHECKING:
    from sparsesim.study.cell import Study

VAIN = 20  # workers in a row that die without a finished cell, before a run ends: it is not the cells then
SETTLE = 60.0  # seconds: for so long NFS may show an old state of a folder


@final
@dataclass(eq=False)
class Watch:
    """Follows the store, which is the only channel from workers to the driver, and reports what has arrived.

    Attributes
    ----------
    labels : of each key of the study, the first of cells of equal specification.
    index : what the store holds of these.
    left : those that have no row.
    failed : keys that have ended in an exception in this run, and in which; `retry` may clear the record meanwhile.
    """

    tail: Tail
    labels: Roster
    on_event: Callable[[Event], None]
    index: Index = field(init=False)
    costs: Costs = field(default_factory=Costs)
    left: Left = field(init=False)
    failed: dict[str, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = Hashes(self.labels)
        self.index, self.left = Index(rows), Left(self.labels, rows)

    def begin(self, study: Study, store: Store) -> None:
        """Take in what the store holds already; failures of earlier runs are no news."""
        for record in self.tail.new(last=True):
            self._take(record)
        store.warn(self.tail)
        if self.index.conflicts:
            store.load(self.labels)  # says which
        self.on_event(Started(study.name, len(self.labels), len(self.index.rows)))

    def _take(self, record: Record) -> bool:
        known = record.key in self.labels
        if known:
            self.index.add(record)
            if record.kind == "row" and self.costs.wanted:
                self.costs.add(self.labels[record.key], float(record.provenance.get("seconds", 0.0)))
            elif record.kind == "row":
                self.costs.skip()
        return known

    def look(self) -> None:
        """Report what has arrived in the store since the last look."""
        before = len(self.left)
        for record in self.tail.new():
            if self._take(record) and record.failure is not None and record.key in self.left:
                self.failed[record.key] = record.failure
                self.on_event(Failed(self.left[record.key], record.failure))
        if len(self.left) < before:
            self.on_event(CellsDone(len(self.labels) - len(self.left), len(self.labels)))

    def open(self, keys: Keys) -> bool:
        """Return whether a unit with these keys has items that neither have a row nor have failed in this run."""
        return any(key in self.left and key not in self.failed for key in keys)


@final
@dataclass(eq=False)
class Crew:
    """Has the missing cells computed, and deals with those on which workers die."""

    study: Study
    store: Store
    policy: Policy
    watch: Watch
    software: Mapping[str, Any]
    vain: int = 0
    claimed: list[Keys] = field(default_factory=list)  # what engines called done and the store did not show

    def work_off(self, engine: Engine) -> None:
        """Have ``engine`` compute all missing cells but those that are given up."""
        plan = Plan(self._units(), self.watch.labels.__getitem__, self._unit, self._wanted, self.watch.costs)
        timeout = self.policy.timeout
        work = Work(self.store, self.study.metrics, self.study.name, self.software, code_digest(), timeout)
        if plan and not isinstance(engine, Inline):
            check_portable(work, self._samples())
        salt = uuid.uuid4().hex
        while plan and self.vain < VAIN:
            with closing(_as_generator(engine.run(plan.chunks(engine, self.policy, salt), work))) as states:
                for state in states:
                    before = len(self.watch.left)
                    self.watch.look()
                    if isinstance(state, ChunkLost):
                        self._lost(state, plan)
                    elif state is not None:
                        self.claimed += [unit.keys for unit in state.chunk.items if self.watch.open(unit.keys)]
                    self.vain = 0 if len(self.watch.left) < before else self.vain + isinstance(state, ChunkLost)
                    if self.vain >= VAIN:
                        break

        self._settle()

    def _settle(self) -> None:
        """Wait for rows that were appended elsewhere, which a network file system may show late."""
        until = time.monotonic() + SETTLE
        while any(map(self.watch.open, self.claimed)) and time.monotonic() < until:
            time.sleep(HEARTBEAT)
            self.watch.look()

    def _units(self) -> Units:
        """Return what is left, in the order of the study, in which the inline engine goes."""
        roster, first, groups = self.watch.labels, array("l"), dict[Any, list[int]]()
        for number in self.watch.left.numbers():
            cell = self.study.cells[roster.names[number]]
            if self.watch.index.deaths(roster.key(number)) >= self.policy.deaths:
                continue
            members = groups.setdefault(cell.group, []) if isinstance(cell, Grouped) else []
            members.append(number)
            if len(members) == 1:
                first.append(number)
        return Units(roster, first, {members[0]: members for members in groups.values()})

    def _unit(self, keys: Keys) -> Unit:
        return Unit(tuple(Item(key, self.watch.labels[key], self.study.cells[self.watch.labels[key]]) for key in keys))

    def _wanted(self, keys: Keys) -> bool:
        return any(key in self.watch.left for key in keys)

    def _samples(self) -> Iterator[Unit]:
        """Yield a unit for each kind of cell, by the types of its fields: what can be sent is a matter of types."""
        seen = set()
        for key, labels in self.watch.left.items():
            cell: Any = self.study.cells[labels]
            kind = type(cell), *(type(getattr(cell, each.name)) for each in fields(cell))
            if kind not in seen:
                seen.add(kind)
                yield self._unit((key,))

    def _lost(self, state: ChunkLost, plan: Plan) -> None:
        """Put back what a dead worker left undone. It was on the first of that, which alone is to blame."""
        undone = [unit for unit in state.chunk.items if self.watch.open(unit.keys)]
        if not undone:
            return
        done = [unit for unit in state.chunk.items if not self.watch.open(unit.keys)]
        if any([self._stacks(unit) for unit in done]):  # its time was up when its row was stored: nobody is to blame
            return plan.again(unit.keys for unit in undone)
        plan.again(unit.keys for unit in undone[1:])
        unit = undone[0]
        stacks = self._stacks(unit)
        if stacks:
            what = f"it took longer than {self.policy.timeout:g} s and was killed; it runs again when you do"
            return self._fail(unit, Failure("CellTimeout", what, stacks))
        for item in unit.items:
            self.store.append_death(item.key, state.reason, self._beside(item))
        self.watch.look()
        deaths = max(self.watch.index.deaths(key) for key in unit.keys)
        if deaths < self.policy.deaths:
            plan.suspect(unit.keys)
            return self.watch.on_event(Died(unit.items[0].labels, deaths))
        what = (
            f"the worker process died on this cell each time it was tried, {deaths} times. It crashes Python or "
            f"exceeds the memory; run it with engine='inline' to see. It is given up until 'sparsesim retry "
            f"{self.store.path}'"
        )
        self._fail(unit, Failure("WorkerDiedError", what, state.reason))

    def _stacks(self, unit: Unit) -> str:
        # Without a timeout, what lies there was left by a driver that was killed before it read it.
        return "" if self.policy.timeout is None else stacks_at_timeout(self.store.path, unit.items[0].key)

    def _fail(self, unit: Unit, failure: Failure) -> None:
        for item in unit.items:
            self.store.append_failure(item.key, failure, self._beside(item))
        self.watch.look()

    def _beside(self, item: Item) -> dict[str, Any]:
        labels = dict(item.labels)
        return {**self.software, "time": provenance()["time"], "study": self.study.name, "labels": labels}


def _as_generator(states: Iterator[Any]) -> Any:
    """Pass ``states`` on, closing them (and so the engine's workers) when closed itself."""
    try:
        yield from states
    finally:
        if hasattr(states, "close"):
            states.close()
