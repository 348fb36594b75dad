"""Gradient pursuit: a greedy choice of atoms with one gradient step in place of each least squares problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.gradient import gradient_pursuit_
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks, placed
from sparsesim.solvers.start import begun, part, within_sight


@final
@dataclass(frozen=True)
class GradientPursuit:
    """Encodes by k selections, each followed by the best step along the gradient on all atoms selected so far.

    A selection is the atom of largest |correlation| with the residual r (the lowest index wins ties); with g = A_S r on
    the selected atoms S, it does ``z_S += t g`` with ``t = ||g||^2 / ||g A_S||^2``. With one atom, or orthonormal
    atoms, that is matching pursuit; in general a single step may remove less than matching pursuit's from the same
    residual, where g is spread over correlated atoms. An atom may be selected again, so a row has at most k non-zeros.
    With ``non_negative`` a selection is the atom of largest positive correlation, coefficients at zero whose slope is
    negative are left out of g, and the step ends where the first of the others reaches zero: the error falls at every
    selection all the same. Where no correlation is positive, a selection is a step without a new atom. This form is
    derived here. A row ends early as in `MatchingPursuit`. Computed in float64
    whatever the precision of ``x``.

    Parameters
    ----------
    k : selections, at least 1; it may exceed the width.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.
    non_negative : select by positive correlation and keep coefficients from falling below zero.

    References
    ----------
    Blumensath and Davies (2008), "Gradient pursuits", Section III-A.
    """

    k: int
    tolerance: float = 0.0
    non_negative: bool = False

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` after ``k`` selections more than those that led to ``start (n, p)``.

        A row begins at its codes (the positive ones, if ``non_negative``), or at zero if that is nearer, and so never
        fits worse than these. Codes of fewer selections are gone on with.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = within_sight(begun(start, x, atoms, len(atoms), bool(self.non_negative)), x)

        def code(block: Block) -> Parts:
            limit, given = (block.floor, float(self.tolerance), bool(self.non_negative)), part(begin, block)
            return placed(
                block,
                np.minimum(self.k + np.diff(given[0]), len(atoms)),
                lambda out: gradient_pursuit_(block.x, block.alpha, block.dictionary, self.k, limit, given, out),
            )

        return in_blocks(x, atoms, code)
