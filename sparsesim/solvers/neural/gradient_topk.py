"""The gradient autoencoder: latents are ranked by what they contribute to a later loss as well as by their value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.downstream import Downstream, LinearReadout
from sparsesim.solvers.neural.samplewise import SampleWiseModule
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.selective import SelectiveSolver

MODES = ("sum", "product")


@final
class GradientTopKModule(SampleWiseModule):
    """z = u on the k largest scores of ReLU(u) and |D g(x)|."""

    beta: Tensor

    def __init__(self, spec: GradientTopK, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.map, self.mode, self.blind = spec.downstream.module(dim), spec.mode, spec.blind
        self.register_buffer("beta", torch.tensor(spec.beta, dtype=torch.float32))

    def influence(self, x: Tensor) -> Tensor:
        """Return |<d_j, g(x)>| over its largest for the sample, ``(..., B, p)``; ones where the gradient is zero."""
        along = (self.map.gradient(x) @ self.decoder.detach().mT).abs()
        most = along.amax(-1, keepdim=True)
        return torch.where(most > 0.0, along / torch.where(most > 0.0, most, 1.0), 1.0)

    def select_for(self, u: Tensor, x: Tensor) -> Tensor:
        value, beta = u.detach().relu(), self.beta[..., None, None]
        if self.blind and not self.training:
            return largest(value, self.k)
        influence = self.influence(x)
        weight = 1.0 + beta * influence if self.mode == "sum" else influence.pow(beta)
        return largest(value * weight, self.k)


@final
@dataclass(frozen=True)
class GradientTopK(SelectiveSolver):
    """Learns atoms as `TopK`, but ranks a latent by its value and by how much the later loss feels its atom.

    With g(x) the gradient of ||y(x)||^2 / 2 of a frozen map y and s_j = |<d_j, g>| / max_i |<d_i, g>|, the k largest of

        ReLU(u_j) (1 + beta s_j)  ("sum"),        ReLU(u_j) s_j^beta  ("product")

    keep their values u_j. Everything else is `TopK`, as is the whole for ``beta`` = 0 or g = 0. The gradient is
    taken at the sample, held fixed, and scaled for each sample since its size is arbitrary. A summary of the paper
    says that beta z |D g| augments the choice of TopK; whether that is added to z ("sum") or ranked alone ("product",
    ``beta`` = 1) was not read, nor what inference does without gradients. The other parameters are those of
    `SelectiveSolver`.

    Parameters
    ----------
    downstream : the frozen map.
    beta : weight of the gradient.
    mode : "sum" or "product".
    blind : inference knows no gradient and ranks as `TopK` does.

    References
    ----------
    Olmo, Wilson, Forsey, Hepner, Howe, Wingate (2024), "Features that make a difference", arXiv 2411.10397.
    """

    downstream: Downstream = field(default_factory=lambda: LinearReadout(1))
    beta: float = 1.0
    mode: str = "sum"
    blind: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.downstream, Downstream):
            raise TypeError(f"downstream must be a frozen map, e.g. LinearReadout(4); got {self.downstream!r}.")
        check_real("beta", self.beta, 0.0)
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}; got {self.mode!r}.")
        if not isinstance(self.blind, bool):
            raise TypeError(f"blind must be True or False; got {self.blind!r}.")

    def module(self, dim: int, rng: Rng) -> GradientTopKModule:
        return GradientTopKModule(self, dim, rng)
