"""Gated variational autoencoders on unions of manifolds: how the loss falls with the noise tells the dimensions.

VAEase gives its decoder ``(1 - s) * z`` in place of z, z ~ N(mu, s^2) with mu(x), s(x) in (0, 1]: a unit at s = 1 is
switched off *for that sample*, at no divergence. Data on a union of linear manifolds of dimensions r_i and shares
alpha_i, learned noise gamma -> 0: with an affine decoder the loss in nats is ``(d - sum_i alpha_i r_i)/2 ln gamma +
O(1)``, where a plain VAE, whose posterior variances are the same for all samples, has ``(d - R)/2 ln gamma``, R the
dimension of the span of the union.

References
----------
Lu, Zhu, He, Wipf (2025), "Sparse autoencoders, again?", arXiv 2506.04859. Their loss is twice this one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from theory._premises import Array, count, positive, vector


def _union(d: int, dimensions: npt.ArrayLike, shares: npt.ArrayLike) -> tuple[Array, Array]:
    ranks, weights = vector("dimensions", dimensions, low=0.0), vector("shares", shares, low=0.0)
    if len(ranks) != len(weights) or (ranks != np.round(ranks)).any() or ranks.max() > count("d", d):
        raise ValueError(
            f"dimensions must be integers in [0, d={d}], one for each share; got {ranks.tolist()} and {len(weights)} "
            "shares."
        )
    if abs(weights.sum() - 1.0) > 1e-9:
        raise ValueError(f"shares must sum to one; got {weights.sum():g}. Divide by their sum.")
    return ranks, weights


def gated_slope(d: int, dimensions: npt.ArrayLike, shares: npt.ArrayLike) -> float:
    """Return ``(d - sum_i alpha_i r_i) / 2``, the slope of the optimal gated loss in ln gamma as gamma -> 0.

    Attained by `gated_loss` from sum_i r_i units on (fewer where manifolds share directions). It is also the slope of
    the evidence of the true density, but the gate reads x past the code, so that the gated loss is not itself a bound
    on the evidence.

    References
    ----------
    Lu et al. (2025), arXiv 2506.04859, for the statement (Theorem 4.5); the construction that attains it is derived.
    """
    ranks, weights = _union(d, dimensions, shares)
    return 0.5 * (d - float(weights @ ranks))


def plain_slope(d: int, span: int) -> float:
    """Return ``(d - R) / 2``, the slope in ln gamma of a plain VAE with an affine decoder, R the dimension of the span.

    Its best posterior variances depend on the decoder alone, so that every direction of the union is paid for by every
    sample. The exact loss is that of `theory.vae.linear_vae` on the pooled covariance.
    """
    if not 0 <= count("span", span, 0) <= count("d", d):
        raise ValueError(f"span must lie in [0, d={d}]; got {span}.")
    return 0.5 * (d - span)


def _coordinate(deviation: float, variance: float, gamma: float) -> float:
    """Return nats of one active Gaussian coordinate of the construction, atom sqrt(variance), s = deviation."""
    kept = 1.0 - deviation
    error = variance * kept**2 * deviation**2 / (2.0 * gamma)
    return error + 0.5 * (deviation**2 + 1.0 / kept**2 - 2.0 * math.log(deviation) - 1.0)


def gated_loss(d: int, dimensions: npt.ArrayLike, shares: npt.ArrayLike, variance: float, gamma: float) -> float:
    """Return the exact loss in nats of an explicit gated autoencoder of a union of orthogonal manifolds.

    Coordinates on the manifolds are N(0, variance); one unit for each, its atom of norm sqrt(variance). On its manifold
    a unit reads ``mu = x / (sqrt(variance) (1 - s))``, without error in the mean, with the best constant s <= 1/2; off
    it s = 1 and mu = 0 cost nothing. An upper bound on the optimum that attains its slope `gated_slope`.

    Raises
    ------
    ValueError
        Unless the dimensions are integers that add up to at most d, the shares sum to one, variance and gamma are
        positive.
    """
    ranks, weights = _union(d, dimensions, shares)
    if ranks.sum() > d:
        raise ValueError(f"orthogonal manifolds of dimensions {ranks.tolist()} do not fit into d={d}.")
    positive("variance", variance)
    positive("gamma", gamma)
    # The best s is near sqrt(gamma / variance); beyond 1/2 the error falls again, but 1/(1-s)^2 makes up for it.
    low = -0.5 * math.log1p(variance / gamma) - 4.0
    found = minimize_scalar(
        lambda u: _coordinate(math.exp(u), variance, gamma),
        bounds=(low, -math.log(2.0)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return 0.5 * d * math.log(2.0 * math.pi * gamma) + float(weights @ ranks) * float(found.fun)
