"""The residual stream: rates, energies and layers of one token; and the metrics of layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sparsesim._arrays import Codes
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.magnitude import Uniform
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.residual import ResidualLayers, layer_batches
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.layers import angular_distances, layer_distribution, layer_entropy, layer_groups

FOREST = Forest((-1, 0, 0, -1, 3, 3, 3), (0.5, 0.4, 0.3, 0.6, 0.2, 0.3, 0.4))
LAWS = [ResidualLayers(FOREST, 3), ResidualLayers(ExactlyK(6, 3), 4, (1, 3)), ResidualLayers(ExactlyK(6, 3), 1)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("law", LAWS)
def test_rates_joint_rates_and_energy_are_those_of_many_draws(law):
    n, m = 40_000, law.n_features
    fires = law.draw(n, rng(1)).codes(np.ones(law.draw(n, rng(1)).indices.size)).toarray()
    joint = law.pairwise()
    deviation = np.sqrt(np.maximum(joint * (1 - joint), 1e-12) / n)
    # 49 standard normal deviations: five standard errors happen by chance once in thirty thousand times.
    assert (np.abs(fires.T @ fires / n - joint) < 5 * deviation + 1e-12).all()
    np.testing.assert_allclose(np.diag(joint), law.marginals(), rtol=1e-12)
    vectors = rng(2).standard_normal((m, 3))
    np.testing.assert_allclose(law.energy(vectors), np.trace(vectors.T @ joint @ vectors), rtol=1e-10)


def test_one_layer_is_the_base_and_a_feature_is_never_seen_before_its_layer():
    law = ResidualLayers(ExactlyK(6, 3), 1)
    np.testing.assert_array_equal(law.pairwise(), law.base.pairwise())
    law = ResidualLayers(ExactlyK(7, 3), 3, (0, 1))
    np.testing.assert_array_equal(law.born, [0, 0, 0, 1, 1, 2, 2])
    assert set(law.draw(500, rng()).indices) == {0, 1, 2, 3, 4}
    for bad, error in ((("layers", 7), ValueError), (("pooled", (0, 0)), ValueError), (("pooled", [0]), TypeError)):
        with pytest.raises(error, match=bad[0]):
            ResidualLayers(**{"base": ExactlyK(6, 3), "layers": 2, bad[0]: bad[1]})


def test_each_layer_adds_its_own_features_to_what_was_there():
    law = ResidualLayers(FOREST, 3, (2,))
    model = FeatureSpec(5, law, RandomSphere(), Uniform(0.5, 1.5), Gaussian(0.1), bias=0.7).build(rng(3))
    layers = layer_batches(model, 50, rng(4))
    assert len(layers) == 3
    shared = layers[0].x - layers[0].codes.toarray() @ model.atoms
    assert np.abs(shared - model.bias).max() > 0.05  # noise, the same at all layers
    before = np.zeros((50, 7))
    for number, batch in enumerate(layers):
        codes = batch.codes.toarray()
        np.testing.assert_allclose(batch.x, codes @ model.atoms + shared, atol=1e-12)
        assert set(np.nonzero(codes - before)[1]) == set(np.flatnonzero(law.born == number))
        before = codes
    with pytest.raises(TypeError, match="ResidualLayers"):
        layer_batches(FeatureSpec(5, FOREST, RandomSphere(), Uniform(0.5, 1.5)).build(rng()), 3, rng())


def test_a_feature_of_layer_b_has_the_entropy_of_the_layers_from_b_on():
    law = ResidualLayers(ExactlyK(8, 8), 4)
    model = FeatureSpec(8, law, RandomSphere(), Uniform(0.5, 1.5)).build(rng(3))
    codes = [batch.codes for batch in layer_batches(model, 20, rng(4))]
    np.testing.assert_allclose(layer_entropy(codes), np.log2(4 - law.born), atol=1e-12)
    share = layer_distribution([Codes(np.array([[1.0, 0.0, -3.0]])), Codes(np.array([[0.0, 0.0, 1.0]]))])
    np.testing.assert_array_equal(share, [[1.0, 0.0], [np.nan, np.nan], [0.75, 0.25]])
    with pytest.raises(ValueError, match="one shape"):
        layer_entropy([Codes((2, 3)), Codes((2, 4))])


def test_groups_of_layers_have_the_least_diameter_of_all_contiguous_groupings():
    x = [batch for batch in rng(5).standard_normal((6, 30, 4)).cumsum(0)]
    distances = angular_distances(x)
    np.testing.assert_allclose(distances, distances.T)
    unit = [layer / np.linalg.norm(layer, axis=1, keepdims=True) for layer in x]
    assert distances[0, 3] == pytest.approx((np.arccos((unit[0] * unit[3]).sum(1)) / np.pi).mean(), rel=1e-12)
    assert not np.diag(distances).any()
    for count in range(1, 7):
        found = layer_groups(distances, count)
        assert len(found) == count and list(itertools.chain(*found)) == list(range(6)) and all(found)
        brute = []
        for cuts in itertools.combinations(range(1, 6), count - 1):
            edges = (0, *cuts, 6)
            brute.append(max(distances[a:b, a:b].max() for a, b in itertools.pairwise(edges)))
        assert max(distances[np.ix_(group, group)].max() for group in found) == min(brute)
    with pytest.raises(ValueError, match="square"):
        layer_groups(distances[:3], 2)
