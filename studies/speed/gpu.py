"""``python -m studies.speed.gpu``: goals that need a GPU, measured where there is one and named where there is none.

Times are the device's own, medians with intervals that assume nothing of its errors; every row says what was asked for
and whether it was measured, and why not. Without a GPU the table says so of each goal, and replaces none that was
measured. Steps are those of a training, on noise that lies on the device, recorded as graphs where they repeat. With
``--cold`` nothing is found in the cache. Products are in TF32, ours and those of plain PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
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
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Table
from sparsesim.study.provenance import provenance
from studies.speed.gpu_steps import Clock, batches, launches, ours, plain, waits
from studies.speed.scale_goals import AWAY, NO_GPU, UNMEASURED, away, over, row, sentences
from studies.speed.timing import Median, median_interval

TABLE = Path(__file__).parent.parent / "tables" / "speed_gpu.csv"
Shape = tuple[int, int, int, int]  # d, p, B, k
SMALL, MIDDLE, WIDE = (128, 1_024, 1_024, 16), (768, 4_096, 1_024, 25), (768, 16_384, 4_096, 25)
TOY, TOYS = (64, 256, 1_024, 8), 64
FIRST = """
import time
import numpy as np
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
begun = time.perf_counter()
training = Training(steps=1, batch_size=64, device={!r})
TopK(1024, 16, training=training).fit(np.ones((64, 128)), rng=np.random.default_rng(0))
print(time.perf_counter() - begun)
"""  # imports are not counted, as on the CPU
Rows = Iterator[dict[str, Any]]


def _training(batch: int, precision: str = "fast") -> Training:
    return Training(steps=2_000, batch_size=batch, learning_rate=3e-4, device="cuda", precision=precision)


def _topk(shape: Shape, precision: str = "fast") -> TopK:
    return TopK(shape[1], shape[3], training=_training(shape[2], precision))


def _found(what: str, found: Median | float) -> dict[str, Any]:
    """Return the row of the goal named ``what``."""
    goal, quantity, unit, least, most = next(each for each in AWAY if each[1] == what)
    return row(goal, quantity, "any", found, unit, least=least, most=most)


def step_times(clock: Clock, shapes: Sequence[Shape]) -> Rows:
    """Yield G1 and G2 at the middle, the wide and the small of ``shapes``; a step of the wide one in bf16, too."""
    names = [what for goal, what, *_ in AWAY if goal in ("G1", "G2")]
    for shape, what, scale, race in zip(shapes, names[:3], (1e3, 1e3, 1e6), names[4:7], strict=True):
        dim, width, batch, k = shape
        with place.products(clock.device, "fast"):
            mine = clock.times(ours(_topk(shape), dim, clock.device))
            theirs = clock.times(plain("topk", dim, width, batch, k, clock.device))
        yield _found(what, median_interval(mine * scale))
        yield _found(race, over(theirs, mine))
    with place.products(clock.device, "fastest"):
        halved = clock.times(ours(_topk(shapes[1], "fastest"), shapes[1][0], clock.device))
    yield _found(names[3], median_interval(halved * 1e3))


def stacked(clock: Clock, toy: Shape, small: Shape, members: int) -> Rows:
    """Yield G4: a joint step of ``members`` models over one eager step of one of them, and at another size its time."""
    with place.products(clock.device, "fast"):
        joint = clock.times(ours(_topk(toy), toy[0], clock.device, members=members))
        alone = clock.times(plain("topk", *toy, clock.device))
        larger = clock.times(ours(_topk(small), small[0], clock.device, members=members))
    yield _found("64 stacked toy models over one eager step", over(joint, alone))
    yield _found("joint step of 64 models at d 128, p 1024, B 1024, k 16", median_interval(larger * 1e3))


def generation(clock: Clock, spec: FeatureSpec, size: int, shape: Shape) -> Rows:
    """Yield G5: samples a second, drawn and formed on the device, and their share of a step of ``shape``.

    Directions cost nothing here and are any.
    """
    source = DeviceForest(replace(spec, geometry=RandomSphere()).build(np.random.default_rng(0)), clock.device)
    generator = torch.Generator(clock.device).manual_seed(1)
    taken = clock.times(lambda: source.sample(size, generator))
    with place.products(clock.device, "fast"):
        step = clock.times(ours(_topk(shape), shape[0], clock.device))
    drawing = taken / size * shape[2]
    yield _found("generation, 16384 features with copula and hierarchy", median_interval(size / taken))
    yield _found("generation in a step of one model", over(drawing, drawing + step))


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
        theirs = clock.times(lambda: u.topk(k, dim=-1))
        read = clock.times(lambda: u.amax(-1))
        product = clock.times(lambda: x @ module.encoder.mT)
        encode = clock.times(lambda: module.choose(module.pre_activations(x)))
    yield _found("row selection over one read of the pre-activations", over(select, read))
    yield _found("torch.topk over row selection", over(theirs, select))
    yield _found("encoding over the encoder's product", over(encode, product))


def variants(clock: Clock, shape: Shape) -> Rows:
    """Yield G8 to G10: steps of other autoencoders over one of TopK."""
    dim, width, _, k = shape
    training = _training(shape[2])
    others: dict[str, NeuralSolver] = {
        "matching pursuit of T steps over T TopK steps": MatchingPursuitSAE(width, k, training=training),
        "Matryoshka over TopK": Matryoshka(width, k, training=training),
        "Gated over TopK": Gated(width, training=training),
        "JumpReLU over TopK": JumpReLU(width, training=training),
        "ReLU + L1 over TopK": ReLUL1(width, training=training),
        "BatchTopK over TopK": BatchTopK(width, k, training=training),
    }
    with place.products(clock.device, "fast"):
        topk = clock.times(ours(_topk(shape), dim, clock.device))
        for what, solver in others.items():
            steps = k if what.startswith("matching") else 1
            yield _found(what, over(clock.times(ours(solver, dim, clock.device)), topk * steps))


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
    yield _found(next(what for goal, what, *_ in AWAY if goal == "G13"), peak / asked)
    with tempfile.TemporaryDirectory() as kernels:
        yield _found("first step with an empty cache of kernels", _first(clock.device, kernels))
        yield _found("first step with compiled kernels", _first(clock.device, kernels))


def _first(device: torch.device, kernels: str) -> float:
    """Return the seconds of the first step of a new process, which keeps compiled kernels in the folder ``kernels``."""
    environment = os.environ | {"TRITON_CACHE_DIR": kernels}
    command = [sys.executable, "-c", FIRST.format(str(device))]
    return float(subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout)


def measured(clock: Clock) -> list[dict[str, Any]]:
    """Return the rows of all goals: measured, or why not."""
    parts: list[Callable[[], Rows]] = [
        lambda: step_times(clock, (MIDDLE, WIDE, SMALL)),
        lambda: stacked(clock, TOY, SMALL, TOYS),
        lambda: generation(clock, published("synthsaebench-16k", "corrected"), AHEAD, MIDDLE),
        lambda: selection(clock, MIDDLE),
        lambda: variants(clock, MIDDLE),
        lambda: housekeeping(clock, MIDDLE),
    ]
    rows = [each for part in parts for each in part()]
    known = {each["quantity"] for each in rows}
    return rows + [each for each in away(UNMEASURED) if each["quantity"] not in known]


def kept(path: Path) -> bool:
    """Return whether there is a table with something measured, which one without a GPU must not replace."""
    return path.is_file() and "yes" in Table.read(path).values("measured")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what can be measured here, say what cannot, and write both to a table."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    parser.add_argument("--repetitions", type=int, default=50, help="fewer than 6 have no interval")
    parser.add_argument("--cold", action="store_true", help="empty the cache before each timing")
    options = parser.parse_args(arguments)
    facts: dict[str, Any] = provenance() | {"cuda": torch.version.cuda}
    if torch.cuda.is_available():
        rows = measured(Clock(torch.device("cuda"), options.repetitions, cold=options.cold))
        facts |= {"device": torch.cuda.get_device_name(), "cold": options.cold, "measured": "yes"}
    else:
        rows = away()
        facts |= {"device": "none", "measured": NO_GPU}
    table = Table.of_rows(rows[0], ([each[name] for name in rows[0]] for each in rows))
    print("\n".join(sentences(table)))
    if not torch.cuda.is_available() and kept(options.out):
        print(f"left as it is, for it was measured: {options.out}")
        return
    table.write(options.out)
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    options.out.with_suffix(".provenance.json").write_text(text, encoding="utf-8")
    print(f"table: {options.out}")


if __name__ == "__main__":
    main()
