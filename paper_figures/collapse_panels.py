"""The panels of the collapse figure: trained linear models as points, their exact optima as lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from matplotlib.axes import Axes

from sparsesim.report.palette import INK, LOOKS, NAVY, VERMILLION
from sparsesim.study.interval import mean_interval
from sparsesim.study.table import Table
from theory.collapse import conditional_linear_vae, lipschitz_kl_floor, two_level_vae
from theory.vae import LinearVAE, linear_posterior, linear_vae
from theory.water_filling import gaussian_distortion

SPECTRUM = tuple(float(value) for value in 8 * 1.7 ** -np.arange(8.0) / (1.7 ** -np.arange(8.0)).sum())
SHORT = tuple(float(value) for value in 4 * 2.0 ** -np.arange(4.0) / (2.0 ** -np.arange(4.0)).sum())
NOISE, CONDITION, LOWER, UPPER = 0.05, 2.0, 0.1, 0.5
MIDDLE = (
    math.sqrt(SPECTRUM[3] * SPECTRUM[4]) / NOISE
)  # weight beta of the panel of slopes: half of the units are active
VAE, LEARNED, FIXED = LOOKS["vae"].colour, VERMILLION, NAVY


def knobs(table: Table, panel: str) -> list[float]:
    """Return the values of the knob of ``panel``, ascending."""
    return sorted(float(value) for value in table.where(panel=panel).levels("knob"))


def of_seeds(table: Table, panel: str, metric: str, knob: float) -> np.ndarray:
    """Return ``metric`` at one point, ordered by seed."""
    rows = table.where(panel=panel, knob=knob)
    return rows.column(metric)[np.argsort(rows.column("seed"))]


def conditional(rho: float) -> LinearVAE:
    """Return the optimum given conditions that correlate by ``rho`` with each coefficient."""
    d = len(SHORT)
    cross = rho * np.diag(np.sqrt(SHORT))
    data = np.block([[np.diag(SHORT), cross], [cross, np.eye(d)]])
    return conditional_linear_vae(data, range(d, 2 * d), d, NOISE, CONDITION)


def upper(weight: float, variance: float | None) -> int:
    """Return how many directions of the upper level are active at the optimum."""
    return sum(
        two_level_vae(value, NOISE, beta=(1.0, weight), lower_variance=LOWER, upper_variance=variance).upper_active
        for value in SHORT
    )


def sloped(slope: float, beta: float = MIDDLE) -> float:
    """Return the divergence in nats where squared gains are at least slope^2 and else at their optimum."""
    values, theta = np.array(SPECTRUM), beta * NOISE
    gains = np.maximum(values - theta, slope**2)
    if not (gains > 0).any():
        return 0.0
    kept = gains > 0
    encoder, variances = linear_posterior(np.diag(np.sqrt(gains[kept])), NOISE, beta)
    energy = np.square(np.diag(encoder)) * values[kept]
    return float(0.5 * (energy + variances - np.log(variances) - 1.0).sum())


def floor(slope: float) -> float:
    """Return the least divergence in nats of any data under a least slope; without a slope there is none."""
    return lipschitz_kl_floor(len(SPECTRUM), slope, NOISE, MIDDLE) if slope > 0 else 0.0


@cache
def expected(panel: str, knob: float) -> int:
    """Return the number of active units, or of active directions of the upper level, at the optimum."""
    if panel == "beta":
        return linear_vae(SPECTRUM, len(SPECTRUM), NOISE, knob).active
    if panel == "correlation":
        return conditional(knob).active
    return upper(knob, None if panel == "upper_learned" else UPPER)


COUNTED = {
    "beta": "active_by_divergence",
    "correlation": "active_by_divergence",
    "upper_learned": "upper_active",
    "upper_fixed": "upper_active",
}


def _bars(axes: Axes, places: list[float], values: list[np.ndarray], look: tuple[str, str], label: str) -> None:
    colour, marker = look
    for number, (place, found) in enumerate(zip(places, values, strict=True)):
        one = mean_interval(found)
        axes.plot([place, place], [one.low, one.high], color=colour, lw=1.0)
        axes.plot(
            place, one.mean, marker, color=colour, ms=4, mec="white", mew=0.4, label=label if not number else None
        )


def _stairs(axes: Axes, grid: np.ndarray, count: Callable[[float], int], colour: str, style: str = "-") -> None:
    axes.plot(grid, [count(float(value)) for value in grid], style, color=colour, lw=1.0, zorder=1)


def draw_staircase(axes: Axes, table: Table) -> None:
    places = knobs(table, "beta")
    grid = np.geomspace(places[0] / 1.2, places[-1] * 1.2, 400)
    _stairs(axes, grid, lambda beta: linear_vae(SPECTRUM, len(SPECTRUM), NOISE, beta).active, INK)
    for metric, shift, look, label in (
        ("active_by_mean", 0.96, (FIXED, "s"), "by mean"),
        ("active_by_divergence", 1.04, (VAE, "o"), "by divergence"),
    ):
        values = [of_seeds(table, "beta", metric, beta) for beta in places]
        _bars(axes, [shift * beta for beta in places], values, look, label)
    axes.set_xscale("log")
    axes.set_xlabel("weight β of the divergence")
    axes.set_ylabel("active units")
    axes.legend(frameon=False)


def draw_nats(axes: Axes, table: Table) -> None:
    for beta in knobs(table, "beta"):
        for index, value in enumerate(SPECTRUM):
            found = of_seeds(table, "beta", f"kl_{index + 1}", beta)
            axes.plot(np.full(len(found), value / (beta * NOISE)), found, "o", color=VAE, ms=2.4, alpha=0.7, mew=0)
    grid = np.geomspace(0.02, 70, 300)
    axes.plot(grid, 0.5 * np.log(np.maximum(grid, 1.0)), color=INK, lw=1.0, label="½ ln(λ / βσ²)")
    axes.set_xscale("log")
    axes.set_xlabel("eigenvalue over noise, λ / βσ²")
    axes.set_ylabel("divergence of the unit [nats]")
    axes.legend(frameon=False)


def draw_plane(axes: Axes, table: Table) -> None:
    rates = np.linspace(0.0, 13.0, 200)
    axes.plot(rates, [gaussian_distortion(SPECTRUM, float(rate)) for rate in rates], color=INK, lw=1.0, label="R(D)")
    for beta in knobs(table, "beta"):
        rate, left = (mean_interval(of_seeds(table, "beta", name, beta)) for name in ("rate", "distortion"))
        axes.plot([rate.low, rate.high], [left.mean] * 2, color=VAE, lw=1.0)
        axes.plot(rate.mean, left.mean, "o", color=VAE, ms=4, mec="white", mew=0.4)
    axes.set_xlabel("rate E KL [nats a sample]")
    axes.set_ylabel("distortion E‖x − zA‖²")
    axes.legend(frameon=False)


def draw_correlated(axes: Axes, table: Table) -> None:
    places = knobs(table, "correlation")
    grid = np.geomspace(0.02, 1.2, 400)
    _stairs(axes, grid, lambda left: conditional(math.sqrt(max(0.0, 1.0 - left))).active, INK)
    values = [of_seeds(table, "correlation", COUNTED["correlation"], rho) for rho in places]
    _bars(axes, [1.0 - rho**2 for rho in places], values, (VAE, "o"), "conditional VAE")
    axes.set_xscale("log")
    axes.set_xlabel("variance left by the condition, 1 − ρ²")
    axes.set_ylabel("active units")


def draw_levels(axes: Axes, table: Table) -> None:
    for panel, variance, look, label, style in (
        ("upper_learned", None, (LEARNED, "^"), "learned", "-"),
        ("upper_fixed", UPPER, (FIXED, "s"), "fixed at ½", "--"),
    ):
        places = knobs(table, panel)
        grid = np.geomspace(places[0] / 1.2, places[-1] * 1.2, 300)
        _stairs(axes, grid, partial(upper, variance=variance), look[0], style)
        _bars(axes, places, [of_seeds(table, panel, "upper_active", knob) for knob in places], look, label)
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("weight of the upper divergence")
    axes.set_ylabel("active directions, upper level")
    axes.set_yticks(range(len(SHORT) + 1))
    axes.set_ylim(-0.2, 5.2)
    axes.legend(frameon=False, loc="upper right", ncol=2, columnspacing=1.0, handletextpad=0.3)


def draw_sloped(axes: Axes, table: Table) -> None:
    places = knobs(table, "slope")
    grid = np.linspace(0.0, places[-1], 200)
    axes.plot(grid, [sloped(float(slope)) for slope in grid], color=INK, lw=1.0, label="optimum")
    axes.plot(grid, [floor(float(slope)) for slope in grid], ":", color=INK, lw=1.2, label="floor on any data")
    _bars(axes, places, [of_seeds(table, "slope", "rate", slope) for slope in places], (VAE, "o"), "trained")
    axes.set_xlabel("least slope L of the decoder")
    axes.set_ylabel("divergence, all units [nats]")
    axes.legend(frameon=False)
