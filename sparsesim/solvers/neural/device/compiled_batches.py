# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""The largest entries of whole batches as Triton kernels: a threshold found by counting, digit by digit of the bits.

Each pass reads all entries once and counts those that agree with the threshold so far by their next digit. Counts are
integers, so that they are the same in whatever order they are added; a kernel that needs a digit reads it off the
counts itself, so that nobody else has to. Nothing is sorted, and no number depends on the host.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsesim.solvers.neural.device.language import jit, pieces, power, tl, warps
from sparsesim.solvers.neural.device.reference import Batches, digits

TILE = 4096  # entries that a program holds at a time
PROGRAMS = 1024  # that count one member's entries, at most
LEAST = 1024  # entries that a program holds at least: not fewer than it has threads, which would hold them twice
ROWS = 1024  # of which one program adds up the numbers at a time


@jit
def _reached(counts, digit, wanted, BINS: tl.constexpr):
    """Return the largest digit that enough entries reach, 0 where too few are left, and how many lie above it."""
    at_least = tl.sum(counts, 0) - tl.cumsum(counts, 0) + counts
    found = tl.max(tl.where(at_least >= wanted, digit, 0), 0)
    return found, tl.sum(tl.where(digit == found, at_least - counts, 0), 0)


@jit
def _threshold(
    counts, limits, member, members,
    like: tl.constexpr, PASSES: tl.constexpr, BITS: tl.constexpr, DIGIT: tl.constexpr,
):  # fmt: skip
    """Return the first digits of a member's threshold, and how many entries that agree with them are wanted."""
    digit = tl.arange(0, 1 << DIGIT)
    wanted = tl.load(limits + member).to(tl.int64)
    found = tl.zeros((), dtype=like)
    for step in tl.static_range(PASSES):
        own = tl.load(counts + ((step * members + member) << DIGIT) + digit)
        here, above = _reached(own, digit, wanted, 1 << DIGIT)
        wanted -= above
        found = (found << (DIGIT if (step + 1) * DIGIT <= BITS else BITS - step * DIGIT)) | here.to(like)
    return found, wanted


@jit
def _count_digits(
    keys, counts, limits, size, share, members,
    PASS: tl.constexpr, BITS: tl.constexpr, DIGIT: tl.constexpr, MASK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One share of a member's entries: how many of those that agree with the threshold so far have which next digit."""
    member = tl.program_id(1).to(tl.int64)
    low = tl.program_id(0).to(tl.int64) * share
    first, _ = _threshold(counts, limits, member, members, keys.dtype.element_ty, PASS, BITS, DIGIT)
    known: tl.constexpr = BITS - PASS * DIGIT
    left: tl.constexpr = known - DIGIT if known > DIGIT else 0
    digit = tl.arange(0, 1 << DIGIT)
    total = tl.zeros((1 << DIGIT,), dtype=tl.int32)
    for start in range(0, share, BLOCK):
        place = low + start + tl.arange(0, BLOCK)
        key = tl.load(keys + member * size + place, mask=place < size, other=0) & MASK
        valid = (key > 0) & ((key >> known) == first)
        next_one = tl.where(valid, (key >> left) & ((1 << (known - left)) - 1), 0).to(tl.int32)
        total += tl.histogram(next_one, 1 << DIGIT)
        total -= tl.where(digit == 0, BLOCK - tl.sum(valid.to(tl.int32), 0), 0)  # those that do not count lie at 0
    target = counts + ((PASS * members + member) << DIGIT) + digit
    tl.atomic_add(target, total.to(tl.int64), mask=total > 0, sem="relaxed")


@jit
def _count_rows(
    keys, counts, limits, above, level, batch, p, members,
    PASSES: tl.constexpr, BITS: tl.constexpr, DIGIT: tl.constexpr, MASK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row: how many entries lie above the threshold of its member, and how many at it."""
    row = tl.program_id(0).to(tl.int64)
    bar, _ = _threshold(counts, limits, row // batch, members, keys.dtype.element_ty, PASSES, BITS, DIGIT)
    over, equal = tl.zeros((), dtype=tl.int32), tl.zeros((), dtype=tl.int32)
    for start in range(0, p, BLOCK):
        place = start + tl.arange(0, BLOCK)
        key = tl.load(keys + row * p + place, mask=place < p, other=0) & MASK
        over += tl.sum((key > bar).to(tl.int32), 0)
        equal += tl.sum(((key == bar) & (key > 0)).to(tl.int32), 0)
    tl.store(above + row, over)
    tl.store(level + row, equal)


@jit
def _share_ties(
    counts, limits, above, level, bounds, batch, most, members, like,
    PASSES: tl.constexpr, BITS: tl.constexpr, DIGIT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One member: where its rows begin, and how many ties each takes, the first rows first; these replace ``level``."""
    member = tl.program_id(0).to(tl.int64)
    _, spare = _threshold(counts, limits, member, members, like.dtype.element_ty, PASSES, BITS, DIGIT)
    passed, empty = tl.zeros((), dtype=tl.int64), tl.zeros((), dtype=tl.int64) + most
    for start in range(0, batch, BLOCK):
        row = start + tl.arange(0, BLOCK)
        empty -= tl.sum(tl.load(above + member * batch + row, mask=row < batch, other=0).to(tl.int64), 0)
        passed += tl.sum(tl.load(level + member * batch + row, mask=row < batch, other=0).to(tl.int64), 0)
    empty -= tl.minimum(spare, passed)
    passed, begun = tl.zeros((), dtype=tl.int64), member * most
    for start in range(0, batch, BLOCK):
        row = start + tl.arange(0, BLOCK)
        over = tl.load(above + member * batch + row, mask=row < batch, other=0)
        equal = tl.load(level + member * batch + row, mask=row < batch, other=0).to(tl.int64)
        before = passed + tl.cumsum(equal, 0) - equal
        taken = tl.minimum(tl.maximum(spare - before, 0), equal)
        kept = over + taken
        shared = empty * row // batch  # of the empty places lie in earlier rows
        tl.store(bounds + member * batch + row, begun + shared + tl.cumsum(kept, 0) - kept, mask=row < batch)
        tl.store(level + member * batch + row, taken, mask=row < batch)
        passed += tl.sum(equal, 0)
        begun += tl.sum(kept, 0)
    if member == members - 1:
        tl.store(bounds + members * batch, members * most)


@jit
def _write_rows(
    keys, counts, limits, ties, bounds, rows, columns, filled, batch, p, members,
    PASSES: tl.constexpr, BITS: tl.constexpr, DIGIT: tl.constexpr, MASK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row: its places in ascending order, and after them those that nobody fills."""
    row = tl.program_id(0).to(tl.int64)
    bar, _ = _threshold(counts, limits, row // batch, members, keys.dtype.element_ty, PASSES, BITS, DIGIT)
    spare, equal = tl.load(ties + row), tl.zeros((), dtype=tl.int32)
    target, end = tl.load(bounds + row).to(tl.int64), tl.load(bounds + row + 1).to(tl.int64)
    for start in range(0, p, BLOCK):
        place = start + tl.arange(0, BLOCK)
        key = tl.load(keys + row * p + place, mask=place < p, other=0) & MASK
        level = ((key == bar) & (key > 0)).to(tl.int32)
        kept = (key > bar) | ((level > 0) & (equal + tl.cumsum(level, 0) <= spare))
        rank = target + tl.cumsum(kept.to(tl.int32), 0) - 1
        tl.store(columns + rank, place, mask=kept)
        tl.store(rows + rank, tl.zeros((BLOCK,), tl.int32) + row.to(tl.int32), mask=kept)
        tl.store(filled + rank, kept, mask=kept)
        equal += tl.sum(level, 0)
        target += tl.sum(kept.to(tl.int32), 0)
    for start in range(target, end, BLOCK):
        rest = start + tl.arange(0, BLOCK)
        tl.store(columns + rest, tl.zeros((BLOCK,), tl.int32) + (p - 1), mask=rest < end)
        tl.store(rows + rest, tl.zeros((BLOCK,), tl.int32) + row.to(tl.int32), mask=rest < end)
        tl.store(filled + rest, rest < 0, mask=rest < end)


def largest_of_batches(u: Tensor, most: int, limits: Tensor, magnitude: bool = False) -> Batches:
    """Return what `reference.largest_of_batches` does, in as many passes as the bits of a float have digits, and two.

    A threshold takes one look at all entries for each of its digits: three for float32.
    """
    members, batch, p = u.shape
    u = u.detach().contiguous()
    bits, digit, passes = digits(u.dtype)
    keys = u.view(torch.int32 if bits == 31 else torch.int64)
    mask, size = (2**bits - 1 if magnitude else -1), batch * p
    own: dict[str, int] = {"BITS": bits, "DIGIT": digit}
    counts = torch.zeros((passes, members, 2**digit), dtype=torch.int64, device=u.device)
    above, level = (torch.empty(members * batch, dtype=torch.int32, device=u.device) for _ in range(2))
    bounds = torch.empty(members * batch + 1, dtype=torch.int32, device=u.device)
    rows, columns = (torch.empty(members * most, dtype=torch.int32, device=u.device) for _ in range(2))
    filled = torch.empty(members * most, dtype=torch.bool, device=u.device)
    if not u.numel():
        return bounds.zero_(), rows.zero_(), columns.zero_(), filled.zero_()
    tile = max(LEAST, min(TILE, power(size)))
    share = tile * pieces(pieces(size, tile), PROGRAMS)
    for index in range(passes):
        _count_digits[(pieces(size, share), members)](
            keys, counts, limits, size, share, members, PASS=index, **own, MASK=mask, BLOCK=tile, num_warps=8
        )
    block = min(TILE, power(p))
    sizes: dict[str, int] = {**own, "PASSES": passes, "MASK": mask, "BLOCK": block, "num_warps": warps(block, 512, 8)}
    _count_rows[(members * batch,)](keys, counts, limits, above, level, batch, p, members, **sizes)
    _share_ties[(members,)](
        counts, limits, above, level, bounds, batch, most, members, keys, **own, PASSES=passes,
        BLOCK=min(ROWS, power(batch)), num_warps=4,
    )  # fmt: skip
    _write_rows[(members * batch,)](
        keys, counts, limits, level, bounds, rows, columns, filled, batch, p, members, **sizes
    )
    return bounds, rows, columns, filled
