"""Gibbs sampling of codes whose values are positive: half-normal or exponential, one sample per loop step.

Values cannot be integrated out of many atoms at once, and are drawn with the activities. With c = A (x - z A) and
``r_i = c_i + G_ii z_i``, an atom's value given all others has density in proportion to
``slab(z) exp(r_i z / noise - G_ii z^2 / (2 noise))`` for z > 0: a normal cut at zero, whose mass over that of z = 0
gives the odds of activity.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.chains import above_zero_, cut, seed_
from sparsesim.kernels.sampling import exponential_, uniform_

RELOCATIONS = 8  # between two sweeps, at most
LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)

Array = npt.NDArray[Any]


@njit(cache=True)
def _favour(problem: Any, atom: int, heat: float, inner: float) -> Any:
    """Return tempered log odds and the mean if active of an atom, whose product with the rest is ``inner``.

    Last, the cut normal: its location over its width, and its width (negative: exponential, the atom being zero).
    """
    gram, gain, size, precision, exponential = problem
    sharp, pull = gram[atom, atom] * precision / heat, inner * precision / heat
    if exponential:
        if sharp <= 0:
            return gain[atom], size[atom], 0.0, -size[atom]
        favour, pull = LOG_ROOT_TWO_PI - math.log(size[atom]), pull - 1.0 / size[atom]
    else:
        favour, sharp = math.log(2.0) - math.log(size[atom]), sharp + 1.0 / size[atom] ** 2
    width = 1.0 / math.sqrt(sharp)
    log_tail, mean, _ = cut(pull * width)
    return gain[atom] + favour + math.log(width) + log_tail, mean * width, pull * width, width


@njit(cache=True)
def _draw_(state: Any, location: float, width: float) -> float:
    if width < 0:
        return -width * exponential_(state)
    return width * above_zero_(state, location)


@njit(cache=True)
def _move_(gram: Any, atom: int, value: float, z: Any, c: Any) -> None:
    """Set z[atom] to ``value``."""
    change, row = value - z[atom], gram[atom]
    if change != 0:
        for i in range(len(c)):
            c[i] -= change * row[i]
        z[atom] = value


@njit(cache=True)
def _relocate_(problem: Any, heat: float, state: Any, held: Any, spare: Any) -> None:
    """Silence a random active atom and activate one, drawn with its value by the posterior given the rest."""
    z, c = held
    gram, count = problem[0], 0
    for i in range(len(z)):
        count += z[i] > 0
    if count == 0:
        return
    at, gone = int(uniform_(state) * count), 0
    for i in range(len(z)):
        if z[i] > 0:
            if at == 0:
                gone = i
            at -= 1
    _move_(gram, gone, 0.0, z, c)
    top, total = -np.inf, 0.0
    for i in range(len(z)):
        spare[i] = _favour(problem, i, heat, c[i])[0] if z[i] == 0 else -np.inf
        top = max(top, spare[i])
    for i in range(len(z)):
        total += math.exp(spare[i] - top)
        spare[i] = total
    value, atom = uniform_(state) * total, 0
    while spare[atom] <= value:
        atom += 1
    _, _, location, width = _favour(problem, atom, heat, c[atom])
    _move_(gram, atom, _draw_(state, location, width), z, c)


@njit(cache=True)
def _sweep_(problem: Any, heat: float, state: Any, held: Any, counts: bool, code: Any, active: Any) -> None:
    """Draw every atom's activity and value once, given all others; add its mean and chance to what is known."""
    z, c = held
    gram = problem[0]
    for i in range(len(z)):
        favour, mean, location, width = _favour(problem, i, heat, c[i] + gram[i, i] * z[i])
        chance = 1.0 / (1.0 + math.exp(-min(max(favour, -700.0), 700.0)))
        if counts:
            code[i] += chance * mean
            active[i] += chance
        drawn = uniform_(state) < chance
        _move_(gram, i, _draw_(state, location, width) if drawn else 0.0, z, c)


@njit(cache=True)
def _chains_(bits: Any, problem: Any, b: Any, plan: Any, code: Any, active: Any) -> None:
    """Write averages of E[z_i | x, other codes] and P(z_i active | x, other codes) over all chains."""
    seed, chains, warm, sweeps, hottest = plan
    p = len(b)
    z, c, spare, state = np.empty(p), np.empty(p), np.empty(p), np.empty(4, np.uint64)
    for i in range(p):
        code[i] = active[i] = 0.0
    for chain in range(chains):
        seed_(bits, seed, chain, state)
        for i in range(p):
            z[i] = 0.0
        for sweep in range(warm + sweeps):
            heat = hottest ** (1.0 - (sweep + 1.0) / warm) if sweep < warm else 1.0
            for i in range(p):
                c[i] = b[i]
            for i in range(p):  # again, so that rounding does not pile up
                if z[i] > 0:
                    value, z[i] = z[i], 0.0
                    _move_(problem[0], i, value, z, c)
            for _ in range(RELOCATIONS):
                _relocate_(problem, heat, state, (z, c), spare)
            _sweep_(problem, heat, state, (z, c), sweep >= warm, code, active)
    for i in range(p):
        code[i] /= chains * sweeps
        active[i] /= chains * sweeps


@njit(cache=True, parallel=True)
def _sample_(bits: Any, gram: Any, prior: Any, b: Any, precision: Any, plan: Any, codes: Any, active: Any) -> None:
    gain, size, exponential = prior
    for row in prange(len(b)):
        problem = (gram, gain, size[row], precision[row], exponential)
        _chains_(bits[row], problem, b[row], plan, codes[row], active[row])


def sample_codes(
    x: Array,
    b: Array,
    gram: Array,
    prior: tuple[Array, Array, bool],
    precision: Array,
    plan: tuple[int, int, int, int, float],
) -> tuple[Array, Array]:
    """Return averages over draws of posterior means and of P(active), each ``(n, p)``.

    Parameters
    ----------
    x : (n, d) rows, of which only the bits are used, to seed.
    b : (n, p) products of rows and atoms.
    gram : (p, p) products of the atoms.
    prior : log prior odds ``(p,)``, root mean square (half-normal) or mean (exponential) of active values ``(n, p)``,
        and whether they are exponential.
    precision : (n,) one over the noise variance.
    plan : seed, chains, sweeps that are not counted, sweeps that are, and the temperature of the first.
    """
    codes, active = np.empty(b.shape), np.empty(b.shape)
    seed, *rest = plan
    bits = np.ascontiguousarray(x + 0.0).view(np.uint64)  # -0.0 seeds as 0.0 does
    _sample_(bits, gram, prior, b, precision, (np.uint64(seed), *rest), codes, active)
    return codes, active
