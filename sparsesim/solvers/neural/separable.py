"""Losses that are means over samples: the terms of each sample first, their average last."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from sparsesim.solvers.neural.module import Step


class Separable(Protocol):
    """A model whose loss is a mean over the batch of what each sample contributes."""

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the named terms of each sample, already weighted, ``(..., B)`` each."""
        ...


def averaged(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean over the batch of each term ``(..., B)``: ``()`` or ``(E,)``."""
    return {name: row.mean(-1) for name, row in rows.items()}


def row_errors(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the squared error of each sample, summed over d: ``(..., B)``."""
    errors: Tensor = _RowErrors.apply(x, reconstruction)  # type: ignore[no-untyped-call]
    return errors


class _RowErrors(torch.autograd.Function):
    """The squared errors with their gradient 2 (reconstruction - x) in one operation instead of several."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, reconstruction: Tensor) -> Tensor:
        residual = reconstruction - x
        ctx.save_for_backward(residual)
        return residual.square().sum(-1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, Tensor]:
        (residual,) = ctx.saved_tensors
        return None, residual * (2.0 * slopes[0]).unsqueeze(-1)
