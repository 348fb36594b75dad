"""Turn an outside model into a `FittedDictionary` by probing what it does, not by trusting names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, check_samples, unit_rows
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.validate import probes
from sparsesim.validate.bridge import (
    Bridge,
    Function,
    as_array,
    block_rows,
    check_weights,
    matrix,
    random_state_kept,
)
from sparsesim.validate.dialects import candidates, choose
from sparsesim.validate.weights import LoadedModel


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
class ForeignEncoder:
    """The encoder of an outside model: its own ``encode`` on uncentred samples, decoder norms folded into the codes."""

    bridge: Bridge
    offset: FloatArray
    norms: FloatArray

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        size = block_rows(len(self.norms))
        blocks = [x[start : start + size] for start in range(0, len(x), size)]
        rows = [Codes(self.bridge.encode(block + self.offset, len(self.norms)) * self.norms) for block in blocks]
        merged = rows[0] if len(rows) == 1 else _stack(rows)
        return merged.astype(x.dtype)


@final
@dataclass(frozen=True, eq=False)
class ForeignDecoder:
    """The nonlinear decoder of an outside model, for codes that have the norms of its linearisation folded in."""

    bridge: Bridge
    offset: FloatArray
    norms: FloatArray

    def decode(self, codes: Codes) -> FloatArray:
        """Return the centred reconstruction ``(n, d)`` of ``codes (n, p)``."""
        scale = np.where(self.norms > 0, self.norms, 1.0)
        size, dim = block_rows(len(scale)), len(self.offset)
        out = np.empty((codes.shape[0], dim), codes.dtype)
        for start in range(0, len(out), size):
            block = codes[start : start + size].toarray().astype(np.float64) / scale
            out[start : start + size] = self.bridge.decode(block, dim) - self.offset
        return out


def _stack(rows: list[Codes]) -> Codes:
    from scipy.sparse import vstack

    return Codes(vstack(rows, format="csr"))


def adapt(
    model: Any,
    probe: FloatArray,
    *,
    encode: Callable[[Any, Any], Any] | None = None,
    decode: Callable[[Any, Any], Any] | None = None,
    linear_decoder: bool = True,
) -> Adapted:
    """Return ``model`` as a `FittedDictionary` after probing it on ``probe (n, d)``.

    Atoms are ``decode(e_i) - decode(0)``, whatever the weights are called and however they are laid out. A torch
    module is run in eval mode without gradients; its training flags and torch's random state are restored. The card
    says what was found: shapes, where codes were, whether calling the model gives decode(encode(x)), and more.

    Parameters
    ----------
    model : torch module or numpy object with ``encode`` and ``decode``; what encode may return, see `dialects`. A
        scikit-learn transformer with ``transform``, and ``inverse_transform`` or ``components_``, works as well, and
        what `load_model` returns. A `FittedDictionary` is returned as it is.
    probe : samples like those it will be scored on, at least 8.
    encode, decode : ``f(model, x)``, where the methods are called or return something else.
    linear_decoder : False accepts a decoder that is not affine; atoms are then its linearisation at the mean code.

    Raises
    ------
    TypeError
        If there is no way to encode or decode, or if something else than an array of real numbers comes back.
    ValueError
        If shapes do not fit, the decoder is not affine or uses what encode left behind, codes are random or depend on
        the other rows of the batch, a square decoder is transposed, or weights are not finite, in half precision or on
        the meta device.
    """
    if isinstance(model, FittedDictionary):
        return Adapted(model, (("model", f"FittedDictionary, width p={model.width}, d={model.dim}"),))
    probe = check_samples(probe, "probe").astype(np.float64)
    if len(probe) < 8:
        raise ValueError(f"probe must have at least 8 rows; got {len(probe)}.")
    bridge, decoding = _bridge(model, encode, decode)
    check_weights(model)
    with random_state_kept():
        bridge = _listen(bridge, probe, dense=decode is not None)
        return _probed(bridge, probe, decoding, linear_decoder)


def _bridge(
    model: Any, encode: Callable[[Any, Any], Any] | None, decode: Callable[[Any, Any], Any] | None
) -> tuple[Bridge, str]:
    """Return how the model is called, and in words how it decodes."""
    encoding = _function(model, encode, ("encode", "transform"))
    components = getattr(model, "components_", None)
    decoders = ("decode", "inverse_transform")
    if decode is None and components is not None and not any(callable(getattr(model, name, None)) for name in decoders):
        return Bridge(model, encoding, lambda z: z @ components), "z @ components_, since there is no inverse_transform"
    return Bridge(model, encoding, _function(model, decode, decoders)), ""


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


def _listen(bridge: Bridge, probe: FloatArray, *, dense: bool) -> Bridge:
    """Return the bridge that reads codes where they are in what encode returns."""
    result = bridge.call(bridge.encode_function, "encode", probe)
    found = [replace(bridge, dialect=each) for each in candidates(result, as_array, dense=dense)]
    if len(found) == 1:
        return found[0]
    codes = [matrix(each.dialect.codes(result), "encode", len(probe), None) for each in found]
    whole = bridge.forward(probe)
    agree = [not isinstance(whole, str) and _decodes_to(each, z, whole) for each, z in zip(found, codes, strict=True)]
    return replace(bridge, dialect=choose([each.dialect for each in found], result, codes, agree))


def _decodes_to(bridge: Bridge, codes: FloatArray, whole: list[FloatArray]) -> bool:
    """Whether the model gives, when called, what decoding ``codes`` gives; False where they cannot be decoded."""
    try:
        own = bridge.decode(codes, whole[0].shape[1])
    except Exception:
        return False
    return any(probes.relative(each - own, own) <= probes.AGREEMENT for each in whole)


def _probed(bridge: Bridge, probe: FloatArray, decoding: str, linear_decoder: bool) -> Adapted:
    codes = bridge.encode(probe)
    probes.check_deterministic(bridge, probe, codes)
    probes.check_row_wise(bridge, probe, codes)
    part = probes.linear_part(bridge, probe, codes)
    affine = part.error <= probes.AGREEMENT
    if linear_decoder:
        probes.check_affine(part.error)
    manner = f"affine to {part.error:.1e} relative" + (f": {decoding}" if decoding else "")
    if affine:
        probes.check_transposed(probe, codes, part)
    else:
        part = probes.local_part(bridge, codes, probe.shape[1])
        manner = f"not affine: atoms are its linearisation at the mean code, off by {part.error:.1e} on the codes"
    unit, norms = unit_rows(part.atoms)
    decoder = None if affine else ForeignDecoder(bridge, part.bias, norms)
    encoder = ForeignEncoder(bridge, part.bias, norms)
    fitted = FittedDictionary(unit, part.bias, encoder, Status.BUDGET_SPENT, decoder=decoder)
    return Adapted(fitted, _card(bridge, probe, codes, part, manner))


def _card(
    bridge: Bridge, probe: FloatArray, codes: FloatArray, part: probes.Linear, manner: str
) -> tuple[tuple[str, str], ...]:
    model, (width, dim) = bridge.model, part.atoms.shape
    name = model.origin if isinstance(model, LoadedModel) else f"{type(model).__module__}.{type(model).__qualname__}"
    norms = np.linalg.norm(part.atoms, axis=1)
    reconstruction = bridge.decode(codes, dim)
    share = probes.explained(probe, reconstruction)
    worse = ", worse than the mean does: was it trained on such samples, in this scale?" if share < 0 else ""
    return (
        ("model", name),
        ("shapes", f"width p={width}, dimension d={dim}"),
        ("computes", bridge.home()),
        ("input", f"as it is, never rescaled: norm {np.linalg.norm(probe, axis=1).mean():.3g} on average"),
        ("encode", "deterministic, row by row" + (", non-negative" if codes.min() >= 0 else ", signed")),
        ("codes", str(bridge.dialect)),
        ("decode", manner),
        (
            "atoms",
            f"norms {norms.min():.3g} to {norms.max():.3g}, folded into the codes; {(norms == 0).sum()} are zero",
        ),
        ("bias", f"norm {np.linalg.norm(part.bias):.3g}"),
        ("forward", probes.compare_forward(bridge, probe, reconstruction)),
        ("mean L0", f"{np.count_nonzero(codes) / len(codes):.2f} on the probe"),
        ("variance", f"explains {share:.3g} of that of the probe{worse}"),
    )
