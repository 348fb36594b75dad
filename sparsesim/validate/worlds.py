"""Standard worlds: small enough for a laptop, each hard in one way only.

Each function returns a `FeatureSpec`; ``spec.build(rng)`` draws its directions.
"""

from __future__ import annotations

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.blocks import Subspaces
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import BlockCorrelation
from sparsesim.generators.geometry import Cones, LowCoherence, Orthonormal, RandomSphere
from sparsesim.generators.groups import BlockSupport
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.magnitude import BernoulliSign, Constant, SignedGaussian, Uniform
from sparsesim.generators.magnitude_coupled import OnSphere
from sparsesim.generators.noise import Gaussian, NoiseLaw, SignalToNoise
from sparsesim.generators.rates import EqualRates, ZipfRates
from sparsesim.generators.support import Bernoulli, ExactlyK

MAGNITUDE = Uniform(0.5, 1.5)
NOISELESS = Gaussian(0.0)


def flat(dim: int = 32, rate: float = 0.08) -> FeatureSpec:
    """As many orthonormal features as dimensions, firing independently: everything here is identifiable."""
    return FeatureSpec(dim, Bernoulli(EqualRates(dim, rate)), Orthonormal(), MAGNITUDE)


def superposed(dim: int = 32, n_features: int = 64, k: int = 3, noise: NoiseLaw = NOISELESS) -> FeatureSpec:
    """More features than dimensions in low-coherence superposition, exactly ``k`` of them active in each sample."""
    return FeatureSpec(dim, ExactlyK(n_features, k), LowCoherence(), MAGNITUDE, noise)


def zipf(dim: int = 32, n_features: int = 64, exponent: float = 0.7, max_rate: float = 0.25) -> FeatureSpec:
    """Random directions in superposition whose firing rates fall as a power of the rank."""
    return FeatureSpec(dim, Bernoulli(ZipfRates(n_features, exponent, max_rate)), RandomSphere(), MAGNITUDE)


def tree(dim: int = 32, roots: int = 4, branching: int = 3, depth: int = 2, cosine: float = 0.3) -> FeatureSpec:
    """A hierarchy: a child fires only with its parent, excludes its siblings, and lies near its parent."""
    law = Forest.regular(roots, branching, depth, root_rate=0.3, child_rate=0.25)
    return FeatureSpec(dim, law, Cones(law.parents, cosine), MAGNITUDE)


def noisy(db: float = 15.0, dim: int = 32, n_features: int = 64) -> FeatureSpec:
    """The `superposed` world under white noise of ``db`` decibels signal-to-noise ratio."""
    return superposed(dim, n_features, noise=SignalToNoise(db))


def correlated(dim: int = 32, n_features: int = 64, rate: float = 0.05, size: int = 8, rho: float = 0.6) -> FeatureSpec:
    """Random directions in superposition whose features fire together within groups of ``size``.

    ``rho`` is the correlation of the Gaussians behind the firings; the firings themselves are correlated less.
    """
    law = CorrelatedBernoulli(EqualRates(n_features, rate), BlockCorrelation((size,) * (n_features // size), rho))
    return FeatureSpec(dim, law, RandomSphere(), MAGNITUDE)


def bipolar(dim: int = 32, n_features: int = 64, k: int = 3) -> FeatureSpec:
    """The `superposed` world with coefficients +1 and -1: one feature each, two for a code that is not negative."""
    return FeatureSpec(dim, ExactlyK(n_features, k), LowCoherence(), BernoulliSign())


def multidimensional(dim: int = 32, planes: int = 24, k: int = 2) -> FeatureSpec:
    """Circles: ``k`` of the random ``planes`` speak in each sample, by a point uniform on a circle in the plane.

    Only the planes are identified: any two orthogonal directions of one are as true as those that are named.
    """
    law = BlockSupport(ExactlyK(planes, k), ExactlyK(2, 2))
    return FeatureSpec(dim, law, Subspaces((2,) * planes), OnSphere(2, Constant(1.0)))


def unidentifiable(dim: int = 32) -> FeatureSpec:
    """White Gaussian noise, every feature always active: a control in which no direction is more true than another."""
    return FeatureSpec(dim, ExactlyK(dim, dim), Orthonormal(), SignedGaussian())


def standard() -> dict[str, FeatureSpec]:
    """Return the five standard worlds by name, from the easiest to the noisiest."""
    return {"flat": flat(), "superposed": superposed(), "zipf": zipf(), "tree": tree(), "noisy": noisy()}
