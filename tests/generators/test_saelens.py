"""SAELens worlds: the law of a folder is that of the dense procedure, true rates stand beside the declared ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from sparsesim.generators import Bernoulli, FeatureModel, StoredAtoms, load_saelens
from sparsesim.generators import files as disk
from tests.generators import saelens_fixture as fixture
from tests.generators.chance import ALPHA
from tests.generators.saelens_fixture import node

M, D = 10, 4
ROOTS = [
    node(0, node(1, node(3), node(4), exclusive=True, scaled=True), node(2), exclusive=True, scaled=True),
    node(5, node(None, node(6, scaled=True)), node(7, node(8)), scaled=True),
]
PARENTS = (-1, 0, 0, 1, 1, -1, 5, 5, 7, -1)
GROUPS = ((0, (1, 2)), (1, (3, 4)))
SCALED = {1, 2, 3, 4, 7}
DRAWN = np.array([0.5, 0.9, 0.8, 1.0, 0.7, 0.4, 0.6, 0.9, 0.5, 0.3], dtype=np.float32)
MEAN = {"start": 2.0, "end": 0.5, "generator_name": "linear"}


def write(folder, **changed):
    config = {
        "hierarchy": fixture.HIERARCHY,
        "correlation": fixture.CORRELATION,
        "mean_firing_magnitudes": MEAN,
        "std_firing_magnitudes": fixture.FOLDED,
        **changed,
    }
    stored = fixture.weights(M, D, DRAWN, rank=3)
    return fixture.write(folder, fixture.configuration(M, D, **config), stored, ROOTS)


def slow_samples(n, factor, mean, std, rng):
    """All features are drawn, then struck out level by level, on dense (n, m) arrays."""
    shared = rng.standard_normal((n, factor.shape[1])) @ factor.T
    latent = shared + np.sqrt(1.0 - np.square(factor).sum(axis=1)) * rng.standard_normal((n, M))
    codes = np.where(latent > -ndtri(DRAWN.astype(float)), np.maximum(mean + std * rng.standard_normal((n, M)), 0), 0.0)
    for child in range(M):  # in this world every parent has a smaller index than its children
        parent = PARENTS[child]
        if parent >= 0:
            scale = codes[:, parent] / mean[parent] if child in SCALED else codes[:, parent] > 0
            codes[:, child] *= scale
        for _, members in GROUPS:
            if child == members[-1]:
                on = codes[:, members] > 0
                winner = np.where(on, rng.random(on.shape), -1.0).argmax(axis=1)
                codes[:, members] *= np.arange(len(members)) == winner[:, None]
    return codes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return load_saelens(write(tmp_path_factory.mktemp("saelens")))


def assert_same_means(first, second, tests):
    """Two samples ``(n, ...)`` have the same expectations, by z-tests that together fail by chance at ALPHA."""
    error = np.sqrt(first.var(axis=0) / len(first) + second.var(axis=0) / len(second))
    gap = np.abs(first.mean(axis=0) - second.mean(axis=0))
    assert np.all(gap <= norm.isf(ALPHA / (2 * tests)) * error + 1e-12)


def test_samples_follow_the_dense_procedure(world):
    n, rng = 100_000, np.random.default_rng(0)
    law = world.model.spec.support
    # std from the seed, checked against PyTorch elsewhere; the linear mean is exact
    mean = np.linspace(2.0, 0.5, M)
    std = np.array(world.model.spec.magnitude.base.stds)
    slow = slow_samples(n, law.correlation.factor(M), mean, std, rng)
    ours = world.model.sample(n, np.random.default_rng(1)).codes.toarray()
    upper = np.triu_indices(M)
    for view in (lambda c: c > 0, lambda c: c):
        a, b = view(slow).astype(float), view(ours).astype(float)
        assert_same_means(a, b, tests=200)
        assert_same_means(a[:, upper[0]] * a[:, upper[1]], b[:, upper[0]] * b[:, upper[1]], tests=200)
    rates = (ours > 0).mean(axis=0)
    error = np.sqrt(world.true * (1 - world.true) / n + law.marginal_errors() ** 2)
    assert np.all(np.abs(rates - world.true) <= norm.isf(ALPHA / (2 * M)) * error)
    for child, parent in enumerate(PARENTS):
        assert parent < 0 or not np.any((ours[:, child] > 0) & (ours[:, parent] == 0))
    for _, members in GROUPS:
        assert (ours[:, members] > 0).sum(axis=1).max() == 1


def test_rates_stand_beside_those_that_are_declared(world):
    power = np.arange(1.0, M + 1.0) ** -0.5
    assert world.declared == pytest.approx(0.02 + 0.38 * (power - power[-1]) / (1 - power[-1]), rel=1e-12)
    assert np.array_equal(world.drawn, DRAWN.astype(float))
    # By hand: feature 1 is drawn with p_1 / p_0 (1 + p_2 / p_0), feature 6 with p_6 / p_5, feature 9 with p_9.
    p = world.declared
    assert world.rebuilt[[1, 6, 9]] == pytest.approx([p[1] / p[0] * (1 + p[2] / p[0]), p[6] / p[5], p[9]], rel=1e-12)
    assert np.all(world.true <= world.drawn + 1e-12)
    assert world.true[1] < 0.9 * world.drawn[1]


def test_directions_and_bias_are_those_of_the_folder(world):
    stored = fixture.weights(M, D, DRAWN, rank=3)
    assert np.abs(world.model.atoms - stored["feature_vectors"]).max() < 1e-7  # normalised in double precision
    assert np.array_equal(world.model.bias, stored["bias"].astype(float))
    assert world.model.spec.bias == pytest.approx(0.5, abs=1e-7)
    assert world.model.spec.geometry == StoredAtoms.of(world.model.atoms)


def test_a_loaded_world_can_be_saved_as_ours(world, tmp_path):
    disk.save(world.model, tmp_path / "ours")
    again = disk.load(tmp_path / "ours")
    assert isinstance(again, FeatureModel) and again.spec == world.model.spec
    x, y = (model.sample(500, np.random.default_rng(2)).x for model in (world.model, again))
    assert x.tobytes() == y.tobytes()


def test_a_world_without_structure_is_bernoulli_with_rectified_rates(tmp_path):
    config = fixture.configuration(M, D, mean_firing_magnitudes=0.5, std_firing_magnitudes=1.0)
    plain = load_saelens(fixture.write(tmp_path, config, fixture.weights(M, D, DRAWN)))
    assert isinstance(plain.model.spec.support, Bernoulli)
    assert plain.true == pytest.approx(DRAWN * norm.cdf(0.5), rel=1e-6)  # the rates are stored in single precision
    assert np.array_equal(plain.rebuilt, plain.declared)


def test_constant_magnitudes_and_a_hierarchy_alone(tmp_path):
    config = fixture.configuration(M, D, hierarchy={**fixture.HIERARCHY, "compensate_probabilities": False})
    stored = fixture.weights(M, D, DRAWN)
    found = load_saelens(fixture.write(tmp_path, config, stored, [node(0, node(1), node(2))]))
    codes = found.model.sample(2_000, np.random.default_rng(0)).codes
    assert np.all(codes.data == 1.0)
    assert found.true[:3] == pytest.approx(DRAWN[0] * np.array([1.0, DRAWN[1], DRAWN[2]]), rel=1e-6)
    assert np.array_equal(found.rebuilt, found.declared)


def test_magnitudes_that_are_nowhere_must_be_given(tmp_path):
    folder = write(tmp_path, seed=None)
    with pytest.raises(ValueError, match=r"drawn without a seed.*Pass std=model.activation_generator.std_firing"):
        load_saelens(folder)
    given = load_saelens(folder, std=np.full(M, 0.25), mean=np.full(M, 3.0))
    assert given.model.spec.magnitude.base.stds == (0.25,) * M
    assert given.model.spec.magnitude.base.means == (3.0,) * M
    with pytest.raises(ValueError, match="stds must hold one number for each of m=10 features"):
        load_saelens(folder, std=np.full(3, 0.25))


def test_a_factor_at_the_limit_of_saelens_is_read_and_a_larger_one_refused(tmp_path):
    for square, message in ((0.99, None), (0.995, r"a row of squared norm 0.995; SAELens limits it to 0.99")):
        stored = fixture.weights(M, D, DRAWN, rank=3)
        factor = stored["correlation_factor"].astype(float)
        factor[2] *= np.sqrt(square / np.square(factor[2]).sum())
        stored["correlation_factor"] = factor.astype(np.float32)
        stored["correlation_diag"] = (1.0 - np.square(factor).sum(axis=1)).astype(np.float32)
        folder = fixture.write(tmp_path, fixture.configuration(M, D, correlation=fixture.CORRELATION), stored)
        if message is None:
            assert np.square(load_saelens(folder).model.spec.support.correlation.factor(M)[2]).sum() <= 0.99
        else:
            with pytest.raises(ValueError, match=message):
                load_saelens(folder)


def test_a_model_of_saelens_itself_comes_through(tmp_path):
    synthetic = pytest.importorskip("sae_lens.synthetic", reason="the round trip needs SAELens")
    import torch

    config = synthetic.SyntheticModelConfig(
        num_features=60,
        hidden_dim=12,
        firing_probability=synthetic.ZipfianFiringProbabilityConfig(exponent=0.5, max_prob=0.4, min_prob=0.01),
        hierarchy=synthetic.HierarchyConfig(
            total_root_nodes=3,
            branching_factor=3,
            max_depth=2,
            mutually_exclusive_portion=0.6,
            compensate_probabilities=True,
            scale_children_by_parent=True,
        ),
        correlation=synthetic.LowRankCorrelationConfig(rank=5, correlation_scale=0.1),
        mean_firing_magnitudes=synthetic.LinearMagnitudeConfig(5.0, 4.0),
        std_firing_magnitudes=synthetic.FoldedNormalMagnitudeConfig(0.5, 0.5),
        bias=0.5,
        seed=42,
    )
    theirs = synthetic.SyntheticModel(config)
    theirs.save(tmp_path / "model")
    ours = load_saelens(tmp_path / "model")
    own = theirs.activation_generator
    assert np.abs(np.array(ours.model.spec.magnitude.base.stds) - own.std_firing_magnitudes.numpy()).max() < 5e-6
    assert np.array_equal(ours.drawn, own.firing_probabilities.numpy().astype(float))
    assert ours.rebuilt == pytest.approx(ours.drawn, abs=1e-6)  # this configuration has a seed; single precision
    torch.manual_seed(0)
    a = np.concatenate([theirs.sample_with_features(20_000)[1].numpy() for _ in range(5)]).astype(float)
    b = ours.model.sample(len(a), np.random.default_rng(0)).codes.toarray()
    assert_same_means(a, b, tests=240)
    assert_same_means((a > 0).astype(float), (b > 0).astype(float), tests=240)
    assert_same_means(a * np.roll(a, 1, axis=1), b * np.roll(b, 1, axis=1), tests=240)
    assert_same_means(a[:, 3:12] * a[:, [0]], b[:, 3:12] * b[:, [0]], tests=240)
