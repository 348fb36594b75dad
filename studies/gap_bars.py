"""Where the error of a learned code comes from: nobody's fault, the dictionary's, or the encoder's.

Every autoencoder is evaluated twice, with its own encoder and with message passing that knows the law of the codes, on
the atoms it learned. Beside the same message passing on the true atoms, the differences are the three parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsesim.generators.base import FeatureSpec
from sparsesim.metrics import codes, recovery
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.message_passing import ApproximateMessagePassing
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.mlp_sae import PerceptronSAE
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.priors import BernoulliHalfNormal
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from studies.amortisation import large
from studies.amortisation.cells import RefinedCell, atom_cosine, entry_error
from studies.tiers import Tier

RATE = 0.05
METRICS = (entry_error, atom_cosine, recovery.mcc, recovery.mcc_chance, codes.l0, codes.dead_fraction)


@dataclass(frozen=True)
class Size:
    """What a tier spends: m features in m / 2 dimensions, and for each solver a grid of its own sparsity parameter."""

    m: int
    seeds: int
    n_train: int
    n_test: int
    training: Training
    counts: tuple[float, ...] = (2 / 3, 1.0, 3 / 2)  # latents a sample, as multiples of the true mean
    penalties: tuple[float, ...] = (0.5, 1.0, 2.0)  # as multiples of one that gives about the true L0


SIZES = {
    Tier.SMOKE: Size(32, 2, 2_000, 400, Training(steps=100, normalise=False), (1.0,), (1.0,)),
    Tier.LAPTOP: Size(128, 5, 20_000, 1_000, Training(steps=1_000, normalise=False)),
    Tier.PAPER: Size(1024, 10, 1_000_000, 4_000, Training(steps=30_000, normalise=False)),
}


def bayes() -> ApproximateMessagePassing:
    """Return the encoder that knows the law of the codes."""
    return ApproximateMessagePassing(BernoulliHalfNormal(RATE))


def solvers(world: FeatureSpec, size: Size) -> dict[tuple[str, int], Solver]:
    """Return every learner at each point of its grid."""
    m, fit, found = world.n_features, size.training, dict[tuple[str, int], Solver]()
    for point, share in enumerate(size.counts):
        k = max(1, round(share * RATE * m))
        pursuit = OrthogonalMatchingPursuit(k, non_negative=True)
        found |= {
            ("topk", point): TopK(m, k, training=fit),
            ("batch_topk", point): BatchTopK(m, share * RATE * m, training=fit),
            ("mp", point): MatchingPursuitSAE(m, k, training=fit),
            ("mod", point): MethodOfOptimalDirections(m, pursuit, iterations=20),
        }
    for point, scale in enumerate(size.penalties):
        found |= {
            ("relu_l1", point): ReLUL1(m, 0.3 * scale, training=fit),
            ("gated", point): Gated(m, 0.3 * scale, training=fit),
            ("jump_relu", point): JumpReLU(m, 0.05 * scale, training=fit),
            ("mlp", point): PerceptronSAE(m, 2 * m, 0.3 * scale, training=fit),
        }
    return found


def study(tier: Tier) -> Study:
    """Return learners x grid x own and optimal encoder at ``tier``, on paired seeds, with true and random atoms."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    world = large(size.m, RATE)
    for seed in range(size.seeds):
        for (method, point), solver in solvers(world, size).items():
            n_train = min(size.n_train, 4_000) if method == "mod" else size.n_train
            fit = FitCell(world, seed, size.n_test, solver, n_train)
            for encoder, cell in (("own", RefinedCell(fit)), ("bayes", RefinedCell(fit, bayes()))):
                cells[labels(method=method, encoder=encoder, point=point, seed=seed)] = cell
        floor = FitCell(world, seed, size.n_test, RandomDictionary(size.m, bayes()), 1_000)
        cells[labels(method="random", encoder="bayes", point=0, seed=seed)] = floor
        oracle = OracleCell(world, seed, size.n_test, bayes())
        cells[labels(method="true", encoder="bayes", point=0, seed=seed)] = oracle
    return Study("gap_bars", "Whose fault is the error of a learned code?", cells, METRICS)
