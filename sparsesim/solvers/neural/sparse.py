"""The sparse layer: codes are values at a selection, and decoding and all weight gradients cost what was selected.

Only the encoder's product is dense. The kernels run on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparsesim._arrays import IntArray
from sparsesim.kernels import selection as chosen
from sparsesim.kernels import training as kernels
from sparsesim.solvers.neural.selection import largest, of_batch


@final
@dataclass(frozen=True, eq=False)
class Selection:
    """Which latents of which samples speak, for E members with batches of B and p latents each.

    Row r of ``indptr (E B + 1,)`` is sample r % B of member r // B; ``indices`` hold e p + j, ascending within a row.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    shape: tuple[int, ...]

    @property
    def members(self) -> tuple[int, int, int]:
        """Return E (1 for a single model), B and p."""
        return (self.shape[0] if len(self.shape) == 3 else 1), self.shape[-2], self.shape[-1]

    @cached_property
    def by_latent(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return ``indptr (E p + 1,)``, rows and places among the values, latent by latent."""
        members, _, p = self.members
        found: tuple[IntArray, IntArray, IntArray] = kernels.transpose(self.indptr, self.indices, members * p)
        return found

    def counts(self) -> Tensor:
        """Return how often each latent speaks, ``(..., p)``, in float32."""
        counts = np.diff(self.by_latent[0]).astype(np.float32)
        return torch.from_numpy(counts).view(*self.shape[:-2], self.shape[-1])

    def smallest(self, values: Tensor) -> Tensor:
        """Return the smallest of ``values`` of each member, ``()`` or ``(E,)``; infinity where there is none."""
        bounds = self.indptr[:: self.members[1] or 1].tolist()
        known = values.detach()
        parts = [
            known[low:high].amin() if high > low else known.new_tensor(torch.inf) for low, high in pairwise(bounds)
        ]
        return torch.stack(parts).view(self.shape[:-2])

    def restricted(self, low: int, high: int) -> tuple[Selection, Tensor]:
        """Return the part with latents in [low, high) and its places among the values."""
        members, _, p = self.members
        local = self.indices % p if members > 1 else self.indices
        kept = (local >= low) & (local < high)
        indptr = np.concatenate([[0], np.cumsum(kept)])[self.indptr]
        return Selection(indptr, self.indices[kept], self.shape), torch.from_numpy(np.flatnonzero(kept))


def _batched(u: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = u.detach().contiguous().numpy()
    return array if array.ndim == 3 else array[None]


def _each(k: Tensor, members: int) -> npt.NDArray[np.int64]:
    """Return the number of each member; one number holds for all."""
    numbers: npt.NDArray[np.int64] = k.reshape(-1).to(torch.int64).expand(members).contiguous().numpy()
    return numbers


INSERTION = 96  # the k up to which keeping a row's largest entries in a sorted list beats a partition


def select_rows(u: Tensor, k: Tensor, *, magnitude: bool = False) -> Selection:
    """Return the ``k`` (one or ``(E,)``) largest positive entries of each row of ``u (..., B, p)``, see `largest`."""
    if int(k.max()) > INSERTION:
        return selection_of(largest(u.detach().abs() if magnitude else u, k))
    batched = _batched(u)
    found = chosen.select_rows(batched, _each(k, len(batched)), magnitude=magnitude)
    return Selection(*found, tuple(u.shape))


def select_batches(u: Tensor, k: Tensor, *, magnitude: bool = False) -> Selection:
    """Return the ``B k`` largest positive entries of each batch ``u (..., B, p)``, see `largest_of_batch`."""
    batched = _batched(u)
    found = chosen.select_batches(batched, _each(of_batch(k, u.shape[-2]), len(batched)), magnitude=magnitude)
    return Selection(*found, tuple(u.shape))


def selection_of(mask: Tensor) -> Selection:
    """Return the nonzero entries of ``mask (..., B, p)``."""
    array = _batched(mask)
    indptr = np.empty(array.shape[0] * array.shape[1] + 1, np.int64)
    return Selection(indptr, chosen.mask_selection(array, indptr), tuple(mask.shape))


def _rows(tensor: Tensor) -> npt.NDArray[Any]:
    """Return ``tensor (..., a, b)`` as a numpy matrix of all rows."""
    array: npt.NDArray[Any] = tensor.detach().contiguous().view(-1, tensor.shape[-1]).numpy()
    return array


class _Gradient:
    """Where the gradient of a parameter goes: into what the optimiser reads, in place, or into a new tensor.

    While a model is trained its parameters have an attribute ``sink``, their gradient; adding to it here saves a dense
    tensor of zeros and its addition. Autograd is then given None.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.sink: Tensor | None = getattr(parameter, "sink", None)
        self.like = parameter

    def open(self) -> Tensor:
        return torch.zeros_like(self.like) if self.sink is None else self.sink

    def close(self, gradient: Tensor) -> Tensor | None:
        return gradient if self.sink is None else None


class _Values(torch.autograd.Function):
    """Pre-activations at a selection, u = (x - b_d) W_e' + b_e, given the dense u."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor, selection: Selection
    ) -> Tensor:
        ctx.selection = selection
        ctx.gradients = tuple(map(_Gradient, (encoder, encoder_bias, bias)))
        ctx.save_for_backward(x, encoder, bias)
        values = kernels.pick(selection.indptr, selection.indices, _batched(u))
        return torch.from_numpy(values)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, encoder, bias = ctx.saved_tensors
        slope, selection = slopes[0].contiguous().numpy(), ctx.selection
        indptr, rows, places = selection.by_latent
        for_encoder, for_threshold, for_bias = ctx.gradients
        total = torch.zeros_like(for_threshold.like)
        kernels.add_segments_(indptr, places, slope, total.view(-1).numpy())
        weights = for_encoder.open()
        kernels.add_product_(indptr, rows, slope[places], _rows(x - bias.unsqueeze(-2)), _writable(weights))
        threshold = for_threshold.open().add_(total)
        shift = for_bias.open().sub_((total.unsqueeze(-2) @ encoder).squeeze(-2))
        back = None
        if ctx.needs_input_grad[0]:
            back = torch.zeros_like(x)
            kernels.add_product_(selection.indptr, selection.indices, slope, _rows(encoder), _writable(back))
        return (
            back,
            for_encoder.close(weights),
            for_threshold.close(threshold),
            for_bias.close(shift),
            None,
            None,
        )


def _writable(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.view(-1, tensor.shape[-1]).numpy()
    return array


class _Decoded(torch.autograd.Function):
    """The sum of the selected atoms, weighted by the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decoder: Tensor, selection: Selection) -> Tensor:
        ctx.selection, ctx.gradient = selection, _Gradient(decoder)
        ctx.save_for_backward(values, decoder)
        out = decoder.new_zeros((*selection.shape[:-1], decoder.shape[-1]))
        kernels.add_product_(
            selection.indptr, selection.indices, values.detach().numpy(), _rows(decoder), _writable(out)
        )
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        values, decoder = ctx.saved_tensors
        slope, selection = _rows(slopes[0]), ctx.selection
        indptr, rows, places = selection.by_latent
        towards = torch.empty_like(values)
        kernels.sampled_product(selection.indptr, selection.indices, slope, _rows(decoder), towards.numpy())
        weights = ctx.gradient.open()
        kernels.add_product_(indptr, rows, values.detach().numpy()[places], slope, _writable(weights))
        return towards, ctx.gradient.close(weights), None


def values_at(
    x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor, selection: Selection
) -> Tensor:
    """Return ``u`` at the ``selection``, ``(nnz,)``, with the gradients of u = (x - bias) encoder' + encoder_bias."""
    values: Tensor = _Values.apply(x, encoder, encoder_bias, bias, u, selection)  # type: ignore[no-untyped-call]
    return values


def decoded(values: Tensor, decoder: Tensor, selection: Selection) -> Tensor:
    """Return ``z @ decoder (..., p, d)``, of shape ``(..., B, d)``, for codes z of ``values`` at the ``selection``."""
    out: Tensor = _Decoded.apply(values, decoder, selection)  # type: ignore[no-untyped-call]
    return out
