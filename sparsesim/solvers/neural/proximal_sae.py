"""One autoencoder for all proximal nonlinearities: T steps of proximal gradient descent with learned matrices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder, drawn
from sparsesim.solvers.neural.proximal import (
    jump_relu,
    keep_largest,
    keep_largest_magnitude,
    soft,
    soft_positive,
)
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


class Regulariser(ABC):
    """R of the objective ||x - z D - b||^2 + R(z): a frozen dataclass that makes the map and the price of its codes."""

    @abstractmethod
    def build(self, width: int, step: float = 1.0) -> Proximal:
        """Return the proximal map of step * R / 2 on codes of ``width`` latents, with what it has to learn."""


class Proximal(nn.Module, ABC):
    """The proximal map of step * R / 2 (the squared error has no half) and R itself."""

    @abstractmethod
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes z like ``u (..., B, p)``, and R(z) of each row, ``(..., B)``."""


@final
@dataclass(frozen=True)
class L1(Regulariser):
    """R(z) = weight * ||z||_1, over z >= 0 where ``positive``: a shifted ReLU, or the soft threshold."""

    weight: float
    positive: bool = True

    def __post_init__(self) -> None:
        check_real("weight", self.weight, 0.0)

    def build(self, width: int, step: float = 1.0) -> Proximal:
        return _L1(self.weight, self.positive, step)


@final
@dataclass(frozen=True)
class L0(Regulariser):
    """R(z) = weight * ||z||_0 over z >= 0: a JumpReLU, whose thresholds start at sqrt(step * weight) and learn.

    The map of a threshold theta is the prox of theta^2 ||z||_0 / 2; what is learned is free of the price.
    """

    weight: float
    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        check_real("weight", self.weight, 0.0, open_low=True)
        check_real("bandwidth", self.bandwidth, 0.0, open_low=True)

    def build(self, width: int, step: float = 1.0) -> Proximal:
        return _L0(self.weight, self.bandwidth, width, step)


@final
@dataclass(frozen=True)
class AtMost(Regulariser):
    """R(z) = 0 where at most k codes are not zero (and none negative, where ``positive``): TopK or AbsTopK."""

    k: int
    positive: bool = True

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)

    def build(self, width: int, step: float = 1.0) -> Proximal:
        check_int("k", self.k, 1, width, high_name="width")
        return _AtMost(self.k, self.positive)


class _L1(Proximal):
    weight: Tensor
    threshold: Tensor

    def __init__(self, weight: float, positive: bool, step: float) -> None:
        super().__init__()
        self.positive = positive
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32))
        self.register_buffer("threshold", torch.tensor(0.5 * step * weight, dtype=torch.float32))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        threshold = self.threshold[..., None, None]
        z = soft_positive(u, threshold) if self.positive else soft(u, threshold)
        return z, self.weight.unsqueeze(-1) * z.abs().sum(-1)


class _L0(Proximal):
    weight: Tensor
    bandwidth: Tensor

    def __init__(self, weight: float, bandwidth: float, width: int, step: float) -> None:
        super().__init__()
        self.log_threshold = drawn(np.full(width, 0.5 * math.log(step * weight)))
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32))
        self.register_buffer("bandwidth", torch.tensor(bandwidth, dtype=torch.float32))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        z, fired = jump_relu(u, self.log_threshold, self.bandwidth)
        return z, self.weight.unsqueeze(-1) * fired.sum(-1)


class _AtMost(Proximal):
    k: Tensor

    def __init__(self, k: int, positive: bool) -> None:
        super().__init__()
        self.positive = positive
        self.register_buffer("k", torch.tensor(k))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        z = keep_largest(u, self.k) if self.positive else keep_largest_magnitude(u, self.k)
        return z, u.new_zeros(u.shape[:-1])


@final
class ProximalSAEModule(UnitDecoder):
    """z_0 = 0, z_{t+1} = prox(z_t + (x - b_d - z_t D) W' + b_e)."""

    def __init__(self, width: int, regulariser: Regulariser, iterations: int, dim: int, rng: Rng) -> None:
        super().__init__(width, dim, rng)
        self.iterations = iterations
        # With the step 1 / ||D||^2 the iteration is bound to descend; a single one from zero is no iteration.
        step = float(np.linalg.norm(self.decoder.detach().numpy(), 2)) ** -2 if iterations > 1 else 1.0
        self.proximal = regulariser.build(width, step)
        self.encoder.data.mul_(step)

    def codes_and_price(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes ``(..., B, p)`` after the last iteration and their R, ``(..., B)``."""
        inputs = self.pre_activations(x)
        z, price = self.proximal(inputs)
        for _ in range(self.iterations - 1):
            z, price = self.proximal(inputs + z - (z @ self.decoder) @ self.encoder.mT)
        return z, price

    def encode(self, x: Tensor) -> Tensor:
        return self.codes_and_price(x)[0]

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        codes, price = self.codes_and_price(x)
        return {"squared_error": row_errors(x, self.decode(codes)), "regulariser": price}

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))


@final
@dataclass(frozen=True)
class ProximalSAE(NeuralSolver):
    """Learns atoms and an encoder that takes ``iterations`` steps of proximal gradient descent from zero.

    For the objective ||x - z D - b_d||^2 + R(z), with W learned in the place of s D, s the step, and a learned b_e,

        z_0 = 0,   z_{t+1} = prox_{s R / 2}(z_t + (x - b_d - z_t D) W' + b_e),   x_hat = z_T D + b_d,

    and the loss is the mean of the objective at z_T. s = 1 for one iteration and 1 / ||D||^2, of the first D, for more;
    W starts as s D, so that the untrained model is the classical iteration. One step is an ordinary autoencoder: `L1`
    gives `ReLUL1` (with b_e shifted by half the weight), `L0` gives `JumpReLU`, `AtMost` gives `TopK` without AuxK, and
    AbsTopK where signs are allowed.

    Parameters
    ----------
    width : p, the number of atoms.
    regulariser : R: `L1`, `L0` or `AtMost`.
    iterations : T.

    References
    ----------
    Zhu, Khalili, Zhu (2025), "AbsTopK", arXiv 2510.00404, section 3; Gregor, LeCun (2010), "Learning fast
    approximations of sparse coding", for the unrolled steps.
    """

    width: int
    regulariser: Regulariser
    iterations: int = 1
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        if not isinstance(self.regulariser, Regulariser):
            raise TypeError(f"regulariser must be L1, L0 or AtMost, e.g. AtMost(k=3); got {self.regulariser!r}.")
        self.regulariser.build(self.width)
        check_int("iterations", self.iterations, 1)

    def module(self, dim: int, rng: Rng) -> ProximalSAEModule:
        return ProximalSAEModule(self.width, self.regulariser, self.iterations, dim, rng)
