"""Encoders, which code samples in given atoms, and solvers, which learn atoms; neither ever sees the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
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
    from sparsesim.solvers.convex import Lasso as Lasso
    from sparsesim.solvers.convex import duality_gap as duality_gap
    from sparsesim.solvers.convex import kkt_residual as kkt_residual
    from sparsesim.solvers.learn import KSVD as KSVD
    from sparsesim.solvers.learn import MethodOfOptimalDirections as MethodOfOptimalDirections
    from sparsesim.solvers.least_squares import SupportLeastSquares as SupportLeastSquares
    from sparsesim.solvers.least_squares import least_squares_on_support as least_squares_on_support
    from sparsesim.solvers.neural.batch_topk import BatchTopK as BatchTopK
    from sparsesim.solvers.neural.relu_l1 import ReLUL1 as ReLUL1
    from sparsesim.solvers.neural.topk import TopK as TopK
    from sparsesim.solvers.neural.train import Training as Training
    from sparsesim.solvers.neural.vae import GaussianVAE as GaussianVAE
    from sparsesim.solvers.pursuit import MatchingPursuit as MatchingPursuit
    from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit as OrthogonalMatchingPursuit
    from sparsesim.solvers.pursuit import orthogonal_matching_pursuit as orthogonal_matching_pursuit

__getattr__, __dir__ = lazy(
    __name__,
    {
        "base": ("Encoder", "FittedDictionary", "Solver", "Status", "StreamSolver", "unit_dictionary"),
        "baselines": ("IndependentComponents", "LinearProjection", "PrincipalComponents", "RandomDictionary"),
        "convex": ("Lasso", "duality_gap", "kkt_residual"),
        "learn": ("KSVD", "MethodOfOptimalDirections"),
        "least_squares": ("SupportLeastSquares", "least_squares_on_support"),
        "neural.batch_topk": ("BatchTopK",),
        "neural.relu_l1": ("ReLUL1",),
        "neural.topk": ("TopK",),
        "neural.train": ("Training",),
        "neural.vae": ("GaussianVAE",),
        "pursuit": ("MatchingPursuit", "OrthogonalMatchingPursuit", "orthogonal_matching_pursuit"),
    },
)
