"""The peer in a process of its own, asked one repetition at a time, so that both sides meet the same machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, final

ROOT = Path(__file__).resolve().parent.parent.parent


class PeerFailedError(RuntimeError):
    """The peer's Python ended without an answer; the message carries what it printed last."""


@final
class Peer:
    """A running module that answers lines, by default `studies.speed.saelens`; leaving the block ends it.

    Parameters
    ----------
    python : an interpreter that has the other library.
    world : the argument of the module: a name of `studies.speed.saelens.SHAPES`, or a file of samples.
    threads : threads of its libraries.
    module : what runs there.
    """

    def __init__(self, python: Path, world: str, threads: int, module: str = "studies.speed.saelens") -> None:
        environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed on exit)
        self._process = subprocess.Popen(
            [str(python), "-m", module, world],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def ask(self, command: str, batches: int) -> dict[str, Any]:
        """Return the answer to ``describe`` or ``time``, which draws ``batches`` batches.

        Raises
        ------
        PeerFailedError
            If it ended instead.
        """
        sent, received = self._process.stdin, self._process.stdout
        try:
            if sent is not None:
                print(command, batches, file=sent, flush=True)
            line = received.readline() if received is not None else ""
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-3:]
            raise PeerFailedError(f"the peer ended with status {self._process.returncode}: {' | '.join(last)}")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Its workers hold its pipes, too: waiting for the end of these would wait for the workers.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._errors.close()
