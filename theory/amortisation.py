"""The amortisation gap: what one linear layer and one nonlinearity a latent lose against the best inference.

Samples are ``y = s A + w``, ``atoms A (n, d)`` with n > d, codes s sparse. Large-system statements are for atoms with
independent N(0, 1/d) entries, independent code entries and n -> inf at ``delta = d/n``; errors are mean squares of an
entry. A linear-nonlinear encoder answers ``g_i(w_i y)``, entry by entry: an autoencoder with ReLU, JumpReLU or gates.

References
----------
O'Neill, Gumran and Klindt, "Compute optimal inference and provable amortisation gap in sparse autoencoders",
arXiv 2411.13117, that there is a gap. The closed forms are derived here and in the functions used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from theory.denoisers import SpikeSlab
from theory.one_step import linear_mse, linear_noise, tied_noise
from theory.replica import bayes_mse, fixed_errors

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_FEASIBLE = 1e-7  # relative to the encoder's norm; the tolerance of the linear programme


def _atoms(atoms: npt.ArrayLike) -> Array:
    rows = np.asarray(atoms, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all() or not np.linalg.norm(rows, axis=1).all():
        raise ValueError(f"atoms must be a finite array (n, d) without zero rows, n >= 1; got shape {rows.shape}.")
    return rows


@final
@dataclass(frozen=True)
class Errors:
    """Mean squared errors an entry of five ways to read a code, best to worst but for the last two.

    Attributes
    ----------
    oracle : the posterior mean.
    algorithm : message passing with the same denoiser; above the oracle in the hard phase only.
    one_layer : the best linear-nonlinear encoder, any weights.
    tied : the best nonlinearities behind the atoms as weights, after the mean is taken off.
    linear : the best linear estimate.
    """

    oracle: float
    algorithm: float
    one_layer: float
    tied: float
    linear: float

    @property
    def gap(self) -> float:
        """Return how much the best one-layer encoder loses to the posterior mean."""
        return self.one_layer - self.oracle


def errors(prior: SpikeSlab, delta: float, noise_variance: float) -> Errors:
    """Return the errors of optimal, one-layer and linear inference with the true dictionary.

    One linear layer leaves ``s + tau z`` in each entry, with `one_step.linear_noise` for the best weights and
    `one_step.tied_noise` for tied ones; the best nonlinearity behind it is the posterior mean, so the error is
    ``mmse(tau2)``. The oracle is the fixed point ``E = mmse(sigma2 + E/delta)``; iterating it from no knowledge begins
    at the tied encoder, one layer an iteration.

    Raises
    ------
    ValueError
        Unless delta and the noise variance are positive.

    References
    ----------
    Guo and Verdu (2005) and Tse and Hanly (1999) for the decoupling; `replica.bayes_mse` for the oracle.
    """
    fixed = fixed_errors(prior, delta, noise_variance)
    best = linear_noise(prior.variance, delta, noise_variance)
    tied = tied_noise(prior.variance, delta, noise_variance)
    return Errors(
        oracle=bayes_mse(prior, delta, noise_variance),
        algorithm=float(fixed[-1]),
        one_layer=float(prior.mmse(best)),
        tied=float(prior.mmse(tied)),
        linear=linear_mse(prior.variance, delta, noise_variance),
    )


def effective_noise(
    prior: SpikeSlab, delta: float, noise_variance: float, cosine: float, *, centred: bool = False
) -> float:
    """Return the noise variance that a learned dictionary of this cosine to the truth amounts to.

    ``(sigma2 + (1 - c^2) E s^2 / delta) / c^2``: with atoms ``b_i`` of cosine c, errors independent, ``y = c s B`` plus
    noise of the unexplained parts, and the code is read from y / c. Everything stated for the true dictionary holds for
    the learned one with this noise. ``centred``: the sample mean is taken off exactly (by a decoder bias), and only the
    variance of s makes noise.

    Raises
    ------
    ValueError
        Unless 0 < cosine <= 1, delta is positive and the noise variance not negative.
    """
    if not 0.0 < cosine <= 1.0:
        raise ValueError(f"cosine must lie in (0, 1]; got {cosine}. Flip the signs of negative ones.")
    if not (delta > 0.0 and math.isfinite(delta) and noise_variance >= 0.0 and math.isfinite(noise_variance)):
        raise ValueError(f"needs delta > 0 and noise_variance >= 0, finite; got {delta} and {noise_variance}.")
    power = prior.variance if centred else prior.power
    return (noise_variance + (1.0 - cosine) * (1.0 + cosine) * power / delta) / cosine**2


@final
@dataclass(frozen=True)
class ErrorParts:
    """A mean squared error as a sum: what nobody avoids, what the dictionary costs, what the inference costs."""

    oracle: float
    dictionary: float
    inference: float


def error_parts(
    error: float, prior: SpikeSlab, delta: float, noise_variance: float, cosine: float, *, centred: bool = False
) -> ErrorParts:
    """Return the parts of a measured error; they sum to it.

    Oracle: the MMSE with the true dictionary. Dictionary: how much the MMSE grows at `effective_noise`; not negative.
    Inference: the rest, not negative but for chance and finite size: no decoder beats the MMSE of its dictionary.

    Parameters
    ----------
    error : the measured mean squared error an entry.
    cosine : of the learned atoms to the true ones.

    Raises
    ------
    ValueError
        As `effective_noise`; or if the noise variance is 0 or the error negative.
    """
    if not (error >= 0.0 and math.isfinite(error)):
        raise ValueError(f"error must be finite and not negative; got {error}.")
    noise = effective_noise(prior, delta, noise_variance, cosine, centred=centred)
    oracle = bayes_mse(prior, delta, noise_variance)
    learned = bayes_mse(prior, delta, noise)
    return ErrorParts(oracle, learned - oracle, error - learned)


def _cross_activity(n: int, k: int) -> float:
    if not 1 <= k <= n or n < 2:
        raise ValueError(f"needs n >= 2 and k in [1, n]; got n={n}, k={k}.")
    return (k - 1) / (n - 1)


def genie_floor(n: int, d: int, k: int) -> float:
    """Return a lower bound on the relative error of reading active entries by fixed linear maps, supports given.

    Even told which entry is active, ``w_i y`` errs on it by ``E (s_i - w_i y)^2 / E s_i^2``, over entries on average
    at least ``t (1 - delta) / (delta + t (1 - delta))``, ``t = (k-1)/(n-1)``, ``delta = d/n``, and more with noise.
    Any dictionary, supports of size k uniform, values uncorrelated with mean zero and equal variance. Attained exactly
    where all leverage scores ``a_i (A^T A)^-1 a_i^T`` are equal: by unit-norm tight frames, among others.

    Proof: with leverage h_i the entry's error is ``t (1 - h_i) / (h_i + t (1 - h_i))``, convex in h_i, and the leverage
    scores sum to the rank, at most d.

    Raises
    ------
    ValueError
        Unless 1 <= d <= n and 1 <= k <= n.
    """
    t = _cross_activity(n, k)
    if not 1 <= d <= n:
        raise ValueError(f"d must lie in [1, n={n}]; got {d}.")
    missed = t * (1.0 - d / n)
    return missed / (d / n + missed)


def genie_errors(atoms: npt.ArrayLike, k: int) -> Array:
    """Return the relative error ``(n,)`` of each active entry, read by its best linear map; see `genie_floor`.

    Raises
    ------
    ValueError
        Unless atoms are an array (n, d) without zero rows and k lies in [1, n].
    """
    rows = _atoms(atoms)
    t = _cross_activity(len(rows), k)
    leverage = np.clip((rows * np.linalg.pinv(rows).T).sum(axis=1), 0.0, 1.0)
    missed = t * (1.0 - leverage)
    return np.asarray(missed / (leverage + missed))


def _graph(cooccurrence: npt.ArrayLike, n: int | None = None) -> npt.NDArray[np.bool_]:
    graph = np.array(cooccurrence, dtype=bool)
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1] or (graph != graph.T).any() or n not in (None, len(graph)):
        want = "(n, n)" if n is None else f"({n}, {n})"
        raise ValueError(f"cooccurrence must be a symmetric matrix {want}; got shape {graph.shape}.")
    np.fill_diagonal(graph, False)
    return graph


def exact_encoder(atoms: npt.ArrayLike, cooccurrence: npt.ArrayLike) -> Array | None:
    """Return weights ``W (n, d)`` with ``ReLU(y W^T) = s`` for all s >= 0 that the graph allows, None without any.

    ``cooccurrence (n, n)`` says which two features may be active together; each may be active alone. W is exact iff
    ``w_i a_i = 1``, ``w_i a_j = 0`` where i and j co-occur and ``w_i a_j <= 0`` elsewhere; no bias helps. One linear
    programme an atom, to its tolerance: the conditions hold to 1e-7 of the norm of w_i.

    Where all pairs co-occur, ``A W^T = I`` needs n <= d: the amortisation gap of any overcomplete dictionary.

    Raises
    ------
    ValueError
        Unless atoms are an array (n, d) without zero rows and the graph a symmetric matrix (n, n).
    """
    rows = _atoms(atoms)
    graph = _graph(cooccurrence, len(rows))
    weights = np.empty_like(rows)
    for i in range(len(rows)):
        together = graph[i]
        apart = ~together & (np.arange(len(rows)) != i)
        equal = np.concatenate([rows[[i]], rows[together]])
        target = np.eye(1, len(equal))[0]
        found = linprog(
            np.zeros(rows.shape[1]),
            A_ub=rows[apart] if apart.any() else None,
            b_ub=np.zeros(int(apart.sum())) if apart.any() else None,
            A_eq=equal,
            b_eq=target,
            bounds=(None, None),
            method="highs",
        )
        if not found.success:
            return None
        # An answer of huge norm meets the conditions only by the programme's absolute tolerance.
        scores = rows @ found.x
        wrong = max(float(np.abs(equal @ found.x - target).max()), float(scores[apart].max(initial=0.0)))
        if wrong > _FEASIBLE * max(1.0, float(np.linalg.norm(found.x))) or np.linalg.norm(found.x) > 1.0 / _FEASIBLE:
            return None
        weights[i] = found.x
    return weights


def clique_number(cooccurrence: npt.ArrayLike) -> int:
    """Return the size of the largest set of features all of which may be active in pairs: no exact encoder has less d.

    On a clique the scores ``A W^T`` of an exact encoder are the identity, so d is at least its size.

    Raises
    ------
    ValueError
        Unless the graph is a symmetric matrix of at most 64 features: the search is exponential in the worst case.
    """
    graph = _graph(cooccurrence)
    if len(graph) > 64:
        raise ValueError(f"the search takes at most 64 features; got {len(graph)}.")
    neighbours = [sum(1 << int(j) for j in np.flatnonzero(row)) for row in graph]

    def grow(size: int, candidates: int, best: int) -> int:
        best = max(best, size)
        while candidates and size + candidates.bit_count() > best:
            vertex = candidates.bit_length() - 1
            candidates ^= 1 << vertex
            best = grow(size + 1, candidates & neighbours[vertex], best)
        return best

    return grow(0, (1 << len(graph)) - 1, 0)
