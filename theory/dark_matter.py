"""Dark matter: how much of an autoencoder's error is a linear function of its input, in closed form.

The input is ``x = sum_i s_i a_i`` with independent codes and the error ``e = sum_i g_i(s_i) a_i``: a missing feature
leaves ``g = s``, one that is read with the shrinkage of an l1 penalty leaves ``g = min(s, penalty/2)``.

References
----------
Engels et al. (2024), "Decomposing the dark matter of sparse autoencoders", arXiv 2410.14670, who measure it.
The closed forms are derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)  # a Gaussian out to 10: exact to rounding


@final
@dataclass(frozen=True)
class ErrorMoments:
    """Second moments of a code s and of what is left of it, g, entry by entry: ``(n,)`` each."""

    variance: Array
    covariance: Array
    error_variance: Array

    def __post_init__(self) -> None:
        shapes = {np.shape(value) for value in (self.variance, self.covariance, self.error_variance)}
        if len(shapes) != 1 or len(shapes.pop()) != 1:
            raise ValueError("variance, covariance and error_variance must be vectors of the same n; got other shapes.")
        v, c, e = (np.asarray(value) for value in (self.variance, self.covariance, self.error_variance))
        if not (np.isfinite(c).all() and (v >= 0.0).all() and (e >= 0.0).all()):
            raise ValueError("variances must be finite and not negative; got others.")
        if not (c * c <= v * e * (1.0 + 1e-9) + 1e-300).all():
            raise ValueError("covariances must obey Cauchy and Schwarz, c^2 <= v e; got larger ones.")


def linear_share(atoms: npt.ArrayLike, moments: ErrorMoments) -> float:
    """Return R^2 of the best affine prediction of the error from the input: the share of its variance.

    ``tr(S_ex S_x^+ S_xe) / tr S_e`` with ``S_xe = A^T diag(Cov(s, g)) A``, ``S_x = A^T diag(Var s) A`` and
    ``S_e = A^T diag(Var g) A``. Always 1 if all features are missing, and for orthonormal atoms the average of the
    squared correlations of s and g, weighted by Var g: missing features and shrinkage both make the error predictable.
    Superposition only lowers it, since x is then a lossy linear function of s, unless all features are missing.

    Parameters
    ----------
    atoms : (n, d).

    Raises
    ------
    ValueError
        Unless atoms are a finite array of as many rows as there are moments, and the error has some variance.
    """
    rows = np.asarray(atoms, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(moments.variance) or not np.isfinite(rows).all():
        raise ValueError(f"atoms must be a finite array ({len(moments.variance)}, d); got shape {rows.shape}.")
    total = float((moments.error_variance * np.square(rows).sum(axis=1)).sum())
    if not total > 0.0:
        raise ValueError("the error must have some variance; got none. A perfect reconstruction leaves no dark matter.")
    inputs = rows.T @ (moments.variance[:, None] * rows)
    cross = rows.T @ (moments.covariance[:, None] * rows)
    explained = float((cross * (np.linalg.pinv(inputs, hermitian=True) @ cross)).sum())
    return min(max(explained / total, 0.0), 1.0)


def shrinkage_moments(density: float, penalty: float, missing: npt.ArrayLike) -> ErrorMoments:
    """Return the moments of half-normal codes of this density, read with shrinkage or missing altogether.

    With c = penalty/2 and h = (c - s)_+ where s is active, 0 elsewhere, ``g = c 1{s > 0} - h``; the moments
    ``E h^j s^i = eps int_0^c (c - s)^j s^i 2 phi(s) ds`` are small where c is, and nothing cancels. Codes of another
    scale s0: divide the penalty by it; R^2 does not change.

    Parameters
    ----------
    density : probability that a feature is active, in (0, 1].
    penalty : of the loss ``||x - f A||^2 + penalty sum f``; not negative.
    missing : (n,), which features the autoencoder has no latent for.

    Raises
    ------
    ValueError
        If the density or the penalty is out of range or `missing` is no vector.
    """
    if not (0.0 < density <= 1.0 and penalty >= 0.0 and math.isfinite(penalty)):
        raise ValueError(f"needs density in (0, 1] and a finite penalty >= 0; got {density} and {penalty}.")
    lost = np.asarray(missing, dtype=bool)
    if lost.ndim != 1:
        raise ValueError(f"missing must be a vector (n,); got shape {lost.shape}.")
    c = min(penalty / 2.0, 10.0)  # no half-normal is above 10 in double precision
    size = 0.5 * c * (1.0 + _NODES)
    weight = density * c * _WEIGHTS * np.exp(-0.5 * size * size) / math.sqrt(2.0 * math.pi)
    gap = c - size
    first, second, cross = float(weight @ gap), float(weight @ gap**2), float(weight @ (gap * size))
    mean = density * math.sqrt(2.0 / math.pi)
    silent = 1.0 - density
    variance = density - mean * mean
    covariance = c * silent * mean - cross + mean * first
    error_variance = c * c * density * silent - 2.0 * c * silent * first + second - first * first
    return ErrorMoments(
        np.full(len(lost), variance),
        np.where(lost, variance, covariance),
        np.where(lost, variance, max(error_variance, 0.0)),
    )


def unexplained_share(atoms: npt.ArrayLike, moments: ErrorMoments) -> float:
    """Return the variance of the nonlinear error, what no affine map of x predicts, as a share of the input's.

    ``(1 - R^2) tr S_e / tr S_x``: the floor of the fraction of variance unexplained that any number of linear
    corrections of the reconstruction can reach.

    Raises
    ------
    ValueError
        As `linear_share`, or if the input has no variance.
    """
    share = linear_share(atoms, moments)
    energy = np.square(np.asarray(atoms, dtype=np.float64)).sum(axis=1)
    total = float((moments.variance * energy).sum())
    if not total > 0.0:
        raise ValueError("the input must have some variance; got none.")
    return (1.0 - share) * float((moments.error_variance * energy).sum()) / total


def missing_norm_share(atoms: npt.ArrayLike, density: float, missing: npt.ArrayLike) -> float:
    """Return R^2 of the best affine prediction of ``||e||^2`` from the input, if the missing features are all of e.

    Half-normal codes ``s_i = mu + c_i``, active with probability eps; with Gram matrix G of the missing atoms and
    ``b_i = 2 mu sum_{j != i} G_ij``, the norm is ``sum_i s_i^2 |a_i|^2 + b_i c_i + sum_{i != j} G_ij c_i c_j`` up to a
    constant, whose three parts are known from the moments of s alone. The last has no correlation with x. For
    orthonormal atoms it is ``corr(s, s^2)^2``; superposition hides the codes and adds the pairs.

    Raises
    ------
    ValueError
        Unless the density lies in (0, 1], atoms are finite rows ``(n, d)`` and some of them are missing.
    """
    rows, lost = np.asarray(atoms, dtype=np.float64), np.asarray(missing, dtype=bool)
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must lie in (0, 1]; got {density}.")
    if rows.ndim != 2 or not np.isfinite(rows).all() or lost.shape != (len(rows),) or not lost.any():
        raise ValueError(f"needs finite atoms (n, d) and missing (n,), some true; got {rows.shape} and {lost.shape}.")
    first, third = density * math.sqrt(2.0 / math.pi), 2.0 * density * math.sqrt(2.0 / math.pi)
    variance, skew, bend = density - first**2, third - first * density, 3.0 * density - density**2
    gram = rows[lost] @ rows[lost].T
    size = np.diag(gram)
    pairs = gram - np.diag(size)
    tilt = 2.0 * first * pairs.sum(axis=1)
    total = (size**2 * bend + 2.0 * size * tilt * skew + tilt**2 * variance).sum()
    total += 2.0 * variance**2 * np.square(pairs).sum()
    cross = rows[lost].T @ (size * skew + tilt * variance)
    return float(cross @ np.linalg.pinv(variance * rows.T @ rows, hermitian=True) @ cross / total)
