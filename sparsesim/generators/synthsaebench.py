"""The firing law of SynthSAEBench: correlated firing gated by trees whose siblings compete, with its true rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, final, runtime_checkable

import numpy as np
from scipy.special import ndtri

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim._identity import Role, fork, stream
from sparsesim.generators.base import Support
from sparsesim.generators.correlation import Correlation, levels_and_loads
from sparsesim.generators.hierarchy import BoolArray, exclusive_flags, parents_first
from sparsesim.generators.rates import RateLaw, check_rates
from sparsesim.generators.support import Bernoulli
from sparsesim.kernels.copula import Factors, draw_factors, factors_of
from sparsesim.kernels.latent import gated_rates

REPLICATES, POINTS = 16, 512  # independent randomisations of the quadrature over the factors, and its points in each


@runtime_checkable
class FactoredCorrelation(Correlation, Protocol):
    """A correlation by shared factors, given which features are independent."""

    def factor(self, m: int) -> FloatArray:
        """Return the loadings ``(m, r)``."""
        ...


@final
@dataclass(frozen=True)
class SynthSAEBenchSupport:
    """Features are drawn by a Gaussian copula, struck out below a parent that is off, and siblings compete.

    Level by level from the roots: a child is struck out if its parent is off; of the children of a parent that are
    exclusive and left, one stays, each with the same probability. A feature that was drawn is on only with the
    probability ``positive``, that its magnitude, max(0, normal), is not zero; otherwise it counts as off everywhere.

    Since features are independent given the shared factors, children are drawn only below parents that are on: the
    same law at the cost of what fires. The firing rates are not those of ``rates``; `marginals` gives the true ones.

    Parameters
    ----------
    rates : declared rates p.
    parents : index of each feature's parent, -1 for none; nodes may stand in any order.
    correlation : of the latent Gaussians, by shared factors, e.g. ``LowRankCorrelation(rank=25, scale=0.1)``.
    exclusive : the children of a parent compete; for all parents, or a tuple that says it for each feature.
    compensate : draw a child of parent q with probability p / q instead of p, times 1 + (sum of the other siblings'
        p) / q if they compete, at most 1: the released correction, which restores the declared rates approximately.
    positive : probability that the magnitude of a drawn feature is not zero, one a feature; None for 1.

    Raises
    ------
    ValueError
        For a cycle, an index out of range, or numbers of features that differ.

    References
    ----------
    SynthSAEBench, arXiv 2602.14687; the law is that of the package it is released in, SAELens 6.
    """

    rates: RateLaw
    parents: tuple[int, ...]
    correlation: FactoredCorrelation
    exclusive: bool | tuple[bool, ...] = True
    compensate: bool = True
    positive: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        m = Bernoulli(self.rates).n_features  # raises unless these are rates
        parents_first(self.parents)
        if len(self.parents) != m:
            raise ValueError(f"parents must be as many as rates, m={m}; got {len(self.parents)}.")
        if not hasattr(self.correlation, "factor"):
            raise TypeError(
                "correlation must be by shared factors, such as LowRankCorrelation(rank=25, scale=0.1, seed=0); "
                f"got {self.correlation!r}."
            )
        self.correlation.check(m)
        exclusive_flags(self.exclusive, m)
        if not isinstance(self.compensate, bool):
            raise TypeError(f"compensate must be True or False; got {self.compensate!r}.")
        if self.positive is not None:
            check_rates("positive", self.positive)
            if len(self.positive) != m:
                raise ValueError(f"positive must be as many as rates, m={m}; got {len(self.positive)}.")

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.rates.n_features

    @cached_property
    def _parents(self) -> IntArray:
        return np.array(self.parents, dtype=np.int64)

    @cached_property
    def _exclusive(self) -> BoolArray:
        return exclusive_flags(self.exclusive, self.n_features)

    @cached_property
    def _keep(self) -> FloatArray:
        return np.ones(self.n_features) if self.positive is None else np.array(self.positive, dtype=np.float64)

    def drawn_rates(self) -> FloatArray:
        """Return the probabilities ``(m,)`` with which the copula draws each feature, before anything is struck out."""
        declared, child = np.asarray(self.rates.rates(), dtype=np.float64), self._parents >= 0
        if not self.compensate:
            return declared
        above = np.where(child, declared[self._parents], 1.0)
        above = np.where(above > 0.0, above, 1.0)  # below what never fires there is nothing to correct
        siblings = np.bincount(self._parents[child], weights=declared[child], minlength=self.n_features)
        others = np.where(child & self._exclusive[self._parents], siblings[self._parents] - declared, 0.0)
        return np.minimum(declared / above * (1.0 + np.maximum(others, 0.0) / above), 1.0)

    @cached_property
    def _factors(self) -> Factors:
        level, load = levels_and_loads(self.drawn_rates(), self.correlation.factor(self.n_features))
        mean = float(np.asarray(self.rates.rates()).sum())
        return factors_of(level, load, self._keep, self._parents, self._exclusive, mean)

    @cached_property
    def _estimates(self) -> tuple[FloatArray, FloatArray]:
        """The marginals and their standard errors: exact without a parent, else by quadrature over the factors."""
        law = self._factors
        exact = self.drawn_rates() * self._keep
        order = np.array(parents_first(self.parents), dtype=np.int64)
        family = (self._parents >= 0) | (np.diff(law.child_start) > 0)
        z = _factor_points(law.load.shape[1])
        means = gated_rates(z, law[:3], order[family[order]], law[8:11])
        child = self._parents >= 0
        rates = np.where(child, means.mean(axis=0), exact)
        errors = np.where(child, means.std(axis=0, ddof=1) / np.sqrt(len(means)), 0.0)
        return read_only(rates), read_only(errors)

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, read-only.

        Exact for features without a parent. Given the factors z, the rate of a child is its parent's times its chance
        to be drawn and to win, in closed form; this is averaged over 8,192 points of scrambled Sobol sequences, so
        that the rates have the errors that `marginal_errors` gives: some tenths of a percent of the rate with loadings
        as weak as the published ones, a few percent with factors that share most of the variance.
        """
        return self._estimates[0]

    def marginal_errors(self) -> FloatArray:
        """Return the standard errors ``(m,)`` of `marginals`, by 16 independent scramblings; 0 where they are exact."""
        return self._estimates[1]

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples; only children of features that are on are visited."""
        n = check_int("n", n, 0)
        return Support(*draw_factors(self._factors, n, rng), self.n_features)


def _factor_points(rank: int) -> FloatArray:
    """Return normal quadrature points ``(REPLICATES, POINTS, rank)``, scrambled Sobol points mapped by the probit."""
    from scipy.stats.qmc import Sobol

    points = [
        Sobol(rank, scramble=True, seed=rng).random_base2(POINTS.bit_length() - 1)
        for rng in fork(stream(0, Role.LAW), REPLICATES)
    ]
    inside = np.clip(np.array(points), 2.0**-40, 1.0 - 2.0**-40)
    return np.asarray(ndtri(inside))
