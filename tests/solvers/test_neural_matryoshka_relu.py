"""The penalised Matryoshka autoencoder: its equation, whom a prefix moves, and the limit of one prefix."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.matryoshka import RandomPrefixes
from sparsesim.solvers.neural.matryoshka_relu import PenalisedMatryoshka
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3, grad_clip=1.0)
PREFIXES = (2, 5, 9)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 200, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ r.standard_normal((m, d)) + 0.3


def shaken(solver, d: int = 6, seed: int = 3):
    """Return a module in float64 whose parameters are all away from their special first values."""
    module, r = solver.module(d, rng(seed)).double(), rng(seed + 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.from_numpy(0.3 * r.standard_normal(parameter.shape)))
    return module


@pytest.mark.parametrize("prefixes", [PREFIXES, RandomPrefixes(3, seed=4)])
def test_the_losses_are_means_over_the_prefixes_of_what_each_would_pay_alone(prefixes):
    module, x = shaken(PenalisedMatryoshka(9, 0.3, prefixes, warmup=0.0)), torch.from_numpy(samples(n=12))
    lengths = prefixes.lengths(9, 1) if isinstance(prefixes, RandomPrefixes) else prefixes
    p = {name: value.detach().numpy() for name, value in module.named_parameters()}
    codes = np.maximum(x.numpy() @ p["encoder"].T + p["encoder_bias"], 0)
    norms = np.linalg.norm(p["decoder"], axis=1)
    errors = [np.square(x.numpy() - codes[:, :g] @ p["decoder"][:g] - p["bias"]).sum(1).mean() for g in lengths]
    prices = [0.3 * (codes[:, :g] @ norms[:g]).mean() for g in lengths]
    found = module.losses(x, Step(1, 2))
    assert found["squared_error"].item() == pytest.approx(np.mean(errors), rel=1e-12)
    assert found["l1"].item() == pytest.approx(np.mean(prices), rel=1e-6)  # the penalty is a float32


def test_a_prefix_has_no_gradient_for_the_atoms_beyond_it():
    module, x = shaken(PenalisedMatryoshka(9, 0.3, PREFIXES)), torch.from_numpy(samples(n=12))
    for part, length in zip(module.nested(module.encode(x), PREFIXES), PREFIXES, strict=True):
        (slope,) = torch.autograd.grad((x - part).square().sum(), module.decoder, retain_graph=True)
        assert torch.all(slope[length:] == 0) and slope[:length].abs().max() > 0


def test_one_prefix_is_the_norm_weighted_autoencoder_bit_for_bit():
    x = samples()
    ours = PenalisedMatryoshka(9, 0.5, (9,), training=SHORT).fit(x, rng=rng(1))
    host = WeightedReLUL1(9, 0.5, warmup=0.2, training=SHORT).fit(x, rng=rng(1))
    assert np.array_equal(ours.atoms, host.atoms) and np.array_equal(ours.bias, host.bias)
    assert np.array_equal(ours.encode(x).toarray(), host.encode(x).toarray())


def test_rescaled_atoms_and_encoders_pay_the_same():
    module, x = shaken(PenalisedMatryoshka(9, 0.3, PREFIXES, warmup=0.0)), torch.from_numpy(samples(n=12))
    before = {name: value.item() for name, value in module.losses(x, Step(0, 1)).items()}
    scale = torch.from_numpy(rng(7).uniform(0.5, 2.0, (9, 1)))
    with torch.no_grad():
        module.decoder.mul_(scale)
        module.encoder.div_(scale)
        module.encoder_bias.div_(scale[:, 0])
    after = {name: value.item() for name, value in module.losses(x, Step(0, 1)).items()}
    assert after == pytest.approx(before, rel=1e-12)  # float64 rounding


@pytest.mark.parametrize("prefixes", [PREFIXES, RandomPrefixes(3)])
def test_an_ensemble_of_three_is_three_separate_fits(prefixes):
    solvers = [
        PenalisedMatryoshka(9, w, prefixes, training=dataclasses.replace(SHORT, learning_rate=rate))
        for w, rate in ((0.1, 3e-3), (0.5, 1e-3), (1.0, 5e-3))
    ]
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PenalisedMatryoshka(9, -1.0), "penalty must"),
        (lambda: PenalisedMatryoshka(9, prefixes=(3, 2, 9)), "prefixes must ascend"),
        (lambda: PenalisedMatryoshka(9, prefixes=(3, 5)), "prefixes must ascend"),
        (lambda: PenalisedMatryoshka(9, warmup=2.0), "warmup must"),
    ],
)
def test_bad_configurations_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
