"""Monte-Carlo checks: exact binomial tails and standard errors at one significance level."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, norm

ALPHA = 1e-6  # chance that a correct law fails one call, all its comparisons taken together (Bonferroni)


def assert_rates(counts, n, rates):
    """Each count is Binomial(n, rate): no exact two-sided tail probability is below ALPHA / number of counts."""
    counts, rates = np.ravel(counts), np.ravel(rates)
    tail = np.minimum(binom.cdf(counts, n, rates), binom.sf(counts - 1, n, rates))
    worst = int(np.argmin(tail))
    assert tail[worst] > ALPHA / (2 * len(counts)), (
        f"entry {worst}: {counts[worst]} of {n} at a rate of {rates[worst]:g} has tail probability {tail[worst]:.1e}"
    )


def assert_mean(values, expected, tests=1):
    """The mean of independent ``values`` is within the standard errors that ALPHA allows of ``expected``."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    slack = 1e-12 * (1.0 + abs(expected))  # rounding, for values that do not vary
    assert abs(np.mean(values) - expected) <= norm.isf(ALPHA / (2 * tests)) * error + slack, (
        f"mean {np.mean(values):.6g} is {(np.mean(values) - expected) / max(error, 1e-300):.1f} standard errors "
        f"from {expected:.6g}"
    )


def assert_uniform_rows(draws):
    """Hold the rows of ``draws (n, rows, d)`` to the moments 0, 1/d and 3/(d(d+2)) of uniform unit vectors."""
    _, rows, d = draws.shape
    for row in range(rows):
        for column in range(d):
            one = draws[:, row, column]
            for power, moment in ((1, 0.0), (2, 1 / d), (4, 3 / (d * (d + 2)))):
                assert_mean(one**power, moment, tests=3 * rows * d)
