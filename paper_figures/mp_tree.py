"""The tree of the matching pursuit autoencoder: absorption by autoencoder, beside how many latents it uses."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, LOOKS
from sparsesim.study.interval import Interval, paired_interval
from sparsesim.study.table import Table

TITLE = "A tree of features: who absorbs the parent?"
QUESTION = "Which autoencoder lets the latent of a child write its parent's direction?"
CAPTION = (
    "20 orthonormal features in 20 dimensions: one of three parents, with at most one of its three children, or one of "
    "eight leaves; all strengths are N(1, 1/4²). Left: the cosine of a child's latent with the true parent, a mean "
    "over the nine pairs; 0 is the truth and 0.71 full absorption; ticks: the paper; open: k is not the true L0. "
    "Right: latents a sample; the line is the true 1.36. Bars are 95% t-intervals over the seeds."
)
SOURCE = "arXiv:2506.03093, table of absorption scores"
SHOWN = {
    "mp": LOOKS["mp"].named("MP-SAE"),
    "matryoshka": LOOKS["matryoshka"].named("Matryoshka, k = true L0"),
    "matryoshka_relu": LOOKS["matryoshka_relu"].named("Matryoshka, ReLU + L1"),
    "matryoshka_1": LOOKS["matryoshka"].named("Matryoshka, k = 1"),
    "matryoshka_2": LOOKS["matryoshka"].named("Matryoshka, k = 2"),
    "batch_topk": LOOKS["batch_topk"].named("BatchTopK, k = true L0"),
    "batch_topk_1": LOOKS["batch_topk"].named("BatchTopK, k = 1"),
    "batch_topk_2": LOOKS["batch_topk"].named("BatchTopK, k = 2"),
    "relu_l1": LOOKS["relu_l1"].named("ReLU + L1"),
}
PAPER = {"mp": 0.0011, "matryoshka": 0.22, "matryoshka_relu": 0.22, "batch_topk": 0.42, "relu_l1": 0.47}


def draw(table: Table) -> Figure:
    """Return the figure: absorption and L0 of each autoencoder, with intervals over the seeds."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    scores, sizes = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    for row, (name, look) in enumerate(SHOWN.items()):
        for axes, metric in ((scores, "absorption"), (sizes, "l0")):
            value = interval(table, metric, solver=name)
            axes.plot([value.low, value.high], [row, row], color=look.colour, lw=1.4)
            other = name.endswith(("_1", "_2"))  # another number of latents than the true one
            face, edge = ("white", look.colour) if other else (look.colour, "white")
            axes.plot(value.mean, row, look.marker, mfc=face, mec=edge, ms=5, mew=0.9 if other else 0.4)
        if name in PAPER:
            scores.plot(PAPER[name], row, "|", color=FLOOR, ms=11, mew=1.6, zorder=1)
    scores.plot([], [], "|", color=FLOOR, ms=11, mew=1.6, label="paper")
    scores.axvline(0.0, color=CEILING, lw=0.9, label="truth")
    scores.legend(frameon=False, loc="upper right")
    sizes.axvline(float(table.column("true_l0").mean()), color=CEILING, lw=0.9)
    scores.set_yticks(range(len(SHOWN)), [look.label for look in SHOWN.values()])
    scores.set_ylim(len(SHOWN) - 0.5, -0.5)
    scores.set_xlabel("absorption (cosine of child's latent with the parent)")
    sizes.set_xlabel("L0 (latents a sample)")
    for axes in (scores, sizes):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    return figure


def _gap(table: Table, smaller: str, larger: str) -> Interval:
    return paired_interval(by_seed(table, "absorption", solver=larger), by_seed(table, "absorption", solver=smaller))


def _less(table: Table, smaller: str, larger: str, sentence: str, note: str = "") -> Claim:
    gap = _gap(table, smaller, larger)
    return Claim(sentence, SOURCE, f"absorption of {larger} - {smaller}", gap, Above(0.0), note=note)


def claims(table: Table) -> list[Claim]:
    """Return the claims of the tree, each on paired seeds."""
    penalised, few = (_gap(table, "mp", name) for name in ("matryoshka_relu", "matryoshka_1"))
    sizes = (
        "All are at the true L0 of 1.36, as in the paper, and prefixes choose with the batch's k here. Those of the "
        f"paper are penalised: then Matryoshka absorbs {penalised} more than matching pursuit; with too few latents, "
        f"k = 1, {few} more."
    )
    return [
        Claim(
            "Children of the matching pursuit autoencoder hardly absorb their parents.",
            SOURCE,
            "absorption of mp (paper: 0.0011)",
            interval(table, "absorption", solver="mp"),
            Below(0.1),
        ),
        Claim(
            "The absorption of the matching pursuit autoencoder has the size of the paper.",
            SOURCE,
            "absorption of mp",
            interval(table, "absorption", solver="mp"),
            Near(0.0011, 0.01),
            note=(
                "A parent and a child rotated within their plane still reconstruct every sample in one step more, so "
                "the loss is flat there; how far a run drifts along it depends on its start."
            ),
        ),
        _less(table, "mp", "matryoshka", "Matching pursuit absorbs less than Matryoshka.", sizes),
        _less(table, "mp", "batch_topk", "Matching pursuit absorbs less than BatchTopK.", sizes),
        _less(table, "mp", "relu_l1", "Matching pursuit absorbs less than ReLU + L1."),
        _less(table, "matryoshka", "batch_topk", "Matryoshka absorbs less than BatchTopK.", sizes),
        _less(table, "matryoshka", "relu_l1", "Matryoshka absorbs less than ReLU + L1.", sizes),
        _less(table, "mp", "matryoshka_relu", "Matching pursuit absorbs less than Matryoshka with penalised prefixes."),
        _less(table, "matryoshka_relu", "relu_l1", "Penalised prefixes absorb less than ReLU + L1 without prefixes."),
        Claim(
            "With penalised prefixes Matryoshka absorbs as in the paper.",
            SOURCE,
            "absorption of matryoshka_relu (paper: 0.22)",
            interval(table, "absorption", solver="matryoshka_relu"),
            Near(0.22, 0.1),
        ),
        _less(table, "mp", "matryoshka_1", "Matching pursuit absorbs less than Matryoshka with too few latents."),
        _less(
            table, "matryoshka_1", "batch_topk_1", "Matryoshka absorbs less than BatchTopK with too few latents, too."
        ),
        Claim(
            "ReLU + L1 absorbs as in the paper.",
            SOURCE,
            "absorption of relu_l1 (paper: 0.47)",
            interval(table, "absorption", solver="relu_l1"),
            Near(0.47, 0.1),
        ),
    ]


HEADER = ("solver", "seeds", "absorption (truth 0, full 0.71)", "paper", "L0 (true)", "MCC", "FVU", "dead")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""

    def show(name: str, metric: str) -> str:
        value = interval(table, metric, solver=name)
        return f"{value.mean:z.3f} ± {value.half_width:.3f}"

    true = float(table.column("true_l0").mean())
    return [
        (
            look.label,
            str(len(table.where(solver=name))),
            show(name, "absorption"),
            f"{PAPER[name]:g}" if name in PAPER else "",
            f"{show(name, 'l0')} ({true:.2f})",
            show(name, "mcc"),
            show(name, "fvu"),
            f"{interval(table, 'dead_fraction', solver=name).mean:.2f}",
        )
        for name, look in SHOWN.items()
    ]
