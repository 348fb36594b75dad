"""Sparse Bayesian learning, one sample per loop step: expectation maximisation over a variance for every atom.

With gamma the variances of the active atoms S, s the noise variance and C = s I + A_S' diag(gamma) A_S, the posterior
of a code has mean ``gamma_i a_i C^-1 x`` and variance ``gamma_i keep_i``, ``keep_i = 1 - gamma_i a_i C^-1 a_i``. While
S is larger than d this is computed from C (d, d); afterwards from B = s I + diag(r) G_SS diag(r), r = sqrt(gamma), of
which ``keep = s diag(B^-1)`` has no cancellation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

FREE, ALTERNATING, SINGULAR = range(3)  # how variances follow from second moments
HALF_STEPS = 8  # of the alternating update, rows and columns in turn
POWER_STEPS = 40  # of the leading singular pair; a positive matrix has a gap
LEAST_NOISE = 1e-10  # a learned noise variance stays above this fraction of the mean square of the sample
TINY = 1e-280
FRESH = 1e-3  # of the variance of a cold start: what atoms without a code begin with beside others that have one

Array = npt.NDArray[Any]


@njit(cache=True, fastmath={"contract", "reassoc"})
def _dot(a: Any, b: Any, size: int) -> float:
    total = 0.0
    for column in range(size):
        total += a[column] * b[column]
    return total


@njit(cache=True, fastmath={"contract"})
def _add_(out: Any, weight: float, row: Any, size: int) -> None:
    for column in range(size):
        out[column] += weight * row[column]


@njit(cache=True)
def _factor_(matrix: Any, size: int, least: float) -> float:
    """Replace the lower triangle by its Cholesky factor and return the log determinant; no pivot is below ``least``."""
    total = 0.0
    for i in range(size):
        for j in range(i):
            matrix[i, j] = (matrix[i, j] - _dot(matrix[i], matrix[j], j)) / matrix[j, j]
        pivot = max(matrix[i, i] - _dot(matrix[i], matrix[i], i), least)
        matrix[i, i] = math.sqrt(pivot)
        total += math.log(pivot)
    return total


@njit(cache=True)
def _forward_(factor: Any, size: int, out: Any) -> None:
    for i in range(size):
        out[i] = (out[i] - _dot(factor[i], out, i)) / factor[i, i]


@njit(cache=True)
def _from_samples_(problem: Any, active: Any, gamma: Any, noise: float, work: Any, out: Any) -> float:
    """Write posterior means and ``keep`` of the active atoms by way of C (d, d); return -ln p(x)."""
    x, _, atoms, _ = problem
    matrix, spare, image = work
    mean, keep = out
    d = len(x)
    for i in range(d):
        for j in range(i):
            matrix[i, j] = 0.0
        matrix[i, i] = noise
    for i in range(len(active)):
        row, weight = atoms[active[i]], gamma[active[i]]
        for t in range(d):
            _add_(matrix[t], weight * row[t], row, t + 1)
    total = _factor_(matrix, d, noise)
    for t in range(d):
        image[t] = x[t]
    _forward_(matrix, d, image)
    for i in range(len(active)):
        row = atoms[active[i]]
        for t in range(d):
            spare[t] = row[t]
        _forward_(matrix, d, spare)
        weight = gamma[active[i]]
        mean[i] = weight * _dot(spare, image, d)
        keep[i] = min(max(1.0 - weight * _dot(spare, spare, d), 0.0), 1.0)
    return 0.5 * (total + _dot(image, image, d) + d * math.log(2.0 * math.pi))


@njit(cache=True)
def _from_atoms_(problem: Any, active: Any, gamma: Any, noise: float, work: Any, out: Any) -> float:
    """Write posterior means and ``keep`` of the active atoms by way of B (q, q); return -ln p(x)."""
    x, b, atoms, gram = problem
    matrix, spare, image = work
    mean, keep = out
    q, d = len(active), len(x)
    for i in range(q):
        own = math.sqrt(gamma[active[i]])
        for j in range(i + 1):
            inner = gram[active[i], active[j]] if len(gram) else _dot(atoms[active[i]], atoms[active[j]], d)
            matrix[i, j] = own * math.sqrt(gamma[active[j]]) * inner
        matrix[i, i] += noise
        image[i] = own * b[active[i]]
    total = _factor_(matrix, q, noise) + (d - q) * math.log(noise)
    _forward_(matrix, q, image)
    for i in range(q):
        mean[i] = keep[i] = 0.0
    for i in range(q):  # row i of L^-1, into spare
        _invert_row_(matrix, i, spare)
        for j in range(i + 1):
            mean[j] += spare[j] * image[i]
            keep[j] += spare[j] ** 2
    for i in range(q):
        mean[i] *= math.sqrt(gamma[active[i]])
        keep[i] = min(noise * keep[i], 1.0)
    left = (_dot(x, x, d) - _dot(image, image, q)) / noise
    return 0.5 * (total + max(left, 0.0) + d * math.log(2.0 * math.pi))


@njit(cache=True)
def _moments_(problem: Any, active: Any, gamma: Any, noise: float, work: Any, out: Any) -> float:
    """Write posterior means and ``keep`` of the active atoms by the smaller system; return -ln p(x)."""
    if len(active) > len(problem[0]):
        return float(_from_samples_(problem, active, gamma, noise, work, out))
    return float(_from_atoms_(problem, active, gamma, noise, work, out))


@njit(cache=True)
def _invert_row_(factor: Any, i: int, out: Any) -> None:
    """Write row i of the inverse of a lower triangle: the solution of ``out @ L = e_i``."""
    out[i] = 1.0 / factor[i, i]
    for j in range(i - 1, -1, -1):
        total = 0.0
        for t in range(j + 1, i + 1):
            total += out[t] * factor[t, j]
        out[j] = -total / factor[j, j]


@njit(cache=True)
def _largest(values: Any) -> float:
    best = 0.0
    for i in range(len(values)):
        best = max(best, values[i])
    return best


@njit(cache=True)
def _scale_(values: Any, factor: float) -> None:
    for i in range(len(values)):
        values[i] *= factor


@njit(cache=True)
def alternate_(second: Any, rows: Any, columns: Any, steps: int) -> None:
    """Lower ``sum log(r_i c_j) + T_ij / (r_i c_j)`` over the positive ``rows``, then ``columns``, in turn.

    Zero entries stay zero and take no part.
    """
    for _ in range(steps):
        for i in range(len(rows)):
            total, count = 0.0, 0
            for j in range(len(columns)):
                if rows[i] > 0 and columns[j] > 0:
                    total, count = total + second[i, j] / columns[j], count + 1
            if count:
                rows[i] = max(total / count, TINY)
        for j in range(len(columns)):
            total, count = 0.0, 0
            for i in range(len(rows)):
                if rows[i] > 0 and columns[j] > 0:
                    total, count = total + second[i, j] / rows[i], count + 1
            if count:
                columns[j] = max(total / count, TINY)
    scale = math.sqrt(_largest(columns) / _largest(rows))
    _scale_(rows, scale)
    _scale_(columns, 1.0 / scale)


@njit(cache=True)
def leading_pair_(second: Any, rows: Any, columns: Any) -> None:
    """Write the leading singular pair of a non-negative matrix, each times the root of its singular value."""
    size = 0.0
    for j in range(len(columns)):
        columns[j] = 1.0 if columns[j] > 0 else 0.0
    for _ in range(POWER_STEPS):
        for i in range(len(rows)):
            rows[i] = _dot(second[i], columns, len(columns))
        _scale_(rows, 1.0 / max(math.sqrt(_dot(rows, rows, len(rows))), TINY))
        _scale_(columns, 0.0)
        for i in range(len(rows)):
            _add_(columns, rows[i], second[i], len(columns))
        size = math.sqrt(_dot(columns, columns, len(columns)))
        _scale_(columns, 1.0 / max(size, TINY))
    _scale_(rows, math.sqrt(size))
    _scale_(columns, math.sqrt(size))


@njit(cache=True)
def _prune_(moments: Any, active: Any, old: Any, gamma: Any, floor: float) -> None:
    """Set those of the variances below ``floor`` of the largest to zero for which zero is likelier given the others.

    With S = a C^-1 a and Q = a C^-1 x at the ``old`` variances, that is where Q^2 <= S (1 - old S).
    """
    mean, keep = moments
    least = floor * _largest(gamma)
    for i in range(len(active)):
        if gamma[active[i]] < least and mean[i] ** 2 <= old[active[i]] * keep[i] * (1.0 - keep[i]):
            gamma[active[i]] = 0.0


@njit(cache=True)
def _update_(form: int, moments: Any, active: Any, old: Any, gamma: Any, factors: Any, floor: float) -> None:
    """Write the variances ``gamma`` that the second moments at the ``old`` ones ask for, cut at ``floor``."""
    mean, keep = moments
    if form == FREE:
        for i in range(len(active)):
            gamma[active[i]] = mean[i] ** 2 + old[active[i]] * keep[i]
        _prune_(moments, active, old, gamma, floor)
        return
    rows, columns = factors
    width = len(columns)
    second = np.zeros((len(rows), width))
    for i in range(len(active)):
        second[active[i] // width, active[i] % width] = mean[i] ** 2 + old[active[i]] * keep[i]
    if form == ALTERNATING:
        alternate_(second, rows, columns, HALF_STEPS)
    else:
        leading_pair_(second, rows, columns)
    for factor in factors:
        least = floor * _largest(factor)
        for i in range(len(factor)):
            if factor[i] < least:
                factor[i] = 0.0
    for i in range(len(gamma)):
        gamma[i] = rows[i // width] * columns[i % width]


@njit(cache=True)
def _noise(problem: Any, active: Any, moments: Any, noise: float, residual: Any) -> float:
    x, _, atoms, _ = problem
    mean, keep = moments
    d, total = len(x), 0.0
    for t in range(d):
        residual[t] = x[t]
    for i in range(len(active)):
        _add_(residual, -mean[i], atoms[active[i]], d)
        total += 1.0 - keep[i]
    least = LEAST_NOISE * _dot(x, x, d) / d
    return max((_dot(residual, residual, d) + noise * total) / d, least)


@njit(cache=True)
def _start_(form: int, atoms: Any, energy: float, gamma: Any) -> float:
    """Write equal variances that explain ``energy``; where each atom has its own, a zero atom gets none."""
    p, d = atoms.shape
    live = 0
    for i in range(p):
        gamma[i] = 1.0 if _dot(atoms[i], atoms[i], d) > 0 else 0.0
        live += int(gamma[i])
    for i in range(p):
        gamma[i] = energy / max(live, 1) if form != FREE or gamma[i] > 0 else 0.0
    return energy / max(live, 1)


@njit(cache=True)
def _warm_(begin: Any, row: int, gamma: Any) -> None:
    """Add the squares of a row's codes to ``FRESH`` of the variances of a cold start; a zero atom keeps none."""
    limits, places, values = begin
    _scale_(gamma, FRESH)
    for t in range(limits[row], limits[row + 1]):
        if gamma[places[t]] > 0:
            gamma[places[t]] += values[t] ** 2


@njit(cache=True)
def _divide_(form: int, gamma: Any, factors: Any) -> None:
    """Write the factors of a product near the variances ``gamma``, and that product in their place."""
    rows, columns = factors
    width = len(columns)
    second = gamma.copy().reshape(len(rows), width)
    if form == ALTERNATING:
        alternate_(second, rows, columns, HALF_STEPS)
    else:
        leading_pair_(second, rows, columns)
    for i in range(len(gamma)):
        gamma[i] = rows[i // width] * columns[i % width]


@njit(cache=True)
def _settle_(gamma: Any, fresh: Any, active: Any) -> Any:
    """Replace the variances by ``fresh`` ones, list the positive ones; return how many, change and largest."""
    count, change, largest = 0, 0.0, 0.0
    for i in range(len(gamma)):
        change, largest = max(change, abs(fresh[i] - gamma[i])), max(largest, fresh[i])
        gamma[i] = fresh[i]
        if gamma[i] > 0:
            active[count] = i
            count += 1
    return count, change, largest


@njit(cache=True)
def _learn_(row: Any, whole: Any, begin: Any, rule: Any, stop: Any, codes: Any, record: Any) -> None:
    """Write the posterior mean under learned variances into a row of ``codes``, and -ln p, noise, steps, settled."""
    form, height, learn, floor = rule
    x, b, atoms, gram, levels = whole
    p, d = atoms.shape
    problem, noise, energy = (x[row], b[row], atoms, gram), levels[row], _dot(x[row], x[row], d)
    for i in range(p):
        codes[row, i] = 0.0
    for i in range(4):
        record[row, i] = 1.0 if i == 3 else 0.0
    if energy == 0:
        return
    gamma, fresh, size = np.empty(p), np.zeros(p), min(p, d)
    start = math.sqrt(_start_(form, atoms, energy, fresh))
    factors = (np.full(height, start), np.full(p // height, start))
    work = (np.empty((max(d, size), max(d, size))), np.empty(max(d, size)), np.empty(max(d, size)))
    moments, chosen = (np.empty(p), np.empty(p)), np.empty(p, np.int64)
    count = _settle_(gamma, fresh, chosen)[0]
    if begin[0][row] < begin[0][row + 1]:
        cost = _moments_(problem, chosen[:count], gamma, noise, work, moments)
        _warm_(begin, row, fresh)
        if form != FREE:
            _divide_(form, fresh, factors)
        count = _settle_(gamma, fresh, chosen)[0]
        if _moments_(problem, chosen[:count], gamma, noise, work, moments) > cost:
            _start_(form, atoms, energy, fresh)
            factors[0][:], factors[1][:] = start, start
            count = _settle_(gamma, fresh, chosen)[0]
    step, settled = 0, False
    while True:
        active = chosen[:count]
        cost = _moments_(problem, active, gamma, noise, work, moments)
        if settled or step == stop[1]:
            break
        _update_(form, moments, active, gamma, fresh, factors, floor)
        old, step = noise, step + 1
        if learn:
            noise = _noise(problem, active, moments, noise, work[1])
        count, change, largest = _settle_(gamma, fresh, chosen)
        settled = change <= stop[0] * largest and abs(noise - old) <= stop[0] * old
    for i in range(count):
        codes[row, chosen[i]] = moments[0][i]
    record[row, 0], record[row, 1], record[row, 2], record[row, 3] = cost, noise, step, 1.0 if settled else 0.0


@njit(cache=True, parallel=True)
def _learn_all_(n: int, whole: Any, begin: Any, rule: Any, stop: Any, codes: Any, record: Any) -> None:
    for row in prange(n):
        _learn_(np.int64(row), whole, begin, rule, stop, codes, record)


def learn_variances(
    x: Array,
    b: Array,
    dictionary: tuple[Array, Array, Array],
    noise: Array,
    begin: tuple[Array, Array, Array],
    rule: tuple[int, int, bool, float],
    stop: tuple[float, int],
) -> tuple[Array, Array]:
    """Return codes ``(n, p)`` and ``(n, 4)``: -ln p(x), the noise variance, the steps taken, and 1 where they settled.

    Parameters
    ----------
    x, b : (n, d) rows, not zero where it matters, and (n, p) their products with the atoms.
    dictionary : atoms (p, d), their transpose and Gram matrix, which may be empty.
    noise : (n,) noise variances, to start with or given.
    begin : each row's codes to start from (limits, atoms, codes), none for equal variances.
    rule : the form (`FREE`, `ALTERNATING`, `SINGULAR`), how many rows the p variances have as a matrix, whether the
        noise is learned, and the fraction of the largest variance below which one is cut.
    stop : relative change that ends a row, and steps at most.
    """
    codes, record = np.empty(b.shape), np.empty((len(x), 4))
    atoms = np.require(dictionary[0], requirements="W")  # read-only arrays would compile anew
    _learn_all_(len(x), (x, b, atoms, dictionary[2], noise), begin, rule, stop, codes, record)
    return codes, record
