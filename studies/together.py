"""The best of several starts, all of them trained as one batched model, by the loss that each was trained on."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary
from sparsesim.study import FitCell, Grouped

Group: TypeAlias = tuple[FitCell, ...]

ROWS = 8_192  # coded at once


@cache  # a run takes the cells in any order; a group is small, and only what is shown of it is ever coded
def evaluations(group: Group) -> tuple[Evaluation, ...]:
    """Return the evaluation of every cell, in order; it is a function of ``group``, computed once for all its rows."""
    found: list[Evaluation] = []
    for one in Grouped(group, 0).together()[0]:
        if isinstance(one, Exception):  # who chooses among starts needs them all
            raise one
        found.append(one)
    return tuple(found)


def own_loss(fitted: FittedDictionary, x: FloatArray, penalty: float) -> float:
    """Return the mean over ``x (n, d)`` of ``||x - xhat||^2 + penalty * sum of codes``, without keeping codes."""
    total = 0.0
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        codes = fitted.encode(rows)
        total += float(np.square(rows - fitted.decode(codes)).sum() + penalty * codes.sum())
    return total / len(x)


@cache  # a number for each choice
def _chosen(group: Group, starts: tuple[int, ...], penalty: float) -> int:
    first = group[starts[0]]
    x = first.model().sample(first.n_train, stream(first.seed, Role.TRAIN)).x
    return min(starts, key=lambda start: own_loss(evaluations(group)[start].fitted, x, penalty))


def best(group: Group, starts: tuple[int, ...], penalty: float = 0.0) -> Evaluation:
    """Return the evaluation of least `own_loss` on the training samples among the cells of ``group`` at ``starts``.

    They are starts of one cell: equal but for their replica. A loss of several minima lets them fall into different
    ones, which may differ in a hundredth of the loss and by half of a tilt; thousands of samples do not tell them
    apart where what decides happens once in hundreds, and the training samples, which are tens of thousands, do. The
    choice sees what the solver saw, never the truth. The first of ties is taken.

    Raises
    ------
    ValueError
        If the cells differ in more than their replica.
    """
    alike = {(cell.world, cell.seed, cell.solver, cell.n_train) for cell in (group[start] for start in starts)}
    if len(alike) != 1:
        raise ValueError(f"starts must name one cell at several replicas; got {len(alike)} different cells.")
    return evaluations(group)[_chosen(group, starts, penalty)]
