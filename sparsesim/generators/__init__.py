"""Worlds with known truth: geometry x support x magnitude x noise, drawn at a cost that follows what fires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.generators.base import Batch as Batch
    from sparsesim.generators.base import FeatureModel as FeatureModel
    from sparsesim.generators.base import FeatureSpec as FeatureSpec
    from sparsesim.generators.base import Support as Support
    from sparsesim.generators.benchmarks import declared_rates as declared_rates
    from sparsesim.generators.benchmarks import published as published
    from sparsesim.generators.blocks import Block as Block
    from sparsesim.generators.blocks import Blocks as Blocks
    from sparsesim.generators.blocks import Clusters as Clusters
    from sparsesim.generators.blocks import Pairs as Pairs
    from sparsesim.generators.blocks import Subspaces as Subspaces
    from sparsesim.generators.buffet import BuffetRates as BuffetRates
    from sparsesim.generators.buffet import IndianBuffet as IndianBuffet
    from sparsesim.generators.copula import CorrelatedBernoulli as CorrelatedBernoulli
    from sparsesim.generators.copula import latent_correlation as latent_correlation
    from sparsesim.generators.correlated_forest import ForestOver as ForestOver
    from sparsesim.generators.correlation import BlockCorrelation as BlockCorrelation
    from sparsesim.generators.correlation import DenseCorrelation as DenseCorrelation
    from sparsesim.generators.correlation import FactorCorrelation as FactorCorrelation
    from sparsesim.generators.correlation import LowRankCorrelation as LowRankCorrelation
    from sparsesim.generators.counts import FixedCount as FixedCount
    from sparsesim.generators.counts import NegativeBinomialCount as NegativeBinomialCount
    from sparsesim.generators.counts import PoissonCount as PoissonCount
    from sparsesim.generators.counts import UniformCount as UniformCount
    from sparsesim.generators.device import DeviceSamples as DeviceSamples
    from sparsesim.generators.device import TensorStream as TensorStream
    from sparsesim.generators.device import synthesise_on as synthesise_on
    from sparsesim.generators.device_forest import DeviceForest as DeviceForest
    from sparsesim.generators.equiangular import EquiangularTightFrame as EquiangularTightFrame
    from sparsesim.generators.equiangular import equiangular_sizes as equiangular_sizes
    from sparsesim.generators.files import StoredAtoms as StoredAtoms
    from sparsesim.generators.frames import MutuallyUnbiased as MutuallyUnbiased
    from sparsesim.generators.frames import RootLines as RootLines
    from sparsesim.generators.geometry import Cones as Cones
    from sparsesim.generators.geometry import GivenAtoms as GivenAtoms
    from sparsesim.generators.geometry import LowCoherence as LowCoherence
    from sparsesim.generators.geometry import Orthonormal as Orthonormal
    from sparsesim.generators.geometry import RandomSphere as RandomSphere
    from sparsesim.generators.given_coherence import GivenCoherence as GivenCoherence
    from sparsesim.generators.graph import AcyclicGraph as AcyclicGraph
    from sparsesim.generators.groups import BlockSupport as BlockSupport
    from sparsesim.generators.groups import ExclusiveGroups as ExclusiveGroups
    from sparsesim.generators.groups import modular as modular
    from sparsesim.generators.hierarchy import Forest as Forest
    from sparsesim.generators.interactions import Interactions as Interactions
    from sparsesim.generators.interactions import InteractionTerms as InteractionTerms
    from sparsesim.generators.levels import Bundles as Bundles
    from sparsesim.generators.levels import Crystal as Crystal
    from sparsesim.generators.levels import Levels as Levels
    from sparsesim.generators.magnitude import BernoulliSign as BernoulliSign
    from sparsesim.generators.magnitude import Constant as Constant
    from sparsesim.generators.magnitude import Exponential as Exponential
    from sparsesim.generators.magnitude import HalfNormal as HalfNormal
    from sparsesim.generators.magnitude import LogNormal as LogNormal
    from sparsesim.generators.magnitude import SignedGaussian as SignedGaussian
    from sparsesim.generators.magnitude import Uniform as Uniform
    from sparsesim.generators.magnitude_coupled import CorrelatedLogNormal as CorrelatedLogNormal
    from sparsesim.generators.magnitude_coupled import OnSphere as OnSphere
    from sparsesim.generators.magnitude_coupled import ParentScaled as ParentScaled
    from sparsesim.generators.magnitude_shapes import Discrete as Discrete
    from sparsesim.generators.magnitude_shapes import Gamma as Gamma
    from sparsesim.generators.magnitude_shapes import RectifiedNormal as RectifiedNormal
    from sparsesim.generators.magnitude_shapes import TruncatedNormal as TruncatedNormal
    from sparsesim.generators.manifolds import UnionSupport as UnionSupport
    from sparsesim.generators.manifolds import linear_union as linear_union
    from sparsesim.generators.manifolds import sphere_union as sphere_union
    from sparsesim.generators.mixing import LeakyMixing as LeakyMixing
    from sparsesim.generators.mixing import LeakyNetwork as LeakyNetwork
    from sparsesim.generators.moments import Estimate as Estimate
    from sparsesim.generators.moments import Moments as Moments
    from sparsesim.generators.noise import AutoregressiveNoise as AutoregressiveNoise
    from sparsesim.generators.noise import Gaussian as Gaussian
    from sparsesim.generators.noise import Laplace as Laplace
    from sparsesim.generators.noise import LowRankNoise as LowRankNoise
    from sparsesim.generators.noise import PowerLawNoise as PowerLawNoise
    from sparsesim.generators.noise import SignalToNoise as SignalToNoise
    from sparsesim.generators.noise import StudentT as StudentT
    from sparsesim.generators.observation import Background as Background
    from sparsesim.generators.observation import LowRankBackground as LowRankBackground
    from sparsesim.generators.observation import Missing as Missing
    from sparsesim.generators.overlap import LowOverlap as LowOverlap
    from sparsesim.generators.persistent import Persistent as Persistent
    from sparsesim.generators.polytopes import Polygons as Polygons
    from sparsesim.generators.polytopes import Polytopes as Polytopes
    from sparsesim.generators.rates import AffineZipfRates as AffineZipfRates
    from sparsesim.generators.rates import BetaRates as BetaRates
    from sparsesim.generators.rates import EqualRates as EqualRates
    from sparsesim.generators.rates import GivenRates as GivenRates
    from sparsesim.generators.rates import LinearRates as LinearRates
    from sparsesim.generators.rates import MandelbrotRates as MandelbrotRates
    from sparsesim.generators.rates import UniformRates as UniformRates
    from sparsesim.generators.rates import WithMeanL0 as WithMeanL0
    from sparsesim.generators.rates import ZipfRates as ZipfRates
    from sparsesim.generators.relabelled import Relabelled as Relabelled
    from sparsesim.generators.released_parts import ReleasedCorrelation as ReleasedCorrelation
    from sparsesim.generators.released_parts import ReleasedScales as ReleasedScales
    from sparsesim.generators.repertoire import Repertoire as Repertoire
    from sparsesim.generators.repertoire import SuperposedItems as SuperposedItems
    from sparsesim.generators.residual import ResidualLayers as ResidualLayers
    from sparsesim.generators.residual import layer_batches as layer_batches
    from sparsesim.generators.restricted import RowRestricted as RowRestricted
    from sparsesim.generators.saelens import SAELensWorld as SAELensWorld
    from sparsesim.generators.saelens import load_saelens as load_saelens
    from sparsesim.generators.scales import FoldedNormalScales as FoldedNormalScales
    from sparsesim.generators.scales import FrequencyScales as FrequencyScales
    from sparsesim.generators.scales import GeometricScales as GeometricScales
    from sparsesim.generators.scales import LinearScales as LinearScales
    from sparsesim.generators.scales import Scaled as Scaled
    from sparsesim.generators.segments import Segments as Segments
    from sparsesim.generators.segments import SegmentTable as SegmentTable
    from sparsesim.generators.spectrum import PowerSpectrum as PowerSpectrum
    from sparsesim.generators.successive import SuccessiveSampling as SuccessiveSampling
    from sparsesim.generators.support import Bernoulli as Bernoulli
    from sparsesim.generators.support import ExactlyK as ExactlyK
    from sparsesim.generators.synthsaebench import SynthSAEBenchSupport as SynthSAEBenchSupport
    from sparsesim.generators.targets import Readout as Readout
    from sparsesim.generators.targets import TargetMap as TargetMap
    from sparsesim.generators.toy_model import ToyModel as ToyModel
    from sparsesim.generators.toy_model import TrainedToy as TrainedToy
    from sparsesim.generators.toys import GaussianNorms as GaussianNorms
    from sparsesim.generators.toys import decaying_toy as decaying_toy
    from sparsesim.generators.toys import grouped_toy as grouped_toy
    from sparsesim.generators.toys import matryoshka_toy as matryoshka_toy
    from sparsesim.generators.toys import pursuit_tree_toy as pursuit_tree_toy

__getattr__, __dir__ = lazy(
    "sparsesim.generators",
    {
        "base": ("Batch", "FeatureModel", "FeatureSpec", "Support"),
        "benchmarks": ("declared_rates", "published"),
        "blocks": ("Block", "Blocks", "Clusters", "Pairs", "Subspaces"),
        "buffet": ("BuffetRates", "IndianBuffet"),
        "copula": ("CorrelatedBernoulli", "latent_correlation"),
        "correlated_forest": ("ForestOver",),
        "correlation": ("BlockCorrelation", "DenseCorrelation", "FactorCorrelation", "LowRankCorrelation"),
        "counts": ("FixedCount", "NegativeBinomialCount", "PoissonCount", "UniformCount"),
        "device": ("DeviceSamples", "TensorStream", "synthesise_on"),
        "device_forest": ("DeviceForest",),
        "equiangular": ("EquiangularTightFrame", "equiangular_sizes"),
        "files": ("StoredAtoms",),
        "frames": ("MutuallyUnbiased", "RootLines"),
        "geometry": ("Cones", "GivenAtoms", "LowCoherence", "Orthonormal", "RandomSphere"),
        "given_coherence": ("GivenCoherence",),
        "graph": ("AcyclicGraph",),
        "groups": ("BlockSupport", "ExclusiveGroups", "modular"),
        "hierarchy": ("Forest",),
        "interactions": ("Interactions", "InteractionTerms"),
        "levels": ("Bundles", "Crystal", "Levels"),
        "magnitude": (
            "BernoulliSign",
            "Constant",
            "Exponential",
            "HalfNormal",
            "LogNormal",
            "SignedGaussian",
            "Uniform",
        ),
        "magnitude_coupled": ("CorrelatedLogNormal", "OnSphere", "ParentScaled"),
        "magnitude_shapes": ("Discrete", "Gamma", "RectifiedNormal", "TruncatedNormal"),
        "manifolds": ("UnionSupport", "linear_union", "sphere_union"),
        "mixing": ("LeakyMixing", "LeakyNetwork"),
        "moments": ("Estimate", "Moments"),
        "noise": (
            "AutoregressiveNoise",
            "Gaussian",
            "Laplace",
            "LowRankNoise",
            "PowerLawNoise",
            "SignalToNoise",
            "StudentT",
        ),
        "observation": ("Background", "LowRankBackground", "Missing"),
        "overlap": ("LowOverlap",),
        "persistent": ("Persistent",),
        "polytopes": ("Polygons", "Polytopes"),
        "rates": (
            "AffineZipfRates",
            "BetaRates",
            "EqualRates",
            "GivenRates",
            "LinearRates",
            "MandelbrotRates",
            "UniformRates",
            "WithMeanL0",
            "ZipfRates",
        ),
        "relabelled": ("Relabelled",),
        "released_parts": ("ReleasedCorrelation", "ReleasedScales"),
        "repertoire": ("Repertoire", "SuperposedItems"),
        "residual": ("ResidualLayers", "layer_batches"),
        "restricted": ("RowRestricted",),
        "saelens": ("SAELensWorld", "load_saelens"),
        "scales": ("FoldedNormalScales", "FrequencyScales", "GeometricScales", "LinearScales", "Scaled"),
        "segments": ("Segments", "SegmentTable"),
        "spectrum": ("PowerSpectrum",),
        "successive": ("SuccessiveSampling",),
        "support": ("Bernoulli", "ExactlyK"),
        "synthsaebench": ("SynthSAEBenchSupport",),
        "targets": ("Readout", "TargetMap"),
        "toy_model": ("ToyModel", "TrainedToy"),
        "toys": ("GaussianNorms", "decaying_toy", "grouped_toy", "matryoshka_toy", "pursuit_tree_toy"),
    },
)
