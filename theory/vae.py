"""The linear variational autoencoder: its optimum is probabilistic PCA with its axes fixed, and reverse water-filling.

Data of covariance eigenvalues ``lambda (d,)``, decoder ``x = z A + noise`` with ``atoms (q, d)`` and noise variance
sigma^2, posterior ``N(x E, diag s)`` with ``encoder (d, q)``, prior N(0, I). The loss in nats a sample is

    E||x - z A||^2 / (2 sigma^2) + d/2 ln(2 pi sigma^2) + beta KL.

References
----------
Tipping and Bishop (1999), "Probabilistic principal component analysis"; Lucas et al. (2019), arXiv 1911.02469; the
weight beta enters as beta sigma^2 wherever sigma^2 stood, since the loss is beta times that of the noise beta sigma^2
up to a constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from theory._premises import Array, count, covariance, matrix, positive, spectrum, vector


@final
@dataclass(frozen=True, eq=False)
class LinearVAE:
    """The optimum of a linear VAE, unit by unit from the largest eigenvalue down.

    Attributes
    ----------
    gain : (q,), squared norms of the atoms, which are orthogonal; 0 for a silent unit.
    posterior_variance : (q,), 1 for a silent unit.
    kl : (q,), nats.
    distortion : E||x - z A||^2 with z drawn from the posterior, summed over d.
    loss : nats a sample.
    """

    gain: Array
    posterior_variance: Array
    kl: Array
    distortion: float
    loss: float

    @property
    def rate(self) -> float:
        """The divergence from the prior summed over units, nats a sample."""
        return float(self.kl.sum())

    @property
    def active(self) -> int:
        """The number of units that have not collapsed onto the prior."""
        return int(np.count_nonzero(self.gain))


def linear_vae(eigenvalues: npt.ArrayLike, q: int, noise_variance: float, beta: float = 1.0) -> LinearVAE:
    """Return the global optimum of a linear beta-VAE of q units at a fixed noise variance.

    With ``theta = beta sigma^2`` unit i is active iff ``lambda_i > theta``: squared gain ``lambda_i - theta``,
    posterior variance ``theta / lambda_i``, divergence ``ln(lambda_i / theta) / 2`` and distortion theta. Where no
    direction is left over (lambda_{q+1} <= theta) this is reverse water-filling at the level theta, so that no VAE
    whatever, linear or not, has a lower loss on Gaussian data: KL is at least the information between x and z.

    Raises
    ------
    ValueError
        Unless the eigenvalues are not negative and noise variance and beta are positive.

    References
    ----------
    Lucas et al. (2019), arXiv 1911.02469, for beta = 1 and a learned noise variance.
    """
    values, q = spectrum(eigenvalues), count("q", q)
    noise = positive("noise_variance", noise_variance)
    theta = positive("beta", beta) * noise
    units = np.zeros(q)
    units[: min(q, len(values))] = values[:q]
    active = units > theta
    ratio = np.where(active, units / theta, 1.0)
    kl = 0.5 * np.log(ratio)
    distortion = float(np.minimum(values[:q], theta).sum() + values[q:].sum())
    constant = 0.5 * len(values) * math.log(2.0 * math.pi * noise)
    loss = distortion / (2.0 * noise) + constant + beta * float(kl.sum())
    return LinearVAE(np.where(active, units - theta, 0.0), 1.0 / ratio, kl, distortion, loss)


def collapse_beta(eigenvalues: npt.ArrayLike, noise_variance: float) -> Array:
    """Return ``lambda_i / sigma^2``, descending: from that beta on direction i is silent, from the first on all are."""
    return np.asarray(spectrum(eigenvalues) / positive("noise_variance", noise_variance))


def learned_noise(eigenvalues: npt.ArrayLike, q: int, beta: float = 1.0) -> float:
    """Return the noise variance that minimises the loss of `linear_vae` of q units.

    The loss is convex in ln sigma^2 and stationary where the distortion is ``d sigma^2``; with k active units
    ``sigma^2 = sum_{i>k} lambda_i / (d - beta k)``, at beta = 1 the mean of the d - q discarded eigenvalues. All units
    collapse from ``beta = lambda_1 / mean(lambda)`` on.

    Raises
    ------
    ValueError
        If q eigenvalues hold all the variance: for beta q < d the loss then falls without bound as the noise vanishes,
        and otherwise depends on the ratio of beta and d / rank.

    References
    ----------
    Tipping and Bishop (1999), equation 8, and Lucas et al. (2019), arXiv 1911.02469, for beta = 1; derived for others.
    """
    values, q = spectrum(eigenvalues), count("q", q)
    positive("beta", beta)
    rest = float(values[q:].sum())
    if rest <= 1e-14 * float(values.sum()):
        raise ValueError(f"q={q} units hold all the variance, which leaves none to learn the noise from. Lower q.")
    head = values[:q]
    # h(s) = distortion - d s is concave with h(0) > 0: it is negative at s = lambda_i / beta iff the root lies below.
    level = head / beta
    excess = np.minimum(head[None, :], beta * level[:, None]).sum(axis=1) + rest - len(values) * level
    k = int(np.count_nonzero(excess < 0.0))
    return float(values[k:].sum() / (len(values) - beta * k))


def linear_vae_loss(
    data: npt.ArrayLike,
    atoms: npt.ArrayLike,
    encoder: npt.ArrayLike,
    posterior_variance: npt.ArrayLike,
    noise_variance: float,
    beta: float = 1.0,
) -> float:
    """Return the exact loss of any linear VAE on centred data of covariance ``data (d, d)``, nats a sample.

    The data need not be Gaussian: with E the encoder and A the atoms the reconstruction is
    ``tr (I - E A)^T C (I - E A) + sum_i s_i ||a_i||^2``, and ``KL = sum_i (e_i^T C e_i + s_i - ln s_i - 1) / 2``.
    """
    c, a, e = covariance("data", data), matrix("atoms", atoms), matrix("encoder", encoder)
    s, noise = (
        vector("posterior_variance", posterior_variance, low=0.0, strict=True),
        positive("noise_variance", noise_variance),
    )
    if a.shape != (len(s), len(c)) or e.shape != (len(c), len(s)):
        raise ValueError(
            f"atoms (q, d), encoder (d, q) and data (d, d) must agree; got {a.shape}, {e.shape}, {c.shape}."
        )
    left = np.eye(len(c)) - e @ a
    distortion = float(np.einsum("ij,ik,kj->", left, c, left) + (s * (a * a).sum(axis=1)).sum())
    kl = 0.5 * float((np.einsum("iq,ij,jq->q", e, c, e) + s - np.log(s) - 1.0).sum())
    constant = 0.5 * len(c) * math.log(2.0 * math.pi * noise)
    return distortion / (2.0 * noise) + constant + positive("beta", beta) * kl


def linear_posterior(atoms: npt.ArrayLike, noise_variance: float, beta: float = 1.0) -> tuple[Array, Array]:
    """Return the encoder ``(d, q)`` and diagonal variances ``(q,)`` that minimise the loss of given ``atoms (q, d)``.

    ``E = A^T (A A^T + theta I)^{-1}``, the mean of the exact posterior, and ``s_i = theta / (theta + ||a_i||^2)``,
    theta = beta sigma^2: the best diagonal posterior matches the diagonal of the exact precision.
    """
    a = matrix("atoms", atoms)
    theta = positive("beta", beta) * positive("noise_variance", noise_variance)
    gram = a @ a.T
    encoder = np.linalg.solve(gram + theta * np.eye(len(a)), a).T
    return np.asarray(encoder), np.asarray(theta / (theta + np.diag(gram)))


def mean_field_gap(atoms: npt.ArrayLike, noise_variance: float) -> float:
    """Return evidence minus bound of the best diagonal posterior, nats a sample: 0 iff the atoms are orthogonal.

    With M = I + A A^T / sigma^2 the precision of the exact posterior it is ``(sum_i ln M_ii - ln det M) / 2`` >= 0 by
    Hadamard's inequality. The evidence is the same for every rotation ``R A`` of the latents, this gap is not: the
    diagonal posterior alone fixes the axes, and only where the squared gains differ.

    References
    ----------
    Lucas et al. (2019), arXiv 1911.02469.
    """
    a = matrix("atoms", atoms)
    precision = np.eye(len(a)) + a @ a.T / positive("noise_variance", noise_variance)
    return max(0.0, float(0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])))


def log_evidence(data: npt.ArrayLike, atoms: npt.ArrayLike, noise_variance: float) -> float:
    """Return E ln p(x) under ``p = N(0, A^T A + sigma^2 I)`` of centred data of covariance ``data (d, d)``.

    Invariant to rotations of the latents: without a label or another break of symmetry, the likelihood of a Gaussian
    latent model says nothing about its axes.
    """
    c, a = covariance("data", data), matrix("atoms", atoms)
    if a.shape[1] != len(c):
        raise ValueError(f"atoms (q, d) and data (d, d) must agree; got {a.shape} and {c.shape}.")
    model = a.T @ a + positive("noise_variance", noise_variance) * np.eye(len(c))
    log_det = float(np.linalg.slogdet(model)[1])
    return -0.5 * (len(c) * math.log(2.0 * math.pi) + log_det + float(np.trace(np.linalg.solve(model, c))))
