"""Splitting, composition and fakes: cases made by hand and their loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import beta

from sparsesim.metrics import (
    composition,
    fake_feature_ratio,
    fake_firing_ratio,
    feature_splitting,
    split_parts,
    uniqueness,
)
from sparsesim.metrics.evaluation import Evaluation
from tests.metrics.hand_made import Given, Samples, Truth, evaluation, fitted, unit


def latents(*atoms):
    rows = np.array(atoms, dtype=float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


PARTS = latents([1, 0.9, 0], [1, 0, 0.9], [0, 1, 0])  # two that lean to feature 0, and feature 1
TRUE = np.array([[1.0, 0, 0]] * 20 + [[0, 1.0, 0]] * 20)


def halves(overlap=0, second=10):
    """Feature 0 fires in 20 samples, of which part 0 takes the first ten and part 1 ``second`` after those."""
    codes = np.zeros((40, 3))
    codes[:10, 0] = 1.0
    codes[10 - overlap : 10 - overlap + second, 1] = 1.0
    codes[20:, 2] = 1.0
    return codes


def test_a_feature_whose_samples_two_latents_divide_is_split():
    e = evaluation(np.eye(3), TRUE, PARTS, halves())
    assert {key: list(value) for key, value in split_parts(e).items()} == {0: [0, 1]}
    assert feature_splitting(e) == 0.5  # of the two features that fire


@pytest.mark.parametrize(("overlap", "split"), [(1, True), (2, False)])
def test_parts_may_fire_together_in_a_tenth_of_their_samples(overlap, split):
    e = evaluation(np.eye(3), TRUE, PARTS, halves(overlap))
    assert (0 in split_parts(e)) == split
    assert 0 in split_parts(e, together=0.2)


def test_copies_accidents_and_distant_latents_are_no_parts():
    copied = evaluation(np.eye(3), TRUE, np.eye(3)[[0, 0, 1]], np.repeat(TRUE[:, :1], 3, axis=1))
    assert feature_splitting(copied) == 0.0
    long = np.repeat(TRUE, 5, axis=0)
    rare = np.zeros((200, 3))
    rare[:96, 0], rare[96:100, 1] = 1.0, 1.0  # four of a hundred samples
    assert feature_splitting(evaluation(np.eye(3), long, PARTS, rare)) == 0.0
    assert 0 in split_parts(evaluation(np.eye(3), long, PARTS, rare), part=0.04)
    assert split_parts(evaluation(np.eye(3), TRUE, PARTS, halves()), threshold=0.75) == {}
    silent = evaluation(np.eye(3), TRUE, PARTS, np.zeros((40, 3)))
    assert feature_splitting(silent) == 0.0
    with pytest.raises(ValueError, match="together must be finite and lie in"):
        split_parts(silent, together=2.0)


def test_a_latent_of_two_features_is_composed_and_one_of_one_or_of_three_is_not():
    learned = latents([1, 1, 0, 0], [1, 0.1, 0, 0], [1, 1, 1, 1], [0, 0, 1, -2], [1, 1, 0, 0])
    codes = np.ones((2, 5))
    codes[:, 4] = 0.0  # dead
    assert composition(evaluation(np.eye(4), np.eye(4)[:2], learned, codes)) == 2 / 4


def test_the_projection_on_two_features_is_the_best_that_starts_from_the_nearest():
    rng = np.random.default_rng(0)
    truth, learned = unit(rng, 9, 5), unit(rng, 40, 5)
    count = 0
    for atom in learned:
        cosine = np.abs(truth @ atom)
        first = int(cosine.argmax())
        norms = [
            np.linalg.norm(np.linalg.qr(truth[list(pair)].T)[0].T @ atom)
            for pair in combinations(range(9), 2)
            if first in pair
        ]
        count += cosine.max() < 0.9 and max(norms) >= 0.9
    e = evaluation(truth, np.eye(9), learned, np.ones((9, 40)))
    assert 0 < count < 40
    assert composition(e) == count / 40


def test_a_latent_near_no_feature_is_fake_if_it_is_alive():
    learned = latents([1, 0.2, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, -1])
    truth, codes = np.eye(4)[:3], np.ones((3, 4))
    codes[:, 3] = 0.0
    assert fake_feature_ratio(evaluation(truth, np.eye(3), learned, codes)) == 1 / 3
    assert fake_feature_ratio(evaluation(truth, np.eye(3), np.eye(4)[:3])) == 0.0


def test_random_directions_are_fake_as_often_as_the_docstring_says():
    rng, (d, m), p = np.random.default_rng(0), (20, 50), 400
    found = []
    for _ in range(20):
        found.append(fake_feature_ratio(evaluation(unit(rng, m, d), np.eye(m), unit(rng, p, d), np.ones((m, p)))))
    expected = beta.cdf(0.25, 0.5, (d - 1) / 2) ** m
    assert abs(np.mean(found) - expected) < 4.9 * np.std(found, ddof=1) / np.sqrt(20)  # alpha = 1e-6


class Above:
    """Fires where the projection on an atom exceeds its threshold."""

    def __init__(self, thresholds):
        self.thresholds = np.asarray(thresholds)

    def encode(self, x, atoms):
        scores = x @ atoms.T
        return csr_array(np.where(scores > self.thresholds, scores, 0.0))


def test_latents_with_low_thresholds_fire_on_noise_of_the_same_covariance():
    rng = np.random.default_rng(0)
    codes = (rng.random((4000, 2)) < 0.01) * 10.0  # variance 0.99: noise of the same rarely reaches five
    truth = Truth(np.eye(2), np.full(2, 3.0))
    e = Evaluation(truth, fitted(np.eye(2), Above([5.0, 0.5]), np.full(2, 3.0)), Samples(codes + 3.0, csr_array(codes)))
    draw = np.random.default_rng(1)
    assert fake_firing_ratio(e, rng=draw) == 0.5  # P(N(0.1, 1) > 0.5) = 0.34, above 5 it is 5e-7
    assert fake_firing_ratio(e, threshold=0.4, rng=draw) == 0.0
    assert fake_firing_ratio(e, threshold=0.28, rng=draw) == 0.5  # 0.34 is 8 standard errors above
    silent = evaluation(np.eye(2), np.eye(2), np.eye(2), np.zeros((2, 2)))
    assert np.isnan(fake_firing_ratio(silent, rng=draw))


def test_splitting_into_copies_shows_in_uniqueness_alone():
    learned = np.eye(3)[[0, 0, 1]]
    e = Evaluation(Truth(np.eye(3), np.zeros(3)), fitted(learned, Given(csr_array(np.ones((2, 3))))),
                   Samples(np.ones((2, 3)), csr_array(np.ones((2, 3)))))  # fmt: skip
    assert uniqueness(e) == pytest.approx(2 / 3)
    assert feature_splitting(e) == composition(e) == fake_feature_ratio(e) == 0.0
