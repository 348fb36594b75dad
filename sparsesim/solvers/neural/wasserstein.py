"""The Wasserstein autoencoder with an MMD penalty (WAE-MMD): codes that have, all together, the law of the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.gaussians import drawn_from
from sparsesim.solvers.neural.mmd import check_batches, squared_mmd
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver


@final
class WassersteinModule(VariationalModule):
    """z = mu(x), or drawn around it, with a penalty on the law of a batch of z."""

    penalty: Tensor

    def __init__(self, spec: WassersteinAutoencoder, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng, spread=0 if spec.deterministic else None)
        self.deterministic = bool(spec.deterministic)
        self.register_buffer("penalty", torch.tensor(spec.penalty, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        z, log_variance = self.posterior(x)
        if not self.deterministic:
            z = drawn_from(z, log_variance, step)
        return {
            "reconstruction": self.surprise(x, self.decode(z)),
            "mmd": self.penalty * squared_mmd(z, step.normal(z)),
        }


@final
@dataclass(frozen=True)
class WassersteinAutoencoder(VariationalSolver):
    """Learns codes that reconstruct and whose law is N(0, I): ||x - f(z)||^2 + penalty * MMD^2(q(z), N(0, I)).

    z = mu(x), or a draw from N(mu(x), s^2(x)). MMD^2 is the unbiased estimate on a batch against as many draws of the
    prior, the reconstruction term half the squared error over ``noise_variance``, so the squared error itself at the
    default of 1/2, up to a constant. With a linear encoder and decoder on Gaussian data both terms reach their least
    value together, for any penalty: whitened principal components, rotated at will, since MMD knows no axes.

    Parameters
    ----------
    penalty : lambda; published code has 10 and 100 for images.
    deterministic : False adds a variance head. Nothing keeps its variance from vanishing.
        The others are those of `VariationalSolver`.

    References
    ----------
    Tolstikhin, Bousquet, Gelly, Schoelkopf (2018), "Wasserstein auto-encoders", arXiv 1711.01558. Released code of the
    unscented autoencoder leaves the diagonal of the cross term out; the rows are independent, and it belongs there.
    """

    noise_variance: float | None = 0.5
    penalty: float = 10.0
    deterministic: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batches(self.training.batch_size)
        check_real("penalty", self.penalty, 0.0)
        if not isinstance(self.deterministic, bool):
            raise TypeError(f"deterministic must be True or False; got {self.deterministic!r}.")

    def module(self, dim: int, rng: Rng) -> WassersteinModule:
        return WassersteinModule(self, dim, rng)
