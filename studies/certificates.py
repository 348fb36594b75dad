"""What theory certifies against what is recovered: for each sample a proof from atoms and support, and its code.

A certificate reads the true atoms, the true support and, for one step, the sample; the encoder reads the sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray, check_int
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Cones, LowCoherence, RandomSphere
from sparsesim.generators.laws import Geometry
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.recovery import mcc_corrected, recovered_at_90
from sparsesim.solvers.active_set import NonNegativeLeastSquares
from sparsesim.solvers.base import Encoder
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.homotopy import BasisPursuit
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from studies.tiers import Tier
from studies.transitions import EXACT
from theory.certificates import basis_pursuit_certificate, one_step_certificate, pursuit_certificate
from theory.frames import coherence, coherence_limit
from theory.uniqueness import non_negative_certificate

Certify: TypeAlias = Callable[[FloatArray, FloatArray, tuple[int, ...]], bool]  # sample, atoms, support


def _one_step(x: FloatArray, atoms: FloatArray, support: tuple[int, ...]) -> bool:
    """Return whether the scores of the support are the largest, and positive: the encoder keeps no others."""
    return one_step_certificate(x, atoms, support).holds and bool((atoms[list(support)] @ x > 0.0).all())


def _coherence(_: FloatArray, atoms: FloatArray, support: tuple[int, ...]) -> bool:
    return len(support) <= coherence_limit(coherence(atoms))


def _exact_recovery(_: FloatArray, atoms: FloatArray, support: tuple[int, ...]) -> bool:
    return pursuit_certificate(atoms, support).holds


def _dual(_: FloatArray, atoms: FloatArray, support: tuple[int, ...]) -> bool:
    return basis_pursuit_certificate(atoms, support).holds


def _unique(_: FloatArray, atoms: FloatArray, support: tuple[int, ...]) -> bool:
    return non_negative_certificate(atoms, support).holds


def methods(k: int) -> dict[str, tuple[Encoder, Certify]]:
    """Return each certificate with the encoder that it speaks of; the encoders are told k where they ask."""
    return {
        "one_step": (CorrelationTopK(k, refit=True, non_negative=True), _one_step),
        "coherence": (OrthogonalMatchingPursuit(k), _coherence),
        "exact_recovery": (OrthogonalMatchingPursuit(k), _exact_recovery),
        "dual": (BasisPursuit(non_negative=True), _dual),
        "unique": (NonNegativeLeastSquares(), _unique),
    }


class Outcome(NamedTuple):
    """For each sample whether it is certified and whether its code is recovered; for a learner the atoms, too."""

    certified: npt.NDArray[np.bool_]
    recovered: npt.NDArray[np.bool_]
    atoms_found: float
    atoms_corrected: float


def outcome(evaluation: Evaluation, certify: Certify) -> Outcome:
    """Return what is certified and what is recovered, a code to 1% of its norm, atoms being the true ones in order."""
    true, found = evaluation.true_codes.toarray(), evaluation.codes.toarray()
    x, atoms = np.asarray(evaluation.batch.x), np.asarray(evaluation.truth.atoms)
    supports = [tuple(np.flatnonzero(code).tolist()) for code in true]
    certified = np.array([certify(row, atoms, support) for row, support in zip(x, supports, strict=True)])
    recovered = np.linalg.norm(found - true, axis=1) <= EXACT * np.linalg.norm(true, axis=1)
    return Outcome(certified, recovered, float("nan"), float("nan"))


@final
@dataclass(frozen=True)
class CertificateCell:
    """One certificate with its encoder, given the true atoms, on ``samples`` samples of the world of ``seed``."""

    world: FeatureSpec
    seed: int
    samples: int
    k: int
    method: str

    def __post_init__(self) -> None:
        check_int("samples", self.samples, 2)
        if self.method not in methods(self.k):
            raise ValueError(f"method must be one of {', '.join(methods(self.k))}; got {self.method!r}.")

    def evaluate(self) -> Outcome:
        """Return what is certified and what is recovered."""
        encoder, certify = methods(self.k)[self.method]
        return outcome(OracleCell(self.world, self.seed, self.samples, encoder).evaluate(), certify)


@final
@dataclass(frozen=True)
class LearnedCell:
    """Dictionary learning in a world beside the certificate of basis pursuit with its true atoms."""

    fit: FitCell

    def evaluate(self) -> Outcome:
        """Return what is certified of the true atoms, whose codes are not asked for, and the share of atoms found."""
        evaluation = self.fit.evaluate()
        certified = outcome(evaluation, _dual).certified
        return Outcome(certified, np.zeros(0, dtype=np.bool_), recovered_at_90(evaluation), mcc_corrected(evaluation))


def certified(seen: Outcome) -> float:
    """Return the share of samples that are certified."""
    return float(seen.certified.mean())


def recovered(seen: Outcome) -> float:
    """Return the share of codes that are recovered; NaN for a learner."""
    return float(seen.recovered.mean()) if len(seen.recovered) else float("nan")


def violations(seen: Outcome) -> float:
    """Return the share of samples that are certified and whose code is not recovered; NaN for a learner."""
    return float((seen.certified & ~seen.recovered).mean()) if len(seen.recovered) else float("nan")


def unforeseen(seen: Outcome) -> float:
    """Return the share of samples whose code is recovered though it is not certified; NaN for a learner."""
    return float((~seen.certified & seen.recovered).mean()) if len(seen.recovered) else float("nan")


def atoms_found(seen: Outcome) -> float:
    """Return the share of true atoms that a learner finds at |cos| >= 0.9; NaN for an encoder."""
    return seen.atoms_found


def atoms_corrected(seen: Outcome) -> float:
    """Return MCC of a learner, 0 at chance and 1 for all atoms; NaN for an encoder."""
    return seen.atoms_corrected


METRICS = (certified, recovered, violations, unforeseen, atoms_found, atoms_corrected)


@dataclass(frozen=True)
class Size:
    """What a tier spends: features in dimensions, the grid of k, seeds, samples to certify and to learn from."""

    m: int
    d: int
    actives: tuple[int, ...]
    seeds: int
    samples: int
    n_train: int


SIZES = {
    Tier.SMOKE: Size(16, 8, (1, 3), 2, 10, 300),
    Tier.LAPTOP: Size(32, 16, (1, 2, 3, 4, 6, 8, 10, 12), 5, 60, 5_000),
    Tier.PAPER: Size(128, 64, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40), 20, 400, 100_000),
}
COSINE = 0.6  # of a child with its parent in the coherent geometry


def worlds(m: int, d: int, k: int) -> dict[str, FeatureSpec]:
    """Return three geometries of m features: spread as far as they go, random, and in families of four."""
    parents = tuple(-1 if index % 4 == 0 else index - index % 4 for index in range(m))
    geometries: dict[str, Geometry] = {
        "spread": LowCoherence(),
        "random": RandomSphere(),
        "families": Cones(parents, COSINE),
    }
    return {name: FeatureSpec(d, ExactlyK(m, k), one, HalfNormal(1.0)) for name, one in geometries.items()}


def study(tier: Tier) -> Study:
    """Return geometry, k, certificate (or ``learner``) and paired seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for k in size.actives:
        learner = OnlineDictionaryLearning(size.m, Lasso(0.1, non_negative=True))
        for name, world in worlds(size.m, size.d, k).items():
            for seed in range(size.seeds):
                for method in methods(k):
                    label = labels(geometry=name, method=method, k=k, seed=seed)
                    cells[label] = CertificateCell(world, seed, size.samples, k, method)
                fit = FitCell(world, seed, size.samples, learner, size.n_train)
                cells[labels(geometry=name, method="learner", k=k, seed=seed)] = LearnedCell(fit)
    question = "What does a certificate promise, is the promise kept, and how much is recovered without one?"
    return Study("certificates", question, cells, METRICS)
