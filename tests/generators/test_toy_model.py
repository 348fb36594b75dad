"""The toy model of superposition: its loss and gradient, the arrangements it is known for, what it drops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim.generators import ToyModel
from sparsesim.generators.toy_model import toy_loss
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import seeds


def rng(seed=0):
    return np.random.default_rng(seed)


def loss_twin(weights, bias, batch, importance, empty):
    """The loss sample by sample: with probability ``empty`` nothing fires."""
    losses = []
    for x in batch:
        output = np.maximum(weights @ (weights.T @ x) + bias, 0.0)
        losses.append((importance * (output - x) ** 2).sum())
    return (1 - empty) * np.mean(losses) + empty * (importance * np.maximum(bias, 0.0) ** 2).sum()


def unit(trained):
    return trained.weights / trained.norms[:, None]


def angles(rows):
    """Degrees from each direction in the plane to the next, counter-clockwise."""
    turn = np.sort(np.degrees(np.arctan2(rows[:, 1], rows[:, 0])))
    return np.diff(turn, append=turn[0] + 360.0)


@given(seed=seeds, m=st.integers(1, 6), d=st.integers(1, 4), empty=st.floats(0.0, 1.0))
@settings(max_examples=30)
def test_the_loss_is_that_of_its_definition_and_the_gradient_its_derivative(seed, m, d, empty):
    generator = rng(seed)
    batch = generator.random((17, m)) * (generator.random((17, m)) < 0.5)
    importance = generator.random(m)
    flat, direction, step = generator.standard_normal(m * d + m), generator.standard_normal(m * d + m), 1e-6
    loss, gradient = toy_loss(flat, batch, importance, empty)
    assert loss == pytest.approx(loss_twin(flat[: m * d].reshape(m, d), flat[m * d :], batch, importance, empty))
    ahead, behind = (toy_loss(flat + s * step * direction, batch, importance, empty)[0] for s in (1, -1))
    # The loss has continuous first derivatives; the second jumps where an output starts, an error of order step.
    assert gradient @ direction == pytest.approx((ahead - behind) / (2 * step), abs=1e-3, rel=1e-4)


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_the_batch_holds_samples_in_which_something_fires(density):
    m, n = 5, 20_000
    batch = ToyModel(density, samples=n)._batch(m, rng())
    fires = batch > 0
    assert fires.any(axis=1).all() and batch.max() <= 1.0
    some = 1 - (1 - density) ** m
    assert_rates(fires.sum(axis=0), n, np.full(m, density / some))
    both = density**2 / some
    assert_rates([(fires[:, i] & fires[:, j]).sum() for i in range(m) for j in range(i)], n, np.full(10, both))
    assert_mean(batch[fires], 0.5, tests=2)
    assert_mean(batch[fires] ** 2, 1 / 3, tests=2)


@pytest.mark.parametrize(
    # Losses of the best minimum of the population, from 20 starts on a grid; at 0.1 the antipodal pair has p^2/3.
    ("density", "importance", "loss"),
    [(0.5, 1.0, 0.076280), (0.3, 1.0, 0.029310), (0.1, 1.0, 0.003320), (0.1, 0.5, 0.002485)],
)
def test_two_features_in_one_dimension_reach_the_known_loss(density, importance, loss):
    n = 60_000
    found = ToyModel(density, importance, samples=n).train(2, 1, rng()).loss
    # The loss of a sample lies in [0, 2] and mostly at 0; its standard deviation is at most sqrt(2 * mean).
    some = 1 - (1 - density) ** 2
    assert found == pytest.approx(loss, abs=4.9 * some * np.sqrt(2 * loss / some / n))  # alpha = 1e-6


def test_two_sparse_features_in_one_dimension_are_antipodal():
    for seed in range(3):
        rows = ToyModel(0.1).atoms(2, 1, rng(seed))
        assert rows[0, 0] * rows[1, 0] == -1.0


@pytest.mark.parametrize("seed", range(3))
def test_five_sparse_features_in_the_plane_are_a_pentagon(seed):
    trained = ToyModel(0.03).train(5, 2, rng(seed))
    # The batch has about 800 non-empty samples a feature, so angles vary by some 1/sqrt(800) = 2 degrees; at random
    # the largest of five gaps is 164 degrees on average.
    assert angles(unit(trained)) == pytest.approx(np.full(5, 72.0), abs=4.0)
    # Each is longer than 1, and the bias negative, to cut off the interference (1-sparse limit: 1.370 and -0.283).
    assert np.square(trained.norms) == pytest.approx(np.full(5, 1.35), abs=0.1)
    assert (trained.bias < -0.2).all()


def test_the_least_density_is_trained_as_well_as_others():
    assert angles(ToyModel(1e-6).atoms(4, 2, rng())) == pytest.approx(np.full(4, 90.0), abs=1.0)


def test_four_sparse_features_in_the_plane_are_two_orthogonal_digons():
    assert angles(ToyModel(0.05).atoms(4, 2, rng())) == pytest.approx(np.full(4, 90.0), abs=1.0)


def test_three_sparse_features_in_the_plane_are_a_digon_and_one_aside_but_dense_ones_a_triangle():
    """A triangle interferes in all pairs at once, a digon in one pair only."""
    for seed in range(2):
        rows = ToyModel(0.1).atoms(3, 2, rng(seed))
        assert np.sort((rows @ rows.T)[np.triu_indices(3, 1)]) == pytest.approx([-1.0, 0.0, 0.0], abs=0.03)
    dense = ToyModel(0.7, samples=20_000).atoms(3, 2, rng())
    # The valley is flat: the cosines of 120 degrees within a tenth.
    assert (dense @ dense.T)[np.triu_indices(3, 1)] == pytest.approx(np.full(3, -0.5), abs=0.1)


def test_eight_sparse_features_in_space_are_a_square_antiprism():
    rows = ToyModel(0.05).atoms(8, 3, rng())
    gram = np.sort(rows @ rows.T, axis=1)
    # Each has two far (the other square), one opposite, four at about 75 degrees (two of each square), and itself.
    assert np.abs(gram - gram.mean(axis=0)).max() < 0.06
    assert gram.mean(axis=0)[:3] == pytest.approx([-0.79, -0.79, -0.44], abs=0.03)
    share = 1 / np.square(rows @ rows.T).sum(axis=1)
    assert share == pytest.approx(np.full(8, 3 / 8), abs=0.02)


def test_dense_or_unimportant_features_are_dropped():
    with pytest.raises(
        ValueError, match=r"drops 3 of m=4 features in d=1 .*Lower density=1, raise importance=0.1 or dim"
    ):
        ToyModel(1.0, importance=0.1).atoms(4, 1, rng())
    trained = ToyModel(1.0, importance=0.1).train(4, 1, rng())
    assert trained.dropped.tolist() == [1, 2, 3]
    assert trained.norms[0] == pytest.approx(1.0, abs=1e-3)


def test_dropped_features_are_random_only_when_asked():
    toy, generator = ToyModel(1.0, importance=0.1, random_dropped=True, samples=64, starts=2), rng()
    draws = np.stack([toy.atoms(3, 2, generator) for _ in range(100)])
    assert np.linalg.norm(draws, axis=2) == pytest.approx(np.ones((100, 3)), abs=1e-14)
    for column in range(2):
        assert_mean(draws[:, -1, column], 0.0, tests=4)
        assert_mean(draws[:, -1, column] ** 2, 0.5, tests=4)


def test_the_orientation_is_uniform():
    toy, generator = ToyModel(0.1, samples=64, starts=1, steps=60, random_dropped=True), rng(2)
    first = np.stack([toy.atoms(5, 2, generator)[0] for _ in range(100)])
    for column in range(2):
        assert_mean(first[:, column], 0.0, tests=6)
        assert_mean(first[:, column] ** 2, 1 / 2, tests=6)
        assert_mean(first[:, column] ** 4, 3 / 8, tests=6)


def test_the_directions_do_not_depend_on_the_number_of_threads():
    rows = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            rows.append(ToyModel(0.1, starts=1, steps=10, samples=3_000, random_dropped=True).atoms(60, 20, rng()))
    assert np.array_equal(*rows)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ToyModel(0.0), ValueError, r"density must be finite and lie in \[1e-06, 1\]; got 0.0"),
        (lambda: ToyModel(1e-9), ValueError, r"density must be finite and lie in \[1e-06, 1\]; got 1e-09"),
        (lambda: ToyModel(1.5), ValueError, "density must be"),
        (lambda: ToyModel(0.5, importance=0.0), ValueError, "importance must be"),
        (lambda: ToyModel(0.5, starts=0), ValueError, r"starts must lie in \[1"),
        (lambda: ToyModel(0.5, samples=2.5), TypeError, "samples must be an integer"),
        (lambda: ToyModel(0.5, random_dropped="yes"), TypeError, "random_dropped must be True or False"),
    ],
)
def test_impossible_toy_models_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
