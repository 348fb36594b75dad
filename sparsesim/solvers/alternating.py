"""Alternating minimisation with provable local convergence: threshold the correlations, then follow the signs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_matrix, check_real, check_samples, unit_rows
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import Encoder, FittedDictionary, Status, unit_dictionary
from sparsesim.solvers.learn import initial_atoms, prepare

SHARED = 0.5  # ratio of the second eigenvalue to the first below which a pair counts as sharing exactly one atom
SAME = 0.7  # |cosine| above which two directions are one atom


@final
@dataclass(frozen=True)
class SignedDescent:
    """Learns atoms by steps ``a_j += rate * sum_i sgn(z_ij) (x_i - z_i A) / sum_i |z_ij|``, rows back to unit norm.

    With codes of right support and sign the expected step goes straight to the true atom, up to what its companions
    leave, so that from a start within O(1 / log p) of incoherent atoms the error falls geometrically to a floor of
    order k / p. There is no such promise from random samples: `pairs` finds a start from reweighted second moments, as
    `pairwise_start` says, and `fit_from` takes one. The published step has one rate
    for all atoms; dividing by ``sum |z_ij|`` makes a rate of 1 the full step for features of any frequency and size.
    CONVERGED when no atom moves by more than ``tolerance``; an atom that no sample uses stays. The trace has ``fvu`` at
    each coding and ``moved``, the largest distance an atom went; with pairs also ``started``, the atoms they gave.

    Parameters
    ----------
    width : p.
    encoder : codes the samples, in training and after. The theory is of `CorrelationThreshold` at half the least
        coefficient.
    iterations : steps, at most.
    rate : in (0, 1].
    tolerance : distance that counts as none.
    centre : take the mean of the samples as the bias; leave it off for non-negative codes.
    pairs : of samples from which to find a start, several p^2 / k; 0 starts at random samples.

    References
    ----------
    Arora, Ge, Ma, Moitra (2015), "Simple, efficient, and neural algorithms for sparse coding", arXiv 1503.00778,
    the neurally plausible update, and the pairwise initialisation.
    """

    width: int
    encoder: Encoder
    iterations: int = 50
    rate: float = 0.5
    tolerance: float = 1e-6
    centre: bool = False
    pairs: int = 0

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("iterations", self.iterations, 1)
        check_int("pairs", self.pairs, 0)
        check_real("rate", self.rate, 0.0, 1.0, open_low=True)
        check_real("tolerance", self.tolerance, 0.0)
        if not isinstance(self.encoder, Encoder):
            raise TypeError(
                f"encoder must have a method encode(x, atoms), e.g. CorrelationThreshold(0.5); got {self.encoder!r}."
            )

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started from ``pairs`` and random samples."""
        prepared = prepare(x, centre=self.centre)
        samples = prepared[0] / prepared[1]
        atoms = initial_atoms(samples, self.width, rng)
        found = pairwise_start(samples, self.width, self.pairs, rng)
        atoms[: len(found)] = found
        fitted = self._descend(prepared, atoms)
        return replace(fitted, trace={**fitted.trace, "started": (float(len(found)),)}) if self.pairs else fitted

    def fit_from(self, x: FloatArray, atoms: FloatArray) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at ``atoms (p, d)``, which are scaled to unit norm.

        Raises
        ------
        ValueError
            If ``atoms`` is not of this width and dimension.
        """
        prepared = prepare(x, centre=self.centre)
        start = check_matrix(atoms, "atoms", dim=prepared[0].shape[1]).astype(np.float64)
        if len(start) != self.width:
            raise ValueError(f"atoms must have width={self.width} rows; got {len(start)}. Set width to that.")
        return self._descend(prepared, unit_rows(start)[0])

    def _descend(self, prepared: tuple[FloatArray, float, FloatArray, float], atoms: FloatArray) -> FittedDictionary:
        samples, scale, bias, variance = prepared
        errors: list[float] = []
        moved: list[float] = []
        status = Status.BUDGET_SPENT
        for _ in range(self.iterations):
            codes = Codes(self.encoder.encode(samples, atoms), dtype=np.float64) / scale
            residual = samples / scale - synthesise(codes, atoms)
            errors.append(float(np.square(residual).sum()))
            if not np.isfinite(errors[-1]):
                status = Status.DIVERGED
                break
            new = unit_rows(atoms + self.rate * sign_step(codes, residual))[0]
            moved.append(float(np.sqrt(np.square(new - atoms).sum(axis=1).max())))
            atoms = new
            if moved[-1] <= self.tolerance:
                status = Status.CONVERGED
                break
        fvu = tuple(error / variance if variance > 0 else float("nan") for error in errors)
        return unit_dictionary(atoms, bias, self.encoder, status, {"fvu": fvu, "moved": tuple(moved)})


def sign_step(codes: Codes, residual: FloatArray) -> FloatArray:
    """Return ``sum_i sgn(z_ij) r_i / sum_i |z_ij|`` for every atom ``(p, d)``, zero for one that no sample uses."""
    sign = codes.copy()
    sign.data = np.sign(sign.data)
    weight = np.bincount(codes.indices, weights=np.abs(codes.data), minlength=codes.shape[1])
    used = weight > 0
    step: FloatArray = (sign.T @ residual) * used[:, None] / np.where(used, weight, 1.0)[:, None]
    return step


def pairwise_start(x: FloatArray, width: int, pairs: int, rng: Rng) -> FloatArray:
    """Return unit directions ``(at most width, d)`` that samples share in pairs: near atoms, if these are incoherent.

    For random samples u and v the matrix ``E <x, u> <x, v> x x^T`` has a term for each atom that both use. If that is
    one, its eigenvector of largest |eigenvalue| is near the atom and stands out by a factor of two, else it does not.
    Pairs are taken in the order of that ratio, directions that were found before are skipped. Coherent atoms, as
    overcomplete ones in few dimensions are, drown the term: then few directions or wrong ones come out.

    References
    ----------
    Arora, Ge, Ma, Moitra (2015), arXiv 1503.00778, the algorithm "pairwise initialization".
    """
    samples = check_samples(x)
    ratios, directions = np.empty(pairs), np.empty((pairs, samples.shape[1]))
    for place in range(pairs):
        first, second = samples[rng.integers(len(samples), size=2)]
        moment = (samples.T * ((samples @ first) * (samples @ second))) @ samples
        values, vectors = np.linalg.eigh(moment)
        order = np.argsort(-np.abs(values))[:2]
        largest = float(np.abs(values[order[0]]))
        ratios[place] = np.abs(values[order[-1]]) / largest if largest > 0 and len(values) > 1 else 1.0
        directions[place] = vectors[:, order[0]]
    start = np.empty((0, samples.shape[1]))
    for place in np.argsort(ratios, kind="stable"):
        if ratios[place] >= SHARED or len(start) == width:
            break
        if np.abs(start @ directions[place]).max(initial=0.0) <= SAME:
            start = np.concatenate([start, directions[[place]]])
    return start
