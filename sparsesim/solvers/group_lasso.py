"""Lassos of groups of atoms: disjoint groups, and groups nested in each other as a tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real
from sparsesim.kernels.group_lasso import group_lasso_
from sparsesim.kernels.pursuit import correlate
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.blocks import row_blocks, row_scale, scaled_penalty
from sparsesim.solvers.proximal_gradient import largest_eigenvalue
from sparsesim.solvers.pursuit import checked
from sparsesim.solvers.start import checked_start

BLOCK_ENTRIES = 2**22  # dense codes held at a time


@final
@dataclass(frozen=True)
class TreeLasso:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * sum_g w_g ||z_g||``, groups nested or disjoint.

    Atoms outside all groups are not penalised, which is refused. A group that holds others switches them all off at
    once; so a code may use an atom only if every group around it is in use, the tree of a hierarchy. A row is done when
    its duality gap is at most ``tolerance * ||x||^2 / 2``, or after ``max_iterations`` steps. All computation is in
    float64, on the Gram matrix of the atoms; codes come back in the precision of ``x``.

    Parameters
    ----------
    penalty : positive, in the units of ``x``.
    groups : the atoms of each group; two groups are disjoint, or one holds the other, or both are the same.
    weights : the w_g, positive, one a group; the square roots of the group sizes if empty.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap.
    max_iterations : accelerated proximal gradient steps.

    References
    ----------
    Jenatton, Mairal, Obozinski and Bach (2011), "Proximal methods for hierarchical sparse coding", arXiv:1009.2139,
    algorithm 1; O'Donoghue and Candès, arXiv:1204.3982, restart.
    """

    penalty: float
    groups: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...] = ()
    non_negative: bool = False
    tolerance: float = 1e-6
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        check_real("penalty", self.penalty, 0.0, open_low=True)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iterations", self.max_iterations, 1)
        _check_groups(self.groups)
        if self.weights and len(self.weights) != len(self.groups):
            raise ValueError(f"weights must be one a group; got {len(self.weights)} for {len(self.groups)} groups.")
        for weight in self.weights:
            check_real("weights", weight, 0.0, open_low=True)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where groups miss an atom."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the same codes ``(n, p)`` to within the tolerance, reached from ``start (n, p)`` instead of zero.

        A start near the end, such as the codes at another penalty, saves steps; a row whose start is worse than zero
        begins at zero.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        groups = _compressed(self.groups, self.weights, len(atoms))
        wide = atoms.astype(np.float64, copy=False)
        lipschitz = largest_eigenvalue(wide)
        if not len(x) or lipschitz == 0:
            return Codes((len(x), len(atoms)), dtype=x.dtype)
        gram, rule = correlate(wide, wide), (1 / lipschitz, bool(self.non_negative))
        stop, parts = (float(self.tolerance), int(self.max_iterations)), []
        for block in row_blocks(len(x), BLOCK_ENTRIES, len(wide)):
            scale = row_scale(x[block]).astype(np.float64)
            rows = x[block] / scale
            data, level = (
                (correlate(rows, wide), np.square(rows).sum(axis=1), gram),
                scaled_penalty(self.penalty, scale),
            )
            first = np.zeros((len(rows), len(wide))) if begin is None else begin[block].toarray() / scale
            if begin is not None:
                self._worthwhile(first, rows, wide, (groups, level))
            out = (first, np.empty(len(rows)))
            group_lasso_(data, groups, level, rule, stop, out)
            parts.append(Codes(out[0] * scale))
        return Codes(vstack(parts, format="csr", dtype=x.dtype))

    def _worthwhile(
        self,
        z: FloatArray,
        x: FloatArray,
        atoms: FloatArray,
        law: tuple[tuple[IntArray, IntArray, FloatArray], FloatArray],
    ) -> None:
        """Make ``z`` feasible, and zero in the rows where its objective is above that of zero."""
        if self.non_negative:
            np.maximum(z, 0, out=z)
        (limits, members, weights), level = law
        parts = zip(limits[:-1], limits[1:], weights, strict=True)
        norm = sum(w * np.linalg.norm(z[:, members[low:high]], axis=1) for low, high, w in parts)
        value = np.square(x - synthesise(Codes(z), atoms)).sum(axis=1) / 2 + level * norm
        z[~(value < np.square(x).sum(axis=1) / 2)] = 0

    def duality_gap(self, x: FloatArray, atoms: FloatArray, codes: Codes) -> FloatArray:
        """Return the duality gap at ``codes`` over ``||x||^2 / 2``, one for each row ``(n,)``, in float64.

        As for the lasso, with the dual norm of the slopes in the place of the largest: found to 1e-13 by bisection of
        the t at which the proximal map of ``t sum_g w_g ||.||`` gives zero. A zero row with codes has infinity.
        """
        limits, members, weights = _compressed(self.groups, self.weights, len(atoms))
        wide, scale = atoms.astype(np.float64), row_scale(x).astype(np.float64)
        sample, z = x / scale, codes.toarray().astype(np.float64) / scale
        fit = synthesise(Codes(z), wide)
        slope = (sample - fit) @ wide.T
        level = scaled_penalty(self.penalty, scale)
        parts = [(members[low:high], w) for low, high, w in zip(limits[:-1], limits[1:], weights, strict=True)]
        t = level / np.maximum(_dual_norms(slope, parts, self.non_negative), level)
        norm = sum(w * np.linalg.norm(z[:, group], axis=1) for group, w in parts)
        distance, inner = np.square(sample - fit).sum(axis=1), ((sample - fit) * fit).sum(axis=1)
        gap = (1 - t) ** 2 * distance / 2 + level * norm - t * inner
        energy = np.square(sample).sum(axis=1) / 2
        return np.where(energy > 0, gap / np.where(energy > 0, energy, 1), np.where(norm > 0, np.inf, 0.0))


def _dual_norms(slope: FloatArray, parts: list[tuple[IntArray, float]], non_negative: bool) -> FloatArray:
    """Return the dual norm of each row from above, by bisection."""
    start = np.maximum(slope, 0) if non_negative else slope
    low = np.zeros((len(slope), 1))
    high = np.sqrt(np.square(start).sum(axis=1, keepdims=True)) / min(w for _, w in parts)
    for _ in range(50):
        middle, v = (low + high) / 2, start.copy()
        for group, w in parts:
            norms = np.linalg.norm(v[:, group], axis=1, keepdims=True)
            v[:, group] *= np.maximum(1 - w * middle / np.where(norms > 0, norms, 1), 0)
        zero = ~v.any(axis=1, keepdims=True)
        low, high = np.where(zero, low, middle), np.where(zero, middle, high)
    result: FloatArray = high[:, 0]
    return result


def _check_groups(groups: tuple[tuple[int, ...], ...]) -> None:
    if not groups:
        raise ValueError("groups must hold at least one group of atoms; got none.")
    for group in groups:
        if len(set(group)) != len(group) or not group:
            raise ValueError(f"groups must hold atoms, each once; got {group}.")
        for atom in group:
            check_int("groups", atom, 0)
    owner: dict[int, frozenset[int]] = {}
    for members in sorted((frozenset(group) for group in groups), key=len):
        for atom in members:
            inside = owner.get(atom, frozenset())
            if not inside <= members:
                raise ValueError(f"groups must be nested or disjoint; {sorted(inside)} and {sorted(members)} overlap.")
            owner[atom] = members


def _compressed(
    groups: Iterable[tuple[int, ...]], weights: tuple[float, ...], p: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return limits, members and weights of the groups, small groups, and so children, first."""
    listed = list(groups)
    values = list(weights) or [float(np.sqrt(len(group))) for group in listed]
    order = sorted(range(len(listed)), key=lambda g: len(listed[g]))
    members = np.array([atom for g in order for atom in listed[g]], dtype=np.int64)
    missing = set(range(p)) - set(members.tolist())
    if missing or members.max() >= p:
        raise ValueError(
            f"groups must cover the atoms 0 to {p - 1}; they reach {members.max()} and miss {len(missing)}."
        )
    limits = np.cumsum([0, *(len(listed[g]) for g in order)])
    return limits, members, np.array([values[g] for g in order])


@final
@dataclass(frozen=True)
class GroupLasso:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * sum_g sqrt(|g|) ||z_g||`` of disjoint groups.

    Groups are in use or not as a whole; inside one that is, codes are in general all non-zero. With groups of one atom
    it is `Lasso`. It is solved as the `TreeLasso` without nesting.

    Parameters
    ----------
    penalty : positive, in the units of ``x``.
    labels : the group of each atom, p integers of any value.
    non_negative, tolerance, max_iterations : as in `TreeLasso`.

    References
    ----------
    Yuan and Lin (2006), "Model selection and estimation in regression with grouped variables", eq. 2.1.
    """

    penalty: float
    labels: tuple[int, ...]
    non_negative: bool = False
    tolerance: float = 1e-6
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        _ = self.tree

    @property
    def tree(self) -> TreeLasso:
        """Return the same encoder as a tree whose groups hold no others; its `duality_gap` certifies codes."""
        atoms: dict[int, list[int]] = {}
        for atom, label in enumerate(self.labels):
            if isinstance(label, bool) or not isinstance(label, int):
                raise TypeError(f"labels must be integers, one an atom; got {label!r}.")
            atoms.setdefault(label, []).append(atom)
        groups = tuple(tuple(members) for members in atoms.values())
        return TreeLasso(self.penalty, groups, (), self.non_negative, self.tolerance, self.max_iterations)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples; raises ValueError where there is not one label an atom."""
        return self.tree.encode(x, atoms)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the same codes ``(n, p)`` to within the tolerance, reached from ``start``, as in `TreeLasso`."""
        return self.tree.encode_from(x, atoms, start)
