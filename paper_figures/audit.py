"""Which numbers that need no true atom rank autoencoders as the truth does, and which a new seed would turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.seeds import by_seed, rank_correlation
from sparsesim.report.claims import Above, Below, Claim
from sparsesim.report.palette import CEILING, FLOOR, LOOKS, MIST, SLATE, look
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table

TITLE = "Audit: which reported numbers rank autoencoders as the truth does?"
QUESTION = "Where the true features are unknown, which of the numbers that are reported can be trusted?"
CAPTION = (
    "Five architectures at three numbers of active latents after three lengths of training, in a hierarchy and under "
    "rates of a power law. Left: share of the features' firings that their latents detect (F1) against the explained "
    "variance, and against TPP, of the hierarchy, means over seeds; larger markers are longer trainings, the cross is "
    "a random dictionary, the star the true atoms with matching pursuit. Middle: rank correlation over the panel of "
    "each number with F1, means and 95% intervals over seeds, filled for the hierarchy, open for rates of a power law. "
    "Green: another score that knows the truth, MCC above chance; grey: 95% of orders at random. Right: the same "
    "between autoencoders of one architecture only, a mean over architectures, and of one length of training only, a "
    "mean over lengths. Numbers of which less is better are taken negative."
)
TRUTH = "latent_f1"
CHECK = "mcc_corrected"
NUMBERS: dict[str, tuple[str, float]] = {
    CHECK: ("MCC above chance (knows the truth)", 1.0),
    "seed_agreement": ("PW-MCC of two fits", 1.0),
    "explained_variance": ("explained variance", 1.0),
    "dead_fraction": ("dead latents (−)", -1.0),
    "decoder_coherence": ("mean |cos| of atoms (−)", -1.0),
    "probe_auc_1": ("AUC of one latent", 1.0),
    "probe_auc_5": ("AUC of five latents", 1.0),
    "tpp_1": ("TPP, 1 latent", 1.0),
    "tpp_5": ("TPP, 5 latents", 1.0),
    "tpp_20": ("TPP, 20 latents", 1.0),
    "scr_1": ("SCR, 1 latent", 1.0),
    "scr_5": ("SCR, 5 latents", 1.0),
    "scr_20": ("SCR, 20 latents", 1.0),
}
WORLDS = {"tree": "hierarchy", "zipf": "rates of a power law"}
SOLVERS = ("topk", "batch_topk", "matryoshka", "relu_l1", "jump_relu")
PROBED = ("tpp_1", "tpp_5", "tpp_20", "scr_1", "scr_5", "scr_20")
ORDERS, STREAM = 2_000, 12


def panel(table: Table, world: str, metric: str) -> np.ndarray:
    """Return ``metric`` by architecture, autoencoder and seed, ``(5, points x lengths, seeds)``."""
    found = []
    for name in SOLVERS:
        own = table.where(world=world, solver=name)
        order = np.lexsort([own.column(key) for key in ("seed", "steps", "point")])
        found.append(own.column(metric)[order].reshape(-1, len(own.levels("seed"))))
    return np.array(found)


def overall(table: Table, world: str, metric: str, truth: str = TRUTH) -> np.ndarray:
    """Return the rank correlation of ``metric`` with the truth over the panel, by seed."""
    sign = NUMBERS[metric][1]
    first, second = (panel(table, world, name) for name in (metric, truth))
    first, second = (one.reshape(-1, one.shape[-1]) for one in (first, second))
    return rank_correlation(sign * first, second)


def within(table: Table, world: str, metric: str, truth: str = TRUTH) -> np.ndarray:
    """Return the rank correlation between autoencoders of one architecture, a mean over architectures, by seed."""
    sign = NUMBERS[metric][1]
    first, second = (panel(table, world, name) for name in (metric, truth))
    found = [rank_correlation(sign * one, two) for one, two in zip(first, second, strict=True)]
    return np.asarray(np.mean(found, axis=0))


def alike(table: Table, world: str, metric: str) -> np.ndarray:
    """Return the rank correlation between autoencoders of one length of training, a mean over lengths, by seed."""
    return np.asarray(np.mean([overall(one, world, metric) for one in _lengths(table, world)], axis=0))


def _lengths(table: Table, world: str) -> list[Table]:
    """Return the rows of each length of training, the shortest first."""
    own = table.where(world=world, solver=SOLVERS[0])
    return [table.where(steps=steps) for steps in sorted(int(steps) for steps in own.levels("steps"))]


def along(table: Table, world: str, metric: str) -> np.ndarray:
    """Return the rank correlation of ``metric`` with the length of training, a mean over the rest, by seed."""
    values = NUMBERS[metric][1] * panel(table, world, metric)
    lengths = len(table.where(world=world, solver=SOLVERS[0]).levels("steps"))
    runs = values.reshape(-1, lengths, values.shape[-1])
    time = np.tile(np.arange(lengths)[:, None], runs.shape[-1])
    return np.asarray(np.mean([rank_correlation(time, one) for one in runs], axis=0))


def chance(table: Table, world: str, groups: int = 1) -> float:
    """Return what 95% of means over seeds stay below in size, were orders within ``groups`` of the panel random."""
    kinds, count, seeds = panel(table, world, TRUTH).shape
    size, repeats = kinds * count // groups, groups * seeds
    rng, order = np.random.default_rng(STREAM), np.arange(size * repeats).reshape(repeats, size).T % size
    drawn = [rank_correlation(rng.permuted(order, axis=0), order).mean() for _ in range(ORDERS)]
    return float(np.quantile(np.abs(drawn), 0.95))


def _scatter(axes: Axes, table: Table, world: str, metric: str) -> None:
    own = table.where(world=world)
    for name in SOLVERS:
        rows = own.where(solver=name)
        for length, size in zip(sorted(set(rows.column("steps").tolist())), (9, 22, 42), strict=False):
            points = rows.where(steps=int(length))
            x, y = (_means(points, one) for one in (metric, TRUTH))
            axes.scatter(x, y, size, look(name).colour, marker=look(name).marker, lw=0.4, edgecolors="white")
    for name, colour, marker in (("random", FLOOR, "x"), ("oracle", CEILING, "*")):
        x, y = (_means(own.where(solver=name), one) for one in (metric, TRUTH))
        axes.scatter(x, y, 34, colour, marker=marker, lw=1.0)
    axes.set_xlabel({"explained_variance": "explained variance", "tpp_5": "TPP, 5 latents"}[metric])
    axes.set_ylim(0, 1.03)


def _means(table: Table, metric: str) -> np.ndarray:
    points = sorted({int(point) for point in table.column("point")})
    return np.array([table.where(point=point).column(metric).mean() for point in points])


def _ranks(axes: Axes, table: Table, of: Callable[[Table, str, str], np.ndarray], groups: int) -> None:
    worlds = _known(table)
    limit = max(chance(table, world, groups) for world in worlds)
    axes.axvspan(-limit, limit, color=MIST, lw=0)
    for row, metric in enumerate(NUMBERS):
        colour = CEILING if metric == CHECK else SLATE
        for world, shift in zip(worlds, (-0.17, 0.17), strict=False):
            value = mean_interval(of(table, world, metric))
            face = colour if world == "tree" else "white"
            axes.plot([value.low, value.high], [row + shift] * 2, color=colour, lw=1.1)
            axes.plot(value.mean, row + shift, "o" if world == "tree" else "s", color=colour, mfc=face, ms=4, mew=0.9)
    axes.axvline(0.0, color=SLATE, lw=0.7)
    axes.set_xlim(-1, 1.05)
    axes.set_ylim(len(NUMBERS) - 0.5, -0.5)
    axes.set_yticks(range(len(NUMBERS)), [label for label, _ in NUMBERS.values()], fontsize=7)
    axes.set_xlabel("rank corr. with F1", fontsize=8)
    axes.grid(axis="x")


def draw(table: Table) -> Figure:
    """Return the figure: two numbers against the truth, and rank correlations over the panel and within it."""
    figure = Figure(figsize=(7.4, 4.0), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=(1.25, 1.0, 1.0, 1.0))
    world = _known(table)[0]
    upper, lower = (figure.add_subplot(grid[row, 0]) for row in (0, 1))
    for axes, metric in ((upper, "explained_variance"), (lower, "tpp_5")):
        _scatter(axes, table, world, metric)
        axes.grid()
        axes.set_ylabel("F1 of the latents")
    shown = (
        ("all", overall, 1),
        ("one architecture", within, len(SOLVERS)),
        ("one length", alike, len(_lengths(table, world))),
    )
    for column, (title, of, groups) in enumerate(shown):
        axes = figure.add_subplot(grid[:, column + 1])
        _ranks(axes, table, of, groups)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelleft=not column)
    handles = [_handle(look(name).label, look(name).colour, look(name).marker) for name in SOLVERS]
    handles += [_handle("random dictionary", FLOOR, "x"), _handle(LOOKS["oracle_omp"].label, CEILING, "*")]
    figure.legend(handles=handles, loc="outside lower center", ncol=4, frameon=False, fontsize=7)
    return figure


def _handle(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, ls="", ms=5, label=label)


def _known(table: Table) -> list[str]:
    """Return the worlds of which there are rows; a small tier has one."""
    return [world for world in WORLDS if len(table.where(world=world))]


def _extreme(table: Table, of: Callable[[str], np.ndarray], choose: Callable[..., str]) -> tuple[str, Interval]:
    """Return the world with the least or largest mean of ``of (world)``, as ``choose`` says, and that by seeds."""
    found = {world: mean_interval(of(world)) for world in _known(table)}
    world = choose(found, key=lambda one: found[one].mean)
    return WORLDS[world], found[world]


def _lead(table: Table, world: str, metric: str, others: tuple[str, ...]) -> np.ndarray:
    """Return by how much the rank correlation of ``metric`` exceeds that of the best of ``others``, by seed."""
    rival = max(others, key=lambda one: overall(table, world, one).mean())
    return overall(table, world, metric) - overall(table, world, rival)


def _excess(table: Table, world: str, metric: str) -> np.ndarray:
    """Return by how much the autoencoder with the best mean of ``metric`` exceeds the true atoms, by seed."""
    values = panel(table, world, metric)
    values = values.reshape(-1, values.shape[-1])
    best = values[values.mean(axis=-1).argmax()]
    return np.asarray(best - by_seed(table, metric, world=world, solver="oracle", point=1))


def _ranking(table: Table, metric: str, choose: Callable[..., str]) -> tuple[str, Interval]:
    """Return the rank correlation with F1 in the world that ``choose`` takes, and that world in words."""
    world, found = _extreme(table, lambda one: overall(table, one, metric), choose)
    return f"rank correlation of {NUMBERS[metric][0]} and F1, {world} ({_SIDE[choose]} of both)", found


_SIDE: dict[Callable[..., str], str] = {min: "lower", max: "higher"}


def _against(table: Table) -> list[Claim]:
    """Return the claims of the literature about the numbers that should not be used."""
    longer = _extreme(table, lambda world: along(table, world, "tpp_20"), max)
    rises = [_extreme(table, lambda world, name=name: along(table, world, name), min)[1] for name in PROBED[:3]]
    equal = [
        float(overall(one, world, "explained_variance").mean())
        for world in _known(table)
        for one in _lengths(table, world)
    ]
    return [
        Claim(
            "Spurious correlation removal does not tell good autoencoders from bad ones.",
            "arXiv:2605.18229, abstract",
            *_ranking(table, "scr_20", max),
            Below(0.5),
        ),
        Claim(
            "With many latents spurious correlation removal ranks against the truth.",
            "arXiv:2605.18229, validity on synthetic autoencoders (second-hand)",
            *_ranking(table, "scr_20", max),
            Below(0.0),
        ),
        Claim(
            "Targeted probe perturbation does not tell good autoencoders from bad ones.",
            "arXiv:2605.18229, abstract",
            *_ranking(table, "tpp_20", max),
            Below(0.5),
        ),
        Claim(
            "Targeted probe perturbation falls as training goes on.",
            "arXiv:2605.18229, training trajectories (second-hand)",
            f"rank correlation of TPP, 20 latents, with the steps trained, {longer[0]} (higher of both)",
            longer[1],
            Below(0.0),
            note="The source is of language models, whose classes have many features. A label is one feature here, and "
            "TPP rises with training whether 1, 5 or 20 latents are ablated: at least "
            f"{', '.join(f'{one.mean:.2f}' for one in rises)}. Classes of many features were not tried.",
        ),
        Claim(
            "Reconstruction does not tell which autoencoder has found the features.",
            "arXiv:2602.14687, abstract: disconnect of reconstruction and latent quality",
            *_ranking(table, "explained_variance", max),
            Below(0.5),
            note="What it tells is how long a model was trained: between autoencoders of one length the correlation is "
            f"{min(equal):.2f} to {max(equal):.2f} (tested: right panel).",
        ),
    ]


def _in_favour(table: Table) -> list[Claim]:
    """Return the claims about the numbers that are to be trusted, and what the truth scores in one that is not."""
    rivals = ("explained_variance", *PROBED)
    lead = _extreme(table, lambda world: _lead(table, world, "probe_auc_1", rivals), min)
    inner = _extreme(table, lambda world: within(table, world, "seed_agreement"), min)
    many = [
        _extreme(table, lambda world, name=name: _lead(table, world, "probe_auc_1", (name,)), min)[1]
        for name in ("tpp_20", "scr_20")
    ]
    equal = [mean_interval(alike(table, world, "seed_agreement")).mean for world in _known(table)]
    excess = _extreme(table, lambda world: _excess(table, world, "scr_20"), min)
    return [
        Claim(
            "Two scores that know the truth agree on the order.",
            "calibration",
            *_ranking(table, CHECK, min),
            Above(0.7),
        ),
        Claim(
            "Probes on few latents are the most reliable of the benchmark's numbers.",
            "arXiv:2605.18229, abstract",
            f"rank correlation of AUC of one latent − best of variance, TPP and SCR, {lead[0]} (lower of both)",
            lead[1],
            Above(0.0),
            note="Each label is one feature here, whose atom TPP finds with one latent. Where 20 are ablated the probe "
            f"leads TPP by {many[0].mean:.2f} and SCR by {many[1].mean:.2f} at least.",
        ),
        Claim(
            "Agreement of two fits ranks autoencoders as the truth does.",
            "native; PW-MCC of arXiv:2505.20254",
            *_ranking(table, "seed_agreement", min),
            Above(0.5),
            note="Much of it is the length of training: between unlike autoencoders of one length it is "
            f"{' and '.join(f'{one:.2f}' for one in equal)}.",
        ),
        Claim(
            "It does so within one architecture, too.",
            "native",
            f"rank correlation of PW-MCC and F1 within one architecture, {inner[0]} (lower of both)",
            inner[1],
            Above(0.5),
        ),
        Claim(
            "Spurious correlation removal prefers some autoencoder to the true atoms.",
            "native",
            f"SCR, 20 latents, best autoencoder − true atoms, {excess[0]} (lower of both)",
            excess[1],
            Above(0.0),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims of the audit of the literature, and ours."""
    return [*_in_favour(table), *_against(table)]


HEADER = (
    "number",
    "world",
    "seeds",
    "rank correlation with F1",
    "within one architecture",
    "after one length of training",
    "random … true atoms",
)


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: each number in each world, with its value at floor and ceiling."""
    found = []
    for metric, (label, _) in NUMBERS.items():
        for world in _known(table):
            ends = [
                table.where(world=world, solver=solver, point=1).column(metric).mean()
                for solver in ("random", "oracle")
            ]
            ranks = [mean_interval(of(table, world, metric)) for of in (overall, within, alike)]
            both = " … ".join(f"{end:.3g}" for end in ends)
            found.append((label, WORLDS[world], str(ranks[0].n), *map(str, ranks), both))
    return found
