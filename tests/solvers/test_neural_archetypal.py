"""Archetypal autoencoders: the hull and its certificate, the deviation, the loss, and ensembles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.archetypal import nearest_in_hull
from sparsesim.solvers.neural.archetypal import Archetypal, centroids
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training

SHORT = Training(steps=80, batch_size=32, learning_rate=5e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 400, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 0.3


def inner_atoms(fitted) -> tuple[np.ndarray, np.ndarray]:
    """Return D and C of the trained module in float64."""
    module = fitted.encoder.module
    return module.atoms().double().numpy(), module.candidates.double().numpy()


def test_without_deviation_every_atom_is_a_point_of_the_hull_of_the_candidates():
    fitted = Archetypal(12, 3, candidates=20, delta=0.0, training=SHORT).fit(samples(), rng=rng())
    atoms, corners = inner_atoms(fitted)
    weights, gaps = nearest_in_hull(atoms, corners)
    residual = np.linalg.norm(atoms - weights @ corners, axis=1)
    # float32 weights sum to one up to 1e-7, on corners of norm 5; the gap certifies the nearest point
    assert residual.max() < 1e-5 and gaps.max() < 1e-9
    assert np.linalg.norm(atoms, axis=1).max() <= np.linalg.norm(corners, axis=1).max() + 1e-5
    start = Archetypal(12, 3, candidates=20, delta=0.0).module(6, rng()).weights
    assert (fitted.encoder.module.weights - start).abs().max() > 0.1, "nothing was learned within the hull"


def test_weights_lie_on_the_simplex_and_deviations_within_delta_after_training():
    fitted = Archetypal(12, 3, candidates=20, delta=0.1, training=SHORT).fit(samples(), rng=rng())
    module = fitted.encoder.module
    assert (module.weights >= 0).all()
    np.testing.assert_allclose(module.weights.sum(-1).numpy(), 1.0, atol=1e-6)  # float32
    atoms, corners = inner_atoms(fitted)
    lengths = np.linalg.norm(atoms - module.weights.double().numpy() @ corners, axis=1)
    assert lengths.max() <= 0.1 + 1e-6 and lengths.max() > 0.099, "the bound must be felt"
    outside = np.linalg.norm(atoms - nearest_in_hull(atoms, corners)[0] @ corners, axis=1)
    assert 0.02 < outside.max() <= 0.1 + 1e-5


def test_a_row_without_weight_falls_back_to_the_centre_of_the_candidates():
    module = Archetypal(3, 1, candidates=4, delta=0.5).module(2, rng())
    with torch.no_grad():
        module.weights[1] = -1.0
        module.weights[2] = torch.tensor([2.0, -1.0, 2.0, 0.0])
        module.deviation[0] = torch.tensor([3.0, 4.0])
        module.deviation[1] = torch.tensor([0.3, 0.0])
        module.restore()
    np.testing.assert_allclose(module.weights[1:].detach().numpy(), [[0.25] * 4, [0.5, 0, 0.5, 0]], atol=1e-7)
    np.testing.assert_allclose(module.deviation[:2].detach().numpy(), [[0.3, 0.4], [0.3, 0.0]], atol=1e-7)


def test_the_candidates_are_the_means_of_their_clusters():
    x = samples()
    points = centroids(x, 7, rng())
    nearest = np.square(x[:, None] - points).sum(-1).argmin(1)
    for j, point in enumerate(points):
        # 30 iterations settle 400 samples in 7 clusters
        np.testing.assert_allclose(point, x[nearest == j].mean(axis=0), atol=1e-9)


def test_more_atoms_than_candidates_start_at_candidates_none_at_zero():
    module = Archetypal(10, 2, candidates=4).module(6, rng())
    with torch.no_grad():
        module.prime(torch.from_numpy(samples().astype(np.float32)), rng(1))
    assert (torch.linalg.vector_norm(module.atoms(), dim=-1) > 0.1).all()
    assert (module.weights.argmax(-1) == torch.arange(10) % 4).all()
    np.testing.assert_allclose((module.encoder * module.atoms()).sum(-1).detach().numpy(), 1.0, rtol=1e-5)


def test_the_loss_is_that_of_the_equation():
    module = Archetypal(7, 2, candidates=5, aux=0.0).module(4, rng())
    for number, parameter in enumerate(module.parameters()):
        parameter.data += 0.2 * torch.from_numpy(rng(number).standard_normal(parameter.shape)).float()
    module.candidates.copy_(torch.from_numpy(rng(9).standard_normal((5, 4))))
    x = rng(1).standard_normal((11, 4))
    w, b, weights, deviation, bias, c = (
        t.detach().double().numpy()
        for t in (module.encoder, module.encoder_bias, module.weights, module.deviation, module.bias, module.candidates)
    )
    u = (x - bias) @ w.T + b
    kept = np.argsort(np.argsort(-u, axis=1), axis=1) < 2
    z = np.maximum(u, 0) * kept
    expected = np.square(x - z @ (weights @ c + deviation) - bias).sum(axis=1).mean()
    terms = module.losses(torch.from_numpy(x).float(), Step(0, 1))
    assert terms["squared_error"].item() == pytest.approx(expected, rel=1e-5)  # float32
    assert terms["aux"].item() == 0.0


def test_an_ensemble_of_three_is_three_separate_fits():
    training = dataclasses.replace(SHORT, steps=40)
    solvers = [Archetypal(12, 3, candidates=8, delta=delta, training=training) for delta in (0.0, 0.5, 2.0)]
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize("build", [lambda: Archetypal(5, 2, candidates=0), lambda: Archetypal(5, 2, delta=-0.1)])
def test_configurations_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must"):
        build()
