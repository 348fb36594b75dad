"""The lasso's exact path in the penalty: codes anywhere on it, its breakpoints, and its end, basis pursuit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.homotopy import follow_paths_, trace_path
from sparsesim.kernels.pursuit import correlate, room, rows_of
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.active_set import ActiveSet
from sparsesim.solvers.blocks import row_blocks, row_scale, scaled_penalty
from sparsesim.solvers.convex import Lasso, duality_gap
from sparsesim.solvers.pursuit import checked

STORED_GRAM = 4096  # a wider dictionary is multiplied with residuals instead (128 MiB of Gram matrix)
BLOCK_ENTRIES = 2**19  # correlations held at a time
DUAL = 1e-6  # penalty over max |y| whose residual is the dual point of basis pursuit
SOLVED = 1e-9  # relative duality gap: a path without ties ends at about 1e-14


@final
@dataclass(frozen=True, eq=False)
class LassoPath:
    """The lasso's codes of one sample for every penalty from ``penalties[-1]`` up; between breakpoints they are linear.

    Attributes
    ----------
    penalties : (s,) breakpoints, descending from max |A x|.
    codes : (s, p) codes at the breakpoints.
    complete : False where the path ended early, at ties that it could not resolve or at the most breakpoints allowed.
    """

    penalties: FloatArray
    codes: Codes
    complete: bool

    def at(self, penalty: float) -> FloatArray:
        """Return the codes ``(p,)`` at ``penalty``; raises ValueError below the last breakpoint."""
        check_real("penalty", penalty, float(self.penalties[-1]))
        if penalty >= self.penalties[0]:
            return np.zeros(self.codes.shape[1])
        right = int(np.searchsorted(-self.penalties, -penalty))  # the first breakpoint at or below the penalty
        high, low = self.penalties[right - 1], self.penalties[right]
        share = (high - penalty) / (high - low)
        codes: FloatArray = (1 - share) * self.codes[[right - 1]].toarray() + share * self.codes[[right]].toarray()
        row: FloatArray = codes[0]
        return row


def lasso_path(
    x: FloatArray,
    atoms: FloatArray,
    *,
    end: float = 0.0,
    non_negative: bool = False,
    max_breakpoints: int | None = None,
) -> LassoPath:
    """Return the exact lasso path of one sample, from the largest useful penalty down to ``end``, in float64.

    Parameters
    ----------
    x : (d,) sample, centred.
    atoms : (p, d) unit rows; a zero row stays at zero.
    end : penalty at which to stop; 0 goes to the sparsest (in l1) of the least squares codes.
    non_negative : codes stay at or above zero.
    max_breakpoints : where to give up, 100 + 10 min(p, d) if not given; a path may have exponentially many.

    Raises
    ------
    ValueError, TypeError
        If ``x`` is not one finite sample of d numbers, atoms are not unit rows, or ``end`` is negative.

    References
    ----------
    Osborne, Presnell and Turlach (2000), "A new approach to variable selection in least squares problems"; Efron et
    al. (2004), "Least angle regression", section 3.1; Mairal and Yu, arXiv:1205.0079, for the length of a path.
    """
    if np.ndim(x) != 1:
        raise ValueError(f"x must be one sample (d,); got shape {np.shape(x)}. Use Homotopy(penalty) for many.")
    rows, atoms = checked(np.asarray(x)[None], atoms)
    check_real("end", end, 0.0)
    limit = 100 + 10 * min(atoms.shape) if max_breakpoints is None else check_int("max_breakpoints", max_breakpoints, 2)
    wide, scale = atoms.astype(np.float64, copy=False), row_scale(rows).astype(np.float64)
    target = float(scaled_penalty(end, scale)[0])
    correlations = correlate(rows / scale, wide)[0]
    penalties, codes, reached = trace_path(correlations, (_gram(wide), wide), target, limit, bool(non_negative))
    return LassoPath(penalties * scale[0], Codes(codes * scale), reached <= target)


def _gram(atoms: FloatArray) -> FloatArray:
    return correlate(atoms, atoms) if len(atoms) <= STORED_GRAM else np.empty((0, len(atoms)))


def _end_of_paths(
    x: FloatArray, atoms: FloatArray, penalty: float, non_negative: bool
) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Return the codes ``(n, p)`` of checked samples at ``penalty`` on their paths, and which rows got there."""
    n, p, most = len(x), len(atoms), min(atoms.shape)
    wide = atoms.astype(np.float64, copy=False)
    gram, columns, arrived, parts = _gram(wide), np.asfortranarray(wide), np.ones(n, np.bool_), []
    for rows in row_blocks(n, BLOCK_ENTRIES, max(p, most)):
        scale = row_scale(x[rows]).astype(np.float64)
        start, out = room(np.full(len(scale), most), np.dtype(np.float64))
        end, reached = scaled_penalty(penalty, scale), np.empty(len(scale))
        rule = (100 + 10 * most, non_negative)
        follow_paths_(correlate(x[rows] / scale, columns), (gram, wide), end, rule, (start[:-1], *out, reached))
        data, indices, indptr = rows_of(start, out[2], out[0], out[1])
        data = data * np.repeat(scale[:, 0], np.diff(indptr))
        arrived[rows] = reached <= end
        parts.append(Codes((data, indices, indptr), shape=(len(scale), p)))
    return Codes(vstack(parts, format="csr", dtype=x.dtype)) if parts else Codes((0, p), dtype=x.dtype), arrived


@final
@dataclass(frozen=True)
class Homotopy:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * ||z||_1``, reached along the path from z = 0.

    The same minimum as `Lasso`, exact to rounding, with as many steps as the path has breakpoints. All computation is
    in float64; codes come back in the precision of ``x``. Where several atoms meet the penalty at once the path may
    take a wrong turn: rows that end above a relative duality gap of 1e-9 are encoded by `Lasso`.

    Parameters
    ----------
    penalty : weight of the l1 norm, positive, in the units of ``x``.
    non_negative : minimise over z >= 0.

    References
    ----------
    Osborne, Presnell and Turlach (2000); Efron et al. (2004), "Least angle regression", section 3.1.
    """

    penalty: float
    non_negative: bool = False

    def __post_init__(self) -> None:
        check_real("penalty", self.penalty, 0.0, open_low=True)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        x, atoms = checked(x, atoms)
        wide = x.astype(np.float64, copy=False)
        codes, _ = _end_of_paths(wide, atoms, self.penalty, bool(self.non_negative))
        gaps = duality_gap(wide, atoms, codes, self.penalty, non_negative=self.non_negative)
        lost = np.flatnonzero(~(gaps <= SOLVED))
        if len(lost):
            again = Lasso(self.penalty, self.non_negative, SOLVED).encode(wide[lost], atoms.astype(np.float64))
            order = np.arange(len(x))
            order[lost] = len(x) + np.arange(len(lost))
            codes = Codes(vstack([codes, again], format="csr")[order])
        return codes.astype(x.dtype, copy=False)


@final
@dataclass(frozen=True)
class BasisPursuit:
    """Encodes each row by the code of least l1 norm among those that fit it best, ``min ||z||_1`` with x = z A.

    It is the end of the lasso's path, penalty zero, with at most min(p, d) codes that are not zero; a sample outside
    the span of the atoms is fitted in least squares. All computation is in float64; codes come back in the precision
    of ``x``. `basis_pursuit_gap` certifies a code; a path that ends early, at ties, leaves its last code and fails it.

    Parameters
    ----------
    non_negative : minimise over z >= 0.

    References
    ----------
    Chen, Donoho and Saunders (1998), "Atomic decomposition by basis pursuit", eq. 1.1; the end of the path:
    Donoho and Tsaig (2008), "Fast solution of l1-norm minimization problems when the solution may be sparse".
    """

    non_negative: bool = False

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        x, atoms = checked(x, atoms)
        return _end_of_paths(x, atoms, 0.0, bool(self.non_negative))[0]


def basis_pursuit_gap(
    x: FloatArray, atoms: FloatArray, codes: Codes, *, non_negative: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return how far ``||z||_1`` is at most above the least possible, over itself, and ``||x - z A|| / ||x||``.

    Both are ``(n,)``, in float64; an error of a vanishing row is in units of max |x| = 1.
    For the reconstruction y = z A any u with max |A u| <= 1 has ``u.y <= ||z||_1``. The dual point is the residual of
    the lasso of y at a small penalty, 1e-6 max |y|, over that penalty: the gap
    ``(||z||_1 - u.y) / ||z||_1`` of a minimum is a few 1e-6 at most, and rounding below the path's last breakpoint.
    """
    if x.ndim != 2 or codes.shape != (len(x), len(atoms)) or atoms.shape[1] != x.shape[1]:
        raise ValueError(
            f"x (n, d), atoms (p, d) and codes (n, p) must fit; got {x.shape}, {atoms.shape}, {codes.shape}."
        )
    wide, scale = atoms.astype(np.float64), row_scale(x).astype(np.float64)
    code = codes.astype(np.float64)
    code.data /= np.repeat(scale[:, 0], np.diff(code.indptr))
    sample, fit, l1 = x / scale, synthesise(code, wide), np.asarray(abs(code).sum(axis=1))
    errors = np.linalg.norm(sample - fit, axis=1) / np.maximum(np.linalg.norm(sample, axis=1), 1.0)
    level = np.abs(fit).max(axis=1, keepdims=True)
    unit = fit / np.where(level > 0, level, 1.0)
    exact = ActiveSet(DUAL, 0.0, non_negative, tolerance=1e-14)  # slopes to 1e-8 of the penalty
    dual = unit - synthesise(exact.solve(unit, np.ascontiguousarray(wide))[0], wide)
    slope = dual @ wide.T
    dual /= np.maximum(slope.max(axis=1) if non_negative else np.abs(slope).max(axis=1), DUAL)[:, None]
    return np.where(l1 > 0, 1 - (dual * fit).sum(axis=1) / np.where(l1 > 0, l1, 1.0), 0.0), errors
