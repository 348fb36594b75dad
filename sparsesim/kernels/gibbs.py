"""Collapsed Gibbs sampling of supports of codes with Gaussian values, one sample per loop step.

Values are integrated out. With rho = noise variance / slab variance and M = G_SS + diag(rho_S), the chain keeps M^-1
of its support S. For an atom i outside, ``pivot = G_ii + rho_i - G_iS M^-1 G_Si``; ``left = b_i - G_iS M^-1 b_S`` give
its odds ``odds_i sqrt(rho_i / pivot) exp(left^2 / (2 noise pivot))`` and, active, its mean ``left / pivot``. Where
exactly k atoms are active, an atom leaves S and another joins it, with chances in proportion to these odds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.chains import seed_
from sparsesim.kernels.sampling import uniform_

RELOCATIONS = 8  # between two sweeps, at most
STEEP = 1e4  # entries of M^-1 beyond which an atom that leaves has it computed again; unit atoms apart have few

Array = npt.NDArray[Any]


@njit(cache=True)
def _project_(gram: Any, atom: int, chosen: Any, size: int, inverse: Any, v: Any) -> None:
    """Write ``v = M^-1 G_Si``."""
    for t in range(size):
        v[t] = 0.0
    for s in range(size):
        weight, row = gram[atom, chosen[s]], inverse[s]
        for t in range(size):
            v[t] += weight * row[t]


@njit(cache=True)
def _add_(atom: int, chosen: Any, size: int, inverse: Any, v: Any, pivot: float) -> None:
    """Extend M^-1 by an atom, given its projection and pivot."""
    for s in range(size):
        share = v[s] / pivot
        for t in range(size):
            inverse[s, t] += share * v[t]
        inverse[s, size] = inverse[size, s] = -share
    inverse[size, size] = 1.0 / pivot
    chosen[size] = atom


@njit(cache=True)
def _rebuild_(gram: Any, rho: Any, chosen: Any, size: int, inverse: Any, v: Any) -> None:
    """Compute M^-1 again, so that rounding of its updates does not pile up."""
    for s in range(size):
        atom = chosen[s]
        _project_(gram, atom, chosen, s, inverse, v)
        pivot = gram[atom, atom] + rho[atom]
        for t in range(s):
            pivot -= gram[atom, chosen[t]] * v[t]
        _add_(atom, chosen, s, inverse, v, max(pivot, rho[atom]))


@njit(cache=True)
def _remove_(problem: Any, place: int, held: Any, size: int) -> None:
    """Take the atom at ``place`` out of M^-1; the last one moves there."""
    chosen, _, inverse, v = held
    last = size - 1
    if place != last:
        for t in range(size):
            inverse[place, t], inverse[last, t] = inverse[last, t], inverse[place, t]
        for t in range(size):
            inverse[t, place], inverse[t, last] = inverse[t, last], inverse[t, place]
        chosen[place], chosen[last] = chosen[last], chosen[place]
    if not 0.0 < inverse[last, last] < STEEP:  # what is left would be a difference of such numbers
        _rebuild_(problem[0], problem[1], chosen, last, inverse, v)
        return
    for s in range(last):
        share = inverse[s, last] / inverse[last, last]
        for t in range(last):
            inverse[s, t] -= share * inverse[last, t]


@njit(cache=True)
def _favour_(problem: Any, atom: int, heat: float, held: Any, size: int) -> Any:
    """Return tempered log odds, pivot and mean of an atom outside S, whose projection is left in ``v``."""
    gram, rho, gain, b, precision = problem
    chosen, _, inverse, v = held
    _project_(gram, atom, chosen, size, inverse, v)
    pivot, left = gram[atom, atom] + rho[atom], b[atom]
    for t in range(size):
        pivot -= gram[atom, chosen[t]] * v[t]
        left -= v[t] * b[chosen[t]]
    pivot = max(pivot, rho[atom])
    favour = gain[atom] + 0.5 * (math.log(rho[atom] / pivot) + precision * left * left / pivot) / heat
    return favour, pivot, left / pivot


@njit(cache=True)
def _leave_(problem: Any, state: Any, held: Any, size: int) -> int:
    """Take a random atom out of S; return how many are left."""
    chosen, place = held[0], held[1]
    at = int(uniform_(state) * size)
    gone = chosen[at]
    _remove_(problem, at, held, size)
    place[chosen[at]] = at
    place[gone] = -1
    return size - 1


@njit(cache=True)
def _weigh_(problem: Any, heat: float, held: Any, size: int, weight: Any, mean: Any) -> float:
    """Write how likely each atom is to join S next, up to a factor, and its mean if it does; return the sum."""
    place, top, total = held[1], -np.inf, 0.0
    for atom in range(len(place)):
        weight[atom], mean[atom] = -np.inf, 0.0
        if place[atom] < 0:
            weight[atom], _, mean[atom] = _favour_(problem, atom, heat, held, size)
        top = max(top, weight[atom])
    for atom in range(len(place)):
        weight[atom] = math.exp(weight[atom] - top)
        total += weight[atom]
    return total


@njit(cache=True)
def _join_(problem: Any, state: Any, held: Any, size: int, weight: Any, total: float) -> None:
    """Put an atom into S, drawn by ``weight``, whose sum in this order is ``total``."""
    chosen, place, inverse, v = held
    value, atom, passed = uniform_(state) * total, 0, weight[0]
    while passed <= value:
        atom += 1
        passed += weight[atom]
    pivot = _favour_(problem, atom, 1.0, held, size)[1]
    _add_(atom, chosen, size, inverse, v, pivot)
    place[atom] = size


@njit(cache=True)
def _relocate_(problem: Any, heat: float, state: Any, held: Any, size: int, out: Any) -> None:
    """Take a random atom out of S and put one in, drawn by the posterior given the rest of S."""
    size = _leave_(problem, state, held, size)
    total = _weigh_(problem, heat, held, size, *out)
    _join_(problem, state, held, size, out[0], total)


@njit(cache=True)
def _expect_(problem: Any, held: Any, size: int, drawn: Any, code: Any, active: Any) -> None:
    """Add E[z | x, S] and P(active | x, S), where one atom is still to join S: by ``weight``, of sum ``total``.

    Where i joins, the means on S are M^-1 (b_S - G_Si mean_i): linear in i, so that one product averages them.
    """
    gram, _, _, b, _ = problem
    chosen, place, inverse, left = held
    weight, mean, total = drawn
    for t in range(size):
        left[t] = b[chosen[t]]
    for atom in range(len(place)):
        if place[atom] < 0:
            share = weight[atom] / total
            active[atom] += share
            code[atom] += share * mean[atom]
            for t in range(size):
                left[t] -= share * mean[atom] * gram[atom, chosen[t]]
    for s in range(size):
        active[chosen[s]] += 1.0
        for t in range(size):
            code[chosen[s]] += inverse[s, t] * left[t]


@njit(cache=True)
def _sweep_(problem: Any, heat: float, state: Any, held: Any, size: int, out: Any) -> int:
    """Draw every atom's activity once, given all others; write its probability and mean if active; return |S|."""
    chosen, place, inverse, v = held
    chance, mean = out
    for atom in range(len(place)):
        if place[atom] >= 0:
            at = place[atom]
            _remove_(problem, at, held, size)
            size -= 1
            place[chosen[at]] = at
            place[atom] = -1
        favour, pivot, mean[atom] = _favour_(problem, atom, heat, held, size)
        chance[atom] = 1.0 / (1.0 + math.exp(-min(max(favour, -700.0), 700.0)))
        if uniform_(state) < chance[atom]:
            _add_(atom, chosen, size, inverse, v, pivot)
            place[atom] = size
            size += 1
    return size


@njit(cache=True)
def _exchange_(
    problem: Any, heat: float, state: Any, held: Any, k: int, counts: bool, spare: Any, code: Any, active: Any
) -> None:
    """Let k atoms leave S one after the other, each time putting one in; add what is known of the codes in between."""
    for _ in range(k):
        size = _leave_(problem, state, held, k)
        total = _weigh_(problem, heat, held, size, *spare)
        if counts:
            _expect_(problem, held, size, (*spare, total), code, active)
        _join_(problem, state, held, size, spare[0], total)


@njit(cache=True)
def _begin_(problem: Any, heat: float, state: Any, held: Any, k: int, spare: Any) -> int:
    """Leave k atoms in S, drawn one after the other."""
    for i in range(len(held[1])):
        held[1][i] = -1
    for size in range(k):
        _join_(problem, state, held, size, spare[0], _weigh_(problem, heat, held, size, *spare))
    return k


@njit(cache=True)
def _chains_(bits: Any, problem: Any, plan: Any, code: Any, active: Any) -> None:
    """Write averages of E[z_i | x, other activities] and P(z_i active | x, other activities) over all chains."""
    seed, chains, warm, sweeps, hottest, k = plan
    p = len(problem[3])
    chance, mean, state = np.empty(p), np.empty(p), np.empty(4, np.uint64)
    chosen, place, inverse, v = (
        np.empty(p + 1, np.int64),
        np.empty(p, np.int64),
        np.empty((p + 1, p + 1)),
        np.empty(p + 1),
    )
    held = (chosen, place, inverse, v)
    for i in range(p):
        code[i] = active[i] = 0.0
    for chain in range(chains):
        seed_(bits, seed, chain, state)
        size = _begin_(problem, hottest if warm else 1.0, state, held, k, (chance, mean))
        for sweep in range(warm + sweeps):
            heat = hottest ** (1.0 - (sweep + 1.0) / warm) if sweep < warm else 1.0
            if k > 0:
                _rebuild_(problem[0], problem[1], chosen, size, inverse, v)
                _exchange_(problem, heat, state, held, k, sweep >= warm, (chance, mean), code, active)
                continue
            for _ in range(min(size, RELOCATIONS)):
                _relocate_(problem, heat, state, held, size, (chance, mean))
            _rebuild_(problem[0], problem[1], chosen, size, inverse, v)
            size = _sweep_(problem, heat, state, held, size, (chance, mean))
            if sweep >= warm:
                for i in range(p):
                    code[i] += chance[i] * mean[i]
                    active[i] += chance[i]
    for i in range(p):
        code[i] /= chains * sweeps * max(k, 1)
        active[i] /= chains * sweeps * max(k, 1)


@njit(cache=True, parallel=True)
def _sample_(
    bits: Any, gram: Any, rho: Any, gain: Any, b: Any, precision: Any, plan: Any, codes: Any, active: Any
) -> None:
    for row in prange(len(b)):
        _chains_(bits[row], (gram, rho, gain, b[row], precision[row]), plan, codes[row], active[row])


def sample_supports(
    x: Array,
    b: Array,
    gram: Array,
    prior: tuple[Array, Array],
    precision: Array,
    plan: tuple[int, int, int, int, float, int],
) -> tuple[Array, Array]:
    """Return averages over draws of posterior means and of P(active), each ``(n, p)``.

    Parameters
    ----------
    x : (n, d) rows, of which only the bits are used, to seed.
    b : (n, p) products of rows and atoms, plus rho times the slab's mean.
    gram : (p, p) products of the atoms.
    prior : rho ``(p,)`` and log prior odds ``(p,)``.
    precision : (n,) one over the noise variance.
    plan : seed, chains, sweeps that are not counted, sweeps that are, the temperature of the first, and how many atoms
        are active in every support, 0 for any number.
    """
    codes, active = np.empty(b.shape), np.empty(b.shape)
    seed, *rest = plan
    bits = np.ascontiguousarray(x + 0.0).view(np.uint64)  # -0.0 seeds as 0.0 does
    _sample_(bits, gram, *prior, b, precision, (np.uint64(seed), *rest), codes, active)
    return codes, active
