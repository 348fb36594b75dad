"""Layers between samples and latents, on the last two axes, with their Jacobians in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import Rng, check_int
from sparsesim.solvers.neural.pieces import affine, drawn

Activation = Literal["relu", "leaky_relu", "swish", "tanh"]
Layers = int | tuple[int, ...] | None

LEAK = 0.1  # slope of leaky_relu below zero


def _swish_slope(u: Tensor) -> Tensor:
    gate = torch.sigmoid(u)
    return gate * (1.0 + u * (1.0 - gate))


# Each curve, its slope, and c, the mean square that a rectifier lets through of a standard normal; tanh starts linear.
_CURVES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], float]] = {
    "relu": (torch.relu, lambda u: (u > 0).to(u.dtype), 0.5),
    "leaky_relu": (
        lambda u: nn.functional.leaky_relu(u, LEAK),
        lambda u: LEAK + (1.0 - LEAK) * (u > 0).to(u.dtype),
        (1 + LEAK**2) / 2,
    ),
    "swish": (nn.functional.silu, _swish_slope, 0.3558),
    "tanh": (torch.tanh, lambda u: 1.0 - u.tanh().square(), 1.0),
}


def sizes_of(layers: Layers) -> tuple[int, ...]:
    """Return the units of each hidden layer: none for None, one layer for a number."""
    return () if layers is None else layers if isinstance(layers, tuple) else (layers,)


def check_layers(name: str, layers: Layers) -> None:
    """Check that ``layers`` is None, a number of units or a tuple of them.

    Raises
    ------
    ValueError, TypeError
        If it is not.
    """
    if isinstance(layers, tuple):
        for place, size in enumerate(layers):
            check_int(f"{name}[{place}]", size, 1)
    elif layers is not None:
        check_int(name, layers, 1)


def check_activation(name: object) -> None:
    """Check that ``name`` is one of the activations.

    Raises
    ------
    ValueError
        If it is not.
    """
    if name not in _CURVES:
        raise ValueError(f"activation must be one of {', '.join(sorted(_CURVES))}; got {name!r}.")


@final
class HiddenLayers(nn.Module):
    """h_0 = x, h_l = activation(h_{l-1} W_l + b_l); without a layer the identity.

    Weights start normal with variance 1 / (fan_in c), c the share of power that a rectifier lets through (1 for tanh),
    so that rectified layers all start at the scale of their inputs. Biases start at zero, or with ``scattered`` uniform
    within 1 / sqrt(fan_in), which keeps the kinks of the units away from x = 0.
    """

    def __init__(
        self, inputs: int, sizes: tuple[int, ...], rng: Rng, activation: Activation, *, scattered: bool = False
    ) -> None:
        super().__init__()
        self.activation, self.outputs = str(activation), sizes[-1] if sizes else inputs
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        through = _CURVES[activation][2]
        for above, below in zip((inputs, *sizes), sizes, strict=False):
            self.weights.append(drawn(rng.standard_normal((above, below)) * math.sqrt(1 / (above * through))))
            reach = 1 / math.sqrt(above)
            self.biases.append(drawn(rng.uniform(-reach, reach, below) if scattered else np.zeros(below)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer ``(..., B, h)`` for ``x (..., B, a)``."""
        curve = _CURVES[self.activation][0]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = curve(affine(x, weight, bias))
        return x

    def jacobian(self, x: Tensor) -> Tensor:
        """Return the derivative of the last layer at each row of x, ``(..., B, a, h)``, rows for inputs."""
        curve, slope, _ = _CURVES[self.activation]
        out = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(*x.shape, x.shape[-1])
        for weight, bias in zip(self.weights, self.biases, strict=True):
            u = affine(x, weight, bias)
            out = (out @ weight.unsqueeze(-3)) * slope(u).unsqueeze(-2)
            x = curve(u)
        return out


@final
class Perceptron(nn.Module):
    """`HiddenLayers` and an affine map of the last of them: ``(..., B, inputs)`` to ``(..., B, outputs)``.

    The last weights start normal with variance ``start^2`` over their number of inputs, the last bias at zero.
    """

    def __init__(
        self,
        inputs: int,
        sizes: tuple[int, ...],
        outputs: int,
        rng: Rng,
        activation: Activation = "relu",
        *,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        self.hidden = HiddenLayers(inputs, sizes, rng, activation)
        last = self.hidden.outputs
        self.weight = drawn(rng.standard_normal((last, outputs)) * start / math.sqrt(last))
        self.bias = drawn(np.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for ``x (..., B, inputs)``."""
        return affine(self.hidden(x), self.weight, self.bias)

    def jacobian(self, x: Tensor) -> Tensor:
        """Return the derivative of the outputs at each row of x, ``(..., B, inputs, outputs)``."""
        return self.hidden.jacobian(x) @ self.weight.unsqueeze(-3)
