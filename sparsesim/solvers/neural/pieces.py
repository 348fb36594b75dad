"""Pieces that several models share, each written once: selection, unit decoder, dead latents, threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, unit_rows
from sparsesim.solvers.neural.module import SparseModule

RENEW_DEAD_EVERY = 10  # steps between two looks at which latents are dead: the look is a host synchronisation
NOTHING = 1e-12  # below any variance of data with E||x||^2 = d


def drawn(values: FloatArray) -> nn.Parameter:
    """Return a float32 parameter of ``values`` drawn by numpy."""
    return nn.Parameter(torch.from_numpy(np.array(values, dtype=np.float32)))


def unit_normal(rows: int, columns: int, rng: Rng) -> FloatArray:
    """Return random unit rows ``(rows, columns)``, uniform on the sphere."""
    unit, _ = unit_rows(rng.standard_normal((rows, columns)))
    return unit


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``x @ weight + bias`` for x ``(..., B, a)``, weight ``(..., a, b)`` and bias ``(..., b)``."""
    if x.ndim == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight)


def largest(u: Tensor, k: int) -> Tensor:
    """Return a 0/1 mask like ``u (..., p)``: the k largest positive entries of each row, ties to the lowest index.

    A row with fewer than k positive entries keeps those it has.
    """
    u, p = u.detach(), u.shape[-1]
    if k >= p:
        return u.clone().gt_(0.0)
    if u.is_cpu:  # numpy's partition is several times as fast as topk; on a GPU asking for a tie would synchronise
        parted = torch.from_numpy(np.partition(u.numpy(), p - k - 1, axis=-1))
        bar = parted[..., p - k - 1 : p - k].clamp_min(0.0)
        if not bool((parted[..., p - k :].amin(-1, keepdim=True) == bar).any()):
            return u.clone().gt_(bar)
    return _largest_by_key(u, k)


def _largest_by_key(u: Tensor, k: int) -> Tensor:
    """Return the mask of `largest` by a selection among keys that are all different where they are positive.

    In float64 there is room to order equal float32 values by index without disturbing the order of unequal ones: these
    differ by 2^-24 relative or more, and the factors differ from 1 by less than 2^-26.
    """
    p = u.shape[-1]
    factor = 1.0 - torch.arange(p, dtype=torch.float64, device=u.device) * (2.0**-26 / p)
    keys = u.double() * factor
    return (keys > keys.topk(k + 1, dim=-1).values[..., k:].clamp_min(0.0)).to(u.dtype)


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the squared error summed over d, mean over the batch: ``()`` or ``(E,)``."""
    error: Tensor = _SquaredError.apply(x, reconstruction)  # type: ignore[no-untyped-call]
    return error


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

    u = (x - b_d) W_e + b_e and x_hat = z D + b_d with unit rows of D. Rows of D start uniform on the sphere, the
    encoder starts as their transpose, the biases at zero (the data mean, since the data are centred). Gradients along
    an atom are removed before the step, and the atoms are renormalised after it.
    """

    def __init__(self, width: int, dim: int, rng: Rng) -> None:
        super().__init__()
        atoms = unit_normal(width, dim, rng)
        self.encoder = drawn(atoms.T)
        self.encoder_bias = drawn(np.zeros(width))
        self.decoder = drawn(atoms)
        self.bias = drawn(np.zeros(dim))

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return u ``(..., B, p)``; the pre-bias is folded into the encoder bias, which saves a product in backward."""
        shift = (self.bias.unsqueeze(-2) @ self.encoder).squeeze(-2)
        return affine(x, self.encoder, self.encoder_bias - shift)

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.decoder, self.bias)

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.bias

    def before_step(self) -> None:
        remove_radial_(self.decoder)

    def after_step(self) -> None:
        normalise_(self.decoder)


def remove_radial_(rows: nn.Parameter) -> None:
    """Remove from the gradient of unit ``rows`` its component along each row, in place."""
    if rows.grad is not None:
        along = (rows.grad * rows).sum(-1, keepdim=True)
        rows.grad.addcmul_(along, rows, value=-1.0)


def normalise_(rows: nn.Parameter) -> None:
    """Scale ``rows`` to unit norm in place; a zero row stays zero."""
    rows.div_(torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny))


class DeadLatents(nn.Module):
    """Which latents have been silent for ``dead_after`` steps, and AuxK, the loss that revives them.

    AuxK lets the k_aux = max(d // 2, 1) largest dead latents (after a ReLU) predict the residual of the
    reconstruction, which is held fixed: weight * V * ||r - z_aux D||^2 / ||r - mean r||^2, without bias, where V is the
    total variance of the batch. With V the term has the units of a squared error: the sum of both is V times the loss
    of the paper. Live decoder rows get no gradient, and with no dead latent the loss is zero. The set of dead latents
    is renewed, and silence counted, every `RENEW_DEAD_EVERY` steps.

    References
    ----------
    Gao et al. (2024), arXiv 2406.04093, appendix A.2.
    """

    count: Tensor
    silent: Tensor
    dead: Tensor

    def __init__(self, width: int, dim: int, weight: float, dead_after: int) -> None:
        super().__init__()
        self.weight, self.dead_after, self.k_aux = weight, dead_after, max(dim // 2, 1)
        for name in ("count", "silent", "dead"):
            self.register_buffer(name, torch.zeros(width, dtype=torch.float32))
        self.any_dead = False

    @torch.no_grad()
    def observe(self, fired: Tensor, index: int) -> None:
        """Take note of which latents fired: ``fired (..., B, p)`` is 0 or 1."""
        self.count.add_(fired.sum(-2))
        if (index + 1) % RENEW_DEAD_EVERY == 0:
            self.silent.add_(RENEW_DEAD_EVERY).mul_(self.count == 0.0)
            self.count.zero_()
            self.dead.copy_(self.silent >= self.dead_after)
            self.any_dead = bool(self.dead.any())

    def revive(self, u: Tensor, x: Tensor, reconstruction: Tensor, decoder: Tensor) -> Tensor:
        """Return AuxK, ``()`` or ``(E,)``, for pre-activations ``u (..., B, p)`` and the main reconstruction."""
        if not self.any_dead or self.weight == 0.0:
            return x.new_zeros(x.shape[:-2])
        residual = (x - reconstruction).detach()
        codes = u * largest(u.detach() * self.dead.unsqueeze(-2), self.k_aux)
        error = (residual - codes @ decoder).square().sum((-2, -1))
        spread = _spread(x)
        # A perfect reconstruction leaves nothing to predict: the floor keeps 0 / 0 away.
        relative = error / _spread(residual).clamp_min(1e-6 * spread + NOTHING)
        # Members of an ensemble without dead latents have no such loss, though others have.
        return (self.weight / x.shape[-2]) * spread * relative * self.dead.amax(-1)


def _spread(x: Tensor) -> Tensor:
    """Return the sum of squares about the mean of the batch, ``()`` or ``(E,)``."""
    return (x - x.mean(-2, keepdim=True)).square().sum((-2, -1))


class BatchThreshold(nn.Module):
    """Running mean of the smallest kept code of a batch: the threshold a batch-wise selection has in inference.

    A plain mean over the first ``memory`` batches, then an exponential one with that time constant, so that the
    first batches of training, of another model, are forgotten. Nothing changes outside training mode.
    """

    value: Tensor
    seen: Tensor

    def __init__(self, memory: float = 200.0) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("value", torch.zeros((), dtype=torch.float32))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float32))

    @torch.no_grad()
    def observe(self, codes: Tensor) -> None:
        """Take note of the kept ``codes (..., B, p)``; a batch in which none is positive is passed over."""
        if not self.training:
            return
        smallest = codes.masked_fill(codes <= 0.0, torch.inf).amin((-2, -1))
        valid = smallest.isfinite()
        self.seen.add_(valid.to(self.seen.dtype))
        rate = 1.0 / self.seen.clamp(1.0, self.memory)
        self.value.add_(torch.where(valid, (smallest - self.value) * rate, 0.0))

    def apply_to(self, u: Tensor) -> Tensor:
        """Return ``u`` where it exceeds the threshold and zero elsewhere; before any batch the threshold is zero."""
        return u * (u > self.value[..., None, None])
