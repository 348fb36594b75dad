"""Ways to read a code off a sample in the true atoms: linear estimates, one nonlinearity a latent, a warm start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray
from sparsesim.solvers.base import Encoder
from sparsesim.solvers.proximal_gradient import FISTA
from theory.denoisers import HalfNormal, SpikeSlab
from theory.one_step import linear_noise, tied_noise


@final
@dataclass(frozen=True)
class Moments:
    """Mean, variance and covariance of exchangeable code entries."""

    mean: float
    variance: float
    covariance: float = 0.0

    @classmethod
    def exactly(cls, k: int, m: int) -> Moments:
        """Return those of exactly ``k`` of ``m`` entries active, with half-normal values of mean square 1."""
        rate, pair, mean = k / m, k * (k - 1) / (m * (m - 1)), np.sqrt(2.0 / np.pi)
        return cls(rate * mean, rate - (rate * mean) ** 2, (pair - rate**2) * mean**2)

    @classmethod
    def independent(cls, rate: float) -> Moments:
        """Return those of independent entries, active with probability ``rate``, half-normal of mean square 1."""
        prior = SpikeSlab(rate, HalfNormal())
        return cls(prior.mean, prior.variance)


@final
@dataclass(frozen=True)
class LinearEstimate:
    """The linear estimate of least squared error: ``s = mean + (x - E x) (A' C A + noise I)^+ A' C``, C the covariance.

    Codes are dense and may be negative.
    """

    moments: Moments
    noise_variance: float = 0.0

    def front(self, atoms: FloatArray) -> FloatArray:
        """Return the matrix ``(d, p)`` that takes centred samples to centred codes."""
        own = self.moments
        weighted = (own.variance - own.covariance) * atoms + own.covariance * atoms.sum(axis=0)
        spread = atoms.T @ weighted + self.noise_variance * np.eye(atoms.shape[1])
        return np.asarray(np.linalg.pinv(spread, hermitian=True) @ weighted.T)

    def estimates(self, x: FloatArray, atoms: FloatArray) -> FloatArray:
        """Return the estimates ``(n, p)`` of the codes of ``x (n, d)``."""
        mean = self.moments.mean
        return np.asarray(mean + (x - mean * atoms.sum(axis=0)) @ self.front(atoms))

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return Codes(self.estimates(x, atoms))


@final
@dataclass(frozen=True)
class PosteriorReadout:
    """One linear layer and the best nonlinearity behind it: ``E[s | s + tau z]`` of unbiased scores, entry by entry.

    The scores are those of the atoms (``tied``), or of the linear estimate of least error, which of all weights leave
    the least noise as the number of entries grows. tau is that of the theory, for atoms with independent entries.
    """

    rate: float
    noise_variance: float
    tied: bool

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``, dense."""
        prior, delta = SpikeSlab(self.rate, HalfNormal()), atoms.shape[1] / len(atoms)
        linear = LinearEstimate(Moments.independent(self.rate), self.noise_variance)
        front = atoms.T if self.tied else linear.front(atoms)
        gain = (front * atoms.T).sum(axis=0)
        scores = (x - prior.mean * atoms.sum(axis=0)) @ front / gain + prior.mean
        noise = (tied_noise if self.tied else linear_noise)(prior.variance, delta, self.noise_variance)
        return Codes(np.asarray(prior.posterior(scores, noise)[1]))


@final
@dataclass(frozen=True, eq=False)
class ScalarReadout:
    """A linear estimate and then, for each latent, the best nonlinearity: the mean code among samples of like score.

    Attributes
    ----------
    linear : gives the scores.
    edges : (p, bins - 1) where the bins of each score part.
    means : (p, bins) the mean true code of the training samples in each bin.
    """

    linear: LinearEstimate
    edges: FloatArray
    means: FloatArray

    @classmethod
    def fitted(cls, linear: LinearEstimate, x: FloatArray, codes: Codes, atoms: FloatArray, bins: int) -> ScalarReadout:
        """Return the readout learned from samples ``x (n, d)`` and true ``codes (n, p)``, in bins of equal counts."""
        scores, true = linear.estimates(x, atoms), codes.toarray()
        edges = np.quantile(scores, np.arange(1, bins) / bins, axis=0).T
        means = np.empty((len(atoms), bins))
        for i, cuts in enumerate(edges):
            place = np.searchsorted(cuts, scores[:, i])
            count = np.bincount(place, minlength=bins)
            means[i] = np.bincount(place, weights=true[:, i], minlength=bins) / np.maximum(count, 1)
        return cls(linear, edges, means)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        scores = self.linear.estimates(x, atoms)
        places = [np.searchsorted(cuts, scores[:, i]) for i, cuts in enumerate(self.edges)]
        return Codes(np.stack([self.means[i][place] for i, place in enumerate(places)], axis=1))


@final
@dataclass(frozen=True, eq=False)
class WarmStarted:
    """The codes of ``first``, improved by ``then``: inference-time optimisation of an amortised encoder."""

    first: Encoder
    then: FISTA

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.then.encode_from(x, atoms, self.first.encode(x, atoms))
