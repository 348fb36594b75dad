"""The regression of errors on properties finds what was planted, and does not tell apart what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import sparsesim as ss
from sparsesim import Role, stream
from sparsesim.metrics import Evaluation
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.validate.attribution import (
    CAUSES,
    PROPERTIES,
    feature_errors,
    feature_properties,
    rank_correlations,
    slopes,
)

RNG = np.random.default_rng(0)


def spoiled(world, spoil):
    """The true dictionary, each atom turned away from its feature as far as ``spoil`` says."""
    truth = world.build(stream(0, Role.TRUTH))
    batch = truth.sample(800, stream(0, Role.TEST))
    noise = RNG.standard_normal(truth.atoms.shape)
    atoms = truth.atoms + spoil(truth)[:, None] * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return Evaluation(truth, FittedDictionary(atoms, truth.bias, OrthogonalMatchingPursuit(2), Status.CONVERGED), batch)


def test_the_error_is_one_less_the_matched_cosine_and_one_where_nothing_matches():
    truth = ss.worlds.flat(dim=6).build(stream(0, Role.TRUTH))
    fitted = FittedDictionary(truth.atoms[:4], truth.bias, OrthogonalMatchingPursuit(1), Status.CONVERGED)
    errors = feature_errors(Evaluation(truth, fitted, truth.sample(50, stream(0, Role.TEST))))
    np.testing.assert_allclose(errors, [0, 0, 0, 0, 1, 1], atol=1e-12)  # rounding of a cosine of 1


def test_slopes_are_those_of_the_planted_regression_whatever_the_units():
    x = RNG.standard_normal((500, 2))
    error = 3.0 * x[:, 0] - 1.5 * x[:, 1] + 0.5 * RNG.standard_normal(500)
    found = slopes(error, {"first": 1e3 * x[:, 0] + 7, "second": x[:, 1]})
    deviation = error.std()
    # Coefficients of 500 samples with noise 0.5: a standard error of 0.5 / sqrt(500) = 0.022, four of them.
    assert found["first"] == pytest.approx(3.0 * x[:, 0].std() / deviation, abs=0.09 / deviation)
    assert found["second"] == pytest.approx(-1.5 * x[:, 1].std() / deviation, abs=0.09 / deviation)


def test_a_property_that_another_determines_has_no_slope_of_its_own():
    rate = RNG.standard_normal(60)
    found = slopes(rate**3, {"rate": rate, "variance": 2 * rate + 0.01 * RNG.standard_normal(60), "same": np.ones(60)})
    assert np.isfinite(found["rate"])
    assert np.isnan(found["variance"])
    assert np.isnan(found["same"])


def test_equal_errors_have_no_cause():
    assert np.isnan(list(slopes(np.zeros(20), {"rate": RNG.standard_normal(20)}).values())).all()
    assert np.isnan(list(rank_correlations(np.zeros(20), {"rate": RNG.standard_normal(20)}).values())).all()


def test_rank_correlations_are_spearmans_with_ties():
    values, error = RNG.integers(0, 5, 40).astype(float), RNG.integers(0, 4, 40).astype(float)
    expected = spearmanr(error, values).statistic
    assert rank_correlations(error, {"a": values})["a"] == pytest.approx(expected, abs=1e-12)  # the same ranks


def test_rare_features_that_were_made_worse_are_found_to_be():
    world = ss.worlds.zipf(dim=24, n_features=40)
    evaluation = spoiled(world, lambda truth: 0.1 / np.sqrt(world.support.marginals() / 0.25))
    by_name = {metric.__name__: metric(evaluation) for metric in CAUSES}
    assert by_name["alone_log_rate"] < -0.8
    assert by_name["slope_log_rate"] < -0.5
    assert len(by_name) == 2 * len(PROPERTIES)


def test_properties_of_a_tree_are_depth_and_what_follows_from_it():
    world = ss.worlds.tree(dim=24, roots=2)
    properties = feature_properties(spoiled(world, lambda truth: np.full(truth.n_features, 0.1)))
    depth = properties["depth"]
    assert sorted(set(depth)) == [0, 1, 2]
    np.testing.assert_allclose(np.exp(properties["log rate"]), 0.3 * 0.25**depth, rtol=1e-9)  # closed form
    assert ((properties["coherence"] > 0) & (properties["coherence"] < 1)).all()
    assert ((properties["correlation"] >= 0) & (properties["correlation"] <= 1)).all()
