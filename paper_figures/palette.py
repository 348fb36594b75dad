"""One colour, marker and label for a solver, in every figure.

The colours are safe for colour-blind readers; the markers carry the difference in greyscale.
"""

from __future__ import annotations

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

FLOOR = "#8c8c8c"
CEILING = "#00735c"
