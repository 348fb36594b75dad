"""Selections away from the host: a fixed number of places a batch, or a mask, and never a look at a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, final

import torch
from torch import Tensor

from sparsesim.solvers.neural.device.place import operations
from sparsesim.solvers.neural.device.reference import counted
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.sink import Sink

NUMBERED = 2**31 - 2**14  # 32 bits have a sign, and a kernel's last tile of places reaches beyond the last place


@final
@dataclass(frozen=True, eq=False)
class Placed(Selection):
    """As many places as could be needed, row by row: place t of row r, in ``bounds (E B + 1,)``, has latent index[t].

    Latents are numbered e p + j, ascending within a row. Where ``filled`` is false nobody speaks; a selection,
    but for a `restricted` part, has those places after the others of a row, of which there are at most ``longest``.
    """

    bounds: Tensor
    index: Tensor
    filled: Tensor
    shape: tuple[int, ...]
    longest: int
    whole: Placed | None = None  # that of which this is a part: both share the order by latents
    known_rows: Tensor | None = None

    @cached_property
    def rows(self) -> Tensor:
        """Return the row of each place."""
        if self.known_rows is not None:
            return self.known_rows
        places = counted(len(self.index), 1, torch.int32, self.index.device)
        return torch.searchsorted(self.bounds, places, right=True, out_int32=True) - 1

    @cached_property
    def empty(self) -> Tensor:
        """Return where nobody speaks."""
        return ~self.filled

    @cached_property
    def by_latent(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return bounds ``(E p + 1,)``, rows and places, latent by latent."""
        if self.whole is not None:
            return self.whole.by_latent
        members, _, p = self.members
        bounds, places = operations(self.index).by_column(self.index, members * p)
        return bounds, self.rows.index_select(0, places), places

    def counts(self) -> Tensor:
        members, _, p = self.members
        total = torch.zeros(members * p, dtype=torch.float32, device=self.index.device)
        total.index_add_(0, self.index, self.filled.to(total.dtype))  # of ones: exact in any order
        return total.view(*self.shape[:-2], p)

    def smallest(self, values: Tensor) -> Tensor:
        known = values.detach().masked_fill(self.empty, torch.inf)
        return known.view(self.members[0], -1).amin(-1).view(self.shape[:-2])

    def smallest_of_latents(self, values: Tensor) -> Tensor:
        members, _, p = self.members
        known = values.detach().masked_fill(self.empty, torch.inf)
        least = known.new_full((members * p,), torch.inf)
        least.scatter_reduce_(0, self.index.to(torch.int64), known, "amin")
        return least.view(*self.shape[:-2], p)

    def sums_of_rows(self, values: Tensor) -> Tensor:
        members, _, p = self.members
        return self.decoded(values, values.new_ones((members * p, 1))).squeeze(-1)

    def sums_of_members(self, values: Tensor) -> Tensor:
        return self.sums_of_rows(values).sum(-1)

    def restricted(self, low: int, high: int) -> tuple[Selection, Tensor | slice]:
        local = self.index % self.shape[-1]
        return replace(
            self, filled=self.filled & (local >= low) & (local < high), whole=self, known_rows=self.rows
        ), slice(None)

    def values_at(self, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor) -> Tensor:
        values: Tensor = _Values.apply(x, encoder, encoder_bias, bias, u, self)  # type: ignore[no-untyped-call]
        return values

    def decoded(self, values: Tensor, decoder: Tensor) -> Tensor:
        out: Tensor = _Decoded.apply(values, decoder, self)  # type: ignore[no-untyped-call]
        return out


def _flat(tensor: Tensor) -> Tensor:
    """Return ``tensor (..., a, b)`` as a matrix of all rows."""
    return tensor.detach().reshape(-1, tensor.shape[-1])


def _rows(tensor: Tensor) -> Tensor:
    """Return ``tensor (..., a, b)`` as a matrix of all rows that shares its memory."""
    return tensor.view(-1, tensor.shape[-1])


class _Values(torch.autograd.Function):
    """Pre-activations at the places, u = (x - b_d) W_e' + b_e, given the dense u; zero where a place is empty."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor, chosen: Placed
    ) -> Tensor:
        ctx.chosen, ctx.sinks = chosen, tuple(map(Sink, (encoder, encoder_bias, bias)))
        ctx.save_for_backward(x, encoder, bias)
        p = chosen.shape[-1]
        place = chosen.rows.to(torch.int64) * p + chosen.index % p
        return u.detach().reshape(-1).index_select(0, place).masked_fill_(chosen.empty, 0.0)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, encoder, bias = ctx.saved_tensors
        chosen, (for_encoder, for_threshold, for_bias) = ctx.chosen, ctx.sinks
        kernels, slope = operations(x), slopes[0].masked_fill(chosen.empty, 0.0)
        bounds, rows, places = chosen.by_latent
        by_latent = slope.index_select(0, places)
        weights, total = for_encoder.open(), torch.zeros_like(for_threshold.like)
        kernels.add_sums_(bounds, rows, by_latent, _flat(x - bias.unsqueeze(-2)), _rows(weights))
        kernels.add_sums_(bounds, rows, by_latent, x.new_ones((len(chosen.bounds) - 1, 1)), total.view(-1, 1))
        shift = -(total.unsqueeze(-2) @ encoder).squeeze(-2)
        back = None
        if ctx.needs_input_grad[0]:
            back = kernels.sums(chosen.bounds, chosen.index, slope, _flat(encoder)).view(x.shape)
        return back, for_encoder.close(weights), for_threshold.take(total), for_bias.take(shift), None, None


class _Decoded(torch.autograd.Function):
    """The sum of the atoms of the filled places, weighted by the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decoder: Tensor, chosen: Placed) -> Tensor:
        ctx.chosen, ctx.sink = chosen, Sink(decoder)
        ctx.save_for_backward(values, decoder)
        weight = values.detach().masked_fill(chosen.empty, 0.0)
        out: Tensor = operations(values).sums(chosen.bounds, chosen.index, weight, _flat(decoder))
        return out.view(*chosen.shape[:-1], decoder.shape[-1])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        values, decoder = ctx.saved_tensors
        chosen, slope = ctx.chosen, _flat(slopes[0])
        kernels, weight = operations(values), values.masked_fill(chosen.empty, 0.0)
        towards = kernels.dots(chosen.bounds, chosen.index, slope, _flat(decoder)).masked_fill_(chosen.empty, 0.0)
        if not ctx.needs_input_grad[1]:
            return towards, None, None
        bounds, rows, places = chosen.by_latent
        weights = ctx.sink.open()
        kernels.add_sums_(bounds, rows, weight.index_select(0, places), slope, _rows(weights))
        return towards, ctx.sink.close(weights), None


@final
@dataclass(frozen=True, eq=False)
class Masked(Selection):
    """A mask ``(..., B, p)`` of who speaks, for choices whose number is not known before: all products are dense."""

    mask: Tensor

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Return that of the mask."""
        return tuple(self.mask.shape)

    def counts(self) -> Tensor:
        return self.mask.sum(-2, dtype=torch.float32)

    def _known(self, values: Tensor) -> Tensor:
        return values.detach().view(self.shape).masked_fill(~self.mask, torch.inf)

    def smallest(self, values: Tensor) -> Tensor:
        return self._known(values).amin((-2, -1))

    def smallest_of_latents(self, values: Tensor) -> Tensor:
        return self._known(values).amin(-2)

    def sums_of_rows(self, values: Tensor) -> Tensor:
        return (values.view(self.shape) * self.mask).sum(-1)

    def sums_of_members(self, values: Tensor) -> Tensor:
        return self.sums_of_rows(values).sum(-1)

    def restricted(self, low: int, high: int) -> tuple[Selection, Tensor | slice]:
        latents = counted(self.shape[-1], 1, torch.int64, self.mask.device)
        return Masked(self.mask & (latents >= low) & (latents < high)), slice(None)

    def values_at(self, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor) -> Tensor:
        fresh = (x - bias.unsqueeze(-2)) @ encoder.mT + encoder_bias.unsqueeze(-2)
        return (fresh * self.mask).reshape(-1)

    def decoded(self, values: Tensor, decoder: Tensor) -> Tensor:
        return (values.view(self.shape) * self.mask) @ decoder


@lru_cache(maxsize=64)
def _repeated(rows: int, times: int, device: torch.device) -> Tensor:
    """Return the numbers of ``rows`` rows, each ``times`` times."""
    with torch.inference_mode(False):
        return counted(rows * times, 1, torch.int32, device).div(times, rounding_mode="floor")


@lru_cache(maxsize=64)
def _vector(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return ``numbers`` on ``device``; the copy is made once, since a captured graph must not wait for the host."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.int32, device="cpu").to(device)


def _numbers(k: Tensor, members: int) -> tuple[int, ...]:
    """Return the number of each member; ``k`` is () or (E,), on the host."""
    return tuple(int(number) for number in k.reshape(-1).expand(members).tolist())


def _most(k: Tensor, members: int, device: torch.device) -> tuple[int, Tensor | None]:
    """Return the largest of the numbers ``k``, () or (E,) on the host, and all of them if they differ."""
    numbers = _numbers(k, members)
    return max(numbers), None if len(set(numbers)) == 1 else _vector(numbers, device)


def check_size(members: int, batch: int, p: int, most: int) -> None:
    """Raise ValueError where 32 bits cannot number the samples, the latents or the places of a step."""
    for what, count in (("samples", batch), ("latents", p), ("codes", most)):
        if members * count > NUMBERED:
            raise ValueError(
                f"{members * count:,} {what} in a step are more than the {NUMBERED:,} that are numbered on a device. "
                "Lower batch_size or k, or train fewer models together."
            )


def select_rows(u: Tensor, k: Tensor, *, magnitude: bool = False) -> Placed:
    """Return the ``k`` (one or ``(E,)``, on the host) largest positive entries of each row of ``u (..., B, p)``."""
    members, batch, p = (u.shape[0] if u.ndim == 3 else 1), u.shape[-2], u.shape[-1]
    most, limits = _most(k, members, u.device)
    most = min(most, p)
    check_size(members, batch, p, batch * most)
    if limits is not None:
        limits = limits.unsqueeze(1).expand(members, batch).reshape(-1)
    columns, filled = operations(u).largest_of_rows(_flat(u), most, limits, magnitude)
    start = counted(members * p, p, torch.int32, u.device)
    index = columns if members == 1 else columns.view(members, batch, most) + start[:, None, None]
    bounds = counted(members * batch * most + 1, most, torch.int32, u.device)
    rows = _repeated(members * batch, most, u.device)
    return Placed(bounds, index.reshape(-1), filled.reshape(-1), tuple(u.shape), most, known_rows=rows)


def select_batches(u: Tensor, numbers: Tensor, *, magnitude: bool = False) -> Placed:
    """Return the ``numbers`` (one or ``(E,)``, on the host) largest positive entries of each ``u (B, p)``."""
    members, batch, p = (u.shape[0] if u.ndim == 3 else 1), u.shape[-2], u.shape[-1]
    each = tuple(min(number, batch * p) for number in _numbers(numbers, members))
    most = max(each)
    check_size(members, batch, p, most)
    bounds, rows, columns, filled = operations(u).largest_of_batches(
        u.detach().reshape(members, batch, p), most, _vector(each, u.device), magnitude
    )
    index = columns
    if members > 1:
        index = columns + counted(members * p, p, torch.int32, u.device).unsqueeze(1).expand(-1, most).reshape(-1)
    return Placed(bounds, index, filled, tuple(u.shape), min(most, p), known_rows=rows)
