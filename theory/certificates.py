"""Certificates: for one support, sign pattern or sample, whether a method recovers it, and by what margin.

The lasso is that of the solvers, ``min_z ||x - z D||^2 / 2 + penalty ||z||_1``: with the squared error unhalved,
``||x - z D||^2 + lam ||z||_1``, the penalty is lam / 2 and the value doubles. D_S are the atoms of the support S,
rows; G = D_S D_S^T their Gram matrix, sigma the signs on S. A margin above 0 is a proof; below 0 it refutes where said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog, nnls

from theory.frames import _SLACK, _chosen, _unit, exact_recovery_coefficient

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_MOST_SUBSETS = 500_000
_SOLVER = 1e-7  # feasibility tolerance of the linear programmes: a smaller margin is not told from none


@final
@dataclass(frozen=True)
class Certificate:
    """Whether the certificate holds and its margin: it holds where the margin is above rounding."""

    holds: bool
    margin: float


@final
@dataclass(frozen=True, eq=False)
class LassoCertificate:
    """Whether the lasso's only minimiser is ``code``, of the given support and signs, and by what margins.

    Attributes
    ----------
    holds : both margins are above rounding.
    inside : the smallest sigma_i z_i on the support, in units of x: infinite for an empty support.
    outside : 1 - max_j |d_j . r| / penalty over the atoms outside, without the modulus for non-negative codes.
    code : (n,) the solution of the stationarity conditions on the support.
    value : the objective at ``code``, the minimum if ``holds``.
    """

    holds: bool
    inside: float
    outside: float
    code: Array
    value: float


@final
@dataclass(frozen=True)
class BasisPursuitCertificate:
    """Whether basis pursuit recovers every code of a support and signs.

    Attributes
    ----------
    holds : the exact ``margin`` is above the tolerance of the linear programme.
    margin : 1 - the least max_j |d_j . v| over v with D_S v = sigma, at most 1.
    closed_form : the same at v = D_S^+ sigma, without optimisation: never above ``margin``.
    """

    holds: bool
    margin: float
    closed_form: float


def _signs(signs: npt.ArrayLike | None, k: int) -> Array:
    sigma = np.ones(k) if signs is None else np.asarray(signs, dtype=np.float64)
    if sigma.shape != (k,) or not np.all(np.abs(sigma) == 1.0):
        raise ValueError(f"signs must be {k} values of -1 or 1, one for each atom of the support; got {signs!r}.")
    return sigma


def _sample(x: npt.ArrayLike, rows: Array) -> Array:
    sample = np.asarray(x, dtype=np.float64)
    if sample.shape != rows.shape[1:] or not (np.abs(sample) <= 1e150).all():
        raise ValueError(
            f"x must be a sample of shape {rows.shape[1:]}, no entry above 1e150; got shape {sample.shape}."
        )
    return sample


def lasso_certificate(
    x: npt.ArrayLike,
    atoms: Array,
    support: Sequence[int],
    penalty: float,
    *,
    signs: npt.ArrayLike | None = None,
) -> LassoCertificate:
    """Return whether the lasso at sample ``x (d,)`` has one minimiser, with exactly this support and these signs.

    ``z_S = G^{-1} (D_S x - penalty sigma)`` and r = x - z_S D_S; it is if sigma z_S > 0 and |d_j . r| < penalty for all
    j outside S. A margin below 0 refutes it: no minimiser has this support and signs. At a margin of 0 the minimiser
    may or may not be unique. For x = s D + w with s on S this says ``z_S = s_S + G^{-1} (D_S w - penalty sigma)`` and
    ``d_j . P w + penalty d_j . D_S^T G^{-1} sigma``, P the projection off the support, in place of d_j . r.

    Parameters
    ----------
    x : (d,) a sample.
    atoms : (n, d) unit rows.
    support : the atoms of S, independent; none asks whether the code is zero.
    penalty : positive.
    signs : -1 or 1 for each atom of S; None for the non-negative lasso, min over z >= 0.

    Raises
    ------
    ValueError
        If the atoms of S are dependent or repeated, the shapes do not fit, or the penalty is not positive.

    References
    ----------
    Fuchs (2004), "On sparse representations in arbitrary redundant bases", Theorem 4; Zhao and Yu (2006), "On model
    selection consistency of lasso", Proposition 1; the stationarity conditions of a convex programme.
    """
    rows = _unit(atoms)
    sample, chosen = _sample(x, rows), _chosen(rows, support)
    if not 1e-150 <= penalty <= 1e150:
        raise ValueError(
            f"penalty must lie in [1e-150, 1e150]; got {penalty}. For the limit 0 use basis_pursuit_certificate."
        )
    inside, sigma = rows[chosen], _signs(signs, len(chosen))
    code = np.zeros(len(rows))
    code[chosen] = np.linalg.solve(inside @ inside.T, inside @ sample - penalty * sigma)
    residual = sample - code[chosen] @ inside
    slopes = np.delete(rows, chosen, axis=0) @ residual / penalty
    outer = 1.0 - float((slopes if signs is None else np.abs(slopes)).max(initial=-math.inf))
    inner = float((sigma * code[chosen]).min(initial=math.inf))
    scale = float(np.abs(sample).max(initial=0.0))
    value = float(residual @ residual / 2 + penalty * np.abs(code).sum())
    return LassoCertificate(inner > _SLACK * scale and outer > _SLACK, inner, outer, code, value)


def lasso_value(atoms: Array, code: npt.ArrayLike, penalty: float) -> float:
    """Return the lasso's minimum at x = code D where it keeps the support and signs of ``code (n,)``.

    ``penalty ||s||_1 - penalty^2 sigma^T G^{-1} sigma / 2``: each token's shrinkage costs the second term.

    Raises
    ------
    ValueError
        If `lasso_certificate` does not hold, where this is not the minimum.
    """
    rows, s = _unit(atoms), np.asarray(code, dtype=np.float64)
    if s.shape != (len(rows),) or not np.isfinite(s).all():
        raise ValueError(f"code must have one finite entry for each of the n={len(rows)} atoms; got shape {s.shape}.")
    support = np.flatnonzero(s)
    sigma = np.sign(s[support])
    certificate = lasso_certificate(s @ rows, rows, support.tolist(), penalty, signs=sigma)
    if not certificate.holds:
        raise ValueError(f"the lasso at penalty={penalty} does not keep the support of this code; lower the penalty.")
    gram = rows[support] @ rows[support].T
    return float(penalty * np.abs(s).sum() - penalty**2 / 2 * sigma @ np.linalg.solve(gram, sigma))


def basis_pursuit_certificate(
    atoms: Array, support: Sequence[int], *, signs: npt.ArrayLike | None = None
) -> BasisPursuitCertificate:
    """Return whether every code with this support and these signs is the one solution of basis pursuit.

    min ||z||_1 over z D = x, and with signs None over z >= 0 too. Recovery for one code of the pattern, for all of
    them, and the existence of v with D_S v = sigma and |d_j . v| < 1 outside (d_j . v < 1 for non-negative codes) are
    the same, D_S being independent. The margin is exact, by a linear programme.

    Raises
    ------
    ValueError
        If the atoms of S are dependent, repeated or none.

    References
    ----------
    Fuchs (2004), Theorem 2, the closed form; Zhang, Yin and Cheng (2015), "Necessary and sufficient conditions of
    solution uniqueness in 1-norm minimization", arXiv:1209.0652, Theorem 1; Goldman and Tucker (1956) for z >= 0.
    """
    rows = _unit(atoms)
    chosen = _chosen(rows, support)
    if not len(chosen):
        raise ValueError("support must name at least one atom; got none.")
    sigma, outside = _signs(signs, len(chosen)), np.delete(rows, chosen, axis=0)
    if not len(outside):
        return BasisPursuitCertificate(True, 1.0, 1.0)
    slopes = outside @ (np.linalg.pinv(rows[chosen]) @ sigma)
    closed = 1.0 - max(0.0, float((slopes if signs is None else np.abs(slopes)).max()))
    sided = outside if signs is None else np.concatenate([outside, -outside])
    answer = linprog(
        np.r_[np.zeros(rows.shape[1]), 1.0],
        A_ub=np.c_[sided, -np.ones(len(sided))],
        b_ub=np.zeros(len(sided)),
        A_eq=np.c_[rows[chosen], np.zeros(len(chosen))],
        b_eq=sigma,
        bounds=[(None, None)] * rows.shape[1] + [(0, None)],
        method="highs",
    )
    if answer.status != 0:
        raise ArithmeticError(f"the linear programme of the dual certificate ended with: {answer.message}")
    margin = max(closed, 1.0 - float(answer.fun))
    return BasisPursuitCertificate(margin > _SOLVER, margin, closed)


def pursuit_certificate(atoms: Array, support: Sequence[int]) -> Certificate:
    """Return whether OMP recovers every code on this support: the Exact Recovery Condition, margin 1 - coefficient.

    It also certifies basis pursuit for every sign pattern. Where the margin is below 0, OMP chooses a wrong atom first
    for some code on the support.

    References
    ----------
    Tropp (2004), "Greed is good", Theorems 3.1, 3.3 and 3.10.
    """
    margin = 1.0 - exact_recovery_coefficient(atoms, support)
    return Certificate(margin > _SLACK, margin)


def sparsest_certificate(atoms: Array, code: npt.ArrayLike, *, non_negative: bool = False) -> Certificate:
    """Return whether no other code with as few non-zeros explains ``x = code D``, by trying all supports of that size.

    The margin is the least distance of x from the span of another k atoms (from their cone, if ``non_negative``),
    divided by ||x||, and 0 if the code's own atoms are dependent. It is the noise an exhaustive l0 decoder tolerates:
    noise of norm below half the margin times ||x|| cannot make another support the best.

    Raises
    ------
    ValueError
        If there are more than 500 000 supports, the code is zero, or it has negative entries under ``non_negative``.
    """
    rows, s = _unit(atoms), np.asarray(code, dtype=np.float64)
    support = np.flatnonzero(s)
    n, k = len(rows), len(support)
    if s.shape != (n,) or not k or not np.isfinite(s).all() or (non_negative and s.min() < 0):
        raise ValueError(
            f"code must be a non-zero vector of n={n} finite entries, non-negative if asked; got {code!r}."
        )
    if math.comb(n, k) > _MOST_SUBSETS:
        raise ValueError(f"C({n}, {k}) supports are more than {_MOST_SUBSETS}; certify by l1 or by the spark.")
    x = s / np.abs(s).max() @ rows
    if k > rows.shape[1] or np.linalg.svd(rows[support], compute_uv=False)[-1] < _SLACK:
        return Certificate(False, 0.0)
    others = (set_ for set_ in combinations(range(n), k) if set_ != tuple(support))
    least = math.inf
    while chunk := list(islice(others, 4096)):
        least = min(least, float(_distances(x, rows, np.array(chunk), non_negative).min()))
    margin = least / float(np.linalg.norm(x))
    return Certificate(margin > _SLACK, margin)


def _distances(x: Array, rows: Array, supports: npt.NDArray[np.intp], non_negative: bool) -> Array:
    """Return the distances ``(c,)`` of x from the span, or cone, of each support ``(c, k)``."""
    if non_negative:
        return np.array([nnls(rows[chosen].T, x)[1] for chosen in supports])
    _, values, right = np.linalg.svd(rows[supports], full_matrices=False)
    shadows = np.where(values > _SLACK, right @ x, 0.0)  # dependent atoms span less
    return np.asarray(np.linalg.norm(x - np.einsum("ck,ckd->cd", shadows, right), axis=1))


def one_step_certificate(x: npt.ArrayLike, atoms: Array, support: Sequence[int]) -> Certificate:
    """Return whether the k largest scores d_i . x of a tied encoder are those of the support, by their gap.

    The margin is min_{i in S} d_i . x - max_{j not in S} d_j . x: exact for TopK on this sample.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the support is empty, repeated, dependent or everything.
    """
    rows = _unit(atoms)
    sample, chosen = _sample(x, rows), _chosen(rows, support)
    if not 0 < len(chosen) < len(rows):
        raise ValueError(f"support must hold 1 to n-1={len(rows) - 1} atoms; got {len(chosen)}.")
    scores = rows @ sample
    margin = float(scores[chosen].min() - np.delete(scores, chosen).max())
    return Certificate(margin > _SLACK * float(np.abs(scores).max()), margin)


def one_step_limit(mu: float, ratio: float = 1.0) -> int:
    """Return the largest k < 1 + ratio (1/mu - 1) / 2: the k largest |d_i . x| find the support of every k-sparse code.

    ``ratio`` is min|s| / max|s| on the support. A score on it is at least s_min - mu (k-1) s_max, one outside at most
    mu ((k-1) s_max + s_min). At ratio 1 this is the limit (1 + 1/mu)/2 of OMP; the simplex attains it at every ratio.

    Raises
    ------
    ValueError
        If mu or ratio lies outside (0, 1].
    """
    for name, value in (("mu", mu), ("ratio", ratio)):
        if not 0.0 < value <= 1.0:
            raise ValueError(f"{name} must lie in (0, 1]; got {value}.")
    return math.ceil(1.0 + ratio * (1.0 / max(mu, 1e-300) - 1.0) / 2.0 - _SLACK) - 1
