"""Finite designs behind exact frames: Hadamard and conference matrices, triple systems, Kerdock forms, Golay octads."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

Signs = npt.NDArray[np.int64]  # entries -1, 0, 1
Sets = tuple[tuple[int, ...], ...]


def prime_power(q: int) -> tuple[int, int] | None:
    """Return ``(p, e)`` with q = p^e and p prime; None where q is no prime power."""
    if q < 2:
        return None
    p = next((p for p in range(2, math.isqrt(q) + 1) if q % p == 0), q)
    e = 0
    while q % p == 0:
        q, e = q // p, e + 1
    return (p, e) if q == 1 else None


def field_powers(p: int, e: int) -> npt.NDArray[np.int64]:
    """Return 1, g, g^2, ..., g^(q-2), all non-zero elements of GF(q), q = p^e, as digits ``(q-1, e)`` base p.

    g is a root of the first monic polynomial of degree e over GF(p) under which its powers do not repeat early.
    """
    one = (1,) + (0,) * (e - 1)
    for tail in product(range(p), repeat=e):  # g^e = tail . (1, g, ..., g^(e-1))
        powers, element = [one], _times_g(one, tail, p)
        while element != one and any(element) and len(powers) < p**e:
            powers.append(element)
            element = _times_g(element, tail, p)
        if element == one and len(powers) == p**e - 1:
            return np.array(powers, dtype=np.int64)
    raise ArithmeticError(f"no primitive polynomial of degree {e} over GF({p}); is {p} prime?")


def _times_g(element: tuple[int, ...], tail: tuple[int, ...], p: int) -> tuple[int, ...]:
    shifted = (0, *element[:-1])
    return tuple((low + element[-1] * c) % p for low, c in zip(shifted, tail, strict=True))


def quadratic_residues(q: int) -> Signs:
    """Return the Jacobsthal matrix ``(q, q)``: entry (a, b) is 1 where a - b is a non-zero square of GF(q), else -1.

    The diagonal is 0. It is symmetric for q = 1 (mod 4), skew for q = 3 (mod 4), and Q Q^T = q I - J.
    """
    field = prime_power(q)
    if field is None or field[0] == 2:
        raise ValueError(f"q must be a power of an odd prime; got {q}.")
    p, e = field
    place = p ** np.arange(e)
    character = np.zeros(q, dtype=np.int64)
    character[field_powers(p, e) @ place] = np.where(np.arange(q - 1) % 2 == 0, 1, -1)  # even powers are the squares
    digits = np.arange(q)[:, None] // place % p
    found = np.empty((q, q), dtype=np.int64)
    for row, element in enumerate(digits):
        found[row] = character[(element - digits) % p @ place]
    return found


def has_conference(order: int) -> bool:
    """Return whether `conference` makes a symmetric conference matrix: order - 1 = 1 (mod 4) is a prime power."""
    return order % 4 == 2 and prime_power(order - 1) is not None


def conference(order: int) -> Signs:
    """Return a symmetric C with zero diagonal, entries +-1 elsewhere and C^2 = (order - 1) I (Paley 1933)."""
    if not has_conference(order):
        raise ValueError(f"order - 1 must be a prime power = 1 (mod 4); got order={order}.")
    found = np.ones((order, order), dtype=np.int64)
    found[0, 0] = 0
    found[1:, 1:] = quadratic_residues(order - 1)
    return found


def has_hadamard(order: int) -> bool:
    """Return whether `hadamard` makes this order, from the orders 1 and 2, doubling and Paley's two constructions."""
    if order in (1, 2):
        return True
    if order < 4 or order % 4:
        return False
    return has_hadamard(order // 2) or prime_power(order - 1) is not None or has_conference(order // 2)


def hadamard(order: int) -> Signs:
    """Return H with entries +-1 and H H^T = order I (Sylvester 1867; Paley 1933, both types).

    Raises
    ------
    ValueError
        For an order that these constructions do not reach, such as 92 (`has_hadamard`).
    """
    if not has_hadamard(order):
        raise ValueError(f"no Hadamard matrix of order {order} comes from doubling and Paley's constructions.")
    if order == 1:
        return np.ones((1, 1), dtype=np.int64)
    twice = np.array([[1, 1], [1, -1]])
    if has_hadamard(order // 2):
        return np.asarray(np.kron(twice, hadamard(order // 2)))
    if prime_power(order - 1) is not None:
        skew = np.ones((order, order), dtype=np.int64)
        skew[1:, 0] = -1
        skew[1:, 1:] = quadratic_residues(order - 1) + np.eye(order - 1, dtype=np.int64)
        return skew
    half = order // 2
    return np.asarray(np.kron(conference(half), twice) + np.kron(np.eye(half, dtype=np.int64), [[1, -1], [-1, -1]]))


def pairs(points: int) -> Sets:
    """Return all pairs of ``points``: the Steiner system S(2, 2, points)."""
    return tuple(combinations(range(points), 2))


def triples(points: int) -> Sets:
    """Return a Steiner triple system: every pair of points lies in exactly one triple.

    Bose's construction for points = 3 (mod 6), Skolem's for points = 1 (mod 6).

    Raises
    ------
    ValueError
        For another number of points, for which there is none.
    """
    if points < 3 or points % 6 not in (1, 3):
        raise ValueError(f"a triple system needs points = 1 or 3 (mod 6); got {points}.")
    t, bose = points // 6, points % 6 == 3
    n = 2 * t + 1 if bose else 2 * t
    # A commutative quasigroup on n elements: idempotent for Bose, x*x = x and (t+x)*(t+x) = x for x < t for Skolem.
    middle = [z * (t + 1) % n if bose else z // 2 + t * (z % 2) for z in range(n)]
    found = [(x, n + x, 2 * n + x) for x in range(n if bose else t)]
    if not bose:
        found += [(3 * n, k * n + t + x, (k + 1) % 3 * n + x) for x in range(t) for k in range(3)]
    for x, y in combinations(range(n), 2):
        found += [(k * n + x, k * n + y, (k + 1) % 3 * n + middle[(x + y) % n]) for k in range(3)]
    return tuple(found)


def latin_square_graph(order: int) -> Signs:
    """Return ``(order^2, order^2)`` signs, -1 where two cells of the cyclic square share row, column or symbol.

    The diagonal is 1. For order 6 it is a symmetric Hadamard matrix.
    """
    row, column = np.divmod(np.arange(order**2), order)
    same = [mark[:, None] == mark for mark in (row, column, (row + column) % order)]
    signs = np.where(np.logical_or.reduce(same), -1, 1)
    np.fill_diagonal(signs, 1)
    return signs


def octads() -> npt.NDArray[np.int64]:
    """Return the 759 words ``(759, 24)`` of weight 8 of the extended binary Golay code, the blocks of S(5, 8, 24)."""
    generator = np.zeros(23, dtype=np.int64)
    generator[[0, 2, 4, 5, 6, 10, 11]] = 1  # 1 + x^2 + x^4 + x^5 + x^6 + x^10 + x^11 divides x^23 - 1 over GF(2)
    basis = np.stack([np.roll(generator, shift) for shift in range(12)])
    choices = np.arange(2**12)[:, None] >> np.arange(12) & 1
    words = choices @ basis % 2
    words = np.concatenate([words, words.sum(axis=1, keepdims=True) % 2], axis=1)
    return np.asarray(words[words.sum(axis=1) == 8])


def kerdock_signs(dim: int, count: int) -> Signs:
    """Return ``(count, dim)`` signs (-1)^Q_a, dim = 4^r, such that Q_a - Q_b has full rank for a != b.

    ``Q_a(x, e) = Tr(sum_{l=1}^{(n-1)/2} (a x)^(2^l + 1)) + e Tr(a x)`` on GF(2^n) + GF(2), 2^(n+1) = dim; the first
    form, a = 0, is zero. Times the Walsh characters they are mutually unbiased bases.

    References
    ----------
    Kerdock (1972); Calderbank, Cameron, Kantor and Seidel (1997), "Z4-Kerdock codes, orthogonal spreads, and extremal
    Euclidean line-sets".
    """
    n = dim.bit_length() - 2
    if dim < 4 or dim != 2 ** (n + 1) or n % 2 == 0:
        raise ValueError(f"dim must be a power of 4; got {dim}.")
    if not 1 <= count <= dim // 2:
        raise ValueError(f"count must lie in [1, dim/2={dim // 2}]; got {count}.")
    powers, order = field_powers(2, n), 2**n - 1
    step = np.arange(order)
    trace = sum(powers[step * 2**i % order] for i in range(n))[:, 0] % 2  # lies in GF(2): the other digits are even
    form = np.zeros(order, dtype=np.int64)
    for level in range(1, (n - 1) // 2 + 1):
        form += trace[step * (2**level + 1) % order]
    place = powers @ 2 ** np.arange(n)  # where the power of g stands
    found = np.zeros((count, dim), dtype=np.int64)
    for a in range(count - 1):
        moved = np.roll(np.arange(order), -a)  # the exponent of a x
        found[a + 1, place] = form[moved]
        found[a + 1, 2**n + place] = form[moved] + trace[moved]
    return 1 - 2 * (found % 2)
