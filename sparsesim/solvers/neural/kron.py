"""The Kronecker autoencoder: a latent speaks where both of its two factors do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from torch import Tensor

from sparsesim._arrays import Rng, check_int, unit_rows
from sparsesim.solvers.neural.dense import dense_losses
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import affine, drawn
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.selective import SelectiveModule, SelectiveSolver

SMOOTH = 1e-5  # epsilon of `mand`


def mand(a: Tensor, b: Tensor) -> Tensor:
    """Return sqrt(ab + eps) - sqrt(eps) where a > 0 and b > 0, else exactly 0: a smooth "and" with bounded slopes.

    sqrt(ab) itself has the slope sqrt(b / a) / 2, infinite at a = 0; here it is at most b / (2 sqrt(eps)), with
    eps = 1e-5. Written as ab / (sqrt(ab + eps) + sqrt(eps)) nothing cancels.
    """
    product = a.relu() * b.relu()
    both: Tensor = product / ((product + SMOOTH).sqrt() + SMOOTH**0.5)
    return both


@final
class KronModule(SelectiveModule):
    """TopK of the pairwise `mand` of two small layers, head by head; the encoder has h (m + n) rows."""

    def __init__(self, spec: KronSAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        del self.encoder, self.encoder_bias  # p rows, which the two layers replace
        self.heads, self.sides = spec.heads, (spec.left, spec.right)
        deviation = 1.0 / np.sqrt(2.0 * spec.width)
        first, second = (deviation * rng.standard_normal((spec.heads, side, dim)) for side in self.sides)
        self.left, self.right = drawn(first.reshape(-1, dim)), drawn(second.reshape(-1, dim))
        self.left_bias, self.right_bias = (drawn(np.zeros(spec.heads * side)) for side in self.sides)
        atoms, _ = unit_rows((first[:, :, None] + second[:, None]).reshape(-1, dim))
        self.decoder = drawn(atoms)

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return z ``(..., B, p)`` before the choice, latent (head, i, j) at (head m + i) n + j."""
        a = affine(x, self.left.mT, self.left_bias).view(*x.shape[:-1], self.heads, self.sides[0], 1)
        b = affine(x, self.right.mT, self.right_bias).view(*x.shape[:-1], self.heads, 1, self.sides[1])
        return mand(a, b).flatten(-3)

    def select(self, u: Tensor) -> Tensor:
        return largest(u, self.k)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u = self.pre_activations(x)
        return dense_losses(self, x, u, u, self.select(u), step)


@final
@dataclass(frozen=True)
class KronSAE(SelectiveSolver):
    """Learns atoms in heads of ``left`` x ``right``, each latent the "and" of one unit of either side.

    For head k u = P_k x + b and v = Q_k x + c, the latent (k, i, j) is sqrt(u_i v_j) where both are positive, else zero
    (see `mand`), the k largest of all p = heads * left * right speak, and x_hat = z D + b_d with unit rows of D. The
    encoder has d p (1 / left + 1 / right) weights instead of d p. Before the choice the latents of a head that speak
    form a rectangle. There is no pre-bias. Rows of P and Q start as N(0, 1 / 2p), atoms as P_k,i + Q_k,j, normalised.
    The paper's listing has sqrt(ReLU ReLU + 1e-5), which is positive for latents that do not speak. The loss is that of
    `TopK`; the other parameters are those of `SelectiveSolver`.

    Parameters
    ----------
    left, right : m <= n, units on either side of a head; their product divides the width.

    References
    ----------
    Kurochkin, Aksenov, Laptev, Gavrilov, Balagansky (2025), "Kronecker factorization improves efficiency and
    interpretability of sparse autoencoders", arXiv 2505.22255.
    """

    left: int = 2
    right: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("right", self.right, 1)
        check_int("left", self.left, 1, self.right, high_name="right")
        if self.width % (self.left * self.right):
            raise ValueError(
                f"left * right must divide width={self.width}; got {self.left} * {self.right}. "
                f"Use width={self.left * self.right * -(-self.width // (self.left * self.right))}."
            )

    @property
    def heads(self) -> int:
        """The number of heads, width / (left * right)."""
        return self.width // (self.left * self.right)

    def module(self, dim: int, rng: Rng) -> KronModule:
        return KronModule(self, dim, rng)
