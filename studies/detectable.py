"""What a number of seeds can tell apart: the spread of real differences between solvers, paired and unpaired."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsesim.metrics import reconstruction, recovery
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.bakeoff import n_features, sparsity
from studies.tiers import Tier
from studies.variance import solvers, world


@dataclass(frozen=True)
class Size:
    """What a tier spends: features in dimensions, seeds, samples, training."""

    m: int
    d: int
    seeds: int
    n_train: int
    training: Training


SIZES = {
    Tier.SMOKE: Size(12, 8, 6, 300, Training(steps=60, batch_size=32)),
    Tier.LAPTOP: Size(32, 16, 48, 5_000, Training(steps=1_000, batch_size=128)),
    Tier.PAPER: Size(256, 64, 200, 200_000, Training(steps=20_000)),
}
SOLVERS = ("topk", "topk_slower", "batch_topk", "relu_l1", "mp")
SLOWER = 0.9  # of the learning rate: a variant as small as those that ablations are about
LUCK = (0, 1)  # streams of the solver's randomness: solvers that share one start from the same weights
GROUP = 16  # seeds that are trained together
METRICS = (n_features, recovery.mcc, recovery.mcc_chance, recovery.recovered_at_90, reconstruction.fvu)


def study(tier: Tier) -> Study:
    """Return solver, luck (two random streams of the solver) and seed (of the world and its samples)."""
    size = SIZES[tier]
    here = world(size.m, size.d)
    slower = replace(size.training, learning_rate=SLOWER * size.training.learning_rate)
    known = solvers(size.m, sparsity(here), size.training)
    known["topk_slower"] = solvers(size.m, sparsity(here), slower)["topk"]
    cells: dict[Labels, Cell] = {}
    for name in SOLVERS:
        for luck in LUCK:
            runs = [FitCell(here, seed, 500, known[name], size.n_train, luck) for seed in range(size.seeds)]
            for start in range(0, size.seeds, GROUP):
                group = tuple(runs[start : start + GROUP])
                for place in range(len(group)):
                    cells[labels(solver=name, luck=luck, seed=start + place)] = Grouped(group, place)
    question = "How small a difference between two solvers can a number of seeds see, and what is pairing worth?"
    return Study("detectable", question, cells, METRICS)
