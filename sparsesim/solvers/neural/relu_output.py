"""The ReLU-output toy model of superposition: tied weights, dense codes, features that share few dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_real
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn
from sparsesim.solvers.neural.solver import NeuralEncoder, NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

_LARGEST = 1e30  # of an importance or its inverse: its product with a squared error stays in the range of float32


def _raw() -> Training:
    return Training(normalise=False)


@final
class ReLUOutputModule(SparseModule):
    """h = x W and x_hat = ReLU(h W^T + b), with W ``(d, p)``: a row for each input, which is a feature here."""

    linear = False
    importance: Tensor

    def __init__(self, width: int, importance: FloatArray, start: float, rng: Rng) -> None:
        super().__init__()
        dim = len(importance)
        self.weights = drawn(start * rng.standard_normal((dim, width)))
        self.bias = drawn(np.zeros(dim))
        self.register_buffer("importance", torch.tensor(importance, dtype=torch.float32))

    def encode(self, x: Tensor) -> Tensor:
        return x @ self.weights

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.weights.mT, self.bias).relu()

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        error = (self.decode(self.encode(x)) - x).square().mean(-2)
        return {"reconstruction": (error * self.importance).sum(-1)}

    def atoms(self) -> Tensor:
        return self.weights.mT

    def decoder_bias(self) -> Tensor:
        return self.bias


@final
@dataclass(frozen=True)
class ReLUOutput(NeuralSolver):
    """Learns to keep d sparse features in p < d numbers: the toy model of superposition, a subject and no dictionary.

    h = x W, x_hat = ReLU(h W^T + b) with W ``(d, p)``, and the loss

        mean_B sum_i I_i (x_i - x_hat_i)^2,   I_i = importance^i,

    on the data as they are, ``training.normalise`` off: the output is not negative, and neither are features. The data
    are the features themselves (a world of the identity's rows), so that the d rows of W are their directions in the p
    hidden dimensions; `toy_weights` returns them. As a `FittedDictionary` its codes are h, dense and signed, and its
    atoms the p columns of W, normalised. For directions only, `sparsesim.generators.ToyModel` minimises the same
    expectation by L-BFGS.

    Released code takes the mean over features where this is the sum, which changes nothing under Adam but for its eps,
    trains with AdamW (``weight_decay=0.01``) at a constant rate of 1e-3, and starts 20 models at a time from one
    Xavier law for all, that is from a deviation of sqrt(2 / (d p + 20 p)).

    Parameters
    ----------
    width : p, the number of hidden dimensions.
    importance : ratio of the importance of a feature to that of the one before it.
    start : standard deviation of the initial weights; None is that of Xavier and normal, sqrt(2 / (d + p)).

    References
    ----------
    Elhage et al. (2022), "Toy models of superposition", arXiv 2209.10652.
    """

    width: int
    importance: float = 1.0
    start: float | None = None
    training: Training = field(default_factory=_raw)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("importance", self.importance, 0.0, open_low=True)
        if self.start is not None:
            check_real("start", self.start, 0.0, open_low=True)
        if self.training.normalise:
            raise ValueError(
                "training must have normalise=False: the output of a ReLU is not negative, so the data must not be "
                "centred. Pass Training(..., normalise=False)."
            )

    def module(self, dim: int, rng: Rng) -> ReLUOutputModule:
        if abs(math.log(self.importance)) * (dim - 1) > math.log(_LARGEST):
            raise ValueError(
                f"importance**i must stay within 1e-30 and 1e30; got importance={self.importance!r} for {dim} "
                "features. Bring it nearer to 1."
            )
        start = math.sqrt(2.0 / (dim + self.width)) if self.start is None else self.start
        return ReLUOutputModule(self.width, self.importance ** np.arange(dim, dtype=np.float64), start, rng)


def toy_weights(fitted: FittedDictionary) -> FloatArray:
    """Return W ``(d, p)`` of a trained `ReLUOutput`: row i is the direction of feature i, of the norm it was given.

    Raises
    ------
    TypeError
        If ``fitted`` is not the fit of a `ReLUOutput`.
    """
    encoder = fitted.encoder
    if not (isinstance(encoder, NeuralEncoder) and isinstance(encoder.module, ReLUOutputModule)):
        raise TypeError(f"fitted must be the fit of a ReLUOutput; got one with the encoder {encoder!r:.80}.")
    return (encoder.atoms * encoder.norms[:, None]).T
