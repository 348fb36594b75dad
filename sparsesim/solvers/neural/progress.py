"""The state of a training between two steps: all that decides the steps to come, and what was recorded so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparsesim.solvers.neural.checkpoint import Keeper, digest, place_of
from sparsesim.solvers.neural.module import SparseModule, tensors
from sparsesim.solvers.neural.watch import Watch

_TORCHS_OWN = frozenset(vars(nn.Module()))


class Moments(Protocol):
    """What an optimiser remembers of the gradients."""

    mean: Tensor
    square: Tensor


@final
@dataclass(frozen=True, eq=False)
class Progress:
    """A model in training, with the optimiser's moments, the watch over it and the generators of its noise."""

    module: SparseModule
    optimiser: Moments
    watch: Watch
    generators: tuple[torch.Generator, ...]
    held: dict[str, Any] = field(init=False)  # prints of attributes that are no numbers, as they were at the start

    def __post_init__(self) -> None:
        held = {path: _print_of(value) for path, value in _attributes(self.module) if not _plain(value)}
        object.__setattr__(self, "held", held)

    def save(self, step: int, keeper: Keeper) -> None:
        """Save the state after ``step`` steps, right after a check of the watch."""
        found, facts = self.watch.state()
        found |= self._tensors() | {f"noise/{e}": g.get_state() for e, g in enumerate(self.generators)}
        arrays: dict[str, npt.NDArray[Any]] = {name: tensor.detach().cpu().numpy() for name, tensor in found.items()}
        keeper.save(step, arrays, {**facts, "attributes": self._plain_attributes()})

    def resume(self, keeper: Keeper) -> int:
        """Take over the last saved state, if there is one, and return how many steps were done."""
        loaded = keeper.load()
        if loaded is None:
            return 0
        arrays = {name: torch.from_numpy(np.array(array)) for name, array in loaded[0].items()}
        for name, tensor in self._tensors().items():
            tensor.detach().copy_(arrays[name])
        for e, generator in enumerate(self.generators):
            generator.set_state(arrays[f"noise/{e}"])
        self._set_attributes(loaded[1]["attributes"])
        self.watch.restore(arrays, loaded[1])
        return int(loaded[1]["step"])

    def _tensors(self) -> dict[str, Tensor]:
        moments = {"adam/mean": self.optimiser.mean, "adam/square": self.optimiser.square}
        return {f"module/{name}": tensor for name, tensor in tensors(self.module).items()} | moments

    def _plain_attributes(self) -> dict[str, Any]:
        """Return the attributes that a checkpoint holds; the others must be what they were at the start."""
        found = {}
        for path, value in _attributes(self.module):
            if _plain(value):
                found[path] = value
            elif self.held.get(path) != _print_of(value):
                raise TypeError(
                    f"the attribute {path} changed in training and is not saved in a checkpoint: {value!r:.100}. "
                    "Register what changes as a buffer, or hold it in numbers, strings and tuples of such."
                )
        return found

    def _set_attributes(self, found: Mapping[str, Any]) -> None:
        parts = dict(self.module.named_modules())
        for path, value in found.items():
            where, _, name = path.rpartition(".")
            setattr(parts[where], name, _tupled(value))


def _attributes(module: nn.Module) -> list[tuple[str, Any]]:
    """Return the attributes of all parts by path, without parameters, buffers, parts and what torch keeps itself."""
    return [
        (f"{path}.{name}" if path else name, value)
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in _TORCHS_OWN
    ]


def _plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return value is None or type(value) in (bool, int, float, str)


@final
@dataclass(frozen=True, eq=False)
class _Same:
    """Equal to another one of the same object alone, which it keeps alive, so that no other takes its place."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _print_of(value: object) -> object:
    """Return what changes whenever ``value`` does: containers and numbers are looked into, the rest is its identity."""
    if _plain(value):
        return type(value), repr(value)  # -0.0 is not 0.0, and NaN is NaN
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_print_of, value))
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(_print_of, value))
    if isinstance(value, dict):
        return dict, tuple((_print_of(name), _print_of(entry)) for name, entry in value.items())
    if isinstance(value, Tensor):
        return _print_of(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, digest(np.ascontiguousarray(value))
    if isinstance(value, torch.Generator):
        return _print_of(value.get_state())
    if isinstance(value, np.random.Generator):
        return place_of([value])
    return _Same(value)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
