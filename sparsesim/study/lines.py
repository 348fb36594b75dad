"""One line of a segment: ``<crc32 in hex> <canonical JSON>``. A row is recognised and compared without decoding it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

SCHEMA = 2
_SINCE = {"row": 1, "failure": 1, "death": 2, "cleared": 2}  # the schema in which a kind of record first occurs
# Names are sorted, so that a row comes last but for the schema. No brace may stand in it but those of numbers that
# JSON lacks; hence what matches is the row itself, and not a part of the provenance that looks like one.
_HEAD = re.compile(rb'\{"key":"([^"\\]*+)","kind":"row","provenance":\{')
_BEFORE = b'},"row":'
_AFTER = b',"schema":1}'
_ROW = re.compile(rb'(\{(?:[^{}]++|\{"\$float":"[a-z-]++"\})*+\}),"schema":1\}')


class StoreSchemaError(ValueError):
    """The store was written by a newer version of the package."""


@final
@dataclass(frozen=True)
class Failure:
    """The exception that a cell ended in; a failed cell counts as not done."""

    exc_type: str
    message: str
    traceback: str


@final
@dataclass(frozen=True, eq=False)
class Record:
    """One intact line of a segment, decoded where it is looked at.

    Attributes
    ----------
    key : of the cell that it is about.
    kind : "row"; "failure", the exception that it ended in; "death", its worker's; "cleared", what counts no more.
    body : the line without its checksum.
    segment, offset : the file in which it stands, and at which byte.
    text : the canonical JSON of a row, equal for equal rows; empty for other kinds.
    """

    key: str
    kind: str
    body: bytes
    segment: str
    offset: int
    text: bytes = b""

    @cached_property
    def payload(self) -> dict[str, Any]:
        """Everything on the line."""
        found: dict[str, Any] = decoded(self.body)
        return found

    @property
    def row(self) -> dict[str, Any] | None:
        """The row, of a record of that kind."""
        return decoded(self.text) if self.text else None

    @property
    def failure(self) -> Failure | None:
        """The failure, of a record of that kind."""
        return Failure(**self.payload["failure"]) if self.kind == "failure" else None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What stands beside it."""
        found: Mapping[str, Any] = self.payload["provenance"]
        return found

    @property
    def identity(self) -> str:
        """The hash of the line, by which a later record speaks of it: clocks of machines may differ."""
        return hashlib.blake2b(self.body, digest_size=12).hexdigest()

    def word(self, name: str) -> str:
        """Return the string ``name`` of the row, or beside it, without decoding the rest; empty where there is none."""
        of_row = name == "status"
        place = self.text if of_row else self.body[: -len(self.text) - len(_AFTER)].removesuffix(_BEFORE[1:])
        at = place.rfind(b'"%s":"' % name.encode())
        start = at + len(name.encode()) + 4
        value = place[start : place.find(b'"', start)]
        if at < 0:
            return ""
        # It may be written with escapes, be the end of a longer name, or (but for a row, which is flat) stand deeper.
        deeper = not of_row and any(brace in place[start:-1] for brace in (b"{", b"}"))
        if deeper or b"\\" in value or place[at - 1 : at] == b"\\" or not self._canonical:
            found = (self.row or {} if of_row else self.provenance).get(name)
            return found if isinstance(found, str) else ""
        return value.decode()

    @property
    def _canonical(self) -> bool:
        return self.body.endswith(_BEFORE + self.text + _AFTER)


def _plain(value: object) -> Any:
    """Return ``value`` as JSON data; NaN and infinities, which JSON lacks, become ``{"$float": "nan"}`` and so on."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, Mapping):
        if set(value) == {"$float"}:
            raise ValueError("a mapping must not have '$float' as its only name, which stands for NaN and infinities.")
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _float_back(value: dict[str, Any]) -> Any:
    return float(value["$float"]) if value.keys() == {"$float"} else value


def canonical_text(value: object) -> bytes:
    """Return ``value`` as JSON with sorted names and no spaces: the same bytes for the same row."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decoded(text: bytes) -> Any:
    """Return what `canonical_text` was given, tuples as lists."""
    # The hook is called for each object, in Python: only where one is there to decode.
    return json.loads(text, object_hook=_float_back if b'"$float"' in text else None)


def encoded(kind: str, key: str, payload: Mapping[str, Any]) -> bytes:
    """Return the line of a record, with its newline."""
    body = canonical_text({"schema": _SINCE[kind], "kind": kind, "key": key, **payload})
    return b"%08x %s\n" % (zlib.crc32(body), body)


def recorded(line: bytes, segment: str, offset: int) -> Record | None:
    """Return the record on ``line``, or None where the line is damaged.

    Raises
    ------
    StoreSchemaError
        If the line is intact, but of a newer schema.
    """
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    head, row = _HEAD.match(body), _ROW.fullmatch(body, body.rfind(_BEFORE + b"{") + len(_BEFORE))
    if head and row:
        return Record(head[1].decode(), "row", body, segment, offset, row[1])
    try:
        payload = decoded(body)
        if payload["schema"] > SCHEMA:
            raise StoreSchemaError(
                f"segment {segment} has schema {payload['schema']}, but this sparsesim reads up to {SCHEMA}. "
                "Upgrade it."
            )
        return _checked(payload, Record(payload["key"], payload["kind"], body, segment, offset))
    except StoreSchemaError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _checked(payload: Mapping[str, Any], record: Record) -> Record | None:
    """Return ``record`` if what its kind needs is there, with the text of its row."""
    if record.kind == "row":
        text = canonical_text(dict(payload["row"].items()))
        return Record(record.key, "row", record.body, record.segment, record.offset, text)
    if record.kind == "cleared":
        return record if all(isinstance(one, str) for one in payload["records"]) else None
    whole = record.failure is not None or record.kind == "death"
    return record if whole and payload["provenance"] is not None else None
