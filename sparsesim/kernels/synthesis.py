"""From sparse codes to samples: a gather of atoms, never a dense (n, m) product."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy.sparse import csr_array


@njit(cache=True, fastmath={"contract"})
def _add_row_(indices: Any, data: Any, atoms: Any, out: Any) -> None:
    """Add ``data @ atoms[indices]`` to ``out``, four atoms a pass, in the order of ``indices``."""
    quads = len(indices) - len(indices) % 4
    for t in range(0, quads, 4):
        w0, w1, w2, w3 = data[t], data[t + 1], data[t + 2], data[t + 3]
        a0, a1, a2, a3 = atoms[indices[t]], atoms[indices[t + 1]], atoms[indices[t + 2]], atoms[indices[t + 3]]
        for column in range(len(out)):
            value = out[column] + w0 * a0[column]
            value += w1 * a1[column]
            value += w2 * a2[column]
            value += w3 * a3[column]
            out[column] = value
    for t in range(quads, len(indices)):
        weight, atom = data[t], atoms[indices[t]]
        for column in range(len(out)):
            out[column] += weight * atom[column]


@njit(cache=True, parallel=True)
def _gather(indptr: Any, indices: Any, data: Any, atoms: Any, offset: Any, out: Any) -> None:
    for row in prange(len(out)):
        low, high = indptr[row], indptr[row + 1]
        out[row] = offset
        _add_row_(indices[low:high], data[low:high], atoms, out[row])


def synthesise(codes: csr_array, atoms: npt.NDArray[Any], offset: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """Return ``codes (n, m) @ atoms (m, d) + offset (d,)`` in the precision of ``codes`` (float64 for integers).

    The cost is nnz * d multiply-adds; each row is summed in index order by one thread, so the result does not depend
    on the number of threads. Atoms of another precision or layout are copied first.

    Raises
    ------
    ValueError
        If ``codes`` have another number of columns than there are atoms, or ``offset`` another length than d.
    """
    (n, m), d = codes.shape, atoms.shape[1]
    dtype = np.dtype(np.float32 if codes.data.dtype == np.float32 else np.float64)
    if len(atoms) != m:
        raise ValueError(f"codes have {m} columns, but there are {len(atoms)} atoms.")
    start = np.zeros(d, dtype) if offset is None else np.ascontiguousarray(offset, dtype=dtype)
    if start.shape != (d,):
        raise ValueError(f"offset must have shape (d,)=({d},); got {start.shape}.")
    out = np.empty((n, d), dtype=dtype)
    data = codes.data.astype(dtype, copy=False)
    _gather(codes.indptr, codes.indices, data, np.ascontiguousarray(atoms, dtype=dtype), start, out)
    return out
