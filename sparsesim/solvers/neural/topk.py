"""The TopK autoencoder: exactly the k largest latents of each sample speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.selective import SelectiveModule, SelectiveSolver
from sparsesim.solvers.neural.sparse import select_rows


class TopKModule(SelectiveModule):
    """z = ReLU(TopK_k(u)), with AuxK for dead latents."""

    def select(self, u: Tensor) -> Tensor:
        return largest(u, self.k)

    def basic(self) -> bool:
        return type(self) is TopKModule

    def choose(self, u: Tensor) -> Selection:
        return select_rows(u, self.k)


@final
@dataclass(frozen=True)
class TopK(SelectiveSolver):
    """Learns atoms and an encoder that gives every sample at most ``k`` positive codes.

    u = (x - b_d) W_e + b_e,  z = ReLU(TopK_k(u)),  x_hat = z D + b_d with unit rows of D, and the loss

        mean_B ||x - x_hat||^2 + aux * V * NMSE(dead latents, x - x_hat),

    V times that of the paper (V the variance of the batch). Ties go to the lowest index. As in the paper the encoder
    starts as the transpose of the decoder; b_d starts at the mean of the data, not at the geometric median. Parameters
    are those of `SelectiveSolver`.

    References
    ----------
    Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093, section 2.3 and appendix A.
    """

    def module(self, dim: int, rng: Rng) -> TopKModule:
        return TopKModule(self, dim, rng)
