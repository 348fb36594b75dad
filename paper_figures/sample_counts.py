"""Samples and dictionaries: recovery against the number of samples, beside what no learner can undercut."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, INK, LOOKS
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.counts import counting_samples, coverage, every_support_samples

TITLE = "Sample counts: how many samples fix a dictionary?"
QUESTION = "How many samples fix a dictionary, and who needs how many?"
CAPTION = (
    "k-sparse Gaussian codes without noise; all that code samples are told k. Left: orthonormal dictionaries of 16 "
    "features (k = 2); middle: 32 random features in 16 dimensions (k = 3). Features found: share of true ones with "
    "an atom of |cosine| at least 0.99. Dashed: the exact share that n samples show, which nobody can exceed. Dotted: "
    "the count of equations, below which no method fixes the dictionary, and the (k+1)C(m,k) samples that suffice on "
    "all supports. Right: samples until all features of a square dictionary are found (mean over worlds of the log of "
    "the first count, read as the area above the success curve), against the exact coupon count; an open mark: not "
    "all were found within the grid in some world. Bars are 95% t-intervals over the worlds."
)
SHOWN = {
    "erspud": LOOKS["erspud"],
    "ica": LOOKS["ica"],
    "mod": LOOKS["mod"],
    "ksvd": LOOKS["ksvd"],
    "online": LOOKS["online"],
    "descent": LOOKS["descent"],
    "random": LOOKS["random"],
}
World = tuple[int, int, int]
SPREAD = 0.02  # about five standard errors of the mean share seen over six worlds


def worlds(table: Table, square: bool) -> list[World]:
    """Return (d, m, k) of the square worlds, or of the overcomplete ones, by size."""
    triples = zip(*(table.column(name) for name in ("d", "m", "k")), strict=True)
    found = sorted({(int(d), int(m), int(k)) for d, m, k in triples})
    return [world for world in found if (world[0] == world[1]) is square]


def counts(table: Table, world: World) -> list[int]:
    """Return the numbers of samples of a world, ascending."""
    return sorted(int(value) for value in set(_of(table, world).column("samples")))


def learners(table: Table, world: World) -> list[str]:
    """Return the learners of a world, without the floor."""
    return [name for name in SHOWN if name in _of(table, world).levels("solver") and name != "random"]


def _of(table: Table, world: World) -> Table:
    d, m, k = world
    return table.where(d=d, m=m, k=k)


def _curve(table: Table, world: World, solver: str, metric: str) -> np.ndarray:
    """Return ``metric`` by count and seed, ``(counts, seeds)``."""
    d, m, k = world
    own = table.where(solver=solver, m=m, d=d, k=k)
    order = np.lexsort((own.column("seed"), own.column("samples")))
    return own.column(metric)[order].reshape(len(own.levels("samples")), -1)


def _area(grid: list[int], success: np.ndarray) -> np.ndarray:
    """Return log2 of the count at which ``success (counts, ...)`` rises: the area above it, in doublings."""
    step = math.log2(grid[-1] / grid[0]) / (len(grid) - 1)
    return np.asarray(math.log2(grid[0]) - step / 2 + step * (1.0 - success).sum(axis=0))


def needed(table: Table, world: World, solver: str) -> np.ndarray:
    """Return log2 of the samples until all features are found, ``(seeds,)``; the end of the grid where they are not."""
    return _area(counts(table, world), _curve(table, world, solver, "complete"))


def coupon(world: World, grid: list[int]) -> float:
    """Return the same number for a learner that finds all features once it has seen them, by `coverage`."""
    _, m, k = world
    return float(_area(grid, coverage(m, k, grid[-1])[np.array(grid)]))


def share_seen(world: World, samples: np.ndarray | int) -> np.ndarray:
    """Return the expected share of features that n uniform k-subsets show, 1 - (1 - k/m)^n."""
    _, m, k = world
    return np.asarray(1.0 - (1.0 - k / m) ** np.asarray(samples, dtype=np.float64))


def draw(table: Table) -> Figure:
    """Return the figure: features found against samples in two worlds, and the samples needed against the size."""
    figure = Figure(figsize=(7.2, 3.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    squares, wide = worlds(table, True), worlds(table, False)[-1]
    _rise(left, table, squares[len(squares) // 2])
    _rise(middle, table, wide)
    left.set_ylabel("share of features found")
    left.set_title(f"square, m = d = {squares[len(squares) // 2][1]}")
    middle.set_title(f"overcomplete, m = {wide[1]}, d = {wide[0]}")
    _growth(right, table)
    handles, names = left.get_legend_handles_labels()
    more = [item for item in zip(*right.get_legend_handles_labels(), strict=True) if item[1] not in names]
    handles, names = [*handles, *(one for one, _ in more)], [*names, *(name for _, name in more)]
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _rise(axes: Axes, table: Table, world: World) -> None:
    d, m, k = world
    grid = counts(table, world)
    fine = np.geomspace(grid[0] / 4, grid[-1], 200)
    axes.plot(fine, share_seen(world, fine), color=CEILING, ls="--", lw=1.1, label="features seen (exact)")
    for name in [*learners(table, world), "random"]:
        look, values = SHOWN[name], [mean_interval(row) for row in _curve(table, world, name, "recovered")]
        axes.vlines(grid, [v.low for v in values], [v.high for v in values], color=look.colour, lw=0.9)
        edge = 0.8 if look.marker == "x" else 0.3
        means = [v.mean for v in values]
        axes.plot(grid, means, look.marker, ls="-", lw=0.8, ms=3.5, mew=edge, color=look.colour, label=look.label)
    for place, word in ((counting_samples(m, d, k), "equations"), (every_support_samples(m, k), "all supports")):
        if d != m:
            axes.axvline(place, color=INK, lw=0.9, ls=":")
            axes.text(place * 0.93, 0.03, word, rotation=90, ha="right", va="bottom", fontsize=6.5)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlabel("samples n")
    axes.grid(axis="y")


def _growth(axes: Axes, table: Table) -> None:
    squares = worlds(table, True)
    sizes = [m for _, m, _ in squares]
    grid, k = counts(table, squares[0]), squares[0][2]
    fine = np.unique(np.geomspace(sizes[0], sizes[-1], 12).round().astype(int))
    axes.plot(fine, [2 ** coupon((int(m), int(m), k), grid) for m in fine], color=CEILING, ls="--", lw=1.1)
    axes.plot(fine, [counting_samples(int(m), int(m), k) for m in fine], color=INK, ls=":", lw=0.9,
              label="count of equations")  # fmt: skip
    names = learners(table, squares[0])
    for place, name in enumerate(names):
        look, values = SHOWN[name], [mean_interval(needed(table, world, name)) for world in squares]
        x = [m * 1.025 ** (place - len(names) / 2) for m in sizes]
        axes.plot(x, [2**v.mean for v in values], color=look.colour, lw=0.8)
        axes.vlines(x, [2**v.low for v in values], [2**v.high for v in values], color=look.colour, lw=0.9)
        for at, value, world in zip(x, values, squares, strict=True):
            found = bool(_curve(table, world, name, "complete")[-1].all())
            fill = look.colour if found else "white"
            axes.plot(at, 2**value.mean, look.marker, color=look.colour, mfc=fill, ms=4, mew=0.7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(m) for m in sizes])
    axes.minorticks_off()
    axes.set_xlabel("features m = d")
    axes.set_ylabel("samples until all are found")
    axes.set_title(f"square, k = {k}")
    axes.grid(axis="y")


def claims(table: Table) -> list[Claim]:
    """Return the claims: what no learner can do, and how the samples needed grow with the dictionary."""
    return [*_bounds(table), *_square(table), *_overcomplete(table)]


def _every(table: Table) -> list[tuple[World, str]]:
    every = worlds(table, True) + worlds(table, False)
    return [(world, name) for world in every for name in learners(table, world)]


def _bounds(table: Table) -> list[Claim]:
    shown = []
    for world in worlds(table, True) + worlds(table, False):
        found = _curve(table, world, "random", "seen")
        shown.append(found - share_seen(world, np.array(counts(table, world)))[:, None])
    excess = [_curve(table, *pair, "recovered") - _curve(table, *pair, "seen") for pair in _every(table)]
    early = []
    for (d, m, k), name in _every(table):
        below = np.array(counts(table, (d, m, k))) < counting_samples(m, d, k)
        early.append(_curve(table, (d, m, k), name, "complete")[below])
    return [
        Claim(
            "n samples show a share 1 - (1 - k/m)^n of the features.",
            "calibration; theory.counts",
            "share seen - theory, mean over worlds and counts",
            mean_interval(np.concatenate(shown).mean(axis=0)),
            Near(0.0, SPREAD),
        ),
        Claim(
            "No learner finds a feature that its samples do not show.",
            "theorem; theory.counts.coverage",
            "share found - share seen, the largest over learners, worlds and counts",
            mean_interval(np.concatenate(excess).max(axis=0)),
            Near(0.0, 1e-9),
        ),
        Claim(
            "No learner finds all features from fewer samples than there are equations to fix them.",
            "arXiv:1301.5898; theory.counts.counting_samples",
            "share of the cells below that count in which all are found",
            mean_interval(np.concatenate(early).mean(axis=0)),
            Near(0.0, 1e-9),
        ),
    ]


def growth(table: Table, solver: str) -> Interval:
    """Return by how many doublings the samples needed grow from the smallest to the largest square dictionary."""
    squares = worlds(table, True)
    return mean_interval(needed(table, squares[-1], solver) - needed(table, squares[0], solver))


def _square(table: Table) -> list[Claim]:
    squares = worlds(table, True)
    (low, *_), (high, *_) = squares[0], squares[-1]
    grid = counts(table, squares[0])
    coupons = coupon(squares[-1], grid) - coupon(squares[0], grid)
    proved = 2 * math.log2(high * math.log(high) / (low * math.log(low)))
    what = f"doublings of the samples that {{}} needs, from m = {low} to {high}"
    found = [
        Claim(
            "A number of samples of order m² log² m is enough for ER-SpUD.",
            "arXiv:1206.5882, abstract",
            what.format("ER-SpUD") + f" (m² log² m: {proved:.2f})",
            growth(table, "erspud"),
            Below(proved),
            tier="laptop",
        ),
        Claim(
            "A number of samples of order m log m is enough for (a variant of) ER-SpUD.",
            "arXiv:1602.05719, abstract; arXiv:1601.02049",
            what.format("ER-SpUD") + f" (coupon count, exact: {coupons:.2f})",
            growth(table, "erspud"),
            Below(coupons),
            tier="laptop",
        ),
        Claim(
            "Signed descent from its pairwise start finds all square features within four times the samples that "
            "show them.",
            "native",
            f"doublings of samples from the coupon count to signed descent, m = {high}",
            mean_interval(needed(table, squares[-1], "descent") - coupon(squares[-1], grid)),
            Below(2.0),
            tier="laptop",
        ),
    ]
    for name in ("ica", "ksvd"):
        found.append(
            Claim(
                "On square dictionaries the sparsest combinations are found from fewer samples than "
                f"{'independent ones' if name == 'ica' else 'alternation from random samples needs'}.",
                "native",
                f"doublings of samples from ER-SpUD to {SHOWN[name].label}, m = {high}",
                paired_interval(needed(table, squares[-1], name), needed(table, squares[-1], "erspud")),
                Above(0.0),
                tier="laptop",
            )
        )
    return found


def _overcomplete(table: Table) -> list[Claim]:
    world = worlds(table, False)[-1]
    _, m, k = world
    square = worlds(table, True)[-1]
    enough = every_support_samples(m, k)
    last = {samples: counts(table, samples)[-1] for samples in (world, square)}

    def at_last(one: World) -> np.ndarray:
        return by_seed(_of(table, one), "recovered", solver="descent", samples=last[one])

    return [
        Claim(
            f"(k+1) C(m,k) samples are enough to fix the dictionary ({enough} here); learners need far fewer.",
            "Aharon, Elad, Bruckstein 2006, Theorem 3",
            f"share found by MOD + OMP from {last[world]} samples, m = {m}, k = {k}",
            mean_interval(by_seed(_of(table, world), "recovered", solver="mod", samples=last[world])),
            Above(0.9),
            tier="laptop",
        ),
        Claim(
            "Signed descent needs incoherent atoms: it finds a square dictionary and not an overcomplete one of few "
            "dimensions.",
            "arXiv:1503.00778, Theorem 2, for the condition",
            "share found with the most samples, square - overcomplete",
            mean_interval(at_last(square) - at_last(world)),
            Above(0.5),
            tier="laptop",
        ),
    ]


HEADER = ("d", "m", "k", "learner", "worlds", "samples until all found", "coupon", "equations", "MCC at most samples")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the worlds."""
    found: list[tuple[str, ...]] = []
    for world in worlds(table, True) + worlds(table, False):
        d, m, k = world
        grid = counts(table, world)
        for name in [*learners(table, world), "random"]:
            log = mean_interval(needed(table, world, name))
            shown = f"{2**log.mean:.0f} [{2**log.low:.0f}, {2**log.high:.0f}]"
            if not _curve(table, world, name, "complete")[-1].all():
                shown = f"≥ {2**log.mean:.0f}"
            score = interval(_of(table, world), "mcc", solver=name, samples=grid[-1])
            known = (f"{2 ** coupon(world, grid):.0f}", str(counting_samples(m, d, k)))
            own = (str(d), str(m), str(k), SHOWN[name].label, str(log.n), shown)
            found.append((*own, *known, f"{score.mean:.3f} ± {score.half_width:.3f}"))
    return found
