"""Indian buffets: binary matrices whose number of features grows with the number of rows, and their firing rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Support
from sparsesim.generators.rates import MOST_FEATURES

_STREAM = 2  # tells the random rates of a seed from the other random laws of that seed
_LEAST = 1e-300  # a weight below has no second row among 2^63


@final
@dataclass(frozen=True)
class IndianBuffet:
    """Rows are exchangeable, each has Poisson(``alpha``) features, and K of n rows grows as n^``discount``.

    The three-parameter Indian buffet process. Row t = 1, 2, ... fires a feature that fired in c_k of the rows before
    with probability (c_k - sigma) / (t - 1 + c), and Poisson(nu_t) features that never fired, where

        nu_t = alpha Gamma(1+c) Gamma(t-1+c+sigma) / (Gamma(t+c) Gamma(c+sigma)).

    c = 1, sigma = 0 is the one-parameter process: nu_t = alpha / t, and K grows as alpha log n.

    It is no `SupportLaw`: the number of features is random, and rows that share their unknown weights are dependent.
    `BuffetRates` fixes the weights, and so gives a law with independent rows.

    Parameters
    ----------
    alpha : mean number of features of a row, > 0.
    concentration : c > -sigma; large values make features rare and many.
    discount : sigma in [0, 0.999], the exponent of the power law.

    References
    ----------
    Griffiths and Ghahramani (2005); Teh and Görür (2009), "Indian buffet processes with power-law behavior".
    """

    alpha: float
    concentration: float = 1.0
    discount: float = 0.0

    def __post_init__(self) -> None:
        check_real("alpha", self.alpha, 0.0, 1e9, open_low=True)
        check_real("discount", self.discount, 0.0, 0.999)  # at 1 every row has features of its own only
        check_real("concentration", self.concentration, high=1e9)
        if self.concentration <= -self.discount:
            raise ValueError(
                f"concentration must exceed -discount={-self.discount:g}; got {self.concentration!r}. Raise either."
            )

    def new_features(self, n: int) -> FloatArray:
        """Return ``nu_t``, the mean number of features that fire first in row t, for t = 1 ... n."""
        n = check_int("n", n, 0)
        past = np.arange(1.0, n) + self.concentration
        ratios = (past - 1.0 + self.discount) / past
        return float(self.alpha) * np.cumprod(np.concatenate([np.ones(min(n, 1)), ratios]))

    def expected_features(self, n: int) -> float:
        """Return E[K_n], the mean number of features that fire in ``n`` rows."""
        return float(self.new_features(n).sum())

    def draw(self, n: int, rng: Rng) -> Support:
        """Return ``n`` dependent rows over the K_n features that fire in them, numbered by their first row.

        A feature born in row t gets its weight from Beta(1 - sigma, t - 1 + c + sigma) and fires in each later row
        with that probability: the same law as the rule above with the weights integrated out. The cost is one
        geometric number a firing feature, plus n steps.
        """
        n = check_int("n", n, 0)
        born, weight = self._weights(n, rng)
        rows, features = [born], [np.arange(len(born))]
        row, alive = born, features[0]
        while len(alive):
            # A gap beyond the last row is as good as one just beyond it, and cannot overflow.
            row = row + np.minimum(rng.geometric(weight[alive]), n)
            stays = row < n
            row, alive = row[stays], alive[stays]
            rows.append(row)
            features.append(alive)
        row, index = np.concatenate(rows), np.concatenate(features)
        order = np.lexsort((index, row))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]).astype(np.int64)
        return Support(indptr, index[order].astype(np.int32), len(born))

    def _weights(self, n: int, rng: Rng) -> tuple[IntArray, FloatArray]:
        """Return the first row (from 0) and the weight of each feature of ``n`` rows, in order of birth."""
        means = self.new_features(n)
        if means.sum() > MOST_FEATURES / 2:
            raise ValueError(
                f"{n} rows have {means.sum():.3g} features on average, more than indices can number. "
                "Lower alpha or the number of rows."
            )
        born = np.repeat(np.arange(n), rng.poisson(means))
        weight = rng.beta(1.0 - self.discount, born + self.concentration + self.discount)
        return born, np.clip(weight, _LEAST, 1.0)


@final
@dataclass(frozen=True)
class BuffetRates:
    """The firing rates are the weights of the features born in the first ``rounds`` rows of an Indian buffet.

    They are random but fixed by ``seed``, and so is their number m. With `Bernoulli` rows the samples are rows of the
    buffet given its weights, without the features born later; on average over seeds those would add `missing_l0` to
    the alpha active features of a sample.

    Raises
    ------
    ValueError
        If the buffet of this seed has no feature in ``rounds`` rows.
    """

    buffet: IndianBuffet
    rounds: int
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.buffet, IndianBuffet):
            raise TypeError(f"buffet must be an IndianBuffet(alpha, concentration, discount); got {self.buffet!r}.")
        check_int("rounds", self.rounds, 1)
        check_int("seed", self.seed, 0)
        if not self.n_features:
            raise ValueError(
                f"the buffet of seed={self.seed} has no feature in rounds={self.rounds} rows. "
                "Raise alpha or rounds, or take another seed."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return len(self._rates)

    @property
    def missing_l0(self) -> float:
        """The mean, over seeds, of the summed rates of features born after ``rounds``: nu_t at t = rounds + 1."""
        return float(self.buffet.new_features(int(self.rounds) + 1)[-1])

    @cached_property
    def _rates(self) -> FloatArray:
        return read_only(self.buffet._weights(int(self.rounds), stream(self.seed, Role.LAW, _STREAM))[1])

    def rates(self) -> FloatArray:
        """Return the weights ``(m,)`` in order of birth, read-only."""
        return self._rates
