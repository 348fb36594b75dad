"""Agreement between initialisations against recovery of the truth, with the floor that one sets to the other."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.stats import pearsonr

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, INK, LOOKS, MIST, NAVY, PURPLE, SLATE, VERMILLION, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.agreement import agreement_floor, independent_agreement
from theory.frames import uniqueness_limit

TITLE = "Consistency: is the same dictionary found again, and is it the true one?"
QUESTION = "Is the same dictionary found again from another initialisation, and is it then the true one?"
CAPTION = (
    "32 random directions in 16 dimensions, 3 of them active unless said. Top left: agreement of initialisations "
    "(PW-MCC) against recovery of the truth (MCC), one mark a seed, all dictionaries of full width; no pair can lie in "
    "the shaded region, and where all atoms err alike and independently they lie on the dotted line. Others: along the "
    "number of active features, the L1 penalty and the width; thin grey lines are random dictionaries. Stars: the "
    "support F1 of one linear step with the true atoms; the vertical line is the last k at which sparse codes are "
    "unique. Diamonds: the values at the end of the released runs. Bars are 95% t-intervals over the seeds."
)
SOURCE = "arXiv:2505.20254"
RELEASED = {"topk": 0.9514, "relu_l1": 0.6088}  # mean pairwise MCC at step 29,900 of the released notebooks
TRUE, DIM, K = 32, 16, 3
AGREEMENT = Look("agreement (PW-MCC)", NAVY, "s")
RECOVERY = Look("recovery (MCC)", VERMILLION, "o")
STEP = Look("true atoms, one step: support F1", CEILING, "*")
PARTS = {
    "active": LOOKS["topk"].named("TopK, k active"),
    "penalty": LOOKS["relu_l1"].named("ReLU + L1"),
    "planes": Look("TopK, planes", PURPLE, "D"),
    "gaussian": Look("TopK, Gaussian samples", INK, "P"),
}
CONVERTED = 0.4  # the released penalty of 0.01 beside a mean over d, in the units here: 0.38
WEAKER = 0.1
EXACT = 1e-6  # float32 atoms


def positions(table: Table, part: str, solver: str) -> list[float]:
    """Return the positions on the axis of ``part``, ascending."""
    return sorted({float(one) for one in table.where(part=part, solver=solver).column("axis")})


def solver_of(part: str) -> str:
    """Return which solver the points of ``part`` are of."""
    return "relu_l1" if part == "penalty" else "topk"


def _at(table: Table, metric: str, part: str, axis: float, solver: str = "") -> np.ndarray:
    return by_seed(table, metric, part=part, solver=solver or solver_of(part), axis=axis)


def full_width(table: Table) -> list[tuple[str, float]]:
    """Return the points (part, position) whose dictionaries are as wide as the truth."""
    return [(part, axis) for part in PARTS for axis in positions(table, part, solver_of(part))]


def excess(table: Table) -> np.ndarray:
    """Return for each seed the least PW-MCC minus its floor, over all points of full width."""
    found = []
    for part, axis in full_width(table):
        floors = [agreement_floor(value, value) for value in np.minimum(_at(table, "mcc", part, axis), 1.0)]
        found.append(_at(table, "pw_mcc", part, axis) - np.array(floors))
    least: np.ndarray = np.min(found, axis=0)
    return least


def tracking(table: Table) -> np.ndarray:
    """Return for each seed the correlation of PW-MCC and MCC over the points of full width."""
    agreement, recovery = (
        np.array([_at(table, metric, part, axis) for part, axis in full_width(table)]) for metric in ("pw_mcc", "mcc")
    )
    return np.array([pearsonr(agreement[:, seed], recovery[:, seed])[0] for seed in range(agreement.shape[1])])


def _plane(axes: Axes, table: Table) -> None:
    grid = np.linspace(0.45, 1.0, 112)
    floor = [agreement_floor(one, one) for one in grid]
    axes.fill_between(grid, 0.0, floor, color=MIST, lw=0)
    axes.plot(grid, [independent_agreement([one], [one]) for one in grid], ":", color=SLATE, lw=1.1)
    axes.plot(grid, grid, color=SLATE, lw=0.6)
    for part, look in PARTS.items():
        for axis in positions(table, part, solver_of(part)):
            pair = (_at(table, metric, part, axis) for metric in ("mcc", "pw_mcc"))
            axes.plot(*pair, look.marker, color=look.colour, ms=4, mec="white", mew=0.4)
        axes.plot([], [], look.marker, color=look.colour, ms=4, label=look.label)
    chance = interval(table, "mcc_chance", part="active", solver="random", axis=float(K)).mean
    axes.plot(chance, chance, "x", color=FLOOR, ms=6, mew=1.4, label="chance")
    axes.set(xlabel="recovery of the truth, MCC", ylabel="agreement, PW-MCC", xlim=(0.45, 1.0), ylim=(0.45, 1.0))
    axes.legend(frameon=False, loc="upper left", fontsize=6.5)


def _bars(axes: Axes, places: list[float], values: list[Interval], look: Look) -> None:
    for place, value in zip(places, values, strict=True):
        axes.plot([place] * 2, [value.low, value.high], color=look.colour, lw=1.1)
    axes.plot(places, [one.mean for one in values], look.marker + "-", color=look.colour, ms=4.5, mec="white", mew=0.4)


def _along(axes: Axes, table: Table, part: str, ticks: list[float]) -> None:
    """Draw agreement and recovery along the axis of ``part``, evenly spaced, with what random dictionaries reach."""
    solver, places = solver_of(part), [float(place) for place in range(len(ticks))]
    own = [("active", axis) if part == "width" and axis == TRUE else (part, axis) for axis in ticks]
    own = [(name, float(K) if name != part else axis) for name, axis in own]
    for metric, look in (("pw_mcc", AGREEMENT), ("mcc", RECOVERY)):
        _bars(axes, places, [mean_interval(_at(table, metric, *one, solver)) for one in own], look)
        chances = [_at(table, f"{metric}_chance", *one, solver).mean() for one in own]
        axes.plot(places, chances, color=FLOOR, lw=0.8, ls="-" if metric == "mcc" else "--")
    axes.set_xticks(places, [f"{one:g}" for one in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def draw(table: Table) -> Figure:
    """Return the figure: the plane of agreement and recovery, and both along three axes."""
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    (plane, active), (penalty, width) = figure.subplots(2, 2)
    _plane(plane, table)
    ks = positions(table, "active", "topk")
    _along(active, table, "active", ks)
    known = [interval(table, "support_f1", part="active", solver="one_step", axis=k) for k in ks]
    _bars(active, [float(place) for place in range(len(ks))], known, STEP)
    limit = uniqueness_limit(DIM + 1)
    if limit in ks:
        active.axvline(ks.index(limit), color=INK, lw=0.8)
    _along(penalty, table, "penalty", positions(table, "penalty", "relu_l1"))
    _along(width, table, "width", sorted([*positions(table, "width", "topk"), float(TRUE)]))
    for axes, solver, part, at in ((active, "topk", "active", float(K)), (penalty, "relu_l1", "penalty", CONVERTED)):
        ticks = positions(table, part, solver)
        if at in ticks:
            axes.plot(ticks.index(at), RELEASED[solver], "D", mfc="none", mec=INK, ms=7, mew=1.0)
    for axes, words in (
        (active, "active features k (TopK)"),
        (penalty, "L1 penalty"),
        (width, "width p (TopK, m = 32)"),
    ):
        axes.set(xlabel=words, ylabel="score", ylim=(0.2 if axes is width else 0.45, 1.02))
    active.set_ylim(0.0, 1.05)
    for axes in (plane, active, penalty, width):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    handles = [
        active.plot([], [], one.marker + "-", color=one.colour, ms=5, label=one.label)[0]
        for one in (AGREEMENT, RECOVERY, STEP)
    ]
    handles += [
        active.plot([], [], color=FLOOR, lw=0.8, ls=style, label=label)[0]
        for style, label in (("--", "chance of agreement"), ("-", "chance of recovery"))
    ]
    handles.append(active.plot([], [], "D", mfc="none", mec=INK, ms=6, label="released run")[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _published(table: Table) -> list[Claim]:
    free = mean_interval(_at(table, "pw_mcc", "penalty", WEAKER))
    return [
        Claim(
            "TopK finds nearly the same dictionary from every initialisation where widths and k match.",
            f"{SOURCE}, synthetic/group_topksae.ipynb: 0.951",
            f"PW-MCC, TopK, m = p = {TRUE}, d = {DIM}, k = {K}",
            mean_interval(_at(table, "pw_mcc", "active", float(K))),
            Near(RELEASED["topk"], 0.03),  # that run is of one world; worlds here differ by about as much
            tier="laptop",
        ),
        Claim(
            "The standard autoencoder does not.",
            f"{SOURCE}, synthetic/group_sae.ipynb: 0.609",
            f"PW-MCC, ReLU with unit atoms, penalty {CONVERTED:g} (the released 0.01, converted)",
            mean_interval(_at(table, "pw_mcc", "penalty", CONVERTED)),
            Near(RELEASED["relu_l1"], 0.05),
            tier="laptop",
            note="The released decoder is free, and larger atoms with smaller codes evade its penalty: in a copy of "
            "that model the atoms grow, and fixing their norms is enough to raise agreement. Here a fourth of the "
            f"penalty gives {free.mean:.2f}.",
        ),
        Claim(
            "Whether ReLU autoencoders agree is a matter of how strongly the penalty binds.",
            "native, for the claim above",
            f"PW-MCC, ReLU with unit atoms, penalty {CONVERTED:g} − {WEAKER:g}",
            paired_interval(_at(table, "pw_mcc", "penalty", CONVERTED), _at(table, "pw_mcc", "penalty", WEAKER)),
            Above(0.2),
            tier="laptop",
        ),
        Claim(
            "PW-MCC is a reliable proxy of the recovery of the truth.",
            f"{SOURCE}, abstract",
            f"correlation of PW-MCC and MCC over {len(full_width(table))} settings of full width",
            mean_interval(tracking(table)),
            Above(0.9),
            tier="laptop",
        ),
    ]


def _theory(table: Table) -> list[Claim]:
    matched = [_at(table, metric, "active", float(K)) for metric in ("pw_mcc", "mcc")]
    independent = np.array([independent_agreement([one], [one]) for one in matched[1]])
    return [
        Claim(
            "Agreement is never below twice the squared recovery minus one.",
            "derived here: theory.agreement",
            "least PW-MCC − floor of all settings of full width",
            mean_interval(excess(table)),
            Above(-EXACT),
        ),
        Claim(
            "Where most is recovered errors are nearly independent, so that agreement is the square of recovery.",
            "derived here: theory.agreement",
            "PW-MCC − MCC², matched world",
            paired_interval(matched[0], independent),
            Near(0.0, 0.03),  # recoveries differ between atoms: E c^2 exceeds (E c)^2 by their variance
            tier="laptop",
        ),
    ]


def _limits(table: Table) -> list[Claim]:
    ks = [k for k in positions(table, "active", "topk") if 2 * k < DIM + 1]
    return [
        Claim(
            "Unique sparse codes do not make TopK consistent.",
            f"{SOURCE}, theorem: its other premise is that the encoder inverts the true atoms; native number",
            f"PW-MCC at k = {ks[-1]:g}, where 2k < spark = {DIM + 1}",
            mean_interval(_at(table, "pw_mcc", "active", ks[-1])),
            Below(0.9),
            tier="laptop",
        ),
        Claim(
            "The round trip that the theorem assumes is not what consistency needs: with such agreement as above the "
            "trained encoder is far from finding the features that are active.",
            f"{SOURCE}, theorem; native number",
            f"support F1 of TopK, k = {K}",
            mean_interval(_at(table, "support_f1", "active", float(K))),
            Below(0.9),
            tier="laptop",
        ),
        *_without_truth(table),
        *_of_widths(table),
    ]


def _without_truth(table: Table) -> list[Claim]:
    gaussian, planes = (
        [_at(table, name, part, axis) for name in ("pw_mcc", "mcc", "pw_mcc_chance")]
        for part, axis in (("gaussian", float(K)), ("planes", 4.0))
    )
    return [
        Claim(
            "Agreement is not recovery: where only planes are true, dictionaries are nearer to one another than to the "
            "directions that made the samples.",
            "native",
            "PW-MCC − MCC, planes",
            paired_interval(planes[0], planes[1]),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Where samples are Gaussian and no direction is more true than another, agreement is chance.",
            "native",
            "PW-MCC − chance, all features active, Gaussian samples",
            paired_interval(gaussian[0], gaussian[2]),
            Near(0.0, 0.05),
            tier="laptop",
            note="What they agree on is the covariance of the samples, which is not round: made round by it, the same "
            "samples leave an excess of 0.02 to 0.03, and round Gaussian samples no more (tested).",
        ),
    ]


def _of_widths(table: Table) -> list[Claim]:
    return [
        Claim(
            "Agreement is highest at the true width.",
            f"{SOURCE}, matched against compressive and redundant widths",
            "PW-MCC at p = m − the largest at any other width",
            paired_interval(
                _at(table, "pw_mcc", "active", float(K)),
                np.max([_at(table, "pw_mcc", "width", p) for p in positions(table, "width", "topk")], axis=0),
            ),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Random dictionaries agree by the simulated chance level.",
            "calibration",
            "PW-MCC − chance, random dictionaries",
            paired_interval(
                _at(table, "pw_mcc", "active", float(K), "random"),
                _at(table, "pw_mcc_chance", "active", float(K), "random"),
            ),
            Near(0.0, 0.03),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: published numbers, the floor, what uniqueness does not give, and the controls."""
    return [*_published(table), *_theory(table), *_limits(table)]


HEADER = ("part", "solver", "at", "seeds", "PW-MCC (chance)", "MCC (chance)", "floor of PW-MCC", "support F1", "FVU")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    for part, solver, axis in sorted({(str(r["part"]), str(r["solver"]), float(r["axis"])) for r in table.rows()}):
        own = {name: _at(table, name, part, axis, solver) for name in ("pw_mcc", "mcc", "support_f1", "fvu")}
        chances = [_at(table, f"{name}_chance", part, axis, solver).mean() for name in ("pw_mcc", "mcc")]
        shown = ["–" if not np.isfinite(one).all() else _show(mean_interval(one)) for one in own.values()]
        floor = agreement_floor(*[min(1.0, float(own["mcc"].mean()))] * 2) if part != "width" else float("nan")
        agreed = "–" if solver == "one_step" else f"{shown[0]} ({chances[0]:.3f})"
        paired = (agreed, f"{shown[1]} ({chances[1]:.3f})")
        bound = "–" if np.isnan(floor) else f"{floor:.3f}"
        found.append((part, solver, f"{axis:g}", str(len(own["mcc"])), *paired, bound, shown[2], shown[3]))
    return found


def _show(value: Interval) -> str:
    return f"{value.mean:z.3f} ± {value.half_width:.3f}"
