"""Where tensors live, and which implementation of the sparse layer's operations serves them."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType

from torch import Tensor

from sparsesim.solvers.neural.device import reference


def on_host(tensor: Tensor) -> bool:
    """Return whether numba and numpy may work on the memory of ``tensor``."""
    return tensor.is_cpu


@cache
def _compiled() -> ModuleType | None:
    """Return the Triton kernels, None where there is no Triton."""
    if importlib.util.find_spec("triton") is None:
        return None
    from sparsesim.solvers.neural.device import compiled

    return compiled


def operations(tensor: Tensor) -> ModuleType:
    """Return ``compiled`` for tensors on a GPU where Triton is installed, else ``reference``."""
    found = _compiled() if tensor.is_cuda else None
    return reference if found is None else found
