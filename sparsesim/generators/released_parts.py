"""Random parts of worlds that others released, as functions of the seed they were released with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, check_int, check_real, read_only
from sparsesim.generators.correlation import Draw, FactorCorrelation, check_factor
from sparsesim.generators.magnitude import check_scale
from sparsesim.generators.mersenne import torch_normal


@final
@dataclass(frozen=True)
class ReleasedScales:
    """The scales are |mean + std * z|, z the numbers of ``torch.randn(m)`` under ``seed`` (`torch_normal`)."""

    mean: float
    std: float
    seed: int

    def __post_init__(self) -> None:
        check_real("mean", self.mean)
        check_scale("std", self.std)
        check_int("seed", self.seed, 0)

    def values(self, m: int) -> FloatArray:
        """Return the scales ``(m,)``."""
        return np.asarray(np.abs(self.mean + self.std * torch_normal(self.seed, m)))


@final
@dataclass(frozen=True)
class ReleasedCorrelation:
    """C = F F^T + diag(1 - |F_i|^2), F = scale * z with z the numbers of ``torch.randn(m, rank)`` under ``seed``.

    As `LowRankCorrelation`, whose numbers are ours. Rows with |F_i|^2 > 0.99 are scaled down to that limit, as in the
    release.
    """

    rank: int
    scale: float
    seed: int

    def __post_init__(self) -> None:
        check_int("rank", self.rank, 1)
        check_real("scale", self.scale, 0.0)
        check_int("seed", self.seed, 0)

    def factor(self, m: int) -> FloatArray:
        """Return the loadings F ``(m, rank)``, read-only."""
        return _factor(self, m)

    def check(self, m: int) -> None:
        """Raise ValueError unless there is such a correlation of ``m`` features."""
        self.factor(m)

    def _given(self, m: int) -> FactorCorrelation:
        return FactorCorrelation(tuple(map(tuple, self.factor(m).tolist())))

    def at(self, m: int, first: IntArray, second: IntArray) -> FloatArray:
        """Return F_i . F_j for the pairs, 1 of a feature with itself."""
        return self._given(m).at(m, first, second)

    def blocks(self, m: int) -> IntArray:
        """Return 0 and m: all features are correlated."""
        return np.array([0, m])

    def draw(self, rates: FloatArray) -> Draw:
        """Return what draws, from n and a generator, the rows of features with g_i > -probit(p_i)."""
        return self._given(len(rates)).draw(rates)


@lru_cache(maxsize=4)
def _factor(law: ReleasedCorrelation, m: int) -> FloatArray:
    rank = int(law.rank)
    normal = torch_normal(law.seed, m * rank).reshape(m, rank)
    return read_only(within(law.scale * normal))


def within(factor: FloatArray) -> FloatArray:
    """Return loadings ``(m, r)`` of a squared norm of at most 0.99 a row, also after rounding."""
    return check_factor("factor", factor, shrink=True) * (1.0 - 1e-12)
