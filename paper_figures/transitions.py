"""The phase plane of sparse coding: where each encoder stops finding the code, on the exact curves."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import LOOKS
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.amp import bayes_threshold
from theory.denoisers import Gaussian, HalfNormal, Slab, SpikeSlab
from theory.phase import constraint_threshold, descent_dimension_bounds, weak_threshold

TITLE = "The phase plane: what each encoder can do when the dictionary is known"
QUESTION = "With the true dictionary given, how many active features can each encoder tell apart?"
CAPTION = (
    "Random unit atoms, Gaussian (left) and half-normal (right) codes, no noise. A marker is the number of active "
    "features k over dimensions d up to which an encoder finds the code exactly (the mean of the threshold, with its "
    "95% interval over dictionaries); below it there is recovery. Lines are theory: the Donoho-Tanner curves of the l1 "
    "norm, the limit of non-negativity alone, and the Bayes-optimal threshold of message passing, all as m grows."
)
SOURCE = "arXiv:math/0607364"
SHOWN = {
    "bayes": LOOKS["bayes"].named("message passing, knows the law"),
    "l1": LOOKS["l1"],
    "subspace": LOOKS["subspace"].named("subspace pursuit, knows k"),
    "omp": LOOKS["oracle_omp"].named("OMP, knows k"),
    "nnls": LOOKS["nnls"],
    "one_step": LOOKS["one_layer"].named("one step (linear SAE encoder), knows k"),
}
STEP = 0.05  # of the grid in rho at the laptop tier: two thresholds nearer than that are one
GRID = 0.015  # what a step of 0.05 in rho and the difference of mean and median may move a threshold by
NAMES = {"signed": "signed codes", "positive": "non-negative codes"}
FINITE = (
    "The threshold is of m = 128, and closes on that as m grows by m^(-2/3), as finite systems do: at δ = 0.5, signed "
    "codes, it is 0.559, 0.600 and 0.624 at m = 128, 512 and 2,048, and at δ = 0.1, non-negative ones, 0.31, 0.40 and "
    "0.44. Some of it are oscillations, which vector message passing is spared: it has 0.589 at m = 128 (tested)."
)


def threshold(table: Table, sign: str, encoder: str, delta: float) -> np.ndarray:
    """Return the mean threshold of each seed: the area under the success curve along rho.

    If a sample is recovered for every rho below its own threshold, success is the share of thresholds above rho, and
    its area their mean. Success at the grid's points stands for the steps around them; below the first it is one.
    """
    rows = table.where(sign=sign, encoder=encoder, delta=delta)
    seeds, grid = rows.levels("seed"), np.array(sorted(float(value) for value in rows.levels("rho")))
    step = grid[1] - grid[0]
    areas = []
    for seed in seeds:
        own = rows.where(seed=seed)
        success = own.column("exact_recovery")[np.argsort(own.column("rho"))]
        areas.append(grid[0] - step / 2 + step * success.sum())
    return np.array(areas)


def deltas(table: Table) -> list[float]:
    """Return the values of d/m in the table, ascending."""
    return sorted(float(value) for value in table.levels("delta"))


@cache
def _bayes_curve(positive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (delta, rho) of the Bayes-optimal threshold: rho = eps / delta_alg(eps)."""
    slab: Slab = HalfNormal() if positive else Gaussian()
    densities = np.concatenate([np.geomspace(0.001, 0.1, 25), np.linspace(0.12, 0.97, 35)])
    limits = np.array([bayes_threshold(SpikeSlab(float(eps), slab)) for eps in densities])
    kept = limits < 1.0
    return limits[kept], densities[kept] / limits[kept]


def bayes_rho(delta: float, positive: bool) -> float:
    """Return the theoretical threshold of Bayes-optimal message passing at ``delta``, from its curve."""
    limits, values = _bayes_curve(positive)
    return float(np.interp(delta, limits, values))


@cache
def l1_band(m: int, delta: float, positive: bool) -> tuple[float, float]:
    """Return bounds on the k/d at which l1 recovers half of all codes of m features: the finite form of the curve.

    There d equals the statistical dimension of the descent cone, which `descent_dimension_bounds` brackets; its upper
    bound is the Donoho-Tanner curve.
    """
    d = round(delta * m)

    def crossed(side: int) -> float:
        low, high = 1, m  # both bounds rise with k
        while high - low > 1:
            middle = (low + high) // 2
            below = descent_dimension_bounds(m, middle, non_negative=positive)[side] < d
            low, high = (middle, high) if below else (low, middle)
        ends = [descent_dimension_bounds(m, k, non_negative=positive)[side] for k in (low, high)]
        return float(np.interp(d, ends, [low, high])) / d

    return crossed(1), crossed(0)


def _theory(axes: Axes, positive: bool) -> None:
    grid = np.linspace(0.02, 0.98, 97)
    axes.plot(grid, weak_threshold(grid, non_negative=positive), color=SHOWN["l1"].colour, lw=1.1, zorder=1)
    axes.plot(*_bayes_curve(positive), color=SHOWN["bayes"].colour, lw=1.1, ls="--", zorder=1)
    if positive:
        axes.plot(grid, constraint_threshold(grid), color=SHOWN["nnls"].colour, lw=1.1, ls=":", zorder=1)


def _points(axes: Axes, table: Table, sign: str) -> None:
    for index, (name, look) in enumerate(SHOWN.items()):
        if not len(table.where(sign=sign, encoder=name)):
            continue
        for delta in deltas(table):
            value = mean_interval(threshold(table, sign, name, delta))
            place = delta + 0.006 * (index - 2)
            axes.plot([place, place], [value.low, value.high], color=look.colour, lw=1.0)
            size = 8 if look.marker == "*" else 5
            axes.plot(place, value.mean, look.marker, color=look.colour, ms=size, mec="white", mew=0.4)


def draw(table: Table) -> Figure:
    """Return the figure: one plane for signed and one for non-negative codes."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    planes = figure.subplots(1, 2, sharey=True)
    for axes, (sign, title) in zip(planes, NAMES.items(), strict=True):
        _theory(axes, sign == "positive")
        _points(axes, table, sign)
        axes.set_title(title)
        axes.set_xlabel("dimensions over features, δ = d / m")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.grid()
        axes.set_axisbelow(True)
    planes[0].set_ylabel("active features over dimensions, ρ = k / d")
    handles = [
        planes[0].plot([], [], look.marker, color=look.colour, ms=5, mec="white", mew=0.4, label=look.label)[0]
        for look in SHOWN.values()
    ]
    lines = [
        planes[0].plot([], [], style, color=SHOWN[name].colour, lw=1.1, label=label)[0]
        for name, style, label in (
            ("l1", "-", "Donoho-Tanner (exact)"),
            ("bayes", "--", "Bayes-optimal threshold (exact)"),
            ("nnls", ":", "2 - 1/δ (exact)"),
        )
    ]
    figure.legend(handles=[*handles, *lines], loc="outside lower center", ncol=3, frameon=False)
    return figure


def _l1(table: Table, sign: str, delta: float) -> Claim:
    m = round(float(table.column("n_features").mean()))
    low, high = l1_band(m, delta, sign == "positive")
    return Claim(
        "The l1 norm recovers up to the statistical dimension of its descent cone, the finite Donoho-Tanner curve.",
        "arXiv:1303.6672, Theorem II; arXiv:math/0607364",
        f"mean threshold k/d, {NAMES[sign]}, δ = {delta:g} (theory at m = {m}: {low:.3f} to {high:.3f})",
        mean_interval(threshold(table, sign, "l1", delta)),
        Near((low + high) / 2, (high - low) / 2 + GRID),
    )


def _bayes(table: Table, sign: str, delta: float) -> Claim:
    optimal = bayes_rho(delta, sign == "positive")
    return Claim(
        "Message passing with the true law recovers up to its Bayes-optimal threshold.",
        "arXiv:1206.3953",
        f"mean threshold k/d, {NAMES[sign]}, δ = {delta:g} (theory as m grows: {optimal:.3f})",
        mean_interval(threshold(table, sign, "bayes", delta)),
        Near(optimal, STEP),
        tier="paper",
        note=FINITE,
    )


def _curves(table: Table) -> list[Claim]:
    found = []
    for delta in deltas(table):
        found += [_l1(table, sign, delta) for sign in NAMES]
        found += [_bayes(table, sign, delta) for sign in NAMES]
        found.append(
            Claim(
                "Non-negative least squares recovers at least where non-negativity alone singles out the code.",
                "arXiv:0807.3590",
                f"mean threshold k/d - (2 - 1/δ), non-negative codes, δ = {delta:g}",
                mean_interval(threshold(table, "positive", "nnls", delta) - float(constraint_threshold(delta))),
                Above(-GRID),
                note="Beyond, the minimum is not unique, and an active set that admits atoms by their correlation ends "
                "at a sparse one.",
            )
        )
    return found


def _gap(table: Table, sign: str, better: str, worse: str, delta: float) -> Interval:
    return paired_interval(threshold(table, sign, better, delta), threshold(table, sign, worse, delta))


def claims(table: Table) -> list[Claim]:
    """Return the claims: the exact curves point by point, and the order of the encoders where it is most in doubt."""
    found = _curves(table)
    for sign in NAMES:
        for better, worse, sentence in (
            ("l1", "one_step", "Even convex relaxation takes more active features than one linear step."),
            ("bayes", "l1", "Knowing the law of the codes takes more active features than the l1 norm."),
            ("omp", "one_step", "Choosing one atom at a time takes more active features than all at once."),
        ):
            gaps = {delta: _gap(table, sign, better, worse, delta) for delta in deltas(table)}
            least = min(gaps, key=lambda delta: gaps[delta].mean)
            what = f"threshold of {better} - {worse}, {NAMES[sign]}, least at δ = {least:g}"
            note = FINITE if better == "bayes" else ""
            found.append(Claim(sentence, "native", what, gaps[least], Above(0.0), note=note))
    highest = max(deltas(table), key=lambda delta: threshold(table, "signed", "one_step", delta).mean())
    found.append(
        Claim(
            "A linear encoder with the true dictionary and the true k fails beyond a fifth as many features as "
            "dimensions.",
            "native",
            f"mean threshold k/d of one step, signed codes, largest at δ = {highest:g}",
            mean_interval(threshold(table, "signed", "one_step", highest)),
            Below(0.2),
        )
    )
    return found


HEADER = ("codes", "encoder", "δ = d/m", "seeds", "threshold k/d", "theory")


def _known(sign: str, name: str, delta: float) -> str:
    positive = sign == "positive"
    if name == "l1":
        return f"{float(weak_threshold(delta, non_negative=positive)):.3f}"
    if name == "bayes":
        return f"{bayes_rho(delta, positive):.3f}"
    return f"{float(constraint_threshold(delta)):.3f}" if name == "nnls" else ""


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the dictionaries."""
    found = []
    for sign in NAMES:
        for name, look in SHOWN.items():
            for delta in deltas(table) if len(table.where(sign=sign, encoder=name)) else ():
                value = mean_interval(threshold(table, sign, name, delta))
                shown = f"{value.mean:.3f} ± {value.half_width:.3f}"
                found.append((NAMES[sign], look.label, f"{delta:g}", str(value.n), shown, _known(sign, name, delta)))
    return found
