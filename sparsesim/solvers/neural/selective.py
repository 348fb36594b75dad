"""What autoencoders share that choose which latents speak and train with a squared error and AuxK."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.dead import DeadLatents
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.sparse import reconstructed, selection_of, values_at
from sparsesim.solvers.neural.train import Training


@dataclass(frozen=True)
class SelectiveSolver(NeuralSolver):
    """The fields of a solver whose samples have about ``k`` active latents.

    Parameters
    ----------
    width : p, the number of atoms.
    k : latents kept for each sample, in [1, width]; a whole number, unless a batch shares its latents out.
    aux : weight of AuxK; 0 leaves dead latents alone.
    dead_after : steps of silence after which a latent is dead.
    """

    whole: ClassVar[bool] = True  # False where k is a mean over samples and may be a fraction

    width: int
    k: float
    aux: float = 1 / 32
    dead_after: int = 100
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        if self.whole:
            check_int("k", self.k, 1, self.width, high_name="width")
        else:
            check_real("k", self.k, 0.0, self.width, open_low=True)
        check_real("aux", self.aux, 0.0)
        check_int("dead_after", self.dead_after, 1)


class SelectiveModule(UnitDecoder):
    """z = u where `select` says so; the loss is the squared error and AuxK.

    A step costs the dense product of the encoder and otherwise what was selected (see `sparse`).
    """

    host_buffers: ClassVar[tuple[str, ...]] = ("k",)

    k: Tensor

    def __init__(self, spec: SelectiveSolver, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng)
        kind = torch.int64 if spec.whole else torch.float64
        self.register_buffer("k", torch.tensor(spec.k, dtype=kind))  # members of an ensemble may differ in it
        self.dead = DeadLatents(spec.width, dim, spec.aux, spec.dead_after)

    @abstractmethod
    def select(self, u: Tensor) -> Tensor:
        """Return the 0/1 mask like ``u (..., B, p)`` of the latents that speak in training."""

    def basic(self) -> bool:
        """Return whether a step does what is said here with `choose` and nothing else.

        A class answers for itself alone, since one that extends it may do more.
        """
        return False

    def repeats(self, index: int) -> Hashable | None:
        return self.dead.repeats(index) if self.basic() else None

    def choose(self, u: Tensor) -> Selection:
        """Return `select` as a `Selection`; a variant for which there is a kernel says so here."""
        return selection_of(self.select(u))

    def choose_for(self, u: Tensor, x: Tensor) -> Selection:
        """Return `choose`; a variant whose choice takes more than u reads the samples ``x (..., B, d)`` here."""
        return self.choose(u)

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u * self.select(u)

    def encode_at(self, x: Tensor) -> tuple[Tensor, Selection | None]:
        if type(self).encode is not SelectiveModule.encode:  # inference selects in another way
            return super().encode_at(x)
        u = self.pre_activations(x)
        return u, self.choose(u)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        with torch.no_grad():
            u = self.known_pre_activations(x, step.room)
            chosen = self.choose_for(u, x)
        values = values_at(x, self.encoder, self.encoder_bias, self.bias, u, chosen)
        errors, reconstruction = self.errors(x, u, values, chosen)
        aux = self.dead.revive_rows(self, x, reconstruction)
        self.dead.observe_counts(chosen.counts(), step.index)
        self.selected(values, chosen)
        return {**errors, "aux": aux}

    def errors(self, x: Tensor, u: Tensor, values: Tensor, chosen: Selection) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of the loss beside AuxK, and the reconstruction whose residual AuxK sees.

        ``u (..., B, p)`` has no gradient, ``values (nnz,)``, those of it at the selection, have.
        """
        error, reconstruction = reconstructed(x, values, self.decoder, self.bias, chosen)
        return {"squared_error": error}, reconstruction

    def selected(self, values: Tensor, chosen: Selection) -> None:
        """Take note of the values ``(nnz,)`` at the selection of a training batch."""
