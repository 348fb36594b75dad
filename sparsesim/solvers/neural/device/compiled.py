# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""The operations of ``reference`` as Triton kernels: rows in registers, no dense codes, no atomic additions.

Every sum of floats has one fixed order, so that two runs give the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsesim.solvers.neural.device import reference
from sparsesim.solvers.neural.device.compiled_batches import largest_of_batches
from sparsesim.solvers.neural.device.language import jit, pieces, power, tl, warps
from sparsesim.solvers.neural.device.reference import Places, State, by_column, counted, integers

WIDEST = 2**14  # entries of a row that are held in registers
COLUMNS = 128  # columns of a table that one program sums
CHUNK = 256  # places that one program sums: a latent that fires in most of a batch must not keep the others waiting
STRIDE = 1024  # weights that one program moves

__all__ = [
    "adam_",
    "add_sums_",
    "by_column",
    "dots",
    "largest_of_batches",
    "largest_of_rows",
    "normalise_",
    "remove_radial_",
    "sums",
]


@jit
def _largest(
    keys, limits, columns, filled, p, k,
    BITS: tl.constexpr, MASK: tl.constexpr, LIMITED: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One row: the largest bar that enough keys reach is found bit by bit; those above it and the first at it stay."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    key = tl.load(keys + row * p + place, mask=place < p, other=0) & MASK
    wanted = tl.load(limits + row) if LIMITED else k
    bar = tl.zeros((), dtype=key.dtype)
    for step in range(0, BITS):
        higher = bar + (tl.full((), 1, key.dtype) << (BITS - 1 - step))
        bar = tl.where(tl.sum((key >= higher).to(tl.int32), 0) >= wanted, higher, bar)
    above = key > bar
    level = (key == bar) & (key > 0)
    spare = wanted - tl.sum(above.to(tl.int32), 0)
    kept = above | (level & (tl.cumsum(level.to(tl.int32), 0) <= spare))
    rank = tl.cumsum(kept.to(tl.int32), 0) - 1
    tl.store(columns + row * k + rank, place, mask=kept)
    tl.store(filled + row * k + rank, kept, mask=kept)
    lane = tl.arange(0, WIDTH)
    empty = (lane >= tl.sum(kept.to(tl.int32), 0)) & (lane < k)
    tl.store(columns + row * k + lane, tl.zeros((WIDTH,), tl.int32) + (p - 1), mask=empty)
    tl.store(filled + row * k + lane, lane < 0, mask=empty)


def largest_of_rows(u: Tensor, k: int, limits: Tensor | None = None, magnitude: bool = False) -> Places:
    """Return what `reference.largest_of_rows` does, each row read once; rows too wide for registers are left to it."""
    rows, p = u.shape
    if p > WIDEST:
        return reference.largest_of_rows(u, k, limits, magnitude)
    keys = integers(u, False)
    bits, block = 8 * keys.element_size() - 1, power(p)
    columns = torch.empty((rows, k), dtype=torch.int32, device=u.device)
    filled = torch.empty((rows, k), dtype=torch.bool, device=u.device)
    _largest[(rows,)](
        keys, columns if limits is None else limits.to(torch.int32), columns, filled, p, k,
        BITS=bits, MASK=2**bits - 1 if magnitude else -1, LIMITED=limits is not None,
        BLOCK=block, WIDTH=power(k), num_warps=warps(block, 512, 16),
    )  # fmt: skip
    return columns, filled


@jit
def _sum(bounds, index, weight, table, out, d, ADD: tl.constexpr, BLOCK: tl.constexpr):
    """One row and one block of columns: the places of the row one after the other."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < d
    total = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    for t in range(tl.load(bounds + row), tl.load(bounds + row + 1)):
        source = tl.load(index + t).to(tl.int64)
        total += tl.load(weight + t) * tl.load(table + source * d + column, mask=inside, other=0.0)
    if ADD:
        total += tl.load(out + row * d + column, mask=inside, other=0.0)
    tl.store(out + row * d + column, total, mask=inside)


def sums(bounds: Tensor, index: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """Return what `reference.sums` does: one program for each row and each block of columns."""
    out = torch.empty((len(bounds) - 1, table.shape[1]), dtype=table.dtype, device=table.device)
    _launch_sum(bounds, index, weight, table, out, add=False)
    return out


def _launch_sum(bounds: Tensor, index: Tensor, weight: Tensor, table: Tensor, out: Tensor, *, add: bool) -> None:
    rows, d = out.shape
    block = min(COLUMNS, power(d))
    grid, parts = (rows, pieces(d, block)), (weight.contiguous(), table.contiguous())
    _sum[grid](bounds, index, *parts, out, d, ADD=add, BLOCK=block, num_warps=1)


@jit
def _sum_chunk(bounds, first, owner, index, weight, table, out, d, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    """One chunk of one row and one block of columns; a chunk without an owner has nothing to sum."""
    chunk = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < d
    row = tl.load(owner + chunk)
    low = tl.load(bounds + row) + (chunk - tl.load(first + row)) * CHUNK
    high = tl.minimum(low + CHUNK, tl.load(bounds + row + 1).to(tl.int64))
    total = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    for t in range(low, high):
        source = tl.load(index + t).to(tl.int64)
        total += tl.load(weight + t) * tl.load(table + source * d + column, mask=inside, other=0.0)
    tl.store(out + chunk * d + column, total, mask=inside)


def add_sums_(bounds: Tensor, index: Tensor, weight: Tensor, table: Tensor, out: Tensor) -> None:
    """Do what `reference.add_sums_` does, long rows in chunks of `CHUNK` places whose sums are added in their order."""
    rows, d, table = len(bounds) - 1, table.shape[1], table.contiguous()
    chunks = rows + len(index) // CHUNK  # as many as there can be: shapes must not depend on values
    first = torch.zeros_like(bounds)
    first[1:] = ((bounds.diff() + (CHUNK - 1)) // CHUNK).cumsum(0)
    place = counted(chunks, 1, bounds.dtype, bounds.device)
    owner = (torch.searchsorted(first, place, right=True) - 1).clamp_max(rows - 1)
    parts = torch.empty((chunks, d), dtype=table.dtype, device=table.device)
    block = min(COLUMNS, power(d))
    grid = (chunks, pieces(d, block))
    _sum_chunk[grid](
        bounds, first, owner, index, weight.contiguous(), table, parts, d, BLOCK=block, CHUNK=CHUNK, num_warps=1
    )
    ones = torch.ones(chunks, dtype=table.dtype, device=table.device)
    _launch_sum(first, place, ones, parts, out, add=True)


@jit
def _dots(bounds, index, left, right, out, d, BLOCK: tl.constexpr):
    """One row: its part of ``left`` stays in registers while the rows of ``right`` pass."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < d
    own = tl.load(left + row * d + column, mask=inside, other=0.0)
    for t in range(tl.load(bounds + row), tl.load(bounds + row + 1)):
        other = tl.load(index + t).to(tl.int64)
        passing = tl.load(right + other * d + column, mask=inside, other=0.0)
        tl.store(out + t, tl.sum(own * passing, 0))


def dots(bounds: Tensor, index: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return what `reference.dots` does: one program for each row."""
    out, d = torch.empty(len(index), dtype=left.dtype, device=left.device), left.shape[1]
    block = power(d)
    _dots[(len(bounds) - 1,)](
        bounds, index, left.contiguous(), right.contiguous(), out, d, BLOCK=block, num_warps=warps(block, 256, 8)
    )
    return out


@jit
def _adam(weights, gradient, mean, square, slowness, rate, betas, size, SLOWED: tl.constexpr, BLOCK: tl.constexpr):
    """One block of weights: each number is read once and written once."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    slope = tl.load(gradient + place, mask=inside, other=0.0)
    m, v = tl.load(mean + place, mask=inside, other=0.0), tl.load(square + place, mask=inside, other=0.0)
    m += tl.load(betas) * (slope - m)
    v = tl.load(betas + 1) * v + tl.load(betas + 2) * (slope * slope)
    below = tl.sqrt(v) + tl.load(rate + 1)
    if SLOWED:
        below *= tl.load(slowness + place, mask=inside, other=1.0)
    w = tl.load(weights + place, mask=inside, other=0.0) - tl.load(rate) * m / below
    tl.store(weights + place, w, mask=inside)
    tl.store(mean + place, m, mask=inside)
    tl.store(square + place, v, mask=inside)
    tl.store(gradient + place, tl.zeros((BLOCK,), gradient.dtype.element_ty), mask=inside)


def adam_(state: State, slowness: Tensor | None, rate: Tensor, betas: Tensor) -> None:
    """Do what `reference.adam_` does, in one pass."""
    size = state[0].numel()
    slowed, given = slowness is not None, state[0] if slowness is None else slowness
    _adam[(pieces(size, STRIDE),)](*state, given, rate, betas, size, SLOWED=slowed, BLOCK=STRIDE, num_warps=4)


@jit
def _remove_radial(rows, gradient, d, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    a = tl.load(rows + row * d + column, mask=column < d, other=0.0)
    g = tl.load(gradient + row * d + column, mask=column < d, other=0.0)
    tl.store(gradient + row * d + column, g - tl.sum(a * g, 0) * a, mask=column < d)


def remove_radial_(rows: Tensor, gradient: Tensor) -> None:
    """Do what `reference.remove_radial_` does, one program for each row."""
    d = rows.shape[-1]
    block = power(d)
    _remove_radial[(rows.numel() // d,)](rows, gradient, d, BLOCK=block, num_warps=warps(block, 256, 8))


@jit
def _normalise(rows, d, BLOCK: tl.constexpr, LEAST: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    a = tl.load(rows + row * d + column, mask=column < d, other=0.0)
    norm = tl.sqrt(tl.sum(a * a, 0))
    tl.store(rows + row * d + column, a / tl.maximum(norm, LEAST), mask=column < d)


def normalise_(rows: Tensor) -> None:
    """Do what `reference.normalise_` does, one program for each row."""
    d, least = rows.shape[-1], torch.finfo(rows.dtype).tiny
    block = power(d)
    _normalise[(rows.numel() // d,)](rows, d, BLOCK=block, LEAST=least, num_warps=warps(block, 256, 8))
