"""Message passing for codes of independent entries, one sample per loop step: AMP and vector AMP.

Entries are a spike at zero and a slab, seen through ``r = z + N(0, level)``. `denoise` gives the posterior mean and
variance; with a the location of the slab's posterior over its width, the half-normal and the exponential slab have
posteriors that are normals cut at zero, whose moments need ``phi(a) / Phi(a)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.chains import cut

GAUSSIAN, HALF_NORMAL, EXPONENTIAL = range(3)
LEAST_RATE = 1e-8  # of a learned rate, and of one minus it
WORST = 4.0  # of the energy of a sample: codes that fit worse than their negative have diverged
CLIP = 1e-12  # of the mean sensitivity of a denoiser, and of one minus it
REMEMBERED, MOST_MEMORY = 20, 0.9  # steps to the memory term of a start, which is at most this
DOUBT = 1e-3  # of what is not known of a code without a start: what is at least not known of one with
ROOT_TWO_PI = math.sqrt(2.0 * math.pi)

Array = npt.NDArray[Any]


@njit(cache=True)
def _denoise(kind: int, r: float, level: float, log_odds: float, spread: float, centre: float) -> Any:
    """Return P(active), mean and variance of an entry given r, and mean and variance given that it is active."""
    if kind == EXPONENTIAL:
        size, width = math.sqrt(spread), math.sqrt(level)
        log_tail, mean, variance = cut((r - level / size) / width)
        favour = log_odds + log_tail + math.log(width / size * ROOT_TWO_PI)
        mean, variance = mean * width, variance * level
    else:
        share = spread / (spread + level)
        favour = log_odds + 0.5 * math.log(level / (spread + level))
        if kind == HALF_NORMAL:
            width = math.sqrt(share * level)
            log_tail, mean, variance = cut(r * share / width)
            favour += log_tail + math.log(2.0)
            mean, variance = mean * width, variance * width * width
        else:
            favour += 0.5 * (r * r / level - (r - centre) * (r - centre) / (spread + level))
            mean, variance = centre + share * (r - centre), share * level
    weight = 1.0 / (1.0 + math.exp(-min(max(favour, -700.0), 700.0)))
    silent = 1.0 / (1.0 + math.exp(min(max(favour, -700.0), 700.0)))
    return weight, weight * mean, weight * variance + weight * silent * mean * mean, mean, variance


@njit(cache=True)
def _estimate_(prior: Any, r: Any, level: float, mean: Any, totals: Any) -> None:
    """Write posterior means, and in ``totals`` the sums of variances, activities and slab moments, to learn from."""
    kind, log_odds, spread, centre = prior
    for i in range(4):
        totals[i] = 0.0
    for i in range(len(r)):
        weight, mean[i], variance, own, width = _denoise(kind, r[i], level, log_odds[i], spread[i], centre)
        totals[0] += variance
        totals[1] += weight
        if kind == EXPONENTIAL:
            totals[2] += weight * own
        elif kind == HALF_NORMAL:
            totals[2] += weight * (own * own + width)
        else:
            totals[2] += weight * ((own - centre) ** 2 + width)


@njit(cache=True)
def _relearn_(prior: Any, totals: Any) -> None:
    """Replace the common rate and spread by those that the last estimates ask for."""
    kind, log_odds, spread, _ = prior
    rate = min(max(totals[1] / len(log_odds), LEAST_RATE), 1.0 - LEAST_RATE)
    size = totals[2] / max(totals[1], 1e-290)
    size = max(size * size if kind == EXPONENTIAL else size, 1e-200)
    for i in range(len(log_odds)):
        log_odds[i] = math.log(rate / (1.0 - rate))
        spread[i] = size


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
def _remember_(prior: Any, atoms: Any, now: Any, z: Any, least: float, work: Any) -> float:
    """Scale the residual ``z`` of a start to what it is with memory at a fixed point; return the effective noise.

    There z = (x - now A) / (1 - memory), where memory = sum of variances / (d noise) at z.
    """
    r, fresh, totals = work
    scale, base, d = 1.0, _dot(z, z) / len(z), len(z)
    level = max(base, least)
    for i in range(len(now)):
        r[i] = _dot(atoms[i], z)
    shift = r.copy()
    for _ in range(REMEMBERED):
        for i in range(len(now)):
            r[i] = now[i] + scale * shift[i]
        _estimate_(prior, r, level, fresh, totals)
        scale = 1.0 / (1.0 - min(totals[0] / (level * d), MOST_MEMORY))
        level = max(scale * scale * base, least)
    for t in range(d):
        z[t] *= scale
    return level


@njit(cache=True)
def _amp_(x: Any, atoms: Any, prior: Any, rule: Any, code: Any, record: Any) -> None:
    """Replace ``code``, where to start, by what is found.

    ``record`` becomes its effective noise, the steps, whether it settled, whether it diverged. A start says nothing of
    its own error, which is taken to be what it leaves of x: a code that fits x exactly need not be right.
    """
    learn, damping, tolerance, steps = rule
    p, d = atoms.shape
    now, r, fresh, image, totals = code.copy(), np.empty(p), np.empty(p), np.empty(d), np.empty(4)
    z, energy = x.copy(), _dot(x, x)
    first, best = energy / d, np.inf
    _image_(now, atoms, image)
    _add_(z, -1.0, image)
    level = _dot(z, z) / d
    if level > first:
        level = first
        for i in range(p):
            now[i] = 0.0
        for t in range(d):
            z[t] = x[t]
    elif level < first:
        level = _remember_(prior, atoms, now, z, DOUBT * first, (r, fresh, totals))
    for i in range(p):
        code[i] = 0.0
    record[0], record[1], record[2], record[3] = level, 0, 1.0 if energy == 0 else 0.0, 0
    if energy == 0:
        return
    for step in range(steps):
        for i in range(p):
            r[i] = now[i] + _dot(atoms[i], z)
        _estimate_(prior, r, level, fresh, totals)
        change, size = 0.0, 0.0
        for i in range(p):
            target = now[i] + damping * (fresh[i] - now[i])
            change, size = change + (target - now[i]) ** 2, size + target**2
            now[i] = target
        _image_(now, atoms, image)
        memory = totals[0] / (level * d)
        for t in range(d):
            z[t] += damping * (x[t] - image[t] + memory * z[t] - z[t])
        level = _dot(z, z) / d
        record[1] = step + 1
        if not (level < 1e4 * first and size < np.inf):
            record[3] = 1
            return
        level = max(level, 1e-28 * first)
        if level < best:
            best = record[0] = level
            for i in range(p):
                code[i] = now[i]
        if change <= tolerance**2 * size:
            for i in range(p):
                code[i] = now[i]
            record[0], record[2] = level, 1
            return
        if learn:
            _relearn_(prior, totals)
    record[0] = level
    for i in range(p):
        code[i] = now[i]


@njit(cache=True)
def _linear_(target: Any, frame: Any, r: Any, precision: float, noise: float, mean: Any, spare: Any) -> Any:
    """Write E[z] for z ~ N(r, 1/precision) seen through the singular frame; return the mean of Var[z] * precision.

    ``frame`` is right vectors (q, p) of the code space and singular values; ``spare`` becomes the coordinates of z.
    """
    vectors, values = frame
    total = float(len(r) - len(values))
    for i in range(len(r)):
        mean[i] = r[i]
    for j in range(len(values)):
        own = _dot(vectors[j], r)
        gain = values[j] / (values[j] ** 2 + noise * precision)
        change = gain * (target[j] - values[j] * own)
        spare[j] = own + change
        _add_(mean, change, vectors[j])
        total += noise * precision / (values[j] ** 2 + noise * precision)
    return total / len(r)


@njit(cache=True)
def _misfit(target: Any, frame: Any, code: Any) -> float:
    """Return the squared error of a code's image in the left singular frame."""
    vectors, values = frame
    total = 0.0
    for j in range(len(values)):
        total += (target[j] - values[j] * _dot(vectors[j], code)) ** 2
    return total


@njit(cache=True)
def _resume_(target: Any, frame: Any, code: Any, prior: Any, noise: float, precision: float, messages: Any) -> float:
    """Write the message r2 whose linear estimate is ``code``, and return its precision at a fixed point.

    There ``r2 = code - A (x - code A) / (noise precision)``, and the precision is what the denoiser passes on from it.
    Where that is further from the code than messages of this precision are, the start is not near a fixed point: it is
    the message itself, in the ``precision`` given.
    """
    (vectors, values), (r2, r1, fresh), most = frame, messages, precision
    shift, totals, p = np.zeros(len(code)), np.empty(4), len(code)
    for j in range(len(values)):
        _add_(shift, values[j] * (target[j] - values[j] * _dot(vectors[j], code)), vectors[j])
    for _ in range(REMEMBERED):
        share = float(p - len(values))
        for j in range(len(values)):
            share += noise * precision / (values[j] ** 2 + noise * precision)
        share = min(max(share / p, CLIP), 1.0 - CLIP)
        level = share / ((1.0 - share) * precision)
        for i in range(p):
            r2[i] = code[i] - shift[i] / (noise * precision)
            r1[i] = (code[i] - share * r2[i]) / (1.0 - share)
        _estimate_(prior, r1, level, fresh, totals)
        share = min(max(totals[0] / (level * p), CLIP), 1.0 - CLIP)
        precision = min((1.0 - share) / (share * level), most)
    if _dot(shift, shift) > p * precision * noise**2:
        precision, shift = most, 0.0 * shift
    for i in range(p):
        r2[i] = code[i] - shift[i] / (noise * precision)
    return precision


@njit(cache=True)
def _vamp_(x: Any, target: Any, frame: Any, noise: float, prior: Any, start: Any, rule: Any, out: Any) -> None:
    """Replace the code, where to start, by what is found, and record how that ended.

    The record is the effective noise, the steps, whether it settled, whether it diverged. A start's own error is taken
    to be what its misfit tells of it.
    """
    code, record = out
    learn, measure, damping, tolerance, steps = rule
    values = frame[1]
    p, d, q = len(code), len(x), len(values)
    r2, r1, mean, fresh = np.full(p, start[0]), np.empty(p), np.empty(p), np.empty(p)
    spare, totals, precision, energy = np.empty(q), np.empty(4), 1.0 / start[1], _dot(x, x)
    outside = max(energy - _dot(target, target), 0.0)
    if _dot(code, code) > 0:
        error = (outside + _misfit(target, frame, code) - d * noise) / _dot(values, values)
        if error < start[1]:
            precision = _resume_(target, frame, code, prior, noise, 1.0 / max(error, DOUBT * start[1]), (r2, r1, fresh))
    for i in range(p):
        code[i] = 0.0
    record[0], record[1], record[2], record[3] = 0.0, 0, 1.0 if energy == 0 else 0.0, 0
    if energy == 0:
        return
    for step in range(steps):
        share = min(max(_linear_(target, frame, r2, precision, noise, mean, spare), CLIP), 1.0 - CLIP)
        if measure:
            error, spread = outside, 0.0
            for j in range(q):
                error += (target[j] - values[j] * spare[j]) ** 2
                spread += noise * values[j] ** 2 / (values[j] ** 2 + noise * precision)
            noise = max((error + spread) / d, 1e-12 * energy / d)
        level = share / ((1.0 - share) * precision)
        for i in range(p):
            r1[i] = (mean[i] - share * r2[i]) / (1.0 - share)
        _estimate_(prior, r1, level, fresh, totals)
        share = min(max(totals[0] / (level * p), CLIP), 1.0 - CLIP)
        wanted = (1.0 - share) / (share * level)
        precision = math.exp((1.0 - damping) * math.log(precision) + damping * math.log(wanted)) if step else wanted
        change, size = 0.0, 0.0
        for i in range(p):
            change, size = change + (fresh[i] - code[i]) ** 2, size + fresh[i] ** 2
            extrinsic = (fresh[i] - share * r1[i]) / (1.0 - share)
            r2[i] = r2[i] + damping * (extrinsic - r2[i]) if step else extrinsic
        record[1] = step + 1
        if not (_misfit(target, frame, fresh) < WORST * energy and size < 1e200 and 1e-200 < precision < 1e200):
            record[3] = 1
            return
        for i in range(p):
            code[i] = fresh[i]
        record[0] = level
        if change <= tolerance**2 * size:
            record[2] = 1
            return
        if learn:
            _relearn_(prior, totals)


@njit(cache=True, parallel=True)
def _amp_all_(
    x: Any, atoms: Any, kind: int, odds: Any, spread: Any, centre: Any, rule: Any, codes: Any, record: Any
) -> None:
    for row in prange(len(x)):
        _amp_(x[row], atoms, (kind, odds[row], spread[row], centre[row]), rule, codes[row], record[row])


@njit(cache=True, parallel=True)
def _vamp_all_(
    x: Any, target: Any, frame: Any, noise: Any, kind: int, prior: Any, start: Any, rule: Any, codes: Any, record: Any
) -> None:
    odds, spread, centre = prior
    for row in prange(len(x)):
        own = (kind, odds[row], spread[row], centre[row])
        _vamp_(x[row], target[row], frame, noise[row], own, start[row], rule, (codes[row], record[row]))


def pass_messages(
    x: Array, atoms: Array, prior: tuple[int, Array, Array, Array], begin: Array, rule: tuple[bool, float, float, int]
) -> tuple[Array, Array]:
    """Return codes ``(n, p)`` by approximate message passing, and effective noise, steps, settled, diverged ``(n, 4)``.

    ``prior`` is the kind of slab, and for each row the log odds ``(n, p)`` and spreads ``(n, p)`` of the entries, which
    are overwritten where they are learned, and the centre ``(n,)`` of the slab; ``begin (n, p)`` codes to start from,
    zero for none; ``rule`` whether to learn, the damping, the tolerance and the most steps.
    """
    codes, record = begin.copy(), np.empty((len(x), 4))
    _amp_all_(x, np.require(atoms, requirements="W"), *prior, rule, codes, record)
    return codes, record


def pass_vector_messages(
    x: Array,
    target: Array,
    frame: tuple[Array, Array],
    noise: Array,
    prior: tuple[int, Array, Array, Array],
    start: Array,
    begin: Array,
    rule: tuple[bool, bool, float, float, int],
) -> tuple[Array, Array]:
    """Return codes ``(n, p)`` by vector AMP, and effective noise, steps, settled, diverged ``(n, 4)``.

    ``target (n, q)`` are the rows in the left singular frame of the atoms, ``frame`` the vectors ``(q, p)`` of the code
    space and the singular values, ``start (n, 2)`` prior mean and variance of an entry; ``prior`` and ``begin`` as in
    `pass_messages` and ``rule``, too, with whether to learn the noise in second place.
    """
    codes, record = begin.copy(), np.empty((len(x), 4))
    _vamp_all_(x, target, frame, noise, prior[0], prior[1:], start, rule, codes, record)
    return codes, record
