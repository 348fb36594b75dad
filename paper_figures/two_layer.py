"""Two-layer autoencoders of one bit a latent, trained, on the curves of theory."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, INK, NAVY, PURPLE, VERMILLION, Look
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table, Value
from theory.autoencoders import identity_sign_mse, near_identity_mse, rotation_mse, sparse_rotation_mse

TITLE = "Two layers, one bit a latent: what is kept, and when sparsity is seen"
QUESTION = "What does a two-layer autoencoder of one bit a latent keep, and does it see that data are sparse?"
CAPTION = (
    "x̂ = A sign(B x) trained by gradients on independent features of unit variance in random axes. Squared error over "
    "variance. Left: against the rate, latents over dimensions, for normal and for sparse normal data; line: the least "
    "error for normal data of any encoder (exact up to rate 1, above it as d grows); grey: the rate-distortion bound "
    "of normal data. Middle: one bit a dimension, against the density of sparse normal data; dotted: with the "
    "finite-size term of first order, for rows of B spread evenly (lower) and at random (upper). Right: features that "
    "are +1 or -1 where active: a rotation (1 - 2/π) against reading each feature (1 - p), which cross at 2/π. "
    "Bars are 95% t-intervals over the seeds."
)
GAUSS, SPARSE, SIGNS = Look("normal", NAVY, "o"), Look("sparse normal", VERMILLION, "^"), Look("±1", PURPLE, "D")
LIMIT, READ = INK, CEILING
SHEVCHENKO, KOEGLER = "arXiv:2212.13468, abstract", "arXiv:2402.05013, abstract"
TRAINED = 0.01  # of the variance: noise of minibatches, and d of 32 above rate 1


def levels(table: Table, name: str, **labels: Value) -> list[float]:
    """Return the values of a label among the rows with ``labels``, ascending."""
    return sorted(float(value) for value in table.where(**labels).levels(name))


def sparse_density(table: Table) -> float:
    """Return the density of the sparse data of which the rate is varied."""
    return levels(table, "density", part="rate")[0]


def dim(table: Table) -> int:
    """Return d."""
    return int(table.column("d")[0])


def excess(density: float, signs: bool) -> float:
    """Return the excess kurtosis of a feature of unit variance, 3/p - 3 or 1/p - 3."""
    return (1.0 if signs else 3.0) / density - 3.0


def draw(table: Table) -> Figure:
    """Return the figure: loss against rate, and against the density of two kinds of sparse data."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _rates(left, table)
    _normal(middle, table)
    _signs(right, table)
    left.set_ylabel("squared error / variance")
    for axes in (left, middle, right):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    parts = [axes.get_legend_handles_labels() for axes in (left, middle, right)]
    known = dict(item for handles, names in parts for item in zip(names, handles, strict=True))
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _marks(axes: Axes, x: list[float], values: list[Interval], look: Look) -> None:
    axes.vlines(x, [v.low for v in values], [v.high for v in values], color=look.colour, lw=1.2)
    means = [v.mean for v in values]
    axes.plot(x, means, look.marker, color=look.colour, ms=4.5, mec="white", mew=0.4, label=look.label)


def _rates(axes: Axes, table: Table) -> None:
    fine = np.linspace(0.05, levels(table, "rate")[-1] * 1.05, 200)
    axes.plot(fine, [rotation_mse(float(r)) for r in fine], color=LIMIT, lw=1.1, label="rotation (theory)")
    axes.plot(fine, 2.0 ** (-2 * fine), color=FLOOR, ls="--", lw=1.0, label="D(R) of normal data")
    for density, look, shift in ((1.0, GAUSS, -0.03), (sparse_density(table), SPARSE, 0.03)):
        rates = levels(table, "rate", part="rate", density=density)
        values = [interval(table, "fvu", part="rate", density=density, rate=rate) for rate in rates]
        _marks(axes, [rate + shift for rate in rates], values, look)
    axes.set_xlabel("rate, bits a dimension")
    axes.set_ylim(0, 1)
    axes.set_title(f"d = {dim(table)}, sparse: density {sparse_density(table):g}", fontsize=8)


def _normal(axes: Axes, table: Table) -> None:
    d, densities = dim(table), levels(table, "density", part="normal")
    fine = np.linspace(densities[0] * 0.9, 1.0, 200)
    axes.axhline(rotation_mse(1.0), color=LIMIT, lw=1.1)
    axes.plot(fine, [identity_sign_mse(1.0, math.sqrt(2 * p / math.pi)) for p in fine], color=READ, lw=1.1, ls="-.",
              label="feature by feature (theory)")  # fmt: skip
    for fourth in (1 / d, 3 / (d + 2)):
        values = [sparse_rotation_mse(1.0, excess(float(p), signs=False), fourth) for p in fine]
        axes.plot(fine, values, color=LIMIT, lw=0.9, ls=":", label="rotation at this d (theory)")
    _marks(axes, densities, [interval(table, "fvu", part="normal", density=p) for p in densities], SPARSE)
    axes.set_ylim(0.2, 0.75)
    axes.set_xlabel("density p")
    axes.set_title("normal values, rate 1", fontsize=8)


def _signs(axes: Axes, table: Table) -> None:
    densities = levels(table, "density", part="signs")
    fine = np.linspace(densities[0] * 0.9, 1.0, 200)
    axes.axhline(rotation_mse(1.0), color=LIMIT, lw=1.1)
    axes.plot(fine, [identity_sign_mse(1.0, math.sqrt(p)) for p in fine], color=READ, lw=1.1, ls="-.")
    axes.plot(
        fine, [near_identity_mse(float(p)) for p in fine], color=READ, lw=1.1, label="the same, ties tell (theory)"
    )
    axes.axvline(2 / math.pi, color=LIMIT, lw=0.7, ls=":")
    axes.text(2 / math.pi - 0.01, 0.02, "2/π", ha="right", fontsize=7)
    _marks(axes, densities, [interval(table, "fvu", part="signs", density=p) for p in densities], SIGNS)
    axes.set_ylim(0, 0.75)
    axes.set_xlabel("density p")
    axes.set_title("values ±1, rate 1", fontsize=8)


def _farthest(groups: list[np.ndarray]) -> Interval:
    stacked = np.stack(groups)
    return mean_interval(stacked[np.abs(stacked.mean(axis=1)).argmax()])


def _off_limit(table: Table, density: float, low: float, high: float) -> list[np.ndarray]:
    rates = [rate for rate in levels(table, "rate", part="rate", density=density) if low <= rate <= high]
    return [by_seed(table, "fvu", part="rate", density=density, rate=rate) - rotation_mse(rate) for rate in rates]


def _predicted(table: Table, rate: float, **labels: Value) -> np.ndarray:
    """Return measured less predicted error of sparse normal data, by the rows that each seed has learned."""
    own = table.where(rate=rate, **labels)
    kurtosis = excess(float(own.column("density")[0]), signs=False)
    known = [sparse_rotation_mse(rate, kurtosis, float(f)) for f in by_seed(own, "fourth_powers")]
    return np.asarray(by_seed(own, "fvu") - np.array(known))


def transition(table: Table) -> np.ndarray:
    """Return by seed the density at which rows turn into features, fourth powers of mean 1/2, read as an area."""
    densities = np.array(levels(table, "density", part="signs"))
    read = np.stack([by_seed(table, "fourth_powers", part="signs", density=float(p)) > 0.5 for p in densities])
    edges = np.concatenate([densities[:1], (densities[1:] + densities[:-1]) / 2, densities[-1:]])
    return np.asarray(densities[-1] - (np.diff(edges)[:, None] * read).sum(axis=0))


def claims(table: Table) -> list[Claim]:
    """Return the claims: the limits for normal data, sparse data as if normal, and the change at 2/π."""
    return [*_dense(table), *_sparse(table), *_change(table)]


def _dense(table: Table) -> list[Claim]:
    rates = levels(table, "rate", part="rate", density=1.0)
    above = [by_seed(table, "fvu", part="rate", density=1.0, rate=rate) - 2.0 ** (-2 * rate) for rate in rates]
    return [
        Claim(
            "Up to one bit a dimension, gradient methods reach the least error of two layers, 1 - 2r/π.",
            SHEVCHENKO,
            "error - theory on normal data, where it is farthest from 0, r at most 1",
            _farthest(_off_limit(table, 1.0, 0.0, 1.0)),
            Near(0.0, TRAINED),
            tier="laptop",
        ),
        Claim(
            "Above one bit a dimension they reach the limit 1 - r / (r + π/2 - 1).",
            SHEVCHENKO,
            "error - theory on normal data, where it is farthest from 0, r above 1",
            _farthest(_off_limit(table, 1.0, 1.01, math.inf)),
            Near(0.0, TRAINED),
            tier="laptop",
        ),
        Claim(
            "Two layers stay above the rate-distortion function.",
            "theorem; theory.water_filling",
            "error - 2^(-2r) on normal data, the least over rates",
            mean_interval(np.stack(above).min(axis=0)),
            Above(0.0),
        ),
    ]


def _sparse(table: Table) -> list[Claim]:
    density = sparse_density(table)
    dense = [p for p in levels(table, "density", part="normal") if p >= 0.2]
    known = [_predicted(table, 1.0, part="normal", density=p) for p in dense]
    lowest, *_ = levels(table, "density", part="normal")
    own = by_seed(table, "gaussian_error", part="normal", density=lowest, rate=1.0)
    return [
        Claim(
            "On sparse normal data gradient descent ends as if they were not sparse.",
            KOEGLER,
            f"error - error of theory for normal data, density {density:g}, farthest from 0, r at most 1",
            _farthest(_off_limit(table, density, 0.0, 1.0)),
            Near(0.0, 2 * TRAINED),
            tier="laptop",
        ),
        Claim(
            "The same at the lowest density.",
            KOEGLER,
            f"error - (1 - 2/π), density {lowest:g}, {lowest * dim(table):.2g} active features a sample",
            mean_interval(by_seed(table, "fvu", part="normal", density=lowest, rate=1.0) - rotation_mse(1.0)),
            Near(0.0, 2 * TRAINED),
            tier="paper",
            note="the theorem is of d to infinity; a few active features are not yet normal in sum, and the term of "
            "first order in their kurtosis says how far: it holds at all higher densities (two claims below)",
        ),
        Claim(
            "The encoder itself disregards sparsity: it would be as good on normal data.",
            KOEGLER,
            f"error of the learned encoder on normal data (exact) - least error, density {lowest:g}",
            mean_interval(own - rotation_mse(1.0)),
            Near(0.0, 2 * TRAINED),
            tier="laptop",
        ),
        Claim(
            "What is left between sparse and normal data is the finite size: (2/π) r excess Σb⁴ / 12.",
            "theory.autoencoders.sparse_rotation_mse",
            "error - theory at one bit a dimension, densities of at least 0.2, farthest from 0",
            _farthest(known),
            Near(0.0, TRAINED),
            tier="laptop",
        ),
    ]


def _change(table: Table) -> list[Claim]:
    densities = levels(table, "density", part="signs")

    def off(density: float, theory: float) -> Interval:
        return mean_interval(by_seed(table, "fvu", part="signs", density=density) - theory)

    top = densities[-1]
    read = [p for p in densities if p > 2 / math.pi]
    return [
        Claim(
            "Below a critical density the minimiser is a rotation, as for data that are not sparse.",
            KOEGLER,
            f"error - (1 - 2/π), values ±1, density {densities[0]:g}",
            off(densities[0], rotation_mse(1.0)),
            Near(0.0, 2 * TRAINED),
            tier="laptop",
        ),
        Claim(
            "Above it the minimiser is the identity up to order.",
            KOEGLER,
            f"mean Σb⁴ of the rows in the basis of the features, values ±1, density {top:g} (identity: 1)",
            interval(table, "fourth_powers", part="signs", density=top),
            Near(1.0, 0.01),
            tier="laptop",
        ),
        Claim(
            "Rows near the features, whose ties tell of the other features, leave 1 - p - (2/π)(1 - p)².",
            "theory.autoencoders.near_identity_mse",
            "error - theory, values ±1, densities above 2/π, farthest from 0",
            _farthest([by_seed(table, "fvu", part="signs", density=p) - near_identity_mse(p) for p in read]),
            Near(0.0, 2 * TRAINED),
            tier="laptop",
        ),
        Claim(
            "Training finds such ties: it ends below what reading the features with ties at random leaves.",
            "native",
            f"error - (1 - p), values ±1, density {read[0]:g}",
            off(read[0], 1.0 - read[0]),
            Below(0.0),
            tier="laptop",
        ),
        Claim(
            "The critical density is where reading features becomes better than a rotation; with ties at random, 2/π.",
            f"{KOEGLER}; theory.autoencoders.identity_beats_rotation",
            "density at which rows of the encoder turn into features",
            mean_interval(transition(table)),
            Near(2 / math.pi, 0.05),
            tier="laptop",
            note="ties are not broken at random (two claims above): with telling ties reading features is better from "
            "a density of 0.429 on, and training turns to it between there and 2/π",
        ),
    ]


HEADER = ("data", "density", "rate", "seeds", "error", "rotation, d → ∞", "feature by feature", "ties tell", "Σb⁴")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    for part in ("rate", "normal", "signs"):
        for density in levels(table, "density", part=part):
            for rate in levels(table, "rate", part=part, density=density):
                own = {"part": part, "density": density, "rate": rate}
                error, fourth = interval(table, "fvu", **own), interval(table, "fourth_powers", **own)
                size = math.sqrt(density) if part == "signs" else math.sqrt(2 * density / math.pi)
                read = f"{identity_sign_mse(rate, size):.3f}" if rate <= 1 else ""
                name = "±1" if part == "signs" else "normal"
                shown = f"{error.mean:.3f} ± {error.half_width:.3f}"
                labels = (name, f"{density:g}", f"{rate:g}", str(error.n), shown)
                ties = f"{near_identity_mse(density):.3f}" if part == "signs" else ""
                found.append((*labels, f"{rotation_mse(rate):.3f}", read, ties, f"{fourth.mean:.3f}"))
    return found
