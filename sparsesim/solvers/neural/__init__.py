"""Gradient-trained dictionaries: numpy outside, torch inside, one training loop, one small file for each variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.solvers.neural.aligned import FeatureAligned as FeatureAligned
    from sparsesim.solvers.neural.batch_topk import BatchTopK as BatchTopK
    from sparsesim.solvers.neural.ensemble import Bagging as Bagging
    from sparsesim.solvers.neural.ensemble import Boosting as Boosting
    from sparsesim.solvers.neural.module import SparseModule as SparseModule
    from sparsesim.solvers.neural.module import Step as Step
    from sparsesim.solvers.neural.mp import MatchingPursuitSAE as MatchingPursuitSAE
    from sparsesim.solvers.neural.relu_l1 import ReLUL1 as ReLUL1
    from sparsesim.solvers.neural.solver import NeuralEncoder as NeuralEncoder
    from sparsesim.solvers.neural.solver import NeuralSolver as NeuralSolver
    from sparsesim.solvers.neural.solver import fit_together as fit_together
    from sparsesim.solvers.neural.topk import TopK as TopK
    from sparsesim.solvers.neural.train import Training as Training
    from sparsesim.solvers.neural.vae import GaussianVAE as GaussianVAE

__getattr__, __dir__ = lazy(
    __name__,
    {
        "aligned": ("FeatureAligned",),
        "batch_topk": ("BatchTopK",),
        "ensemble": ("Bagging", "Boosting"),
        "module": ("SparseModule", "Step"),
        "mp": ("MatchingPursuitSAE",),
        "relu_l1": ("ReLUL1",),
        "solver": ("NeuralEncoder", "NeuralSolver", "fit_together"),
        "topk": ("TopK",),
        "train": ("Training",),
        "vae": ("GaussianVAE",),
    },
)
