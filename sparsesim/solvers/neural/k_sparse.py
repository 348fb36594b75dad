"""The k-sparse autoencoder: tied, linear but for the choice of the k largest values, of either sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, squared_error, unit_normal
from sparsesim.solvers.neural.ranks import ranks
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

START = 6  # times k latents speak at first, if nothing else is said


@final
class KSparseModule(SparseModule):
    """z = u on the k largest values of u = x W' + b; x_hat = z W + b'."""

    def __init__(self, spec: KSparse, dim: int, rng: Rng) -> None:
        super().__init__()
        self.weight = drawn(unit_normal(spec.width, dim, rng))
        self.encoder_bias, self.bias = drawn(np.zeros(spec.width)), drawn(np.zeros(dim))
        self.k, self.start, self.kept = spec.k, spec.first(), spec.kept()

    def encode(self, x: Tensor) -> Tensor:
        return self.keep(x, self.kept)

    def keep(self, x: Tensor, k: int) -> Tensor:
        """Return the codes ``(..., B, p)`` with the ``k`` largest values, whatever their sign."""
        u = affine(x, self.weight.mT, self.encoder_bias)
        return u * (ranks(u) < k)

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.weight, self.bias)

    def k_at(self, step: Step) -> int:
        """Return how many latents speak at ``step``: a linear descent over the first half of training."""
        return round(self.start + (self.k - self.start) * step.ramp(0.0, 0.5))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return {"squared_error": squared_error(x, self.decode(self.keep(x, self.k_at(step))))}

    def atoms(self) -> Tensor:
        return self.weight

    def decoder_bias(self) -> Tensor:
        return self.bias


@final
@dataclass(frozen=True)
class KSparse(NeuralSolver):
    """Learns atoms that are their own encoder; a code keeps the k largest values of u, without a ReLU.

    u = x W' + b,  z = u on the support of its k largest values (not magnitudes),  x_hat = z W + b', and the loss is the
    squared error alone. k falls linearly from ``start`` to ``k`` over the first half of training, which keeps latents
    alive; inference may keep ``alpha`` times k. The rows of W are free in norm.

    Parameters
    ----------
    width : p, the number of atoms.
    k : latents kept at the end of training, in [1, width].
    start : latents kept at its beginning, in [k, width]; None is 6 k, or width if that is less.
    alpha : inference keeps round(alpha * k) latents, at most all; the paper finds 1 to 3 useful for classification.

    References
    ----------
    Makhzani, Frey (2013), "k-Sparse Autoencoders", arXiv 1312.5663.
    """

    width: int
    k: int
    start: int | None = None
    alpha: float = 1.0
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("k", self.k, 1, self.width, high_name="width")
        if self.start is not None:
            check_int("start", self.start, self.k, self.width, high_name="width")
        check_real("alpha", self.alpha, 1.0)

    def first(self) -> int:
        """Return how many latents speak at the beginning of training."""
        return min(START * self.k, self.width) if self.start is None else self.start

    def kept(self) -> int:
        """Return how many latents speak in inference."""
        return min(round(self.alpha * self.k), self.width)

    def module(self, dim: int, rng: Rng) -> KSparseModule:
        return KSparseModule(self, dim, rng)
