"""What ReLU autoencoders share that pay a price for their codes, with or without resampling."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.module import Optimiser, Step
from sparsesim.solvers.neural.pieces import UnitDecoder
from sparsesim.solvers.neural.resampling import Resampler, Resampling
from sparsesim.solvers.neural.separable import averaged, row_errors


class PricedModule(UnitDecoder):
    """z = ReLU(u); a sample costs its squared error and the `prices` of its codes; silent latents may be resampled."""

    def __init__(self, width: int, dim: int, rng: Rng, resampling: Resampling | None) -> None:
        super().__init__(width, dim, rng)
        self.resampler = None if resampling is None else Resampler(resampling, width)

    @abstractmethod
    def prices(self, codes: Tensor, step: Step) -> dict[str, Tensor]:
        """Return what each sample pays for its ``codes (..., B, p)``, by name, already weighted: ``(..., B)`` each."""

    def encode(self, x: Tensor) -> Tensor:
        return self.pre_activations(x).relu()

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        codes = self.encode(x)
        errors, prices = row_errors(x, self.decode(codes)), self.prices(codes, step)
        if self.resampler is not None:
            self.resampler.observe(codes, x, sum(prices.values(), errors), step)
        return {"squared_error": errors, **prices}

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))

    def after_step(self, optimiser: Optimiser) -> None:
        super().after_step(optimiser)
        if self.resampler is not None:
            self.resampler.replace(optimiser, self.bias, self.decoder, self.encoder, self.encoder_bias)
