"""Our fits as SAELens folders: read back to the bit, the same codes, and what does not map refused by name."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sparsesim import Role, solvers, stream, worlds
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.validate import adapt, evaluate, export_saelens, load_model

D, P, K = 8, 12, 2
SPEC = worlds.superposed(dim=D, n_features=P, k=K)
WORLD = replace(SPEC, bias=3.0).build(stream(0, Role.TRUTH))
X = 5.0 * WORLD.sample(400, stream(0, Role.TRAIN)).x  # neither centred nor of unit scale
FEW = Training(steps=40, batch_size=64)

MAPPED = {
    "ReLUL1": (solvers.ReLUL1(P, training=FEW), "standard"),
    "TiedReLUL1": (solvers.TiedReLUL1(P, training=FEW), "standard"),
    "WeightedReLUL1": (solvers.WeightedReLUL1(P, training=FEW), "standard"),
    "TopK": (solvers.TopK(P, K, training=FEW), "topk"),
    "AbsTopK": (solvers.AbsTopK(P, K, training=FEW), "abstopk"),
    "BatchTopK": (solvers.BatchTopK(P, K, training=FEW), "jumprelu"),
    "Matryoshka": (solvers.Matryoshka(P, K, training=FEW), "jumprelu"),
    "JumpReLU": (solvers.JumpReLU(P, training=FEW), "jumprelu"),
    "JumpReLU with pre-bias": (solvers.JumpReLU(P, pre_bias=True, training=FEW), "jumprelu"),
    "TanhJumpReLU": (solvers.TanhJumpReLU(P, training=FEW), "jumprelu"),
    "Gated": (solvers.Gated(P, training=FEW), "gated"),
    "FromGeometricMedian": (solvers.FromGeometricMedian(solvers.TopK(P, K, training=FEW)), "topk"),
}
FITS: dict = {}


def fit(name):
    if name not in FITS:
        FITS[name] = MAPPED[name][0].fit(X, rng=stream(1, Role.SOLVER))
    return FITS[name]


@pytest.mark.parametrize("name", MAPPED)
def test_an_exported_fit_is_read_back_to_the_bit_and_encodes_as_before(name, tmp_path):
    fitted, folder = fit(name), tmp_path / "sae"
    written = export_saelens(fitted, folder)
    config = json.loads((folder / "cfg.json").read_text())
    assert config["architecture"] == MAPPED[name][1] and (config["d_in"], config["d_sae"]) == (D, P)
    model = load_model(folder)
    for part in ("W_enc", "b_enc", "W_dec", "b_dec", "shift"):
        array = getattr(model, part)
        assert array.dtype == np.float32 and np.array_equal(array, getattr(written, part))
    adapted = adapt(model, X[:64]).fitted
    expected, found = (each.encode(X).toarray() for each in (fitted, adapted))
    # Rounded to float32 once more each: 1e-6 relative to codes of order ten, in all rows but those with a latent
    # within that distance of its threshold.
    off = np.abs(found - expected).max(axis=1) > 1e-4
    assert np.count_nonzero(expected) > 100 and off.mean() <= 0.01
    kept = ~off
    np.testing.assert_allclose(model(X)[kept], fitted.decode(fitted.encode(X))[kept], atol=1e-4)
    np.testing.assert_allclose(adapted.atoms, fitted.atoms, atol=1e-6)


def test_a_folder_scores_as_the_fit_it_was_made_of(tmp_path):
    export_saelens(fit("TopK"), tmp_path)
    world = replace(SPEC, bias=0.6).build(stream(0, Role.TRUTH))
    own, read = (evaluate(each, world, n=100, draws=2) for each in (fit("TopK"), load_model(tmp_path)))
    for metric in ("mcc", "l0", "support_f1"):
        assert read[metric].score.mean == pytest.approx(own[metric].score.mean, abs=1e-3)  # at most a tie apart


def test_the_weights_in_the_file_are_the_arrays_that_were_returned(tmp_path):
    written = export_saelens(fit("TopK"), tmp_path / "sae")
    stored = safetensors.numpy.load_file(tmp_path / "sae" / "sae_weights.safetensors")
    assert set(stored) == {"W_enc", "b_enc", "W_dec", "b_dec"}
    for part, array in stored.items():
        assert np.array_equal(array, getattr(written, part))


def test_a_flipped_bit_of_an_export_is_found(tmp_path):
    export_saelens(fit("TopK"), tmp_path)
    path = tmp_path / "sae_weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="its SHA-256 is"):
        load_model(tmp_path)


UNMAPPED = {
    "a pursuit": (lambda: replace(fit("TopK"), encoder=OrthogonalMatchingPursuit(K)), "OrthogonalMatchingPursuit"),
    "matching pursuit": (
        lambda: solvers.MatchingPursuitSAE(P, K, training=FEW).fit(X, rng=stream(1, Role.SOLVER)),
        "MatchingPursuitModule",
    ),
    "an outside model": (lambda: adapt(_Plain(), X[:32]).fitted, "ForeignEncoder"),
    "no fit": (lambda: solvers.TopK(P, K), "takes what a solver's fit returns"),
}  # fmt: skip


class _Plain:
    def encode(self, x):
        return np.maximum(x, 0)

    def decode(self, z):
        return z


@pytest.mark.parametrize("name", UNMAPPED)
def test_what_does_not_map_is_refused_by_name_and_leaves_nothing(name, tmp_path):
    made, says = UNMAPPED[name]
    with pytest.raises(TypeError, match=says):
        export_saelens(made(), tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_an_encoder_that_does_more_than_its_weights_say_is_found_before_writing(tmp_path, monkeypatch):
    fitted = fit("ReLUL1")
    monkeypatch.setattr(type(fitted.encoder.module), "encode", lambda self, x: self.pre_activations(x).abs())
    with pytest.raises(ValueError, match="ReLUL1Module in the layout of SAELens give other codes"):
        export_saelens(fitted, tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        export_saelens(fit("TopK"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


PEER = """
import sys, numpy as np, torch, sae_lens
from pathlib import Path
root = Path(sys.argv[1])
x = torch.as_tensor(np.load(root / "x.npy"))
for folder in root.iterdir():
    if folder.is_dir():
        sae = sae_lens.SAE.load_from_disk(folder, dtype="float64")
        with torch.no_grad():
            codes = sae.encode(x)
            np.savez(root / (folder.name + ".npz"), codes=codes.numpy(), reconstruction=sae.decode(codes).numpy())
"""


def test_saelens_itself_computes_the_same_from_the_folder(tmp_path):
    python = os.environ.get("SPARSESIM_PEER_PYTHON")
    if not python:
        pytest.skip("SPARSESIM_PEER_PYTHON names no interpreter with SAELens")
    np.save(tmp_path / "x.npy", X)
    models = {name: export_saelens(fit(name), tmp_path / name) for name in MAPPED}
    done = subprocess.run([python, "-c", PEER, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"not there: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    for name, model in models.items():
        theirs = np.load(Path(tmp_path) / f"{name}.npz")
        # The same float32 weights, both computed in double precision.
        np.testing.assert_allclose(model.encode(X), theirs["codes"], atol=1e-10)
        np.testing.assert_allclose(model(X), theirs["reconstruction"], atol=1e-10)
