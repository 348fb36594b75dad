"""How much of what an autoencoder misses is a linear function of its input, with the truth known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.dark_matter import linear_error_norm_share, linear_error_share
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from studies.bakeoff import n_features, width
from studies.tiers import Tier
from theory.dark_matter import linear_share, shrinkage_moments

RATE = 0.05
PENALTIES = (0.05, 0.2, 0.5)  # of the lasso that is given the true atoms: what it takes from every code
SHARES = (0.0, 0.25, 0.5, 0.75)  # of the features that have no atom
WIDTHS = (0.25, 0.5, 1.0, 2.0)  # p/m of the autoencoders


@dataclass(frozen=True)
class PartialOracle:
    """The cell of an oracle that knows the first ``kept`` of the true atoms, and has no atom for the others."""

    cell: OracleCell
    kept: int

    def evaluate(self) -> Evaluation:
        """Return the kept atoms with the encoder of ``cell`` against held-out samples."""
        whole = self.cell.evaluate()
        return Evaluation(whole.truth, replace(whole.fitted, atoms=whole.fitted.atoms[: self.kept]), whole.batch)


def predicted_share(evaluation: Evaluation) -> float:
    """Return what theory says of `linear_error_share` if codes are read with shrinkage and without interference.

    NaN unless the encoder is a lasso with true atoms. The lasso minimises half of the squared error that theory has, so
    its penalty counts twice.
    """
    encoder, atoms = evaluation.fitted.encoder, np.asarray(evaluation.truth.atoms)
    if not isinstance(encoder, Lasso):
        return float("nan")
    missing = np.arange(len(atoms)) >= evaluation.fitted.atoms.shape[0]
    return linear_share(atoms, shrinkage_moments(RATE, 2 * encoder.penalty, missing))


def nonlinear_unexplained(evaluation: Evaluation) -> float:
    """Return the part of `fvu` that no affine map of x predicts, (1 - linear_error_share) * fvu."""
    return (1.0 - linear_error_share(evaluation)) * reconstruction.fvu(evaluation)


METRICS = (
    n_features,
    width,
    linear_error_share,
    linear_error_norm_share,
    predicted_share,
    nonlinear_unexplained,
    reconstruction.fvu,
    recovery.mcc,
    codes.l0,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: d, held-out and training samples, steps, seeds."""

    d: int
    n_test: int
    n_train: int
    steps: int
    seeds: int


SIZES = {
    Tier.SMOKE: Size(16, 1_000, 1_000, 60, 5),
    Tier.LAPTOP: Size(64, 20_000, 50_000, 1_500, 5),
    Tier.PAPER: Size(256, 100_000, 500_000, 20_000, 10),
}


def worlds(d: int) -> dict[str, FeatureSpec]:
    """Return the worlds by name: as many orthonormal features as dimensions, and twice as many random ones."""
    return {
        "orthonormal": FeatureSpec(d, Bernoulli(EqualRates(d, RATE)), Orthonormal(), HalfNormal(1.0)),
        "superposed": FeatureSpec(d, Bernoulli(EqualRates(2 * d, RATE)), RandomSphere(), HalfNormal(1.0)),
    }


def study(tier: Tier) -> Study:
    """Return the study at ``tier``: lassos with a part of the true atoms, and autoencoders of several widths."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    training = Training(steps=size.steps)
    for name, world in worlds(size.d).items():
        m, active = world.n_features, round(RATE * world.n_features)
        for seed in range(size.seeds):
            for penalty in PENALTIES:
                oracle = OracleCell(world, seed, size.n_test, Lasso(penalty, non_negative=True))
                for share in SHARES:
                    label = labels(world=name, solver=f"oracle_lasso {penalty:g}", widths=1.0 - share, seed=seed)
                    cells[label] = PartialOracle(oracle, round((1.0 - share) * m))
            for relative in WIDTHS:
                p = round(relative * m)
                for solver in (TopK(p, min(active, p), training=training), ReLUL1(p, 0.5, training=training)):
                    kind = "topk" if isinstance(solver, TopK) else "relu_l1"
                    label = labels(world=name, solver=kind, widths=relative, seed=seed)
                    cells[label] = FitCell(world, seed, size.n_test, solver, size.n_train)
    question = "How much of what an autoencoder misses can be predicted linearly from its input?"
    return Study("dark_matter", question, cells, METRICS)
