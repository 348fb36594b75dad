"""The identifiable double VAE: the prior of the latents given a label is itself the encoder of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.gaussians import drawn_from, standard_kl
from sparsesim.solvers.neural.labelled import LabelledModule, LabelledSolver
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.perceptron import Perceptron, sizes_of


@final
class DoubleVAEModule(LabelledModule):
    """The labelled model, and p(u|z) = softmax(g(z)), from which labels are told by draws of their own prior."""

    gamma: Tensor

    def __init__(self, spec: DoubleVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng, means=True)
        self.teller = Perceptron(spec.width, sizes_of(spec.decoder_hidden), spec.segments, rng, spec.activation)
        self.register_buffer("gamma", torch.tensor(spec.gamma, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        _, labels = self.split(x)
        mean, log_variance = self.prior(labels)
        told = self.teller(drawn_from(mean, log_variance, step)).log_softmax(-1)
        return {
            **super().losses(x, step),
            "label": -(told * labels).sum((-2, -1)) / x.shape[-2],
            "label_kl": self.gamma * standard_kl(mean, log_variance),
        }


@final
@dataclass(frozen=True)
class DoubleVAE(LabelledSolver):
    """Learns sources as `IdentifiableVAE` does, under a prior that is kept informative of the label.

    Its prior p(z|u) = N(m_u, diag v_u) is the encoder of a second autoencoder, of labels, and the loss is that of
    `IdentifiableVAE` and of the second in one sum, in nats,

        -ln N(x; f(z), sigma^2 I) + beta KL(q(z|x, u) || p(z|u)) - ln p(u|z_u) + gamma KL(p(z|u) || N(0, I)),

    z from q(z|x, u) and z_u from p(z|u). The released method conditions on vectors of generative factors; for a label
    the encoder is a table and p(u|z) a softmax.

    Parameters
    ----------
    gamma : weight of the divergence of the prior from N(0, I).
    The others are those of `LabelledSolver` and `VariationalSolver`.

    References
    ----------
    Mita, Filippone, Michiardi (2021), "An identifiable double VAE for disentangled representations", arXiv 2010.09360.
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("gamma", self.gamma, 0.0)

    def module(self, dim: int, rng: Rng) -> DoubleVAEModule:
        return DoubleVAEModule(self, dim, rng)
