"""Directions that a toy model of superposition learns: a ReLU-output autoencoder of sparse features, trained here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real, unit_rows
from sparsesim._identity import fork
from sparsesim.generators.geometry import RandomSphere

_LEAST_DENSITY = 1e-6
_REPRESENTED = 0.1  # of the largest norm; what training keeps is near 1, what it drops near 0


@final
@dataclass(frozen=True, eq=False)
class TrainedToy:
    """A trained toy model: ``weights (m, d)``, ``bias (m,)`` and the ``loss`` it reached."""

    weights: FloatArray
    bias: FloatArray
    loss: float

    @property
    def norms(self) -> FloatArray:
        """How strongly each feature is represented, ``(m,)``."""
        return np.asarray(np.linalg.norm(self.weights, axis=1))

    @property
    def dropped(self) -> IntArray:
        """Indices of the features whose norm is below a tenth of the largest."""
        return np.flatnonzero(self.norms < _REPRESENTED * self.norms.max())


@final
@dataclass(frozen=True)
class ToyModel:
    """Directions are those that the ReLU-output toy model of superposition learns for sparse features.

    ``x_hat = ReLU(x W W^T + b)``, W ``(m, d)``, minimises E sum_i I_i (x_i - x_hat_i)^2, where x_i is uniform on [0, 1]
    with probability ``density`` and else 0, and I_i = ``importance``^i; the directions are the rows of W, normalised.
    The expectation is over ``samples`` non-empty samples, drawn once and weighted, and the empty one exactly. L-BFGS
    from several starts; the lowest loss is kept. The orientation is uniform (Haar).

    Measured for features of equal importance: (m, d) = (2, 1) is a digon, (4, 2) two orthogonal digons, (5, 2) a
    pentagon, (8, 3) a square antiprism. (3, 2) is a digon and a feature orthogonal to it while density < 0.5, even when
    training starts from a triangle, and a triangle at density 0.7. With too much density, or too little importance,
    features are dropped.

    Parameters
    ----------
    density : probability that a feature fires, 1 - S in the paper; at least 1e-6, where no two fire together any more
        and below which training would stop at its start, the loss being so small.
    importance : ratio of the importance of a feature to that of the one before, in (0, 1].
    random_dropped : give features that the model drops a uniform random direction; otherwise they are refused.
    samples : size of the fixed batch; the angles come out within about 1/sqrt(samples).
    starts : how many random initial weights are tried.
    steps : L-BFGS steps at most, from each start.

    References
    ----------
    Elhage et al. (2022), "Toy models of superposition", arXiv:2209.10652.
    """

    density: float
    importance: float = 1.0
    random_dropped: bool = False
    samples: int = 4096
    starts: int = 8
    steps: int = 500

    def __post_init__(self) -> None:
        check_real("density", self.density, _LEAST_DENSITY, 1.0)
        check_real("importance", self.importance, 0.0, 1.0, open_low=True)
        if not isinstance(self.random_dropped, bool):
            raise TypeError(f"random_dropped must be True or False; got {self.random_dropped!r}.")
        for name in ("samples", "starts", "steps"):
            check_int(name, getattr(self, name), 1)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``; the same bits whatever the number of threads.

        Raises
        ------
        ValueError
            If the model drops features and ``random_dropped`` is False.
        """
        train_rng, spare_rng = fork(rng, 2)
        trained = self.train(m, d, train_rng)
        rows, lost = unit_rows(trained.weights)[0], trained.dropped
        if len(lost) and not self.random_dropped:
            shown = ", ".join(map(str, lost[:8])) + (", ..." if len(lost) > 8 else "")
            raise ValueError(
                f"the toy model drops {len(lost)} of m={m} features in d={d} (norm below {_REPRESENTED:g} of the "
                f"largest): {shown}. Lower density={self.density:g}, raise importance={self.importance:g} or dim, or "
                "pass random_dropped=True."
            )
        rows[lost] = RandomSphere().atoms(len(lost), d, spare_rng)
        return rows

    def train(self, m: int, d: int, rng: Rng) -> TrainedToy:
        """Return the best of ``starts`` trained models."""
        batch_rng, start_rng = fork(rng, 2)
        batch = self._batch(m, batch_rng)
        empty = math.exp(m * math.log1p(-self.density)) if self.density < 1.0 else 0.0
        weight = self.importance ** np.arange(m, dtype=np.float64)
        best = TrainedToy(np.empty((m, d)), np.empty(m), math.inf)
        options = {"maxiter": self.steps, "ftol": 1e-13, "gtol": 1e-9}
        with threadpool_limits(limits=1, user_api="blas"):
            for _ in range(self.starts):
                start = np.concatenate([start_rng.standard_normal(m * d) / math.sqrt(d), np.zeros(m)])
                found = minimize(
                    toy_loss, start, args=(batch, weight, empty), jac=True, method="L-BFGS-B", options=options
                )
                if found.fun < best.loss:
                    best = TrainedToy(found.x[: m * d].reshape(m, d), found.x[m * d :], float(found.fun))
        return best

    def _batch(self, m: int, rng: Rng) -> FloatArray:
        """Return ``(samples, m)`` features given that at least one fires."""
        # The first to fire is geometric, cut off at m; those after it fire freely.
        uniform = rng.random(self.samples)
        if self.density < 1.0:
            log_off = math.log1p(-self.density)
            first = np.floor(np.log1p(uniform * math.expm1(m * log_off)) / log_off).astype(np.int64)
        else:
            first = np.zeros(self.samples, dtype=np.int64)
        first = np.minimum(first, m - 1)[:, None]
        place = np.arange(m)
        fires = (place == first) | ((place > first) & (rng.random((self.samples, m)) < self.density))
        return np.where(fires, rng.random((self.samples, m)), 0.0)


def toy_loss(flat: FloatArray, batch: FloatArray, importance: FloatArray, empty: float) -> tuple[float, FloatArray]:
    """Return the expected loss of the toy model and its gradient in ``flat``, the weights (m, d) and bias (m,).

    ``empty`` is the probability of a sample in which nothing fires; in each of ``batch (n, m)`` something does.
    """
    n, m = batch.shape
    weights, bias = flat[:-m].reshape(m, -1), flat[-m:]
    hidden = batch @ weights
    output = np.maximum(hidden @ weights.T + bias, 0.0)
    idle = np.maximum(bias, 0.0)  # the output for an empty sample
    error = output - batch
    filled = (1.0 - empty) / n
    loss = filled * float((np.square(error) @ importance).sum()) + empty * float(np.square(idle) @ importance)
    back = (2.0 * filled) * error * importance * (output > 0)
    gradient = back.T @ hidden + batch.T @ (back @ weights)
    return loss, np.concatenate([gradient.ravel(), back.sum(axis=0) + 2.0 * empty * importance * idle])
