"""Which cells go to a worker together, and which first: chunks sized in seconds, by what finished cells took."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, final

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.study.engine import Chunk, Engine
from sparsesim.study.policy import Policy
from sparsesim.study.roster import Keys

if TYPE_CHECKING:
    from sparsesim.study.cell import Labels

SAMPLE = 2048  # finished cells that a model is fitted to
LEVELS = 100  # words among the labels that it knows
FIRST = 8  # finished cells before it is fitted first, and again at each fourfold number
SHARE = 4  # a chunk is at most this part of what is left for each worker, so that all end together


@final
@dataclass(eq=False)
class Costs:
    """The labels and seconds of finished cells, at most `SAMPLE` of them, spread over all."""

    labels: list[Labels] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    count: int = 0

    @property
    def wanted(self) -> bool:
        """Whether the next finished cell is among those that are kept: every second, fourth, ... of many."""
        return self.count % (1 << max(0, (self.count // SAMPLE).bit_length())) == 0

    def skip(self) -> None:
        """Count a finished cell that is not kept."""
        self.count += 1

    def add(self, labels: Labels, seconds: float) -> None:
        """Keep a finished cell; those that took no time (or an unknown one) say nothing."""
        if len(self.labels) >= SAMPLE:
            del self.labels[::2], self.seconds[::2]
        if 0 < seconds < math.inf:
            self.labels.append(labels)
            self.seconds.append(seconds)
        self.count += 1


@final
class CostModel:
    """log seconds, linear in words, in log(1 + |number|) and in their products, over the labels of cells; by ridge.

    It need not be good: a chunk that takes twice the time costs nothing. Predictions leave the range that was seen by
    a factor of 4 at most.
    """

    def __init__(self, costs: Costs) -> None:
        first = costs.labels[0]
        rows = [[value for _, value in labels] for labels in costs.labels]
        self._numeric = [i for i in range(len(first)) if all(not isinstance(row[i], str) for row in rows)]
        self._words = [i for i in range(len(first)) if i not in self._numeric]
        found = {(i, row[i]) for row in rows for i in self._words}
        self._levels = {level: j for j, level in enumerate(sorted(found)[:LEVELS])}
        y = np.log(costs.seconds)
        self._range = y.min() - math.log(4), y.max() + math.log(4)
        x = self._features(costs.labels)
        self._centre, self._mean = x.mean(axis=0), float(y.mean())
        x = x - self._centre
        gram = x.T @ x + 1e-3 * len(y) * np.eye(x.shape[1])
        self._weights = np.linalg.solve(gram, x.T @ (y - self._mean))

    def _features(self, labels: Sequence[Labels]) -> FloatArray:
        numbers = np.array([[float(one[i][1]) for i in self._numeric] for one in labels]).reshape(len(labels), -1)
        numbers = np.log1p(np.minimum(np.abs(numbers), 1e30))
        words = np.zeros((len(labels), len(self._levels)))
        for row, one in enumerate(labels):
            for i in self._words:
                at = self._levels.get((i, one[i][1]))
                if at is not None:
                    words[row, at] = 1.0
        products = (words[:, :, None] * numbers[:, None, :]).reshape(len(labels), -1)
        return np.hstack([words, numbers, products])

    def seconds(self, labels: Sequence[Labels]) -> FloatArray:
        """Return the seconds that cells with these labels are expected to take."""
        blocks = [self._features(labels[start : start + 1024]) for start in range(0, len(labels), 1024)]
        logs = [(block - self._centre) @ self._weights + self._mean for block in blocks]
        found: FloatArray = np.exp(np.clip(np.concatenate([np.empty(0), *logs]), *self._range))
        return found


@final
class Plan:
    """The units of work that are left, as their numbers. A unit is made when it is sent.

    Longest first, where the time is known, so that the last to end is short; equals in an order that is each driver's
    own, so that two drivers of one store begin with different ones. The inline engine takes them as they are declared.

    Parameters
    ----------
    units : the keys of what is to be done, in the order of the study.
    labels : of a key.
    make : the unit of some keys, as a worker gets it.
    wanted : whether a unit is still missing from the store.
    """

    def __init__(
        self,
        units: Sequence[Keys],
        labels: Callable[[str], Labels],
        make: Callable[[Keys], Any],
        wanted: Callable[[Keys], bool],
        costs: Costs,
    ) -> None:
        self._units = units
        self._left = np.arange(len(units) - 1, -1, -1, dtype=np.int32)  # the next is the last
        self._seconds: FloatArray | None = None  # that they are expected to take
        self._typical = 0.0  # of these seconds; 0 where nothing is known
        self._returned: list[Keys] = []
        self._suspects: list[Keys] = []
        self._labels, self._make, self._wanted, self._costs = labels, make, wanted, costs
        self._fit_at = FIRST
        self._model: CostModel | None = None

    def __bool__(self) -> bool:
        return bool(len(self._left) or self._returned or self._suspects)

    def again(self, units: Iterable[Keys]) -> None:
        """Put units back that were lost with another one's worker: they come after those that were never sent."""
        self._returned.extend(units)

    def suspect(self, unit: Keys) -> None:
        """Put back a unit on which a worker died: it runs alone, after all others."""
        self._suspects.append(unit)

    def chunks(self, engine: Engine, policy: Policy, salt: str) -> Iterator[Chunk]:
        """Yield chunks for ``engine`` until nothing is left, each made when it is asked for."""
        ordered, sent = engine.chunk_seconds > 0, 0
        if ordered:
            self._sort(salt)
        while self:
            if ordered and self._costs.count >= self._fit_at:
                self._fit(salt)
            units = [unit for unit in self._taken(engine, policy, sent) if self._wanted(unit)]
            if units:
                sent += 1
                yield Chunk(tuple(map(self._make, units)))

    def _taken(self, engine: Engine, policy: Policy, sent: int) -> list[Keys]:
        """Return the units of the next chunk."""
        size = self._size(engine, policy, sent)
        if not len(self._left):
            waiting, size = (self._returned, size) if self._returned else (self._suspects, 1)
            taken = waiting[:size]
            del waiting[:size]
            return taken
        start = max(0, len(self._left) - size)
        numbers, self._left = self._left[start:][::-1], self._left[:start]
        if self._seconds is not None:
            self._seconds = self._seconds[:start]
        return [self._units[number] for number in numbers.tolist()]

    def _size(self, engine: Engine, policy: Policy, sent: int) -> int:
        """Return how many units the next chunk has at most."""
        if policy.chunk_size is not None:
            return policy.chunk_size
        if self._typical:
            seconds = self._seconds if self._seconds is not None and len(self._left) else self._typical_of_returned()
            budget = min(engine.chunk_seconds, float(seconds.sum()) / (SHARE * engine.workers))
            until = np.cumsum(seconds[::-1])
            return 1 + int(np.searchsorted(until, budget))  # the one with which the budget is spent is the last
        if engine.chunk_seconds > 0 and sent >= 2 * engine.workers and len(self._left):
            return min(32, max(1, len(self._left) // (64 * engine.workers)))  # until it is known what they take
        return 1

    def _typical_of_returned(self) -> FloatArray:
        return np.full(len(self._returned), self._typical)

    def _fit(self, salt: str) -> None:
        self._fit_at = max(4 * self._fit_at, self._costs.count + 1)
        if self._costs.labels:
            self._model = CostModel(self._costs)
            self._sort(salt)

    def _sort(self, salt: str) -> None:
        firsts = (self._units[number][0] for number in self._left.tolist())
        mixed = np.fromiter((zlib.crc32(f"{salt}{key}".encode()) for key in firsts), np.uint32, len(self._left))
        if self._model is None:
            order = np.argsort(mixed)
        else:
            seconds = self._predicted(self._model)
            order = np.lexsort((mixed, np.round(np.log2(seconds))))  # twice as long goes first
            self._seconds = seconds[order]
            self._typical = float(np.median(seconds)) if len(seconds) else self._typical
        self._left = self._left[order]

    def _predicted(self, model: CostModel) -> FloatArray:
        """Return the seconds that each unit is expected to take."""
        numbers, parts = iter(self._left.tolist()), [np.empty(0)]
        while block := [self._units[number] for number in islice(numbers, 1024)]:
            cells = model.seconds([self._labels(key) for unit in block for key in unit])
            starts = np.cumsum([0, *(len(unit) for unit in block)])[:-1]
            parts.append(np.add.reduceat(cells, starts))
        return np.concatenate(parts)
