"""What a trainable model is: codes, reconstruction and named losses on the last two axes.

A leading axis is an ensemble: parameters are ``(p, d)`` or ``(E, p, d)``, data ``(B, d)`` or ``(E, B, d)``, losses
``()`` or ``(E,)``. A model is written for one member; `stack` makes the ensemble, `member` takes one out again.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng
from sparsesim.solvers.neural.selected import Selection


@final
class Room:
    """Memory for what every step of a training makes anew: large blocks that come and go tear a heap apart."""

    def __init__(self) -> None:
        self._held: dict[tuple[torch.dtype, tuple[int, ...]], Tensor] = {}

    def empty(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return the tensor of this ``shape`` and of the kind of ``like``, with what was left in it."""
        kind = like.dtype, shape
        if kind not in self._held:
            self._held[kind] = like.new_empty(shape)
        return self._held[kind]


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One step of training: ``index`` of ``total``, with the noise generators of the members (one each).

    What is written into ``room`` is good until the step ends or is written there again.
    """

    index: int
    total: int
    generators: tuple[torch.Generator, ...] = ()
    room: Room = field(default_factory=Room)

    @property
    def progress(self) -> float:
        """Share of training done: 0 at the first step, 1 at the last."""
        return self.index / max(self.total - 1, 1)

    def ramp(self, start: float, end: float) -> float:
        """Share of the way from ``progress`` start to end, clipped to [0, 1]; a step up where they are equal."""
        if self.progress <= start or self.progress >= end:
            return float(self.progress >= end)
        return (self.progress - start) / (end - start)

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal noise of the shape of ``like``, each member's from its own generator."""
        if like.ndim == 2:
            return torch.randn(like.shape, generator=self.generators[0], dtype=like.dtype, device=like.device)
        shape = like.shape[1:]
        draws = [torch.randn(shape, generator=g, dtype=like.dtype, device=like.device) for g in self.generators]
        return torch.stack(draws)


class Optimiser(Protocol):
    """What a module may ask of the optimiser after a step."""

    def forget(self, parameter: nn.Parameter, where: Tensor) -> None:
        """Set the moments of ``parameter`` to zero where the boolean ``where``, broadcast to its shape, is true."""
        ...


class SparseModule(nn.Module, ABC):
    """A model that `train` can train: everything acts on the last two axes, running statistics are buffers.

    Hyperparameters that may differ between the members of an ensemble are buffers of shape ``()``; those that decide
    shapes or control flow are plain attributes, and `stack` insists that they agree.
    """

    linear = True  # False where `decode` is not affine in the codes and `atoms` are only a local linearisation
    side = 0  # columns of side information that follow the d of a sample in what `losses` and `encode` are given

    def prime(self, sample: Tensor, rng: Rng) -> None:
        """Set initial values that depend on data, from a ``sample (n, d)`` of what it will be trained on.

        Called once on each member before training (and before stacking), without gradient recording.
        """

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Return the codes ``(..., B, p)`` used in inference: deterministic, row by row."""

    def encode_at(self, x: Tensor) -> tuple[Tensor, Selection | None]:
        """Return values ``(..., B, p)`` that are the codes where a selection says so; None is wherever they are not 0.

        A model that finds out which latents speak without writing zeros for the others says so here.
        """
        return self.encode(x), None

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Return the reconstruction ``(..., B, d)``."""

    def decode_beside(self, codes: Tensor, side: Tensor) -> Tensor:
        """Return the reconstruction ``(..., B, d)`` given ``side (..., B, s)``, where it is used."""
        return self.decode(codes)

    def check_side(self, side: FloatArray) -> None:
        """Raise ValueError unless each row of ``side (n, s)`` can be read, as where labels must be known ones."""

    @abstractmethod
    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the named terms, already weighted, each of shape ``()`` or ``(E,)``; the loss is their sum."""

    @abstractmethod
    def atoms(self) -> Tensor:
        """Return the decoder rows ``(..., p, d)`` as they are, of any norm."""

    @abstractmethod
    def decoder_bias(self) -> Tensor:
        """Return the decoder bias ``(..., d)``."""

    def repeats(self, index: int) -> Hashable | None:
        """Return what the operations of step ``index`` depend on besides the values of tensors; None if on the step.

        Steps that return the same do the same operations on the same memory, so that one of them can be recorded and
        replayed for the others. A class answers for itself alone, since one that extends it may do more.
        """
        return None

    def before_step(self) -> None:
        """Change the gradients before the optimiser reads them (called without gradient recording)."""

    def after_step(self, optimiser: Optimiser) -> None:
        """Restore constraints of the parameters after the optimiser moved them (called without gradient recording).

        A module that replaces rows of a parameter, as resampling does, has the ``optimiser`` forget their moments.
        """


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of ``module`` by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def stack(members: Sequence[SparseModule]) -> SparseModule:
    """Return one module whose parameters and buffers are those of ``members`` along a new leading axis.

    Raises
    ------
    ValueError
        If the members differ in kind, in shapes or in a plain attribute.
    """
    first = members[0]
    for other in members[1:]:
        if _form(other) != _form(first):
            raise ValueError(
                "the members of an ensemble must be of one kind, with equal shapes and plain attributes; got "
                f"{_form(first)} and {_form(other)}. Train them separately."
            )
    batched = copy.deepcopy(first)
    parts = [tensors(each) for each in members]
    for name, tensor in tensors(batched).items():
        tensor.data = torch.stack([part[name].detach() for part in parts])
    return batched


def member(batched: SparseModule, index: int) -> SparseModule:
    """Return member ``index`` of an ensemble made by `stack`, as a module of its own that shares no memory."""
    single = copy.deepcopy(batched)
    for tensor in tensors(single).values():
        tensor.data = tensor.detach()[index].clone()
    return single


def _form(module: nn.Module) -> tuple[Any, ...]:
    """Return what two modules must share to be stacked: type, tensors by name, shape and whether they are learned, and
    plain public attributes.
    """
    plain = tuple(
        (f"{path}.{name}".lstrip("."), value)
        for path, part in module.named_modules()
        for name, value in sorted(vars(part).items())
        if not name.startswith("_") and isinstance(value, bool | int | float | str | tuple | None)
    )
    shapes = tuple(
        (name, tuple(tensor.shape), isinstance(tensor, nn.Parameter)) for name, tensor in tensors(module).items()
    )
    return type(module).__name__, shapes, plain
