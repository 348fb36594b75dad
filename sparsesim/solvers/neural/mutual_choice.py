"""Mutual choice: the largest of all pairs of sample and latent of a batch speak; underused latents are revived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.batch_topk import BatchTopKModule
from sparsesim.solvers.neural.selective import SelectiveSolver
from sparsesim.solvers.neural.underused import UnderusedLatents, zipf_shares


@final
class MutualChoiceModule(BatchTopKModule):
    """BatchTopK with AuxK for underused latents."""

    def __init__(self, spec: MutualChoice, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        expected = zipf_shares(spec.width, spec.exponent, spec.shift)
        self.dead = UnderusedLatents(dim, spec.aux, spec.dead_after, expected)


@final
@dataclass(frozen=True)
class MutualChoice(SelectiveSolver):
    """Learns atoms and an encoder by `BatchTopK` with an auxiliary loss for latents that are used less than expected.

    The B k largest pairs (sample, latent) of a batch speak. AuxK is given to every latent whose share of all firing is
    below half of what its rank has under (rank + shift)^-exponent; ``exponent`` = 0 expects equal use. The two
    parameters are declared, where the paper fits them. The others are those of `SelectiveSolver`; ``dead_after`` is the
    time constant, in steps, of the shares.

    Parameters
    ----------
    exponent, shift : of the rank law of use.

    References
    ----------
    Ayonrinde (2024), "Adaptive sparse allocation with mutual choice and feature choice sparse autoencoders",
    arXiv 2411.02124.
    """

    whole: ClassVar[bool] = False

    exponent: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("exponent", self.exponent, 0.0)
        check_real("shift", self.shift, 0.0)

    def module(self, dim: int, rng: Rng) -> MutualChoiceModule:
        return MutualChoiceModule(self, dim, rng)
