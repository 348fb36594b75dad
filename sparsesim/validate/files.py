"""A validation on disk: ``validation.json`` beside ``rows.csv``, from which all that it found is read back."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.generators.untrusted import read_json
from sparsesim.study.interval import Interval
from sparsesim.study.table import Table, write_whole
from sparsesim.validate.result import Portrait, Validation

FORMAT = "sparsesim-validation/1"
FACTS, ROWS = "validation.json", "rows.csv"
LARGEST = 1 << 28  # bytes; the rows of the full protocol take 2 MB
_NUMBERS = re.compile(r"\[\n[-+.\deE,\s]*\]")  # a list of them goes on one line; strings hold no line ends
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def save_validation(validation: Validation, folder: str | Path) -> Path:
    """Write ``rows.csv`` and ``validation.json`` into ``folder``, each in one atomic step, and return the folder.

    Raises
    ------
    TypeError
        If a fact of its provenance is no string, number, list or mapping of such.
    """
    target = Path(folder)
    content = _plain(validation, "validation")
    rows = validation.table.csv()
    whole = {"format": FORMAT, "rows": _digest(rows), "digest": _digest(_canonical(content)), "validation": content}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text)
    write_whole(target / ROWS, rows)
    write_whole(target / FACTS, text + "\n")
    return target


def read_validation(folder: str | Path) -> Validation:
    """Return the validation that ``folder`` holds, after checking that both of its files are as they were written.

    Nothing in the files is executed, and all numbers come back to the last bit.

    Raises
    ------
    FileNotFoundError
        If one of the two files is not there.
    ValueError
        If a file is damaged, too large, of another format, or not written together with the other one.
    """
    home = Path(folder)
    for path in (home / FACTS, home / ROWS):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is not there; give a folder that sparsesim validate -o FOLDER has written."
            )
    whole = _facts(home / FACTS)
    if whole.get("format") != FORMAT:
        raise ValueError(f"{home / FACTS} must be of format {FORMAT!r}; got {whole.get('format')!r}. {_REMEDY}")
    content = whole.get("validation")
    if whole.get("digest") != _digest(_canonical(content)):
        raise ValueError(f"{home / FACTS} was changed after it was written: its digest does not fit. {_REMEDY}")
    if whole.get("rows") != _digest(_rows(home / ROWS)):
        raise ValueError(f"{home / ROWS} is not the one that was written with {FACTS}: its digest differs. {_REMEDY}")
    if not isinstance(content, dict) or "table" in content:
        raise ValueError(f"{home / FACTS} must hold a validation without its table. {_REMEDY}")
    validation: Validation = _built(Validation, {**content, "table": Table.read(home / ROWS)}, "validation")
    if not 0.0 <= validation.margin < math.inf:
        raise ValueError(f"validation.margin must be a number from 0 on; got {validation.margin!r}. {_REMEDY}")
    for portrait in validation.portraits:
        _check_portrait(portrait)
    return validation


_REMEDY = "Run sparsesim validate again with the same output folder; the cells in its store are not computed again."


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _rows(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; rows have at most {LARGEST}. {_REMEDY}")
    return path.read_bytes().decode("utf-8", "replace")  # bytes: text mode would change line ends, and so the digest


def _facts(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ValueError as error:
        raise ValueError(f"{error} The file in {path.parent} is cut off or damaged. {_REMEDY}") from error


def _plain(value: Any, where: str) -> Any:
    """Return ``value`` as JSON holds it: dataclasses as objects, numbers that are not finite by their names."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), where)
    if isinstance(value, enum.Enum | np.generic):
        return _plain(value.value if isinstance(value, enum.Enum) else value.item(), where)
    if isinstance(value, float) and not math.isfinite(value):
        return next(name for name, known in _NOT_FINITE.items() if repr(known) == repr(value))
    if value is None or isinstance(value, str | int | float):
        return value
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.type != "Table"]
        return {name: _plain(getattr(value, name), f"{where}.{name}") for name in names}
    if isinstance(value, list | tuple):
        return [_plain(one, where) for one in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(one, f"{where}[{name!r}]") for name, one in value.items()}
    raise TypeError(f"{where} must be a string, a number, or a list or mapping of such; got {value!r:.80}.")


def _built(kind: Any, value: Any, where: str) -> Any:
    """Return ``value``, which is JSON, as an object of the declared type ``kind``; nothing is converted silently."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in (object, Any) or isinstance(value, Table):
        return value
    if origin is np.ndarray:
        return _array(value, where)
    if origin in (types.UnionType, typing.Union):
        return value if value is None else _built(next(one for one in inner if one is not type(None)), value, where)
    if origin is tuple and isinstance(value, list) and (inner[-1] is Ellipsis or len(inner) == len(value)):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_built(one, item, f"{where}[{i}]") for i, (one, item) in enumerate(zip(kinds, value, strict=True)))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {name: _built(inner[1], one, f"{where}[{name!r}]") for name, one in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and value in [one.value for one in kind]:
        return kind(value)
    if kind is float and isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) is kind or (kind is float and type(value) is int):
        return kind(value)
    raise ValueError(f"{where} must be {getattr(kind, '__name__', kind)}; got {value!r:.80}. {_REMEDY}")


def _record(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object with the fields of {kind.__name__}; got {value!r:.80}. {_REMEDY}")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    optional = {
        name
        for name, field in fields.items()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    missing, unknown = sorted(fields.keys() - optional - value.keys()), sorted(value.keys() - fields.keys())
    if missing or unknown:
        raise ValueError(f"{where} lacks {missing} and has the unknown {unknown}, as a {kind.__name__}. {_REMEDY}")
    made = kind(**{name: _built(hints[name], one, f"{where}.{name}") for name, one in value.items()})
    if isinstance(made, Interval) and not (made.n >= 0 and 0.0 < made.confidence < 1.0):
        raise ValueError(f"{where} must have n >= 0 and a confidence between 0 and 1; got {made!r}. {_REMEDY}")
    return made


def _array(value: Any, where: str) -> FloatArray:
    try:
        array = np.array(value, dtype=object)
        return (
            np.vectorize(lambda one: _scalar(float, one, where), otypes=[np.float64])(array)
            if array.size
            else array.astype(np.float64)
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} must be a rectangular list of numbers ({error}). {_REMEDY}") from error


def _check_portrait(portrait: Portrait) -> None:
    features = portrait.cosines.shape[:1]
    if portrait.cosines.ndim != 2 or {portrait.error.shape, portrait.rate.shape} != {features}:
        shapes = f"{portrait.cosines.shape}, {portrait.error.shape} and {portrait.rate.shape}"
        raise ValueError(
            f"the portrait of {portrait.world} must have shapes (m, p), (m,), (m,); got {shapes}. {_REMEDY}"
        )
