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

    def __init__(self, host: SparseModule, towards_data: bool) -> None:
        super().__init__(host)
        self.towards_data = towards_data
        self.bias_of_host()

    def prime(self, sample: Tensor, rng: Rng) -> None:
        super().prime(sample, rng)
        host = self.host
        if self.towards_data and isinstance(host, UnitDecoder):
            away = host.decoder @ sample.mean(0) < 0.0
            host.decoder[away] *= -1.0
            host.encoder[away] *= -1.0

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
    towards_data : start with the atoms, and the encoder rows with them, turned to the side of the origin on which the
        mean of the data is. Where all data are on one side, as non-negative combinations of few directions are, a
        latent that starts on the other fires for none of them and never learns; a positive mean projection means that
        it fires for some. For data whose mean is zero it says nothing.

    References
    ----------
    Chanin, Garriga-Alonso (2025), "Sparse but wrong", arXiv 2508.16560, for the experiments that need it.
    """

    towards_data: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.towards_data, bool):
            raise TypeError(f"towards_data must be True or False; got {self.towards_data!r}.")

    def module(self, dim: int, rng: Rng) -> SparseModule:
        return FixedBiasModule(self.host.module(dim, rng), self.towards_data)
