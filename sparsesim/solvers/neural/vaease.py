"""VAEase: a variational autoencoder whose gate lets each sample choose its own active dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from sparsesim._arrays import FloatArray, IntArray, Rng, check_matrix
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.perceptron import Layers
from sparsesim.solvers.neural.vae import GaussianVAEModule
from sparsesim.solvers.neural.variational import VariationalSolver, opened


@final
@dataclass(frozen=True)
class VAEase(VariationalSolver):
    """Learns a linear decoder of latents that are heard as far as they are known; the codes are (1 - s) mu.

    A Gaussian variational autoencoder (see `GaussianVAE`, the loss without the gate) that decodes (1 - s) z instead of
    z ~ N(mu, s^2), s in (0, 1): a latent with s = 1 is silent in that sample and costs nothing, so the samples of a
    union of manifolds may have different active dimensions, each as many as its manifold has. There is no sparsity
    penalty; the variance of the decoder is learned. The codes are dense: `active_dimensions` says which of them count.

    The loss is half of that of the paper. Of its two ways to keep s below 1 this is the smooth one, s^2 a sigmoid: a
    clipped log s^2 that has once become positive has no gradient to come back by.

    Parameters
    ----------
    hidden : the paper has three Swish layers; None is a linear encoder, which cannot tell the manifolds of a union by
        mu and s alike. The others are those of `VariationalSolver`.

    References
    ----------
    Lu, Zhu, He, Wipf (2025), "Sparse autoencoders, again?", arXiv 2506.04859.
    """

    hidden: Layers = 128

    def module(self, dim: int, rng: Rng) -> GaussianVAEModule:
        return GaussianVAEModule(self, dim, rng, beta=1.0, gated=True)


def posterior_variances(fitted: FittedDictionary, x: FloatArray) -> FloatArray:
    """Return s^2 of all latents for samples ``x (n, d)``, ``(n, p)``: near 1 where one is silent, else small.

    Raises
    ------
    TypeError
        If ``fitted`` was not learned by a variational autoencoder, or its encoder was replaced.
    """
    module, inside, _ = opened(fitted, x, "VAEase, GaussianVAE or a kin model of diagonal posteriors")
    with torch.no_grad():
        _, log_variance = module.posterior(inside)
    variances: FloatArray = np.exp(log_variance.double().numpy())
    return variances


def active_dimensions(variances: FloatArray) -> IntArray:
    """Return how many of each row of ``variances (n, p)`` are in the lower of the two groups that fit it best.

    The groups minimise the sum of squares within them: two-means in one dimension, exactly, by trying every cut of the
    sorted row. Of equal cuts it is the first; with one latent, or all equal, every latent is in the lower group.
    """
    ordered = np.sort(check_matrix(variances, "variances").astype(np.float64), axis=1)
    n, p = ordered.shape
    if p < 2:
        return np.full(n, p, np.int64)
    ordered -= ordered[:, :1]  # the least, so that numbers all near one are told apart
    size = np.arange(1, p)
    low = np.cumsum(ordered, axis=1)
    between = np.square(low[:, :-1]) / size + np.square(low[:, -1:] - low[:, :-1]) / (p - size)
    cut: IntArray = between.argmax(axis=1) + 1
    equal: IntArray = np.where(ordered[:, -1] == 0, p, cut)
    return equal
