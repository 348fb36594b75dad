"""Codes held against the true codes one to one, whatever their atoms: for worlds where atoms say little, or nothing.

The matching is found among the codes themselves, so that a nonlinear decoder, or a dictionary that is a basis of the
right space in other axes, is scored by what its latents report. `code_correlation` matches by the atoms instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import issparse
from scipy.stats import rankdata

from sparsesim._arrays import Codes, FloatArray, check_int, check_matrix, check_real
from sparsesim._identity import Role, stream
from sparsesim.metrics.chance import ChanceLevel
from sparsesim.metrics.evaluation import Evaluation

AnyCodes: TypeAlias = npt.ArrayLike | Codes  # dense or sparse (n, q)
Mask: TypeAlias = npt.NDArray[np.bool_]


def dense_pair(learned: AnyCodes, true: AnyCodes) -> tuple[FloatArray, FloatArray]:
    """Return both codes as dense float64, ``(n, p)`` and ``(n, m)``.

    Raises
    ------
    ValueError, TypeError
        Unless they are finite real matrices with the same number of samples, at least one.
    """
    pair = []
    for name, codes in (("learned", learned), ("true", true)):
        full: Any = codes
        pair.append(check_matrix(full.toarray() if issparse(full) else full, name).astype(np.float64))
    if len(pair[0]) != len(pair[1]) or not len(pair[0]):
        raise ValueError(
            f"learned (n, p) and true (n, m) must hold the codes of the same samples, at least one; "
            f"got {len(pair[0])} and {len(pair[1])} rows."
        )
    return pair[0], pair[1]


def varying(codes: FloatArray) -> Mask:
    """Return which columns of ``codes (n, q)`` are not constant in the batch."""
    return np.asarray(codes.max(axis=0) > codes.min(axis=0)) if codes.size else np.zeros(codes.shape[1], np.bool_)


def unit_columns(codes: FloatArray) -> FloatArray:
    """Return the columns of ``codes (n, q)`` about their means as unit rows ``(q, n)``; a constant one is zero."""
    rows = np.zeros(codes.shape[::-1])
    kept = varying(codes)
    inside = codes[:, kept] / np.abs(codes[:, kept]).max(axis=0, initial=0.0)  # squares neither overflow nor vanish
    inside -= inside.mean(axis=0)
    rows[kept] = (inside / np.linalg.norm(inside, axis=0)).T
    return rows


def matched_codes(
    learned: AnyCodes, true: AnyCodes, kind: Literal["pearson", "spearman", "r2"] = "pearson"
) -> FloatArray:
    """Return the |correlation| of each true feature with its partner among the learned codes, ``(m,)``.

    The one-to-one matching that maximises the sum (Hungarian method). ``pearson`` is |r|; ``spearman`` that of the
    ranks, ties at their mean rank; ``r2`` is r^2, the share of a feature's variance that a line through its partner's
    codes explains, matched on r^2. A feature without a partner, or with a constant one, has 0; a feature that is
    constant in the batch NaN.

    Raises
    ------
    ValueError, TypeError
        Unless the codes are finite, real and of the same samples, and ``kind`` is one of the three.
    """
    if kind not in ("pearson", "spearman", "r2"):
        raise ValueError(f"kind must be 'pearson', 'spearman' or 'r2'; got {kind!r}.")
    z, s = dense_pair(learned, true)
    present = varying(s)
    if kind == "spearman":
        z, s = rankdata(z, axis=0), rankdata(s, axis=0)
    similarity = np.minimum(np.abs(unit_columns(s[:, present]) @ unit_columns(z).T), 1.0)
    similarity = np.square(similarity) if kind == "r2" else similarity
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    inside = np.zeros(int(present.sum()))
    inside[rows] = similarity[rows, columns]
    scores = np.full(s.shape[1], np.nan)
    scores[present] = inside
    return scores


def mean_of_defined(scores: FloatArray) -> float:
    """Return the mean of the ``scores`` that are not NaN; NaN if there is none."""
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if len(defined) else float("nan")


def code_mcc(evaluation: Evaluation) -> float:
    """Return the mean over true features of the |Pearson correlation| with their partner among the codes.

    ``(1/m) max_pi sum_i |corr(s_i, z_pi(i))|``, the MCC of nonlinear ICA: blind to atoms, to the order, sign, scale and
    offset of the codes. The truth has 1. Independent codes have about ``sqrt(2 ln p / n)``; codes of a random
    dictionary have far more, since they are made of the same features: read it beside that row. A missed feature counts
    0, features that are constant in the batch are excluded; NaN if there is no other.

    References
    ----------
    Khemakhem et al. (2020), "Variational autoencoders and nonlinear ICA", arXiv:1907.04809, for its use.
    """
    return mean_of_defined(matched_codes(evaluation.codes, evaluation.true_codes))


def code_mcc_spearman(evaluation: Evaluation) -> float:
    """Return `code_mcc` of ranks: blind also to an increasing or decreasing function of each code.

    Chance, truth and NaN as there. Where codes are mostly zero their ranks are mostly one tie.
    """
    return mean_of_defined(matched_codes(evaluation.codes, evaluation.true_codes, "spearman"))


def code_r2(evaluation: Evaluation) -> float:
    """Return the mean over true features of the variance explained by their partner among the codes, r^2, matched so.

    The truth has 1, independent codes about ``2 ln p / n``; never above `code_mcc`. Missed, excluded and NaN as there.
    """
    return mean_of_defined(matched_codes(evaluation.codes, evaluation.true_codes, "r2"))


def chance_of_codes(
    score: Callable[[FloatArray, FloatArray], float], learned: AnyCodes, true: AnyCodes, repeats: int = 20
) -> ChanceLevel:
    """Return what ``score(learned, true)`` gives codes that know nothing: the same columns, the samples shuffled.

    Every column keeps its law, and learned codes keep their relations to one another; only their samples are others.
    The shuffles are drawn from a stream of their own, the same in every process. NaN where the score is.

    Raises
    ------
    ValueError, TypeError
        Unless the codes are finite, real and of the same samples, and ``repeats`` is at least 2.
    """
    z, s = dense_pair(learned, true)
    rng = stream(0, Role.METRIC, len(z), z.shape[1], s.shape[1])
    scores = [score(z[rng.permutation(len(z))], s) for _ in range(check_int("repeats", repeats, 2))]
    return ChanceLevel(float(np.mean(scores)), float(np.std(scores, ddof=1) / np.sqrt(len(scores))), len(scores))


def active_units(means: npt.ArrayLike, threshold: float = 0.01) -> int:
    """Return how many latents have ``Var_x E[z_j | x] > threshold``, of posterior ``means (n, p)`` under a unit prior.

    In units of the prior, which codes of unit atoms are not: divide those by the norms of the decoder first. A linear
    VAE at its optimum has variance ``1 - beta sigma^2 / lambda_j``, so that with 0.01 a unit counts once its eigenvalue
    exceeds ``1.0101 beta sigma^2``.

    Raises
    ------
    ValueError, TypeError
        Unless the means are finite and the threshold is not negative.

    References
    ----------
    Burda, Grosse and Salakhutdinov (2016), "Importance weighted autoencoders", arXiv:1509.00519, section 5.2.
    """
    spread = check_matrix(means, "means").astype(np.float64)
    return int(np.count_nonzero(spread.var(axis=0) > check_real("threshold", threshold, 0.0))) if spread.size else 0


def unit_divergences(means: npt.ArrayLike, variances: npt.ArrayLike) -> FloatArray:
    """Return ``E_x KL(N(mu_j, s_j) || N(0, 1)) = E (mu_j^2 + s_j - ln s_j - 1) / 2`` of each latent, nats ``(p,)``.

    Raises
    ------
    ValueError, TypeError
        Unless both are finite ``(n, p)``, with a sample, and the variances are positive.
    """
    mu, s = (
        check_matrix(value, name).astype(np.float64) for name, value in (("means", means), ("variances", variances))
    )
    if mu.shape != s.shape or not len(mu) or (s <= 0).any():
        raise ValueError(
            f"means and variances must both be (n, p) with n >= 1, and variances positive; got {mu.shape} and {s.shape}"
            f"{' with a variance at or below zero' if (s <= 0).any() else ''}."
        )
    return np.asarray((np.square(mu) + (s - 1.0) - np.log(s)).mean(axis=0) / 2.0)


def active_units_by_divergence(means: npt.ArrayLike, variances: npt.ArrayLike, threshold: float = 0.01) -> int:
    """Return how many latents have ``E_x KL(q(z_j|x) || N(0, 1)) > threshold`` nats; see `unit_divergences`.

    Unlike `active_units` it also counts a latent whose mean is the same for all samples while its variance is not one.
    A linear VAE has ``ln(lambda_j / (beta sigma^2)) / 2`` at its optimum: a unit counts once its eigenvalue exceeds
    ``exp(2 threshold) beta sigma^2``.
    """
    return int(np.count_nonzero(unit_divergences(means, variances) > check_real("threshold", threshold, 0.0)))
