"""Dictionary learning by alternation: code the samples with the atoms held fixed, then improve the atoms.

Both learners share one loop: start from random samples, code, update, replace atoms that do nothing, until the training
error settles. They differ in the update. The encoder is free: its non-negativity or its penalty is the learner's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, check_samples, unit_rows
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import Encoder, FittedDictionary, Status, unit_dictionary

PATIENCE = 5  # iterations over which the lowest error must fall by the fraction `tolerance`, else it has stalled
ESCAPES = 3  # in a row that did not lower the error: the fit has converged
EXACT = 1e-24  # of the energy of the samples: an error below is rounding
ALTERNATIONS = 10  # of a non-negative rank-one factor, where no closed form exists

Update = Callable[[FloatArray, Codes, FloatArray, FloatArray], FloatArray]


class Learner(Protocol):
    """What every dictionary learner here is told: how wide, coded by whom, and when two atoms are one."""

    @property
    def width(self) -> int:
        """Return p, the number of atoms."""
        ...

    @property
    def encoder(self) -> Encoder:
        """Return what codes samples between two updates of the atoms."""
        ...

    @property
    def tolerance(self) -> float:
        """Return the relative fall of the error below which the fit has converged."""
        ...

    @property
    def centre(self) -> bool:
        """Return whether the mean of the samples is taken off first."""
        ...

    @property
    def max_coherence(self) -> float:
        """Return the |cosine| above which two atoms are one, and the second is replaced."""
        ...


class _Alternation(Learner, Protocol):
    @property
    def iterations(self) -> int: ...


def _check(solver: _Alternation) -> None:
    check_learner(solver)
    check_int("iterations", solver.iterations, 1)


def check_learner(solver: Learner) -> None:
    """Raise ValueError or TypeError where a setting that all learners share is out of range."""
    check_int("width", solver.width, 1)
    check_real("tolerance", solver.tolerance, 0.0, 1.0)
    check_real("max_coherence", solver.max_coherence, 0.0, 1.0, open_low=True)
    if not isinstance(solver.encoder, Encoder):
        raise TypeError(
            f"encoder must have a method encode(x, atoms), e.g. OrthogonalMatchingPursuit(3); got {solver.encoder!r}."
        )


def _learn(solver: _Alternation, x: FloatArray, rng: Rng, update: Update) -> FittedDictionary:
    """Return the dictionary of lowest training error among those visited; `update` sees samples of magnitude 1."""
    samples, scale, bias, variance = prepare(x, centre=solver.centre)
    best, progress, replaced, status = _alternate(solver, samples, scale, rng, update)
    fvu = tuple(error / variance if variance > 0 else float("nan") for error in progress.errors)
    return unit_dictionary(best.atoms, bias, solver.encoder, status, {"fvu": fvu, "replaced": tuple(replaced)})


def prepare(x: FloatArray, *, centre: bool) -> tuple[FloatArray, float, FloatArray, float]:
    """Return the samples less the bias in float64, their magnitude, the bias, and their variance over magnitude**2.

    The magnitude is a power of two, so that dividing by it is exact; the variance is summed over samples, about the
    mean whether ``centre`` makes it the bias or not.
    """
    samples = check_samples(x).astype(np.float64)
    exponent = int(np.frexp(np.abs(samples).max())[1])
    scale = float(np.ldexp(1.0, min(max(exponent, -1021), 1023)))  # it and its inverse are finite
    mean = scale * (samples / scale).mean(axis=0)
    bias = mean if centre else np.zeros(samples.shape[1])
    variance = float(np.square((samples - mean) / scale).sum())
    samples -= bias
    return samples, scale, bias, variance


def _alternate(
    solver: _Alternation, samples: FloatArray, scale: float, rng: Rng, update: Update
) -> tuple[_Visit, _Progress, list[float], Status]:
    """Code and update until the error has converged or the iterations are spent; the encoder sees unscaled samples."""
    x = samples / scale
    atoms = initial_atoms(x, solver.width, rng)
    best = _Visit(atoms, Codes((len(x), solver.width)), x, coded=False)
    progress = _Progress(solver.tolerance, float(np.square(x).sum()))
    replaced: list[float] = []
    for iteration in range(solver.iterations + 1):
        codes = Codes(solver.encoder.encode(samples, atoms), dtype=np.float64) / scale
        visit = _Visit(atoms, codes, x - synthesise(codes, atoms))
        if not np.isfinite(visit.error):
            return best, progress, replaced, Status.DIVERGED
        best = visit if visit.error < best.error else best
        if progress.converged(visit.error):
            return best, progress, replaced, Status.CONVERGED
        if iteration < solver.iterations:
            if progress.stalled:
                atoms, count = displace_least_used(best, rng), 1
            else:
                atoms = update(x, codes, atoms, visit.residual)
                atoms, count = replace_idle(atoms, codes, visit.residual, solver.max_coherence, rng)
            replaced.append(float(count))
    return best, progress, replaced, Status.BUDGET_SPENT


class _Visit:
    """A dictionary, the codes it gives the training samples, and what these leave; uncoded, its error is infinite."""

    def __init__(self, atoms: FloatArray, codes: Codes, residual: FloatArray, *, coded: bool = True) -> None:
        self.atoms, self.codes, self.residual = atoms, codes, residual
        self.error = float(np.square(residual).sum()) if coded else np.inf


class _Progress:
    """The training errors so far, and whether they have stalled (time for an escape) or the fit is at its end."""

    def __init__(self, tolerance: float, energy: float) -> None:
        self.errors: list[float] = []
        self.stalled = False
        self._tolerance, self._exact = tolerance, EXACT * energy
        self._since = self._failed = 0
        self._record = np.inf

    def converged(self, error: float) -> bool:
        """Take note of ``error``; True where it is rounding, or `ESCAPES` escapes in a row did not lower the best."""
        self.errors.append(error)
        recent = self.errors[self._since :]
        self.stalled = len(recent) > PATIENCE and not self._falls(min(recent[:-PATIENCE]), min(recent))
        if self.stalled:
            self._failed = 0 if self._falls(self._record, min(recent)) else self._failed + 1
            self._record = min(self._record, *recent)
            self._since = len(self.errors)
        return error <= self._exact or self._failed >= ESCAPES

    def _falls(self, before: float, after: float) -> bool:
        return bool(np.isinf(before) or before - after >= self._tolerance * before)


def displace_least_used(visit: _Visit, rng: Rng) -> FloatArray:
    """Return the atoms with the one of least squared coefficients replaced by the residual of a badly coded sample.

    In a local optimum one atom stands for the sum of two true ones while another is hardly needed, which is freed here.
    """
    weight = np.bincount(visit.codes.indices, weights=visit.codes.data**2, minlength=len(visit.atoms))
    energy = np.square(visit.residual).sum(axis=1)
    row = rng.choice(len(energy), p=energy / energy.sum())
    atoms = visit.atoms.copy()
    atoms[np.argmin(weight)] = unit_rows(visit.residual[[row]])[0][0]
    return atoms


def _sphere(count: int, dim: int, rng: Rng) -> FloatArray:
    return unit_rows(rng.standard_normal((count, dim)))[0]


def initial_atoms(x: FloatArray, width: int, rng: Rng) -> FloatArray:
    """Return unit atoms ``(width, d)``: distinct random samples, random directions where these run out or are zero."""
    atoms = _sphere(width, x.shape[1], rng)
    rows = rng.permutation(len(x))[:width]
    unit, norms = unit_rows(x[rows])
    alive = np.flatnonzero(norms > 0)
    atoms[alive] = unit[alive]
    return atoms


def replace_idle(
    atoms: FloatArray, codes: Codes, residual: FloatArray, max_coherence: float, rng: Rng
) -> tuple[FloatArray, int]:
    """Return the atoms, those that do nothing replaced by residuals of badly coded samples, and how many did.

    An atom does nothing if no sample uses it, or if its cosine with an atom used at least as often exceeds
    ``max_coherence`` (|cosine| where codes are signed; under non-negative codes opposite atoms are two features).
    Samples are drawn with probability proportional to their squared residual; random directions where none is left.
    """
    used = np.bincount(codes.indices[codes.data != 0], minlength=len(atoms))
    idle = idle_atoms(atoms, used, max_coherence, signed=bool(codes.data.min(initial=0.0) < 0))
    return replace_atoms(atoms, idle, residual, rng), len(idle)


def replace_atoms(atoms: FloatArray, idle: IntArray, residual: FloatArray, rng: Rng) -> FloatArray:
    """Return the atoms, the ``idle`` ones replaced by residuals drawn with probability proportional to their square.

    Random directions stand in where there are fewer residuals than idle atoms.
    """
    if not len(idle):
        return atoms
    atoms = atoms.copy()
    atoms[idle] = _sphere(len(idle), atoms.shape[1], rng)
    energy = np.square(residual).sum(axis=1)
    energy[energy <= EXACT * energy.size] = 0
    count = min(len(idle), int(np.count_nonzero(energy)))
    if count:
        rows = rng.choice(len(energy), size=count, replace=False, p=energy / energy.sum())
        atoms[idle[:count]] = unit_rows(residual[rows])[0]
    return atoms


def idle_atoms(atoms: FloatArray, used: FloatArray | IntArray, max_coherence: float, *, signed: bool) -> IntArray:
    """Return the indices of atoms that are zero, unused (``used (p,)`` is 0) or the duplicate of one used as much."""
    cosines = np.clip(atoms @ atoms.T, -1.0, 1.0)  # equal atoms may be above by rounding
    if signed:
        cosines = np.abs(cosines)
    idle = (used == 0) | ~atoms.any(axis=1)
    for first, second in np.argwhere(np.triu(cosines, 1) > max_coherence):
        if not idle[first] and not idle[second]:
            idle[first if used[first] < used[second] else second] = True
    return np.flatnonzero(idle)


def optimal_directions(x: FloatArray, codes: Codes) -> FloatArray:
    """Return the unit directions ``(p, d)`` of the atoms A that minimise ``||x - codes A||_F``.

    Where several do, they are those of least norm for columns of ``codes`` scaled to unit norm.
    """
    gram, moment = (codes.T @ codes).toarray(), codes.T @ x
    used = np.flatnonzero(np.diag(gram) > 0)
    atoms = np.zeros_like(moment)
    weight = np.sqrt(np.diag(gram)[used])  # a rescaled atom is the same direction; the system is then well scaled
    system, target = gram[np.ix_(used, used)] / np.outer(weight, weight), moment[used] / weight[:, None]
    try:
        well_posed = bool(np.diag(np.linalg.cholesky(system)).min(initial=1.0) > 1e-6)
    except np.linalg.LinAlgError:
        well_posed = False
    solution = np.linalg.solve(system, target) if well_posed else np.linalg.lstsq(system, target, rcond=None)[0]
    atoms[used] = solution / weight[:, None]
    return unit_rows(atoms)[0]


def update_one_by_one(x: FloatArray, codes: Codes, atoms: FloatArray, residual: FloatArray, exact: bool) -> FloatArray:
    """Return atoms of which each in turn, with its coefficients, is fitted to what the others leave of its samples.

    The squared error on the given support never increases.
    """
    columns = codes.tocsc()
    atoms, residual = atoms.copy(), residual.copy()
    non_negative = bool(codes.data.min(initial=0.0) >= 0)
    for j in range(len(atoms)):
        place = slice(columns.indptr[j], columns.indptr[j + 1])
        rows, weights = columns.indices[place], columns.data[place]
        if not np.any(weights):
            continue
        part = residual[rows] + weights[:, None] * atoms[j]
        atoms[j], weights = rank_one(part, atoms[j], weights, exact=exact, non_negative=non_negative)
        residual[rows] = part - weights[:, None] * atoms[j]
    return atoms


def rank_one(
    part: FloatArray, atom: FloatArray, weights: FloatArray, *, exact: bool, non_negative: bool
) -> tuple[FloatArray, FloatArray]:
    """Return a unit atom ``(d,)`` and weights ``(r,)`` whose product fits ``part (r, d)`` no worse than the given.

    ``exact`` is the leading singular pair, oriented like ``weights``; else one pass of alternating least squares. For
    non-negative weights ``exact`` stands for `ALTERNATIONS` passes, each the exact minimum in atom or weights.
    """
    if exact and not non_negative:
        vector = _leading_direction(part)
        new = part @ vector
        sign = -1.0 if new @ weights < 0 else 1.0
        return (sign * vector, sign * new) if np.any(vector) else (atom, weights)
    for _ in range(ALTERNATIONS if exact else 1):
        direction, norm = unit_rows((weights @ part)[None])
        new = part @ direction[0]
        if non_negative:
            new = np.maximum(new, 0.0)
        if norm[0] == 0 or not np.any(new):
            break
        atom, weights = direction[0], new
    return atom, weights


def _leading_direction(part: FloatArray) -> FloatArray:
    """Return the leading right singular vector ``(d,)``, from the smaller Gram matrix; zero for a zero matrix."""
    if part.shape[0] >= part.shape[1]:
        vector = np.linalg.eigh(part.T @ part)[1][:, -1] if part.any() else np.zeros(part.shape[1])
    else:
        vector = np.linalg.eigh(part @ part.T)[1][:, -1] @ part
    unit: FloatArray = unit_rows(vector[None])[0][0]
    return unit


@final
@dataclass(frozen=True)
class MethodOfOptimalDirections:
    """Learns atoms by alternating coding with least squares for all atoms at once, ``A = argmin ||x - Z A||_F``.

    The fit is the dictionary of lowest training error among those visited. When that error falls by less than the
    fraction ``tolerance`` over 5 iterations it has stalled, as a rule in a local optimum: the least used atom of the
    best dictionary is then set to the residual of a badly coded sample, and the alternation goes on from there. The
    status is CONVERGED when three such escapes in a row do not lower the error, or nothing is left to explain. The
    trace has ``fvu``, the fraction of variance unexplained at each coding, and ``replaced``, the number of atoms that
    were unused, duplicate or displaced by an escape, after each.

    Parameters
    ----------
    width : p.
    encoder : codes the samples, in training and after.
    iterations : updates of the atoms; there is one coding more.
    tolerance : relative fall of the error that counts; 0 spends all iterations, without escapes.
    centre : take the mean of the samples as the bias. Right for codes of symmetric sign, whose contribution to the mean
        is zero. Non-negative codes shift the mean themselves, and a sample less the mean is no longer a non-negative
        combination of the atoms: leave it off for them (the bias is then zero).
    max_coherence : cosine above which an atom counts as the duplicate of another; 1 keeps all.

    References
    ----------
    Engan, Aase, Husøy (1999), "Method of optimal directions for frame design".
    """

    width: int
    encoder: Encoder
    iterations: int = 50
    tolerance: float = 1e-4
    centre: bool = False
    max_coherence: float = 0.99

    def __post_init__(self) -> None:
        _check(self)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at random samples."""
        return _learn(self, x, rng, lambda samples, codes, atoms, residual: optimal_directions(samples, codes))


@final
@dataclass(frozen=True)
class KSVD:
    """Learns atoms by alternating coding with a sweep that refits each atom together with its coefficients.

    With E the samples that use atom j less what the other atoms explain, the atom becomes the leading right singular
    vector of E (``exact``), or one step of alternating least squares towards it. Where all codes are non-negative the
    coefficients are kept so (NN-K-SVD). Fit, status, trace and the other parameters are those of
    `MethodOfOptimalDirections`.

    References
    ----------
    Aharon, Elad, Bruckstein (2006), "K-SVD", eq. 19-23, and (2005) for the non-negative form; Rubinstein, Zibulevsky,
    Elad (2008), "Efficient implementation of the K-SVD algorithm", for ``exact=False``.
    """

    width: int
    encoder: Encoder
    iterations: int = 50
    tolerance: float = 1e-4
    centre: bool = False
    max_coherence: float = 0.99
    exact: bool = True

    def __post_init__(self) -> None:
        _check(self)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at random samples."""

        def update(samples: FloatArray, codes: Codes, atoms: FloatArray, residual: FloatArray) -> FloatArray:
            return update_one_by_one(samples, codes, atoms, residual, self.exact)

        return _learn(self, x, rng, update)
