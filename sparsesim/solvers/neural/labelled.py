"""Variational autoencoders whose prior depends on a label that is seen beside each sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.solvers.neural.beside import BesideModule, BesideSolver
from sparsesim.solvers.neural.gaussians import drawn_from, gaussian_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import drawn


@dataclass(frozen=True)
class LabelledSolver(BesideSolver):
    """The fields of a variational autoencoder with a prior of its own for each label.

    Parameters
    ----------
    segments : number of labels; they are the integers from 0 on. With 1 no labels are asked for.
    beta : weight of the divergence. The others are those of `VariationalSolver`.
    """

    segments: int = 1
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("segments", self.segments, 1, 2**24)  # labels pass through float32
        check_real("beta", self.beta, 0.0)

    @property
    def side(self) -> int:
        """Return 1, the column of labels, or 0 where there is one segment."""
        return int(self.segments > 1)


class LabelledModule(BesideModule):
    """p(z|u) = N(m_u, diag v_u), q(z|x, u) = N(mu(x, u), diag s^2(x, u)), p(x|z) = N(f(z), sigma^2 I).

    The encoder is given x and u, a one for its label among zeros. The prior is a table, one row for each label; its
    means are parameters only with ``means``, and zero without.
    """

    beta: Tensor

    def __init__(self, spec: LabelledSolver, dim: int, rng: Rng, *, means: bool) -> None:
        super().__init__(spec, dim, rng, side=spec.side, read=spec.segments)
        self.segments = spec.segments
        self.prior_spread = drawn(np.zeros((spec.segments, spec.width)))
        if means:
            self.prior_mean: Tensor = drawn(rng.standard_normal((spec.segments, spec.width)))
        else:
            self.register_buffer("prior_mean", torch.zeros(spec.segments, spec.width))
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))

    def check_side(self, side: FloatArray) -> None:
        labels = side[:, 0] if self.side else np.zeros(0)
        wrong = (labels != np.floor(labels)) | (labels < 0) | (labels >= self.segments)
        if wrong.any():
            raise ValueError(
                f"labels must be integers in [0, segments={self.segments}); got {float(labels[wrong][0])} in row "
                f"{int(wrong.argmax())}. Number them from 0, or raise segments."
            )

    def inputs_of(self, side: Tensor) -> Tensor:
        if not self.side:
            return side.new_ones((*side.shape[:-1], 1))
        return (side == torch.arange(self.segments, device=side.device)).to(side.dtype)

    def prior(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the prior ``(..., B, p)`` for ones among zeros ``labels (..., B, u)``."""
        return labels @ self.prior_mean, labels @ self.prior_spread

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        samples, labels = self.split(x)
        mean, log_variance = self.posterior(torch.cat([samples, labels], dim=-1))
        rebuilt = self.decode(drawn_from(mean, log_variance, step))
        divergence = gaussian_kl(mean, log_variance, *self.prior(labels))
        return {"reconstruction": self.surprise(samples, rebuilt), "kl": self.beta * divergence}
