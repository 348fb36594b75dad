"""Masked against plain sparse coding with more atoms than features: which of the two leaves the true atoms alone?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, unit_rows
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureModel, FeatureSpec, Support
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.masked import MaskedSparseCoding
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier

HIDDEN = {"plain": 0.0, "masked": 0.1}
SPARE = 1  # tells the samples that become spare atoms from those that are learned from


@final
@dataclass(frozen=True)
class UnitCodes:
    """The k coefficients of a sample are a uniform point of the sphere: Gaussian, divided by their norm."""

    independent: ClassVar[bool] = False

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)``, of unit norm in each sample that has any."""
        values, size = rng.standard_normal(len(support.indices)), np.diff(support.indptr)
        energy = np.bincount(np.repeat(np.arange(len(size)), size), np.square(values), minlength=len(size))
        return np.asarray(values / np.sqrt(np.repeat(energy, size)))

    def mean(self, m: int) -> FloatArray:
        """Return the mean coefficient of each feature that fires ``(m,)``, zero by symmetry."""
        return np.zeros(m)

    def second_moment(self, m: int) -> FloatArray:
        """Refuse: the mean square is one over the number that fires, which is the support's to know."""
        raise NotImplementedError(f"the second moment of m={m} features on one sphere depends on the support.")


@final
@dataclass(frozen=True)
class InformedCell:
    """Start ``solver`` at the true atoms and spare ones, which are noisy samples, and see what it makes of them.

    It is the experiment about minimisers, not about learning: the truth goes in as a start, as by an oracle.
    """

    world: FeatureSpec
    seed: int
    n_test: int
    solver: MaskedSparseCoding
    n_train: int

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("n_test", 2), ("n_train", 1)):
            check_int(name, getattr(self, name), least)
        if self.solver.width < self.world.n_features:
            raise ValueError(
                f"solver must have an atom for each of the m={self.world.n_features} features; "
                f"got width={self.solver.width}."
            )

    def start(self, model: FeatureModel) -> FloatArray:
        """Return the atoms ``(p, d)`` to start at: the true ones, then directions of samples not learned from."""
        spare = model.sample(self.solver.width - len(model.atoms), stream(self.seed, Role.TRAIN, SPARE)).x
        return np.concatenate([model.atoms, unit_rows(spare)[0]])

    def evaluate(self) -> Evaluation:
        """Return what the start has become, against held-out samples."""
        model = self.world.build(stream(self.seed, Role.TRUTH))
        train = model.sample(self.n_train, stream(self.seed, Role.TRAIN)).x
        fitted = self.solver.fit_from(train, self.start(model), rng=stream(self.seed, Role.SOLVER))
        return Evaluation(model, fitted, model.sample(self.n_test, stream(self.seed, Role.TEST)))


def distance(evaluation: Evaluation) -> float:
    """Return the mean over true atoms of ``1 - max_j |cos|``, the error of the paper: 0 at the truth."""
    return 1.0 - recovery.mmcs(evaluation)


METRICS = (distance, recovery.mcc, recovery.recovered_at_90, codes.support_f1, reconstruction.fvu)


NOISE = 0.1  # 1 / sqrt(d) for d = 100: the noise at which the width varies
SHAPE = (100, 200, 5)  # d, m, k
WIDTHS = ((200, NOISE), (400, NOISE), (600, NOISE))
WIDER = ((800, NOISE), (1000, NOISE))
NOISES = ((1000, 0.01), (1000, 0.055))
BETWEEN = ((1000, 0.0325), (1000, 0.0775))


@dataclass(frozen=True)
class Size:
    """What a tier spends: the world of d, m, k, and the widths with the standard deviations of the noise."""

    seeds: int
    shape: tuple[int, int, int]
    points: tuple[tuple[int, float], ...]
    n_train: int = 1000
    epochs: int = 500
    batch_size: int = 200


SIZES = {
    Tier.SMOKE: Size(3, (30, 40, 3), ((40, 0.12), (80, 0.12), (120, 0.12), (120, 0.06)), 200, 40, 100),
    Tier.LAPTOP: Size(5, SHAPE, (*WIDTHS, *NOISES)),
    Tier.PAPER: Size(10, SHAPE, (*WIDTHS, *WIDER, *NOISES, *BETWEEN)),
}


def study(tier: Tier) -> Study:
    """Return both objectives at ``tier``, along the width and along the noise, on paired seeds."""
    size = SIZES[tier]
    (d, m, k), cells = size.shape, dict[Labels, Cell]()
    for width, noise in size.points:
        world = FeatureSpec(d, ExactlyK(m, k), RandomSphere(), UnitCodes(), noise=Gaussian(noise))
        for name, hidden in HIDDEN.items():
            solver = MaskedSparseCoding(width, k, hidden, epochs=size.epochs, batch_size=size.batch_size)
            for seed in range(size.seeds):
                cell = InformedCell(world, seed, 1000, solver, size.n_train)
                cells[labels(solver=name, width=width, noise=noise, seed=seed)] = cell
    question = "With more atoms than features, which objective leaves the true atoms where they are?"
    return Study("masked", question, cells, METRICS)
