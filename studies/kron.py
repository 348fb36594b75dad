"""Kronecker autoencoders: do their atoms carry the covariance of the features, and is it learned or built in?

The experiment of the paper in a smaller size: the covariance S of the features is made of blocks, a toy model of
superposition squeezes them into fewer dimensions, and autoencoders are trained on what it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_int
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.structure import match_structure, rv_coefficient
from sparsesim.solvers.base import FittedDictionary, Solver, Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.kron import KronSAE
from sparsesim.solvers.neural.relu_output import ReLUOutput, toy_weights
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier

K = 8  # latents that speak, as in the paper
RHO = 0.6  # within blocks; the paper does not say


@final
@dataclass(frozen=True)
class Size:
    """What a tier spends; ``shape`` is features, dimensions, size of a block, and sources that fire in a sample."""

    seeds: int
    shape: tuple[int, int, int, int]
    n_train: int
    toy: Training
    training: Training
    grids: tuple[tuple[int, int, int], ...]
    n_test: int = 2_000

    def covariance(self) -> FloatArray:
        """Return S ``(m, m)``: one on the diagonal, `RHO` within blocks."""
        m, _, block, _ = self.shape
        same = np.arange(m)[:, None] // block == np.arange(m)[None] // block
        return np.where(same, RHO, 0.0) + (1.0 - RHO) * np.eye(m)


SIZES = {
    Tier.SMOKE: Size(
        2, (32, 8, 8, 2), 800, Training(60, 64, normalise=False), Training(60, 64), ((2, 2, 8), (2, 4, 4)), 300
    ),
    Tier.LAPTOP: Size(
        5,
        (128, 32, 16, 4),
        20_000,
        Training(1_500, 128, decay=0.5, normalise=False),
        Training(2_000, 128),
        ((2, 4, 16), (4, 2, 16), (4, 4, 8), (8, 2, 8)),
    ),
    Tier.PAPER: Size(
        20,
        (256, 64, 32, 8),
        200_000,
        Training(10_000, 1_024, 1e-3, decay=0.5, normalise=False),
        Training(20_000, 1_024),
        ((2, 4, 32), (4, 2, 32), (4, 8, 8), (8, 2, 16)),
    ),
}


@final
@dataclass(frozen=True, eq=False)
class Features:
    """The truth of a seed: row i of ``atoms`` is the direction that the toy model gives to feature i, of any norm."""

    atoms: FloatArray
    bias: FloatArray
    covariance: FloatArray

    @property
    def n_features(self) -> int:
        return len(self.atoms)


@final
@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples ``x (n, d)`` with the features ``codes (n, m)`` that made them."""

    x: FloatArray
    codes: Codes


def features(size: Size, n: int, rng: Rng) -> FloatArray:
    """Return L TopK(ReLU(g)), ``(n, m)``: Gaussian sources, the largest kept, spread within their blocks; S = L L^T."""
    m, _, _, active = size.shape
    sources = np.maximum(rng.standard_normal((n, m)), 0.0)
    least = np.partition(sources, m - active, axis=1)[:, m - active]
    kept: FloatArray = np.where(sources >= least[:, None], sources, 0.0) @ np.linalg.cholesky(size.covariance()).T
    return kept


@cache  # a run takes the cells in any order
def worlds(size: Size) -> tuple[tuple[Features, FloatArray, Drawn], ...]:
    """Return truth, training samples and held-out samples of every seed; the toy models train as one batched model."""
    dim = size.shape[1]
    made = [features(size, size.n_train, stream(seed, Role.TRAIN)) for seed in range(size.seeds)]
    toys = ReLUOutput(dim, training=size.toy).fit_ensemble(
        [Rows(one) for one in made], [stream(seed, Role.TRUTH) for seed in range(size.seeds)]
    )
    found = []
    for seed, (values, toy) in enumerate(zip(made, toys, strict=True)):
        weights = toy_weights(toy).astype(np.float64)
        test = features(size, size.n_test, stream(seed, Role.TEST))
        truth = Features(weights, np.zeros(dim), size.covariance())
        found.append((truth, values @ weights, Drawn(test @ weights, Codes(test))))
    return tuple(found)


@cache
def fits(size: Size, solver: Solver) -> tuple[FittedDictionary, ...]:
    """Return what ``solver`` makes of every seed, trained as one batched model where it can be."""
    samples = [train for _, train, _ in worlds(size)]
    rngs = [stream(seed, Role.SOLVER) for seed in range(size.seeds)]
    if isinstance(solver, NeuralSolver):
        return tuple(solver.fit_ensemble([Rows(x) for x in samples], rngs))
    return tuple(solver.fit(x, rng=rng) for x, rng in zip(samples, rngs, strict=True))


@final
@dataclass(frozen=True)
class KronCell:
    """What ``solver`` makes of ``seed``; without one, the directions of the toy model with orthogonal pursuit."""

    size: Size
    seed: int
    solver: Solver | None

    def __post_init__(self) -> None:
        check_int("seed", self.seed, 0, self.size.seeds - 1, high_name="seeds - 1")

    def evaluate(self) -> Evaluation:
        """Return the evaluation against the features of the toy model."""
        truth, _, batch = worlds(self.size)[self.seed]
        if self.solver is not None:
            return Evaluation(truth, fits(self.size, self.solver)[self.seed], batch)  # type: ignore[arg-type]
        norms = np.linalg.norm(truth.atoms, axis=1, keepdims=True)
        unit = np.where(norms > 0, truth.atoms / np.where(norms > 0, norms, 1.0), 0.0)
        encoder = OrthogonalMatchingPursuit(K)
        return Evaluation(truth, FittedDictionary(unit, truth.bias, encoder, Status.CONVERGED), batch)


def _covariance(evaluation: Evaluation) -> FloatArray:
    truth = evaluation.truth
    if not isinstance(truth, Features):
        raise TypeError(f"rv needs the truth of this study, which knows the covariance; got {type(truth).__name__}.")
    return truth.covariance


def _gram(evaluation: Evaluation) -> FloatArray:
    gram: FloatArray = evaluation.fitted.atoms.astype(np.float64) @ evaluation.fitted.atoms.T
    return (gram + gram.T) / 2.0


def rv(evaluation: Evaluation) -> float:
    """Return the RV coefficient of the covariance with the Gram matrix of the atoms in their best order (FAQ).

    NaN for another number of atoms than features.
    """
    covariance, gram = _covariance(evaluation), _gram(evaluation)
    if covariance.shape != gram.shape:
        return float("nan")
    order = match_structure(covariance, gram)
    return rv_coefficient(covariance, gram[order][:, order])


def rv_matched(evaluation: Evaluation) -> float:
    """Return the RV coefficient in the order of the features that the atoms match, by |cos|: what was recovered.

    NaN for another number of atoms than features.
    """
    covariance, gram = _covariance(evaluation), _gram(evaluation)
    if covariance.shape != gram.shape or len(evaluation.match.atoms) != len(gram):
        return float("nan")
    order = evaluation.match.atoms
    return rv_coefficient(covariance[evaluation.match.features][:, evaluation.match.features], gram[order][:, order])


METRICS = (
    rv,
    rv_matched,
    recovery.mcc,
    recovery.mcc_chance,
    reconstruction.fvu,
    codes.l0,
    codes.dead_fraction,
)


def solvers(size: Size) -> dict[str, tuple[Solver | None, int]]:
    """Return each solver by name with the number of weights of its encoder and decoder; an untrained twin of each.

    The narrow TopK have as many weights as the first of the grid, or as large an encoder.
    """
    m, dim, _, _ = size.shape
    still = replace(size.training, steps=1, learning_rate=1e-9)
    found: dict[str, tuple[Solver | None, int]] = {"toy": (None, m * dim)}
    for training, name in ((size.training, ""), (still, "_untrained")):
        found[f"topk{name}"] = (TopK(m, K, training=training), 2 * m * dim)
        for heads, left, right in size.grids:
            key = f"kron_{heads}_{left}_{right}{name}"
            found[key] = (KronSAE(m, K, left=left, right=right, training=training), dim * (heads * (left + right) + m))
    heads, left, right = size.grids[0]
    rows = heads * (left + right)
    found["topk_weights"] = (TopK((rows + m) // 2, K, training=size.training), 2 * dim * ((rows + m) // 2))
    found["topk_encoder"] = (TopK(rows, K, training=size.training), 2 * dim * rows)
    found["random"] = (RandomDictionary(m, OrthogonalMatchingPursuit(K)), m * dim)
    return found


def study(tier: Tier) -> Study:
    """Return every solver at ``tier`` on paired seeds."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for name, (solver, weights) in solvers(size).items():
        for seed in range(size.seeds):
            cells[labels(solver=name, weights=weights, seed=seed)] = KronCell(size, seed, solver)
    question = "Do the atoms of Kronecker autoencoders carry the covariance of the features, and is it learned?"
    return Study("kron", question, cells, METRICS)
