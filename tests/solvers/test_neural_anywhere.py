"""Every neural solver takes its steps on tensors that have no values: away from the host nothing is asked of a number.

The meta device computes shapes only. A step that reads a number, converts to numpy, takes a shape from the data or
mixes in a tensor of the host fails there, and would wait, or fail, on a GPU.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsesim._identity import key
from sparsesim._source import Rows
from sparsesim.solvers.neural import train
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.device.graphs import Replays
from sparsesim.solvers.neural.module import SparseModule, Step, stack, tensors
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.resampling import Resampling
from sparsesim.solvers.neural.solver import NeuralSolver, fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from tests.test_conformance import SOLVERS

NEURAL = [solver for solver in SOLVERS if isinstance(solver, NeuralSolver)]
WAITING = {"FeatureAligned"}  # its matching is an assignment problem, which is solved on the host
DIM, BATCH, TOTAL = 8, 16, 40
STEPS = (0, 9, 19, 20, 30)  # the first; renewals of dead latents and of resampled ones; later phases


class Watchful(TorchDispatchMode):
    """Counts operations, and refuses those that mix devices; numbers of the host without an axis may take part."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        found = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        devices = {each.device.type for each in found if each.ndim or each.device.type != "cpu"}
        assert len(devices) < 2, f"{func} mixes {sorted(devices)}"
        return func(*args, **(kwargs or {}))


class Moments:
    """An optimiser that forgets as the real one does, and does nothing else."""

    def forget(self, parameter: torch.nn.Parameter, where: torch.Tensor) -> None:
        torch.zeros_like(parameter).masked_fill_(where, 0.0)


def model(solver: NeuralSolver, members: int) -> SparseModule:
    parts = [solver.module(DIM, np.random.default_rng(e)) for e in range(members)]
    return parts[0] if members == 1 else stack(parts)


def take_steps(module: SparseModule, x: torch.Tensor, members: int) -> None:
    generators = tuple(torch.Generator().manual_seed(e) for e in range(members))
    for index in STEPS:
        terms = module.losses(x, Step(index, TOTAL, generators))
        assert {term.device for term in terms.values()} == {x.device}
        sum(terms.values()).sum().backward()
        with torch.no_grad():
            module.before_step()
            module.after_step(Moments())


def on_meta(solver: NeuralSolver, members: int, monkeypatch) -> tuple[SparseModule, torch.Tensor]:
    monkeypatch.setattr(place.Later, "read", lambda self, condition: True)  # all branches are taken
    module = model(solver, members).train()
    place.move_(module, torch.device("meta"))
    lead = () if members == 1 else (members,)
    return module, torch.empty((*lead, BATCH, DIM + module.side), device="meta")


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("solver", NEURAL, ids=lambda solver: type(solver).__name__)
def test_a_step_needs_no_values_and_mixes_no_devices(solver, members, monkeypatch):
    module, x = on_meta(solver, members, monkeypatch)
    if type(solver).__name__ in WAITING:
        with pytest.raises(NotImplementedError, match="meta"):
            take_steps(module, x, members)
        return
    with Watchful():
        take_steps(module, x, members)
        with torch.no_grad():
            codes = module.eval().encode(x)
    assert codes.device == x.device


def gradients(module: SparseModule, x: torch.Tensor, index: int) -> dict[str, torch.Tensor]:
    """The loss terms and the gradients of one step in training."""
    members = 1 if x.ndim == 2 else len(x)
    generators = tuple(torch.Generator().manual_seed(e) for e in range(members))
    terms = module.losses(x, Step(index, TOTAL, generators))
    sum(terms.values()).sum().backward()
    with torch.no_grad():
        module.before_step()
    found = {f"loss of {name}": term.detach() for name, term in terms.items()}
    return found | {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("solver", NEURAL, ids=lambda solver: type(solver).__name__)
def test_losses_gradients_and_codes_away_from_the_host_are_those_on_it(solver, monkeypatch):
    members = 2
    here = model(solver, members).double().train()
    for part in here.modules():
        if hasattr(part, "any_dead"):  # some dead latents, so that AuxK takes part
            part.dead[..., ::5], part.any_dead = 1.0, True
    there = copy.deepcopy(here)
    lead = () if members == 1 else (members,)
    rng = np.random.default_rng(7)
    side = np.abs(rng.integers(0, 2, (*lead, BATCH, here.side)))
    x = torch.from_numpy(np.concatenate([rng.standard_normal((*lead, BATCH, DIM)), side], axis=-1))
    codes = here.eval().encode(x).detach()  # first: thresholds are smallest codes, and rounding would decide ties
    expected = gradients(here.train(), x, 21)
    monkeypatch.setattr(place, "on_host", lambda tensor: False)
    torch.testing.assert_close(there.eval().encode(x).detach(), codes, rtol=1e-9, atol=1e-9)
    found = gradients(there.train(), x, 21)
    assert found.keys() == expected.keys()
    for name, value in expected.items():  # float64 sums of a few hundred terms in another order
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9)


def test_the_operations_of_a_step_do_not_grow_with_the_batch_or_the_width(monkeypatch):
    counts = []
    for batch, width, k in ((16, 24, 2), (64, 96, 8)):
        module, _ = on_meta(TopK(width, k), 1, monkeypatch)
        x = torch.empty((batch, DIM), device="meta")
        take_steps(module, x, 1)  # tables of a shape are made once
        with Watchful() as watchful:
            take_steps(module, x, 1)
        counts.append(watchful.count / len(STEPS))
    assert counts[0] == counts[1]


SHORT = Training(steps=25, batch_size=BATCH, grad_clip=5.0, weight_decay=0.01)
TRAINED = [
    TopK(12, 3, dead_after=5, training=SHORT),
    BatchTopK(12, 2.5, training=SHORT),
    MatchingPursuitSAE(12, 3, training=SHORT),
    ReLUL1(12, training=SHORT, resampling=Resampling(every=10)),
    GaussianVAE(5, training=SHORT),
]


@pytest.mark.parametrize("solver", TRAINED, ids=lambda solver: type(solver).__name__)
def test_a_training_away_from_the_host_is_the_one_on_it_and_has_the_same_bits_again(solver, monkeypatch):
    other = replace(solver, training=replace(SHORT, learning_rate=2e-3))
    x = np.random.default_rng(0).standard_normal((200, DIM))

    def fits():
        rngs = [np.random.default_rng(seed) for seed in (1, 2)]
        return fit_together([solver, other], [Rows(x), Rows(x)], rngs)

    here = fits()
    monkeypatch.setattr(place, "on_host", lambda tensor: False)
    there, again = fits(), fits()
    for a, b, c in zip(here, there, again, strict=True):
        np.testing.assert_array_equal(b.atoms, c.atoms)
        # float32 rounding grows in Adam, which normalises gradients that are nearly zero: to 2e-4 in 20 steps elsewhere
        np.testing.assert_allclose(b.atoms, a.atoms, atol=2e-3)
        np.testing.assert_allclose(b.trace["loss"], a.trace["loss"], rtol=2e-3)


def test_what_is_not_here_is_refused_when_it_is_needed_and_not_before():
    there = TopK(12, 3, training=Training(device="cuda:7", precision="fast"))
    assert key(there) != key(replace(there, training=Training())) == key(TopK(12, 3))
    with pytest.raises(ValueError, match=r"device='cuda:7' is not here.*Leave device='cpu'"):
        there.fit(np.zeros((4, 3)), rng=np.random.default_rng(0))
    for wrong, message in (
        ({"device": "gpu"}, "'cpu', 'cuda' or a numbered one"),
        ({"device": "cuda", "precision": "bf16"}, "'reference', 'fast', 'fastest'; got 'bf16'"),
        ({"precision": "fast"}, "device is 'cpu'"),
    ):
        with pytest.raises(ValueError, match=message):
            Training(**wrong)


@pytest.mark.parametrize(("precision", "inside"), [("reference", "highest"), ("fast", "high"), ("fastest", "high")])
def test_the_precision_of_products_is_restored_even_after_an_error(precision, inside):
    before = torch.get_float32_matmul_precision()
    with pytest.raises(KeyError), place.products(torch.device("cuda"), precision):
        assert torch.get_float32_matmul_precision() == inside
        raise KeyError
    with pytest.raises(ValueError, match="graphs=True records CUDA graphs"):
        Training(graphs=True)
    with place.products(torch.device("cpu"), "reference"):
        assert torch.get_float32_matmul_precision() == before
    assert torch.get_float32_matmul_precision() == before


class Again:
    """A step that is taken again as it was: with the index it was recorded at, on memory of its own."""

    def __init__(self, body, index, x):
        self.body, self.index, self.x, self.terms, self.count = body, index, x.clone(), {}, 0

    def replay(self):
        held = {name: t.data_ptr() for name, t in tensors(self.body.module).items()}
        fresh = self.body(self.index, self.x)
        assert held == {name: t.data_ptr() for name, t in tensors(self.body.module).items()}, "a tensor has moved"
        self.terms = self.terms or {name: torch.empty_like(term) for name, term in fresh.items()}
        for name, term in fresh.items():
            self.terms[name].copy_(term)
        self.count += 1


REPEATING = {"TopK", "AbsTopK", "BatchTopK", "MatchingPursuitSAE"}


@pytest.mark.parametrize("solver", NEURAL, ids=lambda solver: type(solver).__name__)
def test_solvers_that_repeat_their_steps_are_those_known_to(solver):
    assert (model(solver, 1).repeats(5) is not None) == (type(solver).__name__ in REPEATING)


@pytest.mark.parametrize("kind", [TopK, AbsTopK, BatchTopK, MatchingPursuitSAE])
def test_steps_that_are_recorded_and_replayed_give_the_bits_of_steps_taken_one_by_one(kind, monkeypatch):
    made: list[Again] = []
    monkeypatch.setattr(place, "on_host", lambda tensor: False)
    x = np.random.default_rng(0).standard_normal((200, DIM))
    rare = {} if kind is MatchingPursuitSAE else {"dead_after": 10}  # so that AuxK begins within the training
    solver = kind(200, 1, training=Training(steps=61, batch_size=BATCH), **rare)
    expected = solver.fit(x, rng=np.random.default_rng(1))

    def record(body, index, batch):
        made.append(Again(body, index, batch))
        return made[-1]

    monkeypatch.setattr(train, "Replays", partial(Replays, record=record))
    monkeypatch.setattr(place, "check", lambda *names: None)  # a training on the CPU refuses graphs
    graphed = replace(solver, training=replace(solver.training, graphs=True))
    found = graphed.fit(x, rng=np.random.default_rng(1))
    assert found.trace == expected.trace
    np.testing.assert_array_equal(found.atoms, expected.atoms)
    aux = any(expected.trace.get("aux", ()))
    assert len(made) == 1 + aux and aux == (kind is not MatchingPursuitSAE)
    assert sum(each.count for each in made) >= 61 - 6 - 3 * len(made)  # all but renewals and the first of each kind
