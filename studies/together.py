"""The best of several starts, all of them trained as one batched model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from sparsesim.metrics.evaluation import Evaluation
from sparsesim.study import FitCell, Grouped

Group: TypeAlias = tuple[FitCell, ...]


@cache  # a run takes the cells in any order; a group is small
def evaluations(group: Group) -> tuple[Evaluation, ...]:
    """Return the evaluation of every cell, in order; it is a function of ``group``, computed once for all its rows."""
    return tuple(Grouped(group, 0).together()[0])


def best(group: Group, starts: tuple[int, ...], loss: Callable[[Evaluation], float]) -> Evaluation:
    """Return the evaluation of least ``loss`` among the cells of ``group`` at the places ``starts``, the first of ties.

    A loss of several minima lets different initialisations fall into different ones; ``loss`` must see what a solver
    sees, never the truth.
    """
    return min((evaluations(group)[start] for start in starts), key=loss)
