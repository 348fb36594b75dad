"""The best codes of at most k atoms, proven so: branch and bound over supports, for small problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real, read_only
from sparsesim.kernels.exhaustive import MARGIN, exhaustive_search
from sparsesim.kernels.pursuit import correlate, rows_of
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks
from sparsesim.solvers.start import begun, part

LARGEST_WIDTH = 2048  # k - 1 projected Gram matrices a thread
RESOLVED = 1e-7  # of ||x||: a smaller residual norm is rounding
Searched: TypeAlias = tuple[tuple[IntArray, FloatArray, IntArray], FloatArray]


@final
@dataclass(frozen=True, eq=False)
class CertifiedCodes:
    """Codes, and for each row a lower bound on the objective of every other code that was allowed.

    Attributes
    ----------
    codes : (n, p)
    bound : (n,)
        No z with at most k non-zeros (none negative, if asked) has ``||x - z A||^2 + penalty * ||z||_0`` below this, to
        a relative 1e-12 of ``||x||^2``; where a tolerance ended the row, no z with at most as many as its codes.
    proven : (n,) booleans
        Whether the codes reach the bound and, where a tolerance ended the row, no z with fewer non-zeros reaches that;
        False where ``max_nodes`` was spent first.
    nodes : (n,) sets of atoms whose extensions were examined.
    """

    codes: Codes
    bound: FloatArray
    proven: npt.NDArray[np.bool_]
    nodes: IntArray


@final
@dataclass(frozen=True)
class ExhaustiveSearch:
    """Encodes by the minimum of ``||x - z A||^2 + penalty * ||z||_0`` over all z with at most k non-zeros.

    Depth-first branch and bound: sets with two atoms left to choose are settled in closed form, and larger ones are cut
    where neither the residual energy nor Gershgorin's bound on the atoms left allows an improvement. The work is at
    most C(p, k - 2) p^2 a row, and much less where atoms are of low coherence. A support replaces another only if it
    gains more than 1e-13 ||x||^2, so that rounding adds no atom; sets that hold an atom within 1e-5 of the span of the
    others are not used. With a ``tolerance`` the codes have the fewest non-zeros whose residual norm is at most
    ``tolerance * ||x||``, and of these the least error; k where that is not enough. Supports of each size are then
    searched in turn, those that cannot reach the tolerance being cut too. The residual is resolved to 1e-7 ||x||, and
    smaller tolerances act as that. Computed in float64 whatever the precision of ``x``.

    Parameters
    ----------
    k : non-zeros a row at most, in [1, min(p, d)].
    penalty : price of a non-zero, in squared error summed over d.
    non_negative : among z >= 0.
    max_nodes : sets extended a row (of each size, with a tolerance), after which the best codes so far are returned,
        not proven.
    tolerance : a row is coded with the fewest atoms that leave at most this fraction of its norm; it takes no penalty.
    """

    k: int
    penalty: float = 0.0
    non_negative: bool = False
    max_nodes: int = 1_000_000
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("penalty", self.penalty, 0.0)
        check_int("max_nodes", self.max_nodes, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        if self.penalty > 0 and self.tolerance > 0:
            raise ValueError(
                f"a tolerance asks for the fewest atoms and a penalty prices them; got tolerance={self.tolerance} and "
                f"penalty={self.penalty}. Set one of them to 0."
            )

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError as `certified`."""
        return self.certified(x, atoms).codes

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the codes ``(n, p)`` found with supports of ``start (n, p)`` to beat; raises as `certified`."""
        return self.certified(x, atoms, start).codes

    def certified(self, x: FloatArray, atoms: FloatArray, start: Codes | None = None) -> CertifiedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``, with a lower bound and whether they reach it.

        The k largest codes of a row of ``start (n, p)`` (the positive ones, if ``non_negative``) are the first support
        that others must beat, so that fewer sets are examined, and what is returned is never worse than least squares
        on them. The minimum is the same; of supports within 1e-13 ``||x||^2`` of it the given one is kept.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, k exceeds min(p, d), p exceeds 2048, or ``start`` is not
            finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        k = check_int("k", self.k, 1, min(atoms.shape), high_name="min(p, d)")
        if len(atoms) > LARGEST_WIDTH:
            raise ValueError(
                f"exhaustive search holds k - 1 matrices (p, p) a thread and takes p <= {LARGEST_WIDTH}; got "
                f"p={len(atoms)}. Use BeamPursuit, or select the atoms that can be active first."
            )
        wide = atoms.astype(np.float64, copy=False)
        gram, certificate = correlate(wide, wide), np.empty((len(x), 3))
        limit = (k, int(self.max_nodes), bool(self.non_negative))
        begin = begun(start, x, atoms, k, bool(self.non_negative))

        def code(block: Block) -> Parts:
            (indices, data, count), own = self._searched(block, gram, _listed(part(begin, block)[:2], k), limit)
            with np.errstate(over="ignore", under="ignore"):  # the squared error of 1e200 is infinite
                own[:, 0] *= np.square(block.scale[:, 0])
            certificate[block.rows] = own
            start = np.arange(0, indices.size + 1, k)
            return rows_of(start, count, indices.ravel().astype(np.int32), data.ravel())

        codes = in_blocks(x, atoms, code)
        bound, nodes, proven = certificate.T
        return CertifiedCodes(codes, read_only(bound), read_only(proven > 0), read_only(nodes.astype(np.int64)))

    def _searched(
        self, block: Block, gram: FloatArray, given: npt.NDArray[np.int64], limit: tuple[int, int, bool]
    ) -> Searched:
        """Return `exhaustive_search` of a block: of k atoms, or of ever more atoms until rows are within tolerance."""
        (k, nodes, sign), none = limit, np.zeros(len(block.x))
        price = _price(float(self.penalty), block.scale[:, 0])
        if self.tolerance == 0:
            return exhaustive_search(block.x, block.alpha, gram, (price, none), given, limit)
        energy = np.square(block.x).sum(axis=1)
        need = energy * (1 - max(self.tolerance, RESOLVED) ** 2)
        indices, data = np.zeros((len(none), k), np.int64), np.zeros((len(none), k))
        count, record = np.zeros(len(none), np.int64), np.stack([energy, none, none + 1], axis=1)
        open_ = np.flatnonzero(need > 0)
        for size in range(1, k + 1):
            # at the last size the best codes are wanted, within the tolerance or not
            least = need[open_] * (1 - MARGIN) - MARGIN * energy[open_] if size < k else none[open_]
            part, own = exhaustive_search(
                block.x[open_], block.alpha[open_], gram, (price[open_], least), given[open_], (size, nodes, sign)
            )
            indices[open_, :size], data[open_, :size], count[open_] = part
            record[open_, 0] = own[:, 0]
            record[open_, 1] += own[:, 1]
            record[open_, 2] *= own[:, 2]
            open_ = open_[part[2] == 0]
            if not len(open_):
                break
        return (indices, data, count), record


def _listed(held: tuple[IntArray, IntArray], k: int) -> npt.NDArray[np.int64]:
    """Return supports of at most k atoms, given as limits ``(b + 1,)`` and atoms, as rows ``(b, k)`` ended by -1."""
    limits, atoms = held
    sizes = np.diff(limits)
    out = np.full((len(sizes), k), -1, np.int64)
    out[np.repeat(np.arange(len(sizes)), sizes), np.arange(len(atoms)) - np.repeat(limits[:-1], sizes)] = atoms
    return out


def _price(penalty: float, scale: FloatArray) -> FloatArray:
    """Return ``penalty / scale^2 (n,)``; where it leaves the range it acts as the range's end."""
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        level: FloatArray = penalty / scale / scale
    return np.clip(level, limits.tiny if penalty > 0 else 0.0, limits.max / 1e6)
