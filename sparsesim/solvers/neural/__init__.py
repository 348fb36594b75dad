"""Gradient-trained dictionaries: numpy outside, torch inside, one training loop, one small file for each variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.solvers.neural.abs_topk import AbsTopK as AbsTopK
    from sparsesim.solvers.neural.adaptive_k import AdaptiveK as AdaptiveK
    from sparsesim.solvers.neural.aligned import FeatureAligned as FeatureAligned
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
    from sparsesim.solvers.neural.known_layers import PassingLayer as PassingLayer
    from sparsesim.solvers.neural.known_layers import ReLULayer as ReLULayer
    from sparsesim.solvers.neural.kron import KronSAE as KronSAE
    from sparsesim.solvers.neural.matryoshka import Matryoshka as Matryoshka
    from sparsesim.solvers.neural.matryoshka import RandomPrefixes as RandomPrefixes
    from sparsesim.solvers.neural.matryoshka_relu import PenalisedMatryoshka as PenalisedMatryoshka
    from sparsesim.solvers.neural.mlp_sae import PerceptronSAE as PerceptronSAE
    from sparsesim.solvers.neural.module import SparseModule as SparseModule
    from sparsesim.solvers.neural.module import Step as Step
    from sparsesim.solvers.neural.mp import MatchingPursuitSAE as MatchingPursuitSAE
    from sparsesim.solvers.neural.multi_layer import MultiLayer as MultiLayer
    from sparsesim.solvers.neural.multi_topk import MultiTopK as MultiTopK
    from sparsesim.solvers.neural.mutual_choice import MutualChoice as MutualChoice
    from sparsesim.solvers.neural.nested_topk import NestedTopK as NestedTopK
    from sparsesim.solvers.neural.on_device import OnDevice as OnDevice
    from sparsesim.solvers.neural.output_groups import OutputGroups as OutputGroups
    from sparsesim.solvers.neural.p_annealing import PAnnealing as PAnnealing
    from sparsesim.solvers.neural.poly import PolynomialSAE as PolynomialSAE
    from sparsesim.solvers.neural.proximal_sae import L0 as L0
    from sparsesim.solvers.neural.proximal_sae import L1 as L1
    from sparsesim.solvers.neural.proximal_sae import AtMost as AtMost
    from sparsesim.solvers.neural.proximal_sae import ProximalSAE as ProximalSAE
    from sparsesim.solvers.neural.qlae import QuantisedLatent as QuantisedLatent
    from sparsesim.solvers.neural.rae import RegularisedAutoencoder as RegularisedAutoencoder
    from sparsesim.solvers.neural.relu_l1 import ReLUL1 as ReLUL1
    from sparsesim.solvers.neural.relu_output import ReLUOutput as ReLUOutput
    from sparsesim.solvers.neural.resampling import Resampling as Resampling
    from sparsesim.solvers.neural.restarting import Restarting as Restarting
    from sparsesim.solvers.neural.sign import SignAutoencoder as SignAutoencoder
    from sparsesim.solvers.neural.solver import NeuralEncoder as NeuralEncoder
    from sparsesim.solvers.neural.solver import NeuralSolver as NeuralSolver
    from sparsesim.solvers.neural.solver import fit_together as fit_together
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

__getattr__, __dir__ = lazy(
    __name__,
    {
        "abs_topk": ("AbsTopK",),
        "adaptive_k": ("AdaptiveK",),
        "aligned": ("FeatureAligned",),
        "archetypal": ("Archetypal",),
        "ard": ("ARDVAE", "relevance", "relevant"),
        "batch_topk": ("BatchTopK",),
        "checkpoint": ("Checkpoint",),
        "conditional_vae": ("ConditionalVAE",),
        "downstream": ("LinearReadout", "TanhReadout"),
        "end_to_end": ("EndToEnd",),
        "ensemble": ("Bagging", "Boosting"),
        "exact_bound": ("exact_loss",),
        "feature_choice": ("FeatureChoice",),
        "fixed_bias": ("FixedBias",),
        "fsq": ("FiniteScalarQuantised",),
        "gated": ("Gated",),
        "geometric_median": ("FromGeometricMedian",),
        "gradient_topk": ("GradientTopK",),
        "group_bias": ("GroupBias",),
        "idvae": ("DoubleVAE",),
        "inverse_lipschitz": ("InverseLipschitz",),
        "ivae": ("IdentifiableVAE",),
        "iwae": ("ImportanceWeightedVAE", "importance_bound"),
        "jump_relu": ("JumpReLU",),
        "jump_relu_tanh": ("TanhJumpReLU",),
        "k_sparse": ("KSparse",),
        "known_layers": ("DirectReadout", "PassingLayer", "ReLULayer"),
        "kron": ("KronSAE",),
        "matryoshka": ("Matryoshka", "RandomPrefixes"),
        "matryoshka_relu": ("PenalisedMatryoshka",),
        "mlp_sae": ("PerceptronSAE",),
        "module": ("SparseModule", "Step"),
        "mp": ("MatchingPursuitSAE",),
        "multi_layer": ("MultiLayer",),
        "multi_topk": ("MultiTopK",),
        "mutual_choice": ("MutualChoice",),
        "nested_topk": ("NestedTopK",),
        "on_device": ("OnDevice",),
        "output_groups": ("OutputGroups",),
        "p_annealing": ("PAnnealing",),
        "poly": ("PolynomialSAE",),
        "proximal_sae": ("AtMost", "L0", "L1", "ProximalSAE"),
        "qlae": ("QuantisedLatent",),
        "rae": ("RegularisedAutoencoder",),
        "relu_l1": ("ReLUL1",),
        "relu_output": ("ReLUOutput",),
        "resampling": ("Resampling",),
        "restarting": ("Restarting",),
        "solver": ("NeuralEncoder", "NeuralSolver", "fit_together"),
        "sign": ("SignAutoencoder",),
        "spade": ("SpaDE",),
        "sparse_vae": ("SparseVAE", "mask_support"),
        "tied_relu_l1": ("TiedReLUL1",),
        "tilted": ("TiltedERM",),
        "top_afa": ("TopAFA",),
        "topk": ("TopK",),
        "train": ("Training",),
        "transcoder": ("Transcoder",),
        "two_level": ("TwoLevelVAE", "upper_posterior"),
        "unscented": ("UnscentedAutoencoder",),
        "vae": ("GaussianVAE",),
        "vae_capacity": ("CapacityVAE",),
        "vae_info": ("InfoVAE",),
        "vaease": ("VAEase", "active_dimensions", "posterior_variances"),
        "variational_topk": ("VariationalTopK",),
        "vq": ("VectorQuantised", "perplexity"),
        "wasserstein": ("WassersteinAutoencoder",),
        "vsc": ("VariationalSparseCoding",),
        "weighted_relu_l1": ("WeightedReLUL1",),
    },
)
