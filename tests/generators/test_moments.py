"""Mean, covariance and energy: closed forms against brute force, against samples, and estimates within their error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import norm

from sparsesim import Role, stream
from sparsesim.generators import (
    AutoregressiveNoise,
    Background,
    Bernoulli,
    BlockSupport,
    Constant,
    CorrelatedLogNormal,
    EqualRates,
    ExactlyK,
    Exponential,
    FeatureModel,
    FeatureSpec,
    Forest,
    ForestOver,
    Gaussian,
    HalfNormal,
    Interactions,
    LeakyMixing,
    LowRankCorrelation,
    LowRankNoise,
    OnSphere,
    Orthonormal,
    ParentScaled,
    RandomSphere,
    Relabelled,
    Scaled,
    Segments,
    SignedGaussian,
    SynthSAEBenchSupport,
    UnionSupport,
    ZipfRates,
    linear_union,
    sphere_union,
)
from sparsesim.generators.moments import scatter
from tests.generators.chance import ALPHA, assert_mean, assert_rates
from tests.generators.strategies import seeds, specs, supports

N = 40_000


def assert_moments(model, n=N, seed=1):
    """Sample means and products are within the standard errors that ALPHA allows of `mean` and `covariance`."""
    x, d = model.complete(n, stream(seed, Role.TEST), np.dtype(np.float64)).x, model.dim
    moments, tests = model.moments, d + d * (d + 1) // 2
    limit = norm.isf(ALPHA / (2 * tests))
    centred = x - moments.mean
    for i in range(d):
        error = np.hypot(x[:, i].std() / np.sqrt(n), moments.mean_error[i])
        assert abs(centred[:, i].mean()) <= limit * error + 1e-12 * (1 + np.abs(x).max())
        for j in range(i + 1):
            products = centred[:, i] * centred[:, j]
            error = np.hypot(products.std() / np.sqrt(n), moments.covariance_error[i, j])
            assert abs(products.mean() - moments.covariance[i, j]) <= limit * error + 1e-12 * (1 + np.abs(x).max() ** 2)


@given(law=supports())
@settings(max_examples=60)
def test_the_scatter_of_every_law_is_that_of_its_joint_rates(law):
    vectors = np.random.default_rng(0).standard_normal((law.n_features, 3))
    found = scatter(law, vectors)
    assert found == pytest.approx(vectors.T @ law.pairwise() @ vectors, rel=1e-9, abs=1e-9)  # numerical rates: 1e-10
    assert np.trace(found) == pytest.approx(law.energy(vectors), rel=1e-8, abs=1e-8)


def brute(model):
    """The formula of the docstring, with every sum written out."""
    spec, m, rows = model.spec, model.n_features, model.atoms
    joint, rates = spec.support.pairwise(), spec.support.marginals()
    mean, second = spec.magnitude.mean(m), spec.magnitude.second_moment(m)
    coupled = not getattr(spec.magnitude, "independent", True)
    cross = spec.magnitude.cross(m) if coupled else np.outer(mean, mean)
    centre = sum(rates[i] * mean[i] * rows[i] for i in range(m))
    total = sum(
        (rates[i] * second[i] if i == j else joint[i, j] * cross[i, j]) * np.outer(rows[i], rows[j])
        for i in range(m)
        for j in range(m)
    )
    return centre + model.bias, total - np.outer(centre, centre) + model.noise_std**2 * spec.noise.covariance(model.dim)


@given(spec=specs(most=7), seed=seeds)
@settings(max_examples=40)
def test_closed_forms_equal_the_sums_written_out(spec, seed):
    model = spec.build(stream(seed, Role.TRUTH))
    mean, covariance = brute(model)
    assert model.moments.exact
    scale = 1.0 + np.abs(mean).max() ** 2 + np.abs(covariance).max()  # the centre's square is subtracted
    assert model.mean() == pytest.approx(mean, abs=1e-12 * scale)
    assert model.covariance() == pytest.approx(covariance, abs=1e-9 * scale)  # numerical joint rates: 1e-10
    assert np.array_equal(model.covariance(), model.covariance().T)
    assert np.trace(model.covariance()) + np.square(model.mean() - model.bias).sum() == pytest.approx(
        model.signal_energy() + model.dim * model.noise_std**2, rel=1e-8, abs=1e-9 * scale
    )


FOREST = Forest((-1, 0, 0, 1, -1, 4), (0.6, 0.5, 0.3, 0.7, 0.4, 0.9))
BASE = FeatureSpec(5, FOREST, RandomSphere(), HalfNormal(), bias=1.0)
EXACT = [
    replace(BASE, noise=AutoregressiveNoise(0.7, 0.5)),
    replace(BASE, observation=(Background(2, 0.3),), noise=LowRankNoise(3, 0.4)),
    replace(BASE, observation=(Background(1, 0.5), Background(5, 0.1))),
    replace(BASE, segments=Segments(4, (0.5, 2.0), (-1.0, 1.0))),
    replace(BASE, magnitude=ParentScaled(HalfNormal(), FOREST.parents)),
    replace(BASE, magnitude=CorrelatedLogNormal(0.0, 0.3, ((0.8,),) * 6)),
    replace(BASE, magnitude=ParentScaled(HalfNormal(), FOREST.parents), segments=Segments(3, (0.5, 2.0), (-1.0, 1.0))),
    sphere_union(3, 1, dim=6),
    linear_union(manifolds=2, coordinates=2, dim=5),
    linear_union("as_released", manifolds=3, coordinates=3, dim=4),
]
ESTIMATED = [
    replace(BASE, observation=(Interactions(4, 2),)),
    replace(BASE, observation=(LeakyMixing(2, 3.0),), noise=Gaussian(0.2)),
    replace(BASE, observation=(LeakyMixing(2, 3.0), Background(2, 0.5))),
]


@pytest.mark.parametrize("spec", EXACT, ids=range(len(EXACT)))
def test_closed_forms_agree_with_samples(spec):
    model = spec.build(stream(0, Role.TRUTH))
    assert model.moments.exact and model.energy.error == 0
    assert_moments(model)
    x = model.change(
        model.draw_codes(N, stream(3, Role.TEST), np.dtype(float))[0], model.observation, stream(4, Role.TEST)
    )
    assert_mean(np.square(x).sum(axis=1), model.signal_energy())


@pytest.mark.parametrize("spec", ESTIMATED, ids=range(len(ESTIMATED)))
def test_estimates_agree_with_other_samples_within_their_errors(spec):
    model = spec.build(stream(0, Role.TRUTH))
    assert not model.moments.exact and model.energy.error > 0
    assert_moments(model)
    codes = model.draw_codes(N, stream(3, Role.TEST), np.dtype(float))[0]
    energy = np.square(model.change(codes, model.observation, stream(4, Role.TEST))).sum(axis=1)
    error = np.hypot(energy.std() / np.sqrt(N), model.energy.error)
    assert abs(energy.mean() - model.signal_energy()) < 5.5 * error  # 39 degrees of freedom: about 1e-6


@dataclass(frozen=True)
class Hidden:
    """A law that keeps its joint rates to itself."""

    law: object

    @property
    def n_features(self):
        return self.law.n_features

    def marginals(self):
        return self.law.marginals()

    def draw(self, n, rng):
        return self.law.draw(n, rng)


def test_a_linear_world_without_joint_rates_has_an_exact_mean_and_an_estimated_covariance():
    known = BASE.build(stream(0, Role.TRUTH))
    hidden = replace(BASE, support=Hidden(FOREST)).build(stream(0, Role.TRUTH))
    assert not hidden.moments.exact and not hidden.moments.mean_error.any()
    assert hidden.mean() == pytest.approx(known.mean(), abs=1e-14)
    z = (hidden.covariance() - known.covariance()) / hidden.moments.covariance_error
    assert np.abs(z).max() < 6.0  # 15 values of a t with 39 degrees of freedom: 1e-5
    assert abs(hidden.signal_energy() - known.signal_energy()) < 6.0 * hidden.energy.error


def test_a_permutation_of_the_features_changes_no_moment_of_x():
    order = (3, 1, 5, 0, 4, 2)
    model = replace(BASE, magnitude=Scaled(HalfNormal(), (0.5, 1.0, 2.0, 0.7, 0.3, 1.5))).build(stream(0, Role.TRUTH))
    scales = tuple(float(model.spec.magnitude.scales[feature]) for feature in order)
    spec = replace(BASE, support=Relabelled(FOREST, order), magnitude=Scaled(HalfNormal(), scales))
    moved = FeatureModel(spec, model.atoms[list(order)], model.bias)
    assert moved.mean() == pytest.approx(model.mean(), rel=1e-12)
    assert moved.covariance() == pytest.approx(model.covariance(), rel=1e-11, abs=1e-13)
    assert moved.signal_energy() == pytest.approx(model.signal_energy(), rel=1e-12)


def test_laws_built_on_a_law_without_joint_rates_fall_back_on_estimates():
    hidden = Hidden(ExactlyK(6, 2))
    for law in (Relabelled(hidden, (3, 1, 2, 0, 5, 4)), ForestOver(hidden, (2,), (0.5,))):
        spec = FeatureSpec(3, law, RandomSphere(), HalfNormal())
        model = spec.build(stream(0, Role.TRUTH))
        assert not model.moments.exact and model.energy.error > 0 and model.describe()["snr_db"] == math.inf
    known = FeatureSpec(3, Relabelled(ExactlyK(6, 2), (3, 1, 2, 0, 5, 4)), RandomSphere(), HalfNormal())
    assert known.build(stream(0, Role.TRUTH)).moments.exact


def test_numerical_rates_pass_their_errors_on_to_the_mean():
    law = SynthSAEBenchSupport(EqualRates(4, 0.3), (-1, 0, 0, -1), LowRankCorrelation(2, 0.2, 0))
    model = FeatureSpec(3, law, RandomSphere(), Constant(2.0)).build(stream(0, Role.TRUTH))
    assert model.moments.mean_error == pytest.approx(2.0 * law.marginal_errors() @ np.abs(model.atoms), rel=1e-12)
    assert model.moments.mean_error.max() > 0
    assert model.describe()["estimated"]["mean_l0"] == pytest.approx(law.marginal_errors().sum(), rel=1e-12)
    assert_moments(model, n=20_000)


def test_stated_errors_are_neither_too_small_nor_too_large():
    z = []
    for seed in range(60):
        spec = FeatureSpec(3, Hidden(ExactlyK(6, 2)), RandomSphere(), Exponential())
        model = spec.build(stream(seed, Role.TRUTH))
        exact = replace(spec, support=ExactlyK(6, 2)).build(stream(seed, Role.TRUTH))
        z.append((model.signal_energy() - exact.signal_energy()) / model.energy.error)
    # One probe is common to all seeds, whose directions alone differ, so the z are correlated: only their size is
    # checked, 60 of them below 5 and not all of them tiny.
    assert np.abs(z).max() < 5.0 and np.std(z) > 0.1


def test_dependent_coefficients_change_the_energy_and_the_closed_form_knows():
    support, atoms = BlockSupport(ExactlyK(3, 1), ExactlyK(2, 2)), Orthonormal()
    circle = FeatureSpec(6, support, atoms, OnSphere(2, Constant(2.0))).build(stream(0, Role.TRUTH))
    assert circle.signal_energy() == pytest.approx(4.0, rel=1e-12)  # every sample has norm 2
    together = ExactlyK(2, 2)
    magnitude = CorrelatedLogNormal(0.0, 0.5, ((1.0,), (1.0,)))
    same = FeatureSpec(1, together, RandomSphere(), magnitude).build(stream(0, Role.TRUTH))
    # Two equal coefficients c on atoms +-1: (2 c)^2 or 0.
    sign = same.atoms[0, 0] * same.atoms[1, 0]
    assert same.signal_energy() == pytest.approx((2.0 + 2.0 * sign) * math.exp(0.5), rel=1e-12, abs=1e-12)


def test_the_covariance_of_a_large_world_needs_no_square_matrix_of_features():
    model = FeatureSpec(16, Bernoulli(ZipfRates(20_000, 0.8, 0.2)), RandomSphere(), SignedGaussian(), bias=1.0).build(
        stream(0, Role.TRUTH)
    )
    forest = Forest.regular(40, 5, 3, 0.3, 0.15)
    trees = FeatureSpec(16, forest, RandomSphere(), HalfNormal()).build(stream(0, Role.TRUTH))
    assert model.moments.exact and trees.moments.exact
    rates = model.spec.support.marginals()
    assert model.covariance() == pytest.approx(model.atoms.T @ (rates[:, None] * model.atoms), rel=1e-9, abs=1e-9)
    assert_moments(trees, n=20_000)


@pytest.mark.parametrize(
    ("support", "mean_l0"),
    [
        (UnionSupport(5, ((0, 1), (1, 2, 4), ())), 5 / 3),
        (UnionSupport(2, ((0,),)), 1.0),
        (UnionSupport(3, ((), (0,), (0, 1), (1,)), (6.0, 2.0, 1.0, 1.0)), 0.5),
    ],
)
def test_a_union_fires_one_of_its_sets(support, mean_l0):
    drawn = support.draw(30_000, stream(0, Role.TRAIN))
    found = {tuple(drawn.indices[a:b].tolist()) for a, b in zip(drawn.indptr, drawn.indptr[1:], strict=False)}
    assert found == set(support.sets)
    assert support.marginals().sum() == pytest.approx(mean_l0, rel=1e-14)
    assert_rates(np.bincount(drawn.indices, minlength=support.m), 30_000, support.marginals())
    assert np.array_equal(np.diag(support.pairwise()), support.marginals())


def test_the_released_union_shares_coordinates_and_the_corrected_one_does_not():
    shared, short = 0, 0
    for seed in range(30):
        sets = linear_union("as_released", seed=seed).support.sets
        shared += len(set().union(*sets)) < sum(map(len, sets))
        short += min(map(len, sets)) < 4
    # P(some of 12 draws of 40 coincide between manifolds) = 0.73, within one = 0.38: 30 seeds miss by 1e-6.
    assert 8 <= shared <= 30 and 2 <= short <= 24
    model = linear_union().build(stream(0, Role.TRUTH))
    x = model.sample(3_000, stream(0, Role.TRAIN))
    assert model.signal_energy() == pytest.approx(4.0, rel=1e-12) and model.n_features == 12
    assert np.linalg.matrix_rank(x.x[x.codes[:, [0]].toarray()[:, 0] != 0]) == 4


def test_spheres_are_spheres_and_bend_when_mixed():
    flat = sphere_union(2, 2, radius=1.5).build(stream(0, Role.TRUTH))
    batch = flat.sample(500, stream(0, Role.TRAIN))
    assert np.linalg.norm(batch.x, axis=1) == pytest.approx(np.full(500, 1.5), rel=1e-12)
    bent = sphere_union(2, 2, mixing=LeakyMixing()).build(stream(0, Role.TRUTH))
    x = bent.sample(500, stream(0, Role.TRAIN)).x
    on_first = bent.sample(500, stream(0, Role.TRAIN)).codes[:, [0]].toarray()[:, 0] != 0
    assert np.linalg.matrix_rank(x[on_first], tol=1e-6) > 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: UnionSupport(3, ((0, 3),)), ValueError, r"sets\[0\]\[1\] must lie in \[0, m-1=2\]; got 3"),
        (lambda: UnionSupport(3, ((1, 1),)), ValueError, "each feature once"),
        (lambda: UnionSupport(3, ()), ValueError, "at least one set"),
        (lambda: UnionSupport(3, ((0,),), (0.5, 0.5)), ValueError, "one number a set, 1"),
        (lambda: UnionSupport(3, ((0,),), (0.0,)), ValueError, "not all zero"),
        (lambda: UnionSupport(3, ((0,),), (-1.0,)), ValueError, r"weights\[0\]"),
        (lambda: UnionSupport(3, ((0,),), [1.0]), TypeError, "weights must be a tuple"),
        (lambda: UnionSupport(3, ([0],)), TypeError, "tuple of tuples"),
        (lambda: linear_union("fixed"), ValueError, "form must be"),
        (lambda: sphere_union(0), ValueError, "spheres must lie in"),
        (lambda: sphere_union(2, 0), ValueError, "sphere_dim must lie in"),
        (lambda: linear_union(dim=11).build(stream(0, Role.TRUTH)), ValueError, "at most d=11 directions"),
    ],
)
def test_unions_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_energy_of_equal_rates_is_what_it_is_by_hand():
    model = FeatureSpec(2, Bernoulli(EqualRates(2, 0.25)), Orthonormal(), Constant(2.0)).build(stream(0, Role.TRUTH))
    assert model.signal_energy() == pytest.approx(2.0, rel=1e-12)  # 2 features, rate 1/4, energy 4 each
    assert np.trace(model.covariance()) == pytest.approx(2 * 4.0 * 0.25 * 0.75, rel=1e-12)
