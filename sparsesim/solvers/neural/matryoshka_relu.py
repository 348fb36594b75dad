"""The penalised Matryoshka autoencoder: prefixes that each reconstruct, with a ReLU and an L1 norm for BatchTopK."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.free_decoder import FreeDecoder
from sparsesim.solvers.neural.matryoshka import RandomPrefixes, check_prefixes, prefix_lengths
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import affine, unit_normal
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.weighted_relu_l1 import INITIAL_NORM


@final
class PenalisedMatryoshkaModule(FreeDecoder):
    """z = ReLU(x W_e' + b_e), each prefix with its squared error and its share of the penalty."""

    penalty: Tensor

    def __init__(self, spec: PenalisedMatryoshka, dim: int, rng: Rng) -> None:
        atoms = INITIAL_NORM * unit_normal(spec.width, dim, rng)
        super().__init__(atoms, atoms)
        random = spec.prefixes if isinstance(spec.prefixes, RandomPrefixes) else None
        self.prefixes = () if random else prefix_lengths(spec.prefixes, spec.width)
        self.random = () if random is None else (random,)  # a tuple, so that the members of an ensemble must agree
        self.warmup = spec.warmup
        self.register_buffer("penalty", torch.tensor(spec.penalty, dtype=torch.float32))

    def encode(self, x: Tensor) -> Tensor:
        return self.pre_activations(x).relu()

    def lengths(self, index: int) -> tuple[int, ...]:
        """Return the prefix lengths of step ``index``."""
        for random in self.random:
            return random.lengths(self.decoder.shape[-2], index)
        return self.prefixes

    def nested(self, codes: Tensor, lengths: tuple[int, ...]) -> list[Tensor]:
        """Return the reconstruction ``(..., B, d)`` from each prefix; together they cost one decoding."""
        first, *_ = lengths
        parts = [affine(codes[..., :first], self.decoder[..., :first, :], self.bias)]
        for low, high in pairwise(lengths):
            parts.append(parts[-1] + codes[..., low:high] @ self.decoder[..., low:high, :])
        return parts

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        codes, lengths = self.encode(x), self.lengths(step.index)
        first, *others = (row_errors(x, part) for part in self.nested(codes, lengths))
        for error in others:
            first = first + error
        within = np.searchsorted(lengths, np.arange(codes.shape[-1]), side="right")  # prefixes too short for latent i
        share = torch.from_numpy((1.0 - within / len(lengths)).astype(np.float32)).to(x)
        weighted = (codes @ (self.norms() * share).unsqueeze(-1)).squeeze(-1)
        return {
            "squared_error": first / len(lengths),
            "l1": weighted * (self.penalty * step.ramp(0.0, self.warmup)).unsqueeze(-1),
        }

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))


@final
@dataclass(frozen=True)
class PenalisedMatryoshka(NeuralSolver):
    """Learns atoms of which the first m_1, the first m_2, ... and all reconstruct, from ReLU codes with an L1 norm.

    u = x W_e' + b_e (no pre-bias),  z = ReLU(u),  x_hat_g = z[:m_g] D[:m_g] + b_d with D unconstrained, and the loss

        mean_B mean_g (||x - x_hat_g||^2 + penalty * w * sum_{i <= m_g} z_i ||d_i||),

    w rising from 0 to 1 over the first ``warmup`` of the training. So general features, which come first, are penalised
    more often. No number of latents is chosen, and none competes with others of the batch, as in `Matryoshka`. With one
    prefix it is `WeightedReLUL1`. This is the form of the toy models of the source; its latents are sorted by use at
    every step and its penalty follows a target L0, both of which are left out.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm, for the squared error summed over d.
    prefixes : see `Matryoshka`; the source draws ten anew at each step, ``RandomPrefixes(10)``.
    warmup : share of the training over which the penalty rises, a fifth in the source.

    References
    ----------
    Bussmann, Nabeshima, Karvonen, Nanda (2025), "Learning multi-level features with Matryoshka sparse autoencoders",
    arXiv 2503.17547, the toy model.
    """

    width: int
    penalty: float = 1.0
    prefixes: tuple[int, ...] | RandomPrefixes = ()
    warmup: float = 0.2
    training: Training = field(default_factory=lambda: Training(grad_clip=1.0))

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_prefixes(self.prefixes, self.width)
        check_real("warmup", self.warmup, 0.0, 1.0)

    def module(self, dim: int, rng: Rng) -> PenalisedMatryoshkaModule:
        return PenalisedMatryoshkaModule(self, dim, rng)
