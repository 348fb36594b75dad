"""The cells of a validation, and the runs that compute what is missing of them."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from sparsesim._identity import Role, key, stream
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.study.cell import Cell, FitCell, Labels, Study, labels
from sparsesim.study.engine import Engine
from sparsesim.study.run import Event, StudyFailedError, run
from sparsesim.study.run import table as stored
from sparsesim.study.store import Store
from sparsesim.validate.attribution import CAUSES, feature_errors, feature_rates
from sparsesim.validate.compare import SUBJECT
from sparsesim.validate.measures import MEASURED
from sparsesim.validate.outside import Outside, OutsideSolver
from sparsesim.validate.portrait import matched_columns
from sparsesim.validate.protocol import BOUNDS, Arena, Protocol, reference_cells
from sparsesim.validate.result import Portrait


class DamagedPortraitWarning(UserWarning):
    """A portrait in a store is cut off or changed; it counts as lost."""


LABELS = ("world", "solver", "budget", "seed")
_REPLICA = 1  # of the solver's stream: a subject equal to a reference shares its world and data, not its luck


@final
@dataclass(frozen=True)
class PortraitCell:
    """A cell of the subject that also leaves its dictionary against the truth, and its card, in a folder.

    The folder is no part of what the cell is.
    """

    cell: FitCell
    folder: InitVar[str]

    def __post_init__(self, folder: str) -> None:
        object.__setattr__(self, "_folder", folder)

    @property
    def path(self) -> Path:
        """Return the file that `evaluate` writes."""
        return Path(self.__dict__["_folder"]) / f"{key(self)[:32]}.npz"

    def evaluate(self) -> Evaluation:
        """Return the evaluation of the subject's fit, after writing its portrait."""
        cell, solver = self.cell, self.cell.solver
        if not isinstance(solver, OutsideSolver):
            raise TypeError(f"a portrait is of an outside model; got {type(solver).__name__}.")
        truth = cell.model()
        train = truth.sample(cell.n_train, stream(cell.seed, Role.TRAIN)).x
        adapted = solver.adapted(train, rng=stream(cell.seed, Role.SOLVER, cell.replica))
        evaluation = Evaluation(truth, adapted.fitted, cell.held_out(truth))
        _write(self.path, evaluation, adapted.card)
        return evaluation


def _write(path: Path, evaluation: Evaluation, card: tuple[tuple[str, str], ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    np.savez(
        draft,
        cosines=evaluation.cosines[:, matched_columns(evaluation)],
        error=feature_errors(evaluation),
        rate=feature_rates(evaluation),
        card=np.array(card, dtype=np.str_),
    )
    os.replace(draft, path)


def _read(path: Path, world: str, seed: int) -> tuple[Portrait, tuple[tuple[str, str], ...]] | None:
    """Return the portrait and the card in ``path``; None where there is none or, with a warning, no sound one."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise ValueError(f"the checksum of {broken} is wrong")
        with np.load(path, allow_pickle=False) as held:
            cosines, error, rate = (held[name] for name in ("cosines", "error", "rate"))
            card = tuple((str(name), str(finding)) for name, finding in held["card"])
        if cosines.ndim != 2 or not cosines.shape[:1] == error.shape == rate.shape:
            raise ValueError(f"its shapes {cosines.shape}, {error.shape} and {rate.shape} do not fit")
    except Exception as fault:  # damaged bytes raise anything, out of zipfile, zlib or numpy
        warnings.warn(
            f"{path} is damaged ({type(fault).__name__}: {fault}); the model is trained once more to write it again.",
            DamagedPortraitWarning,
            stacklevel=3,
        )
        return None
    return Portrait(world, seed, cosines, error, rate), card


@final
@dataclass(frozen=True, eq=False)
class Campaign:
    """What a validation runs: subject, protocol, references by name, and where rows go."""

    outside: Outside
    protocol: Protocol
    references: tuple[str, ...]
    store: Store
    engine: Engine
    on_event: Callable[[Event], None] | None

    def subject_solver(self, arena: Arena, budget: int, steps: int | None = None) -> OutsideSolver:
        """Return the subject as a solver for ``arena``, of the protocol's number of steps if no other is given."""
        steps = self.protocol.steps if steps is None else steps
        return OutsideSolver(self.outside, arena.width, budget, steps, self.protocol.batch_size)

    def budgets(self, arena: Arena) -> tuple[int, ...]:
        """Return the grid of the subject: that of the references, or 0 where its factory takes no budget."""
        return self.protocol.budgets(arena) if self.outside.budget_name else (0,)

    def subject_cells(self, arena: Arena, seed: int, *, portrait: bool) -> dict[Labels, Cell]:
        """Return the cells of the subject; the middle one of its grid leaves a portrait."""
        budgets = self.budgets(arena)
        middle = budgets[len(budgets) // 2]
        cells: dict[Labels, Cell] = {}
        for budget in budgets:
            solver = self.subject_solver(arena, budget)
            cell = FitCell(arena.world, seed, self.protocol.n_test, solver, self.protocol.n_train, _REPLICA)
            seen = portrait and budget == middle
            label = labels(world=arena.name, solver=SUBJECT, budget=budget, seed=seed)
            cells[label] = PortraitCell(cell, str(self.store.path.absolute() / "portraits")) if seen else cell
        return cells

    def cells(
        self, seeds: Mapping[str, range], known: Iterable[tuple[Any, ...]], *, bounds: bool = True
    ) -> dict[Labels, Cell]:
        """Return the cells of subject, references and bounds at ``seeds`` of each world, less those ``known``.

        Without ``bounds`` they are those of the subject alone.
        """
        done = set(known)
        found: dict[Labels, Cell] = {}
        for arena in self.protocol.arenas:
            for seed in seeds[arena.name]:
                found |= self.subject_cells(arena, seed, portrait=seed == seeds[arena.name][0])
                if bounds:
                    found |= reference_cells(self.protocol, arena, seed, (*self.references, *BOUNDS))
        return {label: cell for label, cell in found.items() if tuple(value for _, value in label) not in done}

    def study(self, cells: Mapping[Labels, Cell]) -> Study:
        """Return the study of ``cells``, with all that a validation measures."""
        return Study(self.protocol.name, "Where is the subject better than references?", cells, (*MEASURED, *CAUSES))

    def compute(self, cells: Mapping[Labels, Cell]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Return the rows of ``cells``, and one line on each that failed; computed is what the store lacks."""
        study = self.study(cells)
        failures: tuple[str, ...] = ()
        try:
            table = run(study, self.store, engine=self.engine, on_event=self.on_event)
        except StudyFailedError as error:
            table = stored(study, self.store)
            failures = tuple(
                f"{' '.join(f'{name} {value}' for name, value in label)}: {failure.exc_type}: {failure.message}"
                for label, failure in error.failures.items()
            )
        return list(table.rows()), failures

    def portrait(self, arena: Arena, seed: int) -> tuple[Portrait, tuple[tuple[str, str], ...]] | None:
        """Return the portrait of ``arena`` and the card, fitting once more where the file is lost or damaged."""
        cells = self.subject_cells(arena, seed, portrait=True).values()
        cell = next(one for one in cells if isinstance(one, PortraitCell))
        found = _read(cell.path, arena.name, seed)
        if found is None:
            try:
                cell.evaluate()
            except (Exception, SystemExit):  # it is among the failures already
                return None
            found = _read(cell.path, arena.name, seed)
        return found
