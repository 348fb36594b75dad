"""`evaluate` places a model between chance and the truth."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

import sparsesim as ss
from sparsesim import Role, stream
from sparsesim.generators import Bernoulli, EqualRates, FeatureSpec, Orthonormal, Uniform
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study.interval import Interval
from sparsesim.validate.scorecard import METRICS

WORLD = ss.worlds.superposed(dim=16, n_features=24, k=2).build(stream(0, Role.TRUTH))


def test_the_true_dictionary_reaches_its_ceiling_and_a_random_one_its_floor():
    true = FittedDictionary(WORLD.atoms, WORLD.bias, OrthogonalMatchingPursuit(2), Status.CONVERGED)
    top = ss.evaluate(true, WORLD, n=500, draws=3)
    assert top["mcc"].score.mean == pytest.approx(1.0, abs=1e-9)
    assert top["support_f1"].score == top["support_f1"].oracle
    assert top["support_f1"].genie.mean == pytest.approx(1.0, abs=1e-9)
    random = RandomDictionary(24, OrthogonalMatchingPursuit(2)).fit(np.zeros((1, 16)), rng=stream(9, Role.SOLVER))
    bottom = ss.evaluate(random, WORLD, n=500, draws=3)
    # Two random dictionaries of 24 atoms in 16 dimensions differ in MCC by a few hundredths.
    assert abs(bottom["mcc"].score.mean - bottom["mcc"].floor.mean) < 0.1
    assert bottom["mcc"].score.mean < 0.75 < top["mcc"].score.mean
    assert abs(bottom["mcc_corrected"].score.mean) < 0.2


def test_a_torch_module_of_ten_lines_is_scored():
    class MySAE(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.W = torch.nn.Parameter(torch.as_tensor(WORLD.atoms.copy(), dtype=torch.float32))

        def encode(self, x):
            z = torch.relu(x @ self.W.T)
            return torch.where(z >= z.topk(2, dim=-1).values[..., -1:], z, 0.0)

        def decode(self, z):
            return z @ self.W

    card = ss.evaluate(MySAE(), WORLD, n=400, draws=3)
    assert card["mcc"].score.mean == pytest.approx(1.0, abs=1e-6)
    assert card["l0"].score.mean <= 2
    assert card["amortisation_gap"].score.mean > 0
    printed = str(card)
    for word in ("floor", "oracle", "genie", "MySAE", "m=24", "p=24", "3 held-out draws"):
        assert word in printed
    for metric in METRICS:
        assert metric.__name__ in printed


def test_the_same_call_gives_the_same_scores():
    true = FittedDictionary(WORLD.atoms, WORLD.bias, OrthogonalMatchingPursuit(1), Status.CONVERGED)
    assert ss.evaluate(true, WORLD, n=200, draws=2).scores == ss.evaluate(true, WORLD, n=200, draws=2).scores


def test_a_spec_is_built_by_the_seed():
    spec = WORLD.spec
    true = FittedDictionary(WORLD.atoms, WORLD.bias, OrthogonalMatchingPursuit(2), Status.CONVERGED)
    assert ss.evaluate(true, spec, n=200, draws=2, seed=0)["mcc"].score.mean == pytest.approx(1.0, abs=1e-9)


def test_a_model_of_another_dimension_is_refused():
    other = FittedDictionary(np.eye(5), np.zeros(5), OrthogonalMatchingPursuit(1), Status.CONVERGED)
    with pytest.raises(ValueError, match="d=16"):
        ss.evaluate(other, WORLD, n=100, draws=2)


@pytest.mark.parametrize(("name", "value"), [("n", 3), ("draws", 1), ("n", 2.5)])
def test_bad_sizes_are_named(name, value):
    true = FittedDictionary(WORLD.atoms, WORLD.bias, OrthogonalMatchingPursuit(2), Status.CONVERGED)
    with pytest.raises((ValueError, TypeError), match=name):
        ss.evaluate(true, WORLD, **{name: value})


def test_an_unknown_metric_names_those_there_are():
    true = FittedDictionary(WORLD.atoms, WORLD.bias, OrthogonalMatchingPursuit(2), Status.CONVERGED)
    with pytest.raises(KeyError, match="support_f1"):
        _ = ss.evaluate(true, WORLD, n=100, draws=2)["accuracy"]


@pytest.mark.parametrize("world", [torch.nn.Linear(1, 1), ss.worlds.superposed, np.zeros((3, 16)), None])
def test_what_is_no_world_is_refused_with_the_order_of_the_arguments(world):
    true = FittedDictionary(WORLD.atoms, WORLD.bias, OrthogonalMatchingPursuit(2), Status.CONVERGED)
    with pytest.raises(TypeError, match=r"evaluate\(model, world\)"):
        ss.evaluate(true, world)


def test_a_world_in_which_nothing_fires_says_what_is_undefined_and_what_to_do():
    silent = FeatureSpec(4, Bernoulli(EqualRates(4, 1e-9)), Orthonormal(), Uniform(0.5, 1.5))
    fit = FittedDictionary(np.eye(4), np.zeros(4), OrthogonalMatchingPursuit(1), Status.CONVERGED)
    with pytest.raises(ValueError, match=r"explained_variance is undefined.*raise n"):
        ss.evaluate(fit, silent, n=8, draws=2)


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert str(Interval(-1e-9, -2e-9, 0.0, 3)) == "0.000 [0.000, 0.000] (3 seeds)"


def test_a_model_that_draws_leaves_the_global_random_states_alone():
    class Drawing:
        """Draws from everywhere, to no effect."""

        def encode(self, x):
            np.random.rand()  # noqa: NPY002 - as others' code does
            random.random()
            torch.rand(1)
            return np.maximum(x, 0.0)

        def decode(self, z):
            return z

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before, position = states(), np.random.get_state()[2]  # noqa: NPY002
    ss.evaluate(Drawing(), WORLD, n=100, draws=2)
    assert states() == before
    assert np.random.get_state()[2] == position  # noqa: NPY002
