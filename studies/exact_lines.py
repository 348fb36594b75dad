"""Small simulations on exact lines: local minima of l1, read-outs by a genie, coherence, and capacity.

Each part measures what a closed form or a bound says, by another way than the formula: descent from a displaced
basis, regression on simulated codes, frames drawn or optimised, and minimisation over Gram matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np
from scipy.optimize import minimize

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, unit_rows
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import LowCoherence, RandomSphere
from sparsesim.generators.laws import Geometry
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier
from theory.amortisation import genie_errors
from theory.capacity import allocate_capacity, capacity_loss, gram_capacities
from theory.chance import random_coherence_median
from theory.encoders import crosstalk, least_crosstalk
from theory.frames import coherence, coherence_bound, welch_bound
from theory.identifiability import equal_correlation_limit

SMOOTH = 1e-4  # |x| is sqrt(x^2 + SMOOTH^2) in the descent
AWAY = 0.02  # size of the displacement it starts from
KEPT = 1e-5  # from a cosine of 1: smoothing moves a minimum by 1e-7; at 1.15 of the limit it moves by 4e-4 and more


@final
@dataclass(frozen=True)
class Point:
    """What was measured, and what theory says it is."""

    measured: float
    expected: float


def measured(point: Point) -> float:
    """Return what was measured."""
    return point.measured


def expected(point: Point) -> float:
    """Return what theory says."""
    return point.expected


METRICS = (measured, expected)


def equal_correlations(n: int, mu: float) -> FloatArray:
    """Return n unit rows of R^n with all cosines ``mu``."""
    return np.asarray(np.linalg.cholesky((1.0 - mu) * np.eye(n) + mu))


@final
@dataclass(frozen=True)
class ReturnCell:
    """Descend on the l1 norm of codes from near a basis of equal correlations: 1 if it comes back, else 0.

    ``share`` is the correlation over the exact limit, p the rate of signed Bernoulli-Gaussian codes.
    """

    n: int
    p: float
    share: float
    samples: int
    seed: int

    def __post_init__(self) -> None:
        check_int("n", self.n, 2)
        check_real("p", self.p, 0.0, 1.0)

    def evaluate(self) -> Point:
        """Return whether each atom comes back to a cosine of 1 - 1e-5, and whether theory says so.

        Above the limit the minimum leaves the basis continuously, so that it may be near.
        """
        truth = equal_correlations(self.n, self.share * equal_correlation_limit(self.n, self.p))
        spec = FeatureSpec(self.n, Bernoulli(EqualRates(self.n, self.p)), RandomSphere(), SignedGaussian())
        codes = spec.build(stream(self.seed, Role.TRUTH)).sample(self.samples, stream(self.seed, Role.TRAIN)).codes
        x = codes.toarray() @ truth
        rng = stream(self.seed, Role.SOLVER)
        start = unit_rows(truth + AWAY * rng.standard_normal(truth.shape))[0]
        found = sparsest_basis(x, start)
        back = float(np.abs(found @ truth.T).max(axis=0).min() > 1.0 - KEPT)
        return Point(back, float(self.share < 1.0))


def sparsest_basis(x: FloatArray, start: FloatArray) -> FloatArray:
    """Return the unit basis ``(n, n)`` at the end of a descent of ``mean sum_j |(x A^-1)_j|`` from ``start``."""
    shape = start.shape

    def cost(flat: FloatArray) -> tuple[float, FloatArray]:
        rows = flat.reshape(shape)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        atoms = rows / norms
        inverse = np.linalg.inv(atoms)
        codes = x @ inverse
        size = np.sqrt(codes**2 + SMOOTH**2)
        slope = -(codes.T @ (codes / size)) @ inverse.T / len(x)
        slope -= (slope * atoms).sum(axis=1, keepdims=True) * atoms
        return float(size.sum() / len(x)), (slope / norms).ravel()

    found = minimize(cost, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return unit_rows(np.asarray(found.x).reshape(shape))[0]


@final
@dataclass(frozen=True)
class ReadCell:
    """Read active entries linearly, told which are active: the relative error over entries, by regression.

    ``encoder`` is "best" (regression on half of the samples, judged on the other), "tied" or "inverse" (the
    pseudo-inverse), the latter two with the best scale.
    """

    spec: FeatureSpec
    encoder: str
    samples: int
    seed: int

    def evaluate(self) -> Point:
        """Return the mean relative error, beside that of the best linear maps for these atoms."""
        model = self.spec.build(stream(self.seed, Role.TRUTH))
        batch = model.sample(self.samples, stream(self.seed, Role.TEST))
        codes: FloatArray = batch.codes.toarray()
        fixed = {"tied": model.atoms, "inverse": np.linalg.pinv(model.atoms).T}.get(self.encoder)
        errors = []
        for i in range(codes.shape[1]):
            on = np.flatnonzero(codes[:, i])
            fit, held = on[::2], on[1::2]
            seen = batch.x if fixed is None else batch.x @ fixed[i][:, None]
            weights = np.linalg.lstsq(seen[fit], codes[fit, i], rcond=None)[0]
            errors.append(np.square(codes[held, i] - seen[held] @ weights).sum() / np.square(codes[held, i]).sum())
        active: Any = self.spec.support
        return Point(float(np.mean(errors)), float(genie_errors(model.atoms, active.k).mean()))


@final
@dataclass(frozen=True)
class FrameCell:
    """The coherence of drawn or optimised directions, or the largest crosstalk of an encoder of drawn ones."""

    kind: str  # "random", "optimised", or the encoder: "inverse", "programme"
    n: int
    d: int
    seed: int

    def evaluate(self) -> Point:
        """Return the measured number beside the median of random ones, the bound on coherence, or that on crosstalk."""
        rng = stream(self.seed, Role.TRUTH)
        if self.kind == "optimised":
            return Point(coherence(LowCoherence().atoms(self.n, self.d, rng)), coherence_bound(self.n, self.d))
        atoms = RandomSphere().atoms(self.n, self.d, rng)
        if self.kind == "random":
            return Point(coherence(atoms), random_coherence_median(self.n, self.d))
        if self.kind == "programme":
            return Point(float(least_crosstalk(atoms)[0].max()), welch_bound(self.n, self.d))
        encoder = np.linalg.pinv(atoms).T
        encoder = encoder / (encoder * atoms).sum(axis=1, keepdims=True)
        return Point(float(crosstalk(atoms, encoder).max()), welch_bound(self.n, self.d))


@final
@dataclass(frozen=True)
class CapacityCell:
    """The capacity of feature ``index`` at the best Gram matrix of rank m that descent finds.

    The target is sum_i v_i x_i^2 with v_i = ``ratio``^i, features have E x^4 = ``fourth``. Index -1 stands for the
    loss of all features.
    """

    fourth: float
    n: int
    m: int
    ratio: float
    starts: int
    seed: int
    index: int

    def evaluate(self) -> Point:
        """Return capacity (or loss) at the optimum found, beside that of the optimal allocation."""
        values = self.ratio ** np.arange(self.n)
        gram, loss = best_gram(tuple(values.tolist()), self.m, self.fourth, self.starts, self.seed)
        shares = allocate_capacity(values, float(self.m), self.fourth)
        if self.index < 0:
            return Point(loss, float(capacity_loss(shares, values, self.fourth).sum()))
        return Point(float(gram_capacities(gram)[self.index]), float(shares[self.index]))


@cache
def best_gram(values: tuple[float, ...], m: int, fourth: float, starts: int, seed: int) -> tuple[FloatArray, float]:
    """Return the Gram matrix of rank m of least ``a sum (v_i - G_ii)^2 + 2 sum_{i != j} G_ij^2``, and that loss."""
    v, rng = np.array(values), stream(seed, Role.SOLVER)
    weights = np.full((len(v), len(v)), 2.0)
    np.fill_diagonal(weights, fourth - 1.0)

    def cost(flat: FloatArray) -> tuple[float, FloatArray]:
        rows = flat.reshape(len(v), m)
        off = rows @ rows.T - np.diag(v)
        return float((weights * off**2).sum()), (4.0 * (weights * off) @ rows).ravel()

    tried = [minimize(cost, _start(v, m, rng), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-13})
             for _ in range(starts)]  # fmt: skip
    least = min(tried, key=lambda one: float(one.fun))
    rows = np.asarray(least.x).reshape(len(v), m)
    return rows @ rows.T, float(least.fun)


def _start(v: FloatArray, m: int, rng: Rng) -> FloatArray:
    return np.asarray((0.3 * np.sqrt(v)[:, None] * rng.standard_normal((len(v), m))).ravel())


@dataclass(frozen=True)
class Size:
    """What a tier spends on each part."""

    seeds: int
    basis: tuple[int, int]  # n and samples of the descent
    rates: tuple[float, ...]
    shares: tuple[float, ...]
    read: tuple[int, int, int]  # n, d, samples
    active: tuple[int, ...]
    dim: int
    ratios: tuple[float, ...]  # n/d of the frames
    capacity: tuple[int, int, int]  # n, m, starts
    fourths: tuple[float, ...]


SIZES = {
    Tier.SMOKE: Size(3, (4, 1_000), (0.3, 0.5), (0.6, 1.5), (8, 4, 8_000), (2, 4), 6, (1.5, 2.0), (6, 2, 3), (5.0,)),
    Tier.LAPTOP: Size(
        5, (8, 4_000), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.5, 0.7, 0.85, 1.15, 1.3, 1.5), (32, 16, 20_000),
        (2, 3, 5, 8, 12), 16, (1.25, 1.5, 2.0, 3.0, 4.0), (12, 4, 10), (2.5, 5.0, 10.0, 40.0),
    ),
    Tier.PAPER: Size(
        20, (16, 40_000), (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3, 1.5),
        (64, 32, 200_000), (2, 3, 5, 8, 12, 20), 64, (1.25, 1.5, 2.0, 3.0, 4.0, 8.0), (40, 12, 50),
        (2.5, 5.0, 10.0, 40.0),
    ),
}  # fmt: skip
RATIO = 0.85  # of one feature's value to the next


def study(tier: Tier) -> Study:
    """Return the four parts at ``tier``, each with its number of atoms or dimensions and two coordinates.

    ``knob`` is the rate of codes, active entries, n/d or the fourth moment; ``place`` the share of the limit, d/n, d or
    the index of a feature.
    """
    size, cells = SIZES[tier], dict[Labels, Cell]()

    def add(what: tuple[str, str, int], knob: float, place: float, seed: int, cell: Cell) -> None:
        part, name, count = what
        cells[labels(part=part, name=name, size=count, knob=float(knob), place=float(place), seed=seed)] = cell

    n, d, samples = size.read
    frames: dict[str, Geometry] = {"random": RandomSphere(), "tight": LowCoherence(order=2)}
    features, rank, starts = size.capacity
    for seed in range(size.seeds):
        for rate in size.rates:
            limit = equal_correlation_limit(size.basis[0], rate)
            for share in (share for share in size.shares if share * limit < 1.0):  # cosines
                add(
                    ("local", "descent", size.basis[0]),
                    rate,
                    share,
                    seed,
                    ReturnCell(size.basis[0], rate, share, size.basis[1], seed),
                )
        for k in size.active:
            for frame, geometry in frames.items():
                spec = FeatureSpec(d, ExactlyK(n, k), geometry, SignedGaussian())
                for encoder in ("best", "tied", "inverse"):
                    add(("read", f"{frame} {encoder}", n), k, d / n, seed, ReadCell(spec, encoder, samples, seed))
        for ratio in size.ratios:
            for draw in range(seed, 6 * size.seeds, size.seeds):  # cheap, and of the widest spread
                add(
                    ("frame", "random", size.dim),
                    ratio,
                    size.dim,
                    draw,
                    FrameCell("random", round(ratio * size.dim), size.dim, draw),
                )
            for kind in ("optimised", "inverse", "programme"):
                add(
                    ("frame", kind, size.dim),
                    ratio,
                    size.dim,
                    seed,
                    FrameCell(kind, round(ratio * size.dim), size.dim, seed),
                )
        for fourth in size.fourths:
            for index in range(-1, features):
                cell = CapacityCell(fourth, features, rank, RATIO, starts, seed, index)
                add(("capacity", "descent", features), fourth, index, seed, cell)
    question = "Do simulations lie on the lines that are known exactly?"
    return Study("exact_lines", question, cells, METRICS)
