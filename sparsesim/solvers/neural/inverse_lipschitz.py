"""A decoder that keeps different codes apart: its inverse Lipschitz constant is held above a floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import Optimiser, SparseModule
from sparsesim.solvers.neural.pieces import finite_or_zero
from sparsesim.solvers.neural.variational import VariationalModule
from sparsesim.solvers.neural.wrapped import WrappedModule, WrappedSolver


def raised(rows: Tensor, floor: Tensor) -> Tensor:
    """Return the matrices nearest to ``rows (..., p, d)`` whose singular values are at least ``floor``, () or (E,).

    A matrix that is not finite has none, and comes back as NaN.
    """
    u, s, v = torch.linalg.svd(finite_or_zero(rows), full_matrices=False)
    nearest: Tensor = (u * torch.maximum(s, floor[..., None]).unsqueeze(-2)) @ v
    return nearest + 0.0 * rows.sum((-2, -1), keepdim=True)


@final
class InverseLipschitzModule(WrappedModule):
    """The host, whose decoder has its small singular values raised after each step."""

    slope: Tensor

    def __init__(self, host: SparseModule, slope: float) -> None:
        super().__init__(host)
        if not isinstance(host, VariationalModule) or not host.linear:
            raise TypeError(
                "host must be a variational autoencoder with a linear decoder such as GaussianVAE(8); got one with "
                f"{type(host).__name__}."
            )
        self.register_buffer("slope", torch.tensor(slope, dtype=torch.float32))

    def after_step(self, optimiser: Optimiser) -> None:
        host: Any = self.host
        host.after_step(optimiser)
        host.decoder.copy_(raised(host.decoder, self.slope))


@final
@dataclass(frozen=True)
class InverseLipschitz(WrappedSolver):
    """Trains ``host`` with a decoder of inverse Lipschitz constant ``slope``: ||z D - z' D|| >= slope ||z - z'||.

    The singular values of the decoder (p, d), p <= d, are raised to ``slope`` after each step, which moves it the least
    that it must. With `GaussianVAE` no latent can then collapse: at the best posterior each has a variance of at most
    v = beta sigma^2 / (beta sigma^2 + slope^2), and the divergence is at least p (v - ln v - 1) / 2 nats on any data.
    On Gaussian data the squared gains of a linear model are max(lambda_i - beta sigma^2, slope^2).

    The paper has nonlinear decoders that are gradients of convex functions; they are left out.

    Parameters
    ----------
    host : `GaussianVAE` or a kin solver with a linear decoder, of width at most d.
    slope : L, in the scale E||x - mean||^2 = d.

    References
    ----------
    Kinoshita, Oono, Fukumizu, Yoshida, Maeda (2023), "Controlling posterior collapse by an inverse Lipschitz constraint
    on the decoder network", arXiv 2304.12770; the bound for linear decoders is derived in `theory.collapse`.
    """

    slope: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("slope", self.slope, 0.0)

    def module(self, dim: int, rng: Rng) -> InverseLipschitzModule:
        if self.width > dim:
            raise ValueError(
                f"width must be at most d={dim}, or some codes decode to the same sample; got {self.width}. Lower it."
            )
        return InverseLipschitzModule(self.host.module(dim, rng), self.slope)
