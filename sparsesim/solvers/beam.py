"""Matching pursuit along several paths at once: a beam of supports, each grown by one atom a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.paths import search_
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks, placed, same_k
from sparsesim.solvers.start import begun, part


@final
@dataclass(frozen=True)
class BeamPursuit:
    """Encodes by least squares on the best of the supports that a beam of ``width`` paths reaches in k levels.

    A level extends every path by each of the ``branch`` atoms of largest |correlation| with its residual (the lowest
    index wins ties), drops repeated sets of atoms, and keeps the ``width`` supports of smallest residual. One path with
    one branch is orthogonal matching pursuit; one path with p branches is order-recursive matching pursuit, which
    chooses by the residual it leads to; enough paths and p branches visit every support. A wider beam is not always
    better: a support that leads a level may lead nowhere.

    A path ends when no correlation is told from rounding (64 eps ||x||) or when its best atoms depend on it (squared
    distance below 1e-10); a row ends at the first level with a residual norm of at most ``tolerance * ||x||``.
    Computed in float64 whatever the precision of ``x``.

    Parameters
    ----------
    k : atoms a row, in [1, min(p, d)].
    width : paths kept a level.
    branch : extensions tried of a path; None is as many as paths.
    non_negative : extend by positive correlation and solve non-negative least squares. An atom whose coefficient falls
        to zero keeps its place and may come back into use.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.

    References
    ----------
    Kwon, Wang, Shim (2014), "Multipath matching pursuit", arXiv:1308.4791, the breadth-first form, with the number of
    paths bounded; Cotter and Rao (2001), "Application of tree-based searches to matching pursuit".
    """

    k: int
    width: int = 8
    branch: int | None = None
    non_negative: bool = False
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_int("width", self.width, 1)
        if self.branch is not None:
            check_int("branch", self.branch, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds min(p, d)."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` all of whose paths begin with the atoms of ``start (n, p)``: they fit no worse.

        Of ``start`` the k largest codes of a row count (the positive ones, if ``non_negative``).

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = begun(start, x, atoms, self.k, bool(self.non_negative))
        k = same_k(self.k, atoms, len(x))
        shape = (self.width, min(self.width if self.branch is None else self.branch, len(atoms)))

        def code(block: Block) -> Parts:
            limit, own = (block.floor, float(self.tolerance), bool(self.non_negative)), k[block.rows]
            return placed(
                block,
                own,
                lambda out: search_(block.x, block.alpha, block.dictionary, own, shape, limit, out),
                held=part(begin, block)[:2],
            )

        return in_blocks(x, atoms, code)
