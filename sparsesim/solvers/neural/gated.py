"""The Gated autoencoder: one affine map decides which latents speak, a rescaled one how loudly, without shrinkage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import Optimiser, Step
from sparsesim.solvers.neural.pieces import UnitDecoder, affine, drawn
from sparsesim.solvers.neural.resampling import Resampler, Resampling, check_resampling
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class GatedModule(UnitDecoder):
    """z = 1[c + b_gate > 0] * ReLU(e^r c + b_mag) with c = (x - b_d) W_gate'; ``encoder_bias`` is b_gate."""

    penalty: Tensor

    def __init__(self, width: int, penalty: float, dim: int, rng: Rng, *, resampling: Resampling | None = None) -> None:
        super().__init__(width, dim, rng)
        self.log_scale = drawn(np.zeros(width))
        self.magnitude_bias = drawn(np.zeros(width))
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))
        self.resampler = None if resampling is None else Resampler(resampling, width)

    def gates_and_codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate pre-activations pi and the codes z, ``(..., B, p)`` each."""
        gates = self.pre_activations(x)
        scale = self.log_scale.exp()
        # e^r c + b_mag, from pi = c + b_gate
        offset = self.magnitude_bias - scale * self.encoder_bias
        magnitudes = torch.addcmul(offset.unsqueeze(-2), gates, scale.unsqueeze(-2)).relu()
        return gates, magnitudes * (gates > 0.0)

    def encode(self, x: Tensor) -> Tensor:
        return self.gates_and_codes(x)[1]

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        gates, codes = self.gates_and_codes(x)
        errors, opened = row_errors(x, self.decode(codes)), gates.relu()
        frozen = affine(opened, self.decoder.detach(), self.bias.detach())
        rows = {
            "squared_error": errors,
            "l1": opened.sum(-1) * self.penalty.unsqueeze(-1),
            "aux": row_errors(x, frozen),
        }
        if self.resampler is not None:
            self.resampler.observe(codes, x, errors, step)
        return rows

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))

    def after_step(self, optimiser: Optimiser) -> None:
        super().after_step(optimiser)
        if self.resampler is not None:
            offsets = self.encoder_bias, self.log_scale, self.magnitude_bias
            self.resampler.replace(optimiser, self.bias, self.decoder, self.encoder, *offsets)


@final
@dataclass(frozen=True)
class Gated(NeuralSolver):
    """Learns atoms, gates and magnitudes: an L1 penalty closes gates without shrinking what passes them.

    c = (x - b_d) W_gate',  pi = c + b_gate,  z = 1[pi > 0] * ReLU(e^r c + b_mag),  x_hat = z D + b_d with unit rows of
    D, and the loss

        mean_B (||x - x_hat||^2 + penalty * ||ReLU(pi)||_1 + ||x - ReLU(pi) sg(D) - sg(b_d)||^2).

    The step has no gradient; gates learn from the last two terms, in which the decoder is held fixed (sg). With tied
    weights it is a JumpReLU: e^r c + b_mag where it exceeds b_mag - e^r b_gate (and zero). The published port of
    another library trains the decoder in the last term too. W_gate starts as D; r and the biases at zero.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm of the opened gates, for squared errors summed over d.
    resampling : when silent latents are replaced; None leaves them alone.

    References
    ----------
    Rajamanoharan et al. (2024), "Improving dictionary learning with gated sparse autoencoders", arXiv 2404.16014,
    equations 4 to 8.
    """

    width: int
    penalty: float = 2.0
    training: Training = field(default_factory=Training)
    resampling: Resampling | None = None

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_resampling(self.resampling)

    def module(self, dim: int, rng: Rng) -> GatedModule:
        return GatedModule(self.width, self.penalty, dim, rng, resampling=self.resampling)
