"""Sparse autoencoders, one sample at a time: shrinkage of the l1 penalty and the residual of matching pursuit.

The loss is ``||x - f A||^2 + penalty sum_i f_i``, summed over d, with ``f >= 0`` and unit rows ``atoms A (n, d)``.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def _unit(atoms: npt.ArrayLike) -> Array:
    rows = np.asarray(atoms, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6):
        raise ValueError(f"atoms must be unit rows (n, d) with n >= 1; got shape {rows.shape}. Normalise them.")
    return rows


def _check_penalty(penalty: float) -> None:
    if not (penalty >= 0.0 and math.isfinite(penalty)):
        raise ValueError(f"penalty must be finite and not negative; got {penalty}.")


def shrinkage(active: npt.ArrayLike, penalty: float) -> Array:
    """Return ``penalty/2 G^-1 1``, by how much the codes of the active atoms are below their least-squares values.

    ``(k,)``; penalty/2 each for orthonormal atoms. Negative for an atom that others stand for, which is then read too
    large. Regressing codes on true codes over active entries finds slope 1 and this as the intercept; gates, TopK and
    refitting have none.

    Parameters
    ----------
    active : (k, d), the unit rows in use, independent.

    Raises
    ------
    ValueError
        If they are not unit rows, dependent, or the penalty is negative.
    """
    rows = _unit(active)
    _check_penalty(penalty)
    if np.linalg.matrix_rank(rows) < len(rows):
        raise ValueError("the active atoms must be independent; got dependent ones, whose codes are not unique.")
    return np.asarray(penalty / 2.0 * np.linalg.solve(rows @ rows.T, np.ones(len(rows))))


def vanishing_penalty(x: npt.ArrayLike, atoms: npt.ArrayLike) -> float:
    """Return ``2 max x . a``, the penalty at and above which all codes of all samples are zero; 0 if none is positive.

    For orthonormal atoms a single feature of largest value s vanishes at 2 s.

    Parameters
    ----------
    x : (N, d).
    atoms : (n, d) unit rows.

    Raises
    ------
    ValueError
        If the atoms are not unit rows or x is no finite array in their dimension.
    """
    rows = _unit(atoms)
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] != rows.shape[1] or not np.isfinite(samples).all():
        raise ValueError(f"x must be a finite array (N, {rows.shape[1]}); got shape {samples.shape}.")
    return 2.0 * float((samples @ rows.T).max(initial=0.0))


def pursuit_share(atoms: npt.ArrayLike) -> float:
    """Return ``smallest singular value^2 / n``: every step of matching pursuit removes at least this share of ||r||^2.

    The step removes ``max_i (a_i r)^2 >= ||A r||^2 / n``. Attained by orthonormal bases, 1/d, on their diagonal; 0 if
    the atoms do not span the space.

    Raises
    ------
    ValueError
        If the atoms are not unit rows.

    References
    ----------
    Mallat and Zhang (1993), "Matching pursuits with time-frequency dictionaries", section II, for the decay; Costa et
    al. (2025), for the autoencoder unrolled from it.
    """
    rows = _unit(atoms)
    if len(rows) < rows.shape[1]:
        return 0.0
    return float(np.linalg.svd(rows, compute_uv=False)[-1] ** 2 / len(rows))


def level_coherence(atoms: npt.ArrayLike, levels: npt.ArrayLike) -> float:
    """Return the largest |inner product| of atoms of different levels: 0 for conditionally orthogonal dictionaries.

    There, with at most one active atom a level and no two atoms of a level parallel, matching pursuit is exact in as
    many steps as atoms are active, however coherent a level is in itself: the level of largest value wins, its own atom
    has the largest score in it, and what it leaves of that level is zero.

    Parameters
    ----------
    levels : (n,), which level each atom belongs to.

    Raises
    ------
    ValueError
        If the atoms are not unit rows or the levels not one each.
    """
    rows = _unit(atoms)
    labels = np.asarray(levels)
    if labels.shape != (len(rows),):
        raise ValueError(f"levels must be a vector of {len(rows)} labels; got shape {labels.shape}.")
    gram = np.abs(rows @ rows.T)
    return float(gram[labels[:, None] != labels].max(initial=0.0))
