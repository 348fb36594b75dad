"""``python -m studies.speed.scale``: an autoencoder of 4,096 latents on the world of 16,384 features, fresh samples.

A slice of a training on 200 million samples is timed, generation and checkpoints included, and projected to the whole;
the error is that of the slices. With ``--peer-python`` (an interpreter with sae-lens) the peer trains its own
autoencoder on its own world between our slices. Then the evaluation on half a million samples is timed. Goals that need
a GPU are those of `studies.speed.gpu`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsesim._identity import Role, stream
from sparsesim._source import Shared
from sparsesim.generators import FeatureModel, published
from sparsesim.metrics.blocks import evaluate_stream
from sparsesim.metrics.codes import latent_f1
from sparsesim.metrics.peer import saelens_f1
from sparsesim.metrics.reconstruction import explained_variance
from sparsesim.metrics.recovery import mcc
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.checkpoint import STATE, Checkpoint, Keeper
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import CHUNK_VALUES, Training
from sparsesim.study import Table
from sparsesim.study.provenance import provenance
from studies.speed.peer import Peer
from studies.speed.saelens import resident
from studies.speed.scale_goals import COLUMNS, over, row, sentences
from studies.speed.scale_memory import bound, grown, reset_peak
from studies.speed.sliced import EnoughError, Sliced, rates, timed
from studies.speed.timing import Median, median_interval, seconds
from studies.speed.training import product, solver

TABLE = Path(__file__).parent.parent / "tables" / "speed_scale.csv"
PEER = "studies.speed.saelens_scale"
WHOLE = 200_000_000  # samples that the published autoencoders were trained on
SAVED_EVERY = 1000  # steps
MEMBERS = 4  # models that are trained together
ALONE = 120  # steps of the training whose memory is measured, from 100 on with the loss that revives dead latents
LITTLE = 100.0  # megabytes of scratch by which two evaluations may differ; x alone has 3 kB a sample
MEGA = 1e6


def built(name: str) -> tuple[FeatureModel, list[dict[str, Any]]]:
    """Return the world ``name`` with true rates, and rows of what building it took."""
    spec = published(name, "corrected")
    worlds: list[FeatureModel] = []
    reset_peak()
    before = resident("VmRSS")
    took = seconds(lambda: worlds.append(spec.build(stream(0, Role.TRUTH))))
    grown = (resident("VmHWM") - before) / MEGA
    return worlds[0], [
        row("scale", "building the world", name, took, "s"),
        row("scale", "memory of building it", name, grown, "MB"),
    ]


def trained(
    kind: str, world: FeatureModel, options: argparse.Namespace, peer: Peer | None, saved: Path
) -> list[dict[str, Any]]:
    """Return the rows of training ``kind``, raced against the peer if there is one; the world is ``saved`` as well."""
    width, k, batch = options.width, options.k, options.batch
    spec = solver(kind, width, k, Training(steps=WHOLE // batch, batch_size=batch, learning_rate=3e-4))
    theirs: list[dict[str, float]] = []
    products: list[float] = []
    encode = product((world.dim, width, batch, k), np.ones((batch, world.dim), np.float32), 5)

    def between() -> None:
        products.append(encode())
        theirs.extend(_asked(peer, options))

    cold = timed(spec, Sliced(world.source(), 1, 1, lambda: None), stream(0, Role.SOLVER), None)
    source = Sliced(world.source(), options.steps, options.slices, between)
    with tempfile.TemporaryDirectory() as folder:
        timed(spec, source, stream(0, Role.SOLVER), Checkpoint(folder, every=options.steps))
        saving, size = _saving(Path(folder))
    sample, share = rates(source, batch)
    step = sample * batch
    saved_share = saving / float(np.median(step)) / SAVED_EVERY
    memory = grown(saved, kind, width, k, batch, ALONE) / bound(width, world.dim, batch)
    rows = [
        *_paced(kind, sample, share),
        *_stepped(kind, step * (1 - share), products),
        row("G13", "resident memory of training over the bound", kind, memory, "times", most=1.0),
        row("G14", "first step, import and world not counted", kind, cold, "s", most=5.0),
        row("scale", f"a checkpoint each {SAVED_EVERY} steps", kind, saved_share, "of the step"),
        row("scale", "size of a checkpoint", kind, size / MEGA, "MB"),
    ]  # fmt: skip
    return rows + (_raced(kind, sample, share, theirs) if peer is not None else [])


def _paced(kind: str, sample: np.ndarray, share: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows of seconds a ``sample`` in each slice, and of the ``share`` of drawing."""
    return [
        row("scale", "training and generation", kind, median_interval(1 / sample), "samples a second"),
        row("scale", f"{WHOLE:,} samples, projected", kind, median_interval(WHOLE * sample / 3600), "h"),
        row("G5", "generation in a step of one model", kind, median_interval(share), "of the step", most=0.25),
        row("G5", "generation in a step, as is wanted", kind, median_interval(share), "of the step", most=0.1),
        row("G5", "generation", kind, median_interval(1 / (sample * share)), "samples a second", least=70_000.0),
    ]


def _stepped(kind: str, alone: np.ndarray, products: Sequence[float]) -> list[dict[str, Any]]:
    """Return the rows of seconds a step ``alone`` in each slice, and those of the encoder's dense product after it."""
    ratio = over(alone, products)
    return [
        row("G11", "step without generation", kind, median_interval(1 / alone), "a second", least=25.0),
        row("G11", "the encoder's product alone", kind, median_interval(1 / np.array(products)), "a second"),
        row("G11", "step without generation over that product, as is wanted", kind, ratio, "times", most=1.3),
    ]


def together(kind: str, world: FeatureModel, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of `MEMBERS` models that are trained as one on a stream that they share."""
    count = MEMBERS
    training = Training(steps=WHOLE // options.batch, batch_size=options.batch, learning_rate=3e-4)
    spec = solver(kind, options.width, options.k, training)
    source = Sliced(world.source(), max(1, options.steps // (2 * count)), options.slices, lambda: None)
    shared = Shared(source, stream(0, Role.TRAIN))
    rngs = [stream(0, Role.SOLVER, e) for e in range(count)]
    with suppress(EnoughError):
        fit_together([spec] * count, [shared] * count, rngs)
    sample, share = rates(source, options.batch)
    trained = median_interval(count / sample)
    return [
        row("G5", f"generation in a step of {count} models", kind, median_interval(share), "of the step", most=0.1),
        row("scale", f"samples times models, {count} models together", kind, trained, "a second"),
    ]


def _asked(peer: Peer | None, options: argparse.Namespace) -> list[dict[str, float]]:
    if peer is None:
        return []
    answer = peer.ask("train", options.peer_steps)
    return [{name: value / (options.peer_steps * 1024) for name, value in answer.items()}]


def _saving(folder: Path) -> tuple[float, int]:
    """Return the seconds that saving the state in ``folder`` again takes, and its bytes."""
    facts = json.loads(np.load(folder / STATE)["facts"].tobytes())
    keeper = Keeper(Checkpoint(folder), {})
    keeper.identity = facts["identity"]
    loaded = keeper.load()
    if loaded is None:
        raise ValueError(f"no state was saved in {folder}: take slices of 50 steps or more.")
    arrays, step = loaded[0], loaded[1]["step"]
    names = ("attributes", "diverged_at", "recorded")
    took = seconds(lambda: keeper.save(step, arrays, {name: loaded[1][name] for name in names}))
    return took, (folder / STATE).stat().st_size


def _raced(kind: str, sample: np.ndarray, share: np.ndarray, theirs: list[dict[str, float]]) -> list[dict[str, Any]]:
    whole, drawing = (np.array([each[name] for each in theirs]) for name in ("seconds", "drawing"))
    return [
        row("scale", "sae-lens: training and generation", kind, median_interval(1 / whole), "samples a second"),
        row("scale", f"sae-lens: {WHOLE:,} samples, projected", kind, median_interval(WHOLE * whole / 3600), "h"),
        row("G3", "training and generation over sae-lens", kind, over(whole, sample), "times", least=5.0),
        row("G5", "generation over sae-lens", kind, over(drawing, sample * share), "times", least=30.0),
        row("scale", "training alone over sae-lens", kind, over(whole - drawing, sample * (1 - share)), "times"),
    ]


def evaluated(
    world: FeatureModel, fitted: FittedDictionary, options: argparse.Namespace, peer: Peer | None
) -> list[dict[str, Any]]:
    """Return the rows of evaluating a fit on fresh samples: time, and how memory grows with their number."""
    few, many = options.samples // 5, options.samples
    taken, peaks, scores = [], [], {}
    before = resident("VmRSS")
    for n in (few, *(many,) * options.evaluations):
        reset_peak()
        taken.append(seconds(lambda: scores.update(_scores(world, fitted, n))))  # noqa: B023
        peaks.append(resident("VmHWM"))
    times = Median(float(np.median(taken[1:])), min(taken[1:]), max(taken[1:]))  # all that were waited for
    grown, more = (max(peaks) - before) / MEGA, (max(peaks[1:]) - peaks[0]) / MEGA
    rows = [
        row("scale", f"evaluation on {many:,} samples", "topk", times, "s", most=60.0),
        row("scale", "memory of evaluation", "topk", grown, "MB"),
        row("scale", f"memory that {many - few:,} samples more take", "topk", more, "MB", most=LITTLE),
    ]
    rows += [row("scale", f"{name} of that fit", "topk", value, "of 1") for name, value in scores.items()]
    if peer is not None:
        theirs = peer.ask("evaluate", options.peer_samples)["seconds"] * many / options.peer_samples
        rows.append(
            row("scale", f"sae-lens: evaluation on {many:,} samples, projected", options.kinds[-1], theirs, "s")
        )
    return rows


def _scores(world: FeatureModel, fitted: FittedDictionary, n: int) -> dict[str, float]:
    streamed = evaluate_stream(world, fitted, n, rng=stream(0, Role.TEST))
    return {each.__name__: each(streamed) for each in (mcc, latent_f1, saelens_f1, explained_variance)}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what is to be measured."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.scale", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    parser.add_argument("--peer-python", type=Path, help="a Python with sae-lens (default: the peer is left out)")
    parser.add_argument("--world", default="16k", choices=("1k", "16k"))
    parser.add_argument("--kinds", nargs="*", default=["topk", "batch_topk"])
    for name, default, meaning in (
        ("width", 4096, "latents"),
        ("k", 25, "latents that speak"),
        ("batch", 1024, "samples a step"),
        ("slices", 7, "timed slices; fewer than 6 have no interval"),
        ("steps", 80, "of a slice"),
        ("peer-steps", 8, "of a slice of the peer"),
        ("samples", 500_000, "of the evaluation"),
        ("peer-samples", 8192, "of the peer's evaluation, from which its time is projected"),
        ("evaluations", 3, "repetitions of the evaluation"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=meaning)
    options = parser.parse_args(arguments)
    if options.peer_python is not None and not options.peer_python.is_file():
        parser.error(f"--peer-python must be an interpreter; there is no file {options.peer_python}.")
    dim = {"1k": 128, "16k": 768}[options.world]
    if CHUNK_VALUES // (options.batch * dim) > 1:
        parser.error(f"--batch must be above {CHUNK_VALUES // (2 * dim)}, or batches are fetched several at a time.")
    if options.steps < 50:
        parser.error(f"--steps must be at least 50, since states are saved no more often; got {options.steps}.")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print what the numbers say, and write the table and its provenance."""
    options = parsed(arguments)
    threads = torch.get_num_threads()
    facts: dict[str, Any] = provenance() | {"load before": os.getloadavg()[0], "threads": threads, "saelens": "none"}
    world, rows = built(f"synthsaebench-{options.world}")
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "world"
        world.save(saved)
        rows += _measured(world, saved, options, facts)
    measured = Table.of_rows(COLUMNS, (each.values() for each in rows))
    measured.write(options.out)
    facts["load after"] = os.getloadavg()[0]
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    options.out.with_suffix(".provenance.json").write_text(text, encoding="utf-8")
    print("\n".join(sentences(measured)))
    print(f"table: {options.out}")


def _measured(
    world: FeatureModel, saved: Path, options: argparse.Namespace, facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of all kinds, and of the evaluation of a fit after the last."""
    rows: list[dict[str, Any]] = []
    for kind in options.kinds:
        asked = f"{kind}:tree-{options.world}:{options.width}:{options.k}"
        with Peer(options.peer_python, asked, facts["threads"], PEER) if options.peer_python else nullcontext() as peer:
            if peer is not None:
                facts["saelens"] = peer.ask("describe", 1)["version"]
                peer.ask("train", 2)
            rows += trained(kind, world, options, peer, saved)
            rows += together(kind, world, options) if kind == options.kinds[0] else []
            print("\n".join(sentences(Table.of_rows(COLUMNS, (each.values() for each in rows)))), file=sys.stderr)
            if kind == options.kinds[-1]:
                short = Training(steps=200, batch_size=options.batch, learning_rate=3e-4)
                fitted = solver("topk", options.width, options.k, short).fit_stream(
                    world.source(), rng=stream(0, Role.SOLVER)
                )
                rows += evaluated(world, fitted, options, peer)
    return rows


if __name__ == "__main__":
    main()
