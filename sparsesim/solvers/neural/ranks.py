"""The rank that each entry has among the others of its row or column."""

from __future__ import annotations

from torch import Tensor


def ranks(u: Tensor, dim: int = -1) -> Tensor:
    """Return the rank of each entry of ``u`` along ``dim``: 0 is the largest; equal ones rank by index."""
    order = u.detach().argsort(dim=dim, descending=True, stable=True)
    return order.argsort(dim=dim)


def leading(u: Tensor, count: Tensor, dim: int = -1) -> Tensor:
    """Return a 0/1 mask like ``u``: the ``count`` largest positive entries along ``dim``, a number for each line."""
    u = u.detach()
    return ((ranks(u, dim) < count) & (u > 0.0)).to(u.dtype)
