"""Cells that are trained together, as one batched model. The group is part of a cell, and so of its key."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from sparsesim._arrays import FloatArray, check_int
from sparsesim._identity import Role, stream

if TYPE_CHECKING:
    from sparsesim.generators.base import Batch, FeatureModel
    from sparsesim.metrics.evaluation import Evaluation
    from sparsesim.solvers.base import FittedDictionary
    from sparsesim.study.cell import Cell, FitCell, Labels, Study


@final
@dataclass(frozen=True)
class Grouped:
    """Cell ``index`` of ``group``, all trained as one batched model: what it evaluates to alone, up to rounding.

    A batched product sums in another order, so that the last bits differ from those of separate training, and may
    depend on who else is in the batch. That is why the whole group stands in the key of each of its rows: equal keys
    have equal bits, and a grouped row is never taken for a separate one.
    """

    group: tuple[FitCell, ...]
    index: int

    def __post_init__(self) -> None:
        check_int("index", self.index, 0, len(self.group) - 1)

    def evaluate(self) -> Evaluation:
        """Return the evaluation of this cell, after training the whole group."""
        found = self.together()[0][self.index]
        if isinstance(found, Exception):
            raise found
        return found

    def together(self) -> tuple[list[Evaluation | Exception], int]:
        """Return the evaluation of each cell of the group, and how many were trained as one model.

        That is 1 where the models do not fit together, and each was trained by itself. A cell whose world cannot be
        made or sampled has the reason instead of an evaluation, and the others are trained without it.
        """
        from sparsesim.metrics.evaluation import Evaluation

        made = [_samples(cell) for cell in self.group]
        sound = [(cell, one) for cell, one in zip(self.group, made, strict=True) if not isinstance(one, Exception)]
        fits, together = _fitted([cell for cell, _ in sound], [train for _, (_, train, _) in sound])
        fitted = iter(fits)
        return [
            one if isinstance(one, Exception) else Evaluation(one[0], next(fitted), one[2])  # type: ignore[arg-type]
            for one in made
        ], together


def _samples(cell: FitCell) -> tuple[FeatureModel, FloatArray, Batch] | Exception:
    """Return the world of ``cell`` with its training and held-out samples, or why there are none."""
    try:
        model = cell.model()
        return model, model.sample(cell.n_train, stream(cell.seed, Role.TRAIN)).x, cell.held_out(model)
    except (MemoryError, OSError):  # of the machine, not of the cell: without it the others would have other bits
        raise
    except Exception as error:
        return error


def _fitted(cells: Sequence[FitCell], data: Sequence[FloatArray]) -> tuple[list[FittedDictionary], int]:
    """Return the fit of each of ``cells`` to its samples, and how many were trained as one model."""
    from sparsesim._source import Rows
    from sparsesim.solvers.neural.solver import NeuralSolver, fit_together

    rngs = [stream(cell.seed, Role.SOLVER, cell.replica) for cell in cells]
    solvers = [cell.solver for cell in cells if isinstance(cell.solver, NeuralSolver)]
    if len(solvers) == len(cells) > 0 and fits_together(cells):
        return fit_together(solvers, [Rows(x) for x in data], rngs), len(cells)
    return [cell.solver.fit(x, rng=rng) for cell, x, rng in zip(cells, data, rngs, strict=True)], 1


def grouped(study: Study, size: int) -> Study:
    """Return ``study`` with its cells in groups of at most ``size`` that are trained as one batched model.

    Cells go together whose solvers are gradient-trained, of one kind, shape and training, on worlds of one dimension
    and training sets of one size: they may differ in the seed, the replica, the learning rate and in numbers that
    the model holds as buffers, such as penalties. Groups are filled in the order of the study, so that cells added
    at its end leave full groups as they are. All other cells stay as they are, also those of a solver that is shown
    labels.
    """
    check_int("size", size, 2)
    kinds: list[tuple[Any, list[Labels]]] = []
    forms: dict[Any, list[int]] = {}
    for labels, cell in study.cells.items():
        form = _form(cell)
        if form is not None:
            _placed(kinds, forms.setdefault(form, []), labels, cell)
    cells: dict[Labels, Cell] = dict(study.cells)
    for _, members in kinds:
        for start in range(0, len(members), size):
            block = members[start : start + size]
            group: Any = tuple(study.cells[labels] for labels in block)
            if len(block) > 1:
                cells |= {labels: Grouped(group, index) for index, labels in enumerate(block)}
    return replace(study, cells=cells)


def _placed(kinds: list[tuple[Any, list[Labels]]], near: list[int], labels: Labels, cell: Cell) -> None:
    """Add ``labels`` to the first of the kinds at ``near`` whose models are stacked with this cell's, or to a new one.

    Models are compared once for each solver: seeds change nothing about their form.
    """
    for index in near:
        seen, members = kinds[index]
        solver = cell.solver  # type: ignore[attr-defined]
        if solver not in seen and fits_together((next(iter(seen.values())), cell)):  # type: ignore[arg-type]
            seen[solver] = cell
        if solver in seen:
            members.append(labels)
            return
    near.append(len(kinds))
    kinds.append(({cell.solver: cell}, [labels]))  # type: ignore[attr-defined]


def fits_together(cells: Sequence[FitCell]) -> bool:
    """Return whether the models of these cells can be stacked: equal shapes and equal plain attributes."""
    from sparsesim.solvers.neural.module import stack
    from sparsesim.solvers.neural.solver import NeuralSolver

    forms = {_form(cell) for cell in cells}
    if len(forms) > 1 or None in forms:
        return False
    solvers = {cell.solver: cell.world.dim for cell in cells}
    if len(solvers) == 1:
        return True
    try:
        stack(
            [
                solver.module(dim, stream(0, Role.SOLVER))
                for solver, dim in solvers.items()
                if isinstance(solver, NeuralSolver)
            ]
        )
    except ValueError:
        return False
    return True


def _form(cell: Cell) -> Any:
    """Return what cells must share to be tried together; None for a cell that is trained by itself."""
    from sparsesim.solvers.base import SideSolver
    from sparsesim.solvers.neural.solver import NeuralSolver
    from sparsesim.study.cell import FitCell

    if type(cell) is not FitCell or not isinstance(cell.solver, NeuralSolver):
        return None
    kind = type(cell.solver)
    if kind.fit is not NeuralSolver.fit or kind.fit_stream is not NeuralSolver.fit_stream:
        return None
    if isinstance(cell.solver, SideSolver) and cell.solver.side:
        return None
    training = replace(cell.solver.training, learning_rate=1.0)
    return _without_numbers(cell.solver), training, cell.world.dim, cell.n_train


def _without_numbers(value: Any) -> Any:
    """Return ``value`` as a tuple without its numbers, which the model may hold as buffers; `stack` decides."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.name != "training"]
        return type(value), tuple(_without_numbers(getattr(value, name)) for name in fields)
    if isinstance(value, tuple):
        return tuple(map(_without_numbers, value))
    return float if isinstance(value, int | float) and not isinstance(value, bool) else value
