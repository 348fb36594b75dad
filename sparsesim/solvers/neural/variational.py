"""What variational autoencoders and their kin share: an encoder with two heads, a decoder, a Gaussian likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, check_matrix, check_real
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.gaussians import deviation_of
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.perceptron import (
    Activation,
    HiddenLayers,
    Layers,
    check_activation,
    check_layers,
    sizes_of,
)
from sparsesim.solvers.neural.pieces import affine, drawn, squared_error, unit_normal
from sparsesim.solvers.neural.solver import NeuralEncoder, NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.wrapped import WrappedModule


@dataclass(frozen=True)
class VariationalSolver(NeuralSolver):
    """The fields of an autoencoder whose latents are Gaussian, or held to a Gaussian.

    Parameters
    ----------
    width : p, the number of latents.
    noise_variance : sigma^2 of the decoder in the scale E||x - mean||^2 = d; None learns it, 1/2 makes the
        reconstruction term the squared error itself, up to a constant.
    hidden : units of the hidden layers of the encoder, a number for one layer; None is a linear encoder.
    decoder_hidden : the same of the decoder. With None it is linear, x = z D + b; else the atoms are its Jacobian at
        z = 0 and the bias is its value there.
    activation : of hidden layers.
    """

    width: int
    noise_variance: float | None = None
    hidden: Layers = None
    decoder_hidden: Layers = None
    activation: Activation = "relu"
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        if self.noise_variance is not None:
            check_real("noise_variance", self.noise_variance, 0.0, open_low=True)
        check_layers("hidden", self.hidden)
        check_layers("decoder_hidden", self.decoder_hidden)
        check_activation(self.activation)


class VariationalModule(SparseModule):
    """Heads mean(x) and ln s^2(x), decoder f(z), likelihood p(x|z) = N(f(z), sigma^2 I); a subclass writes `losses`.

    With ``gated`` a latent is heard as far as it is known: s^2 <= 1 is a sigmoid, and the decoder is given (1 - s) z.

    The atoms of a nonlinear decoder are its Jacobian at z = 0: the mean and the mode of the prior, where the posterior
    of a latent that is not used is centred, and a place that is the same whatever the data. It is a local statement;
    an even function has no atoms there. The Jacobian is exact, and it is that of the linear decoder if there is no
    hidden layer.

    Parameters
    ----------
    spread : number of outputs of the encoder after the p means; p log variances by default, 0 for none.
    """

    def __init__(
        self, spec: VariationalSolver, dim: int, rng: Rng, *, spread: int | None = None, gated: bool = False
    ) -> None:
        super().__init__()
        self.width, self.gated, self.spread = spec.width, gated, spec.width if spread is None else spread
        self.linear = not sizes_of(spec.decoder_hidden)
        atoms = unit_normal(self.width, dim, rng)
        self.trunk = HiddenLayers(dim, sizes_of(spec.hidden), rng, spec.activation)
        means = _first_means(self.trunk.outputs, atoms, bool(sizes_of(spec.hidden)), self.linear, rng)
        rest = np.zeros((self.trunk.outputs, self.spread))
        self.heads = drawn(np.concatenate([means, rest], axis=1))
        self.heads_bias = drawn(np.zeros(means.shape[1] + rest.shape[1]))
        self.lift = HiddenLayers(self.width, sizes_of(spec.decoder_hidden), rng, spec.activation, scattered=True)
        last = self.lift.outputs
        self.decoder = drawn(atoms if self.linear else rng.standard_normal((last, dim)) / math.sqrt(last))
        self.bias = drawn(np.zeros(dim))
        log_variance = torch.tensor(math.log(spec.noise_variance or 1.0), dtype=torch.float32)
        if spec.noise_variance is None:
            self.log_noise: Tensor = nn.Parameter(log_variance)
        else:
            self.register_buffer("log_noise", log_variance)

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means ``(..., B, p)`` and whatever else the encoder says, ``(..., B, spread)``."""
        heads = affine(self.trunk(x), self.heads, self.heads_bias)
        return heads[..., : self.width], heads[..., self.width :]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the posterior, ``(..., B, p)`` each."""
        mean, spread = self.outputs(x)
        return mean, nn.functional.logsigmoid(spread) if self.gated else spread

    def heard(self, z: Tensor, log_variance: Tensor) -> Tensor:
        """Return what the decoder is given of latents ``z (..., B, p)``."""
        return (1.0 - deviation_of(log_variance)) * z if self.gated else z

    def encode(self, x: Tensor) -> Tensor:
        mean, log_variance = self.posterior(x)
        return self.heard(mean, log_variance)

    def decode(self, codes: Tensor) -> Tensor:
        return affine(self.lift(codes), self.decoder, self.bias)

    def jacobian(self, codes: Tensor) -> Tensor:
        """Return the derivative of `decode` at each row of codes, ``(..., B, p, d)``."""
        return self.lift.jacobian(codes) @ self.decoder.unsqueeze(-3)

    def steepness(self, codes: Tensor) -> Tensor:
        """Return the squared Frobenius norm of the Jacobian, mean over the rows of codes: ``()`` or ``(E,)``."""
        return self.jacobian(codes).square().sum((-2, -1)).mean(-1)

    def decoder_weights(self) -> list[nn.Parameter]:
        """Return the weights of the layers of the decoder, without biases, each ``(..., a, b)``."""
        return [*self.lift.weights, self.decoder]

    def surprise(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Return -ln N(x; reconstruction, sigma^2 I) in nats, summed over d, mean over B: ``()`` or ``(E,)``."""
        constant = x.shape[-1] * (self.log_noise + math.log(2 * math.pi))
        return 0.5 * (squared_error(x, reconstruction) / self.log_noise.exp() + constant)

    def atoms(self) -> Tensor:
        return self.decoder if self.linear else self.jacobian(self._origin()).squeeze(-3)

    def decoder_bias(self) -> Tensor:
        return self.bias if self.linear else self.decode(self._origin()).squeeze(-2)

    def _origin(self) -> Tensor:
        """Return the code z = 0 as one row, ``(..., 1, p)``."""
        return self.bias.new_zeros((*self.bias.shape[:-1], 1, self.width))


def _first_means(inputs: int, atoms: FloatArray, hidden: bool, linear: bool, rng: Rng) -> FloatArray:
    """Return the first weights of the means, ``(inputs, p)``.

    A linear encoder starts tied to the atoms, shrunk so that it does not overshoot; behind a hidden layer it starts at
    zero where the decoder is linear. Of a nonlinear decoder z = 0 tells nothing, so that there they start at random.
    """
    if not hidden:
        return np.asarray(atoms.T * min(1.0, atoms.shape[1] / len(atoms)))
    shape = (inputs, len(atoms))
    return np.zeros(shape) if linear else np.asarray(rng.standard_normal(shape) / math.sqrt(inputs))


def opened(
    fitted: FittedDictionary, x: FloatArray, solvers: str, *, diagonal: bool = True
) -> tuple[VariationalModule, Tensor, float]:
    """Return the module of a fit, unwrapped, samples ``x (n, d)`` as it sees them, and the scale it divides by.

    ``diagonal`` asks for one log variance for each latent, ``solvers`` says in the message what has been asked for.

    Raises
    ------
    TypeError
        If the fit is of another kind or reads side information, or its encoder was replaced.
    """
    encoder = fitted.encoder
    module = encoder.module if isinstance(encoder, NeuralEncoder) else None
    while isinstance(module, WrappedModule):
        module = module.host
    known = isinstance(module, VariationalModule) and (module.spread == module.width or not diagonal)
    if not known or not isinstance(encoder, NeuralEncoder) or not isinstance(module, VariationalModule):
        raise TypeError(f"fitted must be a fit of {solvers} with its own encoder; got the encoder {encoder!r:.200}.")
    if module.side:
        raise TypeError(
            f"fitted must be a fit of {solvers} that reads nothing beside the samples; got {encoder!r:.200}."
        )
    samples = check_matrix(x, dim=fitted.dim).astype(np.float64)
    inside = (samples - fitted.bias) / encoder.scale + encoder.offset
    return module, torch.from_numpy(inside.astype(np.float32)), encoder.scale
