"""A solver has one look in all figures, whatever is shown beside it, and no figure has a colour of its own."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from pathlib import Path

import pytest

import paper_figures
from paper_figures.__main__ import NAMES
from sparsesim.report.palette import LOOKS, Look, pale

SOURCES = sorted(Path(paper_figures.__file__).parent.glob("*.py"))
SOURCES.append(Path(importlib.import_module("sparsesim.report.pictures").__file__ or ""))
WORLDS = {"GEOMETRIES", "READ", "FRAMES"}  # dictionaries of directions, not of solvers
PLAIN = {"white", "black", "none"}
DRAWS = {"color", "c", "colors", "facecolor", "facecolors", "edgecolor", "edgecolors", "mec", "mfc", "ecolor"}


def looks(module: str) -> dict[str, Look]:
    """Return the looks that a figure declares at the top of its modules, by dictionary and key."""
    found = {}
    for name, value in vars(importlib.import_module(module)).items():
        if name != "LOOKS" and isinstance(value, dict):
            found |= {f"{name}.{key}": one for key, one in value.items() if isinstance(one, Look)}
        elif isinstance(value, Look):
            found[name] = value
    return found


def brightness(colour: str) -> float:
    """Return the grey of ``colour`` from 0 to 1, by the weights of ITU-R BT.601, as a printer makes it."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_no_two_solvers_have_colour_and_marker_in_common():
    assert len({(look.colour, look.marker) for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.label for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_figures_take_their_colours_from_the_palette(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    written = [
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and re.fullmatch("#[0-9a-fA-F]{3,8}", str(node.value))
    ] + [
        node.value.value for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in DRAWS and isinstance(node.value, ast.Constant)
    ]  # fmt: skip
    assert set(written) <= PLAIN


@pytest.mark.parametrize("name", NAMES)
def test_a_solver_is_shown_by_its_own_look_and_is_told_from_the_others_without_colour(name):
    shown = looks(f"paper_figures.{name}")
    for key, look in shown.items():
        place, _, solver = key.partition(".")
        if solver in LOOKS and place not in WORLDS:
            own = LOOKS[solver]
            assert look[1:] in (own[1:], (own.colour, "")) or look.colour == pale(own.colour), key
    families = {look[1:] for look in LOOKS.values()}
    distinct = {look[1:]: key for key, look in shown.items()}
    for look in distinct.keys() - families:  # what stands twice is one solver, at other settings
        twice = [key for key, one in shown.items() if one[1:] == look and key.partition(".")[0] not in WORLDS]
        assert len(twice) < 2, twice
    for (colour, marker), (other, same) in itertools.combinations(distinct, 2):
        if marker == same and marker:
            assert abs(brightness(colour) - brightness(other)) > 0.12, (distinct[colour, marker], distinct[other, same])
