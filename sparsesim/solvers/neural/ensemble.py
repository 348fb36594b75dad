"""Several autoencoders as one dictionary: bagging averages their outputs, boosting adds them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import hstack

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_samples
from sparsesim._identity import fork
from sparsesim._source import Rows, Source, batches_after
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.neural.checkpoint import Checkpoint
from sparsesim.solvers.neural.solver import NeuralSolver, fit_together


@final
@dataclass(frozen=True, eq=False)
class EnsembleEncoder:
    """The codes of all ``members`` side by side, each times ``weight``; ``sequential`` members see what is left.

    Attributes
    ----------
    members : fitted dictionaries, in the order of the columns.
    weight : of each member in the sum of outputs.
    sequential : whether member j encodes the residual of those before it instead of the sample.
    """

    members: tuple[FittedDictionary, ...]
    weight: float
    sequential: bool

    @property
    def bias(self) -> FloatArray:
        """Return the bias of the ensemble, ``weight`` times the sum of the biases, ``(d,)``."""
        total: FloatArray = self.weight * np.sum([fitted.bias for fitted in self.members], axis=0)
        return total

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, J p)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError
            If ``atoms`` are not those of the members, one below the other.
        """
        widths = [fitted.width for fitted in self.members]
        if len(atoms) != sum(widths):
            raise ValueError(
                f"the members have {sum(widths)} atoms together; got {len(atoms)}. Replace the encoder together with "
                "the atoms, e.g. by OrthogonalMatchingPursuit(k)."
            )
        left, parts = x + self.bias.astype(x.dtype), []
        for fitted, own in zip(self.members, np.split(atoms, np.cumsum(widths)[:-1]), strict=True):
            codes = fitted.encoder.encode(left - fitted.bias.astype(x.dtype), own)
            parts.append(codes * x.dtype.type(self.weight))
            if self.sequential:
                left = left - fitted.decode(codes)
        return Codes(hstack(parts, format="csr", dtype=x.dtype))


@final
@dataclass(frozen=True, eq=False)
class EnsembleDecoder:
    """The weighted sum of the outputs of members of which some decode nonlinearly."""

    encoder: EnsembleEncoder

    def decode(self, codes: Codes) -> FloatArray:
        """Return the centred reconstruction ``(n, d)`` of ``codes (n, J p)``."""
        whole, start = self.encoder, 0
        total: FloatArray = -np.tile(whole.bias.astype(codes.dtype), (codes.shape[0], 1))
        for fitted in whole.members:
            own = Codes(codes[:, start : start + fitted.width] / codes.dtype.type(whole.weight))
            total += codes.dtype.type(whole.weight) * fitted.decode(own)
            start += fitted.width
        return total


def joined(members: Sequence[FittedDictionary], weight: float, *, sequential: bool) -> FittedDictionary:
    """Return one dictionary whose output is ``weight`` times the sum of the outputs of ``members``.

    Atoms are stacked and stay unit rows, the weight goes into the codes, and the bias is weight times the sum of the
    biases. The status is the worst of the members'; their series have the member's number appended.
    """
    if len(members) == 1 and weight == 1.0:
        return members[0]
    encoder = EnsembleEncoder(tuple(members), weight, sequential)
    decoder = None if all(fitted.linear_decoder for fitted in members) else EnsembleDecoder(encoder)
    atoms = np.concatenate([fitted.atoms for fitted in members])
    worst = [fitted.status for fitted in members]
    status = Status.DIVERGED if Status.DIVERGED in worst else Status.BUDGET_SPENT
    trace = {f"{name}_{j}": series for j, fitted in enumerate(members) for name, series in fitted.trace.items()}
    return FittedDictionary(atoms, encoder.bias, encoder, status, trace, decoder)


def _own_rngs(rng: Rng, count: int) -> list[Rng]:
    """Return ``count`` streams; the only one of one is ``rng`` itself, so that one member is the base alone."""
    return [*fork(rng, count - 1), rng]


@dataclass(frozen=True)
class _Ensemble:
    """The fields of several autoencoders of one kind."""

    base: NeuralSolver
    members: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.base, NeuralSolver):
            raise TypeError(f"base must be a gradient-trained solver such as TopK(24, 3); got {self.base!r}.")
        check_int("members", self.members, 1)

    @property
    def width(self) -> int:
        """Return J p, the number of atoms."""
        return self.members * self.base.width


@final
@dataclass(frozen=True)
class Bagging(_Ensemble):
    """Learns ``members`` autoencoders that differ in their luck alone, and averages their outputs.

    g = (1/J) sum_j g_j: the atoms of all, codes z_j / J, the mean of the biases. Its squared error is at most the mean
    of the members' (Jensen), sample by sample. All see the same data, without bootstrap, and train as one batched
    model; here the order of rows differs as well, where the paper changes the initial weights alone. L0 adds up, so
    hold it against a single model of J times the width and the L0.

    Released code divides the codes by J but adds every bias in full when it decodes them; here they are averaged.

    Parameters
    ----------
    base : the solver of each member.
    members : J.

    References
    ----------
    Gadgil, Lin, Lee (2025), "Ensembling sparse autoencoders", arXiv 2505.16077.
    """

    def fit(self, x: FloatArray, *, rng: Rng, checkpoint: Checkpoint | None = None) -> FittedDictionary:
        """Return the ensemble learned from ``x (n, d)``."""
        return self.fit_stream(Rows(check_samples(x)), rng=rng, checkpoint=checkpoint)

    def fit_stream(self, source: Source, *, rng: Rng, checkpoint: Checkpoint | None = None) -> FittedDictionary:
        """Return the ensemble learned from ``source``, of which each member draws batches of its own."""
        count = self.members
        fits = fit_together([self.base] * count, [source] * count, _own_rngs(rng, count), checkpoint)
        return joined(fits, 1.0 / count, sequential=False)


@final
@dataclass(frozen=True)
class Boosting(_Ensemble):
    """Learns ``members`` autoencoders one after the other, each on what those before it leave, and adds them up.

    g = sum_j g_j, member j trained on x - sum_{l<j} g_l(.) with its parents frozen; in inference it encodes that
    residual too. Every member has the same settings, and its whole loss, AuxK included, is that of its own input
    (released code lets the auxiliary losses of TopK and Gated see x instead). L0 adds up.

    Parameters
    ----------
    base : the solver of each member.
    members : J.

    References
    ----------
    Gadgil, Lin, Lee (2025), "Ensembling sparse autoencoders", arXiv 2505.16077.
    """

    def fit(self, x: FloatArray, *, rng: Rng, checkpoint: Checkpoint | None = None) -> FittedDictionary:
        """Return the ensemble learned from ``x (n, d)``."""
        left = check_samples(x)
        return self._fit(lambda parents: Rows(left if not parents else _left_by(parents, left)), rng, checkpoint)

    def fit_stream(self, source: Source, *, rng: Rng, checkpoint: Checkpoint | None = None) -> FittedDictionary:
        """Return the ensemble learned from ``source``; later members pay for the reconstruction of every batch.

        The state of each member is saved in a folder of its own within that of the ``checkpoint``.
        """
        return self._fit(lambda parents: source if not parents else Leftover(source, tuple(parents)), rng, checkpoint)

    def _fit(
        self, left: Callable[[list[FittedDictionary]], Source], rng: Rng, checkpoint: Checkpoint | None
    ) -> FittedDictionary:
        fits: list[FittedDictionary] = []
        for own in _own_rngs(rng, self.members):
            saved = None if checkpoint is None else checkpoint.within(f"member-{len(fits)}")
            fits.append(self.base.fit_stream(left(fits), rng=own, checkpoint=saved))
        return joined(fits, 1.0, sequential=True)


def _left_by(parents: Sequence[FittedDictionary], x: FloatArray) -> FloatArray:
    """Return what a sequence of dictionaries leaves of samples ``x (n, d)``."""
    for fitted in parents:
        x = x - fitted.decode(fitted.encode(x))
    return x


@final
@dataclass(frozen=True, eq=False)
class Leftover:
    """The `Source` of what ``parents`` leave of fresh batches of ``source``."""

    source: Source
    parents: tuple[FittedDictionary, ...]

    @property
    def dim(self) -> int:
        return self.source.dim

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield batches ``(size, d)`` for ever."""
        return self.batches_after(0, size, rng)

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what `batches` yields after its first ``passed`` batches."""
        for batch in batches_after(self.source, passed, size, rng):
            yield _left_by(self.parents, batch)
