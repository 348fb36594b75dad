"""Latents that share one feature, latents that join several, and latents that stand for nothing in the truth.

A latent is alive if it fires in the batch. Copies of one atom are counted by `uniqueness`.

References
----------
Bricken et al. (2023), "Towards monosemanticity", for splitting; Leask et al. (2025), "Sparse autoencoders do not find
canonical units of analysis", arXiv:2502.04878, for latents composed of others.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array

from sparsesim._arrays import FloatArray, IntArray, Rng, check_real, unit_rows
from sparsesim.metrics.evaluation import Evaluation

_SPLIT = 0.7  # |cos| to a feature from which a latent counts as one of its parts: just below that of a + b to a
_TOGETHER = 0.1  # share of the rarer part's samples in which another may fire with it
_PART = 0.05  # share of the feature's samples below which a latent is an accident and no part
_EXPLAINED = 0.9  # norm of an atom inside the span of features that explain it
_FAKE = 0.5  # |cos| below which no true feature is behind a latent
_BLOCK = 2**22  # cosines held at once


def _alive(evaluation: Evaluation) -> IntArray:
    alive: IntArray = np.unique(evaluation.codes.indices)
    return alive


def split_parts(
    evaluation: Evaluation, *, threshold: float = _SPLIT, together: float = _TOGETHER, part: float = _PART
) -> dict[int, IntArray]:
    """Return the latents that divide a feature's samples among them, for each true feature that is split.

    Latents of |cos| > ``threshold`` to the feature which fire in at least the share ``part`` of its samples, and of
    which at least one other fires apart: in at most the share ``together`` of the samples of the rarer of the two.
    Copies of one atom fire together and are no split. Only samples in which the feature fires are counted.

    Raises
    ------
    ValueError
        Unless the three numbers lie in [0, 1].
    """
    for name, value in (("threshold", threshold), ("together", together), ("part", part)):
        check_real(name, value, 0.0, 1.0)
    near = np.abs(evaluation.cosines) > threshold
    true, learned = csc_array(evaluation.true_codes), csc_array(evaluation.codes != 0).astype(np.float64)
    parts: dict[int, IntArray] = {}
    for feature in np.flatnonzero(near.sum(axis=1) > 1).tolist():
        atoms = np.flatnonzero(near[feature])
        samples = true.indices[true.indptr[feature] : true.indptr[feature + 1]]
        fires = learned[:, atoms][samples]
        both = np.asarray((fires.T @ fires).toarray())
        often = np.diag(both)
        kept = (often > 0) & (often >= part * len(samples))
        apart = both <= together * np.minimum(often[:, None], often)
        divided = kept & (apart & kept).any(axis=1)
        if divided.any():
            parts[feature] = atoms[divided]
    return parts


def feature_splitting(evaluation: Evaluation) -> float:
    """Return the share of true features that fire in the batch whose samples several latents divide among them.

    As `split_parts` has it: |cos| > 0.7 to the feature, at least 5 % of its samples each, together in at most 10 % of
    those of the rarer. The truth has 0, and so have copies of the truth; random directions next to 0 unless d is small
    (their |cos| rarely exceeds 0.7). NaN if no feature fires.
    """
    present = len(np.unique(evaluation.true_codes.indices))
    return len(split_parts(evaluation)) / present if present else float("nan")


def _norm_in_two(cosine: FloatArray, true: FloatArray) -> FloatArray:
    """Return the norm of each atom's projection on its best feature and the one that then adds most, ``(p,)``."""
    best = np.abs(cosine).argmax(axis=1)
    first = cosine[np.arange(len(cosine)), best][:, None]
    between = true[best] @ true.T
    alone = 1.0 - np.square(between)
    added = np.divide(np.square(cosine - between * first), alone, out=np.zeros(cosine.shape), where=alone > 1e-8)
    return np.asarray(np.sqrt(np.square(first[:, 0]) + added.max(axis=1, initial=0.0)))


def composition(evaluation: Evaluation) -> float:
    """Return the share of alive latents that two true features explain and one does not.

    The projection of the unit atom on the span of its nearest feature and of the feature that then adds most has a norm
    of at least 0.9, while no |cos| reaches 0.9. The nearest pair found in this order need not be the best of all. An
    atom that absorbed its parent fully is one. The truth has 0; random directions nearly 0 in many dimensions but not
    in few, where two of m features reach far: read it beside the row of a random dictionary. NaN if nothing fires.
    """
    alive = _alive(evaluation)
    if not len(alive):
        return float("nan")
    true, _ = unit_rows(np.asarray(evaluation.truth.atoms, dtype=np.float64))
    composed, step = 0, max(1, _BLOCK // len(true))
    for start in range(0, len(alive), step):
        cosine = evaluation.cosines[:, alive[start : start + step]].T
        single = np.abs(cosine).max(axis=1)
        composed += int(((single < _EXPLAINED) & (_norm_in_two(cosine, true) >= _EXPLAINED)).sum())
    return composed / len(alive)


def fake_feature_ratio(evaluation: Evaluation) -> float:
    """Return the share of alive latents without a true feature of |cos| >= 0.5.

    The truth has 0. A random direction has ``F(1/4)^m``, F the distribution function of Beta(1/2, (d - 1)/2), if the
    true directions are independent: 0.998 at d = 100 and m = 20,000, but 0.13 at d = 6 and m = 7. NaN if nothing fires.
    `fake_firing_ratio` needs no truth.
    """
    best = np.abs(evaluation.cosines[:, _alive(evaluation)]).max(axis=0, initial=0.0)
    return float((best < _FAKE).mean()) if len(best) else float("nan")


def fake_firing_ratio(evaluation: Evaluation, *, threshold: float = 0.01, rng: Rng) -> float:
    """Return the share of alive latents that fire in more than ``threshold`` of as many samples of Gaussian noise.

    The noise has the mean and the covariance of the batch and none of its sparsity. No truth is read and no value is
    right: a latent of a true feature answers to noise along its direction as well, unless its threshold is high. To
    compare dictionaries at equal `l0`. NaN if nothing fires in the batch.

    Parameters
    ----------
    threshold : firing rate on noise above which a latent is fake, in [0, 1].
    rng : from which the noise is drawn.

    Raises
    ------
    ValueError
        If the threshold is outside [0, 1].

    References
    ----------
    Cho et al. (2025), "FaithfulSAE", arXiv:2506.17673, for firing on inputs outside of the distribution.
    """
    check_real("threshold", threshold, 0.0, 1.0)
    alive, x = _alive(evaluation), np.asarray(evaluation.batch.x, dtype=np.float64)
    if not len(alive):
        return float("nan")
    mean = x.mean(axis=0)
    _, spread, axes = np.linalg.svd(x - mean, full_matrices=False)
    noise = rng.standard_normal((len(x), len(spread))) * (spread / np.sqrt(len(x))) @ axes + mean
    codes = evaluation.fitted.encode(noise.astype(evaluation.batch.x.dtype, copy=False))
    rates = np.bincount(codes.indices[codes.data != 0], minlength=codes.shape[1])[alive] / len(x)
    return float((rates > threshold).mean())
