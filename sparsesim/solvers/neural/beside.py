"""Variational autoencoders that read something beside each sample: a label, or what the sample is conditioned on."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, check_matrix, check_samples
from sparsesim._source import SideRows
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.checkpoint import Checkpoint
from sparsesim.solvers.neural.perceptron import sizes_of
from sparsesim.solvers.neural.pieces import drawn
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver


class BesideModule(VariationalModule):
    """A variational autoencoder whose encoder has ``read`` inputs more than the d coordinates of a sample.

    A row is a sample and, behind it, ``side`` columns of what is seen beside it, which `inputs_of` turns into these
    inputs. Their first weights are zero, so that at the start nothing is read there.
    """

    def __init__(self, spec: VariationalSolver, dim: int, rng: Rng, *, side: int, read: int) -> None:
        super().__init__(spec, dim, rng)
        self.dim, self.side = dim, side
        if sizes_of(spec.hidden):
            self.trunk.weights[0] = _widened(self.trunk.weights[0], read)
        else:
            self.heads = _widened(self.heads, read)

    @abstractmethod
    def inputs_of(self, side: Tensor) -> Tensor:
        """Return what the encoder is given of ``side (..., B, s)``, shape ``(..., B, read)``."""

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples ``(..., B, d)`` of ``rows (..., B, d + s)`` and what `inputs_of` makes of the rest."""
        return rows[..., : self.dim], self.inputs_of(rows[..., self.dim :])

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(torch.cat(self.split(x), dim=-1))[0]


def _widened(weight: Tensor, inputs: int) -> nn.Parameter:
    """Return ``weight (a, b)`` with rows of zeros for ``inputs`` more inputs."""
    values = weight.detach().numpy()
    return drawn(np.concatenate([values, np.zeros((inputs, values.shape[1]))]))


@dataclass(frozen=True)
class BesideSolver(VariationalSolver):
    """A solver of such a model: `fit_with_side` where it asks for side information, `fit` where it does without."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Return s, the number of columns of side information."""

    def fit_with_side(
        self, x: FloatArray, side: FloatArray, *, rng: Rng, checkpoint: Checkpoint | None = None
    ) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)`` beside ``side (n, s)``; ``with_side`` then encodes others.

        Raises
        ------
        ValueError, TypeError
            If ``x`` or ``side`` is not a finite real matrix, they differ in rows, or ``side`` cannot be read.
        """
        samples, known = check_samples(x), check_matrix(side, "side")
        if len(samples) != len(known):
            raise ValueError(f"side must have a row for each of the {len(samples)} samples; got {len(known)}.")
        return self.fit_stream(SideRows(samples, known), rng=rng, checkpoint=checkpoint)
