"""Gradient-trained dictionaries: numpy outside, torch inside, one training loop, one small file for each variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.solvers.neural.aligned import FeatureAligned as FeatureAligned
    from sparsesim.solvers.neural.archetypal import Archetypal as Archetypal
    from sparsesim.solvers.neural.batch_topk import BatchTopK as BatchTopK
    from sparsesim.solvers.neural.ensemble import Bagging as Bagging
    from sparsesim.solvers.neural.ensemble import Boosting as Boosting
    from sparsesim.solvers.neural.fsq import FiniteScalarQuantised as FiniteScalarQuantised
    from sparsesim.solvers.neural.gated import Gated as Gated
    from sparsesim.solvers.neural.geometric_median import FromGeometricMedian as FromGeometricMedian
    from sparsesim.solvers.neural.group_bias import GroupBias as GroupBias
    from sparsesim.solvers.neural.jump_relu import JumpReLU as JumpReLU
    from sparsesim.solvers.neural.jump_relu_tanh import TanhJumpReLU as TanhJumpReLU
    from sparsesim.solvers.neural.module import SparseModule as SparseModule
    from sparsesim.solvers.neural.module import Step as Step
    from sparsesim.solvers.neural.mp import MatchingPursuitSAE as MatchingPursuitSAE
    from sparsesim.solvers.neural.p_annealing import PAnnealing as PAnnealing
    from sparsesim.solvers.neural.poly import PolynomialSAE as PolynomialSAE
    from sparsesim.solvers.neural.proximal_sae import L0 as L0
    from sparsesim.solvers.neural.proximal_sae import L1 as L1
    from sparsesim.solvers.neural.proximal_sae import AtMost as AtMost
    from sparsesim.solvers.neural.proximal_sae import ProximalSAE as ProximalSAE
    from sparsesim.solvers.neural.qlae import QuantisedLatent as QuantisedLatent
    from sparsesim.solvers.neural.relu_l1 import ReLUL1 as ReLUL1
    from sparsesim.solvers.neural.resampling import Resampling as Resampling
    from sparsesim.solvers.neural.solver import NeuralEncoder as NeuralEncoder
    from sparsesim.solvers.neural.solver import NeuralSolver as NeuralSolver
    from sparsesim.solvers.neural.solver import fit_together as fit_together
    from sparsesim.solvers.neural.spade import SpaDE as SpaDE
    from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1 as TiedReLUL1
    from sparsesim.solvers.neural.tilted import TiltedERM as TiltedERM
    from sparsesim.solvers.neural.topk import TopK as TopK
    from sparsesim.solvers.neural.train import Training as Training
    from sparsesim.solvers.neural.vae import GaussianVAE as GaussianVAE
    from sparsesim.solvers.neural.vq import VectorQuantised as VectorQuantised
    from sparsesim.solvers.neural.vq import perplexity as perplexity
    from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1 as WeightedReLUL1

__getattr__, __dir__ = lazy(
    __name__,
    {
        "aligned": ("FeatureAligned",),
        "archetypal": ("Archetypal",),
        "batch_topk": ("BatchTopK",),
        "ensemble": ("Bagging", "Boosting"),
        "fsq": ("FiniteScalarQuantised",),
        "gated": ("Gated",),
        "geometric_median": ("FromGeometricMedian",),
        "group_bias": ("GroupBias",),
        "jump_relu": ("JumpReLU",),
        "jump_relu_tanh": ("TanhJumpReLU",),
        "module": ("SparseModule", "Step"),
        "mp": ("MatchingPursuitSAE",),
        "p_annealing": ("PAnnealing",),
        "poly": ("PolynomialSAE",),
        "proximal_sae": ("AtMost", "L0", "L1", "ProximalSAE"),
        "qlae": ("QuantisedLatent",),
        "relu_l1": ("ReLUL1",),
        "resampling": ("Resampling",),
        "solver": ("NeuralEncoder", "NeuralSolver", "fit_together"),
        "spade": ("SpaDE",),
        "tied_relu_l1": ("TiedReLUL1",),
        "tilted": ("TiltedERM",),
        "topk": ("TopK",),
        "train": ("Training",),
        "vae": ("GaussianVAE",),
        "vq": ("VectorQuantised", "perplexity"),
        "weighted_relu_l1": ("WeightedReLUL1",),
    },
)
