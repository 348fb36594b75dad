"""Exactly k features, the likelier the larger their weight: successive draws without replacement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.support import check_vectors
from sparsesim.kernels.successive import draw_successive, race_densities, race_joint, race_window

_TAIL = 1e-16  # probability that is left out at each end of the race
_TARGET = 1e-13  # change of any rate between the last two quadratures
_MOST_PANELS = 1024
_MOST_FEATURES_IN_PAIRS = 1024


@final
@dataclass(frozen=True)
class SuccessiveSampling:
    """Exactly ``k`` features fire, drawn one after the other with probability proportional to weight among those left.

    That is ``numpy.random.Generator.choice(m, k, replace=False, p=weights / sum)`` and ``torch.multinomial`` without
    replacement: features do *not* fire in proportion to their weights. The order of the draws is that of a race of
    exponential clocks of rates w, T_i = E_i / w_i, so that, with C_i(t) the probability that fewer than k of the other
    clocks rang before t,

        P(i fires) = integral of w_i exp(-w_i t) C_i(t) dt,

    and likewise for pairs, the later of which decides. C_i is a Poisson-binomial distribution function, a sum of
    positive terms; the integral over log t is done by composite Gauss-Legendre quadrature, refined until no rate
    changes by 1e-13 (`marginal_error`). Drawing walks a tree of sums: k log2(m) steps a sample.

    Parameters
    ----------
    weights : non-negative, not all equal to 0; features of weight 0 never fire. Only their ratios matter.
    k : at most the number of positive weights.

    References
    ----------
    Yates and Grundy (1953), "Selection without replacement from within strata with probability proportional to size";
    Efraimidis and Spirakis (2006), "Weighted random sampling with a reservoir", for the race.
    """

    weights: tuple[float, ...]
    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.weights, tuple):
            raise TypeError(f"weights must be a tuple; got {type(self.weights).__name__}. Pass tuple(weights).")
        for index, weight in enumerate(self.weights):
            check_real(f"weights[{index}]", weight, 0.0)
        positive = sum(weight > 0 for weight in self.weights)
        if not positive:
            raise ValueError("weights must hold at least one positive number.")
        check_int("k", self.k, 1, positive, high_name="number of positive weights")
        likely = [weight for weight in self.weights if weight > 0]
        if max(likely) > 1e200 * min(likely):
            raise ValueError(
                f"positive weights must be within a factor 1e200 of each other; got {min(likely):g} and "
                f"{max(likely):g}. Set the smallest to 0."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return len(self.weights)

    @cached_property
    def _possible(self) -> IntArray:
        return np.flatnonzero(np.array(self.weights, dtype=np.float64) > 0)

    @cached_property
    def _weights(self) -> FloatArray:
        weights = np.array(self.weights, dtype=np.float64)[self._possible]
        return np.asarray(weights / weights.max())

    @cached_property
    def _quadrature(self) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Times, their quadrature weights in log time, the rates of the possible features, and the last change."""
        low, high = race_window(self._weights, int(self.k), _TAIL)
        base, weight = np.polynomial.legendre.leggauss(16)
        early = -np.expm1(-self._weights * np.exp(low))
        found: FloatArray | None = None
        panels, change = 4, np.inf
        while change > _TARGET and panels < _MOST_PANELS:
            panels *= 2
            half = (high - low) / (2 * panels)
            middles = low + half * (2 * np.arange(panels) + 1)
            times = np.exp((middles[:, None] + half * base).ravel())
            share = np.tile(half * weight, panels)
            rates = early + share @ race_densities(times, self._weights, int(self.k))
            change = np.inf if found is None else float(np.abs(rates - found).max())
            found = rates
        return times, share, rates, change

    @cached_property
    def _marginals(self) -> FloatArray:
        marginals = np.zeros(self.n_features)
        if self.k == len(self._possible):
            marginals[self._possible] = 1.0
        else:
            marginals[self._possible] = np.clip(self._quadrature[2], 0.0, 1.0)
        return read_only(marginals)

    @property
    def marginal_error(self) -> float:
        """Bound of the error of `marginals`: the tails left out and the change by the last doubling of the nodes."""
        return 0.0 if self.k == len(self._possible) else 2.0 * _TAIL + self._quadrature[3]

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, which sum to k; by quadrature, to `marginal_error`; read-only."""
        return self._marginals

    @cached_property
    def _joint(self) -> FloatArray:
        m = len(self._possible)
        if m > _MOST_FEATURES_IN_PAIRS:
            raise ValueError(
                f"joint rates of m={m} features would take m^2 k steps at each of hundreds of times; at most "
                f"{_MOST_FEATURES_IN_PAIRS} are computed. Use ExactlyK, or BlockSupport of smaller groups."
            )
        if self.k == m:
            return np.ones((m, m))
        times, share, _, _ = self._quadrature
        start = float(np.exp(race_window(self._weights, int(self.k), _TAIL)[0]))
        return race_joint(times, share, start, self._weights, int(self.k))

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal; each row sums to k p_i.

        Raises
        ------
        ValueError
            If more than 1024 weights are positive.
        """
        joint = np.zeros((self.n_features, self.n_features))
        joint[np.ix_(self._possible, self._possible)] = self._joint
        np.fill_diagonal(joint, self._marginals)
        return joint

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2, from the joint rates.

        Raises
        ------
        ValueError
            As `pairwise`.
        """
        rows = check_vectors(vectors, self.n_features)
        return float(np.einsum("ij,ij->", self.pairwise() @ rows, rows))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        drawn = draw_successive(self._weights, int(self.k), n, rng)
        indptr = np.arange(n + 1, dtype=np.int64) * int(self.k)
        return Support(indptr, self._possible.astype(np.int32)[drawn], self.n_features)
