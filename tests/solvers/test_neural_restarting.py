"""Restarting: the rule, what begins again and what stays, and the limits in which nothing does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.aligned import FeatureAligned
from sparsesim.solvers.neural.geometric_median import FromGeometricMedian
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.restarting import Restarting, excess
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)
BASE = TopK(12, 3, training=SHORT)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 300, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ r.standard_normal((m, d)) + 0.3


def restarts(fitted) -> list[int]:
    return [int(one.restarts) for one in fitted.encoder.module.restarters]


class Forgetful:
    """An optimiser that only takes note of what it is told to forget."""

    def __init__(self) -> None:
        self.told: list[tuple[torch.nn.Parameter, torch.Tensor]] = []

    def forget(self, parameter, where) -> None:
        self.told.append((parameter, where))


def test_the_excess_is_the_mean_of_powers_of_relative_deviations():
    rates = torch.tensor([[0.0, 0.25, 0.5, 1.0], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    # Relative deviations 1, 0, 1, 3 of 1/4.
    np.testing.assert_allclose(excess(rates, 0.25, 3.0).numpy(), [29 / 4, 0.0], rtol=1e-15)
    np.testing.assert_allclose(excess(rates, 0.25, 1.0).numpy(), [5 / 4, 0.0], rtol=1e-15)
    assert excess(torch.zeros(7), 0.1, 3.0).item() == pytest.approx(1.0, rel=1e-6), "silence alone is below 2.5"
    assert Restarting().expected(TopK(32, 2)) == 1 / 16 == Restarting(rate=1 / 16).expected(BASE)


def test_a_model_that_went_astray_has_the_first_weights_of_another_seed_and_the_others_stay():
    module = FeatureAligned(BASE, peers=3, restarting=Restarting()).module(6, rng())
    _, wild, _ = module.models()
    with torch.no_grad():
        wild.encoder_bias[:3] += 100.0  # the same three latents speak for every sample: (4 - 1)^3 * 3/12 + 9/12 = 7.5
    before = [[p.clone() for p in peer.parameters()] for peer in module.models()]
    module.losses(torch.from_numpy(samples(n=64).astype(np.float32)), Step(0, 10))
    optimiser = Forgetful()
    with torch.no_grad():
        module.after_step(optimiser)
    watcher = module.restarters[1]
    fresh = BASE.module(6, rng([int(watcher.seed), 0]))  # type: ignore[arg-type]
    for parameter, expected in zip(wild.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(parameter, expected)
    assert [id(p) for p, _ in optimiser.told] == [id(p) for p in wild.parameters()]
    assert all(bool(where.all()) for _, where in optimiser.told)
    for place in (0, 2):
        now = module.models()[place].parameters()
        # `after_step` normalises atoms once more, which moves them by a rounding.
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(now, before[place], strict=True))
    assert [int(one.restarts) for one in module.restarters] == [0, 1, 0]
    with torch.no_grad():
        wild.encoder_bias[:3] += 100.0
    module.losses(torch.from_numpy(samples(n=64).astype(np.float32)), Step(1, 10))
    with torch.no_grad():
        module.after_step(optimiser)
    second = BASE.module(6, rng([int(watcher.seed), 1]))  # type: ignore[arg-type]
    assert torch.equal(wild.decoder, second.decoder) and not torch.equal(fresh.decoder, second.decoder)


def test_where_none_goes_astray_the_fit_is_that_without_the_rule_bit_for_bit():
    x = samples()
    plain = FeatureAligned(BASE, alignment=2.0)
    watched = dataclasses.replace(plain, restarting=Restarting(threshold=1e9))
    a, b = plain.fit(x, rng=rng(4)), watched.fit(x, rng=rng(4))
    assert np.array_equal(a.atoms, b.atoms) and restarts(b) == [0, 0]


def test_a_rate_of_one_sixteenth_restarts_models_of_a_quarter_at_every_look():
    solver = FeatureAligned(BASE, restarting=Restarting(rate=1 / 16, every=10))
    # Rates of mean 1/4 deviate by 3 from 1/16, and the mean of cubes is at least the cube of the mean.
    assert restarts(solver.fit(samples(), rng=rng())) == [4, 4]


def test_members_of_an_ensemble_begin_again_each_when_it_would_alone():
    solvers = [
        FeatureAligned(BASE, alignment=1.0, restarting=Restarting(threshold=t, every=8)) for t in (0.3, 0.6, 9.0)
    ]
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    counts = []
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        counts.append(restarts(fitted))
        assert counts[-1] == restarts(alone)
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
    assert sum(counts[0]) > 0 and counts[2] == [0, 0], counts


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Restarting(threshold=-1.0), ValueError, "threshold must"),
        (lambda: Restarting(power=0.0), ValueError, "power must"),
        (lambda: Restarting(rate=0.0), ValueError, "rate must"),
        (lambda: Restarting(every=0), ValueError, "every must"),
        (lambda: FeatureAligned(BASE, restarting=2.5), TypeError, "restarting must"),
        (lambda: FeatureAligned(ReLUL1(12, training=SHORT), restarting=Restarting()), ValueError, "rate must"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_base_whose_first_weights_depend_on_data_is_refused():
    base = FromGeometricMedian(ReLUL1(12, training=SHORT))
    with pytest.raises(ValueError, match="depend on data"):
        FeatureAligned(base, restarting=Restarting(rate=0.1)).fit(samples(), rng=rng())
