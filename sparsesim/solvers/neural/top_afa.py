"""The top-AFA autoencoder: as many latents speak as it takes for the codes to have the norm of the sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.ranks import ranks
from sparsesim.solvers.neural.samplewise import SampleWiseModule
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training

NOTHING = 1e-12  # under the square root of ||z||^2, whose slope is infinite at zero


@final
class TopAFAModule(SampleWiseModule):
    """z = u on the largest latents, as many as bring ||z|| nearest to ||x - b_d||."""

    norm_weight: Tensor

    def __init__(self, spec: TopAFA, dim: int, rng: Rng) -> None:
        super().__init__(TopK(spec.width, spec.width, spec.aux, spec.dead_after), dim, rng)
        self.register_buffer("norm_weight", torch.tensor(spec.norm_weight * dim, dtype=torch.float32))

    def target(self, x: Tensor) -> Tensor:
        """Return ||x - b_d||, ``(..., B)``; no gradient reaches b_d through it."""
        norm: Tensor = torch.linalg.vector_norm(x - self.bias.detach().unsqueeze(-2), dim=-1)
        return norm

    def select_for(self, u: Tensor, x: Tensor) -> Tensor:
        positive = u.detach().relu()
        norms = positive.sort(dim=-1, descending=True).values.square().cumsum(-1).sqrt()
        last = (norms - self.target(x).unsqueeze(-1)).abs().argmin(-1, keepdim=True)
        return ((ranks(positive) <= last) & (positive > 0.0)).to(u.dtype)

    def errors(self, x: Tensor, u: Tensor, values: Tensor, chosen: Selection) -> tuple[dict[str, Tensor], Tensor]:
        errors, reconstruction = super().errors(x, u, values, chosen)
        squares = chosen.sums_of_rows(values.square())
        excess = (squares + NOTHING).sqrt() - self.target(x)
        return {**errors, "norm": self.norm_weight * excess.square().mean(-1)}, reconstruction


@final
@dataclass(frozen=True)
class TopAFA(NeuralSolver):
    """Learns atoms and an encoder that sets the number of codes of a sample by its norm: no sparsity is chosen.

    For unit atoms with |<d_i, d_j>| <= eps a sample x = sum_i f_i d_i of k features has
    | ||x||^2 - ||f||^2 | <= eps (k - 1) ||f||^2, so ||f|| is about ||x||. With u as in `TopK`, the latents sorted by
    ReLU(u) and C_j the sum of the j largest squares, sample x - b_d keeps the first

        k(x) = argmin over j >= 1 of | sqrt(C_j) - ||x - b_d|| |,

    and the loss is mean_B (||x - x_hat||^2 + d * norm_weight * (||z|| - ||x - b_d||)^2) + AuxK. The factor d converts
    the published weight, which stands beside a squared error averaged over d. The released code compares ||z|| with
    the uncentred ||x|| in the loss and ignores the encoder bias; here x is centred in both places.

    Parameters
    ----------
    width : p, the number of atoms.
    norm_weight : weight of the difference of norms, for the squared error averaged over d.
    aux, dead_after : of AuxK, see `SelectiveSolver`.

    References
    ----------
    Lee, Davies, Canby, Hockenmaier (2025), "Evaluating and designing sparse autoencoders by approximating
    quasi-orthogonality", arXiv 2503.24277.
    """

    width: int
    norm_weight: float = 1 / 16
    aux: float = 1 / 32
    dead_after: int = 100
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("norm_weight", self.norm_weight, 0.0)
        check_real("aux", self.aux, 0.0)
        check_int("dead_after", self.dead_after, 1)

    def module(self, dim: int, rng: Rng) -> TopAFAModule:
        return TopAFAModule(self, dim, rng)
