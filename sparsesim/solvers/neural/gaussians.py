"""Diagonal Gaussians on the last axis: draws, densities and divergences, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparsesim.solvers.neural.module import Step


def deviation_of(log_variance: Tensor) -> Tensor:
    """Return the standard deviation.

    2^x is computed in place; e^x may go to a vendor library whose threads fight with those of compiled kernels.
    """
    return torch.exp2((0.5 / math.log(2)) * log_variance)


def drawn_from(mean: Tensor, log_variance: Tensor, step: Step) -> Tensor:
    """Return z = mean + s eps, a draw that gradients pass through; each member of an ensemble has its own noise."""
    return mean + deviation_of(log_variance) * step.normal(mean)


def standard_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, s^2) || N(0, I)) = (mean^2 + s^2 - ln s^2 - 1) / 2, summed over p, mean over B: ``()`` or (E,).

    It is 0 where mean = 0 and s = 1, and only there.
    """
    variance = deviation_of(log_variance).square()
    return (mean.square() + variance - log_variance - 1.0).sum((-2, -1)) / (2 * mean.shape[-2])


def gaussian_kl(mean: Tensor, log_variance: Tensor, centre: Tensor | float, log_spread: Tensor) -> Tensor:
    """Return KL(N(mean, s^2) || N(centre, v)) summed over p, mean over B, for ``log_spread`` = ln v.

    Half of ln v - ln s^2 - 1 + (s^2 + (mean - centre)^2) / v; ``centre`` and ``log_spread`` may be ``(..., B, p)`` or
    anything that broadcasts to it, such as ``(..., 1, p)``.
    """
    surplus = log_variance - log_spread
    variance = deviation_of(surplus).square()
    distance = (mean - centre).square() * deviation_of(-log_spread).square()
    return (distance + variance - surplus - 1.0).sum((-2, -1)) / (2 * mean.shape[-2])


def log_density(z: Tensor, mean: Tensor | float, log_variance: Tensor) -> Tensor:
    """Return ln N(z; mean, s^2) of each row, summed over the last axis, ``(..., B)``."""
    distance = (z - mean).square() * deviation_of(-log_variance).square()
    return -0.5 * (distance + log_variance + math.log(2 * math.pi)).sum(-1)
