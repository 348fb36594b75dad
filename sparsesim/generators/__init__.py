"""Worlds with known truth: geometry x support x magnitude x noise, drawn at a cost that follows what fires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.generators.base import Batch as Batch
    from sparsesim.generators.base import FeatureModel as FeatureModel
    from sparsesim.generators.base import FeatureSpec as FeatureSpec
    from sparsesim.generators.base import Support as Support
    from sparsesim.generators.geometry import Cones as Cones
    from sparsesim.generators.geometry import GivenAtoms as GivenAtoms
    from sparsesim.generators.geometry import LowCoherence as LowCoherence
    from sparsesim.generators.geometry import Orthonormal as Orthonormal
    from sparsesim.generators.geometry import RandomSphere as RandomSphere
    from sparsesim.generators.hierarchy import Forest as Forest
    from sparsesim.generators.magnitude import BernoulliSign as BernoulliSign
    from sparsesim.generators.magnitude import Constant as Constant
    from sparsesim.generators.magnitude import Exponential as Exponential
    from sparsesim.generators.magnitude import HalfNormal as HalfNormal
    from sparsesim.generators.magnitude import LogNormal as LogNormal
    from sparsesim.generators.magnitude import SignedGaussian as SignedGaussian
    from sparsesim.generators.magnitude import Uniform as Uniform
    from sparsesim.generators.noise import Gaussian as Gaussian
    from sparsesim.generators.noise import SignalToNoise as SignalToNoise
    from sparsesim.generators.rates import EqualRates as EqualRates
    from sparsesim.generators.rates import GivenRates as GivenRates
    from sparsesim.generators.rates import ZipfRates as ZipfRates
    from sparsesim.generators.support import Bernoulli as Bernoulli
    from sparsesim.generators.support import ExactlyK as ExactlyK

__getattr__, __dir__ = lazy(
    "sparsesim.generators",
    {
        "base": ("Batch", "FeatureModel", "FeatureSpec", "Support"),
        "geometry": ("Cones", "GivenAtoms", "LowCoherence", "Orthonormal", "RandomSphere"),
        "hierarchy": ("Forest",),
        "magnitude": (
            "BernoulliSign",
            "Constant",
            "Exponential",
            "HalfNormal",
            "LogNormal",
            "SignedGaussian",
            "Uniform",
        ),
        "noise": ("Gaussian", "SignalToNoise"),
        "rates": ("EqualRates", "GivenRates", "ZipfRates"),
        "support": ("Bernoulli", "ExactlyK"),
    },
)
