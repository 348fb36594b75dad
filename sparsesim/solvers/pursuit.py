"""Greedy pursuits: matching pursuit, orthogonal matching pursuit, and their non-negative forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real
from sparsesim.kernels.non_negative import non_negative_pursuit_
from sparsesim.kernels.pursuit import ROUNDING, correlate, matching_pursuit, orthogonal_pursuit, room, rows_of

UNIT = 1e-4  # float32 rows of d <= 1e6 normalised in float32 are within 1e-4 of unit norm
BLOCK_ENTRIES = 2**22  # correlations held at a time by the non-negative form


def checked(x: FloatArray, atoms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ``x (n, d)`` and unit ``atoms (p, d)``, C-contiguous in the precision of ``x``.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit, ``x`` is neither float32 nor float64 or not finite, or a row of ``atoms`` is neither
        unit nor zero.
    """
    if x.ndim != 2 or atoms.ndim != 2 or x.shape[1] != atoms.shape[1] or not len(atoms):
        raise ValueError(
            f"x (n, d) and atoms (p, d) must share d and p must be at least 1; got {x.shape} and {atoms.shape}."
        )
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"x must be float32 or float64; got {x.dtype}. Pass x.astype(np.float64).")
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise ValueError(f"x must be finite; row {row} holds NaN or infinity. Remove or impute such values.")
    unit = np.ascontiguousarray(atoms, dtype=x.dtype)
    norms = np.sqrt(np.einsum("pd,pd->p", unit, unit))
    if not np.all((np.abs(norms - 1) < UNIT) | (norms == 0)):
        raise ValueError(
            f"atoms must be unit rows (or zero); got norms in [{norms.min():g}, {norms.max():g}]. "
            "Pass unit_rows(atoms)[0]: selection by correlation compares atoms of equal length only."
        )
    return np.ascontiguousarray(x), unit


def orthogonal_matching_pursuit(
    x: FloatArray, atoms: FloatArray, k: int | IntArray, *, non_negative: bool = False, tolerance: float = 0.0
) -> Codes:
    """Return codes ``(n, p)`` that are the least squares solution on a support chosen greedily, one atom at a time.

    Each step chooses the atom of largest |correlation| with the residual (the lowest index wins ties) and solves least
    squares on all chosen atoms. A row ends early when its residual norm is at most ``tolerance * ||x||``, when no
    correlation is told from rounding (64 eps ||x||), or when the best atom depends on the chosen ones (squared
    distance below 1e-10 in float64, 1e-6 in float32). The residual norm is updated, not recomputed: it is resolved to
    about 1e-7 ||x|| in float64 and 1e-3 ||x|| in float32, and smaller tolerances act as that.
    float32 samples are searched in float32 and solved on the chosen support in float64.

    With ``non_negative`` a step chooses the atom of largest positive correlation, ends when there is none, and solves
    non-negative least squares on all chosen atoms. A chosen atom whose coefficient falls to zero counts as a step and
    may come back into use; only positive coefficients are returned.

    Parameters
    ----------
    x : (n, d) samples, centred.
    atoms : (p, d) unit rows; a zero row is never chosen.
    k : steps, one number or one for each row ``(n,)``, in [0, min(p, d)].

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, atoms are not unit rows, or ``k`` is out of range.

    References
    ----------
    Pati, Rezaiifar, Krishnaprasad (1993); the Gram form: Sturm and Christensen (2012), "Comparison of orthogonal
    matching pursuit implementations"; the non-negative form: Bruckstein, Elad, Zibulevsky (2008).
    """
    x, atoms = checked(x, atoms)
    check_real("tolerance", tolerance, 0.0, 1.0)
    steps = _steps(k, len(x), atoms)
    pursue = _non_negative if non_negative else orthogonal_pursuit
    data, indices, indptr = pursue(x, atoms, steps, float(tolerance)) if len(x) else _nothing(x.dtype)
    codes = Codes((data, indices, indptr), shape=(len(x), len(atoms)))
    codes.sort_indices()
    return codes


def _steps(k: int | IntArray, n: int, atoms: FloatArray) -> IntArray:
    most = min(atoms.shape)
    if isinstance(k, np.ndarray) and k.ndim:
        if k.shape != (n,) or k.dtype.kind not in "iu":
            raise ValueError(
                f"k must be an integer or one integer a row, shape ({n},); got {k.dtype} of shape {k.shape}."
            )
        for value in (k.min(initial=0), k.max(initial=0)):
            check_int("k", int(value), 0, most, high_name="min(p, d)")
        return k.astype(np.int64)
    return np.full(n, check_int("k", k, 0, most, high_name="min(p, d)"), dtype=np.int64)


def _nothing(dtype: np.dtype[Any]) -> tuple[FloatArray, IntArray, IntArray]:
    return np.empty(0, dtype), np.empty(0, np.int32), np.zeros(1, np.int64)


def _non_negative(
    x: FloatArray, atoms: FloatArray, k: IntArray, tolerance: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``data, indices, indptr`` of the non-negative form, for rows scaled to largest magnitude 1."""
    start, (indices, data, count) = room(k, x.dtype)
    scale = np.abs(x).max(axis=1, keepdims=True)
    scale[scale == 0] = 1
    limit = (ROUNDING * float(np.finfo(x.dtype).eps), tolerance)
    size = max(1, BLOCK_ENTRIES // len(atoms))
    for low in range(0, len(x), size):
        rows = slice(low, low + size)
        block = x[rows] / scale[rows]
        out = (start[:-1][rows], indices, data, count[rows])
        non_negative_pursuit_(block, atoms, correlate(block, atoms), k[rows], limit, out)
    data, indices, indptr = rows_of(start, count, indices, data)
    data *= np.repeat(scale[:, 0], count)
    return data, indices, indptr


@final
@dataclass(frozen=True)
class OrthogonalMatchingPursuit:
    """Encodes by `orthogonal_matching_pursuit`: at most ``k`` atoms a row, least squares on the chosen support.

    Parameters
    ----------
    k : steps, in [1, min(p, d)].
    non_negative : choose by positive correlation and solve non-negative least squares.
    tolerance : a row ends when its residual norm is at most this fraction of its norm; 0 asks for all ``k``.
    """

    k: int
    non_negative: bool = False
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds min(p, d)."""
        return orthogonal_matching_pursuit(x, atoms, self.k, non_negative=self.non_negative, tolerance=self.tolerance)


@final
@dataclass(frozen=True)
class MatchingPursuit:
    """Encodes by matching pursuit: ``k`` selections, each taking out the part of the residual along one atom.

    A selection is the atom of largest |correlation| c with the residual r (the lowest index wins ties), and does
    ``z_i += c``, ``r -= c a_i``; an atom may be selected again, so a row has at most ``k`` non-zeros.
    A row ends early as in `orthogonal_matching_pursuit`, except that there is no dependence to test.

    Parameters
    ----------
    k : selections, at least 1; it may exceed the width.
    non_negative : select by positive correlation only, so that coefficients are positive and never fall.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.

    References
    ----------
    Mallat and Zhang (1993), "Matching pursuits with time-frequency dictionaries".
    """

    k: int
    non_negative: bool = False
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        x, atoms = checked(x, atoms)
        if not len(x):
            return Codes((0, len(atoms)), dtype=x.dtype)
        parts = matching_pursuit(x, atoms, self.k, float(self.tolerance), bool(self.non_negative))
        return Codes(parts, shape=(len(x), len(atoms)))
