"""Tiny cells and metrics for the tests of the runner, importable by worker processes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from sparsesim import Role, stream

if TYPE_CHECKING:  # workers start in half the time without numba
    from sparsesim.study import Study


def note(word: str) -> None:
    """Append a line to the file named by TOY_LOG, so that a test can count what was executed."""
    if path := os.environ.get("TOY_LOG"):
        with open(path, "ab", buffering=0) as file:
            file.write(f"{word}\n".encode())


@dataclass(frozen=True)
class Draw:
    """A matrix product and a spectrum of random numbers, whose last bits depend on the order of summation."""

    seed: int
    size: int = 40
    pause: float = 0.0

    def evaluate(self) -> np.ndarray:
        note(f"draw {self.seed}")
        time.sleep(self.pause)
        matrix = stream(self.seed, Role.TRUTH).standard_normal((self.size, 3 * self.size))
        return matrix @ matrix.T


@dataclass(frozen=True)
class Converged:
    def evaluate(self) -> SimpleNamespace:
        from sparsesim.solvers.base import Status

        return SimpleNamespace(fitted=SimpleNamespace(status=Status.CONVERGED))


@dataclass(frozen=True)
class Raises:
    how: str = "value"

    def evaluate(self) -> None:
        note("raises")
        if self.how == "exit":
            sys.exit(3)
        if os.environ.get("TOY_FIXED"):
            return
        raise ValueError(f"no solution for {self.how}")


class Mute(Exception):
    """An exception whose message cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@dataclass(frozen=True)
class Unspeakable:
    def evaluate(self) -> None:
        raise Mute


@dataclass(frozen=True)
class KillsWorker:
    """Kills the process that evaluates it: always, or only as long as ``marker`` does not exist."""

    marker: str = ""

    def evaluate(self) -> np.ndarray:
        note("kills")
        if not self.marker or not Path(self.marker).exists():
            if self.marker:
                Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.eye(2)


@dataclass(frozen=True)
class Napping:
    """Sleeps, after noting the process that it does so in: a target for those who kill workers."""

    seed: int
    pause: float

    def evaluate(self) -> np.ndarray:
        note(f"{os.getpid()} {self.seed}")
        time.sleep(self.pause)
        return stream(self.seed, Role.TRUTH).standard_normal((3, 3))


@dataclass(frozen=True)
class Hangs:
    """Never comes back from C, and holds the interpreter's lock meanwhile."""

    def evaluate(self) -> np.ndarray:
        re.match(r"(a+)+$", "a" * 60 + "b")
        return np.eye(2)


@dataclass(frozen=True)
class FillsDisk:
    """Lets its process write no file beyond some bytes, as long as ``marker`` does not exist."""

    marker: str

    def evaluate(self) -> np.ndarray:
        import resource

        if not Path(self.marker).exists():
            Path(self.marker).touch()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return np.eye(2)


@dataclass(frozen=True)
class Irreproducible:
    def evaluate(self) -> np.ndarray:
        return np.frombuffer(os.urandom(8), dtype=np.uint8).astype(float).reshape(2, 4)


@dataclass(frozen=True)
class ThreadsInUse:
    def evaluate(self) -> np.ndarray:
        import threadpoolctl
        import torch

        counts = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
        return np.array([[max(counts), torch.get_num_threads()]])


@dataclass(frozen=True)
class HoldsLock:
    name: str

    def __reduce__(self) -> tuple:
        raise TypeError("a lock stays where it is")

    def evaluate(self) -> np.ndarray:
        return np.eye(2)


def evaluate_all(chunk: object) -> None:
    """Evaluate the cells of a chunk, and store nothing."""
    for cell in chunk.items:
        cell.evaluate()


def total(value: object) -> float:
    return float(np.sum(value)) if isinstance(value, np.ndarray) else 0.0


def largest(value: object) -> float:
    return float(np.linalg.eigvalsh(value)[-1]) if isinstance(value, np.ndarray) and len(value) > 2 else float("nan")


def first(value: np.ndarray) -> float:
    return float(value[0, 0])


def second(value: np.ndarray) -> float:
    return float(value[0, 1])


def not_a_number(value: object) -> float:
    raise ZeroDivisionError("metric of nothing")


def draws(count: int, pause: float = 0.0, backwards: bool = False) -> Study:
    """Return the study of ``count`` independent `Draw` cells."""
    from sparsesim.study import Study, labels

    order = range(count - 1, -1, -1) if backwards else range(count)
    cells = {labels(kind=f"k{seed % 2}", seed=seed): Draw(seed, pause=pause) for seed in order}
    return Study("toy", "What do random matrices do?", cells, (total, largest))


def naps(count: int, pause: float) -> Study:
    """Return the study of ``count`` `Napping` cells."""
    from sparsesim.study import Study, labels

    return Study("toy", "Who sleeps?", {labels(seed=seed): Napping(seed, pause) for seed in range(count)}, (total,))


def extended(count: int, **cells: object) -> Study:
    """Return the study of ``count`` `Draw` cells and the further ``cells``, which come first."""
    from sparsesim.study import Study, labels

    extra = {labels(kind=name, seed=-1): cell for name, cell in cells.items()}
    return Study("toy", "What do the others do?", {**extra, **draws(count).cells}, (total, largest))


if __name__ == "__main__":  # python -m tests.study.toy_cells <store> <csv> <engine> <count> <pause> <backwards>
    from sparsesim.study import run
    from tests.study.toy_cells import draws as imported_draws  # the classes of __main__ would have other keys

    store_path, csv_path, engine, count, pause, backwards = sys.argv[1:]
    study = imported_draws(int(count), float(pause), backwards == "backwards")
    run(study, store_path, engine=engine).write(csv_path)
