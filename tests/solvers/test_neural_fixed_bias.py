"""A decoder bias that is held stays where it was, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.fixed_bias import FixedBias
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training

RAW = Training(steps=60, batch_size=32, learning_rate=1e-2, normalise=False)


def samples() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.random((200, 4)) < 0.4) * rng.uniform(0.5, 1.5, (200, 4)) + 0.5


@pytest.mark.parametrize(
    "host", [ReLUL1(4, 0.1, training=RAW), TopK(4, 2, training=RAW), BatchTopK(4, 2, training=RAW)]
)
def test_the_bias_stays_at_the_origin_while_the_rest_learns(host):
    fitted = FixedBias(host).fit(samples(), rng=np.random.default_rng(1))
    free = host.fit(samples(), rng=np.random.default_rng(1))
    assert np.array_equal(fitted.bias, np.zeros(4)) and np.linalg.norm(free.bias) > 0.1
    start = host.module(4, np.random.default_rng(0)).atoms().detach().numpy()
    assert np.abs(fitted.atoms - start).max() > 0.05


def test_with_normalised_data_it_is_held_at_their_mean():
    host = ReLUL1(4, 0.1, training=Training(steps=20, batch_size=32))
    fitted = FixedBias(host).fit(samples(), rng=np.random.default_rng(1))
    assert fitted.bias == pytest.approx(samples().mean(axis=0), abs=1e-12)  # rounding of the mean


def test_one_latent_learns_the_leading_direction_about_the_origin_and_a_free_bias_that_about_the_mean():
    x, training = samples(), Training(steps=1500, batch_size=64, learning_rate=5e-3, normalise=False)
    held = FixedBias(ReLUL1(1, 0.0, training=training)).fit(x, rng=np.random.default_rng(2))
    leading = np.linalg.eigh(x.T @ x)[1][:, -1]
    # the encoder is never clipped here, so that the optimum is the leading eigenvector; batches of 64 leave some noise
    assert abs(held.atoms[0] @ leading) > 0.999


def test_latents_that_start_on_the_other_side_of_the_origin_are_turned_to_the_data():
    x = np.abs(np.random.default_rng(0).standard_normal((300, 2)))
    host = ReLUL1(6, 0.1, training=replace(RAW, steps=1))
    start = host.module(2, np.random.default_rng(0)).atoms().detach().numpy()
    module = FixedBias(host, towards_data=True).module(2, np.random.default_rng(0))
    with torch.no_grad():
        module.prime(torch.from_numpy(x.astype(np.float32)), np.random.default_rng(1))
        codes = module.encode(torch.from_numpy(x.astype(np.float32))).numpy()
    sign = np.where(start @ x.mean(axis=0) < 0, -1.0, 1.0)[:, None]
    assert (sign < 0).any() and np.array_equal(module.atoms().detach().numpy(), (start * sign).astype(np.float32))
    assert np.array_equal(module.host.encoder.detach().numpy(), module.atoms().detach().numpy())
    assert (codes > 0).any(axis=0).all(), "every latent fires for some sample"
    assert ((x @ start.T <= 0).all(axis=0)).any(), "the control: one would never have fired"
    with pytest.raises(TypeError, match="towards_data"):
        FixedBias(host, towards_data=1)


def test_members_of_an_ensemble_hold_theirs():
    solvers = [FixedBias(ReLUL1(4, penalty, training=RAW)) for penalty in (0.1, 0.3)]
    together = fit_together(solvers, [Rows(samples())] * 2, [np.random.default_rng(e) for e in range(2)])
    for e, (solver, fitted) in enumerate(zip(solvers, together, strict=True)):
        alone = solver.fit(samples(), rng=np.random.default_rng(e))
        assert np.array_equal(fitted.bias, np.zeros(4))
        assert fitted.atoms == pytest.approx(alone.atoms, abs=1e-3)  # float32 products sum in another order


def test_a_host_without_such_a_bias_is_refused():
    with pytest.raises(TypeError, match="decoder bias to hold"):
        FixedBias(TiedReLUL1(4, training=RAW)).fit(samples(), rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="gradient-trained solver"):
        FixedBias("TopK")
