"""The matching pursuit autoencoder: what every step keeps, its limits, its gradient, its ensembles."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.mp import MatchingPursuitSAE, _Residual, pursue
from sparsesim.solvers.neural.selection import largest_magnitude
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import MatchingPursuit

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def unit(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    values = rng(seed).standard_normal((rows, columns))
    return torch.from_numpy(values / np.linalg.norm(values, axis=1, keepdims=True))


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal(shape))


def samples(seed: int = 0, n: int = 400, d: int = 8, m: int = 12) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return ((r.random((n, m)) < 0.15) * r.uniform(0.5, 1.5, (n, m))) @ atoms


def pursued(x: torch.Tensor, atoms: torch.Tensor, steps: int, tolerance: float, signed: bool):
    residual, found = pursue(x, atoms, steps, tolerance, signed)
    return residual, found, found.codes(x, atoms.shape[-2])


def slow_pursuit(x: np.ndarray, atoms: np.ndarray, steps: int, tolerance: float, signed: bool) -> np.ndarray:
    """One row after the other, correlations anew at each step."""
    codes = np.zeros((len(x), len(atoms)))
    for row, code in zip(x, codes, strict=True):
        left = row.copy()
        for _ in range(steps):
            scores = atoms @ left
            j = int(np.argmax(np.abs(scores) if signed else scores))
            if np.linalg.norm(left) <= tolerance or (not signed and scores[j] <= 0):
                break
            code[j] += scores[j]
            left -= scores[j] * atoms[j]
    return codes


@pytest.mark.parametrize("signed", [False, True])
def test_every_step_is_orthogonal_to_what_it_leaves_and_the_energy_never_grows(signed):
    x, atoms = normal(50, 6), unit(15, 6)
    energy = x.square().sum(-1)
    for steps in range(1, 9):
        residual, found, codes = pursued(x, atoms, steps, 0.0, signed)
        # float64 sums of six terms of size one
        torch.testing.assert_close(codes @ atoms + residual, x, atol=1e-13, rtol=0)
        went, last = found.count == steps, torch.from_numpy(found.value[:, -1])
        row = atoms[found.chosen[:, -1]]
        assert went.any() and ((row * residual).sum(-1)[went].abs() < 1e-13).all()
        now = residual.square().sum(-1)
        torch.testing.assert_close(energy - now, last.square(), atol=1e-12, rtol=0)
        assert (signed and went.all()) or (found.value >= 0).all()
        energy = now


@pytest.mark.parametrize(("signed", "tolerance"), [(False, 0.0), (True, 0.0), (False, 0.9), (True, 0.4)])
def test_the_codes_are_those_of_a_pursuit_row_by_row(signed, tolerance):
    x, atoms = normal(40, 6), unit(25, 6)
    codes = pursued(x, atoms, 5, tolerance, signed)[2]
    expected = slow_pursuit(x.numpy(), atoms.numpy(), 5, tolerance, signed)
    np.testing.assert_allclose(codes.numpy(), expected, atol=1e-12)  # float64


def test_one_step_is_the_projection_on_the_best_atom():
    x, atoms = normal(30, 5), unit(9, 5)
    codes = pursued(x, atoms, 1, 0.0, False)[2]
    scores = x @ atoms.T
    best, index = scores.max(-1)
    expected = torch.zeros(30, 9, dtype=torch.float64)
    expected[torch.arange(30), index] = best.relu()
    torch.testing.assert_close(codes, expected, atol=1e-14, rtol=0)


def test_signed_pursuit_in_orthonormal_atoms_keeps_the_largest_magnitudes():
    x, atoms = normal(40, 7), torch.linalg.qr(normal(7, 7, seed=3))[0]
    for steps in (1, 3, 7):
        codes = pursued(x, atoms, steps, 0.0, True)[2]
        u = x @ atoms.T
        torch.testing.assert_close(codes, u * largest_magnitude(u, steps), atol=1e-13, rtol=0)


def test_a_pursuit_ends_where_nothing_but_rounding_is_left():
    atoms = unit(10, 6).float()
    x = torch.outer(torch.tensor([2.0, 3e4, 1e-4]), atoms[4])
    found = pursued(x, atoms, 8, 0.0, True)[1]
    assert (found.count == 1).all() and (found.chosen[:, 0] == 4).all()
    assert not pursued(torch.zeros(3, 6), atoms, 8, 0.0, True)[1].count.any()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_the_gradient_is_that_of_finite_differences(signed, lead):
    atoms = torch.stack([unit(7, 4, seed) for seed in range(2)]) if lead else unit(7, 4)
    x = normal(*lead, 5, 4)
    arguments = (x.requires_grad_(), atoms.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, d: _Residual.apply(x, d, 4, 0.3, signed), arguments)


def test_the_gradient_is_that_of_the_unrolled_steps():
    module = MatchingPursuitSAE(9, 3).module(5, rng()).double()
    module.bias.data = normal(5, seed=7) * 0.1
    x = normal(12, 5)
    loss = module.losses(x, Step(0, 1))["squared_error"]
    loss.backward()
    d, b = module.decoder.detach().clone().requires_grad_(), module.bias.detach().clone().requires_grad_()
    r = x - b
    for _ in range(3):
        row = d[(r @ d.T).argmax(-1)]
        r = r - ((row * r).sum(-1).relu())[:, None] * row
    expected = r.square().sum(-1).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(module.decoder.grad, d.grad)
    torch.testing.assert_close(module.bias.grad, b.grad)


def test_inference_may_take_more_steps_and_never_reconstructs_worse_for_it():
    x = samples()
    fitted = MatchingPursuitSAE(12, 2, training=SHORT).fit(x, rng=rng())
    errors, module = [], fitted.encoder.module
    for steps in (1, 2, 4, 8, 16):
        module.inference_steps = steps
        codes = fitted.encode(x)
        assert np.diff(codes.indptr).max() <= steps and codes.data.min() > 0
        errors.append(np.square(fitted.decode(codes) - x).sum(axis=1))
    # float32 codes of samples of size one
    assert all((after <= before + 1e-5).all() for before, after in itertools.pairwise(errors))
    assert errors[-1].sum() < 0.5 * errors[0].sum()
    module.inference_steps, module.tolerance = 6, 0.8
    inside = (x - fitted.bias) / fitted.encoder.scale
    expected = slow_pursuit(inside, fitted.atoms, 6, 0.8, False) * fitted.encoder.scale
    codes = fitted.encode(x).toarray()
    # float32 against float64; a stop within rounding of the tolerance may fall otherwise in one of 400 rows
    assert (np.abs(codes - expected).max(axis=1) > 1e-4).sum() <= 1
    assert np.unique(np.count_nonzero(codes, axis=1)).size > 3, "the number of steps must vary between samples"


def test_the_encoder_is_classical_matching_pursuit_in_the_learned_atoms():
    x = samples(1)
    training = dataclasses.replace(SHORT, normalise=False)
    fitted = MatchingPursuitSAE(12, 3, signed=True, learn_bias=False, training=training).fit(x, rng=rng())
    assert not fitted.bias.any()
    classical = MatchingPursuit(3).encode(x, fitted.atoms.astype(float)).toarray()
    ours = fitted.encode(x).toarray()
    # float32; a choice between two nearly equal projections may fall otherwise once in a few thousand
    different = np.abs(ours - classical).max(axis=1) > 1e-4
    assert different.mean() < 0.01


def test_an_ensemble_of_three_is_three_separate_fits():
    solvers = [
        MatchingPursuitSAE(12, 3, training=dataclasses.replace(SHORT, learning_rate=rate))
        for rate in (3e-3, 3e-3, 1e-3)
    ]
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
        (lambda: MatchingPursuitSAE(5, 0), ValueError),
        (lambda: MatchingPursuitSAE(5, 2, inference_steps=0), ValueError),
        (lambda: MatchingPursuitSAE(5, 2, tolerance=-1.0), ValueError),
        (lambda: MatchingPursuitSAE(5, 2, signed=1), TypeError),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build, error):
    with pytest.raises(error, match="must"):
        build()
