"""Sparse Bayesian learning: a variance for every atom, learned from each sample alone, most of them to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real, read_only
from sparsesim.kernels.sparse_bayes import ALTERNATING, FREE, SINGULAR, learn_variances
from sparsesim.solvers.posterior import dense_parts
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks
from sparsesim.solvers.start import checked_start, part

LEAST_NOISE = 1e-12  # of a row's largest square: under less, dependent atoms leave C singular to rounding
FIRST_NOISE = 0.01  # of the mean square of a sample: where learning of the noise starts


@final
@dataclass(frozen=True, eq=False)
class LearnedCodes:
    """Codes, with what was learned on the way.

    Attributes
    ----------
    codes : (n, p)
    noise_variance : (n,) given, as far as it is resolved, or learned.
    cost : (n,)
        -ln p(x) in nats at the variances reached; NaN where the method does not compute it, 0 for a row of zeros whose
        noise is learned, where it has no minimum.
    converged : (n,) booleans, False where ``max_iter`` was spent first.
    iterations : (n,)
    """

    codes: Codes
    noise_variance: FloatArray
    cost: FloatArray
    converged: npt.NDArray[np.bool_]
    iterations: IntArray


def first_noise(noise_variance: float | None, block: Block, least: float = 1e-200) -> FloatArray:
    """Return the noise variance ``(b,)`` that a block's rows start with, in their units, ``least`` if less is given."""
    if noise_variance is None:
        energy = np.square(block.x).sum(axis=1)
        return np.asarray(np.where(energy > 0, FIRST_NOISE * energy / block.x.shape[1], 1.0))
    with np.errstate(over="ignore", under="ignore"):
        level = np.sqrt(noise_variance) / block.scale[:, 0]
        return np.asarray(np.clip(level * level, least, 1e200))


def _learned(
    x: FloatArray,
    atoms: FloatArray,
    noise_variance: float | None,
    rule: tuple[int, int, float],
    stop: tuple[float, int],
    start: Codes | None = None,
) -> LearnedCodes:
    form, height, floor = rule
    record = np.empty((len(x), 4))
    begin = None if start is None else checked_start(start, x, atoms)

    def code(block: Block) -> Parts:
        noise = first_noise(noise_variance, block, LEAST_NOISE)
        given, law = part(begin, block), (form, height, noise_variance is None, floor)
        codes, own = learn_variances(block.x, block.alpha, block.dictionary, noise, given, law, stop)
        if noise_variance is not None:  # of a row of zeros nothing is learned
            silent = ~block.x.any(axis=1)
            own[silent, 0] = 0.5 * x.shape[1] * np.log(2.0 * np.pi * noise[silent])
            own[silent, 1] = noise[silent]
        scale = block.scale[:, 0]
        own[:, 0] += x.shape[1] * np.log(scale)
        with np.errstate(over="ignore", under="ignore"):
            own[:, 1] *= scale * scale
        record[block.rows] = own
        return dense_parts(codes, codes != 0)

    codes = in_blocks(x, atoms, code)
    cost, noise, steps, settled = (read_only(column) for column in record.T)
    return LearnedCodes(codes, noise, cost, settled > 0, steps.astype(np.int64))


def _check(noise_variance: float | None, prune: float, tolerance: float, max_iter: int) -> None:
    if noise_variance is not None:
        check_real("noise_variance", noise_variance, 0.0, open_low=True)
    check_real("prune", prune, 0.0, 1.0)
    check_real("tolerance", tolerance, 0.0, 1.0)
    check_int("max_iter", max_iter, 1)


@final
@dataclass(frozen=True)
class SparseBayesianLearning:
    """Encodes by the posterior mean under ``z_i ~ N(0, gamma_i)``, the variances of greatest likelihood of each sample.

    Expectation maximisation of ``-ln p(x) = ln det C / 2 + x C^-1 x / 2 + d ln(2 pi) / 2``, ``C = s I + A' diag(gamma)
    A``, which never rises:

        mu = gamma (A C^-1 x),  v = gamma - gamma^2 diag(A C^-1 A'),  gamma <- mu^2 + v,
        s <- (||x - mu A||^2 + s sum (1 - v / gamma)) / d

    Variances of atoms that are not needed fall like one over the steps. One below ``prune`` of the largest is set to
    zero where zero is the likelier value given all others. A step costs d^2 p while more than d atoms are in use, then
    the cube of their number. There is no non-negative form: its posterior has no closed moments. Computed in float64.

    Parameters
    ----------
    noise_variance : s, of each coordinate of x, above 0; None to learn it from each sample, from 1% of its mean square
        on. From one sample it is poorly determined: a given one serves better. Less than 1e-12 of a row's largest
        square acts as that (1e-12 for a row of zeros).
    prune : fraction of the largest variance, in [0, 1]; 0 keeps every atom in use.
    tolerance : a row ends when no variance changes by more than this fraction of the largest.
    max_iter : steps at most.

    References
    ----------
    Tipping (2001), "Sparse Bayesian learning and the relevance vector machine"; Wipf and Rao (2004), "Sparse Bayesian
    learning for basis selection"; the test of pruning: Tipping and Faul (2003).
    """

    noise_variance: float | None = None
    prune: float = 1e-4
    tolerance: float = 1e-4
    max_iter: int = 1000

    def __post_init__(self) -> None:
        _check(self.noise_variance, self.prune, self.tolerance, self.max_iter)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.learned(x, atoms).codes

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the codes ``(n, p)`` reached from variances of ``start (n, p)``; raises ValueError as `learned`."""
        return self.learned(x, atoms, start).codes

    def learned(self, x: FloatArray, atoms: FloatArray, start: Codes | None = None) -> LearnedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)`` with noise, cost and steps of each.

        With ``start (n, p)`` a row that has codes there begins at their squares, and at 1e-3 of the equal variances of
        a cold start beside them, so that atoms that were left out may still enter, or without its codes if these have
        the higher cost. The cost never rises from there; it has many minima, and another start may end at another.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, or ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        rule, stop = (FREE, 1, float(self.prune)), (float(self.tolerance), int(self.max_iter))
        return _learned(x, atoms, self.noise_variance, rule, stop, start)


@final
@dataclass(frozen=True)
class KroneckerSparseBayes:
    """Encodes as `SparseBayesianLearning` with variances ``gamma_(i, j) = r_i c_j``: rows and columns switch off.

    Atom ``i * columns + j`` is for row i and column j; atoms ``A1 (x) A2`` are the case in which r belongs to A1 and c
    to A2. With T_ij = E[z_ij^2], the variances follow by

    * "alternating": ``r_i <- mean_j T_ij / c_j``, ``c_j <- mean_i T_ij / r_i``, each of which lowers
      ``sum ln(r_i c_j) + T_ij / (r_i c_j)``, so that ``-ln p(x)`` never rises (but for pruning);
    * "singular": the leading singular pair of T, the nearest product in least squares, without that guarantee.

    Parameters
    ----------
    rows, columns : shape of the variances; their product is p.
    noise_variance, tolerance, max_iter : as in `SparseBayesianLearning`.
    update : "alternating" or "singular".
    prune : fraction of the largest r (or c) below which one is set to zero.

    References
    ----------
    He and Joseph (2022), "Structure-aware sparse Bayesian learning-based channel estimation for intelligent reflecting
    surface-aided MIMO", whose model this is; the updates are derived here.
    """

    rows: int
    columns: int
    noise_variance: float | None = None
    update: Literal["alternating", "singular"] = "alternating"
    prune: float = 1e-4
    tolerance: float = 1e-4
    max_iter: int = 1000

    def __post_init__(self) -> None:
        check_int("rows", self.rows, 1)
        check_int("columns", self.columns, 1)
        _check(self.noise_variance, self.prune, self.tolerance, self.max_iter)
        if self.update not in ("alternating", "singular"):
            raise ValueError(f"update must be 'alternating' or 'singular'; got {self.update!r}.")

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError as `learned`."""
        return self.learned(x, atoms).codes

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the codes ``(n, p)`` reached from variances of ``start (n, p)``; raises ValueError as `learned`."""
        return self.learned(x, atoms, start).codes

    def learned(self, x: FloatArray, atoms: FloatArray, start: Codes | None = None) -> LearnedCodes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)`` with noise, cost and steps of each.

        With ``start (n, p)`` a row begins as in `SparseBayesianLearning`, at the product r_i c_j that the update makes
        of those variances, or without its codes if these have the higher cost.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, atoms are not unit rows, rows times columns is not p, or ``start`` is not finite codes
            ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        if self.rows * self.columns != len(atoms):
            raise ValueError(
                f"rows * columns must be p={len(atoms)}; got {self.rows} * {self.columns}. "
                "Atom i * columns + j is for row i and column j."
            )
        form = ALTERNATING if self.update == "alternating" else SINGULAR
        stop = (float(self.tolerance), int(self.max_iter))
        return _learned(x, atoms, self.noise_variance, (form, int(self.rows), float(self.prune)), stop, start)
