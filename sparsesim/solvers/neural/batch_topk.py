"""The BatchTopK autoencoder: the B k largest latents of the batch speak, so samples may differ in their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import BatchThreshold, DeadLatents, UnitDecoder, largest, squared_error
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class BatchTopKModule(UnitDecoder):
    """z = u on the B k largest positive entries of the batch; in inference z = u where u exceeds a threshold."""

    def __init__(self, width: int, k: int, dim: int, rng: Rng, *, aux: float, dead_after: int) -> None:
        super().__init__(width, dim, rng)
        self.k = k
        self.dead = DeadLatents(width, dim, aux, dead_after)
        self.threshold = BatchThreshold()

    def select(self, u: Tensor) -> Tensor:
        """Return the 0/1 mask of the ``B k`` largest positive entries of each batch ``u (..., B, p)``."""
        return largest(u.flatten(-2), u.shape[-2] * self.k).view(u.shape)

    def encode(self, x: Tensor) -> Tensor:
        return self.threshold.apply_to(self.pre_activations(x))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        kept = self.select(u)
        codes = u * kept
        reconstruction = self.decode(codes)
        aux = self.dead.revive(u, x, reconstruction, self.decoder)
        self.dead.observe(kept, step.index)
        self.threshold.observe(codes)
        return {"squared_error": squared_error(x, reconstruction), "aux": aux}


@final
@dataclass(frozen=True)
class BatchTopK(NeuralSolver):
    """Learns atoms and an encoder that gives samples ``k`` positive codes on average, more to those that need more.

    As `TopK`, but training keeps the B k largest entries of ReLU(u) of the whole batch. Inference knows no batch:
    z = u * 1[u > theta], theta the running mean of the smallest kept entry of the training batches.

    Parameters
    ----------
    width : p, the number of atoms.
    k : latents kept for each sample on average, in [1, width].
    aux : weight of AuxK; 0 leaves dead latents alone.
    dead_after : steps of silence after which a latent is dead.

    References
    ----------
    Bussmann, Leask, Nanda (2024), "BatchTopK sparse autoencoders", arXiv 2412.06410, section 3.
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

    def module(self, dim: int, rng: Rng) -> BatchTopKModule:
        return BatchTopKModule(self.width, self.k, dim, rng, aux=self.aux, dead_after=self.dead_after)
