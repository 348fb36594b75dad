"""Dictionary learning against the clock: n = 50,000 samples of a planted dictionary, d = 64, m = p = 128, k = 4, 20 dB.

Everybody learns anew with a growing budget of samples seen; the first budget whose atoms have MCC 0.95 gives the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers import (
    KSVD,
    MethodOfOptimalDirections,
    OnlineDictionaryLearning,
    OrthogonalMatchingPursuit,
    RecursiveLeastSquares,
)
from studies.speed.coding_peers import waited
from studies.speed.peer import Peer
from studies.speed.timing import seconds, threads_set

SAMPLES, DIM, WIDTH, ACTIVE, SNR = 50_000, 64, 128, 4, 100.0
PASSES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
FOUND, RECOVERED = 0.95, 0.99
Fit = Callable[[float], tuple[FloatArray, float, float]]  # passes -> atoms, seconds, share waited


def planted(n: int) -> tuple[FloatArray, FloatArray]:
    """Return samples ``(n, d)`` and the true atoms ``(m, d)``: normal codes on k atoms, white noise of energy 1/100."""
    rng = stream(0, Role.TRAIN)
    truth = rng.standard_normal((WIDTH, DIM))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    codes = np.zeros((n, WIDTH))
    for row in range(n):
        codes[row, rng.choice(WIDTH, ACTIVE, replace=False)] = rng.standard_normal(ACTIVE)
    x = codes @ truth
    noise = np.sqrt(np.square(x).sum() / n / DIM / SNR) * rng.standard_normal(x.shape)
    return (x + noise).astype(np.float32), truth


def scores(truth: FloatArray, atoms: FloatArray) -> tuple[float, float]:
    """Return MCC and the share of true atoms whose partner has |cos| of at least 0.99."""
    similarity = match_rows(np.abs(cosines(truth, np.asarray(atoms, dtype=np.float64)))).similarity
    return float(similarity.sum() / len(truth)), float(np.count_nonzero(similarity >= RECOVERED) / len(truth))


def curve(fit: Fit, truth: FloatArray, longest: float) -> dict[str, float]:
    """Return when 0.95 was reached, the seconds of one pass, and the scores of the last and longest fit."""
    to_found, one_pass, lost = float("nan"), float("nan"), 0.0
    for passes in PASSES:
        atoms, took, share = fit(passes)
        mcc, recovered = scores(truth, atoms)
        lost = max(lost, share)
        one_pass = took / passes if passes <= 1.0 else one_pass
        if mcc >= FOUND and not to_found > 0:
            to_found = took
        if took > longest:
            break
    return {"seconds_to_95": to_found, "pass_s": one_pass, "mcc": mcc, "recovered_99": recovered, "waited": lost}


def own(x: FloatArray, threads: int) -> Iterator[tuple[str, Fit]]:
    """Yield our learners; those that alternate code all samples in each iteration, which is a pass."""
    encoder = OrthogonalMatchingPursuit(ACTIVE)
    kinds: dict[str, Callable[[int], Any]] = {
        "online": lambda passes: OnlineDictionaryLearning(WIDTH, encoder, passes=passes, tolerance=0.0),
        "recursive": lambda passes: RecursiveLeastSquares(WIDTH, encoder, passes=passes, tolerance=0.0),
        "optimal directions": lambda passes: MethodOfOptimalDirections(WIDTH, encoder, passes),
        "K-SVD": lambda passes: KSVD(WIDTH, encoder, passes),
    }
    for name, make in kinds.items():

        def fit(passes: float, make: Callable[[int], Any] = make) -> tuple[FloatArray, float, float]:
            part, found = x[: max(WIDTH, round(min(passes, 1.0) * len(x)))], []
            with threads_set(threads):
                before = waited()
                solver = make(max(1, round(passes)))
                took = seconds(lambda: found.append(solver.fit(part, rng=stream(0, Role.SOLVER)).atoms))
            return found[0], took, (waited() - before) / took

        fit(0.02)  # compiles
        yield name, fit


def learning(python: Path, threads: int, fewer: int, longest: float) -> list[dict[str, Any]]:
    """Return a row for each learner of ours and of the peers, all on ``threads``."""
    x, truth = planted(SAMPLES // fewer)
    shape = {"task": "learn", "dim": DIM, "width": WIDTH, "k": ACTIVE, "dtype": "float32", "threads": threads}
    common = {**shape, "n": len(x), "skipped": "no"}
    rows = [{**common, "method": name, **curve(fit, truth, longest)} for name, fit in own(x, threads)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "learn.npz"
        np.savez(path, x=x, truth=truth, task="learn")
        with Peer(python, str(path), threads, "studies.speed.coding_peers") as peer:
            found = peer.ask("describe", 0)
            for method, reason in found["skipped"].items():
                rows.append({**common, "method": method, "version": "none", "skipped": reason})
            for method, version in found["present"].items():

                def fit(passes: float, method: str = method) -> tuple[FloatArray, float, float]:
                    reply = peer.ask(f"learn {method}", round(passes * len(x)))
                    return np.load(reply["path"]), reply["seconds"], reply["waited"]

                peer.ask(f"learn {method}", 512)
                rows.append({**common, "method": method, "version": version, **curve(fit, truth, longest)})
    return rows
