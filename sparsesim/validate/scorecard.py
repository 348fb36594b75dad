"""`evaluate`: a trained model on a world, every score between its floor and its ceiling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

from sparsesim._arrays import check_int
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Batch, FeatureModel, FeatureSpec
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation, Metric
from sparsesim.solvers.base import Encoder, FittedDictionary, Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.least_squares import SupportLeastSquares
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.validate.adapter import Adapted, adapt
from sparsesim.validate.bridge import random_state_kept

METRICS: tuple[Metric, ...] = (
    recovery.mcc,
    recovery.mcc_corrected,
    recovery.recovered_at_90,
    recovery.uniqueness,
    codes.support_f1,
    codes.code_correlation,
    codes.l0,
    codes.dead_fraction,
    codes.shrinkage,
    reconstruction.explained_variance,
    reconstruction.amortisation_gap,
)


@final
@dataclass(frozen=True)
class Score:
    """One metric of the model beside what chance gets and what the true atoms get.

    ``floor`` is a random dictionary of the same width with orthogonal matching pursuit at the model's L0, ``oracle``
    the true atoms with the same pursuit, ``genie`` the true atoms and the true support.
    """

    metric: str
    score: Interval
    floor: Interval
    oracle: Interval
    genie: Interval


@final
@dataclass(frozen=True, eq=False)
class Scorecard:
    """The scores of one trained model in one world; ``print`` it, or read ``scorecard["mcc"]``.

    Intervals are over independent held-out draws of the same world; they hold for this trained model, and say nothing
    of what another training seed would give.
    """

    adapted: Adapted
    evaluation: Evaluation
    scores: tuple[Score, ...]
    seed: int

    def __getitem__(self, metric: str) -> Score:
        for score in self.scores:
            if score.metric == metric:
                return score
        raise KeyError(f"no metric {metric!r}; there are {', '.join(score.metric for score in self.scores)}.")

    def __str__(self) -> str:
        truth, fitted = self.evaluation.truth, self.evaluation.fitted
        head = [
            str(self.adapted),
            f"world     m={truth.n_features} features in d={truth.atoms.shape[1]} dimensions, width p={fitted.width}, "
            f"seed {self.seed}, {self.scores[0].score.n} held-out draws of {self.evaluation.batch.x.shape[0]} samples",
            "",
            f"{'metric':<20}{'model [95% interval]':>26}{'floor':>9}{'oracle':>9}{'genie':>9}",
        ]
        return "\n".join(head + [_line(score) for score in self.scores])


def _line(score: Score) -> str:
    value = score.score
    shown = f"{value.mean:z.3f} [{value.low:z.3f}, {value.high:z.3f}]"
    return f"{score.metric:<20}{shown:>26}{score.floor.mean:>z9.3f}{score.oracle.mean:>z9.3f}{score.genie.mean:>z9.3f}"


def evaluate(
    model: Any,
    world: FeatureModel | FeatureSpec,
    *,
    n: int = 2000,
    draws: int = 5,
    seed: int = 0,
    encode: Callable[[Any, Any], Any] | None = None,
    decode: Callable[[Any, Any], Any] | None = None,
    linear_decoder: bool = True,
) -> Scorecard:
    """Return the scores of a trained ``model`` in ``world`` with floor, oracle and genie beside each.

    The global random states of torch, numpy and Python are left as they are.

    Parameters
    ----------
    model : torch module or numpy object with ``encode (n, d) -> (n, p)`` and ``decode (n, p) -> (n, d)``, what
        `load_model` returns, or a `FittedDictionary`.
    world : the realised world that the model was trained on; a `FeatureSpec` is built with
        ``stream(seed, Role.TRUTH)``.
    n, draws : held-out samples a draw, and independent draws that the intervals are over.
    seed : of the held-out draws and of the random dictionary of the floor.
    encode, decode, linear_decoder : see `adapt`.

    Raises
    ------
    ValueError, TypeError
        If the model does not fit the world, is random or batch-dependent, or has no linear decoder and should.
    """
    check_int("n", n, 8)
    check_int("draws", draws, 2)
    if not isinstance(world, FeatureModel | FeatureSpec):
        raise TypeError(
            f"world must be a FeatureModel or a FeatureSpec; got {getattr(world, '__name__', type(world).__name__)}. "
            "Call evaluate(model, world), e.g. with worlds.superposed().build(stream(0, Role.TRUTH))."
        )
    truth = world.build(stream(seed, Role.TRUTH)) if isinstance(world, FeatureSpec) else world
    truth.check_linear("evaluate, which compares with the true atoms,")
    batches = [truth.sample(n, stream(seed, Role.TEST, draw)) for draw in range(draws)]
    with random_state_kept():
        adapted = adapt(model, batches[0].x[:256], encode=encode, decode=decode, linear_decoder=linear_decoder)
        first = Evaluation(truth, adapted.fitted, batches[0])
        others = [Evaluation(truth, adapted.fitted, batch) for batch in batches[1:]]
        floor, oracle, genie = _references(first, batches, seed)
        scores = tuple(
            Score(metric.__name__, *(_interval(metric, group) for group in ([first, *others], floor, oracle, genie)))
            for metric in METRICS
        )
    return Scorecard(adapted, first, scores, seed)


def _interval(metric: Metric, evaluations: list[Evaluation]) -> Interval:
    values = [metric(evaluation) for evaluation in evaluations]
    if not all(map(math.isfinite, values)):
        n = evaluations[0].batch.x.shape[0]
        raise ValueError(f"{metric.__name__} is undefined on a draw of n={n} samples that do not vary; raise n.")
    return mean_interval(values)


def _references(
    first: Evaluation, batches: list[Batch], seed: int
) -> tuple[list[Evaluation], list[Evaluation], list[Evaluation]]:
    """Return the evaluations of the floor, the oracle and the genie on every held-out draw."""
    truth, width, dim = first.truth, first.fitted.width, first.truth.atoms.shape[1]
    budget = max(1, round(codes.l0(first)))

    def pursuit(atoms: int) -> Encoder:
        return OrthogonalMatchingPursuit(min(budget, atoms, dim))

    random = RandomDictionary(width, pursuit(width)).fit(batches[0].x, rng=stream(seed, Role.SOLVER))
    known = FittedDictionary(truth.atoms, truth.bias, pursuit(truth.n_features), Status.CONVERGED)
    return (
        [Evaluation(truth, random, batch) for batch in batches],
        [Evaluation(truth, known, batch) for batch in batches],
        [Evaluation(truth, replace(known, encoder=SupportLeastSquares(batch.codes)), batch) for batch in batches],
    )
