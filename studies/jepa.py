"""In which order deep linear joint-embedding and masked autoencoders learn features, on flows of whole matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import ortho_group

from sparsesim._arrays import FloatArray, Rng
from sparsesim._identity import Role, fork, stream
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier
from theory.jepa import jepa_fixed_point, jepa_time, mae_fixed_point, mae_time

OBJECTIVES = ("jepa", "mae")
RHOS = (0.5, 0.75, 1.0, 1.5, 2.0)  # regression coefficients of the features, all of covariance 1
REACHED = 0.5  # of the value at which the encoder of a feature ends


@final
@dataclass(frozen=True, eq=False)
class Flow:
    """When the encoder of each feature reached half of its last value, and when it should have, ``(features,)``."""

    times: FloatArray
    predicted: FloatArray


@final
@dataclass(frozen=True)
class FlowCell:
    """Gradient flow of ``depth`` encoder layers and a linear predictor, from ``start`` times the identity.

    The features are directions q_i of x with variance 1 / rho_i and covariance 1 with the target y, so that rho_i is
    the regression coefficient; the axes are random, and the covariances are those of ``samples`` Gaussian draws, or
    exact for 0. The loss is E||V W x - W y||^2 / 2 with no gradient through W y (jepa), or E||V W x - y||^2 / 2 (mae).
    """

    objective: str
    depth: int
    start: float
    samples: int
    seed: int

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}; got {self.objective!r}.")

    def evaluate(self) -> Flow:
        """Return the measured and the predicted times, in units of the inverse learning rate."""
        axes_rng, sample_rng = fork(stream(self.seed, Role.TRUTH), 2)
        axes = ortho_group.rvs(len(RHOS), random_state=axes_rng)
        inputs, cross = _covariances(axes, self.samples, sample_rng)
        fixed = jepa_fixed_point if self.objective == "jepa" else mae_fixed_point
        goals = np.array([REACHED * fixed(rho, self.depth) for rho in RHOS])
        ends = goals ** (1 / self.depth)  # of a layer
        time = jepa_time if self.objective == "jepa" else mae_time
        predicted = np.array([time(self.start, end, 1.0, rho, self.depth) for end, rho in zip(ends, RHOS, strict=True)])
        return Flow(self._reached(axes, inputs, cross, goals, 3.0 * float(predicted.max())), predicted)

    def _reached(
        self, axes: FloatArray, inputs: FloatArray, cross: FloatArray, goals: FloatArray, horizon: float
    ) -> FloatArray:
        """Return when the encoding of each axis first has the norm that is its goal; infinite if it has not in time.

        The norm, and not the entry on the diagonal: covariances of samples have other axes, and a feature may be
        encoded in a direction that it shares with one that was learned before.
        """
        size, first = len(axes), np.tile(self.start * np.eye(len(axes)), (self.depth + 1, 1, 1))

        def slope(_: float, flat: FloatArray) -> FloatArray:
            return _slopes(flat.reshape(-1, size, size), inputs, cross, self.objective).ravel()

        def event(index: int):  # type: ignore[no-untyped-def]
            def above(_: float, flat: FloatArray) -> float:
                encoder = _product(flat.reshape(-1, size, size)[:-1])
                return float(np.linalg.norm(encoder @ axes[:, index]) - goals[index])

            above.direction = 1.0  # type: ignore[attr-defined]
            return above

        events = [event(index) for index in range(size)]
        path = solve_ivp(slope, (0.0, horizon), first.ravel(), method="LSODA", rtol=1e-8, atol=1e-10, events=events)
        return np.array([hits[0] if len(hits) else np.inf for hits in path.t_events])


def _covariances(axes: FloatArray, samples: int, rng: Rng) -> tuple[FloatArray, FloatArray]:
    """Return Cov(x) and Cov(y, x), exact or of draws in which y is the regression of x and noise of variance 0.1."""
    rho = np.array(RHOS)
    if not samples:
        return (axes / rho) @ axes.T, axes @ axes.T
    x = rng.standard_normal((samples, len(rho))) / np.sqrt(rho)
    y = x * rho + np.sqrt(0.1) * rng.standard_normal(x.shape)
    return axes @ (x.T @ x / samples) @ axes.T, axes @ (y.T @ x / samples) @ axes.T


def _product(layers: FloatArray) -> FloatArray:
    out = np.eye(layers.shape[-1])
    for layer in layers:
        out = layer @ out
    return out


def _slopes(layers: FloatArray, inputs: FloatArray, cross: FloatArray, objective: str) -> FloatArray:
    """Return minus the gradient of the loss by layer: encoder layers in order, then the predictor."""
    encoder, predictor = _product(layers[:-1]), layers[-1]
    target = encoder @ cross if objective == "jepa" else cross
    error = predictor @ encoder @ inputs - target
    slopes = np.empty_like(layers)
    slopes[-1] = -error @ encoder.T
    back = predictor.T @ error
    for index in range(len(layers) - 2, -1, -1):
        slopes[index] = -back @ _product(layers[:index]).T
        back = layers[index].T @ back
    return slopes


def time_lowest(flow: Flow) -> float:
    """Return when the feature of the smallest regression coefficient is learned."""
    return float(flow.times[0])


def time_highest(flow: Flow) -> float:
    """Return when the feature of the largest regression coefficient is learned."""
    return float(flow.times[-1])


def predicted_lowest(flow: Flow) -> float:
    """Return when theory has the feature of the smallest regression coefficient learned."""
    return float(flow.predicted[0])


def predicted_highest(flow: Flow) -> float:
    """Return when theory has the feature of the largest regression coefficient learned."""
    return float(flow.predicted[-1])


def worst_deviation(flow: Flow) -> float:
    """Return the largest relative deviation of a time from theory over the features."""
    return float(np.abs(flow.times / flow.predicted - 1.0).max())


def in_order(flow: Flow) -> float:
    """Return the share of pairs of features of which the one with the larger coefficient is learned first."""
    first = [flow.times[j] < flow.times[i] for j in range(len(RHOS)) for i in range(j)]
    return float(np.mean(first))


METRICS = (time_lowest, time_highest, predicted_lowest, predicted_highest, worst_deviation, in_order)


@dataclass(frozen=True)
class Size:
    """What a tier spends: depths, starts, samples of the empirical covariances, seeds."""

    depths: tuple[int, ...]
    starts: tuple[float, ...]
    samples: tuple[int, ...]
    seeds: int


SIZES = {
    Tier.SMOKE: Size((1, 2), (0.2, 0.1), (0, 20_000), 3),
    Tier.LAPTOP: Size((1, 2, 3), (0.2, 0.1, 0.05), (0, 20_000), 5),
    Tier.PAPER: Size((1, 2, 3, 4), (0.2, 0.1, 0.05, 0.025), (0, 20_000, 1_000_000), 10),
}


def study(tier: Tier) -> Study:
    """Return the study at ``tier``: objective, depth, start, samples, seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {
        labels(objective=objective, depth=depth, start=start, samples=samples, seed=seed): FlowCell(
            objective, depth, start, samples, seed
        )
        for objective in OBJECTIVES
        for depth in size.depths
        for start in size.starts
        for samples in size.samples
        for seed in range(size.seeds)
    }
    question = "In which order do joint-embedding and masked autoencoders learn features of equal covariance?"
    return Study("jepa", question, cells, METRICS)
