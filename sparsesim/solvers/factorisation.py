"""Non-negative and semi-non-negative matrix factorisation: x = Z A with Z >= 0, and A >= 0 in the first.

Both alternate exact minimisation over the codes with a step in the atoms that cannot raise the error, so the squared
error never increases from one iteration to the next. Atoms that are cut to their largest entries lose that promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_real, unit_rows
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.active_set import NonNegativeLeastSquares
from sparsesim.solvers.base import FittedDictionary, Status, unit_dictionary
from sparsesim.solvers.learn import EXACT, initial_atoms, optimal_directions, prepare, replace_atoms

SWEEPS = 3  # over the atoms in one iteration of the non-negative form
PATIENCE = 20  # iterations without a new lowest error, where it may rise, before the fit counts as converged

Step = Callable[[FloatArray, Codes, FloatArray], FloatArray]
Restriction = Callable[[FloatArray], FloatArray]


def _check(solver: NonNegativeFactorisation | SemiNonNegativeFactorisation) -> None:
    check_int("width", solver.width, 1)
    check_int("iterations", solver.iterations, 1)
    check_real("tolerance", solver.tolerance, 0.0, 1.0)


def _factorise(
    solver: NonNegativeFactorisation | SemiNonNegativeFactorisation,
    x: FloatArray,
    rng: Rng,
    steps: tuple[Step, Restriction],
    patience: int = 0,
) -> FittedDictionary:
    """Return the factors of least error after alternating non-negative least squares for the codes with a step.

    The two ``steps`` are in the atoms, and to those that are allowed. Where ``patience`` is 0 the error cannot rise.
    """
    samples, scale, _, variance = prepare(x, centre=False)
    samples /= scale
    encoder, (step, allowed) = NonNegativeLeastSquares(), steps
    atoms = unit_rows(allowed(initial_atoms(samples, solver.width, rng)))[0]
    errors: list[float] = []
    replaced: list[float] = []
    best, lowest, idling, status = atoms, np.inf, 0, Status.BUDGET_SPENT
    for iteration in range(solver.iterations + 1):
        codes = encoder.encode(samples, atoms)
        residual = samples - synthesise(codes, atoms)
        error = float(np.square(residual).sum())
        if error > lowest and not patience:  # only rounding raises it: the factors before are kept
            status = Status.CONVERGED
            break
        errors.append(error)
        idling = idling + 1 if lowest - error < solver.tolerance * lowest else 0
        best, lowest = (atoms, error) if error <= lowest else (best, lowest)
        if error <= EXACT * max(float(np.square(samples).sum()), 1.0) or idling > patience:
            status = Status.CONVERGED
            break
        if iteration < solver.iterations:
            idle = np.flatnonzero(np.bincount(codes.indices, minlength=solver.width) == 0)
            atoms = replace_atoms(allowed(step(samples, codes, atoms)), idle, allowed(residual), rng)
            atoms = unit_rows(allowed(atoms))[0]
            replaced.append(float(len(idle)))
    fvu = tuple(error / variance if variance > 0 else float("nan") for error in errors)
    bias = np.zeros(samples.shape[1])
    return unit_dictionary(best, bias, encoder, status, {"fvu": fvu, "replaced": tuple(replaced)})


def _positive_part(atoms: FloatArray) -> FloatArray:
    return np.maximum(atoms, 0.0)


def largest_entries(atoms: FloatArray, count: int) -> FloatArray:
    """Return the atoms with all but the ``count`` entries of largest magnitude of each row at zero.

    The lowest index wins ties.
    """
    kept = np.argsort(-np.abs(atoms), axis=1, kind="stable")[:, :count]
    cut = np.zeros_like(atoms)
    np.put_along_axis(cut, kept, np.take_along_axis(atoms, kept, axis=1), axis=1)
    return cut


def non_negative_directions(x: FloatArray, codes: Codes, atoms: FloatArray) -> FloatArray:
    """Return atoms ``(p, d)``, of any norm, of which each in turn minimises ``||x - codes A||_F`` over ``a_j >= 0``.

    ``a_j = max(0, a_j + (C_j - G_j A) / G_jj)`` with ``G = Z'Z`` and ``C = Z'x``, in `SWEEPS` sweeps; an atom that no
    code uses stays.
    """
    gram, cross = (codes.T @ codes).toarray(), codes.T @ x
    new = atoms.copy()
    for _ in range(SWEEPS):
        for j in np.flatnonzero(np.diag(gram) > 0):
            new[j] = np.maximum(new[j] + (cross[j] - gram[j] @ new) / gram[j, j], 0.0)
    return new


@final
@dataclass(frozen=True)
class NonNegativeFactorisation:
    """Learns ``A >= 0`` and ``Z >= 0`` that minimise ``||x - Z A||_F^2``: parts that are only ever added.

    An iteration finds the exact codes of all samples, then takes sweeps of exact minimisation over one atom at a time
    (HALS). The squared error never increases. An atom that no sample uses is set to the positive part of the residual
    of a badly coded sample, which cannot raise the error either. Samples may have negative entries; that part of them
    is left unexplained. The bias is zero. CONVERGED if the error fell by less than the fraction ``tolerance`` in one
    iteration: to a local minimum at best. The trace has ``fvu`` (one more than iterations) and ``replaced``.

    Parameters
    ----------
    width : p.
    iterations : at most.
    tolerance : relative fall of the squared error that counts as none.

    References
    ----------
    Lee and Seung (1999), "Learning the parts of objects by non-negative matrix factorization"; Cichocki, Zdunek, Amari
    (2007) for HALS; Kim and Park (2008) for exact codes.
    """

    width: int
    iterations: int = 200
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        _check(self)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the non-negative atoms learned from ``x (n, d)``, started at positive parts of random samples."""
        return _factorise(self, x, rng, (non_negative_directions, _positive_part))


@final
@dataclass(frozen=True)
class SemiNonNegativeFactorisation:
    """Learns A of any sign and ``Z >= 0`` that minimise ``||x - Z A||_F^2``: k-means with soft, additive membership.

    An iteration finds the exact codes of all samples, then the exact least squares atoms. The rest is as in
    `NonNegativeFactorisation`. For signed data any p > d leaves nothing unexplained: the factors are then not
    identified without a penalty on the codes, as in `MethodOfOptimalDirections` with a non-negative `Lasso`.

    With ``kept`` below 1 each atom is cut after its step to that fraction of its coordinates, those of largest
    magnitude (winner takes all: features of few neurons). The error can then rise; the fit is the dictionary of least
    error seen, and CONVERGED if none was lower by the fraction ``tolerance`` in 20 iterations.

    Parameters
    ----------
    width : p.
    iterations : at most.
    tolerance : relative fall of the squared error that counts as none.
    kept : fraction of the d coordinates of an atom that may differ from zero, in (0, 1]; at least one.

    References
    ----------
    Ding, Li, Jordan (2010), "Convex and semi-nonnegative matrix factorizations"; exact steps in place of
    multiplicative ones. Shafran et al. (2025) cut atoms of MLP activations so, with ``kept = 0.01``.
    """

    width: int
    iterations: int = 200
    tolerance: float = 1e-5
    kept: float = 1.0

    def __post_init__(self) -> None:
        _check(self)
        check_real("kept", self.kept, 0.0, 1.0, open_low=True)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the atoms learned from ``x (n, d)``, started at random samples."""

        def cut(atoms: FloatArray) -> FloatArray:
            count = max(1, round(self.kept * atoms.shape[1]))
            return largest_entries(atoms, count) if self.kept < 1 else atoms

        def step(samples: FloatArray, codes: Codes, atoms: FloatArray) -> FloatArray:
            return optimal_directions(samples, codes)

        return _factorise(self, x, rng, (step, cut), patience=PATIENCE if self.kept < 1 else 0)
