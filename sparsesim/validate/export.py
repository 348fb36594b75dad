"""Our fits as folders of SAELens, for its dashboards and evaluations."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import FittedDictionary
from sparsesim.study.table import write_whole
from sparsesim.validate.layouts import saelens
from sparsesim.validate.weights import LoadedModel

if TYPE_CHECKING:
    from sparsesim.solvers.neural.module import SparseModule
    from sparsesim.solvers.neural.solver import NeuralEncoder

FORMAT = "6.54.12"  # the release of SAELens whose folders these are
CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
SAMPLES, AGREEMENT, EXCEPTIONS = 256, 1e-4, 0.02  # rows in which a latent lies within rounding of its threshold

Mapped = tuple[str, dict[str, Any], dict[str, FloatArray]]


def export_saelens(fitted: FittedDictionary, folder: str | os.PathLike[str]) -> LoadedModel:
    """Write ``fitted`` as an SAELens folder, and return the model that `load_model` makes of it: the same bits.

    The folder gets ``cfg.json``, ``sae_weights.safetensors`` in float32, and the SHA-256 of the latter beside it. What
    maps: ReLU encoders (standard), TopK (topk), AbsTopK (abstopk), JumpReLU, BatchTopK and Matryoshka with their
    inference thresholds (jumprelu) and Gated (gated). Scale and mean of the data are folded into the weights. Decoder
    rows stay as they were trained, of unit norm in most solvers, and codes are for them. Before anything is written the
    codes of the exported weights are compared with those of ``fitted``.

    Parameters
    ----------
    fitted : of one of these solvers, its encoder not replaced.
    folder : does not exist yet or is empty.

    Raises
    ------
    TypeError
        If ``fitted`` has another encoder or another module than these; it is named.
    ValueError
        If the exported weights would compute other codes.
    FileExistsError
        If there is something in ``folder``.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is not empty. Choose another folder.")
    config, arrays = _contents(fitted)
    model = saelens(config, dict(arrays))
    _check_same(fitted, model)
    content = safetensors.numpy.save(arrays)
    target.mkdir(parents=True, exist_ok=True)
    write_whole(target / WEIGHTS, content)
    write_whole(target / f"{WEIGHTS}.sha256", f"{hashlib.sha256(content).hexdigest()}  {WEIGHTS}\n")
    write_whole(target / CONFIG, json.dumps(config, indent=2))  # last: without it the folder is no model
    return model


def _contents(fitted: FittedDictionary) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return the configuration and the float32 weights."""
    encoder = _neural(fitted)
    kind, more, own = _mapped(encoder.module, encoder.scale)
    decoder = encoder.atoms * encoder.norms[:, None]
    arrays = {**own, "W_dec": decoder, "b_dec": fitted.bias}
    config = {
        "d_in": fitted.dim,
        "d_sae": fitted.width,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": FORMAT, "sae_lens_training_version": None, "exported_by": "sparsesim"},
        "architecture": kind,
        **more,
    }
    return config, {name: np.array(array, dtype=np.float32, order="C") for name, array in arrays.items()}


def _neural(fitted: FittedDictionary) -> NeuralEncoder:
    if not isinstance(fitted, FittedDictionary):
        raise TypeError(f"export_saelens takes what a solver's fit returns, a FittedDictionary; got {fitted!r:.100}.")
    if type(fitted.encoder).__name__ != "NeuralEncoder" or not fitted.linear_decoder:
        what = type(fitted.encoder).__name__ if fitted.linear_decoder else "a decoder that is not linear"
        raise TypeError(
            f"SAELens has no architecture for {what}. Export a fit of ReLUL1, TopK, BatchTopK, Matryoshka, JumpReLU or "
            "Gated whose encoder was not replaced."
        )
    encoder: NeuralEncoder = fitted.encoder  # type: ignore[assignment]
    return encoder


def _mapped(module: SparseModule, scale: float) -> Mapped:
    """Return architecture, further configuration and encoder weights of the model of (x - mean) / ``scale``.

    With x - b_dec = scale (v - b_d) for the module's input v, codes and every offset of a pre-activation are times
    ``scale``.
    """
    from sparsesim.solvers.neural.abs_topk import AbsTopKModule
    from sparsesim.solvers.neural.batch_topk import BatchTopKModule
    from sparsesim.solvers.neural.gated import GatedModule
    from sparsesim.solvers.neural.pieces import UnitDecoder
    from sparsesim.solvers.neural.topk import TopKModule
    from sparsesim.solvers.neural.wrapped import WrappedModule

    while isinstance(module, WrappedModule):
        module = module.host
    encoder, offset = _affine(module)
    plain = {"W_enc": encoder.T, "b_enc": offset * scale}
    if isinstance(module, GatedModule):
        offsets = {"b_gate": offset * scale, "b_mag": _array(module.magnitude_bias) * scale}
        return "gated", {}, {"W_enc": encoder.T, **offsets, "r_mag": _array(module.log_scale)}
    if isinstance(module, TopKModule | AbsTopKModule):
        kind = "abstopk" if isinstance(module, AbsTopKModule) else "topk"
        return kind, {"k": int(module.k), "rescale_acts_by_decoder_norm": False}, plain
    if isinstance(module, BatchTopKModule):
        threshold = np.full(len(encoder), float(module.threshold.value))
        return "jumprelu", {}, {**plain, "threshold": threshold * scale}
    if hasattr(module, "log_threshold"):
        return "jumprelu", {}, {**plain, "threshold": np.exp(_array(module.log_threshold)) * scale}
    if isinstance(module, UnitDecoder) or type(module).__name__ in ("WeightedReLUL1Module", "TiedReLUL1Module"):
        return "standard", {}, plain
    raise _unmapped(module)


def _affine(module: SparseModule) -> tuple[FloatArray, FloatArray]:
    """Return W ``(p, d)`` and b ``(p,)`` of the pre-activations (v - b_d) W' + b of a module's input v."""
    from sparsesim.solvers.neural.free_decoder import FreeDecoder
    from sparsesim.solvers.neural.jump_relu import JumpReLUModule
    from sparsesim.solvers.neural.pieces import UnitDecoder
    from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1Module

    if isinstance(module, TiedReLUL1Module):
        encoder: Any = module.atoms()
    elif isinstance(module, UnitDecoder | FreeDecoder):
        encoder = module.encoder
    else:
        raise _unmapped(module)
    weight, offset = _array(encoder), _array(module.encoder_bias)
    without = isinstance(module, FreeDecoder) or (isinstance(module, JumpReLUModule) and not module.pre_bias)
    return weight, offset + weight @ _array(module.decoder_bias()) if without else offset


def _array(tensor: Any) -> FloatArray:
    array: FloatArray = tensor.detach().cpu().double().numpy()
    return array


def _unmapped(module: SparseModule) -> TypeError:
    return TypeError(
        f"SAELens has no architecture for {type(module).__name__}. There are those for ReLU, TopK, AbsTopK, "
        "BatchTopK, Matryoshka, JumpReLU and Gated solvers."
    )


def _check_same(fitted: FittedDictionary, model: LoadedModel) -> None:
    """Raise ValueError unless the exported weights give the codes of ``fitted`` on samples as large as its data.

    Both are rounded to float32 in their own way, so that a latent at its threshold may fall on either side.
    """
    scale: float = fitted.encoder.scale  # type: ignore[attr-defined]
    noise = stream(0, Role.MODEL_PROBE).standard_normal((SAMPLES, fitted.dim))
    x = (fitted.bias + scale * noise).astype(np.float64)
    expected = fitted.encode(x).toarray()
    found = model.encode(x) * np.linalg.norm(model.W_dec.astype(np.float64), axis=1)
    largest = max(float(np.abs(expected).max()), np.finfo(np.float64).tiny)
    off = float((np.abs(found - expected).max(axis=1) > AGREEMENT * largest).mean())
    if off > EXCEPTIONS:
        module = type(fitted.encoder.module).__name__  # type: ignore[attr-defined]
        raise ValueError(
            f"the weights of {module} in the layout of SAELens give other codes in {off:.0%} of {SAMPLES} samples: its "
            "encoder does more than the architectures there. It is not exported."
        )
