"""How many measurements recovery takes: weak thresholds of l1 and sign constraints, the all-or-nothing threshold.

A code of n entries, k of them not zero, is measured d times: density eps = k/n, undersampling delta = d/n, rho = k/d.
Measurements are Gaussian; the thresholds are those of noiseless codes and do not depend on their magnitudes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from theory.denoisers import Array, normal_density

_LARGEST_THRESHOLD = 38.0  # the normal tail beyond is below the smallest float
_HALVINGS = 60


def _inside(name: str, value: npt.ArrayLike, *, closed: bool) -> Array:
    array = np.asarray(value, dtype=np.float64)
    good = (array >= 0.0) & (array <= 1.0) if closed else (array > 0.0) & (array < 1.0)
    if not np.all(good):
        raise ValueError(f"{name} must lie in {'[0, 1]' if closed else '(0, 1)'}; got {array}.")
    return array


def _excess(z: Array) -> Array:
    """Return E (g - z)_+ = phi(z) - z Q(z) for a standard normal g."""
    return np.asarray(normal_density(z) - z * ndtr(-z))


def soft_energy(z: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return the energy that soft thresholding at ``z`` leaves of a standard normal, E (|g| - z)_+^2, or E (g - z)_+^2.

    ``kappa [(1 + z^2) Q(z) - z phi(z)]``, kappa = 2, or 1 for non-negative codes.

    Raises
    ------
    ValueError
        If a threshold is negative or NaN.
    """
    if not np.all(np.asarray(z, dtype=np.float64) >= 0.0):
        raise ValueError(f"z must not be negative, a threshold; got {z!r}.")
    z = np.minimum(z, _LARGEST_THRESHOLD)  # beyond, nothing is left
    return np.asarray((1 if non_negative else 2) * ((1.0 + z * z) * ndtr(-z) - z * normal_density(z)))


def minimax_threshold(eps: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return the threshold z, in noise deviations, with the least worst-case error over codes of density ``eps``.

    The root of ``eps z = (1 - eps) kappa (phi(z) - z Q(z))``; 0 at eps = 1 and infinite at eps = 0. The error at the
    worst case, entries infinitely far from zero, is `statistical_dimension` times the noise variance.

    Raises
    ------
    ValueError
        Unless eps lies in [0, 1].

    References
    ----------
    Donoho, Johnstone and Montanari, arXiv:1111.1041, section 3; Donoho and Johnstone (1994).
    """
    density = _inside("eps", eps, closed=True)
    kappa = 1 if non_negative else 2
    low, high = np.zeros(density.shape), np.full(density.shape, _LARGEST_THRESHOLD)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = density * middle < (1.0 - density) * kappa * _excess(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    root = np.where(density == 1.0, 0.0, 0.5 * (low + high))
    return np.asarray(np.where(density == 0.0, np.inf, root))


def statistical_dimension(eps: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return psi(eps), the measurements an entry that l1 minimisation takes to recover a code of density ``eps``.

    ``psi = min_z eps (1 + z^2) + (1 - eps) kappa E (g - z)_+^2 = eps + (1 - eps) kappa Q(z)`` at the minimiser, with
    kappa = 2 for signed codes, 1 for minimisation over non-negative ones. Asymptotically, recovery succeeds iff delta >
    psi(eps). It is an upper bound on the statistical dimension of the descent cone over n; `success_band` bounds it
    from below.

    Raises
    ------
    ValueError
        Unless eps lies in [0, 1].

    References
    ----------
    Amelunxen, Lotz, McCoy and Tropp, arXiv:1303.6672, Proposition 4.5; Chandrasekaran et al., arXiv:1012.0621.
    """
    density = _inside("eps", eps, closed=True)
    z = minimax_threshold(density, non_negative=non_negative)
    return np.asarray(density + (1.0 - density) * (1 if non_negative else 2) * ndtr(-z))


def parametric_threshold(z: npt.ArrayLike, *, non_negative: bool = False) -> tuple[Array, Array]:
    """Return the point (delta, rho) of the weak threshold whose l1 solution thresholds at ``z`` noise deviations.

    ``delta = kappa phi / (z + kappa (phi - z Q))``, ``rho = 1 - z Q / phi``: from (1, 1) at z = 0 towards (0, 0).

    Raises
    ------
    ValueError
        Unless z is in [0, 38], where the normal density is a float.

    References
    ----------
    Donoho, Maleki and Montanari, arXiv:0907.3574, the phase boundary in parametric form.
    """
    z = np.asarray(z, dtype=np.float64)
    if not np.all((z >= 0.0) & (z <= _LARGEST_THRESHOLD)):
        raise ValueError(f"z must lie in [0, {_LARGEST_THRESHOLD:g}]; got {z}.")
    kappa = 1 if non_negative else 2
    density = normal_density(z)
    return np.asarray(kappa * density / (z + kappa * _excess(z))), np.asarray(_excess(z) / density)


def weak_threshold(delta: npt.ArrayLike, *, non_negative: bool = False) -> Array:
    """Return rho_W(delta): with d = delta n measurements l1 recovers most codes of fewer than rho_W d entries.

    The root of psi(rho delta) = delta, `statistical_dimension`; also the Donoho-Tanner weak threshold of polytopes.

    Raises
    ------
    ValueError
        Unless delta lies in (0, 1).

    References
    ----------
    Donoho and Tanner, arXiv:math/0607364; Donoho, Maleki and Montanari, arXiv:0907.3574.
    """
    target = _inside("delta", delta, closed=False)
    low, high = np.zeros(target.shape), np.full(target.shape, _LARGEST_THRESHOLD)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        above = parametric_threshold(middle, non_negative=non_negative)[0] > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return parametric_threshold(0.5 * (low + high), non_negative=non_negative)[1]


def constraint_dimension(eps: npt.ArrayLike) -> Array:
    """Return (1 + eps) / 2, the measurements an entry after which the signs, or a box, alone single out the code.

    Exact statistical dimension of the cone R^k x R_+^{n-k}: of k positive entries among non-negative ones (least
    squares without a penalty), or of k entries strictly inside a box whose others are at its faces.
    """
    return np.asarray(0.5 * (1.0 + _inside("eps", eps, closed=True)))


def constraint_threshold(delta: npt.ArrayLike) -> Array:
    """Return max(0, 2 - 1/delta), the weak threshold of constraints without a penalty.

    Raises
    ------
    ValueError
        Unless delta lies in (0, 1).

    References
    ----------
    Donoho and Tanner (2010), "Counting the faces of randomly-projected hypercubes and orthants", arXiv:0807.3590.
    """
    return np.asarray(np.maximum(0.0, 2.0 - 1.0 / _inside("delta", delta, closed=False)))


def descent_dimension_bounds(n: int, k: int, *, non_negative: bool = False) -> tuple[float, float]:
    """Return bounds on the statistical dimension of the descent cone of l1 at any code with k of n entries not zero.

    ``n psi - 1 - (1 - eps)/eps Var (|g| - z)_+`` and ``n psi``, at the minimax threshold z; with (g - z)_+ for
    non-negative codes. The squared distance from t times the subdifferential is convex in t with a second derivative of
    at least 2k, so that its expected minimum is below its minimal expectation by at most the variance of its slope over
    4k.

    Raises
    ------
    ValueError
        Unless 1 <= k <= n.

    References
    ----------
    Amelunxen, Lotz, McCoy and Tropp, arXiv:1303.6672, Theorem 4.3, with the variance itself in place of their bound.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in [1, n={n}]; got {k}.")
    eps, kappa = k / n, 1 if non_negative else 2
    z = minimax_threshold(eps, non_negative=non_negative)
    spread = float(soft_energy(z, non_negative=non_negative) - (kappa * _excess(z)) ** 2)
    top = n * float(statistical_dimension(eps, non_negative=non_negative))
    return top - 1.0 - (1.0 - eps) / eps * spread, top


def success_band(n: int, k: int, failure: float, *, non_negative: bool = False) -> tuple[float, float]:
    """Return (low, high): with d <= low measurements l1 succeeds with probability at most ``failure``.

    With d >= high it fails with probability at most ``failure``; for Gaussian measurements of any one code with k of n
    entries not zero. `descent_dimension_bounds` widened by ``sqrt(8 n ln(4 / failure))``: loose, but no asymptotics.

    Raises
    ------
    ValueError
        Unless 1 <= k <= n and 0 < failure < 1.

    References
    ----------
    Amelunxen, Lotz, McCoy and Tropp, arXiv:1303.6672, Theorem II.
    """
    if not 0.0 < failure < 1.0:
        raise ValueError(f"failure must lie strictly between 0 and 1; got {failure}.")
    low, high = descent_dimension_bounds(n, k, non_negative=non_negative)
    width = math.sqrt(8.0 * n * math.log(4.0 / failure))
    return low - width, high + width


def all_or_nothing_threshold(n: int, k: int, noise_variance: float) -> float:
    """Return ``2 k ln(n/k) / ln(1 + k / noise_variance)``: below it nothing of a binary code is known, above all.

    Asymptotic for k = o(sqrt n), of a code of k ones among n; measurement vectors are standard normal, NOT of unit
    columns.

    Raises
    ------
    ValueError
        Unless 1 <= k < n and the noise variance is positive.

    References
    ----------
    Reeves, Xu and Zadik, arXiv:1903.05046, Theorem 2.
    """
    _check_binary(n, k, noise_variance)
    return 2.0 * k * math.log(n / k) / math.log1p(k / noise_variance)


def lasso_support_threshold(n: int, k: int, noise_variance: float) -> float:
    """Return ``(2 k + noise_variance) ln n``, the measurements the lasso takes to find the support.

    References
    ----------
    Wainwright (2009), arXiv:math/0605740; Gamarnik and Zadik, arXiv:1701.04455, n_alg.
    """
    _check_binary(n, k, noise_variance)
    return (2.0 * k + noise_variance) * math.log(n)


def _check_binary(n: int, k: int, noise_variance: float) -> None:
    if not 1 <= k < n:
        raise ValueError(f"k must lie in [1, n-1={n - 1}]; got {k}.")
    if not (noise_variance > 0.0 and math.isfinite(noise_variance)):
        raise ValueError(f"noise_variance must be positive and finite; got {noise_variance}.")
