"""``python -m studies.speed.generation``: how fast worlds are sampled as they grow, and beside the peer.

Scaling: worlds of 1,000 to 1,000,000 features of which 32 fire, d = 64; supports, magnitudes and synthesis timed apart.
Peer: with ``--peer-python`` (an interpreter with sae-lens) the same shapes in both, repetition by repetition in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

from sparsesim._identity import Role, stream
from sparsesim.generators import FeatureModel
from sparsesim.kernels.synthesis import synthesise
from sparsesim.study import Table
from sparsesim.study.provenance import provenance
from studies.speed.peer import Peer
from studies.speed.saelens import BATCH, SHAPES
from studies.speed.timing import (
    gather_seconds,
    median_interval,
    peak_bytes,
    seconds,
    stream_bandwidth,
    threads_set,
)
from studies.speed.verdicts import sentences
from studies.speed.worlds import LAWS, SIZES, raced, scaled

TABLE = Path(__file__).parent.parent / "tables" / "speed_generation.csv"
REPETITIONS = 9
STAGES = ("support", "magnitudes", "synthesis")
NOTHING = float("nan")
PAUSE = 0.1  # seconds between the two sides, in which the peer's idle threads stop spinning


def stages(model: FeatureModel, batches: int, rng: np.random.Generator) -> list[float]:
    """Return the seconds that ``batches`` batches spend on supports, on magnitudes and on synthesis."""
    atoms, bias = model.atoms.astype(np.float32), model.bias.astype(np.float32)
    spent = [0.0, 0.0, 0.0]
    for _ in range(batches):
        clock = [time.perf_counter()]
        support = model.spec.support.draw(BATCH, rng)
        clock.append(time.perf_counter())
        codes = support.codes(model.spec.magnitude.draw(support, rng).astype(np.float32))
        clock.append(time.perf_counter())
        synthesise(codes, atoms, bias)
        clock.append(time.perf_counter())
        spent = [total + after - before for total, before, after in zip(spent, clock, clock[1:], strict=False)]
    return spent


def enough(model: FeatureModel, least_seconds: float) -> int:
    """Return how many batches take about ``least_seconds``, after a first that compiles and fills the caches."""
    rng = stream(0, Role.TRAIN)
    model.sample(BATCH, rng, dtype=np.float32)
    return max(2, round(least_seconds / seconds(lambda: model.sample(BATCH, rng, dtype=np.float32))))


def limits(model: FeatureModel) -> dict[str, float]:
    """Return what memory allows, in nanoseconds a sample: the fetch of the atoms alone, and streaming as many bytes."""
    batches = [model.sample(BATCH, stream(0, Role.TEST, index), dtype=np.float32).codes for index in range(16)]
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(codes.indptr) for codes in batches]))])
    indices = np.concatenate([codes.indices for codes in batches])
    fetched = gather_seconds(indptr, indices, model.atoms.astype(np.float32))
    n = len(indptr) - 1
    moved = 4.0 * model.dim * (len(indices) / n + 1.0)  # the atoms are read, x is written
    return {
        "gather_limit_ns": 1e9 * fetched / n,
        "stream_limit_ns": 1e9 * moved / stream_bandwidth(model.atoms.shape),
    }


def measure(model: FeatureModel, threads: int, repetitions: int, least_seconds: float) -> dict[str, float]:
    """Return times in nanoseconds a sample with ``threads``: medians of ``repetitions`` and the interval of the whole.

    ``sample`` is `FeatureModel.sample`; the three stages are timed in repetitions of their own. ``peak_bytes`` are
    numpy's at their peak within one call, x and codes included.
    """
    rng, counts = stream(0, Role.TRAIN), np.zeros(0)
    with threads_set(threads):
        batches = enough(model, least_seconds)
        parts, whole = [], []
        for _ in range(repetitions):
            parts.append(stages(model, batches, rng))
            whole.append(seconds(lambda: [model.sample(BATCH, rng, dtype=np.float32) for _ in range(batches)]))
        bounds = limits(model)
    for _ in range(batches):
        counts = np.append(counts, np.diff(model.sample(BATCH, rng, dtype=np.float32).codes.indptr))
    scale = 1e9 / (batches * BATCH)
    each = dict(zip(STAGES, scale * np.median(parts, axis=0), strict=True))
    total = median_interval(scale * np.array(whole))
    return {
        "l0": float(counts.mean()),
        "l0_sd": float(counts.std(ddof=1)),
        **{f"{stage}_ns": float(each[stage]) for stage in STAGES},
        "sample_ns": total.value,
        "sample_ns_low": total.low,
        "sample_ns_high": total.high,
        "samples_per_s": 1e9 / total.value,
        **bounds,
        "synthesis_over_gather_limit": float(each["synthesis"]) / bounds["gather_limit_ns"],
        "sample_over_stream_limit": total.value / bounds["stream_limit_ns"],
        "peak_bytes_per_sample": peak_bytes(lambda: model.sample(BATCH, rng, dtype=np.float32)) / BATCH,
    }


def first_call(name: str) -> float:
    """Return the seconds of the first batch of a raced world in a fresh process with an empty compilation cache."""
    code = (
        "import time; from studies.speed.generation import *; "
        f"m = raced({name!r}).build(stream(0, Role.TRUTH)); s = time.perf_counter(); "
        "m.sample(BATCH, stream(0, Role.TRAIN), dtype='float32'); print(time.perf_counter() - s)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def race(model: FeatureModel, peer: Peer, threads: int, repetitions: int, least_seconds: float) -> dict[str, Any]:
    """Return the peer's speed on the same shape and how many times it our speed is.

    The two sides are timed in turn, so that what else the machine does meets both; ``times_peer`` is the median over
    these pairs of the ratio of samples a second, with the interval of a median.
    """
    rng, mine, theirs = stream(1, Role.TRAIN), [], []
    with threads_set(threads):
        batches = enough(model, least_seconds)
        facts = peer.ask("describe", 4)
        asked = max(2, round(least_seconds / peer.ask("time", 1)["seconds"]))
        for _ in range(repetitions):
            took = seconds(lambda: [model.sample(BATCH, rng, dtype=np.float32) for _ in range(batches)])
            mine.append(took / (batches * BATCH))
            time.sleep(PAUSE)
            theirs.append(peer.ask("time", asked)["seconds"] / (asked * BATCH))
            time.sleep(PAUSE)
    ratio = median_interval(np.array(theirs) / np.array(mine))
    return {
        "peer": f"sae-lens {facts['version']}",
        "peer_l0": facts["l0"],
        "peer_l0_sd": facts["l0_sd"],
        "peer_samples_per_s": 1.0 / float(np.median(theirs)),
        "peer_bytes_per_sample": facts["bytes_per_sample"] or NOTHING,
        "times_peer": ratio.value,
        "times_peer_low": ratio.low,
        "times_peer_high": ratio.high,
    }


def absent() -> dict[str, Any]:
    """Return the peer's columns of a row that was not raced."""
    names = ("l0", "l0_sd", "samples_per_s", "bytes_per_sample")
    empty = dict.fromkeys([*(f"peer_{name}" for name in names), "times_peer", "times_peer_low", "times_peer_high"])
    return {"peer": "none", **dict.fromkeys(empty, NOTHING)}


def table(
    sizes: Sequence[int], most_threads: int, python: Path | None, repetitions: int, least_seconds: float
) -> Table:
    """Return a row for each world and number of threads; the peer's columns are empty where it did not run."""
    rows: list[dict[str, Any]] = []
    worlds = [(f"{law}-{m}", law, scaled(law, m)) for law in LAWS for m in sizes]
    worlds += [(name, "peer", raced(name)) for name in SHAPES]
    for name, law, spec in worlds:
        model = spec.build(stream(0, Role.TRUTH))
        compiled = first_call(name) if name in SHAPES else NOTHING
        for threads in range(1, most_threads + 1):
            own = {"world": name, "law": law, "threads": threads, "n_features": model.n_features, "dim": model.dim}
            row = {**own, "batch": BATCH, "repetitions": repetitions, "first_call_s": compiled}
            row |= measure(model, threads, repetitions, least_seconds) | absent()
            if python is not None and name in SHAPES:
                with Peer(python, name, threads) as peer:
                    row |= race(model, peer, threads, repetitions, least_seconds)
            rows.append(row)
            print(f"{name}, {threads} threads: {row['sample_ns']:,.0f} ns a sample", file=sys.stderr, flush=True)
    return Table.of_rows(rows[0], (row.values() for row in rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print what the numbers say, and write the table and its provenance."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.generation", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    parser.add_argument("--peer-python", type=Path, help="a Python with sae-lens (default: the peer is left out)")
    parser.add_argument("--largest", type=int, default=max(SIZES), help="largest number of features of the scaling")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="fewer than 6 have no interval")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a repetition")
    parser.add_argument("--threads", type=int, default=numba.config.NUMBA_NUM_THREADS, help="largest number of threads")
    options = parser.parse_args(arguments)
    if options.peer_python is not None and not options.peer_python.is_file():
        parser.error(f"--peer-python must be an interpreter; there is no file {options.peer_python}.")
    sizes = [m for m in SIZES if m <= options.largest]
    if not sizes or options.repetitions < 1 or not 1 <= options.threads <= numba.config.NUMBA_NUM_THREADS:
        parser.error(
            f"--largest must be at least {min(SIZES)}, --repetitions at least 1 and --threads from 1 to "
            f"{numba.config.NUMBA_NUM_THREADS}."
        )
    facts = provenance() | {
        "load before": os.getloadavg()[0]
    }  # before the table is written, which changes the checkout
    measured = table(sizes, options.threads, options.peer_python, options.repetitions, options.seconds)
    measured.write(options.out)
    facts |= {"threads": sorted(set(measured.values("threads"))), "load after": os.getloadavg()[0]}
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    options.out.with_suffix(".provenance.json").write_text(text, encoding="utf-8")
    print("\n".join(sentences(measured)))
    print(f"table: {options.out}")


if __name__ == "__main__":
    main()
