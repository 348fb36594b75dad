"""The sign autoencoder: one bit a latent, the gradient of a tanh, and errors that are those of theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.sign import SignAutoencoder
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from theory.autoencoders import identity_sign_mse, rotation_mse

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_codes_are_signs_and_the_gradient_is_that_of_the_smooth_code():
    x = torch.from_numpy(rng(1).standard_normal((20, 4)).astype(np.float32))
    module = SignAutoencoder(3, temperature=0.7).module(4, rng())
    seen = x @ torch.nn.functional.normalize(module.encoder, dim=-1).mT
    assert set(module.encode(x).unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(module.encode(x), seen.sign())
    module.losses(x, Step(0, 1))["squared_error"].backward()
    found = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}
    module.zero_grad()
    codes = (seen / 0.7).tanh()
    slope = 2 * (module.encode(x) @ module.decoder - x) @ module.decoder.mT / len(x)  # of the loss by the codes
    codes.backward(slope.detach())
    torch.testing.assert_close(found["encoder"], module.encoder.grad)
    by_hand = 2 * module.encode(x).mT @ (module.encode(x) @ module.decoder - x) / len(x)
    torch.testing.assert_close(found["decoder"], by_hand.detach())


def test_zero_counts_as_positive_and_the_norm_of_the_encoder_does_not_matter():
    module = SignAutoencoder(3).module(4, rng())
    x = torch.from_numpy(rng(2).standard_normal((50, 4)).astype(np.float32))
    assert torch.equal(module.encode(torch.zeros(1, 4)), torch.ones(1, 3))
    before = module.encode(x)
    with torch.no_grad():
        module.encoder *= 7.0
    assert torch.equal(module.encode(x), before)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_trained_on_normal_data_it_reaches_the_least_error_of_any_encoder(rate):
    d = 16
    fitted = SignAutoencoder(int(rate * d), training=Training(steps=1_500)).fit(
        rng(3).standard_normal((20_000, d)), rng=rng()
    )
    x = rng(4).standard_normal((20_000, d))
    error = np.square(x - fitted.decode(fitted.encode(x))).mean(axis=1)
    # no encoder is below (four standard errors of the sample); noise of minibatches keeps it within 0.01 above
    assert -4 * error.std() / len(x) ** 0.5 < error.mean() - rotation_mse(rate) < 0.01


def test_trained_on_dense_signs_it_finds_the_features():
    d, density = 16, 0.9
    x = rng(5).choice([-1.0, 1.0], (30_000, d)) * (rng(6).random((30_000, d)) < density) / density**0.5
    fitted = SignAutoencoder(d, training=Training(steps=1_500)).fit(x[:20_000], rng=rng())
    error = np.square(x[20_000:] - fitted.decode(fitted.encode(x[20_000:]))).mean()
    assert error == pytest.approx(identity_sign_mse(1.0, density**0.5), abs=0.01)  # 0.1, as above within 0.01


def test_an_ensemble_of_two_is_two_separate_fits():
    solver = SignAutoencoder(5, training=SHORT)
    sources = [Rows(rng(e).standard_normal((300, 6))) for e in range(2)]
    together = fit_together([solver] * 2, sources, [rng(10 + e) for e in range(2)])
    for e, fitted in enumerate(together):
        alone = solver.fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        SignAutoencoder(3, temperature=0.0)
