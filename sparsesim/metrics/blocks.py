"""A fitted dictionary held against the truth on more samples than fit into memory: they are seen block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol, final

import numpy.typing as npt

from sparsesim._arrays import Rng, check_int
from sparsesim.metrics.evaluation import Alignment, Evaluation, Fitted, Judged, Samples, Truth
from sparsesim.metrics.sums import Detection, Energies, Firing, Norms, Pairs, Sums

BLOCK = 8192  # samples held at a time


class World(Truth, Protocol):
    """A truth that samples; a `FeatureModel` does."""

    def sample(self, n: int, rng: Rng, *, dtype: npt.DTypeLike = ...) -> Samples:
        """Return ``n`` fresh samples and their true codes."""
        ...


@final
@dataclass(frozen=True, eq=False)
class StreamedEvaluation(Judged):
    """What an `Evaluation` of all samples would say of them, though only sums over them were kept.

    It goes where an evaluation goes: ``mcc(streamed)``, ``latent_f1(streamed)``. Scores that are no function of atoms
    and sums, such as `amortisation_gap`, need all samples at once and say so.

    Attributes
    ----------
    truth, fitted, alignment : as of an `Evaluation`.
    sums : over all samples.
    """

    truth: Truth
    fitted: Fitted
    alignment: Alignment
    sums: Sums

    @property
    def firing(self) -> Firing:
        """In how many samples features, latents and partners fire."""
        return self.sums.firing

    @property
    def detection(self) -> Detection:
        """How often each latent fires with its nearest feature."""
        return self.sums.detection

    @property
    def pairs(self) -> Pairs:
        """Moments of the coefficients of features and their partners."""
        return self.sums.pairs

    @property
    def energies(self) -> Energies:
        """Energies of samples, residuals and reconstructions about the mean."""
        return self.sums.energies

    @property
    def norms(self) -> Norms:
        """Energies and norms about zero."""
        return self.sums.norms

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"this score reads {name!r}, which needs all samples at once; {self.firing.n} were seen block by block. "
            "Take an Evaluation of one batch for it."
        )


def evaluate_blocks(truth: Truth, fitted: Fitted, blocks: Iterable[Samples]) -> StreamedEvaluation:
    """Return the evaluation of ``fitted`` on all samples of ``blocks``, of which one is held at a time.

    Counts are those of an `Evaluation` of all samples, real numbers agree up to rounding in float64, whatever the size
    and the order of the blocks. Cosines ``(m, p)`` and their matching are computed once.

    Raises
    ------
    ValueError
        If there is no block, or one does not fit the world.
    """
    alignment = Alignment(truth, fitted)
    each = (Evaluation(truth, fitted, batch, alignment) for batch in blocks)
    sums = (Sums(one.firing, one.detection, one.pairs, one.energies, one.norms) for one in each)
    total = next(sums, None)
    if total is None:
        raise ValueError("blocks must hold at least one block of samples; got none.")
    for more in sums:
        total = total + more
    return StreamedEvaluation(truth, fitted, alignment, total)


def evaluate_stream(
    world: World, fitted: Fitted, n: int, *, rng: Rng, block: int = BLOCK, dtype: npt.DTypeLike = "float32"
) -> StreamedEvaluation:
    """Return the evaluation of ``fitted`` on ``n`` fresh samples of ``world``, in memory that does not grow with n.

    Parameters
    ----------
    world : a `FeatureModel`.
    fitted : the `FittedDictionary` under test.
    n : number of samples.
    rng : where they are drawn from, ``block`` at a time; other blocks are other samples.
    block : samples held at a time.
    dtype : float32 or float64, of samples and codes. Sums are in float64.

    Raises
    ------
    ValueError
        If ``n`` or ``block`` is below 1, or the dictionary is of another dimension.
    """
    left, size = check_int("n", n, 1), check_int("block", block, 1)

    def drawn() -> Iterator[Samples]:
        for start in range(0, left, size):
            yield world.sample(min(size, left - start), rng, dtype=dtype)

    return evaluate_blocks(world, fitted, drawn())
