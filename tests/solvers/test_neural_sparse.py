"""The sparse layer against dense autograd, brute force and finite differences."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsesim._source import Rows
from sparsesim.kernels.training import kernel_threads
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.module import Step, stack
from sparsesim.solvers.neural.pieces import squared_error
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.sparse import (
    HostSelection,
    decoded,
    reconstructed,
    select_batches,
    select_rows,
    selection_of,
    values_at,
)
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal(shape)).to(dtype)


def dense(selection: HostSelection, values=None) -> np.ndarray:
    """The selection as a mask, or with values as codes, ``(..., B, p)``."""
    members, batch, p = selection.members
    out = np.zeros((members * batch, members * p))
    for row in range(members * batch):
        place = slice(selection.indptr[row], selection.indptr[row + 1])
        out[row, selection.indices[place]] = 1.0 if values is None else values[place]
    parts = [out[e * batch : (e + 1) * batch, e * p : (e + 1) * p] for e in range(members)]
    assert sum(np.count_nonzero(part) for part in parts) == np.count_nonzero(out), "an index left its member's block"
    return np.stack(parts).reshape(selection.shape)


def by_sorting(u: np.ndarray, count: int) -> np.ndarray:
    flat = u.ravel()
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))[:count]
    mask = np.zeros(len(flat))
    mask[[i for i in order if flat[i] > 0]] = 1.0
    return mask.reshape(u.shape)


# Few different values, so that ties, zeros of both signs, subnormal numbers and infinity all meet the boundary.
GRID = [-np.inf, -2.0, -0.0, 0.0, 1e-42, 0.5, 1.0, 1.0 + 2**-23, 3.0, np.inf]
batches = st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 70), st.integers(0, 10**6), st.booleans())


@given(batches, st.data())
def test_selections_are_those_of_a_sort_by_value_then_index(case, data):
    members, batch, p, seed, few = case
    r = rng(seed)
    u = (r.choice(GRID, (members, batch, p)) if few else r.standard_normal((members, batch, p))).astype(np.float32)
    k = torch.tensor([data.draw(st.integers(1, p)) for _ in range(members)])
    for magnitude in (False, True):
        score = np.abs(u) if magnitude else u
        rows = dense(select_rows(torch.from_numpy(u), k, magnitude=magnitude))
        whole = dense(select_batches(torch.from_numpy(u), k, magnitude=magnitude))
        for e in range(members):
            expected = np.stack([by_sorting(row, int(k[e])) for row in score[e]])
            np.testing.assert_array_equal(rows[e], expected)
            np.testing.assert_array_equal(whole[e], by_sorting(score[e], batch * int(k[e])))
            np.testing.assert_array_equal(dense(selection_of(torch.from_numpy(expected))), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 25, 97, 300])
def test_wide_rows_select_what_topk_does(dtype, k):
    u = normal(k, 50, 700, dtype=dtype)
    u[::7] *= 100.0  # the guess from the row before is far off
    u[3], u[4] = -u[3].abs(), 0.0
    chosen = dense(select_rows(u, torch.tensor(k)))
    expected = np.zeros(u.shape)
    np.put_along_axis(expected, u.topk(k).indices.numpy(), 1.0, axis=1)
    np.testing.assert_array_equal(chosen, expected * (u.numpy() > 0))


def layer(shape, seed=0):
    """x, encoder, encoder bias, bias and decoder of an ensemble (or a single model) in float64, with a selection."""
    lead, (batch, d, p) = shape[:-3], shape[-3:]
    shapes = ((batch, d), (p, d), (p,), (d,), (p, d))
    tensors = [normal(seed + i, *lead, *each).requires_grad_() for i, each in enumerate(shapes)]
    x, encoder, threshold, bias, _ = tensors
    u = ((x - bias.unsqueeze(-2)) @ encoder.mT + threshold.unsqueeze(-2)).detach()
    return tensors, u, select_rows(u, torch.tensor(2))


@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 4, 3, 5)])
def test_gradients_of_the_sparse_layer_pass_gradcheck(shape):
    (x, encoder, threshold, bias, decoder), u, chosen = layer(shape)

    def values(*inputs):
        y, w, b, c = inputs
        fresh = ((y - c.unsqueeze(-2)) @ w.mT + b.unsqueeze(-2)).detach()
        return values_at(y, w, b, c, fresh, chosen)

    assert torch.autograd.gradcheck(values, (x, encoder, threshold, bias))
    weights = values(x, encoder, threshold, bias).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda z, rows: decoded(z, rows, chosen), (weights, decoder))
    np.testing.assert_array_equal(weights.detach().numpy(), u.reshape(-1).numpy()[np.flatnonzero(dense(chosen))])


@pytest.mark.parametrize("kind", [TopK, BatchTopK])
def test_a_step_has_the_loss_and_gradients_of_dense_autograd(kind):
    module = kind(30, 4).module(8, rng()).double()
    module.bias.data, module.encoder_bias.data = normal(1, 8), 0.1 * normal(2, 30)
    x = normal(3, 64, 8)
    sum(module.losses(x, Step(0, 10)).values()).backward()
    ours = {name: p.grad.clone() for name, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = None
    u = module.pre_activations(x)
    loss = squared_error(x, module.decode(u * module.select(u)))
    loss.backward()
    for name, p in module.named_parameters():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-9, atol=1e-9)  # float64 sums of a hundred terms


def test_the_gradient_goes_to_the_sink_of_a_parameter_and_is_added_there():
    module = TopK(30, 4).module(8, rng())
    x = normal(3, 64, 8, dtype=torch.float32)
    sum(module.losses(x, Step(0, 10)).values()).backward()
    expected = {name: p.grad.clone() for name, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.ones_like(p)
        p.sink = p.grad
    sum(module.losses(x, Step(0, 10)).values()).backward()
    for name, p in module.named_parameters():
        assert p.grad is p.sink
        torch.testing.assert_close(p.grad, expected[name] + 1.0, rtol=1e-5, atol=1e-5)  # float32, sums begun at one


def test_auxk_from_the_dead_rows_alone_is_auxk_from_all_of_them():
    members = [TopK(30, 2, dead_after=10).module(8, rng(e)).double() for e in range(2)]
    both = stack(members)
    dead = torch.zeros(2, 30, dtype=torch.float64)
    dead[0, [3, 4, 17]], dead[1, 5:20] = 1.0, 1.0
    x = normal(1, 2, 64, 8)
    for module, mask, y in ((both, dead, x), (members[0], dead[0], x[0]), (members[1], dead[1], x[1])):
        module.dead.dead.copy_(mask)
        module.dead.any_dead = True
        gradients = []
        for form in ("rows", "all"):
            for p in module.parameters():
                p.grad = None
            u = module.pre_activations(y)
            reconstruction = module.decode(u * module.select(u))
            if form == "rows":
                loss = module.dead.revive_rows(module, y, reconstruction)
            else:
                loss = module.dead.revive(u, y, reconstruction, module.decoder)
            assert (loss > 0).all()
            loss.sum().backward()
            gradients.append([loss.detach(), *(p.grad for p in module.parameters())])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)  # float64


def test_members_may_differ_in_k():
    x = rng(7).standard_normal((500, 6))
    short = Training(steps=40, batch_size=32)
    for kind in (TopK, BatchTopK):
        solvers = [kind(12, k, dead_after=15, training=short) for k in (1, 3, 5)]
        together = fit_together(solvers, [Rows(x)] * 3, [rng(e) for e in range(3)])
        for e, fitted in enumerate(together):
            alone = solvers[e].fit_stream(Rows(x), rng=rng(e))
            # Batched products sum in another order; 40 steps of Adam, as in test_neural_training.
            np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        counts = [np.diff(fitted.encode(x).indptr).mean() for fitted in together]
        assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("kind", [TopK, BatchTopK])
def test_the_number_of_threads_changes_no_bit(kind):
    x = rng(1).standard_normal((256, 64))
    solver = kind(512, 5, training=Training(steps=4, batch_size=256))
    module, atoms = solver.module(64, rng()), []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        with kernel_threads(count):
            chosen = module.choose(module.pre_activations(torch.from_numpy(x.astype(np.float32))))
            weights = torch.from_numpy(rng(2).standard_normal(len(chosen.indices)).astype(np.float32))
            atoms.append((chosen.indices, decoded(weights, module.decoder.detach(), chosen).numpy()))
    np.testing.assert_array_equal(atoms[0][0], atoms[1][0])
    np.testing.assert_array_equal(atoms[0][1], atoms[1][1])


def test_parts_of_a_selection_and_its_extremes():
    u = normal(5, 2, 20, 9, dtype=torch.float32)
    chosen = select_rows(u, torch.tensor([2, 4]))
    values = torch.from_numpy(u.numpy()[dense(chosen) > 0])
    part, places = chosen.restricted(3, 7)
    mask = dense(chosen)
    mask[..., :3] = mask[..., 7:] = 0
    np.testing.assert_array_equal(dense(part), mask)
    np.testing.assert_array_equal(values[places].numpy(), u.numpy()[mask > 0])
    np.testing.assert_array_equal(chosen.counts().numpy(), dense(chosen).sum(-2))
    expected = [u[e].numpy()[dense(chosen)[e] > 0].min() for e in range(2)]
    np.testing.assert_array_equal(chosen.smallest(values).numpy(), expected)
    nothing = select_rows(-u.abs(), torch.tensor(2))
    assert len(nothing.indices) == 0 and torch.isinf(nothing.smallest(values[:0])).all()


def test_a_wide_fit_is_that_of_the_dense_formula():
    """A whole training against the same loop with dense masks, as long as no selection is decided by rounding."""
    x = rng(1).standard_normal((512, 16))
    solver = TopK(64, 4, training=Training(steps=15, batch_size=128, learning_rate=1e-3))

    class Dense(type(solver.module(16, rng()))):
        def losses(self, x, step):
            u = self.pre_activations(x)
            return {"squared_error": squared_error(x, self.decode(u * self.select(u)))}

    sparse = solver.fit(x, rng=rng(4))

    @dataclasses.dataclass(frozen=True)
    class DenseTopK(type(solver)):
        def module(self, dim, rng):
            return Dense(self, dim, rng)

    reference = DenseTopK(64, 4, training=solver.training).fit(x, rng=rng(4))
    np.testing.assert_allclose(sparse.atoms, reference.atoms, atol=1e-5)  # float32 over 15 steps of 1e-3
    np.testing.assert_allclose(sparse.trace["loss"], reference.trace["loss"], rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 4, 3, 5)])
def test_decoding_and_judging_in_one_pass_has_the_gradients_of_both(shape):
    (x, _, _, bias, decoder), u, chosen = layer(shape)
    values = torch.from_numpy(u.numpy()[dense(chosen) > 0]).requires_grad_()
    x = x.detach()

    def together(z, rows, shift):
        return reconstructed(x, z, rows, shift, chosen)

    assert torch.autograd.gradcheck(together, (values, decoder, bias))
    error, out = together(values, decoder, bias)
    apart = decoded(values, decoder, chosen) + bias.unsqueeze(-2)
    np.testing.assert_array_equal(out.detach().numpy(), apart.detach().numpy())
    torch.testing.assert_close(error, squared_error(x, apart), rtol=1e-14, atol=0)  # sums of twelve squares
    # a loss of this error alone takes the gradients found in the pass itself
    ours = torch.autograd.grad(error.sum(), (values, decoder, bias))
    theirs = torch.autograd.grad(squared_error(x, apart).sum(), (values, decoder, bias))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
