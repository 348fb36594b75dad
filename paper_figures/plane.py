"""One plane, every family of solvers: recovery over superposition and sparsity, under the exact curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.seeds import by_seed
from paper_figures.transitions import bayes_rho, l1_band
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.phase import constraint_threshold, weak_threshold

TITLE = "The plane of superposition and sparsity: what each family of solvers finds"
QUESTION = "How many active features, at how much superposition, does each family of solvers find?"
CAPTION = (
    "k of m random directions in d = 16 dimensions, half-normal codes, no noise. Colour: the mean over features of the "
    "correlation of their codes with the matched latent's, on held-out samples, one scale for all; the number in a "
    "title is its mean over the plane, with the half-width of its 95% interval over seeds. First row: encoders given "
    "the true atoms. Second: the floor, random directions with OMP told k, and learners of other families. Third: "
    "autoencoders at the true width, told k or with the better of two penalties. Black on white: exact theory for "
    "m → ∞ with the atoms known, the Donoho-Tanner curve of l1 (solid), the threshold of Bayes-optimal message passing "
    "(dashed), and of non-negativity alone (dotted). White: half of the atoms found at |cos| ≥ 0.9."
)
ROWS = (
    ("bayes", "l1", "oracle_omp", "nnls", "one_step"),
    ("random", "kmeans", "ica", "online", "vae"),
    ("relu_l1", "topk", "batch_topk", "matryoshka", "mp"),
)
NAMES = {
    "bayes": "message passing",
    "l1": "basis pursuit",
    "oracle_omp": "OMP",
    "nnls": "NNLS",
    "one_step": "one linear step",
    "random": "random atoms",
    "kmeans": "k-means",
    "ica": "ICA",
    "online": "online lasso DL",
    "vae": "VAE",
    "relu_l1": "ReLU + L1",
    "topk": "TopK",
    "batch_topk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "mp": "MP-SAE",
}
KNOWN, LEARNED, SAES = ROWS[0], (*ROWS[1][1:], *ROWS[2]), ROWS[2]
LINEAR = ("relu_l1", "topk", "batch_topk", "matryoshka")  # one linear map and a nonlinearity encode


def axes_of(table: Table) -> tuple[list[float], list[int]]:
    """Return the values of m / d and of k in the table, ascending."""
    return sorted(map(float, table.levels("ratio"))), sorted(map(int, table.levels("k")))


def _versions(table: Table, solver: str) -> list[str]:
    """Return the names under which ``solver`` stands in the table: one, or one for each penalty."""
    return [str(name) for name in table.levels("solver") if str(name) == solver or str(name).startswith(f"{solver}_")]


def field(table: Table, solver: str, metric: str = "code_correlation") -> np.ndarray:
    """Return ``metric`` over the plane ``(k, m / d, seeds)``; of several penalties the best in the mean at each point.

    The penalty is chosen by the correlation with the truth, which flatters that solver.
    """
    ratios, actives = axes_of(table)
    own = table.where(solver=solver)
    if len(own):
        levels = np.array(actives), np.array(ratios), np.unique(own.column("seed"))
        places = [
            np.searchsorted(one, own.column(name)) for one, name in zip(levels, ("k", "ratio", "seed"), strict=True)
        ]
        found = np.full([len(one) for one in levels], np.nan)
        found[tuple(places)] = own.column(metric)
        return found
    names = _versions(table, solver)
    scores = np.array([field(table, name) for name in names])
    values = np.array([field(table, name, metric) for name in names])
    best = scores.mean(axis=-1).argmax(axis=0)
    return np.asarray(np.take_along_axis(values, best[None, :, :, None], axis=0)[0])


def overall(table: Table, solver: str, metric: str = "code_correlation") -> np.ndarray:
    """Return the mean over the plane for each seed, ``(seeds,)``."""
    return np.asarray(field(table, solver, metric).mean(axis=(0, 1)))


def dimension(table: Table) -> int:
    """Return d."""
    return round(float(table.column("dim").mean()))


def inside_l1(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return masks ``(k, m / d)``: the points below, and above, the finite Donoho-Tanner curve with both its bounds.

    As many atoms as dimensions leave one solution: all of that column is below.
    """
    (ratios, actives), d = axes_of(table), dimension(table)
    bands = [l1_band(round(x * d), 1.0 / x, True) if x > 1 else (np.inf, np.inf) for x in ratios]
    rho = np.array(actives)[:, None] / d
    return rho < np.array([low for low, _ in bands]), rho > np.array([high for _, high in bands])


def _edges(centres: np.ndarray) -> np.ndarray:
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _curve(axes: Axes, x: np.ndarray, rho: np.ndarray, d: int, style: str) -> None:
    """Draw a curve that is seen on dark and on light: black with a white rim."""
    y = np.log2(np.maximum(rho, 1e-9) * d)
    axes.plot(np.log2(x), y, style, color="white", lw=2.2, alpha=0.8)
    axes.plot(np.log2(x), y, style, color="black", lw=1.0)


def _panel(axes: Axes, table: Table, solver: str) -> ScalarMappable:
    (ratios, actives), d = axes_of(table), dimension(table)
    x, y = np.log2(ratios), np.log2(actives)
    shade = field(table, solver).mean(axis=-1)
    image = axes.pcolormesh(_edges(x), _edges(y), shade, cmap="cividis", vmin=0.0, vmax=1.0, rasterized=True)
    grid = np.geomspace(1.02, 2.0 ** _edges(x)[-1], 60)
    _curve(axes, grid, np.asarray(weak_threshold(1.0 / grid, non_negative=True)), d, "-")
    _curve(axes, grid, np.array([bayes_rho(1.0 / one, True) for one in grid]), d, "--")
    if solver == "nnls":
        _curve(axes, grid, np.asarray(constraint_threshold(1.0 / grid)), d, ":")
    if solver not in KNOWN and solver != "random":
        found = field(table, solver, "recovered_at_90").mean(axis=-1)
        if found.min() < 0.5 < found.max():
            axes.contour(x, y, found, [0.5], colors="white", linewidths=1.3)
    value = mean_interval(overall(table, solver))
    axes.set_title(f"{NAMES[solver]}\n{value.mean:.2f} ± {value.half_width:.2f}", fontsize=7.5)
    axes.set_xlim(_edges(x)[0], _edges(x)[-1])
    axes.set_ylim(_edges(y)[0], _edges(y)[-1])
    axes.set_xticks(x, [f"{one:g}" for one in ratios], fontsize=6.5)
    axes.set_yticks(y, [f"{k / d:.2g}" for k in actives], fontsize=6.5)
    axes.minorticks_off()
    return image


def draw(table: Table) -> Figure:
    """Return the figure: a panel for each solver, on one scale."""
    figure = Figure(figsize=(7.4, 5.6), layout="constrained")
    panels = figure.subplots(len(ROWS), len(ROWS[0]), sharex=True, sharey=True)
    for line, names in zip(panels, ROWS, strict=True):
        for axes, solver in zip(line, names, strict=True):
            image = _panel(axes, table, solver)
    for axes in panels[-1]:
        axes.set_xlabel("m / d", fontsize=7.5)
    for axes, words in zip(panels[:, 0], ("true atoms given", "floor, other learners", "autoencoders"), strict=True):
        axes.set_ylabel(f"{words}\nk / d", fontsize=7.5)
    figure.colorbar(image, ax=panels, label="correlation of codes with the truth", fraction=0.03, aspect=40)
    lines = [
        Line2D([], [], color="black", ls=style, lw=1.0, label=label)
        for style, label in (
            ("-", "l1, Donoho-Tanner (exact)"),
            ("--", "Bayes-optimal message passing (exact)"),
            (":", "non-negativity alone (exact)"),
        )
    ]
    figure.legend(handles=lines, loc="outside lower center", ncol=3, frameon=False, fontsize=7)
    return figure


def _theory(table: Table) -> list[Claim]:
    success, (below, above) = field(table, "l1", "exact_recovery"), inside_l1(table)
    floor = field(table, "random", "mcc") - field(table, "random", "mcc_chance")
    worst = np.unravel_index(np.abs(floor.mean(axis=-1)).argmax(), floor.shape[:2])
    return [
        Claim(
            "Below the finite Donoho-Tanner curve the l1 norm recovers more than half of all codes.",
            "arXiv:1303.6672, Theorem II; arXiv:math/0607364",
            f"exact recovery of basis pursuit, worst of {below.sum()} points",
            mean_interval(success[below][success[below].mean(axis=-1).argmin()]),
            Above(0.5),
        ),
        Claim(
            "Above it the l1 norm recovers fewer than half.",
            "arXiv:1303.6672, Theorem II; arXiv:math/0607364",
            f"exact recovery of basis pursuit, best of {above.sum()} points",
            mean_interval(success[above][success[above].mean(axis=-1).argmax()]),
            Below(0.5),
        ),
        Claim(
            "A random dictionary scores the chance level of MCC on the whole plane.",
            "calibration",
            "MCC - chance at the point where it is farthest from 0",
            mean_interval(floor[worst]),
            Near(0.0, 0.03),  # the largest of 30 means of 5 seeds, whose standard errors are near 0.01
        ),
    ]


def _gaps(table: Table) -> list[Claim]:
    """Return what is lost where: in the code, in the dictionary, in both."""
    known = {name: overall(table, name) for name in KNOWN}
    sae = np.max([overall(table, name) for name in LINEAR], axis=0)
    learned = {name: overall(table, name) for name in LEARNED}
    best = max(learned, key=lambda name: learned[name].mean())
    wide = axes_of(table)[0][-1]

    def at(solver: str, ratio: float) -> np.ndarray:
        return np.asarray(field(table, solver)[:, axes_of(table)[0].index(ratio)].mean(axis=0))

    loss = {name: at(name, 1.0) - at(name, wide) for name in ("l1", "topk")}
    return [
        Claim(
            "No learner finds codes as well as basis pursuit with the true atoms.",
            "native",
            f"mean over the plane: basis pursuit - the best learner, {NAMES[best]}",
            paired_interval(known["l1"], learned[best]),
            Above(0.0),
        ),
        Claim(
            "One linear step with the true atoms finds codes better than any autoencoder with a linear encoder.",
            "native",
            "mean over the plane: one linear step with the true atoms - the best of ReLU + L1, TopK, BatchTopK and "
            "Matryoshka",
            paired_interval(known["one_step"], sae),
            Above(0.0),
        ),
        Claim(
            "Dictionary learning with sparse coding finds codes better than autoencoders with a linear encoder.",
            "arXiv:2411.13117, abstract",
            "mean over the plane: online dictionary learning - the best of ReLU + L1, TopK, BatchTopK and Matryoshka",
            paired_interval(overall(table, "online"), sae),
            Above(0.0),
        ),
        Claim(
            "An encoder that pursues finds codes better than one linear map.",
            "native; arXiv:2506.03093 for the autoencoder",
            "mean over the plane: MP-SAE - TopK",
            paired_interval(learned["mp"], learned["topk"]),
            Above(0.0),
        ),
        Claim(
            "Superposition costs a linear encoder more than it costs sparse coding with the true atoms.",
            "native",
            f"fall of the column's mean from m / d = 1 to {wide:g}: TopK - basis pursuit",
            paired_interval(loss["topk"], loss["l1"]),
            Above(0.0),
        ),
    ]


def _atoms(table: Table) -> list[Claim]:
    online, topk = (overall(table, name, "mcc_corrected") for name in ("online", "topk"))
    square = np.array([by_seed(table, "recovered_at_90", solver="ica", ratio=1.0, k=k) for k in axes_of(table)[1]])
    sparse = np.array(axes_of(table)[1]) / dimension(table) <= 0.25
    vae = overall(table, "vae", "mcc_corrected")
    return [
        Claim(
            "Without superposition independent components are found.",
            "Comon 1994, Theorem 11",
            "atoms found by ICA at m = d and k/d up to 1/4, worst k",
            mean_interval(square[sparse].min(axis=0)),
            Above(0.9),
            note="Exactly k active features are not independent: the more they are, the less each tells of another.",
        ),
        Claim(
            "The dictionary, too, is found better by sparse coding than by an autoencoder.",
            "native",
            "chance-corrected MCC, mean over the plane: online dictionary learning - TopK",
            paired_interval(online, topk),
            Above(0.0),
        ),
        Claim(
            "A Gaussian VAE finds principal directions, which are not the features.",
            "arXiv:1911.02469, abstract (the optimum of a linear VAE is the principal directions)",
            "chance-corrected MCC, mean over the plane",
            mean_interval(vae),
            Below(0.1),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims: theory and chance, the gaps between known and learned, and the atoms."""
    return [*_theory(table), *_gaps(table), *_atoms(table)]


HEADER = ("solver", "seeds", "correlation of codes", "points above 0.9", "support F1", "chance-corrected MCC", "L0 / k")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: means over the plane with intervals over the seeds."""
    found: list[tuple[str, ...]] = []
    actives = np.array(axes_of(table)[1])[:, None, None]
    for name in (name for line in ROWS for name in line):
        codes = mean_interval(overall(table, name))
        support = mean_interval(overall(table, name, "support_f1"))
        atoms = mean_interval(overall(table, name, "mcc_corrected"))
        share = float((field(table, name).mean(axis=-1) >= 0.9).mean())
        size = float((field(table, name, "l0") / actives).mean())
        found.append(
            (
                f"{NAMES[name]}{', true atoms' if name in KNOWN else ''}",
                str(codes.n),
                f"{codes.mean:.3f} ± {codes.half_width:.3f}",
                f"{share:.0%}",
                f"{support.mean:.3f} ± {support.half_width:.3f}",
                "1" if name in KNOWN else f"{atoms.mean:z.3f} ± {atoms.half_width:.3f}",
                f"{size:.2f}",
            )
        )
    return found
