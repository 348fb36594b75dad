"""The AdaptiveK autoencoder: a linear probe of how complex a sample is says how many latents it may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.neural.ranks import leading
from sparsesim.solvers.neural.samplewise import SampleWiseModule
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit

TARGETS = ("norm", "pursuit")
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
FOLDS = 5
HIGHEST = 10.0  # complexities lie in [0, 10], as in the paper
UNEXPLAINED = 0.3  # of ||x||, at which a pursuit that measures complexity stops
ITERATIONS = 20  # of the dictionary learning before that pursuit


def ridge_probe(x: FloatArray, y: FloatArray, rng: Rng) -> tuple[FloatArray, float]:
    """Return the ridge regression w ``(d,)``, w_0 of ``y (n,)`` on ``x (n, d)``, its weight chosen by cross-validation.

    w = (X'X + ridge I)^-1 X'y for centred data, with the ridge of `RIDGES` that has the least squared error over
    `FOLDS` folds; w_0 is free.
    """
    fold = rng.permutation(len(x)) % FOLDS
    errors = np.zeros(len(RIDGES))
    for held in range(min(FOLDS, len(x)) if len(x) > 1 else 0):
        out = fold == held
        for place, ridge in enumerate(RIDGES):
            w, w0 = _ridge(x[~out], y[~out], ridge)
            errors[place] += np.square(x[out] @ w + w0 - y[out]).sum()
    return _ridge(x, y, RIDGES[int(np.argmin(errors))])


def _ridge(x: FloatArray, y: FloatArray, ridge: float) -> tuple[FloatArray, float]:
    mean, centre = x.mean(axis=0), float(y.mean())
    inner = x - mean
    w = np.linalg.solve(inner.T @ inner + ridge * np.eye(x.shape[1]), inner.T @ (y - centre))
    return w, centre - float(mean @ w)


def complexity(x: FloatArray, target: str, width: int, k: int, rng: Rng) -> FloatArray:
    """Return how complex each sample of ``x (n, d)`` is, ``(n,)`` in [0, 10], without knowledge of the truth.

    "norm" is ||x||; "pursuit" the number of steps that orthogonal matching pursuit takes to explain all but 0.3 ||x||,
    in a dictionary of ``width`` atoms learned from x with ``k`` of them a sample. The 5 and 95 % quantiles become 0
    and 10.
    """
    if target == "norm":
        raw = np.linalg.norm(x, axis=1)
    else:
        learner = MethodOfOptimalDirections(width, OrthogonalMatchingPursuit(k), iterations=ITERATIONS)
        fitted = learner.fit(x, rng=rng)
        pursuit = OrthogonalMatchingPursuit(min(width, x.shape[1]), tolerance=UNEXPLAINED)
        raw = np.diff(pursuit.encode(x - fitted.bias, fitted.atoms).indptr).astype(np.float64)
    low, high = np.quantile(raw, (0.05, 0.95))
    return np.asarray(np.clip((raw - low) / max(high - low, 1e-12), 0.0, 1.0) * HIGHEST)


@final
class AdaptiveKModule(SampleWiseModule):
    """z = u on the k(x) largest positive entries."""

    probe: Tensor
    offset: Tensor
    l1: Tensor

    def __init__(self, spec: AdaptiveK, dim: int, rng: Rng) -> None:
        super().__init__(TopK(spec.width, spec.k_max, spec.aux, spec.dead_after), dim, rng)
        self.k_min, self.k_max, self.slope, self.target = spec.k_min, spec.k_max, spec.slope, spec.target
        given = spec.probe if spec.probe is not None else (0.0,) * (dim + 1)
        if len(given) != dim + 1:
            raise ValueError(f"probe must hold d + 1 = {dim + 1} numbers, the weights and w_0; got {len(given)}.")
        self.given = spec.probe is not None
        self.register_buffer("probe", torch.tensor(given[:-1], dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(given[-1], dtype=torch.float32))
        self.register_buffer("l1", torch.tensor(spec.l1 * dim, dtype=torch.float32))

    def prime(self, sample: Tensor, rng: Rng) -> None:
        if self.given:
            return
        x = sample.double().numpy()
        typical = (self.k_min + self.k_max) // 2
        measured = complexity(x, self.target, self.decoder.shape[-2], typical, rng)
        w, w0 = ridge_probe(x, measured, rng)
        self.probe.copy_(torch.from_numpy(w))
        self.offset.fill_(w0)

    def numbers(self, x: Tensor) -> Tensor:
        """Return k(x), ``(..., B, 1)``."""
        c = (x @ self.probe.unsqueeze(-1) + self.offset[..., None, None]).clamp(0.0, HIGHEST)
        share = (self.slope * (c / HIGHEST - 0.5)).sigmoid()
        return (self.k_min + share * (self.k_max - self.k_min)).round()

    def select_for(self, u: Tensor, x: Tensor) -> Tensor:
        return leading(u, self.numbers(x))

    def errors(self, x: Tensor, u: Tensor, values: Tensor, chosen: Selection) -> tuple[dict[str, Tensor], Tensor]:
        errors, reconstruction = super().errors(x, u, values, chosen)
        norms = torch.linalg.vector_norm(x, dim=-1).sum(-1).clamp_min(torch.finfo(x.dtype).tiny)
        return {**errors, "l1": self.l1 * chosen.sums_of_members(values) / norms}, reconstruction


@final
@dataclass(frozen=True)
class AdaptiveK(NeuralSolver):
    """Learns atoms as `TopK`, with more latents for samples that a linear probe finds more complex.

    c(x) = clip(w'x + w_0, 0, 10),  k(x) = round(k_min + sigmoid(slope (c / 10 - 1/2)) (k_max - k_min)), and the loss is
    that of `TopK` and d * l1 * mean ||z||_1 / mean ||x||, where d converts the published weight, which stands beside a
    squared error averaged over d. With the published slope of 6, k(x) keeps 5 % of the range away from both ends.

    The probe is a ridge regression fitted to a sample before training and then held fixed. In the paper it predicts how
    complex a language model finds a text. Here it predicts, without the truth, how complex the sample looks; a
    synthetic oracle may be passed as ``probe``. Where features are as often negative as positive no linear probe can
    count them. The paper's last phase, in which the probe is tuned, is left out: k is
    rounded, so only the probe's own loss moves it.

    Parameters
    ----------
    width : p, the number of atoms.
    k_min, k_max : range of the number of latents.
    slope : of the sigmoid.
    target : "norm", ||x||, or "pursuit", the number of steps that a pursuit takes (see `complexity`).
    probe : the d weights and w_0 of a probe to be used instead, for samples as the model sees them (mean zero and
        E||x||^2 = d, unless the training says otherwise).
    l1 : weight of the L1 norm.
    aux, dead_after : of AuxK, see `SelectiveSolver`.

    References
    ----------
    Yao, Du (2025), "AdaptiveK sparse autoencoders", arXiv 2508.17320.
    """

    width: int
    k_min: int
    k_max: int
    slope: float = 6.0
    target: str = "norm"
    probe: tuple[float, ...] | None = None
    l1: float = 0.005
    aux: float = 1 / 32
    dead_after: int = 100
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("k_max", self.k_max, 1, self.width, high_name="width")
        check_int("k_min", self.k_min, 1, self.k_max, high_name="k_max")
        check_real("slope", self.slope, 0.0)
        if self.target not in TARGETS:
            raise ValueError(f"target must be one of {TARGETS}; got {self.target!r}.")
        if self.probe is not None and not isinstance(self.probe, tuple):
            raise TypeError(f"probe must be a tuple of d + 1 numbers; got {type(self.probe).__name__}.")
        for weight in self.probe or ():
            check_real("a weight of the probe", weight)
        check_real("l1", self.l1, 0.0)
        check_real("aux", self.aux, 0.0)
        check_int("dead_after", self.dead_after, 1)

    def module(self, dim: int, rng: Rng) -> AdaptiveKModule:
        return AdaptiveKModule(self, dim, rng)
