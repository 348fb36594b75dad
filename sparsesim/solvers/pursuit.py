"""Greedy pursuits: matching pursuit, orthogonal matching pursuit, and their non-negative forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real
from sparsesim.kernels.paths import search_
from sparsesim.kernels.pursuit import ROUNDING, correlate, matching_pursuit, orthogonal_pursuit, room, rows_of, stored
from sparsesim.solvers.blocks import row_blocks, row_scale
from sparsesim.solvers.start import begun, nearer, part

UNIT = 1e-4  # float32 rows of d <= 1e6 normalised in float32 are within 1e-4 of unit norm
BLOCK_ENTRIES = 2**19  # correlations held at a time: they stay in cache

Parts: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]  # data, indices, indptr


class Block(NamedTuple):
    """Rows ``x (b, d)`` of largest magnitude 1 in float64, ``alpha = x @ atoms.T (b, p)``, and what they share.

    ``rows`` are their places among all samples and ``scale (b, 1)`` their magnitudes; ``dictionary`` is the atoms,
    their transpose and their Gram matrix, which is empty where it is too large to store; ``floor`` is the correlation
    that is not told from rounding in the precision of the samples, as a fraction of ||x||.
    """

    rows: slice
    x: FloatArray
    alpha: FloatArray
    scale: FloatArray
    dictionary: tuple[FloatArray, FloatArray, FloatArray]
    floor: float


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
    if not unit.flags.writeable:  # those of a fit: to numba another type, for which it would compile every kernel again
        unit = unit.copy()
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
    may come back into use; only positive coefficients are returned. This form is computed in float64 throughout.

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
    return _orthogonal(x, atoms, steps, bool(non_negative), float(tolerance), None)


def _orthogonal(
    x: FloatArray, atoms: FloatArray, k: IntArray, non_negative: bool, tolerance: float, start: Codes | None
) -> Codes:
    """Return the codes of checked samples, row i of at most ``k[i]`` atoms, those of ``start`` (or none) first."""
    if non_negative:
        return _non_negative(x, atoms, k, tolerance, start)
    data, indices, indptr = _nothing(x.dtype)
    if len(x):
        held = None if start is None else (start.indptr.astype(np.int64), start.indices.astype(np.int64))
        data, indices, indptr = orthogonal_pursuit(x, atoms, k, tolerance, held)
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


def _nothing(dtype: np.dtype[Any]) -> Parts:
    return np.empty(0, dtype), np.empty(0, np.int32), np.zeros(1, np.int64)


def in_blocks(x: FloatArray, atoms: FloatArray, code: Callable[[Block], Parts]) -> Codes:
    """Return the codes ``(n, p)`` that ``code`` finds for rows of largest magnitude 1, in float64, a block at a time.

    ``x`` and ``atoms`` are `checked`; what comes back is in the units and the precision of ``x``. Each row is coded
    from the same bits whatever the rows beside it.
    """
    wide, parts = atoms.astype(np.float64, copy=False), [_nothing(np.dtype(np.float64))]
    dictionary = stored(wide, len(wide)) if len(x) else (wide, wide.T, wide[:0])
    floor = ROUNDING * float(np.finfo(x.dtype).eps)
    for rows in row_blocks(len(x), BLOCK_ENTRIES, len(atoms)):
        block = x[rows].astype(np.float64)
        scale = row_scale(block)
        block /= scale
        data, indices, indptr = code(Block(rows, block, correlate(block, wide), scale, dictionary, floor))
        parts.append((data * np.repeat(scale[:, 0], np.diff(indptr)), indices, indptr))
    limits = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part[2]) for part in parts]))])
    data, indices = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    codes = Codes((data.astype(x.dtype), indices, limits), shape=(len(x), len(atoms)))
    codes.sort_indices()
    return codes


def placed(
    block: Block,
    places: IntArray,
    fill: Callable[[tuple[npt.NDArray[Any], ...]], None],
    held: tuple[IntArray, IntArray] | None = None,
) -> Parts:
    """Return the codes that ``fill`` writes, with at most ``places`` entries a row.

    ``held`` are supports to begin with, as limits ``(b + 1,)`` and atoms; ``fill`` finds them in its arrays.
    """
    start, (indices, data, count) = room(places, block.x.dtype)
    if held is not None:
        limits, atoms = held
        count[:] = np.diff(limits)
        indices[np.arange(len(atoms)) + np.repeat(start[:-1] - limits[:-1], count)] = atoms
    fill((start[:-1], indices, data, count))
    return rows_of(start, count, indices, data)


def same_k(k: int, atoms: FloatArray, rows: int) -> IntArray:
    """Return ``k`` for each of ``rows`` rows; raises ValueError where it exceeds min(p, d)."""
    return np.full(rows, check_int("k", k, 1, min(atoms.shape), high_name="min(p, d)"), dtype=np.int64)


def _non_negative(x: FloatArray, atoms: FloatArray, k: IntArray, tolerance: float, start: Codes | None) -> Codes:
    def code(block: Block) -> Parts:
        limit, own = (block.floor, tolerance, True), k[block.rows]
        return placed(
            block,
            own,
            lambda out: search_(block.x, block.alpha, block.dictionary, own, (1, 1), limit, out),
            held=part(start, block)[:2],
        )

    return in_blocks(x, atoms, code)


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

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` whose first steps choose the atoms of ``start (n, p)``: they fit no worse than these.

        The codes of fewer steps are gone on with. Of ``start`` the k largest codes of a row count (the positive ones,
        if ``non_negative``); all are taken before ``tolerance`` is looked at, but for those that depend on others.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = begun(start, x, atoms, self.k, bool(self.non_negative))
        k = same_k(self.k, atoms, len(x))
        return _orthogonal(x, atoms, k, bool(self.non_negative), float(self.tolerance), begin)


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
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` after ``k`` selections more than those that led to ``start (n, p)``.

        A row begins at its codes (the positive ones, if ``non_negative``), or at zero if that is nearer, and so never
        fits worse than these.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        if not len(x):
            return Codes((0, len(atoms)), dtype=x.dtype)
        begin = Codes((len(x), len(atoms))) if start is None else start
        begin, left, share = nearer(begin, x, atoms, bool(self.non_negative))
        parts = matching_pursuit(left, atoms, self.k, float(self.tolerance), bool(self.non_negative), share)
        codes = Codes(parts, shape=(len(x), len(atoms)))
        if not begin.nnz:
            return codes
        total = Codes((begin + codes).astype(x.dtype))
        total.eliminate_zeros()
        total.sort_indices()
        return total
