"""Independent features whose number in a sample is prescribed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.counts import CountLaw
from sparsesim.generators.rates import RateLaw
from sparsesim.generators.support import check_vectors
from sparsesim.kernels import restricted as kernel

_MOST_NUMBERS = 2**27  # of the table of symmetric sums: 1 GiB


@final
@dataclass(frozen=True)
class RowRestricted:
    """The number of active features follows ``count``; given it, rows are `Bernoulli(rates)` rows of that number.

    P(Z) = P(count = |Z|) * prod_i w_i^{Z_i} / e_{|Z|}(w), with odds w_i = rate_i / (1 - rate_i) and e_j the elementary
    symmetric sum. Only ratios of odds matter, so the true firing rates are those of `marginals`, **not** ``rates``.
    With `FixedCount(k)` it is the conditional Bernoulli law: exactly k features, weighted. A draw costs one uniform
    number and a bisection for each active feature; the law keeps a table of (largest count + 1) * (m + 1) numbers.

    Parameters
    ----------
    rates : a feature of rate 0 never fires, one of rate 1 always.
    count : e.g. `FixedCount`, `UniformCount`, `PoissonCount`, `NegativeBinomialCount`.

    Raises
    ------
    ValueError
        If a count of positive probability exceeds the number of rates above 0, or falls short of the number of rates
        equal to 1, or the table would exceed 2^27 numbers.

    References
    ----------
    Doshi-Velez and Williamson (2017), "Restricted Indian buffet processes"; Chen, Dempster and Liu (1994), "Weighted
    finite population sampling to maximize entropy".
    """

    rates: RateLaw
    count: CountLaw

    def __post_init__(self) -> None:
        if isinstance(self.rates, type) or not callable(getattr(self.rates, "rates", None)):
            raise TypeError(f"rates must be a rate law such as EqualRates(m=64, rate=0.05); got {self.rates!r}.")
        if isinstance(self.count, type) or not callable(getattr(self.count, "probabilities", None)):
            raise TypeError(f"count must be a count law such as FixedCount(5); got {self.count!r}.")
        possible, certain = int((self._rates > 0).sum()), int((self._rates == 1).sum())
        if not ((self._rates >= 0) & (self._rates <= 1)).all():
            raise ValueError(f"rates must give numbers in [0, 1]; {self.rates!r} does not.")
        counts = np.flatnonzero(self.count.probabilities())
        low, high = int(counts[0]), int(counts[-1])
        if high > possible:
            raise ValueError(
                f"count must be at most the number of rates above 0; got counts up to {high} > {possible}. "
                "Lower the largest count."
            )
        if low < certain:
            raise ValueError(
                f"count must be at least the number of rates equal to 1; got counts from {low} < {certain}. "
                "Raise the least count, or lower those rates."
            )
        if (high - certain + 1) * (possible - certain + 1) > _MOST_NUMBERS:
            raise ValueError(
                f"largest count * features must be at most 2^27, the table of the sampler; got counts up to {high} of "
                f"{possible} features. Truncate the count."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return len(self._rates)

    @cached_property
    def _rates(self) -> FloatArray:
        return np.asarray(self.rates.rates(), dtype=np.float64)

    @cached_property
    def _features(self) -> tuple[IntArray, IntArray]:
        """Features that may fire or not, and those that always do."""
        free = np.flatnonzero((self._rates > 0) & (self._rates < 1))
        return free.astype(np.int32), np.flatnonzero(self._rates == 1).astype(np.int32)

    @cached_property
    def _counts(self) -> FloatArray:
        """The law of the number of free features that fire."""
        return np.trim_zeros(np.asarray(self.count.probabilities(), np.float64)[len(self._features[1]) :], "b")

    @cached_property
    def _log_odds(self) -> FloatArray:
        rates = self._rates[self._features[0]]
        return np.log(rates) - np.log1p(-rates)

    @cached_property
    def _sums(self) -> FloatArray:
        return np.asarray(kernel.symmetric_sums(self._log_odds, len(self._counts) - 1))

    def _hazards(self) -> FloatArray:
        return np.asarray(kernel.hazards(self._log_odds, self._sums))

    @cached_property
    def _marginals(self) -> FloatArray:
        marginals = (self._rates == 1).astype(np.float64)
        marginals[self._features[0]] = kernel.marginals(self._hazards(), self._counts)
        return read_only(marginals)

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, read-only; they sum to the mean count."""
        return self._marginals

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, at a cost of m^2 * largest count / 2."""
        free, forced = self._features
        joint = np.zeros((self.n_features, self.n_features))
        joint[forced], joint[:, forced] = self._marginals, self._marginals[:, None]
        joint[np.ix_(free, free)] = kernel.pairs(self._hazards(), self._counts)
        np.fill_diagonal(joint, self._marginals)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2 at a cost of m * largest count * d."""
        rows = check_vectors(vectors, self.n_features)
        free, forced = self._features
        return float(kernel.energy(self._hazards(), self._counts, rows[forced].sum(axis=0), rows[free]))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        return Support(*kernel.draw(self._counts, self._sums, *self._features, n, rng), self.n_features)
