"""`load_model`: a trained folder or file of somebody else becomes a model for `adapt` and `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from sparsesim.generators.untrusted import Array, read_arrays, read_json
from sparsesim.validate import layouts
from sparsesim.validate.configured import Arrays
from sparsesim.validate.weights import LoadedModel

Reader: TypeAlias = Callable[[dict[str, Any], Arrays], LoadedModel]

# configuration, weights, and what reads the two
LAYOUTS: tuple[tuple[str, str, Reader], ...] = (
    ("cfg.json", "sae_weights.safetensors", layouts.saelens),
    ("cfg.json", "sae.safetensors", layouts.sparsify),
    ("config.json", "ae.safetensors", layouts.dictionary_learning),
    ("config.json", "ae.pt", layouts.dictionary_learning),
)
PLAIN = (".safetensors", ".npz")
TENSORS = (".pt", ".pth", ".bin", ".ckpt")
PICKLES = (*TENSORS, ".pkl", ".pickle", ".joblib")


def load_model(
    path: str | os.PathLike[str], *, trust_pickle: bool = False, subtract_bias: bool | None = None
) -> LoadedModel:
    """Return the trained autoencoder at ``path`` as a model that `adapt` and `evaluate` take, without its library.

    Understood are the folders of SAELens (``cfg.json``, ``sae_weights.safetensors``; standard, topk, abstopk, jumprelu,
    gated; batchtopk and matryoshka, which its ``save_inference_model`` writes as jumprelu), of sparsify (``cfg.json``,
    ``sae.safetensors``) and of dictionary_learning (``config.json``, ``ae.pt`` or ``ae.safetensors``), and a file
    ``.safetensors`` or ``.npz`` of bare weights: ``W_enc (d, p)`` and ``W_dec (p, d)``, with ``b_enc``, ``b_dec``,
    ``threshold`` or ``k`` as they apply. What is not computed here is refused by name.

    Files are not trusted: nothing in them is executed, and where ``<file>.sha256`` lies beside a file, it is compared.

    Parameters
    ----------
    path : folder or file.
    trust_pickle : read ``ae.pt`` by ``torch.load(weights_only=True)``, which needs torch >= 2.10. A ``.pt`` file is a
        pickle, so it is refused otherwise; other pickles are refused always.
    subtract_bias : whether the encoder of bare weights subtracts ``b_dec``, which such a file does not say.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError, TypeError
        If the files are not such a model, are damaged or a pickle, or ask for what is refused.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"there is no file or folder {place}.")
    folder = place if place.is_dir() else place.parent
    found = [each for each in LAYOUTS if _holds(folder, place, each)]
    if len({reader for _, _, reader in found}) > 1:
        names = ", ".join(weights for _, weights, _ in found)
        raise ValueError(
            f"{folder} holds the weights of more than one library ({names}). Pass the path of one of them."
        )
    try:
        if found:
            config, weights, reader = found[0]
            return reader(read_json(folder / config), _arrays(folder / weights, trust_pickle))
        return layouts.bare(_arrays(_single(place), trust_pickle), subtract_bias)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{place}: {error}") from error


def _holds(folder: Path, place: Path, layout: tuple[str, str, Reader]) -> bool:
    """Whether ``folder`` is of that layout, ``place`` being the folder or its weights."""
    config, weights, _ = layout
    return place in (folder, folder / weights) and (folder / config).exists() and (folder / weights).exists()


def _single(place: Path) -> Path:
    """Return the one file of weights at ``place``."""
    if not place.is_dir():
        return place
    files = sorted(path for path in place.iterdir() if path.suffix in PLAIN)
    if len(files) != 1:
        there = ", ".join(sorted(path.name for path in place.iterdir())[:12]) or "nothing"
        known = "; ".join(f"{config} with {weights}" for config, weights, _ in LAYOUTS)
        raise ValueError(
            f"no layout that is known here: it holds {there}. Known are {known}; one file of bare weights "
            f"({' or '.join(PLAIN)})."
        )
    return files[0]


def _arrays(path: Path, trust_pickle: bool) -> dict[str, Array]:
    if path.suffix in PLAIN:
        return read_arrays(path)
    if path.suffix in TENSORS and trust_pickle:
        from sparsesim.validate.checkpoint import read_checkpoint

        return read_checkpoint(path)
    if path.suffix in PICKLES:
        way = (
            "pass trust_pickle=True if you know who wrote it, or convert it by safetensors.torch.save_file(state, path)"
            if path.suffix in TENSORS
            else "save its arrays by numpy.savez(path, W_enc=..., W_dec=...)"
        )
        raise ValueError(f"{path.name} is a pickle, which can execute anything when it is read; {way}.")
    raise ValueError(f"weights are read from {', '.join(PLAIN)}; got {path.name}.")
