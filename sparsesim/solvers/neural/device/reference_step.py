"""The operations of a whole step of a sparse layer in plain torch; each has a twin in ``compiled_step``.

A step that is taken whole forms no gradient but row by row, in the hands of Adam. Samples are numbered e B + b over E
members, latents e p + j. Adam's numbers are those of ``reference.adam_``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim.solvers.neural.device import reference
from sparsesim.solvers.neural.device.reference import State, counted


@final
@dataclass(frozen=True, eq=False)
class Places:
    """Which latents of which samples speak, as ``bounds (E B + 1,)``, latents ``index (N,)`` and what is ``filled``.

    No sample has more than ``longest`` filled places, which come first and ascend.
    """

    bounds: Tensor
    index: Tensor
    filled: Tensor
    longest: int


@final
@dataclass(frozen=True, eq=False)
class Decoded:
    """What the decoder tells.

    Attributes
    ----------
    values, towards : (N,) the codes, and the gradient at them; zero where a place is empty.
    slope : (E B, d) the gradient at the reconstruction.
    energy : (E B,) the squared error of each sample.
    """

    values: Tensor
    slope: Tensor
    towards: Tensor
    energy: Tensor


@final
@dataclass(frozen=True, eq=False)
class ByLatent:
    """The filled places latent by latent: those of latent j are ``places[begin[j] : end[j]]``, of samples ``rows``."""

    begin: Tensor
    end: Tensor
    places: Tensor
    rows: Tensor


@final
@dataclass(frozen=True, eq=False)
class Learned:
    """A parameter ``(E, ..., a)`` with its two moments; ``shadow`` is a copy in bfloat16 that is kept up, or None."""

    weights: Tensor
    mean: Tensor
    square: Tensor
    shadow: Tensor | None = None


@final
@dataclass(frozen=True, eq=False)
class Pace:
    """How Adam moves: ``rate (3,)`` and ``factors (3,)`` as in `Adam`, ``slowness (E,)``, and whether weights decay."""

    rate: Tensor
    factors: Tensor
    slowness: Tensor | None = None
    shrinks: bool = False


Layer = tuple[Learned, Learned, Learned, Learned]  # encoder (E, p, d), its bias (E, p), decoder (E, p, d), bias (E, d)


def shifted(encoder: Tensor, threshold: Tensor, bias: Tensor) -> Tensor:
    """Return the encoder's bias ``(E, p)`` for samples that are not centred, threshold - W_e b_d."""
    return threshold - (encoder @ bias.unsqueeze(-1)).squeeze(-1)


def decoded(x: Tensor, u: Tensor, decoder: Tensor, bias: Tensor, chosen: Places) -> Decoded:
    """Return what is decoded of the codes ``u (E, B, p)`` at the places, for samples ``x (E, B, d)``.

    The loss is the squared error summed over d, mean over the batch. ``decoder`` may be in bfloat16.
    """
    _, batch, d = x.shape
    p, table = u.shape[-1], decoder.reshape(-1, d).to(x.dtype)
    rows = torch.searchsorted(chosen.bounds, counted(len(chosen.index), 1, torch.int32, x.device), right=True) - 1
    values = u.reshape(-1).index_select(0, rows * p + chosen.index % p).masked_fill_(~chosen.filled, 0.0)
    out = reference.sums(chosen.bounds, chosen.index, values, table).view(x.shape) + bias.unsqueeze(-2)
    residual = out - x
    slope = (residual * (2.0 / batch)).view(-1, d)
    towards = reference.dots(chosen.bounds, chosen.index, slope, table).masked_fill_(~chosen.filled, 0.0)
    return Decoded(values, slope, towards, residual.square().sum(-1).view(-1))


def by_latent(chosen: Places, shape: tuple[int, int, int], count: Tensor) -> ByLatent:
    """Return the filled places latent by latent, in their order, and add to ``count (E, p)`` how many each has."""
    latents = shape[0] * shape[2]
    key = chosen.index.masked_fill(~chosen.filled, latents)
    ordered, places = key.sort(stable=True)
    edges = torch.searchsorted(ordered, counted(latents + 1, 1, key.dtype, key.device), out_int32=True)
    numbers = counted(len(key), 1, torch.int32, key.device)
    rows = torch.searchsorted(chosen.bounds, numbers, right=True, out_int32=True) - 1
    rows = rows.masked_fill(~chosen.filled, shape[0] * shape[1] - 1)  # they stand with the last latent, of that member
    count.view(-1).add_(edges.diff())
    return ByLatent(edges[:-1], edges[1:], places.to(torch.int32), rows.index_select(0, places))


def move_rows_(x: Tensor, known: Decoded, order: ByLatent, layer: Layer, pace: Pace) -> Tensor:
    """Move the rows of encoder and decoder, and the encoder's bias, by a step of Adam on the gradients of the places.

    The decoder's rows are of unit norm: the gradient along them is removed, and they are normalised again. Returned is
    what samples that are centred by the bias add to its gradient, in parts ``(E, G, d)``: -total W_e before its move.
    """
    encoder, threshold, decoder, bias = layer
    d = x.shape[-1]
    weight, towards = (part.index_select(0, order.places) for part in (known.values, known.towards))
    bounds = torch.cat([order.begin, order.end.new_full((1,), len(order.places))])  # empty places weigh nothing
    centred = (x - bias.weights.unsqueeze(-2)).reshape(-1, d)
    of_decoder = reference.sums(bounds, order.rows, weight, known.slope).view(decoder.weights.shape)
    of_encoder = reference.sums(bounds, order.rows, towards, centred).view(encoder.weights.shape)
    ones = torch.ones_like(centred[:, :1])
    total = reference.sums(bounds, order.rows, towards, ones).view(threshold.weights.shape)
    part = -(total.unsqueeze(-2) @ encoder.weights)
    reference.remove_radial_(decoder.weights, of_decoder)
    for learned, gradient in ((encoder, of_encoder), (threshold, total), (decoder, of_decoder)):
        _move(learned, gradient, pace)
    reference.normalise_(decoder.weights)
    for learned in (encoder, decoder):
        if learned.shadow is not None:
            learned.shadow.copy_(learned.weights)
    return part


def _move(learned: Learned, gradient: Tensor, pace: Pace) -> None:
    weights, slowness = learned.weights, None
    if pace.slowness is not None:
        slowness = pace.slowness.view(-1, *(1,) * (weights.ndim - 1)).expand(weights.shape)
    if pace.shrinks:
        weights.sub_((weights if slowness is None else weights / slowness) * pace.rate[2])
    state: State = (weights, gradient, learned.mean, learned.square)
    reference.adam_(state, slowness, pace.rate, pace.factors)


def move_bias_(part: Tensor, known: Decoded, bias: Learned, pace: Pace) -> Tensor:
    """Move the bias ``(E, d)`` by a step of Adam, and return the squared error ``(E,)``, mean over the batch."""
    members, d = bias.weights.shape
    batch = len(known.energy) // members
    _move(bias, part.sum(-2) + known.slope.view(members, batch, d).sum(-2), pace)
    return known.energy.view(members, batch).sum(-1).div_(batch)
