"""The polynomial autoencoder: orthonormal factors, limits, and interactions read against finite differences."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from sparsesim._source import Rows
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.poly import PolynomialSAE, interaction
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)
SPEC = PolynomialSAE(10, 3, rank=6, pair_rank=4, triple_rank=2, training=SHORT)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 400, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    codes = (r.random((n, m)) < 0.25) * r.uniform(0.5, 1.5, (n, m))
    pair = codes[:, :1] * codes[:, 1:2]
    return codes @ r.standard_normal((m, d)) + 2 * pair * r.standard_normal(d) + 0.3


@pytest.fixture(scope="module")
def fitted():
    return dataclasses.replace(SPEC, training=dataclasses.replace(SHORT, steps=150)).fit(samples(), rng=rng())


def test_the_columns_of_the_factor_are_orthonormal_after_every_step():
    module = SPEC.module(6, rng())
    x = torch.from_numpy(samples(n=32).astype(np.float32))
    for index in range(5):
        before = module.basis.detach().clone()
        sum(module.losses(x, Step(index, 5)).values()).backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.sub_(0.02 * parameter.grad / parameter.grad.abs().max().clamp_min(1e-9))
                parameter.grad = None
            module.after_step(None)
        gram = (module.basis.mT @ module.basis).detach().numpy()
        np.testing.assert_allclose(gram, np.eye(6), atol=2e-6)  # float32 QR
        moved = (module.basis - before).abs().max().item()
        assert 0 < moved < 0.3, "the retraction must stay near the factor it started from"


def test_without_interactions_the_decoder_is_linear_of_the_given_rank(fitted):
    module = SPEC.module(6, rng())
    with torch.no_grad():
        module.strengths.zero_()
    z = torch.from_numpy(rng(1).random((5, 10)).astype(np.float32))
    torch.testing.assert_close(module.decode(z), z @ module.atoms() + module.bias, atol=1e-5, rtol=1e-5)
    narrow = PolynomialSAE(10, 3, rank=2, pair_rank=0).module(6, rng())
    assert np.linalg.matrix_rank(narrow.atoms().detach().numpy(), tol=1e-5) == 2
    assert not fitted.linear_decoder


def test_with_the_identity_as_factor_and_no_interactions_it_is_the_topk_autoencoder():
    host = TopK(8, 3).module(6, rng())
    ours = PolynomialSAE(8, 3, rank=8, pair_rank=2).module(6, rng())
    with torch.no_grad():
        ours.basis.copy_(torch.eye(8))
        ours.first.copy_(host.decoder)
        ours.encoder.copy_(host.encoder)
        ours.strengths.zero_()
        for module in (host, ours):
            module.bias.copy_(torch.from_numpy(rng(4).standard_normal(6)).float())
            module.encoder_bias.copy_(torch.from_numpy(rng(5).standard_normal(8)).float())
    x = torch.from_numpy(samples(n=40).astype(np.float32))
    # The host folds its bias into the encoder bias: float32 sums in another order.
    torch.testing.assert_close(ours.encode(x), host.encode(x), atol=1e-5, rtol=1e-5)
    a, b = (module.losses(x, Step(0, 1))["squared_error"] for module in (ours, host))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_decoder_is_that_of_the_equation():
    module = SPEC.module(6, rng())
    z = rng(1).random((5, 10))
    u, c1, c2, c3, (l2, l3), b = (
        p.detach().double().numpy()
        for p in (module.basis, module.first, module.second, module.third, module.strengths, module.bias)
    )
    assert (l2, l3) == (-0.5, 0.5)
    expected = b + z @ u @ c1
    for row, out in zip(z, expected, strict=True):
        for i, j in product(range(10), repeat=2):
            out += l2 * row[i] * row[j] * (u[i, :4] * u[j, :4]) @ c2
        for i, j, k in product(range(10), repeat=3):
            out += l3 * row[i] * row[j] * row[k] * (u[i, :2] * u[j, :2] * u[k, :2]) @ c3
    np.testing.assert_allclose(module.decode(torch.from_numpy(z).float()).detach().numpy(), expected, atol=2e-5)


def test_interactions_are_the_mixed_differences_of_the_decoder(fitted):
    def decode(sets):
        rows = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
        columns = np.concatenate([np.array(s, dtype=int) for s in sets])
        return fitted.decode(csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sets), 10)))

    i, j, k = 1, 4, 7
    none, a, b, c, ab, ac, bc, abc = decode([(), (i,), (j,), (k,), (i, j), (i, k), (j, k), (i, j, k)])
    third = abc - ab - ac - bc + a + b + c - none  # unit codes: the mixed difference of order three is exact
    np.testing.assert_allclose(interaction(fitted, np.array([[i, j, k]]))[0], third, atol=2e-5)  # float32 decoder
    # The difference of order two also has cubic terms, z_i^2 z_j and z_i z_j^2, which are odd under z -> -z.
    minus = [fitted.decode(csr_array(-np.isin(np.arange(10), s).astype(float)[None]))[0] for s in ((i,), (j,), (i, j))]
    even = (ab - a - b + none + minus[2] - minus[0] - minus[1] + none) / 2
    np.testing.assert_allclose(interaction(fitted, np.array([[i, j]]))[0], even, atol=2e-5)
    assert np.abs(even).max() > 1e-3 and np.abs(third).max() > 1e-4


def test_an_ensemble_of_three_is_three_separate_fits():
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together([SPEC] * 3, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = SPEC.fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


def test_interactions_refuse_what_they_cannot_read(fitted):
    for sets in (np.array([1, 2]), np.array([[1, 1]]), np.array([[0, 10]]), np.array([[0.5, 1.0]])):
        with pytest.raises(ValueError, match="latents"):
            interaction(fitted, sets)
    with pytest.raises(TypeError, match="PolynomialSAE"):
        interaction(TopK(5, 2, training=SHORT).fit(samples(), rng=rng()), np.array([[0, 1]]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: PolynomialSAE(5, 2, rank=6),
        lambda: PolynomialSAE(5, 2, pair_rank=6),
        lambda: PolynomialSAE(5, 2, rank=3, pair_rank=4),
        lambda: PolynomialSAE(5, 2, pair_rank=1, triple_rank=2),
        lambda: PolynomialSAE(12, 2, pair_rank=8).module(6, rng()),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must"):
        build()
