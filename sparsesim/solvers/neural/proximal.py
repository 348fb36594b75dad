"""Proximal maps, the nonlinearities of autoencoders: prox_R(u) = argmin_z 1/2 ||z - u||^2 + R(z), row by row.

All act on the last axis of ``u (..., B, p)``; a weight or threshold is a scalar or broadcasts against u.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparsesim.solvers.neural.selection import largest, largest_magnitude


def soft_positive(u: Tensor, weight: Tensor) -> Tensor:
    """Return the prox of weight * ||z||_1 over z >= 0: max(u - weight, 0), a shifted ReLU."""
    return (u - weight).relu()


def soft(u: Tensor, weight: Tensor) -> Tensor:
    """Return the prox of weight * ||z||_1: the soft threshold sign(u) max(|u| - weight, 0)."""
    return u - torch.minimum(torch.maximum(u, -weight), weight)


def hard_positive(u: Tensor, threshold: Tensor) -> Tensor:
    """Return the prox of (threshold^2 / 2) ||z||_0 over z >= 0: u where u > threshold >= 0, the JumpReLU."""
    codes: Tensor = u * (u > threshold)
    return codes


def hard(u: Tensor, threshold: Tensor) -> Tensor:
    """Return the prox of (threshold^2 / 2) ||z||_0: u where |u| > threshold."""
    return u * (u.abs() > threshold)


def keep_largest(u: Tensor, k: int | Tensor) -> Tensor:
    """Return the projection on {z >= 0, ||z||_0 <= k}: ReLU(TopK_k(u))."""
    return u * largest(u, k)


def keep_largest_magnitude(u: Tensor, k: int | Tensor) -> Tensor:
    """Return the projection on {||z||_0 <= k}: the k entries of largest magnitude with their signs, AbsTopK_k(u)."""
    return u * largest_magnitude(u, k)


def sparsemax(u: Tensor) -> Tensor:
    """Return the projection on the simplex {z >= 0, sum z = 1}.

    References
    ----------
    Martins, Astudillo (2016), arXiv 1602.02068: algorithm 1 and the Jacobian diag(s) - s s' / |s|, s the support.
    """
    z: Tensor = _Sparsemax.apply(u)  # type: ignore[no-untyped-call]
    return z


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        u = u - u.amax(-1, keepdim=True)  # the projection does not change, and the sums below stay small
        ordered = u.sort(dim=-1, descending=True).values
        count = torch.arange(1, u.shape[-1] + 1, dtype=u.dtype, device=u.device)
        excess = ordered.cumsum(-1) - 1.0
        size = (count * ordered > excess).sum(-1, keepdim=True)  # the condition holds for the first ones, and for one
        z = (u - excess.gather(-1, size - 1) / size).relu()
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        kept: Tensor = (z > 0.0).to(z.dtype)
        slope = slopes[0] * kept
        return slope - kept * (slope.sum(-1, keepdim=True) / kept.sum(-1, keepdim=True))


def jump_relu(u: Tensor, log_threshold: Tensor, bandwidth: Tensor) -> tuple[Tensor, Tensor]:
    """Return z = u * h and h = 1[u > theta], theta = exp(``log_threshold (..., p)``), with gradients for theta.

    In u the derivatives are those of the formula, h and 0. In theta, where they vanish almost everywhere, they are

        dz/dtheta = -(theta / eps) K((u - theta) / eps),   dh/dtheta = -(1 / eps) K((u - theta) / eps),

    K = 1[|.| < 1/2] and eps the ``bandwidth``, ``()`` or ``(E,)``. Their mean over a batch estimates the derivative of
    the mean loss over the data: E[. | u = theta] times the density of u at theta, from a window on both sides of
    theta. So u must be the pre-activation: of codes below theta nothing is left but zero, and a window of codes loses
    its lower half (published implementations do that, which halves the gradient of the L0 norm).
    """
    pair: tuple[Tensor, Tensor] = _JumpReLU.apply(u, log_threshold, bandwidth)  # type: ignore[no-untyped-call]
    return pair


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, log_threshold: Tensor, bandwidth: Tensor) -> tuple[Tensor, Tensor]:
        threshold = log_threshold.exp().unsqueeze(-2)
        fired = (u > threshold).to(u.dtype)
        ctx.save_for_backward(u, threshold, fired, bandwidth)
        return u * fired, fired

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None]:
        u, threshold, fired, bandwidth = ctx.saved_tensors
        by_code, by_firing = slopes
        width = bandwidth[..., None, None]
        window = ((u - threshold).abs() < 0.5 * width).to(u.dtype)
        # d/dtheta, then the chain factor theta of the logarithm.
        total = ((by_code * threshold + by_firing) * window).sum(-2)
        return by_code * fired, -(total * threshold.squeeze(-2) / bandwidth.unsqueeze(-1)), None
