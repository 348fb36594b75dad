"""Labels and identifiability: which sources of a mixture do they tell, and from how many labels on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from sparsesim._arrays import check_int, unit_rows
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.mixing import LeakyMixing
from sparsesim.generators.segments import Segments
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import reconstruction
from sparsesim.metrics.disentanglement_codes import code_mcc, code_mcc_spearman, code_r2
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Solver, Status
from sparsesim.solvers.baselines import IndependentComponents, LinearProjection, RandomDictionary
from sparsesim.solvers.neural.idvae import DoubleVAE
from sparsesim.solvers.neural.ivae import IdentifiableVAE
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.tiers import Tier
from theory.ivae import gaussian_natural, label_rank, unmixing

# Variance of the decoder. The latents turn to the sources by turns of encoder and decoder at once, and what the one is
# ahead of the other costs 1 / variance: with the 0.01 of the released code such turns are slow.
NOISE = 0.03
MIXINGS = {"linear": (LeakyMixing(2, condition=2.0, slope=1.0),), "nonlinear": (LeakyMixing(2, condition=2.0),)}


def world(m: int, segments: int, mixing: str) -> FeatureSpec:
    """Return m Gaussian sources, all always on, whose scales differ between ``segments``, behind a ``mixing``."""
    return FeatureSpec(
        m,
        ExactlyK(m, m),
        Orthonormal(),
        SignedGaussian(),
        segments=Segments(segments),
        observation=MIXINGS[mixing],
    )


@final
@dataclass(frozen=True)
class UnmixingCell:
    """The linear unmixing that diagonalises the covariances of the first two labels: exact for a linear mixture.

    It is what labels give without a network: the oracle of linear mixtures, and for others what a linear map reaches.
    """

    world: FeatureSpec
    seed: int
    n_test: int
    n_train: int

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("n_test", 2), ("n_train", 1)):
            check_int(name, getattr(self, name), least)
        if self.world.segments is None or self.world.segments.count < 2:
            raise ValueError(f"world must have two labels at least; got segments={self.world.segments}.")

    def evaluate(self) -> Evaluation:
        """Return the unmixing of training samples, against held-out samples."""
        model = self.world.build(stream(self.seed, Role.TRUTH))
        train = model.sample(self.n_train, stream(self.seed, Role.TRAIN))
        mean = train.x.mean(axis=0)
        first, second = (np.cov(train.x[train.labels == label].T) for label in (0, 1))
        atoms = np.linalg.inv(unmixing(first, second)).T
        fitted = FittedDictionary(unit_rows(atoms)[0], mean, LinearProjection(), Status.CONVERGED)
        return Evaluation(model, fitted, model.sample(self.n_test, stream(self.seed, Role.TEST)))


def labels_rank(evaluation: Evaluation) -> float:
    """Return the rank of the matrix L of the theorem in this world: it asks for m, and segments - 1 is the most."""
    table = evaluation.truth.segments.scale  # a world of this study has labels
    return float(label_rank(gaussian_natural(np.square(table))))


METRICS = (code_mcc, code_mcc_spearman, code_r2, reconstruction.fvu, labels_rank)


@dataclass(frozen=True)
class Size:
    """What a tier spends: sources, samples, hidden units, steps, and how many labels which solver is run at."""

    seeds: int
    m: int
    n_train: int
    hidden: int
    steps: int
    segments: tuple[int, ...]
    blind: tuple[int, ...]  # of the VAE, which does not see the labels
    double: tuple[int, ...]  # of the double VAE


SIZES = {
    Tier.SMOKE: Size(2, 2, 2000, 8, 300, (1, 2, 8), (1, 8), (8,)),
    Tier.LAPTOP: Size(5, 3, 40_000, 32, 4000, (1, 2, 4, 40), (1, 40), (40,)),
    Tier.PAPER: Size(10, 5, 40_000, 100, 30_000, (1, 2, 3, 4, 5, 6, 8, 12, 20, 40), (1, 2, 6, 40), (6, 12, 40)),
}


def linear_solvers(size: Size) -> dict[str, Solver]:
    """Return those that cost nothing, and run at every point."""
    return {"ica": IndependentComponents(size.m), "random": RandomDictionary(size.m, LinearProjection())}


def networks(size: Size, segments: int) -> dict[str, Solver]:
    """Return the networks of a point, all of one shape and one training."""
    found: dict[str, Solver] = {"ivae": IdentifiableVAE(size.m, segments=segments, **_shared(size))}
    if segments in size.blind:
        found["vae"] = GaussianVAE(size.m, **_shared(size))
    if segments in size.double:
        found["idvae"] = DoubleVAE(size.m, segments=segments, **_shared(size))
    return found


def _shared(size: Size) -> dict[str, Any]:
    return {
        "noise_variance": NOISE,
        "hidden": (size.hidden, size.hidden),
        "decoder_hidden": (size.hidden, size.hidden),
        "activation": "tanh",
        "training": Training(steps=size.steps, batch_size=128, learning_rate=1.5e-2),
    }


def study(tier: Tier) -> Study:
    """Return every solver at ``tier`` along the number of labels, for both mixtures, on paired seeds.

    The networks are run on the nonlinear mixture alone: for a linear one the closed form is the reference.
    """
    size, cells = SIZES[tier], dict[Labels, Cell]()
    points = [
        (mixing, segments, seed) for seed in range(size.seeds) for mixing in MIXINGS for segments in size.segments
    ]
    for mixing, segments, seed in points:
        spec = world(size.m, segments, mixing)
        bent = networks(size, segments) if mixing == "nonlinear" else {}
        for name, solver in {**linear_solvers(size), **bent}.items():
            key = labels(mixing=mixing, solver=name, segments=segments, seed=seed)
            cells[key] = FitCell(spec, seed, 4000, solver, size.n_train)
        if segments > 1:
            key = labels(mixing=mixing, solver="unmixing", segments=segments, seed=seed)
            cells[key] = UnmixingCell(spec, seed, 4000, size.n_train)
    return Study("ivae", "Which sources of a mixture do labels tell, and from how many labels on?", cells, METRICS)
