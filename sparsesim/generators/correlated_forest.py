"""Trees whose roots fire by any law: correlated roots, exactly k of them, roots that take turns, and what is below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim._identity import fork
from sparsesim.generators.base import SecondOrderLaw, Support, SupportLaw
from sparsesim.generators.hierarchy import BoolArray, check_siblings, exclusive_flags, joint_below, parents_first
from sparsesim.generators.laws import has_independent_rows, has_second_moments, rate_errors
from sparsesim.generators.rates import check_rates
from sparsesim.generators.support import check_vectors
from sparsesim.kernels.sampling import Tree, draw_below, tree_of


@final
@dataclass(frozen=True)
class ForestOver:
    """The roots fire by a law of their own; a child fires only if its parent does, with its conditional rate.

    The first features are those of ``roots``, in its order; feature ``roots.n_features + i`` has the parent
    ``parents[i]`` and fires with probability ``rates[i]`` if that does. So marginal_i = rates_i * marginal_parent(i),
    exactly. A child of rate 1 always fires with its parent.

    Parameters
    ----------
    roots : the law of the roots; `pairwise` and `energy` need one that has these.
    parents : parent of each further feature, a root or another of them; they may stand in any order.
    rates : probability of each of these to fire given that its parent fires.
    exclusive : at most one child of a parent fires; for all parents, or a tuple that says it of the children of each
        of the m features.

    Raises
    ------
    ValueError
        For a cycle, an index out of range, rates outside [0, 1], or exclusive siblings whose rates sum to more than 1.
    """

    roots: SupportLaw
    parents: tuple[int, ...]
    rates: tuple[float, ...]
    exclusive: bool | tuple[bool, ...] = True

    def __post_init__(self) -> None:
        if isinstance(self.roots, type) or not hasattr(self.roots, "marginals"):
            raise TypeError(f"roots must be a support law such as ExactlyK(m=8, k=2); got {self.roots!r}.")
        if not isinstance(self.parents, tuple):
            raise TypeError(f"parents must be a tuple; got {type(self.parents).__name__}. Pass tuple(parents).")
        for index, parent in enumerate(self.parents):
            check_int(f"parents[{index}]", parent, 0, self.n_features - 1, high_name="m-1")
        parents_first(self._parents)
        if self.parents or self.rates != ():
            check_rates("rates", self.rates)
        if len(self.rates) != len(self.parents):
            raise ValueError(f"rates must be as many as parents, {len(self.parents)}; got {len(self.rates)}.")
        check_siblings(self._parents, self._rates.tolist(), self._exclusive)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.roots.n_features + len(self.parents)

    @property
    def _parents(self) -> tuple[int, ...]:
        return (-1,) * self.roots.n_features + self.parents

    @cached_property
    def _exclusive(self) -> BoolArray:
        return exclusive_flags(self.exclusive, self.n_features)

    @cached_property
    def _rates(self) -> FloatArray:
        return np.concatenate([np.ones(self.roots.n_features), np.array(self.rates, dtype=np.float64)])

    @cached_property
    def _below(self) -> IntArray:
        """The features below the roots, each after its parent."""
        return np.array(parents_first(self._parents)[self.roots.n_features :], dtype=np.int64)

    @cached_property
    def _marginals(self) -> FloatArray:
        marginals = self._rates.copy()
        marginals[: self.roots.n_features] = self.roots.marginals()
        for node in self._below.tolist():
            marginals[node] *= marginals[self._parents_of[node]]
        return read_only(marginals)

    @cached_property
    def _parents_of(self) -> IntArray:
        return np.array(self._parents, dtype=np.int64)

    @cached_property
    def _tree(self) -> Tree:
        return tree_of(self._parents_of, self._rates, self._exclusive, float(self._marginals.sum()))

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, the root's times the rates on the way down; read-only."""
        return self._marginals

    def marginal_errors(self) -> FloatArray:
        """Return the standard errors ``(m,)`` of `marginals`, those of the roots' law handed down; 0 where exact."""
        errors = self._rates.copy()
        errors[: self.roots.n_features] = rate_errors(self.roots)
        for node in self._below.tolist():
            errors[node] *= errors[self._parents_of[node]]
        return errors

    @property
    def second_order(self) -> bool:
        """Whether `pairwise` and `energy` are known, which needs those of the roots."""
        return has_second_moments(self.roots)

    @property
    def independent_rows(self) -> bool:
        """Whether the samples of one draw are independent, as those of the roots."""
        return has_independent_rows(self.roots)

    def _second_order_roots(self) -> SecondOrderLaw:
        if not isinstance(self.roots, SecondOrderLaw):
            raise TypeError(
                f"joint rates need those of the roots, which {type(self.roots).__name__} does not give. "
                "Estimate them from draws, and give the noise by its standard deviation, Gaussian(sigma)."
            )
        return self.roots

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal.

        Raises
        ------
        TypeError
            If the law of the roots has no `pairwise`.
        """
        first = self.roots.n_features
        joint = np.zeros((self.n_features, self.n_features))
        joint[:first, :first] = self._second_order_roots().pairwise()
        known = np.arange(self.n_features) < first
        joint_below(joint, known, self._below.tolist(), self._parents_of, self._rates, self._exclusive)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2, from the leaves to the roots.

        The sum of the firing rows at and below i has, given that i fires, the mean e_i = v_i + u_i, u_i = sum p_c e_c
        over the children c of rate p_c, and the variance s_i, the sum of p_c s_c + p_c (1 - p_c) ||e_c||^2 if these
        are independent and of p_c s_c + p_c ||e_c||^2, less ||u_i||^2, if they are exclusive. With the roots' rates
        P_i the whole is the energy of their law for the vectors e_i plus the sum of P_i s_i.

        Raises
        ------
        TypeError
            If the law of the roots has no `energy`.
        """
        law, own = self._second_order_roots(), check_vectors(vectors, self.n_features)
        mean, spread = own.copy(), np.zeros(self.n_features)
        roots = np.arange(law.n_features)
        for node in [*self._below[::-1].tolist(), *roots.tolist()]:  # what is below a node has been added to it
            if self._exclusive[node]:
                spread[node] -= np.square(mean[node] - own[node]).sum()
            parent, rate = self._parents_of[node], self._rates[node]
            if parent >= 0:
                share = 1.0 if self._exclusive[parent] else 1.0 - rate
                spread[parent] += rate * (spread[node] + share * np.square(mean[node]).sum())
                mean[parent] += rate * mean[node]
        return law.energy(mean[roots]) + float(self._marginals[roots] @ spread[roots])

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples; only children of features that fire are visited."""
        n = check_int("n", n, 0)
        root_rng, child_rng = fork(rng, 2)
        support = self.roots.draw(n, root_rng)
        rows = draw_below(self._tree, support.indptr, support.indices, child_rng, float(self._marginals.sum()))
        return Support(*rows, self.n_features)
