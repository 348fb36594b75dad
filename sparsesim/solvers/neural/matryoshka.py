"""The Matryoshka autoencoder: every prefix of the latents has to reconstruct the sample on its own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, final

import numpy as np
from torch import Tensor

from sparsesim._arrays import Rng, check_int
from sparsesim._identity import Role, stream
from sparsesim.solvers.neural.batch_topk import BatchTopKModule
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import squared_error
from sparsesim.solvers.neural.selected import Selection
from sparsesim.solvers.neural.selective import SelectiveSolver
from sparsesim.solvers.neural.sparse import decoded

SHARES = (1 / 32, 3 / 32, 7 / 32, 15 / 32, 1.0)  # the published prefixes, as shares of their width of 65536
_STREAM = 41  # tells the random prefixes of a seed from the other random laws of that seed


@final
@dataclass(frozen=True)
class RandomPrefixes:
    """Prefixes drawn anew at each step: p itself and ``count`` - 1 distinct lengths L below it.

    They are drawn one by one in proportion to sqrt(L) - sqrt(L - 1), short ones more often than long ones.
    They are a function of ``seed`` and of the step alone, so that members of an ensemble share them.
    """

    count: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("count", self.count, 1)
        check_int("seed", self.seed, 0)

    def lengths(self, width: int, index: int) -> tuple[int, ...]:
        """Return the ascending prefix lengths of step ``index``, the last of them ``width``."""
        weights = np.diff(np.sqrt(np.arange(width)))
        fewer = min(self.count, width) - 1
        rng = stream(self.seed, Role.LAW, _STREAM, index)
        drawn = rng.choice(width - 1, fewer, replace=False, p=weights / weights.sum()) + 1 if fewer else ()
        return (*sorted(int(length) for length in drawn), width)


def check_prefixes(prefixes: object, width: int) -> None:
    """Check the field ``prefixes`` of a solver of that ``width``: ascending lengths that end there, or random ones."""
    if isinstance(prefixes, RandomPrefixes):
        return
    if not isinstance(prefixes, tuple):
        raise TypeError(f"prefixes must be a tuple of lengths or RandomPrefixes; got {prefixes!r}.")
    for length in prefixes:
        check_int("a prefix", length, 1, width, high_name="width")
    if prefixes and (list(prefixes) != sorted(set(prefixes)) or prefixes[-1] != width):
        raise ValueError(f"prefixes must ascend and end at width={width}; got {prefixes!r}.")


def prefix_lengths(prefixes: tuple[int, ...] | RandomPrefixes, width: int) -> tuple[int, ...]:
    """Return the prefix lengths that do not change: those given, or the published shares of ``width``."""
    if isinstance(prefixes, tuple) and prefixes:
        return prefixes
    return tuple(sorted({max(1, round(share * width)) for share in SHARES}))


@final
class MatryoshkaModule(BatchTopKModule):
    """BatchTopK whose squared error is summed over the reconstructions from prefixes of the latents."""

    def __init__(self, spec: Matryoshka, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        random = spec.prefixes if isinstance(spec.prefixes, RandomPrefixes) else None
        self.prefixes = () if random else spec.lengths()
        self.random = () if random is None else (random,)  # a tuple, so that the members of an ensemble must agree
        self.current = self.prefixes

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        for random in self.random:
            self.current = random.lengths(self.decoder.shape[-2], step.index)
        return super().losses(x, step)

    def errors(self, x: Tensor, u: Tensor, values: Tensor, chosen: Selection) -> tuple[dict[str, Tensor], Tensor]:
        parts = self.nested(values, chosen, self.current)
        error = squared_error(x, parts[0])
        for part in parts[1:]:
            error = error + squared_error(x, part)
        return {"squared_error": error}, parts[-1]

    def nested(self, values: Tensor, chosen: Selection, lengths: tuple[int, ...]) -> list[Tensor]:
        """Return the reconstruction ``(..., B, d)`` from each prefix; together they cost one decoding."""
        running, parts = self.bias.unsqueeze(-2), []
        for low, high in pairwise((0, *lengths)):
            part, places = chosen.restricted(low, high)
            running = decoded(values[places], self.decoder, part) + running
            parts.append(running)
        return parts


@final
@dataclass(frozen=True)
class Matryoshka(SelectiveSolver):
    """Learns atoms of which the first m_1, the first m_2, ... and all reconstruct, general features first.

    Codes z are those of `BatchTopK`, over all latents; x_hat_g = z[:m_g] D[:m_g] + b_d, and the loss is

        sum_g mean_B ||x - x_hat_g||^2 + AuxK(x - x_hat_G).

    The terms are summed as in the paper's listing; some implementations average, or add the error of b_d alone.
    Inference is that of `BatchTopK`; codes cut to a prefix are codes of that prefix. With one prefix it is `BatchTopK`.
    The other parameters are those of `SelectiveSolver`.

    Parameters
    ----------
    prefixes : the ascending lengths m_1 < ... < m_G = width; none stands for the published shares 1/32, 3/32, 7/32,
        15/32 and 1 of the width. `RandomPrefixes` draws them anew at each step; their source has a ReLU
        with an L1 penalty instead of BatchTopK and averages, as `PenalisedMatryoshka` does.

    References
    ----------
    Bussmann, Nabeshima, Karvonen, Nanda (2025), "Learning multi-level features with Matryoshka sparse autoencoders",
    arXiv 2503.17547.
    """

    whole: ClassVar[bool] = False

    prefixes: tuple[int, ...] | RandomPrefixes = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prefixes(self.prefixes, self.width)

    def lengths(self) -> tuple[int, ...]:
        """Return the prefix lengths that do not change."""
        return prefix_lengths(self.prefixes, self.width)

    def module(self, dim: int, rng: Rng) -> MatryoshkaModule:
        return MatryoshkaModule(self, dim, rng)
