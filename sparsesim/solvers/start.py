"""Codes to start from: checked, cut to what a pursuit may hold, and handed out a block at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from sparsesim._arrays import Codes, FloatArray, IntArray
from sparsesim.solvers.blocks import row_scale

if TYPE_CHECKING:
    from sparsesim.solvers.pursuit import Block


def checked_start(start: Codes, x: FloatArray, atoms: FloatArray) -> Codes:
    """Return ``start (n, p)`` in float64 and canonical form, without codes of zero atoms.

    Raises
    ------
    TypeError
        If ``start`` is not a matrix of real numbers.
    ValueError
        If ``start`` is not finite codes of the samples ``x (n, d)`` in ``atoms (p, d)``.
    """
    if not issparse(start) and not isinstance(start, np.ndarray):
        raise TypeError(f"start must be codes such as encoder.encode(x, atoms); got {type(start).__name__}.")
    if start.dtype.kind not in "fiub":
        raise TypeError(f"start must hold real numbers; got {start.dtype}. Pass codes of float64.")
    if start.shape != (len(x), len(atoms)):
        raise ValueError(f"start must be codes (n, p) = {(len(x), len(atoms))}; got shape {start.shape}.")
    begin = Codes(start, dtype=np.float64, copy=True)
    if not np.isfinite(begin.data).all():
        raise ValueError("start must be finite; it holds NaN or infinity. Start at other codes, or call encode.")
    begin.sum_duplicates()
    begin.data[np.isin(begin.indices, np.flatnonzero(np.all(atoms == 0, axis=1)))] = 0.0
    begin.eliminate_zeros()
    return begin


def largest(codes: Codes, k: int, non_negative: bool) -> Codes:
    """Return the k largest of each row of canonical codes ``(n, p)``, the lowest index first among equals."""
    rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
    score = codes.data if non_negative else np.abs(codes.data)
    order = np.lexsort((codes.indices, -score, rows))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - codes.indptr[rows[order]]
    kept = (place < k) & (score > 0)
    limits = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=codes.shape[0]))])
    return Codes((codes.data[kept], codes.indices[kept], limits), shape=codes.shape)


def begun(start: Codes | None, x: FloatArray, atoms: FloatArray, k: int, non_negative: bool) -> Codes | None:
    """Return the checked ``start (n, p)`` cut to its k largest codes of each row; None as it is."""
    return None if start is None else largest(checked_start(start, x, atoms), k, non_negative)


def _seen(codes: Codes, x: FloatArray) -> npt.NDArray[np.bool_]:
    """Return the rows ``(n,)`` of which the product with unit atoms is rounded by less than ``x (n, d)``."""
    scale = row_scale(x.astype(np.float64))[:, 0]
    with np.errstate(over="ignore"):
        rounding = np.finfo(np.float64).eps * np.asarray(abs(codes).sum(axis=1)).ravel() / scale
    return np.asarray(rounding < np.linalg.norm(x / scale[:, None], axis=1))


def within_sight(codes: Codes | None, x: FloatArray) -> Codes | None:
    """Return ``codes (n, p)`` without rows so large that what they leave of ``x (n, d)`` is rounding; None as it is.

    Codes of 1e50 on opposite atoms cancel, and an encoder that goes on from its residual would keep them.
    """
    if codes is not None:
        codes.data[np.repeat(~_seen(codes, x), np.diff(codes.indptr))] = 0.0
        codes.eliminate_zeros()
    return codes


def nearer(start: Codes, x: FloatArray, atoms: FloatArray, non_negative: bool) -> tuple[Codes, FloatArray, FloatArray]:
    """Return the checked ``start (n, p)``, zero in rows where zero fits ``x (n, d)`` better, and what is left of x.

    That is ``x - start @ atoms`` in the precision of x, and its norm over that of x, at least 1e-300. A start so large
    that the rounding of its product exceeds x fits nothing, whatever is left of it: codes of 1e50 on opposite atoms.
    """
    begin = checked_start(start, x, atoms)
    if non_negative:
        begin.data[begin.data < 0] = 0.0
    scale = row_scale(x.astype(np.float64))
    whole = x / scale
    with np.errstate(over="ignore", invalid="ignore"):  # a start far away is not finite in units of x, and is left out
        relative = Codes(begin.multiply(1.0 / scale))
        left = whole - relative @ atoms.astype(np.float64, copy=False)
        energy, rest = np.square(whole).sum(axis=1), np.square(left).sum(axis=1)
        moved = (rest < energy) & _seen(begin, x) & (np.diff(begin.indptr) > 0)
    begin.data[np.repeat(~moved, np.diff(begin.indptr))] = 0.0
    begin.eliminate_zeros()
    out, share = x.copy(), np.ones(len(x))
    out[moved] = (left[moved] * scale[moved]).astype(x.dtype)
    share[moved] = np.maximum(np.sqrt(rest[moved] / energy[moved]), 1e-300)
    return begin, out, share


def part(codes: Codes | None, block: Block) -> tuple[IntArray, IntArray, FloatArray]:
    """Return limits, atoms and values of the block's rows in its units, none where there are no codes."""
    if codes is None:
        return np.zeros(len(block.x) + 1, np.int64), np.empty(0, np.int64), np.empty(0)
    rows = codes[block.rows]
    values = rows.data / np.repeat(block.scale[:, 0], np.diff(rows.indptr))
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int64), values
