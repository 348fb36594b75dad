"""The unscented autoencoder: sigma points instead of random draws, and a Wasserstein distance to the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.gaussians import deviation_of
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import finite_or_zero
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver

CENTRE = 1e-3  # added to p, so that the centre has a little weight


def sigma_points(mean: Tensor, root: Tensor) -> Tensor:
    """Return mean and mean +- sqrt(p + c) times each column of ``root``, ``(..., 2 p + 1, p)``, c = `CENTRE`.

    With the weights of `sigma_weights` their mean is ``mean (..., p)`` and their covariance exactly root root', for
    ``root (..., p, p)`` any root of the covariance.
    """
    reach = math.sqrt(mean.shape[-1] + CENTRE) * root.mT
    centre = mean.unsqueeze(-2)
    return torch.cat([centre, centre + reach, centre - reach], dim=-2)


def sigma_weights(p: int) -> Tensor:
    """Return the weights of `sigma_points`, c / (p + c) and 1 / (2 (p + c)): ``(2 p + 1,)``, double, of sum one.

    Equal weights, as in released code, would give the covariance 2 (p + c) / (2 p + 1) times what is wanted.
    """
    weights = torch.full((2 * p + 1,), 0.5 / (p + CENTRE), dtype=torch.float64)
    weights[0] = CENTRE / (p + CENTRE)
    return weights


def picked(points: Tensor, normals: Tensor) -> Tensor:
    """Return points ``(..., n, p)`` drawn with `sigma_weights` from ``points (..., 2 p + 1, p)``.

    ``normals (..., n)`` are standard normal: their quantiles choose.
    """
    edges = sigma_weights(points.shape[-1]).cumsum(0)[:-1].to(normals.device, normals.dtype)
    index = torch.bucketize(0.5 * (1.0 + torch.erf(normals / math.sqrt(2))), edges)
    return points.gather(-2, index.unsqueeze(-1).expand(*index.shape, points.shape[-1]))


def squared_wasserstein(mean: Tensor, root: Tensor) -> Tensor:
    """Return W_2^2 of N(mean, root root') and N(0, I), mean over B: ||mean||^2 + ||S - I||_F^2, S S = root root'.

    The second term is ||root||_F^2 - 2 ||root||_* + p with the nuclear norm, whatever the root. ``root`` is
    ``(..., B, p, p)``, or ``(..., B, p)`` for a diagonal.
    """
    if root.ndim == mean.ndim:
        spread = (root - 1.0).square().sum(-1)
    else:
        nuclear = torch.linalg.svdvals(finite_or_zero(root)).sum(-1)
        spread = root.square().sum((-2, -1)) - 2.0 * nuclear + mean.shape[-1]
    return (mean.square().sum(-1) + spread).mean(-1)


@final
class UnscentedModule(VariationalModule):
    """The posterior N(mu, L L') is heard at its sigma points."""

    penalty: Tensor
    gradient_penalty: Tensor

    def __init__(self, spec: UnscentedAutoencoder, dim: int, rng: Rng) -> None:
        p = spec.width
        super().__init__(spec, dim, rng, spread=p * (p + 1) // 2 if spec.full else p)
        self.full, self.points = bool(spec.full), spec.points
        self.register_buffer("penalty", torch.tensor(spec.penalty, dtype=torch.float32))
        self.register_buffer("gradient_penalty", torch.tensor(spec.gradient_penalty, dtype=torch.float32))

    def root(self, spread: Tensor) -> Tensor:
        """Return L from what the encoder says of it: ``(..., B, p)``, or lower triangular ``(..., B, p, p)``."""
        deviation = deviation_of(spread[..., : self.width])
        if not self.full:
            return deviation
        below = torch.tril_indices(self.width, self.width, -1, device=spread.device)
        lower = spread.new_zeros((*spread.shape[:-1], self.width, self.width))
        lower[..., below[0], below[1]] = spread[..., self.width :]
        return lower + torch.diag_embed(deviation)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, spread = self.outputs(x)
        root = self.root(spread)
        points = sigma_points(mean, root if self.full else torch.diag_embed(root))
        return {
            "reconstruction": self.surprise(x, self._heard(points, step)),
            "wasserstein": self.penalty * squared_wasserstein(mean, root),
            "gradient": self.gradient_penalty * self.steepness(mean),
        }

    def _heard(self, points: Tensor, step: Step) -> Tensor:
        """Return the average of what the chosen sigma points decode to, ``(..., B, d)``."""
        if self.points is not None:
            chosen = step.normal(points[..., 0, :1].expand(*points.shape[:-2], self.points))
            points = picked(points, chosen)
        decoded = self.decode(points.flatten(-3, -2)).reshape(*points.shape[:-1], -1)
        count = points.shape[-2]
        weights = sigma_weights(self.width) if self.points is None else torch.full((count,), 1.0 / count)
        return weights.to(decoded.device, decoded.dtype) @ decoded


@final
@dataclass(frozen=True)
class UnscentedAutoencoder(VariationalSolver):
    """Learns posteriors N(mu, L L') that are heard at sigma points, under a Wasserstein distance to N(0, I) (UAE).

    The loss is ||x - mean_i f(z_i)||^2 + penalty * W_2^2(N(mu, L L'), N(0, I)) + gradient_penalty * ||J f(mu)||_F^2,
    with W_2^2 = ||mu||^2 + ||S - I||_F^2, S the symmetric root of L L'. The z_i are ``points`` draws from the 2 p + 1
    sigma points mu, mu +- sqrt(p + 1e-3) L_i, by their weights; None decodes them all and takes the weighted average.
    A drawn point has the mean and the covariance of the posterior, so that with a linear decoder and one point this is
    the loss of an autoencoder with noisy codes; the average of all points of a linear decoder is f(mu), and L then
    stays at I. W_2^2 to a point is finite: without a price on slopes the infimum is that of a decoder of endless slope
    and codes that shrink to a point, at most ``penalty`` a latent, and is not attained.

    Released code picks points with equal weights, which shortens the covariance, builds a full L whose *rows* it
    takes for the columns that are meant, and adds norms ||mu|| + ||L - I||_F in the place of W_2^2.

    Parameters
    ----------
    points : sigma points decoded for each sample, drawn with replacement; None decodes all.
    full : L lower triangular instead of diagonal; p (p + 1) / 2 outputs of the encoder.
    penalty, gradient_penalty : weights of the distance and of the slope of the decoder.
        The others are those of `VariationalSolver`; at ``noise_variance`` = 1/2 the reconstruction term is the squared
        error itself, up to a constant, and other values scale it.

    References
    ----------
    Janjos, Rosenbaum, Dolgov, Zoellner (2023), "Unscented autoencoder", arXiv 2306.05256.
    """

    noise_variance: float | None = 0.5
    points: int | None = 1
    full: bool = False
    penalty: float = 2.5e-4
    gradient_penalty: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("penalty", self.penalty, 0.0)
        check_real("gradient_penalty", self.gradient_penalty, 0.0)
        if self.points is not None:
            check_int("points", self.points, 1)
        if not isinstance(self.full, bool):
            raise TypeError(f"full must be True or False; got {self.full!r}.")

    def module(self, dim: int, rng: Rng) -> UnscentedModule:
        return UnscentedModule(self, dim, rng)
