"""What a denoising or contractive autoencoder learns: the score of its data, by Tweedie's formula.

References
----------
Miyasawa (1961); Robbins (1956), for the formula; Vincent (2011), "A connection between score matching and denoising
autoencoders"; Alain and Bengio (2014), "What regularized auto-encoders learn from the data-generating distribution",
arXiv 1211.4246.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from theory._premises import Array, covariance, matrix, positive, vector


def gaussian_autoencoder(data: npt.ArrayLike, noise_variance: float) -> Array:
    """Return ``(C + s I)^{-1} C``, the best denoising *and* the best contractive autoencoder of N(0, C).

    A denoising one minimises ``E||r(x + e) - x||^2``, e ~ N(0, s I); a contractive one minimises
    ``E||r(x) - x||^2 + s E||dr/dx||_F^2``. Of a linear map both are ``tr (R - I)^T C (R - I) + s ||R||_F^2``, and on
    Gaussian data its minimiser is best for either among all maps: it is the posterior mean of the first and solves the
    Euler-Lagrange equation of the second, which is convex. It is ``x + s grad ln p_s(x)``, p_s the noisy density.
    """
    c = covariance("data", data)
    return np.asarray(np.linalg.solve(c + positive("noise_variance", noise_variance) * np.eye(len(c)), c))


@final
@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of K Gaussians in R^d, with the score and the best denoiser of its noisy samples in closed form.

    Parameters
    ----------
    weights : (K,), positive with sum one.
    means : (K, d).
    covariances : (K, d, d), symmetric and positive semi-definite; zero puts a component on a point.
    """

    weights: Array
    means: Array
    covariances: Array

    def __post_init__(self) -> None:
        weights, means = vector("weights", self.weights, low=0.0, strict=True), matrix("means", self.means)
        if abs(weights.sum() - 1.0) > 1e-9:
            raise ValueError(f"weights must sum to one; got {weights.sum():g}. Divide by their sum.")
        shape = (len(weights), means.shape[1], means.shape[1])
        if means.shape != shape[:2] or np.shape(self.covariances) != shape:
            raise ValueError(
                f"means (K, d) and covariances (K, d, d) must agree with the K={len(weights)} weights; got "
                f"{means.shape} and {np.shape(self.covariances)}."
            )
        checked = np.stack([covariance("covariances", one) for one in np.asarray(self.covariances)])
        for name, value in (("weights", weights), ("means", means), ("covariances", checked)):
            object.__setattr__(self, name, value)

    def _components(self, x: npt.ArrayLike, noise_variance: float) -> tuple[Array, Array, Array]:
        """Return ln of weight times density ``(N, K)`` and ``(C_k + s I)^{-1} (m_k - x)``, ``(N, K, d)``, and x."""
        points = matrix("x", x)
        if points.shape[1] != self.means.shape[1]:
            raise ValueError(f"x must be (N, d) with d={self.means.shape[1]}; got shape {points.shape}.")
        if not (noise_variance >= 0.0 and math.isfinite(noise_variance)):
            raise ValueError(f"noise_variance must be finite and not negative; got {noise_variance!r}.")
        noisy = self.covariances + noise_variance * np.eye(points.shape[1])
        signs, log_dets = np.linalg.slogdet(noisy)
        if (signs <= 0).any():
            raise ValueError("a component without noise has no density: its covariance is singular. Add noise.")
        away = self.means[None] - points[:, None]
        pulled = np.linalg.solve(noisy[None], away[..., None])[..., 0]
        squared = (away * pulled).sum(-1) + log_dets + points.shape[1] * math.log(2.0 * math.pi)
        return np.log(self.weights) - 0.5 * squared, pulled, points

    def log_density(self, x: npt.ArrayLike, noise_variance: float = 0.0) -> Array:
        """Return ln p_s(x), ``(N,)``: the density of a sample plus N(0, s I) at the rows of x."""
        logs = self._components(x, noise_variance)[0]
        return np.asarray(np.logaddexp.reduce(logs, axis=1))

    def score(self, x: npt.ArrayLike, noise_variance: float = 0.0) -> Array:
        """Return grad ln p_s(x), ``(N, d)``."""
        logs, pulled, _ = self._components(x, noise_variance)
        share = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
        return np.asarray((share[..., None] * pulled).sum(axis=1))

    def denoise(self, x: npt.ArrayLike, noise_variance: float) -> Array:
        """Return E[clean | noisy = x], ``(N, d)``, the best denoising autoencoder, as a mean over components.

        ``sum_k p(k|x) (m_k + C_k (C_k + s I)^{-1} (x - m_k))``; it equals ``x + s score(x, s)`` (Tweedie), and
        ``x + s score(x, 0) + O(s^2)`` as the noise vanishes.
        """
        logs, pulled, _ = self._components(x, positive("noise_variance", noise_variance))
        share = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
        posterior = self.means[None] - np.einsum("kij,nkj->nki", self.covariances, pulled)
        return np.asarray((share[..., None] * posterior).sum(axis=1))

    def error(self, x: npt.ArrayLike, noise_variance: float) -> Array:
        """Return E[||clean - denoise(x)||^2 | noisy = x], ``(N,)``: ``s d + s^2 div score(x, s)``."""
        logs, pulled, points = self._components(x, positive("noise_variance", noise_variance))
        share = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
        noisy = self.covariances + noise_variance * np.eye(points.shape[1])
        curvature = (pulled**2).sum(-1) - np.trace(np.linalg.inv(noisy), axis1=1, axis2=2)
        mean = (share[..., None] * pulled).sum(axis=1)
        divergence = (share * curvature).sum(axis=1) - (mean**2).sum(-1)
        return np.asarray(noise_variance * points.shape[1] + noise_variance**2 * divergence)
