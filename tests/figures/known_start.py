"""A solver that starts at given weights: whether learning or the objective is the reason for where training ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.train import Training


@final
@dataclass(frozen=True, eq=False)
class StartedAt(NeuralSolver):
    """``base`` with the first rows of its parameters ``names`` at ``rows (r, ...)`` when training begins."""

    base: NeuralSolver
    rows: np.ndarray
    names: tuple[str, ...] = ("decoder", "encoder")

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.base.width

    @property
    def training(self) -> Training:  # type: ignore[override]
        return self.base.training

    def module(self, dim: int, rng: np.random.Generator) -> SparseModule:
        module = self.base.module(dim, rng)
        with torch.no_grad():
            for name in self.names:
                weights = getattr(module, name)
                weights[: len(self.rows)] = torch.as_tensor(np.array(self.rows), dtype=weights.dtype)
        return module
