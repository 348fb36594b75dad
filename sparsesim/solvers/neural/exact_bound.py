"""The evidence bound of a variational autoencoder with a linear decoder, over the posterior without a draw."""

from __future__ import annotations

import math

import torch

from sparsesim._arrays import FloatArray
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.gaussians import standard_kl
from sparsesim.solvers.neural.variational import opened


def exact_loss(fitted: FittedDictionary, x: FloatArray) -> float:
    """Return minus the evidence bound of samples ``x (n, d)``, a mean in nats in the scale of training.

    ``E_q |x - D z|^2 / (2 s^2) + d ln(2 pi s^2) / 2 + KL(q || N(0, I))`` of diagonal Gaussian posteriors. Exact: the
    decoder is linear, and what it hears of a latent is a multiple of it (all of it, or its gate in VAEase).

    Raises
    ------
    TypeError
        If ``fitted`` is no variational autoencoder, reads side information, or has a decoder that is not linear.
    """
    module, inside, _ = opened(fitted, x, "a variational autoencoder of linear decoder")
    if fitted.decoder is not None:
        raise TypeError(f"fitted must have a linear decoder; got {fitted.decoder!r:.200}.")
    with torch.no_grad():
        mean, log_variance = module.posterior(inside)
        gain = module.heard(torch.ones_like(mean), log_variance)
        atoms = module.decoder.double()
        spread = (gain.square() * log_variance.exp()).double() @ atoms.square().sum(1)
        left = inside.double() - (gain * mean).double() @ atoms - module.bias.double()
        error, level = left.square().sum(1) + spread, module.log_noise.double()
        likelihood = 0.5 * (error.mean() / level.exp() + inside.shape[1] * (level + math.log(2 * math.pi)))
        return float(likelihood + standard_kl(mean, log_variance))
