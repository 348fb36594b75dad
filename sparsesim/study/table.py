"""Rows of numbers with their labels, as they are written to ``studies/tables`` and read by the figures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from sparsesim._files import write_whole as write_whole

Value: TypeAlias = str | int | float


def check_value(name: str, value: object) -> Value:
    """Return ``value`` as a plain str, int or float that reads back from CSV as itself.

    Raises
    ------
    TypeError
        For booleans, None, arrays and other objects.
    ValueError
        For strings that a reader would take for a number or for a missing value, and for control characters.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{name} must be a string or a number; got {value!r}. Write a bool as 0 and 1, or as a word.")
    if isinstance(value, str) and (not value.isprintable() or not isinstance(_parsed(value), str)):
        raise ValueError(
            f"{name} must not be a string that reads as a number or is empty or unprintable; got {value!r}."
        )
    return value


def _parsed(field: str) -> Value:
    if not field:
        return float("nan")
    for kind in (int, float):
        try:
            return kind(field)
        except ValueError:
            continue
    return field


def rank(value: Value) -> tuple[int, Any]:
    """Order numbers by size, NaN after them, strings last."""
    if isinstance(value, str):
        return 2, value
    return (1, 0) if value != value else (0, value)


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, each value a string, an int or a float.

    Two tables are equal if their CSV texts are: column names and order, row order, types and all bits of all numbers.

    Raises
    ------
    TypeError, ValueError
        If a column has another length than the first, or a value would not read back from CSV as itself.
    """

    columns: Mapping[str, tuple[Value, ...]]

    def __post_init__(self) -> None:
        plain = {name: tuple(check_value(name, value) for value in values) for name, values in self.columns.items()}
        lengths = {name: len(values) for name, values in plain.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns must have equal lengths; got {lengths}.")
        object.__setattr__(self, "columns", plain)

    @classmethod
    def of_rows(cls, names: Iterable[str], rows: Iterable[Iterable[Value]]) -> Table:
        """Return the table with columns ``names`` and the given rows."""
        lines = [tuple(row) for row in rows]
        return cls({name: tuple(line[index] for line in lines) for index, name in enumerate(names)})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Table:
        """Return the table written to ``path``; an empty field is NaN.

        Raises
        ------
        ValueError
            If there is no header, a name occurs twice, or a row has another number of fields than the header.
        """
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        if not rows or len(set(rows[0])) < len(rows[0]):
            raise ValueError(f"{path} must begin with a header of distinct column names; got {rows[:1]}.")
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(rows[0]):
                raise ValueError(f"row {number} of {path} has {len(row)} fields, but the header has {len(rows[0])}.")
        return cls.of_rows(rows[0], [[_parsed(field) for field in row] for row in rows[1:]])

    def csv(self) -> str:
        """Return the table as CSV: floats by repr, so that they round-trip exactly, and NaN as an empty field."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        for row in zip(*self.columns.values(), strict=True):
            writer.writerow("" if value != value else value if isinstance(value, str) else repr(value) for value in row)
        return buffer.getvalue()

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the table to ``path`` as CSV, atomically: a reader sees the old file or the new one, never a half."""
        return write_whole(path, self.csv())

    def values(self, name: str) -> list[Value]:
        """Return the column ``name`` as a list.

        Raises
        ------
        ValueError
            If there is no such column.
        """
        if name not in self.columns:
            raise ValueError(f"the table has no column {name!r}; it has {', '.join(self.columns) or 'none'}.")
        return list(self.columns[name])

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return the numeric column ``name`` as an array ``(rows,)``.

        Raises
        ------
        ValueError
            If there is no such column.
        TypeError
            If it holds a string.
        """
        values = self.values(name)
        words = [value for value in values if isinstance(value, str)]
        if words:
            raise TypeError(f"column {name!r} holds strings such as {words[0]!r}; read it with values({name!r}).")
        return np.array(values, dtype=np.float64)

    def levels(self, name: str) -> list[Value]:
        """Return the distinct values of column ``name`` in the order of first appearance."""
        return list(dict.fromkeys(self.values(name)))

    def where(self, **labels: Value) -> Table:
        """Return the rows in which every named column equals the given value, in their order."""
        chosen = range(len(self))
        for name, wanted in labels.items():
            values = self.values(name)
            chosen = [index for index in chosen if values[index] == wanted]  # type: ignore[assignment]
        return self._take(chosen)

    def sorted(self, by: str | Iterable[str]) -> Table:
        """Return the rows ordered by the columns ``by``, numbers by size and before strings; ties keep their order."""
        columns = [self.values(name) for name in ([by] if isinstance(by, str) else by)]
        return self._take(sorted(range(len(self)), key=lambda index: [rank(column[index]) for column in columns]))

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yield each row as a dict from column name to value."""
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, row, strict=True))

    def _take(self, chosen: Iterable[int]) -> Table:
        indices = list(chosen)
        return Table({name: tuple(values[index] for index in indices) for name, values in self.columns.items()})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __eq__(self, other: object) -> bool:
        return self.csv() == other.csv() if isinstance(other, Table) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
