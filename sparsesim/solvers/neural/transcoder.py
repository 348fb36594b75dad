"""The transcoder: sparse codes of what a layer reads, from which what it writes is rebuilt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.downstream import Downstream
from sparsesim.solvers.neural.free_decoder import FreeDecoder
from sparsesim.solvers.neural.known_layers import ReLULayer
from sparsesim.solvers.neural.module import Optimiser, Step
from sparsesim.solvers.neural.pieces import normalise_, remove_radial_, unit_normal
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class TranscoderModule(FreeDecoder):
    """z = ReLU(u) or ReLU(TopK_k(u)), y_hat = z D + b with unit rows of D."""

    penalty: Tensor

    def __init__(self, spec: Transcoder, dim: int, rng: Rng) -> None:
        if spec.layer.outputs != dim:
            raise ValueError(
                f"layer must write as many outputs as a sample has coordinates, {dim}, as a layer of a residual "
                f"stream does, so that codes decode to their shape; got {spec.layer.outputs}."
            )
        super().__init__(unit_normal(spec.width, dim, rng), unit_normal(spec.width, dim, rng))
        self.map, self.k, self.relative = spec.layer.module(dim), spec.k, spec.relative
        self.register_buffer("penalty", torch.tensor(spec.penalty, dtype=torch.float32))

    def prime(self, sample: Tensor, rng: Rng) -> None:
        """Start the output bias at the mean output of ``sample``."""
        self.bias.copy_(self.map.outputs(sample).mean(-2))

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u.relu() if self.k is None else u * largest(u, self.k)

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        with torch.no_grad():
            y = self.map.outputs(x)
        codes = self.encode(x)
        errors = row_errors(y, self.decode(codes))
        if self.relative:
            length = torch.linalg.vector_norm(y, dim=-1)
            errors = errors / length.clamp_min(torch.finfo(y.dtype).eps)
        return {"squared_error": errors, "l1": codes.sum(-1) * self.penalty.unsqueeze(-1)}

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))

    def before_step(self) -> None:
        remove_radial_(self.decoder)

    def after_step(self, optimiser: Optimiser) -> None:
        normalise_(self.decoder)


@final
@dataclass(frozen=True)
class Transcoder(NeuralSolver):
    """Learns, for a frozen layer y(x), sparse codes of x and the directions that they write in y.

    u = x W_e + b_e,  z = ReLU(u) or ReLU(TopK_k(u)),  y_hat = z D + b with unit rows of D, and the loss

        mean_B (||y(x) - y_hat||^2 + penalty * ||z||_1).

    The atoms of the fit are the rows of D, directions of the output, and ``decode`` gives y_hat (times the scale and
    plus the mean of the samples, since the layer reads normalised samples: y_hat itself without normalisation). So the
    fit says nothing of how well x is rebuilt, unless the layer passes it on (`DirectReadout`): scores of reconstruction
    against x mean nothing, and atoms are to be held against what the units of the layer write
    (`ReLULayer.units`). What the latents read is in ``fitted.encoder.module.encoder (p, d)``.

    A pre-bias, of which released code has one, only moves b_e; ghost gradients are left out. Released code divides the
    squared error of a sample, as a mean over d, by ||y||_2: ``relative``, without the mean, so its penalty of 1.4e-4 is
    to be multiplied by d.

    Parameters
    ----------
    width : p, the number of atoms.
    layer : the frozen layer, of as many outputs as a sample has coordinates.
    penalty : weight of the L1 norm, for the squared error summed over the outputs.
    k : latents kept for each sample; None keeps all positive ones.
    relative : divide the squared error of a sample by the norm of its output.

    References
    ----------
    Dunefsky, Chlenski, Nanda (2024), "Transcoders find interpretable LLM feature circuits", arXiv 2406.11944.
    """

    width: int
    layer: Downstream
    penalty: float = 0.1
    k: int | None = None
    relative: bool = False
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        if not isinstance(self.layer, Downstream):
            raise TypeError(f"layer must be a frozen map, e.g. {ReLULayer(8)}; got {self.layer!r}.")
        check_real("penalty", self.penalty, 0.0)
        if self.k is not None:
            check_int("k", self.k, 1, self.width, high_name="width")
        if not isinstance(self.relative, bool):
            raise TypeError(f"relative must be True or False; got {self.relative!r}.")

    def module(self, dim: int, rng: Rng) -> TranscoderModule:
        return TranscoderModule(self, dim, rng)
