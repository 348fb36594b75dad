"""What recovery scores reach by chance alone: the floor without which none of them can be read.

At d = 20, m = p = 50 random directions have a mean matched |cos| near 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import final

import numpy as np
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.special import betainc, betaincinv

from sparsesim._arrays import FloatArray, Rng, check_int, check_samples, unit_rows
from sparsesim._identity import Role, stream

_ERROR = 0.002  # standard error aimed at
_WORK = 1e10  # multiply-adds after which fewer repeats are made; a wide problem averages over many pairs by itself


@final
@dataclass(frozen=True)
class ChanceLevel:
    """A chance level with its Monte-Carlo error; ``standard_error`` and ``repeats`` are 0 where it is known exactly."""

    mean: float
    standard_error: float
    repeats: int


def _expected_max(p: int, d: int, share: float = 1.0) -> float:
    """Return E max(0, c_1, ..., c_p) where c_i exceeds t > 0 with probability ``share`` * P(|cos| > t).

    ``int_0^1 [1 - (1 - share * tail(t))^p] dt`` with t = cos(b), tail = BetaCDF((d-1)/2, 1/2)(sin^2 b): smooth
    in the angle b to the pole where it is not in t, and in log1p and expm1, since the tail may be far below 2^-52.
    """
    if d == 1:
        return 1.0 - (1.0 - share) ** p

    def exceeds(b: float) -> float:
        tail = share * float(betainc((d - 1) / 2, 0.5, math.sin(b) ** 2))
        return math.sin(b) * (1.0 if tail >= 1.0 else -math.expm1(p * math.log1p(-tail)))

    # The integrand rises within a narrow range of angles, where p * tail is of order one: tell the quadrature where.
    levels = np.array([1e-6, 1e-3, 0.1, 1.0, 10.0]) / (share * p)
    points = np.arcsin(np.sqrt(betaincinv((d - 1) / 2, 0.5, np.minimum(levels, 0.999))))
    edges = [0.0, *sorted(set(points.tolist())), math.pi / 2]
    pieces = [quad(exceeds, low, high, limit=200, epsabs=1e-13, epsrel=1e-11)[0] for low, high in pairwise(edges)]
    return float(sum(pieces))


def chance_mmcs(m: int, p: int, d: int) -> float:
    """Return the exact chance level of `mmcs`: E max of p independent |cos|, whatever the m true directions are.

    ``int_0^1 [1 - F(t)^p] dt`` with ``F(t) = BetaCDF(1/2, (d-1)/2)(t^2)``, by adaptive quadrature. As a mean of
    identically distributed terms it does not depend on m, nor on the geometry of the truth.

    Raises
    ------
    ValueError
        Unless m, p and d are at least 1.
    """
    for name, value in (("m", m), ("p", p), ("d", d)):
        check_int(name, value, 1)
    return _expected_max(int(p), int(d))


def chance_mcc(m: int, p: int, d: int, signed: bool = False, repeats: int | None = None) -> ChanceLevel:
    """Return the chance level of `mcc` (`mcc_signed` with ``signed``): m true against p learned random directions.

    Directions are independent and uniform on the sphere in R^d, matched one to one and averaged over m as `mcc` does.
    Exact where min(m, p) = 1, or d = 1 and unsigned; else simulated on a stream of its own, the same in every process.

    ``repeats`` is the number of simulated pairs of dictionaries, at least 2; by default enough for a standard error
    below 0.002.

    Raises
    ------
    ValueError
        Unless m, p and d are at least 1 and ``repeats`` at least 2.
    """
    for name, value in (("m", m), ("p", p), ("d", d)):
        check_int(name, value, 1)
    if repeats is not None:
        check_int("repeats", repeats, 2)
    return _chance_mcc(int(m), int(p), int(d), bool(signed), repeats)


@lru_cache(maxsize=4096)
def _chance_mcc(m: int, p: int, d: int, signed: bool, repeats: int | None) -> ChanceLevel:
    if min(m, p) == 1:
        return ChanceLevel(_expected_max(max(m, p), d, 0.5 if signed else 1.0) / m, 0.0, 0)
    if d == 1 and not signed:
        return ChanceLevel(min(m, p) / m, 0.0, 0)
    rng = stream(0, Role.METRIC, m, p, d)
    count = _repeats(m, p, d) if repeats is None else repeats
    return _level([_matched(_directions(m, d, rng), _directions(p, d, rng), signed) / m for _ in range(count)])


def chance_mcc_against(atoms: FloatArray, p: int, signed: bool = False, repeats: int | None = None) -> ChanceLevel:
    """Return the chance level of `mcc` for p random directions against these true ``atoms (m, d)``, simulated.

    `chance_mcc` averages over random true directions, and a truth with structure has another floor: orthonormal
    directions a higher one (0.58 instead of 0.55 at m = p = d = 8), tight clusters a lower one (0.41 instead of 0.52
    for four clusters of eight at d = 16). Where p is several times m the difference is small.

    Raises
    ------
    ValueError
        Unless ``atoms`` has at least one row and one column, p is at least 1 and ``repeats`` at least 2.
    """
    truth, _ = unit_rows(check_samples(atoms, "atoms").astype(np.float64))
    (m, d), p = truth.shape, check_int("p", p, 1)
    count = _repeats(m, p, d) if repeats is None else check_int("repeats", repeats, 2)
    rng = stream(0, Role.METRIC, m, p, d)
    return _level([_matched(truth, _directions(p, d, rng), signed) / m for _ in range(count)])


def _level(scores: list[float]) -> ChanceLevel:
    return ChanceLevel(float(np.mean(scores)), float(np.std(scores, ddof=1) / np.sqrt(len(scores))), len(scores))


def _repeats(m: int, p: int, d: int) -> int:
    """Return how many repeats bring the standard error below 0.002, at least 3 and as many as are cheap up to 32.

    A single |cos| has variance below 0.4/d (1 - 2/pi = 0.363 of it in high dimension), and a matched mean of r pairs
    less than 0.4/(d r), since pairs compete for atoms.
    """
    r = min(m, p)
    least = np.clip(_WORK / (m * p * float(d + r)), 3, 32)
    return int(max(least, np.ceil(0.4 / (d * r * _ERROR**2))))


def _directions(count: int, d: int, rng: Rng) -> FloatArray:
    return unit_rows(rng.standard_normal((count, d)))[0]


def _matched(first: FloatArray, second: FloatArray, signed: bool) -> float:
    similarity = first @ second.T
    similarity = np.maximum(similarity, 0.0, out=similarity) if signed else np.abs(similarity, out=similarity)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return float(similarity[rows, columns].sum())
