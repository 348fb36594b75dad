"""Encoders by thresholding: one step, as a linear sparse autoencoder does, and the iterations that start with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.gradient import hard_thresholding_, strongest_
from sparsesim.kernels.support import FIXED, HARD, encode_
from sparsesim.solvers.blocks import scaled_penalty
from sparsesim.solvers.pursuit import Block, Parts, checked, in_blocks, placed, same_k
from sparsesim.solvers.start import begun, part, within_sight
from sparsesim.solvers.supports import searched


def _refitted(block: Block, parts: Parts, non_negative: bool) -> Parts:
    """Return least squares codes on the supports of ``parts``."""
    _, indices, indptr = parts
    size = np.diff(indptr)
    if not len(indices):
        return parts
    limit, options = (block.floor, 0.0, non_negative), (0.0, 0.0, 0)
    return placed(
        block,
        size,
        lambda out: encode_(FIXED, block.x, block.alpha, block.dictionary, size, limit, options, out),
        held=(indptr, indices),
    )


@final
@dataclass(frozen=True)
class CorrelationTopK:
    """Encodes by the k largest correlations of each row: ``z = H_k(x A^T)``, one linear map and a cut.

    This is the encoder of a TopK autoencoder with tied unit weights. The largest are meant by magnitude, or with
    ``non_negative`` by value, positive ones only; the lowest index wins ties; correlations that are not told from
    rounding (64 eps ||x||) are zero. With k at least (1 + s / mu) / 2, where mu is the coherence and s the ratio of the
    smallest to the largest active magnitude, an exact support is not guaranteed; below that it is.

    Parameters
    ----------
    k : atoms a row, in [1, p].
    refit : solve least squares on the support instead of coding by the correlations. An atom that depends on others of
        the support (squared distance below 1e-10) gets no coefficient.
    non_negative : choose positive correlations and, with ``refit``, solve non-negative least squares.
    """

    k: int
    refit: bool = False
    non_negative: bool = False

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds p."""
        x, atoms = checked(x, atoms)
        k = check_int("k", self.k, 1, len(atoms), high_name="p")

        def code(block: Block) -> Parts:
            floor = block.floor * np.sqrt(np.square(block.x).sum(axis=1))
            parts = placed(
                block,
                np.full(len(block.x), k),
                lambda out: strongest_(block.alpha, k, floor, bool(self.non_negative), out),
            )
            return _refitted(block, parts, bool(self.non_negative)) if self.refit else parts

        return in_blocks(x, atoms, code)


@final
@dataclass(frozen=True)
class CorrelationThreshold:
    """Encodes by all correlations above ``level``: ``z = x A^T`` where ``|x A^T| > level``, and zero elsewhere.

    This is a JumpReLU encoder with tied unit weights and one threshold. Correlations that are not told from rounding
    (64 eps ||x||) are zero whatever the level.

    Parameters
    ----------
    level : at least 0, in the units of x.
    refit : solve least squares on the support instead of coding by the correlations. An atom that depends on others of
        the support (squared distance below 1e-10) gets no coefficient.
    non_negative : keep positive correlations only and, with ``refit``, solve non-negative least squares.
    """

    level: float
    refit: bool = False
    non_negative: bool = False

    def __post_init__(self) -> None:
        check_real("level", self.level, 0.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        x, atoms = checked(x, atoms)

        def code(block: Block) -> Parts:
            floor = block.floor * np.sqrt(np.square(block.x).sum(axis=1))
            floor = np.maximum(scaled_penalty(float(self.level), block.scale), floor)
            score = block.alpha if self.non_negative else np.abs(block.alpha)
            rows, indices = np.nonzero(score > floor[:, None])
            indptr = np.searchsorted(rows, np.arange(len(block.x) + 1))
            parts = (block.alpha[rows, indices], indices.astype(np.int32), indptr)
            return _refitted(block, parts, bool(self.non_negative)) if self.refit else parts

        return in_blocks(x, atoms, code)


@final
@dataclass(frozen=True)
class IterativeHardThresholding:
    """Encodes by a fixed point of ``z <- H_k(z + t (x - z A) A^T)``, where H_k keeps the k largest magnitudes.

    Without ``step``, t is the best step on the current support, halved while a change of support could raise the error,
    so that the error never rises. A given step never raises the error below 1 / ||A_T||^2 for every set T of 2k atoms;
    above, the row may diverge, and the best codes seen are returned. With ``non_negative``, H_k keeps the k largest
    positive values. A row also ends when no correlation is told from rounding (64 eps ||x||), and ties go to the lowest
    index. Computed in float64 whatever the precision of ``x``.

    Parameters
    ----------
    k : atoms a row, in [1, min(p, d)].
    step : t, above 0, or None for the normalised step.
    non_negative : keep positive values only.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.
    max_iter : steps at most.
    precision : a row ends when a step changes z by at most this fraction of ||z||.

    References
    ----------
    Blumensath and Davies (2009), "Iterative hard thresholding for compressed sensing", arXiv:0805.0510; (2010),
    "Normalized iterative hard thresholding: guaranteed stability and performance".
    """

    k: int
    step: float | None = None
    non_negative: bool = False
    tolerance: float = 0.0
    max_iter: int = 1000
    precision: float = 1e-10

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        if self.step is not None:
            check_real("step", self.step, 0.0, open_low=True)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iter", self.max_iter, 1)
        check_real("precision", self.precision, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds min(p, d)."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` reached from ``start (n, p)`` instead of from zero, of no larger error.

        There are many fixed points: another start may end at another. Of ``start`` the k largest codes of a row count
        (the positive ones, if ``non_negative``); a row that they fit worse than zero does begins at zero.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        k = same_k(self.k, atoms, len(x))
        options = (0.0 if self.step is None else float(self.step), self.max_iter, float(self.precision))
        begin = within_sight(begun(start, x, atoms, self.k, bool(self.non_negative)), x)

        def code(block: Block) -> Parts:
            limit, given = (block.floor, float(self.tolerance), bool(self.non_negative)), part(begin, block)
            return placed(
                block,
                k[block.rows],
                lambda out: hard_thresholding_(
                    block.x, block.alpha, block.dictionary, int(self.k), limit, options, given, out
                ),
            )

        return in_blocks(x, atoms, code)


@final
@dataclass(frozen=True)
class HardThresholdingPursuit:
    """Encodes by least squares on a support that is its own successor: the k largest of ``|z + t (x - z A) A^T|``.

    A step takes that support and solves least squares on it; the row ends when the support repeats, which it does
    within finitely many steps if t is below 1 / ||A_T||^2 for every set T of 2k atoms (the error then falls at every
    change). Where supports cycle instead, the best codes seen are returned after ``max_iter`` steps. One step is
    `CorrelationTopK` with ``refit``. Numbers and early ends are those of `SubspacePursuit`.

    Parameters
    ----------
    k : atoms a row, in [1, min(p, d)].
    step : t, above 0; 1 suits atoms of low coherence.
    non_negative : keep positive values and solve non-negative least squares.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.
    max_iter : steps at most.

    References
    ----------
    Foucart (2011), "Hard thresholding pursuit: an algorithm for compressive sensing".
    """

    k: int
    step: float = 1.0
    non_negative: bool = False
    tolerance: float = 0.0
    max_iter: int = 100

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("step", self.step, 0.0, open_low=True)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iter", self.max_iter, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds min(p, d)."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` reached from least squares on the atoms of ``start (n, p)`` instead of from zero.

        There are many supports that are their own successors: another start may end at another. Of ``start`` the k
        largest codes of a row count (the positive ones, if ``non_negative``).

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        return searched(HARD, x, atoms, self, (float(self.step), 0.0, self.max_iter), start)
