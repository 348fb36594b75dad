"""Gradients that are left as products and formed row by row, and what a training keeps no copies of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sparsesim._source import Rows, Shared, SideRows
from sparsesim.kernels.training import adam_rows_
from sparsesim.solvers.neural.adam import Adam
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.multi_topk import MultiTopK
from sparsesim.solvers.neural.sink import Pending
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.watch import Watch, _finite

TWENTY = Training(steps=20, batch_size=64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def slow_adam_rows_(factors, state, radial, slowness, constants):
    """Form the whole gradient, then do what the kernel does row by row, in float64."""
    indptr, columns, data, table = (np.asarray(part) for part in factors)
    weights, mean, square = state
    rate, eps, new, keep, fresh = (float(c) for c in constants)
    gradient = np.zeros(weights.shape)
    for j in range(len(weights)):
        for t in range(indptr[j], indptr[j + 1]):
            gradient[j] += data[t] * table[columns[t]].astype(np.float64)
    if radial:
        gradient -= (gradient * weights).sum(axis=1, keepdims=True) * weights
    mean[:] = mean + new * (gradient - mean)
    square[:] = keep * square + fresh * gradient**2
    slow = np.ones(weights.size) if not len(slowness) else slowness
    weights[:] = weights - rate * mean / ((np.sqrt(square) + eps) * slow.reshape(weights.shape))


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("alike", [False, True])
def test_rows_are_moved_as_by_a_gradient_that_is_formed_as_a_whole(radial, alike):
    r, rows, d, n = rng(), 21, 13, 9  # more rows than a thread takes at once, some of them without an entry
    weights, mean = r.standard_normal((2, rows, d)).astype(np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    square = r.random((rows, d)).astype(np.float32)
    counts = r.integers(0, 7, rows) * (np.arange(rows) % 4 > 0)
    factors = (
        np.concatenate([[0], np.cumsum(counts)]),
        r.integers(0, n, counts.sum()).astype(np.int32),
        r.standard_normal(counts.sum()).astype(np.float32),
        r.standard_normal((n, d)).astype(np.float32),
    )
    slowness = np.empty(0, np.float32) if alike else r.uniform(1, 3, rows * d).astype(np.float32)
    constants = np.array([0.01, 1e-6, 0.1, 0.99, 0.01], np.float32)
    expected = tuple(part.astype(np.float64) for part in (weights, mean, square))
    slow_adam_rows_(factors, expected, radial, slowness, constants)
    adam_rows_(factors, (weights, mean, square), radial, slowness, constants)
    for found, wanted in zip((weights, mean, square), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)  # some dozens of float32 roundings


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    "solver",
    [
        TopK(24, 3, training=TWENTY),
        TopK(24, 3, dead_after=3, training=TWENTY),  # AuxK adds to the same gradients
        MultiTopK(24, 3, training=TWENTY),  # two products for one gradient
        Matryoshka(24, 3, training=TWENTY),
    ],
    ids=["plain", "dead", "twice", "nested"],
)
def test_a_gradient_that_is_left_as_a_product_gives_the_bits_of_one_that_is_formed(monkeypatch, solver, members):
    x = rng().standard_normal((200, 8)) * np.linspace(2, 0.1, 8)
    rates = [dataclasses.replace(solver.training, learning_rate=1e-3 * (e + 1)) for e in range(members)]
    solvers = [dataclasses.replace(solver, training=training) for training in rates]

    def trained() -> list[np.ndarray]:
        fits = fit_together(solvers, [Rows(x)] * members, [rng(e) for e in range(members)])
        return [tensor.numpy() for fitted in fits for tensor in fitted.encoder.module.state_dict().values()]

    left = [0]
    leave = Pending.leave

    def counted(self, factors) -> bool:
        done = leave(self, factors)
        left[0] += done
        return done

    monkeypatch.setattr(Pending, "leave", counted)
    found = trained()
    assert left[0] >= 2 * TWENTY.steps  # encoder and decoder, in each step
    monkeypatch.setattr(Pending, "leave", lambda self, factors: False)
    for one, other in zip(found, trained(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_gradient_is_formed_once_something_is_added_to_it():
    module = TopK(6, 2).module(4, rng())
    Adam(module, Training(steps=2), ensemble=False)
    pending = module.encoder.pending
    one = (np.arange(7), np.zeros(6, np.int32), np.ones(6, np.float32), np.full((1, 4), 2.0, np.float32))
    assert pending.leave(one) and not pending.leave(one)  # the second product is for the caller to multiply out
    assert torch.all(module.encoder.grad == 0)
    (3.0 * module.encoder).sum().backward()
    assert torch.all(module.encoder.grad == 5.0) and pending.factors is None and not pending.leave(one)
    pending.clear()
    assert pending.leave(one)


@pytest.mark.parametrize("option", [{"grad_clip": 1.0}, {"weight_decay": 0.1}])
def test_a_gradient_is_formed_where_its_norm_is_asked_for_or_weights_move_before_it_is_used(option):
    module = TopK(6, 2).module(4, rng())
    Adam(module, Training(steps=2, **option), ensemble=False)
    assert module.encoder.pending is None


def test_released_parameters_are_as_before():
    module = TopK(6, 2).module(4, rng())
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimiser = Adam(module, Training(steps=2), ensemble=False)
    optimiser.release()
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name]) and p.grad is None and not hasattr(p, "sink") and not hasattr(p, "pending")
        p.sum().backward()  # no hook is left that speaks of a step


def test_what_a_watch_keeps_of_a_step_lies_where_the_first_step_made_room():
    module = TopK(6, 2).module(4, rng())
    watch = Watch(module, 1, steps=3)
    seen = []
    for index, value in enumerate((5.0, 7.0, 9.0)):
        loss = torch.tensor(value)
        watch.look(index, {"squared_error": loss, "loss": loss})
        loss.fill_(-1.0)  # what a step leaves behind is not what is kept
        seen.append(watch.points[-1][1]["loss"].data_ptr())
    assert np.diff(seen).tolist() == [4, 4]  # one block of float32
    assert watch.finish()[0].trace["loss"] == (5.0, 7.0, 9.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_member_is_sound_if_all_its_numbers_are_finite(bad):
    values = torch.full((3, 2, 4), 3e38)
    values[1, 1, 2] = bad
    assert _finite(values).tolist() == [True, False, True]
    assert (
        _finite(torch.zeros((2, 0))).tolist() == [True, True] == _finite(torch.ones((2, 3), dtype=torch.int64)).tolist()
    )


class Counting:
    """Rows that count how many batches were drawn of them."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.drawn = x, 0

    @property
    def dim(self) -> int:
        return self.x.shape[1]

    def batches(self, size, rng):
        for batch in Rows(self.x).batches(size, rng):
            self.drawn += 1
            yield batch


def test_models_that_share_a_stream_are_what_they_would_be_alone_on_it_and_draw_it_once():
    source = Counting(rng().standard_normal((400, 8)) * np.linspace(2, 0.1, 8))
    shared, spec = Shared(source, rng(7)), TopK(12, 2, training=TWENTY)
    apart = Shared(source, rng(8))
    alone = [spec.fit_stream(shared, rng=rng(e)) for e in range(3)]
    source.drawn = 0
    fits = fit_together([spec] * 4, [shared, shared, apart, shared], [rng(e) for e in (0, 1, 3, 2)])
    assert source.drawn == 2 * (1 + TWENTY.steps)  # of two streams: one from which scale and mean are estimated
    for one, other in zip(alone, (fits[0], fits[1], fits[3]), strict=True):
        np.testing.assert_array_equal(one.bias.shape, other.bias.shape)
        # Twenty steps in float32, whose products are summed in another order.
        np.testing.assert_allclose(other.trace["loss"], one.trace["loss"], rtol=1e-4)
    # The same start on other batches is another training.
    other = spec.fit_stream(apart, rng=rng(0))
    assert np.abs(np.array(other.trace["loss"]) - alone[0].trace["loss"]).max() > 1e-3


def test_a_shared_stream_begins_anew_for_everyone_who_reads_it_alone():
    shared = Shared(Rows(rng().standard_normal((50, 3))), rng(1))
    first, second = shared.batches(20, rng(2)), shared.batches(20, rng(3))
    for _ in range(5):
        np.testing.assert_array_equal(next(first), next(second))
    later = shared.batches_after(5, 20, rng(4))
    np.testing.assert_array_equal(next(later), next(first))


def test_a_stream_with_side_information_cannot_be_shared():
    with pytest.raises(TypeError, match="without side information"):
        Shared(SideRows(np.ones((3, 2)), np.ones((3, 1))), rng())
