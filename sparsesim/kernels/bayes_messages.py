"""Sparse Bayesian learning by messages, one sample per loop step: damped GAMP inside updates of the variances."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

DOUBT = 1e-3  # of what is not known of a code without a start: what is at least not known of one with

Array = npt.NDArray[Any]


@njit(cache=True, fastmath={"contract", "reassoc"})
def _dot(a: Any, b: Any) -> float:
    total = 0.0
    for column in range(len(a)):
        total += a[column] * b[column]
    return total


@njit(cache=True, fastmath={"contract"})
def _add_(out: Any, weight: float, row: Any) -> None:
    for column in range(len(out)):
        out[column] += weight * row[column]


@njit(cache=True)
def _image_(codes: Any, atoms: Any, out: Any) -> None:
    """Write ``codes @ atoms``."""
    for column in range(len(out)):
        out[column] = 0.0
    for i in range(len(codes)):
        if codes[i] != 0:
            _add_(out, codes[i], atoms[i])


@njit(cache=True)
def _gamp_(x: Any, atoms: Any, squares: Any, noise: float, theta: float, rule: Any, code: Any, record: Any) -> None:
    """Replace ``code``, where to start, by a sparse Bayesian one; ``record`` is noise, outer steps, settled, diverged.

    A start adds its squares to `DOUBT` of the variances of a cold one, unless zero fits x better.
    """
    learn, prune, tolerance, steps, inner = rule
    p, d = atoms.shape
    gamma, spread, s, energy = np.empty(p), np.empty(p), np.zeros(d), _dot(x, x)
    nu, weight, image, live = np.empty(d), np.empty(d), np.empty(d), 0
    record[0], record[1], record[2], record[3] = noise, 0, 1.0 if energy == 0 else 0.0, 0
    _image_(code, atoms, image)
    for t in range(d):
        nu[t] = x[t] - image[t]
    warm = _dot(nu, nu) < energy  # equal, to the last bit, without a code
    for i in range(p):
        code[i] = code[i] if warm else 0.0
        live += 1 if _dot(atoms[i], atoms[i]) > 0 else 0
    if energy == 0:
        return
    share = DOUBT if warm else 1.0
    for i in range(p):
        own = energy / max(live, 1) if _dot(atoms[i], atoms[i]) > 0 else 0.0
        gamma[i] = spread[i] = share * own + code[i] ** 2
    for outer in range(steps):
        for _ in range(inner):
            _image_(spread, squares, nu)
            _image_(code, atoms, image)
            for t in range(d):
                s[t] += theta * ((s[t] * nu[t] + image[t] - x[t]) / (noise + nu[t]) - s[t])
                weight[t] = 1.0 / (noise + nu[t])
            change, size = 0.0, 0.0
            for i in range(p):
                if gamma[i] > 0:
                    tau = 1.0 / _dot(squares[i], weight)
                    spread[i] = tau * gamma[i] / (tau + gamma[i])
                    r = code[i] - tau * _dot(atoms[i], s)
                    step = theta * (gamma[i] / (gamma[i] + tau) * r - code[i])
                    code[i] += step
                    change, size = change + step * step, size + code[i] ** 2
            if not size < 1e6 * energy:
                record[3] = 1
                for i in range(p):
                    code[i] = 0.0
                return
            if change <= tolerance**2 * size:
                break
        moved, largest, total = 0.0, 0.0, 0.0
        for i in range(p):
            if gamma[i] > 0:
                fresh = code[i] ** 2 + spread[i]
                total += 1.0 - spread[i] / gamma[i]
                moved, largest = max(moved, abs(fresh - gamma[i])), max(largest, fresh)
                gamma[i] = fresh
        if learn:
            _image_(code, atoms, image)
            error = 0.0
            for t in range(d):
                error += (x[t] - image[t]) ** 2
            noise = max((error + noise * total) / d, 1e-10 * energy / d)
        for i in range(p):
            if gamma[i] < prune * largest:
                gamma[i] = spread[i] = code[i] = 0.0
        record[0], record[1] = noise, outer + 1
        if moved <= tolerance * largest:
            record[2] = 1
            return


@njit(cache=True, parallel=True)
def _gamp_all_(x: Any, atoms: Any, squares: Any, noise: Any, theta: float, rule: Any, codes: Any, record: Any) -> None:
    for row in prange(len(x)):
        _gamp_(x[row], atoms, squares, noise[row], theta, rule, codes[row], record[row])


def learn_by_messages(
    x: Array, atoms: Array, noise: Array, damping: float, begin: Array, rule: tuple[bool, float, float, int, int]
) -> tuple[Array, Array]:
    """Return sparse Bayesian codes ``(n, p)`` by damped GAMP, and noise, steps, settled, diverged ``(n, 4)``.

    ``begin (n, p)`` are codes to start from, zero for none.
    ``rule`` is whether to learn the noise, the fraction of the largest variance below which one is cut, the tolerance,
    and the outer and inner steps at most.
    """
    codes, record = begin.copy(), np.empty((len(x), 4))
    _gamp_all_(x, np.require(atoms, requirements="W"), atoms * atoms, noise, damping, rule, codes, record)
    return codes, record
