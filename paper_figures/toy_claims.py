"""What is read of the table of toy models, and the claims on it."""

from __future__ import annotations

import numpy as np

from paper_figures.seeds import by_seed
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.study.interval import mean_interval, paired_interval
from sparsesim.study.table import Table
from theory.capacity import STICKY_FRACTIONS
from theory.toy_model import antipodal_loss, dropped_loss, polygon_optimum, superposition_interval

SOURCE = "arXiv:2209.10652"
PAIRED = -0.3  # W_1 W_2 below which a model counts as an antipodal pair, for which it is near -1; dropped is 0
PLATEAU = 0.03  # D* within this of a value counts as on it
NEAR = 1.01  # times the optimal loss: a model counts as having reached it
BESIDE = 0.15  # how far beside a plateau a smooth curve is compared
WORDS = {
    "tetrahedron": "tetrahedra",
    "triangle": "triangles",
    "digon": "antipodal pairs",
    "pentagon": "pentagons",
    "square antiprism": "square antiprisms",
}


def densities(table: Table, part: str) -> list[float]:
    """Return the densities of a part of the table, ascending."""
    return sorted(float(value) for value in table.where(part=part).levels("density"))


def levels(table: Table) -> list[float]:
    """Return the densities of the models of equal features, descending."""
    return densities(table, "uniform")[::-1]


def gram(table: Table, density: float) -> np.ndarray:
    """Return W W^T ``(20, 20)`` of the first seed at ``density``, from the lower triangle in the table."""
    rows = table.where(part="matrix", density=density, seed=0)
    features = rows.column("feature")
    order = np.argsort(features)[np.sort(features) >= 0]
    lower = np.array([rows.column(f"gram_{j}")[order] for j in range(len(order))]).T
    lower = np.where(np.tri(len(order), dtype=bool), lower, 0.0)
    return np.asarray(lower + np.tril(lower, -1).T)


def grid(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the densities and the relative importances of the plane, ascending."""
    ratios = sorted(float(value) for value in table.where(part="plane").levels("importance"))
    return np.array(densities(table, "plane")), np.array(ratios)


def plane(table: Table, metric: str, part: str = "plane") -> np.ndarray:
    """Return ``metric`` over the plane, ``(densities, importances, seeds)``, all ascending.

    The part "optimum" has the exact optimum, once for all seeds.

    Raises
    ------
    ValueError
        If a point lacks a seed that another has.
    """
    rows = table.where(part=part).sorted(("density", "importance", "seed"))
    p, ratios = grid(table)
    if len(rows) % (len(p) * len(ratios)):
        raise ValueError(f"the plane must have the same seeds at all {len(p)} x {len(ratios)} points; got {len(rows)}.")
    return rows.column(metric).reshape(len(p), len(ratios), -1)


def named(density: float, importance: float) -> dict[str, float]:
    """Return the losses of the named solutions for two features of importances 1 and ``importance``."""
    return {
        "drop the second": dropped_loss(density, importance),
        "drop the first": dropped_loss(density),
        "antipodal": antipodal_loss(density, importance),
    }


def _dense(table: Table) -> list[Claim]:
    p = densities(table, "matrix")
    kept = {
        density: by_seed(table, "represented", part="matrix", density=density, feature=-1) for density in (p[0], p[-1])
    }
    return [
        Claim(
            "With dense features the model keeps as many of the most important features as it has dimensions.",
            f"{SOURCE}, section 2",
            "features represented of 20 in 5 dimensions at p = 1",
            mean_interval(kept[p[-1]]),
            Near(5.0, 0.5),
        ),
        Claim(
            "With sparse features it represents more features than it has dimensions.",
            f"{SOURCE}, section 2",
            f"features represented at p = {p[0]:g}, less those at p = 1",
            paired_interval(kept[p[0]], kept[p[-1]]),
            Above(0.0),
        ),
    ]


def _against_theory(table: Table) -> list[Claim]:
    found, optimum = plane(table, "loss"), plane(table, "optimal_loss", "optimum")
    paired, exact = plane(table, "product") < PAIRED, plane(table, "optimal_product", "optimum") < PAIRED
    p, ratios = grid(table)
    starts = (
        f"each model is the better of a few starts: {(found / optimum > NEAR).sum()} of {found.size} stay more than 1% "
        "above the optimum. With 16 starts at least 19 of 20 of these reach it: a slow test trains them again"
    )
    best_named = np.array([[min(named(float(x), float(y)).values()) for y in ratios] for x in p])
    return [
        Claim(
            "Training finds a solution no worse than the best of: drop either feature, or store both as a pair.",
            f"{SOURCE}, phase diagram; theory.toy_model",
            "largest loss over that of the best named solution, over the plane",
            mean_interval((found / best_named[:, :, None]).max(axis=(0, 1))),
            Below(NEAR),
            note=starts,
        ),
        Claim(
            "Training reaches the exact optimum of two features in one dimension.",
            "calibration",
            "mean loss over the optimal loss, over the plane",
            mean_interval((found / optimum).mean(axis=(0, 1))),
            Near(1.0, 0.01),
            note=starts,
        ),
        Claim(
            "Trained models pair the features where the exact optimum does, and nowhere else.",
            f"{SOURCE}, phase diagram",
            "share of the plane in which a trained model and the optimum agree",
            mean_interval((paired == exact).mean(axis=(0, 1))),
            Above(0.95),
        ),
    ]


def threshold(table: Table, density: float) -> np.ndarray:
    """Return log10 of the relative importance, below 1, at which a pair replaces dropping, for each seed.

    The mean over both sides of the plane, which mirror each other; points stand for the steps around them.
    """
    p, ratios = grid(table)
    height = np.log10(ratios)
    step = height[1] - height[0]
    products = plane(table, "product")[int(np.searchsorted(p, density))]
    dropped = (products >= PAIRED).sum(axis=0) / 2.0  # on each side
    return np.asarray(height[0] - step / 2 + step * dropped)


def _boundary(table: Table) -> list[Claim]:
    p, ratios = grid(table)
    step = float(np.log10(ratios[1] / ratios[0]))
    lows = {float(one): float(np.log10(superposition_interval(float(one))[0])) for one in p if one < 4 / 7}
    inside = {one: low for one, low in lows.items() if np.log10(ratios[0]) + step < low < -step}
    if not inside:
        return []
    gaps = np.array([threshold(table, density) - low for density, low in inside.items()])
    sharpest, where = min(inside), ", ".join(f"{one:g}" for one in inside)
    column = plane(table, "product")[int(np.searchsorted(p, sharpest))][ratios <= 1.0]
    return [
        Claim(
            "Whether a feature is stored in superposition changes where the losses of the two strategies cross.",
            f"{SOURCE}, phase diagram; r = 2 p / (4 - 5 p)",
            f"log10 of the importance at the change, less that of theory, mean over p = {where}",
            mean_interval(gaps.mean(axis=0)),
            Near(0.0, step / 2),
        ),
        Claim(
            "The change is sudden, a phase change.",
            f"{SOURCE}, phase diagram",
            f"largest jump of -W₁W₂ between neighbouring importances at p = {sharpest:g}",
            mean_interval(np.abs(np.diff(column, axis=0)).max(axis=0)),
            Above(0.5),
        ),
    ]


def _polygons(table: Table) -> list[Claim]:
    found = []
    for k in sorted(int(value) for value in table.where(part="polygon").levels("m")):
        value, theory = by_seed(table, "loss", part="polygon", m=k), polygon_optimum(k)[0]
        if theory < 1e-9:
            found.append(
                Claim(
                    f"{k} features fit into a plane without loss as long as one is active at a time.",
                    "theory.toy_model",
                    f"loss of {k} features in the plane",
                    mean_interval(value),
                    Near(0.0, 1e-6),
                )
            )
            continue
        found.append(
            Claim(
                "Of over four features in a plane, one active at a time, the best arrangement is a regular polygon.",
                f"{SOURCE}, geometry; theory.toy_model",
                f"lowest loss over all starts over that of the regular polygon, k = {k}",
                mean_interval(value / theory),
                Near(1.0, 0.02),
            )
        )
    return found


def _on(table: Table, value: float) -> np.ndarray:
    """Return at how many densities D* lies on ``value``, for each seed."""
    found = [by_seed(table, "hidden_per_feature", part="uniform", density=p, feature=-1) for p in levels(table)]
    return np.asarray((np.abs(np.array(found) - value) <= PLATEAU).sum(axis=0))


def line(table: Table, name: str) -> np.ndarray:
    """Return features on the line of an arrangement less those beside it, over all densities, for each seed."""
    word = name.replace(" ", "_")
    surplus = [
        by_seed(table, f"at_{word}", part="uniform", density=p, feature=-1)
        - by_seed(table, f"beside_{word}", part="uniform", density=p, feature=-1)
        for p in levels(table)
    ]
    return np.asarray(np.sum(surplus, axis=0))


def _uniform(table: Table) -> list[Claim]:
    beside = (_on(table, 0.5 - BESIDE) + _on(table, 0.5 + BESIDE)) / 2.0
    found = [
        Claim(
            "The number of dimensions per feature sticks at 1/2 as features become sparser.",
            f"{SOURCE}, geometry",
            f"densities at which D* is within {PLATEAU:g} of 1/2, less the mean of those at {BESIDE:g} beside it",
            paired_interval(_on(table, 0.5), beside),
            Above(0.0),
        )
    ]
    for name, word in WORDS.items():
        found.append(
            Claim(
                "The dimensionalities of single features cluster at the fractions of regular arrangements.",
                f"{SOURCE}, geometry",
                f"features within 0.005 of {STICKY_FRACTIONS[name]:.3g} ({word}), less those in intervals beside it",
                mean_interval(line(table, name)),
                Above(0.0),
                note="Training is the reason, not size (tested): at a density of 0.65 five triangles side by side, at "
                "0.7 three tetrahedra and a feature alone, leave less than what training finds, and a thirtieth of its "
                "steps keeps them; its own steps dissolve them. 200 features in 20 dimensions have none either.",
            )
        )
    return found


def claims(table: Table) -> list[Claim]:
    """Return the claims on the matrices, the plane, the polygons and equal features."""
    return [*_dense(table), *_against_theory(table), *_boundary(table), *_polygons(table), *_uniform(table)]
