"""Finite scalar quantisation: every latent is bounded and rounded to a fixed grid, and no codebook is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng, check_int
from sparsesim.solvers.neural.quantised import ScalarQuantised
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

MARGIN = 1e-3  # by which the bound exceeds the outermost level, so that it can be reached


@final
class FiniteScalarModule(ScalarQuantised):
    """z = round(tanh(u + shift) half - offset) / floor(L / 2)."""

    def __init__(self, levels: int, width: int, dim: int, rng: Rng) -> None:
        super().__init__(width, dim, rng)
        self.levels = levels

    def quantise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        half = (self.levels - 1) * (1 + MARGIN) / 2
        offset = 0.0 if self.levels % 2 else 0.5
        bounded = (u + math.atanh(offset / half)).tanh() * half - offset
        unit = self.levels // 2
        return bounded / unit, bounded.round() / unit


@final
@dataclass(frozen=True)
class FiniteScalarQuantised(NeuralSolver):
    """Learns a linear code of which every entry has one of ``levels`` equidistant values in [-1, 1] (FSQ).

    With u = x W_e' + b_e, half = (L - 1)(1 + 10^-3) / 2 and offset = 1/2 for even L, else 0,

        b = tanh(u + atanh(offset / half)) half - offset,   z = round(b) / floor(L / 2),   x_hat = z D + b_d,

    and the loss is the squared error; the gradient passes through the rounding unchanged. u = 0 has z = 0. The decoder
    is linear, rows of D have any norm, and codes may be negative. The encoder is affine, where the paper's is deep.

    Parameters
    ----------
    width : p, the number of channels.
    levels : L of each channel, at least 2.

    References
    ----------
    Mentzer et al. (2023), "Finite scalar quantization: VQ-VAE made simple", arXiv 2309.15505.
    """

    width: int
    levels: int = 5
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("levels", self.levels, 2)

    def module(self, dim: int, rng: Rng) -> FiniteScalarModule:
        return FiniteScalarModule(self.levels, self.width, dim, rng)
