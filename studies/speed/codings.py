"""The samples that are coded against the clock, and how much work their codes take at least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from sparsesim._identity import Role, stream
from sparsesim.kernels.active_set import BATCH
from sparsesim.solvers import Lasso, NonNegativeLeastSquares, OrthogonalMatchingPursuit
from sparsesim.solvers.base import Encoder

SHAPES = ((64, 256, 5), (128, 512, 10), (256, 2048, 20))
SAMPLES = (20_000, 8_000, 2_000)
NOISE = 0.01  # standard deviation of an entry of x; a code is 1 to 2 in magnitude
GAP = 1e-6  # relative duality gap at which lassos are compared
FITTED = 200  # samples on which a penalty is fitted, and peers are held to the gap or to our supports
GREEDY = ("omp", "nn_omp")
LASSOS = ("lasso", "nn_lasso")


@final
@dataclass(frozen=True)
class Race:
    """A task (``omp``, ``lasso``, ``nn_omp``, ``nn_lasso`` or ``nnls``) on samples of one shape and precision."""

    task: str
    shape: tuple[int, int, int]
    dtype: str

    @property
    def non_negative(self) -> bool:
        """Return whether codes are."""
        return self.task.startswith("nn")

    @property
    def name(self) -> str:
        """Return task, shape and precision in one word."""
        return f"{self.task}-{'x'.join(map(str, self.shape))}-{self.dtype}"


def races() -> list[Race]:
    """Return the races of the study."""
    found = [
        Race(task, shape, kind) for task in ("omp", "lasso") for shape in SHAPES for kind in ("float64", "float32")
    ]
    found += [Race(task, SHAPES[1], "float64") for task in ("nn_omp", "nn_lasso")]
    return [*found, Race("nnls", (128, 64, 16), "float64")]


def draw(race: Race, n: int) -> dict[str, Any]:
    """Return ``x (n, d)`` of k active features of magnitude 1 to 2 and ``atoms (p, d)``, random directions; k; penalty.

    The penalty is the one at which the lasso has k codes a sample on average, within 5% on `FITTED` samples.
    """
    dim, width, k = race.shape
    rng = stream(0, Role.TEST)
    atoms = rng.standard_normal((width, dim))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    x = NOISE * rng.standard_normal((n, dim))
    for row in range(n):
        value = rng.uniform(1.0, 2.0, k) * (1.0 if race.non_negative else rng.choice([-1.0, 1.0], k))
        x[row] += value @ atoms[rng.choice(width, k, replace=False)]
    x, atoms = x.astype(race.dtype), atoms.astype(race.dtype)
    return {"x": x, "atoms": atoms, "k": k, "penalty": penalty(race, x[:FITTED], atoms) if race.task in LASSOS else 0.0}


def penalty(race: Race, x: np.ndarray, atoms: np.ndarray) -> float:
    """Return, by bisection, a penalty at which the lasso of ``x`` has about k codes a sample."""
    low, high = 1e-3, 2.0
    for _ in range(12):
        middle = float(np.sqrt(low * high))
        active = Lasso(middle, non_negative=race.non_negative).encode(x, atoms).nnz / len(x)
        if abs(active - race.shape[2]) <= 0.05 * race.shape[2]:
            return middle
        low, high = (middle, high) if active > race.shape[2] else (low, middle)
    return middle


def encoder(race: Race, level: float) -> Encoder:
    """Return our encoder of the race, ``level`` being the penalty of a lasso."""
    if race.task in LASSOS:
        return Lasso(level, non_negative=race.non_negative, tolerance=GAP)
    if race.task == "nnls":
        return NonNegativeLeastSquares()
    return OrthogonalMatchingPursuit(race.shape[2], non_negative=race.non_negative)


def flops(task: str, dim: int, width: int, k: float) -> float:
    """Return the floating-point operations a sample takes at least by the algorithm used, k codes being active.

    All begin with A x, 2dp. Orthogonal matching pursuit forms P_0 ... P_{k-2} and updates the correlations with each:
    sum_j (2j + 3) p = (k^2 - 1) p. An active-set method sweeps over all slopes once more at the end, 2kp, and factors
    once, k^3 / 3; that is the work if it guesses the active set at the first attempt.
    """
    first = 2.0 * dim * width
    if task in GREEDY:
        return first + (k**2 - 1.0) * width
    return first + 2.0 * k * width + k**3 / 3.0


def worked(task: str, dim: int, width: int, k: float) -> float:
    """Return the floating-point operations by which the time of a sample grows: `flops`, the active set not guessed.

    An active-set method admits at most b = `BATCH` atoms between two sweeps, so it sweeps with b, 2b, ... and k active
    atoms: about k (k + b) / 2b rows of the Gram matrix instead of k, 2p each, and as many pairs of triangular solves,
    2 m^2 with m active. In float64 it forms the product of each new atom with x, and a residual and its slopes at the
    end, 6kd. Counted at (128, 512): 1.5, 2.1, 3.0 and 4.9 rounds of admission for k = 4, 8, 16 and 32, k / b + 1.
    """
    if task in GREEDY:
        return flops(task, dim, width, k)
    rows, squares = max(k, k * (k + BATCH) / (2 * BATCH)), max(k**2, k * (k + BATCH) * (2 * k + BATCH) / (6 * BATCH))
    return flops(task, dim, width, k) + 2.0 * (rows - k) * width + 2.0 * squares + 6.0 * k * dim


def moved(task: str, dim: int, width: int, k: float, itemsize: int) -> float:
    """Return the bytes a sample moves at least from beyond the nearest cache: itself, its Gram rows and its code."""
    rows = k - 1.0 if task in GREEDY else k
    return itemsize * (dim + rows * width + k) + 4.0 * k
