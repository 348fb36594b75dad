"""Tilted risk: any autoencoder whose loss is a mean over samples, trained to favour the samples it fits worst."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.separable import averaged
from sparsesim.solvers.neural.wrapped import WrappedModule, WrappedSolver


def tilted_mean(losses: Tensor, tilt: Tensor) -> Tensor:
    """Return log(mean_B exp(t l)) / t of ``losses (..., B)``, ``()`` or ``(E,)``, and their mean where t = 0.

    It is non-decreasing in t ``()`` or ``(E,)``, between the minimum (t -> -inf) and the maximum (t -> inf); its
    gradient weighs the samples by softmax(t l).

    References
    ----------
    Li, Beirami, Sanjabi, Smith (2021), arXiv 2007.01162, equation 2.
    """
    scaled = losses * tilt.unsqueeze(-1)
    weights = torch.softmax(scaled.detach(), -1)
    with torch.no_grad():  # in float64, in which the difference of two logarithms survives the division by a small t
        exact = losses.double()
        mean = exact.mean(-1)
        t = torch.where(tilt == 0.0, 1.0, tilt.double())
        centred = (exact - mean.unsqueeze(-1)) * t.unsqueeze(-1)
        excess = (torch.logsumexp(centred, -1) - math.log(losses.shape[-1])) / t
        value = torch.where(tilt == 0.0, mean, mean + excess).to(losses.dtype)
    return value + (weights * (losses - losses.detach())).sum(-1)


@final
class TiltedModule(WrappedModule):
    """The host, with the tilted mean of the losses of samples instead of the mean."""

    tilt: Tensor

    def __init__(self, host: SparseModule, tilt: float) -> None:
        super().__init__(host)
        if not hasattr(host, "row_losses"):
            raise TypeError(
                "host must be a solver whose loss is a mean over samples, such as ReLUL1, TiedReLUL1, WeightedReLUL1, "
                f"Gated, PAnnealing or SpaDE; got one with {type(host).__name__}."
            )
        self.register_buffer("tilt", torch.tensor(tilt, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        host: Any = self.host
        rows: dict[str, Tensor] = host.row_losses(x, step)
        total = sum(rows.values(), x.new_zeros(()))
        scale = total.detach().mean(-1).clamp_min(torch.finfo(total.dtype).tiny)
        tilted = scale * tilted_mean(total / scale.unsqueeze(-1), self.tilt)
        return {**averaged(rows), "tilt": tilted - total.mean(-1)}


@final
@dataclass(frozen=True)
class TiltedERM(WrappedSolver):
    """Trains ``host`` on the tilted mean of its losses of samples: those fitted worst count most where tilt > 0.

    With l_i the loss of sample i (for `ReLUL1` ||x_i - x_hat_i||^2 + penalty * ||z_i||_1) and s its mean over the
    batch, held fixed, the loss is

        L_t = s * log(mean_B exp(t l_i / s)) / t,

    the mean at t = 0, towards the maximum as t grows, robust to outliers for t < 0. Dividing by s makes the tilt a pure
    number; in the source t has the units of 1 / loss, so t_source = t / s. The term "tilt" of the trace is L_t less the
    mean. Architecture, initial values and inference are those of the host. The rest of the source's recipe, retrieval
    of a subdomain and fine-tuning, has no counterpart here.

    Parameters
    ----------
    host : the solver; its loss must be a mean over samples.
    tilt : t.

    References
    ----------
    Muhamed, Diab, Smith (2024), "Decoding dark matter: specialized sparse autoencoders", arXiv 2411.00743.
    """

    tilt: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("tilt", self.tilt)

    def module(self, dim: int, rng: Rng) -> TiltedModule:
        return TiltedModule(self.host.module(dim, rng), self.tilt)
