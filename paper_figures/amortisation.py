"""The amortisation gap: what one pass of an encoder loses, what operations buy back, and the exact lines."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.palette import CEILING, FLOOR, LOOKS, Look
from paper_figures.seeds import interval
from sparsesim.report.claims import Above, Below, Claim, Expectation, Near
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.amortisation import Errors, errors
from theory.amp import best_soft_mse, fixed_points
from theory.denoisers import HalfNormal, SpikeSlab

TITLE = "The amortisation gap: what one pass of an encoder loses"
QUESTION = "How much of a sparse code does one pass of an encoder lose, and what buys it back?"
CAPTION = (
    "Left: 16 features in 8 dimensions, 3 active, half-normal; correlation of matched codes (MCC of codes) against the "
    "length of training, dictionary unknown; blue lines: alternating sparse coding with its own pursuit and with exact "
    "search in its atoms; dashed: random dictionary with basis pursuit (floor). Middle: MCC against operations a code; "
    "open: true dictionary, full: also shown the true codes; lines: proximal gradient steps from zero (pale), from the "
    "one-layer encoder (dark), and from a learned autoencoder (dashed); green: basis pursuit and exact search "
    "(ceilings). Right: mean squared error of a code entry in large systems (d = m/2, noise variance 0.001) by the "
    "share of active features; lines are theory as m grows, markers simulation at m = 1,024 with the true dictionary; "
    "triangles: encoders trained at m = 128, with true atoms and codes (up) or nothing given (TopK, down). Bars are "
    "95% intervals over dictionaries."
)
PAPER = "arXiv:2411.13117"
SHEET = "native: computed apart from this study, on six other dictionaries"
DELTA, NOISE = 0.5, 1e-3
LEARNED = {
    "relu_l1": LOOKS["relu_l1"],
    "gated": Look("SAE Gated", "#8a6d3b", "h"),
    "topk": LOOKS["topk"],
    "mlp_32": Look("SAE with MLP encoder, 32 units", "#7b4fa0", "P"),
    "mlp_256": Look("the same, 256 units", "#b8a1c9", "X"),
}
LAYERS = {
    "one_layer": Look("one layer", "#d55e00", "^"),
    "mlp_32": LEARNED["mlp_32"],
    "mlp_256": LEARNED["mlp_256"],
}
LARGE = {
    "linear": Look("linear (LMMSE)", "#8c8c8c", "x"),
    "tied": Look("atoms as weights, best nonlinearity", "#e69f00", "o"),
    "one_layer": Look("best one-layer encoder", "#d55e00", "^"),
    "lasso": Look("best lasso", "#00735c", "*"),
    "bayes": Look("posterior mean (message passing)", "#1d2430", "d"),
}
SYSTEM = 0.05  # what m = 1,024 may differ from the limit by, as a share: the entries of one dictionary vary as much


@cache
def limits(rate: float) -> Errors:
    """Return the errors of a large system with this share of active features."""
    return errors(SpikeSlab(rate, HalfNormal()), DELTA, NOISE)


@cache
def lasso_limit(rate: float) -> float:
    """Return the error of the lasso with the best penalty: its fixed point, less the noise."""
    prior = SpikeSlab(rate, HalfNormal())
    noise = fixed_points(lambda t: best_soft_mse(prior, t, non_negative=True), DELTA, NOISE, prior.power)
    return DELTA * (float(noise) - NOISE)


def predicted(method: str, rate: float) -> float:
    """Return the error of ``method`` as m grows."""
    if method == "lasso":
        return lasso_limit(rate)
    return float(getattr(limits(rate), "algorithm" if method == "bayes" else method))


def score(table: Table, part: str, method: str, at: float | None = None, metric: str = "code_mcc") -> np.ndarray:
    """Return ``metric`` ``(seeds,)`` in the order of the seeds; ``at`` is the last of the table if not given."""
    rows = table.where(part=part, method=method)
    rows = rows.where(at=max(grid(table, part, method)) if at is None else at)
    return rows.column(metric)[np.argsort(rows.column("seed"))]


def grid(table: Table, part: str, method: str) -> list[float]:
    """Return the steps, iterations or densities at which ``method`` stands in the table, ascending."""
    return sorted({float(value) for value in table.where(part=part, method=method).column("at")})


def cost(table: Table, part: str, method: str, at: float) -> float:
    """Return the operations of one code."""
    return float(table.where(part=part, method=method, at=at).column("operations")[0])


def _series(
    axes: Axes,
    x: list[float],
    values: list[Interval],
    colour: str,
    marker: str = "",
    style: str = "-",
    width: float = 1.2,
) -> None:
    mean, low, high = (np.array([getattr(one, name) for one in values]) for name in ("mean", "low", "high"))
    bars = np.nan_to_num(np.stack([mean - low, high - mean]))
    axes.errorbar(
        x, mean, bars, color=colour, marker=marker, ls=style, lw=width, ms=4.5, elinewidth=0.8, zorder=4,
        mec="white" if marker != "x" else colour, mew=0.4 if marker != "x" else 1.2,
    )  # fmt: skip


def _learning(axes: Axes, table: Table) -> None:
    for name, look in LEARNED.items():
        steps = grid(table, "learned", name)
        found = [mean_interval(score(table, "learned", name, at)) for at in steps]
        _series(axes, steps, found, look.colour, look.marker)
    for part, dashes in (("learned", "-"), ("swapped", "-.")):
        axes.axhline(score(table, part, "mod").mean(), color=LOOKS["mod"].colour, ls=dashes, lw=1.1, zorder=2)
    axes.axhline(score(table, "floor", "random").mean(), color=FLOOR, ls="--", lw=1.0, zorder=2)
    axes.set_xlabel("steps of training")
    axes.set_ylabel("MCC of codes")
    axes.set_title("dictionary unknown")


def _operations(axes: Axes, table: Table) -> None:
    for method in ("exhaustive", "basis_pursuit"):
        axes.axhline(score(table, "ceiling", method).mean(), color=CEILING, lw=1.1, zorder=2)
    for part, method, colour, style in (
        ("cold", "iterations", "#56b4e9", "-"),
        ("warm", "one_layer", "#0b5d8a", "-"),
        ("refined", "relu_l1", LOOKS["relu_l1"].colour, "--"),
    ):
        counts = grid(table, part, method)
        found = [mean_interval(score(table, part, method, at)) for at in counts]
        _series(axes, [cost(table, part, method, at) for at in counts], found, colour, "", style)
    for part, filled in (("supervised", True), ("known", False)):
        for method, look in LAYERS.items():
            at = grid(table, part, method)[-1]
            value = mean_interval(score(table, part, method))
            axes.plot(
                cost(table, part, method, at), value.mean, look.marker, color=look.colour, ms=6, zorder=5,
                mfc=look.colour if filled else "white", mew=0.9, mec="white" if filled else look.colour,
            )  # fmt: skip
    axes.set_xlabel("operations a code")
    axes.set_title("by cost")


def _density(axes: Axes, table: Table) -> None:
    rates = grid(table, "density", "bayes")
    fine = np.geomspace(rates[0] / 1.15, rates[-1] * 1.15, 25)
    for name, look in LARGE.items():
        axes.plot(fine, [predicted(name, float(rate)) for rate in fine], color=look.colour, lw=1.1, zorder=2)
        found = [mean_interval(score(table, "density", name, rate, "entry_error")) for rate in rates]
        _series(axes, rates, found, look.colour, look.marker, "")
    for name, marker, colour in (("supervised", "^", LARGE["one_layer"].colour), ("topk", "v", LOOKS["topk"].colour)):
        found = [mean_interval(score(table, "density", name, rate, "entry_error")) for rate in rates]
        axes.plot(rates, [one.mean for one in found], marker, color=colour, mfc="white", ms=5, mew=0.9, zorder=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.set_xlabel("share of active features")
    axes.set_ylabel("squared error of a code entry")
    axes.set_title("large systems")


def draw(table: Table) -> Figure:
    """Return the figure: MCC of codes by training and by cost, and errors of large systems on their lines."""
    figure = Figure(figsize=(7.6, 4.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _learning(left, table)
    _operations(middle, table)
    for axes in (left, middle):
        axes.set_xscale("log")
        axes.set_ylim(0.25, 1.03)
    _density(right, table)
    for axes in (left, middle, right):
        axes.minorticks_off()
        axes.grid(True)
        axes.set_axisbelow(True)
    figure.legend(handles=_handles(), loc="outside lower center", ncols=3, frameon=False, columnspacing=1.2)
    return figure


def _line(colour: str, label: str, style: str = "-", marker: str = "") -> Line2D:
    return Line2D([], [], color=colour, ls=style, marker=marker, ms=4.5, lw=1.2, label=label)


def _open(colour: str, label: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, ls="", marker=marker, ms=5.0, mfc="white", label=label)


def _handles() -> list[Line2D]:
    return [
        *(_line(look.colour, look.label, marker=look.marker) for look in LEARNED.values()),
        _line(LOOKS["mod"].colour, "sparse coding (MOD), OMP (-) or exact search (-.)"),
        _line(FLOOR, "floor: random dictionary", "--"),
        _line(CEILING, "ceilings: basis pursuit, exact search"),
        _line("#56b4e9", "steps from zero, true atoms"),
        _line("#0b5d8a", "steps from one layer, true atoms"),
        _line(LOOKS["relu_l1"].colour, "steps from SAE, its atoms", "--"),
        *(_line(look.colour, look.label, marker=look.marker) for look in LARGE.values()),
        _open(LARGE["one_layer"].colour, "one layer, trained", "^"),
        _open(LOOKS["topk"].colour, "SAE TopK, trained", "v"),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims of the paper, the ceilings, and the exact lines."""
    return [*_paper(table), *_ceilings(table), *_lines(table), *_trained(table)]


def _paper(table: Table) -> list[Claim]:
    taught, exact = score(table, "supervised", "one_layer"), score(table, "ceiling", "exhaustive")
    warm = grid(table, "warm", "one_layer")
    few = warm[min(2, len(warm) - 1)]
    once = grid(table, "known", "one_layer")[-1]
    dearer = cost(table, "warm", "one_layer", few) / cost(table, "known", "one_layer", once)
    best = np.max([score(table, "learned", name) for name in ("relu_l1", "gated", "topk")], axis=0)
    compared = (
        (
            "A linear-nonlinear encoder has a gap even where the problem is solvable and it is shown the true codes.",
            "Theorem 3.1 and abstract",
            "MCC of codes, true dictionary: exact search - one layer trained on the true codes",
            paired_interval(exact, taught),
            Above(0.1),
        ),
        (
            "Sparse inference without any training finds codes better than the best such encoder.",
            "abstract",
            "MCC of codes, true dictionary: basis pursuit - one layer trained on the true codes",
            paired_interval(score(table, "ceiling", "basis_pursuit"), taught),
            Above(0.0),
        ),
        (
            "More expressive encoders find codes better: a hidden layer.",
            "abstract",
            "MCC of codes, true dictionary and codes: 32 hidden units - one layer",
            paired_interval(score(table, "supervised", "mlp_32"), taught),
            Above(0.0),
        ),
        (
            "Substantial gains come at a small increase of compute.",
            "abstract",
            f"MCC of codes, true dictionary: {few:g} steps behind the one-layer encoder ({dearer:.1f} times its "
            "operations) - the encoder alone",
            paired_interval(score(table, "warm", "one_layer", few), score(table, "known", "one_layer")),
            Above(0.05),
        ),
        (
            "With the dictionary unknown, sparse coding finds the codes better than sparse autoencoders do.",
            "abstract",
            "MCC of codes: alternating sparse coding - best of three autoencoders",
            paired_interval(score(table, "learned", "mod"), best),
            Above(0.0),
        ),
        (
            "With the dictionary unknown, a hidden layer in the encoder finds the codes better.",
            "abstract",
            "MCC of codes: 32 hidden units - ReLU + L1",
            paired_interval(score(table, "learned", "mlp_32"), score(table, "learned", "relu_l1")),
            Above(0.0),
        ),
    )
    found = [
        Claim(sentence, f"{PAPER}, {place}", what, value, expected, tier="laptop")
        for sentence, place, what, value, expected in compared
    ]
    return [*found, *_binding(table)]


def _binding(table: Table) -> list[Claim]:
    """Return what binds, the encoder or the dictionary: exact search in learned atoms tells them apart."""
    lost = 1.0 - score(table, "learned", "relu_l1")
    dictionary = 1.0 - score(table, "swapped", "relu_l1")
    encoder = score(table, "supervised", "one_layer")
    return [
        Claim(
            "Most of what an autoencoder loses is due to its atoms: exact search in them does not win it back.",
            "arXiv:2603.28744, abstract",
            "share of the lost MCC that exact search in the learned atoms does not win back, ReLU + L1",
            mean_interval(dictionary / lost),
            Above(0.5),
            tier="laptop",
        ),
        Claim(
            "The better encoder also learns the better dictionary: a hidden layer moves the atoms to the truth.",
            "native",
            "MCC of atoms: 32 hidden units - ReLU + L1",
            paired_interval(
                score(table, "learned", "mlp_32", None, "mcc"), score(table, "learned", "relu_l1", None, "mcc")
            ),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "No one-layer encoder of this world passes 0.90.",
            SHEET,
            "MCC of codes, one layer trained on the true codes",
            mean_interval(encoder),
            Below(0.90),
            tier="laptop",
        ),
    ]


def _ceilings(table: Table) -> list[Claim]:
    known: tuple[tuple[str, str, str, Expectation], ...] = (
        ("Exact search finds every code.", "ceiling", "exhaustive", Near(1.0, 0.002)),
        ("Non-negative basis pursuit finds nearly all.", "ceiling", "basis_pursuit", Near(0.991, 0.01)),
        ("One layer, trained on true codes.", "supervised", "one_layer", Near(0.878, 0.03)),
        ("The best linear direction and the best nonlinearity behind it.", "ceiling", "scalar", Near(0.845, 0.03)),
        ("Atoms as weights, and a ReLU.", "ceiling", "tied", Near(0.710, 0.03)),
        ("The best linear estimate.", "ceiling", "linear", Near(0.707, 0.03)),
    )
    return [
        Claim(
            sentence,
            SHEET,
            f"MCC of codes matched by the true atoms, {part} {method}",
            mean_interval(score(table, part, method, None, "code_correlation_signed")),
            expected,
            tier="laptop",
            note="Six dictionaries there and five here: their coherence decides, and differs.",
        )
        for sentence, part, method, expected in known
    ]


def _lines(table: Table) -> list[Claim]:
    found = []
    for name, look in LARGE.items():
        ratios = {
            rate: score(table, "density", name, rate, "entry_error") / predicted(name, rate)
            for rate in grid(table, "density", name)
        }
        worst = max(ratios, key=lambda rate: abs(float(ratios[rate].mean()) - 1.0))
        found.append(
            Claim(
                f"Simulated errors lie on the line of theory: {look.label}.",
                "theory.amortisation.errors" if name != "lasso" else "arXiv:1008.2581",
                f"error / theory at the density where it is farthest from 1, {worst:g}",
                mean_interval(ratios[worst]),
                Near(1.0, SYSTEM),
                tier="laptop",
            )
        )
    return found


def _trained(table: Table) -> list[Claim]:
    """Return what trained encoders do between the lines, each at the density where the claim is most in doubt."""

    def ratio(method: str, line: str) -> dict[float, np.ndarray]:
        rates = grid(table, "density", method)
        return {rate: score(table, "density", method, rate, "entry_error") / predicted(line, rate) for rate in rates}

    taught, sae = ratio("supervised", "one_layer"), ratio("topk", "bayes")
    near, far = (min(part, key=lambda rate: float(part[rate].mean())) for part in (taught, sae))
    sparse = min(grid(table, "density", "one_layer"))
    gap = score(table, "density", "one_layer", sparse, "entry_error") / score(
        table, "density", "bayes", sparse, "entry_error"
    )
    return [
        Claim(
            "No trained one-layer encoder passes the best one of theory, even with true atoms and codes.",
            "theory.amortisation.errors",
            f"error of the trained / of the best, at the density where it is smallest, {near:g}",
            mean_interval(taught[near]),
            Above(1.0 - SYSTEM),
            tier="laptop",
        ),
        Claim(
            "At few active features the best one-layer encoder has a hundred times the error of the posterior mean.",
            "native",
            f"error of the best one-layer encoder / of message passing, simulated, density {sparse:g}",
            mean_interval(gap),
            Above(100.0),
            tier="laptop",
        ),
        Claim(
            "A trained autoencoder stays far above the error of the posterior mean.",
            "native",
            f"error of SAE TopK / posterior mean of the true dictionary, where it is smallest, density {far:g}",
            mean_interval(sae[far]),
            Above(10.0),
            tier="laptop",
        ),
    ]


HEADER = (
    "setting", "method", "at", "seeds", "operations", "MCC of codes", "MCC of atoms (chance)", "L0",
    "error of an entry", "theory",
)  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a setting, method and point, with intervals over the dictionaries."""
    found = []
    for part in table.levels("part"):
        for method in table.where(part=part).levels("method"):
            for at in grid(table, str(part), str(method)):
                found.append(_row(table, str(part), str(method), at))
    return found


def _row(table: Table, part: str, method: str, at: float) -> tuple[str, ...]:
    here = table.where(part=part, method=method, at=at)

    def show(metric: str, digits: int = 3) -> str:
        value = interval(here, metric)
        return f"{value.mean:z.{digits}f} ± {value.half_width:.{digits}f}"

    error = interval(here, "entry_error")
    theory = f"{predicted(method, at):.2e}" if part == "density" and method in LARGE else ""
    spent = cost(table, part, method, at)
    return (
        part,
        method,
        f"{at:g}",
        str(len(here)),
        f"{spent:.0f}" if spent else "–",
        show("code_mcc"),
        f"{show('mcc')} ({interval(here, 'mcc_chance').mean:.3f})",
        show("l0", 1),
        f"{error.mean:.2e} ± {error.half_width:.1e}",
        theory,
    )
