"""Folders and files of others: the same codes as their own library, and every damage named."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from sparsesim.validate import adapt
from sparsesim.validate.folder import load_model

DATA = Path(__file__).parent / "data"
SAVED = ["saelens/topk_rescaled", "saelens/batchtopk", "saelens/gated", "sparsify/groupmax"]
D, P, K = 8, 16, 3
RNG = np.random.default_rng(3)
X = RNG.standard_normal((20, D))


def agrees(folder, **options):
    """Assert that the folder's model computes what its library recorded: the same weights, both in double precision.

    Sums of 16 products of order one differ by 1e-15; the bound leaves room for other orders of summation.
    """
    model = load_model(folder, **options)
    expected = np.load(folder / "expected.npz")
    np.testing.assert_allclose(model.encode(expected["x"]), expected["codes"], atol=1e-12)
    np.testing.assert_allclose(model.decode(expected["codes"]), expected["reconstruction"], atol=1e-12)
    assert np.count_nonzero(expected["codes"]) > 20
    return model


@pytest.mark.parametrize("name", SAVED)
def test_what_a_library_saved_computes_what_the_library_computes(name):
    model = agrees(DATA / name)
    probe = np.load(DATA / name / "expected.npz")["x"]
    adapted = adapt(model, probe)
    # Unit atoms with norms folded into the codes rebuild the same samples.
    np.testing.assert_allclose(adapted.fitted.decode(adapted.fitted.encode(probe)), model(probe), atol=1e-12)
    assert "decode of encode" in dict(adapted.card)["forward"]
    assert dict(adapted.card)["model"] == model.origin and name.split("/")[0] in model.origin.lower()


@pytest.mark.parametrize("library", ["saelens", "sparsify", "dictionary_learning"])
def test_every_architecture_agrees_with_the_library_itself(library, tmp_path):
    python = os.environ.get("SPARSESIM_PEER_PYTHON")
    if not python:
        pytest.skip("SPARSESIM_PEER_PYTHON names no interpreter with the libraries")
    script = Path(__file__).with_name("peer_folders.py")
    environment = {**os.environ, "SPARSIFY_DISABLE_TRITON": "1"}
    done = subprocess.run(
        [python, str(script), library, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"{library} is not there: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    refused = {"skip", "transcoder", "layer_norm", "constant_norm_rescale", "expected_average_only_in"}
    for folder in sorted(tmp_path.iterdir()):
        if folder.name in refused or folder.name.endswith("_checkpoint"):
            with pytest.raises(ValueError, match="is not scored from its folder"):
                load_model(folder)
        else:
            agrees(folder, trust_pickle=True)


def weights(**changed):
    plain = {
        "W_enc": RNG.standard_normal((D, P)).astype(np.float32),
        "b_enc": RNG.standard_normal(P).astype(np.float32),
        "W_dec": RNG.standard_normal((P, D)).astype(np.float32),
        "b_dec": RNG.standard_normal(D).astype(np.float32),
    }
    return {name: value for name, value in {**plain, **changed}.items() if value is not None}


def save(folder, arrays, config=None):
    folder.mkdir(exist_ok=True)
    safetensors.numpy.save_file(arrays, folder / "sae_weights.safetensors")
    config = {"architecture": "standard", "d_in": D, "d_sae": P, **(config or {})}
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def test_a_configuration_of_before_version_6_is_understood(tmp_path):
    arrays = weights()
    config = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "normalize_activations": False}
    folder = save(tmp_path / "old", arrays, config)
    (folder / "cfg.json").write_text(json.dumps({"d_in": D, "d_sae": P, **config}))
    u = (X - arrays["b_dec"]) @ arrays["W_enc"] + arrays["b_enc"]
    codes = np.where(u >= np.sort(u, axis=1)[:, -K][:, None], np.maximum(u, 0), 0)
    np.testing.assert_allclose(load_model(folder).encode(X), codes, atol=1e-12)


def state(kind):
    linear = {
        "encoder.weight": RNG.standard_normal((P, D)),
        "encoder.bias": RNG.standard_normal(P),
        "decoder.weight": RNG.standard_normal((D, P)),
    }
    arrays = {
        "AutoEncoder": {**linear, "bias": RNG.standard_normal(D)},
        "AutoEncoderNew": {**linear, "decoder.bias": RNG.standard_normal(D)},
        "BatchTopKSAE": {**linear, "b_dec": RNG.standard_normal(D), "k": np.array(K), "threshold": np.array(0.7)},
        "AutoEncoderTopK": {**linear, "b_dec": RNG.standard_normal(D), "k": np.array(K), "threshold": np.array(-1.0)},
    }[kind]
    return {name: torch.as_tensor(value) for name, value in arrays.items()}


def save_state(folder, kind, found):
    folder.mkdir(exist_ok=True)
    torch.save(found, folder / "ae.pt")
    trainer = {"dict_class": kind, "activation_dim": D, "dict_size": P}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))
    return folder


@pytest.mark.parametrize("kind", ["AutoEncoder", "AutoEncoderNew", "BatchTopKSAE", "AutoEncoderTopK"])
def test_a_folder_of_dictionary_learning_is_read_once_the_pickle_is_trusted(kind, tmp_path):
    found = state(kind)
    folder = save_state(tmp_path / kind, kind, found)
    with pytest.raises(ValueError, match=r"ae\.pt is a pickle.*trust_pickle=True.*safetensors"):
        load_model(folder)
    w = {name: value.numpy() for name, value in found.items()}
    bias = next(w[name] for name in ("bias", "decoder.bias", "b_dec") if name in w)
    u = (X if kind == "AutoEncoderNew" else X - bias) @ w["encoder.weight"].T + w["encoder.bias"]
    z = np.maximum(u, 0)
    if kind == "BatchTopKSAE":
        z = z * (z > 0.7)
    if kind == "AutoEncoderTopK":
        z = np.where(z >= np.sort(z, axis=1)[:, -K][:, None], z, 0)
    model = load_model(folder, trust_pickle=True)
    np.testing.assert_allclose(model.encode(X), z, atol=1e-12)
    np.testing.assert_allclose(model(X), z @ w["decoder.weight"].T + bias, atol=1e-12)
    # The same tensors as safetensors need no trust.
    safetensors.numpy.save_file({k: np.array(v, order="C") for k, v in w.items()}, folder / "ae.safetensors")
    np.testing.assert_array_equal(load_model(folder).encode(X), model.encode(X))


class Runs:
    """A pickle that writes a file when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("name", ["ae.pt", "model.pkl", "model.joblib", "model.pth"])
@pytest.mark.parametrize("trust", [False, True])
def test_a_pickle_is_never_executed(name, trust, tmp_path):
    mark, path = tmp_path / "ran", tmp_path / name
    if name.endswith(".pt"):
        torch.save({"W": Runs(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(ValueError, match=r"is a pickle|cannot be read as tensors alone"):
        load_model(path, trust_pickle=trust)
    assert not mark.exists()


def test_a_flipped_bit_among_the_weights_of_a_pickle_is_seen_by_its_checksum(tmp_path):
    path = save_state(tmp_path, "AutoEncoder", state("AutoEncoder")) / "ae.pt"
    content = bytearray(path.read_bytes())
    weights = zipfile.ZipFile(io.BytesIO(content))
    data = max(weights.infolist(), key=lambda entry: entry.file_size)
    content[data.header_offset + 200] ^= 1  # behind the header and its padding of at most 64 bytes
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"ae\.pt cannot be read as tensors alone \(the checksum of .* is wrong"):
        load_model(tmp_path, trust_pickle=True)


@pytest.mark.parametrize(("p", "d"), [(0, D), (P, 0)])
def test_bare_weights_without_latents_or_dimensions_are_refused(p, d, tmp_path):
    np.savez(tmp_path / "w.npz", W_enc=np.ones((d, p)), W_dec=np.ones((p, d)))
    with pytest.raises(ValueError, match=r"at least one latent and one dimension"):
        load_model(tmp_path / "w.npz")


def test_a_pickle_is_refused_by_an_older_torch_even_when_trusted(tmp_path, monkeypatch):
    folder = save_state(tmp_path / "f", "AutoEncoder", state("AutoEncoder"))
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(ValueError, match=r"torch 2\.9\.1.*Use torch >= 2\.10"):
        load_model(folder, trust_pickle=True)


def test_bare_weights_say_whether_the_encoder_subtracts_the_bias_or_it_is_asked(tmp_path):
    arrays = weights(threshold=np.float32(0.3))
    path = tmp_path / "sae.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="subtract_bias=True or subtract_bias=False"):
        load_model(path)
    for subtract, shift in ((True, arrays["b_dec"]), (False, 0.0)):
        u = (X - shift) @ arrays["W_enc"] + arrays["b_enc"]
        found = load_model(path, subtract_bias=subtract).encode(X)
        np.testing.assert_allclose(found, u * (u > np.float32(0.3)), atol=1e-12)
    np.savez(path, W_enc=arrays["W_enc"], W_dec=arrays["W_dec"], k=2)
    assert (np.count_nonzero(load_model(path).encode(X), axis=1) <= 2).all()
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(path, folder)
    np.testing.assert_array_equal(load_model(folder).encode(X), load_model(path).encode(X))


@pytest.mark.parametrize(
    ("changed", "config", "says"),
    [
        ({"W_dec": None}, {}, r"missing: W_dec; not known: none"),
        ({"scale": np.ones(P, np.float32)}, {}, "missing: none; not known: scale"),
        ({"W_dec": np.zeros((D, P), np.float32)}, {}, r"W_dec must have shape \(16, 8\); got \(8, 16\). It is the t"),
        ({"b_enc": np.zeros(D, np.float32)}, {}, r"b_enc must have shape \(16,\); got \(8,\)\."),
        ({"b_dec": np.full(D, np.nan, np.float32)}, {}, "sae_weights.safetensors holds NaN or infinity in b_dec"),
        ({}, {"d_sae": 17}, r"W_enc must have shape \(8, 17\)"),
        ({}, {"d_sae": -1}, "d_sae must lie in"),
        ({}, {"d_in": "8"}, "d_in must be an integer"),
        ({}, {"architecture": "temporal"}, "'temporal' of SAELens is not scored.*the samples before"),
        ({}, {"architecture": "mine"}, "'mine' of SAELens is not scored.*not known here"),
        ({}, {"architecture": "skip_transcoder"}, "predicts other activations"),
        ({}, {"architecture": "batchtopk"}, r"save it by save_inference_model\(folder\)"),
        ({}, {"architecture": "topk", "k": 17}, r"k must lie in \[1, width=16\]; got 17"),
        ({}, {"architecture": "topk"}, "k must be an integer; got None"),
        ({}, {"normalize_activations": "layer_norm"}, "'layer_norm' is not scored.*rescales each sample"),
        ({}, {"normalize_activations": True}, "fold_activation_norm_scaling_factor"),
        ({}, {"activation_fn_str": "tanh-relu"}, "'tanh-relu' is not scored"),
        ({}, {"apply_b_dec_to_input": "yes"}, "apply_b_dec_to_input must be true or false"),
        ({}, {"finetuning_scaling_factor": True}, "finetuning_scaling_factor=True is not scored"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_the_place(changed, config, says, tmp_path):
    folder = save(tmp_path / "sae", weights(**changed), config)
    with pytest.raises((ValueError, TypeError), match=says) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


GOOD = DATA / "saelens" / "batchtopk"


def damaged(tmp_path, change):
    folder = tmp_path / "damaged"
    shutil.copytree(GOOD, folder)
    path = folder / "sae_weights.safetensors"
    path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:4],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content + b"\0" * 8,
        lambda content: struct.pack("<Q", 2**62) + content[8:],
        lambda content: struct.pack("<Q", 10**8 - 1) + content[8:],
        lambda content: content.replace(b'"shape":[16,8]', b'"shape":[99,8]'),
        lambda content: content.replace(b'"shape":[16,8]', b'"shape":[-1,8]'),
        lambda content: pickle.dumps({"W_enc": 1}),
    ],
    ids=["empty", "stub", "half", "a byte short", "longer", "header of 2^62", "header of 10^8", "more rows",
         "negative rows", "a pickle inside"],
)  # fmt: skip
def test_damage_that_the_structure_shows_is_named(change, tmp_path):
    with pytest.raises(ValueError, match=r"sae_weights\.safetensors cannot be read as safetensors"):
        load_model(damaged(tmp_path, change))


def test_a_flipped_bit_among_the_weights_is_seen_where_a_hash_lies_beside_them(tmp_path):
    def flip(content):
        return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]

    folder = damaged(tmp_path, flip)
    load_model(folder)  # without a hash nothing can tell
    beside = folder / "sae_weights.safetensors.sha256"
    import hashlib

    beside.write_text(hashlib.sha256((GOOD / "sae_weights.safetensors").read_bytes()).hexdigest() + "  weights\n")
    with pytest.raises(ValueError, match=r"not the file that sae_weights.safetensors.sha256 was written for"):
        load_model(folder)
    shutil.copy(GOOD / "sae_weights.safetensors", folder)
    load_model(folder)


def test_no_byte_of_the_header_makes_another_error_than_a_named_one(tmp_path):
    content = (GOOD / "sae_weights.safetensors").read_bytes()
    size = 8 + struct.unpack("<Q", content[:8])[0]
    folder = damaged(tmp_path, lambda same: same)
    rng, named = np.random.default_rng(0), 0
    for place in range(size):
        broken = bytearray(content)
        broken[place] = int(rng.integers(256))
        (folder / "sae_weights.safetensors").write_bytes(bytes(broken))
        try:
            load_model(folder)
        except ValueError as error:
            named += str(folder) in str(error)
    # Almost all of the header matters; spaces, and bytes drawn as they were, do not.
    assert 0.8 * size < named <= size


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"d_in": 8', "cfg.json is not JSON"),
        ('{"d_in": 8, "d_in": 9}', "'d_in' stands in it twice"),
        ('{"d_in": NaN}', "NaN is no number of JSON"),
        ("[" * 100_000 + "]" * 100_000, "cfg.json is not JSON"),
        ("[]", "must hold an object"),
        ('{"d_in": 1' + "0" * 5000 + "}", "cfg.json is not JSON"),
        (" " * (2**24 + 1), "a configuration has at most"),
        ("{}", "the configuration must say d_sae"),
    ],
    ids=["torn", "twice", "NaN", "deep", "list", "digits", "large", "empty"],
)
def test_a_configuration_that_is_none_is_named(text, says, tmp_path):
    folder = damaged(tmp_path, lambda same: same)
    (folder / "cfg.json").write_text(text)
    with pytest.raises(ValueError, match=says):
        load_model(folder)


def zipped(members, compression=zipfile.ZIP_STORED):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


def npy(array):
    memory = io.BytesIO()
    np.save(memory, array, allow_pickle=True)
    return memory.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: zipped({"W_enc.npy": npy(np.array([{}], object))}), "W_enc.npy, which cannot be read without"),
        (lambda: zipped({"W_enc.npy": npy(np.array(["a"]))}), "weights are real numbers"),
        (lambda: zipped({"../W_enc.npy": npy(np.eye(2))}), "which numpy does not write"),
        (lambda: zipped({"W_enc.npy": npy(np.eye(2))[:-8]}), "W_enc.npy, which cannot be read"),
        (lambda: zipped({"W_enc.npy": bytes(2**27)}, zipfile.ZIP_DEFLATED), "more than weights do"),
        (lambda: zipped({"W_enc.npy": npy(np.eye(2))})[:-30], "cannot be read as npz"),
        (lambda: zipped({"W_enc.npy": npy(np.eye(2))}).replace(struct.pack("<d", 1), struct.pack("<d", 2)), "Bad CRC"),
        (lambda: b"PK", "cannot be read as npz"),
        (lambda: zipped({"W_enc.npy": npy(np.full((2, 2), np.inf))}), "NaN or infinity in W_enc"),
        (lambda: zipped({"W_enc.npy": npy(np.eye(2))}), r"need a matrix W_enc.*got W_enc \(2, 2\)"),
    ],
    ids=["object", "text", "path", "short", "bomb", "truncated", "flipped", "stub", "infinite", "no decoder"],
)  # fmt: skip
def test_a_bad_npz_is_named(content, says, tmp_path):
    path = tmp_path / "sae.npz"
    path.write_bytes(content())
    with pytest.raises(ValueError, match=says):
        load_model(path)


def test_what_is_no_model_or_two_models_says_what_is_known(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        load_model(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"it holds notes.txt. Known are cfg.json with sae_weights.safetensors"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"weights are read from .safetensors, .npz; got notes.txt"):
        load_model(tmp_path / "notes.txt")
    folder = damaged(tmp_path, lambda same: same)
    shutil.copy(DATA / "sparsify" / "groupmax" / "sae.safetensors", folder)
    with pytest.raises(ValueError, match="more than one library"):
        load_model(folder)
    assert "jumprelu" in str(load_model(folder / "sae_weights.safetensors"))  # the path of one of them says which


def test_bare_weights_with_both_a_threshold_and_k_are_refused(tmp_path):
    path = tmp_path / "sae.npz"
    np.savez(path, **weights(threshold=np.float32(0.3), k=2, b_dec=None))
    with pytest.raises(ValueError, match="both a threshold and k"):
        load_model(path)
    np.savez(path, **weights(k=2.5, b_dec=None))
    with pytest.raises(TypeError, match="k must be an integer"):
        load_model(path)
