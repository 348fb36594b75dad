"""Duels: each variant on the small world on which its paper says it wins, against the baseline it is said to beat."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Claim, Verdict
from sparsesim.report.palette import spelt
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table

TITLE = "Duels: does each variant win where its paper says it wins?"
QUESTION = "Does each variant win where its paper says it wins?"
CAPTION = (
    "One row a duel: the paired difference of its metric, oriented so that positive means that the variant wins, in "
    "units of the mean of the two, with the 95% t-interval over the seeds. Filled: the whole interval is on one side "
    "of zero. The axis is linear within 0.1 and logarithmic beyond. The table gives both scores; a variant that does "
    "not win here stays in the list."
)
ABOVE = Above(0.0)
WON, LOST, OPEN = "#0072B2", "#D55E00", "#999999"
SPELT = {
    "abs_topk": "AbsTopK",
    "adaptive_k": "AdaptiveK",
    "archetypal": "Archetypal",
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
HEADER = (
    "duel", "seeds", "metric", "variant", "baseline", "variant − baseline", "m", "p", "L0 variant / baseline (true)",
    "chance MCC",
)  # fmt: skip


def _facts(table: Table, name: str) -> dict[str, str]:
    rows = table.where(duel=name)
    facts = {column: str(rows.values(column)[0]) for column in ("metric", "better", "claim")}
    for role in ("challenger", "baseline"):
        facts[role] = str(rows.where(role=role).values("solver")[0])
    return facts


def _scores(table: Table, name: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ``column`` of the challenger and of the baseline by seed."""
    return by_seed(table, column, duel=name, role="challenger"), by_seed(table, column, duel=name, role="baseline")


def _spelt(name: str) -> str:
    return SPELT.get(name, name)


def difference(table: Table, name: str) -> Interval:
    """Return by how much the challenger of duel ``name`` is better, in the units of its metric."""
    facts = _facts(table, name)
    challenger, baseline = _scores(table, name, facts["metric"])
    return (
        paired_interval(challenger, baseline) if facts["better"] == "larger" else paired_interval(baseline, challenger)
    )


def claims(table: Table) -> list[Claim]:
    """Return one claim a duel: the variant is better than the baseline."""
    found = []
    for name in map(str, table.levels("duel")):
        facts = _facts(table, name)
        better = f"{facts['metric']} ({facts['better']} is better)"
        quantity = f"{name}: {better}, {facts['challenger']} over {facts['baseline']}"
        source = ", ".join(f"arXiv:{number}" for number in re.findall(r"\d{4}\.\d{4,5}", facts["claim"]))
        found.append(Claim(facts["claim"], source or "native", quantity, difference(table, name), ABOVE, tier="laptop"))
    return found


def draw(table: Table) -> Figure:
    """Return the figure: one row a duel, its relative paired difference with interval."""
    names = [str(name) for name in table.levels("duel")]
    verdicts = {one.quantity.split(":")[0]: one.verdict for one in claims(table)}
    figure = Figure(figsize=(7.0, 0.8 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        metric = _facts(table, name)["metric"]
        challenger, baseline = _scores(table, name, metric)
        unit = (abs(challenger.mean()) + abs(baseline.mean())) / 2 or 1.0
        value = difference(table, name)
        colour = {Verdict.REPRODUCED: WON, Verdict.FAILED: LOST}.get(verdicts[name], OPEN)
        axes.plot([value.low / unit, value.high / unit], [row, row], color=colour, lw=1.4)
        filled = verdicts[name] in (Verdict.REPRODUCED, Verdict.FAILED)
        axes.plot(value.mean / unit, row, "o", color=colour, ms=4.5, mfc=colour if filled else "white")
    axes.axvline(0.0, color="0.4", lw=0.8)
    axes.set_yticks(range(len(names)), [f"{_spelt(name)}: {spelt(_facts(table, name)['metric'])}" for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("symlog", linthresh=0.1, linscale=1.0)
    axes.set_xticks([-2, -1, -0.1, 0, 0.1, 1, 2], ["−2", "−1", "−0.1", "0", "0.1", "1", "2"])
    axes.minorticks_off()
    axes.set_xlabel("baseline better   ←   relative paired difference   →   variant better")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return figure


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a duel, both scores with their intervals and the sizes beside them."""
    return [_row(table, str(name)) for name in table.levels("duel")]


def _row(table: Table, name: str) -> tuple[str, ...]:
    facts = _facts(table, name)
    challenger, baseline = _scores(table, name, facts["metric"])
    value = difference(table, name)
    l0 = [one.mean() for one in _scores(table, name, "l0")]
    widths = [f"{one.mean():.0f}" for one in _scores(table, name, "width")]

    def mean(column: str) -> float:
        return float(_scores(table, name, column)[0].mean())

    def show(scores: np.ndarray) -> str:
        one = mean_interval(scores)
        return f"{one.mean:.3f} ± {one.half_width:.3f}"

    return (
        _spelt(name),
        str(len(challenger)),
        f"{spelt(facts['metric'])} ({facts['better']})",
        f"{facts['challenger']} {show(challenger)}",
        f"{facts['baseline']} {show(baseline)}",
        f"{value.mean:+.3f} ± {value.half_width:.3f}",
        f"{mean('n_features'):.0f}",
        " / ".join(dict.fromkeys(widths)),
        f"{l0[0]:.2f} / {l0[1]:.2f} ({mean('true_l0'):.2f})",
        f"{mean('mcc_chance'):.3f}",
    )
