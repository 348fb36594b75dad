"""Features that act together: products of two or three coefficients add directions of their own to the signal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim.generators.observation import random_directions
from sparsesim.kernels.synthesis import synthesise


@final
@dataclass(frozen=True)
class Interactions:
    """Polynomial interactions: signal <- signal + strength * sum_t (prod_{i in t} c_i) w_t over ``count`` sets t.

    The sets are distinct, of ``order`` different features each, drawn once a world uniformly over all such sets; so are
    the unit directions w_t, independent and uniform on the sphere. Both are truth:
    ``model.observation[...].members`` and ``.directions``. Samples cost what fires.

    Parameters
    ----------
    count : number of sets, at most C(m, order).
    order : 2 for pairs, 3 for triples.
    strength : factor of all products, not 0.
    """

    count: int
    order: int = 2
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_int("count", self.count, 1)
        check_int("order", self.order, 2, 3)
        if check_real("strength", self.strength, -1e150, 1e150) == 0:
            raise ValueError("strength must not be 0, which would be no interaction. Leave Interactions out instead.")

    def realise(self, atoms: FloatArray, energy: Callable[[], float], rng: Rng) -> InteractionTerms:
        """Return the sets and directions of a world; raises ValueError if there are fewer than ``count`` sets."""
        m, d = atoms.shape
        most = math.comb(m, self.order)
        if self.count > most:
            raise ValueError(
                f"count must be at most C(m, order)=C({m}, {self.order})={most}, the number of different sets; "
                f"got {self.count}."
            )
        if most >= 2**63:  # sets are numbered by int64
            raise ValueError(
                f"there must be fewer than 2^63 different sets; got C(m, order)=C({m}, {self.order})={most}. "
                "Lower m or the order."
            )
        members = _distinct_sets(m, int(self.order), int(self.count), most, rng)
        return InteractionTerms(members, random_directions(int(self.count), d, rng), float(self.strength))


def _distinct_sets(m: int, order: int, count: int, most: int, rng: Rng) -> IntArray:
    """Return ``count`` distinct ``order``-subsets of m features, uniform, ``(count, order)`` in lexicographic order.

    Sets are numbered by the combinatorial number system, sum_j C(i_j, j), i_1 < i_2 < ... from j = 1.
    """
    numbers = np.sort(rng.choice(most, size=count, replace=False, shuffle=False).astype(np.int64))
    members = np.empty((count, order), np.int64)
    for place in range(order, 0, -1):
        table = np.array([math.comb(i, place) for i in range(m + 1)], dtype=np.int64)
        members[:, place - 1] = np.searchsorted(table, numbers, side="right") - 1
        numbers = numbers - table[members[:, place - 1]]
    return read_only(members[np.lexsort(members.T[::-1])])


@final
@dataclass(frozen=True, eq=False)
class InteractionTerms:
    """The interactions of one world.

    Attributes
    ----------
    members : (count, order) the features of each set, ascending, read-only.
    directions : (count, d) unit rows, read-only.
    strength : factor of all products.
    """

    members: IntArray
    directions: FloatArray
    strength: float

    def products(self, codes: Codes) -> Codes:
        """Return the products of the coefficients of each set, ``(n, count)``: the true codes of the interactions."""
        columns = codes.tocsc()
        terms = columns[:, self.members[:, 0]]
        for place in range(1, self.members.shape[1]):
            terms = terms.multiply(columns[:, self.members[:, place]])
        found = Codes(terms)
        found.sort_indices()
        return found

    def apply(self, signal: FloatArray, codes: Codes, rng: Rng) -> FloatArray:
        """Return the signal with the weighted products of each sample's coefficients added."""
        kind = signal.dtype
        with np.errstate(over="ignore", under="ignore"):  # an overflow is reported by the model
            products = self.products(codes).astype(kind)
            added = synthesise(products, (self.strength * self.directions).astype(kind))
        signal += added
        return signal
