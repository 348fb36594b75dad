"""Features that fire together or apart: thresholds on correlated Gaussians, with exact rates and joint rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import final

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtri

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim.generators.base import Support
from sparsesim.generators.correlation import Correlation, DenseCorrelation, Draw
from sparsesim.generators.rates import RateLaw
from sparsesim.generators.support import Bernoulli, check_vectors

MOST_PAIRED = 8_192  # features whose matrix of joint rates is made, 0.5 GB
MOST_SUMMED = 32_768  # features of one block whose pairs are summed one by one, a few minutes
_TILE = 2**20  # pairs at once
_RAREST = 1e-100  # rate whose joint rate with another like it is still a normal number
_ROUNDING = 2e-15  # of a joint rate that is asked for, relative to the largest there is


@final
@dataclass(frozen=True)
class CorrelatedBernoulli:
    """Feature i fires where a latent Gaussian g_i exceeds -probit(p_i); the g_i have the ``correlation`` C.

    Rates are those of ``rates``, exactly, whatever C. The correlation of the firings is smaller in magnitude than the
    latent one; `latent_correlation` and `from_firing_correlation` go from the former to the latter.

    Raises
    ------
    ValueError
        If ``correlation`` is of another number of features than ``rates``, or cannot be of that many.

    References
    ----------
    Emrich and Piedmonte (1991), "A method for generating high-dimensional multivariate binary variates".
    """

    rates: RateLaw
    correlation: Correlation

    def __post_init__(self) -> None:
        Bernoulli(self.rates)  # raises unless these are rates
        if isinstance(self.correlation, type) or not hasattr(self.correlation, "blocks"):
            raise TypeError(
                "correlation must be a correlation such as LowRankCorrelation(rank=8, scale=0.1, seed=0); "
                f"got {self.correlation!r}."
            )
        self.correlation.check(self.n_features)

    @classmethod
    def from_firing_correlation(cls, rates: RateLaw, rows: tuple[tuple[float, ...], ...]) -> CorrelatedBernoulli:
        """Return the law whose firings have the correlations ``rows (m, m)``, with ones on the diagonal.

        Raises
        ------
        ValueError
            If a correlation is out of reach at these rates, or the latent correlations are not positive definite.
        """
        wanted, p = np.array(rows, dtype=np.float64), Bernoulli(rates).marginals()
        if wanted.shape != (len(p), len(p)):
            raise ValueError(f"rows must have shape (m, m) with m={len(p)}, as many as rates; got {wanted.shape}.")
        if not (np.array_equal(wanted, wanted.T) and np.all(np.diag(wanted) == 1.0)):
            raise ValueError("rows must be symmetric with ones on the diagonal. Pass (rows + rows.T) / 2.")
        upper = np.triu_indices(len(p), 1)
        latent = np.eye(len(p))
        latent[upper] = latent_correlation(p[upper[0]], p[upper[1]], wanted[upper])
        latent += np.triu(latent, 1).T
        return cls(rates, DenseCorrelation(tuple(map(tuple, latent.tolist()))))

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.rates.n_features

    @cached_property
    def _rates(self) -> FloatArray:
        return read_only(np.asarray(self.rates.rates(), dtype=np.float64))

    @cached_property
    def _thresholds(self) -> FloatArray:
        return read_only(-ndtri(self._rates))

    @cached_property
    def _draw(self) -> Draw:
        return self.correlation.draw(self._rates)

    def marginals(self) -> FloatArray:
        """Return the firing rates ``(m,)``, read-only."""
        return self._rates

    @property
    def second_order(self) -> bool:
        """Whether `energy` is affordable: no block has more than 32,768 features."""
        return bool(np.diff(self.correlation.blocks(self.n_features)).max() <= MOST_SUMMED)

    def _excess(self, first: IntArray, second: IntArray) -> FloatArray:
        """Return P(i and j) - p_i p_j of pairs of different features, each at most some 1e-15 off."""
        from sparsesim.kernels.orthant import orthant_excess

        p, level = self._rates, self._thresholds
        value = orthant_excess(level[first], level[second], self.correlation.at(self.n_features, first, second))
        product = p[first] * p[second]
        joint = np.clip(product + value, np.maximum(p[first] + p[second] - 1.0, 0.0), np.minimum(p[first], p[second]))
        return np.asarray(joint - product)

    def pairwise_at(self, first: IntArray, second: IntArray) -> FloatArray:
        """Return the joint firing rates ``(q,)`` of the pairs ``(first, second)``, features of index 0 ... m-1.

        They are bivariate normal orthants, exact to rounding (below 1e-15); of a feature with itself, its rate.
        """
        one, two = np.broadcast_arrays(np.asarray(first), np.asarray(second))
        if one.ndim != 1 or one.dtype.kind not in "iu" or two.dtype.kind not in "iu":
            raise TypeError(f"first and second must be one-dimensional arrays of indices; got {first!r}, {second!r}.")
        if len(one) and (min(one.min(), two.min()) < 0 or max(one.max(), two.max()) >= self.n_features):
            raise ValueError(
                f"indices must lie in [0, m-1={self.n_features - 1}]; got {min(one.min(), two.min())} to "
                f"{max(one.max(), two.max())}."
            )
        same = one == two
        joint: FloatArray = self._rates[one].copy()
        joint[~same] *= self._rates[two[~same]]
        joint[~same] += self._excess(one[~same], two[~same])
        return joint

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, with `marginals` on the diagonal.

        Raises
        ------
        ValueError
            For more than 8,192 features, whose matrix would not fit; `pairwise_at` takes pairs.
        """
        if self.n_features > MOST_PAIRED:
            raise ValueError(
                f"pairwise() makes an (m, m) matrix for m <= {MOST_PAIRED}; got m={self.n_features}. "
                "Ask for the pairs that matter: pairwise_at(first, second)."
            )
        joint = np.outer(self._rates, self._rates)
        for rows, columns in self._pairs():
            joint[rows, columns] += self._excess(rows, columns)
            joint[columns, rows] = joint[rows, columns]
        np.fill_diagonal(joint, self._rates)
        return joint

    def _pairs(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield all pairs i < j within blocks, about `_TILE` at a time: strips of a large block, or many small ones."""
        small: list[tuple[IntArray, IntArray]] = []
        waiting = 0
        triangle = lru_cache(maxsize=64)(lambda size: np.triu_indices(size, 1))
        for low, high in pairwise(self.correlation.blocks(self.n_features).tolist()):
            if (high - low) ** 2 > _TILE:
                height = max(_TILE // (high - low), 1)
                for top in range(low, high, height):
                    rows, columns = np.triu_indices(min(height, high - top), 1, high - top)
                    yield top + rows, top + columns
                continue
            rows, columns = triangle(high - low)
            small.append((low + rows, low + columns))
            waiting += len(rows)
            if waiting > _TILE:
                yield _joined(small)
                small, waiting = [], 0
        yield _joined(small)

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2.

        It is ||sum p_i v_i||^2 + sum p_i (1 - p_i) ||v_i||^2 + 2 sum_{i<j} (P_ij - p_i p_j) v_i . v_j over the pairs
        within blocks, tile by tile: m^2 (d + 100) / 2 operations in one block, about a minute at m = 16,384.

        Raises
        ------
        ValueError
            If a block has more than 32,768 features.
        """
        rows = check_vectors(vectors, self.n_features)
        if not self.second_order:
            largest = np.diff(self.correlation.blocks(self.n_features)).max()
            raise ValueError(
                f"energy() sums over pairs for blocks of at most {MOST_SUMMED} features; got {largest}. "
                "Give the noise by its standard deviation, Gaussian(sigma), which needs no energy."
            )
        centre = self._rates @ rows
        variance = self._rates * (1.0 - self._rates)
        total = float(centre @ centre + variance @ np.einsum("ij,ij->i", rows, rows))
        for first, second in self._pairs():
            if len(first):
                top, left = int(first.min()), int(second.min())
                shape = int(first.max()) + 1 - top, int(second.max()) + 1 - left
                excess = csr_array((self._excess(first, second), (first - top, second - left)), shape=shape)
                block = excess.toarray() if 4 * excess.nnz > shape[0] * shape[1] else excess
                total += 2.0 * float(np.sum((block @ rows[left : left + shape[1]]) * rows[top : top + shape[0]]))
        return total

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        n = check_int("n", n, 0)
        return Support(*self._draw(n, rng), self.n_features)


def _joined(pairs: list[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *(rows for rows, _ in pairs)]), np.concatenate(
        [none, *(column for _, column in pairs)]
    )


def latent_correlation(first: FloatArray, second: FloatArray, firing: FloatArray) -> FloatArray:
    """Return the latent correlations at which features of these rates fire with the correlations ``firing``.

    All three are broadcast against each other. Solved by bisection to the last bits of the joint rate.

    Raises
    ------
    ValueError
        If a rate is not in [1e-100, 1), or a joint rate P = p q + c sqrt(p (1-p) q (1-q)) is outside the Frechet bounds
        max(0, p + q - 1) <= P <= min(p, q).
    """
    from sparsesim.kernels.orthant import orthant_correlation

    arrays = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (first, second, firing)))
    p, q, c = (np.ravel(array) for array in arrays)
    rates = np.concatenate([p, q])
    if not (((rates >= _RAREST) & (rates < 1)).all() and np.isfinite(c).all()):
        raise ValueError(
            f"rates must lie in [{_RAREST:g}, 1) and correlations be finite: what always or never fires has none; got "
            f"rates in [{rates.min():g}, {rates.max():g}]."
        )
    excess = c * np.sqrt(p * (1.0 - p) * q * (1.0 - q))
    joint, low, high = p * q + excess, np.maximum(p + q - 1.0, 0.0), np.minimum(p, q)
    outside = np.maximum(low - joint, joint - high) / high
    worst = int(np.argmax(outside)) if len(outside) else 0
    if len(outside) and outside[worst] > _ROUNDING:
        raise ValueError(
            f"a firing correlation of {c[worst]:g} at the rates {p[worst]:g} and {q[worst]:g} asks for the joint rate "
            f"{joint[worst]:.6g}, outside max(0, p + q - 1) = {low[worst]:.6g} <= P <= min(p, q) = {high[worst]:.6g}. "
            "Lower its magnitude or bring the rates nearer to each other."
        )
    return orthant_correlation(-ndtri(p), -ndtri(q), excess).reshape(arrays[0].shape)
