"""A group lasso on the decoder: each latent speaks to few groups of coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.pieces import UnitDecoder
from sparsesim.solvers.neural.vae import GaussianVAEModule
from sparsesim.solvers.neural.wrapped import WrappedModule, WrappedSolver

Groups = tuple[tuple[int, ...], ...]


def check_partition(groups: Groups, dim: int) -> FloatArray:
    """Return the 0/1 membership ``(d, G)`` of ``groups``, which must hold each of ``dim`` coordinates once.

    Raises
    ------
    ValueError
        If they do not.
    """
    listed = [index for group in groups for index in group]
    if sorted(listed) != list(range(dim)) or not all(groups):
        raise ValueError(
            f"groups must hold each of the {dim} coordinates once, and none may be empty; got {groups!r:.200}."
        )
    membership = np.zeros((dim, len(groups)))
    for column, group in enumerate(groups):
        membership[list(group), column] = 1.0
    return membership


def group_norms(atoms: FloatArray, groups: Groups) -> FloatArray:
    """Return how loudly each atom speaks to each group, ``(G, p)``: ||atoms[j, g]||_2 of ``atoms (p, d)``."""
    return np.asarray(np.sqrt(np.square(atoms) @ check_partition(groups, atoms.shape[1])).T)


def shrink_groups(rows: Tensor, membership: Tensor, threshold: Tensor) -> Tensor:
    """Return the prox of threshold * sum_g ||rows[j, g]||_2: each block w becomes w max(1 - threshold / ||w||, 0).

    ``rows (..., p, d)``, ``membership (..., d, G)``, ``threshold`` ``()`` or ``(E,)``. Blocks that vanish are exact
    zeros.
    """
    norms = (rows.square() @ membership).sqrt()
    least = torch.finfo(norms.dtype).tiny
    factor = (1.0 - threshold[..., None, None] / norms.clamp_min(least)).clamp_min(0.0)
    return rows * (factor @ membership.mT)


@final
class OutputGroupsModule(WrappedModule):
    """The host, whose decoder goes through the prox of the group lasso after each step."""

    thresholds: Tensor
    membership: Tensor

    def __init__(self, host: SparseModule, membership: FloatArray, thresholds: FloatArray) -> None:
        super().__init__(host)
        if not isinstance(host, UnitDecoder | GaussianVAEModule) or not host.linear:
            raise TypeError(
                "host must be a solver with a linear decoder that cannot shrink while its codes grow: GaussianVAE, or "
                f"one with unit atoms such as ReLUL1 or TopK; got one with {type(host).__name__}."
            )
        self.register_buffer("membership", torch.tensor(membership, dtype=torch.float32))
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float32))
        self._index = 0

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        self._index = step.index
        return self.host.losses(x, step)

    def after_step(self, optimiser: Optimiser) -> None:
        host: Any = self.host
        host.decoder.copy_(shrink_groups(host.decoder, self.membership, self.thresholds[..., self._index]))
        host.after_step(optimiser)


@final
@dataclass(frozen=True)
class OutputGroups(WrappedSolver):
    """Trains ``host`` under penalty * sum_g sum_j ||D[j, g]||_2: each latent speaks to few ``groups`` of coordinates.

    After each Adam step of rate eta each block of the decoder goes through the prox, w <- w max(1 - eta * penalty /
    ||w||, 0), which makes exact zeros. With `GaussianVAE` as the host it is the output-interpretable VAE with linear
    generators x_g = z W_g + b_g: the prior keeps the codes at unit scale, so that a decoder cannot evade the penalty by
    shrinking. Atoms of unit norm are renormalised after the prox, and the penalty then decides how few groups share
    that norm.

    As in released code the threshold knows eta but not how Adam scales each weight: a weight moves by about eta a step
    wherever its gradient has one sign, so that ``penalty`` is a pure number, the share of such a step that is taken
    back, and what is reached is no minimum of the loss plus the penalty. The penalty of SparseJEPA is this one, by
    summaries; its formula was not read. The normal prior on the weights of nonlinear generators is not needed here.

    Parameters
    ----------
    host : `GaussianVAE`, or a solver with a unit-norm decoder.
    groups : each coordinate in one group.
    penalty : lambda.

    References
    ----------
    Ainsworth, Foti, Lee, Fox (2018), "oi-VAE: output interpretable VAEs for nonlinear group factor analysis", arXiv
    1802.06765.
    """

    groups: Groups = ()
    penalty: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("penalty", self.penalty, 0.0)
        if not isinstance(self.groups, tuple) or not all(isinstance(group, tuple) for group in self.groups):
            raise TypeError(f"groups must be a tuple of tuples of coordinates; got {self.groups!r:.200}.")
        for place, group in enumerate(self.groups):
            for index in group:
                check_int(f"groups[{place}]", index, 0)

    def module(self, dim: int, rng: Rng) -> OutputGroupsModule:
        membership = check_partition(self.groups, dim)
        return OutputGroupsModule(self.host.module(dim, rng), membership, self.penalty * self.training.rates())
