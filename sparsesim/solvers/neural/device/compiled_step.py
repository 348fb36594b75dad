# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""The operations of ``reference_step`` as Triton kernels: one launch each, and no gradient of a matrix in memory.

Places are taken in tiles: a sum adds up a tile, in one fixed way, and then tile after tile.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsesim.solvers.neural.device.language import jit, pieces, power, tl, warps
from sparsesim.solvers.neural.device.reference_step import ByLatent, Decoded, Layer, Learned, Pace, Places

HELD = 2**13  # numbers of a table that a program holds at a time
GROUP = 8  # rows of weights that one program moves
LATENTS, SAMPLES = 16, 512  # whose places one program orders, and of how many samples at a time
COLUMNS = 32  # of the bias that one program moves


def _tile(d: int) -> tuple[int, int]:
    """Return the numbers held of a row, and of how many rows at a time."""
    block = power(d)
    return block, min(max(HELD // block, 1), 16)


@jit
def _shift(encoder, threshold, bias, out, d, p, BLOCK: tl.constexpr):
    """One latent."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    weights = tl.load(encoder + row * d + column, mask=column < d, other=0.0)
    own = tl.load(bias + (row // p) * d + column, mask=column < d, other=0.0)
    tl.store(out + row, tl.load(threshold + row) - tl.sum(weights * own, 0))


def shifted(encoder: Tensor, threshold: Tensor, bias: Tensor) -> Tensor:
    """Return what `reference_step.shifted` does."""
    p, d = encoder.shape[-2:]
    out, block = torch.empty_like(threshold), power(d)
    _shift[(threshold.numel(),)](encoder, threshold, bias, out, d, p, BLOCK=block, num_warps=warps(block, 256, 8))
    return out


@jit
def _decode(
    bounds, index, filled, u, x, table, bias, values, slope, towards, energy, d, p, batch,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One sample: its atoms pass twice, for the reconstruction and, from the cache, for the gradient at its codes."""
    row = tl.program_id(0).to(tl.int64)
    member = row // batch
    like: tl.constexpr = slope.dtype.element_ty
    column = tl.arange(0, BLOCK)
    inside = column < d
    low, high = tl.load(bounds + row), tl.load(bounds + row + 1)
    total = tl.load(bias + member * d + column, mask=inside, other=0.0)
    for start in range(low, high, TILE):
        place = start + tl.arange(0, TILE)
        here = (place < high) & (tl.load(filled + place, mask=place < high, other=0) != 0)
        latent = tl.load(index + place, mask=here, other=0).to(tl.int64)
        value = tl.load(u + row * p + latent - member * p, mask=here, other=0.0)
        atoms = tl.load(
            table + latent[:, None] * d + column[None, :], mask=here[:, None] & inside[None, :], other=0.0
        ).to(like)
        tl.store(values + place, value, mask=place < high)
        total += tl.sum(value[:, None] * atoms, 0)
    residual = total - tl.load(x + row * d + column, mask=inside, other=0.0)
    own = residual * (tl.full((), 2.0, like) / batch)
    tl.store(slope + row * d + column, own, mask=inside)
    tl.store(energy + row, tl.sum(residual * residual, 0))
    for start in range(low, high, TILE):
        place = start + tl.arange(0, TILE)
        here = (place < high) & (tl.load(filled + place, mask=place < high, other=0) != 0)
        latent = tl.load(index + place, mask=here, other=0).to(tl.int64)
        atoms = tl.load(
            table + latent[:, None] * d + column[None, :], mask=here[:, None] & inside[None, :], other=0.0
        ).to(like)
        along = tl.sum(own[None, :] * atoms, 1)
        tl.store(towards + place, tl.where(here, along, 0.0), mask=place < high)


def decoded(x: Tensor, u: Tensor, decoder: Tensor, bias: Tensor, chosen: Places) -> Decoded:
    """Return what `reference_step.decoded` does."""
    members, batch, d = x.shape
    slope, energy = x.new_empty((members * batch, d)), x.new_empty(members * batch)
    values, towards = (x.new_empty(len(chosen.index)) for _ in range(2))
    block, tile = _tile(d)
    _decode[(members * batch,)](
        chosen.bounds, chosen.index, chosen.filled, u.contiguous(), x.contiguous(), decoder, bias,
        values, slope, towards, energy, d, u.shape[-1], batch,
        BLOCK=block, TILE=tile, num_warps=warps(block * tile, 1024, 8),
    )  # fmt: skip
    return Decoded(values, slope, towards, energy)


@jit
def _table(bounds, index, filled, row, last, low, longest, steps, SAMPLES: tl.constexpr, LATENTS: tl.constexpr):
    """Return the place of each latent from ``low`` on in each sample, -1 where it is silent, and how many come before.

    The filled places of a sample, ``longest`` at most, ascend, so that the first of them is found by halves.
    """
    latent = low + tl.arange(0, LATENTS)
    begin = tl.load(bounds + row, mask=row < last, other=0)
    end = begin + tl.minimum(tl.load(bounds + row + 1, mask=row < last, other=0) - begin, longest)
    first, after = begin, end
    for _ in range(steps):
        middle = first + (after - first) // 2
        searched = first < after
        less = searched & (tl.load(index + middle, mask=searched, other=0) < low)
        first = tl.where(less, middle + 1, first)
        after = tl.where(searched & ~less, middle, after)
    table = tl.full((SAMPLES, LATENTS), -1, tl.int32)
    place = first
    speaks = place < end
    found = tl.load(index + place, mask=speaks, other=0)
    speaks = speaks & (found < low + LATENTS) & (tl.load(filled + place, mask=speaks, other=0) != 0)
    while tl.max(speaks.to(tl.int32), 0) > 0:
        table = tl.where(speaks[:, None] & (found[:, None] == latent[None, :]), place[:, None], table)
        place += 1
        speaks = speaks & (place < end)
        found = tl.load(index + place, mask=speaks, other=0)
        speaks = speaks & (found < low + LATENTS) & (tl.load(filled + place, mask=speaks, other=0) != 0)
    return table, tl.sum((first - begin).to(tl.int32), 0)


@jit
def _order(
    bounds, index, filled, count, begin, end, places, rows, p, batch, longest, steps,
    SAMPLES: tl.constexpr, LATENTS: tl.constexpr,
):  # fmt: skip
    """Some latents of one member: how many places each has, and then these, sample by sample."""
    member = tl.program_id(1).to(tl.int64)
    local = tl.program_id(0) * LATENTS + tl.arange(0, LATENTS)
    low = (member * p).to(tl.int32) + tl.program_id(0) * LATENTS
    first, last = member * batch, (member + 1) * batch
    own, before = tl.zeros((LATENTS,), tl.int32), tl.load(bounds + first)
    for start in range(0, batch, SAMPLES):
        row = first + start + tl.arange(0, SAMPLES)
        table, passed = _table(bounds, index, filled, row, last, low, longest, steps, SAMPLES, LATENTS)
        own += tl.sum((table >= 0).to(tl.int32), 0)
        before += passed
    target = before + tl.cumsum(own, 0) - own
    inside = local < p
    tl.store(begin + member * p + local, target, mask=inside)
    tl.store(end + member * p + local, target + own, mask=inside)
    fired = tl.load(count + member * p + local, mask=inside, other=0.0)
    tl.store(count + member * p + local, fired + own, mask=inside)
    for start in range(0, batch, SAMPLES):
        row = first + start + tl.arange(0, SAMPLES)
        table, _ = _table(bounds, index, filled, row, last, low, longest, steps, SAMPLES, LATENTS)
        here = (table >= 0) & inside[None, :]
        rank = target[None, :] + tl.cumsum(here.to(tl.int32), 0) - 1
        tl.store(places + rank, table, mask=here)
        tl.store(rows + rank, tl.zeros((SAMPLES, LATENTS), tl.int32) + row.to(tl.int32)[:, None], mask=here)
        target += tl.sum(here.to(tl.int32), 0)


def by_latent(chosen: Places, shape: tuple[int, int, int], count: Tensor) -> ByLatent:
    """Return what `reference_step.by_latent` does; between the places of two members there may be some of nobody."""
    members, batch, p = shape
    begin, end = (torch.empty(members * p, dtype=torch.int32, device=count.device) for _ in range(2))
    places, rows = (torch.empty_like(chosen.index) for _ in range(2))
    longest = chosen.longest
    _order[(pieces(p, LATENTS), members)](
        chosen.bounds, chosen.index, chosen.filled, count, begin, end, places, rows, p, batch, longest,
        longest.bit_length(), SAMPLES=min(SAMPLES, power(batch)), LATENTS=LATENTS, num_warps=8,
    )  # fmt: skip
    return ByLatent(begin, end, places, rows)


@jit
def _moved(weights, mean, square, place, inside, slope, rate, factors, slow, SHRUNK: tl.constexpr):
    """Return weights after a step of Adam, whose moments are written back."""
    w = tl.load(weights + place, mask=inside, other=0.0)
    m, v = tl.load(mean + place, mask=inside, other=0.0), tl.load(square + place, mask=inside, other=0.0)
    m += tl.load(factors) * (slope - m)
    v = tl.load(factors + 1) * v + tl.load(factors + 2) * (slope * slope)
    tl.store(mean + place, m, mask=inside)
    tl.store(square + place, v, mask=inside)
    if SHRUNK:
        w -= w / slow * tl.load(rate + 2)
    return w - tl.load(rate) * m / ((tl.sqrt(v) + tl.load(rate + 1)) * slow)


@jit
def _move_rows(
    begin, end, places, rows, values, towards, slope, x, bias,
    encoder, encoder_mean, encoder_square, encoder_shadow, threshold, threshold_mean, threshold_square,
    decoder, decoder_mean, decoder_square, decoder_shadow, part, rate, factors, slowness, p, d,
    SHRUNK: tl.constexpr, SLOWED: tl.constexpr, SHADOWED: tl.constexpr, LEAST: tl.constexpr,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Some latents of one member, one after the other: gradients stay in registers, weights are read once."""
    member, group = tl.program_id(1).to(tl.int64), tl.program_id(0)
    like: tl.constexpr = slope.dtype.element_ty
    column = tl.arange(0, BLOCK)
    inside = column < d
    centre = tl.load(bias + member * d + column, mask=inside, other=0.0)
    slow = tl.load(slowness + member) if SLOWED else tl.full((), 1.0, like)
    shift = tl.zeros((BLOCK,), like)
    for local in range(group * GROUP, tl.minimum(p, (group + 1) * GROUP)):
        latent = member * p + local
        of_decoder, of_encoder, total = tl.zeros((BLOCK,), like), tl.zeros((BLOCK,), like), tl.zeros((), like)
        high = tl.load(end + latent)
        for start in range(tl.load(begin + latent), high, TILE):
            at = start + tl.arange(0, TILE)
            here = at < high
            place, row = tl.load(places + at, mask=here, other=0), tl.load(rows + at, mask=here, other=0).to(tl.int64)
            value, back = tl.load(values + place, mask=here, other=0.0), tl.load(towards + place, mask=here, other=0.0)
            target, valid = row[:, None] * d + column[None, :], here[:, None] & inside[None, :]
            of_decoder += tl.sum(value[:, None] * tl.load(slope + target, mask=valid, other=0.0), 0)
            sample = tl.load(x + target, mask=valid, other=0.0) - centre[None, :]
            of_encoder += tl.sum(back[:, None] * sample, 0)
            total += tl.sum(back, 0)
        own = latent * d + column
        atom = tl.load(decoder + own, mask=inside, other=0.0)
        of_decoder -= tl.sum(atom * of_decoder, 0) * atom
        atom = _moved(decoder, decoder_mean, decoder_square, own, inside, of_decoder, rate, factors, slow, SHRUNK)
        atom = tl.where(inside, atom, 0.0)
        atom /= tl.maximum(tl.sqrt(tl.sum(atom * atom, 0)), LEAST)
        tl.store(decoder + own, atom, mask=inside)
        shift -= total * tl.load(encoder + own, mask=inside, other=0.0)
        row_of = _moved(encoder, encoder_mean, encoder_square, own, inside, of_encoder, rate, factors, slow, SHRUNK)
        tl.store(encoder + own, row_of, mask=inside)
        if SHADOWED:
            tl.store(decoder_shadow + own, atom.to(tl.bfloat16), mask=inside)
            tl.store(encoder_shadow + own, row_of.to(tl.bfloat16), mask=inside)
        always = latent >= 0
        bar = _moved(threshold, threshold_mean, threshold_square, latent, always, total, rate, factors, slow, SHRUNK)
        tl.store(threshold + latent, bar)
    tl.store(part + (member * tl.num_programs(0) + group) * d + column, shift, mask=inside)


def move_rows_(x: Tensor, known: Decoded, order: ByLatent, layer: Layer, pace: Pace) -> Tensor:
    """Do what `reference_step.move_rows_` does, with one part of the bias's gradient for each group of rows."""
    encoder, threshold, decoder, bias = layer
    members, p, d = encoder.weights.shape
    groups, (block, tile) = pieces(p, GROUP), _tile(d)
    part = x.new_empty((members, groups, d))
    shadows = [learned.weights if learned.shadow is None else learned.shadow for learned in (encoder, decoder)]
    _move_rows[(groups, members)](
        order.begin, order.end, order.places, order.rows, known.values, known.towards, known.slope, x.contiguous(),
        bias.weights, encoder.weights, encoder.mean, encoder.square, shadows[0],
        threshold.weights, threshold.mean, threshold.square, decoder.weights, decoder.mean, decoder.square, shadows[1],
        part, pace.rate, pace.factors, pace.rate if pace.slowness is None else pace.slowness, p, d,
        SHRUNK=pace.shrinks, SLOWED=pace.slowness is not None, SHADOWED=encoder.shadow is not None,
        LEAST=torch.finfo(x.dtype).tiny, GROUP=GROUP, BLOCK=block, TILE=tile, num_warps=warps(block * tile, 1024, 8),
    )  # fmt: skip
    return part


@jit
def _move_bias(
    part, slope, energy, error, bias, mean, square, rate, factors, slowness, groups, batch, d,
    SHRUNK: tl.constexpr, SLOWED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some columns of one member's bias; the first program of a member adds up the error, too."""
    member = tl.program_id(1).to(tl.int64)
    like: tl.constexpr = slope.dtype.element_ty
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside, lane = column < d, tl.arange(0, ROWS)
    total = tl.zeros((COLUMNS,), like)
    for start in range(0, groups, ROWS):
        row = start + lane
        at = (member * groups + row)[:, None] * d + column[None, :]
        total += tl.sum(tl.load(part + at, mask=(row < groups)[:, None] & inside[None, :], other=0.0), 0)
    for start in range(0, batch, ROWS):
        row = start + lane
        at = (member * batch + row)[:, None] * d + column[None, :]
        total += tl.sum(tl.load(slope + at, mask=(row < batch)[:, None] & inside[None, :], other=0.0), 0)
    slow = tl.load(slowness + member) if SLOWED else tl.full((), 1.0, like)
    own = member * d + column
    tl.store(bias + own, _moved(bias, mean, square, own, inside, total, rate, factors, slow, SHRUNK), mask=inside)
    if tl.program_id(0) == 0:
        whole = tl.zeros((), like)
        for start in range(0, batch, ROWS):
            row = start + lane
            whole += tl.sum(tl.load(energy + member * batch + row, mask=row < batch, other=0.0), 0)
        tl.store(error + member, whole / batch)


def move_bias_(part: Tensor, known: Decoded, bias: Learned, pace: Pace) -> Tensor:
    """Do what `reference_step.move_bias_` does."""
    members, groups, d = part.shape
    batch, error = len(known.energy) // members, part.new_empty(members)
    _move_bias[(pieces(d, COLUMNS), members)](
        part, known.slope, known.energy, error, bias.weights, bias.mean, bias.square, pace.rate, pace.factors,
        pace.rate if pace.slowness is None else pace.slowness, groups, batch, d,
        SHRUNK=pace.shrinks, SLOWED=pace.slowness is not None, ROWS=128, COLUMNS=COLUMNS, num_warps=4,
    )  # fmt: skip
    return error
