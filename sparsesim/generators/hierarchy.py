"""Features in trees: a child fires only with its parent, and siblings may exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.rates import check_rates
from sparsesim.generators.support import check_vectors
from sparsesim.kernels.sampling import Tree, draw_tree, tree_energy, tree_of

BoolArray: TypeAlias = npt.NDArray[np.bool_]

_ROUNDING = 1e-9  # rates of siblings such as ten times 0.1 may sum to a little more than 1


def parents_first(parents: Sequence[int]) -> list[int]:
    """Return the nodes in breadth-first order: every parent stands before its children.

    Raises
    ------
    TypeError, ValueError
        If ``parents`` is not a non-empty tuple of indices in [-1, m), or following parents runs in a circle.
    """
    if not isinstance(parents, tuple):
        raise TypeError(f"parents must be a tuple; got {type(parents).__name__}. Pass tuple(parents).")
    m = len(parents)
    if not m:
        raise ValueError("parents must hold at least one node; got an empty tuple.")
    children: list[list[int]] = [[] for _ in range(m)]
    order: list[int] = []
    for node, parent in enumerate(parents):
        check_int(f"parents[{node}]", parent, -1, m - 1, high_name="m-1")
        (order if parent < 0 else children[parent]).append(node)
    for node in order:  # grows while it is walked
        order.extend(children[node])
    if len(order) < m:
        raise ValueError(_circle(parents, set(order)))
    return order


def _circle(parents: Sequence[int], reached: set[int]) -> str:
    node = next(node for node in range(len(parents)) if node not in reached)
    seen: list[int] = []
    visited: set[int] = set()
    while node not in visited:
        visited.add(node)
        seen.append(node)
        node = parents[node]
    circle = [*seen[seen.index(node) :], node]
    shown = " -> ".join(map(str, circle[:8])) + (" -> ..." if len(circle) > 8 else "")
    return (
        f"parents must lead from every node to a root (-1); got the cycle {shown}. Give one of its nodes the parent -1."
    )


def exclusive_flags(exclusive: bool | tuple[bool, ...], m: int) -> BoolArray:
    """Return for each of ``m`` features whether its children exclude each other, as ``exclusive`` says.

    Raises
    ------
    TypeError, ValueError
        If ``exclusive`` is neither True, False nor a tuple of m of these.
    """
    if isinstance(exclusive, tuple):
        if not all(isinstance(flag, bool) for flag in exclusive):
            raise TypeError(f"exclusive must be a tuple of True and False; got {exclusive!r:.80}.")
        if len(exclusive) != m:
            raise ValueError(f"exclusive must be True, False or a tuple of m={m} of these; got {len(exclusive)}.")
    elif not isinstance(exclusive, bool):
        raise TypeError(f"exclusive must be True or False; got {exclusive!r}.")
    return np.full(m, exclusive, dtype=bool)


def check_siblings(parents: Sequence[int], rates: Sequence[float], exclusive: BoolArray) -> None:
    """Raise ValueError where the ``rates`` of exclusive children of one parent sum to more than 1."""
    total = [0.0] * len(exclusive)
    for parent, rate in zip(parents, rates, strict=True):
        if parent >= 0 and exclusive[parent]:
            total[parent] += rate
    worst = max(range(len(total)), key=total.__getitem__)
    if total[worst] > 1.0 + _ROUNDING:
        raise ValueError(
            f"rates of exclusive children must sum to at most 1 under each parent; those of parent {worst} sum to "
            f"{total[worst]:.6g} > 1. Lower them, or pass exclusive=False."
        )


def joint_below(
    joint: FloatArray,
    known: BoolArray,
    order: Sequence[int],
    parents: IntArray,
    rates: FloatArray,
    exclusive: BoolArray,
) -> None:
    """Complete the joint rates ``(m, m)``, right among the ``known`` features, for their descendants, in place.

    ``order`` lists the descendants breadth first: each after its parent and after the siblings of that. Given its
    parent, a feature is independent of all that came before it, except for siblings that it excludes:
    P(i and j) = rates[i] P(parent(i) and j).
    """
    done = known.copy()
    siblings: dict[int, list[int]] = {}
    for node in order:
        parent = int(parents[node])
        row = np.where(done, rates[node] * joint[parent], 0.0)
        if exclusive[parent]:
            row[siblings.setdefault(parent, [])] = 0.0
            siblings[parent].append(node)
        row[node] = rates[node] * joint[parent, parent]
        joint[node], joint[:, node] = row, row
        done[node] = True


@final
@dataclass(frozen=True)
class Forest:
    """A child fires only if its parent does; roots fire on their own.

    Given that the parent of i fires, i fires with probability ``rates[i]``, whatever happens outside its subtree; so
    marginal_i = rates[i] * marginal_parent(i), exactly. With ``exclusive``, at most one child of a parent fires;
    without, siblings are independent given their parent.

    Parameters
    ----------
    parents : index of each feature's parent, -1 for a root; nodes may stand in any order.
    rates : probability to fire given that the parent fires; for a root, its firing rate.
    exclusive : at most one child of a parent fires, so that the rates of siblings sum to at most 1; for all parents,
        or a tuple that says it of the children of each feature.

    Raises
    ------
    ValueError
        For a cycle, an index out of range, rates outside [0, 1], or exclusive siblings whose rates sum to more than 1.
    """

    parents: tuple[int, ...]
    rates: tuple[float, ...]
    exclusive: bool | tuple[bool, ...] = True

    def __post_init__(self) -> None:
        parents_first(self.parents)
        check_rates("rates", self.rates)
        if len(self.rates) != len(self.parents):
            raise ValueError(f"rates must be as many as parents, m={len(self.parents)}; got {len(self.rates)}.")
        check_siblings(self.parents, self.rates, exclusive_flags(self.exclusive, len(self.parents)))

    @classmethod
    def regular(
        cls, roots: int, branching: int, depth: int, root_rate: float, child_rate: float, exclusive: bool = True
    ) -> Forest:
        """Return ``roots`` equal trees with ``branching`` children a node and ``depth`` levels below the roots.

        Features are numbered level by level, so the roots come first; depth 0 has roots only.
        """
        check_int("roots", roots, 1)
        check_int("branching", branching, 1)
        check_int("depth", depth, 0)
        parents, level = [-1] * roots, range(roots)
        for _ in range(depth):
            first = len(parents)
            parents.extend(node for node in level for _ in range(branching))
            level = range(first, len(parents))
        rates = (root_rate,) * roots + (child_rate,) * (len(parents) - roots)
        return cls(tuple(parents), rates, exclusive)

    @classmethod
    def from_marginals(
        cls, parents: tuple[int, ...], marginals: tuple[float, ...], exclusive: bool | tuple[bool, ...] = True
    ) -> Forest:
        """Return the forest whose true firing rates are ``marginals``.

        Raises
        ------
        ValueError
            If a child should fire more often than its parent, or exclusive siblings together more often than it.
        """
        order = parents_first(parents)
        check_rates("marginals", marginals)
        if len(marginals) != len(order):
            raise ValueError(f"marginals must be as many as parents, m={len(order)}; got {len(marginals)}.")
        rates, total, flags = list(marginals), [0.0] * len(order), exclusive_flags(exclusive, len(order))
        for node, parent in enumerate(parents):
            if parent < 0:
                continue
            total[parent] += marginals[node]
            if marginals[node] > marginals[parent]:
                raise ValueError(
                    f"a child cannot fire more often than its parent: marginals[{node}]={marginals[node]:g} > "
                    f"marginals[{parent}]={marginals[parent]:g}. Lower the child's or raise the parent's."
                )
            if flags[parent] and total[parent] > marginals[parent] * (1.0 + _ROUNDING):
                raise ValueError(
                    f"exclusive children cannot fire more often than their parent: those of {parent} sum to at least "
                    f"{total[parent]:.6g} > marginals[{parent}]={marginals[parent]:g}. "
                    "Lower them, or pass exclusive=False."
                )
            rates[node] = marginals[node] / marginals[parent] if marginals[parent] > 0 else 0.0
        return cls(parents, tuple(rates), exclusive)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return len(self.parents)

    @cached_property
    def _order(self) -> IntArray:
        return np.array(parents_first(self.parents), dtype=np.int64)

    @cached_property
    def _exclusive(self) -> BoolArray:
        return exclusive_flags(self.exclusive, self.n_features)

    @cached_property
    def _arrays(self) -> tuple[IntArray, FloatArray]:
        return np.array(self.parents, dtype=np.int64), np.array(self.rates, dtype=np.float64)

    @cached_property
    def _marginals(self) -> FloatArray:
        marginals = [float(rate) for rate in self.rates]
        for node in self._order.tolist():
            if self.parents[node] >= 0:
                marginals[node] *= marginals[self.parents[node]]
        return read_only(np.array(marginals))

    @cached_property
    def _tree(self) -> Tree:
        return tree_of(*self._arrays, self._exclusive, float(self._marginals.sum()))

    def depths(self) -> IntArray:
        """Return the number of ancestors of each feature, ``(m,)``; 0 for a root."""
        depths = [0] * self.n_features
        for node in self._order.tolist():
            if self.parents[node] >= 0:
                depths[node] = depths[self.parents[node]] + 1
        return np.array(depths, dtype=np.int64)

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, the product of the rates from the root down; read-only."""
        return self._marginals

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal.

        P(i and j) is P(j) if i is an ancestor of j, P(i) P(j) in different trees, and below different children of the
        last common ancestor a: 0 if exclusive, else P(i) P(j) / P(a).
        """
        roots = np.array(self.parents) < 0
        joint = np.outer(self._marginals * roots, self._marginals * roots)
        np.fill_diagonal(joint, self._marginals * roots)
        below = self._order[np.count_nonzero(roots) :].tolist()
        joint_below(joint, roots, below, *self._arrays, self._exclusive)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2, in one pass from the leaves to the roots.

        With p_c the rates of the children c of i, the sum S_i of the firing rows in the subtree of i has, given that
        i fires, mean e_i = v_i + sum p_c e_c and energy q_i = ||v_i||^2 + 2 v_i . sum p_c e_c + r_i, where
        r_i = sum p_c q_c if exclusive, else ||sum p_c e_c||^2 + sum p_c (q_c - p_c ||e_c||^2).
        """
        rows = check_vectors(vectors, self.n_features)
        return tree_energy(self._order, *self._arrays, self._exclusive, rows)

    def scatter(self, vectors: FloatArray) -> FloatArray:
        """Return E[s s^T] ``(d, d)``, s the sum of the firing rows of ``vectors (m, d)``.

        With b_i = sum p_c e_c over the children of i, e_i = v_i + b_i and P the firing rates, it is b b^T (b of the
        roots) + sum_i P_i (1 - p_i x_i) e_i e_i^T - sum_i P_i y_i b_i b_i^T, where x_i = 0 if i excludes its siblings,
        else 1, and y_i = 1 if the children of i exclude each other, else 0.
        """
        rows, (parents, rates) = check_vectors(vectors, self.n_features), self._arrays
        below = np.zeros((self.n_features + 1, rows.shape[1]))  # the last row is that of the roots
        for node in self._order[::-1].tolist():
            below[parents[node]] += rates[node] * (rows[node] + below[node])
        root, below = below[-1], below[:-1]
        alone = (parents < 0) | ~self._exclusive[parents]
        inside, between = rows + below, self._marginals * self._exclusive
        spread = inside.T @ ((self._marginals * (1.0 - rates * alone))[:, None] * inside)
        return np.asarray(np.outer(root, root) + spread - below.T @ (between[:, None] * below))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples; only children of features that fire are visited."""
        n = check_int("n", n, 0)
        return Support(*draw_tree(self._tree, n, rng), self.n_features)
