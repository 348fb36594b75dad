"""Encoders trained for given atoms, and the autoencoder with a hidden layer: where they start, what they reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim._arrays import Codes, unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import Encoder, Status
from sparsesim.solvers.neural.amortised import AmortisedModule, Amortiser
from sparsesim.solvers.neural.mlp_sae import PerceptronModule, PerceptronSAE, linear_start
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.relu_l1 import ReLUL1Module
from sparsesim.solvers.neural.train import Training

SHORT = Training(steps=400, batch_size=128)
BRIEF = Training(steps=30, batch_size=64)


def world(seed, n=1500, d=8, p=16, k=3):
    rng = np.random.default_rng(seed)
    atoms, codes = unit_rows(rng.standard_normal((p, d)))[0], np.zeros((n, p))
    for row in codes:
        row[rng.choice(p, k, replace=False)] = np.abs(rng.standard_normal(k))
    return atoms, codes, codes @ atoms


@pytest.mark.parametrize("hidden", [16, 17, 18, 41])
def test_a_wide_enough_hidden_layer_starts_as_a_linear_map(hidden):
    atoms, _, x = world(0)
    first, second = linear_start(atoms, hidden, np.random.default_rng(1))
    assert first.shape == (hidden, 8) and second.shape == (16, hidden)
    np.testing.assert_allclose(np.maximum(x @ first.T, 0) @ second.T, x @ atoms.T, atol=1e-10)


@pytest.mark.parametrize("hidden", [6, 7])
def test_few_units_start_as_the_linear_map_of_the_directions_they_span(hidden):
    atoms, _, x = world(0)
    first, second = linear_start(atoms, hidden, np.random.default_rng(1))
    assert first.shape == (hidden, 8) and second.shape == (16, hidden)
    onto = np.linalg.pinv(first[:3]) @ first[:3]  # three pairs; the seventh unit has no partner
    np.testing.assert_allclose(np.maximum(x @ first.T, 0) @ second.T, x @ onto @ atoms.T, atol=1e-10)


def test_the_untrained_perceptron_is_the_untrained_linear_autoencoder():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((50, 6)).astype(np.float32))
    deep = PerceptronModule(10, 24, 1.0, 6, stream(3, Role.SOLVER))
    plain = ReLUL1Module(10, 1.0, 6, stream(4, Role.SOLVER))
    with torch.no_grad():
        for name in ("decoder", "encoder"):
            getattr(plain, name).copy_(deep.decoder)
        np.testing.assert_allclose(deep.encode(x).numpy(), plain.encode(x).numpy(), atol=2e-5)  # float32
        losses = [
            {k: float(v) for k, v in m.losses(x, Step(0, 1, (torch.Generator(),))).items()} for m in (deep, plain)
        ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_untrained_encoders_are_the_correlations():
    atoms, _, x = world(1, n=40)
    for hidden in (0, 32):
        module = AmortisedModule(atoms, hidden, 0.1, stream(0, Role.SOLVER), supervised=False)
        codes = module.encode(torch.from_numpy(x.astype(np.float32))).detach().numpy()
        np.testing.assert_allclose(codes, np.maximum(x @ atoms.T, 0), atol=2e-5)  # float32


def test_supervision_reaches_the_least_error_and_a_hidden_layer_a_smaller_one():
    atoms, codes, x = world(2, n=6000)
    train, test = slice(0, 5000), slice(5000, None)
    errors = {}
    for hidden in (0, 64):
        fitted = Amortiser(hidden, training=SHORT).train_on(
            x[train], Codes(codes[train]), atoms, rng=stream(0, Role.SOLVER)
        )
        errors[hidden] = np.square(fitted.encode(x[test], atoms).toarray() - codes[test]).sum(1).mean()
        assert isinstance(fitted, Encoder) and fitted.status is Status.BUDGET_SPENT
    tied = np.square(np.maximum(x[test] @ atoms.T, 0) - codes[test]).sum(1).mean()
    unsupervised = Amortiser(training=SHORT).train(x[train], atoms, rng=stream(0, Role.SOLVER))
    plain = np.square(unsupervised.encode(x[test], atoms).toarray() - codes[test]).sum(1).mean()
    # The classes are nested, and each loss is minimised; margins are several times the spread between seeds.
    assert errors[64] < 0.7 * errors[0] and errors[0] < 0.8 * plain < 0.8 * tied


def test_unsupervised_training_lowers_the_objective_on_new_samples():
    atoms, _, x = world(3, n=3000)

    def objective(z):
        return (np.square(x[2000:] - z @ atoms).sum() + 0.2 * z.sum()) / 1000

    trained = Amortiser(32, 0.2, SHORT).train(x[:2000], atoms, rng=stream(0, Role.SOLVER))
    assert objective(trained.encode(x[2000:], atoms).toarray()) < 0.5 * objective(np.maximum(x[2000:] @ atoms.T, 0))


@pytest.mark.parametrize("hidden", [0, 20])
@pytest.mark.parametrize("supervised", [False, True])
def test_the_scale_of_the_samples_is_that_of_the_codes(hidden, supervised):
    atoms, codes, x = world(4, n=300)

    def fit(factor):
        solver = Amortiser(hidden, 0.2 * factor, BRIEF)
        rng = stream(1, Role.SOLVER)
        if supervised:
            return solver.train_on(factor * x, Codes(factor * codes), atoms, rng=rng)
        return solver.train(factor * x, atoms, rng=rng)

    small, large = fit(1.0).encode(x, atoms).toarray(), fit(1000.0).encode(1000 * x, atoms).toarray()
    np.testing.assert_allclose(large, 1000 * small, rtol=1e-3, atol=1e-2)  # trained in float32


def test_a_row_is_coded_alone_as_in_company_and_in_its_own_atoms_only():
    atoms, _, x = world(5, n=300)
    fitted = Amortiser(20, 0.2, BRIEF).train(x, atoms, rng=stream(0, Role.SOLVER))
    whole = fitted.encode(x, atoms).toarray()
    np.testing.assert_array_equal(fitted.encode(x[7:8], atoms).toarray(), whole[7:8])
    with pytest.raises(ValueError, match="trained for"):
        fitted.encode(x, atoms[::-1])


def test_arguments_are_checked():
    atoms, codes, x = world(6, n=20)
    with pytest.raises(ValueError, match="hidden"):
        Amortiser(-1)
    with pytest.raises(TypeError, match="training"):
        Amortiser(training=3)
    with pytest.raises(ValueError, match="codes must have shape"):
        Amortiser(training=BRIEF).train_on(x, Codes(codes[:, :3]), atoms, rng=stream(0, Role.SOLVER))
    with pytest.raises(ValueError, match="hidden"):
        PerceptronSAE(8, 0)
    with pytest.raises(ValueError, match="penalty"):
        PerceptronSAE(8, 4, penalty=-1.0)


def test_codes_to_learn_from_must_be_finite_and_sparse():
    atoms, codes, x = world(3, n=20)
    with pytest.raises(ValueError, match="codes must be finite"):
        Amortiser(training=BRIEF).train_on(x, Codes(np.full(codes.shape, np.nan)), atoms, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="codes must be Codes"):
        Amortiser(training=BRIEF).train_on(x, codes, atoms, rng=np.random.default_rng(0))
