"""Inference-time decomposition of activations: the atoms are samples, taken in when the others explain them badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, check_samples, unit_rows
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.pursuit import MatchingPursuit


@final
@dataclass(frozen=True)
class ITDA:
    """Takes in as a unit atom every sample that matching pursuit in the atoms so far leaves a large part of.

    The samples are read once, in their order, in batches that are coded with the atoms from before the batch. A sample
    x with ``||x - x_hat||^2 > threshold ||x||^2`` becomes the next atom ``x / ||x||`` until there are ``width``.
    Nothing is random. The trace has ``rows``, the index of the sample that each atom is, and ``accepted``, how many
    atoms each batch gave. The status is CONVERGED if there was room for all; atoms that were not needed are then zero.
    On mixtures of features an atom is a mixture, so that recovery is poor unless there are samples of one feature.

    Parameters
    ----------
    width : p, the most atoms there can be.
    k : selections of `MatchingPursuit`, in training and after.
    threshold : of the squared error; lower ones give more atoms.
    relative : the threshold is a fraction of ``||x||^2``; otherwise it is a squared error, in the units of ``x``.
    batch_size : 1 codes every sample with all atoms before it.
    max_coherence : |cosine| above which a sample counts as the duplicate of an atom from its own batch; 1 keeps all.

    References
    ----------
    Leask, Nanda, Al Moubayed (2025), "Inference-time decomposition of activations", algorithms 1 and 2. There
    duplicates within a batch are kept (``max_coherence=1``).
    """

    width: int
    k: int
    threshold: float = 0.3
    relative: bool = True
    batch_size: int = 64
    max_coherence: float = 0.99

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("k", self.k, 1)
        check_int("batch_size", self.batch_size, 1)
        check_real("threshold", self.threshold, 0.0, 1.0 if self.relative else np.inf)
        check_real("max_coherence", self.max_coherence, 0.0, 1.0, open_low=True)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary of samples of ``x (n, d)``; the bias is zero and ``rng`` is not used."""
        unit, norms = unit_rows(check_samples(x).astype(np.float64))
        atoms = np.zeros((self.width, unit.shape[1]))
        rows: list[int] = []
        accepted: list[float] = []
        low = 0
        while low < len(unit) and len(rows) < self.width:
            batch = np.arange(low, min(low + self.batch_size, len(unit)))
            bad = batch[self._badly_coded(unit[batch], norms[batch], atoms[: len(rows)])]
            new = self._distinct(unit, bad, self.width - len(rows))
            atoms[len(rows) : len(rows) + len(new)] = unit[new]
            rows += new
            accepted.append(float(len(new)))
            low += len(batch)
        status = Status.CONVERGED if len(rows) < self.width else Status.BUDGET_SPENT
        trace = {"rows": tuple(float(row) for row in rows), "accepted": tuple(accepted)}
        return FittedDictionary(atoms, np.zeros(unit.shape[1]), MatchingPursuit(self.k), status, trace)

    def _badly_coded(self, unit: FloatArray, norms: FloatArray, atoms: FloatArray) -> FloatArray:
        residual = unit
        if len(atoms):
            residual = unit - synthesise(MatchingPursuit(self.k).encode(unit, atoms), atoms)
        left = np.sqrt(np.square(residual).sum(axis=1))  # compared as norms: squares of 1e+-200 leave the range
        bad: FloatArray = (left * (1.0 if self.relative else norms) > np.sqrt(self.threshold)) & (norms > 0)
        return bad

    def _distinct(self, unit: FloatArray, candidates: FloatArray, most: int) -> list[int]:
        new: list[int] = []
        for row in candidates:
            if len(new) == most:
                break
            cosines = np.clip(np.abs(unit[new] @ unit[row]), 0.0, 1.0)
            if not np.any(cosines > self.max_coherence):
                new.append(int(row))
        return new


def shared_atoms(first: FittedDictionary, second: FittedDictionary) -> float:
    """Return the Jaccard index of the samples that are atoms of two `ITDA` fits on the same samples, in [0, 1].

    The samples may be activations of two models or layers for the same inputs. NaN if neither has an atom.

    Raises
    ------
    ValueError
        If a fit does not say which samples its atoms are.
    """
    for fitted in (first, second):
        if "rows" not in fitted.trace:
            raise ValueError(f"the fit must have the trace 'rows' of ITDA; got {sorted(fitted.trace)}. Fit by ITDA.")
    a, b = set(first.trace["rows"]), set(second.trace["rows"])
    return len(a & b) / len(a | b) if a | b else float("nan")
