"""ReLU, JumpReLU, Gated and p-annealed autoencoders: equations, symmetries, exact special cases, resampling."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.geometric_median import FromGeometricMedian, geometric_median
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.jump_relu_tanh import TanhJumpReLU
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.p_annealing import PAnnealing
from sparsesim.solvers.neural.proximal_sae import L0, L1, AtMost, ProximalSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.resampling import Resampler, Resampling
from sparsesim.solvers.neural.solver import _threads_for, fit_together
from sparsesim.solvers.neural.spade import SpaDE
from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1
from sparsesim.solvers.neural.tilted import TiltedERM
from sparsesim.solvers.neural.train import Training, train
from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)
RESAMPLED = Resampling(every=12, until=1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def samples(seed: int = 0, n: int = 300, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 0.01 * r.standard_normal((n, d)) + 0.3


def shaken(solver, d: int = 5, seed: int = 3):
    """Return a module whose parameters are all away from their special first values, and its arrays in float64."""
    module, r = solver.module(d, rng(seed)), rng(seed + 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(tensor(0.2 * r.standard_normal(parameter.shape)))
    return module, {name: p.detach().double().numpy() for name, p in module.named_parameters()}


def terms(module, x, step: Step) -> dict[str, float]:
    return {name: value.item() for name, value in module.losses(tensor(x), step).items()}


def error(x, reconstruction) -> float:
    return float(np.square(x - reconstruction).sum(1).mean())


ENSEMBLES = {
    "ReLUL1": [ReLUL1(12, w, SHORT, RESAMPLED) for w in (0.5, 1.0, 4.0)],
    "TiedReLUL1": [TiedReLUL1(12, w, SHORT) for w in (0.5, 1.0, 2.0)],
    "WeightedReLUL1": [WeightedReLUL1(12, w, training=SHORT) for w in (0.5, 1.0, 2.0)],
    "JumpReLU": [JumpReLU(12, w, b, training=SHORT) for w, b in ((0.5, 0.5), (1.0, 1.0), (2.0, 0.7))],
    "JumpReLU to a target": [JumpReLU(12, 5.0, target=t, training=SHORT) for t in (2.0, 3.0, 4.0)],
    "TanhJumpReLU": [TanhJumpReLU(12, w, below=0.01, training=SHORT) for w in (0.5, 1.0, 2.0)],
    "Gated": [Gated(12, w, SHORT, RESAMPLED) for w in (0.5, 1.0, 4.0)],
    "PAnnealing": [PAnnealing(12, w, training=SHORT, resampling=RESAMPLED) for w in (0.5, 1.0, 2.0)],
    "ProximalSAE L1": [ProximalSAE(12, L1(w), 3, SHORT) for w in (0.5, 1.0, 2.0)],
    "ProximalSAE L0": [ProximalSAE(12, L0(w), 2, SHORT) for w in (0.5, 1.0, 2.0)],
    "ProximalSAE AtMost": [ProximalSAE(12, AtMost(k, False), 2, SHORT) for k in (2, 3, 4)],
    "SpaDE": [SpaDE(12, w, SHORT) for w in (0.0, 0.01, 0.1)],
    "GroupBias": [GroupBias(12, 3, rate=g, every=7, jump=True, training=SHORT) for g in (0.01, 0.05, 0.1)],
    "TiltedERM": [TiltedERM(ReLUL1(12, w, SHORT), t) for w, t in ((0.5, 0.0), (1.0, 1.0), (2.0, -1.0))],
    "FromGeometricMedian": [FromGeometricMedian(ReLUL1(12, w, SHORT)) for w in (0.5, 1.0, 2.0)],
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_three_members_that_differ_train_together_as_they_do_alone(name):
    solvers, sources = ENSEMBLES[name], [Rows(samples(e)) for e in range(3)]
    if "FromGeometricMedian" not in name and name != "TiltedERM":
        rates = (3e-3, 1e-3, 5e-3)
        solvers = [
            dataclasses.replace(s, training=dataclasses.replace(SHORT, learning_rate=r))
            for s, r in zip(solvers, rates, strict=True)
        ]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 where no selection is decided by it.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)
        x = samples(50 + e)
        np.testing.assert_allclose(fitted.encode(x).toarray(), alone.encode(x).toarray(), atol=2e-3)
    assert not np.allclose(together[0].atoms, together[1].atoms, atol=0.1)


X = rng(9).standard_normal((11, 5))


def test_tied_relu_losses_are_those_of_the_equation_and_no_gradient_points_along_an_atom():
    module, p = shaken(TiedReLUL1(7, 0.8))
    atoms = p["rows"] / np.linalg.norm(p["rows"], axis=1, keepdims=True)
    codes = np.maximum(X @ atoms.T + p["encoder_bias"], 0)
    found = terms(module, X, Step(0, 1))
    # float32 against float64 sums of some forty terms of one sign, here and below
    assert found["squared_error"] == pytest.approx(error(X, codes @ atoms), rel=1e-5)
    assert found["l1"] == pytest.approx(0.8 * codes.sum(1).mean(), rel=1e-5)
    sum(module.losses(tensor(X), Step(0, 1)).values()).backward()
    radial = (module.rows.grad * module.rows.detach()).sum(1) / module.rows.detach().norm(dim=1)
    np.testing.assert_allclose(radial.numpy(), 0, atol=1e-5 * module.rows.grad.abs().max().item())
    torch.testing.assert_close(module.decode(module.encode(tensor(X))), tensor(codes @ atoms), rtol=0, atol=1e-5)


def test_weighted_relu_losses_are_those_of_the_equation_and_blind_to_the_scale_of_atoms():
    module, p = shaken(WeightedReLUL1(7, 0.8))
    codes = np.maximum(X @ p["encoder"].T + p["encoder_bias"], 0)
    step = Step(10, 1001)  # a fifth of the way up a ramp over 5 % of the steps
    found = terms(module, X, step)
    assert found["squared_error"] == pytest.approx(error(X, codes @ p["decoder"] + p["bias"]), rel=1e-5)
    norms = np.linalg.norm(p["decoder"], axis=1)
    assert found["l1"] == pytest.approx(0.8 * 0.2 * (codes @ norms).mean(), rel=1e-5)
    with torch.no_grad():
        factor = tensor(rng(1).uniform(0.2, 5, 7))
        module.decoder.mul_(factor[:, None])
        module.encoder.div_(factor[:, None])
        module.encoder_bias.div_(factor)
    for name, value in terms(module, X, step).items():
        assert value == pytest.approx(found[name], rel=1e-5)
    np.testing.assert_allclose(WeightedReLUL1(7).module(5, rng()).norms().detach().numpy(), 0.1, rtol=1e-6)


def test_jump_relu_losses_are_those_of_the_equation_with_and_without_a_target():
    for target, price in ((None, lambda l0: 0.8 * l0), (2.0, lambda l0: 0.8 * (l0 / 2.0 - 1) ** 2)):
        module, p = shaken(JumpReLU(7, 0.8, target=target, threshold=0.4, warmup=0.0))
        u = X @ p["encoder"].T + p["encoder_bias"]
        codes = u * (u > np.exp(p["log_threshold"]))
        found = terms(module, X, Step(0, 1))
        assert found["squared_error"] == pytest.approx(error(X, codes @ p["decoder"] + p["bias"]), rel=1e-5)
        assert found["l0"] == pytest.approx(price((codes != 0).sum(1).mean()), rel=1e-5)
        torch.testing.assert_close(module.encode(tensor(X)), tensor(codes), rtol=0, atol=1e-5)


def test_jump_relu_finds_the_number_of_latents_it_is_asked_for_and_fewer_where_they_cost_more():
    x, training = samples(5, n=3000, d=12, m=20), Training(steps=500, batch_size=128)
    counts = [
        JumpReLU(20, penalty, target=target, training=training).fit(x, rng=rng()).encode(x).nnz / len(x)
        for penalty, target in ((300.0, 3.0), (0.3, None), (2.0, None))
    ]
    assert abs(counts[0] - 3.0) < 0.3  # a target is met in the batches of the end, within their fluctuation
    assert counts[1] > 1.3 * counts[2] > 0


def test_tanh_jump_relu_losses_are_those_of_the_equation_and_latents_start_at_the_rate_asked_for():
    module, p = shaken(TanhJumpReLU(7, 0.8, below=0.3, threshold=0.4))
    u, norms, theta = X @ p["encoder"].T + p["encoder_bias"], np.linalg.norm(p["decoder"], axis=1), None
    theta = np.exp(p["log_threshold"])
    codes = u * (u > theta)
    found = terms(module, X, Step(25, 101))
    assert found["squared_error"] == pytest.approx(error(X, codes @ p["decoder"] + p["bias"]), rel=1e-5)
    assert found["tanh"] == pytest.approx(0.25 * 0.8 * np.tanh(4 * codes * norms).sum(1).mean(), rel=1e-5)
    assert found["below"] == pytest.approx(0.3 * (np.maximum(theta - u, 0) * norms).sum(1).mean(), rel=1e-5)
    fresh = TanhJumpReLU(7, rate=0.2).module(5, rng())
    sample = tensor(rng(2).standard_normal((1000, 5)))
    with torch.no_grad():
        fresh.prime(sample, rng())
        fired = (fresh.encode(sample) > 0).float().mean(0)
    np.testing.assert_allclose(fired.numpy(), 0.2, atol=2e-3)  # one sample in a thousand on either side of a quantile


def test_gated_losses_are_those_of_the_equation_and_each_term_trains_what_it_should():
    module, p = shaken(Gated(7, 0.8))
    c = (X - p["bias"]) @ p["encoder"].T
    gates = c + p["encoder_bias"]
    codes = (gates > 0) * np.maximum(np.exp(p["log_scale"]) * c + p["magnitude_bias"], 0)
    opened = np.maximum(gates, 0)
    found = module.losses(tensor(X), Step(0, 1))
    assert found["squared_error"].item() == pytest.approx(error(X, codes @ p["decoder"] + p["bias"]), rel=1e-5)
    assert found["l1"].item() == pytest.approx(0.8 * opened.sum(1).mean(), rel=1e-5)
    assert found["aux"].item() == pytest.approx(error(X, opened @ p["decoder"] + p["bias"]), rel=1e-5)
    names = [name for name, _ in module.named_parameters()]
    reached = {}
    for term in ("squared_error", "l1", "aux"):
        gradients = torch.autograd.grad(found[term], list(module.parameters()), retain_graph=True, allow_unused=True)
        reached[term] = {n for n, g in zip(names, gradients, strict=True) if g is not None and bool((g != 0).any())}
    # b_d is in the encoder as well, as the pre-bias; in the decoder of the auxiliary term it is held fixed.
    assert reached["aux"] == reached["l1"] == {"encoder", "encoder_bias", "bias"}
    assert {"decoder", "log_scale", "magnitude_bias"} <= reached["squared_error"]
    with torch.no_grad():
        module.encoder.zero_()  # what is left of the gradient of b_d would come from the decoder
        module.encoder_bias.fill_(1.0)
    aux = module.losses(tensor(X), Step(0, 1))["aux"]
    assert torch.autograd.grad(aux, module.bias)[0].abs().max() == 0


def test_gated_codes_are_a_jump_relu_of_the_magnitudes():
    module, p = shaken(Gated(7))
    magnitudes = np.exp(p["log_scale"]) * ((X - p["bias"]) @ p["encoder"].T) + p["magnitude_bias"]
    theta = p["magnitude_bias"] - np.exp(p["log_scale"]) * p["encoder_bias"]
    assert (theta > 0).any() and (theta < 0).any()
    expected = magnitudes * (magnitudes > np.maximum(theta, 0))
    np.testing.assert_allclose(module.encode(tensor(X)).detach().numpy(), expected, atol=1e-5)  # float32


def fitted_shrinkage(fitted, x) -> float:
    """The gamma that minimises E||x_hat / gamma - x||^2 about the bias."""
    reconstruction = fitted.decode(fitted.encode(x)) - fitted.bias
    return float(np.square(reconstruction).sum() / (reconstruction * (x - fitted.bias)).sum())


def test_gated_codes_are_not_shrunk_where_those_of_relu_are():
    r = rng(4)
    x = (r.random((3000, 8)) < 0.2) * r.uniform(0.5, 1.5, (3000, 8))  # orthonormal atoms
    training = Training(steps=600, batch_size=128)
    gated, relu = (kind(8, 2.0, training).fit(x, rng=rng()) for kind in (Gated, ReLUL1))
    assert abs(fitted_shrinkage(gated, x) - 1) < 0.03
    assert fitted_shrinkage(relu, x) < 0.95


def test_p_annealing_keeps_what_the_queue_pays_and_follows_the_staircase_exactly():
    module = PAnnealing(7, 0.8, power=0.2, stages=5, start=0.25, end=0.75, queue=4).module(5, rng(3)).train()
    changes, powers = (25, 38, 50, 62, 75), (1.0, 0.8, 0.6, 0.4, 0.2)  # even numbers round 37.5 and 62.5
    assert module.changes(100) == changes
    weight, paid = 0.8, []
    for index in range(100):
        x = rng(index).standard_normal((11, 5))
        codes = module.encode(tensor(x)).detach().double().numpy()
        stage = max(sum(change <= index for change in changes), 1) - 1
        if index in changes[1:]:
            before, after = (
                sum((z[z > 0] ** power).sum() for z in paid[-4:]) for power in powers[stage - 1 : stage + 1]
            )
            weight *= before / after
        paid.append(codes)
        found = terms(module, x, Step(index, 100))["lp"]
        assert found == pytest.approx(weight * (codes[codes > 0] ** powers[stage]).sum() / 11, rel=1e-4)
    assert module.penalty.item() == pytest.approx(weight, rel=1e-5)  # float32 against float64
    frozen = module.eval().penalty.clone()
    terms(module, X, Step(38, 100))
    assert torch.equal(module.penalty, frozen)


def test_p_annealing_to_one_is_relu_l1_bit_by_bit():
    x = samples()
    ours, theirs = (
        PAnnealing(12, 0.8, power=1.0, training=SHORT).fit(x, rng=rng(1)),
        ReLUL1(12, 0.8, SHORT).fit(x, rng=rng(1)),
    )
    assert np.array_equal(ours.atoms, theirs.atoms) and np.array_equal(
        ours.encode(x).toarray(), theirs.encode(x).toarray()
    )


def test_the_price_of_a_small_code_has_a_bounded_slope_and_no_jump():
    module = PAnnealing(2, 1.0, power=0.2, stages=2, start=0.0, end=0.0).module(1, rng()).train()
    z = torch.tensor([[0.0, 1e-30], [0.99e-4, 1e-4], [1.01e-4, 2.0]], requires_grad=True)
    (price,) = module.prices(z, Step(50, 100)).values()
    price.sum().backward()
    assert z.grad.isfinite().all() and z.grad.max() <= 1e-4**-0.8 * 1.001
    pieces = module.prices(z.detach(), Step(50, 100))["lp"]
    # The chord meets the power at the corner: around it the price is 1e-4^0.2 up to one percent on either side.
    np.testing.assert_allclose(pieces[1].item(), 1.99 * 1e-4**0.2, rtol=1e-4)


@pytest.mark.parametrize(
    "solver", [JumpReLU(12, training=SHORT), Gated(12, training=SHORT), PAnnealing(12, training=SHORT)]
)
def test_atoms_stay_on_the_unit_sphere(solver):
    norms = solver.fit(samples(), rng=rng()).encoder.norms
    np.testing.assert_allclose(norms, 1, atol=1e-6)


class Forgetful:
    def __init__(self):
        self.forgotten = []

    def forget(self, parameter, where):
        self.forgotten.append((parameter, where.clone()))


def observed(plan, codes, x, errors, generator_seeds):
    resampler = Resampler(plan, codes.shape[-1])
    step = Step(plan.every - 1, 10 * plan.every, tuple(torch.Generator().manual_seed(s) for s in generator_seeds))
    if codes.ndim == 3:
        resampler.fired = torch.zeros(codes.shape[0], codes.shape[-1])
    resampler.observe(codes, x, errors, step)
    return resampler


def test_replacements_are_drawn_in_proportion_to_the_squared_loss():
    members = 3000
    losses = np.array([1.0, 2.0, 0.5, 3.0])
    codes = torch.zeros(members, 4, 1)
    x = tensor(np.eye(4)).expand(members, 4, 4)
    resampler = observed(Resampling(every=1), codes, x, tensor(losses).expand(members, 4), range(members))
    drawn = resampler._pending[1][:, 0].mean(0).numpy()
    share = np.square(losses) / np.square(losses).sum()
    z = (drawn - share) / np.sqrt(share * (1 - share) / members)
    assert np.abs(z).max() < 4  # standard errors; four of them, so less than 3e-4 by chance


def test_a_replaced_latent_starts_from_a_sample_and_live_ones_are_left_alone():
    solver = ReLUL1(6, 1.0, resampling=Resampling(every=1, scale=0.2))
    module, before = shaken(solver, d=5)
    x = X[:2]  # two samples for three dead latents: one of them waits
    codes = torch.ones(2, 6)
    codes[:, [1, 2, 4]] = 0.0
    step = Step(0, 10, (torch.Generator().manual_seed(1),))
    module.resampler.observe(codes, tensor(x), tensor([1.0, 2.0]), step)
    optimiser = Forgetful()
    with torch.no_grad():
        module.resampler.replace(optimiser, module.bias, module.decoder, module.encoder, module.encoder_bias)
    assert module.resampler._pending is None
    new = {name: p.detach().double().numpy() for name, p in module.named_parameters()}
    alive = np.linalg.norm(before["encoder"][[0, 3, 5]], axis=1).mean()
    directions = (x - before["bias"]) / np.linalg.norm(x - before["bias"], axis=1, keepdims=True)
    np.testing.assert_allclose(np.sort(new["decoder"][[1, 2]], 0), np.sort(directions, 0), atol=1e-6)  # float32
    np.testing.assert_allclose(new["encoder"][[1, 2]], 0.2 * alive * new["decoder"][[1, 2]], atol=1e-6)
    assert (new["encoder_bias"][[1, 2]] == 0).all()
    for name in ("decoder", "encoder", "encoder_bias"):
        np.testing.assert_array_equal(new[name][[0, 3, 4, 5]], before[name][[0, 3, 4, 5]])
    assert [id(p) for p, _ in optimiser.forgotten] == [
        id(p) for p in (module.decoder, module.encoder, module.encoder_bias)
    ]
    for _, where in optimiser.forgotten:
        np.testing.assert_array_equal(np.flatnonzero(where.numpy().ravel()), [1, 2])


@pytest.mark.parametrize("kind", [ReLUL1, Gated, PAnnealing])
def test_resampling_wakes_latents_that_cannot_wake_by_themselves(kind):
    x = samples(3, n=2000)
    x = (x - x.mean(0)) / x.std()
    silent = []
    for resampling in (None, Resampling(every=30)):
        module = kind(12, 0.5, resampling=resampling).module(6, rng())
        with torch.no_grad():
            module.encoder_bias[:6] = -100.0  # far from any sample, so without any gradient
        with _threads_for(1):
            train(module, [Rows(x.astype(np.float32))], [rng(1)], Training(steps=150, batch_size=64))
        silent.append(int((module.encode(tensor(x)).sum(0) == 0).sum()))
    assert silent[0] >= 6 and silent[1] <= 1, silent


def test_resampling_stops_after_its_share_of_the_training_and_fields_are_checked():
    resampler = Resampler(Resampling(every=5, until=0.5), 3)
    generator = (torch.Generator().manual_seed(0),)
    due = []
    for index in range(40):
        resampler._pending = None
        resampler.observe(torch.zeros(4, 3), torch.ones(4, 2), torch.ones(4), Step(index, 40, generator))
        due += [index] if resampler._pending is not None else []
    assert due == [4, 9, 14, 19]
    for build in (lambda: Resampling(0), lambda: Resampling(5, 1.5), lambda: Resampling(5, scale=0.0)):
        with pytest.raises(ValueError, match="must"):
            build()
    with pytest.raises(TypeError, match="Resampling"):
        ReLUL1(5, resampling=100)


@pytest.mark.parametrize("seed", range(6))
def test_the_geometric_median_carries_its_certificate(seed):
    r = rng(seed)
    x = r.standard_normal((41, 3)) ** 3 + 1e3 * (seed % 2)
    if seed >= 4:
        x[:30] = x[0]  # a row that most of the others are: the median is this row
    median = geometric_median(x)
    away = x - median
    lengths = np.linalg.norm(away, axis=1)
    here = lengths < 1e-6
    force = np.linalg.norm((away[~here] / lengths[~here, None]).sum(0))
    # Zero is a subgradient of the sum of distances: unit vectors to other rows sum to at most the rows that are here.
    # 1e-4 for 41 unit vectors: the last move was below 1e-9 of the spread, and the convergence is linear.
    assert force <= here.sum() + 1e-4
    assert here.sum() == (30 if seed >= 4 else 0)


def test_the_geometric_median_of_symmetric_and_of_equal_rows_is_their_centre():
    x = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]]) + 5
    np.testing.assert_allclose(geometric_median(x), 5, atol=1e-9)
    np.testing.assert_array_equal(geometric_median(np.full((4, 2), 0.1)), 0.1)
    with pytest.raises(ValueError, match="row"):
        geometric_median(np.empty((0, 2)))


def test_a_bias_that_starts_at_the_median_is_there_before_the_first_step_and_needs_a_bias():
    x = samples() ** 3
    still = Training(steps=1, batch_size=32, learning_rate=1e-12)
    fitted = FromGeometricMedian(ReLUL1(12, training=still)).fit(x, rng=rng())
    np.testing.assert_allclose(fitted.bias, geometric_median(x), atol=1e-5)  # float32
    with pytest.raises(TypeError, match="decoder bias"):
        FromGeometricMedian(TiedReLUL1(12)).fit(x, rng=rng())
    with pytest.raises(TypeError, match="host"):
        FromGeometricMedian(3)
