"""One colour, marker and label for a solver, in every figure.

The colours are safe for colour-blind readers; the markers carry the difference in greyscale.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple


class Look(NamedTuple):
    """How a solver is shown."""

    label: str
    colour: str
    marker: str


LOOKS = {
    "random": Look("random dictionary", "#8c8c8c", "x"),
    "pca": Look("PCA", "#b8a1c9", "P"),
    "ica": Look("ICA", "#7b4fa0", "X"),
    "mod": Look("MOD + OMP", "#0b5d8a", "s"),
    "ksvd": Look("K-SVD + OMP", "#56b4e9", "D"),
    "relu_l1": Look("SAE ReLU + L1", "#e69f00", "o"),
    "topk": Look("SAE TopK", "#d55e00", "^"),
    "batch_topk": Look("SAE BatchTopK", "#8f2d00", "v"),
    "vae": Look("VAE (Gaussian)", "#cc79a7", "p"),
    "oracle_lasso": Look("true atoms + lasso", "#7fc9b0", "<"),
    "oracle_mp": Look("true atoms + MP", "#33a07c", ">"),
    "oracle_omp": Look("true atoms + OMP", "#00735c", "*"),
    "oracle_stop": Look("true atoms + OMP to noise", "#4d9221", "h"),
    "genie": Look("true atoms + support", "#1d2430", "d"),
}

# What a validation adds: its references beside those above, its subject, and its floor and ceiling under their names.
VALIDATION = {
    "matryoshka": Look("SAE Matryoshka", "#cc79a7", "s"),
    "mp": Look("SAE MP", "#7b4fa0", "D"),
    "subject": Look("subject", "#0b5d8a", "o"),
    "floor": Look("floor: random dictionary", "#8c8c8c", "x"),
    "oracle": Look("oracle: true atoms", "#00735c", "*"),
    "genie": Look("genie: true atoms + support", "#1d2430", "d"),
}

# For a solver without a look of its own; the colour goes by its name, not by what else is drawn.
_OTHERS = ("#56b4e9", "#e69f00", "#b8a1c9", "#4d9221", "#8a6d3b")
_MARKERS = ("P", "X", "h", "<", ">")

_SPELT = {"mcc": "MCC", "f1": "F1", "l0": "L0", "fvu": "FVU", "90": "0.9"}

FLOOR = "#8c8c8c"
CEILING = "#00735c"


def look(name: str) -> Look:
    """Return how the solver ``name`` is shown: the same in every figure, also for names that are not listed."""
    known = {**LOOKS, **VALIDATION}
    if name in known:
        return known[name]
    number = zlib.crc32(name.encode())
    return Look(name, _OTHERS[number % len(_OTHERS)], _MARKERS[number // 7 % len(_MARKERS)])


def spelt(metric: str) -> str:
    """Return the name of a metric's column as it is written in a sentence: ``support_f1`` is "support F1"."""
    return " ".join(_SPELT.get(word, word) for word in metric.split("_"))
