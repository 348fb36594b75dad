"""Sparse coding that predicts hidden coordinates: no atom gains by fitting noise, which cannot be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_matrix, check_real, unit_rows
from sparsesim.kernels.pursuit import orthogonal_pursuit
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import FittedDictionary, Status, unit_dictionary
from sparsesim.solvers.learn import initial_atoms, prepare
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit

DECAY = (0.9, 0.999)  # of the first and second moment of the gradient
SMALL = 1e-8  # beside the root of the second moment


class _Adam:
    """The gradient step of Kingma and Ba (2015), algorithm 1."""

    def __init__(self, shape: tuple[int, ...], rate: float) -> None:
        self._first, self._second = np.zeros(shape), np.zeros(shape)
        self._rate, self._steps = rate, 0

    def step(self, gradient: FloatArray) -> FloatArray:
        """Return what to subtract from the parameters."""
        self._steps += 1
        for moment, power, decay in ((self._first, gradient, DECAY[0]), (self._second, gradient**2, DECAY[1])):
            moment *= decay
            moment += (1 - decay) * power
        first = self._first / (1 - DECAY[0] ** self._steps)
        second = self._second / (1 - DECAY[1] ** self._steps)
        change: FloatArray = self._rate * first / (np.sqrt(second) + SMALL)
        return change


@final
@dataclass(frozen=True)
class MaskedSparseCoding:
    """Learns atoms B by descent on ``||y_H - z B_H||^2``, where z is the OMP code of the visible coordinates alone.

    Each batch hides its own random set H of coordinates: ``z = OMP_k(y_V, B_V)``, the pieces ``B_V`` of unit atoms not
    rescaled, no gradient through z, a step of Adam, rows back to unit norm. With ``hidden=0`` it is plain sparse coding
    by gradient, ``||y - z B||^2``, whose minimisers fit the noise when there are more atoms than features. Batches are
    the samples in their order. The trace has ``loss``, the squared error of an epoch on the coordinates that
    counted, as a fraction of their energy; the status is BUDGET_SPENT (DIVERGED if a loss is not finite).

    Parameters
    ----------
    width : p, as a rule above the number of features.
    k : atoms a sample, also of the encoder of the fit, which is `OrthogonalMatchingPursuit`.
    hidden : fraction of the coordinates that are hidden, at least one unless it is 0.
    epochs, batch_size, learning_rate : of the descent; the rate is per step and entry of a unit atom.
    centre : take the mean of the samples as the bias.

    References
    ----------
    Chidambaram, Wu, Cheng, Ge (2023), "Hiding data helps", arXiv 2302.12715, algorithm 1.
    """

    width: int
    k: int
    hidden: float = 0.1
    epochs: int = 500
    batch_size: int = 200
    learning_rate: float = 1e-3
    centre: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "k", "epochs", "batch_size"):
            check_int(name, getattr(self, name), 1)
        check_real("hidden", self.hidden, 0.0, 0.99)
        check_real("learning_rate", self.learning_rate, 0.0, open_low=True)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at random samples.

        Raises
        ------
        ValueError
            If fewer than ``k`` coordinates stay visible, or k exceeds the width.
        """
        samples, scale, bias, _ = prepare(x, centre=self.centre)
        return self._descend(samples / scale, initial_atoms(samples / scale, self.width, rng), bias, rng)

    def fit_from(self, x: FloatArray, atoms: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``, started at ``atoms (p, d)``, which are scaled to unit norm.

        Raises
        ------
        ValueError
            If ``atoms`` is not of this width and dimension, or as by `fit`.
        """
        samples, scale, bias, _ = prepare(x, centre=self.centre)
        start = check_matrix(atoms, "atoms", dim=samples.shape[1]).astype(np.float64)
        if len(start) != self.width:
            raise ValueError(f"atoms must have width={self.width} rows; got {len(start)}. Set width to that.")
        return self._descend(samples / scale, unit_rows(start)[0], bias, rng)

    def _descend(self, x: FloatArray, atoms: FloatArray, bias: FloatArray, rng: Rng) -> FittedDictionary:
        visible = self._visible(x.shape[1])
        adam = _Adam(atoms.shape, self.learning_rate)
        losses: list[float] = []
        status = Status.BUDGET_SPENT
        for _ in range(self.epochs):
            error = energy = 0.0
            for low in range(0, len(x), self.batch_size):
                batch = x[low : low + self.batch_size]
                gradient, counted = self._gradient(batch, atoms, rng.permutation(x.shape[1]), visible)
                error, energy = error + counted[0], energy + counted[1]
                if np.isfinite(gradient).all():
                    atoms = unit_rows(atoms - adam.step(gradient))[0]
                else:
                    status = Status.DIVERGED
            losses.append(error / energy if energy > 0 else float("nan"))
            if status is Status.DIVERGED:
                break
        return unit_dictionary(atoms, bias, OrthogonalMatchingPursuit(self.k), status, {"loss": tuple(losses)})

    def _visible(self, dim: int) -> int:
        visible = dim - max(1, round(self.hidden * dim)) if self.hidden else dim
        if self.k > min(visible, self.width):
            raise ValueError(
                f"k={self.k} atoms need at least as many visible coordinates and atoms; of d={dim} coordinates "
                f"{visible} are visible and width={self.width}. Lower k or hidden."
            )
        return visible

    def _gradient(
        self, x: FloatArray, atoms: FloatArray, order: IntArray, visible: int
    ) -> tuple[FloatArray, tuple[float, float]]:
        """Return the gradient ``(p, d)`` on a batch, the squared error on the coordinates that count, their energy."""
        seen = np.sort(order[:visible])
        counted = np.sort(order[visible:]) if self.hidden else seen
        k = np.full(len(x), self.k, dtype=np.int64)
        part = (np.ascontiguousarray(x[:, seen]), np.ascontiguousarray(atoms[:, seen]))
        codes = Codes(orthogonal_pursuit(*part, k, 0.0), shape=(len(x), len(atoms)))
        target = x[:, counted]
        residual = target - synthesise(codes, atoms[:, counted])
        gradient = np.zeros(atoms.shape)
        gradient[:, counted] = codes.T @ residual * (-2 / len(x))
        return gradient, (float(np.square(residual).sum()), float(np.square(target).sum()))
