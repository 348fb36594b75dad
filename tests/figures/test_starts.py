"""The best of several starts is that of least loss on the samples it was trained on, and no more than it is coded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsesim._identity import Role, stream
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.study import FitCell
from studies import together
from studies.absorption import pair

PENALTY = 0.2
STARTS = 4


def cells() -> together.Group:
    solver = ReLUL1(2, PENALTY, training=Training(steps=60, batch_size=64, normalise=False))
    return tuple(FitCell(pair(PENALTY, 0.5), 0, 50, solver, 1_000, start) for start in range(STARTS))


def test_the_loss_is_the_mean_over_all_blocks_of_samples():
    model = pair(PENALTY, 1.0).build(np.random.default_rng(0))
    x = model.sample(together.ROWS + 1_000, np.random.default_rng(1)).x  # two blocks of unlike sizes
    fitted = replace(together.evaluations(cells())[0].fitted, encoder=Lasso(0.1, non_negative=True))
    codes = fitted.encode(x).toarray()
    wanted = (np.square(x - codes @ fitted.atoms - fitted.bias).sum(axis=1) + PENALTY * codes.sum(axis=1)).mean()
    assert together.own_loss(fitted, x, PENALTY) == pytest.approx(wanted, rel=1e-12)  # sums in another order


def test_the_best_start_has_the_least_loss_of_the_training_samples():
    group = cells()
    model = pair(PENALTY, 0.5).build(stream(0, Role.TRUTH))
    x = model.sample(1_000, stream(0, Role.TRAIN)).x
    losses = [together.own_loss(one.fitted, x, PENALTY) for one in together.evaluations(group)]
    assert len(set(losses)) == STARTS
    best = together.best(group, tuple(range(STARTS)), PENALTY)
    assert best is together.evaluations(group)[int(np.argmin(losses))]
    worst = int(np.argmax(losses))
    assert together.best(group, (worst,), PENALTY) is together.evaluations(group)[worst]


def test_held_out_samples_are_coded_for_none_but_who_is_looked_at():
    group = tuple(replace(cell, seed=1) for cell in cells())
    best = together.best(group, tuple(range(STARTS)), PENALTY)
    assert best.codes.shape == (50, 2)
    coded = ["codes" in vars(one) for one in together.evaluations(group)]
    assert sum(coded) == 1


def test_starts_of_different_cells_are_refused():
    group = cells()
    mixed = (*group, replace(group[0], seed=7))
    with pytest.raises(ValueError, match="one cell at several replicas; got 2 different"):
        together.best(mixed, (0, STARTS), PENALTY)
