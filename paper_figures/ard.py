"""Relevance of latents against the rank of data: what is counted, and what an exact optimum would count."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.report.palette import CEILING, INK, LOOKS
from sparsesim.study.interval import mean_interval
from sparsesim.study.table import Table
from theory.vae import learned_noise

TITLE = "Relevance determination: are the latents that matter as many as the data's dimensions?"
QUESTION = "Does the relevance of latents count the dimensions of data, whatever the noise?"
CAPTION = (
    "Gaussian data of rank 2, 4 and 8 in 20 dimensions with white noise; linear models of 12 latents. Markers are the "
    "fewest latents that make up 99% of the relevance, with 95% t-intervals over the seeds; crosses are what the exact "
    "optimum has there, lines the rank. With a weight of the divergence below one, noise is worth coding, and 99% of "
    "the relevance takes latents that carry noise alone."
)
SOURCE = "arXiv:2501.10901"
DIM, LATENTS, SHARE = 20, 12, 0.99
WEIGHTS = {"ard": 1.0, "ard_half": 0.5, "vae": 1.0}
SHOWN = {
    "ard": LOOKS["ard"].named("ARD-VAE, weight 1"),
    "ard_half": LOOKS["ard"].pale("ARD-VAE, weight 1/2")._replace(marker="^"),
    "vae": LOOKS["vae"].named("VAE, weight 1"),
}


def counted(table: Table, name: str, rank: int, noise: float, metric: str = "relevant_latents") -> np.ndarray:
    """Return the number of relevant latents of each seed, or another count."""
    rows = table.where(solver=name, rank=rank, noise=noise)
    return rows.column(metric)[np.argsort(rows.column("seed"))]


def optimum(rank: int, noise: float, beta: float) -> int:
    """Return the number of relevant latents at the exact optimum: 99% of the squared gains max(λ - beta sigma², 0).

    A latent of a linear model brings v ||a||^2 = λ - beta sigma² to the output, in whatever units its prior has.
    """
    eigenvalues = np.array([1.0 + noise**2] * rank + [noise**2] * (DIM - rank))
    gains = np.maximum(eigenvalues - beta * learned_noise(eigenvalues, LATENTS, beta), 0.0)[:LATENTS]
    return int(np.searchsorted(np.cumsum(gains) / gains.sum(), SHARE - 1e-12)) + 1


def levels(table: Table) -> tuple[list[int], list[float]]:
    """Return ranks and noises of the table, ascending."""
    ranks = sorted({int(value) for value in table.column("rank")})
    return ranks, sorted({float(value) for value in table.column("noise")})


def draw(table: Table) -> Figure:
    """Return the figure: one panel a rank, counts against the noise."""
    ranks, noises = levels(table)
    figure = Figure(figsize=(7.2, 2.7), layout="constrained")
    for axes, rank in zip(figure.subplots(1, len(ranks), sharey=True), ranks, strict=True):
        axes.axhline(rank, color=CEILING, lw=0.9, zorder=1)
        for shift, (name, look) in zip((0.93, 1.0, 1.07), SHOWN.items(), strict=True):
            for noise in noises:
                value, place = mean_interval(counted(table, name, rank, noise)), noise * shift
                axes.plot([place, place], [value.low, value.high], color=look.colour, lw=1.0)
                label = look.label if noise == noises[0] else None
                axes.plot(place, value.mean, look.marker, color=look.colour, ms=5, mec="white", mew=0.4, label=label)
                axes.plot(place, optimum(rank, noise, WEIGHTS[name]), "_", color=INK, ms=9, mew=1.1, zorder=4)
        axes.set_xscale("log")
        axes.set_xticks(noises, [f"{noise:g}" for noise in noises])
        axes.set_xticks([], minor=True)
        axes.set_title(f"rank {rank}")
        axes.set_xlabel("noise of a coordinate")
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_ylim(0, LATENTS + 1)
    figure.axes[0].plot([], [], "_", color=INK, ms=9, mew=1.1, label="exact optimum")
    figure.axes[0].plot([], [], color=CEILING, lw=0.9, label="true rank")
    figure.axes[0].set_ylabel("relevant latents")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=5, frameon=False)
    return figure


def _share(table: Table, name: str, metric: str = "relevant_latents") -> np.ndarray:
    """Return the share of ranks and noises at which a seed counts the rank exactly."""
    ranks, noises = levels(table)
    right = [counted(table, name, rank, noise, metric) == rank for rank in ranks for noise in noises]
    return np.asarray(np.mean(right, axis=0))


def _distance(table: Table, name: str) -> np.ndarray:
    """Return the mean distance of the count from that of the optimum, seed by seed."""
    ranks, noises = levels(table)
    gaps = [
        np.abs(counted(table, name, rank, noise) - optimum(rank, noise, WEIGHTS[name]))
        for rank in ranks
        for noise in noises
    ]
    return np.asarray(np.mean(gaps, axis=0))


def claims(table: Table) -> list[Claim]:
    """Return the claims on counts."""
    ranks, noises = levels(table)
    loudest = max(noises)
    spread = (
        "All but rank 2 at noise 0.3, where noise is worth coding as far as its spectrum is not flat. That of 20,000 "
        "samples is not, and their own optimum counts 6; that of a batch of 256 is less so. Samples of exact "
        "covariance are counted 2 in batches of 2,048, and 6 in batches of 256 (tested)."
    )
    over = np.mean([counted(table, "ard_half", rank, loudest) - rank for rank in ranks], axis=0)
    return [
        Claim(
            "The relevant latents of the ARD-VAE are as many as the data have dimensions.",
            SOURCE,
            "share of ranks and noises with exactly the rank, weight of the divergence 1",
            mean_interval(_share(table, "ard")),
            Near(1.0, 0.05),
            note=spread,
        ),
        Claim(
            "Latents of at least a tenth of the largest relevance are as many as the data have dimensions.",
            "native",
            "share of ranks and noises with exactly the rank, weight of the divergence 1",
            mean_interval(_share(table, "ard", "loud_latents")),
            Near(1.0, 0.05),
        ),
        Claim(
            "With a weight below one they are more, where the noise is loud: it is coded too.",
            "native, theory.vae.learned_noise",
            f"relevant latents less the rank at noise {loudest:g}, weight 1/2, mean over ranks",
            mean_interval(over),
            Above(0.5),
        ),
        Claim(
            "At weight 1/2 the count is that of the exact optimum.",
            "native, theory.vae.learned_noise",
            "distance of the count from that of the optimum, mean over ranks and noises",
            mean_interval(_distance(table, "ard_half")),
            Below(0.5),
        ),
        Claim(
            "Of linear models the ordinary VAE counts the same: relevance, not the learned prior, is what counts.",
            "native",
            "share of ranks and noises with exactly the rank, VAE",
            mean_interval(_share(table, "vae")),
            Near(1.0, 0.05),
            note=spread,
        ),
    ]


HEADER = ("solver", "rank", "noise", "seeds", "relevant latents", "optimum", "FVU")


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report, with intervals over the seeds."""
    ranks, noises = levels(table)
    found: list[tuple[str, ...]] = []
    for name, look in SHOWN.items():
        for rank in ranks:
            for noise in noises:
                value = mean_interval(counted(table, name, rank, noise))
                own = table.where(solver=name, rank=rank, noise=noise)
                shown = f"{value.mean:z.2f} ± {value.half_width:.2f}"
                known = str(optimum(rank, noise, WEIGHTS[name]))
                fvu = f"{float(own.column('fvu').mean()):.4f}"
                found.append((look.label, str(rank), f"{noise:g}", str(value.n), shown, known, fvu))
    return found
