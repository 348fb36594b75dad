"""How trained autoencoders lie on disk: SAELens, sparsify, dictionary_learning, and bare matrices.

Each reader takes a configuration and the arrays and returns a `LoadedModel` that computes the same codes and the same
reconstruction, or refuses by name what it does not compute. None of the libraries is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray, check_int
from sparsesim.validate.configured import Arrays, Shapes, assembled, check_arrays, count, flag, refuse, shapes_of, size
from sparsesim.validate.weights import Activation, Gate, GroupMaximum, Jump, Largest, LoadedModel, Rectified

_PER_SAMPLE = "it rescales each sample and undoes that after decoding, so that decode is no function of the codes alone"
_UNFOLDED = "the statistics it expects its input to be divided by are not in the folder"
_NORMALISATIONS = {
    "layer_norm": _PER_SAMPLE,
    "constant_norm_rescale": _PER_SAMPLE,
    "expected_average_only_in": f"{_UNFOLDED}; call fold_activation_norm_scaling_factor(...) before saving",
    "covariance_whitening": f"{_UNFOLDED}; call fold_activation_whitening(...) before saving",
}
_TRAINING = "it is a checkpoint of training, whose codes depend on the batch; save it by save_inference_model(folder)"
_TRANSCODER = "it predicts other activations than it reads, so that its decoder is no dictionary of its input"
_ARCHITECTURES = {
    "batchtopk": _TRAINING,
    "matryoshka_batchtopk": _TRAINING,
    "transcoder": _TRANSCODER,
    "skip_transcoder": _TRANSCODER,
    "jumprelu_transcoder": _TRANSCODER,
    "jumprelu_skip_transcoder": _TRANSCODER,
    "temporal": "its codes depend on the samples before",
    "matching_pursuit": "it encodes by iteration; load it with SAELens and pass the module itself",
}


def saelens(config: dict[str, Any], arrays: Arrays) -> LoadedModel:
    """Return the model of an SAELens folder, ``cfg.json`` and ``sae_weights.safetensors``, of versions 3 to 6.

    References
    ----------
    SAELens 6.54.12, ``sae_lens/saes``: the inference classes, and ``sae_lens/loading`` for older configurations.
    """
    kind = _saelens_kind(config)
    p, d = size(config, "d_sae"), size(config, "d_in")
    shapes: Shapes = {"W_enc": (d, p), "W_dec": (p, d), "b_dec": (d,)}
    own = {"gated": ("b_gate", "r_mag", "b_mag"), "jumprelu": ("b_enc", "threshold")}.get(kind, ("b_enc",))
    check_arrays(arrays, {**shapes, **dict.fromkeys(own, (p,))})
    activation: Activation = Rectified()
    if kind in ("topk", "abstopk"):
        activation = Largest(count(config, p), signed=kind == "abstopk")
    elif kind == "jumprelu":
        activation = Jump(arrays["threshold"])
    elif kind == "gated":
        activation = Gate(arrays["b_gate"], arrays["r_mag"], arrays["b_mag"])
    encoder, bias, decoder = arrays["W_enc"], arrays.get("b_enc", np.zeros(p, np.float32)), arrays["W_dec"]
    if kind in ("topk", "abstopk") and flag(config, "rescale_acts_by_decoder_norm", False):
        encoder, bias, decoder = _folded(encoder, bias, decoder)
    subtracts = flag(config, "apply_b_dec_to_input", True)
    origin = f"SAELens {_version(config)} {kind}"
    return assembled(encoder, bias, decoder, arrays["b_dec"], subtracts, activation, origin)


def _saelens_kind(config: dict[str, Any]) -> str:
    """Return the architecture, having refused what is asked for beside it and not computed here."""
    function = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    kind = config.get("architecture", "standard")
    if kind == "standard" and function == "topk":  # before version 6
        kind = "topk"
    elif function not in ("relu", "topk"):
        raise refuse(f"the activation function {function!r}", "relu and topk are")
    if kind not in ("standard", "topk", "abstopk", "jumprelu", "gated"):
        raise refuse(f"the architecture {kind!r} of SAELens", _ARCHITECTURES.get(str(kind), "it is not known here"))
    scaling = config.get("normalize_activations") or "none"
    if scaling != "none":
        name = "expected_average_only_in" if scaling is True else str(scaling)
        raise refuse(f"normalize_activations={name!r}", _NORMALISATIONS.get(name, "it is not known here"))
    if config.get("finetuning_scaling_factor"):
        raise refuse("finetuning_scaling_factor=True", "it is of versions before 6")
    return str(kind)


def _version(config: dict[str, Any]) -> str:
    metadata = config.get("metadata")
    found = metadata.get("sae_lens_version") if isinstance(metadata, dict) else config.get("sae_lens_version")
    return str(found or "of an unknown version")


def _folded(encoder: FloatArray, bias: FloatArray, decoder: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the weights of the same model with unit rows of the decoder, in double precision."""
    norms = np.linalg.norm(decoder.astype(np.float64), axis=1)
    return encoder * norms, bias * norms, decoder / np.where(norms > 0, norms, 1.0)[:, None]


def sparsify(config: dict[str, Any], arrays: Arrays) -> LoadedModel:
    """Return the model of a sparsify folder, ``cfg.json`` and ``sae.safetensors``.

    References
    ----------
    sparsify 1.3.3 (distributed as eai-sparsify), ``sparsify/sparse_coder.py`` and ``sparsify/fused_encoder.py``.
    """
    for name, why in (
        ("transcode", _TRANSCODER),
        ("skip_connection", "its reconstruction is no function of the codes alone"),
        ("signed", "it is of an older version"),
    ):
        if flag(config, name, False):
            raise refuse(f"{name}=true of sparsify", why)
    d = size(config, "d_in")
    p = size(config, "num_latents") if config.get("num_latents") else d * size(config, "expansion_factor")
    check_arrays(arrays, {"encoder.weight": (p, d), "encoder.bias": (p,), "W_dec": (p, d), "b_dec": (d,)})
    kind, k = config.get("activation", "topk"), count(config, p)
    if kind not in ("topk", "groupmax"):
        raise refuse(f"the activation {kind!r} of sparsify", "topk and groupmax are")
    if kind == "groupmax" and p % k:
        raise ValueError(f"groupmax takes groups of equal size; got num_latents={p} and k={k}. Correct cfg.json.")
    activation = Largest(k) if kind == "topk" else GroupMaximum(k)
    encoder = arrays["encoder.weight"].T
    return assembled(
        encoder, arrays["encoder.bias"], arrays["W_dec"], arrays["b_dec"], True, activation, f"sparsify {kind}"
    )


def dictionary_learning(config: dict[str, Any], arrays: Arrays) -> LoadedModel:
    """Return the model of a dictionary_learning folder, ``config.json`` and ``ae.pt`` (or ``ae.safetensors``).

    References
    ----------
    dictionary_learning 0.1.0, ``dictionary.py`` and the classes beside the trainers in ``trainers/``.
    """
    trainer = config.get("trainer", config)
    if not isinstance(trainer, dict):
        raise ValueError(f"config.json must hold an object under 'trainer'; got {trainer!r}.")
    kind = str(trainer.get("dict_class"))
    p, d = size(trainer, "dict_size"), size(trainer, "activation_dim")
    check_arrays(arrays, _library_shapes(kind, p, d, np.shape(arrays.get("group_sizes", np.zeros(1)))))
    encoder = arrays["W_enc"] if "W_enc" in arrays else arrays["encoder.weight"].T
    decoder = arrays["W_dec"] if "W_dec" in arrays else arrays["decoder.weight"].T
    bias = next(arrays[name] for name in ("b_dec", "bias", "decoder.bias", "decoder_bias") if name in arrays)
    offset = next((arrays[name] for name in ("b_enc", "encoder.bias") if name in arrays), np.zeros(p, np.float32))
    activation = _library_activation(kind, arrays, p)
    subtracts = kind not in ("AutoEncoderNew", "JumpReluAutoEncoder")
    return assembled(encoder, offset, decoder, bias, subtracts, activation, f"dictionary_learning {kind}")


def _library_shapes(kind: str, p: int, d: int, groups: tuple[int, ...]) -> Shapes:
    linear: Shapes = {"encoder.weight": (p, d), "decoder.weight": (d, p)}
    plain: Shapes = {"W_enc": (d, p), "b_enc": (p,), "W_dec": (p, d), "b_dec": (d,)}
    counted: Shapes = {"k": (), "threshold": ()}
    table: dict[str, Shapes] = {
        "AutoEncoder": {**linear, "encoder.bias": (p,), "bias": (d,)},
        "AutoEncoderNew": {**linear, "encoder.bias": (p,), "decoder.bias": (d,)},
        "GatedAutoEncoder": {**linear, **dict.fromkeys(("r_mag", "gate_bias", "mag_bias"), (p,)), "decoder_bias": (d,)},
        "JumpReluAutoEncoder": {**plain, "threshold": (p,)},
        "AutoEncoderTopK": {**linear, **counted, "encoder.bias": (p,), "b_dec": (d,)},
        "BatchTopKSAE": {**linear, **counted, "encoder.bias": (p,), "b_dec": (d,)},
        "MatryoshkaBatchTopKSAE": {**plain, **counted, "group_sizes": groups},
    }
    if kind not in table:
        raise refuse(f"dict_class={kind!r} of dictionary_learning", f"{', '.join(table)} are")
    return table[kind]


def _library_activation(kind: str, arrays: Arrays, p: int) -> Activation:
    if kind == "GatedAutoEncoder":
        return Gate(arrays["gate_bias"], arrays["r_mag"], arrays["mag_bias"])
    if kind == "AutoEncoderTopK":
        return Largest(check_int("k", arrays["k"].item(), 1, p, high_name="dict_size"))
    if "threshold" in arrays:
        return Jump(np.broadcast_to(arrays["threshold"], (p,)))
    return Rectified()


def bare(arrays: Arrays, subtract_bias: bool | None) -> LoadedModel:
    """Return the model of ``W_enc (d, p)`` and ``W_dec (p, d)``, with ``b_enc``, ``b_dec``, ``threshold`` or ``k``.

    Raises
    ------
    ValueError
        If shapes do not fit, ``threshold`` and ``k`` are both there, or there is a ``b_dec`` other than zero and
        ``subtract_bias`` does not say whether the encoder subtracts it.
    """
    for name in ("W_enc", "W_dec"):
        if name not in arrays or arrays[name].ndim != 2:
            raise ValueError(
                f"bare weights need a matrix W_enc of shape (d, p) and W_dec of shape (p, d); got {shapes_of(arrays)}."
            )
    p, d = arrays["W_dec"].shape
    if not p or not d:
        raise ValueError(f"bare weights need at least one latent and one dimension; got W_dec of shape ({p}, {d}).")
    shapes: Shapes = {"W_enc": (d, p), "W_dec": (p, d)}
    per_latent = {"threshold": () if np.ndim(arrays.get("threshold", 0)) == 0 else (p,), "k": ()}
    shapes |= {name: shape for name, shape in {"b_enc": (p,), "b_dec": (d,), **per_latent}.items() if name in arrays}
    check_arrays(arrays, shapes)
    if "threshold" in arrays and "k" in arrays:
        raise ValueError("bare weights hold both a threshold and k: take out the one that is not used in inference.")
    bias = arrays.get("b_dec", np.zeros(d, np.float32))
    if bias.any() and subtract_bias is None:
        raise ValueError(
            "bare weights hold b_dec but not whether the encoder subtracts it from x first. "
            "Pass subtract_bias=True or subtract_bias=False."
        )
    activation: Activation = Rectified()
    if "k" in arrays:
        activation = Largest(check_int("k", arrays["k"].item(), 1, p, high_name="p"))
    elif "threshold" in arrays:
        activation = Jump(np.broadcast_to(arrays["threshold"], (p,)))
    offset = arrays.get("b_enc", np.zeros(p, np.float32))
    return assembled(arrays["W_enc"], offset, arrays["W_dec"], bias, bool(subtract_bias), activation, "bare weights")
