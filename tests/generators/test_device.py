"""Samples formed on a torch device are those of the CPU kernel: the same codes bit for bit, x to rounding."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from sparsesim import Role, stream
from sparsesim.generators import (
    Bernoulli,
    DeviceSamples,
    EqualRates,
    FeatureSpec,
    Gaussian,
    HalfNormal,
    RandomSphere,
    synthesise_on,
)
from sparsesim.generators.observation import Background, Missing
from tests.generators.strategies import seeds, specs

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
SUPERPOSED = FeatureSpec(16, Bernoulli(EqualRates(64, 0.1)), RandomSphere(), HalfNormal(), Gaussian(0.1), bias=0.5)


def rounding(codes, atoms, dtype):
    """Largest difference that two orders of summation can make: k + 2 roundings of the sum of absolute terms."""
    k = int(np.diff(codes.indptr).max(initial=0)) + 2
    return 2 * k * np.finfo(dtype).eps * (np.abs(codes) @ np.abs(atoms) + np.finfo(np.float32).tiny)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60)
@given(spec=specs(), seed=seeds)
def test_on_any_device_codes_times_atoms_are_those_of_the_cpu_kernel(device, spec, seed):
    model = spec.build(np.random.default_rng(seed))
    for dtype in (np.float32, np.float64):
        codes = model.sample(7, np.random.default_rng(seed), dtype=dtype).codes
        here = codes.astype(np.float64) @ model.atoms + model.bias
        there = synthesise_on(device, codes, model.atoms, model.bias)
        assert there.device.type == device and there.dtype == getattr(torch, np.dtype(dtype).name)
        room = rounding(codes.astype(np.float64), model.atoms, dtype) + 4 * np.finfo(dtype).eps * np.abs(model.bias)
        assert np.all(np.abs(there.cpu().numpy() - here) <= room)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_device_source_draws_the_samples_of_the_cpu_source_batch_after_batch(device, dtype):
    model = SUPERPOSED.build(stream(0, Role.TRUTH))
    ours = DeviceSamples(model, device, dtype).batches(300, stream(0, Role.TRAIN))
    theirs = model.source(dtype=dtype).batches(300, stream(0, Role.TRAIN))
    for _ in range(3):
        mine, yours = next(ours), next(theirs)
        # Values are below 20 in size, and a sum of about 20 terms: 50 roundings are ample.
        assert np.abs(mine.cpu().numpy() - yours).max() <= 50 * 20 * np.finfo(dtype).eps


def test_the_codes_are_the_same_bit_for_bit():
    model = SUPERPOSED.build(stream(0, Role.TRUTH))
    x, codes = DeviceSamples(model, "cpu").sample(500, stream(1, Role.TEST))
    batch = model.sample(500, stream(1, Role.TEST), dtype=np.float32)
    assert np.array_equal(codes.data, batch.codes.data)
    assert np.array_equal(codes.indices, batch.codes.indices)
    assert np.array_equal(codes.indptr, batch.codes.indptr)
    assert x.shape == batch.x.shape


def test_no_samples_and_samples_in_which_nothing_fires_are_the_bias():
    model = FeatureSpec(3, Bernoulli(EqualRates(4, 1e-12)), RandomSphere(), HalfNormal(), bias=2.0)
    built = model.build(stream(0, Role.TRUTH))
    samples = DeviceSamples(built, "cpu", np.float64)
    assert samples.sample(0, stream(0, Role.TEST))[0].shape == (0, 3)
    x, codes = samples.sample(5, stream(0, Role.TEST))
    assert codes.nnz == 0
    assert np.array_equal(x.numpy(), np.tile(built.bias, (5, 1)))


def test_a_world_whose_signal_is_changed_or_lost_is_refused():
    changed = replace(SUPERPOSED, missing=Missing(0.1)).build(stream(0, Role.TRUTH))
    with pytest.raises(ValueError, match=r"only where they are codes @ atoms \+ bias \+ noise.*missing=Missing"):
        DeviceSamples(changed, "cpu")
    background = replace(SUPERPOSED, observation=(Background(rank=2, fraction=0.1),)).build(stream(0, Role.TRUTH))
    with pytest.raises(ValueError, match=r"observation=\(Background"):
        DeviceSamples(background, "cpu")


def test_a_batch_can_be_written_to_without_harm_to_the_next():
    model = SUPERPOSED.build(stream(0, Role.TRUTH))
    samples, clean = DeviceSamples(model, "cpu"), DeviceSamples(model, "cpu")
    stained = samples.batches(10, stream(0, Role.TRAIN))
    next(stained).zero_()
    pure = clean.batches(10, stream(0, Role.TRAIN))
    next(pure)
    assert torch.equal(next(stained), next(pure))
    assert not model.atoms.flags.writeable


def test_the_global_random_state_of_torch_is_not_touched():
    before = torch.random.get_rng_state()
    DeviceSamples(SUPERPOSED.build(stream(0, Role.TRUTH)), "cpu").sample(10, stream(0, Role.TEST))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_device_that_is_not_there_a_wrong_precision_and_wrong_shapes_are_named():
    model = SUPERPOSED.build(stream(0, Role.TRUTH))
    codes = model.sample(3, stream(0, Role.TEST)).codes
    with pytest.raises(ValueError, match="device must be one that torch can use here; got 'abacus'"):
        DeviceSamples(model, "abacus")
    with pytest.raises(ValueError, match="device must be"):
        synthesise_on("cuda:99", codes, model.atoms)
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got float16"):
        DeviceSamples(model, "cpu", np.float16)
    with pytest.raises(ValueError, match="codes have 64 columns, but there are 63 atoms"):
        synthesise_on("cpu", codes, model.atoms[:-1])
    with pytest.raises(ValueError, match=r"offset must have shape \(d,\)=\(16,\)"):
        synthesise_on("cpu", codes, model.atoms, np.zeros(3))


def test_worlds_are_drawn_without_torch_until_a_device_is_asked_for():
    code = (
        "import sys, numpy as np; import sparsesim.generators as g; "
        "s = g.FeatureSpec(2, g.ExactlyK(3, 1), g.RandomSphere(), g.Constant(1.0)); "
        "s.build(np.random.default_rng(0)).sample(2, np.random.default_rng(0)); before = 'torch' in sys.modules; "
        "g.DeviceSamples; print(before, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
