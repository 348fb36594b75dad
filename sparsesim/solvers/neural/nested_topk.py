"""The nested autoencoder (MSAE): one set of latents, reconstructed from several numbers of the largest of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng, check_int
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder, squared_error
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

WEIGHTINGS = ("uniform", "reverse")


@final
class NestedTopKModule(UnitDecoder):
    """z(k) = ReLU(TopK_k(u)) for several k; the loss averages their squared errors."""

    def __init__(self, spec: NestedTopK, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng)
        self.k, self.sizes, self.shares = spec.k, spec.numbers(), spec.shares()

    def encode(self, x: Tensor) -> Tensor:
        return self.keep(self.pre_activations(x), self.k)

    def keep(self, u: Tensor, k: int) -> Tensor:
        """Return the codes ``(..., B, p)`` of the ``k`` largest positive entries of ``u``."""
        return u * largest(u, k)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        errors = [squared_error(x, self.decode(self.keep(u, k))) * share for k, share in self.levels()]
        return {f"squared_error_{k}": error for k, error in zip(self.sizes, errors, strict=True)}

    def levels(self) -> list[tuple[int, float]]:
        """Return each k with its share of the loss."""
        return list(zip(self.sizes, self.shares, strict=True))


@final
@dataclass(frozen=True)
class NestedTopK(NeuralSolver):
    """Learns atoms and an encoder whose k largest latents reconstruct, for every k of a list at once.

    z(k) = ReLU(TopK_k(u)) have nested supports, and the loss is sum_k a_k ||x - x_hat(k)||^2 / sum_k a_k averaged over
    the batch, a_k = 1 ("uniform") or G, ..., 1 with the largest weight on the smallest k ("reverse"). The released code
    has the error of each sample relative to ||x||^2 as another choice and reports dense ReLU codes as well, which are
    those of ``k`` = width. There is no AuxK. For the single k = width the model is a ReLU autoencoder without penalty.

    Parameters
    ----------
    width : p, the number of atoms.
    k : latents kept in inference, in [1, width].
    ks : ascending numbers of latents of the loss; none stands for k, 2k, 4k, ... below width, and width.
    weighting : "uniform" or "reverse".

    References
    ----------
    Zaigrajew, Baniecki, Biecek (2025), "Interpreting CLIP with hierarchical sparse autoencoders", arXiv 2502.20578.
    """

    width: int
    k: int
    ks: tuple[int, ...] = ()
    weighting: str = "uniform"
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("k", self.k, 1, self.width, high_name="width")
        if not isinstance(self.ks, tuple):
            raise TypeError(f"ks must be a tuple of numbers of latents; got {self.ks!r}.")
        for k in self.ks:
            check_int("each of ks", k, 1, self.width, high_name="width")
        if list(self.ks) != sorted(set(self.ks)):
            raise ValueError(f"ks must ascend; got {self.ks!r}.")
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {WEIGHTINGS}; got {self.weighting!r}.")

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of latents of the loss, ascending."""
        if self.ks:
            return self.ks
        doubled = [self.k * 2**power for power in range(self.width.bit_length())]
        return (*(k for k in doubled if k < self.width), self.width)

    def shares(self) -> tuple[float, ...]:
        """Return the share of the loss of each of `numbers`; they sum to 1."""
        count = len(self.numbers())
        weights = [1.0 if self.weighting == "uniform" else float(count - place) for place in range(count)]
        return tuple(weight / sum(weights) for weight in weights)

    def module(self, dim: int, rng: Rng) -> NestedTopKModule:
        return NestedTopKModule(self, dim, rng)
