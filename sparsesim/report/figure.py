"""Matplotlib without global state: a style as a context, figures as SVG text and as files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "figure.dpi": 100,
}


@contextmanager
def style(salt: str = "sparsesim") -> Iterator[None]:
    """Draw inside this context in the house style; the caller's rcParams are restored afterwards.

    ``salt`` names the figure: it keeps the ids of several inline SVGs apart and the same from run to run.
    """
    with matplotlib.rc_context({**RC, "svg.hashsalt": salt}):
        yield


def svg(figure: Figure, name: str) -> str:
    """Return ``figure`` as an ``<svg>`` element for inlining, without prologue, dates or references to the network."""
    buffer = io.StringIO()
    with style(name):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids such as "axes_1" recur in every figure; prefixing them keeps several figures on one page apart.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    return re.sub(r"url\(#", f"url(#{name}-", text)


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``figure`` as PDF, PNG (300 dpi) and SVG into ``folder`` and return the paths; the bytes carry no date."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("pdf", "png", "svg")]
    FigureCanvasAgg(figure)
    with style(name):
        figure.savefig(paths[0], metadata={"CreationDate": None})
        figure.savefig(paths[1], dpi=300)
        figure.savefig(paths[2], metadata={"Date": None})
    return paths
