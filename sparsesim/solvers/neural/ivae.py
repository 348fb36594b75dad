"""iVAE: a variational autoencoder that labels make identifiable, since the prior of its latents depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.labelled import LabelledModule, LabelledSolver


@final
class IdentifiableVAEModule(LabelledModule):
    """The labelled model, trained on its evidence bound."""


@final
@dataclass(frozen=True)
class IdentifiableVAE(LabelledSolver):
    """Learns independent sources of a nonlinear mixture from how their variances differ between labels.

    p(z|u) = N(m_u, diag v_u), x = f(z) + noise, q(z|x, u) = N(mu(x, u), diag s^2(x, u)), and the loss in nats

        -ln N(x; f(z), sigma^2 I) + beta KL(q(z|x, u) || p(z|u)),   z drawn from the posterior.

    Where f is injective and the labels suffice (`theory.ivae.labels_suffice`) the sources are found up to permutation
    and a map of each on its own; without labels, or with one, they are not, whatever the data. The gauge is free: a
    scale may go from the prior to the decoder.

    ``fit_with_side(x, labels[:, None])`` learns, and ``fitted.with_side(labels[:, None])`` encodes samples with their
    labels. With one segment nothing is asked for, and the model is a VAE with learned variances of its prior.

    The table of prior variances stands for the network of the released code, which on labels is one; its encoder has
    separate networks for mean and variance, this one two heads. Its ``a, b, c, d`` take the divergence apart into parts
    of the aggregate posterior, of which total correlation is left out (c = 0); here it is the bound of the paper.

    Parameters
    ----------
    prior_means : learn the means m_u too; 0 without, as in the released code.
    The others are those of `LabelledSolver` and `VariationalSolver`.

    References
    ----------
    Khemakhem, Kingma, Monti, Hyvarinen (2020), "Variational autoencoders and nonlinear ICA: a unifying framework",
    arXiv 1907.04809.
    """

    prior_means: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prior_means, bool):
            raise TypeError(f"prior_means must be True or False; got {self.prior_means!r}.")

    def module(self, dim: int, rng: Rng) -> IdentifiableVAEModule:
        return IdentifiableVAEModule(self, dim, rng, means=self.prior_means)
