"""The features of a support law in another order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim.generators.base import Support, SupportLaw
from sparsesim.generators.laws import has_independent_rows, has_second_moments, rate_errors, second_order_base
from sparsesim.generators.support import check_vectors


@final
@dataclass(frozen=True)
class Relabelled:
    """Feature i fires when feature ``order[i]`` of the law ``base`` does.

    Raises
    ------
    ValueError
        If ``order`` is not a permutation of 0 ... m-1.
    """

    base: SupportLaw
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if isinstance(self.base, type) or not hasattr(self.base, "marginals"):
            raise TypeError(f"base must be a support law such as ExactlyK(m=8, k=2); got {self.base!r}.")
        if not isinstance(self.order, tuple):
            raise TypeError(f"order must be a tuple; got {type(self.order).__name__}. Pass tuple(order).")
        m = self.base.n_features
        for index, feature in enumerate(self.order):
            check_int(f"order[{index}]", feature, 0, m - 1, high_name="m-1")
        if len(self.order) != m or len(set(self.order)) != m:
            raise ValueError(
                f"order must name each of the m={m} features of base once; got {len(self.order)} entries, "
                f"{len(set(self.order))} of them different."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.base.n_features

    @cached_property
    def _order(self) -> IntArray:
        return np.array(self.order, dtype=np.int64)

    @cached_property
    def _place(self) -> IntArray:
        """The new index of each feature of the base."""
        place = np.empty(self.n_features, dtype=np.int32)
        place[self._order] = np.arange(self.n_features, dtype=np.int32)
        return place

    @cached_property
    def _marginals(self) -> FloatArray:
        return read_only(np.asarray(self.base.marginals())[self._order])

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, read-only."""
        return self._marginals

    def marginal_errors(self) -> FloatArray:
        """Return the standard errors ``(m,)`` of `marginals`, those of the law ``base``; 0 where they are exact."""
        return np.asarray(rate_errors(self.base)[self._order])

    @property
    def second_order(self) -> bool:
        """Whether `pairwise` and `energy` are known, which needs those of ``base``."""
        return has_second_moments(self.base)

    @property
    def independent_rows(self) -> bool:
        """Whether the samples of one draw are independent, as those of ``base``."""
        return has_independent_rows(self.base)

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``; raises TypeError if the base has none."""
        return np.asarray(second_order_base(self.base).pairwise()[np.ix_(self._order, self._order)])

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2; raises TypeError if the base has none."""
        return second_order_base(self.base).energy(check_vectors(vectors, self.n_features)[self._place])

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        support = self.base.draw(n, rng)
        renamed = Support(support.indptr, self._place[support.indices], self.n_features)
        rows = renamed.codes(np.ones(len(support.indices), np.float32))
        rows.sort_indices()
        return Support(support.indptr, rows.indices.astype(np.int32, copy=False), self.n_features)
