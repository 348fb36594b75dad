"""How a run deals with its cells: what never changes a row, and so is in no key."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import final

from sparsesim._arrays import check_int, check_real

DEATHS = 3  # workers that die on a cell before it is given up


@final
@dataclass(frozen=True)
class Policy:
    """How a run deals with its cells.

    Parameters
    ----------
    timeout : seconds after which a cell (or a group that is trained together) is killed with its worker and has
        failed. None lets it take what it takes. The inline engine has no worker to kill.
    deaths : workers that may die on a cell, in all runs on its store together, before it is given up.
    chunk_size : cells that go to a worker together; None sizes chunks by the seconds that they are expected to take.
    """

    timeout: float | None = None
    deaths: int = DEATHS
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None:
            # Beyond that no clock of the system can wait.
            check_real("timeout", self.timeout, 0.0, threading.TIMEOUT_MAX, open_low=True)
        check_int("deaths", self.deaths, 1)
        if self.chunk_size is not None:
            check_int("chunk_size", self.chunk_size, 1)
