"""Which code is of an installed package or of Python, and which is somebody's own: its file says so, not its name."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import sys
import sysconfig
import types
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsesim.study.provenance import code_digest, text_digest

_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made while the program ran


@functools.cache
def validation_digest() -> str:
    """Return the digest of the code by which outside models are trained and probed, and of what it rests on."""
    here = Path(__file__).parent
    return hashlib.sha256(f"{code_digest()}\n{text_digest(sorted(here.glob('*.py')), here)}".encode()).hexdigest()


def installed(module: str | None) -> str:
    """Return the name and version of the installed package that ``module`` is of; empty for somebody's own code.

    The name is not enough: a file ``profile.py`` beside a script is no part of Python.
    """
    if not isinstance(module, str) or module == "__main__":
        return ""
    top = module.partition(".")[0]
    package = _package(top, *_origin(top))
    if not package or top == module or _origin(module) == ("", ""):
        return package
    return package if _package(top, *_origin(module)) else ""


def _origin(module: str) -> tuple[str, str]:
    """Return the file of a loaded module, and where its specification says that it is from."""
    found = sys.modules.get(module)
    path = getattr(found, "__file__", None)
    return str(path or ""), str(getattr(getattr(found, "__spec__", None), "origin", None) or "")


@functools.cache
def _package(top: str, path: str, origin: str) -> str:
    if top == "sparsesim":
        return f"sparsesim {validation_digest()}"
    standard = top in sys.stdlib_module_names
    if not path:
        return f"python {sys.version}" if standard and origin in ("built-in", "frozen") else ""
    parents = Path(path).resolve().parents
    if any(place in parents for place in _places("purelib", "platlib")):
        return "; ".join(f"{owner} {metadata.version(owner)}" for owner in _owners().get(top, [])) or f"{top} {path}"
    if standard and any(place in parents for place in _places("stdlib", "platstdlib")):
        return f"python {sys.version}"
    return ""


@functools.cache
def _places(*kinds: str) -> frozenset[Path]:
    return frozenset(Path(sysconfig.get_path(kind)).resolve() for kind in kinds)


@functools.cache
def _owners() -> dict[str, list[str]]:
    return {name: sorted(set(owners)) for name, owners in metadata.packages_distributions().items()}


def package_of(function: types.FunctionType) -> str:
    """Return the same of what wrote ``function``: of its globals, since ``functools.wraps`` copies ``__module__``."""
    home = function.__globals__.get("__name__")
    own = function.__globals__ is getattr(sys.modules.get(str(home)), "__dict__", None)
    return installed(home) if own else ""


def is_foreign(value: Any) -> bool:
    """Return whether ``value`` is a function, or a method of any kind, that no installed package has written."""
    if isinstance(value, property):
        return any(map(is_foreign, (value.fget, value.fset, value.fdel)))
    inner = getattr(value, "__func__", value)
    return isinstance(inner, types.FunctionType) and not package_of(inner)


def is_found(kind: type) -> bool:
    """Return whether a class is compiled, or stands in its module under its name: made by a call, it may claim any."""
    if not kind.__flags__ & _HEAP:
        return True
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def loose_modules() -> list[types.ModuleType]:
    """Return the loaded modules of somebody's own that another process could not import by their names."""
    found = []
    for name, module in list(sys.modules.items()):
        path, top = getattr(module, "__file__", None), name.partition(".")[0]
        if path is None or "__main__" in (name, module.__name__) or installed(name):
            continue
        spec = importlib.machinery.PathFinder.find_spec(top)
        if spec is None or (name == top and spec.origin != path):
            found.append(module)
    return found
