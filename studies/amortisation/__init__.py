"""What one pass of an encoder loses against inference: a small benchmark with known ceilings, and large systems.

The small world is that of the paper: 16 features in 8 dimensions, 3 of them active, half-normal values. Its ceilings
are computed, not learned, but for the one-layer encoder that is shown true codes. In the large systems theory is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal as HalfNormalSize
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.metrics import codes, recovery
from sparsesim.solvers.base import Encoder
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.exhaustive import ExhaustiveSearch
from sparsesim.solvers.homotopy import BasisPursuit
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.message_passing import ApproximateMessagePassing
from sparsesim.solvers.neural.amortised import Amortiser
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.mlp_sae import PerceptronSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.priors import BernoulliHalfNormal
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationThreshold
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from studies.amortisation.cells import KnownCell, RefinedCell, Supervised, atom_cosine, code_mcc, entry_error
from studies.amortisation.encoders import LinearEstimate, Moments, PosteriorReadout
from studies.tiers import Tier
from theory.amp import best_alpha, best_soft_mse, fixed_points, lasso_penalty
from theory.denoisers import HalfNormal, SpikeSlab

M, D, K = 16, 8, 3
SMALL = FeatureSpec(D, ExactlyK(M, K), RandomSphere(), HalfNormalSize(1.0))
EXACT = ExhaustiveSearch(K, non_negative=True)
LEARNING, GATING = 0.5, 1.0  # penalties where atoms are learned, each the best of four or five tried at seed 0
PENALTY = 0.2  # of an encoder of the true atoms: ||x - z A||^2 + penalty ||z||_1
REFINING = 0.02  # of the iterations, for half the squared error: the codes of basis pursuit to 2 %
HIDDEN = (32, 256)
DELTA, NOISE = 0.5, 1e-3
METRICS = (
    code_mcc,
    codes.code_correlation_signed,
    recovery.mcc,
    recovery.mcc_chance,
    codes.l0,
    entry_error,
    atom_cosine,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: on the small world, and on large systems of m features (m_trained where models learn)."""

    seeds: int
    n_train: int
    n_test: int
    steps: tuple[int, ...]
    iterations: tuple[int, ...]
    m: int
    m_trained: int
    rates: tuple[float, ...]


SIZES = {
    Tier.SMOKE: Size(2, 2_000, 400, (30, 100), (3, 30), 128, 32, (0.05, 0.1)),
    Tier.LAPTOP: Size(
        5, 20_000, 2_000, (100, 300, 1_000, 3_000), (1, 3, 10, 30, 100, 300), 1024, 128, (0.02, 0.05, 0.1, 0.2)
    ),
    Tier.PAPER: Size(
        20, 100_000, 10_000, (100, 1_000, 10_000, 100_000), (1, 3, 10, 30, 100, 300, 1000), 4096, 1024,
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.3),
    ),
}  # fmt: skip


def encoder_cost(hidden: int = 0) -> int:
    """Return additions and multiplications of one code: 2 for each weight and each offset, with its threshold."""
    return 2 * hidden * (D + M + 1) + 2 * M if hidden else 2 * M * (D + 1)


def iteration_cost(iterations: int) -> int:
    """Return those of proximal gradient steps: the correlations once, then a Gram product and a threshold each."""
    return 2 * M * D + iterations * M * (2 * M + 3)


def training(steps: int) -> Training:
    """Return the training of the small world: on the samples as they are, since its codes are about zero."""
    return Training(steps=steps, normalise=False)


def learners(steps: int) -> dict[str, NeuralSolver]:
    """Return the autoencoders that learn the small dictionary."""
    fit = training(steps)
    return {
        "relu_l1": ReLUL1(M, LEARNING, training=fit),
        "topk": TopK(M, K, training=fit),
        "gated": Gated(M, GATING, training=fit),
        **{f"mlp_{h}": PerceptronSAE(M, h, LEARNING, training=fit) for h in HIDDEN},
    }


def refining(iterations: int) -> FISTA:
    """Return plain proximal gradient steps, as many as said: no acceleration, no polishing."""
    return FISTA(REFINING, non_negative=True, tolerance=0.0, max_iterations=iterations, accelerated=False)


def _ceilings(size: Size, seed: int) -> Iterator[tuple[Labels, Cell]]:
    linear = LinearEstimate(Moments.exactly(K, M))
    given: dict[str, Encoder] = {
        "exhaustive": EXACT,
        "basis_pursuit": BasisPursuit(non_negative=True),
        "linear": linear,
        "tied": CorrelationThreshold(0.0, non_negative=True),
    }
    for name, encoder in given.items():
        yield _small("ceiling", name, 0, 0, seed), OracleCell(SMALL, seed, size.n_test, encoder)
    scalar = KnownCell(SMALL, seed, size.n_test, Supervised(linear), size.n_train)
    yield _small("ceiling", "scalar", 0, 0, seed), scalar
    floor = FitCell(SMALL, seed, size.n_test, RandomDictionary(M, BasisPursuit(non_negative=True)), size.n_train)
    yield _small("floor", "random", 0, 0, seed), floor


def _small(part: str, method: str, at: float, cost: int, seed: int) -> Labels:
    return labels(part=part, method=method, at=float(at), operations=cost, seed=seed)


def _learned(size: Size, seed: int) -> Iterator[tuple[Labels, Cell]]:
    """Yield what learns the dictionary: autoencoders by the length of their training, alternation, other encoders."""
    for steps in size.steps:
        for name, solver in learners(steps).items():
            cost = encoder_cost(int(name[4:]) if name.startswith("mlp") else 0)
            yield (
                _small("learned", name, steps, cost, seed),
                FitCell(SMALL, seed, size.n_test, solver, size.n_train),
            )
    last = size.steps[-1]
    for name in ("relu_l1", "mlp_32"):
        learned = FitCell(SMALL, seed, size.n_test, learners(last)[name], size.n_train)
        yield _small("swapped", name, last, 0, seed), RefinedCell(learned, EXACT)
    for iterations in size.iterations:
        learned = FitCell(SMALL, seed, size.n_test, learners(last)["relu_l1"], size.n_train)
        cost = encoder_cost() + iteration_cost(iterations)
        yield (
            _small("refined", "relu_l1", iterations, cost, seed),
            RefinedCell(learned, refine=refining(iterations)),
        )
    pursuit = OrthogonalMatchingPursuit(K, non_negative=True)
    coding = MethodOfOptimalDirections(M, pursuit, iterations=30)
    alternated = FitCell(SMALL, seed, size.n_test, coding, min(size.n_train, 5_000))
    yield _small("learned", "mod", 0, 0, seed), alternated
    yield _small("swapped", "mod", 0, 0, seed), RefinedCell(alternated, EXACT)


def _known(size: Size, seed: int) -> Iterator[tuple[Labels, Cell]]:
    """Yield encoders of the true atoms: trained with and without true codes, iterated, and one after the other."""
    last = size.steps[-1]
    for hidden in (0, *HIDDEN):
        amortiser = Amortiser(hidden, PENALTY, training(last))
        name = f"mlp_{hidden}" if hidden else "one_layer"
        for part, learner in (("supervised", Supervised(amortiser)), ("known", amortiser)):
            cell = KnownCell(SMALL, seed, size.n_test, learner, size.n_train)
            yield _small(part, name, last, encoder_cost(hidden), seed), cell
            for iterations in size.iterations if part == "known" and not hidden else ():
                yield (
                    _small("warm", name, iterations, encoder_cost() + iteration_cost(iterations), seed),
                    replace(cell, refine=refining(iterations)),
                )
    for iterations in size.iterations:
        cold = OracleCell(SMALL, seed, size.n_test, refining(iterations))
        yield _small("cold", "iterations", iterations, iteration_cost(iterations), seed), cold


@cache
def best_lasso(rate: float) -> Lasso:
    """Return the lasso of least error in a large system: its penalty is that of the best threshold at its own noise."""
    prior = SpikeSlab(rate, HalfNormal())
    noise = float(fixed_points(lambda t: best_soft_mse(prior, t, non_negative=True), DELTA, NOISE, prior.power))
    alpha = float(best_alpha(prior, noise, non_negative=True))
    return Lasso(lasso_penalty(prior, DELTA, noise, alpha, non_negative=True), non_negative=True)


def large(m: int, rate: float) -> FeatureSpec:
    """Return m random features in m / 2 dimensions, active independently, half-normal, under a little noise."""
    return FeatureSpec(
        round(DELTA * m), Bernoulli(EqualRates(m, rate)), RandomSphere(), HalfNormalSize(1.0), Gaussian(NOISE**0.5)
    )


def _densities(size: Size, seed: int) -> Iterator[tuple[Labels, Cell]]:
    for rate in size.rates:
        given: dict[str, Encoder] = {
            "bayes": ApproximateMessagePassing(BernoulliHalfNormal(rate)),
            "lasso": best_lasso(rate),
            "one_layer": PosteriorReadout(rate, NOISE, tied=False),
            "tied": PosteriorReadout(rate, NOISE, tied=True),
            "linear": LinearEstimate(Moments.independent(rate), NOISE),
        }
        for name, encoder in given.items():
            cell: Cell = OracleCell(large(size.m, rate), seed, min(size.n_test, 100), encoder)
            yield _small("density", name, rate, 0, seed), cell
        world, k = large(size.m_trained, rate), max(1, round(rate * size.m_trained))
        fit = Training(steps=min(size.steps[-1], 1_000), normalise=False)
        supervised = KnownCell(world, seed, size.n_test, Supervised(Amortiser(training=fit)), size.n_train)
        yield _small("density", "supervised", rate, 0, seed), supervised
        sae = FitCell(world, seed, size.n_test, TopK(size.m_trained, k, training=fit), size.n_train)
        yield _small("density", "topk", rate, 0, seed), sae


def study(tier: Tier) -> Study:
    """Return the small benchmark and the large systems at ``tier``, on paired seeds."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for seed in range(size.seeds):
        for part in (_ceilings, _learned, _known, _densities):
            cells.update(part(size, seed))
    question = "How much of a sparse code does one pass of an encoder lose, and what buys it back?"
    return Study("amortisation", question, cells, METRICS)
