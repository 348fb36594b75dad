"""Claims about a solver in a world, decided over as many seeds as it takes, with one error probability for all looks.

What fails says with which seeds, between which floor and ceiling, and how to see it again.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NoReturn, final

from sparsesim._arrays import check_int, check_real
from sparsesim.generators.base import FeatureSpec
from sparsesim.metrics.codes import l0
from sparsesim.metrics.evaluation import Evaluation, Metric
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study.cell import FitCell, OracleCell
from sparsesim.testing.finding import Finding, Refuted, Undecided
from sparsesim.testing.outside import as_solver
from sparsesim.testing.reproduction import Program
from sparsesim.testing.sequential import Decision, ProportionTest
from sparsesim.validate.measures import direction

N_TEST = 1000  # held-out samples of each seed
SHOWN = 5  # seeds in a message, the worst ones


@final
@dataclass(frozen=True, eq=False)
class _Bench:
    """One metric of solvers in one world, seed by seed."""

    world: FeatureSpec
    metric: Metric
    n_train: int
    sign: int

    @property
    def name(self) -> str:
        return self.metric.__name__

    def solver(self, candidate: Any) -> Solver:
        """Return ``candidate``; of a factory the solver with one atom for each feature and as many active."""
        active = max(1, round(float(self.world.support.marginals().sum())))
        return as_solver(candidate, self.world.n_features, active)

    def cell(self, solver: Solver, seed: int) -> FitCell:
        return FitCell(self.world, seed, N_TEST, solver, self.n_train)

    def evaluate(self, solver: Solver, seed: int) -> Evaluation:
        try:
            return self.cell(solver, seed).evaluate()
        except Exception as error:
            error.add_note(f"Raised at seed {seed}. {self.again((solver,), seed)}")
            raise

    def score(self, solver: Solver, seed: int) -> float:
        return float(self.metric(self.evaluate(solver, seed)))

    def around(self, width: int, budget: float, seed: int) -> tuple[float, float]:
        """Return what a random dictionary and the true atoms get, by orthogonal matching pursuit at L0 ``budget``."""
        limit = min(max(1, round(budget)), self.world.dim)
        floor = RandomDictionary(width, OrthogonalMatchingPursuit(min(limit, width)))
        pursuit = OrthogonalMatchingPursuit(min(limit, self.world.n_features))
        try:
            ceiling = float(self.metric(OracleCell(self.world, seed, N_TEST, pursuit).evaluate()))
        except ValueError:  # the world is not linear in its codes: there is no such ceiling
            ceiling = float("nan")
        return self.score(floor, seed), ceiling

    def again(self, solvers: tuple[Solver, ...], seed: int) -> str:
        """Return the shell line that computes the score of each of ``solvers`` again, or why there is none."""
        program = Program()
        try:
            measure = program.expression(self.metric)
            parts = [f"{measure}({program.expression(self.cell(each, seed))}.evaluate())" for each in solvers]
            shown = ", ".join(parts)
        except TypeError as error:
            return f"There is no line that reproduces it: {error}."
        return f"Reproduce seed {seed}: {program.command(f'print({shown})')}"


def assert_recovers(
    solver: Any,
    world: FeatureSpec,
    *,
    at_least: float = 0.95,
    in_fraction: float = 0.9,
    confidence: float = 1 - 1e-6,
    metric: str | Metric = "mcc",
    n_train: int = 2000,
    max_seeds: int = 500,
) -> Finding:
    """Return the finding that ``metric`` is at least ``at_least`` in at least ``in_fraction`` of all seeds.

    A seed draws directions, training and held-out samples and the solver's own randomness anew. Seeds 0, 1, 2, ... are
    tried until `ProportionTest` decides; whatever the solver, an assertion that passes or fails wrongly has probability
    at most 1 - confidence. By default 138 seeds without a failure pass, 7 without a success fail; at confidence=0.95 it
    is 33 and 2.

    Parameters
    ----------
    solver : any `Solver`; or ``factory(seed, width, dim)`` of an outside model, which stands for `solver_of` it with
        as many atoms as the world has features, and told the mean number of active ones if it takes ``k``.
    world : a specification, whose directions each seed draws.
    at_least, in_fraction : of the claim.
    confidence : 1 minus the probability of a wrong decision, over all looks together.
    metric : a function of an `Evaluation`, or its name in `sparsesim.metrics`, of which larger is better: one of
        ours of which smaller is better, such as dead_fraction, or neither, is refused. NaN is no success.
    n_train : training samples a seed; 1000 others are held out.
    max_seeds : after which it is undecided. Going on with more is allowed, the error does not grow.

    Raises
    ------
    Refuted
        An AssertionError with the worst seeds, their floor and ceiling, and a line of shell that reproduces one.
    Undecided
        An AssertionError after ``max_seeds``, which says how many would decide.
    ValueError, TypeError
        If ``max_seeds`` could not support the claim even without a failure, or an argument is not what it should be.
    """
    __tracebackhide__ = True
    bench = _bench(world, metric, n_train)
    if bench.sign < 0:
        raise ValueError(
            f"of {bench.name} smaller is better, and at_least={at_least!r} claims that it is large. Pass a function of "
            f"your own of which larger is better, such as def kept(evaluation): return 1 - {bench.name}(evaluation)."
        )
    solver = bench.solver(solver)
    check_real("at_least", at_least)
    kept: dict[int, tuple[float, Evaluation]] = {}  # of the worst seeds, so that a message needs no second fit

    def value(seed: int) -> float:
        evaluation = bench.evaluate(solver, seed)
        kept[seed] = (float(bench.metric(evaluation)), evaluation)
        score = kept[seed][0]
        if len(kept) > SHOWN:
            del kept[max(kept, key=lambda seed: (_rank(kept[seed][0]), seed))]
        return score

    claim = f"{bench.name} is at least {at_least:g} in at least {in_fraction:g} of seeds"
    finding = _decide(value, at_least, ProportionTest(in_fraction, confidence), claim, max_seeds)
    if finding.decision is Decision.SUPPORTED:
        return finding
    lines = [f"solver  {solver!r:.400}", f"world   {world!r:.400}"]
    lines.append(f"{'seed':>6}{bench.name:>18}{'floor':>9}{'ceiling':>9}")
    for seed in _worst(finding.values):
        floor, ceiling = bench.around(solver.width, l0(kept[seed][1]), seed)
        lines.append(f"{seed:>6}{finding.values[seed]:>18.4f}{floor:>9.4f}{ceiling:>9.4f}")
    _fail(finding, [*lines, bench.again((solver,), _worst(finding.values)[0])])


def assert_no_worse_than(
    solver: Any,
    other: Any,
    world: FeatureSpec,
    *,
    margin: float,
    in_fraction: float = 0.5,
    confidence: float = 1 - 1e-6,
    metric: str | Metric = "mcc",
    n_train: int = 2000,
    max_seeds: int = 500,
) -> Finding:
    """Return the finding that ``solver`` is at most ``margin`` below ``other`` in at least ``in_fraction`` of seeds.

    By default: the median of the paired difference ``metric(solver) - metric(other)`` is at least ``-margin``. Of a
    metric of ours of which smaller is better, such as dead_fraction, the difference is negated, and the claim is "at
    most ``margin`` above"; of functions of your own larger is better; ours without a better side, as l0, are refused.

    Both see the same world and samples at each seed. Decided by the sequential test of `assert_recovers`, which asks
    nothing of the law of the differences: no normality, no bound. It is a statement on seeds and not on the mean, which
    no number of seeds bounds unless rare disasters are excluded. 21 seeds without a failure pass at 1 - 1e-6, 5 at
    0.95.

    Raises
    ------
    Refuted, Undecided, ValueError, TypeError
        As `assert_recovers`.

    References
    ----------
    Dixon and Mood (1946), "The statistical sign test", here made sequential.
    """
    __tracebackhide__ = True
    bench = _bench(world, metric, n_train)
    solver, other = bench.solver(solver), bench.solver(other)
    check_real("margin", margin, 0.0)
    scores: list[tuple[float, float]] = []

    def value(seed: int) -> float:
        scores.append((bench.score(solver, seed), bench.score(other, seed)))
        return bench.sign * (scores[-1][0] - scores[-1][1])

    side = "below" if bench.sign > 0 else "above"
    claim = f"{bench.name} is at most {margin:g} {side} that of the other solver in at least {in_fraction:g} of seeds"
    finding = _decide(value, -margin, ProportionTest(in_fraction, confidence), claim, max_seeds)
    if finding.decision is Decision.SUPPORTED:
        return finding
    lines = [f"solver  {solver!r:.400}", f"other   {other!r:.400}", f"world   {world!r:.400}"]
    lines.append(f"{'seed':>6}{'difference':>12}{bench.name:>18}{'of the other':>14}")
    for seed in _worst(finding.values):
        lines.append(f"{seed:>6}{finding.values[seed]:>12.4f}{scores[seed][0]:>18.4f}{scores[seed][1]:>14.4f}")
    _fail(finding, [*lines, bench.again((solver, other), _worst(finding.values)[0])])


def _bench(world: FeatureSpec, metric: str | Metric, n_train: int) -> _Bench:
    if not isinstance(world, FeatureSpec):
        raise TypeError(f"world must be a FeatureSpec, which each seed builds anew; got {type(world).__name__}.")
    check_int("n_train", n_train, 1)
    if not isinstance(metric, str):
        if not isinstance(getattr(metric, "__name__", None), str):
            raise TypeError(
                f"metric must be a named function of an Evaluation; got {metric!r:.80}. Define it with def."
            )
        return _Bench(world, metric, n_train, _sign(metric))
    known = _metrics()
    if metric not in known:
        raise ValueError(f"metric must be a function of an Evaluation, or one of {', '.join(known)}; got {metric!r}.")
    return _Bench(world, known[metric], n_train, _sign(known[metric]))


def _metrics() -> dict[str, Metric]:
    """Return the functions in `sparsesim.metrics` of one evaluation by their names, sorted."""
    import sparsesim.metrics as known

    named = {name: getattr(known, name) for name in sorted(dir(known))}
    functions = {name: one for name, one in named.items() if isinstance(one, FunctionType)}
    return {name: one for name, one in functions.items() if _is_metric(inspect.signature(one))}


def _is_metric(signature: inspect.Signature) -> bool:
    first, *others = [*signature.parameters.values(), None]
    free = [one for one in others if one is not None and one.default is inspect.Parameter.empty]
    return first is not None and first.name == "evaluation" and not free and signature.return_annotation == "float"


def _sign(metric: Metric) -> int:
    """Return 1 where larger is better, as of anybody's own function, and -1 where smaller is, as of some of ours."""
    if not str(getattr(metric, "__module__", "")).startswith("sparsesim.metrics."):
        return 1
    sign = direction(metric.__name__)
    if not sign:
        raise ValueError(
            f"of {metric.__name__} neither larger nor smaller is better, so that no claim can be made. Pass a function "
            "of your own of which larger is better, such as minus its distance from the right value."
        )
    return sign


def _decide(
    value: Callable[[int], float], threshold: float, test: ProportionTest, claim: str, max_seeds: int
) -> Finding:
    """Try the seeds 0, 1, 2, ... until the test decides whether ``value(seed) >= threshold`` is likely enough."""
    check_int("max_seeds", max_seeds, 1)
    least = test.trials_needed(0, 0)
    if least is None or max_seeds < least:
        raise ValueError(
            f"max_seeds={max_seeds} cannot support the claim even if no seed fails: at in_fraction={test.fraction:g} "
            f"and confidence={test.confidence} it takes {least}. Raise max_seeds, or lower confidence or in_fraction."
        )
    values: list[float] = []
    successes, decision = 0, Decision.UNDECIDED
    while decision is Decision.UNDECIDED and len(values) < max_seeds:
        values.append(value(len(values)))
        successes += values[-1] >= threshold
        decision = test.decide(successes, len(values))
    bounds, needed = test.bounds(successes, len(values)), test.trials_needed(successes, len(values))
    return Finding(claim, decision, tuple(values), successes, *bounds, test.confidence, needed)


def _rank(value: float) -> float:
    """Return what orders scores from the worst, undefined ones first."""
    return -math.inf if math.isnan(value) else value


def _worst(values: tuple[float, ...]) -> list[int]:
    """Return the seeds of the lowest values; the sort is stable, so that of equal ones the earliest."""
    return sorted(range(len(values)), key=lambda seed: _rank(values[seed]))[:SHOWN]


def _fail(finding: Finding, lines: list[str]) -> NoReturn:
    __tracebackhide__ = True
    if finding.decision is Decision.REFUTED:
        raise Refuted("\n".join([str(finding), *lines]), finding)
    raise Undecided("\n".join([str(finding), _remedy(finding), *lines]), finding)


def _remedy(finding: Finding) -> str:
    if finding.needed is None:
        return "At this share no number of seeds decides: it lies on the border of the claim. Claim more, or less."
    return f"If the share stays as it is, {finding.needed} seeds decide: pass max_seeds={finding.needed} or more."
