"""What chains of codes share: random states that a row's bits seed, and normal numbers cut at zero.

Compiled functions that call these are cached apart: run ``make clean`` after editing this file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from sparsesim.kernels.sampling import exponential_, next64_, uniform_

MIX1, MIX2, GOLDEN = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)
U27, U30, U31 = np.uint64(27), np.uint64(30), np.uint64(31)
FAR = -30.0  # below, moments of a normal cut at zero by their series: relative error below 1e-8
NEAR = -0.5  # above, at least 3 of 10 normal numbers are positive: draw until one is
ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


@njit(cache=True)
def _mix(word: Any) -> Any:
    """Return splitmix64's scrambling of ``word``."""
    word = (word ^ (word >> U30)) * MIX1
    word = (word ^ (word >> U27)) * MIX2
    return word ^ (word >> U31)


@njit(cache=True)
def seed_(bits: Any, seed: Any, chain: int, state: Any) -> None:
    """Write a random state that is a function of a row's bits, the seed and the chain."""
    word = _mix(seed + GOLDEN * np.uint64(chain + 1))
    for column in range(len(bits)):
        word = _mix((word ^ bits[column]) + GOLDEN)
    for i in range(4):
        word = word + GOLDEN
        state[i] = _mix(word)
    next64_(state)


@njit(cache=True)
def cut(a: float) -> Any:
    """Return ln Phi(a) + a^2 / 2, and mean and variance of N(a, 1) above zero."""
    if a > FAR:
        tail = 0.5 * math.erfc(-a / math.sqrt(2.0))
        hazard = math.exp(-0.5 * a * a) / (ROOT_TWO_PI * tail)
        return math.log(tail) + 0.5 * a * a, a + hazard, max(1.0 - hazard * (a + hazard), 0.0)
    y = 1.0 / (a * a)
    log_tail = math.log1p(y * (-1.0 + y * (3.0 - 15.0 * y))) - math.log(-a * ROOT_TWO_PI)
    return log_tail, (1.0 + y * (-2.0 + y * (10.0 - 74.0 * y))) / -a, y * (1.0 + y * (-6.0 + y * (50.0 - 518.0 * y)))


@njit(cache=True)
def above_zero_(state: Any, a: float) -> float:
    """Draw from N(a, 1) above zero, by rejection: of normal numbers, or far below zero of exponential ones.

    References
    ----------
    Robert (1995), "Simulation of truncated normal variables", arXiv:0907.4010, Proposition 2.3.
    """
    if a > NEAR:
        while True:
            radius, angle = math.sqrt(2.0 * exponential_(state)), 2.0 * math.pi * uniform_(state)
            value = a + radius * math.cos(angle)
            if value > 0:
                return value
    rate = 0.5 * (math.sqrt(a * a + 4.0) - a)
    while True:
        value = exponential_(state) / rate
        if uniform_(state) < math.exp(-0.5 * (value - a - rate) ** 2):
            return value
