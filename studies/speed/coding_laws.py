"""How coding grows with the number of samples, of atoms and of codes, and what the first call costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from studies.speed.codings import Race

ROOT = Path(__file__).resolve().parent.parent.parent
COUNTS = (2_000, 4_000, 8_000, 16_000)
WIDTHS = (256, 512, 1024, 2048)
ACTIVE = (4, 8, 16, 32)


def scaling(fewer: int) -> Iterator[tuple[str, Race, int]]:
    """Yield what is varied, the race and its number of samples, about the shape (128, 512, 8)."""
    for task in ("omp", "lasso"):
        yield from (("n", Race(task, (128, 512, 8), "float64"), n // fewer) for n in COUNTS)
        yield from (("p", Race(task, (128, p, 8), "float64"), COUNTS[1] // fewer) for p in WIDTHS)
        yield from (("k", Race(task, (128, 512, k), "float64"), COUNTS[0] // fewer) for k in ACTIVE)


def compiled(race: Race) -> dict[str, float]:
    """Return the seconds of the first call in a fresh process, with an empty compilation cache and with a full one."""
    code = (
        "import time; from studies.speed.codings import *; "
        f"r = {race!r}; d = np.random.default_rng(0); a = d.standard_normal({race.shape[1::-1]}); "
        "a = (a / np.linalg.norm(a, axis=1, keepdims=True)).astype(r.dtype); x = a[:64] * 2; e = encoder(r, 0.5); "
        "s = time.perf_counter(); e.encode(x, a); print(time.perf_counter() - s)"
    )
    with tempfile.TemporaryDirectory() as cache:
        command, environment = [sys.executable, "-c", code], {**os.environ, "NUMBA_CACHE_DIR": cache}
        first, second = (
            subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
            for _ in range(2)
        )
    return {"first_call_s": float(first.stdout), "cached_call_s": float(second.stdout)}
