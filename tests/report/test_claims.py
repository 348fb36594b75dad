"""Verdicts follow from the interval alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsesim.report.claims import Above, Below, Claim, Near, Verdict
from sparsesim.study.interval import Interval, mean_interval


def claim(interval: Interval, expectation) -> Claim:
    return Claim("sentence", "source", "quantity", interval, expectation)


@pytest.mark.parametrize(
    ("low", "high", "expectation", "verdict"),
    [
        (0.1, 0.3, Above(0.0), Verdict.REPRODUCED),
        (-0.1, 0.3, Above(0.0), Verdict.INCONCLUSIVE),
        (-0.3, -0.1, Above(0.0), Verdict.FAILED),
        (0.0, 0.0, Above(0.0), Verdict.FAILED),  # "above" is strict: no effect at all is a failure of the claim
        (0.1, 0.3, Below(0.5), Verdict.REPRODUCED),
        (0.4, 0.6, Below(0.5), Verdict.INCONCLUSIVE),
        (0.5, 0.5, Below(0.5), Verdict.FAILED),
        (0.99, 1.01, Near(1.0, 0.02), Verdict.REPRODUCED),
        (0.97, 1.01, Near(1.0, 0.02), Verdict.INCONCLUSIVE),
        (1.03, 1.04, Near(1.0, 0.02), Verdict.DRIFT),
        (1.07, 1.09, Near(1.0, 0.02), Verdict.FAILED),
        (0.90, 0.93, Near(1.0, 0.02), Verdict.FAILED),
    ],
)
def test_the_verdict_is_read_off_the_interval(low, high, expectation, verdict):
    assert claim(Interval((low + high) / 2, low, high, 5), expectation).verdict is verdict


@pytest.mark.parametrize("expectation", [Above(0.0), Below(2.0), Near(1.0, 0.1)])
def test_one_seed_decides_nothing(expectation):
    assert claim(mean_interval([1.0]), expectation).verdict is Verdict.INCONCLUSIVE


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.floats(-1, 1))
def test_above_and_below_are_mirror_images(values, bound):
    up = claim(mean_interval(values), Above(bound)).verdict
    down = claim(mean_interval(-np.array(values)), Below(-bound)).verdict
    assert up is down


def test_the_seeds_asked_for_would_have_decided():
    # Five values with mean 0.1 and deviation 0.2: undecided at 5 seeds.
    base = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    values = 0.1 + 0.2 * base / base.std(ddof=1)
    undecided = claim(mean_interval(values), Above(0.0))
    assert undecided.verdict is Verdict.INCONCLUSIVE
    n = undecided.seeds_needed
    assert n > 5
    spread = np.linspace(-1, 1, n)
    decided = claim(mean_interval(0.1 + 0.2 * spread / spread.std(ddof=1)), Above(0.0))
    assert decided.verdict is Verdict.REPRODUCED
