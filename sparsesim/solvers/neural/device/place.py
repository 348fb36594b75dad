"""Where tensors live, and which implementation of the sparse layer's operations serves them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, final

import torch
from torch import Tensor, nn

from sparsesim.solvers.neural.device import reference, reference_step

PRECISIONS = {"reference": "highest", "fast": "high", "fastest": "high"}  # in the words of torch
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def check(device: str, precision: str = "reference", graphs: bool = False) -> None:
    """Check the names of a device, which need not be here, and of a precision, and whether graphs may be asked for."""
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise ValueError(f"device must be 'cpu', 'cuda' or a numbered one such as 'cuda:1'; got {device!r}.")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}; got {precision!r}.")
    if device == "cpu" and precision != "reference":
        raise ValueError(
            f"precision={precision!r} speaks of products on a GPU, but device is 'cpu'. "
            "Leave precision='reference', or ask for device='cuda'."
        )
    if not isinstance(graphs, bool):
        raise TypeError(f"graphs must be True or False; got {graphs!r}.")
    if graphs and device == "cpu":
        raise ValueError("graphs=True records CUDA graphs, but device is 'cpu'. Ask for device='cuda', too.")


def found(device: str) -> torch.device:
    """Return the device of that name.

    Raises
    ------
    ValueError
        If torch cannot use it here.
    """
    if device == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (torch.device(device).index or 0) >= count:
        raise ValueError(
            f"device={device!r} is not here: torch {torch.__version__} sees {count} GPUs. "
            "Leave device='cpu', or install a torch that is built for the driver of this machine."
        )
    return torch.device(device)


@contextmanager
def products(device: torch.device, precision: str) -> Iterator[None]:
    """Compute the products of the block on a GPU in ``precision``; torch's setting is restored on exit.

    The setting is one for the whole process: it holds for other threads, too. On the CPU nothing is touched.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def on_host(tensor: Tensor) -> bool:
    """Return whether numba and numpy may work on the memory of ``tensor``."""
    return tensor.is_cpu


@cache
def _compiled() -> tuple[ModuleType, ModuleType] | None:
    """Return the Triton kernels, of parts of a step and of a whole one; None where there is no Triton."""
    if importlib.util.find_spec("triton") is None:
        return None
    from sparsesim.solvers.neural.device import compiled, compiled_step

    return compiled, compiled_step


def operations(tensor: Tensor) -> ModuleType:
    """Return ``compiled`` for tensors on a GPU where Triton is installed, else ``reference``."""
    found = _compiled() if tensor.is_cuda else None
    return reference if found is None else found[0]


def operations_of_step(tensor: Tensor) -> ModuleType:
    """Return ``compiled_step`` where `operations` returns ``compiled``, else ``reference_step``."""
    found = _compiled() if tensor.is_cuda else None
    return reference_step if found is None else found[1]


def move_(module: nn.Module, device: torch.device) -> None:
    """Move parameters and buffers of ``module`` to ``device``, all but those that a part lists in ``host_buffers``.

    These are numbers that decide shapes, of which the host must know the value without asking.
    """
    parts = [(part, name) for part in module.modules() for name in getattr(part, "host_buffers", ())]
    kept = [(part, name, part.get_buffer(name)) for part, name in parts]
    module.to(device)
    for part, name, buffer in kept:
        part.register_buffer(name, buffer)


@final
class Later:
    """Whether a condition held when it was asked for, told without waiting for the device where it can be.

    What is asked on a GPU travels while the GPU works on, and is there when it is read some steps later.
    """

    def __init__(self) -> None:
        self._asked: tuple[Tensor, Any] | None = None

    def __deepcopy__(self, memo: object) -> Later:
        return Later()

    def ask(self, condition: Tensor) -> None:
        """Start to tell whether ``condition ()`` holds."""
        if condition.is_cuda:
            told = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(condition, non_blocking=True)
            event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            self._asked = told, event

    def read(self, condition: Tensor) -> bool:
        """Return whether the condition asked for last held; ``condition`` is the same one, for who has not asked."""
        if self._asked is None:
            return bool(condition)
        told, event = self._asked
        event.synchronize()
        return bool(told)
