"""The cells of a study as a driver holds them: some dozens of bytes each, however long their keys and rows are."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, final, overload

import numpy as np

if TYPE_CHECKING:
    from sparsesim.study.cell import Labels

BYTES = 32  # of a key, a SHA-256 that is written in hex elsewhere
Keys: TypeAlias = tuple[str, ...]  # of the cells of a unit of work: one, or those that are trained together


@final
class Roster(Mapping[str, "Labels"]):
    """The labels of each key of a study, in its order; of cells of equal specification those of the first.

    Parameters
    ----------
    names : the labels of all cells, by their number in the study.
    keys : theirs.
    """

    def __init__(self, names: Sequence[Labels], keys: Iterable[str]) -> None:
        held = np.empty((len(names), BYTES), np.uint8)
        for number, key in enumerate(keys):
            held[number] = np.frombuffer(bytes.fromhex(key), np.uint8)
        heads = held.view(">u8")[:, 0].astype(np.uint64)
        self.names, self._digests = names, held
        self._order = np.argsort(heads, kind="stable").astype(np.int32)
        self._heads = heads[self._order]
        self.first = np.ones(len(names), np.bool_)  # whether a cell is the first of its key
        for place in np.flatnonzero(self._heads[1:] == self._heads[:-1]) + 1:
            number = int(self._order[place])
            self.first[number] = self.number(self.key(number)) == number

    def key(self, number: int) -> str:
        """Return the key of a cell."""
        digest: bytes = self._digests[number].tobytes()
        return digest.hex()

    def number(self, key: str) -> int | None:
        """Return the number of the first cell that has this key; None where there is none."""
        try:
            head = np.uint64(int(key[:16], 16))
        except ValueError:  # a key that somebody else made up
            return None
        place = int(np.searchsorted(self._heads, head))
        while place < len(self._heads) and self._heads[place] == head:
            number = int(self._order[place])
            if self.key(number) == key:
                return number
            place += 1
        return None

    def place(self, number: int) -> int:
        """Return the number of the first cell that has the key of this one."""
        found = None if self.first[number] else self.number(self.key(number))
        return number if found is None else found

    def __getitem__(self, key: str) -> Labels:
        number = self.number(key)
        if number is None:
            raise KeyError(key)
        return self.names[number]

    def __iter__(self) -> Iterator[str]:
        return map(self.key, np.flatnonzero(self.first).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.first))


@final
class Hashes(MutableMapping[str, int]):
    """A 64-bit number for some keys of a roster; those of other keys are not kept."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._values = np.zeros(len(roster.names), np.int64)
        self.known = np.zeros(len(roster.names), np.bool_)
        self._count = 0

    def __getitem__(self, key: str) -> int:
        number = self._roster.number(key)
        if number is None or not self.known[number]:
            raise KeyError(key)
        return int(self._values[number])

    def __setitem__(self, key: str, value: int) -> None:
        number = self._roster.number(key)
        if number is not None:
            self._count += not self.known[number]
            self._values[number], self.known[number] = value, True

    def __delitem__(self, key: str) -> None:
        self[key]
        self.known[self._roster.number(key)] = False
        self._count -= 1

    def __iter__(self) -> Iterator[str]:
        return map(self._roster.key, np.flatnonzero(self.known).tolist())

    def __len__(self) -> int:
        return self._count


@final
class Left(Mapping[str, "Labels"]):
    """The part of a roster that has no hash of a row, in the order of the study; it follows what becomes known."""

    def __init__(self, roster: Roster, rows: Hashes) -> None:
        self._roster, self._rows = roster, rows

    def numbers(self) -> list[int]:
        """Return the numbers of the cells."""
        found: list[int] = np.flatnonzero(self._roster.first & ~self._rows.known).tolist()
        return found

    def __getitem__(self, key: str) -> Labels:
        if key in self._rows:
            raise KeyError(key)
        return self._roster[key]

    def __iter__(self) -> Iterator[str]:
        return map(self._roster.key, self.numbers())

    def __len__(self) -> int:
        return len(self._roster) - len(self._rows)


@final
class Units(Sequence[Keys]):
    """What is computed together, as numbers of cells; the keys are made when they are asked for.

    Parameters
    ----------
    first : the number of a unit's first cell, unit by unit.
    whole : the numbers of all cells of a unit, by its first; of those that have more than one.
    """

    def __init__(self, roster: Roster, first: array[int], whole: Mapping[int, Sequence[int]]) -> None:
        self._roster, self._first, self._whole = roster, first, whole

    @overload
    def __getitem__(self, index: int) -> Keys: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Keys]: ...
    def __getitem__(self, index: int | slice) -> Keys | Sequence[Keys]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number = self._first[index]
        return tuple(map(self._roster.key, self._whole.get(number, (number,))))

    def __len__(self) -> int:
        return len(self._first)
