"""Forests drawn on a device have the rates, joint rates and moments of their law, and train a model where they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sparsesim import Role, stream
from sparsesim.generators import (
    CorrelatedBernoulli,
    DeviceForest,
    ExactlyK,
    FactorCorrelation,
    FeatureSpec,
    ForestOver,
    Gaussian,
    GivenRates,
    HalfNormal,
    LowRankCorrelation,
    ParentScaled,
    RandomSphere,
    RectifiedNormal,
    Relabelled,
    StudentT,
)
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from tests.generators.chance import assert_mean, assert_rates

N = 30_000
ROOTS = CorrelatedBernoulli(GivenRates((0.5, 0.3, 0.1, 0.02)), LowRankCorrelation(2, 0.6, shrink=True))
FOREST = ForestOver(ROOTS, (0, 0, 0, 4, 4, 1, 9), (0.5, 0.2, 0.3, 0.6, 0.4, 0.7, 1.0))  # depths 1 to 3; 9 under 1
MEANS, STDS = (1.0, 2.0, -0.5, 1.0, 3.0, 0.5, 1.0, 2.0, 1.0, 0.1, 1.0), (0.5,) * 10 + (0.0,)
PARENTS = (-1, -1, -1, -1, 0, 0, 0, 4, 4, 1, 9)
ORDER = (10, 3, 5, 0, 1, 2, 4, 9, 8, 7, 6)
PLACE = np.argsort(ORDER)


def world(relabelled: bool = False, scaled: bool = True, **change):
    base = RectifiedNormal(MEANS, STDS)
    support, parents = FOREST, PARENTS
    if relabelled:
        support = Relabelled(FOREST, ORDER)
        parents = tuple(-1 if PARENTS[i] < 0 else int(PLACE[PARENTS[i]]) for i in ORDER)
    magnitude = ParentScaled(base, parents) if scaled else base
    fields = {"dim": 5, "support": support, "geometry": RandomSphere(), "magnitude": magnitude, "bias": 0.5} | change
    return FeatureSpec(**fields).build(stream(0, Role.TRUTH))


def dense(codes, m: int) -> np.ndarray:
    out = np.zeros((len(codes.bounds) - 1, m))
    rows = np.repeat(np.arange(len(out)), np.diff(codes.bounds.numpy()))
    np.add.at(out, (rows, codes.indices.numpy()), codes.values.numpy())
    return out


@pytest.mark.parametrize("relabelled", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_rates_pairs_and_coefficients_are_those_of_the_law(relabelled, scaled):
    model = world(relabelled, scaled)
    x, codes = DeviceForest(model, "cpu").sample(N, torch.Generator().manual_seed(3))
    values, m = dense(codes, 11), 11
    assert (codes.values > 0).all() and np.count_nonzero(values) == len(codes.values), "a feature fires twice"
    fires = (values > 0).astype(float)
    joint = model.spec.support.pairwise()
    upper = np.triu_indices(m)
    assert_rates((fires.T @ fires)[upper], N, joint[upper])
    mean = np.asarray(model.spec.magnitude.mean(m))
    second = np.asarray(model.spec.magnitude.second_moment(m))
    for feature in range(m):
        own = values[values[:, feature] > 0, feature]
        assert_mean(own, mean[feature], 2 * m)
        assert_mean(own**2, second[feature], 2 * m)
    expected = values @ model.atoms + model.bias
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_samples_are_a_function_of_the_generator_and_no_batch_comes_twice():
    source = DeviceForest(world(noise=Gaussian(0.1)), "cpu")
    first, second = (source.batches(64, stream(1, Role.TRAIN)) for _ in range(2))
    parts = [next(first) for _ in range(70)]
    for part in parts:
        assert part.shape == (64, 5) and torch.equal(part, next(second))
    assert len(torch.cat(parts).unique(dim=0)) == 70 * 64
    assert not torch.equal(next(source.batches(64, stream(2, Role.TRAIN))), parts[0])


def test_noise_and_factors_given_are_drawn_too():
    roots = CorrelatedBernoulli(GivenRates((0.4, 0.2)), FactorCorrelation(((0.9,), (0.8,))))
    support = ForestOver(roots, (), ())
    base = RectifiedNormal((1.0, 1.0), (0.1, 0.1))
    model = FeatureSpec(3, support, RandomSphere(), base, Gaussian(2.0)).build(stream(0, Role.TRUTH))
    x, codes = DeviceForest(model, "cpu").sample(N, torch.Generator().manual_seed(1))
    values = dense(codes, 2)
    assert_rates([((values > 0).all(axis=1)).sum()], N, [support.pairwise()[0, 1]])
    for column in (x.numpy() - values @ model.atoms).T:
        assert_mean(column, 0.0, 6)
        assert_mean(column**2, 4.0, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"support": ExactlyK(11, 3), "scaled": False},
        {"support": dataclasses.replace(FOREST, exclusive=False)},
        {"magnitude": HalfNormal()},
        {"magnitude": ParentScaled(RectifiedNormal(MEANS, STDS), (-1,) * 11)},
        {"noise": StudentT(dof=5.0, sigma=0.1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_worlds_are_refused_by_name_of_what_draws_them(change):
    with pytest.raises(TypeError, match="DeviceSamples draws them on the CPU"):
        DeviceForest(world(**change), "cpu")


def test_a_model_trains_on_tensors_as_it_would_on_their_numbers():
    class Numbers:
        def __init__(self, source):
            self.source, self.dim = source, source.dim

        def batches(self, size, rng):
            return (x.numpy() for x in self.source.batches(size, rng))

    source, solver = DeviceForest(world(), "cpu"), TopK(12, 3, training=Training(steps=40, batch_size=32))
    ours, theirs = (solver.fit_stream(each, rng=stream(0, Role.SOLVER)) for each in (source, Numbers(source)))
    np.testing.assert_allclose(ours.atoms, theirs.atoms, atol=1e-4)  # the mean is subtracted in float32, in torch
    np.testing.assert_allclose(ours.trace["loss"], theirs.trace["loss"], rtol=1e-4)
    both = solver.fit_ensemble([source, source], [stream(0, Role.SOLVER), stream(0, Role.SOLVER, 1)])
    np.testing.assert_allclose(both[0].atoms, ours.atoms, atol=1e-3)
