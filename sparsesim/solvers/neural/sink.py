"""Where the gradient of a parameter goes."""

from __future__ import annotations

from typing import TypeAlias, final

import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, IntArray
from sparsesim.kernels.training import add_product_

Factors: TypeAlias = tuple[IntArray, IntArray, FloatArray, FloatArray]  # indptr, columns, data; and the table


@final
class Pending:
    """A gradient that is left as the product of a sparse matrix and a table, for the optimiser to form row by row.

    A parameter in training has one as its attribute ``pending`` where nobody but the optimiser reads whole gradients.
    As soon as anything else is added to the gradient, the product is multiplied out: sums keep their order.

    Attributes
    ----------
    factors : the sparse matrix and the table; None where the gradient is what ``gradient`` holds.
    radial : whether the component of each row along the row of weights is to be removed.
    """

    def __init__(self, parameter: Tensor, gradient: Tensor) -> None:
        self.factors: Factors | None = None
        self.radial = False
        self._gradient, self._filled = gradient, False
        self._hook = parameter.register_hook(self._before)  # type: ignore[no-untyped-call]

    def _before(self, gradient: Tensor | None) -> None:
        """Multiply out before autograd adds a ``gradient`` that was computed apart."""
        if gradient is not None:
            self.fill()

    def leave(self, factors: Factors) -> bool:
        """Return whether the product is left to the optimiser: if it is the first that the gradient is given."""
        if self._filled or self.factors is not None:
            return False
        self.factors = factors
        return True

    def fill(self) -> None:
        """Multiply out what was left, since more is to be added."""
        if self.factors is not None:
            _add_(self.factors, self._gradient)
        self.factors, self._filled = None, True

    def clear(self) -> None:
        """Forget the step, which the optimiser has taken."""
        self.factors, self.radial, self._filled = None, False, False

    def release(self) -> None:
        """Let go of the parameter."""
        self._hook.remove()


@final
class Sink:
    """Where the gradient of a parameter goes: into what the optimiser reads, in place, or into a new tensor.

    While a model is trained its parameters have an attribute ``sink``, their gradient; adding to it here saves a dense
    tensor of zeros and its addition. Autograd is then given None.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.sink: Tensor | None = getattr(parameter, "sink", None)
        self.pending: Pending | None = getattr(parameter, "pending", None)
        self.like = parameter

    def open(self) -> Tensor:
        """Return the tensor to add to."""
        if self.pending is not None:
            self.pending.fill()
        return torch.zeros_like(self.like) if self.sink is None else self.sink

    def close(self, gradient: Tensor) -> Tensor | None:
        """Return what autograd is given of the ``gradient`` that `open` has returned."""
        return gradient if self.sink is None else None

    def take(self, gradient: Tensor) -> Tensor | None:
        """Add a ``gradient`` that was computed apart, and return what autograd is given of it."""
        if self.sink is None:
            return gradient
        self.open().add_(gradient)
        return None

    def multiply(self, indptr: IntArray, columns: IntArray, data: FloatArray, table: FloatArray) -> Tensor | None:
        """Add the product of a sparse matrix (indptr, columns, data) and a table; return what autograd is given."""
        factors = indptr, columns, data, table
        if self.pending is not None and self.pending.leave(factors):
            return None
        gradient = self.open()
        _add_(factors, gradient)
        return self.close(gradient)


def _add_(factors: Factors, gradient: Tensor) -> None:
    indptr, columns, data, table = factors
    add_product_(indptr, columns, data, table, gradient.view(-1, gradient.shape[-1]).numpy())
