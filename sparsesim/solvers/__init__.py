"""Encoders, which code samples in given atoms, and solvers, which learn atoms; neither ever sees the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.solvers.active_set import ElasticNet as ElasticNet
    from sparsesim.solvers.active_set import NonNegativeLeastSquares as NonNegativeLeastSquares
    from sparsesim.solvers.active_set import ReweightedLasso as ReweightedLasso
    from sparsesim.solvers.alternating import SignedDescent as SignedDescent
    from sparsesim.solvers.archetypal import ArchetypalAnalysis as ArchetypalAnalysis
    from sparsesim.solvers.archetypal import SimplexLeastSquares as SimplexLeastSquares
    from sparsesim.solvers.archetypal import archetypes as archetypes
    from sparsesim.solvers.archetypal import nearest_in_hull as nearest_in_hull
    from sparsesim.solvers.base import Decoder as Decoder
    from sparsesim.solvers.base import Encoder as Encoder
    from sparsesim.solvers.base import FittedDictionary as FittedDictionary
    from sparsesim.solvers.base import Solver as Solver
    from sparsesim.solvers.base import Status as Status
    from sparsesim.solvers.base import StreamSolver as StreamSolver
    from sparsesim.solvers.base import unit_dictionary as unit_dictionary
    from sparsesim.solvers.baselines import IndependentComponents as IndependentComponents
    from sparsesim.solvers.baselines import LinearProjection as LinearProjection
    from sparsesim.solvers.baselines import PrincipalComponents as PrincipalComponents
    from sparsesim.solvers.baselines import RandomDictionary as RandomDictionary
    from sparsesim.solvers.beam import BeamPursuit as BeamPursuit
    from sparsesim.solvers.clustering import KMeans as KMeans
    from sparsesim.solvers.clustering import NearestCentroid as NearestCentroid
    from sparsesim.solvers.convex import Lasso as Lasso
    from sparsesim.solvers.convex import duality_gap as duality_gap
    from sparsesim.solvers.convex import kkt_residual as kkt_residual
    from sparsesim.solvers.deep import DeepDictionaryLearning as DeepDictionaryLearning
    from sparsesim.solvers.erspud import ERSpUD as ERSpUD
    from sparsesim.solvers.erspud import ExactInverse as ExactInverse
    from sparsesim.solvers.exhaustive import CertifiedCodes as CertifiedCodes
    from sparsesim.solvers.exhaustive import ExhaustiveSearch as ExhaustiveSearch
    from sparsesim.solvers.factorisation import NonNegativeFactorisation as NonNegativeFactorisation
    from sparsesim.solvers.factorisation import SemiNonNegativeFactorisation as SemiNonNegativeFactorisation
    from sparsesim.solvers.gibbs import GibbsSampler as GibbsSampler
    from sparsesim.solvers.gradient_pursuit import GradientPursuit as GradientPursuit
    from sparsesim.solvers.group_lasso import GroupLasso as GroupLasso
    from sparsesim.solvers.group_lasso import TreeLasso as TreeLasso
    from sparsesim.solvers.homotopy import BasisPursuit as BasisPursuit
    from sparsesim.solvers.homotopy import Homotopy as Homotopy
    from sparsesim.solvers.homotopy import LassoPath as LassoPath
    from sparsesim.solvers.homotopy import basis_pursuit_gap as basis_pursuit_gap
    from sparsesim.solvers.homotopy import lasso_path as lasso_path
    from sparsesim.solvers.itda import ITDA as ITDA
    from sparsesim.solvers.itda import shared_atoms as shared_atoms
    from sparsesim.solvers.learn import KSVD as KSVD
    from sparsesim.solvers.learn import MethodOfOptimalDirections as MethodOfOptimalDirections
    from sparsesim.solvers.least_absolute import least_absolute as least_absolute
    from sparsesim.solvers.least_squares import SupportLeastSquares as SupportLeastSquares
    from sparsesim.solvers.least_squares import least_squares_on_support as least_squares_on_support
    from sparsesim.solvers.masked import MaskedSparseCoding as MaskedSparseCoding
    from sparsesim.solvers.message_passing import ApproximateMessagePassing as ApproximateMessagePassing
    from sparsesim.solvers.message_passing import MessagePassingSparseBayes as MessagePassingSparseBayes
    from sparsesim.solvers.message_passing import PassedCodes as PassedCodes
    from sparsesim.solvers.message_passing import VectorAMP as VectorAMP
    from sparsesim.solvers.neural.abs_topk import AbsTopK as AbsTopK
    from sparsesim.solvers.neural.adaptive_k import AdaptiveK as AdaptiveK
    from sparsesim.solvers.neural.aligned import FeatureAligned as FeatureAligned
    from sparsesim.solvers.neural.amortised import AmortisedEncoder as AmortisedEncoder
    from sparsesim.solvers.neural.amortised import Amortiser as Amortiser
    from sparsesim.solvers.neural.archetypal import Archetypal as Archetypal
    from sparsesim.solvers.neural.ard import ARDVAE as ARDVAE
    from sparsesim.solvers.neural.ard import relevance as relevance
    from sparsesim.solvers.neural.ard import relevant as relevant
    from sparsesim.solvers.neural.batch_topk import BatchTopK as BatchTopK
    from sparsesim.solvers.neural.checkpoint import Checkpoint as Checkpoint
    from sparsesim.solvers.neural.conditional_vae import ConditionalVAE as ConditionalVAE
    from sparsesim.solvers.neural.downstream import LinearReadout as LinearReadout
    from sparsesim.solvers.neural.downstream import TanhReadout as TanhReadout
    from sparsesim.solvers.neural.end_to_end import EndToEnd as EndToEnd
    from sparsesim.solvers.neural.ensemble import Bagging as Bagging
    from sparsesim.solvers.neural.ensemble import Boosting as Boosting
    from sparsesim.solvers.neural.exact_bound import exact_loss as exact_loss
    from sparsesim.solvers.neural.feature_choice import FeatureChoice as FeatureChoice
    from sparsesim.solvers.neural.fixed_bias import FixedBias as FixedBias
    from sparsesim.solvers.neural.fsq import FiniteScalarQuantised as FiniteScalarQuantised
    from sparsesim.solvers.neural.gated import Gated as Gated
    from sparsesim.solvers.neural.geometric_median import FromGeometricMedian as FromGeometricMedian
    from sparsesim.solvers.neural.gradient_topk import GradientTopK as GradientTopK
    from sparsesim.solvers.neural.group_bias import GroupBias as GroupBias
    from sparsesim.solvers.neural.idvae import DoubleVAE as DoubleVAE
    from sparsesim.solvers.neural.inverse_lipschitz import InverseLipschitz as InverseLipschitz
    from sparsesim.solvers.neural.ivae import IdentifiableVAE as IdentifiableVAE
    from sparsesim.solvers.neural.iwae import ImportanceWeightedVAE as ImportanceWeightedVAE
    from sparsesim.solvers.neural.iwae import importance_bound as importance_bound
    from sparsesim.solvers.neural.jump_relu import JumpReLU as JumpReLU
    from sparsesim.solvers.neural.jump_relu_tanh import TanhJumpReLU as TanhJumpReLU
    from sparsesim.solvers.neural.k_sparse import KSparse as KSparse
    from sparsesim.solvers.neural.known_layers import DirectReadout as DirectReadout
    from sparsesim.solvers.neural.known_layers import ReLULayer as ReLULayer
    from sparsesim.solvers.neural.kron import KronSAE as KronSAE
    from sparsesim.solvers.neural.lista import LearnedISTA as LearnedISTA
    from sparsesim.solvers.neural.lista import UnfoldedEncoder as UnfoldedEncoder
    from sparsesim.solvers.neural.matryoshka import Matryoshka as Matryoshka
    from sparsesim.solvers.neural.matryoshka import RandomPrefixes as RandomPrefixes
    from sparsesim.solvers.neural.mlp_sae import PerceptronSAE as PerceptronSAE
    from sparsesim.solvers.neural.mp import MatchingPursuitSAE as MatchingPursuitSAE
    from sparsesim.solvers.neural.multi_layer import MultiLayer as MultiLayer
    from sparsesim.solvers.neural.multi_topk import MultiTopK as MultiTopK
    from sparsesim.solvers.neural.mutual_choice import MutualChoice as MutualChoice
    from sparsesim.solvers.neural.nested_topk import NestedTopK as NestedTopK
    from sparsesim.solvers.neural.output_groups import OutputGroups as OutputGroups
    from sparsesim.solvers.neural.p_annealing import PAnnealing as PAnnealing
    from sparsesim.solvers.neural.poly import PolynomialSAE as PolynomialSAE
    from sparsesim.solvers.neural.proximal_sae import ProximalSAE as ProximalSAE
    from sparsesim.solvers.neural.qlae import QuantisedLatent as QuantisedLatent
    from sparsesim.solvers.neural.rae import RegularisedAutoencoder as RegularisedAutoencoder
    from sparsesim.solvers.neural.relu_l1 import ReLUL1 as ReLUL1
    from sparsesim.solvers.neural.relu_output import ReLUOutput as ReLUOutput
    from sparsesim.solvers.neural.resampling import Resampling as Resampling
    from sparsesim.solvers.neural.sign import SignAutoencoder as SignAutoencoder
    from sparsesim.solvers.neural.spade import SpaDE as SpaDE
    from sparsesim.solvers.neural.sparse_vae import SparseVAE as SparseVAE
    from sparsesim.solvers.neural.sparse_vae import mask_support as mask_support
    from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1 as TiedReLUL1
    from sparsesim.solvers.neural.tilted import TiltedERM as TiltedERM
    from sparsesim.solvers.neural.top_afa import TopAFA as TopAFA
    from sparsesim.solvers.neural.topk import TopK as TopK
    from sparsesim.solvers.neural.train import Training as Training
    from sparsesim.solvers.neural.transcoder import Transcoder as Transcoder
    from sparsesim.solvers.neural.two_level import TwoLevelVAE as TwoLevelVAE
    from sparsesim.solvers.neural.two_level import upper_posterior as upper_posterior
    from sparsesim.solvers.neural.unscented import UnscentedAutoencoder as UnscentedAutoencoder
    from sparsesim.solvers.neural.vae import GaussianVAE as GaussianVAE
    from sparsesim.solvers.neural.vae_capacity import CapacityVAE as CapacityVAE
    from sparsesim.solvers.neural.vae_info import InfoVAE as InfoVAE
    from sparsesim.solvers.neural.vaease import VAEase as VAEase
    from sparsesim.solvers.neural.vaease import active_dimensions as active_dimensions
    from sparsesim.solvers.neural.vaease import posterior_variances as posterior_variances
    from sparsesim.solvers.neural.variational_topk import VariationalTopK as VariationalTopK
    from sparsesim.solvers.neural.vq import VectorQuantised as VectorQuantised
    from sparsesim.solvers.neural.vq import perplexity as perplexity
    from sparsesim.solvers.neural.vsc import VariationalSparseCoding as VariationalSparseCoding
    from sparsesim.solvers.neural.wasserstein import WassersteinAutoencoder as WassersteinAutoencoder
    from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1 as WeightedReLUL1
    from sparsesim.solvers.online import OnlineDictionaryLearning as OnlineDictionaryLearning
    from sparsesim.solvers.posterior import PosteriorCodes as PosteriorCodes
    from sparsesim.solvers.posterior import PosteriorMean as PosteriorMean
    from sparsesim.solvers.priors import BernoulliExponential as BernoulliExponential
    from sparsesim.solvers.priors import BernoulliGaussian as BernoulliGaussian
    from sparsesim.solvers.priors import BernoulliHalfNormal as BernoulliHalfNormal
    from sparsesim.solvers.priors import ExactlyK as ExactlyK
    from sparsesim.solvers.proximal_gradient import FISTA as FISTA
    from sparsesim.solvers.pursuit import MatchingPursuit as MatchingPursuit
    from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit as OrthogonalMatchingPursuit
    from sparsesim.solvers.pursuit import orthogonal_matching_pursuit as orthogonal_matching_pursuit
    from sparsesim.solvers.recursive import RecursiveLeastSquares as RecursiveLeastSquares
    from sparsesim.solvers.sparse_bayes import KroneckerSparseBayes as KroneckerSparseBayes
    from sparsesim.solvers.sparse_bayes import LearnedCodes as LearnedCodes
    from sparsesim.solvers.sparse_bayes import SparseBayesianLearning as SparseBayesianLearning
    from sparsesim.solvers.stagewise import StagewisePursuit as StagewisePursuit
    from sparsesim.solvers.subspace import CoSaMP as CoSaMP
    from sparsesim.solvers.subspace import SubspacePursuit as SubspacePursuit
    from sparsesim.solvers.thresholding import CorrelationThreshold as CorrelationThreshold
    from sparsesim.solvers.thresholding import CorrelationTopK as CorrelationTopK
    from sparsesim.solvers.thresholding import HardThresholdingPursuit as HardThresholdingPursuit
    from sparsesim.solvers.thresholding import IterativeHardThresholding as IterativeHardThresholding

__getattr__, __dir__ = lazy(
    __name__,
    {
        "active_set": ("ElasticNet", "NonNegativeLeastSquares", "ReweightedLasso"),
        "alternating": ("SignedDescent",),
        "archetypal": ("ArchetypalAnalysis", "SimplexLeastSquares", "archetypes", "nearest_in_hull"),
        "base": ("Decoder", "Encoder", "FittedDictionary", "Solver", "Status", "StreamSolver", "unit_dictionary"),
        "baselines": ("IndependentComponents", "LinearProjection", "PrincipalComponents", "RandomDictionary"),
        "beam": ("BeamPursuit",),
        "clustering": ("KMeans", "NearestCentroid"),
        "convex": ("Lasso", "duality_gap", "kkt_residual"),
        "deep": ("DeepDictionaryLearning",),
        "erspud": ("ERSpUD", "ExactInverse"),
        "exhaustive": ("CertifiedCodes", "ExhaustiveSearch"),
        "factorisation": ("NonNegativeFactorisation", "SemiNonNegativeFactorisation"),
        "gibbs": ("GibbsSampler",),
        "gradient_pursuit": ("GradientPursuit",),
        "group_lasso": ("GroupLasso", "TreeLasso"),
        "homotopy": ("BasisPursuit", "Homotopy", "LassoPath", "basis_pursuit_gap", "lasso_path"),
        "itda": ("ITDA", "shared_atoms"),
        "learn": ("KSVD", "MethodOfOptimalDirections"),
        "least_absolute": ("least_absolute",),
        "least_squares": ("SupportLeastSquares", "least_squares_on_support"),
        "masked": ("MaskedSparseCoding",),
        "message_passing": ("ApproximateMessagePassing", "MessagePassingSparseBayes", "PassedCodes", "VectorAMP"),
        "neural.abs_topk": ("AbsTopK",),
        "neural.adaptive_k": ("AdaptiveK",),
        "neural.aligned": ("FeatureAligned",),
        "neural.amortised": ("AmortisedEncoder", "Amortiser"),
        "neural.archetypal": ("Archetypal",),
        "neural.ard": ("ARDVAE", "relevance", "relevant"),
        "neural.batch_topk": ("BatchTopK",),
        "neural.downstream": ("LinearReadout", "TanhReadout"),
        "neural.end_to_end": ("EndToEnd",),
        "neural.ensemble": ("Bagging", "Boosting"),
        "neural.exact_bound": ("exact_loss",),
        "neural.feature_choice": ("FeatureChoice",),
        "neural.fsq": ("FiniteScalarQuantised",),
        "neural.gated": ("Gated",),
        "neural.geometric_median": ("FromGeometricMedian",),
        "neural.gradient_topk": ("GradientTopK",),
        "neural.group_bias": ("GroupBias",),
        "neural.checkpoint": ("Checkpoint",),
        "neural.conditional_vae": ("ConditionalVAE",),
        "neural.idvae": ("DoubleVAE",),
        "neural.fixed_bias": ("FixedBias",),
        "neural.ivae": ("IdentifiableVAE",),
        "neural.relu_output": ("ReLUOutput",),
        "neural.sparse_vae": (
            "SparseVAE",
            "mask_support",
        ),
        "neural.vsc": ("VariationalSparseCoding",),
        "neural.inverse_lipschitz": ("InverseLipschitz",),
        "neural.iwae": ("ImportanceWeightedVAE", "importance_bound"),
        "neural.jump_relu": ("JumpReLU",),
        "neural.jump_relu_tanh": ("TanhJumpReLU",),
        "neural.k_sparse": ("KSparse",),
        "neural.known_layers": ("DirectReadout", "ReLULayer"),
        "neural.kron": ("KronSAE",),
        "neural.lista": ("LearnedISTA", "UnfoldedEncoder"),
        "neural.matryoshka": ("Matryoshka", "RandomPrefixes"),
        "neural.mlp_sae": ("PerceptronSAE",),
        "neural.mp": ("MatchingPursuitSAE",),
        "neural.multi_layer": ("MultiLayer",),
        "neural.multi_topk": ("MultiTopK",),
        "neural.mutual_choice": ("MutualChoice",),
        "neural.nested_topk": ("NestedTopK",),
        "neural.output_groups": ("OutputGroups",),
        "neural.p_annealing": ("PAnnealing",),
        "neural.poly": ("PolynomialSAE",),
        "neural.proximal_sae": ("ProximalSAE",),
        "neural.qlae": ("QuantisedLatent",),
        "neural.rae": ("RegularisedAutoencoder",),
        "neural.relu_l1": ("ReLUL1",),
        "neural.resampling": ("Resampling",),
        "neural.sign": ("SignAutoencoder",),
        "neural.spade": ("SpaDE",),
        "neural.tied_relu_l1": ("TiedReLUL1",),
        "neural.tilted": ("TiltedERM",),
        "neural.top_afa": ("TopAFA",),
        "neural.topk": ("TopK",),
        "neural.train": ("Training",),
        "neural.transcoder": ("Transcoder",),
        "neural.two_level": ("TwoLevelVAE", "upper_posterior"),
        "neural.unscented": ("UnscentedAutoencoder",),
        "neural.vae": ("GaussianVAE",),
        "neural.vae_capacity": ("CapacityVAE",),
        "neural.vae_info": ("InfoVAE",),
        "neural.vaease": ("VAEase", "active_dimensions", "posterior_variances"),
        "neural.variational_topk": ("VariationalTopK",),
        "neural.vq": ("VectorQuantised", "perplexity"),
        "neural.wasserstein": ("WassersteinAutoencoder",),
        "neural.weighted_relu_l1": ("WeightedReLUL1",),
        "online": ("OnlineDictionaryLearning",),
        "posterior": ("PosteriorCodes", "PosteriorMean"),
        "priors": ("BernoulliExponential", "BernoulliGaussian", "BernoulliHalfNormal", "ExactlyK"),
        "proximal_gradient": ("FISTA",),
        "pursuit": ("MatchingPursuit", "OrthogonalMatchingPursuit", "orthogonal_matching_pursuit"),
        "recursive": ("RecursiveLeastSquares",),
        "sparse_bayes": ("KroneckerSparseBayes", "LearnedCodes", "SparseBayesianLearning"),
        "stagewise": ("StagewisePursuit",),
        "subspace": ("CoSaMP", "SubspacePursuit"),
        "thresholding": (
            "CorrelationThreshold",
            "CorrelationTopK",
            "HardThresholdingPursuit",
            "IterativeHardThresholding",
        ),
    },
)
