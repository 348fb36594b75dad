"""Discrete autoencoders: values on their grids, straight gradients, losses, the limit of k-means, ensembles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.fsq import FiniteScalarQuantised
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.qlae import QuantisedLatent
from sparsesim.solvers.neural.quantised import nearest, straight_through
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vq import VectorQuantised, perplexity

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 300, d: int = 6) -> np.ndarray:
    r = rng(seed)
    return r.integers(-1, 2, (n, 4)) @ r.standard_normal((4, d)) + 0.05 * r.standard_normal((n, d)) + 0.3


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


@pytest.mark.parametrize(
    ("levels", "grid"),
    [
        (2, [-1, 0]),
        (5, [-1, -0.5, 0, 0.5, 1]),
        (6, [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3]),
        (8, [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]),
    ],
)
def test_finite_scalars_take_exactly_the_values_of_their_grid(levels, grid):
    module = FiniteScalarQuantised(3, levels).module(4, rng())
    u = torch.linspace(-9, 9, 4001)[:, None]
    found = module.quantise(u)[1].unique().numpy()
    np.testing.assert_allclose(found, grid, atol=1e-7)  # float32
    assert module.quantise(torch.zeros(1, 1))[1].item() == 0.0
    if levels % 2:
        torch.testing.assert_close(module.quantise(-u)[1], -module.quantise(u)[1])


def test_the_gradient_of_finite_scalars_is_that_of_the_bound():
    module = FiniteScalarQuantised(3, 5).module(4, rng())
    u = torch.linspace(-2, 2, 9).requires_grad_()
    value, quantised = module.quantise(u)
    straight_through(value, quantised).sum().backward()
    half = 2 * (1 + 1e-3)
    expected = half / 2 / np.cosh(u.detach().double().numpy()) ** 2
    np.testing.assert_allclose(u.grad.numpy(), expected, rtol=1e-5)  # float32


def test_rounding_passes_a_gradient_of_one_and_the_rounded_value():
    u = tensor(rng(1).standard_normal((7, 3))).requires_grad_()
    table = tensor(np.sort(rng(2).standard_normal((3, 4))))
    z = straight_through(u, nearest(u, table))
    brute = np.array(
        [
            [min(t, key=lambda v: abs(v - x)) for x, t in zip(row, table.numpy(), strict=True)]
            for row in u.detach().numpy()
        ]
    )
    np.testing.assert_allclose(z.detach().numpy(), brute, atol=1e-6)  # u + (z - u) in float32
    z.sum().backward()
    assert torch.equal(u.grad, torch.ones_like(u))


def test_the_quantised_latent_loss_is_that_of_the_equation():
    module = QuantisedLatent(5, values=4, quantising=0.3, commitment=0.7).module(6, rng())
    module.values.data += 0.1 * tensor(rng(3).standard_normal((5, 4)))
    x = samples(n=9)
    terms = module.losses(tensor(x), Step(0, 1))
    w, b, d, c, v = (
        p.detach().double().numpy()
        for p in (module.encoder, module.encoder_bias, module.decoder, module.bias, module.values)
    )
    u = x @ w.T + b
    z = v[np.arange(5), np.abs(u[:, :, None] - v).argmin(-1)]
    gap = np.square(u - z).sum(axis=1).mean() * 6 / 5
    expected = {
        "squared_error": np.square(x - z @ d - c).sum(axis=1).mean(),
        "quantising": 0.3 * gap,
        "commitment": 0.7 * gap,
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name  # float32
    terms["commitment"].backward(retain_graph=True)
    assert module.values.grad is None and module.encoder.grad.abs().max() > 0
    module.zero_grad()
    terms["quantising"].backward()
    assert module.encoder.grad is None or not module.encoder.grad.any()
    assert module.values.grad.abs().max() > 0


def test_the_vector_quantised_loss_is_that_of_the_equation_and_each_term_moves_its_own_weights():
    module = VectorQuantised(7, latent=3, commitment=0.5).module(6, rng())
    x = samples(n=9)
    w, c, e, v, b = (
        p.detach().double().numpy()
        for p in (module.encoder, module.encoder_bias, module.words, module.readout, module.bias)
    )
    h = x @ w.T + c
    word = np.square(h[:, None] - e).sum(-1).argmin(1)
    terms = module.losses(tensor(x), Step(0, 1))
    gap = np.square(h - e[word]).sum(axis=1).mean()
    expected = {
        "squared_error": np.square(x - e[word] @ v - b).sum(axis=1).mean(),
        "codebook": gap,
        "commitment": 0.5 * gap,
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name  # float32
    codes = module.encode(tensor(x))
    assert torch.equal(codes, torch.nn.functional.one_hot(torch.from_numpy(word), 7).float())
    torch.testing.assert_close(module.decode(codes), codes @ module.atoms() + module.bias, atol=1e-5, rtol=1e-5)
    for name, moved in (("squared_error", False), ("codebook", True), ("commitment", False)):
        module.zero_grad()
        terms[name].backward(retain_graph=True)
        assert (module.words.grad is not None and bool(module.words.grad.any())) == moved, name
        assert (module.encoder.grad is not None and bool(module.encoder.grad.any())) == (name != "codebook"), name


@pytest.mark.parametrize(
    "solver",
    [FiniteScalarQuantised(5, 5, SHORT), QuantisedLatent(5, training=SHORT), VectorQuantised(9, training=SHORT)],
    ids=lambda s: type(s).__name__,
)
def test_fitted_codes_lie_on_the_learned_grid(solver):
    x = samples()
    fitted = solver.fit(x, rng=rng())
    codes = fitted.encode(x).toarray() / (fitted.encoder.norms * fitted.encoder.scale)
    module = fitted.encoder.module
    if isinstance(solver, QuantisedLatent):
        grids = module.values.double().numpy()
    else:
        grids = np.tile(
            [-1, -0.5, 0, 0.5, 1] if isinstance(solver, FiniteScalarQuantised) else [0, 1], (codes.shape[1], 1)
        )
    distance = np.abs(codes[:, :, None] - grids).min(-1)
    assert distance.max() < 1e-6  # float32 values divided by their norms
    if isinstance(solver, VectorQuantised):
        assert (np.diff(fitted.encode(x).indptr) == 1).all()
        words = perplexity(fitted.encode(x))
        share = (codes > 0).mean(axis=0)
        expected = math.exp(-sum(s * math.log(s) for s in share if s > 0))
        assert words == pytest.approx(expected, rel=1e-5) and 4 < words <= 9


@pytest.mark.parametrize(
    "solver",
    [FiniteScalarQuantised(5, 5, SHORT), QuantisedLatent(5, training=SHORT), VectorQuantised(9, training=SHORT)],
    ids=lambda s: type(s).__name__,
)
def test_an_ensemble_of_two_is_two_separate_fits(solver):
    sources = [Rows(samples(e)) for e in range(2)]
    together = fit_together([solver] * 2, sources, [rng(10 + e) for e in range(2)])
    for e, fitted in enumerate(together):
        alone = solver.fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    "build",
    [
        lambda: FiniteScalarQuantised(5, 1),
        lambda: QuantisedLatent(5, values=1),
        lambda: QuantisedLatent(5, commitment=-1.0),
        lambda: VectorQuantised(5, latent=0),
        lambda: VectorQuantised(5, commitment=-0.1),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must"):
        build()
