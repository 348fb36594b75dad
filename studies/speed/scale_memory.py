"""``python -m studies.speed.scale_memory WORLD KIND WIDTH K BATCH STEPS THREADS``: the memory that a training takes.

It trains alone in its process; WORLD is a folder that `FeatureModel.save` wrote. What is there before counts for
nothing: the interpreter and its libraries; the world, from which a batch was drawn; the compiled kernels, threads and
their stacks, which a training of `SMALL` latents has started. What was freed is given back to the system first, so that
the training cannot hide in it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from sparsesim._identity import Role, stream
from sparsesim.generators import FeatureModel
from sparsesim.solvers.neural.train import Training
from studies.speed.peer import ROOT
from studies.speed.saelens import resident
from studies.speed.training import solver

SMALL = 64


def reset_peak() -> None:
    """Have the system forget the largest memory of this process, where it can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def bound(width: int, dim: int, batch: int) -> float:
    """Return the bytes that are allowed: 16 a parameter, 1.2 pre-activations ``(B, p)``, and two batches ``(B, d)``."""
    return 16 * 2 * width * dim + 1.2 * 4 * batch * width + 2 * 4 * batch * dim


def grown(world: Path, kind: str, width: int, k: int, batch: int, steps: int) -> int:
    """Return by how many bytes a training makes the largest resident memory of a fresh process grow."""
    arguments = [str(world), kind, *map(str, (width, k, batch, steps, torch.get_num_threads()))]
    command = [sys.executable, "-m", "studies.speed.scale_memory", *arguments]
    said = subprocess.run(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(json.loads(said)["grown"])


def _trimmed() -> int:
    """Give back to the system what was freed, where the C library can, and return what is resident now."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return resident("VmRSS")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and print by how much memory has grown."""
    folder, kind, *numbers = sys.argv[1:] if arguments is None else arguments
    width, k, batch, steps, threads = map(int, numbers)
    torch.set_num_threads(threads)
    source = FeatureModel.load(folder).source()
    for size, taken, latents in ((256, 60, SMALL), (batch, steps, width)):
        rng = stream(0, Role.SOLVER)
        next(source.batches(batch, stream(0, Role.TEST)))
        before = _trimmed()
        reset_peak()
        training = Training(steps=taken, batch_size=size, learning_rate=3e-4)
        solver(kind, latents, min(k, latents), training).fit_stream(source, rng=rng)
    print(json.dumps({"grown": resident("VmHWM") - before, "before": before}))


if __name__ == "__main__":
    main()
