"""Duels of autoencoders with structure: pursuits, ensembles, alignment, gates, archetypes, polynomials, grids."""

from __future__ import annotations

from dataclasses import replace

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.interactions import Interactions
from sparsesim.generators.magnitude import BernoulliSign, Uniform
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.manifolds import linear_union
from sparsesim.generators.support import ExactlyK
from sparsesim.generators.toys import pursuit_tree_toy
from sparsesim.solvers.neural.aligned import FeatureAligned
from sparsesim.solvers.neural.archetypal import Archetypal
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.ensemble import Bagging, Boosting
from sparsesim.solvers.neural.fsq import FiniteScalarQuantised
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.poly import PolynomialSAE
from sparsesim.solvers.neural.qlae import QuantisedLatent
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vaease import VAEase
from sparsesim.solvers.neural.vq import VectorQuantised
from studies.duels.base import Duel

SHORT = Training(steps=2_000)
TREE = replace(pursuit_tree_toy(), magnitude=RectifiedNormal(1.0, 0.25))
SUPERPOSED = FeatureSpec(16, ExactlyK(32, 3), RandomSphere(), Uniform(0.5, 1.5))
PAIRS = replace(SUPERPOSED, observation=(Interactions(count=60, order=2, strength=1.5),))
SIGNS = FeatureSpec(8, ExactlyK(4, 4), Orthonormal(), BernoulliSign(1.0))


def duels() -> dict[str, Duel]:
    """Return the duels of this family by name."""
    return {**_pursuits(), **_ensembles(), **_structured(), **_discrete()}


def _pursuits() -> dict[str, Duel]:
    raw = replace(SHORT, steps=6_000, batch_size=200, learning_rate=3e-2, normalise=False)
    return {
        "mp": Duel(
            TREE,
            MatchingPursuitSAE(20, 20, tolerance=0.05, learn_bias=False, training=raw),
            BatchTopK(20, 2, training=SHORT),
            "mcc",
            True,
            "Matching pursuit recovers the features of a tree that BatchTopK absorbs or merges (arXiv:2506.03093)",
        )
    }


def _ensembles() -> dict[str, Duel]:
    return {
        "bagging": Duel(
            SUPERPOSED,
            Bagging(TopK(32, 3, training=SHORT), 4),
            TopK(32, 3, training=SHORT),
            "fvu",
            False,
            "A bag of autoencoders reconstructs better than one of its members (arXiv:2505.16077)",
        ),
        "boosting": Duel(
            SUPERPOSED,
            Boosting(TopK(16, 1, training=SHORT), 4),
            TopK(64, 4, training=SHORT),
            "fvu",
            False,
            "Boosting reconstructs better than one autoencoder of the same width and L0 (arXiv:2505.16077)",
        ),
    }


def _structured() -> dict[str, Duel]:
    union = Training(steps=1_500, batch_size=128, learning_rate=2e-2)
    return {
        "feature_aligned": Duel(
            SUPERPOSED,
            FeatureAligned(TopK(32, 3, training=SHORT), alignment=2.0),
            TopK(32, 3, training=SHORT),
            "mcc",
            True,
            "Features that two autoencoders share are more often true ones (arXiv:2411.01220)",
        ),
        "vaease": Duel(
            linear_union(manifolds=3, coordinates=2, dim=8),
            VAEase(10, hidden=64, noise_variance=0.05, training=union),
            GaussianVAE(10, hidden=64, noise_variance=0.05, training=union),
            "mcc",
            True,
            "On a union of manifolds the gate gives each its own latents, where a VAE mixes all (arXiv:2506.04859)",
        ),
        "archetypal": Duel(
            SUPERPOSED,
            Archetypal(32, 3, candidates=128, delta=1.0, training=SHORT),
            TopK(32, 3, training=SHORT),
            "out_of_distribution",
            False,
            "Atoms near the hull of the data are more like samples than those of TopK (arXiv:2502.12892)",
        ),
        "polynomial": Duel(
            PAIRS,
            PolynomialSAE(32, 3, pair_rank=16, training=SHORT),
            TopK(32, 3, training=SHORT),
            "fvu",
            False,
            "Where features interact, a polynomial decoder reconstructs better (PolySAE 2026, released code)",
        ),
    }


def _discrete() -> dict[str, Duel]:
    return {
        "latent_quantised": Duel(
            SIGNS,
            QuantisedLatent(4, training=replace(SHORT, weight_decay=0.1)),
            GaussianVAE(4, training=SHORT),
            "mcc",
            True,
            "Latents of few values disentangle discrete factors that a VAE rotates (arXiv:2305.18378)",
        ),
        "finite_scalar": Duel(
            SIGNS,
            FiniteScalarQuantised(4, 3, training=SHORT),
            VectorQuantised(81, training=SHORT),
            "fvu",
            False,
            "A fixed grid reconstructs as well as a learned codebook of as many words (arXiv:2309.15505)",
        ),
    }
