"""What a duel says of its two rows: the paired difference, turned so that positive means that the variant is better."""

from __future__ import annotations

import numpy as np

from paper_figures.seeds import by_seed
from sparsesim.report.palette import GREY, NAVY, VERMILLION, spelt
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table

WON, LOST, OPEN = NAVY, VERMILLION, GREY
SPELT = {
    "abs_topk": "AbsTopK",
    "adaptive_k": "AdaptiveK",
    "archetypal": "Archetypal",
    "aux_k": "AuxK",
    "batch_topk": "BatchTopK",
    "bagging": "Bagging",
    "boosting": "Boosting",
    "end_to_end": "End-to-end",
    "feature_aligned": "Feature-aligned",
    "feature_choice": "Feature choice",
    "finite_scalar": "FSQ",
    "gradient_topk": "Gradient SAE",
    "group bias adaptation": "Group bias adaptation",
    "k_sparse": "k-sparse",
    "kron": "KronSAE",
    "latent_quantised": "QLAE",
    "matryoshka": "Matryoshka",
    "matryoshka_random": "Matryoshka, random prefixes",
    "mp": "MP-SAE",
    "multi_layer": "Multi-layer",
    "multi_topk": "Multi-TopK",
    "mutual_choice": "Mutual choice",
    "nested_topk": "Nested k (MSAE)",
    "norm-weighted L1": "Norm-weighted L1",
    "output_groups": "Output groups (oi-VAE)",
    "polynomial": "PolySAE",
    "resampling": "Resampling",
    "tilted risk": "Tilted risk",
    "top_afa": "top-AFA",
    "transcoder": "Transcoder",
    "unrolled proximal steps": "Unrolled proximal steps",
    "vaease": "VAEase",
    "variational_topk": "Variational TopK (claimed behind)",
}


def variant(name: str) -> str:
    """Return the name of the variant of a duel as it is written."""
    return SPELT.get(name, name)


def facts(table: Table, name: str) -> dict[str, str]:
    """Return what is said of duel ``name``: metric, which way is better, the claim, and both solvers."""
    rows = table.where(duel=name)
    found = {column: str(rows.values(column)[0]) for column in ("metric", "better", "claim")}
    for role in ("challenger", "baseline"):
        found[role] = str(rows.where(role=role).values("solver")[0])
    return found


def scores(table: Table, name: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ``column`` of the challenger and of the baseline by seed."""
    return by_seed(table, column, duel=name, role="challenger"), by_seed(table, column, duel=name, role="baseline")


def difference(table: Table, name: str) -> Interval:
    """Return by how much the challenger of duel ``name`` is better, in the units of its metric."""
    said = facts(table, name)
    challenger, baseline = scores(table, name, said["metric"])
    return (
        paired_interval(challenger, baseline) if said["better"] == "larger" else paired_interval(baseline, challenger)
    )


def unit(table: Table, name: str) -> float:
    """Return the mean of the two scores of duel ``name``, in which its relative difference is measured."""
    challenger, baseline = scores(table, name, facts(table, name)["metric"])
    return float((abs(challenger.mean()) + abs(baseline.mean())) / 2) or 1.0


def shown(values: np.ndarray) -> str:
    """Return the mean of ``values`` over seeds with its half width, as text."""
    one = mean_interval(values)
    return f"{one.mean:.3f} ± {one.half_width:.3f}"


HEADER = ("seeds", "metric", "variant", "baseline", "variant − baseline", "m", "p", "L0 variant / baseline (true)",
          "chance MCC")  # fmt: skip


def cells(table: Table, name: str) -> tuple[str, ...]:
    """Return the text cells of `HEADER` for duel ``name``."""
    said = facts(table, name)
    challenger, baseline = scores(table, name, said["metric"])
    value = difference(table, name)
    l0 = [one.mean() for one in scores(table, name, "l0")]
    widths = [f"{one.mean():.0f}" for one in scores(table, name, "width")]

    def mean(column: str) -> float:
        return float(scores(table, name, column)[0].mean())

    return (
        str(len(challenger)),
        f"{spelt(said['metric'])} ({said['better']})",
        f"{said['challenger']} {shown(challenger)}",
        f"{said['baseline']} {shown(baseline)}",
        f"{value.mean:+.3f} ± {value.half_width:.3f}",
        f"{mean('n_features'):.0f}",
        " / ".join(dict.fromkeys(widths)),
        f"{l0[0]:.2f} / {l0[1]:.2f} ({mean('true_l0'):.2f})",
        f"{mean('mcc_chance'):.3f}",
    )
