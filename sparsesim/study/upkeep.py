"""What lies in a store, and how to set it right: `status`, `retry` and `fsck`."""

from __future__ import annotations

import base64
import json
import os
import re
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sparsesim.study.lines import Record, canonical_text, recorded
from sparsesim.study.policy import DEATHS
from sparsesim.study.store import Index, Store, Tail, lock, segments_in

_DRAFT = re.compile(r"\..+\.[0-9a-f]{32}")  # what `write_whole` leaves when it is killed
_BEGIN = re.compile(rb'[0-9a-f]{8} \{"')
TRACES = "traces"  # folder of the stacks of cells that run under a timeout


@final
@dataclass(frozen=True)
class Standing:
    """What a store holds.

    Attributes
    ----------
    rows : study and status to the number of keys that have such a row.
    failures : type of exception to the number of keys that end in it and have no row.
    deaths : keys on which workers died, to how many; those with `DEATHS` are given up until `retry`.
    names : of those keys, the labels of their cells.
    conflicts : keys with two different rows.
    damaged : lines that count as not there.
    segments, size : files and bytes.
    """

    rows: dict[tuple[str, str], int]
    failures: dict[str, int]
    deaths: dict[str, int]
    names: dict[str, str]
    conflicts: tuple[str, ...]
    damaged: int
    segments: int
    size: int

    @property
    def given_up(self) -> list[str]:
        """The keys that no run takes up again before `retry`."""
        return sorted(key for key, count in self.deaths.items() if count >= DEATHS)

    def __str__(self) -> str:
        lines = [f"{sum(self.rows.values())} rows in {self.segments} segment(s) of {self.size / 1e6:.1f} MB"]
        lines += [f"  {study or '(no study)'}: {count} {word}" for (study, word), count in sorted(self.rows.items())]
        lines += [f"  failed: {count} in {name}" for name, count in sorted(self.failures.items())]
        if self.deaths:
            lines.append(f"  workers died on {len(self.deaths)} cell(s), {len(self.given_up)} of them given up:")
            most = sorted(self.deaths.items(), key=lambda one: (-one[1], one[0]))
            lines += [f"    {count} death(s): {self.names[key]} ({key[:12]})" for key, count in most[:20]]
        if self.conflicts:
            lines.append(f"  {len(self.conflicts)} key(s) with two different rows; 'fsck' shows them")
        if self.damaged:
            lines.append(f"  {self.damaged} torn or corrupt line(s), which count as not done; 'fsck' shows them")
        return "\n".join(lines)


def status(store: Store) -> Standing:
    """Return what ``store`` holds, after one pass that decodes no row: about 10 microseconds of CPU each."""
    tail, index, rows, names = _opened(store), Index(), Counter[tuple[str, str]](), dict[str, str]()
    for record in tail.new(last=True):
        if record.kind == "row" and record.key not in index.rows:
            rows[record.word("study"), record.word("status")] += 1
        elif record.kind == "death":
            names[record.key] = str(record.provenance.get("labels", "labels unknown"))
        index.add(record)
    paths = segments_in(tail.directory)
    return Standing(
        dict(rows),
        dict(Counter(one.failure.exc_type for one in index.failures().values() if one.failure)),
        index.dead(),
        names,
        tuple(sorted(index.conflicts)),
        sum(tail.damaged.values()),
        len(paths),
        sum(path.stat().st_size for path in paths),
    )


def retry(store: Store) -> list[str]:
    """Clear the failures and deaths of all cells without a row, and return their keys: the next run takes them up.

    Nothing is rewritten: records are added that name those that count no more.
    """
    _opened(store)
    unsettled = store.index().unsettled()
    for key, records in unsettled.items():
        store.append_cleared(key, records)
    store.close()
    return list(unsettled)


def _opened(store: Store) -> Tail:
    if not (store.path / "segments").is_dir():
        raise ValueError(f"there is no store in {store.path}; give the folder that holds 'segments'.")
    return store.tail()


@final
@dataclass(frozen=True)
class Flaw:
    """A line that is no record, or one of two different rows of a key: bytes of a segment, and what is wrong.

    Attributes
    ----------
    records : that lie undamaged within the line, or the one that it is.
    """

    segment: str
    offset: int
    content: bytes
    reason: str
    records: tuple[Record, ...] = ()

    def __str__(self) -> str:
        return f"{self.segment}, byte {self.offset}: {self.reason}, {len(self.content)} bytes"


@final
@dataclass(frozen=True)
class Health:
    """What `fsck` found, and what it did about it.

    Attributes
    ----------
    segments, records : intact.
    flaws : lines that are none, and rows that contradict one another.
    strays : files that a killed process left.
    salvaged : records found whole within damaged lines, which a repair appends again.
    busy : segments that a process writes to now, and are left alone.
    waiting : the flaws that a repair left alone: those in such segments, and all rows of a key that has one there.
    repaired : whether the other flaws and strays were set aside.
    """

    segments: int
    records: int
    flaws: tuple[Flaw, ...]
    strays: tuple[str, ...]
    salvaged: tuple[bytes, ...]
    busy: tuple[str, ...]
    waiting: tuple[Flaw, ...]
    repaired: bool

    @property
    def sound(self) -> bool:
        """Whether nothing is left to set right."""
        return not self.waiting if self.repaired else not (self.flaws or self.strays)

    def __str__(self) -> str:
        done = "set aside" if self.repaired else "found"
        lines = [f"{self.records} intact record(s) in {self.segments} segment(s)"]
        lines += [f"  {done}: {flaw}" for flaw in self.flaws if flaw not in self.waiting]
        lines += [f"  {done}: {name}, left by a process that was killed" for name in self.strays]
        if self.salvaged:
            lines.append(f"  {len(self.salvaged)} record(s) are whole within damaged lines")
        lines += [f"  in use, left alone: {name}; run it again when its writer has ended" for name in self.busy]
        return "\n".join(lines)


def fsck(store: Store, *, repair: bool = False) -> Health:
    """Return what is wrong with ``store``; with ``repair`` set it aside, so that what it concerned counts as not done.

    Nothing is deleted: lines go to ``aside/<random>.jsonl`` with their place and reason (bytes in base64), files to
    ``aside/``. A line is overwritten by spaces where it stands, so that no intact line moves, and one that is being
    written by a live process is left alone. Both of two different rows of a key are set aside, and its cell is
    computed anew. To repair twice does no harm, and a repair that was killed is ended by the next.
    """
    directory = _opened(store).directory
    index, flaws, records = Index(), list[Flaw](), 0
    for path in segments_in(directory):
        for offset, line, record in _lines(path):
            found = _whole_within(line) if record is None else (record,)
            for each in found:  # what a repair brings back may contradict a row, too
                index.add(each)
            records += record is not None
            if record is None:
                flaws.append(Flaw(path.name, offset, line, _reason(line), found))
    flaws += _contradictions(directory, index.conflicts)
    begun = _unfinished(store, {(flaw.segment, flaw.offset) for flaw in flaws})
    index.conflicts |= {record.key for flaw in begun for record in flaw.records}
    flaws += begun
    strays = sorted(_strays(store.path))
    busy = _busy(directory, flaws) if repair else set()
    waiting = _waiting(flaws, busy, index.conflicts)
    ready = [flaw for flaw in flaws if flaw not in waiting]
    salvaged = tuple(one.body for flaw in ready for one in flaw.records if one.key not in index.conflicts)
    if repair:
        _set_aside(store, ready, salvaged, strays)
    names = tuple(path.relative_to(store.path).as_posix() for path in strays)
    count = len(segments_in(directory))
    return Health(count, records, tuple(flaws), names, salvaged, tuple(sorted(busy)), tuple(waiting), repair)


def _lines(path: Path) -> Iterator[tuple[int, bytes, Record | None]]:
    offset = 0
    with open(path, "rb") as file:
        for line in file:
            if line.strip(b" \n"):
                yield offset, line, recorded(line.rstrip(b"\n"), path.name, offset)
            offset += len(line)


def _reason(line: bytes) -> str:
    if not line.strip(b"\0\n"):
        return "zeros"
    return "corrupt line" if line.endswith(b"\n") else "torn line"


def _whole_within(line: bytes) -> tuple[Record, ...]:
    """Return the records that lie undamaged within ``line``: behind zeros, or glued to another."""
    starts = [found.start() for found in _BEGIN.finditer(line)]
    parts = [line[a:b].rstrip(b"\n") for a, b in zip(starts, [*starts[1:], len(line)], strict=False)]
    # What joins two lines is one byte in the place of a newline.
    candidates = [recorded(part[:end], "", 0) for part in parts for end in (len(part), -1)]
    return tuple(one for one in candidates if one)


def _contradictions(directory: Path, keys: Iterable[str]) -> list[Flaw]:
    wanted = set(keys)
    if not wanted:
        return []
    return [
        Flaw(
            path.name, offset, line, f"one of two different rows of key {record.key}: {record.text.decode()}", (record,)
        )
        for path in segments_in(directory)
        for offset, line, record in _lines(path)
        if record is not None and record.kind == "row" and record.key in wanted
    ]


def _unfinished(store: Store, known: set[tuple[str, int]]) -> list[Flaw]:
    """Return the lines that a repair has described and not overwritten, of which the other side may be gone already."""
    found = []
    lines = [line for path in segments_in(store.path / "aside") for line in path.read_bytes().splitlines()]
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, FileNotFoundError):  # no description, or not all of one
            said = json.loads(line)
            name, offset, content = said["segment"], said["offset"], base64.b64decode(said["base64"])
            with open(store.path / "segments" / name, "rb") as file:
                file.seek(offset)
                record = recorded(content.rstrip(b"\n"), name, offset) if file.read(len(content)) == content else None
            if record is not None and (name, offset) not in known:
                known.add((name, offset))
                found.append(Flaw(name, offset, content, said["reason"], (record,)))
    return found


def _strays(root: Path) -> Iterator[Path]:
    segments = root / "segments"
    yield from sorted(set(segments.iterdir()) - set(segments_in(segments)))
    yield from (path for path in root.iterdir() if _DRAFT.fullmatch(path.name))
    for path in (root / TRACES).glob("*"):
        with suppress(FileNotFoundError), open(path, "rb") as file:  # its cell may end just now
            if lock(file):  # else its cell is running
                yield path


def _busy(directory: Path, flaws: Iterable[Flaw]) -> set[str]:
    """Return the segments with ``flaws`` that are in use. None of the others will be: a writer never reopens one."""
    busy = set()
    for name in {flaw.segment for flaw in flaws}:
        with open(directory / name, "r+b") as file:
            if not lock(file):
                busy.add(name)
    return busy


def _waiting(flaws: list[Flaw], busy: set[str], conflicts: set[str]) -> list[Flaw]:
    """Return the flaws to leave alone: where one row of a key must stay, so must those that contradict it."""
    disputed = [{record.key for record in flaw.records} & conflicts for flaw in flaws]
    held = {key for flaw, keys in zip(flaws, disputed, strict=True) if flaw.segment in busy for key in keys}
    return [flaw for flaw, keys in zip(flaws, disputed, strict=True) if flaw.segment in busy or keys & held]


def _set_aside(store: Store, flaws: list[Flaw], salvaged: Iterable[bytes], strays: Iterable[Path]) -> None:
    """Append what was ``salvaged``, and move ``flaws`` and ``strays`` out of the way."""
    aside = store.path / "aside"
    if flaws or strays:
        aside.mkdir(exist_ok=True)
    if salvaged:
        lines = (b"%08x %s\n" % (zlib.crc32(body), body) for body in salvaged)
        _written(store.path / "segments" / f"{uuid.uuid4().hex[:12]}-{os.getpid()}.jsonl", b"".join(lines))
    if flaws:  # all of them before the first is overwritten: see `_unfinished`
        _written(aside / f"{uuid.uuid4().hex[:12]}.jsonl", b"".join(map(_description, flaws)))
    for name in sorted({flaw.segment for flaw in flaws}):
        with open(store.path / "segments" / name, "r+b") as file:
            for flaw in (one for one in flaws if one.segment == name):
                file.seek(flaw.offset)
                if file.read(len(flaw.content)) == flaw.content:
                    file.seek(flaw.offset)
                    file.write(b" " * (len(flaw.content) - 1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    for path in strays:
        with suppress(FileNotFoundError):
            os.replace(path, aside / f"{uuid.uuid4().hex[:12]}-{path.name}")


def _description(flaw: Flaw) -> bytes:
    content = base64.b64encode(flaw.content).decode()
    line = {"segment": flaw.segment, "offset": flaw.offset, "reason": flaw.reason, "base64": content}
    return canonical_text(line) + b"\n"


def _written(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
