"""An audit of what is reported of autoencoders where the truth is unknown: does it rank them as the truth does?

Five architectures at three numbers of active latents and after three lengths of training, in two worlds. A reported
number reads samples, reconstructions, atoms and labels, and no true atom; the truth is read beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import final

from sparsesim.generators.base import FeatureSpec
from sparsesim.metrics import codes, decoder, peer, probing, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.probing import Concepts
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from sparsesim.validate.worlds import standard
from studies import variants
from studies.bakeoff import sparsity
from studies.tiers import Tier
from studies.variants import TwinCell, Twins

BATCH = 256
ARCHITECTURES = ("topk", "batch_topk", "matryoshka", "relu_l1", "jump_relu")


@lru_cache(maxsize=64)  # cells come in the order of their keys
def concepts(world: FeatureSpec, seed: int, n_test: int) -> Concepts:
    """Return the held-out samples of a world with their labels: the probes on them serve every autoencoder."""
    return Concepts(OracleCell(world, seed, n_test, OrthogonalMatchingPursuit(1)).evaluate().batch)


@final
@dataclass(frozen=True)
class Audited:
    """An evaluation with its twin from another initialisation, and the labels of its samples."""

    twins: Twins
    concepts: Concepts

    @property
    def evaluation(self) -> Evaluation:
        return self.twins.evaluation


@final
@dataclass(frozen=True)
class AuditCell:
    """What ``cell`` evaluates to, a second fit from another stream of the solver, and labels of the samples."""

    cell: FitCell | OracleCell

    def evaluate(self) -> Audited:
        """Return the evaluation; an oracle has no twin."""
        twins = TwinCell(self.cell, twin=isinstance(self.cell, FitCell)).evaluate()
        return Audited(twins, concepts(self.cell.world, self.cell.seed, self.cell.n_test))


def seed_agreement(audited: Audited) -> float:
    """Return PW-MCC between two initialisations; NaN where only one was fitted."""
    return variants.seed_agreement(audited.twins)


def probed(metric: Callable[[Evaluation, Concepts, int], float], name: str, count: int) -> Callable[[Audited], float]:
    """Return ``metric`` with ``count`` latents as the column ``name_count``."""

    def column(audited: Audited) -> float:
        return metric(audited.evaluation, audited.concepts, count)

    column.__name__ = f"{name}_{count}"
    return column


METRICS = (
    *map(
        variants.lifted,
        (
            recovery.mcc,
            recovery.mcc_chance,
            recovery.mcc_corrected,
            codes.latent_f1,
            peer.saelens_f1,
            codes.l0,
            codes.true_l0,
            codes.dead_fraction,
            reconstruction.explained_variance,
            decoder.decoder_coherence,
        ),
    ),
    seed_agreement,
    *(probed(probing.sparse_probe_auc, "probe_auc", count) for count in (1, 5)),
    *(probed(probing.probe_perturbation, "tpp", count) for count in (1, 5, 20)),
    *(probed(probing.spurious_removal, "scr", count) for count in (1, 5, 20)),
)


@final
@dataclass(frozen=True)
class Size:
    """What a tier spends."""

    worlds: tuple[str, ...]
    seeds: int
    n_train: int
    n_test: int
    steps: tuple[int, ...]


SIZES = {
    Tier.SMOKE: Size(("zipf",), 2, 500, 1_000, (30,)),
    Tier.LAPTOP: Size(("tree", "zipf"), 4, 10_000, 2_000, (100, 400, 1_600)),
    Tier.PAPER: Size(("flat", "superposed", "zipf", "tree", "noisy"), 20, 100_000, 10_000, (500, 2_000, 8_000, 30_000)),
}


def solvers(world: FeatureSpec, steps: tuple[int, ...]) -> dict[tuple[str, int, int], Solver]:
    """Return every autoencoder by name, point of its grid of sparsity, and steps, and random dictionaries."""
    p, k = world.n_features, sparsity(world)
    counts = [max(1, round(share * k)) for share in variants.COUNTS]
    found: dict[tuple[str, int, int], Solver] = {}
    for length in steps:
        grid = variants.grid(world, Training(steps=length, batch_size=BATCH))
        found |= {(name, point, length): grid[name, point] for name in ARCHITECTURES for point in range(len(counts))}
    floor = {("random", i, 0): RandomDictionary(p, OrthogonalMatchingPursuit(count)) for i, count in enumerate(counts)}
    return found | floor


def study(tier: Tier) -> Study:
    """Return the panel in every world, with random dictionaries as floor and the true atoms as ceiling."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for name in size.worlds:
        world = standard()[name]
        for seed in range(size.seeds):
            for (solver, point, steps), made in solvers(world, size.steps).items():
                label = labels(world=name, solver=solver, point=point, steps=steps, seed=seed)
                cells[label] = AuditCell(FitCell(world, seed, size.n_test, made, size.n_train))
            for point, share in enumerate(variants.COUNTS):
                oracle = OrthogonalMatchingPursuit(max(1, round(share * sparsity(world))))
                label = labels(world=name, solver="oracle", point=point, steps=0, seed=seed)
                cells[label] = AuditCell(OracleCell(world, seed, size.n_test, oracle))
    question = "Which reported numbers rank autoencoders as the truth does?"
    return Study("audit", question, cells, METRICS)
