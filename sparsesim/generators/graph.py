"""Features in an acyclic graph: a child may have several parents and needs any one, or all, of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.elimination import joint_rate, rates_above
from sparsesim.generators.rates import check_rates
from sparsesim.generators.support import check_vectors
from sparsesim.kernels.structured import Graph, draw_graph, graph_of

_MOST_PAIRS = 2**22  # related pairs whose joint rates are kept
_PAIRS_AT_ONCE = 2**14


@final
@dataclass(frozen=True)
class AcyclicGraph:
    """A feature fires only if any one (or all) of its parents fire, then with a probability of its own.

    Given that its parents satisfy it, i fires with probability ``rates[i]``, independently of everything else that is
    not below it. With one parent each it is a non-exclusive `Forest`, in law.

    Rates are exact: those of a node follow from its parent's if it has one, from a product if its parents have no
    common ancestor, and else from elimination over its ancestors, which costs time in proportion to their number and
    is refused where more than 65,536 states of them would have to be told apart. `draw` has no such limit: it visits
    only nodes one of whose parents fires, by geometric skipping, and decides each once.

    Parameters
    ----------
    parents : the parents of each feature; () for a root. Nodes may stand in any order.
    rates : probability to fire given that the parents satisfy the feature; for a root, its firing rate.
    needs : "any" or "all", for all features or one for each.

    Raises
    ------
    ValueError
        For a cycle (which is shown), a parent twice, an index out of range or rates outside [0, 1].
    """

    parents: tuple[tuple[int, ...], ...]
    rates: tuple[float, ...]
    needs: str | tuple[str, ...] = "any"

    def __post_init__(self) -> None:
        _levels(self.parents)
        m = len(self.parents)
        check_rates("rates", self.rates)
        if len(self.rates) != m:
            raise ValueError(f"rates must be as many as parents, m={m}; got {len(self.rates)}.")
        if not isinstance(self.needs, str | tuple):
            raise TypeError(f'needs must be "any", "all" or a tuple of them; got {self.needs!r}.')
        if isinstance(self.needs, tuple) and len(self.needs) != m:
            raise ValueError(f"needs must be as many as parents, m={m}; got {len(self.needs)}.")
        for need in (self.needs,) if isinstance(self.needs, str) else self.needs:
            if need not in ("any", "all"):
                raise ValueError(f'needs must be "any" or "all"; got {need!r}.')

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return len(self.parents)

    @cached_property
    def _every(self) -> tuple[bool, ...]:
        needs = (self.needs,) * self.n_features if isinstance(self.needs, str) else self.needs
        return tuple(need == "all" for need in needs)

    @cached_property
    def _level(self) -> IntArray:
        return np.array(_levels(self.parents), dtype=np.int64)

    @cached_property
    def _order(self) -> list[int]:
        return [int(node) for node in np.argsort(self._level, kind="stable")]

    @cached_property
    def _roots_of(self) -> list[frozenset[int]]:
        roots: list[frozenset[int]] = [frozenset()] * self.n_features
        for node in self._order:
            above = self.parents[node]
            roots[node] = frozenset().union(*(roots[parent] for parent in above)) if above else frozenset([node])
        return roots

    def _is_entangled(self, node: int) -> bool:
        """Say whether two parents of ``node`` have an ancestor in common, so that they are not independent."""
        return sum(len(self._roots_of[parent]) for parent in self.parents[node]) > len(self._roots_of[node])

    @cached_property
    def _marginals(self) -> FloatArray:
        marginals = np.zeros(self.n_features)
        eliminated: dict[int, float] = {}
        for node in reversed(self._order):  # from the deepest, whose elimination gives the rates of all above it
            if node not in eliminated and self._is_entangled(node):
                eliminated |= rates_above(self.parents, self._every, self.rates, (node,))
        for node in self._order:
            above = list(self.parents[node])
            if self._is_entangled(node):
                marginals[node] = eliminated[node]
            else:
                marginals[node] = self.rates[node] * _gate(marginals[above], self._every[node] or not above)
        return read_only(marginals)

    @cached_property
    def _graph(self) -> Graph:
        bound = np.zeros(self.n_features)  # a union bound, since the exact rates may be out of reach
        for node in self._order:
            above = bound[list(self.parents[node])]
            gate = above.min(initial=1.0) if self._every[node] or not len(above) else min(above.sum(), 1.0)
            bound[node] = self.rates[node] * gate
        rates = np.array(self.rates, dtype=np.float64)
        return graph_of(self.parents, rates, np.array(self._every), self._level, float(bound.sum()))

    @cached_property
    def _related(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Pairs of features with a common ancestor, ``first`` not above ``second`` in level, and their joint rates."""
        earlier = self._earlier_relatives()
        joint: list[dict[int, float]] = [{} for _ in self.parents]
        for node in self._order:
            joint[node] = {other: self._joint_with_earlier(node, other, joint) for other in earlier[node]}
        first = np.array([other for row in joint for other in row], dtype=np.int64)
        second = np.repeat(np.arange(self.n_features), [len(row) for row in joint])
        return first, second, np.array([rate for row in joint for rate in row.values()])

    def _earlier_relatives(self) -> dict[int, list[int]]:
        """Return for each node those before it in `_order` with which it has a root in common."""
        members: dict[int, list[int]] = {}
        earlier: dict[int, list[int]] = {}
        total = 0
        for node in self._order:
            earlier[node] = sorted({other for root in self._roots_of[node] for other in members.get(root, ())})
            total += len(earlier[node])
            if total > _MOST_PAIRS:
                raise ValueError(
                    f"the graph has more than {_MOST_PAIRS} pairs of features with a common ancestor, too many for "
                    "their joint rates. Use Forest where every feature has one parent, or fewer features."
                )
            for root in self._roots_of[node]:
                members.setdefault(root, []).append(node)
        return earlier

    def _joint_with_earlier(self, node: int, other: int, joint: list[dict[int, float]]) -> float:
        if len(self.parents[node]) > 1:
            return joint_rate(self.parents, self._every, self.rates, (other, node))
        parent = self.parents[node][0]
        if parent == other:
            return float(self._marginals[node])
        earlier, later = (joint[parent], other) if other in joint[parent] else (joint[other], parent)
        return self.rates[node] * earlier[later]  # the parent has all roots of the node, so one of the two is known

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, read-only.

        Raises
        ------
        ValueError
            If a node's ancestors are too entangled for an exact rate.
        """
        return self._marginals

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal.

        Raises
        ------
        ValueError
            If the ancestors of a pair are too entangled, or more than 2^22 pairs have a common ancestor.
        """
        joint = np.outer(self._marginals, self._marginals)
        first, second, rates = self._related
        joint[first, second] = joint[second, first] = rates
        np.fill_diagonal(joint, self._marginals)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2; its cost follows the pairs with an ancestor.

        It is ||sum p_i v_i||^2 + sum p_i (1 - p_i) ||v_i||^2 + 2 sum over related pairs (P_ij - p_i p_j) v_i . v_j.

        Raises
        ------
        ValueError
            As `pairwise`.
        """
        rows, rates = check_vectors(vectors, self.n_features), self._marginals
        centre = rates @ rows
        total = float(centre @ centre + (rates * (1.0 - rates)) @ np.einsum("ij,ij->i", rows, rows))
        first, second, joint = self._related
        for low in range(0, len(first), _PAIRS_AT_ONCE):
            i, j = first[low : low + _PAIRS_AT_ONCE], second[low : low + _PAIRS_AT_ONCE]
            excess = joint[low : low + _PAIRS_AT_ONCE] - rates[i] * rates[j]
            total += 2.0 * float(excess @ np.einsum("ij,ij->i", rows[i], rows[j]))
        return total

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        return Support(*draw_graph(self._graph, n, rng), self.n_features)


def _gate(rates: FloatArray, every: bool) -> float:
    """Return P(all fire), or P(any fires), of independent events of the given ``rates``."""
    if every:
        return float(np.prod(rates))
    if rates.max(initial=0.0) >= 1.0:
        return 1.0
    return float(-np.expm1(np.log1p(-rates).sum()))


def _levels(parents: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the length of the longest path from a root to each node, raising for anything but an acyclic graph."""
    if not isinstance(parents, tuple) or not all(isinstance(above, tuple) for above in parents):
        raise TypeError(f"parents must be a tuple of tuples, () for a root; got {parents!r:.80}.")
    m = len(parents)
    if not m:
        raise ValueError("parents must hold at least one node; got an empty tuple.")
    children: list[list[int]] = [[] for _ in range(m)]
    for node, above in enumerate(parents):
        for place, parent in enumerate(above):
            check_int(f"parents[{node}][{place}]", parent, 0, m - 1, high_name="m-1")
            children[parent].append(node)
        if len(set(above)) < len(above):
            raise ValueError(f"parents[{node}] must be distinct; got {above}. Name each parent once.")
    level, waiting = [0] * m, [len(above) for above in parents]
    order = [node for node in range(m) if not waiting[node]]
    for node in order:  # grows while it is walked
        for child in children[node]:
            level[child] = max(level[child], level[node] + 1)
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    if len(order) < m:
        raise ValueError(_circle(parents, waiting))
    return level


def _circle(parents: Sequence[tuple[int, ...]], waiting: list[int]) -> str:
    node, seen = next(node for node, left in enumerate(waiting) if left), dict[int, int]()
    while node not in seen:  # a node that waits has a parent that waits
        seen[node] = len(seen)
        node = next(parent for parent in parents[node] if waiting[parent])
    circle = [*list(seen)[seen[node] :], node]
    shown = " -> ".join(map(str, circle[:8])) + (" -> ..." if len(circle) > 8 else "")
    return f"parents must not run in a circle; got the cycle {shown}. Remove one of its edges."
