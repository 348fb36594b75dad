"""Two-layer autoencoders ``x = A phi(B x)`` of isotropic data, and what a sign activation keeps of it.

``encoder (n, d)`` has unit rows b_i, the decoder is the best linear one, ``rate = n/d``, and errors are per dimension
of data of unit variance. With c_k the coefficients of phi in normalised Hermite polynomials, ``E phi(b.x) phi(b'.x) =
sum_k c_k^2 (b.b')^k`` and ``E phi(b.x) x = c_1 b``, so that everything depends on the encoder through its Gram matrix.

References
----------
Shevchenko, Koegler, Hassani, Mondelli (2023), "Fundamental limits of two-layer autoencoders, and achieving them with
gradient methods", arXiv 2212.13468; Koegler et al. (2024), arXiv 2402.05013, for sparse data.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from theory._premises import Array, count, matrix, positive

_SIGN_SHARE = 2.0 / math.pi  # c_1^2 over the total power of the sign


def _encoder(encoder: npt.ArrayLike) -> Array:
    rows = matrix("encoder", encoder)
    norms = np.linalg.norm(rows, axis=1)
    if not np.all(np.abs(norms - 1.0) < 1e-6):
        raise ValueError(f"encoder must have unit rows; got norms in [{norms.min():g}, {norms.max():g}]. Normalise it.")
    return np.asarray(rows / norms[:, None])


def _gram(rows: Array) -> Array:
    gram = np.clip(rows @ rows.T, -1.0, 1.0)
    np.fill_diagonal(gram, 1.0)  # the arcsine has an infinite slope there and would make 1e-8 of a rounding of 1e-16
    return np.asarray(gram)


def _residual(rows: Array, codes: Array, cross: float) -> float:
    """Return the error per dimension of the best linear map from codes of that covariance, Cov(code, x) = cross * B."""
    values, vectors = np.linalg.eigh(codes)
    kept = values > 1e-12 * values[-1]  # equal or opposite rows repeat a code
    seen = vectors[:, kept].T @ rows
    return float(1.0 - cross**2 * ((seen * seen).sum(axis=1) / values[kept]).sum() / rows.shape[1])


def sign_autoencoder_mse(encoder: npt.ArrayLike) -> float:
    """Return the exact error of ``x = A sign(B x)`` with the best A on N(0, I): ``1 - tr(B^T arcsin(B B^T)^+ B) / d``.

    References
    ----------
    Shevchenko et al. (2023), arXiv 2212.13468; Grothendieck's identity and the normal equations of A.
    """
    rows = _encoder(encoder)
    return _residual(rows, 2.0 / math.pi * np.arcsin(_gram(rows)), math.sqrt(2.0 / math.pi))


def hermite_coefficients(activation: Callable[[Array], Array], order: int, *, nodes: int = 4000) -> Array:
    """Return c_0 ... c_order of an activation, ``c_k = E phi(g) He_k(g) / sqrt(k!)``, by Simpson's rule on [-12, 12].

    The rule is split at zero, where most activations have their kink or jump; c_k is good to about 1e-9 for functions
    smooth elsewhere and at most of polynomial growth.

    Raises
    ------
    ValueError
        If order is negative or above 60, or the activation is not finite.
    """
    if not 0 <= order <= 60:
        raise ValueError(f"order must lie in [0, 60]; got {order!r}.")
    count("nodes", nodes)
    coefficients = np.zeros(order + 1)
    for side in (-1.0, 1.0):
        x = side * np.linspace(1e-13, 12.0, 2 * nodes + 1)
        weights = np.full(len(x), 2.0)
        weights[1::2] = 4.0
        weights[[0, -1]] = 1.0
        values = np.asarray(activation(x), dtype=np.float64)
        if values.shape != x.shape or not np.isfinite(values).all():
            raise ValueError("activation must map a vector to finite values of the same shape.")
        values = values * weights * (2.0 / nodes) * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        before, now = np.zeros(len(x)), np.ones(len(x))
        for k in range(order + 1):
            coefficients[k] += float(values @ now)
            before, now = now, (x * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return coefficients


def activation_mse(encoder: npt.ArrayLike, coefficients: npt.ArrayLike, power: float | None = None) -> float:
    """Return the error of ``x = A phi(B x) + a`` and the best affine decoder on N(0, I), phi by Hermite coefficients.

    The codes have covariance ``sum_{k>=1} c_k^2 (B B^T)^{o k}`` (powers entry by entry). ``power``, Var phi(g), is the
    true sum of the c_k^2, k >= 1; what the coefficients leave out of it is put on the diagonal, which is exact in the
    limit of many coefficients and where no two rows coincide. None takes the coefficients for all there are.

    Raises
    ------
    ValueError
        Unless the rows are units, c_1 is not zero and power is at least the sum of squares.
    """
    rows = _encoder(encoder)
    c = np.asarray(coefficients, dtype=np.float64)
    share = _linear_share(c, power)
    gram = _gram(rows)
    codes, entries = np.zeros_like(gram), np.ones_like(gram)
    for coefficient in c[1:]:
        entries = entries * gram
        codes += coefficient**2 * entries
    rest = c[1] ** 2 / share - (c[1:] ** 2).sum()
    return _residual(rows, codes + max(0.0, rest) * np.eye(len(gram)), float(c[1]))


def _linear_share(coefficients: Array, power: float | None) -> float:
    if coefficients.ndim != 1 or len(coefficients) < 2 or not np.isfinite(coefficients).all() or coefficients[1] == 0.0:
        raise ValueError(f"coefficients must be c_0, c_1, ... with c_1 not zero; got {coefficients!r}.")
    least = float((coefficients[1:] ** 2).sum())
    total = least if power is None else float(power)
    if not total >= least * (1.0 - 1e-9):
        raise ValueError(f"power must be at least the sum of the squared coefficients {least:g}; got {power!r}.")
    return float(coefficients[1] ** 2) / max(total, least)


def rotation_mse(rate: float, share: float = _SIGN_SHARE) -> float:
    """Return the error of orthonormal rows (rate <= 1, exact) or of a random tight frame (rate > 1, large d).

    ``1 - rate share`` and ``1 - rate / (rate - 1 + 1/share)``, with ``share = c_1^2 / Var phi(g)``, 2/pi for the sign.
    For the sign and rate <= 1 it is the least error of any encoder on Gaussian data; above, it is the least in the
    limit of large d. For an odd activation the same holds among unit rows; for others it does not: ReLU of [I; -I]
    is lossless at rate 2.

    Raises
    ------
    ValueError
        Unless rate is positive and share lies in (0, 1].

    References
    ----------
    Shevchenko et al. (2023), arXiv 2212.13468, the lower bounds for rates at most and above 1.
    """
    positive("rate", rate)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must lie in (0, 1], the linear part of the activation's power; got {share!r}.")
    return 1.0 - rate * share if rate <= 1.0 else 1.0 - rate / (rate - 1.0 + 1.0 / share)


def sparse_rotation_mse(rate: float, excess: float, fourth: float) -> float:
    """Return the error of orthonormal rows on independent coordinates of unit variance, to first order in kurtosis.

    ``1 - rate (2/pi) (1 - excess fourth / 12)``: by the Edgeworth expansion ``E|b.x| = sqrt(2/pi) (1 - kappa / 24)``,
    where b.x has excess kurtosis ``kappa = excess sum_j b_j^4``; correlations of the signs cancel to this order, as
    orthonormal rows have none between themselves. Rows spread evenly have ``fourth = 1/d``, a random rotation
    3 / (d+2). The remainder is of second order in excess * fourth where b.x has a smooth law; even rows of +-1 data are
    a lattice, which has ties and another term of first order.

    Parameters
    ----------
    excess : excess kurtosis of a coordinate, E x^4 - 3: ``3/p - 3`` for Bernoulli-Gauss, ``1/p - 3`` for +-Bernoulli.
    fourth : mean over rows of sum_j b_j^4.

    Raises
    ------
    ValueError
        Unless 0 < rate <= 1, excess >= -2 and 0 < fourth <= 1.

    References
    ----------
    Derived here, for the finite size of what Koegler et al. (2024), arXiv 2402.05013, prove as d grows.
    """
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"rate must lie in (0, 1], orthonormal rows a dimension; got {rate!r}.")
    if not -2.0 <= excess < math.inf or not 0.0 < fourth <= 1.0:
        raise ValueError(f"needs excess >= -2 and 0 < fourth <= 1; got excess={excess!r}, fourth={fourth!r}.")
    return 1.0 - rate * _SIGN_SHARE * (1.0 - excess * fourth / 12.0)


def identity_sign_mse(rate: float, mean_abs: float, density: float = 1.0) -> float:
    """Return the exact error of reading ``rate d`` coordinates by their signs: ``1 - rate mean_abs^2 / density``.

    The coordinates are independent, symmetric and of unit variance, with E|x| = mean_abs. ``density=1`` is the binary
    sign, +-1 at random where x = 0; with P(x != 0) in its place it is the error of the ternary sign, sign(0) = 0, which
    is no longer one bit: it makes +-Bernoulli(p) lossless at rate 1 and Bernoulli-Gauss 1 - 2/pi at any p.

    Raises
    ------
    ValueError
        Unless 0 < rate <= 1 and ``0 < mean_abs^2 <= density <= 1`` (Cauchy-Schwarz).
    """
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"rate must lie in (0, 1], coordinates read a dimension; got {rate!r}.")
    if not 0.0 < mean_abs <= 1.0 + 1e-12 or not mean_abs**2 <= density * (1.0 + 1e-12) or density > 1.0:
        raise ValueError(
            f"needs 0 < mean_abs^2 <= density <= 1 for unit variance; got mean_abs={mean_abs!r}, density={density!r}."
        )
    return 1.0 - rate * min(1.0, mean_abs**2 / density)


def near_identity_mse(density: float) -> float:
    """Return the error of reading +-Bernoulli features by signs with telling ties: ``1 - p - (2/pi) (1-p)^2``.

    Rows ``b_i = e_i + h c_i`` with h -> 0 read feature i where it is on, and where it is off the sign of ``c_i . x``,
    which tells of the others. With unit rows c_i of an orthogonal C without diagonal and ``t = 2 sqrt(p) (1-p)
    sqrt(2/pi)``, an eigenvalue of C of real part c keeps ``(p + (1-p)^2 2/pi + t c) / (1 + t c)`` of the variance,
    which is concave in c, and c is 0 on average: a skew C is best. Large d. It is below `identity_sign_mse` and falls
    below a rotation's ``1 - 2/pi`` from ``p = 0.429`` on instead of 2/pi.

    Raises
    ------
    ValueError
        Unless 0 < density <= 1.

    References
    ----------
    Derived here, after Koegler et al. (2024), arXiv 2402.05013.
    """
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must lie in (0, 1], the probability of an active feature; got {density!r}.")
    return 1.0 - density - _SIGN_SHARE * (1.0 - density) ** 2


def identity_beats_rotation(mean_abs: float) -> bool:
    """Whether the binary signs of the coordinates themselves beat those of a rotation, E|x| > sqrt(2/pi), large d.

    A random rotation makes sparse data look Gaussian (central limit theorem) and ignores its sparsity. +-Bernoulli(p)
    of unit variance has E|x| = sqrt(p): the identity wins for p > 2/pi; Bernoulli-Gauss has sqrt(2p/pi): it never does.
    Gradient descent finds the rotation below a critical density and the identity above.

    References
    ----------
    Koegler et al. (2024), arXiv 2402.05013, for what gradient descent does; the comparison is elementary.
    """
    return identity_sign_mse(1.0, mean_abs) < rotation_mse(1.0)
