"""Restricted isometry and null space constants, exactly for small dictionaries, and what noise may do to a code."""

from __future__ import annotations

import math
from itertools import combinations, islice, product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from theory._premises import count, sparsity
from theory.frames import _SLACK, _unit, babel

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_MOST_SUBSETS = 500_000
_MOST_PROGRAMMES = 5_000
_LARGEST = 1e150  # the square of a norm must be a float


def _deviations(gram: Array, supports: npt.NDArray[np.intp]) -> float:
    blocks = gram[supports[:, :, None], supports[:, None, :]]
    return float(np.abs(np.linalg.eigvalsh(blocks) - 1.0).max())


def restricted_isometry(atoms: Array, k: int) -> float:
    """Return delta_k, the largest | ||s D||^2 / ||s||^2 - 1 | over k-sparse codes, by enumeration.

    ``max_{|S|=k} ||G_SS - I||`` in the spectral norm: delta_1 = 0 and delta_2 = mu for unit atoms.

    Raises
    ------
    ValueError
        For more than 500 000 supports: use `restricted_isometry_bounds`.

    References
    ----------
    Candès and Tao (2005), "Decoding by linear programming", arXiv:math/0502327, Definition 1.1.
    """
    rows = _unit(atoms)
    sparsity(k, len(rows))
    if math.comb(len(rows), k) > _MOST_SUBSETS:
        raise ValueError(f"C({len(rows)}, {k}) supports are more than {_MOST_SUBSETS}; use restricted_isometry_bounds.")
    gram, subsets, largest = rows @ rows.T, combinations(range(len(rows)), k), 0.0
    while chunk := list(islice(subsets, 8192)):
        largest = max(largest, _deviations(gram, np.array(chunk)))
    return largest


def restricted_isometry_bounds(
    atoms: Array, k: int, *, rng: np.random.Generator, draws: int = 1000
) -> tuple[float, float]:
    """Return a lower and an upper bound of delta_k: the worst of ``draws`` random supports, and mu_1(k-1).

    The upper bound is Gershgorin's, at most (k-1) mu; it may exceed 1, where it says nothing of injectivity.
    """
    rows = _unit(atoms, 2)
    sparsity(k, len(rows))
    count("draws", draws)
    gram = rows @ rows.T
    supports = rng.permuted(np.tile(np.arange(len(rows)), (draws, 1)), axis=1)[:, :k]
    upper = float(babel(rows)[k - 2]) if k > 1 else 0.0
    return min(_deviations(gram, supports), upper), upper


def isometry_threshold(method: str, k: int) -> tuple[int, float]:
    """Return (order, delta): the method recovers every k-sparse code of every dictionary with delta_order < delta.

    "basis pursuit": delta_{2k} < 1/sqrt(2). "omp", k steps: delta_{k+1} < 1/sqrt(k+1). "iht", unit step:
    delta_{3k} < 1/sqrt(3). The first two are sharp over all matrices; atoms of
    one length, as here, may be forgiven more (at k = 1 basis pursuit then always recovers, short of repeated atoms).

    References
    ----------
    Cai and Zhang (2014), "Sparse representation of a polytope and recovery of sparse signals and low-rank matrices",
    arXiv:1306.1154, Theorem 1.1 at t = 2; Mo (2015), "A sharp restricted isometry constant bound of orthogonal matching
    pursuit", arXiv:1501.01708; Foucart and Rauhut (2013), "A mathematical introduction to compressive sensing",
    section 6.3.
    """
    count("k", k)
    limits = {"basis pursuit": (2 * k, math.sqrt(0.5)), "omp": (k + 1, 1 / math.sqrt(k + 1)), "iht": (3 * k, 3**-0.5)}
    if method not in limits:
        raise ValueError(f"method must be one of {sorted(limits)}; got {method!r}.")
    return limits[method]


def null_space_constant(atoms: Array, k: int) -> float:
    """Return the largest share ||h_S||_1 / ||h||_1 of k entries of a null vector, h D = 0: exactly, by enumeration.

    Basis pursuit recovers every k-sparse code if and only if it is below 1/2. 0 where the atoms are independent. One
    linear programme for each support and each sign pattern up to a global sign.

    Raises
    ------
    ValueError
        For more than 5 000 programmes.

    References
    ----------
    Donoho and Huo (2001); Gribonval and Nielsen (2003), "Sparse representations in unions of bases"; Cohen, Dahmen and
    DeVore (2009), "Compressed sensing and best k-term approximation".
    """
    rows = _unit(atoms)
    n = len(rows)
    sparsity(k, n)
    programmes = math.comb(n, k) * 2 ** (k - 1)
    if programmes > _MOST_PROGRAMMES:
        raise ValueError(f"C({n}, {k}) 2^{k - 1} = {programmes} programmes are more than {_MOST_PROGRAMMES}.")
    largest = 0.0
    balanced = np.concatenate([rows, -rows]).T
    for chosen in combinations(range(n), k):
        for tail in product((-1.0, 1.0), repeat=k - 1):
            gain = np.zeros(n)
            gain[list(chosen)] = (1.0, *tail)
            answer = linprog(
                np.r_[-gain, gain],
                A_ub=np.ones((1, 2 * n)),
                b_ub=[1.0],
                A_eq=balanced,
                b_eq=np.zeros(rows.shape[1]),
                method="highs",
            )
            if answer.status != 0:
                raise ArithmeticError(f"the linear programme of the null space ended with: {answer.message}")
            largest = max(largest, -float(answer.fun))
    return largest


def _check_coherent(mu: float, k: int, noise: float) -> None:
    if not 0.0 <= mu <= 1.0:
        raise ValueError(f"mu must lie in [0, 1]; got {mu}.")
    count("k", k)
    if not 0.0 <= noise <= _LARGEST:
        raise ValueError(f"noise must be a norm in [0, {_LARGEST:g}]; got {noise}.")


def stable_amplitude(mu: float, k: int, noise: float) -> float:
    """Return the least |s_i| from which OMP finds the support of every k-sparse code in noise of that l2 norm.

    ``2 noise / (1 - (2k-1) mu)``, OMP stopping once its residual is no longer than ``noise``. The same condition is
    k <= (1 + 1/mu)/2 - noise / (mu s_min). At equality scores may tie.

    Raises
    ------
    ValueError
        Where (2k-1) mu >= 1.

    References
    ----------
    Donoho, Elad and Temlyakov (2006), "Stable recovery of sparse overcomplete representations in the presence of
    noise", Theorem 5.1; Cai and Wang (2011), "Orthogonal matching pursuit for sparse signal recovery with noise",
    Theorem 1.
    """
    _check_coherent(mu, k, noise)
    if (2 * k - 1) * mu >= 1.0 - _SLACK:
        raise ValueError(f"needs (2k-1) mu < 1; got k={k}, mu={mu}: no amplitude is large enough for this argument.")
    return 2.0 * noise / (1.0 - (2 * k - 1) * mu)


def support_error_bound(mu: float, k: int, noise: float) -> float:
    """Return the bound noise^2 / (1 - (k-1) mu) on ||z - s||^2 of least squares on the true support of size k.

    Raises
    ------
    ValueError
        Where (k-1) mu >= 1.

    References
    ----------
    Donoho, Elad and Temlyakov (2006), Theorem 5.1; Gershgorin's bound on the least eigenvalue of G_SS.
    """
    _check_coherent(mu, k, noise)
    if (k - 1) * mu >= 1.0 - _SLACK:
        raise ValueError(f"needs (k-1) mu < 1; got k={k}, mu={mu}.")
    return noise**2 / (1.0 - (k - 1) * mu)


def denoising_error_bound(mu: float, k: int, noise: float, tolerance: float) -> float:
    """Return the bound (noise + tolerance)^2 / (1 - (4k-1) mu) on ||z - s||^2 of basis pursuit denoising.

    z minimises ||z||_1 subject to ||x - z D|| <= tolerance, x = s D + w, ||w|| <= noise <= tolerance, s k-sparse. A
    lasso solution is one, with its own residual for tolerance.

    Raises
    ------
    ValueError
        Where (4k-1) mu >= 1 or the tolerance is below the noise.

    References
    ----------
    Donoho, Elad and Temlyakov (2006), Theorem 3.1.
    """
    _check_coherent(mu, k, noise)
    if (4 * k - 1) * mu >= 1.0 - _SLACK:
        raise ValueError(f"needs (4k-1) mu < 1; got k={k}, mu={mu}.")
    if not noise <= tolerance <= _LARGEST:
        raise ValueError(f"tolerance must be at least the noise={noise}, and at most {_LARGEST:g}; got {tolerance}.")
    return (noise + tolerance) ** 2 / (1.0 - (4 * k - 1) * mu)


def code_norm_interval(energy: npt.ArrayLike, mu: float, k: int) -> tuple[Array, Array]:
    """Return the bounds ``||x||^2 / (1 + (k-1) mu) <= ||s||^2 <= ||x||^2 / (1 - (k-1) mu)`` for a k-sparse s, x = s D.

    ``energy`` is ||x||^2, of any shape: the norm of a code is read off its sample, up to the coherence. mu_1(k-1) may
    stand for (k-1) mu. On the simplex k equal values attain the upper end, and two opposite ones the lower.

    Raises
    ------
    ValueError
        Where (k-1) mu >= 1 or an energy is negative.

    References
    ----------
    Lee et al. (2025), arXiv:2503.24277, the approximate feature norm; Gershgorin's circles for G_SS.
    """
    _check_coherent(mu, k, 0.0)
    squares = np.asarray(energy, dtype=np.float64)
    if (k - 1) * mu >= 1.0 - _SLACK or not np.all(squares >= 0):
        raise ValueError(f"needs (k-1) mu < 1 and energies of at least 0; got k={k}, mu={mu}.")
    return squares / (1.0 + (k - 1) * mu), squares / (1.0 - (k - 1) * mu)


def norm_deviation(mean_square: float, k: int) -> float:
    """Return the root mean square of ||x||^2 / ||s||^2 - 1, x = s D, for k values of one size and independent signs.

    ``sqrt(2 (k-1) / k * mean_square)`` over uniform supports, with ``mean_square`` the mean of <d_i, d_j>^2 over the
    pairs i != j: for a tight frame of n atoms (n-d) / (d (n-1)), for independent directions 1/d on average. With k it
    tends to a limit, where the bound of `code_norm_interval` grows as k - 1.

    Raises
    ------
    ValueError
        Unless mean_square lies in [0, 1] and k is at least 1.
    """
    count("k", k)
    if not 0.0 <= mean_square <= 1.0:
        raise ValueError(f"mean_square must lie in [0, 1]; got {mean_square}.")
    return math.sqrt(2.0 * (k - 1) / k * mean_square)
