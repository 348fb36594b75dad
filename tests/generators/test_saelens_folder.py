"""SAELens folders: every part is read as SAELens means it, and folders that contradict themselves are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sparsesim.generators.saelens_folder import read_folder
from tests.generators import saelens_fixture as fixture
from tests.generators.saelens_fixture import node

M, D = 9, 4
ROOTS = [
    node(0, node(1, node(3), node(4), exclusive=True), node(2, scaled=True), exclusive=True, scaled=True),
    node(5, node(None, node(6), node(7)), scaled=True),
]


def probabilities(m=M):
    power = np.arange(1.0, m + 1.0) ** -0.5
    return 0.02 + 0.38 * (power - power[-1]) / (power[0] - power[-1])


def write(folder, stored=None, roots=ROOTS, **changed):
    config = fixture.configuration(
        M,
        D,
        **{
            "hierarchy": fixture.HIERARCHY if roots is not None else None,
            "mean_firing_magnitudes": fixture.LINEAR,
            "std_firing_magnitudes": fixture.FOLDED,
            "correlation": fixture.CORRELATION,
            **changed,
        },
    )
    stored = fixture.weights(M, D, probabilities(), rank=3) if stored is None else stored
    return fixture.write(folder, config, stored, roots)


def test_the_arrays_are_those_of_the_file(tmp_path):
    stored = fixture.weights(M, D, probabilities(), rank=3)
    found = read_folder(write(tmp_path, stored))
    assert np.abs(found.atoms - stored["feature_vectors"]).max() < 1e-7  # normalised again, in double precision
    assert np.abs(np.linalg.norm(found.atoms, axis=1) - 1.0).max() < 1e-15
    assert np.array_equal(found.bias, stored["bias"].astype(np.float64))
    assert np.array_equal(found.drawn, stored["firing_probabilities"].astype(np.float64))
    assert np.array_equal(found.factor, stored["correlation_factor"].astype(np.float64))


def test_the_hierarchy_skips_nodes_without_a_feature(tmp_path):
    found = read_folder(write(tmp_path)).hierarchy
    assert found.parents == (-1, 0, 0, 1, 1, -1, 5, 5, -1)
    assert [i for i, flag in enumerate(found.exclusive) if flag] == [0, 1]
    # A child is scaled if the node right above it says so, even one without a feature: 6 and 7 hang below one that
    # does not.
    assert [i for i, flag in enumerate(found.scaled) if flag] == [1, 2]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"generator_name": "constant", "probability": 0.25}, np.full(M, 0.25)),
        ({"generator_name": "linear", "max_prob": 0.9, "min_prob": 0.1}, np.linspace(0.9, 0.1, M)),
        ({"generator_name": "zipfian", "exponent": 0.5, "max_prob": 0.4, "min_prob": 0.02}, probabilities()),
    ],
)
def test_every_kind_of_firing_probability_is_known(tmp_path, config, expected):
    assert read_folder(write(tmp_path, firing_probability=config)).declared == pytest.approx(expected, rel=1e-12)


def test_random_parts_are_those_of_the_seed_or_unknown(tmp_path):
    import torch

    random = {"generator_name": "random", "max_prob": 0.5, "min_prob": 0.1}
    found = read_folder(write(tmp_path, firing_probability=random, seed=7))
    own = torch.Generator().manual_seed(7)
    assert found.declared == pytest.approx(0.1 + 0.4 * torch.rand(M, generator=own).double().numpy(), abs=1e-12)
    next_seed = torch.Generator().manual_seed(8)
    std = (0.5 + 0.5 * torch.randn(M, generator=next_seed)).abs().double().numpy()
    assert found.std == pytest.approx(std, abs=1e-6)  # single precision
    assert found.mean == pytest.approx(np.linspace(5.0, 4.0, M))
    unknown = read_folder(write(tmp_path, firing_probability=random, seed=None))
    assert unknown.declared is None and unknown.std is None
    assert unknown.mean == pytest.approx(np.linspace(5.0, 4.0, M))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (2.5, np.full(M, 2.5)),
        ({"generator_name": "constant", "value": 2.0}, np.full(M, 2.0)),
        ({"generator_name": "exponential", "start": 1.0, "end": 16.0}, 16.0 ** np.linspace(0, 1, M)),
    ],
)
def test_every_kind_of_magnitude_is_known(tmp_path, config, expected):
    assert read_folder(write(tmp_path, mean_firing_magnitudes=config)).mean == pytest.approx(expected, rel=1e-12)


def test_folded_magnitudes_are_clipped(tmp_path):
    clipped = {**fixture.FOLDED, "min_value": 0.4, "max_value": 0.6}
    loose, tight = (read_folder(write(tmp_path, std_firing_magnitudes=kind)).std for kind in (fixture.FOLDED, clipped))
    assert np.array_equal(tight, np.clip(loose, 0.4, 0.6)) and not np.array_equal(tight, loose)


def test_a_model_without_hierarchy_and_correlation_is_plain(tmp_path):
    found = read_folder(write(tmp_path, fixture.weights(M, D, probabilities()), None, correlation=None))
    assert found.hierarchy is None and found.factor is None and not found.compensated


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_features": 0}, "synthetic_model_config.json is not .*num_features must lie in"),
        ({"num_features": "9"}, "synthetic_model_config.json is not .*num_features must be an integer"),
        ({"num_features": 8}, r"safetensors must hold correlation_factor of shape \(8, 3\); got \(9, 3\)"),
        ({"hidden_dim": 5}, r"must hold feature_vectors of shape \(9, 5\); got \(9, 4\)"),
        ({"firing_probability": {"generator_name": "mine"}}, "synthetic_model_config.json is not"),
        ({"firing_probability": None}, "synthetic_model_config.json is not"),
        ({"mean_firing_magnitudes": {"generator_name": "mine"}}, "'mine' are not one of SAELens' own"),
        ({"std_firing_magnitudes": [1.0]}, "synthetic_model_config.json is not"),
        ({"seed": -2}, "synthetic_model_config.json is not .*seed must lie in"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        read_folder(write(tmp_path, **changed))


@pytest.mark.parametrize(
    ("roots", "message"),
    [
        ([node(0, node(1), node(1))], "hierarchy.json .* feature 1 stands in it twice"),
        ([node(0), node(0)], "feature 0 stands in it twice"),
        ([node(9)], r"feature_index must lie in \[0, num_features-1=8\]; got 9"),
        ([node(-1)], "feature_index must lie in"),
        ([node(1.5)], "feature_index must be an integer"),
        ([node(None, node(1), node(2), exclusive=True)], r"features \[1, 2\] exclude each other without being all"),
        ([node(0, node(1), node(2), node(None, node(3)), exclusive=True)], "without being all the children"),
        ({"a": 1}, "hierarchy.json is not a hierarchy"),
        ([3], "hierarchy.json is not a hierarchy"),
    ],
)
def test_a_hierarchy_that_is_none_is_refused(tmp_path, roots, message):
    with pytest.raises(ValueError, match=message):
        read_folder(write(tmp_path, roots=roots))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("feature_vectors", np.ones((M, D)), "feature_vectors of unit norm; row 0 has norm 2"),
        ("feature_vectors", np.full((M, D), np.nan), "holds NaN or infinity in feature_vectors"),
        ("bias", np.zeros(3), r"must hold bias of shape \(4,\); got \(3,\)"),
        ("firing_probabilities", np.full(M, 1.5), r"firing_probabilities in \[0, 1\]"),
        ("correlation_factor", np.ones(M), r"correlation_factor of shape \(9, rank\); got \(9,\)"),
        ("correlation_diag", np.full(M, 0.5), "a correlation of unit diagonal"),
        ("correlation_diag", np.ones((M, 1)), r"must hold correlation_diag of shape \(9,\)"),
    ],
)
def test_arrays_that_are_no_model_are_refused(tmp_path, name, array, message):
    stored = fixture.weights(M, D, probabilities(), rank=3)
    stored[name] = np.ascontiguousarray(array, dtype=np.float32)
    with pytest.raises(ValueError, match=message):
        read_folder(write(tmp_path, stored))


@pytest.mark.parametrize("name", ["feature_vectors", "bias", "firing_probabilities", "correlation_factor"])
def test_a_missing_array_is_named(tmp_path, name):
    stored = fixture.weights(M, D, probabilities(), rank=3)
    del stored[name]
    with pytest.raises(ValueError, match=f"no {name}|hold {name}"):
        read_folder(write(tmp_path, stored))


def test_missing_and_broken_files_are_named(tmp_path):
    folder = write(tmp_path)
    for name in ("synthetic_model_config.json", "hierarchy.json", "synthetic_model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=name):
            read_folder(folder)
        (folder / name).unlink()
        with pytest.raises((ValueError, FileNotFoundError), match=name):
            read_folder(folder)
        (folder / name).write_bytes(content)
    (folder / "hierarchy.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="must hold an object; got list"):
        read_folder(folder)


def test_types_that_are_no_numbers_here_are_refused_in_words(tmp_path):
    folder = write(tmp_path)
    import torch
    from safetensors.torch import save_file

    save_file({"feature_vectors": torch.zeros(2, dtype=torch.float8_e4m3fn)}, folder / "synthetic_model.safetensors")
    with pytest.raises(ValueError, match="holds feature_vectors as F8_E4M3, which is read as none of"):
        read_folder(folder)
