"""The best codes of at most k atoms, proven so: branch and bound over supports, for small problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real, read_only
from sparsesim.kernels.exhaustive import exhaustive_search
from sparsesim.kernels.pursuit import correlate, rows_of
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks

LARGEST_WIDTH = 2048  # k - 1 projected Gram matrices a thread


@final
@dataclass(frozen=True, eq=False)
class CertifiedCodes:
    """Codes, and for each row a lower bound on the objective of every other code that was allowed.

    Attributes
    ----------
    codes : (n, p)
    bound : (n,)
        No z with at most k non-zeros (none negative, if asked) has ``||x - z A||^2 + penalty * ||z||_0`` below this, to
        a relative 1e-12 of ``||x||^2``.
    proven : (n,) booleans
        Whether the codes reach the bound; False where ``max_nodes`` was spent first.
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
    others are not used. Computed in float64 whatever the precision of ``x``.

    Parameters
    ----------
    k : non-zeros a row at most, in [1, min(p, d)].
    penalty : price of a non-zero, in squared error summed over d.
    non_negative : among z >= 0.
    max_nodes : sets extended a row, after which the best codes so far are returned, not proven.
    """

    k: int
    penalty: float = 0.0
    non_negative: bool = False
    max_nodes: int = 1_000_000

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("penalty", self.penalty, 0.0)
        check_int("max_nodes", self.max_nodes, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError as `certified`."""
        return self.certified(x, atoms).codes

    def certified(self, x: FloatArray, atoms: FloatArray) -> CertifiedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``, with a lower bound and whether they reach it.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, k exceeds min(p, d), or p exceeds 2048.
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

        def code(block: Block) -> Parts:
            price = _price(float(self.penalty), block.scale[:, 0])
            (indices, data, count), own = exhaustive_search(block.x, block.alpha, gram, price, limit)
            with np.errstate(over="ignore", under="ignore"):  # the squared error of 1e200 is infinite
                own[:, 0] *= np.square(block.scale[:, 0])
            certificate[block.rows] = own
            start = np.arange(0, indices.size + 1, k)
            return rows_of(start, count, indices.ravel().astype(np.int32), data.ravel())

        codes = in_blocks(x, atoms, code)
        bound, nodes, proven = certificate.T
        return CertifiedCodes(codes, read_only(bound), read_only(proven > 0), read_only(nodes.astype(np.int64)))


def _price(penalty: float, scale: FloatArray) -> FloatArray:
    """Return ``penalty / scale^2 (n,)``; where it leaves the range it acts as the range's end."""
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        level: FloatArray = penalty / scale / scale
    return np.clip(level, limits.tiny if penalty > 0 else 0.0, limits.max / 1e6)
