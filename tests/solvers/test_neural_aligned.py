"""Feature-aligned autoencoders: the similarity, whose gradient moves whom, and the limit of no alignment."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.aligned import FeatureAligned, matched_similarity, peers
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)
BASE = TopK(12, 3, training=SHORT)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 300, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 0.3


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal(shape))


def test_the_similarity_is_that_of_the_best_of_all_matchings():
    a, b = normal(5, 4), 3 * normal(5, 4, seed=2)
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1).numpy()
    best = max(np.mean([cosines[i, j] for i, j in enumerate(order)]) for order in itertools.permutations(range(5)))
    assert matched_similarity(a, b).item() == pytest.approx(best, abs=1e-14)
    assert best <= cosines.max(axis=1).mean(), "several rows may share a best partner, but not a matched one"
    both = matched_similarity(torch.stack([a, b]), torch.stack([b, b]))
    np.testing.assert_allclose(both.numpy(), [best, 1.0], atol=1e-14)


def test_models_that_agree_up_to_order_and_norms_pay_nothing():
    a = normal(7, 4)
    order = torch.from_numpy(rng(3).permutation(7))
    similarity = matched_similarity(a, 2.5 * a[order])
    assert similarity.item() == pytest.approx(1.0, abs=1e-14)
    b = normal(7, 4, seed=5)
    assert matched_similarity(a[order], b).item() == pytest.approx(matched_similarity(a, b).item(), abs=1e-14)


def test_the_gradient_holds_the_matching_fixed():
    a, b = normal(4, 3).requires_grad_(), normal(4, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(matched_similarity, (a, b))


def test_each_model_moves_on_its_own_loss_with_the_whole_consensus_term():
    module = FeatureAligned(BASE, peers=3, alignment=4.0, ramp=100).module(6, rng())
    x = torch.from_numpy(samples(n=20).astype(np.float32))
    for index, weight in ((0, 0.0), (50, 0.5), (100, 1.0), (500, 1.0)):
        module.zero_grad()
        sum(module.losses(x, Step(index, 1000)).values()).backward()
        for peer in module.models():
            own = peer.losses(x, Step(index, 1000))["squared_error"] + 4.0 * weight * module.disagreement()
            (expected,) = torch.autograd.grad(own, peer.decoder)
            torch.testing.assert_close(peer.decoder.grad, expected, atol=2e-6, rtol=1e-5)  # float32 sums of 20 rows


@pytest.mark.parametrize("base", [BASE, BatchTopK(12, 3, training=SHORT)], ids=lambda base: type(base).__name__)
def test_without_alignment_the_fit_is_that_of_the_base_bit_for_bit(base):
    x = samples()
    ours, alone = FeatureAligned(base, alignment=0.0).fit(x, rng=rng(4)), base.fit(x, rng=rng(4))
    assert np.array_equal(ours.atoms, alone.atoms)
    assert np.array_equal(ours.encode(x).toarray(), alone.encode(x).toarray())


def test_alignment_makes_models_alike_and_all_of_them_can_be_had():
    x = samples()
    training = dataclasses.replace(SHORT, steps=300)
    base = dataclasses.replace(BASE, training=training)
    scores = []
    for alignment in (0.0, 20.0):
        fitted = FeatureAligned(base, peers=2, alignment=alignment).fit(x, rng=rng())
        first, second = peers(fitted)
        assert np.array_equal(first.atoms, fitted.atoms) and not np.array_equal(second.atoms, fitted.atoms)
        assert np.array_equal(first.encode(x).toarray(), fitted.encode(x).toarray())
        errors = [np.square(one.decode(one.encode(x)) - x).sum() for one in (first, second)]
        assert max(errors) < np.square(x - x.mean(axis=0)).sum()
        scores.append(matched_similarity(*(torch.from_numpy(one.atoms.copy()) for one in (first, second))).item())
    assert scores[1] > scores[0] + 0.05, scores
    with pytest.raises(TypeError, match="FeatureAligned"):
        peers(base.fit(x, rng=rng()))


def test_an_ensemble_of_three_is_three_separate_fits():
    solvers = [FeatureAligned(BASE, alignment=weight) for weight in (0.0, 2.0, 5.0)]
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: FeatureAligned(BASE, peers=1), ValueError),
        (lambda: FeatureAligned(BASE, alignment=-1.0), ValueError),
        (lambda: FeatureAligned(BASE, ramp=0), ValueError),
        (lambda: FeatureAligned(3), TypeError),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build, error):
    with pytest.raises(error, match="must"):
        build()
