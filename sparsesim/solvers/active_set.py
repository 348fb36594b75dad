"""Quadratic programmes of one sample on an active set: elastic net, reweighted l1 and non-negative least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real
from sparsesim.kernels.active_set import active_set_
from sparsesim.kernels.pursuit import correlate, room, rows_of
from sparsesim.solvers.blocks import binary_scale, row_blocks, scaled_penalty
from sparsesim.solvers.pursuit import checked
from sparsesim.solvers.start import checked_start

STORED_GRAM = 4096  # for a wider dictionary sweeps multiply residuals with the atoms (64 MiB of Gram matrix)
STORED_PRODUCTS = 1024  # for a wider one products of active atoms are taken as needed (8 MiB of Gram matrix in float64)
BLOCK_ENTRIES = 2**19  # correlations held at a time: they stay in cache
STEPS = (
    100,
    10,
)  # sweeps after which a row has met its rounding: the first, and so many for each active atom there can be


@final
@dataclass(frozen=True)
class ActiveSet:
    """The programme ``min_z ||x - z A||^2 / 2 + penalty sum_i w_i |z_i| + ridge ||z||^2 / 2``, and when to stop.

    Attributes
    ----------
    penalty : weight of the l1 norm, at least zero; zero needs ``non_negative``, and is then non-negative least squares.
    ridge : weight of the squared norm, at least zero.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap; without a penalty the largest slope A (x - z A) over ||x||.
    max_iterations : sweeps over all atoms.
    """

    penalty: float
    ridge: float = 0.0
    non_negative: bool = False
    tolerance: float = 1e-6
    max_iterations: int = 10_000

    def solve(
        self, x: FloatArray, atoms: FloatArray, weights: Codes | None = None, start: Codes | None = None
    ) -> tuple[Codes, FloatArray]:
        """Return the codes ``(n, p)`` of checked samples, and the tolerances ``(n,)`` they meet.

        ``weights (n, p)`` stores the w in (0, 1) that differ from 1; the atoms of ``start (n, p)`` begin active.
        """
        n, p = len(x), len(atoms)
        gaps, most = np.zeros(n), p if self.ridge > 0 else min(atoms.shape)
        if not n:
            return Codes((n, p), dtype=x.dtype), gaps
        stop = (float(self.tolerance), min(int(self.max_iterations), STEPS[0] + STEPS[1] * most))
        dictionary = (*_stored(atoms), float(self.ridge))
        columns = np.asfortranarray(dictionary[2])
        parts = []
        for rows in row_blocks(n, BLOCK_ENTRIES, max(p, most)):
            scale = binary_scale(x[rows])
            block = x[rows] / scale
            place, out = room(np.full(len(block), most), np.dtype(np.float64))
            law = (scaled_penalty(self.penalty, scale), scale[:, 0].astype(np.float64), bool(self.non_negative))
            listed, begin = _listed(weights, rows, len(block)), _listed(start, rows, len(block), self.non_negative)
            begin[2][:] /= np.repeat(law[1], np.diff(begin[0]))
            b, wide = correlate(block.astype(np.float32, copy=False), columns), block.astype(np.float64, copy=False)
            active_set_(wide, b, dictionary, law, listed, stop, begin, (place[:-1], *out, gaps[rows]))
            data, indices, indptr = rows_of(place, out[2], out[0], out[1])
            parts.append((data.astype(x.dtype), indices, np.diff(indptr)))
        data, indices, sizes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Codes((data, indices, np.concatenate([[0], np.cumsum(sizes)])), shape=(n, p)), gaps


def _stored(atoms: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the Gram matrix and the atoms in float32 and in float64, by the number of atoms alone.

    A Gram matrix that is too large to store is (0, p).
    """
    p, narrow, wide = len(atoms), atoms.astype(np.float32, copy=False), atoms.astype(np.float64, copy=False)
    if p > STORED_GRAM:
        return np.empty((0, p), np.float32), np.empty((0, p)), narrow, wide
    if p > STORED_PRODUCTS:
        return correlate(narrow, narrow), np.empty((0, p)), narrow, wide
    products = correlate(wide, wide)
    return products.astype(np.float32), products, narrow, wide


def _listed(
    weights: Codes | None, rows: slice, count: int, positive: bool = False
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return limits, atoms and numbers of the block's rows, or the positive ones; empty rows where there are none."""
    if weights is None:
        return np.zeros(count + 1, np.int64), np.empty(0, np.int64), np.empty(0)
    part = Codes(weights[rows], copy=True)
    if positive:
        part.data[part.data < 0] = 0
    part.eliminate_zeros()
    return part.indptr.astype(np.int64), part.indices.astype(np.int64), part.data.astype(np.float64)


@final
@dataclass(frozen=True)
class ElasticNet:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * ||z||_1 + ridge * ||z||^2 / 2``.

    It is the lasso of the samples ``(x, 0)`` in the atoms ``(A, sqrt(ridge) I)``, and ends as `Lasso` does, at a
    duality gap of at most ``tolerance * ||x||^2 / 2``; with ``ridge = 0`` it is `Lasso`. Equal atoms share their code.

    Parameters
    ----------
    penalty : weight of the l1 norm, positive, in the units of ``x``.
    ridge : weight of the squared norm, at least zero, without units.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap.
    max_iterations : sweeps over all atoms.

    References
    ----------
    Zou and Hastie (2005), "Regularization and variable selection via the elastic net", eq. 3 and Lemma 1.
    """

    penalty: float
    ridge: float
    non_negative: bool = False
    tolerance: float = 1e-6
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        check_real("penalty", self.penalty, 0.0, open_low=True)
        check_real("ridge", self.ridge, 0.0)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iterations", self.max_iterations, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the same codes ``(n, p)`` to within the tolerance, with the atoms of ``start (n, p)`` active at first.

        With ``non_negative`` negative entries of the start are taken as zero.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        programme = ActiveSet(self.penalty, self.ridge, self.non_negative, self.tolerance, self.max_iterations)
        return programme.solve(x, atoms, start=begin)[0]


@final
@dataclass(frozen=True)
class NonNegativeLeastSquares:
    """Encodes each row by ``argmin_{z >= 0} ||x - z A||^2``, at most min(p, d) codes positive.

    At the result the slopes A (x - z A) are at most ``tolerance * ||x||`` and vanish, as far as rounding allows, where
    a code is positive. Atoms are admitted several at a time, those of largest slope first; a coefficient that reaches
    zero leaves. Where atoms depend on each other the minimum is not unique, and the codes are one of its corners.

    Parameters
    ----------
    tolerance : the slope, over ||x||, above which an atom is admitted.
    max_iterations : sweeps over all atoms.

    References
    ----------
    Lawson and Hanson (1974), "Solving least squares problems", chapter 23.
    """

    tolerance: float = 1e-10
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iterations", self.max_iterations, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` of the same fit, with the positive entries of ``start (n, p)`` active at first.

        Where atoms depend on each other, another start may end at another corner of the minimum.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        programme = ActiveSet(0.0, 0.0, True, self.tolerance, self.max_iterations)
        return programme.solve(x, atoms, start=begin)[0]


@final
@dataclass(frozen=True)
class ReweightedLasso:
    """Encodes by a sequence of lassos, each penalising a coefficient by what it was in the one before.

    The first is ``argmin_z ||x - z A||^2 / 2 + penalty ||z||_1``; then ``penalty_i = penalty e / (|z_i| + e)`` with
    e = ``epsilon * max |z|`` of the row's first codes: large coefficients are hardly shrunk, those at zero pay in full.
    Each pass lowers ``||x - z A||^2 / 2 + penalty e sum_i log(1 + |z_i| / e)``, whose minimum it need not reach.
    ``passes = 0`` is `Lasso`.

    Parameters
    ----------
    penalty : weight of the l1 norm, positive, in the units of ``x``.
    passes : lassos after the first.
    epsilon : positive, without units: the coefficient, over the row's largest, whose penalty is halved.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap of each lasso.

    References
    ----------
    Candès, Wakin and Boyd (2008), "Enhancing sparsity by reweighted l1 minimization", arXiv:0711.1612, section 2.
    """

    penalty: float
    passes: int = 3
    epsilon: float = 0.1
    non_negative: bool = False
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_real("penalty", self.penalty, 0.0, open_low=True)
        check_int("passes", self.passes, 0)
        check_real("epsilon", self.epsilon, 0.0, open_low=True)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the same codes ``(n, p)`` as far as the tolerance fixes them: ``start (n, p)`` begins the first lasso.

        The weights of the others follow from that lasso's minimum, whatever the start.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        programme = ActiveSet(self.penalty, 0.0, self.non_negative, self.tolerance)
        codes, _ = programme.solve(x, atoms, start=begin)
        largest = abs(codes).max(axis=1).toarray().astype(np.float64)
        for _ in range(self.passes):
            weights = codes.astype(np.float64)
            offset = self.epsilon * np.repeat(largest, np.diff(codes.indptr))
            weights.data = offset / (np.abs(weights.data) + offset)
            codes, _ = programme.solve(x, atoms, weights)
        return codes
