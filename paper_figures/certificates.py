"""Certificates: what is proved of a sample, what is recovered of it, and how much is recovered without a proof."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import GREY, NAVY, ORANGE, PINK, SLATE, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.uniqueness import non_negative_uniqueness

TITLE = "Certificates: what theory promises, and what is recovered without a promise"
QUESTION = "What does a certificate promise, is the promise kept, and how much is recovered without one?"
CAPTION = (
    "32 features in 16 dimensions, exactly k active with half-normal codes, no noise, in three geometries. Solid: "
    "share of codes that an encoder with the true atoms recovers to 1% (k told to one step and OMP). Dashed: share "
    "certified from the atoms and the support (one step: and the sample); dotted in the second panel: by the coherence "
    "alone. Grey: the exact probability that a non-negative code is the only one, for random atoms. Last: share of the "
    "atoms that dictionary learning finds at |cos| ≥ 0.9 (its floor is 0), beside the share certified for basis "
    "pursuit with the true ones. Bars are 95% t-intervals over seeds."
)
GEOMETRIES = {
    "spread": Look("spread as far as they go", NAVY, "o"),
    "random": Look("random", ORANGE, "s"),
    "families": Look("families of four", PINK, "^"),
}
PANELS = {
    "one_step": "one linear step",
    "exact_recovery": "OMP",
    "dual": "basis pursuit",
    "unique": "NNLS",
    "learner": "dictionary learning",
}
WORDS = {
    "one_step": ("The support of the largest scores is found by one linear step.", "elementary"),
    "coherence": ("Up to the coherence limit OMP recovers every code.", "Donoho, Elad (2003), Theorem 7"),
    "exact_recovery": ("The exact recovery condition promises what OMP keeps.", "Tropp (2004), Theorem 3.1"),
    "dual": ("A dual certificate promises what basis pursuit keeps.", "Fuchs (2004); arXiv:1209.0652, Theorem 1"),
    "unique": (
        "Where the non-negative code is the only one, least squares finds it.",
        "Bruckstein, Elad, Zibulevsky (2008)",
    ),
}
M, D = 32, 16  # of the laptop tier, which the grey line is for


def actives(table: Table) -> list[int]:
    """Return the values of k in the table, ascending."""
    return sorted(int(value) for value in table.levels("k"))


def field(table: Table, method: str, metric: str, geometry: str) -> np.ndarray:
    """Return ``metric`` by k and seed, ``(k, seeds)``."""
    return np.array([by_seed(table, metric, geometry=geometry, method=method, k=k) for k in actives(table)])


def _line(axes: Axes, k: np.ndarray, values: np.ndarray, look: Look, style: str) -> None:
    found = [mean_interval(one) for one in values]
    face = look.colour if style == "-" else "white"
    bars = np.clip([[one.mean - one.low for one in found], [one.high - one.mean for one in found]], 0.0, None)
    means = [one.mean for one in found]
    marker = look.marker if style != ":" else ""
    axes.errorbar(
        k, means, bars, color=look.colour, ls=style, marker=marker, ms=3.6, mfc=face, mew=0.8, lw=1.0, elinewidth=0.7
    )


def _panel(axes: Axes, table: Table, method: str) -> None:
    k = np.array(actives(table))
    for geometry, look in GEOMETRIES.items():
        solid = "atoms_found" if method == "learner" else "recovered"
        _line(axes, k, field(table, method, solid, geometry), look, "-")
        _line(axes, k, field(table, method, "certified", geometry), look, "--")
        if method == "exact_recovery":
            _line(axes, k, field(table, "coherence", "certified", geometry), look, ":")
    if method == "unique":
        axes.plot(k, [non_negative_uniqueness(M, D, int(one)) for one in k], color=GREY, lw=2.2, zorder=0)
    axes.set_title(PANELS[method], fontsize=8)
    axes.set_xlabel("k active")
    axes.set_ylim(-0.03, 1.04)
    axes.grid()
    axes.set_axisbelow(True)


def draw(table: Table) -> Figure:
    """Return the figure: a panel for each encoder with its certificate, and one for a learner."""
    figure = Figure(figsize=(7.4, 2.7), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, method in zip(panels, PANELS, strict=True):
        _panel(axes, table, method)
    panels[0].set_ylabel("share")
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ms=4, label=look.label) for look in GEOMETRIES.values()
    ]
    styles = (("-", "recovered"), ("--", "certified"), (":", "certified by coherence alone"))
    handles += [Line2D([], [], color=SLATE, ls=style, label=label) for style, label in styles]
    handles.append(Line2D([], [], color=GREY, lw=2.2, label="exact probability"))
    figure.legend(handles=handles, loc="outside lower center", ncol=4, frameon=False, fontsize=7)
    return figure


def _worst(table: Table, method: str, metric: str) -> Interval:
    """Return the largest share over geometries and k within each seed, with its interval over seeds."""
    return mean_interval(np.max([field(table, method, metric, one).max(axis=0) for one in GEOMETRIES], axis=0))


def _foreseen(table: Table, method: str, geometry: str) -> np.ndarray:
    """Return by seed the share of recovered codes with more than one active feature that are certified."""
    more = np.array(actives(table)) > 1
    found, without = (field(table, method, metric, geometry)[more] for metric in ("recovered", "unforeseen"))
    return np.asarray(1.0 - without.sum(axis=0) / found.sum(axis=0))


def _promises(table: Table) -> list[Claim]:
    found = []
    for method, (sentence, source) in WORDS.items():
        share, total = _worst(table, method, "violations"), len(table.where(method=method))
        what = f"share certified and yet not recovered, worst of {total} cells ({method})"
        found.append(Claim(sentence, source, what, share, Near(0.0, 0.001)))
    for method, sentence in (
        ("one_step", "Where the scores do not single out the support, one linear step fails."),
        ("dual", "Where there is no dual certificate, basis pursuit fails."),
    ):
        share = np.mean([field(table, method, "unforeseen", one).mean(axis=0) for one in GEOMETRIES], axis=0)
        what = f"share recovered and yet not certified, of all samples ({method})"
        note = "Those few codes are within 1% of the truth and are not it: to a millionth there are none."
        found.append(Claim(sentence, WORDS[method][1], what, mean_interval(share), Near(0.0, 0.02), note=note))
    return found


def _silence(table: Table) -> list[Claim]:
    fields = [
        [field(table, "learner", metric, one).ravel() for one in GEOMETRIES] for metric in ("certified", "atoms_found")
    ]
    certified, atoms = (np.concatenate(one) for one in fields)
    seeds = len(table.levels("seed"))
    ranks = [np.argsort(np.argsort(one)) for one in (certified, atoms)]
    exact = np.array([[non_negative_uniqueness(M, D, k)] for k in actives(table)])
    nnls = field(table, "unique", "certified", "random") - exact
    return [
        Claim(
            "The exact recovery condition foresees a minority of the codes that OMP recovers.",
            "native",
            "share of the recovered codes with k > 1 that are certified, random atoms",
            mean_interval(_foreseen(table, "exact_recovery", "random")),
            Below(0.5),
        ),
        Claim(
            "A condition on the support foresees more than one on the coherence.",
            "Tropp (2004), Corollary 3.6",
            "share of the recovered codes with k > 1 that are certified, spread atoms: exact recovery - coherence",
            paired_interval(_foreseen(table, "exact_recovery", "spread"), _foreseen(table, "coherence", "spread")),
            Above(0.0),
        ),
        Claim(
            "Least squares often finds a sparse non-negative code that is not the only one.",
            "native; an active set admits atoms by their correlation",
            "share of the recovered codes with k > 1 that are not the only ones, random atoms",
            mean_interval(1.0 - _foreseen(table, "unique", "random")),
            Above(0.1),
        ),
        Claim(
            "Codes are unique as often as the exact probability says.",
            "arXiv:0807.3590; Wendel (1962)",
            "share certified - probability, mean over k, random atoms",
            mean_interval(nnls.mean(axis=0)),
            Near(0.0, 0.1),
            tier="paper",
            note="Whether the atoms lie in a half-space is one event a dictionary: few seeds are few events.",
        ),
        Claim(
            "Dictionaries are learned where codes are certified with the true atoms.",
            "native",
            "Spearman correlation over worlds and seeds of the share certified for basis pursuit and of atoms found",
            _fisher(float(np.corrcoef(*ranks)[0, 1]), len(certified), seeds),
            Above(0.5),
        ),
    ]


def _fisher(correlation: float, cells: int, seeds: int) -> Interval:
    """Return Fisher's 95% interval of a correlation over ``cells``, as if they were independent."""
    half = 1.96 / np.sqrt(cells - 3)
    low, high = np.tanh(np.arctanh(correlation) + np.array([-half, half]))
    return Interval(correlation, float(low), float(high), seeds)


def claims(table: Table) -> list[Claim]:
    """Return the claims: that promises are kept, and how much is not promised."""
    return [*_promises(table), *_silence(table)]


HEADER = ("certificate", "geometry", "seeds", "certified", "recovered", "violations", "recovered without")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: shares, means over k with intervals over the seeds."""
    found: list[tuple[str, ...]] = []

    def show(method: str, metric: str, geometry: str) -> str:
        value = mean_interval(field(table, method, metric, geometry).mean(axis=0))
        return f"{value.mean:.3f} ± {value.half_width:.3f}"

    for method in (*WORDS, "learner"):
        for geometry, look in GEOMETRIES.items():
            seeds = str(len(table.levels("seed")))
            names = ("recovered", "violations", "unforeseen")
            rest = [show(method, name, geometry) for name in names] if method != "learner" else []
            atoms = [f"{show('learner', 'atoms_found', geometry)} of the atoms", "", ""] if method == "learner" else []
            found.append((method, look.label, seeds, show(method, "certified", geometry), *rest, *atoms))
    return found
