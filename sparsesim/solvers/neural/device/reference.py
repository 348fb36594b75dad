"""The operations of a sparse layer in plain torch: static shapes, no synchronisation, one fixed order of every sum.

A sparse matrix of N places is ``bounds (S + 1,)``, the places of each row, ``index (N,)``, their columns, and ``weight
(N,)``. N is fixed, so that a graph can be captured: a place that nobody fills has weight zero and a legal column.
Indices are int32. Each function has a twin in ``compiled``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Places = tuple[Tensor, Tensor]  # columns, and whether the place is filled
Batches = tuple[Tensor, Tensor, Tensor, Tensor]  # bounds, and of each place its row, column and whether it is filled
State = tuple[Tensor, Tensor, Tensor, Tensor]  # weights, their gradient, and its two moments, each flat


@lru_cache(maxsize=256)
def counted(stop: int, step: int, kind: torch.dtype, device: torch.device) -> Tensor:
    """Return 0, step, 2 step, ... below ``stop``, made once for each shape that is trained; nobody may write to it."""
    with torch.inference_mode(False):  # a caller may be in it, and a training that comes later is not
        return torch.arange(0, stop, step, dtype=kind, device=device)


def integers(u: Tensor, magnitude: bool) -> Tensor:
    """Return integers in the order of the floats, positive where these are: the bits, without the sign on request."""
    kind, ones = (torch.int32, 2**31 - 1) if u.dtype == torch.float32 else (torch.int64, 2**63 - 1)
    keys = u.detach().contiguous().view(kind)
    return keys & ones if magnitude else keys


def _first(keys: Tensor, k: int) -> Tensor:
    """Return the columns ``(R, k)`` of the largest ``keys (R, p)``, the largest first and of equal ones the lowest."""
    if keys.dtype == torch.int64:
        return keys.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    p = keys.shape[-1]  # one integer holds the key and, below it, the column: no two are equal
    late = counted(p, 1, torch.int64, keys.device).flip(0)
    return keys.to(torch.int64).mul_(2**32).add_(late).topk(k, dim=-1).indices


def largest_of_rows(u: Tensor, k: int, limits: Tensor | None = None, magnitude: bool = False) -> Places:
    """Return the columns ``(R, k)`` of the k largest positive entries of each row of ``u (R, p)``, ascending.

    Ties go to the lowest column. A row with fewer positive entries has the columns p - 1 at its end, not filled.
    Row r takes ``limits[r]`` (at most k) where they are given. With ``magnitude`` entries are compared by |u|.
    """
    keys, p = integers(u, magnitude), u.shape[-1]
    found = _first(keys, k)
    missing = keys.gather(-1, found) <= 0
    if limits is not None:
        missing |= counted(k, 1, torch.int64, u.device) >= limits.unsqueeze(-1)
    columns = found.masked_fill(missing, p).sort(dim=-1).values
    return columns.clamp_max(p - 1).to(torch.int32), columns < p


def digits(kind: torch.dtype) -> tuple[int, int, int]:
    """Return the bits of a positive float, in how many of them at a time they are counted, and in how many passes."""
    return (31, 11, 3) if kind == torch.float32 else (63, 11, 6)


def _bars(keys: Tensor, wanted: Tensor) -> Tensor:
    """Return the largest number ``(E, 1)`` that ``wanted (E, 1)`` of ``keys (E, N)`` reach, 0 where too few do.

    Bit by bit, by counts alone: 31 or 63 reads, no sort, and no place where a graph would wait.
    """
    bar = torch.zeros((len(keys), 1), dtype=keys.dtype, device=keys.device)
    for bit in reversed(range(8 * keys.element_size() - 1)):
        higher = bar + (1 << bit)
        bar = torch.where((keys >= higher).sum(-1, keepdim=True) >= wanted, higher, bar)
    return bar


def largest_of_batches(u: Tensor, most: int, limits: Tensor, magnitude: bool = False) -> Batches:
    """Return the places of the ``limits (E,)`` largest positive entries of each member of ``u (E, B, p)``.

    Each has ``most`` places, at least its limit, row by row and ascending within a row. Ties go to the first row, and
    within it to the lowest column. Places that nobody fills are shared out evenly, each row's after those it fills.
    """
    members, batch, p = u.shape
    keys = integers(u, magnitude).view(members, -1)
    bar = _bars(keys, limits.unsqueeze(-1))
    above, level = keys > bar, (keys == bar) & (keys > 0)
    spare = limits.unsqueeze(-1) - above.sum(-1, keepdim=True)
    kept = (above | (level & (level.cumsum(-1) <= spare))).view(u.shape)
    own = kept.sum(-1)
    empty = most - own.sum(-1, keepdim=True)
    shared = empty * counted(batch, 1, torch.int64, u.device) // batch  # of the empty places lie in earlier rows
    begin = (
        own.cumsum(-1) - own + shared + counted(max(members * most, 1), max(most, 1), torch.int64, u.device).view(-1, 1)
    )
    bounds = torch.cat([begin.view(-1), begin.new_full((1,), members * most)]).to(torch.int32)
    target = (begin.unsqueeze(-1) + kept.cumsum(-1) - 1).masked_fill_(
        ~kept, members * most
    )  # all to one place too many
    columns = torch.full((members * most + 1,), p - 1, dtype=torch.int32, device=u.device)
    columns.scatter_(0, target.view(-1), counted(p, 1, torch.int32, u.device).expand(u.shape).reshape(-1))
    filled = torch.zeros(members * most + 1, dtype=torch.bool, device=u.device)
    filled.scatter_(0, target.view(-1), kept.view(-1))
    places = counted(members * most, 1, torch.int32, u.device)
    rows = torch.searchsorted(bounds, places, right=True, out_int32=True) - 1
    return bounds, rows, columns[:-1], filled[:-1]


def by_column(index: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return ``bounds (columns + 1,)`` and the places ``(N,)`` of a sparse matrix column by column, in their order."""
    ordered, places = index.sort(stable=True)
    edges = counted(columns + 1, 1, index.dtype, index.device)
    return torch.searchsorted(ordered, edges, out_int32=True), places.to(torch.int32)


def sums(bounds: Tensor, index: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """Return the product ``(S, d)`` of a sparse matrix and ``table (T, d)``, each row summed in its own order.

    The places must be those of the rows and no others: ``bounds`` begins at 0 and ends at N.
    """
    return embedding_bag(
        index, table, bounds.to(index.dtype), mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def add_sums_(bounds: Tensor, index: Tensor, weight: Tensor, table: Tensor, out: Tensor) -> None:
    """Add what `sums` returns to ``out (S, d)``; for rows whose lengths differ greatly, as those of latents do."""
    out.add_(sums(bounds, index, weight, table))


def dots(bounds: Tensor, index: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products ``(N,)`` of ``left[row]`` and ``right[index]`` for each place of each row."""
    places = counted(len(index), 1, bounds.dtype, bounds.device)
    rows = torch.searchsorted(bounds, places, right=True) - 1
    return (left.index_select(0, rows) * right.index_select(0, index)).sum(-1)


def adam_(state: State, slowness: Tensor | None, rate: Tensor, betas: Tensor) -> None:
    """Move the weights by one step of Adam and set the gradient to zero.

    ``rate`` begins with rate and eps, bias corrections included; ``betas`` are 1 - beta1, beta2 and 1 - beta2.
    ``slowness`` divides the rate weight by weight.
    """
    weights, gradient, mean, square = state
    mean.add_((gradient - mean).mul_(betas[0]))
    square.mul_(betas[1]).add_(gradient.square().mul_(betas[2]))
    below = square.sqrt().add_(rate[1])
    if slowness is not None:
        below.mul_(slowness)
    weights.sub_(torch.div(mean, below, out=below).mul_(rate[0]))
    gradient.zero_()


def remove_radial_(rows: Tensor, gradient: Tensor) -> None:
    """Remove from ``gradient`` its component along each unit row of ``rows (..., p, d)``."""
    gradient.addcmul_((gradient * rows).sum(-1, keepdim=True), rows, value=-1.0)


def normalise_(rows: Tensor) -> None:
    """Scale ``rows (..., p, d)`` to unit norm; a zero row stays zero."""
    least = torch.finfo(rows.dtype).tiny
    rows.div_(torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(least))
