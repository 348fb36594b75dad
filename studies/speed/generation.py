"""``python -m studies.speed.generation``: how fast worlds are sampled, against the peer and the memory's own limit."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit, prange

from sparsesim._identity import Role, stream
from sparsesim.generators import FeatureModel, FeatureSpec, Forest, HalfNormal, RandomSphere
from sparsesim.study import Table
from sparsesim.study.provenance import provenance

TABLE = Path(__file__).parent.parent / "tables" / "speed_generation.csv"
BATCH = 1024
REPETITIONS = 9
BATCHES = {"small": 100, "large": 6}  # batches a repetition, for some tenths of a second each
# SAELens 6.54.12, dense generator with 2 threads, float32, batch 1024, worlds of these shapes; measured on another
# 2-core machine, so the ratio is one of magnitude, not of per cents.
REFERENCE = {"small": 47_900.0, "large": 1_546.0}


def _forest(roots: int, n_features: int, root_rate: float, child_rate: float, outside_rate: float) -> Forest:
    """Return ``roots`` exclusive trees of 85 features and, up to ``n_features``, features that fire on their own."""
    trees = Forest.regular(roots, branching=4, depth=3, root_rate=root_rate, child_rate=child_rate)
    outside = n_features - trees.n_features
    return Forest(trees.parents + (-1,) * outside, trees.rates + (outside_rate,) * outside)


def world(name: str) -> FeatureSpec:
    """Return the world ``small`` (1,024 features, d=128, mean L0 7) or ``large`` (16,384, d=768, mean L0 34.4)."""
    law, dim = {
        "small": lambda: (_forest(8, 1_024, 0.15, 0.2, 0.01006), 128),
        "large": lambda: (_forest(128, 16_384, 0.05, 0.2, 0.002815), 768),
    }[name]()
    return FeatureSpec(dim, law, RandomSphere(), HalfNormal())


@njit(parallel=True)
def _copy(source: Any, target: Any) -> None:
    for row in prange(len(source)):
        target[row] = source[row]


def _seconds(action: Callable[[], object], repetitions: int) -> list[float]:
    measured = []
    for _ in range(repetitions):
        started = time.perf_counter()
        action()
        measured.append(time.perf_counter() - started)
    return measured


def traffic(shape: tuple[int, int]) -> float:
    """Return the bytes read and written per second when a float32 table of ``shape`` is copied with all threads set.

    The table of atoms has this size, so it lies in the same cache or in memory.
    """
    source, target = np.ones(shape, np.float32), np.empty(shape, np.float32)
    rounds = max(1, 2**28 // source.nbytes)

    def copies() -> None:
        for _ in range(rounds):
            _copy(source, target)

    copies()
    return 2.0 * source.nbytes * rounds / min(_seconds(copies, 5))


def first_call(name: str) -> float:
    """Return the seconds of the first batch in a fresh process with an empty compilation cache."""
    code = (
        f"import time, studies.speed.generation as g; m = g.world({name!r}).build(g.stream(0, g.Role.TRUTH)); "
        "s = time.perf_counter(); m.sample(g.BATCH, g.stream(0, g.Role.TRAIN), dtype='float32'); "
        "print(time.perf_counter() - s)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(model: FeatureModel, threads: int, repetitions: int, batches: int) -> dict[str, float]:
    """Return rates of sampling ``model`` with ``threads``: median, least and most of ``repetitions``."""
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        rng, fired = stream(0, Role.TRAIN), []

        def repetition() -> None:
            for _ in range(batches):
                fired.append(model.sample(BATCH, rng, dtype=np.float32).codes.nnz)

        repetition()
        fired.clear()
        seconds = np.array(_seconds(repetition, repetitions)) / (batches * BATCH)
        bytes_per_second = traffic(model.atoms.shape)
    finally:
        numba.set_num_threads(before)
    l0 = float(np.mean(fired)) / BATCH
    least = 4.0 * model.dim * (l0 + 1.0) / bytes_per_second  # the atoms are read, x is written
    return {
        "l0": l0,
        "samples_per_s": float(1.0 / np.median(seconds)),
        "samples_per_s_min": float(1.0 / seconds.max()),
        "samples_per_s_max": float(1.0 / seconds.min()),
        "repetitions": repetitions,
        "x_mb_per_s": float(4e-6 * model.dim / np.median(seconds)),
        "ns_per_active": float(1e9 * np.median(seconds) / l0),
        "traffic_gb_per_s": bytes_per_second * 1e-9,
        "memory_limit_samples_per_s": 1.0 / least,
        "share_of_memory_limit": float(least / np.median(seconds)),
    }


def table(names: tuple[str, ...]) -> Table:
    """Return one row for each world and number of threads."""
    rows: list[dict[str, Any]] = []
    for name in names:
        model, compiled = world(name).build(stream(0, Role.TRUTH)), first_call(name)
        shape = {"n_features": model.n_features, "dim": model.dim, "batch": BATCH}
        for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            speed = measure(model, threads, REPETITIONS, BATCHES[name])
            peer = {
                "first_call_s": compiled,
                "reference": "SAELens 6.54.12, 2 threads, another machine",
                "reference_samples_per_s": REFERENCE[name],
                "times_reference": speed["samples_per_s"] / REFERENCE[name],
            }
            rows.append({"world": name, "threads": threads, **shape, **speed, **peer})
    return Table.of_rows(rows[0], (row.values() for row in rows))


def main() -> None:
    """Measure, print and write the table and its provenance."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.generation", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    options = parser.parse_args()
    facts = provenance()  # before the table is written, which would itself be a change to the checkout
    measured = table(tuple(REFERENCE))
    for row in measured.rows():
        print(
            "\n".join(
                f"{name:>28}  {value:,.4g}" if isinstance(value, float) else f"{name:>28}  {value}"
                for name, value in row.items()
            ),
            end="\n\n",
        )
    measured.write(options.out)
    facts |= {"threads": sorted(set(measured.values("threads"))), "load": os.getloadavg()[0]}
    options.out.with_suffix(".provenance.json").write_text(
        json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    print(f"table: {options.out}")


if __name__ == "__main__":
    main()
