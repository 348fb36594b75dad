"""One colour, marker and label for a solver, in every figure; and the colours of all that is no solver.

The colours are safe for colour-blind readers; the markers carry the difference in greyscale. Blues decompose matrices,
orange and red are autoencoders, pinks and purples are latent-variable models, greens know the true atoms, grey is
chance. No two families have both colour and marker in common.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

INK, SLATE, STONE, GREY, SILVER, MIST = "#1d2430", "#3d4653", "#5b6675", "#8c8c8c", "#bdbdbd", "#e2e2e2"
NAVY, AZURE, SKY, TEAL = "#0b5d8a", "#3a80b0", "#56b4e9", "#17a2a8"
PURPLE, LILAC, PINK, ROSE, MAGENTA = "#7b4fa0", "#b8a1c9", "#cc79a7", "#e377a2", "#a3195b"
UMBER, BROWN, GOLD, ORANGE, SAND = "#7a4f00", "#8a6d3b", "#b58900", "#e69f00", "#f3cf80"
RUST, VERMILLION, SALMON = "#8f2d00", "#d55e00", "#f0a58f"
GREEN, JADE, MINT, LEAF = "#00735c", "#33a07c", "#7fc9b0", "#4d9221"

FLOOR, CEILING = GREY, GREEN


class Look(NamedTuple):
    """How a solver is shown."""

    label: str
    colour: str
    marker: str

    def named(self, label: str) -> Look:
        """Return this look under another label: the same solver at another setting, or told something."""
        return self._replace(label=label)

    def pale(self, label: str) -> Look:
        """Return this look in a paler colour under another label, beside the solver in its own colour."""
        return Look(label, pale(self.colour), self.marker)


def pale(colour: str, share: float = 0.45) -> str:
    """Return ``colour`` mixed with ``share`` of white."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)


LOOKS = {
    "random": Look("random dictionary", FLOOR, "x"),
    "pca": Look("PCA", LILAC, "P"),
    "ica": Look("ICA", PURPLE, "X"),
    "mod": Look("MOD + OMP", NAVY, "s"),
    "ksvd": Look("K-SVD + OMP", SKY, "D"),
    "relu_l1": Look("SAE ReLU + L1", ORANGE, "o"),
    "topk": Look("SAE TopK", VERMILLION, "^"),
    "batch_topk": Look("SAE BatchTopK", RUST, "v"),
    "vae": Look("VAE (Gaussian)", PINK, "p"),
    "oracle_lasso": Look("true atoms + lasso", MINT, "<"),
    "oracle_mp": Look("true atoms + MP", JADE, ">"),
    "oracle_omp": Look("true atoms + OMP", GREEN, "*"),
    "oracle_stop": Look("true atoms + OMP to noise", LEAF, "h"),
    "genie": Look("true atoms + support", INK, "d"),
    # autoencoders
    "gated": Look("SAE Gated", GOLD, "h"),
    "jump_relu": Look("SAE JumpReLU", SKY, "P"),
    "matryoshka": Look("SAE Matryoshka", SALMON, "s"),
    "matryoshka_relu": Look("SAE Matryoshka, ReLU + L1", SALMON, "p"),
    "mp": Look("SAE MP", MAGENTA, "D"),
    "relu_l1_tied": Look("SAE ReLU + L1, tied", GOLD, "s"),
    "abs_topk": Look("SAE AbsTopK", AZURE, "s"),
    "nested_topk": Look("MSAE (nested TopK)", PURPLE, "D"),
    "top_afa": Look("top-AFA", SKY, "s"),
    "gba": Look("GBA", NAVY, "p"),
    "kron": Look("Kronecker", NAVY, "D"),
    "spade": Look("SpaDE", NAVY, "v"),
    "mlp_32": Look("SAE, MLP encoder of 32 units", PURPLE, "s"),
    "mlp_256": Look("SAE, MLP encoder of 256 units", LILAC, "s"),
    "bag": Look("bagging", NAVY, "h"),
    "boost": Look("boosting", ORANGE, "s"),
    "itda": Look("ITDA", BROWN, "D"),
    "sign": Look("sign autoencoder", ROSE, "D"),
    # sparse coding and clustering
    "kmeans": Look("k-means", BROWN, "h"),
    "online": Look("online learning + OMP", TEAL, "o"),
    "erspud": Look("ER-SpUD", GOLD, "^"),
    "descent": Look("signed descent", ROSE, "v"),
    # latent-variable models
    "ard": Look("ARD-VAE", PURPLE, "h"),
    "vaease": Look("VAEase", PURPLE, "o"),
    "sparse_vae": Look("sparse VAE", MAGENTA, "s"),
    "vsc": Look("VSC", AZURE, "D"),
    "ivae": Look("iVAE (reads labels)", MAGENTA, "o"),
    "idvae": Look("IDVAE (reads labels)", GOLD, "d"),
    # encoders that know the atoms
    "bayes": Look("message passing", INK, "D"),
    "l1": Look("basis pursuit (l1)", LEAF, "<"),
    "subspace": Look("subspace pursuit", SKY, "X"),
    "nnls": Look("non-negative least squares", SALMON, "o"),
    "one_layer": Look("best one-layer encoder", BROWN, "v"),
    "linear": Look("linear (LMMSE)", SLATE, "+"),
    "tied": Look("atoms as weights, best nonlinearity", LILAC, "h"),
    "matched_filter": Look("true atoms as a matched filter", LEAF, ">"),
    "probes": Look("linear probes, supervised", NAVY, "X"),
}

# What a validation adds: its subject, and its floor and ceiling under their names.
VALIDATION = {
    "subject": Look("subject", NAVY, "o"),
    "floor": LOOKS["random"].named("floor: random dictionary"),
    "oracle": LOOKS["oracle_omp"].named("oracle: true atoms"),
    "genie": LOOKS["genie"].named("genie: true atoms + support"),
}

# For a solver without a look of its own; the colour goes by its name, not by what else is drawn.
_OTHERS = (SKY, ORANGE, LILAC, LEAF, BROWN)
_MARKERS = ("P", "X", "h", "<", ">")

_SPELT = {"mcc": "MCC", "f1": "F1", "l0": "L0", "fvu": "FVU", "90": "0.9"}


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
