"""Steps that repeat are recorded once as a CUDA graph and replayed: one launch instead of one for each operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import torch
from torch import Tensor

WARM = 3  # steps of a kind taken before one is recorded: libraries set themselves up in the first ones

Terms = dict[str, Tensor]
Body = Callable[[int, Tensor], Terms]


class Recorded(Protocol):
    """A step that can be taken again: it reads ``x`` and leaves its results in ``terms``."""

    @property
    def x(self) -> Tensor: ...

    @property
    def terms(self) -> Terms: ...

    def replay(self) -> None: ...


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """A step as a CUDA graph."""

    x: Tensor
    terms: Terms
    graph: Any

    def replay(self) -> None:
        """Take the step on what ``x`` holds now."""
        self.graph.replay()


def record(body: Body, index: int, x: Tensor) -> Recorded:
    """Return the step ``body(index, x)`` as a graph; recording takes no step."""
    held = x.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        terms = body(index, held)
    return Graph(held, terms, graph)


@final
@dataclass(eq=False)
class Replays:
    """Takes steps; those of which ``kind(index)`` says that they do the same operations are recorded and replayed.

    Attributes
    ----------
    body : takes a step, given its index and batch, and returns the terms of its loss.
    kind : what a step's operations depend on besides the values of tensors; None where it cannot be told.
    """

    body: Body
    kind: Callable[[int], Hashable | None]
    record: Callable[[Body, int, Tensor], Recorded] = record
    seen: Counter[Hashable] = field(default_factory=Counter)
    known: dict[Hashable, Recorded] = field(default_factory=dict)

    def __call__(self, index: int, x: Tensor) -> Terms:
        """Take step ``index`` on the batch ``x`` and return the terms of its loss."""
        kind = self.kind(index)
        if kind is None:
            return self.body(index, x)
        if kind not in self.known:
            self.seen[kind] += 1
            if self.seen[kind] <= WARM:
                return self.body(index, x)
            self.known[kind] = self.record(self.body, index, x)
        recorded = self.known[kind]
        recorded.x.copy_(x)
        recorded.replay()
        terms = {id(term): term for term in recorded.terms.values()}  # one may have two names
        copies = {known: term.clone() for known, term in terms.items()}
        return {name: copies[id(term)] for name, term in recorded.terms.items()}
