"""The peer's definitions against dense twins, and how each can be gamed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sparsesim.metrics import (
    explained_variance,
    latent_f1,
    mcc,
    mcc_learned,
    recovered_at_99,
    relative_norm,
    saelens_accuracy,
    saelens_explained_variance,
    saelens_f1,
    saelens_mcc,
    saelens_precision,
    saelens_recall,
    saelens_shrinkage,
    saelens_uniqueness,
    uniqueness,
)
from tests.metrics.hand_made import evaluation, unit


def per_latent(true, learned, nearest):
    """Confusion counts of each latent with its nearest feature, the way of the source: dense, one latent at a time."""
    rows = []
    for j, i in enumerate(nearest):
        on, is_on = learned[:, j] != 0, true[:, i] > 0
        tp, fp = (on & is_on).sum(), (on & ~is_on).sum()
        fn, tn = (~on & is_on).sum(), (~on & ~is_on).sum()
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn) if tp + fn else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append((precision, recall, f1, (tp + tn) / len(true)))
    return np.mean(rows, axis=0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.integers(1, 12))
def test_every_score_equals_its_dense_twin(seed, m, p, n):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, m)) < 0.5) * rng.standard_normal((n, m))
    learned = (rng.random((n, p)) < 0.5) * rng.standard_normal((n, p))
    atoms, found = unit(rng, m, 4), unit(rng, p, 4)
    e = evaluation(atoms, true, found, learned)
    similarity = np.abs(atoms @ found.T)
    rows, columns = linear_sum_assignment(1 - similarity)
    nearest = similarity.argmax(axis=0)
    # abs: order of summation
    assert saelens_mcc(e) == pytest.approx(similarity[rows, columns].mean(), abs=1e-12)
    assert saelens_uniqueness(e) == len(set(nearest)) / p
    ours = [metric(e) for metric in (saelens_precision, saelens_recall, saelens_f1, saelens_accuracy)]
    assert ours == pytest.approx(per_latent(true, learned, nearest), abs=1e-12)
    x, rebuilt = e.batch.x, e.reconstruction
    norms = np.linalg.norm(x, axis=1)
    if (norms > 1e-6).any():
        expected = (np.linalg.norm(rebuilt, axis=1) / np.where(norms > 1e-6, norms, np.nan))[norms > 1e-6].mean()
        assert saelens_shrinkage(e) == pytest.approx(expected, abs=1e-12)
    else:
        assert np.isnan(saelens_shrinkage(e))
    if n > 1 and np.ptp(x, axis=0).max() > 0:
        assert saelens_explained_variance(e) == pytest.approx(explained_variance(e), rel=1e-6, abs=1e-6)  # cancellation


def test_all_latents_on_one_feature_reach_f1_of_one_though_one_of_64_is_found():
    truth, rng = np.eye(64), np.random.default_rng(0)
    true = (rng.random((500, 64)) < 0.1) * 1.0
    e = evaluation(truth, true, np.tile(truth[:1], (64, 1)), np.tile(true[:, :1], (1, 64)))
    assert saelens_f1(e) == saelens_precision(e) == saelens_recall(e) == saelens_accuracy(e) == 1.0
    assert saelens_mcc(e) == saelens_uniqueness(e) == 1 / 64
    assert mcc(e) == recovered_at_99(e) == latent_f1(e) == 1 / 64
    assert uniqueness(e) == pytest.approx(1 / 64, abs=1e-12)  # sum of 64 terms 1/64


def test_64_exact_and_960_random_latents_reach_mcc_of_one():
    rng = np.random.default_rng(0)
    truth = unit(rng, 64, 32)
    e = evaluation(truth, np.eye(64), np.concatenate([truth, unit(rng, 960, 32)]))
    assert saelens_mcc(e) == pytest.approx(1.0, abs=1e-12)
    assert mcc_learned(e) == pytest.approx(64 / 1024, abs=1e-12)


def test_four_exact_latents_of_256_features_reach_mcc_of_one():
    truth = np.eye(256)
    e = evaluation(truth, np.eye(256), truth[:4])
    assert saelens_mcc(e) == 1.0
    assert mcc(e) == 4 / 256


def test_random_latents_look_nearly_unique_to_the_peer_and_so_do_they_to_us_but_copies_do_not():
    rng = np.random.default_rng(1)
    truth, found = unit(rng, 400, 16), unit(rng, 40, 16)
    e = evaluation(truth, np.eye(400), found)
    assert saelens_uniqueness(e) > 0.9
    assert mcc(e) < 0.1


def test_a_silent_dictionary_is_accurate():
    true = np.zeros((100, 4))
    true[:5] = 1.0
    e = evaluation(np.eye(4), true, np.eye(4), np.zeros((100, 4)))
    assert saelens_accuracy(e) == pytest.approx(0.95, abs=1e-12)
    assert latent_f1(e) == saelens_f1(e) == 0.0


def test_a_large_offset_hides_shrinkage_from_the_peer_but_not_from_us():
    true = np.random.default_rng(0).standard_normal((200, 3))
    e = evaluation(np.eye(3), true, np.eye(3), 0.1 * true, bias=np.full(3, 1e4))
    assert saelens_shrinkage(e) == pytest.approx(1.0, abs=1e-3)  # spread over offset, 1e-4 and a margin
    assert relative_norm(e) == pytest.approx(0.1, rel=0.1)  # the mean of the samples is not exactly the bias


def test_the_variance_by_subtraction_loses_the_digits_that_ours_keeps():
    true = np.random.default_rng(0).standard_normal((300, 2))
    e = evaluation(np.eye(2), true, np.eye(2), 0.5 * true, bias=np.full(2, 1e7))
    exact = explained_variance(evaluation(np.eye(2), true, np.eye(2), 0.5 * true))
    assert explained_variance(e) == pytest.approx(exact, abs=1e-7)  # x itself is rounded at 1e7 * 2^-53 = 1e-9
    assert abs(saelens_explained_variance(e) - exact) > 1e-6
