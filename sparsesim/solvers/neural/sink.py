"""Where the gradient of a parameter goes."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor


@final
class Sink:
    """Where the gradient of a parameter goes: into what the optimiser reads, in place, or into a new tensor.

    While a model is trained its parameters have an attribute ``sink``, their gradient; adding to it here saves a dense
    tensor of zeros and its addition. Autograd is then given None.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.sink: Tensor | None = getattr(parameter, "sink", None)
        self.like = parameter

    def open(self) -> Tensor:
        """Return the tensor to add to."""
        return torch.zeros_like(self.like) if self.sink is None else self.sink

    def close(self, gradient: Tensor) -> Tensor | None:
        """Return what autograd is given of the ``gradient`` that `open` has returned."""
        return gradient if self.sink is None else None

    def take(self, gradient: Tensor) -> Tensor | None:
        """Add a ``gradient`` that was computed apart, and return what autograd is given of it."""
        if self.sink is None:
            return gradient
        self.sink.add_(gradient)
        return None
