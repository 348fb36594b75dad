"""Many small fits as one: gradient-trained solvers of one kind become one batched model, and each row takes its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, final

from sparsesim._arrays import check_int
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.neural.solver import NeuralSolver, fit_together

Member: TypeAlias = tuple[FeatureSpec, Solver, int, int]  # world, solver, seed, replica


@final
@dataclass(frozen=True)
class Group:
    """Solvers that are fitted together, each on ``n_train`` samples of its own world under its own seed.

    A replica has the world and samples of its seed and another initialisation.
    """

    members: tuple[Member, ...]
    n_train: int
    n_test: int

    def __post_init__(self) -> None:
        check_int("n_train", self.n_train, 1)
        check_int("n_test", self.n_test, 2)
        if not self.members:
            raise ValueError("members must hold at least one (world, solver, seed, replica); got an empty tuple.")


@cache  # a run takes the cells in any order; a group is small
def evaluations(group: Group) -> tuple[Evaluation, ...]:
    """Return the evaluation of every member, in order; it is a function of ``group``, computed once for all its rows.

    World and samples are those of a `FitCell` of the member; replica 0 of the solver has a stream beside its replicas.
    """
    models = [world.build(stream(seed, Role.TRUTH)) for world, _, seed, _ in group.members]
    seeds = [seed for _, _, seed, _ in group.members]
    trains = [
        model.sample(group.n_train, stream(seed, Role.TRAIN)).x for model, seed in zip(models, seeds, strict=True)
    ]
    paths = [(replica,) if replica else () for *_, replica in group.members]
    rngs = [stream(seed, Role.SOLVER, *path) for seed, path in zip(seeds, paths, strict=True)]
    neural = [solver for _, solver, _, _ in group.members if isinstance(solver, NeuralSolver)]
    if len(neural) == len(models):
        fits = fit_together(neural, [Rows(x) for x in trains], rngs)
    else:
        fits = [solver.fit(x, rng=rng) for (_, solver, _, _), x, rng in zip(group.members, trains, rngs, strict=True)]
    tests = [model.sample(group.n_test, stream(seed, Role.TEST)) for model, seed in zip(models, seeds, strict=True)]
    return tuple(map(Evaluation, models, fits, tests))
