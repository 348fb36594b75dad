"""Too few latents, or too few active: exact optima against search, and the truth that loses to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from sparsesim.solvers import OrthogonalMatchingPursuit
from theory.hedging import (
    bias_escape,
    hedging_angle,
    narrow_bound,
    one_active_optimum,
    one_active_tilt,
    shared_truth_loss,
    sharing_threshold,
    truncated_truth_loss,
)

SQUARE = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
laws = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3).map(lambda raw: np.array(raw) / max(sum(raw), 1.0))


def one_active_loss(atoms, x, weights):
    best = np.maximum(x @ atoms.T, 0.0).max(axis=1)
    return float(weights @ (np.square(x).sum(1) - best**2))


def turn(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@pytest.mark.parametrize(("parent", "both", "angle"), [(0.3, 0.1, 0.2940), (0.15, 0.15, 0.5536), (0.1, 0.3, 0.7028)])
def test_the_hedging_angle_has_the_reference_values(parent, both, angle):
    assert hedging_angle(parent, both) == pytest.approx(angle, abs=5e-5)  # the digits given


@given(laws, st.floats(0.0, 1.99))
def test_no_direction_of_a_single_latent_beats_the_hedged_one(p, penalty):
    angles = np.linspace(0, math.pi / 2, 1001)

    def gain(angle):
        return np.square(np.maximum(turn(angle) @ SQUARE.T - penalty / 2, 0)) @ p

    best = hedging_angle(*p, penalty=penalty)
    assert gain(np.array(best)) >= gain(angles).max() - 1e-12  # rounding of sums of order 1
    assert (gain(np.array(1e-6)) - gain(np.array(0.0))) > 0.0  # the penalty never holds the atom at the truth


@given(laws, st.floats(1e-4, 1e-2))
def test_the_angle_with_a_small_penalty_is_close_to_that_of_the_eigenvector(p, penalty):
    moment = SQUARE.T @ (p[:, None] * SQUARE)
    gap = np.ptp(np.linalg.eigvalsh(moment)) / moment.trace()
    free, held = hedging_angle(*p), hedging_angle(*p, penalty=penalty)
    leading = np.linalg.eigh(moment)[1][:, -1]
    assert abs(turn(free) @ leading) == pytest.approx(1.0, abs=1e-12)
    assert abs(free - held) < 2 * penalty / gap  # a perturbation of the moments by up to the penalty


def test_without_company_a_single_latent_does_not_hedge():
    assert hedging_angle(0.3, 0.0) == 0.0  # the control


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.booleans())
def test_no_narrow_autoencoder_beats_the_tail_of_the_spectrum(seed, width, centred):
    rng = np.random.default_rng(seed)
    x = np.abs(rng.normal(size=(60, 5))) @ rng.normal(size=(5, 5))
    bias = x.mean(0) if centred else 0.0
    atoms = rng.normal(size=(width, 5))
    # The best codes for these atoms, non-negative or not, with an encoder as rich as one likes.
    codes = np.linalg.lstsq(atoms.T, (x - bias).T, rcond=None)[0].T if width else np.zeros((60, 0))
    loss = np.square(x - bias - codes @ atoms).sum(1).mean()
    shifted = x - bias
    moment = shifted.T @ shifted / len(x)
    assert loss >= narrow_bound(moment, width) * (1 - 1e-9)
    top = np.linalg.eigh(moment)[1][:, 5 - width :]
    attained = np.square(shifted - shifted @ top @ top.T).sum(1).mean()
    assert attained == pytest.approx(narrow_bound(moment, width), abs=1e-9 * moment.trace())


def test_a_single_latent_on_non_negative_data_attains_the_bound():
    x = np.random.default_rng(0).random((50, 4))
    found = one_active_optimum(x[:9], None, 1)
    moment = x[:9].T @ x[:9] / 9
    assert found.loss == pytest.approx(narrow_bound(moment, 1), abs=1e-12)
    assert one_active_loss(found.atoms, x[:9], np.full(9, 1 / 9)) == pytest.approx(found.loss, abs=1e-12)


@given(laws)
def test_the_closed_form_of_one_active_latent_is_the_enumerated_optimum(p):
    loss, tilt = one_active_tilt(*p)
    found = one_active_optimum(SQUARE, p, 2)
    assert found.loss == pytest.approx(loss, abs=1e-13)
    gives_way = 1 if p[2] <= p[0] else 0  # the feature that is alone more seldom
    away = turn(tilt) if gives_way == 0 else turn(math.pi / 2 - tilt)
    pure = np.eye(2)[1 - gives_way]
    assert one_active_loss(np.stack([pure, away]), SQUARE, p) == pytest.approx(loss, abs=1e-13)
    assert loss < p[1] == pytest.approx(truncated_truth_loss(SQUARE, p, 1), abs=1e-15)  # below the truth


@given(laws, st.floats(0, math.pi / 2), st.floats(0, math.pi / 2))
def test_no_pair_of_atoms_beats_the_one_active_optimum(p, first, second):
    atoms = turn(np.array([first, second]))
    assert one_active_loss(atoms, SQUARE, p) >= one_active_tilt(*p)[0] - 1e-14


def test_independent_features_at_one_active_have_the_reference_losses():
    p = np.array([0.21, 0.09, 0.21])
    loss, tilt = one_active_tilt(*p)
    assert loss == pytest.approx(0.05671, abs=5e-6)  # the digits given
    assert math.degrees(tilt) == pytest.approx(20.3, abs=0.05)
    angle = 0.5 * math.atan(2 * 0.09 / 0.42)
    symmetric = one_active_loss(turn(np.array([angle, math.pi / 2 - angle])), SQUARE, p)
    assert symmetric == pytest.approx(0.07153, abs=5e-6)  # stationary, and not the optimum


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
@settings(max_examples=10)
def test_alternating_minimisation_never_ends_below_the_enumerated_optimum(seed, width):
    rng = np.random.default_rng(seed)
    x = rng.random((7, 3)) * (rng.random((7, 3)) < 0.7)
    weights = rng.dirichlet(np.ones(7))
    best = one_active_optimum(x, weights, width)
    attained = one_active_loss(best.atoms, x, weights)
    assert attained == pytest.approx(best.loss, abs=1e-12)
    reached = math.inf
    for _ in range(20):
        atoms = rng.random((width, 3))
        for _ in range(30):
            atoms = atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-12)
            labels = (x @ atoms.T).argmax(1)
            for block in range(width):
                rows = np.sqrt(weights[labels == block])[:, None] * x[labels == block]
                if len(rows):
                    atoms[block] = np.abs(np.linalg.svd(rows)[2][0])
        loss = one_active_loss(atoms, x, weights)
        assert loss >= best.loss - 1e-12
        reached = min(reached, loss)
    event("found" if reached < best.loss + 1e-9 else "missed")


def test_matching_pursuit_with_too_small_a_k_is_better_on_hedged_atoms_than_on_the_truth():
    rng = np.random.default_rng(3)
    p = np.array([0.21, 0.09, 0.21])
    x = SQUARE[rng.choice(3, 20_000, p=p / p.sum())]
    _, tilt = one_active_tilt(*p)
    errors = {}
    for name, atoms in {"truth": np.eye(2), "hedged": np.stack([turn(0.0), turn(math.pi / 2 - tilt)])}.items():
        codes = OrthogonalMatchingPursuit(1).encode(x, atoms).toarray()
        errors[name] = np.square(x - codes @ atoms).sum(1)
    for name, expected in {"truth": 0.09, "hedged": one_active_tilt(*p)[0]}.items():
        standard_error = errors[name].std() / math.sqrt(len(x))
        assert abs(errors[name].mean() - expected / p.sum()) < 5 * standard_error  # one in 10^6 by chance
    assert errors["hedged"].mean() < errors["truth"].mean()


def test_a_free_bias_lets_one_active_latent_fit_the_square_ever_better():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    worst = []
    for distance in (1.0, 10.0, 100.0, 1000.0):
        bias, atoms, error = bias_escape(distance)
        scores = np.maximum((corners - bias) @ atoms.T, 0.0)
        losses = np.square(corners - bias).sum(1) - scores.max(1) ** 2
        # The difference of squares loses as many digits as distance^2 has.
        assert losses.max() == pytest.approx(error, abs=1e-15 * 4 * (distance + 1) ** 2)
        assert error <= 1 / (4 * distance) ** 2
        worst.append(error)
    assert np.all(np.diff(worst) < 0)
    # The control: with the bias held at the origin the loss stays.
    assert one_active_tilt(0.25, 0.25, 0.25)[0] > 0.09


def test_a_large_enough_k_needs_no_hedging():
    codes = np.array([[3.0, 2.0, 1.0], [0.0, 1.0, 0.0]])
    assert truncated_truth_loss(codes, None, 3) == truncated_truth_loss(codes, None, 5) == 0.0
    assert truncated_truth_loss(codes, None, 1) == pytest.approx((4 + 1) / 2)
    assert truncated_truth_loss(codes, None, 0) == pytest.approx((14 + 1) / 2)


@pytest.mark.parametrize("k", [2.0, 5.0, 9.0, 12.0])
def test_the_truth_that_a_batch_shares_out_loses_what_lies_below_the_threshold(k):
    rng, rates, n = np.random.default_rng(0), np.linspace(0.05, 0.5, 40), 40_000
    common = rng.standard_normal((n, 1))  # correlates all features; the threshold does not see it
    fires = ndtr(0.6 * common + 0.8 * rng.standard_normal((n, 40))) < rates
    codes = fires * rng.normal(1.0, 0.15, fires.shape)
    active = float(rates.sum())
    kept = codes > sharing_threshold(active, k, 1.0, 0.15)
    errors = np.square(np.where(kept, 0.0, codes)).sum(axis=1)
    assert abs(kept.sum(axis=1).mean() - min(k, active)) < 5 * kept.sum(axis=1).std() / np.sqrt(n)
    assert abs(errors.mean() - shared_truth_loss(active, k, 1.0, 0.15)) <= 5 * errors.std() / np.sqrt(n)
    # by quantiles of the whole batch, which is what is shared out
    shared = np.sort(codes.ravel())[: codes.size - round(k * n)]
    assert np.square(shared).sum() / n == pytest.approx(shared_truth_loss(active, k, 1.0, 0.15), rel=0.02, abs=0.02)


def test_sharing_out_all_loses_nothing_and_nearly_none_nearly_all():
    assert sharing_threshold(11.0, 11.0, 1.0, 0.15) == shared_truth_loss(11.0, 11.0, 1.0, 0.15) == 0.0
    assert shared_truth_loss(11.0, 1e-6, 1.0, 0.15) == pytest.approx(11.0 * (1 + 0.15**2), rel=1e-5)
    losses = [shared_truth_loss(11.0, k, 1.0, 0.15) for k in np.linspace(0.1, 11.0, 50)]
    assert np.all(np.diff(losses) < 0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shared_truth_loss(11.0, 0.0, 1.0, 0.15), "active and k"),
        (lambda: sharing_threshold(11.0, 3.0, 1.0, 0.5), "4 deviations"),
        (lambda: hedging_angle(0.8, 0.8), "sub-distribution"),
        (lambda: hedging_angle(0.3, 0.1, penalty=2.0), "penalty"),
        (lambda: narrow_bound(np.ones((2, 3)), 1), "symmetric"),
        (lambda: narrow_bound(-np.eye(2), 1), "negative"),
        (lambda: one_active_optimum(np.ones((12, 2)), None, 2), "at most 11"),
        (lambda: one_active_optimum([[1.0, 0.0], [-1.0, 0.0]], None, 2), "inner products"),
        (lambda: one_active_optimum(SQUARE, [1.0, -1.0, 1.0], 2), "weights"),
        (lambda: one_active_tilt(0.0, 0.0, 0.0), "sub-distribution"),
        (lambda: truncated_truth_loss(SQUARE, None, -1), "k must"),
        (lambda: bias_escape(0.0), "distance"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
