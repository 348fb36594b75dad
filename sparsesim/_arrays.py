"""Array types, the letters, and the checks made once at every public border.

Letters used throughout: ``n`` samples, ``d`` ambient dimension, ``m`` true features, ``p`` learned atoms
("width"), ``k`` active features per sample. Rows are things: ``x (n, d)``, ``codes (n, m|p)``,
``atoms (m|p, d)``, so ``x = codes @ atoms``.
"""

from __future__ import annotations

import numbers
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
Rng: TypeAlias = np.random.Generator
Codes: TypeAlias = csr_array


def check_matrix(value: object, name: str = "x", *, dim: int | None = None) -> FloatArray:
    """Return ``value`` as a C-contiguous finite float matrix ``(rows, dim)``; the input is never written.

    float32 and float64 are kept, float16 is computed in float32, integers and booleans in float64.

    Raises
    ------
    TypeError
        For sparse matrices, complex, object or string data.
    ValueError
        For anything that is not two-dimensional, has another number of columns than ``dim``, or holds NaN or infinity.
    """
    if issparse(value):
        raise TypeError(f"{name} must be a dense array; got a sparse {type(value).__name__}. Pass {name}.toarray().")
    try:
        array = np.asarray(value)
    except RuntimeError as error:  # a torch tensor that requires grad says so here
        raise TypeError(
            f"{name} could not be read as an array ({error}). Pass {name}.detach().cpu().numpy()."
        ) from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}.")
    if array.ndim != 2:
        one = f"Pass {name}[:, None] for one number a row, or {name}[None] for one row."
        remedy = one if array.ndim == 1 else f"Reshape it, e.g. {name}.reshape(-1, {name}.shape[-1])."
        raise ValueError(f"{name} must be two-dimensional (rows, {dim or 'd'}); got shape {array.shape}. {remedy}")
    if dim is not None and array.shape[1] != dim:
        raise ValueError(f"{name} has {array.shape[1]} columns, but d={dim} is expected here.")
    array = np.ascontiguousarray(array, dtype=_float_type(array.dtype))
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise ValueError(
            f"{name} holds {len(bad)} NaN or infinite values, the first at row {bad[0, 0]}, column {bad[0, 1]}. "
            "Remove or impute them."
        )
    return array


def check_samples(value: object, name: str = "x", *, dim: int | None = None) -> FloatArray:
    """Return ``value`` as by `check_matrix`, refusing data without a row or a column (there is nothing to fit)."""
    array = check_matrix(value, name, dim=dim)
    if 0 in array.shape:
        raise ValueError(f"{name} must have at least one row and one column; got shape {array.shape}.")
    return array


def _float_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind != "f" or dtype.itemsize > 8:
        return np.dtype(np.float64)
    return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def check_int(name: str, value: object, low: int, high: int | None = None, *, high_name: str = "") -> int:
    """Return ``value`` as an int in ``[low, high]``; ``high_name`` says in the message what the upper limit is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer; got {value!r}.")
    number = int(value)
    if number < low or (high is not None and number > high):
        limit = "infinity" if high is None else f"{high_name}={high}" if high_name else str(high)
        raise ValueError(f"{name} must lie in [{low}, {limit}]; got {number}.")
    return number


def check_real(
    name: str, value: object, low: float = -np.inf, high: float = np.inf, *, open_low: bool = False
) -> float:
    """Return ``value`` as a finite float in ``[low, high]`` (``(low, high]`` with ``open_low``)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number; got {value!r}.")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        number = np.inf
    if not np.isfinite(number) or number > high or number < low or (open_low and number == low):
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} must be finite and lie in {bracket}{low:g}, {high:g}]; got {value!r}.")
    return number


def unit_rows(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return rows scaled to unit Euclidean norm and the norms ``(rows,)``; a zero row stays zero, with norm zero.

    Rows are first divided by their largest magnitude, so that values of 1e+-200 neither overflow nor vanish.
    """
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)[:, None]
    scaled = matrix / safe
    norms = np.sqrt(np.square(scaled).sum(axis=1))
    unit = scaled / np.where(norms > 0, norms, 1.0)[:, None]
    return np.ascontiguousarray(unit), norms * safe[:, 0]


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``array`` with its write flag cleared (a view, if somebody else owns the memory)."""
    view = array.view()
    view.flags.writeable = False
    return view
