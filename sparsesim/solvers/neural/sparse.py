"""The sparse layer: codes are values at a selection, and decoding and all weight gradients cost what was selected.

Only the encoder's product is dense. The kernels of this module run on the CPU, those of ``device`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.device import selection as away
from sparsesim.solvers.neural.pieces import squared_error
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selection import of_batch
from sparsesim.solvers.neural.sink import Sink


@final
@dataclass(frozen=True, eq=False)
class HostSelection(Selection):
    """A selection as two numpy arrays, which the kernels read.

    Row r of ``indptr (E B + 1,)`` is sample r % B of member r // B; ``indices`` hold e p + j, ascending within a row.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    shape: tuple[int, ...]

    @cached_property
    def by_latent(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return ``indptr (E p + 1,)``, rows and places among the values, latent by latent."""
        members, _, p = self.members
        found: tuple[IntArray, IntArray, IntArray] = kernels.transpose(self.indptr, self.indices, members * p)
        return found

    def counts(self) -> Tensor:
        counts = np.diff(self.by_latent[0]).astype(np.float32)
        return torch.from_numpy(counts).view(*self.shape[:-2], self.shape[-1])

    def smallest(self, values: Tensor) -> Tensor:
        known = values.detach()
        parts = [
            known[low:high].amin() if high > low else known.new_tensor(torch.inf) for low, high in self._of_members()
        ]
        return torch.stack(parts).view(self.shape[:-2])

    def smallest_of_latents(self, values: Tensor) -> Tensor:
        indptr, _, places = self.by_latent
        smallest = np.full(len(indptr) - 1, np.inf, dtype=np.float32)
        filled = np.flatnonzero(np.diff(indptr))
        if len(filled):
            smallest[filled] = np.minimum.reduceat(values.detach().numpy()[places], indptr[filled])
        return torch.from_numpy(smallest).view(*self.shape[:-2], self.shape[-1])

    def sums_of_rows(self, values: Tensor) -> Tensor:
        rows = torch.from_numpy(np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr)))
        return values.new_zeros(len(self.indptr) - 1).index_add(0, rows, values).view(self.shape[:-1])

    def sums_of_members(self, values: Tensor) -> Tensor:
        return torch.stack([values[low:high].sum() for low, high in self._of_members()]).view(self.shape[:-2])

    def _of_members(self) -> Iterator[tuple[int, int]]:
        """Yield where the values of each member begin and end."""
        return pairwise(self.indptr[:: self.members[1] or 1].tolist())

    def restricted(self, low: int, high: int) -> tuple[Selection, Tensor | slice]:
        members, _, p = self.members
        local = self.indices % p if members > 1 else self.indices
        kept = (local >= low) & (local < high)
        indptr = np.concatenate([[0], np.cumsum(kept)])[self.indptr]
        return HostSelection(indptr, self.indices[kept], self.shape), torch.from_numpy(np.flatnonzero(kept))

    def values_at(self, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor) -> Tensor:
        values: Tensor = _Values.apply(x, encoder, encoder_bias, bias, u, self)  # type: ignore[no-untyped-call]
        return values

    def decoded(self, values: Tensor, decoder: Tensor) -> Tensor:
        out: Tensor = _Decoded.apply(values, decoder, self)  # type: ignore[no-untyped-call]
        return out


def _batched(u: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = u.detach().contiguous().numpy()
    return array if array.ndim == 3 else array[None]


def _each(k: Tensor, members: int) -> npt.NDArray[np.int64]:
    """Return the number of each member; one number holds for all."""
    numbers: npt.NDArray[np.int64] = k.reshape(-1).to(torch.int64).expand(members).contiguous().numpy()
    return numbers


def select_rows(u: Tensor, k: Tensor, *, magnitude: bool = False) -> Selection:
    """Return the ``k`` (one or ``(E,)``) largest positive entries of each row of ``u (..., B, p)``, see `largest`."""
    if not place.on_host(u):
        return away.select_rows(u, k, magnitude=magnitude)
    batched = _batched(u)
    found = chosen.select_rows(batched, _each(k, len(batched)), magnitude=magnitude)
    return HostSelection(*found, tuple(u.shape))


def select_batches(u: Tensor, k: Tensor, *, magnitude: bool = False) -> Selection:
    """Return the ``B k`` largest positive entries of each batch ``u (..., B, p)``, see `largest_of_batch`."""
    if not place.on_host(u):
        return away.select_batches(u, of_batch(k, u.shape[-2]), magnitude=magnitude)
    batched = _batched(u)
    found = chosen.select_batches(batched, _each(of_batch(k, u.shape[-2]), len(batched)), magnitude=magnitude)
    return HostSelection(*found, tuple(u.shape))


def selection_of(mask: Tensor) -> Selection:
    """Return the nonzero entries of ``mask (..., B, p)``."""
    return selection_on_host(mask) if place.on_host(mask) else away.Masked(mask != 0)


def selection_on_host(mask: Tensor) -> HostSelection:
    """Return the nonzero entries of ``mask (..., B, p)``, which is on the CPU."""
    array = _batched(mask)
    indptr = np.empty(array.shape[0] * array.shape[1] + 1, np.int64)
    return HostSelection(indptr, chosen.mask_selection(array, indptr), tuple(mask.shape))


def _rows(tensor: Tensor) -> npt.NDArray[Any]:
    """Return ``tensor (..., a, b)`` as a numpy matrix of all rows."""
    array: npt.NDArray[Any] = tensor.detach().contiguous().view(-1, tensor.shape[-1]).numpy()
    return array


class _Values(torch.autograd.Function):
    """Pre-activations at a selection, u = (x - b_d) W_e' + b_e, given the dense u."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor, selection: HostSelection
    ) -> Tensor:
        ctx.selection = selection
        ctx.gradients = tuple(map(Sink, (encoder, encoder_bias, bias)))
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
        of_encoder = for_encoder.multiply(indptr, rows, slope[places], _rows(x - bias.unsqueeze(-2)))
        threshold = for_threshold.open().add_(total)
        shift = for_bias.open().sub_((total.unsqueeze(-2) @ encoder).squeeze(-2))
        back = None
        if ctx.needs_input_grad[0]:
            back = torch.zeros_like(x)
            kernels.add_product_(selection.indptr, selection.indices, slope, _rows(encoder), _writable(back))
        return (
            back,
            of_encoder,
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
    def forward(ctx: Any, values: Tensor, decoder: Tensor, selection: HostSelection) -> Tensor:
        ctx.selection, ctx.gradient = selection, Sink(decoder)
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
        of_decoder = ctx.gradient.multiply(indptr, rows, values.detach().numpy()[places], slope)
        return towards, of_decoder, None


class _Reconstruction(torch.autograd.Function):
    """The squared error of z D + b_d, mean over the batch, and that reconstruction: decoded and judged in one pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, decoder: Tensor, bias: Tensor, selection: HostSelection
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.selection, ctx.sink = selection, Sink(decoder)
        out, slope, energy = torch.empty_like(x), torch.empty_like(x), x.new_empty(x.shape[:-1])
        towards, table = torch.empty_like(values), _rows(decoder)
        factor = table.dtype.type(2.0 / x.shape[-2])
        filled = (_writable(out), _writable(slope), energy.view(-1).numpy(), towards.numpy())
        given = (values.detach().numpy(), table, _rows(bias), _rows(x), factor)
        kernels.reconstruct_(selection.indptr, selection.indices, *given, filled)
        ctx.save_for_backward(values, decoder, slope, towards)
        return energy.sum(-1) / x.shape[-2], out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        values, decoder, slope, towards = ctx.saved_tensors
        of_error, of_reconstruction = slopes
        selection = ctx.selection
        if of_reconstruction is not None or of_error is None or bool((of_error != 1.0).any()):
            slope = torch.zeros_like(slope) if of_error is None else slope * of_error[..., None, None]
            slope = slope if of_reconstruction is None else slope + of_reconstruction
            towards = torch.empty_like(values)
            indices, table = selection.indices, _rows(decoder)
            kernels.sampled_product(selection.indptr, indices, _rows(slope), table, towards.numpy())
        indptr, rows, places = selection.by_latent
        of_decoder = ctx.sink.multiply(indptr, rows, values.detach().numpy()[places], _rows(slope))
        return None, towards, of_decoder, slope.sum(-2), None


def values_at(
    x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor, selection: Selection
) -> Tensor:
    """Return ``u`` at the ``selection``, ``(nnz,)``, with the gradients of u = (x - bias) encoder' + encoder_bias."""
    return selection.values_at(x, encoder, encoder_bias, bias, u)


def decoded(values: Tensor, decoder: Tensor, selection: Selection) -> Tensor:
    """Return ``z @ decoder (..., p, d)``, of shape ``(..., B, d)``, for codes z of ``values`` at the ``selection``."""
    return selection.decoded(values, decoder)


def reconstructed(
    x: Tensor, values: Tensor, decoder: Tensor, bias: Tensor, selection: Selection
) -> tuple[Tensor, Tensor]:
    """Return the squared error, summed over d, mean over the batch, and the reconstruction ``z @ decoder + bias``.

    No gradient reaches ``x``.
    """
    if isinstance(selection, HostSelection):
        error, out = _Reconstruction.apply(x, values, decoder, bias, selection)  # type: ignore[no-untyped-call]
        return error, out
    out = decoded(values, decoder, selection) + bias.unsqueeze(-2)
    return squared_error(x, out), out
