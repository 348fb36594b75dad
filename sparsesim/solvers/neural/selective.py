"""What autoencoders share that choose which latents speak and train with a squared error and AuxK."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.dead import DeadLatents
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder, squared_error
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@dataclass(frozen=True)
class SelectiveSolver(NeuralSolver):
    """The fields of a solver whose samples have about ``k`` active latents.

    Parameters
    ----------
    width : p, the number of atoms.
    k : latents kept for each sample, in [1, width].
    aux : weight of AuxK; 0 leaves dead latents alone.
    dead_after : steps of silence after which a latent is dead.
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


class SelectiveModule(UnitDecoder):
    """z = u where `select` says so; the loss is the squared error and AuxK."""

    def __init__(self, spec: SelectiveSolver, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng)
        self.k = spec.k
        self.dead = DeadLatents(spec.width, dim, spec.aux, spec.dead_after)

    @abstractmethod
    def select(self, u: Tensor) -> Tensor:
        """Return the 0/1 mask like ``u (..., B, p)`` of the latents that speak in training."""

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u * self.select(u)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        kept = self.select(u)
        codes = u * kept
        reconstruction = self.decode(codes)
        aux = self.dead.revive(u, x, reconstruction, self.decoder)
        self.dead.observe(kept, step.index)
        self.selected(codes)
        return {"squared_error": squared_error(x, reconstruction), "aux": aux}

    def selected(self, codes: Tensor) -> None:
        """Take note of the codes ``(..., B, p)`` of a training batch."""
