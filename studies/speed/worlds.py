"""The worlds whose sampling is timed: laws grown from a thousand features to a million, and the shapes of the peer."""

from __future__ import annotations

import numpy as np

from sparsesim.generators.base import FeatureSpec, SupportLaw
from sparsesim.generators.correlation import LowRankCorrelation
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.magnitude_coupled import ParentScaled
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.rates import AffineZipfRates, EqualRates, ZipfRates
from sparsesim.generators.scales import FoldedNormalScales, LinearScales
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.generators.synthsaebench import SynthSAEBenchSupport
from studies.speed.saelens import SHAPES

SIZES = (1_000, 10_000, 100_000, 1_000_000)
LAWS = ("equal", "zipf", "exactly_k", "tree")
ACTIVE, DIM = 32, 64
TREE = 85  # features of a tree with four children a node and three levels below the root
FIRING_OF_TREE = 1.0 + 0.8 + 0.8**2 + 0.8**3  # of them, given that the root fires: four exclusive children at 0.2


def scaled(law: str, m: int) -> FeatureSpec:
    """Return the world of ``m`` features (in trees, of the next lower multiple of 85) of which 32 fire on average."""
    return FeatureSpec(DIM, _support(law, m), RandomSphere(), HalfNormal())


def _support(law: str, m: int) -> SupportLaw:
    if law == "equal":
        return Bernoulli(EqualRates(m, ACTIVE / m))
    if law == "zipf":
        return Bernoulli(ZipfRates(m, 0.5, ACTIVE / float((np.arange(1.0, m + 1.0) ** -0.5).sum())))
    if law == "exactly_k":
        return ExactlyK(m, ACTIVE)
    if law == "tree":
        roots = m // TREE
        return Forest.regular(roots, 4, 3, root_rate=ACTIVE / (roots * FIRING_OF_TREE), child_rate=0.2)
    raise ValueError(f"law must be one of {', '.join(LAWS)}; got {law!r}.")


def raced(name: str) -> FeatureSpec:
    """Return our world of the configuration ``name`` of `studies.speed.saelens`: the same law, other random numbers.

    Raises
    ------
    ValueError
        If there is no such configuration.
    """
    if name not in SHAPES:
        raise ValueError(f"name must be one of {', '.join(SHAPES)}; got {name!r}.")
    m, dim, roots = SHAPES[name]
    rates = AffineZipfRates(m, exponent=0.5, max_rate=0.4, min_rate=5e-4)
    strength = RectifiedNormal(LinearScales(5.0, 4.0), FoldedNormalScales(0.5, 0.5, seed=0))
    if not roots:
        return FeatureSpec(dim, Bernoulli(rates), RandomSphere(), strength, bias=0.5)
    trees = Forest.regular(roots, branching=4, depth=3, root_rate=1.0, child_rate=0.0).parents
    parents = trees + (-1,) * (m - len(trees))
    positive = tuple(strength.firing_probability(m).tolist())
    correlation = LowRankCorrelation(rank=25, scale=0.1)
    support = SynthSAEBenchSupport(rates, parents, correlation, positive=positive)
    scaled_by_parent = ParentScaled(strength, parents, LinearScales(5.0, 4.0))
    return FeatureSpec(dim, support, RandomSphere(), scaled_by_parent, bias=0.5)
