"""The TopK autoencoder: exactly the k largest latents of each sample speak."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import DeadLatents, UnitDecoder, largest, squared_error
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class TopKModule(UnitDecoder):
    """z = ReLU(TopK_k(u)), with AuxK for dead latents."""

    def __init__(self, width: int, k: int, dim: int, rng: Rng, *, aux: float, dead_after: int) -> None:
        super().__init__(width, dim, rng)
        self.k = k
        self.dead = DeadLatents(width, dim, aux, dead_after)

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u * largest(u, self.k)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        kept = largest(u, self.k)
        reconstruction = self.decode(u * kept)
        aux = self.dead.revive(u, x, reconstruction, self.decoder)
        self.dead.observe(kept, step.index)
        return {"squared_error": squared_error(x, reconstruction), "aux": aux}


@final
@dataclass(frozen=True)
class TopK(NeuralSolver):
    """Learns atoms and an encoder that gives every sample at most ``k`` positive codes.

    u = (x - b_d) W_e + b_e,  z = ReLU(TopK_k(u)),  x_hat = z D + b_d with unit rows of D, and the loss

        mean_B ||x - x_hat||^2 + aux * V * NMSE(dead latents, x - x_hat),

    V times that of the paper (V the variance of the batch). Ties go to the lowest index. As in the paper the encoder
    starts as the transpose of the decoder; b_d starts at the mean of the data, not at the geometric median.

    Parameters
    ----------
    width : p, the number of atoms.
    k : latents kept for each sample, in [1, width].
    aux : weight of AuxK; 0 leaves dead latents alone.
    dead_after : steps of silence after which a latent is dead.

    References
    ----------
    Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093, section 2.3 and appendix A.
    """

    width: int
    k: int
    aux: float = 1 / 32
    dead_after: int = 100
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("k", self.k, 1, self.width, high_name="width")
        check_real("aux", self.aux, 0.0)
        check_int("dead_after", self.dead_after, 1)

    def module(self, dim: int, rng: Rng) -> TopKModule:
        return TopKModule(self.width, self.k, dim, rng, aux=self.aux, dead_after=self.dead_after)
