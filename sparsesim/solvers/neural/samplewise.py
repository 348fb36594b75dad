"""What autoencoders share in which more than the pre-activations of a sample decides which latents speak."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selective import SelectiveModule
from sparsesim.solvers.neural.sparse import selection_of


class SampleWiseModule(SelectiveModule):
    """z = u where `select_for` says so, which sees the sample as well as its pre-activations."""

    @abstractmethod
    def select_for(self, u: Tensor, x: Tensor) -> Tensor:
        """Return the 0/1 mask like ``u (..., B, p)`` of the latents that speak for ``x (..., B, d)``."""

    def select(self, u: Tensor) -> Tensor:
        raise TypeError("which latents speak depends on the samples here; call select_for(u, x).")

    def choose_for(self, u: Tensor, x: Tensor) -> Selection:
        return selection_of(self.select_for(u, x))

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u * self.select_for(u, x)
