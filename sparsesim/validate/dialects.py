"""How a model speaks: where the codes are in what ``encode`` returns, and what ``decode`` wants to be given.

Recognised by what comes back, never by the name of a class:

* one array ``(n, p)``: the codes (SAELens, dictionary_learning, scikit-learn, plain modules);
* several arrays of which one can be the codes (overcomplete: pre-codes and codes);
* values and integer places ``(n, k)`` beside an array ``(n, p)`` (sparsify), for ``decode(values, places)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray

Array: TypeAlias = npt.NDArray[Any]
Read: TypeAlias = Callable[[Any], Array | None]


class Dialect(Protocol):
    """Where codes are found in what ``encode`` returns, and how they are handed to ``decode``."""

    def codes(self, result: Any) -> Any:
        """Return the codes ``(n, p)`` in what encode returned."""
        ...

    def arguments(self, codes: FloatArray) -> tuple[Array, ...]:
        """Return what decode is given for ``codes (n, p)``."""
        ...


@final
@dataclass(frozen=True)
class Plain:
    """Encode returns the codes, decode takes them."""

    def codes(self, result: Any) -> Any:
        return result

    def arguments(self, codes: FloatArray) -> tuple[Array, ...]:
        return (codes,)

    def __str__(self) -> str:
        return "one array"


PLAIN = Plain()


@final
@dataclass(frozen=True)
class Entry:
    """Encode returns several arrays, the one under ``place`` holds the codes; decode takes codes."""

    place: int | str
    count: int

    def codes(self, result: Any) -> Any:
        return result[self.place]

    def arguments(self, codes: FloatArray) -> tuple[Array, ...]:
        return (codes,)

    def __str__(self) -> str:
        return f"entry [{self.place!r}] of {self.count}"


@final
@dataclass(frozen=True)
class ValuesAndPlaces:
    """Encode returns values and their places ``(n, k)`` among p latents; decode takes both, unless it is ``dense``."""

    values: int | str
    places: int | str
    width: int
    read: Read
    dense: bool = False

    def codes(self, result: Any) -> Any:
        values, places = self.read(result[self.values]), self.read(result[self.places])
        if values is None or places is None:
            return None
        codes = np.zeros((len(values), self.width))
        np.add.at(codes, (np.arange(len(values))[:, None], places), values)
        return codes

    def arguments(self, codes: FloatArray) -> tuple[Array, ...]:
        if self.dense:
            return (codes,)
        count = max(1, int(np.count_nonzero(codes, axis=1).max(initial=0)))
        # the places of the nonzero codes first; what is left over has value zero
        places = np.argsort(codes == 0, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(codes, places, axis=1), places.astype(np.int64)

    def __str__(self) -> str:
        return f"values and places, entries [{self.values!r}] and [{self.places!r}], of p={self.width} latents"


def candidates(result: Any, read: Read, *, dense: bool) -> list[Dialect]:
    """Return every dialect that ``result``, which encode returned, can be read in; at least one.

    Parameters
    ----------
    read : makes an array of one entry, None where it is none.
    dense : decode takes codes ``(n, p)`` even where encode returns places.

    Raises
    ------
    TypeError
        If no entry of several can be codes.
    """
    if not isinstance(result, tuple | list | dict):
        return [PLAIN]
    named = result.items() if isinstance(result, dict) else enumerate(result)
    arrays = {place: array for place, part in named if (array := read(part)) is not None and array.ndim == 2}
    floats = {place: array for place, array in arrays.items() if array.dtype.kind == "f"}
    found: list[Dialect] = [
        ValuesAndPlaces(values, places, whole.shape[1], read, dense)
        for places, index in arrays.items()
        for values, array in floats.items()
        for other, whole in floats.items()
        if index.dtype.kind in "iu" and array.shape == index.shape and other != values
        if index.size and index.min() >= 0 and index.max() < whole.shape[1]
    ]
    if not found and not any(array.dtype.kind in "iu" for array in arrays.values()):
        found = [Entry(place, len(result)) for place in floats]
    if not found:
        raise TypeError(
            f"encode must return codes (n, p); it returned {_shapes(result, read)}, among which none can be told to be "
            "the codes. Pass encode=lambda model, x: ... that returns them as one array (n, p)."
        )
    return found


def choose(found: Sequence[Dialect], result: Any, codes: Sequence[FloatArray], agree: Sequence[bool]) -> Dialect:
    """Return the dialect that the evidence is for.

    Parameters
    ----------
    found : the candidates.
    result : what encode returned.
    codes : the codes ``(n, p)`` in each.
    agree : whether decoding these gives what the model itself gives when it is called.

    Raises
    ------
    TypeError
        If nothing tells the candidates apart; it names the keyword to pass.
    """
    if all(other.shape == codes[0].shape and np.array_equal(other, codes[0]) for other in codes):
        return found[0]
    if sum(agree) == 1:
        return found[list(agree).index(True)]
    cut = [any(_cut_from(own, other) for other in codes) for own in codes]
    if sum(cut) == 1:
        return found[cut.index(True)]
    options = " or ".join(f"encode=lambda model, x: model.encode(x)[{_place(each)!r}]" for each in found)
    raise TypeError(
        f"encode returned a {type(result).__name__} of {len(result)} in which {len(found)} entries can be the codes: "
        "neither is one the other with entries set to zero, nor does decoding exactly one of them give what the model "
        f"gives when it is called. Pass {options}."
    )


def _place(dialect: Dialect) -> int | str:
    return dialect.place if isinstance(dialect, Entry) else getattr(dialect, "values", 0)


def _cut_from(codes: FloatArray, other: FloatArray) -> bool:
    """Whether ``codes`` are ``other`` with some of its entries set to zero."""
    if codes.shape != other.shape:
        return False
    kept = codes != 0
    return bool((codes[kept] == other[kept]).all() and np.count_nonzero(other) > np.count_nonzero(codes))


def _shapes(result: Any, read: Read) -> str:
    named = result.items() if isinstance(result, dict) else enumerate(result)
    parts = ((place, part, read(part)) for place, part in named)
    return ", ".join(
        f"[{place!r}]: {type(part).__name__}" + ("" if array is None else f" {array.dtype} {array.shape}")
        for place, part, array in parts
    )
