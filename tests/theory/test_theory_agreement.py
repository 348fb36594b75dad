"""Agreement of dictionaries: the floor holds for every pair and is attained; independent errors multiply."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from theory.agreement import agreement_floor, independent_agreement


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def matched(a, b):
    similarity = np.abs(a @ b.T)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return similarity[rows, columns].mean()


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0, 3.0])
def test_no_two_dictionaries_agree_less_than_their_recovery_allows(noise):
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth = unit(rng.standard_normal((6, 4)))
        # unequal noise and random order and signs: the bound is of the mean of both scores
        one = unit(truth + noise * rng.standard_normal((6, 4)))[rng.permutation(6)] * rng.choice([-1, 1], (6, 1))
        two = unit(truth + 0.3 * noise * rng.standard_normal((6, 4)))
        assert matched(one, two) >= agreement_floor(matched(truth, one), matched(truth, two)) - 1e-12


def test_the_floor_is_attained_by_leaning_to_opposite_sides():
    truth = np.kron(np.eye(3), [[1.0, 0.0]])  # three planes, one feature each
    angle = 0.3
    sides = [np.kron(np.eye(3), [[np.cos(angle), sign * np.sin(angle)]]) for sign in (1, -1)]
    scores = [matched(truth, side) for side in sides]
    assert scores == pytest.approx([np.cos(angle)] * 2, abs=1e-12)
    assert matched(*sides) == pytest.approx(agreement_floor(*scores), abs=1e-12)
    assert matched(sides[0], sides[0]) == pytest.approx(1.0)  # recovery alone does not bound agreement from above
    assert agreement_floor(0.5, 0.5) == 0.0 and agreement_floor(1.0, 1.0) == 1.0


def test_independent_errors_multiply():
    rng = np.random.default_rng(1)
    d, n = 5, 40_000
    truth = np.eye(d)[0]
    a, b = rng.uniform(0.6, 1.0, n), rng.uniform(0.2, 1.0, n)
    errors = [np.pad(unit(rng.standard_normal((n, d - 1))), ((0, 0), (1, 0))) for _ in range(2)]
    one, two = (c[:, None] * truth + np.sqrt(1 - c**2)[:, None] * e for c, e in zip((a, b), errors, strict=True))
    products = (one * two).sum(axis=1)
    error = products.std() / np.sqrt(n)
    assert abs(products.mean() - independent_agreement(a, b)) < 4 * error  # a z of 4 at a fixed seed


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_scores_outside_their_range_are_refused(value):
    with pytest.raises(ValueError, match="first must be"):
        agreement_floor(value, 0.5)
    with pytest.raises(ValueError, match="second must be"):
        independent_agreement([0.5], [value])
    with pytest.raises(ValueError, match="same features"):
        independent_agreement([0.5], [0.5, 0.5])
