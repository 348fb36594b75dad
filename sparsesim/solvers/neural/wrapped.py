"""A model that changes one thing about another one, and the solver that says which."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.train import Training


class WrappedModule(SparseModule):
    """The ``host`` in every respect; a subclass changes the one that it is about."""

    def __init__(self, host: SparseModule) -> None:
        super().__init__()
        self.host = host
        self.linear = host.linear
        self.kind = type(host).__name__  # members of an ensemble must have hosts of one kind

    def prime(self, sample: Tensor, rng: Rng) -> None:
        self.host.prime(sample, rng)

    def encode(self, x: Tensor) -> Tensor:
        return self.host.encode(x)

    def decode(self, codes: Tensor) -> Tensor:
        return self.host.decode(codes)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return self.host.losses(x, step)

    def atoms(self) -> Tensor:
        return self.host.atoms()

    def decoder_bias(self) -> Tensor:
        return self.host.decoder_bias()

    def before_step(self) -> None:
        self.host.before_step()

    def after_step(self, optimiser: Optimiser) -> None:
        self.host.after_step(optimiser)


@dataclass(frozen=True)
class WrappedSolver(NeuralSolver):
    """The fields of a solver that trains a changed ``host``, with the width and the training of the host."""

    host: NeuralSolver
    width: int = field(init=False)
    training: Training = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.host, NeuralSolver):
            raise TypeError(f"host must be a gradient-trained solver such as ReLUL1(64); got {self.host!r}.")
        object.__setattr__(self, "width", self.host.width)
        object.__setattr__(self, "training", self.host.training)
