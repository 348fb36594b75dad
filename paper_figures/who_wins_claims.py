"""The claims of who wins where: calibration, who leads at the end of each axis, and what each axis costs whom."""

from __future__ import annotations

import numpy as np

from paper_figures.seeds import rank_correlation
from paper_figures.who_wins_numbers import (
    AXES,
    CLASSICAL,
    LEARNERS,
    NAMES,
    SAES,
    column,
    fall,
    field,
    overall,
)
from sparsesim.report.claims import Above, Claim, Near
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table

ENDS = {
    "correlation": "the strongest correlation",
    "hierarchy": "a strict hierarchy",
    "skew": "the most unequal rates",
}
SAME_ORDER = 0.7  # Spearman's rank correlation of eight learners: one learner moved by three places leaves 0.86


def _calibration(table: Table) -> list[Claim]:
    floors = [field(table, axis, "random", "mcc") - field(table, axis, "random", "mcc_chance") for axis in AXES]
    points = np.concatenate([one.reshape(-1, one.shape[-1]) for one in floors])
    worst = points[np.abs(points.mean(axis=-1)).argmax()]
    found = [
        Claim(
            "A random dictionary scores the chance level of MCC in every world.",
            "calibration",
            f"MCC - chance at the point of {len(points)} where it is farthest from 0",
            mean_interval(worst),
            Near(0.0, 0.03),  # as on the plane of superposition: the largest of many means of 5 seeds
        )
    ]
    for axis in AXES:
        best = max(LEARNERS, key=lambda name: overall(table, axis, name).mean())
        found.append(
            Claim(
                f"No learner finds codes as well as the best encoder of the true atoms: {axis}.",
                "calibration",
                f"mean over the plane: best encoder of the true atoms - the best learner, {NAMES[best]}",
                paired_interval(overall(table, axis, "ceiling"), overall(table, axis, best)),
                Above(0.0),
            )
        )
    return found


def _leaders(table: Table, axis: str) -> list[Claim]:
    starts = np.array([column(table, axis, name, 0) for name in LEARNERS])
    ends = np.array([column(table, axis, name, -1) for name in LEARNERS])
    leader = int(starts.mean(axis=1).argmax())
    sparse, saes = (np.max([ends[LEARNERS.index(name)] for name in names], axis=0) for names in (CLASSICAL, SAES))
    return [
        Claim(
            f"Who finds codes best where the axis begins does so at its end: {axis}.",
            "native",
            f"at {ENDS[axis]}, mean over k: {NAMES[LEARNERS[leader]]} - the best other learner",
            paired_interval(ends[leader], np.delete(ends, leader, axis=0).max(axis=0)),
            Above(0.0),
        ),
        Claim(
            f"The order of the learners is nearly the same at both ends of the axis: {axis}.",
            "native",
            "rank correlation over eight learners of codes found, mean over k, begin and end, by seed",
            mean_interval(rank_correlation(starts, ends)),
            Above(SAME_ORDER),
        ),
        Claim(
            f"Dictionary learning with sparse coding beats autoencoders at the end of the axis: {axis}.",
            "native; arXiv:2411.13117 for independent features",
            f"codes at {ENDS[axis]}, mean over k: the best of online learning and MOD - the best autoencoder",
            paired_interval(sparse, saes),
            Above(0.0),
        ),
    ]


def _hierarchy(table: Table) -> list[Claim]:
    def lost(name: str) -> np.ndarray:
        return fall(table, "hierarchy", name, "mcc_corrected")

    return [
        Claim(
            "Nested prefixes gain on BatchTopK as children come to fire only with their parents.",
            "native; arXiv:2503.17547, abstract, for language models",
            "chance-corrected MCC, mean over k: loss of BatchTopK - loss of Matryoshka, from independent to a tree",
            paired_interval(lost("batch_topk"), lost("matryoshka")),
            Above(0.0),
        ),
        Claim(
            "Pursuit gains on TopK as children come to fire only with their parents.",
            "native; arXiv:2506.03093, abstract, for hierarchical concepts",
            "chance-corrected MCC, mean over k: loss of TopK - loss of MP-SAE, from independent to a tree",
            paired_interval(lost("topk"), lost("mp")),
            Above(0.0),
        ),
        Claim(
            "A hierarchy costs atoms of an l1 autoencoder, whose children absorb their parents.",
            "arXiv:2409.14507, toy model",
            "chance-corrected MCC of ReLU + L1, mean over k: independent - tree",
            mean_interval(lost("relu_l1")),
            Above(0.0),
        ),
    ]


def _least(table: Table, axis: str, sentence: str, metric: str, beyond: str = "") -> Claim:
    """Return the claim that every learner loses along an axis, more than ``beyond`` does where that is named."""
    offset = fall(table, axis, beyond, metric) if beyond else 0.0
    losses = {name: fall(table, axis, name, metric) - offset for name in LEARNERS}
    least = min(losses, key=lambda name: losses[name].mean())
    what = {"code_correlation": "correlation of codes", "mcc_corrected": "chance-corrected MCC"}[metric]
    less = ", less what the true atoms lose" if beyond else ""
    quantity = f"{what}, mean over k: begin - end{less}, of who loses least, {NAMES[least]}"
    return Claim(sentence, "native", quantity, mean_interval(losses[least]), Above(0.0))


def _costs(table: Table) -> list[Claim]:
    return [
        _least(
            table,
            "correlation",
            "Correlation costs every learner more than it costs the best encoder of the true atoms.",
            "code_correlation",
            "ceiling",
        ),
        _least(table, "correlation", "Correlation costs every learner atoms.", "mcc_corrected"),
        Claim(
            "Correlation costs a linear encoder more than dictionary learning with sparse coding.",
            "native",
            "correlation of codes, mean over k: loss of TopK - loss of online learning",
            paired_interval(fall(table, "correlation", "topk"), fall(table, "correlation", "online")),
            Above(0.0),
        ),
        _least(table, "skew", "Unequal rates cost every learner atoms.", "mcc_corrected"),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: calibration, who leads, what a hierarchy does to whom, and what correlation and skew cost."""
    leaders = [claim for axis in AXES for claim in _leaders(table, axis)]
    return [*_calibration(table), *leaders, *_hierarchy(table), *_costs(table)]
