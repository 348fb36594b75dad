"""A gallery of worlds: how directions lie, who fires with whom, how often, and whether each keeps what it declares."""

from __future__ import annotations

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.blocks import Clusters, Subspaces
from sparsesim.generators.buffet import BuffetRates, IndianBuffet
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import BlockCorrelation, LowRankCorrelation
from sparsesim.generators.equiangular import EquiangularTightFrame
from sparsesim.generators.geometry import Cones, LowCoherence, Orthonormal, RandomSphere
from sparsesim.generators.graph import AcyclicGraph
from sparsesim.generators.groups import BlockSupport, ExclusiveGroups
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.levels import Crystal, Levels
from sparsesim.generators.magnitude import HalfNormal, Uniform
from sparsesim.generators.magnitude_coupled import OnSphere
from sparsesim.generators.persistent import Persistent
from sparsesim.generators.polytopes import Polygons
from sparsesim.generators.rates import EqualRates, ZipfRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.generators.toy_model import ToyModel
from sparsesim.study import Cell, Labels, Study, labels
from studies.portraits import METRICS, CheckCell, LookCell, shown_of
from studies.speed.worlds import raced
from studies.tiers import Tier

SIZES = {Tier.SMOKE: (3, 2_000), Tier.LAPTOP: (10, 20_000), Tier.PAPER: (20, 200_000)}  # seeds, samples


def _flat() -> dict[str, FeatureSpec]:
    """Return worlds whose features fire independently, at equal or unequal rates, or a fixed number of them."""
    equal, strength = Bernoulli(EqualRates(32, 0.1)), HalfNormal()
    buffet = BuffetRates(IndianBuffet(3.0, 1.0, 0.4), 20, 1)
    return {
        "flat": FeatureSpec(32, equal, Orthonormal(), strength),
        "superposed": FeatureSpec(16, equal, LowCoherence(), strength),
        "random sphere": FeatureSpec(16, equal, RandomSphere(), strength),
        "Zipf rates": FeatureSpec(16, Bernoulli(ZipfRates(32, 1.0, 0.5)), LowCoherence(), strength),
        "Indian buffet": FeatureSpec(16, Bernoulli(buffet), RandomSphere(), strength),
        "exactly three": FeatureSpec(16, ExactlyK(32, 3), LowCoherence(), strength),
    }


def _structured() -> dict[str, FeatureSpec]:
    """Return worlds whose features imply, exclude or follow each other."""
    tree = Forest.regular(4, 2, 2, root_rate=0.4, child_rate=0.4)
    graph = AcyclicGraph(
        ((),) * 8 + tuple((i % 8, (i + 1) % 8) for i in range(12)) + tuple((8 + i, 9 + i) for i in range(8)),
        (0.25,) * 8 + (0.5,) * 20,
        ("any",) * 20 + ("all",) * 8,
    )
    blocks = BlockSupport(Bernoulli(EqualRates(14, 0.15)), ExactlyK(2, 2))
    rates = EqualRates(32, 0.1)
    by_block = CorrelatedBernoulli(rates, BlockCorrelation((8,) * 4, 0.8))
    low_rank = CorrelatedBernoulli(rates, LowRankCorrelation(2, 0.6, seed=0, shrink=True))
    return {
        "block copula": FeatureSpec(16, by_block, RandomSphere(), HalfNormal()),
        "low-rank copula": FeatureSpec(16, low_rank, RandomSphere(), HalfNormal()),
        "tree, in cones": FeatureSpec(16, tree, Cones(tree.parents, 0.5), HalfNormal()),
        "acyclic graph": FeatureSpec(16, graph, RandomSphere(), HalfNormal()),
        "exclusive groups": FeatureSpec(16, ExclusiveGroups(((0.125,) * 8,) * 4), LowCoherence(), HalfNormal()),
        "circles": FeatureSpec(16, blocks, Subspaces((2,) * 14), OnSphere(2)),
        "persistent": FeatureSpec(16, Persistent(rates, 0.9), RandomSphere(), HalfNormal()),
    }


def _shaped() -> dict[str, FeatureSpec]:
    """Return worlds whose directions have a shape."""
    sparse = Bernoulli(EqualRates(28, 0.1))
    return {
        "equiangular": FeatureSpec(7, sparse, EquiangularTightFrame(), HalfNormal()),
        "clusters": FeatureSpec(28, sparse, Clusters((7,) * 4, 0.6), HalfNormal()),
        "levels": FeatureSpec(28, sparse, Levels((0,) * 4 + (1,) * 8 + (2,) * 16, (0.6, 0.4, 0.2)), HalfNormal()),
        "crystal": FeatureSpec(12, sparse, Crystal((4, 7)), HalfNormal()),
        "pentagons": FeatureSpec(10, Bernoulli(EqualRates(25, 0.1)), Polygons(5), Uniform(0.0, 1.0)),
        "trained toy": FeatureSpec(2, Bernoulli(EqualRates(5, 0.05)), ToyModel(0.05), Uniform(0.0, 1.0)),
    }


def gallery() -> dict[str, FeatureSpec]:
    """Return the worlds of the gallery by name."""
    return _flat() | _structured() | _shaped() | {"SynthSAEBench": raced("tree-1k")}


def study(tier: Tier) -> Study:
    """Return the gallery at ``tier``: a row for each feature that is shown, and a row for each seed that is checked."""
    seeds, samples = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for name, world in gallery().items():
        for place in range(len(shown_of(world.n_features))):
            cells[labels(world=name, part="feature", index=place)] = LookCell(world, samples, place)
        for seed in range(seeds):
            cells[labels(world=name, part="seed", index=seed)] = CheckCell(world, samples, seed)
    return Study("worlds", "What do the worlds look like, and do they keep what they declare?", cells, METRICS)
