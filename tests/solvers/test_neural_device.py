"""The sparse layer away from the host: the same selections, products and gradients, in shapes that never change."""

from __future__ import annotations

import importlib.util
import os
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch

from sparsesim.solvers.neural import sparse
from sparsesim.solvers.neural.device import compiled, compiled_batches, compiled_step, reference
from sparsesim.solvers.neural.device import selection as away

TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = TRITON and os.environ.get("TRITON_INTERPRET") == "1"
COMPILED = TRITON and not INTERPRETED
GRID = [-np.inf, -2.0, -0.0, 0.0, 1e-42, 0.5, 1.0, 1.0 + 2**-23, 3.0, np.inf]  # ties, both zeros, a subnormal number


def kernels():
    """The implementations that can run here: Triton's under its interpreter, where both are asked for."""
    found = [reference]
    if INTERPRETED:
        found.append(compiled)
    return found


def normal(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def mixed(seed: int, *shape: int, dtype=torch.float32) -> torch.Tensor:
    """Numbers of which every other row has few different values, one none that is positive, and one a NaN."""
    r = np.random.default_rng(seed)
    u = r.standard_normal(shape)
    u[..., ::2, :] = r.choice(GRID, u[..., ::2, :].shape)
    u[..., 1, :] = -np.abs(u[..., 1, :])
    u[..., -1, 0] = np.nan
    return torch.from_numpy(u).to(dtype)


def host_pairs(chosen: sparse.HostSelection) -> list[tuple[int, int]]:
    rows = np.repeat(np.arange(len(chosen.indptr) - 1), np.diff(chosen.indptr))
    return list(zip(rows.tolist(), chosen.indices.tolist(), strict=True))


def device_pairs(chosen: away.Placed) -> list[tuple[int, int]]:
    kept = chosen.filled.numpy()
    return list(zip(chosen.rows.numpy()[kept].tolist(), chosen.index.numpy()[kept].tolist(), strict=True))


@pytest.fixture(params=kernels(), ids=lambda module: module.__name__.rsplit(".", 1)[1])
def operations(request, monkeypatch):
    """Have one implementation serve all tensors."""
    monkeypatch.setattr(away, "operations", lambda tensor: request.param)
    return request.param


SHAPES = [((6, 13), 3), ((2, 5, 7), 7), ((3, 4, 33), 5)]  # neither k nor p a power of two


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize(("shape", "k"), SHAPES)
def test_a_selection_is_that_of_the_host(operations, shape, k, magnitude, dtype):
    u = mixed(k, *shape, dtype=dtype)
    numbers = torch.tensor(k) if len(shape) == 2 else torch.tensor([k, *range(1, shape[0])])
    there = away.select_rows(u, numbers, magnitude=magnitude)
    here = sparse.select_rows(u, numbers, magnitude=magnitude)
    assert device_pairs(there) == host_pairs(here)
    torch.testing.assert_close(there.counts(), here.counts(), rtol=0, atol=0)
    totals = numbers * shape[-2]
    there = away.select_batches(u, totals, magnitude=magnitude)
    here = sparse.select_batches(u, numbers, magnitude=magnitude)
    assert device_pairs(there) == host_pairs(here)


def brute(u: np.ndarray, numbers) -> list[tuple[int, int, int]]:
    """Member, row and column of the largest positive entries: sorted by value, and among equals by place."""
    found = []
    for e, (each, number) in enumerate(zip(u, numbers, strict=True)):
        value = np.where(np.isnan(each), np.inf, each).ravel()  # as the host: NaN speaks, so that its loss is seen
        order = sorted((j for j in range(value.size) if value[j] > 0), key=lambda j: (-value[j], j))[:number]
        found += [(e, j // each.shape[1], j % each.shape[1]) for j in sorted(order)]
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("shape", [(2, 1, 70), (3, 5, 9)])
def test_the_largest_of_a_batch_are_those_of_a_sort(operations, shape, pieces, dtype, monkeypatch):
    if pieces:  # of tiles, programs and rows there are more than one
        for name, size in (("TILE", 16), ("LEAST", 16), ("PROGRAMS", 2), ("ROWS", 2)):
            monkeypatch.setattr(compiled_batches, name, size)
    u = np.random.default_rng(0).choice(GRID, shape)
    u[..., -1, :] = 0.5  # more ties than are left for one row
    entries = shape[1] * shape[2]
    for most in (entries // 4, entries):
        numbers = [max(1, most - e) for e in range(shape[0])]
        given = torch.from_numpy(u).to(dtype)
        bounds, rows, columns, filled = operations.largest_of_batches(given, most, torch.tensor(numbers))
        triples = [
            (r // shape[1], r % shape[1], c)
            for r, c, here in zip(rows.tolist(), columns.tolist(), filled.tolist(), strict=True)
            if here
        ]
        assert triples == brute(given.double().numpy(), numbers)
        assert (bounds[0], bounds[-1]) == (0, len(rows)) and rows.dtype == columns.dtype == bounds.dtype == torch.int32
        assert torch.equal(torch.bincount(rows, minlength=shape[0] * shape[1]), bounds.diff().long())
        for low, high in pairwise(bounds.tolist()):
            assert not filled[low:high].int().diff().clamp_min(0).any(), "empty places are the last ones of a row"
        empty = torch.bincount(rows[~filled], minlength=len(bounds) - 1).view(shape[:2])
        assert (empty.amax(1) - empty.amin(1) <= 1).all(), "and are shared out evenly"


def test_more_places_than_32_bits_number_are_refused():
    u = torch.empty((2**20, 2**14), device="meta")
    for choose, k in ((away.select_rows, 2**11), (away.select_batches, 2**31)):
        with pytest.raises(ValueError, match=r"2,147,483,648 codes in a step.*Lower batch_size or k"):
            choose(u, torch.tensor(k))


def layer(shape, k, dtype=torch.float64):
    """x, encoder, encoder bias, bias and decoder, with a selection here and there; the first row has no entry."""
    lead, (batch, d, p) = shape[:-3], shape[-3:]
    shapes = ((batch, d), (p, d), (p,), (d,), (p, d))
    tensors = [normal(i, *lead, *each, dtype=dtype).requires_grad_() for i, each in enumerate(shapes)]
    x, encoder, threshold, bias, _ = tensors
    u = ((x - bias.unsqueeze(-2)) @ encoder.mT + threshold.unsqueeze(-2)).detach()
    u[..., 0, :] = -u[..., 0, :].abs()
    return tensors, u, away.select_rows(u, torch.tensor(k)), sparse.select_rows(u, torch.tensor(k))


def outcome(tensors, u, chosen):
    """The output of a sparse layer and all its gradients, for a gradient that is not contiguous."""
    x, encoder, threshold, bias, decoder = tensors
    values = chosen.values_at(x, encoder, threshold, bias, u)
    out = chosen.decoded(values, decoder)
    out.backward(normal(9, *out.mT.shape, dtype=out.dtype).mT)
    gradients = [each.grad.clone() for each in tensors]
    for each in tensors:
        each.grad = None
    return [out.detach(), *gradients]


@pytest.mark.parametrize(("shape", "k"), [((7, 5, 12), 3), ((2, 6, 3, 9), 5)])
def test_products_and_gradients_are_those_of_the_host_and_of_a_mask(operations, shape, k):
    tensors, u, there, here = layer(shape, k)
    mask = torch.zeros(u.shape, dtype=torch.bool).flatten()
    p = u.shape[-1]
    for row, latent in device_pairs(there):
        mask[row * p + latent % p] = True
    found = [outcome(tensors, u, each) for each in (there, here, away.Masked(mask.view(u.shape)))]
    for parts in zip(*found, strict=True):  # sums of at most 40 terms of size one in another order
        torch.testing.assert_close(parts[0], parts[1], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(parts[2], parts[1], rtol=1e-12, atol=1e-12)
    for ours, again in zip(found[0], outcome(tensors, u, there), strict=True):
        assert torch.equal(ours, again), "two runs must give the same bits"


@pytest.mark.parametrize(("shape", "k"), [((4, 3, 5), 2), ((2, 3, 2, 4), 3)])
def test_gradients_pass_gradcheck_on_a_fixed_selection(shape, k):
    tensors, _, chosen, _ = layer(shape, k)

    def whole(x, encoder, threshold, bias, decoder):
        fresh = ((x - bias.unsqueeze(-2)) @ encoder.mT + threshold.unsqueeze(-2)).detach()
        values = chosen.values_at(x, encoder, threshold, bias, fresh)
        return chosen.decoded(values, decoder), chosen.sums_of_rows(values.square()), chosen.sums_of_members(values)

    assert torch.autograd.gradcheck(whole, tensors)


@pytest.mark.parametrize(("shape", "k"), [((7, 5, 12), 3), ((2, 6, 3, 9), 5)])
def test_statistics_and_parts_are_those_of_the_host(operations, shape, k):
    tensors, u, there, here = layer(shape, k)
    *inputs, decoder = tensors
    ours, theirs = there.values_at(*inputs, u), here.values_at(*inputs, u)
    for name in ("smallest", "smallest_of_latents", "sums_of_rows", "sums_of_members"):
        torch.testing.assert_close(getattr(there, name)(ours), getattr(here, name)(theirs), check_dtype=False)
    for low, high in ((0, 4), (4, u.shape[-1]), (2, 2)):
        part, places = there.restricted(low, high)
        other, others = here.restricted(low, high)
        expected = other.decoded(theirs[others], decoder)
        torch.testing.assert_close(part.decoded(ours[places], decoder), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part.counts(), other.counts(), rtol=0, atol=0)


@pytest.mark.skipif(not INTERPRETED, reason="needs Triton and TRITON_INTERPRET=1")
@pytest.mark.parametrize("d", [1, 5, 130])
def test_long_rows_are_summed_in_chunks_to_the_same_numbers(d, monkeypatch):
    monkeypatch.setattr(compiled, "CHUNK", 4)
    lengths = torch.tensor([0, 1, 4, 5, 23, 0, 8])  # empty, shorter, equal, one more, many chunks
    bounds = torch.cat([torch.zeros(1), lengths.cumsum(0)]).to(torch.int32)
    index = torch.from_numpy(np.random.default_rng(0).integers(0, 6, int(lengths.sum()))).to(torch.int32)
    weight, table = normal(1, len(index)), normal(2, 6, d)
    parts = [normal(3, 7, d) for _ in range(3)]
    for module, out in zip((compiled, compiled, reference), parts, strict=True):
        module.add_sums_(bounds, index, weight, table, out)
    assert torch.equal(parts[0], parts[1])
    torch.testing.assert_close(parts[0], parts[2], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("slowed", [False, True])
def test_a_step_of_adam_is_torchs(operations, slowed):
    weights = normal(0, 2500)  # more than one block of weights, and not a whole number of them
    slowness = 1.0 + torch.arange(2500, dtype=torch.float64) % 3 if slowed else None
    theirs = [torch.nn.Parameter(weights[i : i + 1].clone()) for i in range(3)]
    rates = [0.01 / (1.0 if slowness is None else float(slowness[i])) for i in range(3)]
    optimiser = torch.optim.Adam([{"params": [p], "lr": rate} for p, rate in zip(theirs, rates, strict=True)])
    state = (weights.clone(), torch.zeros(2500).double(), torch.zeros(2500).double(), torch.zeros(2500).double())
    for t in range(1, 6):
        gradient = normal(t, 2500)
        state[1].add_(gradient)
        for i, p in enumerate(theirs):
            p.grad = gradient[i : i + 1].clone()
        optimiser.step()
        root = (1 - 0.999**t) ** 0.5
        rate = torch.tensor([0.01 * root / (1 - 0.9**t), 1e-8 * root], dtype=torch.float64)
        operations.adam_(state, slowness, rate, torch.tensor([1 - 0.9, 0.999, 1 - 0.999], dtype=torch.float64))
    torch.testing.assert_close(state[0][:3], torch.cat([p.detach() for p in theirs]), rtol=1e-12, atol=0)
    assert not state[1].any()


@pytest.mark.parametrize("d", [1, 5, 300])
def test_rows_are_normalised_and_lose_what_is_radial(operations, d):
    rows, gradient = normal(0, 7, d), normal(1, 7, d)
    rows[2] = 0.0
    expected = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-300)
    operations.normalise_(rows)
    torch.testing.assert_close(rows, expected, rtol=1e-14, atol=1e-14)
    before = gradient.clone()
    operations.remove_radial_(rows, gradient)
    torch.testing.assert_close((rows * gradient).sum(1), torch.zeros(7).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(gradient + (rows * before).sum(1, keepdim=True) * rows, before, rtol=1e-13, atol=1e-13)


def signatures():
    """The types of the arguments of each Triton kernel, for float32 and float64."""
    for real, whole, bits in (("fp32", "i32", 31), ("fp64", "i64", 63)):
        ints = {"bounds": "*i32", "index": "*i32", "d": "i32"}
        summed = {**ints, "weight": f"*{real}", "table": f"*{real}", "out": f"*{real}"}
        both = {"rows": f"*{real}", "gradient": f"*{real}", "d": "i32"}
        largest = {"keys": f"*{whole}", "limits": "*i32", "columns": "*i32", "filled": "*i1", "p": "i32", "k": "i32"}
        moved = ("weights", "gradient", "mean", "square", "slowness", "rate", "betas")
        for limited in (False, True):
            sizes = {"BITS": bits, "MASK": 2**bits - 1, "LIMITED": limited, "BLOCK": 1024, "WIDTH": 32}
            yield "_largest", largest, sizes
        yield "_sum", summed, {"ADD": True, "BLOCK": 128}
        yield "_sum_chunk", {**summed, "first": "*i32", "owner": "*i64"}, {"BLOCK": 128, "CHUNK": 256}
        yield "_dots", {**ints, "left": f"*{real}", "right": f"*{real}", "out": f"*{real}"}, {"BLOCK": 1024}
        yield "_adam", {**{name: f"*{real}" for name in moved}, "size": "i32"}, {"SLOWED": True, "BLOCK": 1024}
        yield "_remove_radial", both, {"BLOCK": 1024}
        yield "_normalise", {"rows": f"*{real}", "d": "i32"}, {"BLOCK": 1024, "LEAST": 1e-38}
        counted = {"keys": f"*{whole}", "counts": "*i64", "limits": "*i32", "members": "i32"}
        places = {"above": "*i32", "level": "*i32", "ties": "*i32", "bounds": "*i32", "rows": "*i32", "columns": "*i32"}
        sized = {**counted, **places, "filled": "*i1", "batch": "i32", "p": "i32"}
        passes = {"BITS": bits, "DIGIT": 11, "MASK": -1}
        for index in range(3):
            parts = {**counted, "size": "i64", "share": "i32"}
            yield "_count_digits", parts, {**passes, "PASS": index, "BLOCK": 4096}
        yield "_count_rows", sized, {**passes, "PASSES": 3, "BLOCK": 4096}
        shared = {**sized, "most": "i32", "like": f"*{whole}"}
        yield "_share_ties", shared, {"BITS": bits, "DIGIT": 11, "PASSES": 3, "BLOCK": 1024}
        yield "_write_rows", sized, {**passes, "PASSES": 3, "BLOCK": 4096}
        yield from signatures_of_a_step(real)


def signatures_of_a_step(real):
    """Those of the kernels of a whole step; all tables are of floats but for these."""
    whole = dict.fromkeys(("bounds", "index", "begin", "end", "places", "rows"), "*i32")
    whole |= dict.fromkeys(("d", "p", "batch", "groups", "longest", "steps"), "i32") | {
        "filled": "*i1",
        "count": "*fp32",
    }
    shadows = dict.fromkeys(("encoder_shadow", "decoder_shadow"), "*bf16")
    floats = defaultdict(lambda: f"*{real}", whole | shadows)
    moves = {"SHRUNK": True, "SLOWED": True}
    yield "_shift", floats, {"BLOCK": 1024}
    yield "_decode", floats, {"BLOCK": 1024, "TILE": 8}
    yield "_decode", defaultdict(lambda: f"*{real}", whole | {"table": "*bf16"}), {"BLOCK": 128, "TILE": 16}
    yield "_order", floats, {"SAMPLES": 512, "LATENTS": 16}
    for shadowed in (False, True):
        sizes = {"LEAST": 1e-38, "GROUP": 8, "BLOCK": 1024, "TILE": 8}
        yield "_move_rows", floats, {**moves, **sizes, "SHADOWED": shadowed}
    yield "_move_bias", floats, {**moves, "ROWS": 128, "COLUMNS": 32}


@pytest.mark.skipif(not COMPILED, reason="needs Triton, and no interpreter in its place")
def test_every_kernel_compiles_for_a_gpu_of_compute_capability_9():
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    known = {
        name: value
        for module in (compiled, compiled_batches, compiled_step)
        for name, value in vars(module).items()
        if isinstance(value, triton.JITFunction)
    }
    within = {"_reached", "_threshold", "_table", "_moved"}  # called by kernels
    names = set()
    for name, arguments, constants in signatures():
        kernel = known[name]
        ordered = {each: "constexpr" if each in constants else arguments[each] for each in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=ordered, constexprs=constants)
        code = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm
        assert code["cubin"]
        if constants.get("SHADOWED") and arguments["x"] == "*fp32":
            assert "cvt.rn.bf16" in code["ptx"], "bfloat16 is rounded to the nearest"
        names.add(name)
    assert names == set(known) - within
