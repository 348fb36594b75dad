"""Disentanglement, completeness and informativeness (DCI): how a sparse linear probe reads features from codes.

A lasso predicts each true code from all learned codes, both at mean zero and variance one, and ``|w_ij|`` is the
importance of latent j for feature i. The released penalty, 0.02, is in units of the correlation: of codes that know
nothing of a feature some are chosen as long as chance correlations, about ``1 / sqrt(n)``, reach it.

References
----------
Eastwood and Williams (2018), "A framework for the quantitative evaluation of disentangled representations".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from sparsesim._arrays import FloatArray, check_real
from sparsesim.metrics.disentanglement_codes import AnyCodes, dense_pair, mean_of_defined, unit_columns, varying
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.homotopy import Homotopy

PENALTY = 0.02


@final
@dataclass(frozen=True, eq=False)
class DCI:
    """Importance of latents for features, and what it amounts to.

    Attributes
    ----------
    importance : (m', p') of the latents that vary for the features that vary, not negative.
    explained : (m',) share of the variance of each feature that the probe explains, in the samples it was fitted to.
    """

    importance: FloatArray
    explained: FloatArray

    @property
    def disentanglement(self) -> float:
        """Return `dci_disentanglement`."""
        weight = self.importance.sum(axis=0)
        if len(self.importance) < 2 or not weight.sum() > 0:
            return float("nan")
        return float(weight @ _peaked(self.importance.T) / weight.sum())

    @property
    def completeness(self) -> float:
        """Return `dci_completeness`."""
        if self.importance.shape[1] < 2 or not self.importance.size:
            return float("nan")
        return float(_peaked(self.importance).mean())

    @property
    def informativeness(self) -> float:
        """Return `dci_informativeness`."""
        return mean_of_defined(self.explained)


def _peaked(rows: FloatArray) -> FloatArray:
    """Return 1 less the entropy of each row's shares, in units of a uniform row's; 0 for a row of zeros."""
    total = rows.sum(axis=1, keepdims=True)
    share = np.divide(rows, total, out=np.full(rows.shape, 1.0 / rows.shape[1]), where=total > 0)
    logs = np.log(share, out=np.zeros(share.shape), where=share > 0)
    return np.asarray(np.maximum(1.0 + (share * logs).sum(axis=1) / np.log(rows.shape[1]), 0.0))


def dci(
    learned: AnyCodes,
    true: AnyCodes,
    importance: Literal["lasso", "correlation"] = "lasso",
    penalty: float = PENALTY,
) -> DCI:
    """Return the importance of each learned code ``(n, p)`` for each true code ``(n, m)``, and its scores.

    ``lasso``: |w_ij| of ``min_w ||s_i - sum_j w_j z_j||^2 / 2n + penalty ||w||_1`` on standardised codes, exactly (from
    the homotopy path); features are explained as far as this probe does. ``correlation``: the squared correlation
    r_ij^2, the share of variance that a code explains alone, of which chance has 1 / (n - 1) for every pair; features
    are explained as far as their best code does. Constant columns are left out on both sides.

    Raises
    ------
    ValueError, TypeError
        Unless the codes are finite, real and of the same samples, and the penalty is positive.
    """
    check_real("penalty", penalty, 0.0, open_low=True)
    if importance not in ("lasso", "correlation"):
        raise ValueError(f"importance must be 'lasso' or 'correlation'; got {importance!r}.")
    z, s = dense_pair(learned, true)
    latents, features = unit_columns(z[:, varying(z)]), unit_columns(s[:, varying(s)])
    if not len(latents) or not len(features):
        return DCI(np.zeros((len(features), len(latents))), np.zeros(len(features)))
    if importance == "correlation":
        squares = np.minimum(np.square(features @ latents.T), 1.0)
        return DCI(squares, squares.max(axis=1))
    weights = Homotopy(penalty).encode(features, latents).toarray()
    missed = np.square(features - weights @ latents).sum(axis=1)
    return DCI(np.abs(weights), np.maximum(1.0 - missed, 0.0))


def dci_disentanglement(evaluation: Evaluation) -> float:
    """Return how far each latent matters for one feature alone: 1 - entropy of its importances, weighted by their sum.

    ``sum_j rho_j (1 + sum_i P_ij log_m P_ij)``, P the importances of `dci` (lasso) over their sum in a latent, rho_j
    the latent's share of all. The truth has 1, up to what features tell of each other. Codes that know nothing have
    *not* 0, but that of the few chance correlations which a lasso chooses, in the extreme one each, which is 1: read it
    beside `dci_informativeness` and `chance_of_codes`. Blind to atoms, and to order, sign, scale and offset of the
    codes. NaN for fewer than two features that vary, or where nothing is chosen.
    """
    return dci(evaluation.codes, evaluation.true_codes).disentanglement


def dci_completeness(evaluation: Evaluation) -> float:
    """Return how far each feature is told by one latent alone: 1 - entropy of its importances, a mean over features.

    Logarithms to the base of the number of latents that vary; a feature for which nothing is chosen counts 0. Truth,
    chance and gauge as in `dci_disentanglement`. NaN for fewer than two latents that vary, or without such a feature.
    """
    return dci(evaluation.codes, evaluation.true_codes).completeness


def dci_informativeness(evaluation: Evaluation) -> float:
    """Return the share of a feature's variance that the lasso of `dci` explains, a mean over the features that vary.

    The published number is the error, 1 less this where errors are squared and held-out; these are the samples that the
    probe was fitted to. The truth has ``1 - 0.02^2`` where features are independent; codes that know nothing have about
    what a penalty of 0.02 lets through, at most p / (n - 1). 0 for silent codes; NaN without a feature that varies.
    """
    return dci(evaluation.codes, evaluation.true_codes).informativeness
