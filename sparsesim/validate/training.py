"""Outside torch modules in the one training loop, and the random state of others kept apart while their code runs."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng
from sparsesim._source import Rows
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.solver import NeuralEncoder, NeuralSolver
from sparsesim.solvers.neural.train import Training
from sparsesim.validate.bridge import random_state_kept
from sparsesim.validate.outside import check_width


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python within the block, and give them their states back.

    Other people's code draws from them; ours does not. Whatever else it switches for the whole process is put back too.
    """
    with random_state_kept(), _modes_kept():
        torch.manual_seed(seed)
        np.random.set_state(np.random.RandomState(seed % 2**32).get_state())  # noqa: NPY002
        random.seed(seed)
        yield


@contextmanager
def _modes_kept() -> Iterator[None]:
    """Put back torch's default type, gradients, threads, determinism and precision, and numpy's floating-point errors.

    Of these the fits after this one, ours among them, would else be made.
    """
    dtype, threads, precision = torch.get_default_dtype(), torch.get_num_threads(), torch.get_float32_matmul_precision()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with np.errstate(), torch.set_grad_enabled(torch.is_grad_enabled()):
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            torch.use_deterministic_algorithms(strict, warn_only=warn)


def is_module(model: object) -> bool:
    """Return whether ``model`` is a torch module."""
    return isinstance(model, nn.Module)


@final
class OutsideModule(SparseModule):
    """Somebody's ``model`` with the losses it has, else squared error plus its ``penalty(codes)`` if it has one."""

    def __init__(self, model: nn.Module, width: int, dim: int) -> None:
        super().__init__()
        self.model, self.width, self.dim = model, width, dim
        own: Any = getattr(model, "losses", None)
        self._losses = own if callable(own) else None
        self._with_step = self._losses is not None and _takes_step(self._losses)

    def encode(self, x: Tensor) -> Tensor:
        codes: Any = self.model.encode(x)  # type: ignore[operator]
        if not isinstance(codes, Tensor):
            raise TypeError(
                f"encode of {type(self.model).__name__} must return one tensor to be trained by reconstruction; got "
                f"{type(codes).__name__}. Give the module losses(x), or pass fit=..., your own trainer."
            )
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        rebuilt: Tensor = self.model.decode(codes)  # type: ignore[operator]
        return rebuilt

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        if self._losses is None:
            return self._reconstruction(x)
        found: Any = self._losses(x, step) if self._with_step else self._losses(x)
        terms = dict(found) if isinstance(found, dict) else {"objective": found}
        for name, term in terms.items():
            if not isinstance(term, Tensor) or term.ndim:
                raise TypeError(
                    f"losses of {type(self.model).__name__} must return a scalar tensor or a dict of them; "
                    f"{name} is {tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__}. "
                    "Take the mean over samples."
                )
        return terms

    def _reconstruction(self, x: Tensor) -> dict[str, Tensor]:
        codes = self.encode(x)
        terms = {"squared_error": (x - self.decode(codes)).square().sum(-1).mean()}
        penalty = getattr(self.model, "penalty", None)
        return {**terms, "penalty": penalty(codes).mean()} if callable(penalty) else terms

    def atoms(self) -> Tensor:
        with torch.no_grad():
            return self._columns(torch.eye(self.width, dtype=torch.float32)) - self.decoder_bias()

    def check(self, x: Tensor) -> None:
        """Refuse a model whose codes of ``x (n, d)``, by one call in inference, have another width, or as `atoms` does.

        An encode that fails before training, for want of a threshold perhaps, is no matter here.
        """
        flags = [(module, module.training) for module in self.modules()]
        self.eval()
        codes: Any = None
        with torch.no_grad(), torch.random.fork_rng(devices=[]), suppress(Exception):
            codes = self.model.encode(x)  # type: ignore[operator]
        for module, flag in flags:
            module.training = flag
        if isinstance(codes, Tensor) and codes.ndim == 2:
            check_width(self.width, codes.shape[1])

    def decoder_bias(self) -> Tensor:
        with torch.no_grad():
            return self._columns(torch.zeros(1, self.width, dtype=torch.float32))[0]

    def _columns(self, codes: Tensor) -> Tensor:
        try:
            rebuilt = self.decode(codes)
        except RuntimeError as error:
            raise ValueError(
                f"decode of {type(self.model).__name__} must take codes (n, {self.width}) in float32, since the "
                f"factory was asked for width {self.width}; it raised: {error}"
            ) from error
        if not bool(torch.isfinite(rebuilt).all()):
            raise ValueError(
                f"decode of {type(self.model).__name__} returned NaN or infinite values; check the weights."
            )
        return rebuilt


def _takes_step(losses: Callable[..., Any]) -> bool:
    """Return whether ``losses`` has a second argument without a default, or one that is called step."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [one for one in inspect.signature(losses).parameters.values() if one.kind in kinds][1:2]
    return any(one.name == "step" or one.default is inspect.Parameter.empty for one in second)


@final
class Rescaled(nn.Module):
    """A model trained on (x - mean) / scale, as one that takes and gives back x."""

    def __init__(self, model: nn.Module, mean: FloatArray, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale
        self.mean: Tensor
        self.register_buffer("mean", torch.as_tensor(mean.copy(), dtype=torch.float32))

    def forward(self, x: Tensor) -> Any:
        return self.model((x - self.mean) / self.scale) * self.scale + self.mean

    def encode(self, x: Tensor) -> Any:
        return self.model.encode((x - self.mean) / self.scale)  # type: ignore[operator]

    def decode(self, *codes: Any) -> Any:
        return self.model.decode(*codes) * self.scale + self.mean  # type: ignore[operator]


@final
class _Loop(NeuralSolver):
    """The training loop with a model that is made elsewhere."""

    def __init__(self, width: int, training: Training, make: Callable[[], SparseModule]) -> None:
        self.width, self.training, self._make = width, training, make

    def module(self, dim: int, rng: Rng) -> SparseModule:
        return self._make()


def train_module(
    model: nn.Module, x: FloatArray, width: int, training: Training, rng: Rng
) -> FittedDictionary | nn.Module:
    """Return ``model`` trained on ``x (n, d)`` by the one loop, on data of mean zero and E||x||^2 = d.

    One of our own modules comes back as a `FittedDictionary`, any other as a module that takes and gives x as it is. A
    module without parameters to train comes back as it was.

    Raises
    ------
    ValueError
        If the model has another width, or its loss is not finite, from the beginning or later.
    """
    own = isinstance(model, SparseModule)
    if not own and not any(weight.requires_grad for weight in model.parameters()):
        return model
    wrapped: SparseModule = (
        model if isinstance(model, SparseModule) else OutsideModule(model.float(), width, x.shape[1])
    )
    if isinstance(wrapped, OutsideModule):
        wrapped.check(torch.from_numpy(x[:2].astype(np.float32)))
    else:
        check_width(width, len(wrapped.atoms()))
    fitted = _Loop(width, training, lambda: wrapped).fit_stream(Rows(x), rng=rng)
    if own:
        return fitted
    if "diverged_at" in fitted.trace:
        if fitted.trace["diverged_at"][0] == 0:
            raise ValueError(
                f"the loss of {type(model).__name__} is NaN or infinite before any training. Look at what encode, "
                "decode and losses return for samples of this scale, E||x||^2 = d."
            )
        raise ValueError(
            f"training of {type(model).__name__} diverged at step {fitted.trace['diverged_at'][0]:.0f}: the loss or a "
            "weight is no longer finite. Lower the learning rate by fit=..., your own trainer, or mend the loss."
        )
    encoder = fitted.encoder
    if not isinstance(encoder, NeuralEncoder):
        raise TypeError(f"the training loop must give a NeuralEncoder; got {type(encoder).__name__}.")
    return Rescaled(model, fitted.bias - encoder.scale * encoder.offset, encoder.scale)


def tensor_stream(x: FloatArray, size: int, rng: Rng) -> Iterator[Tensor]:
    """Yield float32 batches ``(size, d)`` of the rows of ``x`` for ever, all of them before any comes again."""
    for batch in Rows(x).batches(size, rng):
        yield torch.from_numpy(batch.astype(np.float32))
