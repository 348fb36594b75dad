"""Features that stay on for a while: each an on/off Markov chain along the rows of a draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.rates import RateLaw, check_rates
from sparsesim.generators.support import Bernoulli
from sparsesim.kernels.persistent import draw_chains


@final
@dataclass(frozen=True)
class Persistent:
    """Successive rows are successive times: a feature that is on stays on with probability ``persistence``.

    Each feature is an on/off Markov chain of its own with stationary rate p, stay-on probability a and switch-on
    probability b = p (1 - a) / (1 - p), started in its stationary law. Every single row is therefore a `Bernoulli`
    support of the same rates, but **rows of one draw are dependent**: the indicators of i at times s and s + t have
    correlation (a - b)^t. A standard error that takes rows as independent is off by the square root of
    `inflation`, (1 + a - b) / (1 - a + b), for the rate of a feature; where every a >= b, it is too small for any mean
    over the rows, by at most the largest of these. Shuffling rows does not change that.
    With a = p rows are independent. Different draws are independent pieces of time. Cost: one number a feature and
    draw, then two a run.

    Parameters
    ----------
    rates : the stationary firing rates.
    persistence : P(on | was on), one number, or a tuple of one for each feature. The mean run lasts 1 / (1 - a) rows; a
        feature with a = 1 never switches, so its rate holds over draws but not within one.

    Raises
    ------
    ValueError
        If b would exceed 1, i.e. unless persistence >= (2 p - 1) / p: a feature that is mostly on cannot switch off as
        often.
    """

    independent_rows: ClassVar[bool] = False

    rates: RateLaw
    persistence: float | tuple[float, ...]

    def __post_init__(self) -> None:
        rates = Bernoulli(self.rates).marginals()
        if isinstance(self.persistence, tuple):
            check_rates("persistence", self.persistence)
            if len(self.persistence) != len(rates):
                raise ValueError(
                    f"persistence must be one number or one for each of m={len(rates)} features; "
                    f"got {len(self.persistence)}."
                )
        else:
            check_real("persistence", self.persistence, 0.0, 1.0)
        excess = rates * (1.0 - self._stay) - (1.0 - rates)
        worst = int(np.argmax(excess))
        if excess[worst] > 1e-12:
            raise ValueError(
                f"P(on | was off) = p (1 - a) / (1 - p) must be at most 1; feature {worst} has rate p={rates[worst]:g} "
                f"and persistence a={self._stay[worst]:g} < (2 p - 1) / p = "
                f"{(2 * rates[worst] - 1) / rates[worst]:g}. Raise the persistence or lower the rate."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.rates.n_features

    @cached_property
    def _law(self) -> Bernoulli:
        return Bernoulli(self.rates)

    @cached_property
    def _stay(self) -> FloatArray:
        return np.array(np.broadcast_to(self.persistence, self.rates.n_features), dtype=np.float64)

    @cached_property
    def _enter(self) -> FloatArray:
        rates = self._law.marginals()
        off = 1.0 - rates
        enter = np.divide(rates * (1.0 - self._stay), off, out=np.ones(len(rates)), where=off > 0)
        return np.asarray(np.minimum(enter, 1.0))

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)`` of every row, read-only."""
        return self._law.marginals()

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)`` within a row: p_i p_j, and p_i on the diagonal."""
        return self._law.pairwise()

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2 of a row, as for `Bernoulli`."""
        return self._law.energy(vectors)

    def lagged(self, lag: int) -> FloatArray:
        """Return ``(m, m)``, P(i fires in a row and j ``lag`` rows later).

        It is p_i p_j for i != j and p_i (p_i + (1 - p_i) (a_i - b_i)^lag) for i = j.
        """
        lag = check_int("lag", lag, 0)
        rates = self.marginals()
        joint = np.outer(rates, rates)
        np.fill_diagonal(joint, rates * (rates + (1.0 - rates) * (self._stay - self._enter) ** lag))
        return joint

    def inflation(self) -> FloatArray:
        """Return ``(m,)``: the variance of a feature's mean over many rows as a multiple of that of independent rows.

        It is (1 + a - b) / (1 - a + b), the limit of many rows; infinite for a feature that never switches, 1 for one
        that is always on or always off.
        """
        rates, slow = self.marginals(), self._stay - self._enter
        with np.errstate(divide="ignore"):
            factor = (1.0 + slow) / (1.0 - slow)
        return read_only(np.where((rates == 0) | (rates == 1), 1.0, factor))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` successive times."""
        n = check_int("n", n, 0)
        return Support(*draw_chains(self.marginals(), 1.0 - self._stay, self._enter, n, rng), self.n_features)
