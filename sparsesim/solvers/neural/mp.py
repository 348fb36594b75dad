"""The matching pursuit autoencoder: the encoder is a pursuit in the atoms of the decoder, trained through all steps."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.kernels import unrolled as kernels
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.device.unrolled import Unrolled, unroll, unroll_back
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, normalise_, remove_radial_, squared_error, unit_normal
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

NOISE = 8.0  # units of rounding, relative to the sample, below which a residual or a projection is no signal


@final
@dataclass(frozen=True, eq=False)
class Pursuit:
    """The steps of E B pursuits: atoms ``(E B, T)`` among the E p of all members, magnitudes, numbers of steps."""

    chosen: npt.NDArray[np.int64]
    value: npt.NDArray[Any]
    count: npt.NDArray[np.int64]

    def codes(self, like: Tensor, width: int) -> Tensor:
        """Return the sums of the magnitudes by atom, ``(..., B, p)``."""
        codes = like.new_zeros(*like.shape[:-1], width)
        taken = np.arange(self.chosen.shape[1]) < self.count[:, None]
        rows, _ = np.nonzero(taken)
        np.add.at(codes.view(-1, width).numpy(), (rows, self.chosen[taken] % width), self.value[taken])
        return codes


def pursue(
    target: Tensor, atoms: Tensor, steps: int, tolerance: float, signed: bool
) -> tuple[Tensor, Pursuit | Unrolled]:
    """Return the residual ``(..., B, d)`` of matching pursuit in ``atoms (..., p, d)`` after at most ``steps`` steps.

    A row stops where its residual is at most ``tolerance`` or no atom has a positive projection (``signed``: a nonzero
    one), both up to rounding. Correlations follow the Gram matrix: a step costs 2 p + 2 d products a row.
    """
    target, atoms = target.detach(), atoms.detach().contiguous()
    if not place.on_host(target):
        return unroll(target, atoms, steps, (tolerance, NOISE * torch.finfo(target.dtype).eps), signed)
    residual, scores = target.clone(memory_format=torch.contiguous_format), target @ atoms.mT
    gram = (atoms @ atoms.mT).view(-1, atoms.shape[-2], atoms.shape[-2])
    rows, dtype = residual.view(-1, residual.shape[-1]).numpy(), residual.numpy().dtype
    picked = Pursuit(np.zeros((len(rows), steps), np.int64), np.zeros((len(rows), steps), dtype), _none(len(rows)))
    limits = np.array([tolerance, NOISE * np.finfo(dtype).eps], dtype)
    table = atoms.view(-1, rows.shape[1]).numpy()
    out = (picked.chosen, picked.value, picked.count)
    kernels.unroll_(rows, scores.view(len(rows), -1).numpy(), table, gram.numpy(), limits, signed, out)
    return residual, picked


def _none(count: int) -> npt.NDArray[np.int64]:
    return np.zeros(count, np.int64)


class _Residual(torch.autograd.Function):
    """The residual of a pursuit, differentiated through the magnitudes and residuals of all its steps.

    Which atom is taken is held fixed. Backward costs 5 d products a step and row.
    """

    @staticmethod
    def forward(ctx: Any, target: Tensor, atoms: Tensor, steps: int, tolerance: float, signed: bool) -> Tensor:
        residual, ctx.pursuit = pursue(target, atoms, steps, tolerance, signed)
        ctx.save_for_backward(residual, atoms)
        return residual

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        residual, atoms = ctx.saved_tensors
        if isinstance(ctx.pursuit, Unrolled):
            return *unroll_back(slopes[0], residual, atoms.detach(), ctx.pursuit), None, None, None
        slope, total = slopes[0].clone(memory_format=torch.contiguous_format), torch.zeros_like(atoms)
        left = residual.detach().clone()
        d, done = atoms.shape[-1], ctx.pursuit
        g, r, table, out = (t.view(-1, d).numpy() for t in (slope, left, atoms.detach().contiguous(), total))
        kernels.unroll_back_(g, r, table, (done.chosen, done.value, done.count), out)
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
        _, found = pursue(target, self.decoder, self.inference_steps, self.tolerance, self.signed)
        return found.codes(target, self.decoder.shape[-2])

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

    def repeats(self, index: int) -> Hashable | None:
        return ()

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
