"""The state of a torch module out of a ``.pt`` file, for those who trust it: such a file is a pickle."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsesim.generators.untrusted import check_digest

_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError)
SAFE_FROM = (2, 10)  # torch.load(weights_only=True) of earlier releases could be made to execute or overwrite


def read_checkpoint(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a state dictionary, read by ``torch.load(weights_only=True)`` and nothing else.

    Raises
    ------
    ValueError
        If torch is older than 2.10, or the file holds anything but tensors by name, is damaged, or has NaN in it.
    """
    import torch

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < SAFE_FROM:
        raise ValueError(
            f"{path.name} is a pickle, which torch {torch.__version__} does not read safely. Use torch >= 2.10, or "
            "convert the file by safetensors.torch.save_file(state, 'ae.safetensors') where it was written."
        )
    content = path.read_bytes()
    check_digest(path, content)
    try:
        _check_sums(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, *_DAMAGE) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path.name} cannot be read as tensors alone ({reason:.200}). It is not read.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(
            f"{path.name} must hold a dictionary of tensors; got {type(state).__name__}. Save state_dict()."
        )
    arrays = {str(name): value.detach() for name, value in state.items()}
    found = {
        name: (value.float() if value.dtype == torch.bfloat16 else value).numpy() for name, value in arrays.items()
    }
    for name, array in found.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{path.name} holds NaN or infinity in {name}.")
    return found


def _check_sums(content: bytes) -> None:
    """Raise ValueError where a checksum of the archive does not fit, which torch does not look at."""
    if not content.startswith(b"PK"):  # of before torch 1.6, without checksums
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        broken = archive.testzip()
    if broken:
        raise ValueError(f"the checksum of {broken} is wrong: the file is damaged, or was saved without")
