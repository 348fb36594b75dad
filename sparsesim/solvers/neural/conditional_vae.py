"""The conditional variational autoencoder: latents for what is left of y once x is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.beside import BesideModule, BesideSolver
from sparsesim.solvers.neural.gaussians import drawn_from, standard_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import drawn


@final
class ConditionalVAEModule(BesideModule):
    """p(y|z, x) = N(f(z) + x B, sigma^2 I), q(z|y, x) = N(mu(y, x), diag s^2(y, x)), p(z) = N(0, I)."""

    beta: Tensor

    def __init__(self, spec: ConditionalVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng, side=spec.given, read=spec.given)
        self.linear = self.linear and not spec.given  # with conditions, y is not affine in the codes alone
        self.slopes = drawn(np.zeros((spec.given, dim)))
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))

    def inputs_of(self, side: Tensor) -> Tensor:
        return side

    def decode_beside(self, codes: Tensor, side: Tensor) -> Tensor:
        return self.decode(codes) + side @ self.slopes

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        y, given = self.split(x)
        mean, log_variance = self.posterior(x)
        rebuilt = self.decode_beside(drawn_from(mean, log_variance, step), given)
        return {
            "reconstruction": self.surprise(y, rebuilt),
            "kl": self.beta * standard_kl(mean, log_variance),
        }


@final
@dataclass(frozen=True)
class ConditionalVAE(BesideSolver):
    """Learns latents of y given x; those of what x already tells collapse.

    p(y|z, x) = N(f(z) + x B, sigma^2 I), p(z) = N(0, I), q(z|y, x) = N(mu(y, x), diag s^2(y, x)), and the loss

        -ln N(y; f(z) + x B, sigma^2 I) + beta KL(q(z|y, x) || N(0, I)),   z drawn from the posterior.

    Without hidden layers it is the linear model of `theory.collapse.conditional_linear_vae`: at the optimum x B is the
    regression of y on x, and a direction is silent iff its variance *given x* is at most beta sigma^2.

    ``fit_with_side(y, x)`` learns, and ``fitted.with_side(x)`` encodes and decodes the y that belong to x; it is y that
    is normalised, x is taken as it is.

    Parameters
    ----------
    given : number of coordinates of x; with 0 it is `GaussianVAE`.
    beta : weight of the divergence.
    The others are those of `VariationalSolver`.

    References
    ----------
    Sohn, Lee, Yan (2015), "Learning structured output representation using deep conditional generative models"; Dang et
    al. (2024), arXiv 2306.05023, for the linear one.
    """

    given: int = 0
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("given", self.given, 0)
        check_real("beta", self.beta, 0.0)

    @property
    def side(self) -> int:
        """Return the number of coordinates of x."""
        return self.given

    def module(self, dim: int, rng: Rng) -> ConditionalVAEModule:
        return ConditionalVAEModule(self, dim, rng)
