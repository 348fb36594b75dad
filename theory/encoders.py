"""Linear encoders and their unrolling: how little an encoder can mix features up, and how fast depth repairs it.

``encoder (n, d)`` has rows w_i with w_i . d_i = 1 for each atom d_i; its crosstalk is the largest |w_i . d_j|, j != i.
The tied encoder is w_i = d_i, of crosstalk mu.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from theory._premises import count
from theory.frames import _SLACK, _unit

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def crosstalk(atoms: Array, encoder: Array) -> Array:
    """Return max_{j != i} |w_i . d_j| for each row of an encoder with w_i . d_i = 1, ``(n,)``.

    No encoder's largest is below the Welch bound: the off-diagonal squares of W D^T, of rank at most d and trace n, sum
    to at least n^2 / d - n, so their mean is at least (n - d) / (d (n - 1)).

    Raises
    ------
    ValueError
        If some w_i . d_i is not 1: scale the encoder by its diagonal first.

    References
    ----------
    The generalised mutual coherence of Liu et al. (2019), "ALISTA", and Chen et al. (2018), arXiv:1808.10038; the floor
    is Welch (1974) in the form |tr M|^2 <= rank(M) ||M||_F^2.
    """
    rows, readout = _unit(atoms, 2), np.asarray(encoder, dtype=np.float64)
    if readout.shape != rows.shape:
        raise ValueError(f"encoder must have the shape {rows.shape} of the atoms; got {readout.shape}.")
    if not np.isfinite(readout).all():
        raise ValueError("encoder must be finite; remove NaN and infinity.")
    response = readout @ rows.T
    if not np.all(np.abs(np.diag(response) - 1.0) < 1e-6):
        raise ValueError("encoder must respond to its own atom by 1; divide each row by its w_i . d_i.")
    np.fill_diagonal(response, 0.0)
    return np.asarray(np.abs(response).max(axis=1))


def least_crosstalk(atoms: Array) -> tuple[Array, Array]:
    """Return the least crosstalk of any encoder row, ``(n,)``, and an encoder ``(n, d)`` that has it.

    ``min max_{j != i} |w . d_j| subject to w . d_i = 1``, a linear programme for each atom. By duality it is
    1 / min{||c||_1 : d_i = sum_{j != i} c_j d_j}, so 0 for an atom outside the span of the others. The largest is the
    generalised coherence, between the Welch bound and mu.

    References
    ----------
    Chen et al. (2018), arXiv:1808.10038, Definition 1 (generalised mutual coherence).
    """
    rows = _unit(atoms, 2)
    values, encoder = np.empty(len(rows)), np.empty_like(rows)
    for i, atom in enumerate(rows):
        others = np.delete(rows, i, axis=0)
        sided = np.c_[np.concatenate([others, -others]), -np.ones(2 * len(others))]
        answer = linprog(
            np.r_[np.zeros(rows.shape[1]), 1.0],
            A_ub=sided,
            b_ub=np.zeros(len(sided)),
            A_eq=np.r_[atom, 0.0][None],
            b_eq=[1.0],
            bounds=[(None, None)] * rows.shape[1] + [(0, None)],
            method="highs",
        )
        if answer.status != 0:
            raise ArithmeticError(f"the linear programme of atom {i} ended with: {answer.message}")
        encoder[i] = answer.x[:-1] / (answer.x[:-1] @ atom)
        values[i] = float(np.abs(others @ encoder[i]).max())
    return values, encoder


def unrolled_rate(mu: float, k: int) -> float:
    """Return (2k-1) mu, the factor by which one unrolled step shrinks the bound on ||z_t - s||_1 of k-sparse codes.

    ``mu`` is the crosstalk of the encoder: mu of the atoms if tied, less by `least_crosstalk`.

    Raises
    ------
    ValueError
        Where it is not below 1: the argument gives no rate.

    References
    ----------
    Chen et al. (2018), arXiv:1808.10038, Theorem 2.
    """
    if not 0.0 <= mu <= 1.0:
        raise ValueError(f"mu must lie in [0, 1]; got {mu}.")
    count("k", k)
    rate = (2 * k - 1) * mu
    if rate >= 1.0 - _SLACK:
        raise ValueError(f"needs (2k-1) mu < 1; got k={k}, mu={mu}.")
    return rate


def unrolled_bounds(mu: float, k: int, start: float, steps: int, noise: float = 0.0) -> tuple[Array, Array]:
    """Return thresholds ``(steps,)`` and error bounds ``(steps + 1,)`` of unrolled soft thresholding.

    ``z_{t+1} = soft(z_t + W (x - z_t D), theta_t)`` from z_0 = 0, x = s D + e with s k-sparse and |w_i . e| <= noise
    for every encoder row w_i. With ``theta_t = mu E_t + noise`` and ``E_{t+1} = (2k-1) mu E_t + 2 k noise`` no atom
    outside the support is ever on and ||z_t - s||_1 <= E_t; also for s >= 0 with the one-sided threshold, an unrolled
    SAE.

    Parameters
    ----------
    start : E_0, at least ||s||_1.

    Raises
    ------
    ValueError
        Where (2k-1) mu >= 1, or a norm is negative.

    References
    ----------
    Chen et al. (2018), "Theoretical linear convergence of unfolded ISTA and its practical weights and thresholds",
    arXiv:1808.10038, Theorem 2, here with its constants; Liu et al. (2019), "ALISTA", Theorem 1.
    """
    rate = unrolled_rate(mu, k)
    count("steps", steps, 0)
    _check_norms(start, noise)
    bounds = np.empty(steps + 1)
    bounds[0] = start
    for t in range(steps):
        bounds[t + 1] = rate * bounds[t] + 2 * k * noise
    return mu * bounds[:-1] + noise, bounds


def _check_norms(start: float, noise: float) -> None:
    for name, value in (("start", start), ("noise", noise)):
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be finite and at least 0; got {value}.")


def sufficient_depth(mu: float, k: int, start: float, error: float, noise: float = 0.0) -> int:
    """Return the number of unrolled steps after which the bound on ||z_t - s||_1 is at most ``error``.

    ``E_t - F = rate^t (E_0 - F)`` with the floor F = 2 k noise / (1 - rate).

    Raises
    ------
    ValueError
        Where (2k-1) mu >= 1, a norm is negative, or the error is not above the floor of the noise.
    """
    rate = unrolled_rate(mu, k)
    _check_norms(start, noise)
    floor = 2 * k * noise / (1.0 - rate)
    if not error > floor:
        raise ValueError(f"error must exceed the floor {floor:g} that the noise leaves; got {error}.")
    if start <= error:
        return 0
    if rate == 0.0:
        return 1
    depth = max(0, math.ceil((math.log(error - floor) - math.log(start - floor)) / math.log(rate)) - 1)
    while floor + rate**depth * (start - floor) > error:  # the logarithms round
        depth += 1
    return depth
