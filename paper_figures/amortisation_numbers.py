"""What the figure and the claims of the amortisation gap read from its table, and the lines of theory."""

from __future__ import annotations

from functools import cache

import numpy as np

from sparsesim.report.palette import LOOKS
from sparsesim.study.table import Table
from theory.amortisation import Errors, errors
from theory.amp import best_soft_mse, fixed_points
from theory.denoisers import HalfNormal, SpikeSlab

DELTA, NOISE = 0.5, 1e-3
LARGE = {
    "linear": LOOKS["linear"],
    "tied": LOOKS["tied"],
    "one_layer": LOOKS["one_layer"],
    "lasso": LOOKS["oracle_lasso"].named("best lasso"),
    "bayes": LOOKS["bayes"].named("posterior mean (message passing)"),
}


@cache
def limits(rate: float) -> Errors:
    """Return the errors of a large system with this share of active features."""
    return errors(SpikeSlab(rate, HalfNormal()), DELTA, NOISE)


@cache
def lasso_limit(rate: float) -> float:
    """Return the error of the lasso with the best penalty: its fixed point, less the noise."""
    prior = SpikeSlab(rate, HalfNormal())
    noise = fixed_points(lambda t: best_soft_mse(prior, t, non_negative=True), DELTA, NOISE, prior.power)
    return DELTA * (float(noise) - NOISE)


def predicted(method: str, rate: float) -> float:
    """Return the error of ``method`` as m grows."""
    if method == "lasso":
        return lasso_limit(rate)
    return float(getattr(limits(rate), "algorithm" if method == "bayes" else method))


def score(table: Table, part: str, method: str, at: float | None = None, metric: str = "code_mcc") -> np.ndarray:
    """Return ``metric`` ``(seeds,)`` in the order of the seeds; ``at`` is the last of the table if not given."""
    rows = table.where(part=part, method=method)
    rows = rows.where(at=max(grid(table, part, method)) if at is None else at)
    return rows.column(metric)[np.argsort(rows.column("seed"))]


def grid(table: Table, part: str, method: str) -> list[float]:
    """Return the steps, iterations or densities at which ``method`` stands in the table, ascending."""
    return sorted({float(value) for value in table.where(part=part, method=method).column("at")})


def cost(table: Table, part: str, method: str, at: float) -> float:
    """Return the operations of one code."""
    return float(table.where(part=part, method=method, at=at).column("operations")[0])
