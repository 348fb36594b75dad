"""From ``my_sae.py:MySAE`` to a factory: a file is run, and a class or function of it called by its argument names."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROLES = {
    "seed": ("seed", "random_state"),
    "width": ("width", "p", "d_sae", "dict_size", "n_latents", "num_latents", "n_components", "hidden_dim", "d_hidden"),
    "dim": ("dim", "d", "d_in", "input_dim", "in_features", "activation_dim", "d_model"),
    "k": ("k", "l0"),
}
_EXPLAINED = "as (dim, width), with seed and k if it wants them, or as a factory (seed, width, dim)"


class UserCodeError(ValueError):
    """The file of the model cannot be run, or holds nothing that can be called as a factory; one line says why."""


def load_code(target: str, fit: str | None = None) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """Return the factory that ``path/to/file.py:Name`` is, and the function ``fit`` of that file, if asked for.

    The factory takes (seed, width, dim), or (seed, width, dim, k): a class or function is called by the names of its
    arguments, see `ROLES`. ``sys.path`` stays as it is: the file imports what is installed, not what lies beside it.

    Raises
    ------
    UserCodeError
        If there is no such file or name, the file fails, or the arguments do not say what is what.
    """
    path, name = split(target)
    module = load_module(path)
    if not name:
        raise UserCodeError(f"say which model of {path} is meant, such as {path}:{_suggestion(module)}.")
    return as_factory(named(module, name)), None if fit is None else named(module, fit)


def split(target: str) -> tuple[Path, str]:
    """Return file and name of ``path/to/file.py:Name``; the name is empty where there is none."""
    path, colon, name = target.rpartition(":")
    return (Path(path), name) if colon and path.endswith(".py") else (Path(target), "")


def load_module(path: Path) -> ModuleType:
    """Return the module that ``path`` becomes when it is when it is run, under a name that is free.

    Raises
    ------
    UserCodeError
        If there is no such file, or running it fails.
    """
    if not path.is_file():
        raise UserCodeError(f"there is no file {path}; give path/to/my_sae.py:MySAE.")
    name = path.stem if _is_free(path) else f"model_in_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserCodeError(f"{path} cannot be read as Python.")
    module = importlib.util.module_from_spec(spec)
    former = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name) if former is None else sys.modules.update({name: former})
        raise UserCodeError(f"{place_of(error, path)} {_hint(error, path)}".rstrip()) from error
    return module


def _is_free(path: Path) -> bool:
    """Return whether the stem of ``path`` is a module's name that stands for nothing else."""
    file, loaded = str(path.resolve()), sys.modules.get(path.stem)
    if not path.stem.isidentifier() or getattr(loaded, "__file__", file) != file:
        return False
    known = None if loaded else importlib.util.find_spec(path.stem)
    return known is None or known.origin == file


def place_of(error: BaseException, path: Path) -> str:
    """Return ``file:line: Error: message``, the line being the last one of the file ``path`` that was reached.

    Where it was not, but the cause of ``error`` was raised in there, it is the line of that.

    Where the file was not reached, the message stands alone.
    """
    file = str(path.resolve())
    frames = [
        frame
        for one in (error.__cause__, error)
        if one is not None
        for frame in traceback.extract_tb(one.__traceback__)
    ]
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{path}:{error.lineno}: SyntaxError: {error.msg}"
    said = str(error) or "without a message"
    return f"{path}:{lines[-1]}: {type(error).__name__}: {said}" if lines else said


def _hint(error: BaseException, path: Path) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return ""
    beside = path.resolve().parent / f"{error.name}.py"
    if beside.exists():
        return f"(It lies beside {path.name}, which is not searched: put its folder on PYTHONPATH.)"
    return "(Install it in the environment that runs sparsesim.)"


def named(module: ModuleType, name: str) -> Any:
    """Return the object ``name`` of ``module``.

    Raises
    ------
    UserCodeError
        If there is none, or it cannot be called.
    """
    found = getattr(module, name, None)
    if not callable(found):
        what = "no" if found is None else "something that cannot be called as"
        raise UserCodeError(f"{module.__file__} holds {what} {name!r}; there is {_suggestion(module)}.")
    return found


def _suggestion(module: ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    return ", ".join(own) or "no class or function"


def as_factory(target: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``target`` called as ``factory(seed, width, dim)``, with ``k`` if it has an argument for it.

    Raises
    ------
    UserCodeError
        If an argument without default is none of `ROLES`, two arguments are the same role, or width or dim is missing.
    """
    name = getattr(target, "__name__", str(target))
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise UserCodeError(f"the arguments of {name} cannot be seen; write a factory (seed, width, dim).") from error
    roles = _roles(name, signature)
    if list(signature.parameters)[:3] == ["seed", "width", "dim"]:
        return target

    def made(seed: int, width: int, dim: int) -> Any:
        given = {"seed": seed, "width": width, "dim": dim}
        return target(**{argument: given[role] for role, argument in roles.items()})

    def made_with_k(seed: int, width: int, dim: int, k: int) -> Any:
        given = {"seed": seed, "width": width, "dim": dim, "k": k}
        return target(**{argument: given[role] for role, argument in roles.items()})

    return made_with_k if "k" in roles else made


def _roles(name: str, signature: inspect.Signature) -> dict[str, str]:
    """Return the argument that has each role."""
    found: dict[str, str] = {}
    shown = f"{name}{signature.replace(return_annotation=inspect.Signature.empty)}"
    for argument, parameter in signature.parameters.items():
        role = next((role for role, names in ROLES.items() if argument in names), None)
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        if role is not None and role in found:
            raise UserCodeError(
                f"{shown} has two arguments for {role}: {found[role]} and {argument}. Call it {_EXPLAINED}."
            )
        if role is None and parameter.default is inspect.Parameter.empty:
            raise UserCodeError(f"{shown}: what is {argument!r}? The model is called {_EXPLAINED}.")
        if role is not None and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UserCodeError(f"{shown}: {argument} must have a name by which it is given. Remove the '/'.")
        if role is not None:
            found[role] = argument
    missing = [role for role in ("width", "dim") if role not in found]
    if missing and found.get("width") != "n_components":  # an estimator learns the dimension from its data
        raise UserCodeError(f"{shown} has no argument for {' and '.join(missing)}. The model is called {_EXPLAINED}.")
    return found
