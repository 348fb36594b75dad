"""Rows on disk that survive a kill -9: every writer appends to its own segment, one checksummed line a row."""

from __future__ import annotations

import functools
import json
import math
import os
import time
import uuid
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

SCHEMA = 1


class StoreConflictError(ValueError):
    """One key has two different rows: some cell is not a pure function of its specification."""


class StoreSchemaError(ValueError):
    """The store was written by a newer version of the package."""


class DamagedSegmentWarning(UserWarning):
    """Lines of a segment were skipped because they are torn or corrupt; their cells count as not done."""


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
    """One intact line of a segment: a ``row``, or the ``failure`` of the cell with this ``key``."""

    key: str
    row: dict[str, Any] | None
    failure: Failure | None
    provenance: Mapping[str, Any]
    segment: str


def _plain(value: object) -> Any:
    """Return ``value`` as JSON data; NaN and infinities, which JSON lacks, become ``{"$float": "nan"}`` and so on."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _float_back(value: dict[str, Any]) -> Any:
    return float(value["$float"]) if value.keys() == {"$float"} else value


def _text(value: object) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _line(payload: Mapping[str, Any]) -> bytes:
    body = _text(payload).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _decoded(line: bytes, segment: str) -> Record | None:
    """Return the record on ``line``, or None where the line is damaged.

    Raises
    ------
    StoreSchemaError
        If the line is intact, but of a newer schema.
    """
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        # The hook is called for each object, in Python: only where one is there to decode.
        payload = json.loads(body, object_hook=_float_back if b'"$float"' in body else None)
        schema = payload["schema"]
        if schema > SCHEMA:
            raise StoreSchemaError(
                f"segment {segment} has schema {schema}, but this sparsesim reads up to {SCHEMA}. Upgrade it."
            )
        failure = Failure(**payload["failure"]) if payload["kind"] == "failure" else None
        row = None if failure else payload["row"]
        return Record(payload["key"], row, failure, payload["provenance"], segment)
    except StoreSchemaError:
        raise
    except (ValueError, KeyError, TypeError):
        return None


@final
@dataclass(eq=False)
class Tail:
    """Reads what was appended to a store since it was last asked, by any process."""

    directory: Path
    offsets: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, int] = field(default_factory=dict)

    def new(self, *, last: bool = False) -> Iterator[Record]:
        """Yield the intact records of all complete lines not read before, and count damaged lines by segment.

        With ``last`` the bytes after the last newline are taken for a line too: nobody will complete it.
        """
        for path in sorted(self.directory.glob("*.jsonl")):
            with open(path, "rb") as file:
                file.seek(self.offsets.get(path.name, 0))
                data = file.read()
            complete = data if last else data[: data.rfind(b"\n") + 1]
            self.offsets[path.name] = self.offsets.get(path.name, 0) + len(complete)
            for line in complete.split(b"\n"):
                record = _decoded(line, path.name) if line else None
                if record is not None:
                    yield record
                elif line:
                    self.damaged[path.name] = self.damaged.get(path.name, 0) + 1


@final
class Store:
    """A directory of rows by key. Appending never rewrites, so that many processes may write and read at once.

    Layout: ``<path>/segments/<random>-<pid>.jsonl``, one for each writer; a row is a line ``<crc32 in hex> <json>``.
    Rows are in the operating system's hands when `append` returns, and on disk after `sync` or `close`.
    Copies of a store that arrive in another process share one segment there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._writer = 0
        self._synced = 0.0

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (str(self.path.absolute()),)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, key: str, row: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> None:
        """Add ``row``, a mapping of names to strings, ints and floats, for ``key``.

        Raises
        ------
        TypeError
            If a value is no string, int or float.
        OSError
            If it cannot be written; what was stored before stays readable.
        """
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float | np.integer | np.floating):
                raise TypeError(
                    f"a row holds strings, ints and floats; got {name}={value!r}. Convert it in the metric."
                )
        self._write({"kind": "row", "key": key, "row": row, "provenance": provenance or {}})

    def append_failure(self, key: str, failure: Failure, provenance: Mapping[str, Any] | None = None) -> None:
        """Add a record of the exception that the cell of ``key`` ended in; the cell still counts as not done."""
        self._write({"kind": "failure", "key": key, "failure": vars(failure), "provenance": provenance or {}})

    def _write(self, payload: Mapping[str, Any]) -> None:
        line = _line({"schema": SCHEMA, **payload})
        try:
            file = self._segment()
            if file.write(line) != len(line):
                raise OSError("only a part of the row could be written; the disk is full or a quota is spent")
        except OSError as error:
            # What is left of a torn line must not be glued to the next row: go on in another segment, if at all.
            self._abandon()
            message = (
                f"cannot write to the store {self.path}: {error.strerror or error}. Free space or choose another path."
            )
            raise type(error)(error.errno, message) from error

    def _segment(self) -> Any:
        if self._file is not None and self._writer != os.getpid():
            self._abandon()  # a forked child must not share the segment of its parent
        if self._file is None:
            directory = self.path / "segments"
            directory.mkdir(parents=True, exist_ok=True)
            self._writer = os.getpid()
            self._file = open(  # noqa: SIM115 - it stays open until close
                directory / f"{uuid.uuid4().hex[:12]}-{self._writer}.jsonl", "xb", buffering=0
            )
        return self._file

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def sync(self, every: float = 0.0) -> None:
        """Wait until what this process appended is on disk, unless that was done less than ``every`` seconds ago."""
        if self._file is not None and self._writer == os.getpid() and time.monotonic() >= self._synced + every:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Wait until what was appended is on disk, and close the segment; a later `append` opens another."""
        self.sync()
        self._abandon()

    def tail(self) -> Tail:
        """Return a `Tail` at the beginning of the store."""
        return Tail(self.path / "segments")

    def load(self, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return the row of every key; equal duplicates count once, and damaged lines are skipped with a warning.

        With ``keys`` those of other keys are not looked at: what others left in a shared store is no concern of theirs.

        Raises
        ------
        StoreConflictError
            If one key has two different rows.
        StoreSchemaError
            If a record was written by a newer version of the package.
        """
        wanted = None if keys is None else set(keys)
        rows: dict[str, dict[str, Any]] = {}
        origin: dict[str, str] = {}
        for record in self._records():
            if record.row is None or (wanted is not None and record.key not in wanted):
                continue
            known = rows.setdefault(record.key, record.row)
            if known is record.row:
                origin[record.key] = record.segment
            elif _text(known) != _text(record.row):
                raise StoreConflictError(
                    f"two different rows for key {record.key}: {_text(known)} in segment {origin[record.key]}, but "
                    f"{_text(record.row)} in {record.segment}, of {self.path}. A cell is not reproducible, or ran on "
                    "another machine: find out which, then remove one of the segments, or give another store."
                )
        return rows

    def keys(self) -> set[str]:
        """Return the keys of all rows: what is done, be it twice and differently."""
        return {record.key for record in self._records() if record.row is not None}

    def failures(self) -> dict[str, Failure]:
        """Return the latest failure of every key that has no row."""
        done: set[str] = set()
        latest: dict[str, tuple[str, Failure]] = {}
        for record in self._records():
            if record.failure is None:
                done.add(record.key)
                continue
            when = str(record.provenance.get("time", ""))
            if record.key not in latest or when >= latest[record.key][0]:
                latest[record.key] = when, record.failure
        return {key: failure for key, (_, failure) in latest.items() if key not in done}

    def _records(self) -> Iterator[Record]:
        tail = self.tail()
        yield from tail.new(last=True)
        for segment, count in tail.damaged.items():
            warnings.warn(
                f"{count} torn or corrupt line(s) skipped in {tail.directory / segment}; they count as not done.",
                DamagedSegmentWarning,
                stacklevel=3,
            )


@functools.cache
def _arrived(path: str) -> Store:
    """Return the one writer to ``path`` that a worker process has, however many chunks of work bring a store along."""
    return Store(path)
