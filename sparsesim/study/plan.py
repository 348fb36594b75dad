"""Which cells go to a worker together, and which first: chunks sized in seconds, by what finished cells took."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.study.engine import Chunk, Engine
from sparsesim.study.policy import Policy

if TYPE_CHECKING:
    from sparsesim.study.cell import Labels

SAMPLE = 2048  # finished cells that a model is fitted to
LEVELS = 100  # words among the labels that it knows
FIRST = 8  # finished cells before it is fitted first, and again at each fourfold number
SHARE = 4  # a chunk is at most this part of what is left for each worker, so that all end together
Keys: TypeAlias = tuple[str, ...]  # of the cells of a unit of work: one, or those that are trained together


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
    """The units of work that are left. Only their keys are held; a unit is made when it is sent.

    Longest first, where the time is known, so that the last to end is short; equals in an order that is each driver's
    own, so that two drivers of one store begin with different ones. The inline engine takes them as they are declared.

    Parameters
    ----------
    units : what is to be done, in the order of the study.
    labels : of a key.
    make : the unit of some keys, as a worker gets it.
    wanted : whether a unit is still missing from the store.
    """

    def __init__(
        self,
        units: Iterable[Keys],
        labels: Callable[[str], Labels],
        make: Callable[[Keys], Any],
        wanted: Callable[[Keys], bool],
        costs: Costs,
    ) -> None:
        self._left = list(units)[::-1]  # the next is the last
        self._suspects: list[Keys] = []
        self._labels, self._make, self._wanted, self._costs = labels, make, wanted, costs
        self._fit_at = FIRST
        self._model: CostModel | None = None
        self._seconds: list[float] = []

    def __bool__(self) -> bool:
        return bool(self._left or self._suspects)

    def again(self, units: Iterable[Keys]) -> None:
        """Put units back that were lost with another one's worker."""
        for unit in units:
            self._left.insert(0, unit)
            if self._seconds:
                self._seconds.insert(0, float(np.median(self._seconds)))

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
            units = list(self._taken(engine, policy, sent)) if self._left else [self._suspects.pop(0)]
            units = [unit for unit in units if self._wanted(unit)]
            if units:
                sent += 1
                yield Chunk(tuple(map(self._make, units)))

    def _taken(self, engine: Engine, policy: Policy, sent: int) -> Iterator[Keys]:
        """Yield the units of the next chunk."""
        budget, size = math.inf, policy.chunk_size or 1
        if policy.chunk_size is None and self._seconds:
            budget = min(engine.chunk_seconds, sum(self._seconds) / (SHARE * engine.workers))
            size = len(self._left)
        elif policy.chunk_size is None and engine.chunk_seconds > 0 and sent >= 2 * engine.workers:
            size = min(32, max(1, len(self._left) // (64 * engine.workers)))  # until it is known what they take
        while self._left and size > 0 and budget > 0:
            size -= 1
            budget -= self._seconds.pop() if self._seconds else 0.0
            yield self._left.pop()

    def _fit(self, salt: str) -> None:
        self._fit_at = max(4 * self._fit_at, self._costs.count + 1)
        if self._costs.labels:
            self._model = CostModel(self._costs)
            self._sort(salt)

    def _sort(self, salt: str) -> None:
        mixed = [zlib.crc32(f"{salt}{unit[0]}".encode()) for unit in self._left]
        if self._model is None:
            order = np.argsort(mixed)
        else:
            seconds = self._predicted()
            order = np.lexsort((np.array(mixed), np.round(np.log2(seconds))))  # twice as long goes first
            self._seconds = seconds[order].tolist()
        self._left = [self._left[index] for index in order]

    def _predicted(self) -> FloatArray:
        if self._model is None:
            return np.ones(len(self._left))
        cells = self._model.seconds([self._labels(key) for unit in self._left for key in unit])
        starts = np.cumsum([0, *(len(unit) for unit in self._left)])[:-1]
        return np.add.reduceat(cells, starts) if len(self._left) else cells
