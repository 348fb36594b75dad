"""Loss that rewards too many atoms, and loss that does not: training error against error on coordinates held out.

The code of a sample is the best of all supports of at most k atoms, by exhaustive least squares. ``observed`` are the
coordinates an encoder may look at, the others are predicted; squared errors are summed over coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from theory._premises import count
from theory.frames import _chosen, _unit

Array: TypeAlias = npt.NDArray[np.floating[Any]]

_MOST_SUBSETS = 50_000


def _inputs(x: npt.ArrayLike, atoms: npt.ArrayLike, k: int) -> tuple[Array, Array]:
    samples, rows = np.asarray(x, dtype=np.float64), np.asarray(atoms, dtype=np.float64)
    if samples.ndim != 2 or rows.ndim != 2 or samples.shape[1] != rows.shape[1]:
        raise ValueError(f"x (N, d) and atoms (n, d) must share d; got {samples.shape} and {rows.shape}.")
    if not (np.isfinite(samples).all() and np.isfinite(rows).all()):
        raise ValueError("x and atoms must be finite; remove samples with NaN or infinity.")
    if not 1 <= k <= min(rows.shape):
        raise ValueError(f"k must lie in [1, min(n, d)={min(rows.shape)}]; got {k}.")
    if math.comb(len(rows), k) > _MOST_SUBSETS:
        raise ValueError(f"C({len(rows)}, {k}) supports are more than {_MOST_SUBSETS}; take fewer atoms.")
    return samples, rows


def _missing(observed: Sequence[int], d: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    given = np.asarray(observed)
    seen = np.unique(given)
    if given.dtype.kind not in "iu" or len(seen) != given.size or seen[0] < 0 or seen[-1] >= d or len(seen) == d:
        raise ValueError(f"observed must be 1 to d-1 different coordinates of d={d}; got {observed!r}.")
    return seen.astype(np.intp), np.setdiff1d(np.arange(d), seen)


def exhaustive_loss(x: npt.ArrayLike, atoms: npt.ArrayLike, k: int) -> Array:
    """Return each sample's least squared error by k atoms, ``(N,)``: never more after an atom is added.

    Raises
    ------
    ValueError
        If the shapes do not fit or there are more than 50 000 supports.
    """
    samples, rows = _inputs(x, atoms, k)
    best = np.zeros(len(samples))
    for support in combinations(range(len(rows)), k):
        _, values, right = np.linalg.svd(rows[list(support)], full_matrices=False)
        best = np.maximum(best, np.square(samples @ right[values > 1e-9].T).sum(axis=1))
    return np.asarray(np.maximum(np.square(samples).sum(axis=1) - best, 0.0))


def masked_loss(x: npt.ArrayLike, atoms: npt.ArrayLike, k: int, observed: Sequence[int]) -> Array:
    """Return each sample's squared error on the coordinates not observed, ``(N,)``, its code chosen on the observed.

    Its mean is at least `masked_floor` for every dictionary: an extra atom that fits noise predicts nothing.

    Raises
    ------
    ValueError
        If k exceeds the observed coordinates, where every support fits; if the shapes do not fit.

    References
    ----------
    Chidambaram, Wu, Cheng and Ge (2023), "Hiding data helps: on the benefits of masking for sparse coding",
    arXiv:2302.12715.
    """
    samples, rows = _inputs(x, atoms, k)
    seen, hidden = _missing(observed, rows.shape[1])
    if k >= len(seen):
        raise ValueError(f"k must be below the {len(seen)} observed coordinates; got {k}.")
    least, loss = np.full(len(samples), math.inf), np.empty(len(samples))
    for support in combinations(range(len(rows)), k):
        chosen = rows[list(support)]
        codes = samples[:, seen] @ np.linalg.pinv(chosen[:, seen])
        fit = np.square(samples[:, seen] - codes @ chosen[:, seen]).sum(axis=1)
        better = fit < least
        least[better] = fit[better]
        loss[better] = np.square(samples[better][:, hidden] - codes[better] @ chosen[:, hidden]).sum(axis=1)
    return loss


def known_support_loss(d: int, k: int, noise_variance: float) -> float:
    """Return sigma^2 (d - k), the true dictionary's loss where the support is known; the best of all is below it."""
    count("d", d)
    if not (0 <= k <= d and noise_variance >= 0):
        raise ValueError(f"needs 0 <= k <= d={d} and noise_variance >= 0; got {k} and {noise_variance}.")
    return noise_variance * (d - k)


def known_support_masked_loss(
    atoms: Array, support: Sequence[int], observed: Sequence[int], noise_variance: float
) -> float:
    """Return ``sigma^2 (|H| + ||D_SO^+ D_SH||_F^2)``, the true dictionary's masked loss where the support is known.

    O observed, H hidden coordinates: the noise there, and the noise of the code carried over. The limit of
    `masked_loss` as the signal grows.

    Raises
    ------
    ValueError
        If the atoms of the support are dependent on the observed coordinates.
    """
    rows = _unit(atoms)
    chosen = rows[_chosen(rows, support)]
    seen, hidden = _missing(observed, rows.shape[1])
    if not noise_variance >= 0:
        raise ValueError(f"noise_variance must be at least 0; got {noise_variance}.")
    if np.linalg.matrix_rank(chosen[:, seen]) < len(chosen):
        raise ValueError(f"the atoms {list(support)} are dependent on the observed coordinates; observe more.")
    carried = np.linalg.pinv(chosen[:, seen]) @ chosen[:, hidden]
    return float(noise_variance * (len(hidden) + np.square(carried).sum()))


def masked_floor(hidden: int, noise_variance: float) -> float:
    """Return sigma^2 |H|, below which no dictionary's and no encoder's mean masked loss falls, in any world.

    The noise of the hidden coordinates is independent of all that is observed. The training loss has no such floor.
    """
    count("hidden", hidden)
    if not noise_variance >= 0:
        raise ValueError(f"noise_variance must be at least 0; got {noise_variance}.")
    return hidden * noise_variance


def plane_loss(angles: npt.ArrayLike, truth: npt.ArrayLike, signal_variance: float, noise_variance: float) -> float:
    """Return the population loss of lines at ``angles (p,)`` in the plane, k = 1, for data near lines ``truth (m,)``.

    x = s d_i + w, i uniform, s ~ N(0, v), w ~ N(0, sigma^2 I): given i it is C^{1/2} g, and the angle psi of g is
    uniform. At angle phi from d_i, tan(psi) = kappa tan(phi) with kappa^2 = v / sigma^2 + 1, the mean squared error to
    a line at angle b from d_i is ``2 (v + sigma^2) (sin(psi) cos(b) / kappa - cos(psi) sin(b))^2``, integrated in
    closed form over the directions nearest to each line. p equal lines in pure noise:
    sigma^2 (1 - sin(pi/p) / (pi/p)). The loss tends to 0 with the gaps, so at every signal-to-noise ratio some
    dictionary of more atoms beats the truth.

    Raises
    ------
    ValueError
        If there are no lines, or a variance is not positive (the signal's may be 0).

    References
    ----------
    The case d = 2, k = 1 of Chidambaram, Wu, Cheng and Ge (2023), arXiv:2302.12715, where more atoms beat the truth.
    """
    lines = np.sort(np.mod(np.asarray(angles, dtype=np.float64).ravel(), math.pi))
    centres = np.asarray(truth, dtype=np.float64).ravel()
    if not (len(lines) and len(centres) and np.isfinite(lines).all() and np.isfinite(centres).all()):
        raise ValueError(f"angles and truth must be finite and not empty; got {len(lines)} and {len(centres)}.")
    if not (0 <= signal_variance < math.inf and 0 < noise_variance < math.inf):
        raise ValueError(f"needs signal_variance >= 0, noise_variance > 0; got {signal_variance}, {noise_variance}.")
    kappa = math.sqrt(signal_variance / noise_variance + 1.0)
    around = np.concatenate([[lines[-1] - math.pi], lines, [lines[0] + math.pi]])
    edges = (around[1:] + around[:-1]) / 2  # of the cells of directions nearest to each line
    psi = _stretched(edges[:, None] - centres, kappa)
    gap, total = psi[1:] - psi[:-1], psi[1:] + psi[:-1]
    along, across = np.cos(lines[:, None] - centres) / kappa, np.sin(lines[:, None] - centres)
    cell = (along**2 + across**2) * gap - (along**2 - across**2) * np.cos(total) * np.sin(gap)
    cell -= 2 * along * across * np.sin(total) * np.sin(gap)
    return float((signal_variance + noise_variance) * cell.sum() / (math.pi * len(centres)))


def _stretched(phi: Array, kappa: float) -> Array:
    """Return psi with tan(psi) = kappa tan(phi), on the branch that stays within a quarter turn of phi."""
    psi = np.arctan2(kappa * np.sin(phi), np.cos(phi))
    return np.asarray(psi + 2 * math.pi * np.round((phi - psi) / (2 * math.pi)))
