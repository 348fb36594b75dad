"""One line of shell that makes a number again: specifications written as the Python expressions that rebuild them."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from sparsesim.validate.outside import Outside


@final
@dataclass(eq=False)
class Program:
    """A program that grows: `expression` notes what has to be imported, `command` puts it all on one line."""

    _names: dict[str, str] = field(default_factory=dict)
    _modules: set[str] = field(default_factory=set)
    _folders: set[str] = field(default_factory=set)

    def expression(self, value: object) -> str:
        """Return Python source that evaluates to ``value``: dataclasses, tuples, numbers, strings, named functions.

        Fields that have their default value are left out.

        Raises
        ------
        TypeError
            If ``value`` holds something that no source stands for, such as an array or a local function.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, enum.Enum):
            return f"{self._reference(type(value))}.{value.name}"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, str):
            return _quoted(value)
        if value is None or isinstance(value, bool | int | float):
            return repr(value)
        if isinstance(value, tuple | list):
            inner = ", ".join(self.expression(item) for item in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return f"{self._reference(type(value))}({', '.join(self._arguments(value))})"
        if isinstance(value, type) or hasattr(value, "__qualname__"):
            return self._reference(value)
        raise TypeError(
            f"{value!r:.80} is not made of frozen dataclasses, tuples, numbers, strings and named functions"
        )

    def _arguments(self, value: Any) -> list[str]:
        arguments = []
        for each in dataclasses.fields(value):
            own = getattr(value, each.name)
            usual = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
            if each.init and not (type(own) is type(usual) and own == usual):
                arguments.append(f"{each.name}={self.expression(own)}")
        if isinstance(value, Outside):  # which keeps its code out of its fields
            arguments += [
                f"{name}={self.expression(part)}" for name, part in zip(("factory", "fit"), value.code, strict=True)
            ]
        return arguments

    def _reference(self, value: Any) -> str:
        """Return the name by which a class or function can be called once the program has imported it."""
        module, name = value.__module__, value.__qualname__
        if "<" in name or module == "__main__":
            raise TypeError(f"{name} cannot be imported: define it at the top of a module that is not run itself")
        if module.split(".")[0] != "sparsesim":
            self._folders.add(_folder(module))
        top = name.split(".")[0]
        if self._names.setdefault(top, module) == module:
            return str(name)
        self._modules.add(module)
        return f"{module}.{name}"

    def command(self, body: str) -> str:
        """Return the shell line that imports what the expressions in ``body`` need and runs it."""
        lines = (
            [f"import sys; sys.path[:0] = [{', '.join(map(_quoted, sorted(self._folders)))}]"] if self._folders else []
        )
        lines += [f"import {module}" for module in sorted(self._modules)]
        owners = sorted(set(self._names.values()))
        named = {
            owner: ", ".join(sorted(name for name in self._names if self._names[name] == owner)) for owner in owners
        }
        lines += [f"from {owner} import {names}" for owner, names in named.items() if owner != "builtins"]
        return f"python -c {shlex.quote('; '.join([*lines, body]))}"


def _quoted(text: str) -> str:
    """Return ``text`` in double quotes, so that a shell line in single quotes stays readable."""
    return json.dumps(text, ensure_ascii=False)


def _folder(module: str) -> str:
    """Return the folder from which ``module`` is imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        raise TypeError(f"{module} has no file to import it from")
    path = Path(file).resolve()
    depth = len(module.split(".")) - (0 if path.name == "__init__.py" else 1)
    return str(path.parents[depth])
