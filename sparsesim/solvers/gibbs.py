"""The posterior mean of sparse codes of any width, by sampling supports or codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, check_int, check_real, read_only
from sparsesim.kernels.gibbs import sample_supports
from sparsesim.kernels.gibbs_values import sample_codes
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.posterior import dense_parts, precision_of, resolved, shifted
from sparsesim.solvers.priors import BernoulliExponential, BernoulliGaussian, BernoulliHalfNormal, ExactlyK
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks

LARGEST_WIDTH = 4096  # a matrix (p, p) a thread
LEAST_NOISE = 1e-7  # of the largest variance: below, M^-1 of dependent atoms holds more rounding than numbers


@final
@dataclass(frozen=True)
class GibbsSampler:
    """Encodes by an average of posterior means over sampled supports, which tends to ``E[z | x]`` (`PosteriorMean`).

    A sweep draws each atom's activity in turn given all others, active values integrated out, and averages
    ``E[z_i | x, other activities]`` rather than draws (Rao and Blackwell); between sweeps up to eight moves put an
    active atom anew, given the rest. Of `ExactlyK` a sweep is k such moves, each averaged over the atoms that may join.
    Positive values (`BernoulliHalfNormal`, `BernoulliExponential`) do not integrate out of many atoms at once: they are
    drawn, and an atom's own is averaged over, so that chains mix more slowly the more alike atoms are.

    Each chain starts without an active atom, or with k drawn one after the other; over the warm sweeps log likelihoods
    are divided by a temperature that falls geometrically from ``hottest`` to 1. A row's draws are a function of its
    values (up to a common factor) and ``seed``, whatever the rows beside it; rows that differ by rounding have other
    draws. A sweep costs p times the square of the atoms in use (k times that of `ExactlyK`; p times those that change,
    where values are drawn). Codes are dense: all p entries are stored unless ``least_activity`` is set. A zero atom has
    its prior's mean.

    Parameters
    ----------
    prior : `BernoulliGaussian`, `ExactlyK`, `BernoulliHalfNormal` or `BernoulliExponential`.
    noise_variance : of each coordinate of x, above 0; with Gaussian values less than 1e-7 of an atom's variance acts as
        that: beside dependent atoms less is rounding.
    sweeps, warm : of each chain, counted and not.
    chains : independent ones; they disagree where one is stuck.
    hottest : first temperature, at least 1, where 1 is no annealing.
    seed : at least 0.
    least_activity : entries with estimated ``P(z_i != 0 | x)`` below this are zero and not stored.

    References
    ----------
    George and McCulloch (1997), "Approaches for Bayesian variable selection"; Liu (1994), "The collapsed Gibbs sampler
    in Bayesian computations with applications to a gene regulation problem".
    """

    prior: BernoulliGaussian | ExactlyK | BernoulliHalfNormal | BernoulliExponential
    noise_variance: float
    sweeps: int = 100
    warm: int = 30
    chains: int = 2
    hottest: float = 10.0
    seed: int = 0
    least_activity: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.prior, BernoulliGaussian | ExactlyK | BernoulliHalfNormal | BernoulliExponential):
            raise TypeError(
                "prior must be a BernoulliGaussian, ExactlyK, BernoulliHalfNormal or BernoulliExponential; "
                f"got {self.prior!r}."
            )
        check_real("noise_variance", self.noise_variance, 0.0, open_low=True)
        check_int("sweeps", self.sweeps, 1)
        check_int("warm", self.warm, 0)
        check_int("chains", self.chains, 1)
        check_real("hottest", self.hottest, 1.0)
        check_int("seed", self.seed, 0, 2**63 - 1)
        check_real("least_activity", self.least_activity, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError as `sampled`."""
        return self.sampled(x, atoms)[0]

    def sampled(self, x: FloatArray, atoms: FloatArray) -> tuple[Codes, FloatArray]:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)`` and the estimated activities ``(n, p)``.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, the prior is for another number of atoms, or p exceeds 4096.
        """
        x, atoms = checked(x, atoms)
        p, wide = len(atoms), atoms.astype(np.float64, copy=False)
        if p > LARGEST_WIDTH:
            raise ValueError(f"sampling holds a matrix (p, p) a thread and takes p <= {LARGEST_WIDTH}; got p={p}.")
        if isinstance(self.prior, ExactlyK):
            check_int("k", self.prior.k, 1, p, high_name="p")
        spread, odds = self.prior.spread(p), np.zeros(p) if isinstance(self.prior, ExactlyK) else self.prior.log_odds(p)
        gram, active = correlate(wide, wide), np.empty((len(x), p))

        def code(block: Block) -> Parts:
            values, chance = self._drawn(block, gram, spread, odds)
            active[block.rows] = chance
            return dense_parts(values, chance >= self.least_activity if self.least_activity > 0 else None)

        codes = in_blocks(x, atoms, code)
        return codes, read_only(active)

    def _drawn(
        self, block: Block, gram: FloatArray, spread: FloatArray, odds: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the codes and activities ``(b, p)`` of a block, given the variances and log odds ``(p,)`` of atoms."""
        plan = (int(self.seed), int(self.chains), int(self.warm), int(self.sweeps), float(self.hottest))
        precision = precision_of(float(self.noise_variance), block.scale)
        if isinstance(self.prior, BernoulliHalfNormal | BernoulliExponential):
            with np.errstate(over="ignore", under="ignore"):
                size = np.clip(np.sqrt(spread) / block.scale, 1e-100, 1e100)
            law = (odds, size, isinstance(self.prior, BernoulliExponential))
            return sample_codes(block.x, block.alpha, gram, law, precision, plan)
        mean, k = float(self.prior.mean), self.prior.k if isinstance(self.prior, ExactlyK) else 0
        noise = resolved(self.noise_variance, spread, LEAST_NOISE)
        rho, precision = np.clip(noise / spread, 1e-100, 1e100), precision_of(noise, block.scale)
        prior = (rho, odds - 0.5 * mean**2 / spread)
        return sample_supports(block.x, shifted(block, rho, mean), gram, prior, precision, (*plan, int(k)))
