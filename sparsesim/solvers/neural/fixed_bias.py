"""Any unit-decoder autoencoder with its decoder bias held where it starts, so that only atoms can explain the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.pieces import UnitDecoder
from sparsesim.solvers.neural.wrapped import WrappedModule, WrappedSolver


@final
class FixedBiasModule(WrappedModule):
    """A unit-decoder autoencoder whose decoder bias never moves."""

    def bias_of_host(self) -> Tensor:
        """Return the decoder bias of the host."""
        host = self.host
        if not isinstance(host, UnitDecoder):
            raise TypeError(
                f"host must be a solver whose model has a decoder bias to hold, such as ReLUL1 or TopK; got {host!r}."
            )
        return host.bias

    def before_step(self) -> None:
        super().before_step()
        gradient = self.bias_of_host().grad
        if gradient is not None:
            gradient.zero_()  # Adam moves nothing whose gradients were all zero


@final
@dataclass(frozen=True)
class FixedBias(WrappedSolver):
    """Trains ``host`` with its decoder bias held at its start: x_hat = z D + b_d with b_d constant.

    b_d is zero in the scale of training: the mean of the data where they are normalised, else the origin. Closed forms
    for toy worlds have no bias, and a free one is a way out of their optima: where too few latents are active it runs
    away along a valley in which the loss has no minimum. All else is as in ``host``, whose model must have the unit
    decoder that most variants share.

    Parameters
    ----------
    host : the solver, e.g. ``ReLUL1(64)``.

    References
    ----------
    Chanin, Garriga-Alonso (2025), "Sparse but wrong", arXiv 2508.16560, for the experiments that need it.
    """

    def module(self, dim: int, rng: Rng) -> SparseModule:
        module = FixedBiasModule(self.host.module(dim, rng))
        module.bias_of_host()
        return module
