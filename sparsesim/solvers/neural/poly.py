"""The polynomial autoencoder: TopK codes, decoded with low-rank interactions of pairs and triples of latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.dead import DeadLatents
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, squared_error
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.selective import SelectiveSolver
from sparsesim.solvers.neural.solver import NeuralEncoder

STARTS = {2: -0.5, 3: 0.5}  # of the weights of the orders, as published


@final
class PolynomialModule(SparseModule):
    """x_hat = b + a C_1 + l_2 (a_{:R2})^2 C_2 + l_3 (a_{:R3})^3 C_3 with a = z U and powers entry by entry."""

    linear = False

    def __init__(self, spec: PolynomialSAE, dim: int, rng: Rng) -> None:
        super().__init__()
        self.k, self.pair_rank, self.triple_rank = int(spec.k), spec.pair_rank, spec.triple_rank
        rank = min(spec.width, dim) if spec.rank is None else spec.rank
        self.basis = drawn(_orthonormal(spec.width, rank, rng))
        # Rows of U C_1, the atoms of a single latent, start with a mean square norm of one.
        self.first = drawn(np.sqrt(spec.width / min(rank, dim)) * _orthonormal_map(rank, dim, rng))
        self.second = drawn(_uniform(spec.pair_rank, dim, rng))
        self.third = drawn(_uniform(spec.triple_rank, dim, rng))
        self.strengths = drawn(np.array([STARTS[2], STARTS[3]]))
        self.encoder = drawn(self.atoms().detach().numpy())
        self.encoder_bias = drawn(np.zeros(spec.width))
        self.bias = drawn(np.zeros(dim))
        self.dead = DeadLatents(spec.width, dim, spec.aux, spec.dead_after)

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return u ``(..., B, p)``."""
        return affine(x - self.bias.unsqueeze(-2), self.encoder.mT, self.encoder_bias)

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u * largest(u, self.k)

    def decode(self, codes: Tensor) -> Tensor:
        a = codes @ self.basis
        out = affine(a, self.first, self.bias)
        if self.pair_rank:
            out = out + self.strength(2) * (a[..., : self.pair_rank].square() @ self.second)
        if self.triple_rank:
            out = out + self.strength(3) * (a[..., : self.triple_rank].pow(3) @ self.third)
        return out

    def strength(self, order: int) -> Tensor:
        """Return l_2 or l_3, ``(..., 1, 1)``."""
        return self.strengths[..., order - 2, None, None]

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        kept = largest(u, self.k)
        reconstruction = self.decode(u * kept)
        aux = self.dead.revive(u, x, reconstruction, self.atoms())
        self.dead.observe(kept, step.index)
        return {"squared_error": squared_error(x, reconstruction), "aux": aux}

    def atoms(self) -> Tensor:
        return self.basis @ self.first

    def decoder_bias(self) -> Tensor:
        return self.bias

    def after_step(self, optimiser: Optimiser) -> None:
        q, r = torch.linalg.qr(self.basis)
        # The signs that make the diagonal of R positive make Q a continuous function of U.
        self.basis.copy_(q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2))


def _orthonormal(rows: int, columns: int, rng: Rng) -> FloatArray:
    """Return orthonormal columns ``(rows, columns)``, uniform up to rotation."""
    q, r = np.linalg.qr(rng.standard_normal((rows, columns)))
    columns_out: FloatArray = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return columns_out


def _orthonormal_map(rows: int, columns: int, rng: Rng) -> FloatArray:
    """Return a matrix ``(rows, columns)`` whose singular values are all one."""
    return _orthonormal(rows, columns, rng) if rows >= columns else _orthonormal(columns, rows, rng).T


def _uniform(rank: int, dim: int, rng: Rng) -> FloatArray:
    bound = 1.0 / np.sqrt(max(rank, 1))
    return rng.uniform(-bound, bound, (rank, dim))


@final
@dataclass(frozen=True)
class PolynomialSAE(SelectiveSolver):
    """Learns directions of single latents and of pairs and triples of latents that act together (PolySAE).

    Codes z as those of `TopK`; a = z U with orthonormal columns of U (p, R1), restored after each step by QR, and

        x_hat = b + a C_1 + l_2 (a_{:R2} * a_{:R2}) C_2 + l_3 (a_{:R3} * a_{:R3} * a_{:R3}) C_3.

    The loss is that of `TopK`. The atoms are the rows of U C_1, the linearisation at z = 0; the decoder is not linear,
    and `interaction` reads what pairs and triples add. C_2, C_3 start uniform within 1 / sqrt(rank), l_2 = -1/2 and
    l_3 = 1/2 are learned. Variants with separate U for each factor are left out. The other parameters are those of
    `SelectiveSolver`.

    Parameters
    ----------
    rank : R1 >= R2 >= R3 of U; None is min(width, d).
    pair_rank, triple_rank : R2 and R3; 0 leaves the order out.

    References
    ----------
    PolySAE (2026), released code pakoromilas/PolySAE.
    """

    rank: int | None = None
    pair_rank: int = 8
    triple_rank: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank is not None:
            check_int("rank", self.rank, 1, self.width, high_name="width")
        check_int("pair_rank", self.pair_rank, 0, self.rank or self.width, high_name="rank")
        check_int("triple_rank", self.triple_rank, 0, self.pair_rank, high_name="pair_rank")

    def module(self, dim: int, rng: Rng) -> PolynomialModule:
        if self.pair_rank > (self.rank or min(self.width, dim)):
            raise ValueError(
                f"pair_rank must be at most the rank of U, min(width, d)={min(self.width, dim)}; got {self.pair_rank}. "
                "Lower it, or give a rank up to the width."
            )
        return PolynomialModule(self, dim, rng)


def interaction(fitted: FittedDictionary, latents: IntArray) -> FloatArray:
    """Return the direction ``(t, d)`` that each of t pairs ``(t, 2)`` or triples ``(t, 3)`` of latents adds together.

    It is the mixed derivative of ``fitted.decode`` at zero: the product of the codes of the pair times the direction is
    what the decoder adds to its linear part, 2 l_2 (U_i * U_j) C_2 for a pair, 6 l_3 (U_i * U_j * U_k) C_3 for a
    triple, in the units of the data and of codes with the norms of atoms folded in. Latents of one set are distinct.

    Raises
    ------
    TypeError, ValueError
        If ``fitted`` was not learned by `PolynomialSAE`, or ``latents`` are not sets of 2 or 3 distinct latents.
    """
    encoder = fitted.encoder
    if not isinstance(encoder, NeuralEncoder) or not isinstance(encoder.module, PolynomialModule):
        raise TypeError(f"fitted must be a fit of PolynomialSAE with its own encoder; got the encoder {encoder!r}.")
    sets = np.asarray(latents)
    if sets.ndim != 2 or sets.shape[1] not in (2, 3) or not np.issubdtype(sets.dtype, np.integer):
        raise ValueError(f"latents must be integers of shape (t, 2) or (t, 3); got {sets.dtype} {sets.shape}.")
    if sets.size and (sets.min() < 0 or sets.max() >= fitted.width or (np.diff(np.sort(sets), axis=1) == 0).any()):
        raise ValueError(f"latents of a set must be distinct and lie in [0, width={fitted.width}); got {sets!r:.200}.")
    module, order = encoder.module, sets.shape[1]
    output = (module.second if order == 2 else module.third).double().numpy()
    basis = module.basis.double().numpy()[:, : len(output)]
    factor = {2: 2.0, 3: 6.0}[order] * float(module.strengths[order - 2])
    gauge = (encoder.norms * encoder.scale)[sets].prod(axis=1)
    direction: FloatArray = factor * encoder.scale * (basis[sets].prod(axis=1) @ output) / gauge[:, None]
    return direction
