"""Exact recovery of a square dictionary: the sparsest combinations of the coordinates are the rows of the codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, unit_rows
from sparsesim.solvers.base import FittedDictionary, Status, unit_dictionary
from sparsesim.solvers.learn import prepare
from sparsesim.solvers.least_absolute import least_absolute, whitener
from sparsesim.solvers.pursuit import checked

GAP = 1e-6  # relative duality gap above which a programme counts as unsolved
INDEPENDENT = 1e-3  # sine of the angle to those taken before (uncorrelated codes: near 1; copies of one: near 1e-8)
SAME = 0.999  # cosine with the direction found by the programme that its refinement must keep


@final
@dataclass(frozen=True)
class ExactInverse:
    """Encodes by the only codes that give x in a square basis, ``z = x A^-1``, less what is rounding.

    Parameters
    ----------
    zero : coefficients of at most this fraction of the row's largest are set to zero.
    """

    zero: float = 1e-8

    def __post_init__(self) -> None:
        check_real("zero", self.zero, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, d)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError
            If ``atoms`` is not a basis, d independent rows.
        """
        x, atoms = checked(x, atoms)
        if len(atoms) != x.shape[1] or np.linalg.cond(atoms.astype(np.float64)) > 1e12:
            raise ValueError(
                f"atoms must be a basis of R^{x.shape[1]}; got {len(atoms)} rows of rank "
                f"{np.linalg.matrix_rank(atoms)}. Use LinearProjection or a pursuit."
            )
        dense = x @ np.linalg.inv(atoms.astype(np.float64))
        size = np.abs(dense)
        dense[size <= self.zero * size.max(axis=1, keepdims=True, initial=0.0)] = 0.0
        return Codes(dense.astype(x.dtype))


@final
@dataclass(frozen=True)
class ERSpUD:
    """Learns a basis A by the programmes ``min ||x w||_1, <r, w> = 1``, whose solutions are columns of the codes.

    For samples x = Z A without noise, A square, every column of Z is some ``x w``, and where Z is sparse enough the
    sparsest of all combinations are such columns. Each programme takes r to be a sample or the sum of two (``pairs``,
    the form DC; else SC): with ``w = A^-1 u`` it looks for the sparsest u-combination of codes, and finds one column
    where the largest entry of r's code stands out. The combinations are ordered by their number of non-zeros and
    taken while independent, until there are d. Theory: Bernoulli-Gaussian codes of rate theta below c / sqrt(d), and
    samples of order d^2 log^2 d. With noise nothing is exactly zero and the order means little.

    CONVERGED says that d independent combinations were found and each programme behind them solved to a relative gap
    of 1e-6: not that they are the truth. If there are fewer, directions orthogonal to them (in whitened samples) fill
    up and the status is BUDGET_SPENT. The trace has ``zeros``, for each combination the fraction of samples whose code
    vanishes, and ``gap``. The encoder of the fit is `ExactInverse`; the bias is zero.

    Parameters
    ----------
    width : p, which must be the dimension d of the samples.
    pairs : the sum of two samples in place of one: a larger gap between its largest entry and the next.
    programmes : at most so many, with random samples; 0 uses all samples, n programmes or n / 2 pairs. Every feature
        must come up: several times d log d.
    zero : fraction of its largest entry at which an entry of a combination counts as zero.

    References
    ----------
    Spielman, Wang, Wright (2012), "Exact recovery of sparsely-used dictionaries", arXiv 1206.5882: ER-SpUD(SC), (DC)
    and the greedy selection.
    """

    width: int
    pairs: bool = True
    programmes: int = 0
    zero: float = 1e-6

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("programmes", self.programmes, 0)
        check_real("zero", self.zero, 0.0, 0.1)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the basis learned from ``x (n, d)``.

        Raises
        ------
        ValueError
            If the width is not d, or the samples have rank below d.
        """
        samples, scale, bias, _ = prepare(x, centre=False)
        if samples.shape[1] != self.width:
            raise ValueError(
                f"width must be d={samples.shape[1]}, since ER-SpUD learns square dictionaries; got {self.width}. "
                "Use KSVD or OnlineDictionaryLearning for another width."
            )
        samples /= scale
        whitening = whitener(samples)
        white = samples @ whitening
        w, gaps = least_absolute(white, _equations(white, self.pairs, self.programmes, rng))
        chosen = _independent(w, _non_zeros(white, w, self.zero))
        rows = np.stack([_refined(white, w[row], self.zero) for row in chosen])
        solved = bool((gaps[chosen] <= GAP).all()) and len(chosen) == self.width
        zeros = 1 - _non_zeros(white, rows, self.zero) / len(white)
        trace = {"zeros": tuple(zeros.tolist()), "gap": tuple(gaps[chosen].tolist())}
        atoms = np.linalg.inv(whitening @ _completed(rows).T)
        return unit_dictionary(atoms, bias, ExactInverse(), Status.CONVERGED if solved else Status.BUDGET_SPENT, trace)


def _equations(x: FloatArray, pairs: bool, programmes: int, rng: Rng) -> FloatArray:
    """Return samples in random order, or sums of two, those that vanish left out."""
    order = rng.permutation(len(x))
    half = len(x) // 2
    rows = x[order[:half]] + x[order[half : 2 * half]] if pairs and half else x[order]
    rows = rows[rows.any(axis=1)]
    return rows[:programmes] if programmes else rows


def _non_zeros(x: FloatArray, w: FloatArray, zero: float) -> IntArray:
    values = np.abs(x @ w.T)
    count: IntArray = np.count_nonzero(values > zero * values.max(axis=0), axis=0)
    return count


def _independent(w: FloatArray, counts: IntArray) -> IntArray:
    """Return which rows to take: fewest non-zeros first, each independent of those before, at most d."""
    basis, chosen = np.empty((0, w.shape[1])), []
    unit = unit_rows(w)[0]
    for row in np.argsort(counts, kind="stable"):
        left = unit[row] - (unit[row] @ basis.T) @ basis
        left -= (left @ basis.T) @ basis
        if np.linalg.norm(left) > INDEPENDENT:
            basis = np.concatenate([basis, unit_rows(left[None])[0]])
            chosen.append(row)
        if len(chosen) == w.shape[1]:
            break
    return np.array(chosen, dtype=np.int64)


def _refined(x: FloatArray, w: FloatArray, zero: float) -> FloatArray:
    """Return the unit direction that best annihilates the samples which ``w`` does, ``w`` itself where that differs."""
    unit: FloatArray = unit_rows(w[None])[0][0]
    values = np.abs(x @ unit)
    silent = x[values <= zero * values.max()]
    direction: FloatArray = np.linalg.eigh(silent.T @ silent)[1][:, 0]
    cosine = float(direction @ unit)
    return np.sign(cosine) * direction if abs(cosine) > SAME else unit


def _completed(rows: FloatArray) -> FloatArray:
    """Return ``(d, d)``: the rows, and below them orthonormal directions orthogonal to all."""
    if len(rows) == rows.shape[1]:
        return rows
    return np.concatenate([rows, np.linalg.svd(rows, full_matrices=True)[2][len(rows) :]])
