"""Every solver of the package keeps every promise of `sparsesim.testing.CHECKS`, and none is missing from the list."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from scipy.sparse import csr_array

import sparsesim.solvers
from sparsesim.solvers.alternating import SignedDescent
from sparsesim.solvers.archetypal import ArchetypalAnalysis
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import IndependentComponents, PrincipalComponents, RandomDictionary
from sparsesim.solvers.clustering import KMeans
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.deep import DeepDictionaryLearning
from sparsesim.solvers.erspud import ERSpUD
from sparsesim.solvers.factorisation import NonNegativeFactorisation, SemiNonNegativeFactorisation
from sparsesim.solvers.itda import ITDA
from sparsesim.solvers.learn import KSVD, MethodOfOptimalDirections
from sparsesim.solvers.masked import MaskedSparseCoding
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.adaptive_k import AdaptiveK
from sparsesim.solvers.neural.aligned import FeatureAligned
from sparsesim.solvers.neural.archetypal import Archetypal
from sparsesim.solvers.neural.ard import ARDVAE
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.conditional_vae import ConditionalVAE
from sparsesim.solvers.neural.end_to_end import EndToEnd
from sparsesim.solvers.neural.ensemble import Bagging, Boosting
from sparsesim.solvers.neural.feature_choice import FeatureChoice
from sparsesim.solvers.neural.fixed_bias import FixedBias
from sparsesim.solvers.neural.fsq import FiniteScalarQuantised
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.geometric_median import FromGeometricMedian
from sparsesim.solvers.neural.gradient_topk import GradientTopK
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.idvae import DoubleVAE
from sparsesim.solvers.neural.inverse_lipschitz import InverseLipschitz
from sparsesim.solvers.neural.ivae import IdentifiableVAE
from sparsesim.solvers.neural.iwae import ImportanceWeightedVAE
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.jump_relu_tanh import TanhJumpReLU
from sparsesim.solvers.neural.k_sparse import KSparse
from sparsesim.solvers.neural.known_layers import DirectReadout
from sparsesim.solvers.neural.kron import KronSAE
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.matryoshka_relu import PenalisedMatryoshka
from sparsesim.solvers.neural.mlp_sae import PerceptronSAE
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.multi_layer import MultiLayer
from sparsesim.solvers.neural.multi_topk import MultiTopK
from sparsesim.solvers.neural.mutual_choice import MutualChoice
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.output_groups import OutputGroups
from sparsesim.solvers.neural.p_annealing import PAnnealing
from sparsesim.solvers.neural.poly import PolynomialSAE
from sparsesim.solvers.neural.proximal_sae import L1, ProximalSAE
from sparsesim.solvers.neural.qlae import QuantisedLatent
from sparsesim.solvers.neural.rae import RegularisedAutoencoder
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.relu_output import ReLUOutput
from sparsesim.solvers.neural.resampling import Resampling
from sparsesim.solvers.neural.restarting import Restarting
from sparsesim.solvers.neural.sign import SignAutoencoder
from sparsesim.solvers.neural.spade import SpaDE
from sparsesim.solvers.neural.sparse_vae import SparseVAE
from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1
from sparsesim.solvers.neural.tilted import TiltedERM
from sparsesim.solvers.neural.top_afa import TopAFA
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.transcoder import Transcoder
from sparsesim.solvers.neural.two_level import TwoLevelVAE
from sparsesim.solvers.neural.unscented import UnscentedAutoencoder
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vae_capacity import CapacityVAE
from sparsesim.solvers.neural.vae_info import InfoVAE
from sparsesim.solvers.neural.vaease import VAEase
from sparsesim.solvers.neural.variational_topk import VariationalTopK
from sparsesim.solvers.neural.vq import VectorQuantised
from sparsesim.solvers.neural.vsc import VariationalSparseCoding
from sparsesim.solvers.neural.wasserstein import WassersteinAutoencoder
from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.solvers.recursive import RecursiveLeastSquares
from sparsesim.solvers.thresholding import CorrelationThreshold
from sparsesim.testing import CHECKS, check_solver

SHORT = Training(steps=150, batch_size=64)
BRIEF = Training(steps=40, batch_size=32)

SOLVERS: list[Solver] = [
    RandomDictionary(12, OrthogonalMatchingPursuit(2)),
    PrincipalComponents(6),
    IndependentComponents(6),
    MethodOfOptimalDirections(12, OrthogonalMatchingPursuit(2), iterations=5),
    MethodOfOptimalDirections(12, Lasso(0.1), iterations=3),
    KSVD(12, OrthogonalMatchingPursuit(2), iterations=5),
    KSVD(12, MatchingPursuit(2), iterations=5),
    OnlineDictionaryLearning(12, OrthogonalMatchingPursuit(2), passes=2, batch_size=50),
    RecursiveLeastSquares(12, OrthogonalMatchingPursuit(2), passes=2, batch_size=50),
    SignedDescent(12, CorrelationThreshold(0.5, refit=True), iterations=5),
    MaskedSparseCoding(12, 2, epochs=5),
    ITDA(12, 2),
    DeepDictionaryLearning(12, 0.1, (8,), iterations=5),
    ERSpUD(8, programmes=24),
    ArchetypalAnalysis(12, iterations=5),
    NonNegativeFactorisation(6, iterations=5),
    SemiNonNegativeFactorisation(6, iterations=5),
    KMeans(12, iterations=10),
    ReLUL1(12, training=SHORT),
    ReLUL1(12, training=SHORT, resampling=Resampling(every=20)),
    TiedReLUL1(12, training=SHORT),
    WeightedReLUL1(12, training=SHORT),
    JumpReLU(12, training=SHORT),
    TanhJumpReLU(12, training=SHORT),
    Gated(12, training=SHORT),
    PAnnealing(12, training=SHORT),
    ProximalSAE(12, L1(1.0), 2, training=SHORT),
    SpaDE(12, training=SHORT),
    GroupBias(12, 3, every=10, training=SHORT),
    TiltedERM(ReLUL1(12, training=SHORT)),
    FromGeometricMedian(ReLUL1(12, training=SHORT)),
    FixedBias(ReLUL1(12, training=SHORT)),
    TopK(12, 3, training=SHORT),
    BatchTopK(12, 3, training=SHORT),
    GaussianVAE(12, training=SHORT),
    GaussianVAE(5, hidden=8, decoder_hidden=(8, 6), activation="tanh", training=SHORT),
    MultiTopK(12, 3, training=BRIEF),
    KSparse(12, 3, training=BRIEF),
    AbsTopK(12, 3, training=BRIEF),
    Matryoshka(12, 3, training=BRIEF),
    PenalisedMatryoshka(12, 1.0, training=BRIEF),
    NestedTopK(12, 3, training=BRIEF),
    MutualChoice(12, 3, training=BRIEF),
    FeatureChoice(12, 3, training=BRIEF),
    TopAFA(12, training=BRIEF),
    AdaptiveK(12, 1, 6, training=BRIEF),
    GradientTopK(12, 3, training=BRIEF),
    VariationalTopK(12, 3, beta=0.1, training=BRIEF),
    KronSAE(12, 3, left=2, right=3, training=BRIEF),
    MatchingPursuitSAE(12, 3, training=SHORT),
    PerceptronSAE(12, 16, training=SHORT),
    Bagging(TopK(6, 2, training=SHORT), 2),
    Boosting(TopK(6, 2, training=SHORT), 2),
    FeatureAligned(TopK(12, 3, training=SHORT)),
    FeatureAligned(TopK(12, 3, training=BRIEF), restarting=Restarting(threshold=0.5)),
    Archetypal(12, 3, candidates=16, training=SHORT),
    PolynomialSAE(12, 3, pair_rank=4, training=SHORT),
    VectorQuantised(12, training=SHORT),
    SignAutoencoder(12, training=SHORT),
    FiniteScalarQuantised(12, training=SHORT),
    QuantisedLatent(12, training=SHORT),
    EndToEnd(12, 0.05, DirectReadout(8), logits=False, training=BRIEF),
    Transcoder(12, DirectReadout(8), training=BRIEF),
    OutputGroups(GaussianVAE(12, training=BRIEF), groups=((0, 1, 2), (3, 4, 5, 6, 7))),
    MultiLayer(TopK(12, 3, training=BRIEF)),
    VAEase(12, hidden=16, training=SHORT),
    ReLUOutput(12, training=dataclasses.replace(SHORT, normalise=False)),
    CapacityVAE(12, weight=10.0, training=BRIEF),
    InfoVAE(12, training=BRIEF),
    WassersteinAutoencoder(12, training=BRIEF),
    ImportanceWeightedVAE(12, samples=3, training=BRIEF),
    RegularisedAutoencoder(12, training=BRIEF),
    ARDVAE(12, refresh=10, training=BRIEF),
    UnscentedAutoencoder(12, training=BRIEF),
    UnscentedAutoencoder(4, points=None, full=True, decoder_hidden=6, activation="tanh", training=BRIEF),
    TwoLevelVAE(12, upper_width=5, training=BRIEF),
    InverseLipschitz(GaussianVAE(6, training=BRIEF)),
    IdentifiableVAE(12, training=SHORT),
    DoubleVAE(12, training=SHORT),
    ConditionalVAE(12, training=SHORT),
    VariationalSparseCoding(12, alpha=0.5, beta=0.05, training=SHORT),
    SparseVAE(12, hidden=8, decoder_hidden=8, training=SHORT),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: f"{type(solver).__name__}")
def test_the_solver_keeps_the_promise(solver, check):
    check(solver)


def test_no_solver_of_the_package_is_missing_from_the_list():
    found = set()
    for info in pkgutil.walk_packages(sparsesim.solvers.__path__, "sparsesim.solvers."):
        module = importlib.import_module(info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            ours = kind.__module__ == info.name and dataclasses.is_dataclass(kind) and hasattr(kind, "fit")
            if ours and not inspect.isabstract(kind):
                found.add(kind)
    assert found, "the walk over sparsesim.solvers found no solver at all"
    assert found == {type(solver) for solver in SOLVERS}


FLOOR = RandomDictionary(12, OrthogonalMatchingPursuit(2))


@dataclasses.dataclass(frozen=True)
class UsesGlobalState:
    width: int = 12

    def fit(self, x, *, rng):
        return FLOOR.fit(x, rng=np.random.default_rng(np.random.randint(1000)))  # noqa: NPY002


@dataclasses.dataclass(frozen=True)
class AcceptsAnything:
    width: int = 12

    def fit(self, x, *, rng):
        return FLOOR.fit(np.nan_to_num(np.atleast_2d(np.asarray(x, dtype=float))), rng=rng)


@dataclasses.dataclass(frozen=True)
class WritesIntoItsInput:
    width: int = 12

    def fit(self, x, *, rng):
        x -= x.mean(axis=0)
        return FLOOR.fit(x, rng=rng)


@dataclasses.dataclass(frozen=True)
class BatchWise:
    """An encoder that keeps the largest codes of the whole batch."""

    def encode(self, x, atoms):
        codes = x @ atoms.T
        kept = np.abs(codes) >= np.sort(np.abs(codes).ravel())[-2 * len(x)]
        return csr_array(codes * kept)


@dataclasses.dataclass(frozen=True)
class EncodesByBatch:
    width: int = 12

    def fit(self, x, *, rng):
        return dataclasses.replace(FLOOR.fit(x, rng=rng), encoder=BatchWise())


@dataclasses.dataclass
class Unfrozen:
    width: int = 12

    def fit(self, x, *, rng):
        return FLOOR.fit(x, rng=rng)


@pytest.mark.parametrize(
    ("solver", "promise"),
    [
        (UsesGlobalState(), "the_same_stream|global_random_state"),
        (AcceptsAnything(), "bad_input_is_refused"),
        (WritesIntoItsInput(), "."),
        (EncodesByBatch(), "a_row_is_encoded_alone"),
        (Unfrozen(), "keyed_and_frozen"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_solver_that_breaks_a_promise_is_caught(solver, promise):
    with pytest.raises((AssertionError, ValueError), match=promise):
        check_solver(solver)
