"""The one training loop of every gradient-trained model, alone or as an ensemble."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim._identity import LATER, fork
from sparsesim._source import Rows, Shared, Source, batches_after
from sparsesim.solvers.neural.adam import Adam
from sparsesim.solvers.neural.checkpoint import Keeper, content_of
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.device.graphs import Replays
from sparsesim.solvers.neural.device.whole import WholeStep, whole_step
from sparsesim.solvers.neural.module import Room, SparseModule, Step
from sparsesim.solvers.neural.progress import Progress
from sparsesim.solvers.neural.watch import CHECK_EVERY, Outcome, Watch
from sparsesim.solvers.neural.watch import POINTS as POINTS

CHUNK_VALUES = 2**20  # numbers fetched from the sources at a time


@final
@dataclass(frozen=True)
class Training:
    """How a model is trained: Adam in float32 with a linear warm-up and a linear decay of the learning rate to zero.

    Parameters
    ----------
    steps : number of steps; the budget is always spent.
    batch_size : B, samples a step.
    learning_rate : of Adam, for data normalised to E||x - mean||^2 = d. The default suits up to about a thousand
        atoms; wider models want less, in proportion to 1 / sqrt(width).
    betas, eps : of Adam.
    warmup : share of the steps over which the rate rises from zero.
    decay : share of the steps, at the end, over which the rate falls to zero.
    grad_clip : largest Euclidean norm of the whole gradient of one model; None does not clip.
    weight_decay : decoupled from the gradient (AdamW): each step first scales the weights by 1 - rate * weight_decay.
    normalise : shift and scale the data to mean zero and E||x||^2 = d before training, folded back afterwards.
        Penalties are quoted in that scale. False trains on the data as they are.
    device : "cpu", "cuda" or "cuda:1", where the model is trained; the fit comes back to the CPU. Two fits on one
        device with the same versions give the same bits; on another device noise and sums differ.
    precision : of products on a GPU: "reference" is float32, "fast" is TF32, which keeps 10 bits of the mantissa of
        the factors and selects other latents in about one row of a hundred. "fastest" is TF32, too, and in steps of
        `TopK`, `AbsTopK` and `BatchTopK` that have no dead latents and clip no gradient the encoder's product takes
        both factors, and the decoder its atoms, in bfloat16, which keeps 8 bits and selects other latents in up to one
        row of ten; sums, weights, moments and codes stay in float32. Two fits have the same bits in each of them.
    graphs : record steps that repeat as CUDA graphs and replay them, for models so small that launching operations
        takes longer than these do. Steps that depend on more than the values of tensors are taken as ever.
    """

    steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 5e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup: float = 0.02
    decay: float = 0.3
    grad_clip: float | None = None
    weight_decay: float = 0.0
    normalise: bool = True
    device: str = field(default="cpu", metadata=LATER)
    precision: str = field(default="reference", metadata=LATER)
    graphs: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        check_int("steps", self.steps, 1)
        check_int("batch_size", self.batch_size, 1)
        check_real("learning_rate", self.learning_rate, 0.0, open_low=True)
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            raise TypeError(f"betas must be a tuple of two numbers such as (0.9, 0.999); got {self.betas!r}.")
        for name, value in zip(("betas[0]", "betas[1]"), self.betas, strict=True):
            if check_real(name, value, 0.0, 1.0) == 1.0:
                raise ValueError(f"{name} must be below 1, or no gradient is ever used; got {value!r}.")
        check_real("eps", self.eps, 0.0, open_low=True)
        check_real("warmup", self.warmup, 0.0, 1.0)
        check_real("decay", self.decay, 0.0, 1.0)
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup + decay must not exceed 1; got {self.warmup!r} + {self.decay!r}.")
        if self.grad_clip is not None:
            check_real("grad_clip", self.grad_clip, 0.0, open_low=True)
        check_real("weight_decay", self.weight_decay, 0.0)
        if not isinstance(self.normalise, bool):
            raise TypeError(f"normalise must be True or False; got {self.normalise!r}.")
        place.check(self.device, self.precision, self.graphs)

    def rates(self) -> FloatArray:
        """Return the learning rate of each step, ``(steps,)``: positive, at most ``learning_rate``."""
        left = np.arange(self.steps, 0, -1)  # steps left, this one included, so that no step is wasted at rate zero
        done = self.steps + 1 - left
        rise = done / max(self.warmup * self.steps, 1.0)
        fall = left / max(self.decay * self.steps, 1.0)
        return self.learning_rate * np.minimum(1.0, np.minimum(rise, fall))


def train(
    module: SparseModule,
    sources: Sequence[Source],
    rngs: Sequence[Rng],
    training: Training,
    learning_rates: Sequence[float] | None = None,
    keeper: Keeper | None = None,
) -> list[Outcome]:
    """Train ``module`` in place and return one `Outcome` for each source: BUDGET_SPENT, or DIVERGED.

    With one source the module is a single model; with E it is an ensemble of E members made by `stack`, trained
    together, member e as it would be alone on ``sources[e]`` with ``rngs[e]`` (up to rounding). A member whose loss or
    weights stop being finite is DIVERGED: it is left with its last weights that were checked to be finite, at most
    `CHECK_EVERY` steps old, its trace has ``diverged_at``, and the others go on.

    Member e learns at ``learning_rates[e]`` where they are given, else all at that of ``training``.

    The trace holds ``step``, each loss term and their sum ``loss`` at about `POINTS` steps. With a ``keeper`` the state
    is saved now and then, and training goes on from the last one that was.
    """
    order, noise = zip(*(fork(rng, 2) for rng in rngs), strict=True)
    home = next(module.parameters()).device
    generators = tuple(torch.Generator(home).manual_seed(int(rng.integers(2**63))) for rng in noise)
    mode = module.training
    module.train()
    try:
        with (
            torch.enable_grad(),
            place.products(home, training.precision),
            nullcontext() if keeper is None else keeper.alone(),
        ):
            optimiser = Adam(module, training, len(sources) > 1, learning_rates)
            progress = Progress(module, optimiser, Watch(module, len(sources), training.steps), generators)
            done = 0 if keeper is None else _resume(progress, keeper, sources, order, training)
            body = Body(module, optimiser, training.steps, generators, precision=training.precision)
            _run(progress, _feed(sources, order, training, (done, home)), body, training.graphs, keeper)
            optimiser.release()
            return progress.watch.finish()
    finally:
        module.train(mode)


def _resume(
    progress: Progress, keeper: Keeper, sources: Sequence[Source], rngs: Sequence[Rng], training: Training
) -> int:
    """Bring ``progress`` to the last saved state of this training and return how many steps were done."""
    pairs = zip(sources, rngs, strict=True)
    known = [
        source.x if isinstance(source, Rows) else next(source.batches(training.batch_size, copy.deepcopy(rng)))
        for source, rng in pairs
    ]
    keeper.identity["data"] = content_of([x.cpu().numpy() if isinstance(x, Tensor) else x for x in known])
    return progress.resume(keeper)


@final
@dataclass(frozen=True, eq=False)
class Body:
    """All that one step does on the device."""

    module: SparseModule
    optimiser: Adam
    total: int
    generators: tuple[torch.Generator, ...]
    room: Room = field(default_factory=Room)
    precision: str = "reference"
    whole: WholeStep | None = field(init=False)

    def __post_init__(self) -> None:
        halved = self.precision == "fastest"
        object.__setattr__(self, "whole", whole_step(self.module, self.optimiser, halved=halved))

    def __call__(self, index: int, x: Tensor) -> dict[str, Tensor]:
        """Take step ``index`` on the batch ``x`` at the rate prepared; return the terms of the loss, and ``loss``."""
        taken = None if self.whole is None else self.whole(index, x)
        if taken is not None:
            return taken
        terms = self._by_autograd(index, x)
        if self.whole is not None:
            self.whole.refresh()
        return terms

    def _by_autograd(self, index: int, x: Tensor) -> dict[str, Tensor]:
        terms = self.module.losses(x, Step(index, self.total, self.generators, self.room))
        loss = reduce(torch.add, terms.values())
        (loss.sum() if loss.ndim else loss).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.module.before_step()
            self.optimiser.step()
            self.module.after_step(self.optimiser)
        return {**{name: term.detach() for name, term in terms.items()}, "loss": loss.detach()}


def _run(
    progress: Progress, feed: Iterator[tuple[int, Tensor]], body: Body, graphs: bool, keeper: Keeper | None
) -> None:
    """Train on the numbered batches of ``feed``, and save where a ``keeper`` wants to, until no model is left."""
    module, watch, steps = progress.module, progress.watch, body.total
    take = Replays(body, module.repeats) if graphs else body
    for index, x in feed:
        if watch.all_diverged:
            return
        body.optimiser.prepare(index)
        checked = watch.look(index, take(index, x))
        if keeper is not None and checked and keeper.due(index + 1, last=watch.all_diverged or index + 1 == steps):
            progress.save(index + 1, keeper)


def _feed(
    sources: Sequence[Source], rngs: Sequence[Rng], training: Training, begin: tuple[int, torch.device]
) -> Iterator[tuple[int, Tensor]]:
    """Yield each step with its float32 batch, ``(B, d)`` for one source and ``(E, B, d)`` for E.

    ``begin`` is how many steps were done, and the device. A chunk travels to a GPU while that works on the one before.
    """
    done, home = begin
    size, dim, count = training.batch_size, sources[0].dim, len(sources)
    chunk = min(max(1, CHUNK_VALUES // (count * size * dim)), CHECK_EVERY)
    first = done - done % chunk  # so that a batch has the place in its chunk that it always has, and its alignment
    streams = _streams(sources, rngs, first, size)
    for start in range(first, training.steps if done < training.steps else first, chunk):
        steps = range(start, min(start + chunk, training.steps))
        block = _block(streams, steps, (size, dim), home)
        batches = enumerate((block[:, 0] if count == 1 else block).unbind(0), start)
        yield from islice(batches, max(0, done - start), None)


def _streams(sources: Sequence[Source], rngs: Sequence[Rng], first: int, size: int) -> list[Iterator[FloatArray]]:
    """Return the batches of each member after the ``first``; members that share a stream have the same iterator."""
    shared: dict[int, Iterator[FloatArray]] = {}
    for source, rng in zip(sources, rngs, strict=True):
        if isinstance(source, Shared) and id(source) not in shared:
            shared[id(source)] = batches_after(source, first, size, rng)
    pairs = zip(sources, rngs, strict=True)
    return [shared.get(id(source)) or batches_after(source, first, size, rng) for source, rng in pairs]


def _block(streams: list[Iterator[FloatArray]], steps: range, shape: tuple[int, int], home: torch.device) -> Tensor:
    """Return the batches ``(B, d)`` of E members at ``steps``, in float32 ``(steps, E, B, d)``, on ``home``."""
    # torch aligns its memory and numpy does not: products of unaligned matrices differ in their last bit.
    size, pinned = (len(steps), len(streams), *shape), home.type == "cuda"
    block = torch.empty(size, dtype=torch.float32, device="cpu", pin_memory=pinned)
    view = block.numpy()
    for row, step in enumerate(steps):
        drawn: dict[int, FloatArray | Tensor] = {}
        for column, stream in enumerate(streams):
            if id(stream) not in drawn:
                drawn[id(stream)] = _next(stream, step)
            batch = drawn[id(stream)]
            if isinstance(batch, Tensor) and batch.device != block.device:  # drawn elsewhere, where it is to stay
                block = block.to(batch.device)
            if isinstance(batch, Tensor):
                block[row, column].copy_(batch)
            elif block.is_cpu:
                view[row, column] = batch
            else:
                block[row, column].copy_(torch.from_numpy(np.array(batch)))
    return block.to(home, non_blocking=True)


def _next(stream: Iterator[FloatArray], index: int) -> FloatArray | Tensor:
    batch = next(stream, None)
    if batch is None:
        raise ValueError(f"the source ended after {index} batches; a Source yields batches for ever.")
    return batch
