"""Calls an outside model with its own kind of arrays, in inference, and brings numpy arrays back."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from sparsesim._arrays import FloatArray
from sparsesim.validate.dialects import PLAIN, Dialect

Function: TypeAlias = Callable[..., Any]
Array: TypeAlias = npt.NDArray[Any]

BLOCK_VALUES = 2**21  # numbers in a block of codes: 16 MB, whatever the width


def block_rows(columns: int) -> int:
    """Return how many rows of ``columns`` numbers make a block: at most 1024, at least one."""
    return max(1, min(1024, BLOCK_VALUES // max(columns, 1)))


def is_module(model: Any) -> bool:
    """Whether ``model`` is a torch module; torch is never imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give the global random states of torch, numpy and Python back as they were: a model may draw from them."""
    torch = sys.modules.get("torch")
    drawn, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - put back below
    state = None if torch is None else torch.get_rng_state()
    places = torch.cuda.get_rng_state_all() if torch is not None and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        np.random.set_state(drawn)  # noqa: NPY002
        random.setstate(python)
        if torch is not None:
            torch.set_rng_state(state)
        if places and torch is not None:
            torch.cuda.set_rng_state_all(places)


@final
@dataclass(frozen=True, eq=False)
class Bridge:
    """Calls ``encode`` and ``decode`` of a torch module (in eval mode, no gradient) or of a numpy object.

    Attributes
    ----------
    model, encode_function, decode_function : what is called.
    dialect : how codes are read from what encode returns, and handed to decode.
    """

    model: Any
    encode_function: Function
    decode_function: Function
    dialect: Dialect = PLAIN

    @contextmanager
    def _inference(self) -> Iterator[Callable[[Array], Any]]:
        """Yield the conversion into the model's own arrays, with its training flags put aside and restored."""
        if not is_module(self.model):
            yield lambda array: array.copy()  # a model may write to its input
            return
        torch = sys.modules["torch"]
        like = self._like()
        kinds = {"f": like.dtype, "i": torch.int64}
        flags = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with torch.no_grad():
                yield lambda array: torch.as_tensor(array.copy(), dtype=kinds[array.dtype.kind], device=like.device)
        finally:
            for module, flag in flags:
                module.training = flag

    def _like(self) -> Any:
        """Return a weight whose type and device the model is given its input in."""
        weights = chain(self.model.parameters(), self.model.buffers())
        return next((weight for weight in weights if weight.is_floating_point()), sys.modules["torch"].zeros(()))

    def call(self, function: Function, name: str, *arrays: Array) -> Any:
        """Return what ``function`` returns, whose own exceptions carry with what it was called."""
        try:
            with self._inference() as native:
                return function(*map(native, arrays))
        except Exception as error:
            error.add_note(
                f"{_given(self.model, name, arrays[0])} Pass {name}=lambda model, x: ... to call it otherwise."
            )
            raise

    def encode(self, x: FloatArray, width: int | None = None) -> FloatArray:
        """Return the codes ``(n, p)`` of uncentred samples ``x (n, d)``."""
        return matrix(self.dialect.codes(self.call(self.encode_function, "encode", x)), "encode", len(x), width)

    def decode(self, codes: FloatArray, dim: int) -> FloatArray:
        """Return the reconstruction ``(n, d)`` of ``codes (n, p)``."""
        arguments = self.dialect.arguments(codes)
        return matrix(self.call(self.decode_function, "decode", *arguments), "decode", len(codes), dim)

    def forward(self, x: FloatArray) -> list[FloatArray] | str:
        """Return every ``(n, d)`` array that calling the model gives, or why there is none."""
        if not callable(self.model):
            return "none: the model is not callable"
        try:
            with self._inference() as native:
                result = self.model(native(x))
        except Exception as error:  # a module need not have a forward, nor one of x alone
            return f"none: {type(error).__name__} when the model is called with samples alone"
        parts = (
            result.values() if isinstance(result, dict) else result if isinstance(result, tuple | list) else [result]
        )
        arrays = [array for array in map(as_array, parts) if array is not None and array.shape == x.shape]
        return arrays or f"none: nothing of shape {x.shape} comes back when the model is called"

    def home(self) -> str:
        """Return what the model computes with and in which mode it was found."""
        if not is_module(self.model):
            return "numpy, float64"
        like = self._like()
        mode = "train mode, evaluated in eval mode and put back" if self.model.training else "eval mode"
        return f"torch, {str(like.dtype).removeprefix('torch.')} on {like.device}, {mode}"


def as_array(result: Any) -> Array | None:
    """Return a dense array of real numbers, floats in double precision, or None where ``result`` is none."""
    if issparse(result):
        result = result.toarray()
    if hasattr(result, "detach"):
        result = result.detach().to_dense().cpu()
        result = result.double() if result.is_floating_point() else result
    array = np.asarray(result)
    if array.dtype.kind not in "fiub" or not array.ndim:
        return None
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def matrix(result: Any, name: str, rows: int, columns: int | None) -> FloatArray:
    """Return ``result`` as a finite float64 matrix of that shape; the error says what ``name`` returned instead."""
    if isinstance(result, tuple | list | dict):
        raise TypeError(
            f"{name} must return one array, but returned a {type(result).__name__} of {len(result)}; "
            f"pass {name}=lambda model, x: ... that picks the right one."
        )
    array = as_array(result)
    if array is None:
        found = getattr(result, "dtype", None) or np.asarray(result).dtype
        raise TypeError(f"{name} must return an array of real numbers; got {type(result).__name__}, {found}.")
    if array.ndim != 2 or len(array) != rows or (columns is not None and array.shape[1] != columns):
        raise ValueError(
            f"{name} must map {rows} rows to an array of shape ({rows}, {columns or 'p'}); got {array.shape}. "
            f"Pass {name}=lambda model, x: ... to adjust it."
        )
    if not array.shape[1]:
        raise ValueError(f"{name} returned no columns; got shape {array.shape}. Give the model at least one latent.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} returned NaN or infinite values; check the weights of the model.")
    return array.astype(np.float64, copy=False)


def _given(model: Any, name: str, x: Array) -> str:
    """Return what an exception out of the model's own code does not say: with what it was called."""
    kind = "torch tensor" if is_module(model) else "numpy array, since the model is no torch.nn.Module"
    owner = f"the class {model.__name__} (not an instance)" if isinstance(model, type) else type(model).__name__
    return f"Raised by {name} of {owner}, which was given {len(x)} rows of {x.shape[1]} columns as a {kind}."


def check_weights(model: Any) -> None:
    """Refuse a torch module whose weights hold no values, or too few digits to tell rounding from a defect."""
    if not is_module(model):
        return
    torch = sys.modules["torch"]
    for name, weight in chain(model.named_parameters(), model.named_buffers()):
        if weight.is_meta:
            raise ValueError(
                f"{name} of {type(model).__name__} lies on the meta device, without values. Load it first."
            )
        if weight.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"{name} of {type(model).__name__} is {weight.dtype}, whose rounding hides what is probed. "
                "Pass copy.deepcopy(model).float(): the same weights in single precision."
            )
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise ValueError(
                f"{name} of {type(model).__name__} holds NaN or infinity. Train it again, or load an earlier one."
            )
