"""What a configuration and its arrays must be before a model is made of them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray, check_int
from sparsesim.validate.weights import Activation, LoadedModel

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
Shapes: TypeAlias = dict[str, tuple[int, ...]]


def refuse(what: str, why: str) -> ValueError:
    """Return the error for something that is known and not computed here."""
    return ValueError(f"{what} is not scored from its folder: {why}.")


def check_arrays(arrays: Arrays, shapes: Shapes) -> None:
    """Raise ValueError unless ``arrays`` have exactly these names and shapes; it lists what is missing and extra."""
    missing, extra = sorted(shapes.keys() - arrays.keys()), sorted(arrays.keys() - shapes.keys())
    if missing or extra:
        raise ValueError(
            f"the weights must be {', '.join(shapes)}; missing: {', '.join(missing) or 'none'}; "
            f"not known: {', '.join(extra) or 'none'}. Was it saved as another architecture?"
        )
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            turned = " It is the transpose." if arrays[name].shape == shape[::-1] and len(shape) == 2 else ""
            raise ValueError(f"{name} must have shape {shape}; got {arrays[name].shape}.{turned}")


def shapes_of(arrays: Arrays) -> str:
    """Return names and shapes in words."""
    return ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "nothing"


def size(config: dict[str, Any], name: str) -> int:
    """Return the positive integer under ``name``."""
    if name not in config:
        raise ValueError(f"the configuration must say {name}; it has {', '.join(sorted(map(str, config))[:20])}.")
    return check_int(name, config[name], 1)


def count(config: dict[str, Any], p: int) -> int:
    """Return k, at most ``p``; configurations before SAELens 6 have it among ``activation_fn_kwargs``."""
    former = config.get("activation_fn_kwargs")
    nested = former.get("k") if isinstance(former, dict) else None
    return check_int("k", config.get("k", nested), 1, p, high_name="width")


def flag(config: dict[str, Any], name: str, usual: bool) -> bool:
    """Return what is under ``name``, true or false; ``usual`` where there is nothing."""
    value = config.get(name, usual)
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false in the configuration; got {value!r}.")
    return value


def assembled(
    encoder: FloatArray,
    offset: FloatArray,
    decoder: FloatArray,
    bias: FloatArray,
    subtracts: bool,
    activation: Activation,
    origin: str,
) -> LoadedModel:
    """Return the model whose encoder ``subtracts`` the decoder bias, or does not."""
    shift = bias if subtracts else np.zeros_like(bias)
    return LoadedModel(encoder, offset, decoder, bias, shift, activation, origin)
