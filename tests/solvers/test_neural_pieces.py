"""Selection, dead latents, threshold, optimiser and schedule: each against a slow, obvious twin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsesim.solvers.neural.adam import Adam
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.dead import RENEW_DEAD_EVERY, DeadLatents
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder, affine, squared_error
from sparsesim.solvers.neural.relu_l1 import ReLUL1Module
from sparsesim.solvers.neural.selection import _largest_by_key, largest
from sparsesim.solvers.neural.threshold import BatchThreshold
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def mask_by_sorting(u: np.ndarray, k: int) -> np.ndarray:
    mask = np.zeros(u.shape)
    for row, values in enumerate(u):
        order = sorted(range(len(values)), key=lambda i: (-values[i], i))
        for i in order[:k]:
            mask[row, i] = values[i] > 0
    return mask


rows_with_ties = st.integers(1, 7).flatmap(
    lambda p: st.tuples(
        st.lists(
            st.lists(st.sampled_from([-2.0, -0.0, 0.0, 0.5, 1.0, 1.0 + 2**-23, 3.0]), min_size=p, max_size=p),
            min_size=1,
            max_size=4,
        ),
        st.integers(1, p),
    )
)


@given(rows_with_ties)
def test_largest_is_the_sort_by_value_then_index_even_with_ties(case):
    u, k = np.array(case[0], dtype=np.float32), case[1]
    expected = mask_by_sorting(u, k)
    np.testing.assert_array_equal(largest(tensor(u), k).numpy(), expected)
    if k < u.shape[1]:
        np.testing.assert_array_equal(_largest_by_key(tensor(u), k).numpy(), expected)


def test_neighbouring_float32_values_keep_their_order_by_key_at_any_width():
    p = 5000
    u = np.full(p, 1.0, dtype=np.float32)
    u[-1] = np.nextafter(np.float32(1.0), np.float32(2.0))  # the largest value has the worst index
    chosen = np.flatnonzero(_largest_by_key(tensor(u[None]), 3)[0].numpy())
    np.testing.assert_array_equal(chosen, [0, 1, p - 1])


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_topk_with_relu_projects_onto_sparse_non_negative_vectors(seed, k):
    u = rng(seed).standard_normal(5).astype(np.float32)
    z = u * largest(tensor(u[None]), k)[0].numpy()
    best = min(
        np.square(u - np.where(np.isin(range(5), support), np.maximum(u, 0), 0)).sum()
        for support in itertools.combinations(range(5), k)
    )
    # Both sums run over the same five float32 squares, in one order: rounding only.
    assert np.square(u - z).sum() <= best * (1 + 1e-6)


def test_a_batched_selection_is_that_of_each_member():
    u = tensor(rng().standard_normal((3, 8, 6)))
    for e in range(3):
        assert torch.equal(largest(u, 2)[e], largest(u[e], 2))


def test_affine_and_pre_activations_equal_the_textbook_formula():
    for shape in ((5, 3), (2, 5, 3)):
        x, w, b = (tensor(rng(1).standard_normal(s)) for s in (shape, (*shape[:-2], 3, 4), (*shape[:-2], 4)))
        # Ten additions of O(1) float32 numbers: 1e-6 is a few units in the last place.
        torch.testing.assert_close(affine(x, w, b), x @ w + b.unsqueeze(-2), rtol=0, atol=1e-6)
    module = ReLUL1Module(7, 1.0, 4, rng())
    module.bias.data, module.encoder_bias.data = tensor(rng(2).standard_normal(4)), tensor(rng(3).standard_normal(7))
    x = tensor(rng(4).standard_normal((6, 4)))
    direct = (x - module.bias) @ module.encoder.T + module.encoder_bias
    torch.testing.assert_close(module.pre_activations(x), direct, rtol=0, atol=3e-6)  # as above, magnitudes up to 5


@given(st.integers(0, 1000))
def test_squared_error_and_its_gradient_are_those_of_the_formula(seed):
    x = torch.from_numpy(rng(seed).standard_normal((2, 4, 3)))
    y = torch.from_numpy(rng(seed + 1).standard_normal((2, 4, 3))).requires_grad_()
    slow = (x - y).square().sum(-1).mean(-1)
    (fast_gradient,) = torch.autograd.grad((squared_error(x, y) * torch.tensor([1.0, 3.0])).sum(), y)
    (slow_gradient,) = torch.autograd.grad((slow * torch.tensor([1.0, 3.0])).sum(), y)
    torch.testing.assert_close(squared_error(x, y), slow, rtol=1e-12, atol=0)  # float64, twelve terms
    torch.testing.assert_close(fast_gradient, slow_gradient, rtol=1e-12, atol=1e-14)


def dead_latents(dead: list[int], width: int = 6, dim: int = 4) -> DeadLatents:
    tracker = DeadLatents(width, dim, weight=1 / 32, dead_after=10)
    fired = torch.ones(8, width)
    fired[:, dead] = 0.0
    for index in range(2 * RENEW_DEAD_EVERY):
        tracker.observe(fired, index)
    return tracker


def test_a_latent_is_dead_after_its_silence_and_alive_again_once_it_fires():
    tracker = dead_latents([1, 4])
    np.testing.assert_array_equal(np.flatnonzero(tracker.dead.numpy()), [1, 4])
    np.testing.assert_array_equal(tracker.silent.numpy(), [0, 20, 0, 0, 20, 0])
    once = torch.zeros(8, 6)
    once[3, 4] = 1.0
    for index in range(RENEW_DEAD_EVERY):
        tracker.observe(once if index == 5 else torch.zeros(8, 6), index)
    assert tracker.silent[4] == 0 and tracker.silent[1] == 30 and tracker.dead[4] == 0


def aux_by_numpy(u, x, reconstruction, decoder, dead, weight, k_aux):
    masked = np.where(np.isin(np.arange(u.shape[1]), dead), u, -1.0)
    codes = u * mask_by_sorting(masked, k_aux)
    r = x - reconstruction
    spread = np.square(x - x.mean(0)).sum()
    return weight * spread / len(x) * np.square(r - codes @ decoder).mean() / np.square(r - r.mean(0)).mean()


def test_auxk_equals_its_definition_and_reaches_dead_rows_only():
    dead = [0, 3, 5]
    tracker = dead_latents(dead)
    u, x = rng(1).standard_normal((8, 6)) + 0.5, rng(2).standard_normal((8, 4))
    main, decoder = rng(3).standard_normal((8, 4)), rng(4).standard_normal((6, 4))
    leaves = [tensor(a).requires_grad_() for a in (u, main, decoder)]
    value = tracker.revive(leaves[0], tensor(x), leaves[1], leaves[2])
    value.backward()
    live = [1, 2, 4]
    # float32 against float64, a hundred terms of one sign.
    assert value.item() == pytest.approx(aux_by_numpy(u, x, main, decoder, dead, 1 / 32, 2), rel=1e-5)
    assert torch.all(leaves[2].grad[live] == 0) and torch.all(leaves[0].grad[:, live] == 0)
    assert leaves[1].grad is None, "the main reconstruction must not be trained by AuxK"
    assert leaves[2].grad[dead].abs().max() > 0


def test_auxk_without_dead_latents_is_zero_with_finite_gradients():
    module = TopK(6, 2, dead_after=10).module(4, rng())
    assert module.dead.revive(torch.ones(8, 6), torch.ones(8, 4), torch.zeros(8, 4), module.decoder).item() == 0.0
    tracker = dead_latents([2])
    x = tensor(rng().standard_normal((8, 4)))
    u = tensor(rng(1).standard_normal((8, 6))).requires_grad_()
    for data, reconstruction in ((x, x), (x[:1], x[:1] + 1), (torch.zeros(8, 4), torch.zeros(8, 4))):
        value = tracker.revive(u[: len(data)], data, reconstruction, torch.eye(6)[:, :4])
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(u.grad).all()


def test_dead_latents_of_an_ensemble_are_those_of_its_members():
    tracker = DeadLatents(3, 4, 1 / 32, 10)
    for name in ("count", "silent", "dead"):
        getattr(tracker, name).data = torch.zeros(2, 3)
    fired = torch.ones(2, 5, 3)
    fired[1, :, 2] = 0.0
    for index in range(RENEW_DEAD_EVERY):
        tracker.observe(fired, index)
    np.testing.assert_array_equal(tracker.dead.numpy(), [[0, 0, 0], [0, 0, 1]])
    value = tracker.revive(
        torch.ones(2, 5, 3), tensor(rng().standard_normal((2, 5, 4))), torch.zeros(2, 5, 4), torch.ones(2, 3, 4)
    )
    assert value.shape == (2,) and value[0] == 0 and value[1] > 0 and torch.isfinite(value).all()


def test_the_threshold_is_the_mean_of_batch_minima_and_frozen_outside_training():
    threshold = BatchThreshold(memory=3.0)
    minima = [0.5, 1.5, 1.0, 3.0]
    for smallest in minima[:3]:
        threshold.observe(torch.tensor([[0.0, smallest], [smallest + 1, -1.0]]))
    assert threshold.value.item() == pytest.approx(1.0, rel=1e-6)  # float32 mean of three numbers
    threshold.observe(torch.zeros(2, 2))  # nothing was kept
    assert threshold.seen.item() == 3.0 and threshold.value.item() == pytest.approx(1.0, rel=1e-6)
    threshold.observe(torch.full((2, 2), minima[3]))
    assert threshold.value.item() == pytest.approx(1.0 + 2.0 / 3, rel=1e-6)  # from now on with weight 1 / memory
    threshold.eval()
    threshold.observe(torch.full((2, 2), 100.0))
    assert threshold.value.item() == pytest.approx(1.0 + 2.0 / 3, rel=1e-6)
    np.testing.assert_array_equal(threshold.apply_to(torch.tensor([[1.0, 2.0]])).numpy(), [[0.0, 2.0]])


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_flat_optimiser_equals_torch_adam(clip):
    training = Training(steps=40, learning_rate=0.03, betas=(0.8, 0.99), grad_clip=clip)
    ours, theirs = (ReLUL1Module(5, 0.3, 3, rng()) for _ in range(2))
    optimiser = Adam(ours, training, ensemble=False)
    reference = torch.optim.Adam(theirs.parameters(), lr=1.0, betas=training.betas, eps=training.eps)
    for index, rate in enumerate(training.rates()):
        x = tensor(rng(index).standard_normal((6, 3)))
        for module in (ours, theirs):
            sum(module.losses(x, None).values()).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        reference.param_groups[0]["lr"] = float(rate)
        optimiser.prepare(index)
        optimiser.step()
        reference.step()
        reference.zero_grad()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        # Steps of 0.03 in float32, forty of them: rounding grows to some 1e-6, a wrong formula to 1e-2.
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_clipping_is_of_each_model_of_an_ensemble():
    module = ReLUL1Module(5, 0.3, 3, rng())
    for parameter in module.parameters():
        parameter.data = torch.stack([parameter.data, parameter.data])
    optimiser = Adam(module, Training(steps=1, grad_clip=1.0), ensemble=True)
    for parameter in module.parameters():
        parameter.grad[0], parameter.grad[1] = 0.01, 5.0
    optimiser._clip(1.0)
    norms = sum(p.grad.flatten(1).square().sum(1) for p in module.parameters()).sqrt()
    count = sum(p[0].numel() for p in module.parameters())
    np.testing.assert_allclose(norms.numpy(), [0.01 * count**0.5, 1.0], rtol=1e-5)  # float32 sums of 38 squares


def test_the_schedule_rises_holds_and_falls_and_wastes_no_step():
    rates = Training(steps=100, learning_rate=2.0, warmup=0.1, decay=0.2).rates()
    np.testing.assert_allclose(rates[[0, 4, 9, 50, 80, 90, 99]], [0.2, 1.0, 2.0, 2.0, 2.0, 1.0, 0.1], rtol=1e-12)
    for training in (
        Training(steps=1),
        Training(steps=7, warmup=0.0, decay=0.0),
        Training(steps=3, warmup=0.5, decay=0.5),
    ):
        assert np.all(training.rates() > 0) and training.rates().max() <= training.learning_rate


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"steps": 0}, ValueError),
        ({"batch_size": 2.5}, TypeError),
        ({"learning_rate": 0.0}, ValueError),
        ({"learning_rate": float("nan")}, ValueError),
        ({"betas": (0.9, 1.0)}, ValueError),
        ({"betas": [0.9, 0.99]}, TypeError),
        ({"warmup": 0.6, "decay": 0.6}, ValueError),
        ({"grad_clip": 0.0}, ValueError),
        ({"normalise": 1}, TypeError),
    ],
)
def test_training_refuses_what_makes_no_sense_and_names_it(change, error):
    with pytest.raises(error, match=next(iter(change))):
        Training(**change)


@pytest.mark.parametrize("build", [TopK, BatchTopK])
def test_gradient_steps_keep_atoms_on_the_sphere(build):
    module: UnitDecoder = build(6, 2, dead_after=10).module(4, rng())
    optimiser = Adam(module, Training(steps=30, learning_rate=0.1), ensemble=False)
    for index in range(30):
        x = tensor(rng(index).standard_normal((8, 4)))
        u = module.pre_activations(x)
        squared_error(x, module.decode(u * largest(u, 2))).backward()
        with torch.no_grad():
            module.before_step()
            radial = (module.decoder.grad * module.decoder).sum(-1)
            # The projection is exact up to float32 rounding of gradients of size 10.
            assert radial.abs().max() < 1e-5
            optimiser.prepare(index)
            optimiser.step()
            module.after_step(optimiser)
        # Five float32 operations on four numbers: a few units of 6e-8.
        np.testing.assert_allclose(torch.linalg.vector_norm(module.decoder, dim=-1).detach().numpy(), 1, atol=5e-7)


def test_adam_forgets_the_moments_of_the_rows_it_is_told_and_no_others():
    module = TopK(6, 2).module(4, rng())
    optimiser = Adam(module, Training(steps=2), ensemble=False)
    for parameter in module.parameters():
        parameter.grad.fill_(1.0)
    optimiser.prepare(0)
    optimiser.step()
    where = torch.zeros(6, 1, dtype=torch.bool)
    where[2] = True
    optimiser.forget(module.decoder, where)
    moments = dict(zip(dict(module.named_parameters()), split(optimiser.mean, module), strict=True))
    assert torch.all(moments["decoder"][2] == 0) and torch.all(moments["decoder"][[0, 1, 3, 4, 5]] != 0)
    assert all(torch.all(moments[name] != 0) for name in ("encoder", "encoder_bias", "bias"))
    with pytest.raises(ValueError, match="knows no such parameter"):
        optimiser.forget(torch.nn.Parameter(torch.zeros(6, 4)), where)


def split(flat: torch.Tensor, module: torch.nn.Module) -> list[torch.Tensor]:
    parameters = list(module.parameters())
    parts = flat.split([p.numel() for p in parameters])
    return [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


def test_weight_decay_is_that_of_adamw():
    training = Training(steps=5, learning_rate=0.05, weight_decay=0.3, warmup=0.0, decay=0.0)
    module, twin = ReLUL1Module(5, 0.3, 3, rng()), ReLUL1Module(5, 0.3, 3, rng())
    ours = Adam(module, training, ensemble=False)
    theirs = torch.optim.AdamW(twin.parameters(), lr=0.05, betas=training.betas, eps=training.eps, weight_decay=0.3)
    for index in range(5):
        for a, b in zip(module.parameters(), twin.parameters(), strict=True):
            gradient = tensor(rng(index).standard_normal(tuple(a.shape)))
            a.grad.copy_(gradient)
            b.grad = gradient.clone()
        ours.prepare(index)
        ours.step()
        theirs.step()
    for a, b in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # five float32 steps of the same arithmetic


def test_a_ramp_runs_from_start_to_end_and_steps_up_where_they_coincide():
    ramps = [Step(index, 11).ramp(0.2, 0.6) for index in range(11)]
    np.testing.assert_allclose(ramps, [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1], atol=1e-12)
    assert [Step(index, 3).ramp(0.5, 0.5) for index in range(3)] == [0.0, 1.0, 1.0]
