"""Feature-aligned autoencoders: several at once, each rewarded for atoms that the others have found as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import final

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from sparsesim._arrays import Rng, check_int, check_real, read_only, unit_rows
from sparsesim._identity import fork
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.restarting import Restarter, Restarting, check_restarting
from sparsesim.solvers.neural.solver import NeuralDecoder, NeuralEncoder, NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


def matched_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean cosine ``()`` or ``(E,)`` of the rows of two dictionaries, matched one-to-one to maximise it.

    The matching (Hungarian method, on the CPU) is held fixed in the gradient. A GPU is waited for: the cosines go to
    the host and the matching comes back. The method goes from row to row along paths that depend on the numbers; forms
    that would keep a GPU busy (auctions) end after a number of rounds that depends on them, too, so that they would ask
    the host when to stop, or be cut off and not be the best matching.
    """
    cosines = nn.functional.normalize(a, dim=-1) @ nn.functional.normalize(b, dim=-1).mT
    tables = cosines.detach().reshape(-1, *cosines.shape[-2:]).cpu().numpy()
    columns = np.stack([linear_sum_assignment(table, maximize=True)[1] for table in tables])
    index = torch.from_numpy(columns).to(cosines.device).view(*cosines.shape[:-1], 1)
    return cosines.gather(-1, index).mean((-2, -1))


@final
class AlignedModule(SparseModule):
    """K models of one kind, side by side; the first of them encodes and decodes."""

    alignment: Tensor

    def __init__(
        self, peers: list[SparseModule], alignment: float, ramp: int, restarters: Sequence[Restarter] = ()
    ) -> None:
        super().__init__()
        self.peers, self.restarters = nn.ModuleList(peers), nn.ModuleList(restarters)
        self.ramp, self.linear = ramp, peers[0].linear
        self.register_buffer("alignment", torch.tensor(alignment, dtype=torch.float32))

    def models(self) -> list[SparseModule]:
        """Return the K models."""
        return [peer for peer in self.peers if isinstance(peer, SparseModule)]

    def _watched(self) -> list[tuple[Restarter, SparseModule]]:
        """Return each model that may begin again with what watches it; none without restarting."""
        restarters = [one for one in self.restarters if isinstance(one, Restarter)]
        return list(zip(restarters, self.models(), strict=True)) if restarters else []

    def prime(self, sample: Tensor, rng: Rng) -> None:
        first, *others = self.models()
        first.prime(sample, rng)
        for peer, own in zip(others, fork(rng, len(others)), strict=True):
            peer.prime(sample, own)

    def encode(self, x: Tensor) -> Tensor:
        return self.models()[0].encode(x)

    def decode(self, codes: Tensor) -> Tensor:
        return self.models()[0].decode(codes)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for peer in self.models():
            for name, value in peer.losses(x, step).items():
                terms[name] = terms[name] + value if name in terms else value
        for restarter, peer in self._watched():
            restarter.observe(peer.encode(x.detach()), step.index)
        # Once, not once a peer: so each parameter moves on its own model's loss with the whole consensus term.
        rise = 0.5 - 0.5 * float(np.cos(np.pi * min(step.index / self.ramp, 1.0)))
        return {**terms, "alignment": (self.alignment * rise) * self.disagreement()}

    def disagreement(self) -> Tensor:
        """Return one minus the matched similarity, averaged over pairs of models, ``()`` or ``(E,)``."""
        pairs = list(combinations([peer.atoms() for peer in self.models()], 2))
        return torch.stack([1.0 - matched_similarity(a, b) for a, b in pairs]).mean(0)

    def atoms(self) -> Tensor:
        return self.models()[0].atoms()

    def decoder_bias(self) -> Tensor:
        return self.models()[0].decoder_bias()

    def before_step(self) -> None:
        for peer in self.models():
            peer.before_step()

    def after_step(self, optimiser: Optimiser) -> None:
        for peer in self.models():
            peer.after_step(optimiser)
        for restarter, peer in self._watched():
            restarter.restart(peer, optimiser)


@final
@dataclass(frozen=True)
class FeatureAligned(NeuralSolver):
    """Learns K dictionaries at once that are drawn to each other's atoms (mutual feature regularisation).

    The loss of model a is that of ``base`` and alignment * w(t) * mean over pairs (1 - MMCS(D_a, D_b)), with MMCS the
    mean cosine of the decoder rows under the best one-to-one matching, held fixed in the gradient, and w a cosine rise
    over the first ``ramp`` steps; each parameter moves on the loss of its own model. The fit is the first model;
    `peers` returns all. With alignment 0 it is the fit of ``base``.

    The penalty of the released code is relative to a squared error averaged over d, and so is alignment / d here (0.005
    for GPT-2; its synthetic configuration has 0). Its models have tied weights, signed codes (TopK without ReLU) and no
    decoder bias; here models are those of ``base``. There, a model whose firing rates go astray begins again
    (`Restarting`), by a rule that is right for k / p = 1/16 alone; here none does unless ``restarting`` is given.

    On a GPU this is the one solver whose steps wait for the host, which solves the assignment problems.

    Parameters
    ----------
    base : the solver of each model; its training is that of all.
    peers : K, at least 2.
    alignment : weight of the disagreement, in units of the squared error.
    ramp : steps until the weight is reached.
    restarting : when a model begins again; ``Restarting()`` is the released rule for any k / p, and
        ``Restarting(rate=1/16)`` the released one. Not for a base whose first weights depend on data.

    References
    ----------
    Marks et al. (2024), "Enhancing neural network interpretability with feature-aligned sparse autoencoders",
    arXiv 2411.01220, section 3.
    """

    base: NeuralSolver
    peers: int = 2
    alignment: float = 1.0
    ramp: int = 100
    restarting: Restarting | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.base, NeuralSolver):
            raise TypeError(f"base must be a gradient-trained solver such as TopK(24, 3); got {self.base!r}.")
        check_neural(self)
        check_int("peers", self.peers, 2)
        check_real("alignment", self.alignment, 0.0)
        check_int("ramp", self.ramp, 1)
        check_restarting(self.restarting)
        if self.restarting is not None:
            self.restarting.expected(self.base)

    @property
    def width(self) -> int:  # type: ignore[override]
        """Return p, that of ``base``."""
        return self.base.width

    @property
    def training(self) -> Training:  # type: ignore[override]
        """Return the training of ``base``."""
        return self.base.training

    def module(self, dim: int, rng: Rng) -> AlignedModule:
        first = self.base.module(dim, rng)  # before the fork, so that it is the model that the base alone would have
        others = [self.base.module(dim, own) for own in fork(rng, self.peers - 1)]
        models = [first, *others]
        return AlignedModule(models, self.alignment, self.ramp, self._restarters(first, dim, rng))

    def _restarters(self, first: SparseModule, dim: int, rng: Rng) -> list[Restarter]:
        if self.restarting is None:
            return []
        if type(first).prime is not SparseModule.prime:
            raise ValueError(
                f"restarting must be None for a base whose first weights depend on data; got base={self.base!r}."
            )
        return [Restarter(self.restarting, self.base, dim, rng) for _ in range(self.peers)]


def peers(fitted: FittedDictionary) -> tuple[FittedDictionary, ...]:
    """Return the dictionaries of all models that were trained beside each other, that of ``fitted`` first.

    Raises
    ------
    TypeError
        If ``fitted`` was not learned by `FeatureAligned`, or its encoder was replaced.
    """
    encoder = fitted.encoder
    if not isinstance(encoder, NeuralEncoder) or not isinstance(encoder.module, AlignedModule):
        raise TypeError(f"fitted must be a fit of FeatureAligned with its own encoder; got the encoder {encoder!r}.")
    mean, scale = fitted.bias - encoder.scale * encoder.offset, encoder.scale
    found = []
    for model in encoder.module.models():
        atoms, norms = unit_rows(model.atoms().double().numpy())
        offset = model.decoder_bias().double().numpy()
        own = NeuralEncoder(model, read_only(atoms), read_only(norms), read_only(offset), scale)
        decoder = None if model.linear else NeuralDecoder(own)
        found.append(replace(fitted, atoms=atoms, bias=scale * offset + mean, encoder=own, decoder=decoder))
    return tuple(found)
