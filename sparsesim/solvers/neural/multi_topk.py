"""The TopK autoencoder that also has to reconstruct from several times as many latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selective import SelectiveSolver
from sparsesim.solvers.neural.sparse import reconstructed, select_rows, values_at
from sparsesim.solvers.neural.topk import TopKModule


@final
class MultiTopKModule(TopKModule):
    """TopK with a second squared error, that of the codes with ``multiple`` times as many latents."""

    multi: Tensor

    def __init__(self, spec: MultiTopK, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.multiple = spec.multiple
        self.register_buffer("multi", torch.tensor(spec.multi, dtype=torch.float32))

    def errors(self, x: Tensor, u: Tensor, values: Tensor, chosen: Selection) -> tuple[dict[str, Tensor], Tensor]:
        errors, reconstruction = super().errors(x, u, values, chosen)
        wide = select_rows(u, (self.multiple * self.k).clamp_max(u.shape[-1]))
        more = values_at(x, self.encoder, self.encoder_bias, self.bias, u, wide)
        error, _ = reconstructed(x, more, self.decoder, self.bias, wide)
        return {**errors, "multi": self.multi * error}, reconstruction


@final
@dataclass(frozen=True)
class MultiTopK(SelectiveSolver):
    """Learns atoms and an encoder as `TopK`, whose codes still decode when several times as many latents are kept.

    With x_hat(k) the reconstruction from the k largest latents the loss is

        mean_B (||x - x_hat(k)||^2 + multi * ||x - x_hat(multiple * k)||^2) + AuxK,

    ``multi`` = 1/8 and ``multiple`` = 4 in the paper. Both terms train encoder and decoder (one published
    implementation drops the second's gradient to the encoder). Inference is that of `TopK`; with ``multi`` = 0 so is
    training, bit by bit. The other parameters are those of `SelectiveSolver`.

    Parameters
    ----------
    multi : weight of the second squared error.
    multiple : how many times k latents it keeps, at most all.

    References
    ----------
    Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093.
    """

    multi: float = 1 / 8
    multiple: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("multi", self.multi, 0.0)
        check_int("multiple", self.multiple, 1)

    def module(self, dim: int, rng: Rng) -> MultiTopKModule:
        return MultiTopKModule(self, dim, rng)
