"""Rows on disk that survive a kill -9: every writer appends to its own segment, one checksummed line a row."""

from __future__ import annotations

import functools
import os
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from sparsesim._files import lock as lock
from sparsesim.study.lines import SCHEMA as SCHEMA
from sparsesim.study.lines import Failure as Failure
from sparsesim.study.lines import Record as Record
from sparsesim.study.lines import StoreSchemaError as StoreSchemaError
from sparsesim.study.lines import decoded, encoded, recorded


class StoreConflictError(ValueError):
    """One key has two different rows: some cell is not a pure function of its specification."""


class DamagedSegmentWarning(UserWarning):
    """Lines of a segment were skipped because they are torn or corrupt; their cells count as not done."""


def segments_in(directory: Path) -> list[Path]:
    """Return the segments in ``directory`` by name, none where it does not exist; one that cannot be read raises."""
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(each.path) for each in entries if each.name.endswith(".jsonl") and each.is_file())
    except FileNotFoundError:
        return []


@final
@dataclass(eq=False)
class Tail:
    """Reads what was appended to a store since it was last asked, by any process, one line at a time."""

    directory: Path
    offsets: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, int] = field(default_factory=dict)

    def new(self, *, last: bool = False) -> Iterator[Record]:
        """Yield the intact records of all complete lines not read before, and count damaged lines by segment.

        With ``last`` the bytes after the last newline are taken for a line too: nobody will complete it.
        """
        for path in segments_in(self.directory):
            name = path.name
            with open(path, "rb") as file:
                start = file.seek(self.offsets.get(name, 0))
                for line in file:
                    if not (last or line.endswith(b"\n")):
                        break
                    blank = line[:1] in b" \n" and not line.strip(b" \n")  # spaces: what `fsck` leaves of a line
                    record = None if blank else recorded(line.rstrip(b"\n"), name, start)
                    start += len(line)
                    if record is None and not blank:
                        self.damaged[name] = self.damaged.get(name, 0) + 1
                        if not line.endswith(b"\n"):
                            break  # its writer may live and complete it: it is read again
                    self.offsets[name] = start
                    if record is not None:
                        yield record


@final
@dataclass(eq=False)
class Index:
    """What a store holds of each key, of a size that does not depend on how wide its rows are.

    Attributes
    ----------
    rows : key to a hash of its row.
    conflicts : keys with two different rows.
    """

    rows: MutableMapping[str, int] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)
    _failures: dict[str, list[Record]] = field(default_factory=dict)
    _deaths: dict[str, set[str]] = field(default_factory=dict)
    _cleared: set[str] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Take note of one record; the order does not matter."""
        if record.kind == "row":
            known = self.rows.setdefault(record.key, hash(record.text))
            if known != hash(record.text):
                self.conflicts.add(record.key)
        elif record.kind == "failure":
            self._failures.setdefault(record.key, []).append(record)
        elif record.kind == "death":
            self._deaths.setdefault(record.key, set()).add(record.identity)
        else:
            self._cleared.update(record.payload["records"])

    def deaths(self, key: str) -> int:
        """Return how many workers died on the cell of ``key``, those that were cleared not counted."""
        return len(self._deaths.get(key, set()) - self._cleared)

    def dead(self) -> dict[str, int]:
        """Return the deaths of every key that has some and no row."""
        found = {key: self.deaths(key) for key in self._deaths if key not in self.rows}
        return {key: count for key, count in found.items() if count}

    def failures(self) -> dict[str, Record]:
        """Return the latest failure of every key that has no row; those that were cleared do not count."""
        found: dict[str, Record] = {}
        for key, records in self._failures.items():
            left = [record for record in records if record.identity not in self._cleared]
            if left and key not in self.rows:
                found[key] = max(left, key=lambda record: str(record.provenance.get("time", "")))
        return found

    def unsettled(self) -> dict[str, list[str]]:
        """Return the identities of the failures and deaths of every key that has no row."""
        found: dict[str, list[str]] = {}
        for key in sorted({*self._failures, *self._deaths} - self.rows.keys()):
            ones = {record.identity for record in self._failures.get(key, ())} | self._deaths.get(key, set())
            if ones - self._cleared:
                found[key] = sorted(ones - self._cleared)
        return found


@final
class Store:
    """A directory of rows by key. Appending never rewrites, so that many processes may write and read at once.

    Layout: ``<path>/segments/<random>-<pid>.jsonl``, one for each writer; what a line is, `lines` says.
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
        self._write("row", key, {"row": row, "provenance": provenance or {}})

    def append_failure(self, key: str, failure: Failure, provenance: Mapping[str, Any] | None = None) -> None:
        """Add a record of the exception that the cell of ``key`` ended in; the cell still counts as not done."""
        self._write("failure", key, {"failure": vars(failure), "provenance": provenance or {}})

    def append_death(self, key: str, reason: str, provenance: Mapping[str, Any] | None = None) -> None:
        """Add a record that a worker died on the cell of ``key``: all drivers of this store count them."""
        beside = {**(provenance or {}), "death": uuid.uuid4().hex}  # no two deaths are one record
        self._write("death", key, {"reason": reason, "provenance": beside})

    def append_cleared(self, key: str, records: Iterable[str]) -> None:
        """Add a record that the failures and deaths of ``key`` with these identities count no more."""
        self._write("cleared", key, {"records": sorted(records), "provenance": {}})

    def _write(self, kind: str, key: str, payload: Mapping[str, Any]) -> None:
        line = encoded(kind, key, payload)
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
            lock(self._file)  # `fsck` leaves a segment alone that has a writer
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
        first: dict[str, tuple[bytes, str]] = {}
        for record in self.records():
            if record.kind != "row" or (wanted is not None and record.key not in wanted):
                continue
            text, segment = first.setdefault(record.key, (record.text, record.segment))
            if text != record.text:
                raise StoreConflictError(
                    f"two different rows for key {record.key}: {text.decode()} in segment {segment}, but "
                    f"{record.text.decode()} in {record.segment}, of {self.path}. A cell is not reproducible, or ran "
                    "on another machine: find out which, then remove one of the segments, or give another store. "
                    "'sparsesim fsck --repair' sets both rows aside."
                )
        return {key: decoded(text) for key, (text, _) in first.items()}

    def index(self) -> Index:
        """Return what the store holds of each key; damaged lines are skipped with a warning."""
        found = Index()
        for record in self.records():
            found.add(record)
        return found

    def keys(self) -> set[str]:
        """Return the keys of all rows: what is done, be it twice and differently."""
        return set(self.index().rows)

    def failures(self) -> dict[str, Failure]:
        """Return the latest failure of every key that has no row."""
        return {key: record.failure for key, record in self.index().failures().items() if record.failure}

    def records(self) -> Iterator[Record]:
        """Yield all intact records, one at a time, and warn of damaged lines at the end."""
        tail = self.tail()
        yield from tail.new(last=True)
        self.warn(tail)

    def warn(self, tail: Tail) -> None:
        """Warn of the lines that ``tail`` skipped."""
        for segment, count in tail.damaged.items():
            warnings.warn(
                f"{count} torn or corrupt line(s) skipped in {tail.directory / segment}; they count as not done.",
                DamagedSegmentWarning,
                stacklevel=4,
            )


@functools.cache
def _arrived(path: str) -> Store:
    """Return the one writer to ``path`` that a worker process has, however many chunks of work bring a store along."""
    return Store(path)
