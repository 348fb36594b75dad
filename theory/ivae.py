"""When labels identify the sources: conditionally independent sources whose law depends on an observed segment.

``natural (segments, m, t)`` holds the natural parameters of m sources with t sufficient statistics each. For Gaussian
sources whose variance alone changes, t = 1 and the parameter is ``-1 / (2 v)``; with the mean, t = 2 and it is
``(mean / v, -1 / (2 v))``.

References
----------
Khemakhem, Kingma, Monti, Hyvarinen (2020), "Variational autoencoders and nonlinear ICA", arXiv 1907.04809; Hyvarinen
and Morioka (2016), arXiv 1605.06336; Belouchrani et al. (1997), "A blind source separation technique using second-order
statistics", for linear mixtures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from theory._premises import Array, covariance, matrix


def gaussian_natural(variances: npt.ArrayLike, means: npt.ArrayLike | None = None) -> Array:
    """Return the natural parameters ``(segments, m, t)`` of Gaussian sources, t = 1 without means and 2 with them."""
    v = matrix("variances", variances)
    if (v <= 0.0).any():
        raise ValueError(f"variances must be positive; got {v.min():g}.")
    precision = -0.5 / v
    if means is None:
        return precision[..., None]
    mu = matrix("means", means)
    if mu.shape != v.shape:
        raise ValueError(f"means must have the shape of variances {v.shape}; got {mu.shape}.")
    return np.stack([mu / v, precision], axis=-1)


def label_rank(natural: npt.ArrayLike) -> int:
    """Return the rank of ``L``, the ``(m t, segments - 1)`` matrix of natural parameters less those of segment 0.

    It does not depend on which segment comes first, and is at most segments - 1. Each of the m t rows is first divided
    by its norm, since the rank does not depend on the units of a source. A relative change below 1e-12 is none, and a
    singular value below 1e-10 is zero.
    """
    values = np.asarray(natural, dtype=np.float64)
    if values.ndim != 3 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"natural must be a finite array (segments, m, t); got shape {values.shape}.")
    if len(values) == 1:
        return 0
    rows = (values - values[:1]).reshape(len(values), -1).T[:, 1:]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    size = np.abs(values).max(axis=0).reshape(-1, 1)
    changes = norms > 1e-12 * size  # less is rounding, which must not be blown up to a direction
    return int(np.linalg.matrix_rank(np.where(changes, rows / np.where(changes, norms, 1.0), 0.0), tol=1e-10))


def labels_suffice(natural: npt.ArrayLike) -> bool:
    """Whether the labels meet the condition of identifiable VAEs, rank L = m t, which takes m t + 1 segments at least.

    With an injective mixing, noise of non-vanishing characteristic function and statistics that are differentiable,
    sources are then identified up to an affine map of their statistics, and up to permutation and componentwise maps
    for t >= 2, or t = 1 and a statistic that is not monotonic (z^2 is not). The condition is sufficient, not necessary:
    see `linear_mixture_identified`.

    References
    ----------
    Khemakhem et al. (2020), arXiv 1907.04809, Theorem 1 (iv), Theorems 2 and 3.
    """
    values = np.asarray(natural, dtype=np.float64)
    return bool(label_rank(values) == values.shape[1] * values.shape[2])


def linear_mixture_identified(variances: npt.ArrayLike) -> bool:
    """Whether covariances by segment identify an invertible *linear* mixture of independent zero-mean Gaussian sources.

    They do, up to permutation and scale, iff no two sources have proportional variances over the segments ``(segments,
    m)``: two segments can be enough, whatever m. If two are proportional any rotation of them, in units of their
    scale, leaves every segment's density as it is.

    References
    ----------
    Belouchrani et al. (1997), for its form with lags in the place of segments; the proof is the same.
    """
    v = matrix("variances", variances)
    if (v <= 0.0).any():
        raise ValueError(f"variances must be positive; got {v.min():g}.")
    scaled = v / v.max(axis=0)
    directions = scaled / np.linalg.norm(scaled, axis=0)
    for i in range(v.shape[1] - 1):
        if (np.abs(directions[:, i + 1 :] - directions[:, i : i + 1]).max(axis=0) < 1e-12).any():
            return False
    return True


def unmixing(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """Return rows ``(m, m)`` that diagonalise the covariances of two segments, and so recover the sources of a mixture.

    Generalised eigenvectors of the pair: the sources in ascending order of their ratio of variances, second over
    first, scaled to unit variance in the first segment. Defined up to sign where all ratios differ.

    Raises
    ------
    ValueError
        If two ratios agree, so that the sources are not identified, or a covariance is singular.
    """
    one, two = covariance("first", first), covariance("second", second)
    if one.shape != two.shape:
        raise ValueError(f"the two covariances must have one shape; got {one.shape} and {two.shape}.")
    if np.linalg.cond(one) > 1e13:
        raise ValueError("the covariance of the first segment is singular: drop the directions without variance.")
    ratios, vectors = eigh(two, one)
    if len(ratios) > 1 and (np.diff(ratios) <= 1e-9 * np.abs(ratios[1:])).any():
        raise ValueError(f"two ratios of variances agree, {ratios}: those sources are not identified by two segments.")
    return np.asarray(vectors.T)
