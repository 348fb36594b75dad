"""Whole worlds: x is what the codes say, the noise is what was asked for, one stream gives one world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim import Role, generators, key, stream
from sparsesim.generators import (
    Bernoulli,
    Constant,
    EqualRates,
    ExactlyK,
    FeatureSpec,
    Forest,
    Gaussian,
    GivenAtoms,
    HalfNormal,
    LogNormal,
    Orthonormal,
    RandomSphere,
    SignalToNoise,
    Support,
)
from tests.generators.chance import assert_mean
from tests.generators.strategies import seeds, specs


@given(spec=specs(), seed=seeds, n=st.integers(0, 300))
@settings(max_examples=60)
def test_every_world_samples_what_it_says(spec, seed, n):
    model = spec.build(stream(seed, Role.TRUTH))
    batch = model.sample(n, stream(seed, Role.TRAIN))
    assert batch.x.shape == (n, spec.dim) and batch.codes.shape == (n, spec.n_features)
    assert np.all(np.isfinite(batch.x)) and np.all(batch.codes.data != 0)
    clean = batch.codes @ model.atoms + model.bias
    if model.noise_std == 0:
        scale = 1.0 + np.abs(batch.codes).sum(axis=1).max(initial=0.0) + spec.bias
        assert batch.x == pytest.approx(clean, abs=1e-13 * scale)  # at most 13 roundings of 2^-53 of the magnitudes
    assert np.linalg.norm(model.bias) == pytest.approx(spec.bias, abs=1e-13)


@given(spec=specs(), seed=seeds)
@settings(max_examples=30)
def test_the_same_streams_give_the_same_bits_and_equal_specifications_have_equal_keys(spec, seed):
    models = [spec.build(stream(seed, Role.TRUTH)) for _ in range(2)]
    assert np.array_equal(models[0].atoms, models[1].atoms) and np.array_equal(models[0].bias, models[1].bias)
    batches = [model.sample(50, stream(seed, Role.TEST)) for model in models]
    assert np.array_equal(batches[0].x, batches[1].x)
    again = eval(repr(spec), names())
    assert again == spec and hash(again) == hash(spec) and key(again) == key(spec)


def names():
    return {name: getattr(generators, name) for name in dir(generators) if name[0].isupper()}


@given(spec=specs(), seed=seeds)
@settings(max_examples=40)
def test_single_precision_samples_are_the_same_up_to_rounding(spec, seed):
    model = spec.build(np.random.default_rng(0))
    single, double = (
        model.sample(40, np.random.default_rng(seed), dtype=dtype).codes for dtype in (np.float32, np.float64)
    )
    assert single.dtype == np.float32
    assert np.array_equal(single.indices, double.indices) and np.array_equal(single.indptr, double.indptr)
    assert single.data == pytest.approx(double.data, rel=1e-7)  # one rounding to 2^-24


@given(spec=specs())
@settings(max_examples=40)
def test_the_signal_energy_is_the_mean_squared_norm(spec):
    model = spec.build(np.random.default_rng(0))
    codes = model.sample(4_000, np.random.default_rng(1)).codes
    squares = np.square(codes @ model.atoms).sum(axis=1)
    rates = spec.support.marginals()
    if np.all((rates == 0) | (rates > 1e-2)):  # else 4,000 samples may not see a feature that matters
        assert abs(squares.mean() - model.signal_energy()) <= 8 * squares.std() / np.sqrt(4_000) + 1e-9 * squares.mean()


@pytest.mark.parametrize("db", [-5.0, 0.0, 20.0])
def test_the_signal_to_noise_ratio_asked_for_is_realised(db):
    law = Forest.regular(3, 3, 2, root_rate=0.4, child_rate=0.3)
    model = FeatureSpec(12, law, RandomSphere(), HalfNormal(), SignalToNoise(db), bias=3.0).build(
        np.random.default_rng(0)
    )
    batch = model.sample(40_000, np.random.default_rng(1))
    signal = batch.codes @ model.atoms
    noise = batch.x - signal - model.bias
    assert_mean(np.square(signal).sum(axis=1), model.signal_energy(), tests=2)
    assert_mean(np.square(noise).sum(axis=1), model.signal_energy() / 10 ** (db / 10), tests=2)


def test_worlds_that_differ_only_in_their_noise_share_their_codes():
    batches = []
    for noise in (Gaussian(0.0), Gaussian(0.5), SignalToNoise(3.0)):
        spec = FeatureSpec(8, ExactlyK(12, 3), RandomSphere(), HalfNormal(), noise)
        batches.append(spec.build(np.random.default_rng(0)).sample(100, np.random.default_rng(1)))
    for batch in batches[1:]:
        assert np.array_equal(batch.codes.data, batches[0].codes.data)
        assert np.array_equal(batch.codes.indices, batches[0].codes.indices)
        assert not np.array_equal(batch.x, batches[0].x)


@dataclass(frozen=True)
class AllOrNothing:
    """A law without second moments in closed form: all features fire together, or none."""

    n_features: int
    rate: float

    def marginals(self):
        return np.full(self.n_features, self.rate)

    def draw(self, n, rng):
        fires = np.flatnonzero(rng.random(n) < self.rate)
        counts = np.zeros(n, np.int64)
        counts[fires] = self.n_features
        indices = np.tile(np.arange(self.n_features, dtype=np.int32), len(fires))
        return Support(np.concatenate([[0], np.cumsum(counts)]), indices, self.n_features)


def test_the_energy_of_a_law_without_second_moments_is_estimated():
    model = FeatureSpec(5, AllOrNothing(5, 0.3), Orthonormal(), Constant(2.0), SignalToNoise(10)).build(
        np.random.default_rng(0)
    )
    expected = 0.3 * 5 * 4.0
    error = 20.0 * np.sqrt(0.3 * 0.7 / 20_000)
    assert abs(model.signal_energy() - expected) < 5 * error
    assert model.signal_energy() != expected
    facts = model.describe()
    assert "noise_std" in facts["estimated"]
    assert facts["snr_db"] == pytest.approx(10.0, abs=1e-9)  # rounding alone: both use the same estimate


def test_a_source_streams_fresh_batches():
    model = FeatureSpec(4, Bernoulli(EqualRates(6, 0.5)), RandomSphere(), HalfNormal()).build(np.random.default_rng(0))
    source = model.source()
    batches = source.batches(32, np.random.default_rng(1))
    first, second = next(batches), next(batches)
    assert source.dim == 4 and first.shape == second.shape == (32, 4) and first.dtype == np.float32
    assert not np.array_equal(first, second)


def test_the_truth_is_read_only():
    model = FeatureSpec(4, ExactlyK(3, 1), Orthonormal(), Constant()).build(np.random.default_rng(0))
    for array in (model.atoms, model.bias, Bernoulli(EqualRates(3, 0.1)).marginals()):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FeatureSpec(0, ExactlyK(3, 1), RandomSphere(), Constant()), ValueError, r"dim must lie in \[1"),
        (lambda: FeatureSpec(3, RandomSphere(), RandomSphere(), Constant()), TypeError, "support must have a method"),
        (lambda: FeatureSpec(3, ExactlyK(3, 1), Constant(), Constant()), TypeError, "geometry must have a method"),
        (lambda: FeatureSpec(3, ExactlyK(3, 1), RandomSphere(), 1.0), TypeError, "magnitude must have a method"),
        (
            lambda: FeatureSpec(3, ExactlyK(3, 1), RandomSphere(), Constant(), 0.1),
            TypeError,
            "noise must be a noise law",
        ),
        (lambda: FeatureSpec(3, ExactlyK(3, 1), RandomSphere(), Constant(), bias=-1.0), ValueError, "bias must be"),
        (
            lambda: FeatureSpec(3, ExactlyK(3, 1), RandomSphere, Constant()),
            TypeError,
            r"geometry must be an object, not a class; .* Pass RandomSphere\(...\)",
        ),
        (lambda: Gaussian(-0.1), ValueError, "sigma must be finite"),
        (lambda: SignalToNoise(float("inf")), ValueError, "db must be finite"),
        (lambda: SignalToNoise(4000.0), ValueError, r"db must be finite and lie in \[-300, 300\]"),
    ],
)
def test_incomplete_specifications_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_sampling_refuses_what_it_cannot_give():
    spec = FeatureSpec(3, ExactlyK(3, 1), GivenAtoms(((1.0, 0.0, 0.0),) * 3), LogNormal(-150.0, 0.1))
    model = spec.build(np.random.default_rng(0))
    assert np.all(model.sample(10, np.random.default_rng(0)).codes.data > 0)
    with pytest.raises(ValueError, match="zeros or infinities in float32: LogNormal"):
        model.sample(10, np.random.default_rng(0), dtype=np.float32)
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got float16"):
        model.sample(10, np.random.default_rng(0), dtype=np.float16)
    with pytest.raises(ValueError, match=r"n must lie in \[0"):
        model.sample(-1, np.random.default_rng(0))
