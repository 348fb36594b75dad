"""Features of either sign: how many latents they need, on the share that latents along them leave."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, LOOKS, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table, Value
from theory.bipolar import one_sided_fvu, signed_fvu

TITLE = "Features of either sign: codes of one sign need twice the latents"
QUESTION = "How many latents do features of either sign need, by codes of one sign and of both?"
CAPTION = (
    "Orthonormal features of ±1, a few active in each sample; at most as many latents speak. Left: the variance that "
    "is left, along the width; lines are what latents along features leave, of either sign (solid, which no "
    "autoencoder can be below) and of one (dashed). Middle: as many latents as features, along the probability of the "
    "positive sign. Right: MCC and the share of the 2m signed directions that a latent serves, where there are as many "
    "latents as features. Bars are 95% t-intervals over the seeds."
)
SOURCE, NESTED = "arXiv:2510.00404", "arXiv:2502.20578"
SHOWN = {
    "abs_topk": LOOKS["abs_topk"].named("AbsTopK"),
    "topk": LOOKS["topk"],
    "nested_topk": LOOKS["nested_topk"],
}
FIT = 0.05  # of the variance
SAMPLING = 0.02  # of the variance of 2,000 held-out samples


def shares(table: Table) -> list[float]:
    """Return the widths over m of the first part, ascending."""
    return sorted({float(one) for one in table.where(part="width").column("share")})


def signs(table: Table) -> list[float]:
    """Return the probabilities of the positive sign at width m, one half first."""
    return [0.5, *sorted({float(one) for one in table.where(part="sign").column("positive")})]


def _where(share: float, positive: float) -> dict[str, Value]:
    part = "width" if positive == 0.5 else "sign"
    return {"part": part, "share": share, "positive": positive}


def world(table: Table) -> tuple[int, float]:
    """Return m and the firing rate of the orthonormal worlds."""
    rows = table.where(part="width")
    m = round(float(rows.column("n_features").mean()))
    return m, float(rows.column("true_l0").mean()) / m


def exact(table: Table, name: str, share: float, positive: float) -> float:
    """Return the exact least FVU of the solver ``name``."""
    m, rate = world(table)
    width = round(share * m)
    return signed_fvu(width, m) if name == "abs_topk" else one_sided_fvu(width, m, rate, positive)


def _value(table: Table, metric: str, name: str, share: float, positive: float = 0.5) -> Interval:
    return interval(table, metric, solver=name, **_where(share, positive))


def _seeds(table: Table, metric: str, name: str, **labels: Value) -> np.ndarray:
    return by_seed(table, metric, solver=name, **labels)


def _bar(axes: Axes, place: float, value: Interval, look: Look, index: int = 0, step: float = 0.0) -> None:
    at = place + step * (index - 1)  # solvers side by side
    axes.plot([at, at], [value.low, value.high], color=look.colour, lw=1.2)
    axes.plot(at, value.mean, look.marker, color=look.colour, ms=5, mec="white", mew=0.4)


def _widths(axes: Axes, table: Table) -> None:
    m, rate = world(table)
    grid = range(0, round(max(shares(table)) * m) + 1)
    axes.plot([p / m for p in grid], [signed_fvu(p, m) for p in grid], color=SHOWN["abs_topk"].colour, lw=1.1)
    one_sided = [one_sided_fvu(p, m, rate) for p in grid]
    axes.plot([p / m for p in grid], one_sided, "--", color=SHOWN["topk"].colour, lw=1.1)
    for index, (name, look) in enumerate(SHOWN.items()):
        for share in shares(table):
            _bar(axes, share, _value(table, "fvu", name, share), look, index, 0.05)
    axes.set(
        xlabel="latents over features, p / m", ylabel="FVU", ylim=(-0.03, 1.02), xlim=(0, max(shares(table)) + 0.1)
    )


def _signs(axes: Axes, table: Table) -> None:
    m, rate = world(table)
    grid = np.linspace(0.5, 1.0, 51)
    axes.axhline(0.0, color=SHOWN["abs_topk"].colour, lw=1.1)
    axes.plot(grid, [one_sided_fvu(m, m, rate, q) for q in grid], "--", color=SHOWN["topk"].colour, lw=1.1)
    for index, (name, look) in enumerate(SHOWN.items()):
        for positive in signs(table):
            _bar(axes, positive, _value(table, "fvu", name, 1.0, positive), look, index, 0.008)
    axes.set(xlabel="probability of the positive sign, p = m", ylabel="FVU", ylim=(-0.03, 0.6))


def _served(axes: Axes, table: Table) -> None:
    for place, (metric, words) in enumerate((("mcc", "MCC"), ("served", "signed directions\nserved"))):
        for index, (name, look) in enumerate(SHOWN.items()):
            _bar(axes, place, _value(table, metric, name, 1.0), look, index, 0.2)
        axes.text(place, -0.04, words, ha="center", va="top", fontsize=7, transform=axes.get_xaxis_transform())
    chance = _value(table, "mcc_chance", "random", 1.0).mean
    axes.plot([-0.35, 0.35], [chance] * 2, color=FLOOR, lw=1.1)
    axes.plot([0.65, 1.35], [_value(table, "served", "random", 1.0).mean] * 2, color=FLOOR, lw=1.1)
    axes.plot([0.65, 1.35], [0.5] * 2, color=CEILING, lw=0.9, ls=":")
    axes.set_xticks([])
    axes.set(xlim=(-0.5, 1.5), ylim=(-0.03, 1.05), ylabel="score at p = m")


def draw(table: Table) -> Figure:
    """Return the figure: variance left along the width and the balance of signs, and what scores see of it."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1.1, 0.9))
    for axes, part in ((left, _widths), (middle, _signs), (right, _served)):
        part(axes, table)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    handles = [
        left.plot([], [], look.marker, color=look.colour, ms=5, mec="white", mew=0.4, label=look.label)[0]
        for look in SHOWN.values()
    ]
    lines = [
        left.plot([], [], style, color=SHOWN[name].colour, lw=1.1, label=label)[0]
        for name, style, label in (
            ("abs_topk", "-", "along features, either sign"),
            ("topk", "--", "along features, one sign"),
        )
    ]
    lines.append(left.plot([], [], color=FLOOR, lw=1.1, label="random directions")[0])
    lines.append(left.plot([], [], ":", color=CEILING, lw=0.9, label="half of them")[0])
    figure.legend(handles=[*handles, *lines], loc="outside lower center", ncols=4, frameon=False)
    return figure


def _lines(table: Table) -> list[Claim]:
    found = []
    for name, words in (("abs_topk", "either sign"), ("topk", "one sign")):
        for share in shares(table):
            least = exact(table, name, share, 0.5)
            found.append(
                Claim(
                    f"An autoencoder with codes of {words} leaves what latents along features leave.",
                    "derived here: theory.bipolar",
                    f"FVU of {SHOWN[name].label}, p = {share:g} m (theory: {least:.3f})",
                    _value(table, "fvu", name, share),
                    Near(least, FIT),
                    tier="laptop",
                    note=_spare(table, share) if name == "topk" else "",
                )
            )
    for positive in signs(table)[1:]:
        least = exact(table, "topk", 1.0, positive)
        found.append(
            Claim(
                "What codes of one sign leave at p = m is what the rarer sign is worth.",
                "derived here: theory.bipolar",
                f"FVU of TopK, positive with probability {positive:g} (theory: {least:.3f})",
                _value(table, "fvu", "topk", 1.0, positive),
                Near(least, FIT),
                tier="laptop",
            )
        )
    below = [
        by_seed(table, "fvu", solver=name, **_where(share, 0.5)) - exact(table, "abs_topk", share, 0.5)
        for name in SHOWN
        for share in shares(table)
    ]
    found.append(
        Claim(
            "No autoencoder of p latents leaves less than 1 − p / m.",
            "Eckart, Young 1936; theory.hedging.narrow_bound",
            "FVU − (1 − p / m), least of all autoencoders and widths",
            mean_interval(np.min(below, axis=0)),
            Above(-SAMPLING),
            tier="laptop",
        )
    )
    return found


def _spare(table: Table, share: float) -> str:
    active, features = (_value(table, name, "topk", share).mean for name in ("l0", "true_l0"))
    return (
        f"Latents along features would speak for half of the signs at p = m, {features / 2:g} of them a sample; those "
        f"that were learned are {active:.1f}, which lie between features and use the slots that are spare. Training "
        "that starts along features turns there too, and leaves 0.66 at half the width (tested)."
    )


def _paper(table: Table) -> list[Claim]:
    equal, twice = _where(1.0, 0.5), _where(2.0, 0.5)
    found = [
        Claim(
            "Where a latent of either sign does, one-sided codes need two: AbsTopK at width m leaves as little as TopK "
            "at 2m.",
            f"{SOURCE}, abstract: one latent carries a concept and its opposite; native world",
            "FVU, AbsTopK at p = m − TopK at p = 2m",
            paired_interval(_seeds(table, "fvu", "abs_topk", **equal), _seeds(table, "fvu", "topk", **twice)),
            Near(0.0, FIT),
            tier="laptop",
        ),
        Claim(
            "AbsTopK reconstructs better than TopK at equal width.",
            f"{SOURCE}, abstract",
            "FVU, AbsTopK − TopK, p = m",
            paired_interval(_seeds(table, "fvu", "abs_topk", **equal), _seeds(table, "fvu", "topk", **equal)),
            Below(0.0),
            tier="laptop",
        ),
        Claim(
            "Nested training does not help with signs: MSAE leaves no less than TopK.",
            f"{NESTED}; native question",
            "FVU, MSAE − TopK, p = m",
            paired_interval(_seeds(table, "fvu", "nested_topk", **equal), _seeds(table, "fvu", "topk", **equal)),
            Above(-FIT),
            tier="laptop",
        ),
    ]
    for share in (1.0, 2.0):
        own: dict[str, Value] = {"part": "superposed", "share": share, "positive": 0.5}
        found.append(
            Claim(
                "In superposition too AbsTopK reconstructs better than TopK at equal width.",
                f"{SOURCE}, abstract",
                f"FVU, AbsTopK − TopK, more features than dimensions, p = {share:g} m",
                paired_interval(_seeds(table, "fvu", "abs_topk", **own), _seeds(table, "fvu", "topk", **own)),
                Below(0.0),
                tier="laptop",
            )
        )
    return found


def _controls(table: Table) -> list[Claim]:
    one_sign = _where(1.0, 1.0)
    return [
        Claim(
            "With as many latents as features TopK does not find one side of each: its atoms lie between features.",
            "native",
            "MCC, AbsTopK − TopK, p = m",
            paired_interval(
                _seeds(table, "mcc", "abs_topk", **_where(1.0, 0.5)), _seeds(table, "mcc", "topk", **_where(1.0, 0.5))
            ),
            Above(0.1),
            tier="laptop",
        ),
        Claim(
            "Of the signed directions TopK at p = m serves fewer than half.",
            "native",
            "share of signed directions served by TopK, p = m",
            _value(table, "served", "topk", 1.0),
            Below(0.5),
            tier="laptop",
        ),
        Claim(
            "Where all features have one sign, codes of either sign gain nothing.",
            "native control",
            "FVU, AbsTopK − TopK, p = m, positive features",
            paired_interval(_seeds(table, "fvu", "abs_topk", **one_sign), _seeds(table, "fvu", "topk", **one_sign)),
            Near(0.0, FIT),
            tier="laptop",
        ),
        Claim(
            "Training finds the features: AbsTopK at p = m is far above random directions.",
            "calibration",
            "MCC of AbsTopK − chance, p = m",
            paired_interval(
                _seeds(table, "mcc", "abs_topk", **_where(1.0, 0.5)),
                _seeds(table, "mcc_chance", "abs_topk", **_where(1.0, 0.5)),
            ),
            Above(0.3),
            tier="laptop",
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: exact lines, what the papers say, and what scores can see."""
    return [*_paper(table), *_lines(table), *_controls(table)]


HEADER = (
    "part",
    "autoencoder",
    "p / m",
    "P(positive)",
    "seeds",
    "FVU",
    "FVU along features",
    "signed directions served",
    "MCC",
)


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    keys = {(str(r["part"]), str(r["solver"]), float(r["share"]), float(r["positive"])) for r in table.rows()}
    for part, name, share, positive in sorted(keys):
        shown = []
        for metric in ("fvu", "served", "mcc"):
            value = interval(table, metric, part=part, solver=name, share=share, positive=positive)
            shown.append(f"{value.mean:z.3f} ± {value.half_width:.3f}")
        known = f"{exact(table, name, share, positive):.3f}" if name in SHOWN and part != "superposed" else "–"
        label = SHOWN[name].label if name in SHOWN else name
        seeds = str(len(table.where(part=part, solver=name, share=share, positive=positive)))
        found.append((part, label, f"{share:g}", f"{positive:g}", seeds, shown[0], known, *shown[1:]))
    return found
