"""Which features fire, without a hierarchy: independently, or exactly k of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.rates import MOST_FEATURES, RateLaw
from sparsesim.kernels.sampling import Tree, draw_subsets, draw_tree, tree_of


def check_vectors(vectors: FloatArray, m: int) -> FloatArray:
    """Return ``vectors`` in float64, raising unless it has ``m`` rows."""
    if vectors.ndim != 2 or len(vectors) != m:
        raise ValueError(f"vectors must have shape (m, d) with m={m}; got {vectors.shape}.")
    return np.asarray(vectors, dtype=np.float64)


@final
@dataclass(frozen=True)
class Bernoulli:
    """Each feature fires on its own, with the probability that ``rates`` says.

    Samples are drawn by geometric skipping: features are put into classes whose rates differ by at most a factor two,
    a class is walked with gaps of its largest rate q and a feature found is kept with probability p_i / q. The law is
    exact (to the 2^-53 resolution of a uniform number) and the cost is at most about two numbers a firing feature.
    """

    rates: RateLaw

    def __post_init__(self) -> None:
        if not hasattr(self.rates, "rates"):
            raise TypeError(
                f"rates must be a rate law such as EqualRates(m=64, rate=0.05) or GivenRates((0.1, 0.2)); "
                f"got {self.rates!r}."
            )
        if self._rates.shape != (self.n_features,) or not ((self._rates >= 0) & (self._rates <= 1)).all():
            lowest, highest = self._rates.min(initial=np.inf), self._rates.max(initial=-np.inf)
            raise ValueError(
                f"rates must give m={self.n_features} numbers in [0, 1]; {self.rates!r} gives an array of shape "
                f"{self._rates.shape} with values in [{lowest:g}, {highest:g}]."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.rates.n_features

    @cached_property
    def _rates(self) -> FloatArray:
        return read_only(np.asarray(self.rates.rates(), dtype=np.float64))

    @cached_property
    def _tree(self) -> Tree:
        return tree_of(np.full(self.n_features, -1), self._rates, False, float(self._rates.sum()))

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, read-only."""
        return self._rates

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``: p_i p_j, and p_i on the diagonal."""
        joint = np.outer(self._rates, self._rates)
        np.fill_diagonal(joint, self._rates)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2.

        It is ||sum p_i v_i||^2 + sum p_i (1 - p_i) ||v_i||^2.
        """
        rows = check_vectors(vectors, self.n_features)
        centre = self._rates @ rows
        variance = self._rates * (1.0 - self._rates)
        return float(centre @ centre + variance @ np.einsum("ij,ij->i", rows, rows))

    def scatter(self, vectors: FloatArray) -> FloatArray:
        """Return E[s s^T] ``(d, d)``, s the sum of the firing rows of ``vectors (m, d)``."""
        rows = check_vectors(vectors, self.n_features)
        centre = self._rates @ rows
        variance = self._rates * (1.0 - self._rates)
        return np.asarray(np.outer(centre, centre) + rows.T @ (variance[:, None] * rows))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        return Support(*draw_tree(self._tree, n, rng), self.n_features)


@final
@dataclass(frozen=True)
class ExactlyK:
    """Exactly ``k`` of ``m`` features fire, every subset of that size with the same probability (Floyd's algorithm).

    References
    ----------
    Bentley and Floyd (1987), "Programming pearls: a sample of brilliance".
    """

    m: int
    k: int

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_int("k", self.k, 1, self.m, high_name="m")

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, all k / m."""
        return np.full(self.m, self.k / self.m)

    @property
    def _joint(self) -> float:
        m, k = int(self.m), int(self.k)  # a small numpy integer would overflow
        return k * (k - 1) / (m * max(m - 1, 1))

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``: k (k-1) / (m (m-1)), and k / m on the diagonal."""
        joint = np.full((self.m, self.m), self._joint)
        np.fill_diagonal(joint, self.k / self.m)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2.

        With P = P(i and j), i != j, it is P ||sum v_i||^2 + (k/m - P) sum ||v_i||^2.
        """
        rows = check_vectors(vectors, self.m)
        total = rows.sum(axis=0)
        return float(self._joint * (total @ total) + (self.k / self.m - self._joint) * np.square(rows).sum())

    def scatter(self, vectors: FloatArray) -> FloatArray:
        """Return E[s s^T] ``(d, d)``, s the sum of the firing rows of ``vectors (m, d)``."""
        rows = check_vectors(vectors, self.m)
        total = rows.sum(axis=0)
        return np.asarray(self._joint * np.outer(total, total) + (self.k / self.m - self._joint) * (rows.T @ rows))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        indptr = np.arange(n + 1, dtype=np.int64) * int(self.k)
        return Support(indptr, draw_subsets(int(self.m), int(self.k), n, rng), self.n_features)
