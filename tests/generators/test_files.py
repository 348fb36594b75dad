"""Worlds on disk: what is loaded is what was saved, to the last bit, or it is refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim import Role, key, stream
from sparsesim.generators import (
    Background,
    Bernoulli,
    Constant,
    ExactlyK,
    FeatureModel,
    FeatureSpec,
    Forest,
    GivenRates,
    HalfNormal,
    Interactions,
    LeakyMixing,
    LowCoherence,
    Missing,
    RandomSphere,
    Readout,
    Segments,
    SignalToNoise,
    StoredAtoms,
)
from sparsesim.generators import files as disk
from tests.generators.strategies import seeds, specs

SPEC = FeatureSpec(2, Forest((-1, 0), (0.5, 0.25)), RandomSphere(), Constant(2.0), SignalToNoise(10.0), bias=0.5)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "world"
    disk.save(SPEC.build(stream(0, Role.TRUTH)), folder)
    return folder


def rewrite(folder, change, blob=None):
    """Change the document of a saved world and seal it again, as somebody who knows the format could."""
    document = json.loads((folder / disk.SPEC_FILE).read_bytes())
    del document["seal"]
    change(document)
    if blob is not None:
        (folder / disk.ARRAYS_FILE).write_bytes(blob)
        document["arrays"] = hashlib.sha256(blob).hexdigest()
    compact = {"sort_keys": True, "separators": (",", ":")}
    pair = json.dumps([document["spec"], document["entropy"], document["arrays"]], **compact)
    document["content"] = hashlib.sha256(pair.encode()).hexdigest()
    document["seal"] = hashlib.sha256(json.dumps(document, **compact).encode()).hexdigest()
    (folder / disk.SPEC_FILE).write_bytes(json.dumps(document, **compact).encode() + b"\n")


@given(spec=specs(), seed=seeds, n=st.integers(0, 40))
@settings(max_examples=60)
def test_a_loaded_world_samples_the_same_bits(spec, seed, n):
    model = spec.build(stream(seed, Role.TRUTH))
    with tempfile.TemporaryDirectory() as scratch:
        disk.save(model, Path(scratch) / "world")
        again = disk.load(Path(scratch) / "world")
    assert again.spec == spec and key(again.spec) == key(spec) and hash(again.spec) == hash(spec)
    assert repr(again.spec) == repr(spec)  # 1 stays an integer, 1.0 a float
    assert again.noise_std == model.noise_std
    first, second = model.sample(n, stream(seed, Role.TEST)), again.sample(n, stream(seed, Role.TEST))
    assert first.x.tobytes() == second.x.tobytes() and first.codes.data.tobytes() == second.codes.data.tobytes()
    assert np.array_equal(first.codes.indices, second.codes.indices)


def test_a_model_saves_and_loads_itself(tmp_path):
    model = SPEC.build(stream(0, Role.TRUTH))
    model.save(tmp_path / "world")
    assert FeatureModel.load(tmp_path / "world").spec == SPEC
    assert FeatureModel.load(str(tmp_path / "world")).atoms.tobytes() == model.atoms.tobytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "world")
    model.save(tmp_path / "world", overwrite=True)


def test_a_saved_world_is_two_files_and_nothing_else(saved):
    assert sorted(os.listdir(saved)) == [disk.ARRAYS_FILE, disk.SPEC_FILE]
    assert os.listdir(saved.parent) == ["world"]
    disk.load(saved)


def assert_flips_are_refused(folder, bits_of):
    for name in (disk.SPEC_FILE, disk.ARRAYS_FILE):
        content = (folder / name).read_bytes()
        for place in range(len(content)):
            for bit in bits_of(place):
                damaged = bytearray(content)
                damaged[place] ^= 1 << bit
                (folder / name).write_bytes(damaged)
                with pytest.raises(ValueError, match=name):
                    disk.load(folder)
        (folder / name).write_bytes(content)
    disk.load(folder)


def test_a_flip_in_any_byte_is_refused_and_the_file_named(saved):
    assert_flips_are_refused(saved, lambda place: [place % 8])


@pytest.mark.slow
def test_every_flipped_bit_is_refused(saved):
    assert_flips_are_refused(saved, lambda place: range(8))


def test_a_truncated_or_longer_file_is_refused(saved):
    for name in (disk.SPEC_FILE, disk.ARRAYS_FILE):
        content = (saved / name).read_bytes()
        for part in (
            *(content[:length] for length in range(0, len(content), 3)),
            content[:-1],
            content + b" ",
            content + b"\0",
        ):
            (saved / name).write_bytes(part)
            with pytest.raises(ValueError, match=name):
                disk.load(saved)
        (saved / name).write_bytes(content)


@pytest.mark.parametrize("name", [disk.SPEC_FILE, disk.ARRAYS_FILE])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        disk.load(saved)


def test_a_newer_format_is_refused(saved):
    rewrite(saved, lambda document: document.update(version=disk.VERSION + 1))
    with pytest.raises(ValueError, match=r"format version 2; this sparsesim reads version 1. Use the version"):
        disk.load(saved)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "sparsesim.generators.base.FeatureSpec",
        "__class__",
        "__getattr__",
        "../../Forest",
        "FeatureModel",
        "Support",
        "lazy",
        "base",
        "",
        None,
        ["Forest"],
    ],
)
def test_a_class_that_is_no_exported_specification_is_refused(saved, name):
    rewrite(saved, lambda document: document["spec"]["fields"]["support"].update(type=name))
    with pytest.raises(
        ValueError, match=r"world.json names .*, which is not a specification that sparsesim.generators"
    ):
        disk.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document["spec"]["fields"].update(surprise=1), "describes FeatureSpec wrongly"),
        (lambda document: document["spec"]["fields"].pop("dim"), "describes FeatureSpec wrongly"),
        (lambda document: document["spec"]["fields"].update(dim=-3), "dim must lie in"),
        (lambda document: document["spec"]["fields"].update(dim=3), r"shape \(m, d\)=\(2, 3\)"),
        (lambda document: document.update(spec={"type": "Gaussian", "fields": {}}), "must describe a FeatureSpec"),
        (lambda document: document.update(spec=[1, 2]), "must describe a FeatureSpec; got tuple"),
        (lambda document: document["spec"].update(code="print()"), "which is not a specification"),
        (lambda document: document["spec"].update(fields=3), "which is not a specification"),
        (lambda document: document["spec"]["fields"].update(bias={"float": "nan"}), "which is not a specification"),
        (lambda document: document["spec"]["fields"].update(bias={"float": "inf"}), "bias must be finite"),
        (lambda document: document["spec"]["fields"].update(bias=10**400), "bias must be finite"),
        (lambda document: document.update(entropy=True), "is not as it was saved"),
        (lambda document: document.update(format="pickle"), "does not describe a world of sparsesim"),
        (lambda document: document.update(version="1"), "format version '1'"),
    ],
)
def test_a_sealed_document_that_says_something_else_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message):
        disk.load(saved)


@pytest.mark.parametrize("depth", [300, 600, 900])  # beyond, Python's own reader of JSON refuses
def test_a_specification_nested_too_deep_is_refused(saved, depth):
    nested, limit = [], sys.getrecursionlimit()
    for _ in range(depth):
        nested = [nested]
    sys.setrecursionlimit(10 * limit)
    try:
        rewrite(saved, lambda document: document["spec"]["fields"].update(bias=nested))
    finally:
        sys.setrecursionlimit(limit)
    with pytest.raises(ValueError, match=disk.SPEC_FILE):
        disk.load(saved)


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "sparsesim world"}'])
def test_a_file_that_is_no_world_is_refused(saved, content):
    (saved / disk.SPEC_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=disk.SPEC_FILE):
        disk.load(saved)


HEADER = b'{"atoms":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
BFLOAT = len(HEADER).to_bytes(8, "little") + HEADER + b"\0\0"


def arrays(**changed):
    return safetensors.numpy.save({"atoms": np.eye(2), "bias": np.zeros(2), **changed})


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (arrays(atoms=np.eye(3)), r"must hold atoms of shape \(m, d\)=\(2, 2\)"),
        (arrays(bias=np.zeros(3)), "must hold atoms"),
        (arrays(bias=np.zeros(2, np.int64)), "both floats"),
        (arrays(**{"../../bias": np.zeros(2)}), "holds other draws"),
        (safetensors.numpy.save({"../atoms": np.eye(2), "bias": np.zeros(2)}), "must hold atoms"),
        (pickle.dumps({"atoms": np.eye(2)}), "is not a safetensors file"),
        (b"", "is not a safetensors file"),
        (BFLOAT, "is not a safetensors file of numpy's types"),
    ],
)
def test_arrays_that_do_not_fit_the_specification_are_refused(saved, blob, message):
    rewrite(saved, lambda document: None, blob)
    with pytest.raises(ValueError, match=rf"{disk.ARRAYS_FILE}.*{message}|{message}.*"):
        disk.load(saved)


def test_a_world_is_not_overwritten_unasked_and_a_strange_folder_never(saved):
    before = disk.load(saved)
    other = replace(SPEC, bias=0.25).build(stream(1, Role.TRUTH))
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        disk.save(other, saved)
    assert np.array_equal(disk.load(saved).atoms, before.atoms)
    disk.save(other, saved, overwrite=True)
    assert np.array_equal(disk.load(saved).atoms, other.atoms) and disk.load(saved).spec == other.spec
    (saved / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="is not a saved world"):
        disk.save(other, saved, overwrite=True)
    with pytest.raises(FileExistsError, match="is not a saved world"):
        disk.save(other, saved / "thesis.tex", overwrite=True)
    assert (saved / "thesis.tex").read_text() == "precious"
    assert os.listdir(saved.parent) == ["world"]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("step", ["fsync", "rename"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch, existing, step, error):
    folder, old = tmp_path / "world", SPEC.build(stream(0, Role.TRUTH))
    if existing:
        disk.save(old, folder)
    calls = []

    def fail_at_second(*arguments):
        calls.append(arguments)
        if len(calls) == (2 if existing or step == "fsync" else 1):
            raise error("the disk is full")
        return original(*arguments)

    owner = os if step == "fsync" else Path
    original = getattr(owner, step)
    monkeypatch.setattr(owner, step, fail_at_second)
    with pytest.raises(error, match="the disk is full"):
        disk.save(SPEC.build(stream(1, Role.TRUTH)), folder, overwrite=True)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (["world"] if existing else [])
    if existing:
        assert np.array_equal(disk.load(folder).atoms, old.atoms)


def test_a_world_that_appears_while_another_is_saved_is_not_replaced(tmp_path, monkeypatch):
    folder, first, second = tmp_path / "world", *(SPEC.build(stream(seed, Role.TRUTH)) for seed in (0, 1))
    original = disk._files

    def interleaved(model):
        if model is second:
            disk.save(first, folder)
        return original(model)

    monkeypatch.setattr(disk, "_files", interleaved)
    with pytest.raises(OSError, match="not empty"):
        disk.save(second, folder)
    assert os.listdir(tmp_path) == ["world"] and np.array_equal(disk.load(folder).atoms, first.atoms)


def test_what_is_put_into_a_world_while_it_is_replaced_is_not_deleted(saved, monkeypatch):
    original, before = disk._files, disk.load(saved).atoms

    def interleaved(model):
        (saved / "thesis.tex").write_text("precious")
        return original(model)

    monkeypatch.setattr(disk, "_files", interleaved)
    with pytest.raises(FileExistsError, match="is not a saved world"):
        disk.save(SPEC.build(stream(1, Role.TRUTH)), saved, overwrite=True)
    assert (saved / "thesis.tex").read_text() == "precious" and os.listdir(saved.parent) == ["world"]
    assert np.array_equal(disk.load(saved).atoms, before)


def test_after_an_overwrite_was_killed_the_former_world_is_found(saved, monkeypatch):
    before, original, calls = disk.load(saved).atoms, Path.rename, []

    def killed_after_the_first(path, target):
        calls.append(path)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(Path, "rename", killed_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        disk.save(SPEC.build(stream(1, Role.TRUTH)), saved, overwrite=True)
    monkeypatch.undo()
    (former,) = os.listdir(saved.parent)
    with pytest.raises(FileNotFoundError, match=f"former world is beside it in {re.escape(former)}. Rename"):
        disk.load(saved)
    (saved.parent / former).rename(saved)
    assert np.array_equal(disk.load(saved).atoms, before)


@pytest.mark.parametrize(
    ("atoms", "bias"),
    [(np.eye(2), np.zeros((1, 2))), (np.eye(2, dtype=int), np.zeros(2)), (np.eye(2), np.zeros(2, dtype=int))],
)
def test_arrays_that_could_not_be_loaded_are_not_saved(tmp_path, atoms, bias):
    with pytest.raises(ValueError, match="both floats; got"):
        disk.save(FeatureModel(SPEC, atoms, bias), tmp_path / "world")
    assert not list(tmp_path.iterdir())


def test_two_saves_of_one_world_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        disk.save(SPEC.build(stream(0, Role.TRUTH)), tmp_path / "deep" / name)
    for name in (disk.SPEC_FILE, disk.ARRAYS_FILE):
        assert (tmp_path / "deep" / "a" / name).read_bytes() == (tmp_path / "deep" / "b" / name).read_bytes()


def test_atoms_in_any_memory_order_are_saved_as_they_read(tmp_path):
    rows = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    spec = FeatureSpec(3, ExactlyK(3, 1), StoredAtoms.of(rows), HalfNormal())
    disk.save(FeatureModel(spec, np.asfortranarray(rows), np.zeros(3)), tmp_path / "world")
    assert np.array_equal(disk.load(tmp_path / "world").atoms, rows)


def test_stored_atoms_are_known_by_their_content(tmp_path):
    rows = LowCoherence().atoms(5, 3, np.random.default_rng(0))
    spec = FeatureSpec(3, Bernoulli(GivenRates((0.1,) * 5)), StoredAtoms.of(rows), HalfNormal())
    with pytest.raises(ValueError, match=r"stored beside the specification.*Load the world with FeatureModel.load"):
        spec.build(np.random.default_rng(0))
    model = FeatureModel(spec, rows, np.zeros(3))
    disk.save(model, tmp_path / "world")
    assert disk.load(tmp_path / "world").spec == spec
    assert np.array_equal(disk.load(tmp_path / "world").atoms, rows)
    other = rows.copy()
    other[0, 0] = np.nextafter(other[0, 0], 2.0)
    assert StoredAtoms.of(other) != StoredAtoms.of(rows)
    assert StoredAtoms.of(np.asfortranarray(rows)) == StoredAtoms.of(rows)
    with pytest.raises(ValueError, match="the atoms are not those of the specification"):
        disk.save(FeatureModel(spec, other, np.zeros(3)), tmp_path / "other")
    blob = safetensors.numpy.save({"atoms": other, "bias": np.zeros(3)})
    rewrite(tmp_path / "world", lambda document: None, blob)
    with pytest.raises(ValueError, match="the atoms are not those of the specification"):
        disk.load(tmp_path / "world")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("abc", 2, 2), "sha256 must be 64 lower-case"),
        (("A" * 64, 2, 2), "sha256 must be 64 lower-case"),
        ((3, 2, 2), "sha256 must be 64 lower-case"),
        (("a" * 64, 0, 2), r"m must lie in \[1"),
        (("a" * 64, 2, 0), r"d must lie in \[1"),
    ],
)
def test_stored_atoms_refuse_what_is_no_hash(arguments, message):
    with pytest.raises(ValueError, match=message):
        StoredAtoms(*arguments)


@dataclass(frozen=True)
class Home:
    """A law of a user's own, which a load could not find again."""

    n_features: int = 2

    def marginals(self):
        return np.full(2, 0.5)


def test_a_law_that_could_not_be_loaded_is_not_saved(tmp_path):
    spec = FeatureSpec(2, Home(), RandomSphere(), Constant())
    with pytest.raises(TypeError, match=r"got .*Home, which load\(\) would refuse"):
        disk.save(FeatureModel(spec, np.eye(2), np.zeros(2)), tmp_path / "world")
    assert not list(tmp_path.iterdir())


def test_numbers_keep_their_value_and_numpy_scalars_become_numbers(tmp_path):
    spec = FeatureSpec(np.int64(2), ExactlyK(2, 1), RandomSphere(), Constant(np.float32(0.1)), bias=5e-324)
    disk.save(FeatureModel(spec, np.eye(2), np.zeros(2)), tmp_path / "world")
    again = disk.load(tmp_path / "world").spec
    assert again == spec and type(again.dim) is int and again.bias == 5e-324
    assert disk._decode(disk._encode((float("inf"), -0.0, 10**400))) == (float("inf"), -0.0, 10**400)
    with pytest.raises(ValueError, match="must not hold NaN"):
        disk._encode(float("nan"))


def changed_world():
    """A world that draws all there is to draw beside atoms and bias."""
    return FeatureSpec(
        4,
        ExactlyK(6, 2),
        RandomSphere(),
        HalfNormal(),
        SignalToNoise(10.0),
        observation=(Background(2, 0.3), Interactions(3), LeakyMixing(2)),
        missing=Missing(0.1),
        segments=Segments(3),
        targets=Readout(2),
    )


def test_a_world_with_changes_of_its_signal_comes_back_whole(tmp_path):
    model = changed_world().build(stream(3, Role.TRUTH))
    disk.save(model, tmp_path / "world")
    again = disk.load(tmp_path / "world")
    assert again.spec == model.spec and again.entropy == model.entropy
    first, second = model.sample(50, stream(0, Role.TEST)), again.sample(50, stream(0, Role.TEST))
    for name in ("x", "labels", "observed", "targets"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.codes.data.tobytes() == second.codes.data.tobytes()


def test_draws_that_are_not_those_of_the_world_are_refused(tmp_path):
    model = changed_world().build(stream(3, Role.TRUTH))
    disk.save(model, tmp_path / "world")
    stored = safetensors.numpy.load_file(tmp_path / "world" / disk.ARRAYS_FILE)
    assert {"atoms", "bias", "observation.0.basis", "segments.scale", "targets.features"} <= stored.keys()
    for name in sorted(stored.keys() - {"atoms", "bias"}):
        for wrong in ({}, {name: stored[name] + 1}, {name: stored[name][None]}):
            others = {other: array for other, array in stored.items() if other != name}
            rewrite(tmp_path / "world", lambda document: None, safetensors.numpy.save({**others, **wrong}))
            with pytest.raises(ValueError, match="holds other draws of observation, segments or targets"):
                disk.load(tmp_path / "world")
    rewrite(tmp_path / "world", lambda document: document.update(entropy=model.entropy + 1))
    with pytest.raises(ValueError, match="holds other draws"):
        disk.load(tmp_path / "world")
