"""Recovery scores of random directions on their theory, and rankings before and after chance is taken off."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import FLOOR, LOOKS, NAVY, SLATE, VERMILLION
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.chance import matched_mean_estimate, mean_max_abs_cosine

TITLE = "Chance levels of recovery scores"
QUESTION = "How much of a recovery score is chance, and does it change a ranking?"
CAPTION = (
    "Scores of random unit directions against random truths. MMCS: mean over true features of the largest |cos|; its "
    "line is exact. MCC: the same matched one to one; its line is a rule, the midpoint of two bounds, to within 0.01 "
    "from d = 16 on. Left: as many atoms as features, twice the dimension. Middle: the width at d = 16, m = 32, where "
    "MCC is per matched pair. Right: MCC of solvers in a world of 32 features in 16 dimensions, three active, raw and "
    "above chance, (MCC - c) / (1 - c) with c the chance level at the solver's own width: crossing lines are pairs "
    "that change places. Bars are 95% intervals over seeds."
)
RANKED = {
    "random": LOOKS["random"],
    "random_wide": LOOKS["random"].named("random dictionary, 16 m")._replace(colour=SLATE, marker="+"),
    "pca": LOOKS["pca"],
    "ica": LOOKS["ica"],
    "kmeans": LOOKS["kmeans"],
    "mod": LOOKS["mod"],
}
SCORES = {"mmcs": ("MMCS", NAVY, "s"), "mcc": ("MCC", VERMILLION, "o")}
RULE = 0.01  # what the rule for MCC is good for, from d = 16 on


def places(table: Table, part: str) -> list[float]:
    """Return the values that a sweep goes through, ascending."""
    return sorted(float(value) for value in table.where(part=part).levels("place"))


def _one(table: Table, part: str, place: float, column: str) -> int:
    return round(float(by_seed(table, column, part=part, place=place).mean()))


def shape(table: Table, part: str, place: float) -> tuple[int, int, int]:
    """Return m, p and d at a point of a sweep."""
    m, p, d = (_one(table, part, place, column) for column in ("n_features", "width", "dim"))
    return m, p, d


def score(table: Table, part: str, place: float, metric: str) -> np.ndarray:
    """Return the score of each seed; MCC is that of a matched pair, MCC times m / min(m, p)."""
    m, p, _ = shape(table, part, place)
    found = by_seed(table, metric, part=part, place=place)
    return found * (m / min(m, p) if metric == "mcc" else 1.0)


@cache
def _level(metric: str, m: int, p: int, d: int) -> float:
    return mean_max_abs_cosine(p, d) if metric == "mmcs" else matched_mean_estimate(m, p, d)


def theory(table: Table, part: str, place: float, metric: str) -> float:
    """Return the chance level that theory gives."""
    return _level(metric, *shape(table, part, place))


def _sweep(axes: Axes, table: Table, part: str) -> None:
    at = places(table, part)
    for metric, (label, colour, marker) in SCORES.items():
        values = [mean_interval(score(table, part, place, metric)) for place in at]
        half = [value.half_width for value in values]
        axes.errorbar(at, [v.mean for v in values], half, color=colour, marker=marker, ms=3.5, ls="none", label=label)
        axes.plot(at, [theory(table, part, place, metric) for place in at], color=colour, lw=0.9)
    axes.set_xscale("log", base=2)
    axes.set_xticks(at, [f"{place:g}" for place in at])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _ranking(axes: Axes, table: Table) -> None:
    for name, look in RANKED.items():
        ends = [interval(table, metric, part="ranking", solver=name) for metric in ("mcc", "mcc_corrected")]
        half = [value.half_width for value in ends]
        axes.errorbar(
            (0, 1),
            [v.mean for v in ends],
            half,
            color=look.colour,
            marker=look.marker,
            ms=4.5,
            lw=1.0,
            label=look.label,
        )
    axes.axhline(0.0, color=FLOOR, lw=0.6)
    axes.set_xticks((0, 1), ["MCC", "above chance"])
    axes.set_xlim(-0.15, 1.15)
    axes.set_ylabel("score of a learned dictionary")
    axes.set_title("solvers")


def draw(table: Table) -> Figure:
    """Return the figure: floors over the dimension and the width, and the ranking."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels = figure.subplots(1, 3)
    _sweep(panels[0], table, "dimension")
    _sweep(panels[1], table, "width")
    panels[0].set_xlabel("dimension d, with m = p = 2 d")
    panels[0].set_ylabel("score of random directions")
    panels[0].set_title("by dimension")
    panels[1].set_xlabel("width p / m, d = 16")
    panels[1].set_title("by width")
    panels[0].legend(frameon=False, loc="upper right")
    _ranking(panels[2], table)
    handles, texts = panels[2].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncol=6, frameon=False)
    return figure


def _floors(table: Table) -> list[Claim]:
    sizes = [(part, place) for part in ("dimension", "width") for place in places(table, part)]
    settled = [one for one in sizes if shape(table, *one)[2] >= 16]  # few directions scatter too much to decide
    found = []
    for metric, sentence, source in (
        (
            "mmcs",
            "The chance level of MMCS is E max of p independent |cos|, for any number of features.",
            "theory.chance",
        ),
        ("mcc", "The chance level of MCC is the midpoint of greedy matching and of MMCS.", "theory.chance, a rule"),
    ):
        gaps = [score(table, *one, metric) - theory(table, *one, metric) for one in settled]
        what = f"simulated level less that of theory, mean over {len(settled)} sizes from d = 16 on"
        if gaps:
            found.append(Claim(sentence, source, what, mean_interval(np.mean(gaps, axis=0)), Near(0.0, RULE)))
    if 8.0 in places(table, "dimension"):
        found.append(
            Claim(
                "A raw MCC of 0.6 means nothing in 8 dimensions.",
                "native",
                "MCC of 16 random directions against 16 random features in 8 dimensions",
                mean_interval(score(table, "dimension", 8.0, "mcc")),
                Above(0.6),
            )
        )
    return found


def _flips(table: Table) -> list[Claim]:
    raw, corrected = (
        [by_seed(table, metric, part="ranking", solver=one) for one in ("random_wide", "ica")]
        for metric in ("mcc", "mcc_corrected")
    )
    floors = [by_seed(table, "mcc_corrected", part="ranking", solver=one) for one in ("random", "random_wide")]
    return [
        Claim(
            "By the raw score a wide random dictionary is better than independent components.",
            "native",
            "MCC of a random dictionary of 16 m atoms, less that of ICA",
            paired_interval(*raw),
            Above(0.0),
        ),
        Claim(
            "Above chance it is worse.",
            "native",
            "MCC above chance of a random dictionary of 16 m atoms, less that of ICA",
            paired_interval(*corrected),
            Below(0.0),
        ),
        Claim(
            "Above chance, random directions score nothing at any width.",
            "calibration",
            "MCC above chance of random dictionaries, mean of p = m and p = 16 m",
            mean_interval(np.mean(floors, axis=0)),
            Near(0.0, 0.05),
        ),
        Claim(
            "Principal components find nothing of twice as many features as dimensions.",
            "native",
            "MCC above chance of PCA",
            interval(table, "mcc_corrected", part="ranking", solver="pca"),
            Near(0.0, 0.05),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims on the floors and on the pairs that change places."""
    return [*_floors(table), *_flips(table)]


HEADER = ("what", "at", "seeds", "MMCS", "theory", "MCC", "theory or above chance")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: floors beside theory, then the ranking."""
    found = []
    for part in ("dimension", "width"):
        for place in places(table, part):
            m, p, d = shape(table, part, place)
            values = {metric: mean_interval(score(table, part, place, metric)) for metric in SCORES}
            shown = {metric: f"{value.mean:.3f} ± {value.half_width:.3f}" for metric, value in values.items()}
            exact = {metric: f"{theory(table, part, place, metric):.3f}" for metric in SCORES}
            size = (f"m = {m}, p = {p}, d = {d}", str(values["mcc"].n))
            found.append(("random directions", *size, shown["mmcs"], exact["mmcs"], shown["mcc"], exact["mcc"]))
    for name, look in RANKED.items():
        ends = [interval(table, metric, part="ranking", solver=name) for metric in ("mmcs", "mcc", "mcc_corrected")]
        shown_ends = [f"{value.mean:z.3f} ± {value.half_width:.3f}" for value in ends]
        found.append((look.label, "the ranking", str(ends[0].n), shown_ends[0], "", *shown_ends[1:]))
    return found
