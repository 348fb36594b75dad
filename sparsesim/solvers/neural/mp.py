"""The matching pursuit autoencoder: the encoder is a pursuit in the atoms of the decoder, trained through all steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, normalise_, remove_radial_, squared_error, unit_normal
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

NOISE = 8.0  # units of rounding, relative to the sample, below which a residual or a projection is no signal


class Pick(NamedTuple):
    """One step of a pursuit: which atom and how much of it ``(..., B)``, the atom and what was left ``(..., B, d)``."""

    chosen: Tensor
    value: Tensor
    row: Tensor
    before: Tensor


def rows_at(matrix: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``(..., B, d)`` of ``matrix (..., p, d)`` that ``index (..., B)`` names."""
    flat = matrix.reshape(-1, matrix.shape[-1]).index_select(0, _flat(matrix, index))
    return flat.view(*index.shape, matrix.shape[-1])


def _flat(matrix: Tensor, index: Tensor) -> Tensor:
    """Return ``index (..., B)`` as positions among the rows of all members."""
    if index.ndim == 1:
        return index
    first = torch.arange(len(matrix), device=index.device) * matrix.shape[-2]
    return (index + first.unsqueeze(-1)).reshape(-1)


def pursue(target: Tensor, atoms: Tensor, steps: int, tolerance: float, signed: bool) -> tuple[Tensor, list[Pick]]:
    """Return the residual ``(..., B, d)`` of matching pursuit and its steps, at most ``steps``, row by row.

    A row stops (takes nothing) where its residual is at most ``tolerance`` or no atom has a positive projection
    (``signed``: a nonzero one), both up to rounding. Correlations follow the Gram matrix where that is cheaper than
    their product with the residual.
    """
    residual, scores = target, target @ atoms.mT
    gram = atoms @ atoms.mT if steps * target.shape[-2] >= atoms.shape[-2] else None
    size = torch.linalg.vector_norm(target, dim=-1)
    rounding = size * (NOISE * torch.finfo(target.dtype).eps)
    floor = rounding.clamp_min(tolerance)
    picks: list[Pick] = []
    for _ in range(steps):
        best, index = (scores.abs() if signed else scores).max(-1)
        going = (best > rounding) & (torch.linalg.vector_norm(residual, dim=-1) > floor)
        if not bool(going.any()):
            break
        row = rows_at(atoms, index)
        value = (residual * row).sum(-1) * going  # not the score, which has rounded more often
        value = value if signed else value.clamp_min(0.0)
        picks.append(Pick(index, value, row, residual))
        residual = residual - value.unsqueeze(-1) * row
        scores = residual @ atoms.mT if gram is None else scores - value.unsqueeze(-1) * rows_at(gram, index)
    return residual, picks


class _Residual(torch.autograd.Function):
    """The residual of a pursuit, differentiated through the magnitudes and residuals of all its steps.

    With v = <d, r> and r' = r - v d, the gradient g' at r' gives g = g' - <g', d> d at r and -v g' - <g', d> r at d;
    which atom is taken is held fixed. Forward costs one Gram row a step and sample instead of p inner products, and
    backward 2 d products.
    """

    @staticmethod
    def forward(ctx: Any, target: Tensor, atoms: Tensor, steps: int, tolerance: float, signed: bool) -> Tensor:
        residual, picks = pursue(target, atoms, steps, tolerance, signed)
        ctx.shape, ctx.picks = atoms.shape, picks
        return residual.clone() if residual is target else residual

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        slope = slopes[0]
        total = slope.new_zeros(ctx.shape)
        flat = total.view(-1, ctx.shape[-1])
        for index, value, row, before in reversed(ctx.picks):
            along = ((slope * row).sum(-1) * (value != 0.0)).unsqueeze(-1)
            change = value.unsqueeze(-1) * slope + along * before
            flat.index_add_(0, _flat(total, index), change.reshape(-1, ctx.shape[-1]), alpha=-1.0)
            slope = slope - along * row
        return slope, total, None, None, None


@final
class MatchingPursuitModule(SparseModule):
    """z and r by matching pursuit of x - b in unit rows of D, so that x = z D + b + r exactly; the loss is ||r||^2."""

    def __init__(self, spec: MatchingPursuitSAE, dim: int, rng: Rng) -> None:
        super().__init__()
        self.steps, self.tolerance, self.signed = spec.steps, spec.tolerance, spec.signed
        self.inference_steps = spec.steps if spec.inference_steps is None else spec.inference_steps
        self.decoder = drawn(unit_normal(spec.width, dim, rng))
        if spec.learn_bias:
            self.bias: Tensor = drawn(np.zeros(dim))
        else:
            self.register_buffer("bias", torch.zeros(dim, dtype=torch.float32))

    def encode(self, x: Tensor) -> Tensor:
        target = x - self.bias.unsqueeze(-2)
        _, picks = pursue(target, self.decoder, self.inference_steps, self.tolerance, self.signed)
        codes = target.new_zeros(*target.shape[:-1], self.decoder.shape[-2])
        for pick in picks:
            codes.scatter_add_(-1, pick.chosen.unsqueeze(-1), pick.value.unsqueeze(-1))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.decoder, self.bias)

    def residual(self, x: Tensor) -> Tensor:
        """Return r ``(..., B, d)`` after the steps of training, with its gradient."""
        target = x - self.bias.unsqueeze(-2)
        r: Tensor = _Residual.apply(target, self.decoder, self.steps, self.tolerance, self.signed)  # type: ignore[no-untyped-call]
        return r

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        residual = self.residual(x)
        return {"squared_error": squared_error(torch.zeros_like(residual), residual)}

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.bias

    def before_step(self) -> None:
        remove_radial_(self.decoder)

    def after_step(self, optimiser: Optimiser) -> None:
        normalise_(self.decoder)


@final
@dataclass(frozen=True)
class MatchingPursuitSAE(NeuralSolver):
    """Learns the atoms in which ``steps`` steps of matching pursuit leave the least residual (MP-SAE).

    From r = x - b, at most T times: j = argmax <d_j, r> (the lowest index among equals), v = <d_j, r>, z_j += v,
    r -= v d_j. So x = z D + b + r, every step is orthogonal to what it leaves, and ||r|| never grows. The loss is
    ||r||^2 after the last step, with gradients through v and r of all steps.

    A sample stops early where nothing has a positive projection, or where ||r|| <= ``tolerance``, in training and in
    inference. The released toy also stops a sample whose support did not change; that would end a legitimate second
    visit of an atom, and is left out. Atoms are unit rows after every step; the released code normalises them only at
    the start, and the energy falls only while ||d||^2 < 2. There is no revival of dead atoms, as in the released toy.

    Parameters
    ----------
    width : p, the number of atoms.
    steps : T of training; a sample has at most T nonzero codes, fewer where it visits an atom again.
    inference_steps : T of inference, at most; None is that of training.
    tolerance : of ||r||, in the scale of the training data, E||x - mean||^2 = d if they are normalised.
    signed : take the atom of largest |<d_j, r>|, so that codes may be negative: classical matching pursuit.
    learn_bias : learn b, from zero (the mean of normalised data); else it stays there.

    References
    ----------
    Costa et al. (2025), "From flat to hierarchical: extracting sparse representations with matching pursuit",
    arXiv 2506.03093, algorithm 1.
    """

    width: int
    steps: int
    inference_steps: int | None = None
    tolerance: float = 0.0
    signed: bool = False
    learn_bias: bool = True
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("steps", self.steps, 1)
        if self.inference_steps is not None:
            check_int("inference_steps", self.inference_steps, 1)
        check_real("tolerance", self.tolerance, 0.0)
        for name in ("signed", "learn_bias"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; got {getattr(self, name)!r}.")

    def module(self, dim: int, rng: Rng) -> MatchingPursuitModule:
        return MatchingPursuitModule(self, dim, rng)
