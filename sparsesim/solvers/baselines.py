"""Solvers to be beaten: chance, and the linear methods that know no sparsity (PCA) or no overcompleteness (ICA)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_real, check_samples, unit_rows
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.base import Encoder, FittedDictionary, Status, unit_dictionary


@final
@dataclass(frozen=True)
class LinearProjection:
    """Encodes by the coordinates of the orthogonal projection on the span of the atoms: dense, signed, ``z = x A^+``.

    For orthonormal atoms these are the correlations; a zero atom gets code zero, dependent atoms share.
    """

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the full codes ``(n, p)`` of centred samples ``x (n, d)``, every entry stored."""
        wide = np.asarray(atoms, dtype=np.float64)
        inverse = np.linalg.pinv(wide)
        inverse[:, ~wide.any(axis=1)] = 0.0  # without rounding
        dense = correlate(x.astype(np.float64, copy=False), inverse.T).astype(x.dtype, copy=False)
        n, p = dense.shape
        indices = np.tile(np.arange(p, dtype=np.int32), n)
        return Codes((dense.ravel(), indices, np.arange(n + 1, dtype=np.int64) * p), shape=(n, p))


@final
@dataclass(frozen=True)
class RandomDictionary:
    """Independent random unit directions whatever the samples: the floor of every recovery score.

    Parameters
    ----------
    width : p.
    encoder : codes the samples in the random atoms.
    """

    width: int
    encoder: Encoder

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        if not isinstance(self.encoder, Encoder):
            raise TypeError(
                f"encoder must have a method encode(x, atoms), e.g. OrthogonalMatchingPursuit(3); got {self.encoder!r}."
            )

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return unit atoms uniform on the sphere and a zero bias; of ``x (n, d)`` only d is used."""
        dim = check_samples(x).shape[1]
        return unit_dictionary(rng.standard_normal((self.width, dim)), np.zeros(dim), self.encoder, Status.CONVERGED)


def _principal(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the mean and the singular value decomposition U, S, V^T of the centred samples, in float64."""
    samples = check_samples(x).astype(np.float64)
    scale = float(np.abs(samples).max()) or 1.0
    samples /= scale
    mean = samples.mean(axis=0)
    left, singular, right = np.linalg.svd(samples - mean, full_matrices=False)
    return mean * scale, left, singular, right


@final
@dataclass(frozen=True)
class PrincipalComponents:
    """Principal directions of the samples about their mean, largest variance first, coded by projection.

    The entry of largest magnitude of each atom is positive. Directions of zero variance are arbitrary but orthonormal.

    Parameters
    ----------
    width : p, at most min(n, d): there are no more directions.
    """

    width: int

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the leading ``width`` right singular vectors of the centred ``x (n, d)``, the mean as the bias.

        Raises
        ------
        ValueError
            If width exceeds min(n, d).
        """
        mean, _, _, right = _principal(x)
        if self.width > len(right):
            raise ValueError(
                f"width must lie in [1, min(n, d)={len(right)}] for principal components; got {self.width}. "
                f"Use width={len(right)}, or an overcomplete learner such as KSVD."
            )
        atoms = right[: self.width]
        peak = np.take_along_axis(atoms, np.abs(atoms).argmax(axis=1)[:, None], axis=1)
        return unit_dictionary(atoms * np.sign(peak), mean, LinearProjection(), Status.CONVERGED)


@final
@dataclass(frozen=True)
class IndependentComponents:
    """Mixing directions of maximally independent sources (FastICA), coded by projection.

    The samples are whitened to their leading ``width`` principal components first. Where the data have fewer directions
    of variance than ``width``, the atoms that are left over are zero. The trace has ``iterations``; the status is
    CONVERGED if FastICA met ``tolerance``.

    Parameters
    ----------
    width : p, at most d.
    iterations : fixed-point iterations at most.
    tolerance : change of the unmixing directions that counts as none.

    References
    ----------
    Hyvärinen and Oja (2000), "Independent component analysis: algorithms and applications"; log cosh contrast.
    """

    width: int
    iterations: int = 200
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("iterations", self.iterations, 1)
        check_real("tolerance", self.tolerance, 0.0, open_low=True)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the normalised mixing directions learned from ``x (n, d)``, the mean as the bias.

        Raises
        ------
        ValueError
            If width exceeds d.
        ImportError
            If scikit-learn is not installed.
        """
        mean, left, singular, right = _principal(x)
        dim = right.shape[1]
        if self.width > dim:
            raise ValueError(
                f"width must lie in [1, d={dim}] for independent components; got {self.width}. "
                f"Use width={dim}, or an overcomplete learner such as KSVD."
            )
        rank = int(np.count_nonzero(singular > max(left.shape[0], dim) * np.finfo(np.float64).eps))
        rank = min(rank, self.width)
        start = rng.standard_normal((self.width, self.width))[:rank, :rank]
        if not rank:
            return unit_dictionary(np.zeros((self.width, dim)), mean, LinearProjection(), Status.CONVERGED)
        rotation, steps = self._rotation(left[:, :rank] * np.sqrt(len(left)), start)
        atoms = np.zeros((self.width, dim))
        atoms[:rank] = unit_rows(rotation @ (singular[:rank, None] * right[:rank]))[0]
        status = Status.CONVERGED if steps < self.iterations else Status.BUDGET_SPENT
        return unit_dictionary(atoms, mean, LinearProjection(), status, {"iterations": (float(steps),)})

    def _rotation(self, white: FloatArray, start: FloatArray) -> tuple[FloatArray, int]:
        """Return the orthogonal unmixing of ``white (n, r)`` and the number of iterations taken."""
        ica = _fast_ica()(
            n_components=white.shape[1],
            whiten=False,
            w_init=start,
            max_iter=self.iterations,
            tol=self.tolerance,
            random_state=0,  # not used, since w_init is given
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it would warn of is in the status
            ica.fit(white)
        return ica.components_, int(ica.n_iter_)


def _fast_ica() -> Any:
    try:
        from sklearn.decomposition import FastICA
    except ImportError as error:
        raise ImportError('independent components need scikit-learn: pip install "sparsesim[sklearn]".') from error
    return FastICA
