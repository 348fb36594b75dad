"""Arrays and JSON out of files that somebody else wrote: nothing is executed, and nothing is believed unchecked.

Every error names the file and says what is wrong with it: not JSON, twice the same key, truncated, a header that
promises more than there is, a type that is no number, NaN, another SHA-256 than the one beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

Array = npt.NDArray[Any]

MAX_JSON = 2**24  # bytes; a configuration has thousands
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # read as the upper half of a float32
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "|b1",
}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that the JSON file ``path`` holds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no JSON object, is nested too deep, names a key twice, holds NaN or is larger than `MAX_JSON`.
    """
    if path.stat().st_size > MAX_JSON:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes; a configuration has at most {MAX_JSON}.")
    try:
        document = json.loads(path.read_bytes(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path.name} must hold an object; got {type(document).__name__}.")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = sorted({name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1})
        raise ValueError(f"the key {twice[0]!r} stands in it twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a ``.safetensors`` or ``.npz`` file in their own precision, half precision in float32.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated or damaged, promises more than it holds, needs a pickle, holds a type that is no
        number, NaN or infinity, or is not the one whose SHA-256 stands in the file of its name with ``.sha256`` added.
    """
    content = path.read_bytes()
    check_digest(path, content)
    arrays = _npz(path, content) if path.suffix == ".npz" else _safetensors(path, content)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{path.name} holds NaN or infinity in {name}.")
    return arrays


def check_digest(path: Path, content: bytes) -> None:
    """Raise ValueError unless ``content`` has the SHA-256 that ``<path>.sha256`` begins with, if there is that file."""
    beside = path.with_name(path.name + ".sha256")
    if not beside.exists():
        return
    said = beside.read_bytes()[:64].decode("ascii", "replace").lower()
    found = hashlib.sha256(content).hexdigest()
    if said != found:
        raise ValueError(
            f"{path.name} is not the file that {beside.name} was written for: its SHA-256 is {found[:12]}..., not "
            f"{said[:12]}.... Copy both again."
        )


def _safetensors(path: Path, content: bytes) -> dict[str, Array]:
    try:
        stored = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(f"{path.name} cannot be read as safetensors ({error}): it is truncated or damaged.") from error
    return {name: _tensor(path, name, part) for name, part in stored}


def _tensor(path: Path, name: str, part: dict[str, Any]) -> Array:
    kind = part["dtype"]
    if kind not in _TYPES:
        raise ValueError(
            f"{path.name} holds {name} as {kind}, which is read as none of {', '.join(_TYPES)}. Save it in float32."
        )
    array = np.frombuffer(part["data"], dtype=_TYPES[kind]).reshape(part["shape"])
    if kind == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if kind == "F16":
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="))


def _npz(path: Path, content: bytes) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_sizes(path, entries, len(content))
            return {
                _stem(path, entry.filename): _member(path, entry.filename, archive.read(entry)) for entry in entries
            }
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path.name} cannot be read as npz ({error}): it is truncated or damaged.") from error


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    total = sum(entry.file_size for entry in entries)
    if total > 2**26 + 20 * size:
        raise ValueError(f"{path.name} has {size} bytes and unpacks to {total}, more than weights do. It is not read.")


def _stem(path: Path, name: str) -> str:
    if not name.endswith(".npy") or "/" in name or "\\" in name:
        raise ValueError(f"{path.name} holds {name!r}, which numpy does not write. Save it by numpy.savez(path, ...).")
    return name.removesuffix(".npy")


def _member(path: Path, name: str, data: bytes) -> Array:
    try:
        array: Array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path.name} holds {name}, which cannot be read without a pickle ({error}).") from error
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path.name} holds {name} of type {array.dtype}; weights are real numbers.")
    return array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind == "f" else array
