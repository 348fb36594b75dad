"""More atoms always fit better and never predict better than the noise: training and masked loss, exactly."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.frames import simplex
from theory.masking import (
    exhaustive_loss,
    known_support_loss,
    known_support_masked_loss,
    masked_floor,
    masked_loss,
    plane_loss,
)

seeds = st.integers(0, 2**32 - 1)


def random_unit(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def world(rng, samples, n, d, k, sigma, scale=1.0):
    atoms = random_unit(rng, n, d)
    on = np.argsort(rng.random((samples, n)), axis=1) < k
    codes = on * rng.choice([-1.0, 1.0], (samples, n)) * scale * (0.5 + rng.random((samples, n)))
    return atoms, codes @ atoms + sigma * rng.standard_normal((samples, d))


@settings(max_examples=25)
@given(seeds, st.integers(2, 6), st.integers(2, 5), st.integers(1, 2), st.integers(1, 4))
def test_an_added_atom_never_raises_any_samples_loss(seed, n, d, k, extra):
    rng = np.random.default_rng(seed)
    atoms, x = world(rng, 6, n, d, k, 0.3)
    more = np.concatenate([atoms, random_unit(rng, extra, d)])
    before, after = exhaustive_loss(x, atoms, k), exhaustive_loss(x, more, k)
    assert np.all(after <= before + 1e-12)
    assert np.all(exhaustive_loss(x, more[rng.permutation(len(more))], k) == pytest.approx(after))
    slow = [
        min(
            np.square(row - row @ np.linalg.pinv(c) @ c).sum()
            for s in combinations(range(n), k)
            for c in [atoms[list(s)]]
        )
        for row in x
    ]
    np.testing.assert_allclose(before, slow, atol=1e-10)


def test_with_more_atoms_the_training_loss_falls_and_the_masked_loss_rises():
    rng = np.random.default_rng(0)
    atoms, x = world(rng, 2000, 16, 12, 2, 0.2)
    extra = random_unit(rng, 32, 12)
    trained, masked = [], []
    for count in (0, 10, 32):
        more = np.concatenate([atoms, extra[:count]])
        trained.append(exhaustive_loss(x, more, 2))
        masked.append(masked_loss(x, more, 2, range(9)))
    for fewer, larger in ((0, 1), (1, 2)):
        assert trained[larger].mean() < trained[fewer].mean()
        rise = masked[larger] - masked[fewer]
        assert rise.mean() > 4 * rise.std() / math.sqrt(len(rise))  # paired, alpha below 1e-4
    assert trained[0].mean() < known_support_loss(12, 2, 0.04)  # the best support fits noise too
    assert trained[2].mean() < 0.9 * known_support_loss(12, 2, 0.04)


@settings(max_examples=15)
@given(seeds, st.integers(3, 12), st.integers(1, 2))
def test_no_dictionary_predicts_below_the_noise(seed, n, k):
    rng = np.random.default_rng(seed)
    atoms, x = world(rng, 400, 6, 5, 2, 0.4)
    losses = masked_loss(x, random_unit(rng, n, 5), k, [0, 1, 4])
    truth = masked_loss(x, atoms, k, [0, 1, 4])
    for loss in (losses, truth):
        assert loss.mean() > masked_floor(2, 0.16) - 6 * loss.std() / math.sqrt(len(loss))


def test_training_loss_has_no_floor():
    rng = np.random.default_rng(3)
    x = 0.4 * rng.standard_normal((200, 3))
    assert exhaustive_loss(x, random_unit(rng, 40, 3), 2).mean() < 0.05 * known_support_loss(3, 2, 0.16)


def test_for_strong_signals_the_masked_loss_is_that_of_the_known_support():
    rng = np.random.default_rng(5)
    atoms, sigma, support, seen = random_unit(rng, 5, 7), 0.01, [1, 3], [0, 2, 3, 5, 6]
    codes = np.zeros((20_000, 5))
    codes[:, support] = rng.choice([-1.0, 1.0], (20_000, 2)) * (1 + rng.random((20_000, 2)))
    x = codes @ atoms + sigma * rng.standard_normal((20_000, 7))
    hidden = masked_loss(x, atoms, 2, seen)
    expected = known_support_masked_loss(atoms, support, seen, sigma**2)
    assert abs(hidden.mean() - expected) < 5 * hidden.std() / math.sqrt(len(hidden))  # alpha below 1e-6
    assert expected > masked_floor(2, sigma**2)
    shown = exhaustive_loss(x, atoms, 2)
    assert abs(shown.mean() - known_support_loss(7, 2, sigma**2)) < 5 * shown.std() / math.sqrt(len(shown))


def test_without_support_the_masked_loss_is_the_floor():
    assert known_support_masked_loss(simplex(4), [], [0, 1], 0.3) == masked_floor(2, 0.3) == 0.6


# The plane


@pytest.mark.parametrize("p", [1, 2, 3, 4, 10])
def test_equal_lines_in_pure_noise_have_their_closed_form(p):
    angles = 0.4 + math.pi * np.arange(p) / p
    expected = 0.7 * (1 - math.sin(math.pi / p) / (math.pi / p))
    assert plane_loss(angles, [0.0, 1.0], 0.0, 0.7) == pytest.approx(expected, rel=1e-9)


def test_the_loss_in_the_plane_is_that_of_samples_and_two_lines_of_a_basis_are_known():
    rng = np.random.default_rng(0)
    truth, angles = np.array([0.2, 1.1, 2.5]), np.array([0.1, 1.3, 2.0, 2.6])
    directions = np.c_[np.cos(truth), np.sin(truth)]
    x = 1.5 * rng.standard_normal((200_000, 1)) * directions[rng.integers(3, size=200_000)]
    x += 0.4 * rng.standard_normal(x.shape)
    losses = exhaustive_loss(x, np.c_[np.cos(angles), np.sin(angles)], 1)
    expected = plane_loss(angles, truth, 2.25, 0.16)
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(len(losses))  # alpha below 1e-6
    # One line through one true direction: the noise across it, at any signal.
    assert plane_loss([0.3], [0.3], 5.0, 0.16) == pytest.approx(0.16, rel=1e-9)


@settings(max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=5), st.floats(-10, 10), st.floats(0, 20), st.floats(0.1, 3))
def test_the_loss_in_the_plane_is_an_integral_over_directions(angles, centre, signal, noise):
    # The squared radius at direction t has the mean density 1 / (pi sqrt(det C) (u^T C^{-1} u)^2), of period pi.
    t = math.pi * (np.arange(40_000) + 0.5) / 40_000
    q = np.cos(t - centre) ** 2 / (signal + noise) + np.sin(t - centre) ** 2 / noise
    nearest = np.square(np.sin(t[:, None] - angles)).min(axis=1)
    expected = 2 * (nearest / q**2).mean() / math.sqrt((signal + noise) * noise)
    # The midpoint rule errs by the square of its step times the curvature, at most (1 + signal / noise)^2 or so.
    assert plane_loss(angles, [centre], signal, noise) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("ratio", [1e8, 1e16])
def test_extreme_signals_lose_the_sine_to_a_wrong_line_and_the_noise_to_the_right_one(ratio):
    assert plane_loss([0.7, 0.7], [0.7], ratio, 1.0) == pytest.approx(1.0, rel=1e-6)
    assert plane_loss([1.0], [0.0], ratio, 1.0) == pytest.approx(ratio * math.sin(1.0) ** 2, rel=1e-6)


@pytest.mark.parametrize("snr", [1.0, 100.0, 1e4])
def test_at_every_signal_to_noise_ratio_more_lines_beat_the_truth(snr):
    truth = np.array([0.0, 1.0])
    known = plane_loss(truth, truth, snr, 1.0)
    assert known < 1.0  # sigma^2 (d - k), the loss with the support known
    fan = [plane_loss(math.pi * np.arange(p) / p, truth, snr, 1.0) for p in (4, 16, 64, 256, 1024)]
    assert np.all(np.diff(fan) < 0)
    assert fan[-1] < 0.1 * known
    bounds = [(snr + 2) * math.sin(math.pi / 2 / p) ** 2 for p in (4, 16, 64, 256, 1024)]
    assert np.all(np.array(fan) <= np.array(bounds) * (1 + 1e-9))  # no direction is further than half a gap
    around = np.concatenate([truth, [0.05, 0.95]])
    assert plane_loss(around, truth, snr, 1.0) < known


@pytest.mark.parametrize(
    "call",
    [
        lambda: exhaustive_loss(np.ones((2, 3)), np.eye(2), 1),
        lambda: exhaustive_loss(np.ones((2, 3)), np.eye(3), 4),
        lambda: exhaustive_loss(np.ones((2, 90)), np.eye(90), 4),
        lambda: masked_loss(np.ones((2, 3)), np.eye(3), 2, [0, 1]),
        lambda: masked_loss(np.ones((2, 3)), np.eye(3), 1, [0, 1, 2]),
        lambda: masked_loss(np.ones((2, 3)), np.eye(3), 1, [0, 0]),
        lambda: known_support_masked_loss(np.eye(3), [2], [0, 1], 0.1),
        lambda: known_support_loss(3, 4, 0.1),
        lambda: masked_floor(0, 0.1),
        lambda: masked_floor(1, -0.1),
        lambda: plane_loss([], [0.0], 1.0, 1.0),
        lambda: plane_loss([0.0], [0.0], 1.0, 0.0),
    ],
)
def test_outside_its_assumptions_a_loss_raises(call):
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize("angle", [0.1, 0.7, 1.4])
def test_the_masked_loss_of_one_atom_in_the_plane_is_worked_by_hand(angle):
    # The code is y_0 / cos, of noise sigma / cos, and carries sigma tan into the hidden coordinate.
    atom = np.array([[math.cos(angle), math.sin(angle)]])
    expected = 0.3 * (1 + math.tan(angle) ** 2)
    assert known_support_masked_loss(atom, [0], [0], 0.3) == pytest.approx(expected, rel=1e-12)
