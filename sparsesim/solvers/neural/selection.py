"""Which latents speak: 0/1 masks of the largest entries of a row, of a batch, by value or by magnitude."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsesim.solvers.neural.device import place


def largest(u: Tensor, k: int | Tensor) -> Tensor:
    """Return a 0/1 mask like ``u (..., p)``: the k largest positive entries of each row, ties to the lowest index.

    A row with fewer than k positive entries keeps those it has. ``k`` may be one number or ``(E,)``, one a member.
    """
    u, p = u.detach(), u.shape[-1]
    if isinstance(k, Tensor):
        numbers = [int(number) for number in k.reshape(-1)]
        if len(set(numbers)) > 1:
            return torch.stack([largest(each, number) for each, number in zip(u, numbers, strict=True)])
        k = numbers[0]
    if k >= p:
        return u.clone().gt_(0.0)
    if place.on_host(
        u
    ):  # numpy's partition is several times as fast as topk; on a GPU asking for a tie would synchronise
        parted = torch.from_numpy(np.partition(u.numpy(), p - k - 1, axis=-1))
        bar = parted[..., p - k - 1 : p - k].clamp_min(0.0)
        if not bool((parted[..., p - k :].amin(-1, keepdim=True) == bar).any()):
            return u.clone().gt_(bar)
    return _largest_by_key(u, k)


def _largest_by_key(u: Tensor, k: int) -> Tensor:
    """Return the mask of `largest` by a selection among keys that are all different where they are positive.

    In float64 there is room to order equal float32 values by index without disturbing the order of unequal ones: these
    differ by 2^-24 relative or more, and the factors differ from 1 by less than 2^-26.
    """
    p = u.shape[-1]
    factor = 1.0 - torch.arange(p, dtype=torch.float64, device=u.device) * (2.0**-26 / p)
    keys = u.double() * factor
    return (keys > keys.topk(k + 1, dim=-1).values[..., k:].clamp_min(0.0)).to(u.dtype)


def largest_magnitude(u: Tensor, k: int | Tensor) -> Tensor:
    """Return a 0/1 mask like ``u (..., p)``: the k largest nonzero |entries| of each row, ties to the lowest index."""
    return largest(u.detach().abs(), k)


def of_batch(k: int | Tensor, batch: int) -> Tensor:
    """Return how many latents a batch of B samples keeps, B k to the nearest whole number, at least one."""
    number = k if isinstance(k, Tensor) else torch.tensor(k, device="cpu")
    return (number * batch).round().clamp_min(1).to(torch.int64)


def largest_of_batch(u: Tensor, k: int | Tensor) -> Tensor:
    """Return a 0/1 mask like ``u (..., B, p)``: the B k largest positive entries of each batch, see `of_batch`."""
    return largest(u.flatten(-2), of_batch(k, u.shape[-2])).view(u.shape)
