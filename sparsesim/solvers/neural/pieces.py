"""Pieces that several models share, each written once: parameters, affine maps, squared error, the unit decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, unit_rows
from sparsesim.kernels import training as kernels
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.module import Optimiser, Room, SparseModule


def drawn(values: FloatArray) -> nn.Parameter:
    """Return a float32 parameter of ``values`` drawn by numpy."""
    return nn.Parameter(torch.from_numpy(np.array(values, dtype=np.float32)))


def unit_normal(rows: int, columns: int, rng: Rng) -> FloatArray:
    """Return random unit rows ``(rows, columns)``, uniform on the sphere."""
    unit, _ = unit_rows(rng.standard_normal((rows, columns)))
    return unit


def affine(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x @ weight + bias`` for x ``(..., B, a)``, weight ``(..., a, b)`` and bias ``(..., b)``."""
    if x.ndim == 2:
        return torch.addmm(bias, x, weight, out=out)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight, out=out)


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the squared error summed over d, mean over the batch: ``()`` or ``(E,)``."""
    error: Tensor = _SquaredError.apply(x, reconstruction)  # type: ignore[no-untyped-call]
    return error


def finite_or_zero(matrices: Tensor) -> Tensor:
    """Return ``matrices (..., a, b)``, zero where one is not finite, for decompositions that raise on such.

    Training goes on to its next look at the losses with the other members, and a member that diverged is known there.
    """
    return matrices.where(matrices.isfinite().all(-1, keepdim=True).all(-2, keepdim=True), 0.0)


class _SquaredError(torch.autograd.Function):
    """The squared error with its gradient 2 (reconstruction - x) / B in one operation instead of five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, reconstruction: Tensor) -> Tensor:
        residual = reconstruction - x
        ctx.save_for_backward(residual)
        return residual.square().sum((-2, -1)).div_(x.shape[-2])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, Tensor]:
        (residual,) = ctx.saved_tensors
        return None, residual * (slopes[0] * (2.0 / residual.shape[-2]))[..., None, None]


class UnitDecoder(SparseModule):
    """The affine encoder and the unit-norm linear decoder that ReLU, TopK and BatchTopK autoencoders share.

    u = (x - b_d) W_e' + b_e and x_hat = z D + b_d with unit rows of D. Rows of D start uniform on the sphere, those of
    W_e, ``encoder (p, d)``, as the same, the biases at zero (the data mean, since the data are centred). Gradients
    along an atom are removed before the step, and the atoms are renormalised after it.
    """

    def __init__(self, width: int, dim: int, rng: Rng) -> None:
        super().__init__()
        atoms = unit_normal(width, dim, rng)
        self.encoder = drawn(atoms)
        self.encoder_bias = drawn(np.zeros(width))
        self.decoder = drawn(atoms)
        self.bias = drawn(np.zeros(dim))

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return u ``(..., B, p)``; the pre-bias is folded into the encoder bias, which saves a product in backward."""
        return affine(x, self.encoder.mT, self._shifted_bias())

    @torch.no_grad()
    def known_pre_activations(self, x: Tensor, room: Room) -> Tensor:
        """Return `pre_activations` without gradient; on the host in the ``room`` of the step."""
        if not place.on_host(x):
            return self.pre_activations(x)
        out = room.empty(x, (*x.shape[:-1], self.encoder.shape[-2]))
        return affine(x, self.encoder.mT, self._shifted_bias(), out)

    def _shifted_bias(self) -> Tensor:
        return self.encoder_bias - (self.encoder @ self.bias.unsqueeze(-1)).squeeze(-1)

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.decoder, self.bias)

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.bias

    def before_step(self) -> None:
        remove_radial_(self.decoder)

    def after_step(self, optimiser: Optimiser) -> None:
        normalise_(self.decoder)


def remove_radial_(rows: nn.Parameter) -> None:
    """Remove from the gradient of unit ``rows`` its component along each row, in place."""
    gradient, pending = rows.grad, getattr(rows, "pending", None)
    if pending is not None and pending.factors is not None:
        pending.radial = True
    elif gradient is not None:
        if place.on_host(rows):
            kernels.remove_radial_(_flat(rows), _flat(gradient))
        else:
            place.operations(rows).remove_radial_(rows.detach(), gradient)


def normalise_(rows: nn.Parameter) -> None:
    """Scale ``rows`` to unit norm in place; a zero row stays zero."""
    if place.on_host(rows):
        kernels.normalise_(_flat(rows), _flat(rows).dtype.type(torch.finfo(rows.dtype).tiny))
    else:
        place.operations(rows).normalise_(rows.detach())


def _flat(rows: Tensor) -> npt.NDArray[Any]:
    """Return contiguous ``rows (..., p, d)`` as a matrix that shares their memory."""
    array: npt.NDArray[Any] = rows.detach().view(-1, rows.shape[-1]).numpy()
    return array
