"""Approximate feature activation: the norm of a code in its sample, and the number of latents that it chooses."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from paper_figures.panels import three
from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, INK, LOOKS, NAVY, ORANGE, PURPLE, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table, Value
from theory.isometry import norm_deviation

TITLE = "Approximate feature activation: is the number of active latents in the norm of a sample?"
QUESTION = "Is the norm of a code that of its sample, and does that choose how many latents speak?"
CAPTION = (
    "Left: true codes of one size and random sign; how far ‖x‖² is from ‖f‖², by the number of active features: the "
    "root mean square on its exact line, and the largest of all samples (open) under the bound of the theorem (dotted, "
    "k − 1 times the coherence). Middle: latents that speak against features that are active, in 32 dimensions with 40 "
    "(filled) and 64 features (open). Right: support F1 beside TopK, which is told the mean k, where the number varies "
    "from one to seven. Bars are 95% t-intervals over the seeds."
)
SOURCE = "arXiv:2503.24277"
FRAMES = {
    "equiangular": Look("equiangular, 64 in 28", NAVY, "s"),
    "low": Look("low coherence, 64 in 32", PURPLE, "D"),
    "random": Look("random, 64 in 32", ORANGE, "o"),
}
SHOWN = {
    "top_afa": LOOKS["top_afa"],
    "topk": LOOKS["topk"].named("TopK, told the mean k"),
    "rule": Look("true atoms, norm rule", CEILING, "*"),
    "random": LOOKS["random"].named("random atoms, norm rule"),
}
WORLDS = {"near": "40 features", "superposed": "64 features"}
ROUNDING = 1e-9
NOTES = {
    "rule": "Where the correlations of the active atoms reach the norm of the sample, in half of the samples of two "
    "features, the rule never takes more than are active; in the others it fills up the norm with idle atoms, whose "
    "correlations are small: 7.0 of 40 and 4.8 of 64 speak. With orthonormal atoms it takes the active ones (tested).",
    "top_afa": "The objective wants them: training that starts at the true atoms keeps these and ends with as many "
    "latents as from any other start, at less than 0.4 of the loss of the rule with the true atoms (tested with 40 "
    "features).",
}


def actives(table: Table, part: str, world: str) -> list[int]:
    """Return the numbers of active features of ``part``, ascending."""
    return sorted({round(float(one)) for one in table.where(part=part, world=world).column("k")})


def _own(table: Table, metric: str, part: str, world: str, k: int, solver: str = "truth") -> np.ndarray:
    return by_seed(table, metric, part=part, world=world, solver=solver, k=k)


def _line(table: Table, world: str, k: int) -> float:
    return norm_deviation(float(_own(table, "mean_square_cosine", "norm", world, k).mean()), k)


def _bar(axes: Axes, place: float, value: Interval, look: Look, filled: bool = True) -> None:
    axes.plot([place, place], [value.low, value.high], color=look.colour, lw=1.2)
    size = 8 if look.marker == "*" else 5.5
    edge = look.colour if look.marker == "x" or not filled else "white"
    face = look.colour if filled else "white"
    axes.plot(place, value.mean, look.marker, ms=size, mfc=face, mec=edge, mew=0.9 if edge == look.colour else 0.4)


def _norms(axes: Axes, table: Table) -> None:
    for world, look in FRAMES.items():
        ks = actives(table, "norm", world)
        axes.plot(ks, [_line(table, world, k) for k in ks], color=look.colour, lw=1.1)
        bounds = [(k - 1) * float(_own(table, "largest_cosine", "norm", world, k).mean()) for k in ks]
        axes.plot(ks, bounds, ":", color=look.colour, lw=1.1)
        for k in ks:
            _bar(axes, k, mean_interval(_own(table, "norm_rms", "norm", world, k)), look)
            _bar(axes, k, mean_interval(_own(table, "norm_largest", "norm", world, k)), look, filled=False)
        axes.plot([], [], look.marker, color=look.colour, ms=5, label=look.label)
    ks = actives(table, "norm", "random")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="active features k", ylabel="| ‖x‖² / ‖f‖² − 1 |")
    axes.legend(frameon=False, fontsize=6.5, loc="upper left")


def _chosen(axes: Axes, table: Table) -> None:
    for world in WORLDS:
        ks = actives(table, "fixed", world)
        for name in ("top_afa", "rule", "random"):
            for k in ks:
                value = mean_interval(_own(table, "l0", "fixed", world, k, name))
                _bar(axes, k, value, SHOWN[name], filled=world == "near")
    ks = actives(table, "fixed", "near")
    axes.plot([ks[0], ks[-1]], [ks[0], ks[-1]], color=INK, lw=0.8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_yticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.set(xlabel="active features k", ylabel="latents that speak")


def _f1(axes: Axes, table: Table) -> None:
    for place, (world, words) in enumerate(WORLDS.items()):
        k = actives(table, "varied", world)[0]
        for index, (name, look) in enumerate(SHOWN.items()):
            value = mean_interval(_own(table, "support_f1", "varied", world, k, name))
            _bar(axes, place + 0.18 * (index - 1.5), value, look)
        axes.text(place, -0.04, words, ha="center", va="top", fontsize=7, transform=axes.get_xaxis_transform())
    axes.set_xticks([])
    axes.set(xlim=(-0.5, 1.5), ylim=(0, 1.02), ylabel="support F1, one to seven active")


def draw(table: Table) -> Figure:
    """Return the figure: norms, the number of latents they choose, and whether these are the right ones."""
    figure, panels = three(table, (_norms, _chosen, _f1), 3.2, (1.2, 1.0, 0.8))
    handles = [
        panels[2].plot([], [], look.marker, color=look.colour, ms=7 if look.marker == "*" else 5, label=look.label)[0]
        for look in SHOWN.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _worst(table: Table, above: str) -> np.ndarray:
    """Return for each seed the largest excess of ``above`` over its bound, in all worlds of the first part."""
    found = []
    for world in FRAMES:
        for k in actives(table, "norm", world):
            bound = _own(table, "largest_cosine", "norm", world, k)
            found.append(_own(table, above, "norm", world, k) - (bound if above == "epsilon_lbo" else (k - 1) * bound))
    largest: np.ndarray = np.max(found, axis=0)
    return largest


def _theorem(table: Table) -> list[Claim]:
    found = [
        Claim(
            "No sample leaves the interval: the squared norms differ by at most k − 1 times the coherence.",
            f"{SOURCE}, theorem of the approximate feature norm, with k for the number of latents",
            "largest deviation − bound, all worlds and samples",
            mean_interval(_worst(table, "norm_largest")),
            Below(ROUNDING),
        ),
        Claim(
            "The bound on quasi-orthogonality that norms give never exceeds the coherence.",
            f"{SOURCE}, ε_LBO",
            "largest ε_LBO − coherence, all worlds and samples",
            mean_interval(_worst(table, "epsilon_lbo")),
            Below(ROUNDING),
        ),
    ]
    for world, look in FRAMES.items():
        ks = actives(table, "norm", world)
        ratios = {}
        for k in ks:
            squares = _own(table, "mean_square_cosine", "norm", world, k)
            lines = np.array([norm_deviation(float(one), k) for one in squares])
            ratios[k] = _own(table, "norm_rms", "norm", world, k) / lines
        k = max(ratios, key=lambda one: abs(float(ratios[one].mean()) - 1.0))
        found.append(
            Claim(
                "The root mean square deviation is the closed form.",
                "derived here: theory.isometry.norm_deviation",
                f"measured over exact, {look.label}, farthest at k = {k}",
                mean_interval(ratios[k]),
                Near(1.0, 0.05),  # of 2,000 samples a seed
            )
        )
    k = actives(table, "norm", "random")[-1]
    found.append(
        Claim(
            "Typical norms are far nearer to each other than the worst case allows.",
            "native, from the closed form",
            f"root mean square over the bound, random directions, k = {k}",
            mean_interval(
                _own(table, "norm_rms", "norm", "random", k)
                / ((k - 1) * _own(table, "largest_cosine", "norm", "random", k))
            ),
            Below(0.1),
        )
    )
    return found


def _choice(table: Table) -> list[Claim]:
    found = []
    for world, words in WORLDS.items():
        ks = actives(table, "fixed", world)
        for name, subject in (("rule", "the rule with the true atoms"), ("top_afa", "trained top-AFA")):
            ratios = {k: _own(table, "l0", "fixed", world, k, name) / k for k in ks}
            worst = max(ks, key=lambda k: abs(float(np.log(ratios[k].mean()))))
            found.append(
                Claim(
                    f"Matching norms finds how many features are active: {subject}.",
                    f"{SOURCE}, abstract",
                    f"latents that speak over active features, {words}, farthest at k = {worst}",
                    mean_interval(ratios[worst]),
                    Near(1.0, 0.25),
                    tier="laptop",
                    note=NOTES[name],
                )
            )
    return found


def _against_topk(table: Table) -> list[Claim]:
    found = []
    for world, words in WORLDS.items():
        k = actives(table, "varied", world)[0]

        def pair(metric: str, world: str = world, k: int = k) -> Interval:
            first, second = (_own(table, metric, "varied", world, k, name) for name in ("top_afa", "topk"))
            return paired_interval(first, second)

        for metric, name, bound in (("support_f1", "support F1", Above(0.0)), ("fvu", "FVU", Below(0.0))):
            found.append(
                Claim(
                    "Without a k to tune top-AFA is no worse than TopK that is told it, where the number varies.",
                    f"{SOURCE}, abstract and results",
                    f"{name}, top-AFA − TopK, {words}, one to seven active",
                    pair(metric),
                    bound,
                    tier="laptop",
                    note=_more(table, world, k),
                )
            )
        found.append(
            Claim(
                "The number of latents follows the number of active features from sample to sample.",
                f"{SOURCE}, abstract",
                f"correlation of both over samples, top-AFA, {words}",
                mean_interval(_own(table, "l0_correlation", "varied", world, k, "top_afa")),
                Above(0.5),
                tier="laptop",
                note="With the true atoms the rule has a correlation of "
                f"{_own(table, 'l0_correlation', 'varied', world, k, 'rule').mean():.2f}; training that starts there "
                "ends like any other (tested with 40 features).",
            )
        )
    return found


def _more(table: Table, world: str, k: int) -> str:
    speak, told = (_own(table, "l0", "varied", world, k, name).mean() for name in ("top_afa", "topk"))
    rule = _own(table, "support_f1", "varied", world, k, "rule").mean()
    return (
        f"It reconstructs better with {speak:.0f} latents a sample where TopK has {told:.0f}, and the others are not "
        f"true ones; with the true atoms its rule has a support F1 of {rule:.2f}, no less than TopK, but training "
        "from there ends like any other (tested with 40 features)."
    )


def claims(table: Table) -> list[Claim]:
    """Return the claims: the theorem and its typical case, the number that is chosen, and TopK beside it."""
    return [*_theorem(table), *_choice(table), *_against_topk(table)]


HEADER = ("part", "world", "solver", "k", "seeds", "rms (exact)", "largest (bound)", "L0 (true)", "support F1", "FVU")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    keys = sorted({(str(r["part"]), str(r["world"]), str(r["solver"]), round(float(r["k"]))) for r in table.rows()})
    found: list[tuple[str, ...]] = []
    for part, world, solver, k in keys:
        own: dict[str, Value] = {"part": part, "world": world, "solver": solver, "k": k}
        value = {name: interval(table, name, **own) for name in ("norm_rms", "norm_largest", "l0", "support_f1", "fvu")}
        shown = {name: f"{one.mean:z.3f} ± {one.half_width:.3f}" for name, one in value.items()}
        norm = ("–", "–")
        if part == "norm":
            bound = (k - 1) * interval(table, "largest_cosine", **own).mean
            norm = (f"{shown['norm_rms']} ({_line(table, world, k):.3f})", f"{shown['norm_largest']} ({bound:.3f})")
        l0 = f"{shown['l0']} ({interval(table, 'true_l0', **own).mean:.2f})"
        found.append((part, world, solver, str(k), str(value["l0"].n), *norm, l0, shown["support_f1"], shown["fvu"]))
    return found
