"""A training step of a sparse layer taken whole: the optimiser moves each row as soon as its gradient is summed.

No graph of autograd is built, no gradient of a matrix is written, and a step of TopK is seven launches on a GPU: the
shift of the encoder's bias, the encoder's product, the selection, the decoder with its error, the places latent by
latent, all rows of weights, and the bias with the sum of errors. The numbers are those of autograd, `before_step`, Adam
and `after_step`, up to the order of sums.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.device.reference_step import Layer, Learned, Pace, Places
from sparsesim.solvers.neural.device.selection import Placed
from sparsesim.solvers.neural.pieces import affine

if TYPE_CHECKING:
    from sparsesim.solvers.neural.adam import Adam
    from sparsesim.solvers.neural.selective import SelectiveModule


@lru_cache(maxsize=64)
def _nothing(shape: tuple[int, ...], kind: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros that nobody may write to."""
    with torch.inference_mode(False):
        return torch.zeros(shape, dtype=kind, device=device)


@cache
def _adds_in_float32(device: torch.device) -> bool:
    """Return whether torch multiplies bfloat16 there and adds up, shifts and returns float32: later versions do."""
    half, shift = (torch.zeros((1, 16, 16), dtype=kind, device=device) for kind in (torch.bfloat16, torch.float32))
    try:
        torch.addmm(shift[0, 0], half[0], half[0], out_dtype=torch.float32)
        torch.baddbmm(shift[:, :1].expand(shift.shape), half, half, out_dtype=torch.float32)
    except (RuntimeError, TypeError):
        return False
    return True


def halved_product(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """Return x W + shift for x ``(..., B, a)`` rounded to bfloat16, as W ``(..., a, b)`` is: no sum is rounded.

    Where torch has no such product, the rounded factors are multiplied in the precision of x. TF32 does not round
    them further, and products of such numbers are exact in float32.
    """
    half = x.to(torch.bfloat16)
    if x.dtype != torch.float32 or not _adds_in_float32(x.device):
        return affine(half.to(x.dtype), weight.to(x.dtype), shift)
    if x.ndim == 2:
        return torch.addmm(shift, half, weight, out_dtype=x.dtype)
    return torch.baddbmm(shift.unsqueeze(-2).expand(-1, x.shape[-2], -1), half, weight, out_dtype=x.dtype)


@final
class WholeStep:
    """Takes steps of a module whose loss is the squared error at `choose`, and AuxK, which must have nothing to do.

    With ``halved`` the encoder's product takes both factors, and the decoder its atoms, rounded to bfloat16; sums,
    weights, moments and all gradients stay in the precision of the weights. The rounded copies are written with the
    weights; `refresh` writes them after a step that was taken in another way.
    """

    def __init__(self, module: SelectiveModule, optimiser: Adam, *, halved: bool = False) -> None:
        self.module, self.optimiser = module, optimiser
        self.members = len(module.encoder) if module.encoder.ndim == 3 else 1
        matrices = (module.encoder, module.decoder)
        self.shadows = [p.detach().to(torch.bfloat16) for p in matrices] if halved else []
        slowness = None
        if optimiser.slowness is not None:  # one number a member, whatever the parameter
            slowness = self._part(optimiser.slowness, module.bias)[:, 0].contiguous()
        self.pace = Pace(optimiser.rate, optimiser.factors, slowness, optimiser.decay > 0)

    def refresh(self) -> None:
        """Round the weights as they are."""
        for shadow, p in zip(self.shadows, (self.module.encoder, self.module.decoder), strict=False):
            shadow.copy_(p.detach())

    @torch.no_grad()
    def __call__(self, index: int, x: Tensor) -> dict[str, Tensor] | None:
        """Take step ``index`` on the batch ``x`` and return the terms of the loss; where it cannot, None."""
        module, kernels = self.module, place.operations_of_step(x)
        if module.dead.speaks():
            return None
        encoder, threshold, decoder, bias = layer = self._layer()
        shift = kernels.shifted(encoder.weights, threshold.weights, bias.weights).view(module.encoder_bias.shape)
        u = self._product(x, shift)
        chosen = module.choose(u)
        if not isinstance(chosen, Placed):
            raise TypeError(f"{type(module).__name__}.choose must return places for a step that is taken whole.")
        p = u.shape[-1]
        shape = (self.members, u.shape[-2], p)
        places = Places(chosen.bounds, chosen.index, chosen.filled, chosen.longest)
        samples = x.reshape(*shape[:2], -1)
        table = decoder.weights if decoder.shadow is None else decoder.shadow
        known = kernels.decoded(samples, u.view(shape), table, bias.weights, places)
        order = kernels.by_latent(places, shape, module.dead.count.view(self.members, p))
        part = kernels.move_rows_(samples, known, order, layer, self.pace)
        error = kernels.move_bias_(part, known, bias, self.pace).view(x.shape[:-2])
        module.dead.pass_step(index)
        module.selected(known.values, chosen)
        return {"squared_error": error, "aux": _nothing(tuple(error.shape), error.dtype, error.device), "loss": error}

    def _product(self, x: Tensor, shift: Tensor) -> Tensor:
        """Return the pre-activations ``(..., B, p)``."""
        if not self.shadows:
            return affine(x, self.module.encoder.detach().mT, shift)
        return halved_product(x, self.shadows[0].mT, shift)

    def _layer(self) -> Layer:
        module = self.module
        shadows: list[Tensor] | tuple[None, None] = self.shadows or (None, None)
        return (
            self._learned(module.encoder, shadows[0]),
            self._learned(module.encoder_bias, None),
            self._learned(module.decoder, shadows[1]),
            self._learned(module.bias, None),
        )

    def _learned(self, p: nn.Parameter, shadow: Tensor | None) -> Learned:
        own, (mean, square) = p.detach(), (self._part(v, p) for v in (self.optimiser.mean, self.optimiser.square))
        own = own if p.ndim == mean.ndim else own.unsqueeze(0)
        return Learned(own, mean, square, shadow if shadow is None else shadow.view(own.shape))

    def _part(self, vector: Tensor, p: nn.Parameter) -> Tensor:
        """Return what is of parameter ``p`` in a vector like that of all weights, which parameters are views of."""
        part = vector[p.storage_offset() : p.storage_offset() + p.numel()].view(p.shape)
        return part.unsqueeze(0) if self.module.encoder.ndim == 2 else part


def whole_step(module: nn.Module, optimiser: Adam, *, halved: bool = False) -> WholeStep | None:
    """Return what takes whole steps of ``module``; None on the host, and where more than rows decides a step."""
    from sparsesim.solvers.neural.selective import SelectiveModule

    if place.on_host(optimiser.flat) or optimiser.clip is not None:
        return None  # a gradient is clipped by the norm of all of it
    if not isinstance(module, SelectiveModule) or not module.basic():
        return None
    return WholeStep(module, optimiser, halved=halved)
