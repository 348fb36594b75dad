"""How much of the features that it occurs with a matched atom has taken up: hedging, by correlation.

A dictionary that is too narrow, or allowed too few active latents, lowers its error by writing a feature's companions
together with it, and by taking away what the feature excludes. The mixture, not the size of the error, is what is
measured. `sparsesim.metrics.hierarchy.parent_hedging` asks the same of parents and their children alone.

References
----------
Chanin, Dulka and Garriga-Alonso (2025), "Feature hedging", arXiv:2505.11756; Chanin and Garriga-Alonso (2025), "Sparse
but wrong", arXiv:2508.16560.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csc_array, csr_array

from sparsesim._arrays import FloatArray, IntArray, unit_rows
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.sums import centred_columns

_PARALLEL = 1e-8  # 1 - cos^2 below which two features cannot be told apart in an atom
_DEPENDENT = 1e-6  # smallest singular value of the true atoms below which they give no coordinates
_UNCORRELATED = 1e-9  # rounding; what is not 0 in a batch of n samples is at least of order 1/n
_BLOCK = 2**22  # entries of a (features, m) matrix held at once


def _correlations(evaluation: Evaluation, features: IntArray) -> Iterator[tuple[slice, FloatArray]]:
    """Yield the correlations of the true codes of ``features`` with all, block by block of rows ``(b, m)``.

    0 with a constant feature, and of a feature with itself.
    """
    n, m = evaluation.true_codes.shape
    true = evaluation.true_codes
    column = centred_columns(true.data, true.indices, n, m)
    values = csr_array((column.centred + column.mean[true.indices], true.indices, true.indptr), shape=(n, m))
    by_column, spread = csc_array(values), np.sqrt(column.scatter / n)
    inverse = np.divide(1.0, spread, out=np.zeros(m), where=spread > 0)
    step = max(1, _BLOCK // m)
    for start in range(0, len(features), step):
        rows = slice(start, start + step)
        chosen = features[rows]
        moment = (by_column[:, chosen].T @ values).toarray() / n
        correlation = (moment - np.outer(column.mean[chosen], column.mean)) * np.outer(inverse[chosen], inverse)
        correlation[np.abs(correlation) < _UNCORRELATED] = 0.0
        correlation[np.arange(len(chosen)), chosen] = 0.0
        yield rows, correlation


def atom_components(evaluation: Evaluation) -> FloatArray:
    """Return how much of every true feature is in each matched atom, ``(r, m)``, in the order of the matching.

    Where the true atoms are independent, the coordinates of the unit atom in them, by least squares:
    ``w = argmin ||a - w D||``. Otherwise, which needs m > d or nearly so, no such coordinates exist, and entry j of
    the atom matched to i is its coordinate on d_j in the plane of d_i and d_j; NaN where these are parallel. For
    orthonormal atoms both are the cosines.
    """
    true, _ = unit_rows(np.asarray(evaluation.truth.atoms, dtype=np.float64))
    features = evaluation.match.features
    learned = evaluation.aligned_atoms[features]
    m, d = true.shape
    if m <= d and np.linalg.svd(true, compute_uv=False)[-1] > _DEPENDENT:
        return np.asarray(learned @ np.linalg.pinv(true))
    cosine = learned @ true.T
    own = cosine[np.arange(len(features)), features][:, None]
    between = true[features] @ true.T
    alone = 1.0 - np.square(between)
    components: FloatArray = np.divide(
        cosine - between * own, alone, out=np.full(cosine.shape, np.nan), where=alone > _PARALLEL
    )
    components[np.arange(len(features)), features] = own[:, 0]
    return components


def hedging_score(evaluation: Evaluation) -> float:
    """Return how much of correlated features the matched atoms hold, with the sign of the correlation.

    ``sum_j rho_ij |rho_ij| w_ij / sum_j rho_ij^2`` over the other features j, a mean over matched features i: w are the
    `atom_components` and rho the correlations of the true codes in the batch. Squares weigh the companions, so that
    the chance correlations of many independent features do not drown those of a few. Positive where atoms take up what
    occurs with their feature or take away what excludes it. The truth and random directions have 0; a single latent on
    two orthonormal features has the sine of its angle. NaN where nothing is matched or no matched feature is correlated
    with another in the batch.
    """
    features, components = evaluation.match.features, atom_components(evaluation)
    scores = np.full(len(features), np.nan)
    for rows, correlation in _correlations(evaluation, features):
        known = ~np.isnan(components[rows])
        weight = np.square(correlation) * known
        total = weight.sum(axis=1)
        sums = (np.sign(correlation) * weight * np.where(known, components[rows], 0.0)).sum(axis=1)
        scores[rows] = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if len(scores) else float("nan")
