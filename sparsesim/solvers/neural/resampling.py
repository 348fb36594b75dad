"""Resampling: latents that have fallen silent start again from samples that are badly reconstructed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sparsesim._arrays import check_int, check_real
from sparsesim.solvers.neural.module import Optimiser, Step


@final
@dataclass(frozen=True)
class Resampling:
    """When silent latents are replaced, and how softly they start.

    Parameters
    ----------
    every : steps between two replacements; a latent is replaced if it was silent in the second half of that time.
    until : share of the training after which nothing is replaced any more.
    scale : norm of a new encoder row, as a share of the mean norm of those of the latents that fired.
    """

    every: int = 500
    until: float = 0.6
    scale: float = 0.2

    def __post_init__(self) -> None:
        check_int("every", self.every, 1)
        check_real("until", self.until, 0.0, 1.0)
        check_real("scale", self.scale, 0.0, open_low=True)


class Resampler(nn.Module):
    """Gives latents that did not fire the directions of samples drawn with probability in proportion to loss^2.

    At a replacement, distinct samples of the batch at hand are drawn for the dead latents, one each (latents beyond
    the batch size wait for the next one). For a sample x: d_i = (x - b_d) / ||x - b_d||, the encoder row is d_i times
    ``scale`` times the mean norm of the rows that fired, its biases are zero, and the optimiser forgets the moments of
    all of them. The paper draws from a large sample of the data; a batch is an unbiased stand-in. One published
    implementation draws in proportion to the residual norm instead, and starts the encoder row in the length of x.

    References
    ----------
    Bricken et al. (2023), "Towards monosemanticity", Transformer Circuits, appendix on neuron resampling.
    """

    fired: Tensor

    def __init__(self, plan: Resampling, width: int) -> None:
        super().__init__()
        self.every, self.until, self.scale = plan.every, plan.until, plan.scale
        self.register_buffer("fired", torch.zeros(width, dtype=torch.float32))
        self._pending: tuple[Tensor, Tensor, Tensor] | None = None

    @torch.no_grad()
    def observe(self, codes: Tensor, x: Tensor, errors: Tensor, step: Step) -> None:
        """Take note of who fires in ``codes (..., B, p)``; choose replacements where they are due.

        ``x (..., B, d)`` are the samples and ``errors (..., B)`` their losses.
        """
        place = (step.index + 1) % self.every
        if step.progress > self.until:
            return
        if place == 0 or 2 * place > self.every:
            self.fired.add_((codes != 0.0).sum(-2))
        if place == 0:
            self._choose(x, errors, step)

    def _choose(self, x: Tensor, errors: Tensor, step: Step) -> None:
        dead = self.fired == 0.0
        self.fired.zero_()
        # Each member draws at every replacement, dead latents or not, so that its stream does not depend on the others.
        noise = step.normal(x.new_empty((*x.shape[:-1], 2)))
        # Half the sum of two squared normals is exponential; the order of arrival at rates loss^2 is the order of
        # drawing without replacement with probability in proportion to loss^2.
        arrival = noise.square().sum(-1) / errors.square().clamp_min(torch.finfo(x.dtype).tiny)
        order, rank = arrival.argsort(-1), dead.cumsum(-1) - 1
        where = dead & (rank < x.shape[-2])
        chosen = order.gather(-1, rank.clamp(0, x.shape[-2] - 1))
        rows = x.gather(-2, chosen.unsqueeze(-1).expand(*chosen.shape, x.shape[-1]))
        self._pending = where, rows, dead

    def replace(
        self, optimiser: Optimiser, origin: Tensor, decoder: nn.Parameter, encoder: nn.Parameter, *offsets: nn.Parameter
    ) -> None:
        """Put the replacements, if any were chosen, into ``decoder``, ``encoder (..., p, d)`` and ``offsets (..., p)``.

        ``origin (..., d)`` is what the encoder subtracts from a sample.
        """
        if self._pending is None:
            return
        (where, rows, dead), self._pending = self._pending, None
        direction = rows - origin.unsqueeze(-2)
        norms = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        where = where & (norms.squeeze(-1) > 0.0)  # a sample at the origin has no direction
        direction = direction / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        lengths = torch.linalg.vector_norm(encoder, dim=-1)
        counted = torch.where(dead.all(-1, keepdim=True), torch.ones_like(dead), ~dead)
        length = self.scale * (lengths * counted).sum(-1) / counted.sum(-1)
        for parameter, values in ((decoder, direction), (encoder, direction * length[..., None, None])):
            parameter.copy_(torch.where(where.unsqueeze(-1), values, parameter))
            optimiser.forget(parameter, where.unsqueeze(-1))
        for offset in offsets:
            offset.masked_fill_(where, 0.0)
            optimiser.forget(offset, where)


def check_resampling(value: object) -> None:
    """Check the field ``resampling`` of a solver: a `Resampling` or None."""
    if value is not None and not isinstance(value, Resampling):
        raise TypeError(f"resampling must be None or a Resampling, e.g. Resampling(every=500); got {value!r}.")
