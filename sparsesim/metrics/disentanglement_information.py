"""What each code tells of each true feature, in shares of the feature's entropy: the gap, and how it is spread.

A code is read by its state: silent (exactly zero), or in which of a few levels of equal count its value lies among the
values that are not zero. States do not change with the scale of a code, nor, where it is dense or never negative, under
any increasing function of it, but for values on the very edge of two levels (as the median, if n is odd). The
information between two codes is that of the table of their states, without a correction: it is above zero by about
``(states - 1)^2 / 2n`` nats for codes that know nothing of each other. Where many features are summed over that is what
is summed: `chance_of_codes` says how much it makes.

References
----------
Hsu et al. (2023), "Disentanglement via latent quantization", arXiv:2305.18378, for InfoM, InfoC and InfoE; Chen et al.
(2018), "Isolating sources of disentanglement in variational autoencoders", arXiv:1802.04942, for the gap (MIG). Their
estimators are others: nearest neighbours, and histograms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import csc_array
from scipy.special import xlogy
from scipy.stats import rankdata

from sparsesim._arrays import FloatArray, IntArray, check_int
from sparsesim.metrics.disentanglement_codes import (
    AnyCodes,
    Mask,
    dense_pair,
    mean_of_defined,
    unit_columns,
    varying,
)
from sparsesim.metrics.evaluation import Evaluation

LEVELS = 4
_PRUNED = 1 / 20  # of the largest range, as released
_SAME_DIRECTION = 1e-6  # rounding of float32 codes is no direction of its own
_BLOCK = 2**22  # counts held at once


def states(codes: FloatArray, levels: int = LEVELS) -> IntArray:
    """Return the state of each code ``(n, q)``: 0 where it is silent, else 1 + its level, lowest first.

    A level is ``floor(levels * (r - 1/2) / N)`` for the mean rank r among the N values of the column that are not zero,
    so that equal values share it. A column of negative sum is read with its sign changed: the sign is no state.
    """
    own = np.where(codes.sum(axis=0) < 0, -1.0, 1.0) * codes
    silent = own == 0
    rank = rankdata(np.where(silent, np.nan, own), axis=0, nan_policy="omit")
    level = np.floor(levels * (rank - 0.5) / np.maximum((~silent).sum(axis=0), 1))
    return np.where(silent, 0, 1 + np.nan_to_num(level)).astype(np.int64)


def _indicators(state: IntArray, levels: int) -> csc_array:
    """Return which sample is in which state that is not silent, ``(n, q * levels)``."""
    rows, columns = np.nonzero(state)
    places = columns * levels + state[rows, columns] - 1
    return csc_array((np.ones(len(rows)), (rows, places)), shape=(len(state), state.shape[1] * levels))


def _tables(first: csc_array, second: csc_array, levels: int) -> FloatArray:
    """Return the counts ``(a, b, levels + 1, levels + 1)`` of all pairs of states, silence first."""
    n, a, b = first.shape[0], first.shape[1] // levels, second.shape[1] // levels
    both = (first.T @ second).toarray().reshape(a, levels, b, levels).transpose(0, 2, 1, 3)
    rows = np.asarray(first.sum(axis=0)).reshape(a, 1, levels)
    columns = np.asarray(second.sum(axis=0)).reshape(1, b, levels)
    table = np.zeros((a, b, levels + 1, levels + 1))
    table[:, :, 1:, 1:] = both
    table[:, :, 1:, 0] = rows - both.sum(axis=3)
    table[:, :, 0, 1:] = columns - both.sum(axis=2)
    table[:, :, 0, 0] = n - table.sum(axis=(2, 3))
    return table


def _entropy(counts: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    share = counts / counts.sum(axis=axis, keepdims=True)
    return np.asarray(-xlogy(share, share).sum(axis=axis))


def mutual_information(learned: AnyCodes, true: AnyCodes, levels: int = LEVELS) -> tuple[FloatArray, FloatArray]:
    """Return I(s_i; z_j) ``(m, p)`` and H(s_i) ``(m,)`` of the states of true and learned codes, in nats.

    The plug-in estimate from the table of counts; see the module for states and for its excess.

    Raises
    ------
    ValueError, TypeError
        Unless the codes are finite, real and of the same samples, and there is at least one level.
    """
    z, s = dense_pair(learned, true)
    check_int("levels", levels, 1)
    first, second = _indicators(states(s, levels), levels), _indicators(states(z, levels), levels)
    m, p = s.shape[1], z.shape[1]
    found, own = np.zeros((m, p)), np.zeros(m)
    step = max(1, _BLOCK // max(1, p * (levels + 1) ** 2))
    for start in range(0, m, step):
        part = first[:, start * levels : (start + step) * levels]
        table = _tables(part, second, levels)
        sides = _entropy(table.sum(axis=3), 2) + _entropy(table.sum(axis=2), 2)
        found[start : start + step] = np.maximum(sides - _entropy(table, (2, 3)), 0.0)
        mine = np.asarray(part.sum(axis=0)).reshape(-1, levels)
        own[start : start + step] = _entropy(np.column_stack([len(s) - mine.sum(axis=1), mine]), 1)
    return found, own


@final
@dataclass(frozen=True, eq=False)
class InfoMEC:
    """Modularity, explicitness and compactness of codes, each in [0, 1].

    Attributes
    ----------
    shares : (m', p) I(s_i; z_j) / H(s_i) of the m' features that vary, without those that stay in one state.
    heard : (p,) latents whose range exceeds 1/20 of the largest, which alone are counted in ``infom`` and ``infoc``.
    explained : (m',) share of a feature's variance that least squares on all codes explains.
    """

    shares: FloatArray
    heard: Mask
    explained: FloatArray

    @property
    def infom(self) -> float:
        """Return how much each latent tells of one feature alone; see the function of this name."""
        return _concentration(self.shares[:, self.heard].T)

    @property
    def infoc(self) -> float:
        """Return how much each feature is told of by one latent alone; see the function of this name."""
        return _concentration(self.shares[:, self.heard])

    @property
    def infoe(self) -> float:
        """Return how much a linear reader gets of each feature; see the function of this name."""
        return mean_of_defined(self.explained)

    @property
    def mig(self) -> float:
        """Return the gap between the two latents that tell most; see the function of this name."""
        if not len(self.shares):
            return float("nan")
        ordered = np.sort(np.concatenate([np.zeros((len(self.shares), 2)), self.shares], axis=1), axis=1)
        return float((ordered[:, -1] - ordered[:, -2]).mean())


def _concentration(shares: FloatArray) -> float:
    """Return the mean over rows of (largest share of the row's sum - 1/q) / (1 - 1/q), 0 for a row without any."""
    count, q = shares.shape
    if not count or q < 2:
        return float("nan")
    total = shares.sum(axis=1)
    largest = np.divide(shares.max(axis=1), total, out=np.full(count, 1.0 / q), where=total > 0)
    return float(((largest - 1.0 / q) / (1.0 - 1.0 / q)).mean())


def infomec(learned: AnyCodes, true: AnyCodes, levels: int = LEVELS) -> InfoMEC:
    """Return what `infom`, `infoc`, `infoe` and `mig` are made of, for ``learned (n, p)`` and ``true (n, m)`` codes.

    Raises
    ------
    ValueError, TypeError
        Unless the codes are finite, real and of the same samples, and there is at least one level.
    """
    z, s = dense_pair(learned, true)
    s = s[:, varying(s)]
    shared, entropy = mutual_information(z, s, levels)
    reach = np.ptp(z, axis=0) if z.size else np.zeros(z.shape[1])
    heard = reach > _PRUNED * reach.max(initial=0.0)
    told = entropy > 0  # a dense feature has one state at one level
    return InfoMEC(shared[told] / entropy[told, None], heard, _explained(z, s))


def _explained(learned: FloatArray, true: FloatArray) -> FloatArray:
    """Return the share of the variance of each true feature in the span of the learned codes, ``(m,)``."""
    _, values, basis = np.linalg.svd(unit_columns(learned), full_matrices=False)
    kept = basis[values > _SAME_DIRECTION * values.max(initial=1.0)]
    return np.asarray(np.minimum(np.square(unit_columns(true) @ kept.T).sum(axis=1), 1.0))


def infom(evaluation: Evaluation) -> float:
    """Return how much of what a latent tells is about one feature, a mean over the latents.

    ``(mean_j [max_i r_ij / sum_i r_ij] - 1/m) / (1 - 1/m)`` with ``r_ij = I(s_i; z_j) / H(s_i)`` of states, over
    latents whose range is above 1/20 of the largest, and features that vary. 1 where each latent tells of one feature
    alone; the truth has that only as far as features are independent and n is large, since by chance it tells a little
    of every other (`chance_of_codes`). 0 for a latent that tells of all alike, or of none. Blind to order, sign and
    atoms; not to unequal scales, which make latents inaudible. NaN for fewer than two features that vary, or without a
    latent that does.
    """
    return infomec(evaluation.codes, evaluation.true_codes).infom


def infoc(evaluation: Evaluation) -> float:
    """Return how much of what is told of a feature is told by one latent: `infom` with features and latents exchanged.

    Truth, chance and gauge as there; a feature of which no latent tells counts 0. NaN for fewer than two latents heard,
    or without a feature that varies.
    """
    return infomec(evaluation.codes, evaluation.true_codes).infoc


def infoe(evaluation: Evaluation) -> float:
    """Return the share of a feature's variance that least squares on all codes explains, a mean over features.

    Over those that vary, in the samples of the batch themselves: independent codes of rank r have r / (n - 1), and n
    samples as many codes explain all. The truth has 1, and so has any invertible matrix times it: explicit is not
    disentangled. 0 for silent codes; NaN without a feature that varies.
    """
    return infomec(evaluation.codes, evaluation.true_codes).infoe


def mig(evaluation: Evaluation) -> float:
    """Return the mutual information gap: how much more the best latent tells of a feature than the second best.

    ``mean_i (r_i(1) - r_i(2))``, r sorted, in shares of H(s_i), over features that vary. The truth has 1 less what
    features tell of each other, in truth and by chance; two latents that share a feature have 0, and so, to about a
    thousandth at n = 1000, have codes that know nothing. Blind to order, sign, scale and atoms. NaN without a feature
    that varies.
    """
    return infomec(evaluation.codes, evaluation.true_codes).mig
