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
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim._identity import LATER, fork
from sparsesim._source import Source, batches_after
from sparsesim.kernels.training import adam_
from sparsesim.solvers.neural.checkpoint import Keeper, content_of
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.module import SparseModule, Step
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
        the factors and selects other latents in about one row of a hundred.
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
        place.check(self.device, self.precision)

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
            optimiser = _Adam(module, training, len(sources) > 1, learning_rates)
            progress = Progress(module, optimiser, Watch(module, len(sources), training.steps), generators)
            done = 0 if keeper is None else _resume(progress, keeper, sources, order, training)
            _run(progress, _feed(sources, order, training, (done, home)), optimiser, training.steps, keeper)
            optimiser.release()
            return progress.watch.finish()
    finally:
        module.train(mode)


def _resume(
    progress: Progress, keeper: Keeper, sources: Sequence[Source], rngs: Sequence[Rng], training: Training
) -> int:
    """Bring ``progress`` to the last saved state of this training and return how many steps were done."""
    pairs = zip(sources, rngs, strict=True)
    first = [next(source.batches(training.batch_size, copy.deepcopy(rng))) for source, rng in pairs]
    keeper.identity["data"] = content_of(first)
    return progress.resume(keeper)


def _run(
    progress: Progress, feed: Iterator[tuple[int, Tensor]], optimiser: _Adam, steps: int, keeper: Keeper | None
) -> None:
    """Train on the numbered batches of ``feed``, and save where a ``keeper`` wants to, until no model is left."""
    module, watch = progress.module, progress.watch
    for index, x in feed:
        if watch.all_diverged:
            return
        terms = module.losses(x, Step(index, steps, progress.generators))
        loss = reduce(torch.add, terms.values())
        (loss.sum() if loss.ndim else loss).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            module.before_step()
            optimiser.step(index)
            module.after_step(optimiser)
        checked = watch.look(index, terms, loss.detach())
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
    streams = [batches_after(source, first, size, rng) for source, rng in zip(sources, rngs, strict=True)]
    for start in range(first, training.steps if done < training.steps else first, chunk):
        # torch aligns its memory and numpy does not: products of unaligned matrices differ in their last bit.
        shape, pinned = (min(chunk, training.steps - start), count, size, dim), home.type == "cuda"
        block = torch.empty(shape, dtype=torch.float32, device="cpu", pin_memory=pinned)
        view = block.numpy()
        for column, stream in enumerate(streams):
            for row in range(len(view)):
                view[row, column] = _next(stream, start + row)
        block = block.to(home, non_blocking=True)
        batches = enumerate((block[:, 0] if count == 1 else block).unbind(0), start)
        yield from islice(batches, max(0, done - start), None)


def _next(stream: Iterator[FloatArray], index: int) -> FloatArray:
    batch = next(stream, None)
    if batch is None:
        raise ValueError(f"the source ended after {index} batches; a Source yields batches for ever.")
    return batch


class _Adam:
    """Adam on all parameters as one flat vector: the same arithmetic as `torch.optim.Adam` in a few large operations.

    Parameters and their gradients become views of the vector, which backward adds to in place.
    """

    def __init__(
        self, module: SparseModule, training: Training, ensemble: bool, learning_rates: Sequence[float] | None = None
    ) -> None:
        self.parameters, self.ensemble = list(module.parameters()), ensemble
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.gradient, self.mean, self.square = (torch.zeros_like(self.flat) for _ in range(3))
        start = 0
        for p in self.parameters:
            end = start + p.numel()
            p.data = self.flat[start:end].view(p.shape)
            p.grad = self.gradient[start:end].view(p.shape)
            p.sink = p.grad  # type: ignore[attr-defined]  # sparse layers add to it themselves, see `sparse`
            start = end
        self.beta1, self.beta2 = training.betas
        powers = np.arange(1, training.steps + 1)
        root = np.sqrt(1 - self.beta2**powers)
        self.rates = (training.rates() * root / (1 - self.beta1**powers)).tolist()
        self.eps = (training.eps * root).tolist()
        self.clip, self.decay = training.grad_clip, training.weight_decay
        self.slowness = self._slowness(learning_rates, training.learning_rate)
        # On the device, so that a step waits for nothing of the host.
        self.schedule = torch.tensor([self.rates, self.eps], dtype=self.flat.dtype).T.contiguous().to(self.flat.device)
        factors = (1 - self.beta1, self.beta2, 1 - self.beta2)
        self.factors = torch.tensor(factors, dtype=self.flat.dtype).to(self.flat.device)

    def step(self, index: int) -> None:
        """Move the weights by one Adam step on the gradient at hand, at the rate of step ``index``."""
        if self.clip is not None:
            self._clip(self.clip)
        if self.decay:
            self._shrink(index)
        if place.on_host(self.flat):
            self._step_in_one_pass(index)
            return
        state = (self.flat, self.gradient, self.mean, self.square)
        place.operations(self.flat).adam_(state, self.slowness, self.schedule[index], self.factors)

    def _step_in_one_pass(self, index: int) -> None:
        vectors = [tensor.numpy() for tensor in (self.flat, self.gradient, self.mean, self.square)]
        slowness = vectors[0][:0] if self.slowness is None else self.slowness.numpy()
        factors = (self.rates[index], self.eps[index], 1 - self.beta1, self.beta2, 1 - self.beta2)
        weights, gradient, mean, square = vectors
        adam_(weights, gradient, mean, square, slowness, np.array(factors, weights.dtype))

    def _slowness(self, learning_rates: Sequence[float] | None, common: float) -> Tensor | None:
        """Return the common rate over that of its member for each weight; None where all rates are the common one."""
        if learning_rates is None or all(rate == common for rate in learning_rates):
            return None
        ratio = torch.tensor([common / rate for rate in learning_rates], dtype=self.flat.dtype)
        parts = [ratio.repeat_interleave(p.numel() // len(ratio)) for p in self.parameters]
        return torch.cat(parts).to(self.flat.device)

    def _shrink(self, index: int) -> None:
        """Apply the decoupled weight decay of step ``index``."""
        rate = self.rates[index] * (1 - self.beta1 ** (index + 1)) / (1 - self.beta2 ** (index + 1)) ** 0.5
        if self.slowness is None:
            self.flat.mul_(1 - rate * self.decay)
        else:
            self.flat.addcdiv_(self.flat, self.slowness, value=-rate * self.decay)

    def forget(self, parameter: nn.Parameter, where: Tensor) -> None:
        """Set both moments of ``parameter`` to zero where ``where``, broadcast to its shape, is true."""
        start = 0
        for p in self.parameters:
            if p is parameter:
                for moment in (self.mean, self.square):
                    moment[start : start + p.numel()].view(p.shape).masked_fill_(where, 0.0)
                return
            start += p.numel()
        raise ValueError("the optimiser knows no such parameter; pass a parameter of the module that it trains.")

    def _clip(self, largest: float) -> None:
        """Scale the gradient of each model down to norm ``largest``."""
        gradients = [p.grad if self.ensemble else p.grad.unsqueeze(0) for p in self.parameters if p.grad is not None]
        total = reduce(torch.add, (g.reshape(len(g), -1).square().sum(1) for g in gradients))
        factor = (largest / total.sqrt()).clamp_max(1.0)
        for g in gradients:
            g.mul_(factor.reshape(-1, *(1,) * (g.ndim - 1)))

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for p in self.parameters:
            p.data = p.data.clone()
            p.grad = None
            del p.sink  # type: ignore[attr-defined]
