"""Posterior collapse of conditional and two-level linear VAEs, and the decoders that rule it out.

References
----------
Dang et al. (2024), "Beyond vanilla variational autoencoders: detecting posterior collapse in conditional and
hierarchical variational autoencoders", arXiv 2306.05023; Kinoshita et al. (2023), arXiv 2304.12770. The forms here are
derived.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from theory._premises import Array, count, covariance, moderate, positive
from theory.vae import LinearVAE, linear_vae


def conditional_covariance(data: npt.ArrayLike, given: Sequence[int]) -> Array:
    """Return ``S_yy - S_yx S_xx^+ S_xy``, what is left of the covariance of y once its regression on x is known.

    ``data (d, d)`` is the covariance of all variables, ``given`` the places of x, and y all the others in their order.
    """
    c = covariance("data", data)
    places = np.asarray(given).reshape(-1)
    x = np.unique(places)
    if places.dtype.kind not in "iu" or len(x) != len(places) or not 0 < len(x) < len(c) or x[0] < 0 or x[-1] >= len(c):
        raise ValueError(f"given must be different places in [0, {len(c)}), some but not all; got {list(given)}.")
    y = np.setdiff1d(np.arange(len(c)), x)
    left = c[np.ix_(y, x)] @ np.linalg.pinv(c[np.ix_(x, x)], hermitian=True) @ c[np.ix_(x, y)]
    return np.asarray(c[np.ix_(y, y)] - (left + left.T) / 2.0)


def conditional_linear_vae(
    data: npt.ArrayLike, given: Sequence[int], q: int, noise_variance: float, beta: float = 1.0
) -> LinearVAE:
    """Return the optimum of a linear VAE of y given x: that of an ordinary one on `conditional_covariance`.

    Decoder ``y = z A + x B + noise``, posterior mean linear in (x, y). With e = y - E[y|x] the loss separates: B takes
    the regression and the encoder reads e alone, so that a direction is silent iff its *conditional* variance is at
    most beta sigma^2. The better x predicts y, the more units collapse (no eigenvalue is above that of S_yy).
    """
    values = np.linalg.eigvalsh(conditional_covariance(data, given))
    return linear_vae(np.maximum(values, 0.0), q, noise_variance, beta)  # rounding is relative to S_yy, not to them


@final
@dataclass(frozen=True)
class TwoLevelMode:
    """The optimum of one direction of a two-level linear VAE.

    Attributes
    ----------
    lower_variance, upper_variance : conditional variances of z1 given x and of z2 given z1 at the optimum.
    scale : Var z1 under the posterior.
    lower_active, upper_active : whether z1 depends on x, and z2 on z1.
    distortion : E (x - w1 z1)^2.
    loss : nats, without the d/2 ln(2 pi sigma^2) of the decoder.
    """

    lower_variance: float
    upper_variance: float
    scale: float
    lower_active: bool
    upper_active: bool
    distortion: float
    loss: float


def _upper_cost(scale: float, tau2: float, ratio: float, fixed: float | None) -> tuple[float, float, bool]:
    """Return cost, variance and activity of z2 given Var z1 = scale: a linear VAE of noise tau2 and weight ratio."""
    edge = ratio * tau2 * (1.0 if fixed is None else fixed)
    if fixed is None:
        if scale <= edge:
            return 0.5 * scale / tau2, 1.0, False
        return 0.5 * ratio * (1.0 + math.log(scale / edge)), edge / scale, True
    free = 0.5 * ratio * (fixed - math.log(fixed) - 1.0)
    if scale <= edge:
        return 0.5 * scale / tau2 + free, fixed, False
    power = math.sqrt(scale * fixed / ratio / tau2)  # Var z2 = v2^2 scale + fixed at its best
    return 0.5 * scale * fixed / (tau2 * power) + 0.5 * ratio * (power - math.log(fixed) - 1.0), fixed, True


def _scale(
    eigenvalue: float, noise: float, beta: tuple[float, float], tau2: float, lower: float | None, upper: float | None
) -> float:
    """Return Var z1 at the optimum, the only root of a derivative that is increasing once multiplied by scale^2."""
    ratio = beta[1] / beta[0]
    edge = ratio * tau2 * (1.0 if upper is None else upper)  # z2 is active iff Var z1 exceeds it
    if lower is None:
        if upper is None and ratio <= 1.0:
            raise ValueError(
                f"with both encoder variances learned the optimum exists and is unique only for beta[1] > beta[0]; "
                f"got {beta}: at equality a two-level prior is worth no more than one level, below it Var z1 diverges."
            )
        return tau2 if edge >= tau2 else tau2 * tau2 / edge
    pull = eigenvalue * lower / (noise * beta[0])
    if upper is None:
        best = math.sqrt(pull * tau2) if pull * tau2 <= edge * edge else pull / ratio
    else:
        inside = pull * tau2 <= edge * edge
        best = math.sqrt(pull * tau2) if inside else (pull * tau2 / math.sqrt(edge)) ** (2.0 / 3.0)
    return max(best, lower)


def two_level_vae(
    eigenvalue: float,
    noise_variance: float,
    *,
    beta: tuple[float, float] = (1.0, 1.0),
    prior_variance: float = 1.0,
    lower_variance: float | None = None,
    upper_variance: float | None = None,
) -> TwoLevelMode:
    """Return the optimum of one data direction of variance ``eigenvalue`` in a two-level (Markovian) linear VAE.

    ``z2 ~ N(0, 1)``, ``z1 | z2 ~ N(w2 z2, tau^2)``, ``x | z1 ~ N(w1 z1, sigma^2)``; encoder ``z1 | x ~ N(v1 x, s1)``,
    ``z2 | z1 ~ N(v2 z1, s2)``, with the weights beta[0] on E KL(q(z1|x) || p(z1|z2)) and beta[1] on
    E KL(q(z2|z1) || p(z2)). A variance given is held fixed, None learns it. Given a = Var z1 the upper level is a
    linear VAE of data variance a, noise tau^2 and weight beta[1]/beta[0]: it is active iff ``a > a_c``,
    ``a_c = tau^2 beta[1]/beta[0]`` times s2 where that is fixed, so that *learning* s2 (which then goes to 1) is what
    makes collapse easier. Of a:

    - s1 learned: ``s1/a = min(1, beta[0] sigma^2 / lambda)`` as with one level, and a depends on the weights alone: z2
      collapses iff a_c >= tau^2, whatever the data.
    - s1 fixed: with ``P = lambda s1 / (beta[0] sigma^2)`` z2 is active iff ``P tau^2 > a_c^2`` or s1 > a_c.

    Raises
    ------
    ValueError
        If both variances are learned and beta[1] <= beta[0], where the optimum is not unique or does not exist.

    References
    ----------
    The setting of Dang et al. (2024), arXiv 2306.05023; the solution is derived.
    """
    value, noise = positive("eigenvalue", eigenvalue), positive("noise_variance", noise_variance)
    if len(beta) != 2:
        raise ValueError(f"beta must be the two weights (of z1 given z2, of z2); got {beta!r}.")
    weights = (positive("beta[0]", beta[0]), positive("beta[1]", beta[1]))
    tau2 = positive("prior_variance", prior_variance)
    fixed = [
        None if s is None else positive(name, s)
        for name, s in (("lower_variance", lower_variance), ("upper_variance", upper_variance))
    ]
    scale = _scale(value, noise, weights, tau2, fixed[0], fixed[1])
    free = fixed[0] is None
    share = min(1.0, weights[0] * noise / value) if fixed[0] is None else fixed[0] / scale
    lower = share * scale if fixed[0] is None else fixed[0]
    cost, upper, active = _upper_cost(scale, tau2, weights[1] / weights[0], fixed[1])
    loss = value * share / (2.0 * noise) + weights[0] * (cost - 0.5 * math.log(lower / tau2) - 0.5)
    lower_active = value > weights[0] * noise if free else scale > lower
    return TwoLevelMode(lower, upper, scale, lower_active, active, value * share, loss)


def lipschitz_kl_floor(p: int, slope: float, noise_variance: float, beta: float = 1.0) -> float:
    """Return a lower bound on the divergence of a linear VAE of p units whose atoms have singular values >= ``slope``.

    ``||z A - z' A|| >= L ||z - z'||`` makes ``||a_i|| >= L``, so that at the optimal posterior every variance is at
    most ``v = beta sigma^2 / (beta sigma^2 + L^2)`` and ``KL >= p (v - ln v - 1) / 2`` on any data: no unit can
    collapse.

    References
    ----------
    Kinoshita et al. (2023), arXiv 2304.12770, for the idea; derived for a linear decoder, where it is attained by
    orthogonal atoms of norm L on constant data.
    """
    theta = positive("beta", beta) * positive("noise_variance", noise_variance)
    v = theta / (theta + moderate("slope", slope) ** 2)
    return 0.5 * count("p", p) * (v - math.log(v) - 1.0)


def lipschitz_rate_floor(p: int, slope: float, distortion: float) -> float:
    """Return a lower bound on E KL of *any* VAE, decoder linear or not, of inverse Lipschitz constant ``slope``.

    ``||g(z) - g(z')|| >= L ||z - z'||`` and a Gaussian posterior give ``E||x - g(z)||^2 >= E||g(z) - g(z')||^2 / 2 >=
    L^2 E sum_i s_i``; with D the distortion and ``v = D / (p L^2)`` below 1, Jensen gives
    ``KL >= p (v - ln v - 1) / 2``. It is 0 for v >= 1.
    """
    v = positive("distortion", distortion) / (count("p", p) * moderate("slope", slope) ** 2)
    return 0.5 * p * (v - math.log(v) - 1.0) if v < 1.0 else 0.0
