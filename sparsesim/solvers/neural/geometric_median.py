"""The geometric median, and any unit-decoder autoencoder with its decoder bias started there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_samples
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.pieces import UnitDecoder
from sparsesim.solvers.neural.wrapped import WrappedModule, WrappedSolver

CLOSE = 1e-9  # relative length of the last move


def geometric_median(x: FloatArray, *, iterations: int = 1000) -> FloatArray:
    """Return the point ``(d,)`` with the smallest sum of distances to the rows of ``x (n, d)``.

    Weiszfeld's iteration m <- sum_i x_i / ||x_i - m|| / sum_i 1 / ||x_i - m||, with the correction of Vardi and Zhang
    for an m that is itself a row: such a row is the answer iff the unit vectors to the other rows sum to at most its
    multiplicity. It stops when a move is short against the spread of the data, and after ``iterations`` in any case.

    Raises
    ------
    ValueError, TypeError
        If ``x`` is not a finite real matrix with at least one row and one column.

    References
    ----------
    Vardi, Zhang (2000), "The multivariate L1-median and associated data depth", PNAS 97, equation 2.6.
    """
    x = check_samples(x).astype(np.float64, copy=False)
    median: FloatArray = x.mean(axis=0)
    spread = float(np.linalg.norm(x - median, axis=1).mean())
    for _ in range(iterations):
        away = x - median
        distances = np.linalg.norm(away, axis=1)
        apart = distances > CLOSE * spread
        if not apart.any():
            break
        inverse = 1.0 / distances[apart]
        pull = inverse @ away[apart]
        force, rows_here = float(np.linalg.norm(pull)), len(x) - int(apart.sum())
        if force <= rows_here:
            break
        move = pull * ((1.0 - rows_here / force) / inverse.sum())
        median = median + move
        if float(np.linalg.norm(move)) <= CLOSE * spread:
            break
    return median


@final
class FromGeometricMedianModule(WrappedModule):
    """A unit-decoder autoencoder that starts with its decoder bias at the geometric median of a sample."""

    def prime(self, sample: Tensor, rng: Rng) -> None:
        self.host.prime(sample, rng)
        median = geometric_median(sample.double().numpy())
        self.bias_of_host().copy_(torch.from_numpy(median.astype(np.float32)))

    def bias_of_host(self) -> Tensor:
        """Return the decoder bias of the host."""
        host = self.host
        if not isinstance(host, UnitDecoder):
            raise TypeError(
                f"host must be a solver whose model has a decoder bias to start, such as ReLUL1 or TopK; got {host!r}."
            )
        return host.bias


@final
@dataclass(frozen=True)
class FromGeometricMedian(WrappedSolver):
    """Trains ``host`` with its decoder bias started at the geometric median of the data instead of their mean.

    The median of the rows, or of a sample of a stream. All else is as in ``host``, whose model must have the unit
    decoder that most variants share.

    Parameters
    ----------
    host : the solver, e.g. ``ReLUL1(64)``.

    References
    ----------
    Bricken et al. (2023), "Towards monosemanticity", Transformer Circuits; Gao et al. (2024), arXiv 2406.04093.
    """

    def module(self, dim: int, rng: Rng) -> SparseModule:
        module = FromGeometricMedianModule(self.host.module(dim, rng))
        module.bias_of_host()
        return module
