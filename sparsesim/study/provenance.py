"""Where a row comes from: the code and the software that computed it. It stands beside the row, never in it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import platform
import subprocess
import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGE = Path(__file__).resolve().parent.parent
# What decides a number. The store, the engines and the report do not, so that they may change without recomputing.
_DECISIVE = (
    "_*.py",
    "generators/**/*.py",
    "kernels/**/*.py",
    "solvers/**/*.py",
    "metrics/**/*.py",
    "study/cell.py",
    "study/grouping.py",
)


def provenance() -> dict[str, Any]:
    """Return the versions, commit, platform and UTC time under which rows are computed now; it never fails.

    The host's name is left out: tables and stores are published.
    """
    return {**_software(), "time": datetime.now(UTC).isoformat(timespec="milliseconds")}


@functools.cache
def _software() -> dict[str, Any]:
    versions = {name: _version(name) for name in ("sparsesim", "numpy", "scipy", "torch", "numba")}
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": _commit(),
        "instructions": _instructions(),  # products of matrices round by them in their last bits
        "threads": 1,  # every engine computes a cell on one thread
        "device": "cpu",
    }


def _instructions() -> str:
    """Return the vector instructions of the processor beyond the least that numpy runs on, by numpy's names."""
    known: Any = np.show_config(mode="dicts")
    return ", ".join(known.get("SIMD Extensions", {}).get("found", ()))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout the package lies in, with ``+dirty`` if files differ from it."""
    # An installed package may lie in an environment inside somebody else's repository: it must be tracked there.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return commit if commit is None or not changes else f"{commit}+dirty"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=_PACKAGE, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of all code that decides a number in a row; comments, docstrings and layout do not count.

    It is part of every row's key, so that a row computed by other code is never reused.
    """
    return text_digest(sorted({path for pattern in _DECISIVE for path in _PACKAGE.glob(pattern)}), _PACKAGE)


def text_digest(paths: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 of the syntax trees of Python files, in order; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(root).as_posix()}\n{_bare(path.read_text('utf-8'))}\n".encode())
    return digest.hexdigest()


def source_digest(things: Iterable[object]) -> str:
    """Return the SHA-256 of the source of functions and classes that are not part of the package.

    A study's own metrics and cells are covered by it; what they call in turn is not. Where no source can be
    found (an interactive session), only the name counts.
    """
    foreign = {thing for thing in things if not getattr(thing, "__module__", "").startswith("sparsesim.")}
    return hashlib.sha256("\n".join(sorted(map(_source, foreign))).encode()).hexdigest()


def _source(thing: Any) -> str:
    try:
        return _bare(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):
        return getattr(thing, "__qualname__", type(thing).__qualname__)


def types_within(value: object) -> Iterator[type]:
    """Yield the type of every dataclass that a specification is made of, itself included."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from types_within(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in dataclasses.fields(value):
            yield from types_within(getattr(value, field.name))


def _bare(source: str) -> str:
    """Return the syntax tree of ``source`` as text, without docstrings (comments and layout are not in it)."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return ast.dump(tree)
