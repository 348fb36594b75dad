"""Approximate message passing: Bayes estimates of every code entry, made independent of each other by a memory term."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real, read_only
from sparsesim.kernels.bayes_messages import learn_by_messages
from sparsesim.kernels.message_passing import EXPONENTIAL, GAUSSIAN, HALF_NORMAL, pass_messages, pass_vector_messages
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.posterior import dense_parts
from sparsesim.solvers.priors import BernoulliExponential, BernoulliGaussian, BernoulliHalfNormal, SpikeSlab
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks
from sparsesim.solvers.sparse_bayes import first_noise
from sparsesim.solvers.start import checked_start

KINDS = {BernoulliGaussian: GAUSSIAN, BernoulliHalfNormal: HALF_NORMAL, BernoulliExponential: EXPONENTIAL}
SAFETY = 1.1  # the damping is what the condition of convergence allows for a norm larger by this
RANK = 1e-12  # singular values below this fraction of the largest count as zero


@final
@dataclass(frozen=True, eq=False)
class PassedCodes:
    """Codes by message passing, and how each row ended.

    Attributes
    ----------
    codes : (n, p), finite whatever happened.
    converged : (n,) booleans
    diverged : (n,) booleans
        The messages left every bound; the codes are those of the least effective noise before
        (`ApproximateMessagePassing`), the last that fitted better than their negative (`VectorAMP`), or zero
        (`MessagePassingSparseBayes`).
    iterations : (n,)
    noise : (n,)
        Variance of the noise: for `ApproximateMessagePassing` and `VectorAMP` the effective one, in which the
        algorithm sees each entry; for `MessagePassingSparseBayes` that of a coordinate of x, given or learned.
    """

    codes: Codes
    converged: npt.NDArray[np.bool_]
    diverged: npt.NDArray[np.bool_]
    iterations: IntArray
    noise: FloatArray


def _passed(codes: Codes, record: FloatArray, diverged: npt.NDArray[np.bool_]) -> PassedCodes:
    noise, steps, settled = record[:, 0], record[:, 1], record[:, 2]
    return PassedCodes(codes, settled > 0, diverged, steps.astype(np.int64), read_only(noise))


def _check(learn: bool, prior: SpikeSlab, damping: float, tolerance: float, max_iter: int) -> None:
    check_real("damping", damping, 0.0, 1.0, open_low=True)
    check_real("tolerance", tolerance, 0.0, 1.0)
    check_int("max_iter", max_iter, 1)
    if type(prior) not in KINDS:
        raise TypeError(
            f"prior must be a BernoulliGaussian, BernoulliHalfNormal or BernoulliExponential; got {prior!r}."
        )
    second = prior.mean if isinstance(prior, BernoulliExponential) else prior.variance
    if learn and (isinstance(prior.rate, tuple) or isinstance(second, tuple)):
        raise ValueError(
            "learn finds one rate and one size for all atoms; give the prior single numbers to start with."
        )


def _scaled(prior: SpikeSlab, block: Block, p: int) -> tuple[int, FloatArray, FloatArray, FloatArray]:
    """Return the prior of a block's rows in their units: its kind, log odds and spreads ``(b, p)`` and centre."""
    centre = float(prior.mean) if isinstance(prior, BernoulliGaussian) else 0.0
    with np.errstate(over="ignore", under="ignore"):
        size = np.sqrt(prior.spread(p)) / block.scale
        spread = np.clip(size * size, 1e-200, 1e200)
        middle = np.clip(centre / block.scale[:, 0], -1e100, 1e100)
    return KINDS[type(prior)], np.tile(prior.log_odds(p), (len(spread), 1)), spread, middle


def _begun(start: Codes | None, block: Block) -> FloatArray:
    """Return the block's rows of ``start`` in their units ``(b, p)``, zero without a start."""
    if start is None:
        return np.zeros(block.alpha.shape)
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(start[block.rows].toarray() / block.scale, -1e100, 1e100))


def _square(scale: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.square(scale[:, 0]))


@final
@dataclass(frozen=True)
class ApproximateMessagePassing:
    """Encodes by Bayes-optimal message passing, made for wide dictionaries of independent entries.

        r = z + (x - z A + memory) A',   z <- E[z | r],   memory <- memory * sum Var[z | r] / (d tau2)

    with the effective noise ``tau2 = ||x - z A + memory||^2 / d``. On random dictionaries each entry then is its truth
    in noise tau2, whose course over the steps state evolution predicts, and the fixed point is the posterior mean
    outside the hard phase. On other dictionaries it may oscillate or diverge: damp it, or use `VectorAMP`. The noise
    variance is not needed, since the effective noise is measured. Codes are dense. Computed in float64.

    Parameters
    ----------
    prior : `BernoulliGaussian`, `BernoulliHalfNormal` or `BernoulliExponential`.
    learn : learn one rate and one size of active values by expectation maximisation, of each row alone, from those of
        ``prior`` on.
    damping : fraction of a step taken, in (0, 1].
    tolerance : a row ends when the code changes by at most this fraction of its norm.
    max_iter : steps at most.

    References
    ----------
    Donoho, Maleki and Montanari (2009), arXiv:0907.3574; Bayati and Montanari (2011), arXiv:1001.3448; learning: Vila
    and Schniter (2013), arXiv:1207.3107.
    """

    prior: SpikeSlab
    learn: bool = False
    damping: float = 1.0
    tolerance: float = 1e-6
    max_iter: int = 200

    def __post_init__(self) -> None:
        _check(self.learn, self.prior, self.damping, self.tolerance, self.max_iter)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.passed(x, atoms).codes

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the codes ``(n, p)`` reached from ``start (n, p)``; raises ValueError as `passed`."""
        return self.passed(x, atoms, start).codes

    def passed(self, x: FloatArray, atoms: FloatArray, start: Codes | None = None) -> PassedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``, and how each row ended.

        A row begins at its codes in ``start (n, p)``, or as without them if they fit no better than zero. A start knows
        nothing of its own error: the first effective noise is what it leaves of x, at least 1e-3 of ``||x||^2 / d``.
        Where the fixed point is not unique, another start may end at another.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, the prior is for another number of atoms, or ``start`` is not
            finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        self.prior.log_odds(len(atoms)), self.prior.spread(len(atoms))  # refuse before the first block
        record = np.empty((len(x), 4))
        rule = (bool(self.learn), float(self.damping), float(self.tolerance), int(self.max_iter))

        def code(block: Block) -> Parts:
            prior, given = _scaled(self.prior, block, len(atoms)), _begun(begin, block)
            codes, own = pass_messages(block.x, block.dictionary[0], prior, given, rule)
            own[:, 0] *= _square(block.scale)
            record[block.rows] = own
            return dense_parts(codes)

        codes = in_blocks(x, atoms, code)
        return _passed(codes, record, record[:, 3] > 0)


@final
@dataclass(frozen=True)
class VectorAMP:
    """Encodes by vector message passing, for dictionaries with any singular values and random singular vectors.

    Alternates E[z | x] under ``z ~ N(r2, I / g2)``, computed in the singular frame of the atoms, with the entries'
    E[z | r1] under the prior; each passes on only what the other did not tell it,
    ``r1 = (mean - a r2) / (1 - a)`` with a the mean sensitivity. Codes are dense. Computed in float64.

    Parameters
    ----------
    prior : `BernoulliGaussian`, `BernoulliHalfNormal` or `BernoulliExponential`.
    noise_variance : of each coordinate of x, above 0; None to learn it from each row, from 1% of its mean square on.
    learn, damping, tolerance, max_iter : as in `ApproximateMessagePassing`.

    References
    ----------
    Rangan, Schniter and Fletcher (2019), "Vector approximate message passing", arXiv:1610.03082; learning: Fletcher
    and Schniter (2017), arXiv:1602.08207.
    """

    prior: SpikeSlab
    noise_variance: float | None = None
    learn: bool = False
    damping: float = 1.0
    tolerance: float = 1e-6
    max_iter: int = 200

    def __post_init__(self) -> None:
        _check(self.learn, self.prior, self.damping, self.tolerance, self.max_iter)
        if self.noise_variance is not None:
            check_real("noise_variance", self.noise_variance, 0.0, open_low=True)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.passed(x, atoms).codes

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the codes ``(n, p)`` reached from ``start (n, p)``; raises ValueError as `passed`."""
        return self.passed(x, atoms, start).codes

    def passed(self, x: FloatArray, atoms: FloatArray, start: Codes | None = None) -> PassedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``, and how each row ended.

        A row begins at its codes in ``start (n, p)``, or as without them if their misfit tells of an error as large as
        the prior's variance. A start knows nothing more of its error, which is taken to be at least 1e-3 of that.
        Where the fixed point is not unique, another start may end at another.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, the prior is for another number of atoms, or ``start`` is not
            finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        rates = 1.0 / (1.0 + np.exp(-self.prior.log_odds(len(atoms))))
        left, values, right = np.linalg.svd(atoms.astype(np.float64, copy=False), full_matrices=False)
        kept = values > RANK * values.max(initial=0.0)
        frame = (np.ascontiguousarray(left.T[kept]), values[kept])
        record = np.empty((len(x), 4))
        learn = bool(self.learn)
        rule = (float(self.damping), float(self.tolerance), int(self.max_iter))

        def code(block: Block) -> Parts:
            prior = _scaled(self.prior, block, len(atoms))
            noise = first_noise(self.noise_variance, block)
            codes, own = pass_vector_messages(
                block.x,
                correlate(block.x, right[kept]),
                frame,
                noise,
                prior,
                _entry_moments(prior, rates),
                _begun(begin, block),
                (learn, self.noise_variance is None, *rule),
            )
            own[:, 0] *= _square(block.scale)
            record[block.rows] = own
            return dense_parts(codes)

        codes = in_blocks(x, atoms, code)
        return _passed(codes, record, record[:, 3] > 0)


def _entry_moments(prior: tuple[int, FloatArray, FloatArray, FloatArray], rates: FloatArray) -> FloatArray:
    """Return mean and variance ``(b, 2)`` of an entry, averaged over atoms."""
    kind, _, spread, centre = prior
    mean: FloatArray
    power: FloatArray
    if kind == GAUSSIAN:
        mean, power = np.broadcast_to(centre[:, None], spread.shape), spread + centre[:, None] ** 2
    elif kind == HALF_NORMAL:
        mean, power = np.sqrt(2.0 / math.pi * spread), spread
    else:
        mean, power = np.sqrt(spread), 2.0 * spread
    return np.stack([(rates * mean).mean(axis=1), (rates * power - (rates * mean) ** 2).mean(axis=1)], axis=1)


def gamp_damping(atoms: FloatArray) -> float:
    """Return the largest step in (0, 1] at which damped GAMP with uniform variances converges on ``atoms (p, d)``.

    The positive root of ``1.1 d p q t^2 + 2 (p - d) t - 4 p = 0``, ``q = ||A||_2^2 / ||A||_F^2``: the bound
    ``2 ((2 - t) p + t d) / (t^2 d p) > q`` with a tenth in hand.

    References
    ----------
    Rangan, Schniter and Fletcher (2014), "On the convergence of approximate message passing with arbitrary matrices",
    arXiv:1402.3210.
    """
    p, d = atoms.shape
    energy = float(np.square(atoms).sum())
    if energy == 0:
        return 1.0
    peak = float(np.linalg.norm(atoms.astype(np.float64), 2)) ** 2
    lead, slope = SAFETY * d * p * peak / energy, 2.0 * (p - d)
    return float(min(1.0, (-slope + math.sqrt(slope * slope + 16.0 * lead * p)) / (2.0 * lead)))


@final
@dataclass(frozen=True)
class MessagePassingSparseBayes:
    """Encodes nearly as `SparseBayesianLearning`, its posterior moments found by damped message passing (GGAMP-SBL).

    The expectation step is up to ``inner`` steps of GAMP with Gaussian entries, started where the last one ended and
    damped by `gamp_damping`; it costs products with the atoms instead of systems of equations. Posterior variances, and
    so the learned ones, are approximate unless the dictionary is large and random; they use the squares of its entries,
    so that codes change when coordinates are rotated. Computed in float64.

    Parameters
    ----------
    noise_variance : of each coordinate of x, above 0; None to learn it, from 1% of the mean square of each row on.
    damping : in (0, 1], or None for `gamp_damping`.
    prune : variances below this fraction of the largest are set to zero.
    tolerance : relative change that ends the inner steps, and the row.
    max_iter, inner : outer steps, and inner steps in each, at most.

    References
    ----------
    Al-Shoukairi, Schniter and Rao (2018), "A GAMP-based low complexity sparse Bayesian learning algorithm",
    arXiv:1703.03044.
    """

    noise_variance: float | None = None
    damping: float | None = None
    prune: float = 1e-6
    tolerance: float = 1e-5
    max_iter: int = 300
    inner: int = 100

    def __post_init__(self) -> None:
        if self.noise_variance is not None:
            check_real("noise_variance", self.noise_variance, 0.0, open_low=True)
        if self.damping is not None:
            check_real("damping", self.damping, 0.0, 1.0, open_low=True)
        check_real("prune", self.prune, 0.0, 1.0)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iter", self.max_iter, 1)
        check_int("inner", self.inner, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.passed(x, atoms).codes

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the codes ``(n, p)`` reached from ``start (n, p)``; raises ValueError as `passed`."""
        return self.passed(x, atoms, start).codes

    def passed(self, x: FloatArray, atoms: FloatArray, start: Codes | None = None) -> PassedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``, and how each row ended.

        A row begins at its codes in ``start (n, p)`` with their squares as variances, and 1e-3 of the equal variances
        of a cold start beside them, or as without them if zero fits better. There are many fixed points; another start
        may end at another.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, or ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        theta = gamp_damping(atoms) if self.damping is None else float(self.damping)
        rule = (self.noise_variance is None, float(self.prune), float(self.tolerance), self.max_iter, self.inner)
        record = np.empty((len(x), 4))

        def code(block: Block) -> Parts:
            noise = first_noise(self.noise_variance, block)
            codes, own = learn_by_messages(block.x, block.dictionary[0], noise, theta, _begun(begin, block), rule)
            own[:, 0] *= _square(block.scale)
            record[block.rows] = own
            return dense_parts(codes, codes != 0)

        codes = in_blocks(x, atoms, code)
        return _passed(codes, record, record[:, 3] > 0)
