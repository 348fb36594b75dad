"""Least squares on a given support: the genie that is told which features fire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, check_matrix

BATCH_ENTRIES = 2**21  # gathered atom entries held at a time


def least_squares_on_support(x: FloatArray, atoms: FloatArray, support: Codes | tuple[IntArray, IntArray]) -> Codes:
    """Return the codes ``(n, p)`` of least norm among those that minimise ``||x - z A||`` on the given support.

    The stored entries of ``support`` are the support, whatever their values (explicit zeros included), and the result
    stores exactly these. Atoms that depend on each other share the coefficient (singular values below
    max(s, d) eps of the largest are zero). Computed in float64, returned in the precision of ``x``, for integers in
    float64.

    Parameters
    ----------
    x : (n, d) samples, centred.
    atoms : (p, d) atoms of any norm.
    support : codes ``(n, p)``, or ``(indptr (n + 1,), indices)`` of compressed rows.

    Raises
    ------
    ValueError, TypeError
        If ``x`` or ``atoms`` is not a finite real matrix of d columns, or the support is not one of n rows and p
        columns, or lists an atom twice in a row.
    """
    x = check_matrix(x)
    atoms = check_matrix(atoms, "atoms", dim=x.shape[1])
    indptr, indices = _compressed(support, len(x), len(atoms))
    data = np.zeros(len(indices), dtype=x.dtype)
    wide = np.asarray(atoms, dtype=np.float64)
    for rows, places in _equal_sizes(indptr, x.shape[1]):
        sub = wide[indices[places]]
        scale = np.abs(x[rows]).max(axis=1, keepdims=True).astype(np.float64)
        scale[scale == 0] = 1.0
        inverse = np.linalg.pinv(sub, rcond=max(sub.shape[1:]) * float(np.finfo(np.float64).eps))
        data[places] = scale * np.einsum("bd,bds->bs", x[rows] / scale, inverse)
    return Codes((data, indices, indptr), shape=(len(x), len(atoms)))


def _compressed(support: Codes | tuple[IntArray, IntArray], n: int, p: int) -> tuple[IntArray, IntArray]:
    if isinstance(support, tuple):
        indptr, indices = (np.asarray(part) for part in support)
    else:
        if support.shape != (n, p):
            raise ValueError(f"support must have shape (n, p)=({n}, {p}); got {support.shape}.")
        indptr, indices = support.indptr, support.indices
    if indptr.shape != (n + 1,) or indptr[0] != 0 or indptr[-1] != len(indices) or np.any(np.diff(indptr) < 0):
        raise ValueError(f"support must have n + 1 = {n + 1} ascending row limits from 0 to {len(indices)}.")
    if len(indices) and (indices.min() < 0 or indices.max() >= p):
        raise ValueError(f"support must list atoms in [0, {p}); got {indices.min()} to {indices.max()}.")
    keys = np.repeat(np.arange(n), np.diff(indptr)) * np.int64(p) + indices
    if len(np.unique(keys)) != len(keys):
        raise ValueError("support lists an atom twice in one row; call sum_duplicates() on it first.")
    return indptr.copy(), indices.copy()


def _equal_sizes(indptr: IntArray, dim: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield rows with supports of one size ``s > 0``, and the places ``(b, s)`` of their entries."""
    sizes = np.diff(indptr)
    for size in np.unique(sizes[sizes > 0]):
        rows = np.flatnonzero(sizes == size)
        step = max(1, BATCH_ENTRIES // int(size * dim))
        for low in range(0, len(rows), step):
            part = rows[low : low + step]
            yield part, indptr[part][:, None] + np.arange(size)


@final
@dataclass(frozen=True, eq=False)
class SupportLeastSquares:
    """Encodes n given samples by least squares on their known supports: the genie, a ceiling rather than a method.

    Attributes
    ----------
    support : codes ``(n, p)`` whose stored entries are the supports of exactly the rows that will be encoded, in order.
    """

    support: Codes

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` by `least_squares_on_support`; raises ValueError for another number of rows."""
        if self.support.shape != (len(x), len(atoms)):
            raise ValueError(
                f"the genie knows supports of n={self.support.shape[0]} samples in p={self.support.shape[1]} atoms; "
                f"got {len(x)} samples and {len(atoms)} atoms. Encode the samples whose support it was given."
            )
        return least_squares_on_support(x, atoms, self.support)
