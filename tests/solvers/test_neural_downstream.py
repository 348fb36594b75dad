"""Frozen maps: their gradients against autograd, their relevance against finite steps, and what they cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim.solvers.neural.downstream import LinearReadout, TanhReadout

MAPS = [LinearReadout(3), TanhReadout(3, hidden=5), TanhReadout(2, ((1.0, 0.0, 2.0, 0.0),), seed=4)]
each_map = pytest.mark.parametrize("spec", MAPS, ids=lambda spec: type(spec).__name__)


@each_map
def test_the_gradient_is_that_of_autograd_alone_and_in_an_ensemble(spec):
    frozen = spec.module(4).double()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 7, 4))).requires_grad_()
    (slow,) = torch.autograd.grad(0.5 * frozen.outputs(x).square().sum(), x)
    torch.testing.assert_close(frozen.gradient(x), slow, rtol=1e-12, atol=1e-13)  # float64 rounding
    torch.testing.assert_close(frozen.gradient(x[1]), slow[1], rtol=1e-12, atol=1e-13)
    assert torch.equal(frozen.activations(x)[-1], frozen.outputs(x)) and not list(frozen.parameters())


@each_map
def test_relevance_is_how_far_the_outputs_move_with_a_small_step_along_an_atom(spec):
    atoms = np.random.default_rng(1).standard_normal((6, 4))
    frozen, step = spec.module(4).double(), 1e-5
    moved = [frozen.outputs(torch.from_numpy(sign * step * atoms)).numpy() for sign in (1, -1)]
    # The weights of the module are float32; the error of the central difference is of order step^2.
    numeric = np.linalg.norm(moved[0] - moved[1], axis=1) / (2 * step)
    np.testing.assert_allclose(spec.relevance(atoms), numeric, rtol=1e-5)


def test_a_map_of_some_directions_is_blind_to_the_features_they_are_orthogonal_to():
    atoms = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 5)))[0]
    directions = tuple(tuple(row) for row in np.linalg.pinv(atoms).T[:2])
    for spec in (LinearReadout(3, directions), TanhReadout(3, directions)):
        relevance = spec.relevance(atoms)
        assert relevance[:2].min() > 0.1 and relevance[2:].max() < 1e-12
        x = torch.from_numpy(atoms[2:].copy()).float()
        np.testing.assert_allclose(spec.module(5).outputs(x).numpy(), 0.0, atol=1e-6)  # float32 of unit rows


def test_the_weights_are_a_function_of_the_seed_and_have_unit_gain():
    assert np.array_equal(LinearReadout(400).jacobian(50), LinearReadout(400).jacobian(50))
    assert not np.allclose(LinearReadout(4).jacobian(5), LinearReadout(4, seed=1).jacobian(5))
    # 20000 normal weights of variance 1/50: the standard error of their variance is 1 %.
    assert LinearReadout(400).jacobian(50).var() == pytest.approx(1 / 50, rel=0.05)


def test_bad_maps_are_refused_by_name():
    with pytest.raises(ValueError, match="outputs"):
        LinearReadout(0)
    with pytest.raises(ValueError, match="hidden"):
        TanhReadout(1, hidden=0)
    with pytest.raises(TypeError, match="directions"):
        LinearReadout(1, np.eye(2))
    with pytest.raises(ValueError, match="columns"):
        LinearReadout(1, ((1.0, 0.0),)).module(3)
