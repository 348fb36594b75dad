"""``python -m studies.speed.training``: steps a second of autoencoders, beside plain PyTorch and SAELens.

Every round times everybody once, in turn, on the same batches of Gaussian noise; a ratio is one of the same round. The
bound is the encoder's dense product alone, which every one of them has to do. With ``--peer-python`` an interpreter
with sae-lens trains its own classes in a process of its own. One row races an ensemble against one model after another.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsesim._arrays import FloatArray
from sparsesim._source import Rows
from sparsesim.kernels.training import kernel_threads
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver, fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training, train
from sparsesim.study import Table
from sparsesim.study.provenance import provenance
from studies.speed.peer import Peer, PeerFailedError
from studies.speed.plain import CODES, PREFIXES, PlainAutoencoder, steps
from studies.speed.saelens_training import SHAPES, TRAINED
from studies.speed.timing import Median, median_interval, seconds
from studies.speed.training_verdicts import sentences

TABLE = Path(__file__).parent.parent / "tables" / "speed_training.csv"
PEER = "studies.speed.saelens_training"
REPETITIONS = 7
BATCHES = 8  # different batches, taken in turn
DEAD = 10  # one latent in so many is dead where AuxK is timed
TOYS, TOY = 64, (16, 32, 256, 3)  # members, and d, p, B, k of each
NOTHING = float("nan")


def solver(kind: str, width: int, k: int, training: Training) -> NeuralSolver:
    """Return our solver of ``kind``."""
    if kind == "matryoshka":
        return Matryoshka(width, k, prefixes=tuple(width // part for part in PREFIXES), training=training)
    kinds: dict[str, type[Any]] = {
        "topk": TopK, "topk_auxk": TopK, "batch_topk": BatchTopK, "abs_topk": AbsTopK, "mp": MatchingPursuitSAE,
    }  # fmt: skip
    priced: dict[str, type[Any]] = {"relu_l1": ReLUL1, "gated": Gated, "jump_relu": JumpReLU}
    made: NeuralSolver = (
        priced[kind](width, training=training) if kind in priced else kinds[kind](width, k, training=training)
    )
    return made


def ours(kind: str, shape: tuple[int, int, int, int], x: FloatArray, count: int) -> Callable[[], float]:
    """Return what trains our model for ``count`` steps and returns the seconds a step."""
    dim, width, batch, k = shape
    training = Training(steps=count, batch_size=batch, learning_rate=3e-4)
    spec = solver(kind, width, k, training)
    if kind == "topk_auxk":
        spec = replace(spec, dead_after=1)  # type: ignore[call-arg]

    def run() -> float:
        module = spec.module(dim, np.random.default_rng(0))
        if kind == "topk_auxk":
            _silence(module, width // DEAD)
        rngs = [np.random.default_rng(1)]
        with kernel_threads(torch.get_num_threads()):
            return seconds(lambda: train(module, [Rows(x)], rngs, training)) / count

    return run


def _silence(module: SparseModule, count: int) -> None:
    """Have the first ``count`` latents never fire and be known as dead from the first step on."""
    with torch.no_grad():
        module.get_parameter("encoder_bias")[:count] = -100.0
        module.get_buffer("dead.dead")[:count] = 1.0
    module.get_submodule("dead").any_dead = True  # type: ignore[assignment]


def plain(kind: str, shape: tuple[int, int, int, int], x: FloatArray, count: int) -> Callable[[], float]:
    """Return what does the same in plain PyTorch."""
    dim, width, batch, k = shape
    batches = list(torch.from_numpy(x).split(batch))

    def run() -> float:
        model = PlainAutoencoder(kind, dim, width, k, dead=width // DEAD if kind == "topk_auxk" else 0)
        return seconds(lambda: steps(model, batches, count)) / count

    return run


def product(shape: tuple[int, int, int, int], x: FloatArray, count: int) -> Callable[[], float]:
    """Return what times the encoder's dense product of one step."""
    dim, width, batch, _ = shape
    weights, data, out = torch.ones(width, dim), torch.from_numpy(x[:batch]), torch.empty(batch, width)

    def run() -> float:
        with torch.no_grad():
            return seconds(lambda: [torch.mm(data, weights.mT, out=out) for _ in range(count)]) / count

    return run


def race(
    kind: str, name: str, threads: int, repetitions: int, least_seconds: float, python: Path | None
) -> dict[str, Any]:
    """Return seconds a step of everybody at ``kind`` and shape ``name``, and how many times theirs ours is."""
    shape = SHAPES[name]
    dim, width, batch, k = shape
    x = np.random.default_rng(2).standard_normal((BATCHES * batch, dim)).astype(np.float32)
    makers = {"ours": ours, "plain": plain} if kind in CODES else {"ours": ours}
    ready: dict[str, Callable[[], float]] = {}
    for who, make in makers.items():
        make(kind, shape, x, 3)()
        count = max(3, round(least_seconds / make(kind, shape, x, 3)()))
        ready[who] = make(kind, shape, x, count)
    product(shape, x, 1)()
    ready["product"] = product(shape, x, max(3, round(least_seconds / product(shape, x, 3)())))
    taken: dict[str, list[float]] = {who: [] for who in (*ready, "plain", "saelens")}
    version, skipped = "none", "no"
    raced = python is not None and kind in TRAINED
    try:
        with Peer(python, f"{kind}:{name}", threads, PEER) if python and raced else nullcontext() as peer:
            if peer is not None:
                version = str(peer.ask("describe", 1)["version"])
                asked = max(3, round(least_seconds / (peer.ask("time", 3)["seconds"] / 3)))
            for _ in range(repetitions):
                for who, run in ready.items():
                    taken[who].append(run())
                if peer is not None:
                    taken["saelens"].append(peer.ask("time", asked)["seconds"] / asked)
    except PeerFailedError as error:
        skipped = str(error)
    return _row(kind, name, threads, taken) | {
        "dim": dim, "width": width, "batch": batch, "k": k, "saelens": version, "skipped": skipped,
    }  # fmt: skip


def _row(kind: str, name: str, threads: int, taken: dict[str, list[float]]) -> dict[str, Any]:
    mine = np.array(taken["ours"])
    row: dict[str, Any] = {"kind": kind, "shape": name, "threads": threads, "repetitions": len(mine)}
    row["our_ms"] = 1e3 * float(np.median(mine))
    row["our_steps_per_s"] = 1e3 / row["our_ms"]
    for who in ("plain", "saelens", "product"):
        times = np.array(taken[who])
        ratio = median_interval(times / mine[: len(times)]) if len(times) else Median(NOTHING, NOTHING, NOTHING)
        row[f"{who}_ms"] = 1e3 * float(np.median(times)) if len(times) else NOTHING
        row |= {f"times_{who}": ratio.value, f"times_{who}_low": ratio.low, f"times_{who}_high": ratio.high}
    return row


def toys(threads: int, repetitions: int) -> dict[str, Any]:
    """Return the race of an ensemble of toy models against the same models one after another."""
    dim, width, batch, k = TOY
    training = Training(steps=100, batch_size=batch)
    sources = [Rows(np.random.default_rng(e).standard_normal((2048, dim))) for e in range(TOYS)]
    spec = TopK(width, k, training=training)

    def rngs() -> list[np.random.Generator]:
        return [np.random.default_rng(e) for e in range(TOYS)]

    def together() -> float:
        return seconds(lambda: fit_together([spec] * TOYS, sources, rngs())) / training.steps

    def one_by_one() -> float:
        fits = zip(sources, rngs(), strict=True)
        return seconds(lambda: [spec.fit_stream(source, rng=rng) for source, rng in fits]) / training.steps

    together()
    taken: dict[str, list[float]] = {who: [] for who in ("ours", "plain", "saelens", "product")}
    for _ in range(repetitions):
        taken["ours"].append(together())
        taken["plain"].append(one_by_one())
    return _row("ensemble", f"{TOYS} toys", threads, taken) | {
        "dim": dim, "width": width, "batch": batch, "k": k, "saelens": "none", "skipped": "no",
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print what the numbers say, and write the table and its provenance."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.training", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    parser.add_argument("--peer-python", type=Path, help="a Python with sae-lens (default: the peer is left out)")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="fewer than 6 have no interval")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a repetition")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--kinds", nargs="*", default=[*CODES, "relu_l1", "gated", "jump_relu", "mp"])
    options = parser.parse_args(arguments)
    if options.peer_python is not None and not options.peer_python.is_file():
        parser.error(f"--peer-python must be an interpreter; there is no file {options.peer_python}.")
    threads = torch.get_num_threads()
    facts: dict[str, Any] = provenance() | {"load before": os.getloadavg()[0], "threads": threads}
    rows = []
    for name in options.shapes:
        for kind in options.kinds:
            rows.append(race(kind, name, threads, options.repetitions, options.seconds, options.peer_python))
            print(f"{kind} {name}: {rows[-1]['our_ms']:.2f} ms a step", file=sys.stderr, flush=True)
    rows.append(toys(threads, min(3, options.repetitions) if options.repetitions < 6 else options.repetitions))
    measured = Table.of_rows(rows[0], ([row[column] for column in rows[0]] for row in rows))
    measured.write(options.out)
    facts["load after"] = os.getloadavg()[0]
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    options.out.with_suffix(".provenance.json").write_text(text, encoding="utf-8")
    print("\n".join(sentences(measured)))
    print(f"table: {options.out}")


if __name__ == "__main__":
    main()
