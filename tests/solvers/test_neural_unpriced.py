"""SpaDE, Group Bias Adaptation and tilted risk: what each promises of its codes, its biases and its loss."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from torch.autograd import gradcheck

from sparsesim._source import Rows
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import _threads_for
from sparsesim.solvers.neural.spade import SpaDE
from sparsesim.solvers.neural.tilted import TiltedERM, tilted_mean
from sparsesim.solvers.neural.train import Training, train

SHORT = Training(steps=120, batch_size=32, learning_rate=3e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def samples(seed: int = 0, n: int = 300, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms


def spade(scale: float | None = None):
    module = SpaDE(7, 0.3).module(4, rng(1))
    with torch.no_grad():
        module.decoder.add_(tensor(rng(2).standard_normal((7, 4))))
        if scale is not None:
            module.raw_scale.fill_(np.log(np.expm1(scale)) if scale < 30 else scale)
    return module


X = rng(5).standard_normal((20, 4))


def test_spade_losses_are_those_of_the_equation():
    module = spade(0.4)
    w, a = (p.detach().double().numpy() for p in (module.prototypes, module.decoder))
    distances = np.square(X[:, None] - w).sum(-1)
    codes = module.encode(tensor(X)).detach().double().numpy()
    # The codes are certified as the projection of -0.4 * distances by their multiplier: see the test of sparsemax.
    slack = -0.4 * distances - codes
    np.testing.assert_allclose(np.where(codes > 0, slack.max(1, keepdims=True) - slack, 0), 0, atol=1e-5)
    found = module.losses(tensor(X), Step(0, 1))
    # float32 against float64 sums of some eighty terms
    assert found["squared_error"].item() == pytest.approx(np.square(X - codes @ a).sum(1).mean(), rel=1e-5)
    assert found["distance"].item() == pytest.approx(0.3 * (codes * distances).sum(1).mean(), rel=1e-4)


def test_spade_codes_lie_on_the_simplex_and_do_not_move_with_samples_and_prototypes():
    module = spade(0.4)
    codes = module.encode(tensor(X)).detach()
    assert (codes >= 0).all() and (codes == 0).any()
    np.testing.assert_allclose(codes.sum(1).numpy(), 1, atol=1e-5)  # seven float32 numbers
    shift = tensor([3.0, -2.0, 1.0, 0.5])
    with torch.no_grad():
        module.prototypes.add_(shift)
    torch.testing.assert_close(module.encode(tensor(X) + shift), codes, rtol=0, atol=1e-4)  # squares of size fifty


def test_spade_goes_from_the_uniform_code_to_the_nearest_prototype():
    near = np.square(X[:, None] - spade().prototypes.detach().numpy()).sum(-1).argmin(1)
    np.testing.assert_allclose(spade(1e-6).encode(tensor(X)).detach().numpy(), 1 / 7, atol=1e-4)
    np.testing.assert_array_equal(spade(1e4).encode(tensor(X)).detach().numpy(), np.eye(7)[near])
    at_first = torch.nn.functional.softplus(SpaDE(7).module(4, rng()).raw_scale).item()
    assert at_first == pytest.approx(1 / 8, rel=1e-5)


def test_spade_reconstructs_within_the_hull_of_its_atoms_and_learns():
    x = samples()
    fitted = SpaDE(12, training=SHORT).fit(x, rng=rng())
    module, atoms = fitted.encoder.module, fitted.encoder.module.decoder.numpy()
    inside = module.decode(module.encode(tensor(x))).numpy()
    directions = rng(1).standard_normal((200, 6)).astype(np.float32)
    # Inside a hull no direction leads further than to its furthest corner; float32 rounding.
    assert ((inside @ directions.T).max(0) <= (atoms @ directions.T).max(0) + 1e-4).all()
    assert fitted.trace["squared_error"][-1] < 0.9 * fitted.trace["squared_error"][0]


def test_biases_of_group_bias_adaptation_have_no_gradient_and_stay_between_minus_one_and_zero():
    solver = GroupBias(12, 3, every=4, rate=1.0, training=SHORT)  # moves as large as they can be
    module = solver.fit(samples(), rng=rng()).encoder.module
    assert "biases" not in dict(module.named_parameters())
    assert module.biases.min() >= -1 and module.biases.max() <= 0 and (module.biases < 0).any()
    np.testing.assert_allclose(module.rows.norm(dim=1).numpy(), 1, atol=1e-6)
    targets = GroupBias(10, 4, high=0.1, low=0.1 / 27).module(3, rng()).targets.numpy()
    np.testing.assert_allclose(targets, np.repeat([0.1, 0.1 / 3, 0.1 / 9, 0.1 / 27], [3, 3, 2, 2]), rtol=1e-6)


def moved_by_hand(biases, targets, groups, y, rate):
    out = biases.copy()
    often, reach = (y > 0).mean(0), np.maximum(0, y.max(0))
    for m in range(len(out)):
        mates = [reach[i] for i in range(len(out)) if groups[i] == groups[m] and reach[i] > 0]
        if often[m] > targets[m]:
            out[m] = max(out[m] - rate * reach[m], -1.0)
        elif often[m] < 1e-6:
            out[m] = min(out[m] + rate * (np.mean(mates) if mates else 0.0), 0.0)
    return out


@given(seed=st.integers(0, 10**6))
def test_one_move_of_the_biases_is_that_of_the_rule(seed):
    module = GroupBias(6, 2, high=0.5, low=0.2, rate=0.4).module(3, rng(seed)).train()
    with torch.no_grad():
        module.biases.copy_(tensor(-(rng(seed + 1).random(6) ** 2)))
    x = rng(seed + 2).standard_normal((8, 3))
    y = module.pre_activations(tensor(x)).detach().double().numpy()
    expected = moved_by_hand(
        module.biases.double().numpy(), module.targets.double().numpy(), module.group.numpy(), y, 0.4
    )
    for part in np.split(x, 2):  # what two steps see is one sample
        module.losses(tensor(part), Step(0, 1))
    module.adapt_()
    np.testing.assert_allclose(module.biases.numpy(), expected, atol=1e-6)  # float32
    assert module.seen == 0 and (module.fired == 0).all() and (module.largest == 0).all()


def test_repeated_moves_end_with_every_latent_at_its_target_or_at_the_floor():
    module = GroupBias(12, 3, high=0.2, low=0.01, rate=0.05).module(6, rng()).train()
    x = samples(n=2000)
    x = tensor((x - x.mean(0)) / x.std())
    for _ in range(200):
        module.losses(x, Step(0, 1))
        module.adapt_()
    often = (module.pre_activations(x) > 0).float().mean(0)
    # A dead latent is raised by one move, which may carry it past its target until the next one lowers it again.
    settled = (often <= module.targets) | (module.biases <= -1) | (often < 0.05)
    assert settled.all(), (often, module.targets)


def test_group_bias_codes_and_loss_are_those_of_the_equation():
    for jump in (False, True):
        module = GroupBias(7, 2, jump=jump).module(4, rng(3))
        with torch.no_grad():
            module.biases.copy_(tensor(-0.3 * rng(1).random(7)))
            module.loudness.copy_(tensor(rng(2).uniform(0.5, 1.5, 7)))
            module.bias.copy_(tensor(rng(4).standard_normal(4)))
        w, a, b, c = (t.detach().double().numpy() for t in (module.rows, module.loudness, module.biases, module.bias))
        y = (X - c) / 2 @ w.T + b  # sqrt(d) = 2
        codes = 2 * a * (y - b if jump else y) * (y > 0)
        np.testing.assert_allclose(module.encode(tensor(X)).detach().numpy(), codes, atol=1e-5)  # float32
        error = np.square(X - codes @ w - c).sum(1).mean()
        assert module.losses(tensor(X), Step(0, 1))["squared_error"].item() == pytest.approx(error, rel=1e-5)


LOSSES = st.lists(st.floats(0, 50), min_size=1, max_size=8)


@given(losses=LOSSES, tilts=st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_the_tilted_mean_rises_with_the_tilt_between_the_least_and_the_largest(losses, tilts):
    values = torch.tensor(losses, dtype=torch.float64)
    low, high = (tilted_mean(values, torch.tensor(t, dtype=torch.float64)).item() for t in sorted(tilts))
    slack = 1e-7  # float64 rounding of sums near fifty, divided by tilts that may be tiny
    assert min(losses) - slack <= low <= high + slack and high <= max(losses) + slack
    if min(tilts) >= 0:
        assert low >= np.mean(losses) - slack


@given(losses=LOSSES, tilt=st.sampled_from([-3.0, -0.01, 0.5, 2.0]))
def test_the_tilted_mean_is_its_formula_and_its_gradient_a_softmax(losses, tilt):
    values, exact = torch.tensor(losses, dtype=torch.float64, requires_grad=True), np.array(losses)
    value = tilted_mean(values, torch.tensor(tilt, dtype=torch.float64))
    assert value.item() == pytest.approx((logsumexp(tilt * exact) - np.log(len(exact))) / tilt, rel=1e-9, abs=1e-9)
    (gradient,) = torch.autograd.grad(value, values)
    np.testing.assert_allclose(gradient.numpy(), softmax(tilt * exact), atol=1e-12)


def test_the_gradient_of_the_tilted_mean_passes_gradcheck_for_an_ensemble():
    values = torch.from_numpy(rng().random((3, 5))).requires_grad_()
    assert gradcheck(lambda v: tilted_mean(v, torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)), values)


@pytest.mark.parametrize("tilt", [0.0, 1e-9, -1e-9, 1e-30])
def test_a_vanishing_tilt_is_the_mean(tilt):
    losses = tensor(rng(1).random(64) * 30)
    # 1e-6 relative in float32: the value is computed in float64.
    assert tilted_mean(losses, torch.tensor(tilt)).item() == pytest.approx(losses.double().mean().item(), rel=1e-6)


def test_without_tilt_the_wrapped_model_trains_as_its_host_does():
    host = ReLUL1(12, 0.5, SHORT)
    plain, wrapped = host.fit(samples(), rng=rng(1)), TiltedERM(host, 0.0).fit(samples(), rng=rng(1))
    np.testing.assert_allclose(wrapped.atoms, plain.atoms, atol=1e-3)  # rounding over 120 steps of Adam
    np.testing.assert_allclose(wrapped.trace["tilt"], 0, atol=1e-5)


def test_fine_tuning_with_a_tilt_lowers_the_tilted_loss_at_the_cost_of_the_mean():
    x = samples()
    x = ((x - x.mean(0)) / x.std()).astype(np.float32)
    start = TiltedERM(ReLUL1(12, 0.5), 1.0).module(6, rng(1))
    training = Training(steps=400, batch_size=300)  # all samples in each step
    rows = []
    with _threads_for(1):
        train(start.host, [Rows(x)], [rng(2)], training)
        plain, tilted = copy.deepcopy(start), copy.deepcopy(start)
        train(plain.host, [Rows(x)], [rng(2)], training)
        train(tilted, [Rows(x)], [rng(2)], training)
    for module in (plain, tilted):
        parts = module.host.row_losses(tensor(x), Step(0, 1))
        rows.append(sum(parts.values()).detach().double().numpy())
    risks = [logsumexp(each / rows[0].mean()) for each in rows]
    assert risks[1] < risks[0] and rows[1].mean() > rows[0].mean()


def test_a_host_without_a_mean_over_samples_is_refused():
    with pytest.raises(TypeError, match="mean over samples"):
        TiltedERM(JumpReLU(5)).module(3, rng())
    with pytest.raises(ValueError, match="tilt must"):
        TiltedERM(ReLUL1(5), float("nan"))
    with pytest.raises(ValueError, match="groups must"):
        GroupBias(5, 6)
    with pytest.raises(ValueError, match="low must"):
        GroupBias(5, 2, high=0.1, low=0.2)
