"""Directions pushed apart by gradient descent on their overlaps, through the d x d Gram matrix."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, unit_rows

_BLOCK = 1024  # rows that one thread takes at a time; part of the rounding, so a change changes the drawn directions
_DECAY, _SQUARE_DECAY, _FLOOR = 0.9, 0.999, 1e-8  # Adam's usual constants


@final
@dataclass(frozen=True)
class LowOverlap:
    """Directions are ``steps`` steps of Adam on their squared overlaps away from a random start.

    The loss is sum_{i != j} <e_i, e_j>^2 + m sum_i (||e_i||^2 - 1)^2, over ordered pairs; its gradient, row by row, is
    4 (E (E^T E) - ||e_i||^2 e_i + m (||e_i||^2 - 1) e_i), which needs the d x d matrix E^T E only: O(m d^2) a step, not
    O(m^2 d). The rows start uniform on the sphere and are normalised at the end.

    With many more features than dimensions it changes little: at (m, d) = (16384, 768) and 100 steps of 3e-4 the mean
    over features of the largest |cosine| goes from 0.149 to 0.145. `LowCoherence` goes further where m is small.

    Parameters
    ----------
    steps : Adam steps.
    lr : learning rate, the length of a first step in each coordinate.

    References
    ----------
    Kingma and Ba (2014), "Adam", arXiv 1412.6980, algorithm 1. The loss is that of the dictionaries of SAELens.
    """

    steps: int = 100
    lr: float = 3e-4

    def __post_init__(self) -> None:
        check_int("steps", self.steps, 1)
        check_real("lr", self.lr, 0.0, 1.0, open_low=True)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``; the same bits whatever the number of threads.

        Steps are taken in single precision, which the loss does not notice.

        Raises
        ------
        ValueError
            If the steps leave the range of single precision, or a row at zero: ``lr`` is too large.
        """
        rows = unit_rows(rng.standard_normal((m, d)))[0].astype(np.float32)
        pushed, norms = unit_rows(push_apart(rows, self.steps, self.lr).astype(np.float64))
        if not (np.isfinite(pushed).all() and norms.all()):
            raise ValueError(f"the steps of LowOverlap diverged at lr={self.lr}. Lower lr, e.g. to 3e-4.")
        return pushed


def push_apart(start: FloatArray, steps: int, lr: float) -> FloatArray:
    """Return the rows ``(m, d)`` after ``steps`` Adam steps on the overlap loss, not yet normalised.

    Computed in the precision of ``start``. Blocks of rows are summed in a fixed order with one BLAS thread each, so
    the result does not depend on the number of threads.
    """
    state = np.array(start, order="C"), np.zeros_like(start), np.zeros_like(start)
    blocks = [tuple(array[low : low + _BLOCK] for array in state) for low in range(0, len(start), _BLOCK)]
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor() as pool:
        for step in range(1, steps + 1):
            gram = reduce(np.add, pool.map(_block_gram, blocks))
            scale = lr / (1.0 - _DECAY**step), 1.0 / (1.0 - _SQUARE_DECAY**step)
            list(pool.map(partial(_step_, m=len(start), gram=gram, scale=scale), blocks))
    return state[0]


def _block_gram(block: tuple[FloatArray, ...]) -> FloatArray:
    return np.asarray(block[0].T @ block[0])


def _step_(block: tuple[FloatArray, ...], m: int, gram: FloatArray, scale: tuple[float, float]) -> None:
    """Take one Adam step in place on a block of rows, given the Gram matrix ``(d, d)`` of all ``m`` rows."""
    rows, mean, square = block
    energy = np.einsum("ij,ij->i", rows, rows)[:, None]
    gradient = rows @ gram
    gradient += (m * (energy - 1.0) - energy) * rows
    gradient *= 4.0
    mean += (1.0 - _DECAY) * (gradient - mean)
    np.multiply(gradient, gradient, out=gradient)
    square += (1.0 - _SQUARE_DECAY) * (gradient - square)
    np.sqrt(scale[1] * square, out=gradient)
    gradient += _FLOOR
    np.divide(mean, gradient, out=gradient)
    rows -= scale[0] * gradient
