"""The AbsTopK autoencoder: the k latents of largest magnitude speak, with their sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.dead import DeadLatents
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selection import largest_magnitude
from sparsesim.solvers.neural.selective import SelectiveModule, SelectiveSolver
from sparsesim.solvers.neural.sparse import select_rows


@final
class AbsTopKModule(SelectiveModule):
    """z = H_k(u), the hard threshold; AuxK ranks dead latents by magnitude too, without a ReLU."""

    def __init__(self, spec: AbsTopK, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.dead = DeadLatents(spec.width, dim, spec.aux, spec.dead_after, signed=True)

    def select(self, u: Tensor) -> Tensor:
        return largest_magnitude(u, self.k)

    def basic(self) -> bool:
        return type(self) is AbsTopKModule

    def choose(self, u: Tensor) -> Selection:
        return select_rows(u, self.k, magnitude=True)


@final
@dataclass(frozen=True)
class AbsTopK(SelectiveSolver):
    """Learns atoms and an encoder whose codes have at most ``k`` entries of either sign.

    z = H_k(u) = argmin over ||z||_0 <= k of ||u - z||^2, the proximal map of the indicator of k-sparse vectors, where
    `TopK` projects onto the non-negative ones: one atom carries a feature and its opposite. u, decoder, loss and AuxK
    are those of `TopK`, but for the ReLU in AuxK; the source states neither AuxK nor the constraint of the decoder. An
    atom and its code are known up to a common sign, so compare by |cosine|. Parameters are those of `SelectiveSolver`.

    References
    ----------
    Zhu, Khalili, Zhu (2025), "AbsTopK: rethinking sparse autoencoders for bidirectional features", arXiv 2510.00404.
    """

    def module(self, dim: int, rng: Rng) -> AbsTopKModule:
        return AbsTopKModule(self, dim, rng)
