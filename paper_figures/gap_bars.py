"""Whose fault is the error of a learned code: bars of what nobody avoids, what atoms cost and what encoders cost."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Claim, Near
from sparsesim.report.palette import INK, LOOKS, NAVY, ORANGE, SLATE
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.amortisation import effective_noise, errors
from theory.denoisers import HalfNormal, SpikeSlab
from theory.replica import bayes_mse

TITLE = "Whose fault? The error of a learned code in three parts"
QUESTION = "Whose fault is the error of a learned code?"
CAPTION = (
    "128 features in 64 dimensions, 5% active, half-normal, little noise; mean squared error of a code entry, divided "
    "by the mean square of a code. Each solver at the point of its grid where that error is smallest. Parts: message "
    "passing with the law of the codes on the true atoms (black: nobody avoids it), what the same costs more on the "
    "learned atoms (blue: the dictionary), what the solver's own encoder costs more (orange: the inference). White "
    "markers: the dictionary's part as theory predicts it from the cosine of the atoms alone. Bars are 95% intervals "
    "of the whole over the seeds; dashed: the best one-layer encoder of the true atoms as m grows."
)
DELTA, NOISE, RATE = 0.5, 1e-3, 0.05
PRIOR = SpikeSlab(RATE, HalfNormal())
SHOWN = {
    "relu_l1": "SAE ReLU + L1",
    "gated": "SAE Gated",
    "jump_relu": "SAE JumpReLU",
    "topk": "SAE TopK",
    "batch_topk": "SAE BatchTopK",
    "mlp": "SAE, MLP encoder",
    "mp": "SAE MP",
    "mod": "MOD + OMP",
}
ONE_LAYER = ("relu_l1", "gated", "jump_relu", "topk", "batch_topk")
COLOURS = {"oracle": INK, "dictionary": NAVY, "inference": ORANGE}


class Parts(NamedTuple):
    """The parts of an error, ``(seeds,)`` each; they sum to it."""

    oracle: np.ndarray
    dictionary: np.ndarray
    inference: np.ndarray


def values(table: Table, method: str, encoder: str, point: int, metric: str = "entry_error") -> np.ndarray:
    """Return ``metric`` ``(seeds,)``."""
    return by_seed(table.where(point=point), metric, method=method, encoder=encoder)


def best_point(table: Table, method: str) -> int:
    """Return the point of the grid with the smallest mean error of the solver's own codes."""
    grid = sorted({int(point) for point in table.where(method=method, encoder="own").column("point")})
    return min(grid, key=lambda point: float(values(table, method, "own", point).mean()))


def parts(table: Table, method: str) -> Parts:
    """Return the parts at the best point, relative to the mean square of a code entry."""
    point = best_point(table, method)
    own, learned = (values(table, method, encoder, point) for encoder in ("own", "bayes"))
    oracle = values(table, "true", "bayes", 0)
    return Parts(*(part / PRIOR.power for part in (oracle, learned - oracle, own - learned)))


@cache
def _optimal(noise: float) -> float:
    return bayes_mse(PRIOR, DELTA, noise)


def predicted_dictionary(table: Table, method: str) -> np.ndarray:
    """Return the dictionary's part ``(seeds,)`` that theory gives for the cosine of the learned atoms."""
    cosines = values(table, method, "own", best_point(table, method), "atom_cosine")
    noises = [effective_noise(PRIOR, DELTA, NOISE, float(cosine)) for cosine in np.minimum(cosines, 1.0)]
    return np.array([(_optimal(noise) - _optimal(NOISE)) / PRIOR.power for noise in noises])


def _bars(axes: Axes, table: Table, methods: list[str]) -> None:
    for row, method in enumerate(methods):
        found, left = parts(table, method), 0.0
        for name, value in found._asdict().items():
            width, colour = float(value.mean()), COLOURS[name]
            axes.barh(row, width, left=left, height=0.62, color=colour, edgecolor="white", lw=0.4, zorder=3)
            left += width
        whole = mean_interval(found.oracle + found.dictionary + found.inference)
        axes.plot([whole.low, whole.high], [row, row], color=SLATE, lw=1.0, zorder=4)
        theory = found.oracle.mean() + predicted_dictionary(table, method).mean()
        axes.plot(theory, row, "D", color="white", mec=INK, mew=0.9, ms=5, zorder=5)


def draw(table: Table) -> Figure:
    """Return the figure: one bar a solver, in three parts."""
    methods = [name for name in SHOWN if name in table.levels("method")]
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    _bars(axes, table, methods)
    limit = errors(PRIOR, DELTA, NOISE).one_layer / PRIOR.power
    axes.axvline(limit, color=LOOKS["one_layer"].colour, ls="--", lw=1.0, zorder=2)
    axes.set_yticks(range(len(methods)), [SHOWN[method] for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("squared error of a code entry / mean square of a code")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    handles += [
        Line2D([], [], color="white", mec=INK, marker="D", ls="", ms=5, label="dictionary's part, theory"),  # type: ignore[list-item]
        Line2D([], [], color=LOOKS["one_layer"].colour, ls="--", lw=1.0, label="best one layer, true atoms"),  # type: ignore[list-item]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _share(table: Table, method: str) -> np.ndarray:
    found = parts(table, method)
    return np.asarray(found.dictionary / (found.dictionary + found.inference))


def claims(table: Table) -> list[Claim]:
    """Return what is said of the binding part, and the checks of the parts against theory."""
    return [*_binding(table), *_checks(table), _hidden_layer(table)]


def _binding(table: Table) -> list[Claim]:
    """Return the claims on the dictionary's part and on that of inference."""
    shares = {method: _share(table, method) for method in ONE_LAYER}
    least = min(shares, key=lambda method: float(shares[method].mean()))
    ratio = {m: parts(table, m).dictionary / predicted_dictionary(table, m) for m in SHOWN}
    worst = max(ratio, key=lambda method: abs(float(np.log(max(ratio[method].mean(), 1e-9)))))
    return [
        Claim(
            "Dictionary learning, not inference, is what binds sparse autoencoders.",
            "arXiv:2603.28744, abstract",
            f"share of the avoidable error that is the dictionary's, smallest of five autoencoders: {least}",
            mean_interval(shares[least]),
            Above(0.5),
            tier="laptop",
            note="A matter of length of training and penalty (tested): after four times the steps the share of ReLU + "
            "L1 is 0.01, its atoms being found and its inference part as before; at half of the penalty it is 0.7 to "
            "0.8. Combinations of features that are not in the training samples, as in the source, do not raise it.",
        ),
        Claim(
            "An encoder of one layer leaves an amortisation gap on its own atoms.",
            "arXiv:2411.13117, abstract",
            "inference part, smallest of five autoencoders",
            min((mean_interval(parts(table, m).inference) for m in ONE_LAYER), key=lambda one: one.mean),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Learned atoms act like noise: the dictionary's part follows from their cosine alone.",
            "theory.amortisation.effective_noise",
            f"dictionary's part, measured / predicted, where it is farthest from 1: {worst}",
            mean_interval(ratio[worst]),
            Near(1.0, 0.3),
            tier="laptop",
            note="Errors of learned atoms are not spread over all: MOD loses 4 or 5 of its 128, which alone among true "
            "atoms cost four fifths of the part, while the found ones alone cost 1.8 to 3 times what theory says "
            "(tested). True atoms that are turned independently cost 1.1 to 1.3 times what it says (tested).",
        ),
    ]


def _checks(table: Table) -> list[Claim]:
    """Return the checks of the oracle: nobody is better, and it is what theory says."""
    oracle = values(table, "true", "bayes", 0) / _optimal(NOISE)
    negative = min(SHOWN, key=lambda method: float(parts(table, method).inference.mean()))
    return [
        Claim(
            "No encoder beats the optimal one on the same atoms.",
            "calibration",
            f"inference part, smallest of all solvers: {negative}",
            mean_interval(parts(table, negative).inference),
            Above(-0.005),
            tier="laptop",
        ),
        Claim(
            "Message passing on the true atoms reaches the posterior mean.",
            "theory.replica.bayes_mse",
            "its error / that of theory as m grows",
            mean_interval(oracle),
            Near(1.0, 0.3),
            tier="paper",
            note="At 128 features some samples hold more active ones than the algorithm can take.",
        ),
    ]


def _hidden_layer(table: Table) -> Claim:
    return Claim(
        "A hidden layer in the encoder lowers both parts.",
        "native",
        "smaller of the two differences, ReLU + L1 - MLP encoder: dictionary and inference",
        _both_lower(table),
        Above(0.0),
        tier="laptop",
        note="The MLP encoder learns its atoms more slowly: after four times the steps their part falls from 0.22 "
        "to less than 0.001, below that of ReLU + L1, and the inference part is half as large (tested at the first "
        "seed; at another two atoms are still missing, one of them after twelve times the steps).",
    )


def _both_lower(table: Table) -> Interval:
    plain, deep = parts(table, "relu_l1"), parts(table, "mlp")
    found = [paired_interval(getattr(plain, name), getattr(deep, name)) for name in ("dictionary", "inference")]
    return min(found, key=lambda one: one.mean)


HEADER = (
    "solver", "seeds", "L0", "MCC (chance)", "cosine of atoms", "whole error", "unavoidable", "dictionary", "(theory)",
    "inference",
)  # fmt: skip


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return one text row a solver at its best point, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    for method, label in SHOWN.items():
        point, own = best_point(table, method), parts(table, method)

        def show(value: np.ndarray, digits: int = 4) -> str:
            one = mean_interval(value)
            return f"{one.mean:z.{digits}f} ± {one.half_width:.{digits}f}"

        def column(metric: str, method: str = method, point: int = point) -> np.ndarray:
            return values(table, method, "own", point, metric)

        found.append(
            (
                label,
                str(len(own.oracle)),
                show(column("l0"), 1),
                f"{show(column('mcc'), 3)} ({column('mcc_chance').mean():.3f})",
                show(column("atom_cosine"), 3),
                show(own.oracle + own.dictionary + own.inference),
                show(own.oracle),
                show(own.dictionary),
                show(predicted_dictionary(table, method)),
                show(own.inference),
            )
        )
    return found
