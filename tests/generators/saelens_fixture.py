"""Writes folders as SAELens 6.54 writes a `SyntheticModel`, from the format alone."""

from __future__ import annotations

import json

import numpy as np
import safetensors.numpy


def node(index, *children, exclusive=False, scaled=False):
    return {
        "feature_index": index,
        "mutually_exclusive_children": exclusive,
        "scale_children_by_parent": scaled,
        "feature_id": None,
        "children": list(children),
    }


def configuration(m, d, **changed):
    plain = {
        "num_features": m,
        "hidden_dim": d,
        "firing_probability": {"exponent": 0.5, "max_prob": 0.4, "min_prob": 0.02, "generator_name": "zipfian"},
        "hierarchy": None,
        "orthogonalization": None,
        "correlation": None,
        "std_firing_magnitudes": 0.0,
        "mean_firing_magnitudes": 1.0,
        "bias": 0.5,
        "dtype": "float32",
        "seed": 42,
    }
    return {**plain, **changed}


HIERARCHY = {
    "total_root_nodes": 1,
    "branching_factor": 3,
    "max_depth": 2,
    "mutually_exclusive_portion": 1.0,
    "mutually_exclusive_min_depth": 0,
    "mutually_exclusive_max_depth": None,
    "compensate_probabilities": True,
    "scale_children_by_parent": True,
}
FOLDED = {"mean": 0.5, "std": 0.5, "min_value": None, "max_value": None, "generator_name": "folded_normal"}
LINEAR = {"start": 5.0, "end": 4.0, "generator_name": "linear"}
CORRELATION = {"rank": 3, "correlation_scale": 0.3, "seed": None}


def weights(m, d, probabilities, *, rank=0, scale=0.3):
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((m, d))
    stored = {
        "feature_vectors": rows / np.linalg.norm(rows, axis=1, keepdims=True),
        "bias": 0.5 * rows[0] / np.linalg.norm(rows[0]),
        "firing_probabilities": np.asarray(probabilities),
    }
    if rank:
        factor = (scale * rng.standard_normal((m, rank))).astype(np.float32)
        stored |= {"correlation_factor": factor, "correlation_diag": 1.0 - np.square(factor).sum(axis=1)}
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in stored.items()}


def write(folder, config, stored, roots=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "synthetic_model_config.json").write_text(json.dumps(config, indent=2))
    safetensors.numpy.save_file(stored, folder / "synthetic_model.safetensors")
    if roots is not None:
        (folder / "hierarchy.json").write_text(json.dumps({"roots": roots}, indent=2))
    return folder
