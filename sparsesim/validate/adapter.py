"""Turn an outside model into a `FittedDictionary` by probing what it does, not by trusting names."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, final

import numpy as np
from scipy.sparse import issparse

from sparsesim._arrays import Codes, FloatArray, check_samples, unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import FittedDictionary, Status

Function: TypeAlias = Callable[[Any], Any]

# Two evaluations of one float32 network agree to about 1e-6 relative; a batch-dependent encoder or a sampled code
# differs by percents. The threshold lies between, two orders from either.
AGREEMENT = 1e-4
BLOCK = 1024


@final
@dataclass(frozen=True)
class Adapted:
    """An outside model as a `FittedDictionary`, with the card of what probing found.

    Attributes
    ----------
    fitted : unit atoms ``(p, d)``, norms folded into the codes.
    card : finding by name, in the order in which they were probed.
    """

    fitted: FittedDictionary
    card: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.card)
        return "\n".join(f"{name:<{width}}  {finding}" for name, finding in self.card)


@final
@dataclass(frozen=True, eq=False)
class _Bridge:
    """Calls ``encode`` and ``decode`` of a torch module (in eval mode, no gradient) or of a numpy object."""

    model: Any
    encode_function: Function
    decode_function: Function

    @contextmanager
    def _inference(self) -> Iterator[Callable[[FloatArray], Any]]:
        """Yield the conversion into the model's own arrays, with its training flags put aside and restored."""
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(self.model, torch.nn.Module):
            yield lambda array: array.copy()  # a model may write to its input
            return
        weights = chain(self.model.parameters(), self.model.buffers())
        like = next((weight for weight in weights if weight.is_floating_point()), torch.zeros(()))
        flags = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with torch.no_grad():
                yield lambda array: torch.as_tensor(array.copy(), dtype=like.dtype, device=like.device)
        finally:
            for module, flag in flags:
                module.training = flag

    def _call(self, function: Function, name: str, x: FloatArray, columns: int | None) -> FloatArray:
        try:
            with self._inference() as native:
                result = function(native(x))
        except Exception as error:
            error.add_note(f"{_given(self.model, name, x)} Pass {name}=lambda model, x: ... to call it otherwise.")
            raise
        if isinstance(result, tuple | list | dict):
            raise TypeError(
                f"{name} must return one array, but returned a {type(result).__name__} of {len(result)}; "
                f"pass {name}=lambda model, x: ... that picks the right one."
            )
        if issparse(result):
            result = result.toarray()
        if hasattr(result, "detach"):
            result = result.detach().to_dense().cpu()
            result = result if result.is_complex() else result.double()
        array = np.asarray(result)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must return an array of real numbers; got {type(result).__name__}, {array.dtype}.")
        if array.ndim != 2 or len(array) != len(x) or (columns is not None and array.shape[1] != columns):
            raise ValueError(
                f"{name} must map {len(x)} rows to an array of shape ({len(x)}, {columns or 'p'}); got {array.shape}. "
                f"Pass {name}=lambda model, x: ... to adjust it."
            )
        if not array.shape[1]:
            raise ValueError(
                f"{name} returned no columns; got shape {array.shape}. Give the model at least one latent."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} returned NaN or infinite values; check the weights of the model.")
        return array.astype(np.float64)

    def encode(self, x: FloatArray, width: int | None = None) -> FloatArray:
        return self._call(self.encode_function, "encode", x, width)

    def decode(self, codes: FloatArray, dim: int) -> FloatArray:
        return self._call(self.decode_function, "decode", codes, dim)


@final
@dataclass(frozen=True, eq=False)
class ForeignEncoder:
    """The encoder of an outside model: its own ``encode`` on uncentred samples, decoder norms folded into the codes."""

    bridge: _Bridge
    offset: FloatArray
    norms: FloatArray

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        blocks = [x[start : start + BLOCK] for start in range(0, len(x), BLOCK)]
        rows = [Codes(self.bridge.encode(block + self.offset, len(self.norms)) * self.norms) for block in blocks]
        merged = rows[0] if len(rows) == 1 else _stack(rows)
        return merged.astype(x.dtype)


def _stack(rows: list[Codes]) -> Codes:
    from scipy.sparse import vstack

    return Codes(vstack(rows, format="csr"))


def _given(model: Any, name: str, x: FloatArray) -> str:
    """Return what an exception out of the model's own code does not say: with what it was called."""
    torch = sys.modules.get("torch")
    module = torch is not None and isinstance(model, torch.nn.Module)
    kind = "torch tensor" if module else "numpy array, since the model is no torch.nn.Module"
    owner = f"the class {model.__name__} (not an instance)" if isinstance(model, type) else type(model).__name__
    return f"Raised by {name} of {owner}, which was given {len(x)} rows of {x.shape[1]} columns as a {kind}."


def _check_weights(model: Any) -> None:
    """Refuse a torch module whose weights hold no values, or too few digits to tell rounding from a defect."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        return
    for name, weight in chain(model.named_parameters(), model.named_buffers()):
        if weight.is_meta:
            raise ValueError(
                f"{name} of {type(model).__name__} lies on the meta device, without values. Load it first."
            )
        if weight.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"{name} of {type(model).__name__} is {weight.dtype}, whose rounding hides what is probed. "
                "Pass copy.deepcopy(model).float(): the same weights in single precision."
            )


def _function(model: Any, override: Callable[[Any, Any], Any] | None, names: tuple[str, ...]) -> Function:
    if override is not None:
        return lambda x: override(model, x)
    for name in names:
        if callable(getattr(model, name, None)):
            found: Function = getattr(model, name)
            return found
    raise TypeError(
        f"{type(model).__name__} has no method {' or '.join(names)}; "
        f"pass {names[0]}=lambda model, x: ... to say how it is done."
    )


def adapt(
    model: Any,
    probe: FloatArray,
    *,
    encode: Callable[[Any, Any], Any] | None = None,
    decode: Callable[[Any, Any], Any] | None = None,
) -> Adapted:
    """Return ``model`` as a `FittedDictionary` after probing it on ``probe (n, d)``.

    Atoms are ``decode(e_i) - decode(0)``, whatever the weights are called and however they are laid out. A torch
    module is run in eval mode without gradients; its training flags are restored.

    Parameters
    ----------
    model : torch module or numpy object with ``encode`` and ``decode``; a scikit-learn transformer with ``transform``
        and ``inverse_transform`` works as well. A `FittedDictionary` is returned as it is.
    probe : samples like those it will be scored on, at least 8.
    encode, decode : ``f(model, x)``, where the methods are called or return something else.

    Raises
    ------
    TypeError
        If there is no way to encode or decode, or if something else than an array of real numbers comes back.
    ValueError
        If shapes do not fit, the decoder is not affine or uses what encode left behind, codes are random or depend on
        the other rows of the batch, or weights are in half precision or on the meta device.
    """
    if isinstance(model, FittedDictionary):
        return Adapted(model, (("model", f"FittedDictionary, width p={model.width}, d={model.dim}"),))
    probe = check_samples(probe, "probe").astype(np.float64)
    if len(probe) < 8:
        raise ValueError(f"probe must have at least 8 rows; got {len(probe)}.")
    bridge = _Bridge(
        model,
        _function(model, encode, ("encode", "transform")),
        _function(model, decode, ("decode", "inverse_transform")),
    )
    _check_weights(model)
    codes = bridge.encode(probe)
    width, dim = codes.shape[1], probe.shape[1]
    _check_deterministic(bridge, probe, codes)
    _check_row_wise(bridge, probe, codes)
    bias = bridge.decode(np.zeros((1, width)), dim)[0]
    # As large as codes are, lest a large bias swallow the atoms; a power of two, so that scaling does not round.
    scale = math.ldexp(1.0, math.frexp(float(np.abs(codes).max()))[1])
    raw = (_impulse_responses(bridge, width, dim, scale) - bias) / scale
    affinity = _check_affine(bridge, probe, codes, raw, bias)
    unit, norms = unit_rows(raw)
    fitted = FittedDictionary(unit, bias, ForeignEncoder(bridge, bias, norms), Status.BUDGET_SPENT)
    alive = norms > 0
    card = (
        ("model", f"{type(model).__module__}.{type(model).__qualname__}"),
        ("shapes", f"width p={width}, dimension d={dim}"),
        ("encode", "deterministic, row by row" + (", non-negative" if codes.min() >= 0 else ", signed")),
        ("decode", f"affine to {affinity:.1e} relative"),
        (
            "atoms",
            f"norms {norms.min():.3g} to {norms.max():.3g}, folded into the codes; {int((~alive).sum())} are zero",
        ),
        ("bias", f"norm {np.linalg.norm(bias):.3g}"),
        ("mean L0", f"{np.count_nonzero(codes) / len(codes):.2f} on the probe"),
    )
    return Adapted(fitted, card)


def _relative(difference: FloatArray, reference: FloatArray) -> float:
    scale = float(np.abs(reference).max())
    return float(np.abs(difference).max()) / scale if scale else float(np.abs(difference).max() > 0)


def _check_deterministic(bridge: _Bridge, probe: FloatArray, codes: FloatArray) -> None:
    error = _relative(bridge.encode(probe, codes.shape[1]) - codes, codes)
    if error > AGREEMENT:
        raise ValueError(
            f"encode is random: two calls on the same samples differ by {error:.1e} of the largest code. "
            "Pass encode=lambda model, x: ... that returns the mean (or fixes the noise)."
        )


def _check_row_wise(bridge: _Bridge, probe: FloatArray, codes: FloatArray) -> None:
    rows = range(0, len(probe), max(1, len(probe) // 8))
    alone = np.concatenate([bridge.encode(probe[i : i + 1], codes.shape[1]) for i in rows])
    error = _relative(alone - codes[list(rows)], codes)
    if error > AGREEMENT:
        raise ValueError(
            f"encode depends on the other rows of the batch: a row alone differs by {error:.1e} of the largest code. "
            "A BatchTopK model must use its inference threshold here; pass encode=lambda model, x: ... that does."
        )


def _impulse_responses(bridge: _Bridge, width: int, dim: int, scale: float) -> FloatArray:
    blocks = []
    for start in range(0, width, BLOCK):
        impulses = np.zeros((min(BLOCK, width - start), width))
        impulses[np.arange(len(impulses)), start + np.arange(len(impulses))] = scale
        blocks.append(bridge.decode(impulses, dim))
    return np.concatenate(blocks)


def _check_affine(bridge: _Bridge, probe: FloatArray, codes: FloatArray, raw: FloatArray, bias: FloatArray) -> float:
    """Return the relative error of decode(z) = z @ atoms + bias on the probe's codes and on random ones.

    The probe is encoded just before: a decoder that undoes a normalisation which encode has noted is seen so.
    """
    bridge.encode(probe, codes.shape[1])
    noise = stream(0, Role.MODEL_PROBE).standard_normal(codes.shape) * (np.abs(codes).max() or 1.0)
    worst = 0.0
    for z in (codes, noise):
        predicted = z @ raw + bias
        worst = max(worst, _relative(bridge.decode(z, raw.shape[1]) - predicted, predicted))
    if worst > AGREEMENT:
        raise ValueError(
            f"decode is not affine: it differs from z @ atoms + bias by {worst:.1e} of the largest value, "
            "so the model has no dictionary to compare with the truth. "
            "Pass decode=lambda model, z: ... with the linear part, if there is one; where decode undoes a "
            "normalisation of each sample that encode has noted, pass encode and decode without it."
        )
    return worst
