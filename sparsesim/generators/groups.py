"""Features in groups: at most one of a group fires, or whole blocks fire together and a law says who within them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim._identity import fork
from sparsesim.generators.base import SecondOrderLaw, Support
from sparsesim.generators.laws import has_independent_rows, has_second_moments
from sparsesim.generators.rates import MOST_FEATURES, check_rates
from sparsesim.generators.support import ExactlyK, check_vectors
from sparsesim.kernels.sampling import Tree, draw_tree, tree_of

_ROUNDING = 1e-9  # rates such as ten times 0.1 need not sum to 1 in floating point


@final
@dataclass(frozen=True)
class ExclusiveGroups:
    """At most one feature of each group fires, exactly one where the group's rates sum to 1; groups are independent.

    Features are numbered group after group. Rates that sum to 1 up to 1e-9 are read as if they did so exactly.

    Parameters
    ----------
    groups : the firing rates of the members of each group, which sum to at most 1 in each.

    Raises
    ------
    ValueError
        If the rates of a group sum to more than 1.
    """

    groups: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.groups, tuple):
            raise TypeError(f"groups must be a tuple of tuples of rates; got {type(self.groups).__name__}.")
        if not self.groups:
            raise ValueError("groups must hold at least one group; got an empty tuple.")
        for index, rates in enumerate(self.groups):
            check_rates(f"groups[{index}]", rates)
            if sum(rates) > 1.0 + _ROUNDING:
                raise ValueError(
                    f"rates of an exclusive group must sum to at most 1; those of groups[{index}] sum to "
                    f"{sum(rates):.6g} > 1. Lower them, or let the features fire independently with Bernoulli."
                )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return sum(map(len, self.groups))

    @cached_property
    def _start(self) -> IntArray:
        return np.cumsum([0, *map(len, self.groups[:-1])])

    @cached_property
    def _totals(self) -> FloatArray:
        totals = np.array([float(sum(rates)) for rates in self.groups])
        return np.where(np.abs(totals - 1.0) <= _ROUNDING, 1.0, totals)

    @cached_property
    def _marginals(self) -> FloatArray:
        sums = [sum(rates) for rates in self.groups]
        scale = np.divide(self._totals, sums, out=np.ones(len(sums)), where=np.array(sums) > 0)
        rates = np.array([rate for group in self.groups for rate in group], dtype=np.float64)
        return read_only(rates * np.repeat(scale, [len(group) for group in self.groups]))

    @cached_property
    def _tree(self) -> Tree:
        """The groups as hidden roots after the features, who are their exclusive children."""
        m, sizes = self.n_features, [len(group) for group in self.groups]
        parents = np.concatenate([np.repeat(m + np.arange(len(sizes)), sizes), np.full(len(sizes), -1)])
        rates = np.concatenate([self._marginals, self._totals])
        tree = tree_of(parents, rates, True, 2.0 * float(self._totals.sum()))
        last = np.repeat(tree.weight[np.cumsum(sizes) - 1], sizes)
        # Divided by itself the last running sum is 1 exactly, so that a group that fires always has its one member.
        return tree._replace(weight=np.divide(tree.weight, last, out=np.zeros(m), where=last > 0))

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, read-only."""
        return self._marginals

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``: 0 within a group, p_i p_j between groups, p_i on the diagonal."""
        group = np.repeat(np.arange(len(self.groups)), [len(rates) for rates in self.groups])
        joint = np.where(group[:, None] == group, 0.0, np.outer(self._marginals, self._marginals))
        np.fill_diagonal(joint, self._marginals)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2.

        It is ||sum p_i v_i||^2 + sum p_i ||v_i||^2 - sum over groups of ||sum of p_i v_i in the group||^2.
        """
        rows = check_vectors(vectors, self.n_features)
        means = np.add.reduceat(self._marginals[:, None] * rows, self._start, axis=0)
        centre = means.sum(axis=0)
        own = self._marginals @ np.einsum("ij,ij->i", rows, rows)
        return float(centre @ centre + own - np.square(means).sum())

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples; the cost follows the groups that fire."""
        n = check_int("n", n, 0)
        indptr, indices = draw_tree(self._tree, n, rng)
        seen = indices < self.n_features
        before = np.concatenate([[0], np.cumsum(seen)])
        return Support(before[indptr], indices[seen], self.n_features)


@final
@dataclass(frozen=True)
class BlockSupport:
    """Blocks of features fire as ``outer`` says; within a block that fires, features fire as ``inner`` says.

    Given which blocks fire, blocks are independent of each other. Features are numbered block after block. So are made

    * group sparsity, all of a block together: ``BlockSupport(Bernoulli(EqualRates(16, 0.1)), ExactlyK(4, 4))``;
    * blocks with a rate within: ``BlockSupport(ExactlyK(16, 2), Bernoulli(EqualRates(4, 0.5)))``;
    * exactly one winner in each of Q modules of K units: `modular`;
    * a group that is chosen before its members: ``BlockSupport(ExactlyK(12, 1), SuccessiveSampling(weights, k))``.

    Parameters
    ----------
    outer : support law over blocks, with second moments.
    inner : support law over the features of a block, with second moments and independent samples; one for all blocks,
        or a tuple of one each.
    """

    outer: SecondOrderLaw
    inner: SecondOrderLaw | tuple[SecondOrderLaw, ...]

    def __post_init__(self) -> None:
        laws = self.inner if isinstance(self.inner, tuple) else (self.inner,)
        for name, law in [("outer", self.outer), *[("inner", law) for law in laws]]:
            if isinstance(law, type) or not has_second_moments(law):
                raise TypeError(
                    f"{name} must be a support law with pairwise() and energy(), such as ExactlyK(4, 1); got {law!r}."
                )
            if name == "inner" and not has_independent_rows(law):
                raise ValueError(
                    f"inner must draw independent samples, since blocks of one sample share a draw; got {law!r:.200}, "
                    "whose samples depend on one another. Pass it as outer, or a law such as Bernoulli."
                )
        blocks = self.outer.n_features
        if isinstance(self.inner, tuple) and len(laws) != blocks:
            raise ValueError(f"inner must be one law, or one for each of the {blocks} blocks; got {len(laws)}.")
        total = sum(law.n_features for law in laws) * (1 if isinstance(self.inner, tuple) else blocks)
        check_int("number of features", total, 1, MOST_FEATURES)

    @cached_property
    def _laws(self) -> tuple[SecondOrderLaw, ...]:
        return self.inner if isinstance(self.inner, tuple) else (self.inner,) * self.outer.n_features

    @cached_property
    def _kinds(self) -> dict[SecondOrderLaw, IntArray]:
        """The blocks of each distinct law."""
        kinds: dict[SecondOrderLaw, list[int]] = {}
        for block, law in enumerate(self._laws):
            kinds.setdefault(law, []).append(block)
        return {law: np.array(blocks) for law, blocks in kinds.items()}

    @cached_property
    def _start(self) -> IntArray:
        return np.cumsum([0, *(law.n_features for law in self._laws)])

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self._start[-1])

    @property
    def independent_rows(self) -> bool:
        """Whether the samples of one draw are independent, as those of ``outer``."""
        return has_independent_rows(self.outer)

    @cached_property
    def _within(self) -> FloatArray:
        return np.concatenate([law.marginals() for law in self._laws])

    @cached_property
    def _block(self) -> IntArray:
        return np.repeat(np.arange(len(self._laws)), np.diff(self._start))

    @cached_property
    def _marginals(self) -> FloatArray:
        return read_only(self.outer.marginals()[self._block] * self._within)

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, that of the block times that within it; read-only."""
        return self._marginals

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``.

        It is P(blocks a and b) r_i r_j for i in a and j in b != a, with r the rates within, and P(a) R_ij within a.
        """
        joint: FloatArray = self.outer.pairwise()[np.ix_(self._block, self._block)] * np.outer(
            self._within, self._within
        )
        inside = {law: law.pairwise() for law in self._kinds}
        for block, (law, rate) in enumerate(zip(self._laws, self.outer.marginals().tolist(), strict=True)):
            own = slice(self._start[block], self._start[block + 1])
            joint[own, own] = rate * inside[law]
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2.

        With e_b the mean and q_b the energy of the rows of block b given that it fires, it is the energy of the vectors
        e_b under ``outer`` plus sum over b of P(b) (q_b - ||e_b||^2).
        """
        rows = check_vectors(vectors, self.n_features)
        means = np.add.reduceat(self._within[:, None] * rows, self._start[:-1], axis=0)
        parts = np.split(rows, self._start[1:-1])
        energies = np.array([law.energy(part) for law, part in zip(self._laws, parts, strict=True)])
        spread = self.outer.marginals() @ (energies - np.square(means).sum(axis=1))
        return self.outer.energy(means) + float(spread)

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples; only within blocks that fire is anything drawn."""
        n = check_int("n", n, 0)
        outer_rng, *inner_rngs = fork(rng, 1 + len(self._kinds))
        chosen = self.outer.draw(n, outer_rng)
        kind = np.zeros(len(self._laws), np.int64)
        for index, blocks in enumerate(self._kinds.values()):
            kind[blocks] = index
        of_event = kind[chosen.indices]
        events = np.argsort(of_event, kind="stable")  # a block that fires in a sample is an event
        edges = np.searchsorted(of_event[events], np.arange(len(self._kinds) + 1))
        drawn = [
            law.draw(int(high - low), own)
            for law, own, low, high in zip(self._kinds, inner_rngs, edges[:-1], edges[1:], strict=True)
        ]
        return self._join(chosen, events, drawn)

    def _join(self, chosen: Support, events: IntArray, drawn: list[Support]) -> Support:
        """Return the supports in which the ``drawn`` members, kind after kind, take the places of their ``events``."""
        sizes = np.concatenate([np.diff(support.indptr) for support in drawn])
        counts = np.empty(len(events), np.int64)
        counts[events] = sizes
        first = np.concatenate([[0], np.cumsum(counts)])
        members = np.concatenate([support.indices for support in drawn])
        before = np.cumsum(sizes) - sizes
        place = np.repeat(first[events] - before, sizes) + np.arange(len(members))
        indices = np.empty(len(members), np.int32)
        indices[place] = members + np.repeat(self._start[chosen.indices[events]], sizes)
        return Support(first[chosen.indptr], indices, self.n_features)


def modular(modules: int, units: int) -> BlockSupport:
    """Return the law of codes with exactly one winner in each of Q ``modules`` of K ``units``, uniform and independent.

    Any two samples share a winner in a module with probability 1 / K.
    """
    return BlockSupport(ExactlyK(modules, modules), ExactlyK(units, 1))
