"""Worlds with a known optimum and exact losses for tests of the VAE family."""

from __future__ import annotations

import numpy as np
import torch

from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.module import SparseModule, Step


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def gaussian_samples(variances, n: int = 4000, seed: int = 1) -> np.ndarray:
    """Samples whose empirical covariance has exactly the eigenvalues ``variances``, in a random basis."""
    d = len(variances)
    white = rng(seed).standard_normal((n, d))
    white -= white.mean(0)
    u, _, _ = np.linalg.svd(white, full_matrices=False)
    basis, _ = np.linalg.qr(rng(seed + 1).standard_normal((d, d)))
    return (u * np.sqrt(n * np.asarray(variances))) @ basis.T


def inside(fitted: FittedDictionary, x: np.ndarray) -> torch.Tensor:
    """The samples as the module of a fit sees them."""
    return torch.from_numpy(((x - fitted.bias) / fitted.encoder.scale + fitted.encoder.offset).astype(np.float32))


def noise(seed: int, index: int = 0, total: int = 1) -> Step:
    return Step(index, total, (torch.Generator().manual_seed(seed),))


def shaken(module: SparseModule, size: float = 0.3, seed: int = 7) -> SparseModule:
    """The module in double precision, its parameters away from their special first values."""
    module = module.double()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.add_(size * torch.from_numpy(rng(seed + number).standard_normal(parameter.shape)))
    return module


def linear_parts(fitted: FittedDictionary, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of what the module sees, decoder, encoder and (constant) posterior variances of a linear fit.

    The variance head may depend a little on x; its logarithm is averaged.
    """
    module, seen = fitted.encoder.module, inside(fitted, x)
    core = getattr(module, "host", module)
    log_variance = core.posterior(seen)[1].double().numpy().mean(0)
    encoder = core.heads.double().numpy()[:, : core.width]
    covariance = np.cov(seen.double().numpy().T, bias=True)
    return covariance, core.decoder.double().numpy(), encoder, np.exp(log_variance)


def z_score(draws: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of ``draws`` is away from ``expected``."""
    return float((draws.mean() - expected) / (draws.std(ddof=1) / np.sqrt(len(draws))))
