"""A training that may be killed at any moment: it goes on from the state saved last, with the bits it would have had.

Nothing of the data is saved: a source is a function of its generator, and goes on after the batches that were seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray, Rng, check_int
from sparsesim._files import lock, write_whole
from sparsesim._identity import check_generator

STATE, LOCK = "checkpoint.npz", "checkpoint.lock"
FORMAT = "sparsesim checkpoint 2"
_LIBRARIES = ("sparsesim", "torch", "numpy", "numba")
_FACTS = "facts"  # the array of bytes that holds what is no array, as JSON
# What reading a damaged archive raises: of its directory, of a header of numpy's, of a flag that says it is encrypted.
_DAMAGE = (zipfile.BadZipFile, zlib.error, tokenize.TokenError, LookupError, ValueError, TypeError, AttributeError,
           SyntaxError, EOFError, OSError, RuntimeError)  # fmt: skip
_AGAIN = "Take another folder, or delete this one to start again."

Arrays = Mapping[str, npt.NDArray[Any]]


@final
@dataclass(frozen=True)
class Checkpoint:
    """Where a training saves its state, and how often: with the same call it goes on from there after a kill.

    The state goes to one file, written beside the former one and put in its place in one step, so that a kill leaves
    one of the two, whole. It holds weights, buffers, Adam's moments, generators of noise, the trace and the number of
    steps done. Solver, data and generator must be those that it was saved with, and so must the versions of torch,
    numpy, numba and sparsesim (another matrix is told from the former by all of its numbers, another stream by its
    first batch): the bits of the result are those of an undisturbed training. (On another machine,
    or with another number of threads, a product of matrices may differ in its last bit, with or without a checkpoint.)
    A training that is done is read back. Nothing is pickled.

    Parameters
    ----------
    folder : of this training alone.
    every : steps between two saves; they happen at the first of the looks at the losses, each 50 steps, that comes so
        late, and at the end.
    """

    folder: str | os.PathLike[str]
    every: int = 1000

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike):
            raise TypeError(f"folder must be a path; got {self.folder!r}.")
        check_int("every", self.every, 1)

    def within(self, name: str) -> Checkpoint:
        """Return the checkpoint of a part of this training, in the folder ``name`` within its own."""
        return replace(self, folder=Path(self.folder) / name)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # on the path, but not installed
        return "unknown"


def digest(*parts: bytes | npt.NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of ``parts`` one after the other, bytes or C-contiguous arrays, none of them copied."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else part.data)
    return whole.hexdigest()


def place_of(rngs: Sequence[Rng]) -> str:
    """Return a digest of the states of generators.

    Raises
    ------
    TypeError
        If one of them is a number or anything else but a generator.
    """
    for rng in rngs:
        check_generator(rng)
    states = [rng.bit_generator.state for rng in rngs]
    return digest(json.dumps(states, sort_keys=True, default=lambda value: value.tolist()).encode())


def content_of(batches: Sequence[FloatArray]) -> str:
    """Return a digest of the numbers in ``batches``."""
    return digest(*map(np.ascontiguousarray, batches))


def _read(file: BinaryIO) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return arrays and facts of a saved state; what is raised where the file is damaged is one of `_DAMAGE`."""
    with np.load(file, allow_pickle=False) as archive:  # zip checks the sum of each array when it is read
        facts = json.loads(archive[_FACTS].tobytes())
        # By the names that were saved: a damaged directory may leave some out.
        return {name: archive[f"arrays/{name}"] for name in facts.get("arrays", ())}, facts


@final
class Keeper:
    """Saves and reads back the states of one training, told apart from others by its ``identity``."""

    def __init__(self, checkpoint: Checkpoint, identity: Mapping[str, str]) -> None:
        self.folder, self.every = Path(checkpoint.folder), checkpoint.every
        self.identity = {**identity, **{f"version of {name}": _version(name) for name in _LIBRARIES}}
        self.last = 0  # step of the last save

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for this process within the block.

        Raises
        ------
        RuntimeError
            If another training is at work in it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOCK, "ab") as file:
            if not lock(file):
                raise RuntimeError(f"another training is saving its state in {self.folder}. Take another folder.")
            for draft in self.folder.glob(f".{STATE}.*"):  # of a process that was killed while it wrote
                draft.unlink()
            yield

    def due(self, step: int, *, last: bool) -> bool:
        """Return whether the state after ``step`` steps is to be saved, as the ``last`` one always is."""
        return last or step - self.last >= self.every

    def save(self, step: int, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Save the state after ``step`` steps."""
        known = {"format": FORMAT, "identity": self.identity, "step": step, "arrays": list(arrays), **facts}
        text = np.frombuffer(json.dumps(known).encode(), np.uint8)
        named = {_FACTS: text, **{f"arrays/{name}": array for name, array in arrays.items()}}
        write_whole(self.folder / STATE, lambda file: np.savez(file, allow_pickle=False, **named))
        self.last = step

    def load(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]] | None:
        """Return arrays and facts of the last saved state, None where there is none.

        Raises
        ------
        ValueError
            If the file is damaged, of another format, or of another training: the message says what differs.
        """
        path = self.folder / STATE
        if not path.exists():
            return None
        with open(path, "rb") as file:  # a file that may not be read is not damaged
            try:
                held, facts = _read(file)
            except _DAMAGE as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ValueError(f"{path} is cut off or damaged ({reason:.200}). {_AGAIN}") from error
        if facts.get("format") != FORMAT:
            raise ValueError(f"{path} must be of format {FORMAT!r}; got {facts.get('format')!r}. {_AGAIN}")
        self._check(facts["identity"])
        self.last = facts["step"]
        return held, facts

    def _check(self, saved: Mapping[str, str]) -> None:
        for name in {**self.identity, **saved}:
            mine, other = self.identity.get(name), saved.get(name)
            if mine != other:
                raise ValueError(
                    f"the checkpoint in {self.folder} is of another {name}: this training has {mine!s:.16}, that "
                    f"one {other!s:.16}. {_AGAIN}"
                )
