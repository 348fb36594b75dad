"""The peer's side of a race: ``python -m studies.speed.saelens WORLD`` in a Python that has sae-lens.

It answers lines on standard input with lines of JSON: ``describe BATCHES`` and ``time BATCHES``, until the input ends.
Threads are those of OMP_NUM_THREADS. The dictionary is random: the published orthogonalisation takes half an hour to
build and changes nothing in the cost of a sample.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from typing import Any

BATCH = 1024
# Features, dimension and roots (0: neither hierarchy nor correlation) of arXiv:2602.14687's world and two relatives.
SHAPES = {"tree-1k": (1_024, 128, 8), "tree-16k": (16_384, 768, 128), "independent-16k": (16_384, 768, 0)}


def model(name: str) -> Any:
    """Return the peer's model ``name``: the published configuration, its small relative, or its rates alone."""
    from sae_lens.synthetic import (
        FoldedNormalMagnitudeConfig,
        HierarchyConfig,
        LinearMagnitudeConfig,
        LowRankCorrelationConfig,
        SyntheticModel,
        SyntheticModelConfig,
        ZipfianFiringProbabilityConfig,
    )

    features, dim, roots = SHAPES[name]
    structure: dict[str, Any] = {}
    if roots:
        structure["hierarchy"] = HierarchyConfig(
            total_root_nodes=roots,
            branching_factor=4,
            max_depth=3,
            mutually_exclusive_portion=1.0,
            compensate_probabilities=True,
            scale_children_by_parent=True,
        )
        structure["correlation"] = LowRankCorrelationConfig(rank=25, correlation_scale=0.1)
    rates = ZipfianFiringProbabilityConfig(exponent=0.5, max_prob=0.4, min_prob=5e-4)
    config = SyntheticModelConfig(
        num_features=features,
        hidden_dim=dim,
        firing_probability=rates,
        mean_firing_magnitudes=LinearMagnitudeConfig(start=5.0, end=4.0),
        std_firing_magnitudes=FoldedNormalMagnitudeConfig(mean=0.5, std=0.5),
        bias=0.5,
        seed=42,
        **structure,
    )
    return SyntheticModel(config)


def resident(field: str) -> int:
    """Return ``VmRSS`` (now) or ``VmHWM`` (at most so far) of this process in bytes; 0 where the system has none."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)
    except OSError:
        return 0


def answer(peer: Any, command: str, batches: int) -> dict[str, float | str]:
    """Return the seconds of ``batches`` batches, or what they look like and cost in resident memory."""
    if command == "time":
        started = time.perf_counter()
        for _ in range(batches):
            peer.sample(BATCH)
        return {"seconds": time.perf_counter() - started}
    before = resident("VmRSS")
    peer.sample(BATCH)
    grown = max(0, resident("VmHWM") - before) / BATCH
    counts = [count for _ in range(batches) for count in (peer.sample_with_features(BATCH)[1] != 0).sum(1).tolist()]
    mean = sum(counts) / len(counts)
    spread = (sum((count - mean) ** 2 for count in counts) / max(1, len(counts) - 1)) ** 0.5
    return {"l0": mean, "l0_sd": spread, "bytes_per_sample": grown, "version": metadata.version("sae-lens")}


def main() -> None:
    """Build the model, then answer until the input ends. What others print goes to standard error."""
    replies, sys.stdout = sys.stdout, sys.stderr
    peer = model(sys.argv[1])
    for line in sys.stdin:
        command, batches = line.split()
        print(json.dumps(answer(peer, command, int(batches))), file=replies, flush=True)


if __name__ == "__main__":
    main()
