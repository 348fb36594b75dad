"""The border: numpy data in, a `FittedDictionary` out, for every gradient-trained model."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
import torch

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_samples, read_only, unit_rows
from sparsesim._identity import fork, key
from sparsesim._source import Rows, Shared, SideRows, Source, batches_after
from sparsesim.kernels.training import kernel_threads, pick
from sparsesim.solvers.base import FittedDictionary, check_own_atoms
from sparsesim.solvers.neural.checkpoint import Checkpoint, Keeper, place_of
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.module import SparseModule, member, stack
from sparsesim.solvers.neural.sparse import HostSelection, selection_on_host
from sparsesim.solvers.neural.train import Training, train
from sparsesim.solvers.neural.watch import Outcome

PROBE = 4096  # samples of a stream from which its mean and scale are estimated
SMALL = 2**22  # products in a layer (B p d), about 0.1 ms on one core: measured, a second thread gains nothing below
BLOCK_VALUES = 2**18  # codes computed at a time in inference
LEAST_ROWS = 256  # samples in a block, however wide the model: the encoder's weights are read once a block


class NeuralSolver(ABC):
    """A gradient-trained solver: a frozen dataclass that says how its module is made; all else is here.

    The status of a fit is BUDGET_SPENT or DIVERGED, never CONVERGED. Weights, row order and noise are functions of
    ``rng`` alone; torch's global random state, default dtype, default device, grad mode,
    inference mode and thread count are left alone.
    """

    width: int
    training: Training

    @abstractmethod
    def module(self, dim: int, rng: Rng) -> SparseModule:
        """Return the untrained model of one member, its initial weights drawn from ``rng``."""

    def fit(self, x: FloatArray, *, rng: Rng, checkpoint: Checkpoint | None = None) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``: all rows are seen, in random order, before any is again.

        With a ``checkpoint`` a training that was killed goes on where it last saved its state.

        Raises
        ------
        ValueError, TypeError
            If ``x`` is not a finite real matrix with at least one row and one column.
        """
        return self.fit_stream(Rows(check_samples(x)), rng=rng, checkpoint=checkpoint)

    def fit_stream(self, source: Source, *, rng: Rng, checkpoint: Checkpoint | None = None) -> FittedDictionary:
        """Return the dictionary learned from fresh batches of ``source``; see `fit` for ``checkpoint``."""
        return fit_together([self], [source], [rng], checkpoint)[0]

    def fit_ensemble(
        self, sources: Sequence[Source], rngs: Sequence[Rng], checkpoint: Checkpoint | None = None
    ) -> list[FittedDictionary]:
        """Return what `fit_stream` gives for each source with its rng, up to rounding, trained as one batched model."""
        return fit_together([self] * len(sources), sources, rngs, checkpoint)


def fit_together(
    solvers: Sequence[NeuralSolver],
    sources: Sequence[Source],
    rngs: Sequence[Rng],
    checkpoint: Checkpoint | None = None,
) -> list[FittedDictionary]:
    """Return the fit of each solver to its source with its rng, all trained as one batched model.

    Member e is what ``solvers[e].fit_stream(sources[e], rng=rngs[e])`` returns, up to float32 rounding: batched
    products sum in another order. Small models are bound by launches, so E of them cost little more than one. The
    solvers must be of one kind, width and training; penalties and learning rates may differ. Models that are given the
    same `Shared` source see the same batches, each of which is drawn once. With a ``checkpoint`` a
    training that was killed goes on where it last saved its state, and gives the bits that it would have given.

    Raises
    ------
    ValueError
        If the three lists differ in length, or the models in shape, or the checkpoint is damaged or of another
        training.
    RuntimeError
        If another training is at work in the folder of the checkpoint.
    """
    if not solvers or not len(solvers) == len(sources) == len(rngs):
        raise ValueError(
            f"one solver, source and rng are needed for each model, and at least one model; "
            f"got {len(solvers)}, {len(sources)} and {len(rngs)}."
        )
    training = solvers[0].training
    if any(
        type(s) is not type(solvers[0]) or replace(s.training, learning_rate=training.learning_rate) != training
        for s in solvers
    ):
        raise ValueError(
            "solvers trained together must be of one kind with equal training, up to its "
            "learning rate. Fit them separately."
        )
    with torch.inference_mode(False):  # tensors made in a caller's inference mode could not be trained
        return _fit_together(solvers, sources, rngs, _keeper(checkpoint, solvers, rngs))


def _keeper(checkpoint: Checkpoint | None, solvers: Sequence[NeuralSolver], rngs: Sequence[Rng]) -> Keeper | None:
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"checkpoint must be a Checkpoint, e.g. Checkpoint('run', every=1000); got {checkpoint!r}.")
    return Keeper(checkpoint, {"solver": key(*solvers), "rng": place_of(rngs)})


def _fit_together(
    solvers: Sequence[NeuralSolver], sources: Sequence[Source], rngs: Sequence[Rng], keeper: Keeper | None
) -> list[FittedDictionary]:
    training = solvers[0].training
    data, modules, order = [], [], []
    known: dict[int, _Data] = {}
    for solver, source, rng in zip(solvers, sources, rngs, strict=True):
        init_rng, train_rng, probe_rng, prime_rng = fork(rng, 4)
        data.append(_data_of(source, probe_rng, training.normalise, known))
        with torch.device("cpu"):
            modules.append(solver.module(source.dim, init_rng))
            _check_side(modules[-1], source.side if isinstance(source, SideRows) else np.empty((0, 0)))
            _prime(modules[-1], data[-1].source, prime_rng)
        order.append(train_rng)
    single = len(modules) == 1
    model = modules[0] if single else stack(modules)
    place.move_(model, place.found(training.device))
    with _threads_for(len(modules) * training.batch_size * solvers[0].width * data[0].source.dim):
        rates = [solver.training.learning_rate for solver in solvers]
        outcomes = train(model, [each.source for each in data], order, training, rates, keeper)
    place.move_(model, torch.device("cpu"))
    trained = [model] if single else [member(model, e) for e in range(len(modules))]
    return [_fitted(*parts) for parts in zip(trained, data, outcomes, strict=True)]


def _check_side(module: SparseModule, side: FloatArray) -> None:
    if module.side != side.shape[1]:
        raise ValueError(
            f"the model reads {module.side} columns of side information beside each sample; got {side.shape[1]}. "
            "Labels and conditions are given by fit_with_side(x, side, rng=rng), to a solver that has it."
        )
    module.check_side(side)


def _prime(module: SparseModule, source: Source, rng: Rng) -> None:
    """Show ``module`` a sample of what it will be trained on, if it asks for one: at most `PROBE` distinct rows."""
    if type(module).prime is SparseModule.prime:
        return
    size = min(PROBE, len(source.x)) if isinstance(source, Rows) else PROBE
    sample_rng, own_rng = fork(rng, 2)
    with torch.no_grad():
        module.prime(torch.from_numpy(np.array(_on_host(next(source.batches(size, sample_rng))))), own_rng)


def _on_host(batch: FloatArray | torch.Tensor) -> FloatArray:
    """Return a batch as numbers of the CPU, wherever its source draws it."""
    return batch.cpu().numpy() if isinstance(batch, torch.Tensor) else batch


@contextmanager
def _threads_for(products: int) -> Iterator[None]:
    """Compute on one thread within the block if a layer of a step has few ``products``; restored on exit.

    A second thread gains nothing there, and on a machine with other work it makes training tens of times slower:
    every operation waits for a thread that is not running.
    """
    before = torch.get_num_threads()
    count = 1 if products < SMALL else before
    with kernel_threads(count):  # first: numba starts its threads here, which sets the number of torch's too
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def check_neural(solver: NeuralSolver) -> None:
    """Check the fields that every gradient-trained solver has."""
    check_int("width", solver.width, 1)
    if not isinstance(solver.training, Training):
        raise TypeError(f"training must be a Training, e.g. Training(steps=3000); got {solver.training!r}.")


@final
@dataclass(frozen=True, eq=False)
class _Data:
    """A float32 `Source` of (x - mean) / scale, side information last, and what x was shifted and scaled by."""

    source: Source
    mean: FloatArray
    scale: float


@final
@dataclass(frozen=True, eq=False)
class _Stream:
    """The `Source` of (x - mean) / scale in float32, each batch checked."""

    source: Source
    mean: FloatArray
    scale: float

    @property
    def dim(self) -> int:
        return self.source.dim

    def batches(self, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield batches ``(size, d)`` for ever."""
        return self.batches_after(0, size, rng)

    def batches_after(self, passed: int, size: int, rng: Rng) -> Iterator[FloatArray]:
        """Yield what `batches` yields after its first ``passed`` batches."""
        return map(partial(self._prepared, size), batches_after(self.source, passed, size, rng))

    def _prepared(self, size: int, batch: FloatArray | torch.Tensor) -> FloatArray:
        x = batch if isinstance(batch, torch.Tensor) else check_samples(batch, "a batch of the source", dim=self.dim)
        if len(x) != size:
            raise ValueError(f"a batch of the source has {len(x)} rows, but {size} were asked for.")
        return _apply(x, self.mean, self.scale)


def _apply(x: FloatArray | torch.Tensor, mean: FloatArray, scale: float) -> FloatArray:
    if isinstance(x, torch.Tensor):  # drawn on a device, where it stays: the loop takes both
        there: FloatArray = x.sub(torch.from_numpy(np.array(mean)).to(x)).div_(scale).float()  # type: ignore[assignment]
        return there
    centred = x - mean.astype(x.dtype)
    centred /= x.dtype.type(scale)
    return centred.astype(np.float32, copy=False)


def _prepared(source: Source, rng: Rng, normalise: bool) -> _Data:
    """Return the training data, shifted and scaled to mean zero and E||x||^2 = d if asked.

    The statistics are those of all rows, if rows are given, and of `PROBE` fresh samples of a stream.
    """
    mean: FloatArray = np.zeros(source.dim)
    scale = 1.0
    if isinstance(source, Rows | SideRows):
        x = check_samples(source.x).astype(np.float64, copy=False)
        if normalise:
            mean, scale = _moments(x)
        inside = _apply(x, mean, scale)
        if isinstance(source, SideRows):
            inside = np.hstack([inside, source.side.astype(np.float32)])
        return _Data(Rows(inside), mean, scale)
    if normalise:
        probe = check_samples(_on_host(next(source.batches(PROBE, rng))), "a batch of the source", dim=source.dim)
        mean, scale = _moments(probe.astype(np.float64, copy=False))
    return _Data(_Stream(source, mean, scale), mean, scale)


def _data_of(source: Source, rng: Rng, normalise: bool, known: dict[int, _Data]) -> _Data:
    """Return the training data of a model; those of a shared source once, for all models that share it."""
    if not isinstance(source, Shared):
        return _prepared(source, rng, normalise)
    if id(source) not in known:
        inner = _prepared(source.source, copy.deepcopy(source.rng), normalise)
        known[id(source)] = _Data(Shared(inner.source, source.rng), inner.mean, inner.scale)
    return known[id(source)]


def _moments(x: FloatArray) -> tuple[FloatArray, float]:
    """Return the mean ``(d,)`` and the root mean square deviation of a coordinate, 1 where the rows are all equal."""
    reach = float(np.abs(x).max()) or 1.0  # divided out first, so that squares neither overflow nor vanish
    relative = x / reach
    mean = relative.mean(axis=0)
    spread = float(np.sqrt(np.square(relative - mean).mean()))
    scale = spread * reach  # zero for the smallest of numbers
    # Rows that are equal up to the rounding of their mean have nothing but rounding to learn.
    return mean * reach, scale if spread > 64 * np.finfo(np.float64).eps and scale > 0 else 1.0


@final
@dataclass(frozen=True, eq=False)
class NeuralEncoder:
    """The trained encoder as an `Encoder`: it belongs to the atoms it was trained with and knows their norms.

    Codes are computed in float32, in blocks of one fixed shape, so that a row alone is encoded as in company, and come
    back in the precision of x: module.encode(x / scale + offset) * scale * norms, for centred x. The module is on the
    CPU in evaluation mode.

    Attributes
    ----------
    module : the trained model of one member.
    atoms : (p, d) unit rows.
    norms : (p,) the norms that its decoder rows have; 1 where a nonlinear decoder has none at z = 0.
    offset : (d,) its decoder bias.
    scale : of the data it was trained on.
    side : (n, s) what is seen beside each of the samples that will be encoded, for a model that asks for it.
    """

    module: SparseModule
    atoms: FloatArray
    norms: FloatArray
    offset: FloatArray
    scale: float
    side: FloatArray | None = None

    def with_side(self, side: FloatArray) -> NeuralEncoder:
        """Return the encoder of samples beside which ``side (n, s)`` is seen, row by row.

        Raises
        ------
        ValueError
            If the model was trained with another number of columns.
        """
        _check_side(self.module, side)
        return replace(self, side=read_only(side))

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError
            If ``atoms`` are not those the network was trained with: an amortised encoder has no codes for others.
        """
        remedy = "Replace the encoder together with the atoms, e.g. by OrthogonalMatchingPursuit(k)."
        check_own_atoms(atoms, self.atoms, "a neural encoder", remedy)
        p = len(self.atoms)
        size = max(LEAST_ROWS, min(1024, BLOCK_VALUES // p))
        gauge = (self.norms * self.scale).astype(np.float64)
        side = self.beside(len(x))
        blocks = (slice(start, start + size) for start in range(0, len(x), size))
        parts = [self._block(x[rows], side[rows], size) for rows in blocks]
        data, columns, counts = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _NO_CODES
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return Codes(((data * gauge[columns]).astype(x.dtype), columns, indptr), shape=(len(x), p))

    def beside(self, rows: int) -> FloatArray:
        """Return the side information ``(rows, s)`` of samples, which must have been given for as many."""
        side = np.empty((rows, 0)) if self.side is None and not self.module.side else self.side
        if side is None or len(side) != rows:
            raise ValueError(
                f"the model reads {self.module.side} columns of side information beside each of {rows} samples; got "
                f"{'none' if side is None else f'those of {len(side)}'}. Take fitted.with_side(side)."
            )
        return side

    def _block(self, x: FloatArray, side: FloatArray, size: int) -> tuple[FloatArray, IntArray, IntArray]:
        """Return the nonzero codes of at most ``size`` rows, their columns, and how many each row has."""
        d, wide = x.shape[1], x.shape[1] + side.shape[1]
        padded = torch.zeros((size, wide), dtype=torch.float32, device="cpu")  # aligned by torch, see `train`
        padded.numpy()[: len(x), :d] = x / x.dtype.type(self.scale) + self.offset.astype(x.dtype)
        padded.numpy()[: len(x), d:] = side
        with torch.no_grad():
            values, found = self.module.encode_at(padded)
            chosen = found if isinstance(found, HostSelection) else selection_on_host(values)
        indptr = chosen.indptr[: len(x) + 1]
        columns = chosen.indices[: indptr[-1]]
        return pick(indptr, columns, values.numpy()[None]), columns, np.diff(indptr)


@final
@dataclass(frozen=True, eq=False)
class NeuralDecoder:
    """The trained nonlinear decoder as a `Decoder` of the codes that its own ``encoder`` gives."""

    encoder: NeuralEncoder

    def with_side(self, side: FloatArray) -> NeuralDecoder:
        """Return the decoder of samples beside which ``side (n, s)`` is seen."""
        return NeuralDecoder(self.encoder.with_side(side))

    def decode(self, codes: Codes) -> FloatArray:
        """Return the centred reconstruction ``(n, d)``: (module.decode(codes / (scale norms)) - offset) * scale."""
        known = self.encoder
        gauge = known.norms * known.scale
        size = max(1, BLOCK_VALUES // len(gauge))
        out = np.empty((codes.shape[0], len(known.offset)), codes.dtype)
        side = known.beside(len(out)).astype(np.float32)
        for start in range(0, len(out), size):
            rows = slice(start, start + size)
            block = (codes[rows].toarray() / gauge).astype(np.float32)
            with torch.no_grad():
                values = known.module.decode_beside(torch.from_numpy(block), torch.from_numpy(side[rows])).numpy()
            out[rows] = (values - known.offset) * known.scale
        return out


_NO_CODES = (np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int64))


def _fitted(model: SparseModule, data: _Data, outcome: Outcome) -> FittedDictionary:
    """Return the trained model as a dictionary of unit atoms in the scale of the data."""
    model.eval().requires_grad_(False)
    atoms, norms = unit_rows(model.atoms().double().numpy())
    norms = norms if model.linear else np.where(norms > 0, norms, 1.0)
    offset = model.decoder_bias().double().numpy()
    encoder = NeuralEncoder(model, read_only(atoms), read_only(norms), read_only(offset), data.scale)
    decoder = None if model.linear else NeuralDecoder(encoder)
    return FittedDictionary(atoms, data.scale * offset + data.mean, encoder, outcome.status, outcome.trace, decoder)
