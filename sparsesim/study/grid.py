"""Studies of more cells than one wants to hold: all points of a grid, each made when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final, overload

from sparsesim.study.table import check_value

if TYPE_CHECKING:
    from sparsesim.study.cell import Cell, Labels, Scalar


@final
class Grid(Mapping["Labels", "Cell"]):
    """The ``cells`` of a study at all points of a grid, in the order of nested loops, the last axis the innermost.

    It takes the memory of its axes: a point is a number until somebody looks at it.

    Parameters
    ----------
    make : returns the cell of a point, given its values by name; the same cell each time.
    axes : the values along each axis, by the name of the label; at least one axis, its values all different.

    Raises
    ------
    ValueError
        If there is no axis, or one has no value or the same one twice.
    """

    def __init__(self, make: Callable[..., Cell], **axes: Sequence[Scalar]) -> None:
        self._make, self._axes = make, {name: tuple(values) for name, values in axes.items()}
        if not axes:
            raise ValueError("a grid needs at least one axis, such as seed=range(20).")
        for name, values in self._axes.items():
            plain = [check_value(name, value) for value in values]
            if not plain or len(set(plain)) < len(plain):
                raise ValueError(f"the values of axis {name} must be different ones, at least one; got {plain[:9]}.")
        self._places = {name: {value: at for at, value in enumerate(values)} for name, values in self._axes.items()}
        self.points = _Points(self._axes)

    def __getitem__(self, labels: Labels) -> Cell:
        values = dict(labels)
        here = list(values) == list(self._axes)
        if not here or any(value not in self._places[name] for name, value in values.items()):
            raise KeyError(labels)
        return self._make(**values)

    def __iter__(self) -> Iterator[Labels]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)


@final
class _Points(Sequence["Labels"]):
    """The labels of the points of a grid."""

    def __init__(self, axes: Mapping[str, tuple[Scalar, ...]]) -> None:
        self._axes, self._count = axes, math.prod(map(len, axes.values()))

    @overload
    def __getitem__(self, index: int) -> Labels: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Labels]: ...
    def __getitem__(self, index: int | slice) -> Labels | Sequence[Labels]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._count))]
        left = range(self._count)[index]
        found: list[tuple[str, Scalar]] = []
        for name, values in reversed(list(self._axes.items())):
            left, place = divmod(left, len(values))
            found.append((name, values[place]))
        return tuple(reversed(found))

    def __len__(self) -> int:
        return self._count
