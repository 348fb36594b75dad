"""Unfolded proximal gradients: a few steps of ISTA whose matrices and thresholds are trained for given atoms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_matrix, check_real, check_samples, read_only
from sparsesim._source import Rows
from sparsesim.solvers.base import Status, check_own_atoms
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.train import Training, train
from sparsesim.solvers.proximal_gradient import largest_eigenvalue
from sparsesim.solvers.pursuit import checked


def analytic_weights(atoms: FloatArray) -> FloatArray:
    """Return the ``W (p, d)`` of least ``||W A^T||_F`` with ``<w_i, a_i> = 1``: ``w_i = M^+ a_i / (a_i M^+ a_i)``.

    M is ``A^T A``. The rows decouple, and at the minimum ``M w_i`` is a multiple of ``a_i``. A zero atom has zero
    weights.

    References
    ----------
    Liu, Chen, Wang, Yin (2019), "ALISTA: analytic weights are as good as learned weights in LISTA"; the closed form
    is derived here.
    """
    rows = check_matrix(atoms, "atoms").astype(np.float64)
    weights = rows @ np.linalg.pinv(rows.T @ rows, hermitian=True)
    scale = (weights * rows).sum(axis=1, keepdims=True)
    scaled: FloatArray = weights / np.where(scale > 0, scale, 1.0)
    return scaled


def generalised_coherence(atoms: FloatArray, weights: FloatArray) -> float:
    """Return ``max_{i != j} |<w_i, a_j>|``, the coherence of the atoms where ``weights`` are the atoms themselves."""
    cross = np.abs(weights @ atoms.T)
    np.fill_diagonal(cross, 0.0)
    return float(cross.max(initial=0.0))


@final
@dataclass(frozen=True, eq=False)
class UnfoldedEncoder:
    """Encodes by the layers ``z <- soft(z + step_t (x - z A) W_t, threshold_t)`` from z = 0; belongs to its atoms.

    Attributes
    ----------
    atoms : (p, d) unit rows.
    weights : (T, d, p), or (1, d, p) where all layers share them.
    steps, thresholds : (T,); thresholds in the units of the samples.
    status : BUDGET_SPENT, or DIVERGED where the last finite weights were kept.
    trace : the loss at recorded steps.
    """

    atoms: FloatArray
    weights: FloatArray
    steps: FloatArray
    thresholds: FloatArray
    status: Status = Status.BUDGET_SPENT
    trace: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("atoms", "weights", "steps", "thresholds"):
            object.__setattr__(self, name, read_only(np.asarray(getattr(self, name), dtype=np.float64)))

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError
            If ``atoms`` are not those the layers were trained for.
        """
        x, atoms = checked(x, atoms)
        remedy = "Train one for these, e.g. by LearnedISTA(16, 0.1).train(x, atoms, rng=rng)."
        check_own_atoms(atoms, self.atoms, "an unfolded encoder", remedy)
        samples = x.astype(np.float64, copy=False)
        z = np.zeros((len(x), len(atoms)))
        for layer, (step, threshold) in enumerate(zip(self.steps, self.thresholds, strict=True)):
            u = z + step * (samples - z @ self.atoms) @ self.weights[min(layer, len(self.weights) - 1)]
            z = np.sign(u) * np.maximum(np.abs(u) - threshold, 0.0)
        return Codes(z.astype(x.dtype))


@final
@dataclass(frozen=True)
class LearnedISTA:
    """Trains ``layers`` of unfolded ISTA, an encoder of given atoms, to lower the lasso objective of the samples.

    Layer t is ``z <- soft(z + step_t (x - z A) W_t, threshold_t)``, the loss

        mean_B (||x - z_T A||^2 / 2 + penalty ||z_T||_1).

    It starts at ISTA for that objective: W = A^T, step 1/L, threshold penalty / L with L the largest eigenvalue of
    A A^T. Without ``analytic`` the matrices W_t and thresholds are trained (LISTA with coupled weights; the step stays
    in W); with it W is fixed to `analytic_weights` and steps and thresholds are trained (ALISTA): 2 T numbers. The
    published losses compare z with true codes, or with those of a converged lasso; this one needs neither. The atoms
    do not move.

    Parameters
    ----------
    layers : T.
    penalty : of the l1 norm, in the units of ``x``.
    analytic : fix the matrices by formula.
    training : its ``normalise`` is not read: samples are scaled to E ||x||^2 = d, and not shifted.

    References
    ----------
    Gregor and LeCun (2010), "Learning fast approximations of sparse coding"; Chen, Liu, Wang, Yin (2018),
    arXiv 1808.10038, for coupled weights; Liu, Chen, Wang, Yin (2019) for the analytic ones; Ablin, Moreau, Massias,
    Gramfort (2019), arXiv 1905.11071, for the loss.
    """

    layers: int
    penalty: float
    analytic: bool = False
    training: Training = field(default_factory=lambda: Training(steps=1000, learning_rate=1e-3))

    def __post_init__(self) -> None:
        check_int("layers", self.layers, 1)
        check_real("penalty", self.penalty, 0.0, open_low=True)
        if not isinstance(self.training, Training):
            raise TypeError(f"training must be a Training, e.g. Training(steps=1000); got {self.training!r}.")

    def untrained(self, atoms: FloatArray) -> UnfoldedEncoder:
        """Return the layers at their start, for unit ``atoms (p, d)``: plain ISTA unless ``analytic``."""
        unit = checked(np.zeros((0, np.shape(atoms)[-1])), atoms)[1].astype(np.float64)
        weights = analytic_weights(unit) if self.analytic else unit
        # The step contracts where it is the inverse of the largest singular value of A W, which is L for W = A^T.
        size = float(np.linalg.norm(weights @ unit.T, 2)) if self.analytic else largest_eigenvalue(unit)
        ones = np.ones(self.layers) / (size or 1.0)
        return UnfoldedEncoder(unit, weights.T[None], ones, self.penalty * ones)

    def train(self, x: FloatArray, atoms: FloatArray, *, rng: Rng) -> UnfoldedEncoder:
        """Return the layers trained on centred samples ``x (n, d)`` for unit ``atoms (p, d)``.

        Raises
        ------
        ValueError, TypeError
            If ``x`` is not a finite real matrix with rows, or atoms are not unit rows of its dimension.
        """
        samples, unit = checked(check_samples(x), atoms)
        start, wide = self.untrained(unit), samples.astype(np.float64)
        reach = float(np.abs(wide).max()) or 1.0
        scale = reach * (float(np.sqrt(np.square(wide / reach).mean())) or 1.0)
        with torch.device("cpu"), torch.inference_mode(False):
            module = UnfoldedModule(start, self.penalty / scale, scale, self.analytic)
            outcome = train(module, [Rows((wide / scale).astype(np.float32))], [rng], self.training)[0]
        return module.encoder(start.atoms, scale, outcome.status, outcome.trace)


@final
class UnfoldedModule(SparseModule):
    """The layers as a model for the training loop; the decoder is fixed."""

    penalty: Tensor
    dictionary: Tensor

    def __init__(self, start: UnfoldedEncoder, penalty: float, scale: float, analytic: bool) -> None:
        super().__init__()
        self.layers, self.analytic = len(start.steps), analytic
        self.register_buffer("penalty", torch.tensor(min(penalty, 1e30), dtype=torch.float32))
        self.register_buffer("dictionary", _tensor(start.atoms))
        thresholds = np.minimum(start.thresholds / scale, 1e30)
        self.thresholds = nn.Parameter(_tensor(thresholds))
        if analytic:
            self.register_buffer("weights_0", _tensor(start.weights[0]))
            self.steps = nn.Parameter(_tensor(start.steps))
        else:
            for t in range(self.layers):
                self.register_parameter(f"weights_{t}", nn.Parameter(_tensor(start.steps[t] * start.weights[0])))

    def _matrix(self, layer: int) -> Tensor:
        matrix: Tensor = getattr(self, f"weights_{0 if self.analytic else layer}")
        return matrix

    def encode(self, x: Tensor) -> Tensor:
        z = torch.zeros((*x.shape[:-1], self.dictionary.shape[-2]), dtype=x.dtype, device=x.device)
        for t in range(self.layers):
            move = (x - z @ self.dictionary) @ self._matrix(t)
            u = z + (move * self.steps[..., t, None, None] if self.analytic else move)
            z = torch.sign(u) * torch.relu(u.abs() - self.thresholds[..., t, None, None])
        return z

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.dictionary

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        codes = self.encode(x)
        error = (x - self.decode(codes)).square().sum(-1).mean(-1) / 2
        return {"error": error, "l1": codes.abs().sum(-1).mean(-1) * self.penalty}

    def atoms(self) -> Tensor:
        return self.dictionary

    def decoder_bias(self) -> Tensor:
        return torch.zeros_like(self.dictionary[..., 0, :])

    def after_step(self, optimiser: Optimiser) -> None:
        self.thresholds.clamp_(min=0.0)

    def encoder(
        self, atoms: FloatArray, scale: float, status: Status, trace: dict[str, tuple[float, ...]]
    ) -> UnfoldedEncoder:
        """Return the trained layers in the units of the samples, ``scale`` times those of the training."""
        matrices = [self._matrix(t).detach().double().numpy() for t in range(1 if self.analytic else self.layers)]
        steps = self.steps.detach().double().numpy() if self.analytic else np.ones(self.layers)
        thresholds = self.thresholds.detach().double().numpy() * scale
        return UnfoldedEncoder(atoms, np.stack(matrices), steps, thresholds, status, trace)


def _tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
