"""The optimiser of the one training loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim.kernels.training import adam_
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.module import SparseModule

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
        self.gradient, self.mean, self.square = (torch.zeros_like(self.flat) for _ in range(3))
        start = 0
        for p in self.parameters:
            end = start + p.numel()
            p.data = self.flat[start:end].view(p.shape)
            p.grad = self.gradient[start:end].view(p.shape)
            p.sink = p.grad  # type: ignore[attr-defined]  # sparse layers add to it themselves, see `sparse`
            start = end
        self.beta1, self.beta2 = training.betas
        powers = np.arange(1, training.steps + 1)
        root = np.sqrt(1 - self.beta2**powers)
        self.rates = (training.rates() * root / (1 - self.beta1**powers)).tolist()
        self.eps = (training.eps * root).tolist()
        self.clip, self.decay = training.grad_clip, training.weight_decay
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
        vectors = [tensor.numpy() for tensor in (self.flat, self.gradient, self.mean, self.square)]
        slowness = vectors[0][:0] if self.slowness is None else self.slowness.numpy()
        factors = (self.rates[index], self.eps[index], 1 - self.beta1, self.beta2, 1 - self.beta2)
        weights, gradient, mean, square = vectors
        adam_(weights, gradient, mean, square, slowness, np.array(factors, weights.dtype))

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
        start = 0
        for p in self.parameters:
            if p is parameter:
                for moment in (self.mean, self.square):
                    moment[start : start + p.numel()].view(p.shape).masked_fill_(where, 0.0)
                return
            start += p.numel()
        raise ValueError("the optimiser knows no such parameter; pass a parameter of the module that it trains.")

    def _clip(self, largest: float) -> None:
        """Scale the gradient of each model down to norm ``largest``."""
        gradients = [p.grad if self.ensemble else p.grad.unsqueeze(0) for p in self.parameters if p.grad is not None]
        total = reduce(torch.add, (g.reshape(len(g), -1).square().sum(1) for g in gradients))
        factor = (largest / total.sqrt()).clamp_max(1.0)
        for g in gradients:
            g.mul_(factor.reshape(-1, *(1,) * (g.ndim - 1)))

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for p in self.parameters:
            p.data = p.data.clone()
            p.grad = None
            del p.sink  # type: ignore[attr-defined]
