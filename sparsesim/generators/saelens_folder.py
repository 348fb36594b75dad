"""What the folder of a SAELens ``SyntheticModel`` says, as arrays; SAELens is not needed and nothing is executed.

The folder holds ``synthetic_model_config.json``, ``synthetic_model.safetensors`` and, for a model with a hierarchy,
``hierarchy.json``, as ``SyntheticModel.save`` of SAELens 6.54 writes them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int, unit_rows
from sparsesim.generators.mersenne import torch_normal, torch_uniform
from sparsesim.generators.rates import AffineZipfRates
from sparsesim.generators.untrusted import read_arrays, read_json

CONFIG_FILE, WEIGHTS_FILE, HIERARCHY_FILE = (
    "synthetic_model_config.json",
    "synthetic_model.safetensors",
    "hierarchy.json",
)
_SINGLE = 1e-4  # how far single precision may leave a unit norm or a unit variance


@final
@dataclass(frozen=True)
class Hierarchy:
    """A forest over the features: which feature each hangs under, and what is said of its children.

    Attributes
    ----------
    parents : (m,) the nearest feature above, -1 for none.
    exclusive : (m,) at most one child of this feature fires.
    scaled : (m,) the coefficient is multiplied by the parent's over the parent's mean.
    """

    parents: tuple[int, ...]
    exclusive: tuple[bool, ...]
    scaled: tuple[bool, ...]


@final
@dataclass(frozen=True, eq=False)
class Declared:
    """The contents of a folder. ``None`` stands for what the folder does not determine.

    Attributes
    ----------
    atoms, bias : (m, d) unit rows and (d,).
    declared : (m,) the firing probabilities that the configuration declares.
    drawn : (m,) the saved probabilities, with which features are drawn before the hierarchy takes its share.
    factor : (m, rank) or None; the latent correlation is ``factor @ factor.T`` off the diagonal.
    hierarchy : or None.
    compensated : the configuration asks for probabilities that make up for the hierarchy.
    mean, std : (m,) of the coefficients before rectification. They are not saved, but recomputed from the seed.
    """

    atoms: FloatArray
    bias: FloatArray
    declared: FloatArray | None
    drawn: FloatArray
    factor: FloatArray | None
    hierarchy: Hierarchy | None
    compensated: bool
    mean: FloatArray | None
    std: FloatArray | None


def read_folder(folder: str | os.PathLike[str]) -> Declared:
    """Return what ``folder`` says.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file does not hold what SAELens writes, or the files contradict one another; the file is named.
    """
    path = Path(folder)
    config, weights = read_json(path / CONFIG_FILE), _weights(path / WEIGHTS_FILE)
    try:
        m, d, seed = config["num_features"], config["hidden_dim"], config.get("seed")
        check_int("num_features", m, 1)
        check_int("hidden_dim", d, 1)
        declared = _firing(config["firing_probability"], m, seed)
        mean, std = (
            _per_feature(config.get(name, usual), m, None if seed is None else seed + shift)
            for name, usual, shift in (("mean_firing_magnitudes", 1.0, 2), ("std_firing_magnitudes", 0.0, 1))
        )
        planned, correlated = config.get("hierarchy"), config.get("correlation")
        compensated = planned is not None and bool(planned.get("compensate_probabilities", False))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{CONFIG_FILE} is not a SAELens configuration that can be read: {error!r}.") from error
    hierarchy = _hierarchy(path / HIERARCHY_FILE, m, planned is not None)
    factor = _factor(weights, m, correlated is not None)
    atoms, bias, drawn = _arrays(weights, m, d)
    return Declared(atoms, bias, declared, drawn, factor, hierarchy, compensated, mean, std)


def _weights(path: Path) -> dict[str, FloatArray]:
    return {name: np.asarray(array, dtype=np.float64) for name, array in read_arrays(path).items()}


def _shaped(weights: dict[str, FloatArray], name: str, shape: tuple[int, ...]) -> FloatArray:
    found = weights[name].shape if name in weights else None
    if found != shape:
        raise ValueError(f"{WEIGHTS_FILE} must hold {name} of shape {shape}; got {found or 'none of that name'}.")
    return weights[name]


def _arrays(weights: dict[str, FloatArray], m: int, d: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    atoms, norms = unit_rows(_shaped(weights, "feature_vectors", (m, d)))
    worst = int(np.argmax(np.abs(norms - 1.0)))
    if abs(norms[worst] - 1.0) > _SINGLE:
        raise ValueError(
            f"{WEIGHTS_FILE} must hold feature_vectors of unit norm; row {worst} has norm {norms[worst]:.6g}. "
            "Normalise them and scale the magnitudes instead."
        )
    drawn = _shaped(weights, "firing_probabilities", (m,))
    if drawn.min() < 0 or drawn.max() > 1:
        raise ValueError(f"{WEIGHTS_FILE} must hold firing_probabilities in [0, 1]; got {drawn.min()}, {drawn.max()}.")
    return atoms, _shaped(weights, "bias", (d,)), drawn


def _factor(weights: dict[str, FloatArray], m: int, expected: bool) -> FloatArray | None:
    if "correlation_factor" not in weights:
        if expected:
            raise ValueError(f"{CONFIG_FILE} declares a correlation, but {WEIGHTS_FILE} holds no correlation_factor.")
        return None
    factor = weights["correlation_factor"]
    if factor.ndim != 2:
        raise ValueError(f"{WEIGHTS_FILE} must hold correlation_factor of shape ({m}, rank); got {factor.shape}.")
    _shaped(weights, "correlation_factor", (m, factor.shape[1]))
    own = _shaped(weights, "correlation_diag", (m,))
    off = np.abs(np.square(factor).sum(axis=1) + own - 1.0)
    if own.min() <= 0 or off.max() > _SINGLE:
        raise ValueError(
            f"{WEIGHTS_FILE} must hold a correlation of unit diagonal, ||factor_i||^2 + diag_i = 1 with diag_i > 0; "
            f"feature {int(np.argmax(off))} is off by {off.max():.3g} and the least diag is {own.min():.3g}."
        )
    return factor


def _firing(config: dict[str, Any], m: int, seed: int | None) -> FloatArray | None:
    kind = config["generator_name"]
    if kind == "constant":
        return np.full(m, float(config["probability"]))
    high, low = float(config["max_prob"]), float(config["min_prob"])
    if m == 1 and kind in ("zipfian", "linear"):
        return np.array([high])
    if kind == "zipfian":
        return AffineZipfRates(m, float(config["exponent"]), high, low).rates()
    if kind == "linear":
        return np.linspace(high, low, m)
    if kind == "random":
        return None if seed is None else low + (high - low) * torch_uniform(seed, m)
    raise ValueError(
        f"the firing probabilities {kind!r} are not one of SAELens' own: zipfian, linear, random, constant"
    )


def _per_feature(config: Any, m: int, seed: int | None) -> FloatArray | None:
    """Return the magnitudes ``(m,)`` of a configuration, or None if they were drawn without a seed."""
    if not isinstance(config, dict):
        return np.full(m, float(config))
    kind, place = config["generator_name"], np.linspace(0.0, 1.0, m)
    makers: dict[str, Callable[[], FloatArray | None]] = {
        "constant": lambda: np.full(m, float(config["value"])),
        "linear": lambda: config["start"] * (1.0 - place) + config["end"] * place,
        "exponential": lambda: config["start"] * (config["end"] / config["start"]) ** place,
        "folded_normal": lambda: _folded(config, m, seed),
    }
    if kind not in makers:
        raise ValueError(f"the magnitudes {kind!r} are not one of SAELens' own: {', '.join(makers)}")
    return makers[kind]()


def _folded(config: dict[str, Any], m: int, seed: int | None) -> FloatArray | None:
    if seed is None:
        return None
    values = np.abs(config["mean"] + config["std"] * torch_normal(seed, m))
    low, high = config.get("min_value"), config.get("max_value")
    return np.asarray(np.clip(values, low, high)) if (low, high) != (None, None) else values


def _hierarchy(path: Path, m: int, expected: bool) -> Hierarchy | None:
    if not path.exists():
        if expected:
            raise ValueError(f"{CONFIG_FILE} declares a hierarchy, but there is no {HIERARCHY_FILE}.")
        return None
    try:
        return _forest(read_json(path)["roots"], m)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{HIERARCHY_FILE} is not a hierarchy that can be read: {error}") from error


def _forest(roots: list[dict[str, Any]], m: int) -> Hierarchy:
    parents, scaled, seen = [-1] * m, [False] * m, [False] * m
    groups: list[tuple[int | None, list[int]]] = []
    stack = [(root, -1, False) for root in roots]
    while stack:
        node, above, scales = stack.pop()
        own, children = node.get("feature_index"), node.get("children", [])
        if own is not None:
            check_int("feature_index", own, 0, m - 1, high_name="num_features-1")
            if seen[own]:
                raise ValueError(f"feature {own} stands in it twice.")
            seen[own], parents[own], scaled[own] = True, above, scales and above >= 0
        rivals = [child["feature_index"] for child in children if child.get("feature_index") is not None]
        if node.get("mutually_exclusive_children", False) and len(rivals) > 1:
            groups.append((own, rivals))
        below = (above if own is None else own, bool(node.get("scale_children_by_parent", False)))
        stack.extend((child, *below) for child in children)
    return Hierarchy(tuple(parents), _exclusive(groups, parents), tuple(scaled))


def _exclusive(groups: list[tuple[int | None, list[int]]], parents: list[int]) -> tuple[bool, ...]:
    flags, below = [False] * len(parents), Counter(parents)
    for own, rivals in groups:
        if own is None or len(rivals) < below[own]:
            raise ValueError(
                f"features {rivals[:8]} exclude each other without being all the children of one feature, which no law "
                "of sparsesim says. Give them a parent feature that fires with probability 1, or make them one level."
            )
        flags[own] = True
    return tuple(flags)
