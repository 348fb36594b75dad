"""The exact posterior of small sparse codes, by enumeration of supports: what no estimate can beat.

``y = s @ atoms + noise``, ``y (N, d)``, ``atoms (n, d)`` of any norm, codes ``s (N, n)``, noise of variance sigma2 a
coordinate. Active values are independent N(mean, variance); variance 0 is a constant, so that binary codes are
included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Array: TypeAlias = npt.NDArray[np.float64]

_MOST_SUPPORTS = 200_000
_HELD = 2**22  # coefficients of one block of samples, over all supports


class SupportLaw(Protocol):
    """Which entries are active: a probability that depends on how many they are."""

    n: int

    def sizes(self) -> Sequence[tuple[int, float]]:
        """Return (size, log probability of each support of that size)."""

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Return independent supports ``(count, n)``."""


@final
@dataclass(frozen=True)
class Exactly:
    """Exactly ``k`` of ``n`` entries are active, all such supports equally likely."""

    n: int
    k: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise ValueError(f"k must lie in [1, n={self.n}]; got {self.k}.")
        _check_count(math.comb(self.n, self.k))

    def sizes(self) -> Sequence[tuple[int, float]]:
        return ((self.k, -math.log(math.comb(self.n, self.k))),)

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        return np.asarray(rng.random((count, self.n)).argsort(axis=1).argsort(axis=1) < self.k)


@final
@dataclass(frozen=True)
class Independent:
    """Each of ``n`` entries is active with probability ``eps``, independently."""

    n: int
    eps: float

    def __post_init__(self) -> None:
        if not 0.0 < self.eps < 1.0:
            raise ValueError(f"eps must lie strictly between 0 and 1; got {self.eps}.")
        if self.n < 1:
            raise ValueError(f"n must be at least 1; got {self.n}.")
        _check_count(2**self.n)

    def sizes(self) -> Sequence[tuple[int, float]]:
        on, off = math.log(self.eps), math.log1p(-self.eps)
        return tuple((k, k * on + (self.n - k) * off) for k in range(self.n + 1))

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        return np.asarray(rng.random((count, self.n)) < self.eps)


def _check_count(supports: int) -> None:
    if supports > _MOST_SUPPORTS:
        raise ValueError(f"enumeration takes at most {_MOST_SUPPORTS} supports; got {supports}. Lower n or k.")


@final
@dataclass(frozen=True)
class Posterior:
    """What is known of codes given their samples.

    Parameters
    ----------
    mean : ``(N, n)``, the estimate of least squared error.
    variance : ``(N, n)``, of each entry; summed over n and averaged over samples it is the MMSE.
    active : ``(N, n)``, P(s_i != 0 | y).
    support : ``(N, n)`` booleans, the most likely support; no estimate of the whole support is right more often.
    support_probability : ``(N,)``, its posterior probability.
    log_evidence : ``(N,)``, ln p(y).
    """

    mean: Array
    variance: Array
    active: Array
    support: npt.NDArray[np.bool_]
    support_probability: Array
    log_evidence: Array


@final
@dataclass(frozen=True)
class _Family:
    """All supports of one size: their entries ``(c, k)`` and, ``(c, k, k)``, the inverse of I + v G / sigma2."""

    chosen: npt.NDArray[np.intp]
    inverse: Array
    gram: Array
    offset: Array  # (c,), the log prior and the normaliser

    def score(self, y: Array, inner: Array, mean: float, variance: float, noise: float) -> tuple[Array, Array]:
        """Return log prior times evidence ``(N, c)`` and the posterior means of the active values ``(N, c, k)``."""
        centred = inner[:, self.chosen] - mean * self.gram.sum(axis=2)
        change = np.einsum("cij,ncj->nci", self.inverse, centred) * (variance / noise)
        # |y - mean 1' D_S|^2 less what the change of the values explains
        left = (y * y).sum(axis=1)[:, None] - mean * (inner[:, self.chosen] + centred).sum(axis=2)
        quadratic = left - (centred * change).sum(axis=2)
        return self.offset - 0.5 * quadratic / noise, mean + change


def _families(atoms: Array, law: SupportLaw, variance: float, noise_variance: float) -> Iterator[_Family]:
    gram = atoms @ atoms.T
    base = -0.5 * atoms.shape[1] * math.log(2.0 * math.pi * noise_variance)
    for size, log_prior in law.sizes():
        chosen = np.array(list(combinations(range(law.n), size)), dtype=np.intp).reshape(math.comb(law.n, size), size)
        inside = gram[chosen[:, :, None], chosen[:, None, :]]
        matrix = np.eye(size) + (variance / noise_variance) * inside
        log_determinant = np.linalg.slogdet(matrix)[1]
        yield _Family(
            chosen,
            np.asarray(np.linalg.inv(matrix), dtype=np.float64),
            inside,
            log_prior + base - 0.5 * log_determinant,
        )


def _checked(
    y: npt.ArrayLike, atoms: npt.ArrayLike, law: SupportLaw, mean: float, variance: float, noise_variance: float
) -> tuple[Array, Array]:
    rows, samples = np.asarray(atoms, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != law.n or not np.all(np.isfinite(rows)):
        raise ValueError(f"atoms must be a finite (n={law.n}, d) array; got shape {rows.shape}.")
    if samples.ndim != 2 or samples.shape[1] != rows.shape[1] or not np.all(np.isfinite(samples)):
        raise ValueError(f"y must be a finite (N, d={rows.shape[1]}) array; got shape {samples.shape}.")
    if not (noise_variance > 0.0 and math.isfinite(noise_variance)):
        raise ValueError(f"noise_variance must be positive; got {noise_variance}. Use sparsest without noise.")
    if not (0.0 <= variance < math.inf and math.isfinite(mean)) or (variance == 0.0 and mean == 0.0):
        raise ValueError(f"active values need a variance or a mean; got mean={mean}, variance={variance}.")
    return samples, rows


def posterior(
    y: npt.ArrayLike,
    atoms: npt.ArrayLike,
    law: SupportLaw,
    noise_variance: float,
    *,
    mean: float = 0.0,
    variance: float = 1.0,
) -> Posterior:
    """Return the exact posterior of the codes of samples ``y (N, d)``, of every support in turn.

    ``P(S | y) ~ P(S) N(y; mean 1' D_S, sigma2 I + variance D_S' D_S)``. Variances are sums of positive terms,
    within and between supports, so that small ones keep their digits; evidences lose those of |y|^2 / sigma2.

    Raises
    ------
    ValueError
        For more than 200,000 supports, shapes that do not fit, or noise of no variance.

    References
    ----------
    Schniter, Potter and Ziniel (2008), "Fast Bayesian matching pursuit", whose sum over all models this is.
    """
    samples, rows = _checked(y, atoms, law, mean, variance, noise_variance)
    families = list(_families(rows, law, variance, noise_variance))
    block = max(1, _HELD // sum(f.chosen.size + len(f.chosen) for f in families))
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        parts = [
            _block(samples[low : low + block], rows, families, mean, variance, noise_variance)
            for low in range(0, len(samples), block)
        ] or [_block(samples, rows, families, mean, variance, noise_variance)]
    known = Posterior(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
    if not (np.isfinite(known.log_evidence).all() and np.isfinite(known.variance).all()):
        raise ValueError("the energy of a sample over the noise variance overflows. Rescale y and atoms, or add noise.")
    return known


def _block(
    y: Array, atoms: Array, families: Sequence[_Family], mean: float, variance: float, noise: float
) -> tuple[Any, ...]:
    inner, shape = y @ atoms.T, (len(y), len(atoms))
    scored = [family.score(y, inner, mean, variance, noise) for family in families]
    scores = np.concatenate([score for score, _ in scored], axis=1)
    evidence = np.asarray(logsumexp(scores, axis=1))
    likely = scores.argmax(axis=1)
    chances = [np.exp(score - evidence[:, None]) for score, _ in scored]
    average, active, silent, spread = (np.zeros(shape) for _ in range(4))
    support = np.zeros(shape, dtype=bool)
    start = 0
    for family, (_, values), chance in zip(families, scored, chances, strict=True):
        member = np.zeros((len(family.chosen), len(atoms)))
        np.put_along_axis(member, family.chosen, 1.0, axis=1)
        active += chance @ member
        silent += chance @ (1.0 - member)  # not 1 - active, whose small values have no digits
        _scatter(average, family.chosen, chance[..., None] * values)
        mine = np.flatnonzero((likely >= start) & (likely < start + len(family.chosen)))
        support[mine[:, None], family.chosen[likely[mine] - start]] = True
        start += len(family.chosen)
    for family, (_, values), chance in zip(families, scored, chances, strict=True):
        within = variance * np.diagonal(family.inverse, axis1=1, axis2=2)
        between = np.square(values - average[:, family.chosen])
        _scatter(spread, family.chosen, chance[..., None] * (within + between))
    spread += silent * average**2
    top = np.exp(scores[np.arange(len(y)), likely] - evidence)
    return average, spread, np.minimum(active, 1.0), support, top, evidence


def _scatter(total: Array, chosen: npt.NDArray[np.intp], values: Array) -> None:
    """Add ``values (N, c, k)`` to the entries ``chosen (c, k)`` of ``total (N, n)``."""
    for entry in range(total.shape[1]):
        where = np.nonzero(chosen == entry)
        total[:, entry] += values[:, where[0], where[1]].sum(axis=1)


@final
@dataclass(frozen=True)
class Oracle:
    """Averages over draws of the world, with their standard errors.

    Parameters
    ----------
    mmse, mmse_error : E ||s - E(s | y)||^2, summed over the n entries.
    information, information_error : I(s; y) in nats.
    support, support_error : probability that the most likely support is the right one.
    """

    mmse: float
    mmse_error: float
    information: float
    information_error: float
    support: float
    support_error: float


def oracle(
    atoms: npt.ArrayLike,
    law: SupportLaw,
    noise_variance: float,
    draws: int,
    *,
    mean: float = 0.0,
    variance: float = 1.0,
    rng: np.random.Generator,
) -> Oracle:
    """Return the least possible error, the information and the best support recovery of this world, by simulation.

    Each is an average of posterior quantities of ``draws`` samples: the posterior variance rather than the squared
    error, the posterior probability of the likeliest support rather than whether it is right.

    Raises
    ------
    ValueError
        For fewer than 2 draws, and as `posterior`.
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2; got {draws}.")
    rows = np.asarray(atoms, dtype=np.float64)
    _checked(np.zeros((0, rows.shape[-1] if rows.ndim else 0)), rows, law, mean, variance, noise_variance)
    codes = law.draw(draws, rng) * (mean + math.sqrt(variance) * rng.standard_normal((draws, law.n)))
    noise = rng.standard_normal((draws, rows.shape[1]))
    known = posterior(
        codes @ rows + math.sqrt(noise_variance) * noise, rows, law, noise_variance, mean=mean, variance=variance
    )
    given = -0.5 * (rows.shape[1] * math.log(2.0 * math.pi * noise_variance) + (noise * noise).sum(axis=1))
    columns = (known.variance.sum(axis=1), given - known.log_evidence, known.support_probability)
    figures = [figure for c in columns for figure in (float(c.mean()), float(c.std(ddof=1)) / math.sqrt(draws))]
    return Oracle(*figures)


def sparsest(
    y: npt.ArrayLike, atoms: npt.ArrayLike, k: int, *, non_negative: bool = False, tolerance: float = 1e-9
) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return the sparsest codes ``(N, n)`` with ``codes @ atoms = y``, and how many supports of that size give one.

    By enumeration of all supports up to size k, smallest first; the residual counts as zero up to ``tolerance *
    ||y||``. Rows that no k atoms make up are NaN with a count of 0. Of several supports the one of least residual is
    given; a count of 1 says that the code is the unique sparsest.

    Raises
    ------
    ValueError
        For more than 200,000 supports, k outside [1, min(n, d)], or shapes that do not fit.
    """
    rows, samples = np.asarray(atoms, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or samples.ndim != 2 or samples.shape[1] != rows.shape[1]:
        raise ValueError(f"atoms (n, d) and y (N, d) must share d; got shapes {rows.shape} and {samples.shape}.")
    if not (np.isfinite(rows).all() and np.isfinite(samples).all()):
        raise ValueError("atoms and y must be finite; remove NaN and infinity.")
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"tolerance must lie in [0, 1), a share of the norm of a sample; got {tolerance}.")
    if not 1 <= k <= min(rows.shape):
        raise ValueError(f"k must lie in [1, min(n, d)={min(rows.shape)}]; got {k}.")
    _check_count(sum(math.comb(len(rows), size) for size in range(1, k + 1)))
    norms = np.linalg.norm(samples, axis=1)
    codes, count = np.full((len(samples), len(rows)), np.nan), np.zeros(len(samples), dtype=np.intp)
    codes[norms == 0.0], count[norms == 0.0] = 0.0, 1
    for size in range(1, k + 1):
        chosen = np.array(list(combinations(range(len(rows)), size)), dtype=np.intp)
        inverse = np.linalg.pinv(rows[chosen])  # (c, d, size)
        for row in np.flatnonzero(count == 0):
            values = np.einsum("d,cdk->ck", samples[row], inverse)
            residual = np.linalg.norm(np.einsum("ck,ckd->cd", values, rows[chosen]) - samples[row], axis=1)
            if non_negative:
                residual = np.where((values >= 0.0).all(axis=1), residual, np.inf)
            count[row] = int((residual <= tolerance * norms[row]).sum())
            if count[row]:
                best = int(residual.argmin())
                codes[row] = 0.0
                codes[row, chosen[best]] = values[best]
    return codes, count
