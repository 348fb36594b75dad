"""Features of either sign: the closed forms against the best bias and the best allocation of latents, by search."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from theory.bipolar import one_sided_error, one_sided_fvu, signed_fvu


def searched(rate: float, positive: float, sides: tuple[float, ...]) -> float:
    """The least error of one feature whose value is known where it lies on one of ``sides``, and a bias elsewhere."""
    law = {1.0: rate * positive, -1.0: rate * (1 - positive), 0.0: 1 - rate}
    rest = {value: weight for value, weight in law.items() if value not in sides}

    def error(bias: float) -> float:
        return sum(weight * (value - bias) ** 2 for value, weight in rest.items())

    return float(minimize_scalar(error, bounds=(-1.0, 1.0), method="bounded", options={"xatol": 1e-9}).fun)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("positive", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_each_number_of_latents_leaves_what_a_search_over_biases_leaves(rate, positive):
    assert one_sided_error(rate, positive, 0) == pytest.approx(searched(rate, positive, ()), abs=1e-12)
    one = min(searched(rate, positive, (side,)) for side in (1.0, -1.0))
    assert one_sided_error(rate, positive, 1) == pytest.approx(one, abs=1e-12)
    assert one_sided_error(rate, positive, 2) == 0.0


@pytest.mark.parametrize("positive", [0.5, 0.8, 1.0])
def test_the_best_allocation_gives_every_feature_one_before_any_has_two(positive):
    m, rate = 4, 0.2
    errors = [one_sided_error(rate, positive, latents) for latents in range(3)]
    for width in range(9):
        left = min(
            sum(errors[latents] for latents in given) for given in product(range(3), repeat=m) if sum(given) <= width
        )
        assert one_sided_fvu(width, m, rate, positive) == pytest.approx(left / (m * errors[0]), abs=1e-12)


def test_signs_of_equal_probability_cost_half_and_one_sign_costs_nothing():
    assert one_sided_fvu(10, 10, 1e-9) == pytest.approx(0.5)
    assert one_sided_fvu(10, 10, 0.2) == pytest.approx(0.8 / 1.8)
    assert one_sided_fvu(10, 10, 0.2, 1.0) == 0.0 == one_sided_fvu(20, 10, 0.2)
    assert [signed_fvu(width, 10) for width in (0, 5, 10, 20)] == [1.0, 0.5, 0.0, 0.0]
    assert np.all(np.diff([one_sided_fvu(width, 10, 0.2) for width in range(21)]) <= 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: one_sided_error(0.0, 0.5, 1), "0 < rate"),
        (lambda: one_sided_error(0.1, 1.5, 1), "positive"),
        (lambda: one_sided_error(0.1, 0.5, 3), "latents"),
        (lambda: one_sided_fvu(-1, 3, 0.1), "width"),
        (lambda: signed_fvu(3, 0), "m must"),
    ],
)
def test_what_is_no_such_world_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
