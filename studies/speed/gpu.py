"""``python -m studies.speed.gpu``: goals that need a GPU, measured where there is one and named where there is none.

Times are the device's own, medians with intervals that assume nothing of its errors; every row says what was asked for.
Steps are those of a training, on noise that lies on the device, recorded as graphs where they repeat. With ``--cold``
nothing is found in the cache. Products are in TF32 where the goal says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsesim.generators import DeviceForest, FeatureSpec, RandomSphere, published
from sparsesim.generators.device_forest import AHEAD
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Table
from sparsesim.study.provenance import provenance
from studies.speed.gpu_steps import Clock, batches, launches, ours, plain, waits
from studies.speed.scale_goals import AWAY, away, over, row, sentences
from studies.speed.timing import Median, median_interval, seconds

TABLE = Path(__file__).parent.parent / "tables" / "speed_gpu.csv"
Shape = tuple[int, int, int, int]  # d, p, B, k
SMALL, MIDDLE, WIDE = (128, 1_024, 1_024, 16), (768, 4_096, 1_024, 25), (768, 16_384, 4_096, 25)
TOY, TOYS = (64, 256, 1_024, 8), 64
FIRST = (
    "import numpy as np; from sparsesim.solvers.neural.topk import TopK; from sparsesim.solvers.neural.train import "
    "Training; TopK(1024, 16, training=Training(steps=1, batch_size=64, device='{}')).fit("
    "np.ones((64, 128)), rng=np.random.default_rng(0))"
)
Rows = Iterator[dict[str, Any]]


def _training(batch: int) -> Training:
    return Training(steps=2_000, batch_size=batch, learning_rate=3e-4)


def _topk(shape: Shape) -> TopK:
    return TopK(shape[1], shape[3], training=_training(shape[2]))


def _found(what: str, found: Median | float) -> dict[str, Any]:
    """Return the row of the goal named ``what``."""
    goal, quantity, unit, least, most = next(each for each in AWAY if each[1] == what)
    return row(goal, quantity, "any", found, unit, least=least, most=most)


def step_times(clock: Clock, shapes: Sequence[Shape], goals: Sequence[tuple[str, float]]) -> Rows:
    """Yield G1 and G2: a step at each of ``shapes`` in the goal's unit, and how many times an eager one it is."""
    for shape, (what, scale) in zip(shapes, goals, strict=True):
        dim, width, batch, k = shape
        with place.products(clock.device, "fast"):
            mine = clock.times(ours(_topk(shape), dim, clock.device))
            theirs = clock.times(plain("topk", dim, width, batch, k, clock.device))
        yield _found(what, median_interval(mine * scale))
        if width == shapes[0][1]:
            yield _found("step over an eager one of plain PyTorch at p 4096", over(theirs, mine))


def stacked(clock: Clock, shape: Shape, members: int) -> Rows:
    """Yield G4: a joint step of ``members`` models over one eager step of one of them."""
    joint = clock.times(ours(_topk(shape), shape[0], clock.device, members=members))
    alone = clock.times(plain("topk", *shape, clock.device))
    yield _found("64 stacked toy models over one eager step", over(joint, alone))


def generation(clock: Clock, spec: FeatureSpec, size: int) -> Rows:
    """Yield G5: samples a second, drawn and formed on the device; directions cost nothing here and are any."""
    source = DeviceForest(replace(spec, geometry=RandomSphere()).build(np.random.default_rng(0)), clock.device)
    generator = torch.Generator(clock.device).manual_seed(1)
    taken = clock.times(lambda: source.sample(size, generator))
    yield _found("generation, 16384 features with copula and hierarchy", median_interval(size / taken))


def selection(clock: Clock, shape: Shape) -> Rows:
    """Yield G6, the selection of a row's largest over one read, and G7, encoding over the product alone."""
    dim, _, batch, k = shape
    solver = _topk(shape)
    module = solver.module(dim, np.random.default_rng(0)).eval()
    place.move_(module, clock.device)
    x = batches(dim, batch, clock.device)[0]
    with torch.no_grad(), place.products(clock.device, "fast"):
        u = module.pre_activations(x)
        operations = place.operations(u)
        select = clock.times(lambda: operations.largest_of_rows(u, k))
        read = clock.times(lambda: u.amax(-1))
        product = clock.times(lambda: x @ module.encoder.mT)
        encode = clock.times(lambda: module.choose(module.pre_activations(x)))
    yield _found("row selection over one read of the pre-activations", over(select, read))
    yield _found("encoding over the encoder's product", over(encode, product))


def variants(clock: Clock, shape: Shape) -> Rows:
    """Yield G8 to G10: steps of other autoencoders over one of TopK."""
    dim, width, _, k = shape
    training = _training(shape[2])
    topk = clock.times(ours(_topk(shape), dim, clock.device))
    pursuit = clock.times(ours(MatchingPursuitSAE(width, k, training=training), dim, clock.device))
    nested = clock.times(ours(Matryoshka(width, k, training=training), dim, clock.device))
    whole = clock.times(ours(BatchTopK(width, k, training=training), dim, clock.device))
    yield _found("matching pursuit of T steps over T TopK steps", over(pursuit, topk * k))
    yield _found("Matryoshka over TopK", over(nested, topk))
    yield _found("BatchTopK over TopK", over(whole, topk))


def housekeeping(clock: Clock, shape: Shape) -> Rows:
    """Yield G12 to G14: waits and launches of a step, its memory, and the first step of a new process."""
    dim, width, batch, _ = shape
    step = ours(_topk(shape), dim, clock.device, graphs=False)
    clock.times(step)
    yield _found("host synchronisations", waits(step))
    yield _found("nodes of the graph", launches(step))
    torch.cuda.reset_peak_memory_stats(clock.device)
    step()
    peak, weights = torch.cuda.max_memory_allocated(clock.device), 2 * width * dim + width + dim
    asked = 16 * weights + 1.2 * 4 * batch * width + sum(x.nbytes for x in batches(dim, batch, clock.device))
    what = "peak memory over 16 bytes a weight, 1.2 times the pre-activations and the batches"
    yield row("G13", what, "any", peak / asked, "times", most=1.0)
    command = [sys.executable, "-c", FIRST.format(clock.device)]
    subprocess.run(command, check=True)  # fills the cache of compiled kernels
    yield _found("first step with compiled kernels", seconds(lambda: subprocess.run(command, check=True)))


def measured(clock: Clock) -> list[dict[str, Any]]:
    """Return the rows of all goals: measured, or why not."""
    names = [each[1] for each in AWAY[:3]]
    parts: list[Callable[[], Rows]] = [
        lambda: step_times(clock, (MIDDLE, WIDE, SMALL), tuple(zip(names, (1e3, 1e3, 1e6), strict=True))),
        lambda: stacked(clock, TOY, TOYS),
        lambda: generation(clock, published("synthsaebench-16k", "corrected"), AHEAD),
        lambda: selection(clock, MIDDLE),
        lambda: variants(clock, MIDDLE),
        lambda: housekeeping(clock, MIDDLE),
    ]
    rows = [each for part in parts for each in part()]
    known = {each["quantity"] for each in rows}
    left = [each | {"measured": "no: the peer runs on the CPU"} for each in away() if each["quantity"] not in known]
    return rows + left


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what can be measured here, say what cannot, and write a table only of measured numbers."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    parser.add_argument("--repetitions", type=int, default=50, help="fewer than 6 have no interval")
    parser.add_argument("--cold", action="store_true", help="empty the cache before each timing")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        rows = away()
        print("\n".join(sentences(Table.of_rows(rows[0], ([each[name] for name in rows[0]] for each in rows)))))
        print("no table was written: torch sees no CUDA device")
        return
    clock = Clock(torch.device("cuda"), options.repetitions, cold=options.cold)
    rows = measured(clock)
    table = Table.of_rows(rows[0], ([each[name] for name in rows[0]] for each in rows))
    table.write(options.out)
    facts = provenance() | {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "cold": options.cold}
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    options.out.with_suffix(".provenance.json").write_text(text, encoding="utf-8")
    print("\n".join(sentences(table)))
    print(f"table: {options.out}")


if __name__ == "__main__":
    main()
