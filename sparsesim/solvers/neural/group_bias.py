"""Group Bias Adaptation: biases learn from how often latents fire, not from a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, normalise_, remove_radial_, squared_error, unit_normal
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

SILENT = 1e-6  # a latent that fires less often is dead


@final
class GroupBiasModule(SparseModule):
    """y = (x - b_d) W' / sqrt(d) + b, x_hat = sum_m sqrt(d) a_m phi(y_m) w_m + b_d; b follows target frequencies."""

    group: Tensor
    biases: Tensor
    targets: Tensor
    fired: Tensor
    largest: Tensor
    seen: Tensor
    rate: Tensor

    def __init__(self, spec: GroupBias, dim: int, rng: Rng) -> None:
        super().__init__()
        self.root, self.every, self.jump, self.groups = math.sqrt(dim), spec.every, spec.jump, spec.groups
        self.rows = drawn(unit_normal(spec.width, dim, rng))
        self.loudness = drawn(np.ones(spec.width))
        self.bias = drawn(np.zeros(dim))
        members = np.array_split(np.arange(spec.width), spec.groups)
        frequencies = np.geomspace(spec.high, spec.low, spec.groups)
        group = np.concatenate([np.full(len(part), g) for g, part in enumerate(members)])
        self.register_buffer("group", torch.from_numpy(group))
        self.register_buffer("targets", torch.from_numpy(frequencies[group].astype(np.float32)))
        self.register_buffer("rate", torch.tensor(spec.rate, dtype=torch.float32))
        for name in ("biases", "fired", "largest"):
            self.register_buffer(name, torch.zeros(spec.width, dtype=torch.float32))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float32))
        self._batches = 0

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return y ``(..., B, p)``, in the scale in which samples have norm one."""
        shift = (self.rows @ self.bias.unsqueeze(-1)).squeeze(-1) / self.root
        return affine(x, self.rows.mT / self.root, self.biases - shift)

    def codes_of(self, y: Tensor) -> Tensor:
        """Return the codes ``(..., B, p)`` of pre-activations y."""
        active = (y - self.biases.unsqueeze(-2)) * (y > 0.0) if self.jump else y.relu()
        return active * (self.root * self.loudness).unsqueeze(-2)

    def encode(self, x: Tensor) -> Tensor:
        return self.codes_of(self.pre_activations(x))

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.rows, self.bias)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        y = self.pre_activations(x)
        if self.training:
            self._observe(y)
        return {"squared_error": squared_error(x, self.decode(self.codes_of(y)))}

    @torch.no_grad()
    def _observe(self, y: Tensor) -> None:
        self.fired.add_((y > 0.0).sum(-2))
        self.largest.copy_(torch.maximum(self.largest, y.amax(-2)))
        self.seen.add_(y.shape[-2])
        self._batches += 1

    def atoms(self) -> Tensor:
        return self.rows

    def decoder_bias(self) -> Tensor:
        return self.bias

    def before_step(self) -> None:
        remove_radial_(self.rows)

    def after_step(self, optimiser: Optimiser) -> None:
        normalise_(self.rows)
        if self._batches >= self.every:
            self.adapt_()

    @torch.no_grad()
    def adapt_(self) -> None:
        """Move the biases by what was seen since the last time, in place, and forget what was seen."""
        often = self.fired / self.seen.clamp_min(1.0).unsqueeze(-1)
        reach, rate = self.largest, self.rate.unsqueeze(-1)  # largest is max(0, max y)
        loud = (reach > 0.0).to(reach.dtype)
        group = self.group.expand(reach.shape)
        sums, counts = (
            reach.new_zeros((*reach.shape[:-1], self.groups)).scatter_add_(-1, group, part) for part in (reach, loud)
        )
        mean_reach = (sums / counts.clamp_min(1.0)).gather(-1, group)
        lower = (self.biases - rate * reach).clamp_min(-1.0)
        higher = (self.biases + rate * mean_reach).clamp_max(0.0)
        moved = torch.where(often > self.targets, lower, self.biases)
        self.biases.copy_(torch.where(often < SILENT, higher, moved))
        for buffer in (self.fired, self.largest, self.seen):
            buffer.zero_()
        self._batches = 0


@final
@dataclass(frozen=True)
class GroupBias(NeuralSolver):
    """Learns tied unit atoms whose latents fire at most as often as their group is meant to, with no sparsity penalty.

    y = (x - b_d) W' + b,  x_hat = sum_m a_m phi(y_m) w_m + b_d with unit w_m, phi the ReLU or, with ``jump``,
    phi(y) = (y - b) 1[y > 0], for samples scaled to E||x - mean||^2 = 1. The loss is the squared error alone; w, a and
    b_d follow its gradient, b does not. The latents form ``groups`` of about equal size with target frequencies in
    geometric sequence from ``high`` to ``low``. Every ``every`` steps, with p_m the share of the samples since the
    last time on which y_m > 0, r_m = max(0, max y_m), and r the mean of the positive r_m of the group,

        b_m <- max(b_m - rate * r_m, -1)   where p_m exceeds the target of the group,
        b_m <- min(b_m + rate * r, 0)      where p_m < 1e-6,

    so that b stays in [-1, 0]. (A referee notes that min and max look exchanged in print; only this form keeps b
    there.) w starts uniform on the sphere, a = 1 and b = 0. Tied weights, unit norms and initial values are from
    third-party notes on the paper, and so is the rate.

    Parameters
    ----------
    width : p, the number of latents.
    groups : K.
    high, low : target frequencies of the first and the last group.
    every : steps between two moves of the biases.
    rate : gamma, the size of a move relative to the largest pre-activation.
    jump : whether the bias gates without shrinking.

    References
    ----------
    Chen et al. (2025), "Taming polysemanticity in LLMs: provable feature recovery via sparse autoencoders",
    arXiv 2506.14002, algorithm 1.
    """

    width: int
    groups: int = 10
    high: float = 0.1
    low: float = 1e-3
    every: int = 50
    rate: float = 0.01
    jump: bool = False
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("groups", self.groups, 1, self.width, high_name="width")
        check_real("high", self.high, 0.0, 1.0, open_low=True)
        check_real("low", self.low, 0.0, self.high, open_low=True)
        check_int("every", self.every, 1)
        check_real("rate", self.rate, 0.0, 1.0, open_low=True)
        if not isinstance(self.jump, bool):
            raise TypeError(f"jump must be True or False; got {self.jump!r}.")

    def module(self, dim: int, rng: Rng) -> GroupBiasModule:
        return GroupBiasModule(self, dim, rng)
