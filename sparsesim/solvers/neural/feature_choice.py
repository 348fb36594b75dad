"""Feature choice: every latent chooses the samples of a batch in which it speaks, a number set by a rank law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_real
from sparsesim.solvers.neural.latent_threshold import LatentThresholds
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.ranks import leading, ranks
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selection import largest_of_batch
from sparsesim.solvers.neural.selective import SelectiveModule, SelectiveSolver
from sparsesim.solvers.neural.sparse import select_batches, selection_of
from sparsesim.solvers.neural.underused import UnderusedLatents, zipf_shares


def firing_rates(shares: FloatArray, k: int) -> FloatArray:
    """Return rates ``(p,)`` that sum to ``k``, proportional to descending ``shares`` but for those that reach 1."""
    rates = shares * k
    for full in range(len(rates)):
        rest = shares[full:].sum()
        rates[full:] = shares[full:] * ((k - full) / rest)
        if rates[full] <= 1.0:
            break
        rates[full] = 1.0
    return rates


def whole_numbers(rates: Tensor, batch: int) -> Tensor:
    """Return how many of ``batch`` samples each latent may take, ``(..., p)``: rates * batch, rounded to keep the sum.

    The largest remainders are rounded up.
    """
    quota = rates * batch
    whole = quota.floor()
    left = (quota.sum(-1, keepdim=True) - whole.sum(-1, keepdim=True)).round()
    return whole + (ranks(quota - whole) < left)


@final
class FeatureChoiceModule(SelectiveModule):
    """z = u on the m_i largest positive entries of column i; at first, on the B k largest of the batch."""

    rates: Tensor
    dead: UnderusedLatents

    def __init__(self, spec: FeatureChoice, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        expected = zipf_shares(spec.width, spec.exponent, spec.shift)
        self.dead = UnderusedLatents(dim, spec.aux, spec.dead_after, expected)
        self.thresholds = LatentThresholds(spec.width)
        self.register_buffer("rates", torch.tensor(firing_rates(expected, int(spec.k)), dtype=torch.float32))
        self.mutual, self.choosing = spec.mutual, True

    def select(self, u: Tensor) -> Tensor:
        if not self.choosing:
            return largest_of_batch(u, self.k)
        return leading(u, whole_numbers(self.rates, u.shape[-2]).unsqueeze(-2), dim=-2)

    def choose(self, u: Tensor) -> Selection:
        return selection_of(self.select(u)) if self.choosing else select_batches(u, self.k)

    def encode(self, x: Tensor) -> Tensor:
        return self.thresholds.apply_to(self.pre_activations(x))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        before, self.choosing = self.choosing, step.progress >= self.mutual
        if self.choosing and not before:  # the latents keep the rank that they have reached
            self.rates.copy_(self.rates.gather(-1, self.dead.rank()))
        return super().losses(x, step)

    def selected(self, values: Tensor, chosen: Selection) -> None:
        if self.choosing:
            self.thresholds.observe(values, chosen)


@final
@dataclass(frozen=True)
class FeatureChoice(SelectiveSolver):
    """Learns atoms each of which speaks in a set share of all samples, ``k`` a sample on average.

    In a batch of B samples latent i keeps its m_i largest positive pre-activations, sum_i m_i = B k, with m_i
    proportional to (rank + shift)^-exponent (at most B). During the first share ``mutual`` of training the B k largest
    pairs of the batch speak instead, as in `MutualChoice`; the latents then have the rank that they have reached. With
    ``mutual`` = 0 the rank of a latent is its index. AuxK is that of `MutualChoice`. Inference knows no batch: latent i
    speaks where u_i exceeds the running mean of its smallest kept entry. Numbers that are equal for all latents
    (``exponent`` = 0) force rare features on where rates differ.

    The source is known here by its abstract and reviews: the form of the rank law, the phases and the thresholds are
    choices made here. The other parameters are those of `SelectiveSolver`.

    Parameters
    ----------
    exponent, shift : of the rank law of use.
    mutual : share of training with mutual choice, in [0, 1).

    References
    ----------
    Ayonrinde (2024), "Adaptive sparse allocation with mutual choice and feature choice sparse autoencoders",
    arXiv 2411.02124.
    """

    exponent: float = 1.0
    shift: float = 0.0
    mutual: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("exponent", self.exponent, 0.0)
        check_real("shift", self.shift, 0.0)
        if check_real("mutual", self.mutual, 0.0, 1.0) == 1.0:
            raise ValueError("mutual must be below 1, or no threshold is ever learned; use MutualChoice for that.")

    def module(self, dim: int, rng: Rng) -> FeatureChoiceModule:
        return FeatureChoiceModule(self, dim, rng)
