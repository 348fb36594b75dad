"""Dictionary learning from mini-batches: code a few samples, take their moments into memory, improve the atoms, go on.

One loop serves every learner that keeps a memory of the codes it has seen; a memory says how a batch changes the atoms
and how to forget an atom that is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, check_samples
from sparsesim.kernels.statistics import add_moments_, sweep_atoms_
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import Encoder, FittedDictionary, Status, unit_dictionary
from sparsesim.solvers.learn import check_learner, idle_atoms, initial_atoms, prepare, replace_atoms

CHECK_EVERY = 8  # batches between two looks for idle atoms


@dataclass(frozen=True)
class OnlineLearner:
    """The settings of a learner that takes samples in batches; `OnlineDictionaryLearning` says what they mean."""

    width: int
    encoder: Encoder
    passes: int = 10
    batch_size: int = 256
    forgetting: float = 6.0
    tolerance: float = 1e-3
    centre: bool = False
    max_coherence: float = 0.9
    min_use: float = 0.3

    def __post_init__(self) -> None:
        check_learner(self)
        check_int("passes", self.passes, 1)
        check_int("batch_size", self.batch_size, 1)
        check_real("min_use", self.min_use, 0.0, 1.0)


class Memory(Protocol):
    """What a learner remembers of the samples it has seen."""

    def absorb(self, x: FloatArray, codes: Codes, atoms: FloatArray) -> FloatArray:
        """Return the unit atoms ``(p, d)`` after a batch ``x (b, d)`` with its ``codes (b, p)``."""
        ...

    def forget(self, idle: IntArray) -> None:
        """Drop what is known about the atoms ``idle``, which are being replaced."""
        ...


def learn_in_batches(solver: OnlineLearner, x: FloatArray, rng: Rng, memory: Memory) -> FittedDictionary:
    """Return the dictionary after the last batch; the trace has ``fvu`` (codes as they came) and ``replaced`` per pass.

    CONVERGED if the error of a pass without replacements differs from that of the one before by a fraction below
    ``tolerance``. A code that is not finite ends the fit as DIVERGED, with the atoms before it.
    """
    samples, scale, bias, variance = prepare(x, centre=solver.centre)
    atoms = initial_atoms(samples / scale, solver.width, rng)
    usage = _Usage(solver, rng)
    errors: list[float] = []
    replaced: list[float] = []
    status = Status.BUDGET_SPENT
    while len(errors) < solver.passes and status is Status.BUDGET_SPENT:
        atoms, error = _one_pass(solver, samples, scale, atoms, (usage, memory), rng)
        errors.append(error)
        replaced.append(float(usage.collect()))
        settled = len(errors) > 1 and abs(errors[-2] - error) < solver.tolerance * errors[-2]
        if not np.isfinite(error):
            status = Status.DIVERGED
        elif settled and not replaced[-1]:
            status = Status.CONVERGED
    fvu = tuple(error / variance if variance > 0 else float("nan") for error in errors)
    return unit_dictionary(atoms, bias, solver.encoder, status, {"fvu": fvu, "replaced": tuple(replaced)})


def _one_pass(
    solver: OnlineLearner, samples: FloatArray, scale: float, atoms: FloatArray, state: tuple[_Usage, Memory], rng: Rng
) -> tuple[FloatArray, float]:
    """Return the atoms after all samples once, and the squared error of the codes as they came, over scale**2."""
    usage, memory = state
    total = 0.0
    for rows in _batches(len(samples), solver.batch_size, rng):
        codes = Codes(solver.encoder.encode(samples[rows], atoms), dtype=np.float64) / scale
        x = samples[rows] / scale
        residual = x - synthesise(codes, atoms)
        total += float(np.square(residual).sum())
        if not np.isfinite(total):
            break
        atoms = usage.replace(memory.absorb(x, codes, atoms), codes, residual, memory)
    return atoms, total


def _batches(n: int, size: int, rng: Rng) -> Iterator[IntArray]:
    order = rng.permutation(n)
    return (order[low : low + size] for low in range(0, n, size))


class _Usage:
    """How much each atom was used lately, and the replacement of those that were not."""

    def __init__(self, solver: OnlineLearner, rng: Rng) -> None:
        self._solver, self._rng = solver, rng
        self._energy = np.zeros(solver.width)
        self._batches = self._count = 0
        self._signed = False

    def replace(self, atoms: FloatArray, codes: Codes, residual: FloatArray, memory: Memory) -> FloatArray:
        """Take note of ``codes``; every `CHECK_EVERY` batches return atoms of which the idle ones are residuals."""
        self._energy += np.bincount(codes.indices, weights=codes.data**2, minlength=len(atoms))
        self._signed = self._signed or bool(codes.data.min(initial=0.0) < 0)
        self._batches += 1
        if self._batches % CHECK_EVERY:
            return atoms
        used = np.where(self._energy >= self._solver.min_use * self._energy.mean(), self._energy, 0.0)
        idle = idle_atoms(atoms, used, self._solver.max_coherence, signed=self._signed)
        memory.forget(idle)
        self._energy[:] = 0
        self._count += len(idle)
        return replace_atoms(atoms, idle, residual, self._rng)

    def collect(self) -> int:
        """Return how many atoms were replaced since the last call."""
        count, self._count = self._count, 0
        return count


class Moments:
    """Moments ``G = sum w z z'`` and ``C = sum w z x'`` of the codes seen, batch s of weight ``(s/t)**forgetting``."""

    def __init__(self, width: int, dim: int, forgetting: float) -> None:
        self._gram, self._cross = np.zeros((width, width)), np.zeros((width, dim))
        self._forgetting, self._now = forgetting, 0

    def absorb(self, x: FloatArray, codes: Codes, atoms: FloatArray) -> FloatArray:
        """Return the atoms after one sweep of block coordinate descent on the moments."""
        self._now += 1
        keep = (1 - 1 / self._now) ** self._forgetting
        self._gram *= keep
        self._cross *= keep
        add_moments_(codes.indptr, codes.indices, codes.data, x, self._gram, self._cross)
        new = atoms.copy()
        sweep_atoms_(self._gram, self._cross, new)
        return new

    def forget(self, idle: IntArray) -> None:
        """Drop the moments of ``idle`` atoms; they learn anew from their first use."""
        self._gram[idle] = 0
        self._gram[:, idle] = 0
        self._cross[idle] = 0


@final
@dataclass(frozen=True)
class OnlineDictionaryLearning(OnlineLearner):
    """Learns atoms from mini-batches by block coordinate descent on the moments of the codes seen so far.

    After batch t the atoms A, unit rows, take one sweep towards ``argmin sum_s w_s ||x_s - z_s A||^2 / 2``, which needs
    only ``G = sum w z z'`` and ``C = sum w z x'``; batch s has weight about ``(s / t) ** forgetting``. A sweep never
    raises that function. The samples come in a new random order in each pass. See `learn_in_batches` for status and
    trace.

    Parameters
    ----------
    width : p.
    encoder : codes the samples, in training and after.
    passes : over all samples, at most.
    batch_size : samples coded with the same atoms.
    forgetting : 0 weighs all batches alike; codes found with the poor atoms of the beginning are then never forgotten.
    tolerance : relative change of the error from one pass to the next that counts as none; 0 spends all passes.
    centre : take the mean of the samples as the bias; leave it off for non-negative codes.
    max_coherence : cosine above which an atom counts as the duplicate of another; 1 keeps all.
    min_use : an atom is replaced, like a duplicate, if its squared coefficients since the last look are below this
        fraction of their mean over atoms; 0 replaces only atoms that were not used at all. Set it to 0 where features
        are known to have very unequal rates.

    References
    ----------
    Mairal, Bach, Ponce, Sapiro (2010), "Online learning for matrix factorization and sparse coding", algorithms 1-2 and
    section 3.4; here on the sphere instead of the ball, where each step of the sweep is still an exact minimum.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("forgetting", self.forgetting, 0.0)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at random samples."""
        samples = check_samples(x)
        return learn_in_batches(self, samples, rng, Moments(self.width, samples.shape[1], self.forgetting))
