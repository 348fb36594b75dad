"""What only a GPU can show: no step waits, two runs have the same bits, and numbers are those of the CPU."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_neural_anywhere import DIM, NEURAL, TOTAL, WAITING, Moments, gradients, model
from test_neural_whole_step import BASIC, bodies, samples, state, take
from test_on_device import ENCODERS, world

from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.device import place, reference
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.on_device import OnDevice
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.solvers.thresholding import IterativeHardThresholding

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
BATCH = 64
every = pytest.mark.parametrize("solver", NEURAL, ids=lambda solver: type(solver).__name__)
alone_and_together = pytest.mark.parametrize("members", [1, 2])


def cuda() -> torch.device:
    return torch.device("cuda")


def noise(module: SparseModule, members: int, dtype: torch.dtype) -> torch.Tensor:
    rng = np.random.default_rng(7)
    lead = () if members == 1 else (members,)
    side = rng.integers(0, 2, (*lead, BATCH, module.side))
    x = np.concatenate([rng.standard_normal((*lead, BATCH, DIM)), side], axis=-1)
    return torch.from_numpy(x).to(dtype)


@every
@alone_and_together
def test_a_step_does_not_wait_for_the_device(solver, members):
    if type(solver).__name__ in WAITING:
        pytest.skip("solves an assignment problem on the host")
    module = model(solver, members).train()
    place.move_(module, cuda())
    x = noise(module, members, torch.float32).to(cuda())
    generators = tuple(torch.Generator(cuda()).manual_seed(e) for e in range(members))

    def take(*steps: int) -> None:
        for index in steps:
            sum(module.losses(x, Step(index, TOTAL, generators)).values()).sum().backward()
            with torch.no_grad():
                module.before_step()
                module.after_step(Moments())

    take(0, 9, 19)  # libraries set themselves up in the first steps, and may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        take(20, 21, 22)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every
@alone_and_together
def test_losses_and_gradients_are_those_of_the_cpu(solver, members, monkeypatch):
    drawn = Step.normal

    def same_noise(step: Step, like: torch.Tensor) -> torch.Tensor:
        return drawn(step, torch.empty_like(like, device="cpu")).to(like.device)

    monkeypatch.setattr(Step, "normal", same_noise)
    here = model(solver, members).double().train()
    for part in here.modules():
        if hasattr(part, "any_dead"):
            part.dead[..., ::5], part.any_dead = 1.0, True
    there = copy.deepcopy(here)
    place.move_(there, cuda())
    x = noise(here, members, torch.float64)
    expected, found = gradients(here, x, 21), gradients(there, x.to(cuda()), 21)
    for name, value in expected.items():  # float64 sums of a few hundred terms in another order
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("precision", ["reference", "fastest"])
@pytest.mark.parametrize("solver", BASIC, ids=lambda solver: type(solver).__name__)
@alone_and_together
def test_a_step_taken_whole_does_not_wait_and_is_that_of_autograd(solver, members, precision):
    """In float64; and in float32 with bfloat16 that its rounded weights are kept up."""
    kind = torch.float64 if precision == "reference" else torch.float32
    whole, plain = bodies(solver, members, kind, precision, cuda())
    batches = [samples(members, seed=index, dtype=kind).to(cuda()) for index in range(6)]
    for index in range(3):  # libraries set themselves up in the first steps, and may wait
        take(whole, batches[index], index)
        take(plain, batches[index], index)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index in range(3, 6):
            take(whole, batches[index], index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if precision == "fastest":
        for shadow, p in zip(whole.whole.shadows, (whole.module.encoder, whole.module.decoder), strict=True):
            assert torch.equal(shadow, p.detach().bfloat16())
        return
    for index in range(3, 6):
        take(plain, batches[index], index)
    expected = state(plain)
    for name, found in state(whole).items():  # as between Triton's interpreter and autograd on the CPU
        torch.testing.assert_close(found, expected[name], rtol=1e-7, atol=1e-9)


TRAINING = Training(steps=120, batch_size=BATCH, device="cuda")


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("solver", [TopK(48, 3), BatchTopK(48, 3), MatchingPursuitSAE(48, 3)], ids=repr)
def test_two_fits_have_the_same_bits_and_end_where_the_cpu_does(solver, graphs):
    x = np.random.default_rng(0).standard_normal((500, 16))
    there = replace(solver, training=replace(TRAINING, graphs=graphs))
    first, second = (there.fit(x, rng=np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.atoms, second.atoms)
    assert first.trace == second.trace
    here = replace(solver, training=replace(TRAINING, device="cpu")).fit(x, rng=np.random.default_rng(1))
    # trajectories part in their last bits and then at other choices of latents; what they reach does not
    np.testing.assert_allclose(first.trace["loss"][-10:], here.trace["loss"][-10:], rtol=0.02)


@pytest.mark.parametrize(("shape", "k"), [((1024, 128, 1024), 16), ((1024, 768, 4096), 25), ((512, 700, 16000), 40)])
def test_triton_kernels_agree_with_torch_at_the_sizes_that_are_trained(shape, k):
    compiled = pytest.importorskip("triton") and place.operations(torch.empty(0, device="cuda"))
    batch, d, p = shape
    generator = torch.Generator("cuda").manual_seed(0)
    u, table = (torch.randn(*each, generator=generator, device="cuda") for each in ((batch, p), (p, d)))
    found, expected = compiled.largest_of_rows(u, k), reference.largest_of_rows(u, k)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    index = found[0].reshape(-1)
    bounds = torch.arange(0, batch * k + 1, k, dtype=torch.int32, device="cuda")
    weight = torch.randn(len(index), generator=generator, device="cuda")
    rows = torch.arange(batch, dtype=torch.int32, device="cuda").repeat_interleave(k)
    x = compiled.sums(bounds, index, weight, table)
    torch.testing.assert_close(x, reference.sums(bounds, index, weight, table), rtol=1e-5, atol=1e-4)
    ends, places = compiled.by_column(index, p)
    back = (ends, rows[places], weight[places], x)
    outs = [torch.zeros_like(table) for _ in range(3)]
    for module, out in zip((compiled, compiled, reference), outs, strict=True):
        module.add_sums_(*back, out)
    assert torch.equal(outs[0], outs[1])
    torch.testing.assert_close(outs[0], outs[2], rtol=1e-5, atol=1e-3)
    dots = (bounds, index, x, table)
    torch.testing.assert_close(compiled.dots(*dots), reference.dots(*dots), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: repr(encoder)[:60])
def test_encoders_on_the_device_are_those_on_the_cpu(encoder):
    x, atoms = world()
    found, expected = OnDevice(encoder).encode(x, atoms).toarray(), encoder.encode(x, atoms).toarray()
    atol = {FISTA: 1e-6, IterativeHardThresholding: 1e-8}.get(type(encoder), 1e-12)
    assert np.all(np.abs(found - expected) <= atol * np.abs(x).max(axis=1, keepdims=True))
