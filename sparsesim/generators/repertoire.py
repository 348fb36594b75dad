"""Supports from a fixed list: a frozen sample of another law, or superposed items of modular codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy.sparse import csr_array

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Support, SupportLaw
from sparsesim.generators.rates import MOST_FEATURES
from sparsesim.generators.support import check_vectors
from sparsesim.kernels.sampling import draw_subsets

_LIST, _WINNERS = 11, 12  # tell these random laws of a seed from its others
_MOST_WINNERS = 2**27  # of the table of a vocabulary: 1 GiB


@final
@dataclass(frozen=True)
class Repertoire:
    """Every sample shows one of ``count`` supports, drawn once from ``law`` under ``seed``, all equally likely.

    So is said that a finite list of contexts repeats, and that a generator drew its supports once and used them again.
    The rates are the true ones of the list, not those of ``law``; supports that were drawn twice count twice.
    """

    law: SupportLaw
    count: int
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.law, type) or not hasattr(self.law, "draw"):
            raise TypeError(f"law must be a support law such as ExactlyK(64, 4); got {self.law!r}.")
        check_int("count", self.count, 1, MOST_FEATURES)
        check_int("seed", self.seed, 0)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.law.n_features

    @cached_property
    def _list(self) -> Support:
        return self.law.draw(int(self.count), stream(self.seed, Role.LAW, _LIST))

    @cached_property
    def _marginals(self) -> FloatArray:
        return read_only(np.bincount(self._list.indices, minlength=self.n_features) / self.count)

    def _incidence(self) -> csr_array:
        return self._list.codes(np.ones(len(self._list.indices)))

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, read-only."""
        return self._marginals

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal."""
        shown = self._incidence()
        return np.asarray((shown.T @ shown).toarray() / self.count)

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2, the mean over the list."""
        rows = check_vectors(vectors, self.n_features)
        return float(np.square(self._incidence() @ rows).sum() / self.count)

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        return _rows(self._list, rng.integers(0, int(self.count), size=n))


def _rows(support: Support, picked: IntArray) -> Support:
    """Return the ``picked`` rows of ``support``, one after the other."""
    sizes = np.diff(support.indptr)[picked]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    place = np.repeat(support.indptr[picked] - indptr[:-1], sizes) + np.arange(indptr[-1])
    return Support(indptr, support.indices[place], support.n_features)


@final
@dataclass(frozen=True)
class SuperposedItems:
    """A sample superposes ``items`` distinct items of a fixed vocabulary, each a code with one winner in each module.

    The vocabulary is a tree: ``branching`` (c_1, ..., c_L) has c_1 categories of c_2 subcategories ..., the last level
    being the N = c_1 ... c_L items. A node takes each module's winner from its parent with probability
    sqrt((overlap - 1/K) / (1 - 1/K)) and draws it uniformly among the K units otherwise, so that two siblings share
    each winner with probability ``overlap``; nodes without a common parent share 1/K of them in expectation. The table
    of winners is drawn once under ``seed``; rates are those of the table. Where superposed items share a winner, it
    fires once.

    Parameters
    ----------
    modules, units : Q and K; there are m = Q K features, numbered module after module.
    branching : number of children at each level of the vocabulary; the c_1 categories have no common parent.
    overlap : expected fraction of winners that siblings share, in [1/K, 1].
    items : s, how many distinct items are superposed.
    """

    modules: int
    units: int
    branching: tuple[int, ...]
    overlap: float
    items: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("modules", self.modules, 1)
        check_int("units", self.units, 2)
        check_int("modules * units", int(self.modules) * int(self.units), 1, MOST_FEATURES)
        if not isinstance(self.branching, tuple) or not self.branching:
            raise TypeError(f"branching must be a non-empty tuple of integers; got {self.branching!r}.")
        for level, children in enumerate(self.branching):
            check_int(f"branching[{level}]", children, 1)
        count = math.prod(map(int, self.branching))
        check_int("modules * size of the vocabulary", int(self.modules) * count, 1, _MOST_WINNERS)
        check_real("overlap", self.overlap, 0.0, 1.0)
        if self.overlap < 1.0 / self.units:
            raise ValueError(
                f"overlap must be at least 1/units={1.0 / self.units:g}, which unrelated codes share by chance; "
                f"got {self.overlap}. Raise it, or the number of units."
            )
        check_int("items", self.items, 1, count, high_name="size of the vocabulary")
        check_int("seed", self.seed, 0)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.modules) * int(self.units)

    def winners(self) -> IntArray:
        """Return the winning unit of each item in each module, ``(N, Q)``; siblings are neighbours."""
        rng, q, k = stream(self.seed, Role.LAW, _WINNERS), int(self.modules), int(self.units)
        inherit = math.sqrt((self.overlap - 1.0 / k) / (1.0 - 1.0 / k))
        table = rng.integers(0, k, size=(int(self.branching[0]), q))
        for children in self.branching[1:]:
            table = np.repeat(table, int(children), axis=0)
            fresh = rng.integers(0, k, size=table.shape)
            table = np.where(rng.random(table.shape) < inherit, table, fresh)
        return table

    @cached_property
    def _codes(self) -> IntArray:
        first = np.arange(self.modules) * int(self.units)
        codes = (first + self.winners()).astype(np.int32)
        codes.flags.writeable = False
        return codes

    @cached_property
    def _without(self) -> FloatArray:
        """Probability that a sample avoids c given items, for c = 0 ... N: C(N - c, s) / C(N, s)."""
        count, s = len(self._codes), int(self.items)
        factors = np.arange(count, 0, -1, dtype=np.float64)  # avoiding c + 1 of them is (N - c - s) / (N - c) as likely
        return np.concatenate([[1.0], np.cumprod(np.maximum(factors - s, 0.0) / factors)])

    def _having(self) -> csr_array:
        count, q = self._codes.shape
        indptr = np.arange(count + 1) * q
        return csr_array((np.ones(count * q), self._codes.ravel(), indptr), shape=(count, self.n_features))

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``: 1 - C(N - c, s) / C(N, s) for a unit that wins for c of N items."""
        return np.asarray(1.0 - self._without[np.bincount(self._codes.ravel(), minlength=self.n_features)])

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, by inclusion and exclusion of the items that have either."""
        having = self._having()
        both = (having.T @ having).toarray().astype(np.int64)
        either = np.add.outer(np.diag(both), np.diag(both)) - both
        avoid = self._without[np.diag(both)]
        joint = 1.0 - np.add.outer(avoid, avoid) + self._without[either]
        np.fill_diagonal(joint, 1.0 - avoid)
        return np.asarray(np.maximum(joint, 0.0))

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2; an (m, m) matrix is formed only if s > 1."""
        rows = check_vectors(vectors, self.n_features)
        if self.items == 1:
            return float(np.square(self._having() @ rows).sum() / len(self._codes))
        return float(np.einsum("ij,ij->", self.pairwise() @ rows, rows))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples: the union of the winners of their items."""
        n, s = check_int("n", n, 0), int(self.items)
        picked = draw_subsets(len(self._codes), s, n, rng).reshape(n, s)
        winners = np.sort(self._codes[picked].reshape(n, s * int(self.modules)), axis=1)
        fresh = np.ones(winners.shape, dtype=bool)
        fresh[:, 1:] = winners[:, 1:] != winners[:, :-1]
        indptr = np.concatenate([[0], np.cumsum(fresh.sum(axis=1))])
        return Support(indptr, winners[fresh], self.n_features)
