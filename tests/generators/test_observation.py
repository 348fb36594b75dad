"""Changes of the signal, lost entries, labels and targets: each against its equation, and what they leave alone."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim import Role, stream
from sparsesim.generators import (
    Background,
    Bernoulli,
    Constant,
    EqualRates,
    ExactlyK,
    FeatureSpec,
    Gaussian,
    HalfNormal,
    Interactions,
    LeakyMixing,
    LogNormal,
    Missing,
    Orthonormal,
    RandomSphere,
    Readout,
    Segments,
    SignalToNoise,
    SignedGaussian,
)
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import OracleCell
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import observed_specs, seeds, specs

PLAIN = FeatureSpec(8, Bernoulli(EqualRates(12, 0.3)), RandomSphere(), HalfNormal(), bias=1.0)


def build(**changes):
    return replace(PLAIN, **changes).build(stream(0, Role.TRUTH))


@given(spec=observed_specs(), seed=seeds)
@settings(max_examples=20)
def test_what_is_observed_leaves_directions_supports_and_noise_as_they_were(spec, seed):
    plain = replace(spec, observation=(), missing=None, segments=None, targets=None)
    noise = Gaussian(0.3)
    models = [replace(one, noise=noise).build(stream(seed, Role.TRUTH)) for one in (spec, plain)]
    batch, bare = (model.sample(20, stream(seed, Role.TRAIN)) for model in models)
    assert np.array_equal(models[0].atoms, models[1].atoms) and np.array_equal(models[0].bias, models[1].bias)
    assert np.array_equal(batch.codes.indices, bare.codes.indices)
    if spec.segments is None:
        assert np.array_equal(batch.codes.data, bare.codes.data)
    if models[0].is_linear and not spec.observation:
        clean, noisy = (model_.sample(20, stream(seed, Role.TRAIN)) for model_ in _without_noise(spec, plain, seed))
        # Up to rounding of x, noise is the same; x is at most the sum of magnitudes.
        size = 1.0 + np.abs(batch.x).max() + np.abs(bare.x).max()
        assert batch.x - clean.x == pytest.approx(bare.x - noisy.x, abs=1e-14 * size)


def _without_noise(spec, plain, seed):
    return [replace(one, noise=Gaussian()).build(stream(seed, Role.TRUTH)) for one in (spec, plain)]


@given(spec=observed_specs(), seed=seeds)
@settings(max_examples=12)
def test_every_observed_world_is_a_pure_function_of_its_streams_in_either_precision(spec, seed):
    models = [spec.build(stream(seed, Role.TRUTH)) for _ in range(2)]
    for dtype in (np.float32, np.float64):
        first, second = (model.sample(30, stream(seed, Role.TEST), dtype=dtype) for model in models)
        for name in ("x", "observed", "targets", "labels"):
            ours, theirs = getattr(first, name), getattr(second, name)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert np.array_equal(ours, theirs, equal_nan=name == "x") and len(ours) == 30
        assert first.x.dtype == dtype and first.codes.dtype == dtype
        assert first.targets is None or first.targets.dtype == dtype
    empty = models[0].sample(0, stream(seed, Role.TEST))
    assert empty.x.shape == (0, spec.dim) and empty.codes.shape == (0, spec.n_features)


@given(spec=observed_specs(), seed=seeds)
@settings(max_examples=10)
def test_the_number_of_threads_changes_no_bit(spec, seed):
    drawn = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            model = spec.build(stream(seed, Role.TRUTH))
            drawn.append(model.sample(300, stream(seed, Role.TEST)).x)
    assert np.array_equal(*drawn, equal_nan=True)


@pytest.mark.parametrize("order", [2, 3])
def test_interactions_add_the_products_of_their_members(order):
    model = build(observation=(Interactions(9, order, -0.7),), noise=Gaussian(0.0))
    (terms,) = model.observation
    batch = model.sample(200, stream(0, Role.TRAIN))
    dense = batch.codes.toarray()
    expected = dense @ model.atoms + model.bias
    for members, direction in zip(terms.members, terms.directions, strict=True):
        expected += -0.7 * dense[:, members].prod(axis=1)[:, None] * direction
    assert batch.x == pytest.approx(expected, abs=1e-12)  # tens of terms of size at most 30, 2^-53 each
    assert np.abs(batch.x - model.bias - dense @ model.atoms).max() > 0.1
    assert np.linalg.norm(terms.directions, axis=1) == pytest.approx(np.ones(9), abs=1e-14)
    assert not model.is_linear


@given(seed=seeds, m=st.integers(2, 7), order=st.sampled_from([2, 3]), data=st.data())
@settings(max_examples=40)
def test_interacting_sets_are_distinct_and_all_of_them_can_be_asked_for(seed, m, order, data):
    everything = list(itertools.combinations(range(m), order))
    if not everything:
        return
    count = data.draw(st.integers(1, len(everything)))
    spec = FeatureSpec(3, ExactlyK(m, 1), RandomSphere(), Constant(), observation=(Interactions(count, order),))
    members = [tuple(row) for row in spec.build(stream(seed, Role.TRUTH)).observation[0].members.tolist()]
    assert members == sorted(set(members)) and set(members) <= set(everything)
    assert count < len(everything) or members == everything


def test_interacting_sets_are_uniform():
    spec = FeatureSpec(2, ExactlyK(5, 1), RandomSphere(), Constant(), observation=(Interactions(3),))
    hits = np.zeros((5, 5))
    for seed in range(2_000):
        members = spec.build(stream(seed, Role.TRUTH)).observation[0].members
        hits[tuple(members.T)] += 1
    assert_rates(hits[np.triu_indices(5, 1)], 2_000, np.full(10, 0.3))


def test_interactions_cost_what_fires():
    m = 20_000
    spec = FeatureSpec(4, Bernoulli(EqualRates(m, 5 / m)), RandomSphere(), Constant(), observation=(Interactions(m),))
    model = spec.build(stream(0, Role.TRUTH))
    products = model.observation[0].products(model.sample(500, stream(0, Role.TRAIN)).codes)
    assert products.shape == (500, m) and products.nnz < 50  # of 1e7 pairs and samples, 6e-8 each are expected


@pytest.mark.parametrize(("layers", "condition", "slope", "offset"), [(2, 4.0, 0.2, 0.0), (4, 10.0, 0.5, 1.5)])
def test_mixing_is_inverted_and_its_jacobian_keeps_its_bounds(layers, condition, slope, offset):
    mixing = LeakyMixing(layers, condition, slope, offset)
    model = build(observation=(mixing,))
    (network,) = model.observation
    for left, right in zip(network.left, network.right, strict=True):
        values = np.linalg.svd((left * network.stretch) @ right, compute_uv=False)
        assert values[0] / values[-1] == pytest.approx(condition, rel=1e-12)
        assert np.prod(values) == pytest.approx(1.0, rel=1e-12)
    batch = model.sample(100, stream(0, Role.TRAIN))
    signal = batch.codes @ model.atoms
    least, most = mixing.jacobian_bounds
    assert network.inverse(batch.x - model.bias) == pytest.approx(signal, abs=1e-14 * 100 * most / least)
    step, base = 1e-6, signal[:20]
    jacobian = np.stack([(network.mix(base + step * e) - network.mix(base - step * e)) / (2 * step) for e in np.eye(8)])
    for one in np.moveaxis(jacobian, 1, 0):
        values = np.linalg.svd(one, compute_uv=False)
        assert least * (1 - 1e-6) < values[-1] and values[0] < most * (1 + 1e-6)  # 1e-9 of rounding over the step
    assert not model.is_linear


def test_mixing_without_offset_is_positively_homogeneous_and_without_slope_linear():
    (network,) = build(observation=(LeakyMixing(3),)).observation
    x = np.random.default_rng(0).standard_normal((10, 8))
    assert network.mix(2.5 * x) == pytest.approx(2.5 * network.mix(x), rel=1e-12)
    assert np.abs(network.mix(-x) + network.mix(x)).max() > 0.01
    (straight,) = build(observation=(LeakyMixing(3, slope=1.0),)).observation
    assert straight.mix(-x) == pytest.approx(-straight.mix(x), rel=1e-12)


def test_a_background_has_the_rank_and_the_share_of_energy_asked_for():
    model = build(observation=(Background(3, 0.4),))
    (background,) = model.observation
    assert background.basis @ background.basis.T == pytest.approx(np.eye(3), abs=1e-14)
    batch = model.sample(20_000, stream(0, Role.TRAIN))
    signal = batch.codes @ model.atoms
    added = batch.x - model.bias - signal
    assert np.linalg.svd(added, compute_uv=False)[3] < 1e-10  # rounding of 20,000 rows
    energy = build().signal_energy()
    assert_mean(np.square(added).sum(axis=1), 0.4 / 0.6 * energy, tests=2)
    assert np.trace(background.covariance()) == pytest.approx(0.4 / 0.6 * energy, rel=1e-12)
    assert model.is_linear and model.signal_energy() == pytest.approx(energy / 0.6, rel=1e-12)
    assert_mean((added * signal).sum(axis=1), 0.0, tests=2)


def test_changes_act_in_their_order_and_the_noise_comes_after():
    first, second = Background(2, 0.5), LeakyMixing()
    models = [build(observation=pair, noise=SignalToNoise(10.0)) for pair in ((first, second), (second, first))]
    for model in models:
        batch = model.sample(30_000, stream(0, Role.TRAIN))
        silent = (
            replace(model.spec, noise=Gaussian()).build(stream(0, Role.TRUTH)).sample(30_000, stream(0, Role.TRAIN))
        )
        clean, noise = silent.x - model.bias, batch.x - silent.x
        error = model.energy.error
        assert error > 0
        energy = np.square(clean).sum(axis=1)
        standard = np.hypot(energy.std() / np.sqrt(30_000), error)
        assert abs(energy.mean() - model.signal_energy()) < 5.5 * standard  # two-sided 4e-8
        assert_mean(np.square(noise).sum(axis=1), 8 * model.noise_std**2)
    undone = models[1].observation[0].inverse  # mixed first: the background of the other is not in a subspace
    clean = replace(models[0].spec, noise=Gaussian()).build(stream(0, Role.TRUTH)).sample(50, stream(0, Role.TRAIN))
    network = models[0].observation[1]
    rest = network.inverse(clean.x - models[0].bias) - clean.codes @ models[0].atoms
    assert np.linalg.matrix_rank(rest, tol=1e-9) == 2
    assert np.linalg.matrix_rank(undone(clean.x - models[0].bias) - clean.codes @ models[0].atoms, tol=1e-9) == 8


def test_entries_are_lost_at_the_rate_asked_for_independently_of_everything():
    plain, lossy, holes = build(), build(missing=Missing(0.3)), build(missing=Missing(0.3, nan=True))
    batches = [model.sample(5_000, stream(0, Role.TRAIN)) for model in (plain, lossy, holes)]
    seen = batches[1].observed
    assert np.array_equal(seen, batches[2].observed) and batches[0].observed is None
    assert_rates((~seen).sum(axis=0), 5_000, np.full(8, 0.3))
    assert np.array_equal(batches[1].x, np.where(seen, batches[0].x, 0.0))
    assert np.array_equal(np.isnan(batches[2].x), ~seen)
    assert np.array_equal(batches[2].x[seen], batches[0].x[seen])
    assert not lossy.is_linear and build(missing=Missing(0.0)).is_linear


def test_targets_depend_on_the_relevant_features_alone():
    model = build(targets=Readout(3, outputs=2, link="relu"))
    task = model.targets
    batch = model.sample(500, stream(0, Role.TRAIN))
    dense = batch.codes.toarray()
    assert len(set(task.features.tolist())) == 3
    assert batch.targets == pytest.approx(np.maximum(dense[:, task.features] @ task.weights, 0.0), abs=1e-13)
    other = dense.copy()
    other[:, np.setdiff1d(np.arange(12), task.features)] = 7.0
    assert np.array_equal(task.clean(type(batch.codes)(other)), batch.targets)
    assert np.linalg.norm(task.weights, axis=1) == pytest.approx(np.ones(3), abs=1e-14)


def test_targets_of_named_features_have_the_link_and_noise_asked_for():
    model = build(targets=Readout((5, 1), link="tanh", noise=0.5))
    assert model.targets.features.tolist() == [1, 5] and set(np.abs(model.targets.weights).ravel()) == {1.0}
    batch = model.sample(20_000, stream(0, Role.TRAIN))
    clean = model.targets.clean(batch.codes)
    assert clean == pytest.approx(np.tanh(batch.codes.toarray()[:, [1, 5]] @ model.targets.weights), abs=1e-13)
    noise = (batch.targets - clean).ravel()
    assert_mean(noise, 0.0, tests=2)
    assert_mean(noise**2, 0.25, tests=2)


def test_coefficients_have_the_scale_and_mean_that_their_label_says():
    spec = FeatureSpec(
        4,
        Bernoulli(EqualRates(3, 0.5)),
        Orthonormal(),
        SignedGaussian(1.0),
        segments=Segments(5, (0.5, 3.0), (-2.0, 2.0)),
    )
    model = spec.build(stream(0, Role.TRUTH))
    table, batch = model.segments, model.sample(60_000, stream(0, Role.TRAIN))
    assert table.scale.min() >= 0.5 and table.scale.max() <= 3.0 and np.abs(table.shift).max() <= 2.0
    assert_rates(np.bincount(batch.labels, minlength=5), 60_000, np.full(5, 0.2))
    dense = batch.codes.toarray()
    for label in range(5):
        own = dense[batch.labels == label]
        assert_rates((own != 0).sum(axis=0), len(own), np.full(3, 0.5))
        for feature in range(3):
            values = own[own[:, feature] != 0, feature]
            assert_mean(values, table.shift[label, feature], tests=30)
            assert_mean((values - table.shift[label, feature]) ** 2, table.scale[label, feature] ** 2, tests=30)


def test_segments_that_shift_coefficients_to_zero_are_named():
    model = build(magnitude=Constant(1.0), segments=Segments(2, (1.0, 1.0), (-1.0, -1.0)))
    with pytest.raises(ValueError, match=r"segments=Segments.* shift them to zero"):
        model.sample(20, stream(0, Role.TRAIN))


def test_one_segment_of_scale_one_changes_nothing():
    same = build(segments=Segments(1, (1.0, 1.0)))
    batch, bare = same.sample(50, stream(0, Role.TRAIN)), build().sample(50, stream(0, Role.TRAIN))
    assert np.array_equal(batch.x, bare.x) and not batch.labels.any()
    assert same.signal_energy() == build().signal_energy()


@given(spec=specs(), seed=seeds)
@settings(max_examples=40)
def test_a_rotation_of_the_atoms_rotates_the_clean_samples(spec, seed):
    model = replace(spec, noise=Gaussian()).build(stream(seed, Role.TRUTH))
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((spec.dim, spec.dim)))
    turned = replace(model, atoms=model.atoms @ q, bias=model.bias @ q)
    x, y = (one.sample(30, stream(seed, Role.TRAIN)).x for one in (model, turned))
    assert y == pytest.approx(x @ q, abs=1e-13 * (1.0 + np.abs(x).sum(axis=1).max()))  # k + d roundings of 2^-53
    # energies are sums of squares that may cancel in part
    assert turned.signal_energy() == pytest.approx(model.signal_energy(), rel=1e-9, abs=1e-12)
    assert turned.covariance() == pytest.approx(
        q.T @ model.covariance() @ q, rel=1e-9, abs=1e-9 * (1 + np.abs(x).max() ** 2)
    )


def test_oracles_refuse_a_world_that_true_atoms_do_not_rebuild():
    for change in ({"observation": (Interactions(3),)}, {"missing": Missing(0.2)}):
        cell = OracleCell(replace(PLAIN, **change), 0, 10, OrthogonalMatchingPursuit(2))
        with pytest.raises(ValueError, match="an OracleCell needs a world that is linear in its codes"):
            cell.evaluate()
    OracleCell(replace(PLAIN, observation=(Background(2, 0.1),)), 0, 10, OrthogonalMatchingPursuit(2)).evaluate()


def test_a_signal_that_overflows_is_refused():
    model = FeatureSpec(4, ExactlyK(5, 5), RandomSphere(), LogNormal(50.0, 0.1), observation=(Interactions(2),)).build(
        stream(0, Role.TRUTH)
    )
    assert np.isfinite(model.sample(5, stream(0, Role.TRAIN)).x).all()
    with pytest.raises(ValueError, match="the changed signal leaves the range of float32"):
        model.sample(5, stream(0, Role.TRAIN), dtype=np.float32)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Interactions(0), ValueError, r"count must lie in \[1"),
        (lambda: Interactions(1, 4), ValueError, r"order must lie in \[2, 3\]; got 4"),
        (lambda: Interactions(1, 2, 0.0), ValueError, "strength must not be 0"),
        (lambda: build(observation=(Interactions(67),)), ValueError, r"at most C\(m, order\)=C\(12, 2\)=66"),
        (
            lambda: Interactions(10, 3).realise(
                np.broadcast_to(1.0, (4_000_000, 1)), lambda: 1.0, stream(0, Role.OBSERVATION)
            ),
            ValueError,
            r"fewer than 2\^63 different sets; got C\(m, order\)=C\(4000000, 3\)",
        ),
        (lambda: LeakyMixing(1), ValueError, r"layers must lie in \[2"),
        (lambda: LeakyMixing(2, 0.5), ValueError, r"condition must be finite and lie in \[1"),
        (lambda: LeakyMixing(2, 2.0, 0.0), ValueError, r"slope must be finite and lie in \(0, 1\]"),
        (lambda: build(dim=1, observation=(LeakyMixing(),)), ValueError, "from dim=2 on; got dim=1"),
        (lambda: Background(0, 0.1), ValueError, "rank"),
        (lambda: Background(1, 1.0), ValueError, r"fraction must be finite and lie in \(0, 0.999\]"),
        (lambda: build(observation=(Background(9, 0.1),)), ValueError, r"rank must lie in \[1, dim=8\]; got 9"),
        (lambda: Missing(1.5), ValueError, r"rate must be finite and lie in \[0, 1\]"),
        (lambda: Missing(0.5, 1), TypeError, "nan must be True"),
        (lambda: Segments(0), ValueError, "count"),
        (lambda: Segments(2, (0.0, 1.0)), ValueError, r"scale\[0\] must be finite and lie in \(0"),
        (lambda: Segments(2, (2.0, 1.0)), ValueError, "low <= high"),
        (lambda: Segments(2, [1.0, 2.0]), TypeError, r"scale must be a tuple \(low, high\)"),
        (lambda: Readout(0), ValueError, "relevant must lie in"),
        (lambda: Readout((1, 1)), ValueError, "each named once"),
        (lambda: Readout(()), ValueError, "at least one feature"),
        (lambda: Readout(1, link="cube"), ValueError, "link must be one of identity, relu, tanh"),
        (lambda: build(targets=Readout(13)), ValueError, r"relevant must lie in \[1, m=12\]; got 13"),
        (lambda: build(targets=Readout((12,))), ValueError, r"relevant\[0\] must lie in \[0, m-1=11\]; got 12"),
        (lambda: build(observation=Background(1, 0.1)), TypeError, "observation must be a tuple of changes"),
        (lambda: build(observation=(Background,)), TypeError, r"observation\[0\] must be a change of the signal"),
        (lambda: build(observation=(Missing(0.1),)), TypeError, "Missing, Segments and Readout have arguments"),
        (lambda: build(observation=(Segments(2),)), TypeError, "Missing, Segments and Readout have arguments"),
        (lambda: build(missing=0.3), TypeError, r"missing must be a Missing\(...\) or None; got 0.3"),
        (lambda: build(segments=5), TypeError, "segments must be a Segments"),
        (lambda: build(targets=Readout), TypeError, "targets must be a Readout"),
    ],
)
def test_observations_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
