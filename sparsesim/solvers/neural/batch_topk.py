"""The BatchTopK autoencoder: the B k largest latents of the batch speak, so samples may differ in their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selection import largest_of_batch
from sparsesim.solvers.neural.selective import SelectiveModule, SelectiveSolver
from sparsesim.solvers.neural.sparse import select_batches
from sparsesim.solvers.neural.threshold import BatchThreshold


class BatchTopKModule(SelectiveModule):
    """z = u on the B k largest positive entries of the batch; in inference z = u where u exceeds a threshold."""

    def __init__(self, spec: SelectiveSolver, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.threshold = BatchThreshold()

    def select(self, u: Tensor) -> Tensor:
        return largest_of_batch(u, self.k)

    def basic(self) -> bool:
        return type(self) is BatchTopKModule

    def choose(self, u: Tensor) -> Selection:
        return select_batches(u, self.k)

    def encode(self, x: Tensor) -> Tensor:
        return self.threshold.apply_to(self.pre_activations(x))

    def selected(self, values: Tensor, chosen: Selection) -> None:
        self.threshold.observe_smallest(chosen.smallest(values))


@final
@dataclass(frozen=True)
class BatchTopK(SelectiveSolver):
    """Learns atoms and an encoder that gives samples ``k`` positive codes on average, more to those that need more.

    As `TopK`, but training keeps the B k largest entries of ReLU(u) of the whole batch; k may be a fraction. Inference
    knows no batch: z = u * 1[u > theta], theta the running mean of the smallest kept entry of the training batches.
    Parameters are those of `SelectiveSolver`.

    References
    ----------
    Bussmann, Leask, Nanda (2024), "BatchTopK sparse autoencoders", arXiv 2412.06410, section 3.
    """

    whole: ClassVar[bool] = False

    def module(self, dim: int, rng: Rng) -> BatchTopKModule:
        return BatchTopKModule(self, dim, rng)
