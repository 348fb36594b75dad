"""Proximal maps minimise what they say, their gradients are right, and the proximal autoencoder contains the others."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.proximal import (
    hard,
    hard_positive,
    jump_relu,
    keep_largest,
    keep_largest_magnitude,
    soft,
    soft_positive,
    sparsemax,
)
from sparsesim.solvers.neural.proximal_sae import L0, L1, AtMost, ProximalSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK

seeds = st.integers(0, 10**6)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def double(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


GRID = np.linspace(-6, 6, 2_401)
SCALAR_MAPS = {
    "soft_positive": (soft_positive, lambda z, w: np.where(z >= 0, w * np.abs(z), np.inf)),
    "soft": (soft, lambda z, w: w * np.abs(z)),
    "hard_positive": (hard_positive, lambda z, w: np.where(z >= 0, 0.5 * w**2 * (z != 0), np.inf)),
    "hard": (hard, lambda z, w: 0.5 * w**2 * (z != 0)),
}


@pytest.mark.parametrize("name", SCALAR_MAPS)
@given(u=st.floats(-4, 4), weight=st.floats(0.01, 2))
def test_a_separable_map_is_no_worse_than_any_point_of_a_fine_grid(name, u, weight):
    chosen, regulariser = SCALAR_MAPS[name]
    z = chosen(double([[u]]), double(weight)).item()
    points = np.append(GRID, 0.0)
    values = 0.5 * (points - u) ** 2 + regulariser(points, weight)
    assert 0.5 * (z - u) ** 2 + regulariser(np.array(z), weight) <= values.min() + 1e-12  # float64 rounding


@given(seed=seeds, k=st.integers(1, 5))
def test_a_k_sparse_map_is_the_nearest_point_over_all_supports(seed, k):
    u = rng(seed).standard_normal(6)
    supports = [np.isin(range(6), s) for s in itertools.combinations(range(6), k)]
    signed = keep_largest_magnitude(double(u[None]), k)[0].numpy()
    positive = keep_largest(double(u[None]), k)[0].numpy()
    best_signed = min(np.square(u * ~s).sum() for s in supports)
    best_positive = min(np.square(u - np.where(s, np.maximum(u, 0), 0)).sum() for s in supports)
    # The same six float64 squares in both sums.
    assert np.square(u - signed).sum() <= best_signed + 1e-12 and np.count_nonzero(signed) == k
    assert np.square(u - positive).sum() <= best_positive + 1e-12 and (positive >= 0).all()
    mirrored = keep_largest_magnitude(double(-u[None]), k)[0].numpy()
    np.testing.assert_array_equal(mirrored, -signed)


@given(seed=seeds, p=st.integers(1, 9), scale=st.sampled_from([1e-3, 1.0, 30.0]))
def test_sparsemax_satisfies_the_optimality_conditions_of_the_projection_on_the_simplex(seed, p, scale):
    u = scale * rng(seed).standard_normal((2, 3, p)) + 5.0
    z = sparsemax(double(u)).numpy()
    assert (z >= 0).all()
    np.testing.assert_allclose(z.sum(-1), 1, atol=1e-12)
    # u - z equals its largest value tau wherever z > 0: the multiplier of the sum.
    slack = (u - z).max(-1, keepdims=True) - (u - z)
    np.testing.assert_allclose(np.where(z > 0, slack, 0), 0, atol=1e-11)  # float64 rounding at magnitude 100


def test_custom_gradients_pass_gradcheck_where_they_are_derivatives():
    u = double(rng(3).standard_normal((2, 4, 5))).requires_grad_()
    assert gradcheck(sparsemax, u)
    log_threshold, bandwidth = double(rng(1).uniform(-1, 0.5, (2, 5))), double([0.3, 0.2])
    assert (u - log_threshold.exp().unsqueeze(-2)).abs().min() > 1e-3, "the differences must not cross a threshold"
    assert gradcheck(lambda v: jump_relu(v, log_threshold, bandwidth)[0], u)


def toy_loss(x, encoder, decoder, log_threshold, bandwidth, through_codes=False):
    u = x @ encoder.T
    if through_codes:
        u = u * (u > log_threshold.exp())
    codes, fired = jump_relu(u, log_threshold, bandwidth)
    return (x - codes @ decoder).square().sum(-1).mean(), fired.sum(-1).mean()


def test_the_threshold_gradient_is_the_finite_difference_of_the_loss_of_a_large_sample():
    r, eps = rng(0), 0.1
    x = double(r.standard_normal((300_000, 3)) * [1.0, 1.5, 0.8])
    encoder, decoder = double(r.standard_normal((4, 3))), double(r.standard_normal((4, 3)))
    encoder = encoder / encoder.norm(dim=1, keepdim=True)
    decoder = 1.6 * encoder + 0.2 * decoder  # atoms of a wrong length, so that the derivatives are large
    theta = double([0.4, 0.8, 0.6, 1.0])
    log_threshold = theta.log().requires_grad_()
    errors, counts = (
        torch.autograd.grad(loss, log_threshold, retain_graph=True)[0]
        for loss in toy_loss(x, encoder, decoder, log_threshold, double(eps))
    )
    halved = torch.autograd.grad(toy_loss(x, encoder, decoder, log_threshold, double(eps), True)[1], log_threshold)[0]
    seen = []
    for i in range(4):
        step = double(np.eye(4)[i] * eps / 2)
        up, down = (toy_loss(x, encoder, decoder, (theta + s).log(), double(eps)) for s in (step, -step))
        by_error, by_count = ((a - b).item() / eps * theta[i].item() for a, b in zip(up, down, strict=True))
        # With the step of half a window both count the same samples.
        assert counts[i].item() == pytest.approx(by_count, rel=1e-9)
        # The window averages over residuals with and without the latent: exact to second order in eps / theta, and the
        # standard error from some ten thousand samples in it is 1 to 2 % of the terms that nearly cancel.
        assert errors[i].item() == pytest.approx(by_error, rel=0.05, abs=0.01)
        seen.append(abs(by_error))
        # What published code does: of codes only the upper half of the window is left.
        assert halved[i].item() == pytest.approx(by_count / 2, rel=0.05)
    assert sorted(seen)[1] > 0.1, seen  # all but one are large against the absolute tolerance


def batch(seed: int = 1, n: int = 16, d: int = 6) -> torch.Tensor:
    return tensor(rng(seed).standard_normal((n, d)))


def losses_and_gradients(module, x):
    terms = module.losses(x, Step(5, 10))
    sum(terms.values()).backward()
    return sum(terms.values()).item(), {name: p.grad for name, p in module.named_parameters()}


TWINS = {
    "ReLU": (ReLUL1(9, 0.7), L1(0.7)),
    "JumpReLU": (JumpReLU(9, 0.49, threshold=0.7, warmup=0.0, pre_bias=True), L0(0.49)),
    "TopK": (TopK(9, 3, aux=0.0), AtMost(3)),
}


@pytest.mark.parametrize("name", TWINS)
def test_one_proximal_step_is_the_autoencoder_of_its_map(name):
    solver, regulariser = TWINS[name]
    theirs = solver.module(6, rng(4))
    ours = ProximalSAE(9, regulariser).module(6, rng(4))
    for module in (theirs, ours):
        module.bias.data = tensor(0.1 * rng(5).standard_normal(6))
    if name == "ReLU":
        ours.encoder_bias.data += 0.35  # the prox shifts by half the weight; a ReLU autoencoder has that in its bias
    x = batch()
    torch.testing.assert_close(ours.encode(x), theirs.encode(x), rtol=0, atol=1e-6)  # float32 rounding of O(1) codes
    loss, gradients = losses_and_gradients(ours, x)
    expected, others = losses_and_gradients(theirs, x)
    assert loss == pytest.approx(expected, rel=1e-5)
    for parameter in others:
        found = gradients["proximal." + parameter if parameter == "log_threshold" else parameter]
        torch.testing.assert_close(found, others[parameter], rtol=1e-4, atol=1e-5)  # float32 sums of a hundred terms


def test_one_proximal_step_with_signs_is_the_equation_of_abs_topk():
    module = ProximalSAE(9, AtMost(3, positive=False)).module(6, rng(4))
    x = batch()
    u = x.double().numpy() @ module.encoder.detach().double().numpy().T
    bar = np.sort(np.abs(u), axis=1)[:, -3:-2]
    np.testing.assert_allclose(module.encode(x).detach().numpy(), np.where(np.abs(u) >= bar, u, 0), atol=1e-5)


@pytest.mark.parametrize("positive", [True, False])
def test_many_untrained_steps_solve_the_lasso(positive):
    weight = 0.5
    module = ProximalSAE(9, L1(weight, positive), iterations=3000).module(6, rng(2))
    x = batch(3)
    with torch.no_grad():
        codes = module.encode(x).double().numpy()
    atoms = module.decoder.detach().double().numpy()
    pull = 2 * (x.double().numpy() - codes @ atoms) @ atoms.T  # of the squared error on each code
    # Certificate: pull = weight * sign on the support, no larger off it; 1e-4 is float32 after 3000 iterations.
    np.testing.assert_allclose(np.where(codes != 0, pull - weight * np.sign(codes), 0), 0, atol=1e-4)
    assert (pull if positive else np.abs(pull)).max() <= weight + 1e-4
    assert (codes != 0).any() and (codes == 0).any() and (codes < 0).any() != positive


def test_more_steps_never_leave_an_untrained_objective_higher():
    x, values = batch(7), []
    for iterations in (2, 4, 8, 32):
        module = ProximalSAE(9, L1(0.5), iterations=iterations).module(6, rng(2))
        values.append(sum(module.losses(x, Step(0, 1)).values()).item())
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: L1(-1.0), ValueError),
        (lambda: L0(0.0), ValueError),
        (lambda: AtMost(0), ValueError),
        (lambda: ProximalSAE(4, AtMost(5)), ValueError),
        (lambda: ProximalSAE(4, AtMost(2), 0), ValueError),
        (lambda: ProximalSAE(4, 3), TypeError),
        (lambda: dataclasses.replace(JumpReLU(4), bandwidth=0.0), ValueError),
    ],
)
def test_regularisers_that_make_no_sense_are_refused(build, error):
    with pytest.raises(error, match="must"):
        build()
