"""A step that is taken whole is the step of autograd, in few launches, for every selection, and with the same bits."""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.adam import Adam
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.device import (
    compiled,
    compiled_batches,
    compiled_step,
    place,
    reference,
    reference_step,
    whole,
)
from sparsesim.solvers.neural.device import selection as away
from sparsesim.solvers.neural.device.reference_step import Places
from sparsesim.solvers.neural.device.whole import WholeStep, halved_product, whole_step
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.module import SparseModule, stack
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Body, Training

INTERPRETED = importlib.util.find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"
MODULES = [(reference, reference_step)] + ([(compiled, compiled_step)] if INTERPRETED else [])
DIM, WIDTH, BATCH = 5, 19, 7  # none a power of two, or a multiple of what a program holds
TRAINING = Training(steps=40, batch_size=BATCH, learning_rate=1e-2)


@pytest.fixture(params=MODULES, ids=lambda pair: pair[1].__name__.rsplit(".", 1)[1])
def kernels(request, monkeypatch):
    """Have one implementation serve all tensors, and be away from the host."""
    serve(monkeypatch, *request.param)
    return request.param[1]


def serve(monkeypatch, parts, step) -> None:
    monkeypatch.setattr(place, "on_host", lambda tensor: False)
    monkeypatch.setattr(place, "operations", lambda tensor: parts)
    monkeypatch.setattr(away, "operations", lambda tensor: parts)
    monkeypatch.setattr(place, "operations_of_step", lambda tensor: step)


def several(solver: NeuralSolver, members: int, dtype=torch.float64) -> tuple[SparseModule, list[float]]:
    """A model, or several that differ in k and in learning rate."""
    solvers = [replace(solver, k=max(1, solver.k - e)) for e in range(members)]
    parts = [each.module(DIM, np.random.default_rng(e)) for e, each in enumerate(solvers)]
    module = (parts[0] if members == 1 else stack(parts)).to(dtype).train()
    return module, [1e-2 / (1 + e) for e in range(members)]


def bodies(
    solver: NeuralSolver, members: int, dtype=torch.float64, precision="reference", home="cpu"
) -> tuple[Body, Body]:
    """Twice the same training: one takes steps whole, the other by autograd."""
    module, rates = several(solver, members, dtype)
    place.move_(module, torch.device(home))
    found = []
    for each in (module, copy.deepcopy(module)):
        optimiser = Adam(each, solver.training, members > 1, rates)
        found.append(Body(each, optimiser, solver.training.steps, (), precision=precision))
    assert isinstance(found[0].whole, WholeStep)
    object.__setattr__(found[1], "whole", None)
    return found[0], found[1]


def samples(members: int, seed: int = 7, batch: int = BATCH, dtype=torch.float64) -> torch.Tensor:
    lead = () if members == 1 else (members,)
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((*lead, batch, DIM))).to(dtype)


def state(body: Body) -> dict[str, torch.Tensor]:
    """All that a step changes."""
    optimiser = body.optimiser
    buffers = {name: buffer.clone() for name, buffer in body.module.named_buffers()}
    return buffers | {"w": optimiser.flat.clone(), "m": optimiser.mean.clone(), "v": optimiser.square.clone()}


def take(body: Body, x: torch.Tensor, index: int) -> dict[str, torch.Tensor]:
    body.optimiser.prepare(index)
    return body(index, x)


BASIC = [
    TopK(WIDTH, 3, training=TRAINING),
    AbsTopK(WIDTH, 3, training=TRAINING),
    BatchTopK(WIDTH, 2.5, training=TRAINING),
]
every = pytest.mark.parametrize("solver", BASIC, ids=lambda solver: type(solver).__name__)


@every
@pytest.mark.parametrize(("members", "decay"), [(1, 0.0), (2, 0.1)])
def test_steps_taken_whole_are_those_of_autograd(solver, members, decay, kernels):
    solver = replace(solver, training=replace(TRAINING, weight_decay=decay))
    whole, plain = bodies(solver, members)
    for index in (0, 9, 10):  # in the second the counts of firing are renewed
        x = samples(members, seed=index)
        ours, theirs = take(whole, x, index), take(plain, x, index)
        assert ours.keys() == theirs.keys()
        for name, term in theirs.items():  # float64 sums of a few dozen terms in another order
            torch.testing.assert_close(ours[name], term, rtol=1e-11, atol=1e-11)
        expected = state(plain)
        for name, found in state(whole).items():  # and Adam divides by roots of squares of gradients
            torch.testing.assert_close(found, expected[name], rtol=1e-8, atol=1e-10, msg=lambda said: f"{name}: {said}")  # noqa: B023
        assert not whole.optimiser.gradient.any()


@pytest.mark.skipif(not INTERPRETED, reason="needs Triton and TRITON_INTERPRET=1")
@every
def test_tiles_of_places_samples_and_rows_change_nothing_but_the_order_of_sums(solver, monkeypatch):
    serve(monkeypatch, compiled, compiled_step)
    one, other = bodies(solver, 2)
    object.__setattr__(other, "whole", WholeStep(other.module, other.optimiser))
    x = samples(2, batch=9)
    take(one, x, 3)
    for name, size in (("HELD", 16), ("SAMPLES", 2), ("LATENTS", 4), ("GROUP", 3), ("COLUMNS", 2)):
        monkeypatch.setattr(compiled_step, name, size)
    take(other, x, 3)
    expected = state(one)
    for name, found in state(other).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-9, atol=1e-11)


def places(seed: int, members: int, batch: int, p: int) -> tuple[Places, list[tuple[int, int, int]]]:
    """Places of samples that differ in how many they have, none for some, with empty ones; and (latent, place, row)."""
    r = np.random.default_rng(seed)
    bounds, index, filled = [0], [], []
    for row in range(members * batch):
        own = np.sort(r.choice(p, r.integers(0, p + 1) if row % 3 else 0, replace=False)) + row // batch * p
        spare = int(row % batch == batch - 1) * 3
        index += [*own, *[(row // batch + 1) * p - 1] * spare]
        filled += [True] * len(own) + [False] * spare
        bounds.append(len(index))
    rows = np.repeat(np.arange(members * batch), np.diff(bounds))
    known = sorted((j, t, row) for t, (j, row, here) in enumerate(zip(index, rows, filled, strict=True)) if here)
    ints = (torch.tensor(part, dtype=torch.int32) for part in (bounds, index))
    return Places(*ints, torch.tensor(filled), p), known


@pytest.mark.parametrize(("members", "batch", "p"), [(1, 1, 1), (1, 5, 19), (3, 4, 16)])
def test_places_latent_by_latent_are_those_of_a_sort(members, batch, p, kernels, monkeypatch):
    monkeypatch.setattr(compiled_step, "SAMPLES", 2)
    chosen, known = places(0, members, batch, p)
    count = torch.ones((members, p))
    order = kernels.by_latent(chosen, (members, batch, p), count)
    found = [
        (j, int(order.places[t]), int(order.rows[t]))
        for j in range(members * p)
        for t in range(int(order.begin[j]), int(order.end[j]))
    ]
    assert found == known
    numbers = np.bincount([j for j, _, _ in known], minlength=members * p)
    np.testing.assert_array_equal(count.view(-1).numpy(), 1 + numbers)


@every
def test_samples_that_are_not_numbers_leave_other_members_alone(solver, kernels):
    """Nothing is read or written beside its place, though every comparison with NaN fails."""
    broken, sound = (bodies(solver, 2)[0] for _ in range(2))
    x = samples(2)
    y = x.clone()
    y[0, 2, 1] = torch.nan
    y[0, 4] = torch.inf
    terms = {}
    for index in (1, 2):
        terms = take(broken, y, index), take(sound, x, index)
    assert not terms[0]["loss"][0].isfinite() and torch.equal(terms[0]["loss"][1], terms[1]["loss"][1])
    for ours, theirs in zip(broken.module.parameters(), sound.module.parameters(), strict=True):
        assert torch.equal(ours[1], theirs[1])


@every
def test_a_batch_without_positive_codes_moves_the_bias_alone(solver, kernels):
    body, _ = bodies(replace(solver, k=1), 1)
    with torch.no_grad():
        body.module.encoder.zero_()
        body.module.encoder_bias.fill_(0.0 if isinstance(solver, AbsTopK) else -1.0)
        body.module.decoder.copy_(torch.nn.functional.normalize(body.module.decoder))
    before = {name: p.detach().clone() for name, p in body.module.named_parameters()}
    x = samples(1)
    terms = take(body, x, 0)
    torch.testing.assert_close(terms["loss"], x.square().sum(-1).mean(), rtol=1e-14, atol=0)
    for name in ("encoder", "encoder_bias", "decoder"):  # a row that is normalised again may move in its last bits
        torch.testing.assert_close(getattr(body.module, name).detach(), before[name], rtol=1e-15, atol=0)
    assert (body.module.bias != before["bias"]).all() and not body.module.dead.count.any()


def test_two_trainings_have_the_same_bits(kernels):
    first, second = (bodies(BASIC[0], 2, torch.float32)[0] for _ in range(2))
    for index in range(3):
        x = samples(2, index, dtype=torch.float32)
        take(first, x, index), take(second, x, index)
    for name, found in state(first).items():
        assert torch.equal(found, state(second)[name]), name


def test_who_needs_whole_gradients_or_does_more_is_left_to_autograd(monkeypatch):
    module, rates = several(BASIC[0], 1)
    assert whole_step(module, Adam(module, TRAINING, False, rates)) is None  # on the host
    serve(monkeypatch, reference, reference_step)
    assert whole_step(module, Adam(module, replace(TRAINING, grad_clip=1.0), False, rates)) is None
    nested = Matryoshka(WIDTH, 2, training=TRAINING).module(DIM, np.random.default_rng(0))
    assert whole_step(nested, Adam(nested, TRAINING, False, rates)) is None


def test_steps_with_dead_latents_are_those_of_autograd(kernels):
    whole, plain = bodies(BASIC[0], 1)
    for body in (whole, plain):
        body.module.dead.dead[::3], body.module.dead.any_dead = 1.0, True
    x = samples(1)
    ours, theirs = take(whole, x, 1), take(plain, x, 1)
    assert ours["aux"] == theirs["aux"] > 0
    assert all(torch.equal(found, state(plain)[name]) for name, found in state(whole).items())


class Launches(TorchDispatchMode):
    """Names what starts work on a device: kernels of ours, and operations of torch but for views and new memory."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aliases = [each.alias_info for each in func._schema.returns]
        view = any(alias is not None and not alias.is_write for alias in aliases)
        out = func(*args, **(kwargs or {}))
        away = any(leaf.is_meta for leaf in tree_leaves((args, out)) if isinstance(leaf, torch.Tensor))
        if away and not view and func.overloadpacket.__name__ not in ("empty", "empty_like", "new_empty", "detach"):
            self.names.append(func.overloadpacket.__name__)
        return out

    def replace_kernels(self, monkeypatch) -> None:
        for module in (compiled, compiled_batches, compiled_step):
            for node in ast.parse(inspect.getsource(module)).body:
                if isinstance(node, ast.FunctionDef) and any(
                    getattr(d, "id", "") == "jit" for d in node.decorator_list
                ):
                    monkeypatch.setattr(module, node.name, Kernel(node.name, self.names))


class Kernel:
    """Stands for a kernel that would be launched."""

    def __init__(self, name: str, names: list[str]) -> None:
        self.name, self.names = name, names

    def __getitem__(self, grid):
        assert all(isinstance(size, int) and size > 0 for size in grid)
        return lambda *args, **kwargs: self.names.append(self.name)


def launched(solver: NeuralSolver, monkeypatch, precision: str = "reference") -> list[str]:
    """What a step launches once its tables are made, the rate of the step included."""
    serve(monkeypatch, compiled, compiled_step)
    module = solver.module(DIM, np.random.default_rng(0)).train()
    place.move_(module, torch.device("meta"))
    body = Body(module, Adam(module, solver.training, False), solver.training.steps, (), precision=precision)
    x = torch.empty((BATCH, DIM), device="meta")
    launches = Launches()
    launches.replace_kernels(monkeypatch)
    take(body, x, 0)
    with launches:
        launches.names.clear()
        take(body, x, 1)
    return launches.names


STEP = ["copy_", "_shift", "addmm", "_largest", "_decode", "_order", "_move_rows", "_move_bias"]


def test_a_step_of_topk_is_eight_launches_and_of_those_seven_lie_in_its_graph(monkeypatch):
    """The first, the copy of the rate, is made ahead of a step. Twelve nodes were asked for (goal G12)."""
    assert launched(BASIC[0], monkeypatch) == launched(BASIC[1], monkeypatch) == STEP


def test_a_step_in_bfloat16_is_one_launch_more_that_rounds_the_samples(monkeypatch):
    monkeypatch.setattr(whole, "_adds_in_float32", lambda device: True)  # as of a torch whose product shifts
    assert launched(BASIC[0], monkeypatch, "fastest") == [*STEP[:2], "_to_copy", *STEP[2:]]


ROUNDOFF = 2.0**-8  # of bfloat16, which has eight bits


def rounded(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal float32 numbers, and how far each lies from its rounding at most."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()
    assert ((x - x.bfloat16().float()).abs() <= ROUNDOFF * x.abs()).all()
    return x, ROUNDOFF * x.double().abs()


@pytest.mark.parametrize("lead", [(), (2,)])
def test_a_product_in_bfloat16_errs_by_the_rounding_of_its_factors_alone(lead):
    """|xW - x'W'| <= |dx||W| + |x||dW| + |dx||dW|, and a float32 sum of a terms adds a 2^-24 of |x||W| (1 + 2^-7)."""
    (x, of_x), (w, of_w) = rounded(0, *lead, 9, 40), rounded(1, *lead, 40, 13)
    shift = torch.from_numpy(np.random.default_rng(2).standard_normal((*lead, 13))).float()
    found = halved_product(x, w.bfloat16(), shift)
    assert found.dtype == torch.float32
    whole = x.double() @ w.double() + shift.double().unsqueeze(-2)
    factors = of_x @ w.double().abs() + x.double().abs() @ of_w + of_x @ of_w
    sums = (41 * 2.0**-24) * (x.double().abs() @ w.double().abs() * (1 + 2.0**-7) + shift.abs().unsqueeze(-2))
    error = (found.double() - whole).abs()
    assert (error <= factors + sums).all() and error.max() > 10 * sums.max(), "it must have been rounded, and no more"


def test_atoms_in_bfloat16_err_by_their_rounding_alone(kernels):
    """The reconstruction errs by |z||dD|, the gradient at it by 2/B of that, and that at the codes by both factors."""
    chosen, known = places(0, 2, 3, 8)
    (table, of_table), (x, _), (u, _), (bias, _) = (
        rounded(i, *shape) for i, shape in enumerate(((2, 8, DIM), (2, 3, DIM), (2, 3, 8), (2, DIM)))
    )
    given = (x.double(), u.double(), table.double(), bias.double(), chosen)
    exact, found = kernels.decoded(*given), kernels.decoded(x, u, table.bfloat16(), bias, chosen)
    flat, of_flat = table.double().view(-1, DIM), of_table.view(-1, DIM)
    of_slope = torch.zeros_like(exact.slope)
    for j, t, row in known:
        of_slope[row] += 2 / 3 * exact.values[t].abs() * of_flat[j]
    single = 32 * 2.0**-24  # sums of at most 8 atoms and 5 columns, a few roundings each
    size = exact.slope.abs() + 2 / 3 * (x.abs() + bias.abs().unsqueeze(-2)).view(-1, DIM).double()
    assert ((found.slope - exact.slope).abs() <= of_slope + single * (size + of_slope / ROUNDOFF)).all()
    assert (found.slope - exact.slope).abs().max() > 1e-4
    for j, t, row in known:
        bound = of_slope[row] @ (flat[j].abs() + of_flat[j]) + exact.slope[row].abs() @ of_flat[j]
        bound += single * ((size[row] + of_slope[row] / ROUNDOFF) @ flat[j].abs())
        assert (found.towards[t] - exact.towards[t]).abs() <= bound


@every
@pytest.mark.parametrize("members", [1, 2])
def test_rounded_weights_are_kept_up_whoever_takes_the_step(solver, members, kernels):
    body, _ = bodies(solver, members, torch.float32, "fastest")
    for index, dead in ((1, False), (2, True), (3, False)):
        if dead:
            body.module.dead.dead[..., ::3] = 1.0
        body.module.dead.any_dead = dead
        take(body, samples(members, index, dtype=torch.float32), index)
        for shadow, p in zip(body.whole.shadows, (body.module.encoder, body.module.decoder), strict=True):
            exact = p.detach()
            if kernels is compiled_step and not dead:  # Triton's interpreter cuts off the bits that a GPU rounds
                exact = (exact.view(torch.int32) & -(2**16)).view(torch.float32)
            assert torch.equal(shadow, exact.bfloat16()) and p.dtype == torch.float32


def test_a_training_in_bfloat16_ends_where_one_in_float32_does_and_has_the_same_bits_again(monkeypatch):
    serve(monkeypatch, reference, reference_step)
    monkeypatch.setattr(place, "check", lambda *names: None)  # a training on the CPU refuses it
    x = np.random.default_rng(0).standard_normal((500, 16))
    solver = TopK(48, 3, training=Training(steps=300, batch_size=64))
    other = replace(solver, training=replace(solver.training, precision="fastest"))
    exact, once, again = (each.fit(x, rng=np.random.default_rng(1)) for each in (solver, other, other))
    np.testing.assert_array_equal(once.atoms, again.atoms)
    assert not np.array_equal(once.atoms, exact.atoms)
    # as between two devices: trajectories part at other choices of latents, what they reach does not
    np.testing.assert_allclose(once.trace["loss"][-10:], exact.trace["loss"][-10:], rtol=0.02)


def test_the_threshold_of_a_batch_takes_six_launches_more_and_its_mean_some_small_ones(monkeypatch):
    found = launched(BASIC[2], monkeypatch)
    passes = ["zeros", *["_count_digits"] * 3, "_count_rows", "_share_ties", "_write_rows"]
    assert found[: len(STEP) - 1 + len(passes)] == [*STEP[:3], *passes, *STEP[4:]]
