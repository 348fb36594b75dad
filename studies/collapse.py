"""Posterior collapse of linear variational autoencoders, trained: which units fall silent, and what the others tell.

Four panels, each a world of known covariance and one knob: the weight of the divergence, how much a condition tells,
the weight of an upper level whose variance is learned or fixed, and the slope below which the decoder may not fall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, final

import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim._identity import Role, stream
from sparsesim._source import Rows, SideRows, Source
from sparsesim.generators.base import Batch, FeatureModel, FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.scales import Scaled
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.disentanglement_codes import active_units, active_units_by_divergence, unit_divergences
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.conditional_vae import ConditionalVAE
from sparsesim.solvers.neural.inverse_lipschitz import InverseLipschitz
from sparsesim.solvers.neural.solver import NeuralSolver, fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.two_level import TwoLevelVAE
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier

SPECTRUM = tuple(float(value) for value in 8 * 1.7 ** -np.arange(8.0) / (1.7 ** -np.arange(8.0)).sum())  # mean 1
SHORT = tuple(float(value) for value in 4 * 2.0 ** -np.arange(4.0) / (2.0 ** -np.arange(4.0)).sum())
NOISE = 0.05  # variance of the decoder, where eigenvalues have mean 1
SIDE = 1  # tells the draw of a condition from that of the samples


def gaussian_world(eigenvalues: tuple[float, ...]) -> FeatureSpec:
    """Return Gaussian data whose covariance has these eigenvalues, in axes drawn at random."""
    d = len(eigenvalues)
    scales = tuple(float(value) ** 0.5 for value in eigenvalues)
    return FeatureSpec(d, ExactlyK(d, d), Orthonormal(), Scaled(SignedGaussian(), scales))


def betas() -> list[float]:
    """Return weights that put ``beta * NOISE`` midway (in logs) between neighbouring eigenvalues, and beyond both."""
    values = np.array(SPECTRUM)
    edges = np.concatenate([[values[0] * 1.7], values, [values[-1] / 1.7]])
    return [float(np.sqrt(a * b) / NOISE) for a, b in pairwise(edges)]


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """A linear model of p Gaussian latents after training, and its posterior of held-out samples.

    All is in the model's own scale, E||x - mean||^2 = d: atoms (p, d) with their norms, means and variances (n, p),
    x (n, d) about the decoder's bias and regression, and the true directions (m, d), largest eigenvalue first.
    """

    fitted: FittedDictionary
    atoms: FloatArray
    means: FloatArray
    variances: FloatArray
    x: FloatArray
    directions: FloatArray
    upper: FloatArray  # covariance of the means of the upper level (p2, p2); empty without one

    @property
    def divergences(self) -> FloatArray:
        """Return nats of the unit that lies nearest to each true direction ``(m,)``, one to one."""
        unit = self.atoms / np.maximum(np.linalg.norm(self.atoms, axis=1, keepdims=True), 1e-30)
        _, order = linear_sum_assignment(np.abs(self.directions @ unit.T), maximize=True)
        return np.asarray(unit_divergences(self.means, self.variances)[order])


def read(fitted: FittedDictionary, batch: Batch, directions: FloatArray, side: FloatArray | None = None) -> Trained:
    """Return the posterior that a fitted linear model has of a batch, read from its weights."""
    encoder: Any = fitted.encoder
    host: Any = getattr(encoder.module, "host", encoder.module)

    def weights(name: str) -> FloatArray:
        return np.asarray(getattr(host, name).numpy(), dtype=np.float64)

    inside = (batch.x - fitted.bias) / encoder.scale
    rows, regression = inside + weights("bias"), np.zeros_like(inside)
    if side is not None:
        rows, regression = np.hstack([rows, side]), side @ weights("slopes")
    atoms, outputs = weights("decoder"), rows @ weights("heads") + weights("heads_bias")
    means, spread = outputs[:, : len(atoms)], outputs[:, len(atoms) :]
    logs = spread if host.spread else np.full(means.shape, float(weights("lower_log_variance")))
    variances, upper = np.exp(logs), np.zeros((0, 0))
    if hasattr(host, "up"):
        codes = np.cov(means.T, ddof=0) + np.diag(variances.mean(axis=0))
        upper = weights("up").T @ codes @ weights("up")
    return Trained(fitted, atoms, means, variances, inside - regression, directions, upper)


@final
@dataclass(frozen=True)
class LinearCell:
    """Train a linear ``solver`` on Gaussian data of the given ``eigenvalues`` and read its posterior.

    With a ``correlation`` rho the solver is shown a condition beside each sample: for each true direction, a standard
    normal number whose correlation with the sample's own coefficient there is rho.
    """

    eigenvalues: tuple[float, ...]
    seed: int
    solver: NeuralSolver
    n_train: int
    n_test: int
    correlation: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("n_train", 2), ("n_test", 2)):
            check_int(name, getattr(self, name), least)
        if self.correlation is not None:
            check_real("correlation", self.correlation, -1.0, 1.0)

    def condition(self, batch: Batch, role: Role) -> FloatArray:
        """Return what is seen beside each sample ``(n, m)``."""
        rho = float(self.correlation or 0.0)
        own = batch.codes.toarray() / np.sqrt(self.eigenvalues)
        noise = stream(self.seed, role, SIDE).standard_normal(own.shape)
        return np.asarray(rho * own + np.sqrt(1.0 - rho**2) * noise)

    def model(self) -> FeatureModel:
        return gaussian_world(self.eigenvalues).build(stream(self.seed, Role.TRUTH))

    def source(self) -> Source:
        """Return the training samples, with their conditions where there are any."""
        batch = self.model().sample(self.n_train, stream(self.seed, Role.TRAIN))
        if self.correlation is None:
            return Rows(batch.x)
        return SideRows(batch.x, self.condition(batch, Role.TRAIN))

    def held_out(self, fitted: FittedDictionary) -> Trained:
        """Return the posterior that a fit has of samples it was not trained on."""
        model = self.model()
        batch = model.sample(self.n_test, stream(self.seed, Role.TEST))
        side = None if self.correlation is None else self.condition(batch, Role.TEST)
        return read(fitted, batch, model.atoms, side)

    def evaluate(self) -> Trained:
        return together((self,))[0]


@lru_cache(maxsize=8)
def together(cells: tuple[LinearCell, ...]) -> tuple[Trained, ...]:
    """Return the posteriors of models that are trained as one batched model; the last groups are remembered."""
    rngs = [stream(cell.seed, Role.SOLVER) for cell in cells]
    fits = fit_together([cell.solver for cell in cells], [cell.source() for cell in cells], rngs)
    return tuple(cell.held_out(fitted) for cell, fitted in zip(cells, fits, strict=True))


@final
@dataclass(frozen=True)
class PanelCell:
    """Cell ``index`` of a panel that is trained as one; bits may depend on who else is, so the panel is in the key."""

    panel: tuple[LinearCell, ...]
    index: int

    def evaluate(self) -> Trained:
        return together(self.panel)[self.index]


def active_by_mean(trained: Trained) -> float:
    """Return the number of units with Var_x E[z|x] > 0.01."""
    return float(active_units(trained.means))


def active_by_divergence(trained: Trained) -> float:
    """Return the number of units with E_x KL > 0.01 nats."""
    return float(active_units_by_divergence(trained.means, trained.variances))


def upper_active(trained: Trained) -> float:
    """Return how many directions of the upper level vary with the sample, Var E[z2|x] > 0.01; NaN without one."""
    if not trained.upper.size:
        return float("nan")
    return float(np.count_nonzero(np.linalg.eigvalsh(trained.upper) > 0.01))


def rate(trained: Trained) -> float:
    """Return the divergence from a standard normal prior, nats a sample."""
    return float(unit_divergences(trained.means, trained.variances).sum())


def distortion(trained: Trained) -> float:
    """Return E||x - z A||^2 with z drawn from the posterior, in the scale E||x - mean||^2 = d."""
    left = np.square(trained.x - trained.means @ trained.atoms).sum(axis=1).mean()
    return float(left + trained.variances.mean(axis=0) @ np.square(trained.atoms).sum(axis=1))


def of_direction(index: int) -> Callable[[Trained], float]:
    """Return the metric ``kl_1``, ``kl_2``, ...: nats of the unit of that true direction, NaN where there is none."""

    def column(trained: Trained) -> float:
        return float(trained.divergences[index]) if index < len(trained.directions) else float("nan")

    column.__name__ = f"kl_{index + 1}"
    return column


METRICS = (
    active_by_mean,
    active_by_divergence,
    upper_active,
    rate,
    distortion,
    *(of_direction(index) for index in range(len(SPECTRUM))),
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; every ``thin``-th point of each panel is computed."""

    seeds: int
    n_train: int
    n_test: int
    training: Training
    thin: int = 1


SIZES = {
    Tier.SMOKE: Size(2, 2_000, 500, Training(steps=100, batch_size=64, learning_rate=2e-2), 2),
    Tier.LAPTOP: Size(5, 20_000, 20_000, Training(steps=4_000, learning_rate=2e-2)),
    Tier.PAPER: Size(20, 200_000, 20_000, Training(steps=40_000, learning_rate=1e-2)),
}
CONDITION = 2.0  # beta of the conditional model
CORRELATIONS = tuple(round(float(np.sqrt(1.0 - left)), 4) for left in (1.0, 0.53, 0.265, 0.133, 0.066, 0.033))
LOWER, UPPER = 0.1, 0.5  # fixed variances of the two levels
WEIGHTS = (0.61, 0.87, 1.23, 1.74, 2.45, 3.47, 4.9)  # of the upper level
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def points(training: Training) -> list[tuple[str, float, tuple[float, ...], NeuralSolver, float | None]]:
    """Return panel, knob, eigenvalues, solver and correlation of every point, panel by panel."""
    full, short = len(SPECTRUM), len(SHORT)

    def vae(beta: float) -> GaussianVAE:
        return GaussianVAE(full, noise_variance=NOISE, beta=beta, training=training)

    found: list[tuple[str, float, tuple[float, ...], NeuralSolver, float | None]] = [
        ("beta", beta, SPECTRUM, vae(beta), None) for beta in betas()
    ]
    double = replace(training, steps=2 * training.steps)  # a unit just above the threshold is slow to find its axis
    given = ConditionalVAE(short, noise_variance=NOISE, given=short, beta=CONDITION, training=double)
    found += [("correlation", rho, SHORT, given, rho) for rho in CORRELATIONS]
    half = replace(training, steps=max(1, training.steps // 2), learning_rate=training.learning_rate / 2)
    for panel, variance in (("upper_learned", None), ("upper_fixed", UPPER)):
        for weight in WEIGHTS:
            levels = TwoLevelVAE(
                short,
                noise_variance=NOISE,
                beta=(1.0, weight),
                lower_variance=LOWER,
                upper_variance=variance,
                training=half,
            )
            found.append((panel, weight, SHORT, levels, None))
    middle = betas()[full // 2]
    found += [("slope", slope, SPECTRUM, InverseLipschitz(vae(middle), slope=slope), None) for slope in SLOPES]
    return found


def study(tier: Tier) -> Study:
    """Return the four panels at ``tier`` on paired seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    known = points(size.training)
    for panel in dict.fromkeys(name for name, *_ in known):
        alone: dict[Labels, LinearCell] = {}
        for _, knob, eigenvalues, solver, rho in [point for point in known if point[0] == panel][:: size.thin]:
            for seed in range(size.seeds):
                cell = LinearCell(eigenvalues, seed, solver, size.n_train, size.n_test, rho)
                alone[labels(panel=panel, knob=knob, seed=seed)] = cell
        group = tuple(alone.values())
        cells |= {label: PanelCell(group, index) for index, label in enumerate(alone)}
    question = "Which units of a variational autoencoder fall silent, and is it where theory says?"
    return Study("collapse", question, cells, METRICS)
