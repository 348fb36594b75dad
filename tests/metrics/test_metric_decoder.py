"""c_dec and the n-th decoder projection: definitions, extremes, chance, and what mixing does to them."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim.metrics import coherence, decoder_coherence, nth_decoder_projection
from tests.metrics.hand_made import evaluation, unit


def of_atoms(learned):
    d = learned.shape[1]
    return evaluation(np.eye(d), np.eye(d), learned)


def test_the_mean_cosine_has_its_extremes_and_equals_its_definition():
    assert decoder_coherence(of_atoms(np.eye(5))) == 0.0
    assert decoder_coherence(of_atoms(np.eye(3)[[0, 0, 0]] * [[1.0], [-1.0], [1.0]])) == pytest.approx(1.0, abs=1e-15)
    assert decoder_coherence(of_atoms(np.eye(3)[:1])) == 0.0
    atoms = unit(np.random.default_rng(0), 7, 4)
    pairs = [abs(atoms[i] @ atoms[j]) for i in range(7) for j in range(i)]
    found = of_atoms(np.concatenate([atoms, np.zeros((2, 4))]))
    assert decoder_coherence(found) == pytest.approx(np.mean(pairs), abs=1e-14)  # rounding
    assert decoder_coherence(found) < coherence(found)


def test_random_directions_have_the_chance_of_the_docstring():
    p, d = 400, 100
    found = decoder_coherence(of_atoms(unit(np.random.default_rng(0), p, d)))
    # E|cos| = Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2)) = sqrt(2 / (pi d)) (1 + 1/(4d)); 79,800 pairs of spread 0.06
    assert found == pytest.approx(np.sqrt(2 / (np.pi * d)) * (1 + 1 / (4 * d)), abs=5 * 0.06 / np.sqrt(p * (p - 1) / 2))


def test_the_projection_is_the_entry_of_its_rank_by_full_sorting():
    rng = np.random.default_rng(0)
    atoms, true = unit(rng, 6, 4), np.abs(rng.standard_normal((25, 6)))
    learned, bias = unit(rng, 5, 4), rng.standard_normal(4)
    found = evaluation(atoms, true, learned, bias=bias)
    scores = np.sort(((found.batch.x - bias) @ learned.T).ravel())[::-1]
    assert [nth_decoder_projection(found, n) for n in range(5)] == [scores[n * 25] for n in range(5)]


def test_the_truth_has_nothing_left_beyond_its_features_and_mixed_atoms_have():
    rng = np.random.default_rng(0)
    true = (rng.random((200, 8)) < 0.25) * rng.uniform(0.8, 1.2, (200, 8))  # two features a sample
    assert nth_decoder_projection(evaluation(np.eye(8), true, np.eye(8)), 1) > 0.5
    assert nth_decoder_projection(evaluation(np.eye(8), true, np.eye(8)), 4) == 0.0
    mixed = np.eye(8) + 0.2
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    found = evaluation(np.eye(8), true, mixed)
    assert nth_decoder_projection(found, 4) > 0.1
    assert decoder_coherence(found) > 0.2


@pytest.mark.parametrize("n", [-1, 3])
def test_a_rank_beyond_the_width_is_refused(n):
    with pytest.raises(ValueError, match=r"n must lie in \[0, width-1=2\]"):
        nth_decoder_projection(of_atoms(np.eye(3)), n)
