"""A figure of three panels in a row, each drawn by a function of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsesim.study.table import Table

Part = Callable[[Axes, Table], Any]


def three(table: Table, parts: Sequence[Part], height: float, widths: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Return a figure 7.2 inches wide with what the three ``parts`` draw of ``table`` over horizontal grid lines."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    panels = list(figure.subplots(1, 3, width_ratios=widths))
    for axes, part in zip(panels, parts, strict=True):
        part(axes, table)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    return figure, panels
