"""The multi-layer autoencoder: one dictionary for the vectors of all layers, each brought to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import UnitDecoder
from sparsesim.solvers.neural.wrapped import WrappedModule, WrappedSolver


def lengths(x: Tensor) -> Tensor:
    """Return the root mean square of the coordinates of each vector, ``(..., B, 1)`` for ``x (..., B, d)``."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / x.shape[-1] ** 0.5
    return length


def to_one_length(x: Tensor) -> Tensor:
    """Return ``x (..., B, d)`` with every vector scaled to norm sqrt(d); a zero vector stays zero."""
    return x / lengths(x).clamp_min(torch.finfo(x.dtype).tiny)


@final
class MultiLayerModule(WrappedModule):
    """z(x) = |x| z_host(x / |x|) with |.| the root mean square; the bias of the host stays zero."""

    def __init__(self, host: SparseModule) -> None:
        super().__init__(host)
        if not isinstance(host, UnitDecoder) or not host.linear:
            raise TypeError(
                "host must be a solver with an affine encoder and unit atoms such as TopK, BatchTopK or ReLUL1; got "
                f"one with {type(host).__name__}."
            )

    def prime(self, sample: Tensor, rng: Rng) -> None:
        self.host.prime(to_one_length(sample), rng)

    def encode(self, x: Tensor) -> Tensor:
        return self.host.encode(to_one_length(x)) * lengths(x)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return self.host.losses(to_one_length(x), step)

    def before_step(self) -> None:
        host: Any = self.host
        host.before_step()
        if host.bias.grad is not None:
            host.bias.grad.zero_()  # Adam never moves a weight that never had a gradient


@final
@dataclass(frozen=True)
class MultiLayer(WrappedSolver):
    """Trains ``host`` on vectors of one length: the losses of layers count alike though their vectors grow.

    The data are vectors pooled from all layers of a residual stream (`ResidualLayers`), or from a group of them. Each
    is scaled to ||x~||^2 = d; the host learns x~, and its codes are scaled back,

        z(x) = |x| z_host(x / |x|),   x_hat = z D,   |x|^2 = ||x||^2 / d,

    which a linear decoder without bias undoes exactly: the bias of the host stays zero. With the host's
    ``Training(normalise=False)`` vectors are taken as they are, as in the paper; else the mean of all is subtracted
    first, and there is no bias to put back what silent features leave of it. In the paper the host is `TopK` with AuxK,
    and a vector is standardised: the mean of its own coordinates is subtracted as well. Here it is not, for in a world
    without a privileged basis that mean is a direction like any other.

    Which layers a latent speaks in is `layer_entropy` of its codes.

    References
    ----------
    Lawson, Farnik, Houghton, Aitchison (2024), "Residual stream analysis with multi-layer SAEs", arXiv 2409.04185.
    Ghilardi, Belotti, Molinari et al. (2024), arXiv 2410.21508, for groups of layers.
    """

    def module(self, dim: int, rng: Rng) -> MultiLayerModule:
        return MultiLayerModule(self.host.module(dim, rng))
