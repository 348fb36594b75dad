"""What each autoencoder is: its equation, its limits, and recovery of a world it should recover."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from sparsesim._source import Rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.relu_l1 import ReLUL1, ReLUL1Module
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training, train


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def world(seed: int, rate: float = 0.08, n: int = 12_000, d: int = 20, m: int = 40):
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms, ((r.random((n, m)) < rate) * r.uniform(0.5, 1.5, (n, m))) @ atoms


def recovery(truth: np.ndarray, learned: np.ndarray) -> float:
    cosines = np.abs(truth @ learned.T)
    rows, columns = linear_sum_assignment(-cosines)
    return float(cosines[rows, columns].mean())


def chance(truth: np.ndarray, width: int) -> float:
    random = rng(12345).standard_normal((width, truth.shape[1]))
    return recovery(truth, random / np.linalg.norm(random, axis=1, keepdims=True))


# Measured over 12 other worlds: TopK 0.93-0.98, BatchTopK 0.89-0.97, ReLU 0.95-0.99; chance is 0.49.
@pytest.mark.parametrize(
    ("solver", "floor"), [(TopK(40, 3), 0.9), (BatchTopK(40, 3), 0.8), (ReLUL1(40, 1.0), 0.9)], ids=str
)
def test_default_training_recovers_a_simple_world(solver, floor):
    worlds = [world(seed) for seed in (1, 2)]
    fits = solver.fit_ensemble([Rows(x) for _, x in worlds], [rng(1), rng(2)])
    scores = [recovery(atoms, fitted.atoms) for (atoms, _), fitted in zip(worlds, fits, strict=True)]
    assert chance(worlds[0][0], 40) < 0.55
    assert min(scores) > floor, scores


def test_topk_codes_are_non_negative_and_as_many_as_asked_where_there_are_enough():
    _, x = world(3, n=2000)
    fitted = TopK(40, 3, training=Training(steps=400)).fit(x, rng=rng())
    codes = fitted.encode(x)
    counts = np.diff(codes.indptr)
    assert counts.max() == 3 and (codes.data > 0).all()
    module = fitted.encoder.module
    inside = (x - fitted.bias) / fitted.encoder.scale + fitted.encoder.offset
    positive = (module.pre_activations(tensor(inside)) > 0).sum(-1).numpy()
    np.testing.assert_array_equal(counts, np.minimum(positive, 3))


def selective(kind):
    return kind(12, 3, dead_after=50).module(6, rng(0))


def test_batch_topk_on_one_sample_is_topk():
    batch, single = selective(BatchTopK), selective(TopK)
    for seed in range(20):
        x = tensor(rng(seed).standard_normal((1, 6)))
        step = Step(seed, 20)
        ours, theirs = batch.losses(x, step), single.losses(x, step)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        u = batch.pre_activations(x)
        assert torch.equal(u * batch.select(u), single.encode(x))


def test_batch_topk_keeps_k_on_average_exactly_and_commutes_with_the_order_of_rows():
    module = selective(BatchTopK)
    u = module.pre_activations(tensor(rng(1).standard_normal((64, 6))))
    kept = module.select(u)
    assert kept.sum() == 64 * 3 and kept.sum(-1).unique().numel() > 1
    order = torch.from_numpy(rng(2).permutation(64))
    assert torch.equal(module.select(u[order]), kept[order])
    few = -torch.ones(64, 12)
    few[5, 4] = 1.0  # fewer positive entries than B k: no zero is selected in their place
    assert module.select(few).sum() == 1


def test_batch_topk_spends_k_on_held_out_samples_by_its_threshold():
    _, x = world(4, n=24_000)
    fitted = BatchTopK(40, 3).fit(x[:12_000], rng=rng())
    counts = np.diff(fitted.encode(x[12_000:]).indptr)
    # The mean of batch minima lies above the threshold of an infinite batch by its fluctuation, a few percent at
    # B k = 768; the standard error of the mean count is 0.015.
    assert abs(counts.mean() - 3) < 0.1 * 3
    assert counts.std() > 0.5, "the number must vary between samples"


def test_the_batch_topk_threshold_is_frozen_in_inference_and_rows_are_encoded_one_by_one():
    module = selective(BatchTopK)
    x = tensor(rng().standard_normal((64, 6)))
    module.train()
    module.losses(x, Step(0, 2))
    before = module.threshold.value.clone()
    assert before > 0
    module.eval()
    module.losses(10 * x, Step(1, 2))
    assert torch.equal(before, module.threshold.value)
    codes = module.encode(x)
    assert torch.all((codes == 0) | (codes > before))


def test_relu_l1_has_the_soft_threshold_as_optimum_for_orthonormal_tied_atoms():
    penalty = 0.6
    module = ReLUL1Module(5, penalty, 5, rng())
    module.encoder.data, module.decoder.data = torch.eye(5), torch.eye(5)
    x = tensor(rng(1).uniform(1.0, 2.0, (40, 5)))  # above any threshold, so that all latents stay active
    codes = torch.nn.Parameter(module.encode(x).detach())
    objective = (x - module.decode(codes)).square().sum() + penalty * codes.sum()
    (at_identity,) = torch.autograd.grad(objective, codes)
    torch.testing.assert_close(at_identity, torch.full_like(codes, penalty))  # not optimal without shrinkage
    module.encoder_bias.data.fill_(-penalty / 2)
    torch.testing.assert_close(module.encode(x), (x - penalty / 2).relu())
    sum(module.losses(x, Step(0, 1)).values()).backward()
    # The encoder bias is stationary: 2 (z - x) + penalty = 0 in float32.
    np.testing.assert_allclose(module.encoder_bias.grad.numpy(), 0, atol=1e-6)


def test_relu_l1_losses_are_those_of_the_equation():
    module = ReLUL1Module(7, 0.8, 4, rng())
    module.bias.data = tensor(rng(5).standard_normal(4))
    x = tensor(rng(1).standard_normal((9, 4)))
    w, b, d, c = (
        p.detach().double().numpy() for p in (module.encoder, module.encoder_bias, module.decoder, module.bias)
    )
    z = np.maximum((x.double().numpy() - c) @ w.T + b, 0)
    terms = module.losses(x, Step(0, 1))
    # float32 against float64 sums of some forty terms of one sign
    assert terms["squared_error"].item() == pytest.approx(np.square(x.numpy() - z @ d - c).sum(1).mean(), rel=1e-5)
    assert terms["l1"].item() == pytest.approx(0.8 * z.sum(1).mean(), rel=1e-5)


def test_a_larger_penalty_gives_sparser_codes_and_none_gives_the_best_fit():
    _, x = world(6, n=4000)
    training = Training(steps=800)
    fits = [ReLUL1(40, penalty, training).fit(x, rng=rng()) for penalty in (0.0, 1.0, 6.0)]
    counts = [f.encode(x).nnz / len(x) for f in fits]
    errors = [np.square(f.decode(f.encode(x)) - x).sum() for f in fits]
    assert counts[0] > counts[1] > counts[2] and errors[0] < errors[1] < errors[2]
    assert all(f.status is Status.BUDGET_SPENT for f in fits)


def test_auxk_revives_latents_that_lost_the_competition():
    _, x = world(7)
    x = (x - x.mean(0)) / x.std()
    silent = []
    for aux in (0.0, 1 / 32):
        module = TopK(40, 3, aux=aux, dead_after=50).module(20, rng())
        with torch.no_grad():
            module.encoder[:20] *= 0.01  # half of the latents are too weak to be among the three largest
        train(module, [Rows(x)], [rng(1)], Training(steps=1500))
        silent.append(int((module.encode(tensor(x)).sum(0) == 0).sum()))
    assert silent[0] >= 15 and silent[1] <= 5, silent
