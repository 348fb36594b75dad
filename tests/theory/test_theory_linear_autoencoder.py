"""Weight decay as a penalty on singular values, against general optimisers and every other factorisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ortho_group

from theory.linear_autoencoder import (
    balanced_factors,
    factorisation_cost,
    regularised_autoencoder,
    singular_shrinkage,
)


def loss(data, encoder, decoder, penalty):
    left = np.eye(len(data)) - encoder @ decoder
    return np.trace(left.T @ data @ left) + penalty * ((encoder**2).sum() + (decoder**2).sum())


spectra = st.lists(st.floats(0.01, 50.0), min_size=1, max_size=5)


@given(spectra, st.integers(1, 6), st.floats(0.05, 20.0), st.floats(-5.0, 0.5), st.integers(0, 2**32 - 1))
def test_no_weights_have_a_lower_loss_and_rotated_transposes_attain_it(values, q, penalty, log_size, seed):
    rng = np.random.default_rng(seed)
    d = len(values)
    found = regularised_autoencoder(values, q, penalty)
    axes = ortho_group.rvs(d, random_state=rng) if d > 1 else np.eye(1)
    data = axes.T @ np.diag(np.sort(values)[::-1]) @ axes
    decoder = np.zeros((q, d))
    decoder[: min(q, d)] = np.sqrt(found.shrinkage[: min(q, d), None]) * axes[: min(q, d)]
    turn = ortho_group.rvs(q, random_state=rng) if q > 1 else np.eye(1)
    at = loss(data, (turn @ decoder).T, turn @ decoder, penalty)
    assert at == pytest.approx(found.loss, rel=1e-9)
    size = 10.0**log_size
    encoder = decoder.T + size * rng.standard_normal((d, q))
    other = loss(data, encoder, decoder + size * rng.standard_normal((q, d)), penalty)
    assert other >= found.loss * (1 - 1e-9)


def test_a_general_optimiser_ends_at_the_optimum():
    rng = np.random.default_rng(0)
    data = np.diag([4.0, 1.5, 0.6, 0.2])

    def flat_loss(flat):
        return loss(data, flat[:12].reshape(4, 3), flat[12:].reshape(3, 4), 0.5)

    fits = [minimize(flat_loss, rng.standard_normal(24)).fun for _ in range(2)]
    assert min(fits) == pytest.approx(regularised_autoencoder([4.0, 1.5, 0.6, 0.2], 3, 0.5).loss, abs=1e-6)


def test_a_direction_is_lost_at_its_own_variance():
    assert regularised_autoencoder([4.0, 1.0], 2, 0.999).rank == 2
    assert regularised_autoencoder([4.0, 1.0], 2, 1.0).rank == 1
    assert regularised_autoencoder([4.0, 1.0], 2, 4.0).rank == 0
    assert regularised_autoencoder([4.0, 1.0], 1, 1e-12).loss == pytest.approx(1.0, abs=1e-9)  # PCA, without decay


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_balanced_factors_attain_the_cost_and_others_pay_more(n, d, depth, seed):
    rng = np.random.default_rng(seed)
    product = rng.standard_normal((n, d))
    factors = balanced_factors(product, depth)
    whole = factors[0]
    for factor in factors[1:]:
        whole = whole @ factor
    assert np.allclose(whole, product, atol=1e-10)
    cost = factorisation_cost(product, depth)
    assert sum((factor**2).sum() for factor in factors) == pytest.approx(cost, rel=1e-9)
    if depth > 1:  # insert invertible matrices between neighbours
        moved = list(factors)
        for i in range(depth - 1):
            size = moved[i].shape[1]
            change = np.eye(size) + 0.3 * rng.standard_normal((size, size))
            moved[i], moved[i + 1] = moved[i] @ change, np.linalg.pinv(change) @ moved[i + 1]
            if np.linalg.cond(change) > 1e6:
                return
        assert sum((factor**2).sum() for factor in moved) >= cost * (1 - 1e-9)


def test_depth_turns_the_penalty_from_the_norm_into_the_rank():
    low, full = np.diag([3.0, 0.0, 0.0]), np.eye(3)
    assert factorisation_cost(low, 2) == pytest.approx(2 * 3.0) == factorisation_cost(full, 2)  # one nuclear norm
    assert factorisation_cost(low, 50) / 50 == pytest.approx(1.0, rel=0.05)  # 3^{1/25}
    assert factorisation_cost(full, 50) / 50 == pytest.approx(3.0)


@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_soft_singular_values_minimise_the_factorised_loss(penalty):
    rng = np.random.default_rng(1)
    target = rng.standard_normal((4, 3))

    def factored(flat):
        u, v = flat[:12].reshape(4, 3), flat[12:].reshape(3, 3)
        return 0.5 * ((target - u @ v) ** 2).sum() + 0.5 * penalty * (flat**2).sum()

    fit = min((minimize(factored, rng.standard_normal(21), tol=1e-9) for _ in range(2)), key=lambda one: one.fun)
    shrunk = singular_shrinkage(target, penalty)
    expected = 0.5 * ((target - shrunk) ** 2).sum() + 0.5 * penalty * factorisation_cost(shrunk, 2)
    assert fit.fun == pytest.approx(expected, abs=1e-7)
    assert fit.x[:12].reshape(4, 3) @ fit.x[12:].reshape(3, 3) == pytest.approx(shrunk, abs=1e-3)


@pytest.mark.parametrize("call", [
    lambda: regularised_autoencoder([1.0], 1, 0.0), lambda: regularised_autoencoder([-1.0], 1, 1.0),
    lambda: regularised_autoencoder([1.0], 0, 1.0), lambda: factorisation_cost(np.eye(2), 0),
    lambda: balanced_factors(np.ones(3), 2), lambda: singular_shrinkage(np.eye(2), -1.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
