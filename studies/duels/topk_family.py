"""Duels of the variants of TopK: each in a small world that its paper's claim speaks of, against what it is to beat."""

from __future__ import annotations

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import BlockCorrelation
from sparsesim.generators.geometry import GivenAtoms, LowCoherence, Orthonormal, RandomSphere
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.magnitude import BernoulliSign, Constant, Uniform
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.rates import EqualRates, GivenRates, ZipfRates
from sparsesim.generators.support import Bernoulli
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.adaptive_k import AdaptiveK
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.downstream import LinearReadout
from sparsesim.solvers.neural.feature_choice import FeatureChoice
from sparsesim.solvers.neural.gradient_topk import GradientTopK
from sparsesim.solvers.neural.k_sparse import KSparse
from sparsesim.solvers.neural.kron import KronSAE
from sparsesim.solvers.neural.matryoshka import Matryoshka, RandomPrefixes
from sparsesim.solvers.neural.multi_topk import MultiTopK
from sparsesim.solvers.neural.mutual_choice import MutualChoice
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.top_afa import TopAFA
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.variational_topk import VariationalTopK
from studies.duels.base import Duel
from studies.duels.relu_family import FAST, SUPERPOSED, uneven

TRAINING = Training(steps=2_000)
STRENGTH = Uniform(0.5, 1.5)
FLAT = FeatureSpec(20, Bernoulli(EqualRates(40, 0.08)), RandomSphere(), STRENGTH)  # 3.2 of 40 features
NEARLY_ORTHOGONAL = FeatureSpec(32, Bernoulli(EqualRates(40, 0.08)), LowCoherence(), STRENGTH)
ZIPF = FeatureSpec(20, Bernoulli(ZipfRates(40, 1.0, 0.6)), RandomSphere(), STRENGTH)  # 2.6 of 40 features
BIPOLAR = FeatureSpec(20, Bernoulli(EqualRates(20, 0.12)), Orthonormal(), BernoulliSign())
TOGETHER = CorrelatedBernoulli(EqualRates(32, 0.1), BlockCorrelation((8,) * 4, 0.6))
BLOCKS = FeatureSpec(20, TOGETHER, RandomSphere(), STRENGTH)
# Three parents with three exclusive children each and eight features on their own, 1.1 of 20 active.
TREE = FeatureSpec(
    20,
    Forest((-1,) * 11 + (0,) * 3 + (1,) * 3 + (2,) * 3, (0.15,) * 3 + (0.05,) * 8 + (0.2,) * 9),
    Orthonormal(),
    Constant(),
)
# Four strong and frequent features, of which two fire on average, hide 28 weak ones that alone are read downstream.
AXES = tuple(tuple(float(i == j) for j in range(32)) for i in range(32))
WEAK = FeatureSpec(
    32,
    Bernoulli(GivenRates((0.5,) * 4 + (0.05,) * 28)),
    GivenAtoms(AXES),
    RectifiedNormal((1.2,) * 4 + (0.6,) * 28, 0.05),
)
READS_WEAK = LinearReadout(28, AXES[4:])


def _of_samples() -> dict[str, Duel]:
    """Return the duels of variants that keep the largest latents of each sample."""
    topk = TopK(40, 3, training=TRAINING)
    return {
        "aux_k": Duel(
            SUPERPOSED,
            TopK(100, 3, training=FAST),
            TopK(100, 3, aux=0.0, training=FAST),
            "dead_fraction",
            False,
            "Letting dead latents predict the residual keeps latents alive (2406.04093).",
        ),
        "multi_topk": Duel(
            FLAT,
            MultiTopK(40, 3, training=TRAINING),
            topk,
            "fvu",
            False,
            "Summing two TopK losses gives a code that does not overfit to one k (2406.04093); at k itself it should "
            "cost little.",
        ),
        "k_sparse": Duel(
            FLAT,
            KSparse(40, 3, training=TRAINING),
            ReLUL1(40, 1.0, training=TRAINING),
            "mcc",
            True,
            "Keeping the k largest values learns better features than penalties on the codes (1312.5663).",
        ),
        "nested_topk": Duel(
            FLAT,
            NestedTopK(40, 3, training=TRAINING),
            topk,
            "fvu",
            False,
            "Training at several sparsities at once is on the Pareto front of fidelity and sparsity (2502.20578).",
        ),
        "abs_topk": Duel(
            BIPOLAR,
            AbsTopK(20, 2, training=TRAINING),
            TopK(20, 2, training=TRAINING),
            "mcc",
            True,
            "Keeping negative activations lets one latent carry a concept and its opposite, which TopK splits "
            "(2510.00404).",
        ),
        "top_afa": Duel(
            NEARLY_ORTHOGONAL,
            TopAFA(40, training=TRAINING),
            TopK(40, 3, training=TRAINING),
            "support_f1",
            True,
            "Matching norms finds the number of active features of each sample without a k to tune (2503.24277).",
        ),
    }


def _of_rules() -> dict[str, Duel]:
    """Return the duels of variants that choose by another rule than the k largest of a sample."""
    topk = TopK(40, 3, training=TRAINING)
    return {
        "adaptive_k": Duel(
            FLAT,
            AdaptiveK(40, 1, 5, training=TRAINING),
            topk,
            "fvu",
            False,
            "A number of latents set by how complex the sample is reconstructs better than a fixed one (2508.17320).",
        ),
        "gradient_topk": Duel(
            WEAK,
            GradientTopK(32, 3, downstream=READS_WEAK, training=TRAINING),
            TopK(32, 3, training=TRAINING),
            "mcc",
            True,
            "Choosing latents by activation alone neglects features of small activation and strong influence "
            "(2411.10397).",
        ),
        "variational_topk": Duel(
            FLAT,
            VariationalTopK(40, 3, training=TRAINING),
            topk,
            "mcc",
            False,
            "The variational TopK autoencoder stays behind TopK in the core metrics (2509.22994): the source reports a "
            "loss, so the smaller score is the one that confirms it.",
        ),
        "kron": Duel(
            BLOCKS,
            KronSAE(32, 3, training=TRAINING),
            TopK(32, 3, training=TRAINING),
            "mcc",
            True,
            "Heads of latents that are conjunctions fit correlated features with a smaller encoder (2505.22255).",
        ),
    }


def _of_batches() -> dict[str, Duel]:
    """Return the duels of variants that choose among all pairs of sample and latent of a batch."""
    batch_topk = BatchTopK(20, 1, training=TRAINING)
    nested = "Latents that must reconstruct by prefixes absorb their parents less (2503.17547)."
    matched = "Allocating the budget freely reconstructs better at equal sparsity (2411.02124)."
    return {
        "batch_topk": Duel(
            uneven(),
            BatchTopK(64, 4, training=TRAINING),
            TopK(64, 4, training=TRAINING),
            "fvu",
            False,
            "Sharing latents out over a batch reconstructs better than the same number for each sample (2412.06410).",
        ),
        "matryoshka": Duel(
            TREE,
            Matryoshka(20, 1, prefixes=(4, 8, 12, 16, 20), training=TRAINING),
            batch_topk,
            "absorption_score",
            False,
            nested,
        ),
        "matryoshka_random": Duel(
            TREE,
            Matryoshka(20, 1, prefixes=RandomPrefixes(5), training=TRAINING),
            batch_topk,
            "absorption_score",
            False,
            nested,
        ),
        "mutual_choice": Duel(
            ZIPF, MutualChoice(40, 3, training=TRAINING), TopK(40, 3, training=TRAINING), "fvu", False, matched
        ),
        "feature_choice": Duel(
            ZIPF, FeatureChoice(40, 3, training=TRAINING), TopK(40, 3, training=TRAINING), "fvu", False, matched
        ),
    }


def duels() -> dict[str, Duel]:
    """Return the duels of this family by the name of the challenger."""
    return _of_samples() | _of_rules() | _of_batches()
