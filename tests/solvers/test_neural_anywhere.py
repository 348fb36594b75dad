"""Every neural solver takes its steps on tensors that have no values: away from the host nothing is asked of a number.

The meta device computes shapes only. A step that reads a number, converts to numpy, takes a shape from the data or
mixes in a tensor of the host fails there, and would wait, or fail, on a GPU.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.module import SparseModule, Step, stack
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
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


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("solver", NEURAL, ids=lambda solver: type(solver).__name__)
def test_losses_gradients_and_codes_away_from_the_host_are_those_on_it(solver, members, monkeypatch):
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
        with Watchful() as watchful:
            take_steps(module, x, 1)
        counts.append(watchful.count / len(STEPS))
    assert counts[0] == counts[1]
