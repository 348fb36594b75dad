"""Least squares codes on supports that grow, shrink or are exchanged, from none or from given ones."""

from __future__ import annotations

from typing import Protocol

from sparsesim._arrays import Codes, FloatArray
from sparsesim.kernels.support import encode_
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks, placed, same_k
from sparsesim.solvers.start import begun, part


class Pursuit(Protocol):
    """What every search for a support has: how many atoms a row, of which sign, and when a row is done."""

    @property
    def k(self) -> int:
        """Return the most atoms of a row."""
        ...

    @property
    def non_negative(self) -> bool:
        """Return whether codes must not be negative."""
        ...

    @property
    def tolerance(self) -> float:
        """Return the norm of the residual, over ``||x||``, at which a row is done."""
        ...


def searched(
    method: int,
    x: FloatArray,
    atoms: FloatArray,
    pursuit: Pursuit,
    options: tuple[float, float, int],
    start: Codes | None = None,
) -> Codes:
    """Return the codes ``(n, p)`` that ``method`` of `encode_` finds with its ``options``.

    A row begins at least squares on the k largest codes of ``start (n, p)`` (the positive ones, if non-negative), or
    with no atom.

    Raises
    ------
    ValueError, TypeError
        If x and atoms are not `checked`, k exceeds min(p, d), or ``start`` is not finite codes ``(n, p)``.
    """
    x, atoms = checked(x, atoms)
    k, non_negative = same_k(pursuit.k, atoms, len(x)), bool(pursuit.non_negative)
    begin = begun(start, x, atoms, pursuit.k, non_negative)

    def code(block: Block) -> Parts:
        limit, own = (block.floor, float(pursuit.tolerance), non_negative), k[block.rows]
        return placed(
            block,
            own,
            lambda out: encode_(method, block.x, block.alpha, block.dictionary, own, limit, options, out),
            held=part(begin, block)[:2],
        )

    return in_blocks(x, atoms, code)
