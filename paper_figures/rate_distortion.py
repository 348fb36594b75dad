"""Bits against distortion: codes beside the exact rate-distortion function, and the shortest description of a world."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.seeds import by_seed, interval
from sparsesim.report.claims import Above, Claim, Near
from sparsesim.report.palette import CEILING, FLOOR, INK, LOOKS, VERMILLION, Look
from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.rate_distortion import RatePoint, spike_gaussian_bounds, spike_gaussian_rate

TITLE = "Bits and distortion: what codes cost, and the shortest description"
QUESTION = "How many bits do codes cost at what distortion, and does the shortest description find the truth?"
CAPTION = (
    "Left and middle: 16 orthonormal features, each active with probability 0.1, normal values. Codes are rounded to 1 "
    "to 16 bins a latent and cost the entropies of their latents; drawn is the lower edge of the points of each method "
    "over its sparsity and the bins (means over worlds). VAEs, trained at five variances of the decoder, draw their "
    "codes; these cost the divergence of the posterior from the prior, Gaussian or with a spike at zero. Black: the "
    "exact rate-distortion function; dashed: that of normal data. Middle: bits spent beyond it with 95% intervals over "
    "worlds, and (dotted) what an even grid with "
    "entropy coding wastes in the limit, log2(2πe/12)/2 an active value. Right: 32 features in 24 dimensions, three "
    "active; bits a sample that MOD + OMP of each width and k needs for an FVU of 0.05, 16 bits a weight shared by the "
    "test samples included; blank: not reached in some world. Ring: the truth; square: the shortest."
)
EPS = 0.1  # rate of the plane's features, checked against the study by a test
SHOWN = {
    "oracle": Look("true atoms + threshold", CEILING, "*"),
    "mod": LOOKS["mod"],
    "topk": LOOKS["topk"],
    "relu_l1": LOOKS["relu_l1"],
    "sign": LOOKS["sign"],
    "vae": LOOKS["vae"].named("VAE, linear"),
    "vsc": LOOKS["vsc"].named("VAE with a spike"),
}
VAES = ("vae", "vsc")  # their codes are drawn, and cost what the posterior diverges from the prior
GRID_LOSS = 0.5 * math.log2(2 * math.pi * math.e / 12)  # bits a value of an even grid with entropy coding, at high rate
FAIR = 0.2  # FVU at which pursuit and autoencoder are compared
RULE = "arXiv:2410.11179"
Point = tuple[np.ndarray, np.ndarray]  # bits and FVU by seed


@cache
def curve() -> tuple[tuple[float, RatePoint], ...]:
    """Return slopes in nats and points of the rate-distortion function of one entry of variance 1 where active."""
    return tuple((float(s), spike_gaussian_rate(EPS, 1.0, float(s))) for s in np.geomspace(0.55, 200.0, 16))


def rate_floor(fvu: np.ndarray, m: int) -> np.ndarray:
    """Return a lower bound on the bits a sample of m entries at these FVU: the highest tangent of the curve."""
    distortion = EPS * np.asarray(fvu, dtype=np.float64)[..., None]
    slopes, known = np.array([s for s, _ in curve()]), [point for _, point in curve()]
    places, lower = np.array([p.distortion for p in known]), np.array([p.lower for p in known])
    return np.asarray(m * np.maximum((lower - slopes * (distortion - places) / math.log(2.0)).max(axis=-1), 0.0))


def size(table: Table) -> int:
    """Return m of the plane, the width of its true atoms."""
    return int(table.where(part="plane", solver="oracle").column("width")[0])


def bins(table: Table) -> list[int]:
    """Return the numbers of bins of the table."""
    return sorted(int(name.split("_")[1]) for name in table.columns if name.startswith("bits_"))


def points(table: Table, solver: str) -> list[Point]:
    """Return bits and FVU by seed of every knob and number of bins of a method in the plane."""
    own, found = table.where(part="plane", solver=solver), []
    for knob in own.levels("knob"):
        one = own.where(knob=knob)
        order = np.argsort(one.column("seed"))
        if solver in VAES:
            found.append((one.column("drawn_bits")[order], one.column("drawn_fvu")[order]))
            continue
        found += [(one.column(f"bits_{count}")[order], one.column(f"fvu_{count}")[order]) for count in bins(table)]
    return found


def edge(table: Table, solver: str) -> list[Point]:
    """Return the points of a method that no other of its points beats in both means, by falling FVU."""
    means = [(float(b.mean()), float(f.mean()), (b, f)) for b, f in points(table, solver)]
    kept: list[Point] = []
    for _bits, fvu, point in sorted(means, key=lambda one: one[:2]):
        if fvu < 1.0 and all(fvu < other[1].mean() for other in kept):
            kept.append(point)
    return kept


def least_bits(table: Table, solver: str, fvu: float) -> np.ndarray:
    """Return by seed the bits of the cheapest point of a method whose mean FVU is at most ``fvu``."""
    good = [bits for bits, left in points(table, solver) if left.mean() <= fvu]
    if not good:
        return np.full(len(points(table, solver)[0][0]), np.nan)
    return min(good, key=lambda bits: float(bits.mean()))


def saved(table: Table, dear: str, cheap: str, fvu: float) -> Interval:
    """Return the bits that one method needs more than another for an FVU; undecided where one does not reach it."""
    more, less = (least_bits(table, solver, fvu) for solver in (dear, cheap))
    if not np.isfinite([more, less]).all():
        return Interval(np.nan, np.nan, np.nan, len(more))
    return paired_interval(more, less)


def gaps(table: Table, solver: str) -> list[np.ndarray]:
    """Return by seed the bits beyond the rate-distortion function of every point on the edge."""
    return [bits - rate_floor(fvu, size(table)) for bits, fvu in edge(table, solver)]


def normal_bits(fvu: np.ndarray, m: int) -> np.ndarray:
    """Return bits a sample of the rate-distortion function of m normal entries of one variance at these FVU."""
    return np.asarray(0.5 * m * np.log2(1.0 / fvu))


def draw(table: Table) -> Figure:
    """Return the figure: the plane, what is spent beyond the bound, and the map of description lengths."""
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.95))
    _plane(left, table)
    _excess(middle, table)
    _map(right, table)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _plane(axes: Axes, table: Table) -> None:
    m, known = size(table), [point for _, point in curve()]
    fvu = np.array([p.distortion for p in known]) / EPS
    axes.plot(m * np.array([p.upper for p in known]), fvu, color=INK, lw=1.2, label="R(D), exact")
    axes.plot(normal_bits(fvu, m), fvu, color=FLOOR, ls="--", lw=1.0, label="R(D) of normal data")
    for name, look in SHOWN.items():
        shown = edge(table, name)
        x, y = [float(b.mean()) for b, _ in shown], [float(f.mean()) for _, f in shown]
        large = 6 if look.marker == "*" else 4
        axes.plot(
            x, y, look.marker, ls="-", lw=0.8, color=look.colour, ms=large, mec="white", mew=0.2, label=look.label
        )
    axes.set_yscale("log")
    axes.set_ylim(3e-3, 1.1)
    axes.set_xlim(0, 34)
    axes.set_xlabel("bits a sample")
    axes.set_ylabel("variance unexplained")
    axes.set_title(f"{m} features, {m * EPS:g} active", fontsize=8)
    axes.grid()


def _excess(axes: Axes, table: Table) -> None:
    m = size(table)
    for name, look in SHOWN.items():
        places = [float(f.mean()) for _, f in edge(table, name)]
        values = [mean_interval(gap) for gap in gaps(table, name)]
        axes.vlines(places, [v.low for v in values], [v.high for v in values], color=look.colour, lw=1.0)
        means = [v.mean for v in values]
        large = 6 if look.marker == "*" else 4
        axes.plot(places, means, look.marker, ls="-", lw=0.8, color=look.colour, ms=large, mec="white", mew=0.2)
    axes.axhline(m * EPS * GRID_LOSS, color=CEILING, ls=":", lw=1.0)
    axes.set_xscale("log")
    axes.set_xlim(1.1, 3e-3)
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    axes.set_ylim(-0.1, 40)
    axes.set_yticks([0, 0.5, 1, 10], ["0", "1/2", "1", "10"])
    axes.set_xlabel("variance unexplained")
    axes.set_ylabel("bits beyond R(D)")
    axes.set_title("what is spent beyond the bound", fontsize=8)
    axes.grid()


def lengths(table: Table) -> tuple[list[int], list[int], np.ndarray]:
    """Return widths, numbers of active atoms, and bits ``(widths, active, seeds)``, NaN where nothing is good."""
    own = table.where(part="map", solver="mod")
    widths, active = sorted(map(int, own.levels("width"))), sorted(map(int, own.levels("knob")))
    found = [[by_seed(own, "shortest", width=w, knob=k) for k in active] for w in widths]
    return widths, active, np.array(found)


def truth(table: Table) -> tuple[int, int]:
    """Return the width and number of active atoms of the map's world."""
    own = table.where(part="map", solver="oracle")
    return int(own.column("width")[0]), int(own.column("knob")[0])


def chosen(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return width and number of active atoms of the shortest description, seed by seed."""
    widths, active, bits = lengths(table)
    flat = np.where(np.isnan(bits), np.inf, bits).reshape(-1, bits.shape[-1]).argmin(axis=0)
    return np.array(widths)[flat // len(active)], np.array(active)[flat % len(active)]


def _map(axes: Axes, table: Table) -> None:
    widths, active, bits = lengths(table)
    shown = bits.mean(axis=-1)  # NaN where some world does not reach the tolerance
    image = axes.imshow(shown.T, origin="lower", aspect="auto", cmap="viridis_r")
    for i in range(len(widths)):
        for j in range(len(active)):
            if np.isfinite(shown[i, j]):
                dark = shown[i, j] > np.nanmean(shown)
                axes.text(i, j, f"{shown[i, j]:.1f}", ha="center", va="center", fontsize=6,
                          color="white" if dark else "black")  # fmt: skip
    m, k = truth(table)
    axes.plot(widths.index(m), active.index(k), "o", ms=17, mfc="none", mec=VERMILLION, mew=1.4)
    least = divmod(int(np.nanargmin(shown)), len(active))
    axes.plot(*least, "s", ms=20, mfc="none", mec="black", mew=0.9)
    axes.set_xticks(range(len(widths)), [str(w) for w in widths])
    axes.set_yticks(range(len(active)), [str(a) for a in active])
    axes.set_xlabel("atoms")
    axes.set_ylabel("active atoms k")
    axes.set_title(f"bits at FVU 0.05; m = {m}, k = {k}", fontsize=8)
    axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02).outline.set_visible(False)


def claims(table: Table) -> list[Claim]:
    """Return the claims: the bound, the price of an even grid, of no sparsity, and the shortest description."""
    return [*_bounds(table), *_solvers(table), *_variational(table), *_shortest(table)]


def _bounds(table: Table) -> list[Claim]:
    """Return the claims on the bound, and on what true codes spend beyond it."""
    m = size(table)
    every = np.stack([bits - rate_floor(fvu, m) for name in SHOWN for bits, fvu in points(table, name)])
    fine = bins(table)[-1]
    exact = table.where(part="plane", solver="oracle", knob=0.0)
    bits, fvu = by_seed(exact, f"bits_{fine}"), by_seed(exact, f"fvu_{fine}")
    sent = bits - m * np.array([spike_gaussian_bounds(EPS, 1.0, EPS * float(one))[1] for one in fvu])
    kept = [
        gap for gap, (_, left) in zip(gaps(table, "oracle"), edge(table, "oracle"), strict=True) if left.mean() < 0.1
    ]
    return [
        Claim(
            "No code spends fewer bits than the rate-distortion function of the features.",
            "theorem; theory.rate_distortion.spike_gaussian_rate",
            "bits a sample - R(D), the least over methods, settings and bins",
            mean_interval(every.min(axis=0)),
            Above(-0.05),
            note="frequencies are those of the batch, which saves of order (symbols) / (2 n ln 2) bits a latent",
        ),
        Claim(
            "On an even grid with entropy coding, codes of exact support waste log2(2πe/12)/2 bits an active value.",
            "Gish, Pierce 1968; theory.rate_distortion.spike_gaussian_bounds",
            f"bits of the true codes in {fine} bins - h(p) - p/2 log2(p/D), all features (theory: "
            f"{m * EPS * GRID_LOSS:.3f})",
            mean_interval(sent),
            Near(m * EPS * GRID_LOSS, 0.15),  # the share that is active varies between samples, by 0.07 bits
            tier="laptop",
        ),
        Claim(
            "Dropping small values pays: the support need not be sent whole, even at a few thousandths of distortion.",
            "native; theory.rate_distortion.spike_gaussian_rate",
            "bits beyond R(D), true codes whole - the best threshold below an FVU of 0.1",
            paired_interval(bits - rate_floor(fvu, m), np.min(kept, axis=0)),
            Above(0.0),
            tier="laptop",
        ),
    ]


def _solvers(table: Table) -> list[Claim]:
    """Return the claims on who describes in fewer bits."""
    m = size(table)
    reached = float(min(fvu.mean() for bits, fvu in edge(table, "sign") if bits.mean() <= m * 1.01))
    return [
        Claim(
            "One bit a dimension without sparsity costs more than sparse codes of its distortion.",
            "native",
            f"bits of one bit a dimension - of TopK at an FVU of at most as much, {reached:.2f}",
            saved(table, "sign", "topk", reached),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "A pursuit describes in fewer bits than an autoencoder of one pass.",
            "native",
            f"bits of TopK - of MOD + OMP, at an FVU of at most {FAIR:g}",
            saved(table, "topk", "mod", FAIR),
            Above(0.0),
            tier="laptop",
        ),
        Claim(
            "Where the number of active features varies, a threshold describes in fewer bits than a fixed number.",
            "native",
            f"bits of MOD + OMP - of ReLU + L1, at an FVU of at most {FAIR / 2:g}",
            saved(table, "mod", "relu_l1", FAIR / 2),
            Above(0.0),
            tier="laptop",
        ),
    ]


def _variational(table: Table) -> list[Claim]:
    m = size(table)
    beyond = [bits - normal_bits(fvu, m) for bits, fvu in points(table, "vae")]
    farthest = max(beyond, key=lambda gap: abs(float(gap.mean())))
    saving = [normal_bits(fvu, m) - bits for bits, fvu in points(table, "vsc")]
    least = min(saving, key=lambda gap: float(gap.mean()))
    return [
        Claim(
            "A linear variational autoencoder is on the rate-distortion function of normal data, whatever the data.",
            "arXiv:1911.02469, for the optimum; theory.vae (reverse water-filling)",
            "bits of the divergence - R(D) of normal data, at the noise where it is farthest from 0",
            mean_interval(farthest),
            Near(
                0.0, 0.3
            ),  # variances of 20,000 sparse samples are 4% off, of 16 dimensions together 0.11 bits a world
            tier="laptop",
        ),
        Claim(
            "With a spike in the prior a variational autoencoder spends fewer bits than any code of normal data.",
            "native; theory.rate_distortion.spike_gaussian_rate",
            "R(D) of normal data - bits of the divergence, at the noise where that is least",
            mean_interval(least),
            Above(0.0),
            tier="laptop",
        ),
    ]


def _shortest(table: Table) -> list[Claim]:
    m, k = truth(table)
    widths, active = chosen(table)
    known = interval(table, "shortest", part="map", solver="oracle")
    _, _, bits = lengths(table)
    return [
        Claim(
            "The shortest description has the true width.",
            f"{RULE}, for the rule",
            f"atoms of the shortest description over the true {m}",
            mean_interval(widths / m),
            Near(1.0, 0.1),
            tier="laptop",
        ),
        Claim(
            "The shortest description has the true number of active atoms.",
            f"{RULE}, for the rule",
            f"active atoms of the shortest description - the true {k}",
            mean_interval(active - k),
            Near(0.0, 0.25),
            tier="laptop",
        ),
        Claim(
            "What is learned describes as briefly as the truth.",
            "native",
            f"bits of the shortest description - of the true atoms ({known.mean:.2f})",
            paired_interval(np.nanmin(bits, axis=(0, 1)), by_seed(table, "shortest", part="map", solver="oracle")),
            Near(0.0, 0.5),
            tier="laptop",
        ),
    ]


HEADER = ("part", "method", "width", "knob", "worlds", "bits at FVU 0.05", "bits, 16 bins", "FVU", "MCC", "chance")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the worlds where all have a number."""
    found: list[tuple[str, ...]] = []
    for part in ("plane", "map"):
        for name, look in SHOWN.items():
            own = table.where(part=part, solver=name)
            for width, knob in sorted({(float(row["width"]), float(row["knob"])) for row in own.rows()}):
                one = own.where(width=width, knob=knob)

                def show(metric: str, one: Table = one) -> str:
                    values = one.column(metric)
                    if not np.isfinite(values).all():
                        return ""
                    value = mean_interval(values)
                    return f"{value.mean:.3f} ± {value.half_width:.3f}"

                columns = ("shortest", "bits_16", "fvu_16", "mcc", "mcc_chance")
                found.append(
                    (part, look.label, f"{width:g}", f"{knob:g}", str(len(one)), *(show(column) for column in columns))
                )
    return found
