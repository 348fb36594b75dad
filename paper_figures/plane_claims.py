"""The claims of the plane: theory and chance, what is lost in code and dictionary, who wins, and the atoms."""

from __future__ import annotations

import numpy as np

from paper_figures.plane_numbers import (
    KNOWN,
    LEARNED,
    LINEAR,
    NAMES,
    SAES,
    axes_of,
    dimension,
    field,
    first,
    inside_l1,
    overall,
)
from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table


def _theory(table: Table) -> list[Claim]:
    success, (below, above) = field(table, "l1", "exact_recovery"), inside_l1(table)
    floor = field(table, "random", "mcc") - field(table, "random", "mcc_chance")
    worst = np.unravel_index(np.abs(floor.mean(axis=-1)).argmax(), floor.shape[:2])
    return [
        Claim(
            "Below the finite Donoho-Tanner curve the l1 norm recovers more than half of all codes.",
            "arXiv:1303.6672, Theorem II; arXiv:math/0607364",
            f"exact recovery of basis pursuit, worst of {below.sum()} points",
            mean_interval(success[below][success[below].mean(axis=-1).argmin()]),
            Above(0.5),
        ),
        Claim(
            "Above it the l1 norm recovers fewer than half.",
            "arXiv:1303.6672, Theorem II; arXiv:math/0607364",
            f"exact recovery of basis pursuit, best of {above.sum()} points",
            mean_interval(success[above][success[above].mean(axis=-1).argmax()]),
            Below(0.5),
        ),
        Claim(
            "A random dictionary scores the chance level of MCC on the whole plane.",
            "calibration",
            "MCC - chance at the point where it is farthest from 0",
            mean_interval(floor[worst]),
            Near(0.0, 0.03),  # the largest of 30 means of 5 seeds, whose standard errors are near 0.01
        ),
    ]


def _gaps(table: Table) -> list[Claim]:
    """Return what is lost where: in the code, in the dictionary, in both."""
    known = {name: overall(table, name) for name in KNOWN}
    sae = np.max([overall(table, name) for name in LINEAR], axis=0)
    learned = {name: overall(table, name) for name in LEARNED}
    best = max(learned, key=lambda name: learned[name].mean())
    wide = axes_of(table)[0][-1]

    def at(solver: str, ratio: float) -> np.ndarray:
        return np.asarray(field(table, solver)[:, axes_of(table)[0].index(ratio)].mean(axis=0))

    loss = {name: at(name, 1.0) - at(name, wide) for name in ("l1", "topk")}
    return [
        Claim(
            "No learner finds codes as well as basis pursuit with the true atoms.",
            "native",
            f"mean over the plane: basis pursuit - the best learner, {NAMES[best]}",
            paired_interval(known["l1"], learned[best]),
            Above(0.0),
        ),
        Claim(
            "In a short training no autoencoder with a linear encoder gets to one linear step with the true atoms.",
            "native",
            "mean over the plane: one linear step with the true atoms - the best of ReLU + L1, TopK, BatchTopK and "
            "Matryoshka",
            paired_interval(known["one_step"], sae),
            Above(0.0),
            note="It is the budget: with five times the steps TopK passes one linear step at m/d = 2 and k = 3, which "
            "a test of this figure shows. Its encoder is not tied to its atoms.",
        ),
        Claim(
            "Dictionary learning with sparse coding finds codes better than autoencoders in a short training.",
            "arXiv:2411.13117, abstract",
            "mean over the plane: online dictionary learning - the best of ReLU + L1, TopK, BatchTopK and Matryoshka",
            paired_interval(overall(table, "online"), sae),
            Above(0.0),
        ),
        Claim(
            "An autoencoder that pursues learns in fewer steps than one with a linear encoder.",
            "native; arXiv:2506.03093 for the autoencoder",
            "mean over the plane: MP-SAE - TopK",
            paired_interval(learned["mp"], learned["topk"]),
            Above(0.0),
            note="With five times the steps TopK comes up to MP-SAE at m/d = 2 and k = 3.",
        ),
        Claim(
            "Superposition costs a linear encoder more than it costs sparse coding with the true atoms.",
            "native",
            f"fall of the column's mean from m / d = 1 to {wide:g}: TopK - basis pursuit",
            paired_interval(loss["topk"], loss["l1"]),
            Above(0.0),
        ),
    ]


def _winners(table: Table) -> list[Claim]:
    return [
        Claim(
            "Of all learners, dictionary learning with sparse coding finds codes best on most of the plane.",
            "native",
            "share of points at which online dictionary learning is first, by seed",
            mean_interval(first(table, "online", LEARNED)),
            Above(0.5),
        ),
        Claim(
            "Of the autoencoders, after few steps, the one that pursues finds codes best on most of the plane.",
            "native",
            "share of points at which MP-SAE is first of the autoencoders, by seed",
            mean_interval(first(table, "mp", SAES)),
            Above(0.5),
            note="On most of the rest ReLU + L1 is first, whose penalty is chosen by the truth at each point.",
        ),
    ]


def _atoms(table: Table) -> list[Claim]:
    online, topk = (overall(table, name, "mcc_corrected") for name in ("online", "topk"))
    square = np.array([by_seed(table, "recovered_at_90", solver="ica", ratio=1.0, k=k) for k in axes_of(table)[1]])
    sparse = np.array(axes_of(table)[1]) / dimension(table) <= 0.25
    vae = overall(table, "vae", "mcc_corrected")
    return [
        Claim(
            "Without superposition independent components are found.",
            "Comon 1994, Theorem 11",
            "atoms found by ICA at m = d and k/d up to 1/4, worst k",
            mean_interval(square[sparse].min(axis=0)),
            Above(0.9),
            note="Exactly k active features are not independent: the more they are, the less each tells of another.",
        ),
        Claim(
            "The dictionary, too, is found better by sparse coding than by an autoencoder.",
            "native",
            "chance-corrected MCC, mean over the plane: online dictionary learning - TopK",
            paired_interval(online, topk),
            Above(0.0),
        ),
        Claim(
            "A Gaussian VAE finds principal directions, which are not the features.",
            "arXiv:1911.02469, abstract (the optimum of a linear VAE is the principal directions)",
            "chance-corrected MCC, mean over the plane",
            mean_interval(vae),
            Below(0.1),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: theory and chance, the gaps between known and learned, and the atoms."""
    return [*_theory(table), *_gaps(table), *_winners(table), *_atoms(table)]
