"""Cells: everything that decides one row of a table. A cell is frozen, so it has a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Batch, FeatureModel, FeatureSpec
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Encoder, FittedDictionary, SideSolver, Solver, Status
from sparsesim.solvers.least_squares import SupportLeastSquares
from sparsesim.study.table import check_value

Scalar: TypeAlias = str | int | float
Labels: TypeAlias = tuple[tuple[str, Scalar], ...]


class Cell(Protocol):
    """Everything that decides one row: a frozen dataclass whose `evaluate` is a pure function of its fields."""

    def evaluate(self) -> Any:
        """Return what the metrics of the study read, an `Evaluation` in most studies."""
        ...


def labels(**values: Scalar) -> Labels:
    """Return the labels of a cell in the order given; they become the leading columns of the table."""
    return tuple(values.items())


@dataclass(frozen=True)
class _Truth:
    """The world of a seed and its held-out samples, the same for every cell of that seed (paired comparison)."""

    world: FeatureSpec
    seed: int
    n_test: int

    def __post_init__(self) -> None:
        check_int("seed", self.seed, 0)
        check_int("n_test", self.n_test, 2)

    def model(self) -> FeatureModel:
        return self.world.build(stream(self.seed, Role.TRUTH))

    def held_out(self, model: FeatureModel) -> Batch:
        return model.sample(self.n_test, stream(self.seed, Role.TEST))


@final
@dataclass(frozen=True)
class FitCell(_Truth):
    """Fit ``solver`` to ``n_train`` samples of ``world`` and evaluate it on ``n_test`` others.

    All cells of one ``seed`` share the truth, the data and the solver's random stream; ``replica`` changes the
    solver's stream alone. A floor is the cell of a `RandomDictionary`. A solver that asks for side information is given
    the labels of the world, which are observed: in training, and beside the held-out samples.
    """

    solver: Solver
    n_train: int
    replica: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("n_train", self.n_train, 1)
        check_int("replica", self.replica, 0)

    def fit(self) -> tuple[FeatureModel, FittedDictionary]:
        """Return the truth and the dictionary fitted to its training samples."""
        model = self.model()
        train = model.sample(self.n_train, stream(self.seed, Role.TRAIN))
        rng = stream(self.seed, Role.SOLVER, self.replica)
        if isinstance(self.solver, SideSolver) and self.solver.side:
            return model, self.solver.fit_with_side(train.x, _labels(train), rng=rng)
        return model, self.solver.fit(train.x, rng=rng)

    def evaluate(self) -> Evaluation:
        model, fitted = self.fit()
        batch = self.held_out(model)
        if isinstance(self.solver, SideSolver) and self.solver.side:
            fitted = fitted.with_side(_labels(batch))
        return Evaluation(model, fitted, batch)


def _labels(batch: Batch) -> FloatArray:
    """Return the labels of ``batch`` as side information ``(n, 1)``."""
    if batch.labels is None:
        raise ValueError("the solver reads labels, but the world has none: give it segments=Segments(...).")
    return batch.labels[:, None].astype(np.float64)


@final
@dataclass(frozen=True)
class OracleCell(_Truth):
    """The true atoms with ``encoder``: what could be reached if the dictionary were known.

    Without an encoder it is the genie that is also told which features fire, and solves least squares on them.
    """

    encoder: Encoder | None = None

    def evaluate(self) -> Evaluation:
        """Return the true atoms with the encoder, or with the true support, against held-out samples."""
        model = self.model()
        model.check_linear("an OracleCell")
        batch = self.held_out(model)
        encoder = SupportLeastSquares(batch.codes) if self.encoder is None else self.encoder
        fitted = FittedDictionary(model.atoms, model.bias, encoder, Status.CONVERGED)
        return Evaluation(model, fitted, batch)


@final
@dataclass(frozen=True)
class Consistency:
    """The dictionaries that one solver finds in one world from several initialisations."""

    dictionaries: tuple[FittedDictionary, ...]

    @property
    def fitted(self) -> FittedDictionary:
        """The first of them, whose status stands for the row."""
        return self.dictionaries[0]


@final
@dataclass(frozen=True)
class ConsistencyCell:
    """Fit the solver of ``cell`` from ``replicas`` initialisations on the same samples, for agreement between seeds."""

    cell: FitCell
    replicas: int = 3

    def __post_init__(self) -> None:
        check_int("replicas", self.replicas, 2)

    def evaluate(self) -> Consistency:
        return Consistency(tuple(replace(self.cell, replica=index).fit()[1] for index in range(self.replicas)))


@final
@dataclass(frozen=True, eq=False)
class Study:
    """A question, the cells that answer it, and what is measured on each.

    Attributes
    ----------
    name : file name of the store and of the table.
    question : one sentence, printed above every table and figure of the study.
    cells : labels to cell; every cell has the same label names.
    metrics : plain functions of what the cells' `evaluate` returns; the function's name is the column.
    """

    name: str
    question: str
    cells: Mapping[Labels, Cell]
    metrics: tuple[Callable[[Any], float], ...]

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name must be a valid file and identifier name; got {self.name!r}.")
        _check_labels(self.cells)
        names = {name for label in self.cells for name, _ in label}
        columns = [_column(metric) for metric in self.metrics]
        clash = sorted({name for name in columns if columns.count(name) > 1 or name in names or name == "status"})
        if clash:
            raise ValueError(f"metric names must be distinct, differ from the labels and from 'status'; got {clash}.")


def _check_labels(cells: Mapping[Labels, Cell]) -> None:
    orders = {tuple(name for name, _ in label) for label in cells}
    if len(orders) > 1:
        raise ValueError(f"every cell of a study must have the same label names; got {sorted(orders)[:3]}.")
    for order in orders:
        if len(set(order)) < len(order) or "status" in order:
            raise ValueError(f"label names must be distinct and differ from 'status'; got {order}.")
    for label in cells:
        for name, value in label:
            if check_value(f"label {name}", value) != value:
                raise ValueError(f"label {name} must not be NaN, which equals nothing.")


def _column(metric: Callable[[Any], float]) -> str:
    name = getattr(metric, "__name__", None)
    if name is None or not name.isidentifier():
        raise TypeError(f"a metric is a named function, its name is the column; got {metric!r}. Define it with def.")
    return str(name)
