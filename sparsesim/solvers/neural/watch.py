"""What is looked at while a model trains: its losses, and its last weights that were finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sparsesim.solvers.base import Status
from sparsesim.solvers.neural.module import SparseModule, tensors

CHECK_EVERY = 50  # steps between two looks at the losses; a diverged model falls back at most so far
POINTS = 50  # recorded points of the trace


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """How the training of one model ended, and the loss terms at recorded steps."""

    status: Status
    trace: dict[str, tuple[float, ...]]


@final
class Watch:
    """Keeps the trace and, at checks, the last finite weights of each model; costs no synchronisation in between."""

    def __init__(self, module: SparseModule, count: int, steps: int) -> None:
        self.module, self.count, self.steps = module, count, steps
        self.recorded = set(np.unique(np.linspace(0, steps - 1, min(POINTS, steps)).round().astype(int)).tolist())
        self.points: list[tuple[int, dict[str, Tensor]]] = []
        self.losses: list[Tensor] = []
        self._room: dict[str, list[Tensor]] | None = None
        self.diverged_at: list[int | None] = [None] * count
        self.saved = [tensor.clone() for tensor in self._members()]

    def _members(self) -> list[Tensor]:
        """Return parameters and buffers with a leading axis of members, sharing their memory."""
        held = [tensor.detach() for tensor in tensors(self.module).values()]
        return held if self.count > 1 else [tensor.unsqueeze(0) for tensor in held]

    @property
    def all_diverged(self) -> bool:
        """Whether no model is left to train."""
        return None not in self.diverged_at

    def look(self, index: int, terms: dict[str, Tensor]) -> bool:
        """Take note of a step by its terms, ``loss`` among them; return whether the models were checked at it."""
        if self._room is None:
            self._room = self._make_room(terms)
        self.losses.append(self._kept("", len(self.losses), terms["loss"]))
        if index in self.recorded:
            place = len(self.points)
            self.points.append((index, {name: self._kept(name, place, term) for name, term in terms.items()}))
        if len(self.losses) < CHECK_EVERY and index + 1 < self.steps:
            return False
        self._check(index + 1 - len(self.losses))
        self.losses.clear()
        return True

    def _make_room(self, terms: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        """Return where losses (under "") and terms are kept, by their number; nowhere but on the host.

        A tensor of one number that is made amid the large ones of a step, and kept, is a nail in the heap of C: what
        is freed on both sides of it never becomes one piece again, and the heap grows by many times what is in use.
        """
        if not terms["loss"].is_cpu:
            return {}
        room = {name: term.new_empty((len(self.recorded), *term.shape)) for name, term in terms.items()}
        room[""] = terms["loss"].new_empty((CHECK_EVERY, *terms["loss"].shape))
        return {name: list(each.unbind(0)) for name, each in room.items()}

    def _kept(self, name: str, place: int, term: Tensor) -> Tensor:
        """Return ``term``, in the room for it if there is one."""
        return self._room[name][place].copy_(term) if self._room else term

    def _check(self, first: int) -> None:
        finite = torch.stack(self.losses).reshape(len(self.losses), self.count).isfinite().cpu().numpy()
        current = self._members()
        home = self.losses[0].device  # some buffers stay on the host
        flags = [_finite(tensor).to(home) for tensor in current]
        sound = torch.stack(flags).all(0).cpu().numpy()
        for e in range(self.count):
            if self.diverged_at[e] is not None:
                continue
            if not (finite[:, e].all() and sound[e]):
                self.diverged_at[e] = first + int(np.argmin(np.append(finite[:, e], False)))
                continue
            for saved, tensor in zip(self.saved, current, strict=True):
                saved[e].copy_(tensor[e])

    def finish(self) -> list[Outcome]:
        """Put the last finite weights back into diverged models and return how each ended."""
        outcomes = []
        for e, stop in enumerate(self.diverged_at):
            if stop is not None:
                for saved, tensor in zip(self.saved, self._members(), strict=True):
                    tensor[e].copy_(saved[e])
            trace = self._trace(e, self.steps if stop is None else stop)
            outcomes.append(Outcome(Status.BUDGET_SPENT if stop is None else Status.DIVERGED, trace))
        return outcomes

    def _trace(self, e: int, stop: int) -> dict[str, tuple[float, ...]]:
        kept = [(index, terms) for index, terms in self.points if index < stop]
        names = kept[0][1] if kept else {}
        trace = {"step": tuple(float(index) for index, _ in kept)}
        for name in names:
            trace[name] = tuple(float(terms[name].reshape(-1)[e]) for _, terms in kept)
        if stop < self.steps:
            trace["diverged_at"] = (float(stop),)
        return trace

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and facts by which `restore` brings a new watch to where this one is, right after a check.

        The last finite weights are the present ones where no model has diverged.
        """
        names = list(tensors(self.module))
        held = dict(zip(names, self.saved, strict=True)) if any(e is not None for e in self.diverged_at) else {}
        arrays = {f"finite/{name}": tensor for name, tensor in held.items()}
        for name in self.points[0][1] if self.points else ():
            arrays[f"trace/{name}"] = torch.stack([terms[name] for _, terms in self.points])
        return arrays, {"diverged_at": self.diverged_at, "recorded": [index for index, _ in self.points]}

    def restore(self, arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take over a `state`; the module has its weights already."""
        self.diverged_at = list(facts["diverged_at"])
        names = [name.removeprefix("trace/") for name in arrays if name.startswith("trace/")]
        self.points = [
            (index, {name: arrays[f"trace/{name}"][place] for name in names})
            for place, index in enumerate(facts["recorded"])
        ]
        for name, saved, tensor in zip(tensors(self.module), self.saved, self._members(), strict=True):
            saved.copy_(arrays.get(f"finite/{name}", tensor))


def _finite(tensor: Tensor) -> Tensor:
    """Return whether all numbers of each member of ``tensor (E, ...)`` are finite, without a tensor of its size."""
    if not tensor.is_floating_point() or not tensor.numel():
        return torch.ones(len(tensor), dtype=torch.bool, device=tensor.device)
    low, high = tensor.reshape(len(tensor), -1).aminmax(dim=1)  # either is NaN where any number is
    return low.isfinite() & high.isfinite()
