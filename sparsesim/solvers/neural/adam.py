"""The optimiser of the one training loop."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray
from sparsesim.kernels.training import adam_, adam_rows_
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.sink import Pending

if TYPE_CHECKING:
    from sparsesim.solvers.neural.train import Training


@final
class Adam:
    """Adam on all parameters as one flat vector: the same arithmetic as `torch.optim.Adam` in a few large operations.

    Parameters and their gradients become views of the vector, which backward adds to in place.
    """

    def __init__(
        self, module: SparseModule, training: Training, ensemble: bool, learning_rates: Sequence[float] | None = None
    ) -> None:
        self.parameters, self.ensemble = list(module.parameters()), ensemble
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.gradient = _zeros(self.flat)
        self.clip, self.decay = training.grad_clip, training.weight_decay
        # Clipping asks for the norm of all gradients, and decay moves the rows along which they are projected.
        by_rows = place.on_host(self.flat) and self.clip is None and not self.decay
        for p, part in zip(self.parameters, self._parts(), strict=True):
            p.data = self.flat[part].view(p.shape)
            p.grad = self.gradient[part].view(p.shape)
            p.sink = p.grad  # type: ignore[attr-defined]  # sparse layers add to it themselves, see `sparse`
            p.pending = Pending(p, p.grad) if by_rows and p.ndim > 1 else None  # type: ignore[attr-defined]
        self.mean, self.square = (torch.zeros_like(self.flat) for _ in range(2))
        self.beta1, self.beta2 = training.betas
        powers = np.arange(1, training.steps + 1)
        root = np.sqrt(1 - self.beta2**powers)
        self.rates = (training.rates() * root / (1 - self.beta1**powers)).tolist()
        self.eps = (training.eps * root).tolist()
        self.index = 0
        self.slowness = self._slowness(learning_rates, training.learning_rate)
        # On the device, so that a step waits for nothing of the host: rate, eps, and the share that decay takes.
        shrunk = (training.rates() * training.weight_decay).tolist()
        columns = np.array([self.rates, self.eps, shrunk]).T
        self.schedule = torch.from_numpy(columns).to(self.flat)
        self.rate = self.schedule[0].clone()
        factors = (1 - self.beta1, self.beta2, 1 - self.beta2)
        self.factors = torch.from_numpy(np.array(factors)).to(self.flat)

    def prepare(self, index: int) -> None:
        """Set the rate to that of step ``index``."""
        self.index = index
        if not place.on_host(self.flat):
            self.rate.copy_(self.schedule[index])

    def step(self) -> None:
        """Move the weights by one Adam step on the gradient at hand, at the rate prepared."""
        if self.clip is not None:
            self._clip(self.clip)
        if place.on_host(self.flat):
            if self.decay:
                self._shrink(self.index)
            self._step_in_one_pass(self.index)
            return
        if self.decay:
            self.flat.sub_((self.flat if self.slowness is None else self.flat / self.slowness) * self.rate[2])
        state = (self.flat, self.gradient, self.mean, self.square)
        place.operations(self.flat).adam_(state, self.slowness, self.rate, self.factors)

    def _step_in_one_pass(self, index: int) -> None:
        factors = (self.rates[index], self.eps[index], 1 - self.beta1, self.beta2, 1 - self.beta2)
        constants = np.array(factors, self.flat.numpy().dtype)
        begin = 0
        for p, part in zip(self.parameters, self._parts(), strict=True):
            pending = p.pending  # type: ignore[attr-defined]
            if pending is not None and pending.factors is not None:
                self._step_on(slice(begin, part.start), constants)
                self._step_by_rows(part, p.shape[-1], pending, constants)
                begin = part.stop
            if pending is not None:
                pending.clear()
        self._step_on(slice(begin, len(self.flat)), constants)

    def _step_on(self, part: slice, constants: FloatArray) -> None:
        """Take the step for the weights of ``part``, whose gradient is there."""
        if part.start < part.stop:
            vectors = [tensor[part].numpy() for tensor in (self.flat, self.gradient, self.mean, self.square)]
            weights, gradient, mean, square = vectors
            adam_(weights, gradient, mean, square, self._slowness_of(part), constants)

    def _step_by_rows(self, part: slice, width: int, pending: Any, constants: FloatArray) -> None:
        """Take the step for the weights of ``part``, whose gradient is formed row by row."""
        state = tuple(tensor[part].view(-1, width).numpy() for tensor in (self.flat, self.mean, self.square))
        adam_rows_(pending.factors, state, pending.radial, self._slowness_of(part), constants)

    def _parts(self) -> Iterator[slice]:
        """Yield where each parameter lies in the vector."""
        start = 0
        for p in self.parameters:
            yield slice(start, start + p.numel())
            start += p.numel()

    def _slowness_of(self, part: slice) -> FloatArray:
        found: FloatArray = (self.flat[:0] if self.slowness is None else self.slowness[part]).numpy()
        return found

    def _slowness(self, learning_rates: Sequence[float] | None, common: float) -> Tensor | None:
        """Return the common rate over that of its member for each weight; None where all rates are the common one."""
        if learning_rates is None or all(rate == common for rate in learning_rates):
            return None
        ratio = torch.tensor([common / rate for rate in learning_rates], dtype=self.flat.dtype, device="cpu")
        parts = [ratio.repeat_interleave(p.numel() // len(ratio)) for p in self.parameters]
        return torch.cat(parts).to(self.flat.device)

    def _shrink(self, index: int) -> None:
        """Apply the decoupled weight decay of step ``index``."""
        rate = self.rates[index] * (1 - self.beta1 ** (index + 1)) / (1 - self.beta2 ** (index + 1)) ** 0.5
        if self.slowness is None:
            self.flat.mul_(1 - rate * self.decay)
        else:
            self.flat.addcdiv_(self.flat, self.slowness, value=-rate * self.decay)

    def forget(self, parameter: nn.Parameter, where: Tensor) -> None:
        """Set both moments of ``parameter`` to zero where ``where``, broadcast to its shape, is true."""
        for p, part in zip(self.parameters, self._parts(), strict=True):
            if p is parameter:
                for moment in (self.mean, self.square):
                    moment[part].view(p.shape).masked_fill_(where, 0.0)
                return
        raise ValueError("the optimiser knows no such parameter; pass a parameter of the module that it trains.")

    def _clip(self, largest: float) -> None:
        """Scale the gradient of each model down to norm ``largest``."""
        gradients = [p.grad if self.ensemble else p.grad.unsqueeze(0) for p in self.parameters if p.grad is not None]
        total = reduce(torch.add, (g.reshape(len(g), -1).square().sum(1) for g in gradients))
        factor = (largest / total.sqrt()).clamp_max(1.0)
        for g in gradients:
            g.mul_(factor.reshape(-1, *(1,) * (g.ndim - 1)))

    def release(self) -> None:
        """Give each parameter memory of its own again, and let go of all else."""
        self.gradient = self.mean = self.square = self.flat[:0]
        for p in self.parameters:
            p.data = p.data.clone()
            p.grad = None
            if p.pending is not None:  # type: ignore[attr-defined]
                p.pending.release()  # type: ignore[attr-defined]
            del p.sink, p.pending  # type: ignore[attr-defined]


def _zeros(like: Tensor) -> Tensor:
    """Return zeros for the gradient of the vector ``like``: on the host in pages that are there once written to."""
    if not place.on_host(like) or not like.numel():
        return torch.zeros_like(like)
    pages = mmap.mmap(-1, like.numel() * like.element_size())
    return torch.frombuffer(pages, dtype=like.dtype)
