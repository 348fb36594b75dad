"""What makes two experiments the same (`key`), and where every random number comes from (`stream`)."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Rng, check_int

_WORDS = 2**16  # pairs of random words drawn at a time where they are passed over


class Role(enum.IntEnum):
    """What a random stream is for. The numbers are part of every published result: append, never renumber."""

    TRUTH = 0
    TRAIN = 1
    TEST = 2
    SOLVER = 3
    METRIC = 4
    MODEL_PROBE = 5
    LAW = 6
    OBSERVATION = 7


def stream(seed: int, role: Role, *index: int) -> Rng:
    """Return the random generator of ``role`` under ``seed``.

    Streams of different roles, seeds or indices are independent.

    ``index`` tells replicas of one role apart, for example several initialisations of one solver on one world.
    """
    check_int("seed", seed, 0)
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(int(role), *index)))


def fork(rng: Rng, count: int) -> list[Rng]:
    """Return ``count`` independent generators seeded by 128 bits each from ``rng``, which advances.

    Unlike ``rng.spawn`` the state that decides the children is all in ``rng.bit_generator.state``.

    Raises
    ------
    TypeError
        If ``rng`` is a number or anything else but a generator.
    """
    check_generator(rng)
    return [np.random.default_rng([int(word) for word in row]) for row in _words(rng, count)]


def check_generator(rng: object) -> None:
    """Raise TypeError unless ``rng`` is a numpy generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy Generator, e.g. sparsesim.stream(0, Role.TRUTH); got {rng!r}.")


def pass_over(rng: Rng, times: int, count: int) -> None:
    """Advance ``rng`` as far as ``times`` calls of ``fork(rng, count)`` do, without making the children."""
    left = times * count
    while left > 0:
        left -= len(_words(rng, min(left, _WORDS)))


def _words(rng: Rng, count: int) -> npt.NDArray[np.uint64]:
    return rng.integers(0, 2**64, size=(count, 2), dtype=np.uint64)


LATER = {"absent_at_default": True}  # metadata of a field that was added later: what never set it keeps its key


def canonical(value: object) -> Any:
    """Return ``value`` as plain JSON data in which equal specifications are equal.

    Dataclasses become their qualified type name and fields, without those marked `LATER` at their default; ``1`` and
    ``1.0``, ``0.0`` and ``-0.0``, tuples and lists coincide; numpy scalars are read as numbers.

    Raises
    ------
    TypeError
        For arrays, functions and other objects whose identity is not their value.
    ValueError
        For NaN, which equals nothing.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):
        return {"enum": f"{_name(type(value))}.{value.name}"}
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: canonical(getattr(value, field.name)) for field in _named(value)}
        return {"type": _name(type(value)), "fields": fields}
    raise TypeError(
        f"a specification is made of frozen dataclasses, tuples, numbers, strings and None; "
        f"got {type(value).__name__}. "
        "Arrays do not belong in a specification: pass a tuple, or a law that computes the array."
    )


def _named(value: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass that tell it from others."""
    hidden = LATER.keys()
    return [
        field
        for field in dataclasses.fields(value)
        if not (hidden <= field.metadata.keys() and getattr(value, field.name) == field.default)
    ]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _number(value: float) -> Any:
    if math.isnan(value):
        raise ValueError("a specification must not hold NaN, since NaN equals nothing.")
    if math.isinf(value):
        return {"float": "Infinity" if value > 0 else "-Infinity"}  # the string of that name is another value
    return int(value) if value.is_integer() else value


def key(*values: object) -> str:
    """Return the SHA-256 (hex) of the canonical form of ``values``: equal specifications have equal keys everywhere."""
    text = json.dumps([canonical(value) for value in values], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
