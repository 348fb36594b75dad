"""Duels of autoencoders that price their codes, have thresholds, or look for rare features without a price."""

from __future__ import annotations

import math

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.counts import UniformCount
from sparsesim.generators.geometry import GivenAtoms, Orthonormal, RandomSphere
from sparsesim.generators.groups import ExclusiveGroups
from sparsesim.generators.magnitude import Constant, Uniform
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.rates import EqualRates, ZipfRates
from sparsesim.generators.restricted import RowRestricted
from sparsesim.generators.scales import Scaled
from sparsesim.generators.support import Bernoulli
from sparsesim.solvers.baselines import PrincipalComponents
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.jump_relu_tanh import TanhJumpReLU
from sparsesim.solvers.neural.p_annealing import PAnnealing
from sparsesim.solvers.neural.proximal_sae import L1, ProximalSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.resampling import Resampling
from sparsesim.solvers.neural.spade import SpaDE
from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1
from sparsesim.solvers.neural.tilted import TiltedERM
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1
from studies.duels.base import Duel

SHORT = Training(steps=2000, batch_size=128)
FAST = Training(steps=1200, batch_size=128, learning_rate=2e-2)  # so fast that latents die
CLUSTERED = Training(steps=1000, batch_size=128, learning_rate=1e-2)  # the rate of the source
LARGE = Training(steps=1500, batch_size=256)
STRENGTH = Uniform(0.5, 1.5)
SUPERPOSED = FeatureSpec(20, Bernoulli(EqualRates(40, 0.08)), RandomSphere(), STRENGTH)
ORTHONORMAL = FeatureSpec(16, Bernoulli(EqualRates(16, 0.1)), Orthonormal(), STRENGTH)
RARE = FeatureSpec(20, Bernoulli(ZipfRates(40, 1.0, 0.5)), RandomSphere(), STRENGTH)


def pentagon() -> FeatureSpec:
    """Return five clusters of a plane, one feature each, at radii 1.5 and 0.5 in turn: inner ones are in no half-space.

    The source has six, of which pairs lie in opposite directions: a match of atoms by |cosine| would confuse them.
    """
    angles = [2 * math.pi * i / 5 for i in range(5)]
    rows = tuple((math.cos(a), math.sin(a)) for a in angles)
    radii = Scaled(Constant(1.0), (1.5, 0.5, 1.5, 0.5, 1.5))
    return FeatureSpec(2, ExclusiveGroups(((1 / 5,) * 5,)), GivenAtoms(rows), radii, Gaussian(math.sqrt(0.0221)))


def uneven() -> FeatureSpec:
    """Return samples of one to seven of 64 features, so that no one number of active latents fits all."""
    return FeatureSpec(32, RowRestricted(EqualRates(64, 0.06), UniformCount(1, 7)), RandomSphere(), Constant(1.0))


def _priced() -> dict[str, Duel]:
    """Return the duels in which the L1 norm is the price, or what it is replaced with."""
    return {
        "tied ReLU": Duel(
            SUPERPOSED,
            TiedReLUL1(40, 1.0, SHORT),
            PrincipalComponents(20),
            "mcc",
            True,
            "sparse autoencoders find directions that principal components do not (arXiv 2309.08600)",
        ),
        "resampling": Duel(
            SUPERPOSED,
            ReLUL1(100, 4.0, FAST, Resampling(every=150)),
            ReLUL1(100, 4.0, FAST),
            "mcc",
            True,
            "resampling dead latents finds features that were missed (Towards monosemanticity, 2023)",
        ),
        "norm-weighted L1": Duel(
            SUPERPOSED,
            WeightedReLUL1(40, 1.0, training=Training(steps=2000, batch_size=128, grad_clip=1.0, decay=0.2)),
            ReLUL1(40, 1.0, SHORT),
            "fvu",
            False,
            "a free decoder with norm-weighted L1 reconstructs better at the same penalty (Transformer Circuits, 2024)",
        ),
        "p-annealing": Duel(
            SUPERPOSED,
            PAnnealing(40, 1.0, training=SHORT),
            ReLUL1(40, 2.0, SHORT),
            "fvu",
            False,
            "p-annealing reconstructs better at equal sparsity than a fixed L1 penalty (arXiv 2408.00113)",
        ),
        "unrolled proximal steps": Duel(
            SUPERPOSED,
            ProximalSAE(40, L1(1.0), 3, SHORT),
            ProximalSAE(40, L1(1.0), 1, SHORT),
            "fvu",
            False,
            "more learned proximal steps give better sparse codes (Gregor, LeCun 2010)",
        ),
    }


def _gated() -> dict[str, Duel]:
    """Return the duels in which a threshold or a gate spares the codes the shrinkage."""
    return {
        "JumpReLU": Duel(
            SUPERPOSED,
            JumpReLU(40, 1.0, training=SHORT),
            ReLUL1(40, 2.5, SHORT),
            "fvu",
            False,
            "JumpReLU reconstructs better at equal sparsity than ReLU (arXiv 2407.14435)",
        ),
        "JumpReLU with tanh": Duel(
            SUPERPOSED,
            TanhJumpReLU(40, 0.3, training=SHORT),
            ReLUL1(40, 2.5, SHORT),
            "fvu",
            False,
            "JumpReLU with a tanh penalty reconstructs better at equal sparsity (Transformer Circuits, 2025)",
        ),
        "Gated, shrinkage": Duel(
            ORTHONORMAL,
            Gated(16, 2.0, SHORT),
            ReLUL1(16, 1.0, SHORT),
            "shrinkage",
            True,
            "gated autoencoders do not shrink their codes (arXiv 2404.16014)",
        ),
        "Gated, reconstruction": Duel(
            SUPERPOSED,
            Gated(40, 4.0, SHORT),
            ReLUL1(40, 2.5, SHORT),
            "fvu",
            False,
            "gated autoencoders reconstruct better at equal sparsity than ReLU (arXiv 2404.16014)",
        ),
    }


def _unpriced() -> dict[str, Duel]:
    """Return the duels on worlds of clusters, of uneven samples and of rare features."""
    return {
        "SpaDE": Duel(
            pentagon(),
            SpaDE(5, 0.5, CLUSTERED),
            ReLUL1(5, 1.0, CLUSTERED),
            "latent_f1",
            True,
            "SpaDE detects concepts that no half-space separates, ReLU does not (arXiv 2503.01822)",
        ),
        "group bias adaptation": Duel(
            uneven(),
            GroupBias(128, 4, high=0.1, low=0.03, every=5, rate=0.03, jump=True, training=LARGE),
            TopK(128, 10, training=LARGE),
            "recovered_at_90",
            True,
            "target frequencies recover what TopK with k above the largest number misses (arXiv 2506.14002)",
        ),
        "tilted risk": Duel(
            RARE,
            TiltedERM(ReLUL1(40, 1.0, SHORT), 0.5),
            ReLUL1(40, 1.0, SHORT),
            "latent_recall",
            True,
            "a tilted risk recalls rare concepts better than the mean (arXiv 2411.00743)",
        ),
    }


def duels() -> dict[str, Duel]:
    """Return the duels of this family by name."""
    return _priced() | _gated() | _unpriced()
