"""Regularised autoencoders: deterministic codes, kept small, and a decoder kept smooth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import Optimiser, Step
from sparsesim.solvers.neural.pieces import finite_or_zero
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver

Regulariser = Literal["weights", "gradient", "spectral"]
_REGULARISERS = ("weights", "gradient", "spectral")


@final
class RegularisedModule(VariationalModule):
    """z = mu(x); penalties on the codes and on the decoder."""

    beta: Tensor
    penalty: Tensor

    def __init__(self, spec: RegularisedAutoencoder, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng, spread=0)
        self.regulariser = str(spec.regulariser)
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))
        self.register_buffer("penalty", torch.tensor(spec.penalty, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        z = self.encode(x)
        terms = {
            "reconstruction": self.surprise(x, self.decode(z)),
            "codes": 0.5 * self.beta * z.square().sum((-2, -1)) / x.shape[-2],
        }
        if self.regulariser == "weights":
            squares = [weight.square().sum((-2, -1)) for weight in self.decoder_weights()]
            terms["decoder"] = self.penalty * torch.stack(squares).sum(0)
        elif self.regulariser == "gradient":
            terms["decoder"] = self.penalty * self.steepness(z)
        return terms

    def after_step(self, optimiser: Optimiser) -> None:
        if self.regulariser == "spectral":
            for weight in self.decoder_weights():
                weight.div_(torch.linalg.matrix_norm(finite_or_zero(weight), 2).clamp_min(1.0)[..., None, None])


@final
@dataclass(frozen=True)
class RegularisedAutoencoder(VariationalSolver):
    """Learns deterministic codes under ||x - f(z)||^2 + beta/2 ||z||^2 + penalty * R(f), z = mu(x) (RAE).

    R is the sum of squared ``"weights"`` of the decoder (its biases are free), or the squared Frobenius norm of its
    Jacobian at the codes (``"gradient"``, exact, one and the same where the decoder is linear), or ``"spectral"``: no
    penalty, but each layer divided by its largest singular value after a step, where that exceeds one, so that f is
    1-Lipschitz for activations that are. Without R the decoder evades beta by growing.

    Linear encoder and decoder with squared weights are the nuclear norm in disguise, min_a beta/2 a^2 + penalty s^2/a^2
    = sqrt(2 beta penalty) s: the singular values of the data over sqrt(n) are shrunk by sqrt(beta penalty / 2).

    The density of the codes that the paper fits afterwards (a mixture of Gaussians) serves to generate samples, which
    is not asked for here. Released code takes the gradient of the squared outputs, 2 J f instead of J, and means
    instead of sums over d and p; the terms here are those of the paper.

    Parameters
    ----------
    beta : weight of half the squared norm of a code.
    penalty : lambda, the weight of R; "spectral" does not use it.
    regulariser : R.
        The others are those of `VariationalSolver`; at ``noise_variance`` = 1/2 the reconstruction term is the squared
        error itself, up to a constant, and other values scale it.

    References
    ----------
    Ghosh, Sajjadi, Vergari, Black, Schoelkopf (2020), "From variational to deterministic autoencoders", arXiv
    1903.12436.
    """

    noise_variance: float | None = 0.5
    beta: float = 1e-4
    penalty: float = 1e-7
    regulariser: Regulariser = "weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("beta", self.beta, 0.0)
        check_real("penalty", self.penalty, 0.0)
        if self.noise_variance is None:
            raise ValueError("noise_variance must be a number, or a deterministic code drives it to zero; got None.")
        if self.regulariser not in _REGULARISERS:
            raise ValueError(f"regulariser must be one of {', '.join(_REGULARISERS)}; got {self.regulariser!r}.")

    def module(self, dim: int, rng: Rng) -> RegularisedModule:
        return RegularisedModule(self, dim, rng)
