"""Unfolded ISTA starts at ISTA, beats it at equal depth once trained, and its analytic weights carry a certificate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import Encoder, Status
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.neural.lista import (
    LearnedISTA,
    UnfoldedModule,
    analytic_weights,
    generalised_coherence,
)
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.train import Training

SHORT = Training(steps=300, batch_size=128, learning_rate=2e-3)
KINDS = pytest.mark.parametrize("analytic", [False, True], ids=["lista", "alista"])


def world(seed, n=1500, d=12, p=20, k=2):
    rng = np.random.default_rng(seed)
    atoms, codes = unit_rows(rng.standard_normal((p, d)))[0], np.zeros((n, p))
    for row in codes:
        row[rng.choice(p, k, replace=False)] = rng.standard_normal(k)
    return atoms, codes @ atoms


def ista(x, atoms, penalty, steps):
    """Proximal gradient steps for ||x - z A||^2 / 2 + penalty ||z||_1, written out."""
    size = np.linalg.norm(atoms, 2) ** 2
    z = np.zeros((len(x), len(atoms)))
    for _ in range(steps):
        u = z - (z @ atoms - x) @ atoms.T / size
        z = np.where(u > penalty / size, u - penalty / size, np.where(u < -penalty / size, u + penalty / size, 0.0))
    return z


def objective(x, atoms, z, penalty):
    return (np.square(x - z @ atoms).sum() / 2 + penalty * np.abs(z).sum()) / len(x)


@pytest.mark.parametrize("layers", [1, 3, 12])
def test_untrained_layers_are_steps_of_ista(layers):
    atoms, x = world(0, n=50)
    codes = LearnedISTA(layers, 0.2).untrained(atoms).encode(x, atoms)
    np.testing.assert_allclose(codes.toarray(), ista(x, atoms, 0.2, layers), atol=1e-12)
    assert isinstance(LearnedISTA(layers, 0.2).untrained(atoms), Encoder)


def test_many_untrained_layers_are_the_lasso():
    atoms, x = world(1, n=30)
    codes = LearnedISTA(3000, 0.2).untrained(atoms).encode(x, atoms)
    np.testing.assert_allclose(codes.toarray(), Lasso(0.2, tolerance=1e-12).encode(x, atoms).toarray(), atol=1e-5)


@KINDS
def test_trained_layers_beat_ista_at_the_same_depth_on_new_samples(analytic):
    atoms, x = world(2)
    train, test = x[:1000], x[1000:]
    solver = LearnedISTA(4, 0.1, analytic, SHORT)
    trained = solver.train(train, atoms, rng=stream(0, Role.SOLVER))
    least = objective(test, atoms, Lasso(0.1).encode(test, atoms).toarray(), 0.1)
    plain = objective(test, atoms, ista(test, atoms, 0.1, 4), 0.1) - least
    learned = objective(test, atoms, trained.encode(test, atoms).toarray(), 0.1) - least
    assert 0 < learned < 0.7 * plain, (learned, plain)
    assert trained.status is Status.BUDGET_SPENT and trained.trace["loss"][-1] < trained.trace["loss"][0]
    assert trained.thresholds.min() >= 0


@KINDS
def test_the_scale_of_the_samples_is_that_of_the_codes(analytic):
    atoms, x = world(3, n=300)
    short = Training(steps=20, batch_size=64, learning_rate=1e-3)
    codes = []
    for scale in (1.0, 2.0**300):  # a power of two: the scaled samples are the same to the last bit
        solver = LearnedISTA(2, 0.1 * scale, analytic, short)
        trained = solver.train(scale * x, atoms, rng=stream(0, Role.SOLVER))
        codes.append(trained.encode(scale * x[:20], atoms).toarray() / scale)
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-6)


@KINDS
def test_gradients_are_those_of_finite_differences_and_the_module_is_the_encoder(analytic):
    atoms, x = world(4, n=7, d=4, p=6)
    start = LearnedISTA(3, 0.15, analytic).untrained(atoms)
    module = UnfoldedModule(start, 0.15, 1.0, analytic).double()
    np.testing.assert_allclose(
        module.encode(torch.from_numpy(x)).detach().numpy(), start.encode(x, atoms).toarray(), atol=1e-6
    )  # its weights passed through float32
    names = [name for name, _ in module.named_parameters()]

    def loss(*values):
        terms = torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), (torch.from_numpy(x), Step(0, 1)), {}
        )
        return sum(terms.values())

    module.forward = module.losses
    assert torch.autograd.gradcheck(loss, [p.detach().clone().requires_grad_() for p in module.parameters()])
    assert len(names) == (2 if analytic else 4)  # the decoder is not among them


def test_the_atoms_are_those_given_and_others_are_refused():
    atoms, x = world(5, n=200)
    trained = LearnedISTA(2, 0.1, training=Training(steps=5)).train(x, atoms, rng=stream(0, Role.SOLVER))
    np.testing.assert_array_equal(trained.atoms, atoms)
    with pytest.raises(ValueError, match="encodes in the atoms it was trained for"):
        trained.encode(x, atoms[::-1])
    assert trained.encode(x[:0], atoms).shape == (0, 20)
    assert trained.encode(x.astype(np.float32), atoms.astype(np.float32)).dtype == np.float32


def test_a_diverging_training_is_a_status():
    atoms, x = world(6, n=200)
    wild = Training(steps=60, batch_size=32, learning_rate=1e25)
    trained = LearnedISTA(3, 0.1, training=wild).train(x, atoms, rng=stream(0, Role.SOLVER))
    assert trained.status is Status.DIVERGED and np.isfinite(trained.weights).all()


@pytest.mark.parametrize(("p", "d"), [(20, 12), (8, 8), (6, 10)])
def test_analytic_weights_are_stationary_and_no_feasible_change_is_lower(p, d):
    rng = np.random.default_rng(p)
    atoms = unit_rows(rng.standard_normal((p, d)))[0]
    weights = analytic_weights(atoms)
    np.testing.assert_allclose((weights * atoms).sum(axis=1), 1.0, atol=1e-10)
    slope = weights @ atoms.T @ atoms  # half the gradient of ||W A^T||_F^2: along the atoms, which the constraint holds
    along = (slope * atoms).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(slope, along * atoms, atol=1e-9)
    least = np.linalg.norm(weights @ atoms.T)
    for _ in range(20):
        change = rng.standard_normal((p, d))
        change -= (change * atoms).sum(axis=1, keepdims=True) * atoms
        assert np.linalg.norm((weights + 0.1 * change) @ atoms.T) >= least - 1e-12
    if p <= d:
        assert generalised_coherence(atoms, weights) < 1e-9  # a biorthogonal basis exists


def test_analytic_weights_are_less_coherent_than_atoms_and_bounded_by_the_linear_programme():
    atoms = unit_rows(np.random.default_rng(7).standard_normal((20, 12)))[0]
    ours = generalised_coherence(atoms, analytic_weights(atoms))
    best = 0.0
    for i in range(20):  # min t: |<w, a_j>| <= t for j != i, <w, a_i> = 1
        others = np.delete(atoms, i, axis=0)
        left = np.block([[others, -np.ones((19, 1))], [-others, -np.ones((19, 1))]])
        row = np.append(atoms[i], 0.0)[None]
        bounds = [(None, None)] * 12 + [(0, None)]
        best = max(best, linprog(np.append(np.zeros(12), 1.0), left, np.zeros(38), row, [1.0], bounds).fun)
    welch = np.sqrt((20 - 12) / (12 * 19))  # holds for any weights with <w_i, a_i> = 1
    assert welch - 1e-9 <= best <= ours < generalised_coherence(atoms, atoms)


def test_bad_configurations_are_refused():
    for arguments in ({"layers": 0}, {"penalty": 0.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            LearnedISTA(**({"layers": 2, "penalty": 1.0} | arguments))
    with pytest.raises(TypeError, match="training must be a Training"):
        LearnedISTA(2, 1.0, training=3)
    with pytest.raises(ValueError, match="unit rows"):
        LearnedISTA(2, 1.0).untrained(2 * np.eye(3))
