"""Hedging: the closed forms of theory, a dense twin, and what chance and the truth get."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.metrics import atom_components, hedging_score
from tests.metrics.hand_made import evaluation, unit
from theory.hedging import hedging_angle, one_active_optimum, one_active_tilt

LAW = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])  # first alone, both, second alone, none


def of_law(weights, atoms):
    """100 samples with exactly these shares, encoded by projection."""
    true = np.repeat(LAW, np.rint(np.asarray(weights) * 100).astype(int), axis=0)
    return evaluation(np.eye(2), true, atoms, true @ atoms.T)


@pytest.mark.parametrize("weights", [(0.3, 0.1, 0.0, 0.6), (0.15, 0.15, 0.0, 0.7), (0.4, 0.3, 0.1, 0.2)])
def test_a_single_latent_has_the_sine_of_the_closed_form(weights):
    moment = np.einsum("n,ni,nj->ij", weights, LAW, LAW)
    latent = np.linalg.eigh(moment)[1][:, -1:].T  # the best single latent, whatever theory says of it
    assert hedging_score(of_law(weights, latent)) == pytest.approx(np.sin(hedging_angle(*weights[:3])), abs=1e-12)


def test_what_excludes_the_feature_counts_with_the_other_sign():
    # Both fire in 0.05 of samples, 0.4 * 0.4 would be independent: the atom that still takes up the other does not
    # hedge by the correlation (there is no bias that could), and says so.
    weights = (0.35, 0.05, 0.35, 0.25)
    tilted = np.array([[np.cos(0.2), np.sin(0.2)]])
    assert hedging_score(of_law(weights, tilted)) == pytest.approx(-np.sin(0.2), abs=1e-12)
    away = np.array([[np.cos(0.2), -np.sin(0.2)]])
    assert hedging_score(of_law(weights, away)) == pytest.approx(np.sin(0.2), abs=1e-12)


def test_with_one_active_latent_one_of_two_atoms_hedges_by_the_closed_form():
    weights = (0.3, 0.25, 0.2, 0.25)
    best = one_active_optimum(LAW[:3], np.array(weights[:3]), 2)
    _, tilt = one_active_tilt(*weights[:3])
    assert hedging_score(of_law(weights, best.atoms)) == pytest.approx(np.sin(tilt) / 2, abs=1e-9)  # the other is pure


def test_components_are_the_coordinates_in_the_true_atoms():
    rng = np.random.default_rng(0)
    truth, mixture = unit(rng, 4, 6), rng.standard_normal((4, 4)) * 0.2 + np.eye(4)
    learned = mixture @ truth
    norms = np.linalg.norm(learned, axis=1, keepdims=True)
    e = evaluation(truth, np.eye(4), learned / norms)
    assert list(e.match.atoms) == [0, 1, 2, 3]
    signs = np.sign(np.diag(e.cosines))[:, None]
    assert atom_components(e) == pytest.approx(signs * mixture / norms, abs=1e-12)  # rounding


def test_in_superposition_components_are_coordinates_in_the_plane_of_two_features():
    rng = np.random.default_rng(1)
    truth = unit(rng, 5, 3)
    learned = unit(rng, 1, 3)
    e = evaluation(truth, np.eye(5), learned)
    found, i = atom_components(e)[0], int(e.match.features[0])
    u = e.aligned_atoms[i]
    for j in set(range(5)) - {i}:
        plane = np.linalg.lstsq(truth[[i, j]].T, u, rcond=None)[0]
        assert found[j] == pytest.approx(plane[1], abs=1e-12)  # rounding
    assert found[i] == pytest.approx(truth[i] @ u, abs=1e-12)


def test_features_that_cannot_be_told_apart_are_left_out():
    truth = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    codes = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    e = evaluation(truth, codes, truth[:1])
    assert np.isnan(atom_components(e)).sum() == 1
    assert hedging_score(e) == pytest.approx(0.0, abs=1e-15)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 5), st.sampled_from([4, 30]))
def test_the_score_equals_its_dense_twin(seed, m, d, n):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, m)) < 0.5) * rng.integers(-4, 9, (n, m)) / 4
    e = evaluation(unit(rng, m, d), true, unit(rng, 4, d))
    w, scores = atom_components(e), []
    for row, i in enumerate(e.match.features):
        above = below = 0.0
        for j in range(m):
            if j != i and np.ptp(true[:, i]) and np.ptp(true[:, j]):
                rho = np.corrcoef(true[:, i], true[:, j])[0, 1]
                rho = 0.0 if abs(rho) < 1e-9 else rho  # rounding of what is 0 exactly
                above, below = above + rho * abs(rho) * w[row, j], below + rho**2
        if below:
            scores.append(above / below)
    assert hedging_score(e) == pytest.approx(np.mean(scores) if scores else np.nan, abs=1e-9, nan_ok=True)


def test_the_truth_and_random_directions_do_not_hedge():
    rng = np.random.default_rng(0)
    codes = (rng.random((200, 8)) < 0.3) * 1.0
    codes[:, 4:] *= codes[:, :4]
    truth = unit(rng, 8, 12)
    assert hedging_score(evaluation(truth, codes, truth)) == pytest.approx(0.0, abs=1e-12)  # rounding
    found = [hedging_score(evaluation(np.eye(8), codes, unit(rng, 8, 8))) for _ in range(100)]
    assert abs(np.mean(found)) < 4.9 * np.std(found, ddof=1) / 10
    assert np.std(found) > 0.01


def test_chance_correlations_of_many_others_do_not_drown_one_companion():
    rng = np.random.default_rng(0)
    codes = (rng.random((20_000, 60)) < 0.2) * 1.0
    codes[:, 1] = codes[:, 0] * (rng.random(20_000) < 0.5)
    hedged = np.eye(60)[:1] + 0.5 * np.eye(60)[1:2]
    score = hedging_score(evaluation(np.eye(60), codes, hedged / np.linalg.norm(hedged)))
    # The companion has rho^2 = 0.44, 58 others 1/n = 5e-5 each: under 1 % of the weight
    assert score == pytest.approx(0.5 / np.hypot(1.0, 0.5), rel=0.01)
