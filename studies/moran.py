"""Sparse decoding: does a mask for each coordinate find the latents that made a sample, and what they reach?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar, final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_real
from sparsesim.generators.base import FeatureSpec, Support
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.observation import SignalMap
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.disentanglement import dci_disentanglement
from sparsesim.metrics.disentanglement_codes import code_mcc, code_mcc_spearman
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import LinearProjection, PrincipalComponents, RandomDictionary
from sparsesim.solvers.neural.sparse_vae import SparseVAE, mask_support
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vsc import VariationalSparseCoding
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.tiers import Tier

REACH = ((1, 1, 1, 0, 0, 0, 1), (0, 0, 0, 1, 1, 1, 1))  # which coordinates each factor reaches


@final
@dataclass(frozen=True)
class CorrelatedGaussian:
    """All features are standard normal, and any two of one sample have the correlation ``rho``."""

    rho: float
    independent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_real("rho", self.rho, 0.0, 1.0)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)``."""
        own = rng.standard_normal(len(support.indices))
        common = np.repeat(rng.standard_normal(len(support.indptr) - 1), np.diff(support.indptr))
        return np.asarray(np.sqrt(1.0 - self.rho) * own + np.sqrt(self.rho) * common)

    def mean(self, m: int) -> FloatArray:
        """Return the mean of each feature ``(m,)``, zero."""
        return np.zeros(m)

    def second_moment(self, m: int) -> FloatArray:
        """Return the mean square of each feature ``(m,)``, one."""
        return np.ones(m)


@final
@dataclass(frozen=True)
class SevenCoordinates:
    """The signal is (s1, 2 s1, 3 s1^2, 4 s2, 5 s2, 6 sin s2, 7 s1 s2) of two factors: but one, all read one alone."""

    def realise(self, atoms: FloatArray, energy: Callable[[], float], rng: Rng) -> SignalMap:
        """Return the map, the same in every world of two features in seven dimensions."""
        if atoms.shape != (2, 7):
            raise ValueError(f"the world must have two features in seven dimensions; got {atoms.shape}.")
        return SevenFunctions()


@final
@dataclass(frozen=True)
class SevenFunctions:
    """The realised map."""

    def apply(self, signal: FloatArray, codes: Codes, rng: Rng) -> FloatArray:
        """Return the signal ``(n, 7)`` of ``codes (n, 2)``."""
        s = codes.toarray()
        one, two = s[:, 0], s[:, 1]
        parts = (one, 2 * one, 3 * one**2, 4 * two, 5 * two, 6 * np.sin(two), 7 * one * two)
        return np.stack(parts, axis=1).astype(signal.dtype)


def world(rho: float) -> FeatureSpec:
    """Return the two correlated factors behind their seven functions, with noise of standard deviation one half."""
    return FeatureSpec(
        7,
        ExactlyK(2, 2),
        Orthonormal(),
        CorrelatedGaussian(rho),
        noise=Gaussian(0.5),
        observation=(SevenCoordinates(),),
    )


def _support(evaluation: Evaluation) -> FloatArray | None:
    """Return which latents each coordinate depends on, ``(7, p)``, of a sparse VAE; None of other models."""
    fitted: Any = evaluation.fitted
    try:
        return mask_support(fitted)
    except TypeError:
        return None


def surviving(evaluation: Evaluation) -> float:
    """Return how many latents reach any coordinate by the masks: two made the data. NaN of a model without masks."""
    support = _support(evaluation)
    return float("nan") if support is None else float(support.any(axis=0).sum())


def support_f1(evaluation: Evaluation) -> float:
    """Return the F1 of the masks' support against what the factors reach, under the best matching of two latents.

    Entries of the latents that are left over count as false. NaN of a model without masks, 0 where every mask is shut.
    """
    support = _support(evaluation)
    if support is None:
        return float("nan")
    reach = np.array(REACH, dtype=float).T
    pairs = permutations(range(support.shape[1]), 2)
    hits = max(float((support[:, list(pair)] * reach).sum()) for pair in pairs)
    return 2.0 * hits / float(support.sum() + reach.sum())


METRICS = (dci_disentanglement, code_mcc, code_mcc_spearman, surviving, support_f1)


@dataclass(frozen=True)
class Size:
    """What a tier spends: correlations, steps, and the weights of the divergence of a plain VAE."""

    seeds: int
    rhos: tuple[float, ...]
    steps: int
    betas: tuple[float, ...]
    hidden: int = 50
    n_train: int = 1000


SIZES = {
    Tier.SMOKE: Size(2, (0.0, 0.6), 200, (1.0, 4.0), 10),
    Tier.LAPTOP: Size(5, (0.0, 0.4, 0.8), 2000, (1.0, 4.0)),
    Tier.PAPER: Size(20, (0.0, 0.2, 0.4, 0.6, 0.8), 4000, (1.0, 2.0, 4.0, 6.0, 8.0, 16.0)),
}
WIDTH = 5


def solvers(size: Size) -> dict[str, Solver]:
    """Return the solvers of a point, all with two hidden layers and one training."""
    layers = (size.hidden, size.hidden)
    shared: dict[str, Any] = {
        "hidden": layers,
        "decoder_hidden": layers,
        "training": Training(steps=size.steps, batch_size=100, learning_rate=1e-2),
    }
    return {
        "sparse_vae": SparseVAE(WIDTH, samples=size.n_train, **shared),
        **{"vae" if one == 1 else f"beta_{one:g}": GaussianVAE(WIDTH, beta=one, **shared) for one in size.betas},
        "vsc": VariationalSparseCoding(WIDTH, **shared),
        "pca": PrincipalComponents(WIDTH),
        "random": RandomDictionary(WIDTH, LinearProjection()),
    }


def study(tier: Tier) -> Study:
    """Return every solver at ``tier`` along the correlation of the factors, on paired seeds."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for seed in range(size.seeds):
        for rho in size.rhos:
            for name, solver in solvers(size).items():
                cells[labels(solver=name, rho=rho, seed=seed)] = FitCell(world(rho), seed, 4000, solver, size.n_train)
    return Study("moran", "Does a mask for each coordinate find the latents that made a sample?", cells, METRICS)
