"""Recursive least squares dictionary learning: the atoms are at every sample the weighted least squares solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_real, check_samples
from sparsesim.kernels.statistics import recurse_
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.online import OnlineLearner, learn_in_batches

FORGOTTEN = 1e6  # times its first uncertainty: nothing is left of what was known about an atom


class Recursion:
    """The inverse second moments of the codes, and the schedule of forgetting factors over ``horizon`` samples."""

    def __init__(self, width: int, forgetting: float, horizon: float) -> None:
        self._inverse = np.eye(width)
        self._forgetting, self._horizon, self._seen = forgetting, horizon, 0

    def absorb(self, x: FloatArray, codes: Codes, atoms: FloatArray) -> FloatArray:
        """Return the unit atoms after the recursion over the batch; the codes seen are rescaled with them."""
        time = np.minimum((self._seen + np.arange(len(x))) / self._horizon, 1.0)
        self._seen += len(x)
        factors = 1 - (1 - self._forgetting) * (1 - time) ** 3
        new = atoms.copy()
        recurse_(codes.indptr, codes.indices, codes.data, x, factors, self._inverse, FORGOTTEN, new)
        norms = np.sqrt(np.square(new).sum(axis=1))
        norms[norms == 0] = 1.0
        self._inverse /= np.outer(norms, norms)  # an atom by s has its codes times 1/s: here 1/norm and norm
        unit: FloatArray = new / norms[:, None]
        return unit

    def forget(self, idle: IntArray) -> None:
        """Decouple the atoms ``idle`` from the others, with the uncertainty of the beginning."""
        self._inverse[idle] = 0
        self._inverse[:, idle] = 0
        self._inverse[idle, idle] = 1


@final
@dataclass(frozen=True)
class RecursiveLeastSquares(OnlineLearner):
    """Learns atoms by recursive least squares: sample t with code z corrects all atoms by ``g_t (x_t - z_t A)``.

    The gain g makes A the minimiser of ``sum_s w_s ||x_s - z_s A||^2 + w_0 ||A - A_0||^2``, with weights that shrink by
    the factor f_t at each new sample: ``f_t = 1 - (1 - forgetting) (1 - t / T)^3`` rises to 1 at the end of the first
    half of the passes, T samples. All samples of a batch are coded with the same atoms, which are then scaled to unit
    norm, together with the moments of their codes. Fit, status, trace and the other parameters are those of
    `OnlineDictionaryLearning`. A sample costs p^2 + p d.

    Parameters
    ----------
    forgetting : the factor at the beginning, in [0.9, 1]; the memory is then of 1 / (1 - forgetting) samples and
        should hold each atom several times.

    References
    ----------
    Skretting and Engan (2010), "Recursive least squares dictionary learning algorithm", with its cubic schedule.
    """

    forgetting: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("forgetting", self.forgetting, 0.9, 1.0)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at random samples."""
        samples = check_samples(x)
        horizon = max(self.passes * len(samples) / 2, 1.0)
        return learn_in_batches(self, samples, rng, Recursion(self.width, self.forgetting, horizon))
