"""The rows of references that come with the package, and when they may stand beside new ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sparsesim.study.table import Table
from sparsesim.validate.measures import fingerprint_of, same_data
from sparsesim.validate.protocol import Arena, Protocol

FOLDER = Path(__file__).parent / "rows"


@final
@dataclass(frozen=True, eq=False)
class Cached:
    """Rows of references and bounds by (world, solver, budget, seed), those that fit the machine at hand.

    ``reasons`` says why rows are not used that might have been.
    """

    rows: Mapping[tuple[str, str, int, int], Mapping[str, Any]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def cached(protocol: Protocol, seeds: Iterable[int], folder: Path = FOLDER) -> Cached:
    """Return the committed rows of ``protocol`` at ``seeds``, where world and samples are the same here.

    They were computed on another machine: what it drew is compared with what is drawn here, by a fingerprint in every
    row. The rows of a seed of a world where they differ (another numpy may draw otherwise) are left out, and computed.
    """
    path = folder / f"{protocol}.csv"
    if not path.exists():
        return Cached(reasons=(f"no reference rows of {protocol} come with the package; they are computed.",))
    beside = json.loads(path.with_suffix(".json").read_text("utf-8"))
    if beside["digest"] != protocol.digest():
        return Cached(reasons=(f"the committed rows of {protocol} are of other worlds or sizes; they are computed.",))
    wanted = set(seeds)
    arenas = {arena.name: arena for arena in protocol.arenas}
    rows = [row for row in Table.read(path).rows() if row["seed"] in wanted and row["world"] in arenas]
    return _fitting(protocol, arenas, rows)


def _fitting(protocol: Protocol, arenas: Mapping[str, Arena], rows: list[dict[str, Any]]) -> Cached:
    kept: dict[tuple[str, str, int, int], Mapping[str, Any]] = {}
    here: dict[tuple[str, int], float] = {}
    strange: dict[str, None] = {}
    for row in rows:
        world, seed = row["world"], row["seed"]
        if (world, seed) not in here:
            here[world, seed] = fingerprint_of(arenas[world].world, seed, protocol.n_test)
        if same_data(here[world, seed], float(row["fingerprint"])):
            kept[world, row["solver"], row["budget"], seed] = row
        else:
            strange[f"{world} at seed {seed}"] = None
    if not strange:
        return Cached(kept)
    named = ", ".join(list(strange)[:3])
    reason = (
        f"this machine draws other samples than the committed rows were computed on ({len(strange)} pairs of world and "
        f"seed, such as {named}; another version of numpy does that); their references are computed."
    )
    return Cached(kept, (reason,))
