"""When two pieces of somebody's code are the same: a digest of everything they can be seen to compute with.

A wrong miss costs a rerun, a wrong hit is a wrong result. So the digest covers bytecode, closures, defaults, the
globals that the code names, and the classes and functions among them, through all modules that are not installed
packages; of these the version counts, and what of yours was put in the place of their functions and methods where the
code names them. Where something cannot be followed there is no digest, and the reason is given. Not seen is a patch
inside of a package, to a function that only the package itself names.
"""

from __future__ import annotations

import builtins
import copyreg
import dis
import enum
import functools
import hashlib
import importlib
import re
import struct
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparsesim.validate.escapes import UnknownCodeError, check_inward, names_in
from sparsesim.validate.origins import installed, is_foreign, is_found, package_of, validation_digest

_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range, slice)
_NOT_CODE = re.compile(
    "__(dict|weakref|doc|module|qualname|firstlineno|static_attributes|annotations|annotate|annotate_func|"
    "annotations_cache|abstractmethods|orig_bases|parameters)__|_abc_impl"
)


def identity(*things: object) -> str:
    """Return a SHA-256 (hex) that is equal only where ``things`` and all that they are seen to use are equal.

    Files, environment variables, the clock and the network are not seen: code that names a way to read them has no
    identity, nor has code that looks names up while it runs (``globals``, ``exec``, ``getattr`` of a computed name).

    Raises
    ------
    UnknownCodeError
        If something they use cannot be followed; the message says what.
    """
    digest = hashlib.sha256(f"{sys.version}\n{validation_digest()}\n".encode())
    walk = _Walk()
    for thing in things:
        for word in walk.words(thing):
            data = word.encode()
            digest.update(struct.pack("<q", len(data)) + data)
    return digest.hexdigest()


class _Walk:
    """Yields words for what it is shown, each object once; a later meeting yields the number of the first."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # lest an id be used twice

    def words(self, thing: Any) -> Iterator[str]:
        if isinstance(thing, _PLAIN) and type(thing) in _PLAIN:
            yield f"{type(thing).__name__} {thing!r}"
            return
        if thing is sys.modules:
            raise UnknownCodeError("the code looks modules up in sys.modules")
        if id(thing) in self._seen:
            yield f"again {self._seen[id(thing)]}"
            return
        self._seen[id(thing)] = len(self._seen)
        self._kept.append(thing)
        yield from self._rule(thing)(thing)

    def _rule(self, thing: Any) -> Callable[[Any], Iterator[str]]:
        rules: list[tuple[type | tuple[type, ...], Callable[[Any], Iterator[str]]]] = [
            (types.FunctionType, self._function),
            (types.MethodType, lambda method: self._all("method", method.__self__, method.__func__)),
            (types.CodeType, self._code),
            (types.ModuleType, self._module),
            (type, self._class),
            ((types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType), self._builtin),
            ((staticmethod, classmethod), lambda one: self._all(type(one).__name__, one.__func__)),
            (property, lambda one: self._all("property", one.fget, one.fset, one.fdel)),
            (functools.partial, lambda one: self._all("partial", one.func, one.args, one.keywords)),
            (enum.Enum, lambda one: self._all("enum", type(one), one.name)),
            ((tuple, list), lambda one: self._all(type(one).__name__, *one)),
            (types.MappingProxyType, lambda one: self._all("mapping", dict(one))),
            (dict, lambda one: self._all("dict", *(part for pair in one.items() for part in pair))),
            ((set, frozenset), self._set),
            (np.ndarray, self._array),
        ]
        for kinds, rule in rules:
            if isinstance(thing, kinds):
                exact = not isinstance(thing, tuple | list | dict | set | frozenset | np.ndarray)
                return rule if exact or type(thing).__module__ in ("builtins", "numpy") else self._object
        return self._object

    def _all(self, name: str, *parts: Any) -> Iterator[str]:
        yield f"{name} {len(parts)}"
        for part in parts:
            yield from self.words(part)

    def _set(self, things: Any) -> Iterator[str]:
        yield from self._all("set", *sorted(things, key=repr))

    def _array(self, array: Any) -> Iterator[str]:
        if array.dtype.hasobject:
            raise UnknownCodeError(f"an array of objects, {array.dtype}, cannot be followed")
        values = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        yield f"array {array.dtype.str} {array.shape} {values}"

    def _builtin(self, function: Any) -> Iterator[str]:
        owner, module = getattr(function, "__self__", None), getattr(function, "__module__", None)
        if module and not installed(module):
            raise UnknownCodeError(f"{module}.{function.__qualname__} is compiled code of no installed package")
        yield f"builtin {getattr(function, '__qualname__', function)}"
        if owner is not None and not isinstance(owner, types.ModuleType):
            yield from self.words(owner)

    def _function(self, function: types.FunctionType) -> Iterator[str]:
        package, name = package_of(function), function.__code__.co_qualname
        if package and "<locals>" not in name:
            yield f"function {function.__globals__['__name__']}.{name} {package}"
            return
        yield from self._all("function", function.__code__, function.__defaults__, function.__kwdefaults__)
        if function.__dict__:
            yield from self.words(function.__dict__)
        for cell in function.__closure__ or ():
            try:
                yield from self.words(cell.cell_contents)
            except ValueError as error:
                if isinstance(error, UnknownCodeError):
                    raise
                yield "empty"
        yield from self._globals(function.__code__, function.__globals__)

    def _globals(self, code: types.CodeType, known: dict[str, Any]) -> Iterator[str]:
        for name in names_in(code):
            if name in known:
                yield name
                yield from self._named_by(code, known[name])
            elif is_foreign(vars(builtins).get(name)):
                yield from self.words(vars(builtins)[name])
        yield from self._imports(code, known)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from self._globals(constant, known)

    def _named_by(self, code: types.CodeType, thing: Any) -> Iterator[str]:
        """Yield words for what ``code`` names, and of an installed module for what else it names in there."""
        check_inward(code, thing)
        yield from self.words(thing)
        if isinstance(thing, types.ModuleType) and installed(thing.__name__):
            yield from self._reached(code, thing, {id(thing)})

    def _reached(self, code: types.CodeType, module: types.ModuleType, seen: set[int]) -> Iterator[str]:
        """Yield words for classes, and for functions of yours, that ``code`` may reach in an installed ``module``."""
        for name in names_in(code):
            value = vars(module).get(name)
            if value is None or id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, types.ModuleType) and installed(value.__name__):
                yield from self._reached(code, value, seen)
            elif value is sys.modules or isinstance(value, types.ModuleType | type) or is_foreign(value):
                yield name
                yield from self.words(value)

    def _imports(self, code: types.CodeType, known: dict[str, Any]) -> Iterator[str]:
        previous: list[Any] = []
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                level = previous[-2].argval if len(previous) > 1 else 0
                name = f"{'.' * level}{instruction.argval}" if isinstance(level, int) else instruction.argval
                yield from self._named_by(code, _imported(name, known.get("__package__")))
            previous.append(instruction)

    def _code(self, code: types.CodeType) -> Iterator[str]:
        yield f"code {code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {code.co_flags}"
        yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_exceptiontable.hex()}"
        yield from self._all("constants", *code.co_consts)

    def _class(self, kind: type) -> Iterator[str]:
        package = installed(kind.__module__)
        yield f"class {kind.__module__}.{kind.__qualname__}"
        if type(kind) is not type:
            yield from self.words(type(kind))
        if package and is_found(kind):
            yield package
            yield from self._patches(kind)
            return
        yield from self._all("bases", *kind.__bases__)
        for name, value in sorted(vars(kind).items()):
            if not _NOT_CODE.fullmatch(name):
                yield name
                yield from self.words(value)

    def _patches(self, kind: type) -> Iterator[str]:
        """Yield words for the methods of yours that stand in an installed class or in what it inherits from."""
        for owner in kind.__mro__:
            for name, value in vars(owner).items():
                if is_foreign(value):
                    yield f"{owner.__qualname__}.{name}"
                    yield from self.words(value)

    def _module(self, module: types.ModuleType) -> Iterator[str]:
        package = installed(module.__name__) if sys.modules.get(module.__name__) is module else ""
        yield f"module {module.__name__} {package}"
        if package:
            return
        try:
            yield hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
        except (AttributeError, OSError) as error:
            raise UnknownCodeError(f"the module {module.__name__} has no file that can be read") from error
        for name, value in sorted(vars(module).items()):
            if not name.startswith("__"):
                yield name
                yield from self.words(value)

    def _object(self, thing: Any) -> Iterator[str]:
        """Yield what pickle would keep of ``thing``; what pickle cannot take apart has no identity.

        A class of yours may keep something from pickle, so that of its objects all attributes are taken.
        """
        try:
            known = copyreg.dispatch_table.get(type(thing))
            parts: Any = thing.__reduce_ex__(4) if known is None else known(thing)
        except Exception as error:
            raise UnknownCodeError(
                f"an object of type {type(thing).__qualname__} cannot be followed: {error}"
            ) from error
        yield f"object {type(thing).__module__}.{type(thing).__qualname__}"
        yield from self.words(type(thing))
        if isinstance(parts, str):  # pickled by its name alone
            yield from self._named(thing, parts)
            return
        for part in parts:
            yield from self.words(list(part) if hasattr(part, "__next__") else part)
        if not installed(type(thing).__module__):
            yield from self.words(getattr(thing, "__dict__", None))

    def _named(self, thing: Any, name: str) -> Iterator[str]:
        """Yield what stands behind a name: the function within a cache, or the version of an installed package."""
        yield name
        if hasattr(thing, "__wrapped__"):
            yield from self.words(thing.__wrapped__)
            return
        module = getattr(thing, "__module__", None) or type(thing).__module__
        package = installed(module)
        if not package:
            raise UnknownCodeError(f"{module}.{name} is known by its name alone")
        yield f"{module} {package}"


def _imported(name: str, package: str | None) -> types.ModuleType:
    if name.lstrip(".") == "":
        raise UnknownCodeError(f"a function imports from {name!r}, which cannot be followed")
    try:
        return importlib.import_module(name, package)
    except (Exception, SystemExit) as error:
        raise UnknownCodeError(f"a function imports {name}, which fails: {error}") from error
