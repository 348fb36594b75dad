"""What a duel is: two solvers on paired seeds of one world, one metric, and the sentence that is put to the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sparsesim._arrays import check_int
from sparsesim.generators.base import FeatureSpec
from sparsesim.solvers.base import Solver


@final
@dataclass(frozen=True)
class Duel:
    """A ``challenger`` against a ``baseline`` in the ``world`` that suits the challenger.

    Parameters
    ----------
    world : the specification; each seed builds its own truth, shared by both solvers, as are data and initialisation.
    challenger, baseline : solvers.
    metric : the name of the metric function that decides, e.g. ``"mcc"``; it must be a column of the study.
    larger_is_better : whether more of it is better.
    claim : the sentence of the source that is put to the test, with its arXiv id.
    seeds : number of paired seeds, at least 5.
    n_train, n_test : samples.
    """

    world: FeatureSpec
    challenger: Solver
    baseline: Solver
    metric: str
    larger_is_better: bool
    claim: str
    seeds: int = 5
    n_train: int = 10_000
    n_test: int = 2_000

    def __post_init__(self) -> None:
        check_int("seeds", self.seeds, 5)
        check_int("n_train", self.n_train, 1)
        check_int("n_test", self.n_test, 1)
