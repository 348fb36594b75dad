"""The posterior mean of small Bernoulli-Gaussian codes, by enumeration of supports: no estimate has less error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, check_int, check_real, read_only
from sparsesim.kernels.posterior import posterior_means, supports
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.priors import BernoulliGaussian, ExactlyK, log_mass
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks

LEAST_NOISE = 1e-12  # of the largest variance of an atom: beside atoms that depend on others, less is rounding
MOST_SUPPORTS = 2**18  # the tree of all subsets of 18 atoms takes 60 MB


def resolved(noise_variance: float, spread: FloatArray, least: float = LEAST_NOISE) -> float:
    """Return the noise variance, at least the fraction ``least`` of the largest of the variances ``spread (p,)``."""
    return max(float(noise_variance), least * float(spread.max(initial=0.0)))


def precision_of(noise_variance: float, scale: FloatArray) -> FloatArray:
    """Return ``scale^2 / noise_variance (n,)``, the precision of rows of magnitude 1, within [1e-290, 1e290]."""
    with np.errstate(over="ignore", under="ignore"):
        level: FloatArray = scale[:, 0] / math.sqrt(noise_variance)
        return np.clip(level * level, 1e-290, 1e290)


def shifted(block: Block, rho: FloatArray, mean: float) -> FloatArray:
    """Return ``x @ atoms.T + rho * mean (b, p)`` in the units of the block's rows."""
    if mean == 0.0:
        return block.alpha
    with np.errstate(over="ignore"):
        return np.asarray(block.alpha + np.clip(mean / block.scale, -1e100, 1e100) * rho)


def dense_parts(values: FloatArray, kept: npt.NDArray[np.bool_] | None = None) -> Parts:
    """Return ``values (b, p)`` in compressed rows: all of them, or those where ``kept`` is true."""
    if kept is None:
        b, p = values.shape
        return values.ravel(), np.tile(np.arange(p, dtype=np.int32), b), np.arange(b + 1) * p
    rows, indices = np.nonzero(kept)
    return values[rows, indices], indices.astype(np.int32), np.searchsorted(rows, np.arange(len(values) + 1))


@final
@dataclass(frozen=True, eq=False)
class PosteriorCodes:
    """What is known of codes given their samples.

    Attributes
    ----------
    codes : (n, p)
        Posterior means, or means on the likeliest support.
    active : (n, p)
        P(z_i != 0 | x), or with ``mode="support"`` 1 on the likeliest support.
    support_probability : (n,)
        The posterior probability of the likeliest support.
    log_evidence : (n,)
        ln p(x), in nats.
    """

    codes: Codes
    active: FloatArray
    support_probability: FloatArray
    log_evidence: FloatArray


@final
@dataclass(frozen=True)
class PosteriorMean:
    """Encodes by ``E[z | x]`` under ``x = z A + noise``: of all estimates that of least mean squared error.

    The mean over supports S, weighted by ``P(S) N(x; mean 1' A_S, noise_variance I + A_S' diag(variance) A_S)``, of the
    posterior means of the active values. A support shares the factorisation of the one it extends, and the weights
    are summed from the largest; a row costs two passes over the supports. Codes are dense, every one of the p entries
    stored, unless ``least_activity`` is set. A zero atom has its prior's mean. Computed in float64.

    Parameters
    ----------
    prior : `BernoulliGaussian`, or `ExactlyK`.
    noise_variance : of each coordinate of x, above 0; less than 1e-12 of an atom's variance acts as that.
    max_support : supports of at most this many atoms (the prior given that), at most p; None for all. There may be
        2^18 of them: p <= 18 without a bound, p <= 50 with 4.
    mode : "mean", or "support" for the mean on the likeliest support alone, which no estimate of the whole support
        beats in how often it is right.
    least_activity : entries with ``P(z_i != 0 | x)`` below this are zero and not stored.

    References
    ----------
    Schniter, Potter and Ziniel (2008), "Fast Bayesian matching pursuit", whose sum this is over all supports.
    """

    prior: BernoulliGaussian | ExactlyK
    noise_variance: float
    max_support: int | None = None
    mode: Literal["mean", "support"] = "mean"
    least_activity: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.prior, BernoulliGaussian | ExactlyK):
            raise TypeError(
                f"prior must be a BernoulliGaussian or ExactlyK; got {self.prior!r}. GibbsSampler takes other ones."
            )
        check_real("noise_variance", self.noise_variance, 0.0, open_low=True)
        check_real("least_activity", self.least_activity, 0.0, 1.0)
        if self.max_support is not None:
            check_int("max_support", self.max_support, self._least)
        if self.mode not in ("mean", "support"):
            raise ValueError(f"mode must be 'mean' or 'support'; got {self.mode!r}.")

    @property
    def _least(self) -> int:
        return self.prior.k if isinstance(self.prior, ExactlyK) else 0

    def _most(self, p: int) -> int:
        most = p if self.max_support is None else check_int("max_support", self.max_support, 0, p, high_name="p")
        if isinstance(self.prior, ExactlyK):
            most = check_int("k", self.prior.k, 1, p, high_name="p")
        count = sum(math.comb(p, size) for size in range(most + 1))
        if count > MOST_SUPPORTS:
            raise ValueError(
                f"enumeration takes at most {MOST_SUPPORTS} supports; p={p} atoms have {count} of at most {most}. "
                "Set max_support, or use GibbsSampler."
            )
        return most

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError as `posterior`."""
        return self.posterior(x, atoms).codes

    def posterior(self, x: FloatArray, atoms: FloatArray) -> PosteriorCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)`` with activities and evidence.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, the prior is for another number of atoms, or there are more
            than 2^18 supports.
        """
        x, atoms = checked(x, atoms)
        p, wide = len(atoms), atoms.astype(np.float64, copy=False)
        most, spread, mean = self._most(p), self.prior.spread(p), float(self.prior.mean)
        noise = resolved(self.noise_variance, spread)
        rho = np.clip(noise / spread, 1e-100, 1e100)
        odds = self.prior.log_odds(p) if isinstance(self.prior, BernoulliGaussian) else np.zeros(p)
        tree = supports(correlate(wide, wide), rho, odds - 0.5 * mean**2 / spread, most)
        active, logs = np.empty((len(x), p)), np.empty((len(x), 3))

        def code(block: Block) -> Parts:
            precision = precision_of(noise, block.scale)
            values, chance, log = posterior_means(
                shifted(block, rho, mean), precision, tree, self._least, self.mode == "support"
            )
            active[block.rows], logs[block.rows, :2] = chance, log
            logs[block.rows, 2] = 0.5 * precision * np.square(block.x).sum(axis=1)
            dense = self.mode == "mean" and self.least_activity == 0.0
            return dense_parts(values, None if dense else (chance >= self.least_activity) & (chance > 0))

        codes = in_blocks(x, atoms, code)
        base = log_mass(self.prior, p, most) - 0.5 * x.shape[1] * math.log(2.0 * math.pi * noise)
        likely = np.exp(logs[:, 1] - logs[:, 0])
        return PosteriorCodes(codes, read_only(active), read_only(likely), read_only(base + logs[:, 0] - logs[:, 2]))
