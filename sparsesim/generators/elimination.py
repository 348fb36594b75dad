"""Exact joint firing rates in an acyclic graph, by elimination of one ancestor after the other."""

from __future__ import annotations

from collections.abc import Sequence

MOST_STATES = 2**16


def _ancestors(parents: Sequence[tuple[int, ...]], targets: Sequence[int]) -> dict[int, list[int]]:
    """Return the targets and their ancestors, each after its parents, with the children among them.

    Depth first, so that a node is decided just before it is needed.
    """
    children: dict[int, list[int]] = {}
    begun: set[int] = set()
    for target in targets:
        path = [] if target in begun else [(target, iter(parents[target]))]
        begun.add(target)
        while path:
            node, above = path[-1]
            parent = next((parent for parent in above if parent not in begun), -1)
            if parent >= 0:
                begun.add(parent)
                path.append((parent, iter(parents[parent])))
                continue
            path.pop()
            children[node] = []
            for parent in parents[node]:
                children[parent].append(node)
    return children


def rates_above(
    parents: Sequence[tuple[int, ...]], every: Sequence[bool], rates: Sequence[float], targets: Sequence[int]
) -> dict[int, float]:
    """Return P(fires, as do all targets before it) of the distinct ``targets`` and their ancestors, as decided.

    With one target these are the firing rates of all its ancestors; the last entry is P(all targets fire).

    A table holds the probability of each reachable state of the gates that wait for further parents: one bit a gate,
    which says that a parent fired or, where ``every`` parent is needed, that one did not. A node is decided, its bit
    dropped and its children's set. All terms are positive, so small rates are as accurate as large ones.

    Raises
    ------
    ValueError
        If the table would hold more than 65,536 states.
    """
    children = _ancestors(parents, targets)
    bit = {node: 1 << place for place, node in enumerate(children)}
    table, found = {0: 1.0}, {}
    for node, below in children.items():
        needs_all = every[node] or not parents[node]
        on = sum(bit[child] for child in below if not every[child])
        off = sum(bit[child] for child in below if every[child])
        decided: dict[int, float] = {}
        found[node] = 0.0
        for state, probability in table.items():
            rest = state & ~bit[node]
            rate = rates[node] if bool(state & bit[node]) != needs_all else 0.0
            if rate > 0:
                decided[rest | on] = decided.get(rest | on, 0.0) + probability * rate
                found[node] += probability * rate
            if rate < 1 and node not in targets:  # branches in which a target is off are cut
                decided[rest | off] = decided.get(rest | off, 0.0) + probability * (1.0 - rate)
        table = decided
        if len(table) > MOST_STATES:
            raise ValueError(
                f"the ancestors of node {node} are too entangled for an exact rate: more than {MOST_STATES} states of "
                "them would have to be told apart. Remove parents, or share fewer ancestors."
            )
    return found


def joint_rate(
    parents: Sequence[tuple[int, ...]], every: Sequence[bool], rates: Sequence[float], targets: Sequence[int]
) -> float:
    """Return the probability that all distinct ``targets`` fire; raises ValueError as `rates_above` does."""
    return list(rates_above(parents, every, rates, targets).values())[-1]
