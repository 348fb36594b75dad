"""Posterior collapse: trained linear variational autoencoders on the lines of their exact optima."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from paper_figures import collapse_panels as panels
from paper_figures.collapse_panels import (
    COUNTED,
    NOISE,
    SPECTRUM,
    conditional,
    expected,
    floor,
    knobs,
    of_seeds,
    sloped,
)
from sparsesim.report.claims import Above, Below, Claim, Near
from sparsesim.study.interval import Interval, mean_interval
from sparsesim.study.table import Table
from theory.vae import LinearVAE, linear_vae
from theory.water_filling import gaussian_rate

TITLE = "Posterior collapse: which units fall silent, and where"
QUESTION = "Which units of a variational autoencoder fall silent, and is it where theory says?"
CAPTION = (
    "Linear models trained on Gaussian data of known covariance; lines are the exact optima. Top: eight units, noise "
    "variance 0.05 where eigenvalues have mean 1; active units against the weight beta (a unit is active if the "
    "variance of its posterior mean exceeds 0.01, or its divergence 0.01 nats); nats of each unit against its "
    "eigenvalue over beta sigma²; rate and distortion on the Gaussian R(D). Bottom, four units: a condition that "
    "correlates with the data; an upper level of which the encoder's variance is learned or fixed at 1/2; and (eight "
    "units) a decoder whose singular values may not fall below a slope. Bars are 95% t-intervals over the seeds."
)


def exact(table: Table, panel: str) -> Interval:
    """Return the share of points at which a trained model has exactly the active units of the optimum."""
    right = [of_seeds(table, panel, COUNTED[panel], knob) == expected(panel, knob) for knob in knobs(table, panel)]
    return mean_interval(np.mean(right, axis=0))


def missed_nats(table: Table, panel: str, optimum: Callable[[float], LinearVAE]) -> Interval:
    """Return the mean over units and points of the distance of KL from its optimum, seed by seed."""
    gaps = []
    for knob in knobs(table, panel):
        known = optimum(knob).kl
        gaps += [np.abs(of_seeds(table, panel, f"kl_{i + 1}", knob) - value) for i, value in enumerate(known)]
    return mean_interval(np.mean(gaps, axis=0))


def draw(table: Table) -> Figure:
    """Return the figure: six panels, each trained models on the line of theory."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    drawn = (
        panels.draw_staircase,
        panels.draw_nats,
        panels.draw_plane,
        panels.draw_correlated,
        panels.draw_levels,
        panels.draw_sloped,
    )
    titles = ("β-VAE", "each unit", "reverse water-filling", "conditional", "two levels", "inverse Lipschitz")
    for axes, panel, title in zip(figure.subplots(2, 3).ravel(), drawn, titles, strict=True):
        panel(axes, table)
        axes.set_title(title)
        axes.grid()
        axes.set_axisbelow(True)
    return figure


LUCAS, DANG = "arXiv:1911.02469, section 4", "arXiv:2306.05023, abstract"


def _of_beta(table: Table) -> list[Claim]:
    places = knobs(table, "beta")
    full = len(SPECTRUM)
    active = [beta for beta in places if linear_vae(SPECTRUM, full, NOISE, beta).active]
    silent = [beta for beta in places if beta not in active]
    total = sum(SPECTRUM)
    excess = []
    for beta in active:
        rate, left = (of_seeds(table, "beta", name, beta) for name in ("rate", "distortion"))
        excess.append(rate - [gaussian_rate(SPECTRUM, min(float(value), total)) for value in left])
    return [
        Claim(
            "A direction is silent if and only if its eigenvalue is at most beta sigma².",
            LUCAS,
            "share of weights at which the trained model has exactly the active units of the optimum",
            exact(table, "beta"),
            Near(1.0, 0.05),
        ),
        Claim(
            "An active unit tells half the logarithm of its eigenvalue over beta sigma².",
            LUCAS,
            "|KL - ln(λ / βσ²) / 2| in nats, mean over units and weights",
            missed_nats(table, "beta", lambda beta: linear_vae(SPECTRUM, full, NOISE, beta)),
            Below(0.05),
        ),
        Claim(
            "A linear beta-VAE is reverse water-filling: it lies on the rate-distortion curve of Gaussian data.",
            "native, from arXiv:1911.02469 and Cover and Thomas, Theorem 10.3.3",
            "rate - R(distortion) in nats, mean over weights with an active unit",
            mean_interval(np.mean(excess, axis=0)),
            Near(0.0, 0.05),
        ),
        Claim(
            "Beyond beta = λ_1 / sigma² nothing is told of the sample.",
            LUCAS,
            "rate in nats at the largest weight",
            mean_interval(np.mean([of_seeds(table, "beta", "rate", beta) for beta in silent], axis=0)),
            Below(0.01),
        ),
    ]


def _of_condition(table: Table) -> list[Claim]:
    places = knobs(table, "correlation")
    counts = [of_seeds(table, "correlation", COUNTED["correlation"], rho) for rho in (places[0], places[-1])]
    return [
        Claim(
            "Correlation of the condition with the data causes collapse.",
            DANG,
            f"active units at correlation {places[0]:g} less those at {places[-1]:g}",
            mean_interval(counts[0] - counts[1]),
            Above(0.0),
        ),
        Claim(
            "A direction is silent if and only if its variance given the condition is at most beta sigma².",
            "native, derived in theory.collapse",
            "share of correlations at which the trained model has exactly the active units of the optimum",
            exact(table, "correlation"),
            Near(1.0, 0.05),
        ),
        Claim(
            "An active unit tells half the logarithm of its conditional variance over beta sigma².",
            "native, derived in theory.collapse",
            "|KL - optimum| in nats, mean over units and correlations",
            missed_nats(table, "correlation", conditional),
            Below(0.05),
        ),
    ]


def _of_levels(table: Table) -> list[Claim]:
    both = [knob for knob in knobs(table, "upper_learned") if knob in knobs(table, "upper_fixed")]
    gaps = [
        of_seeds(table, "upper_fixed", "upper_active", knob) - of_seeds(table, "upper_learned", "upper_active", knob)
        for knob in both
    ]
    found = [
        Claim(
            "Learning the variance of the upper encoder makes the upper level collapse.",
            DANG,
            "active directions with the variance fixed at 1/2 less those with it learned, mean over weights",
            mean_interval(np.mean(gaps, axis=0)),
            Above(0.0),
        )
    ]
    return found + [
        Claim(
            f"The upper level is silent where theory says, its variance {word}.",
            "native, derived in theory.collapse",
            "share of weights at which exactly the directions of the optimum are active",
            exact(table, panel),
            Near(1.0, 0.05),
        )
        for panel, word in (("upper_learned", "learned"), ("upper_fixed", "fixed"))
    ]


def _of_slope(table: Table) -> list[Claim]:
    places = knobs(table, "slope")
    rates = {slope: of_seeds(table, "slope", "rate", slope) for slope in places}
    above = [rates[slope] - floor(slope) for slope in places]
    missed = [np.abs(rates[slope] - sloped(slope)) for slope in places]
    counts = [of_seeds(table, "slope", "active_by_divergence", slope) for slope in places if slope >= 0.5]
    return [
        Claim(
            "An inverse Lipschitz constant of the decoder bounds the divergence from below.",
            "arXiv:2304.12770, abstract; the bound of linear decoders is derived in theory.collapse",
            "divergence less the floor in nats, least over slopes",
            mean_interval(np.min(above, axis=0)),
            Above(0.0),
        ),
        Claim(
            "The divergence under the constraint is that of squared gains max(λ - beta sigma², L²).",
            "native, derived",
            "|divergence - optimum| in nats, mean over slopes",
            mean_interval(np.mean(missed, axis=0)),
            Below(0.1),
        ),
        Claim(
            "No unit collapses under the constraint.",
            "arXiv:2304.12770, abstract",
            "active units of eight, least over slopes of at least 0.5",
            mean_interval(np.min(counts, axis=0)),
            Near(float(len(SPECTRUM)), 0.01),
        ),
    ]


def claims(table: Table) -> list[Claim]:
    """Return the claims of the four knobs."""
    return [*_of_beta(table), *_of_condition(table), *_of_levels(table), *_of_slope(table)]


HEADER = ("panel", "knob", "seeds", "active", "theory", "rate [nats]", "theory", "distortion")
PANELS = {
    "beta": "beta-VAE, beta",
    "correlation": "conditional, correlation",
    "upper_learned": "upper level, variance learned, weight",
    "upper_fixed": "upper level, variance 1/2, weight",
    "slope": "inverse Lipschitz, slope",
}


def _known(panel: str, knob: float) -> tuple[str, str]:
    """Return active units and rate at the optimum, as far as theory states them."""
    if panel == "beta":
        return str(expected(panel, knob)), f"{linear_vae(SPECTRUM, len(SPECTRUM), NOISE, knob).rate:.3f}"
    if panel == "correlation":
        return str(expected(panel, knob)), f"{conditional(knob).rate:.3f}"
    if panel == "slope":
        return "", f"{sloped(knob):.3f}"
    return str(expected(panel, knob)), ""


def rows(table: Table) -> list[tuple[str, ...]]:
    """Return the text rows of the report: every point beside its optimum."""
    found: list[tuple[str, ...]] = []
    for panel, name in PANELS.items():
        for knob in knobs(table, panel):

            def shown(metric: str, panel: str = panel, knob: float = knob) -> str:
                one = mean_interval(of_seeds(table, panel, metric, knob))
                return f"{one.mean:z.3f} ± {one.half_width:.3f}"

            active, rate = _known(panel, knob)
            count = shown(COUNTED.get(panel, "active_by_divergence"))
            seeds = str(len(of_seeds(table, panel, "rate", knob)))
            told = (shown("rate"), rate) if not panel.startswith("upper") else ("", "")
            found.append((name, f"{knob:.4g}", seeds, count, active, *told, shown("distortion")))
    return found
