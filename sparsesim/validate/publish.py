"""``python -m sparsesim.validate.publish quick@1``: compute the reference rows that come with the package."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsesim.study import Store, Study, progress, run
from sparsesim.study.cell import Cell, Labels
from sparsesim.study.provenance import provenance
from sparsesim.study.table import Table
from sparsesim.validate.campaign import LABELS
from sparsesim.validate.measures import MEASURED
from sparsesim.validate.protocol import BOUNDS, Protocol, find, reference_cells
from sparsesim.validate.references import FOLDER

DIGITS = 6  # of a score; training noise is in the second


def reference_study(protocol: Protocol) -> Study:
    """Return the study of all references and bounds of ``protocol``, at every seed that it may use."""
    cells: dict[Labels, Cell] = {}
    for arena in protocol.arenas:
        for seed in range(protocol.most):
            cells |= reference_cells(protocol, arena, seed, (*protocol.references, *BOUNDS))
    return Study(
        "references", "What do the references of a protocol reach, and what chance and truth?", cells, MEASURED
    )


def write(protocol: Protocol, table: Table, folder: Path = FOLDER) -> Path:
    """Write the rows and their provenance to ``folder``, scores to `DIGITS` digits and fingerprints in full."""
    names = [*LABELS, "status", *(metric.__name__ for metric in MEASURED)]
    lines = [[_rounded(name, row[name]) for name in names] for row in table.rows()]
    path = Table.of_rows(names, lines).write(folder / f"{protocol}.csv")
    beside = {"protocol": str(protocol), "digest": protocol.digest(), "rows": len(table), **provenance()}
    path.with_suffix(".json").write_text(json.dumps(beside, indent=1) + "\n", encoding="utf-8")
    return path


def _rounded(name: str, value: str | int | float) -> str | int | float:
    if name in (*LABELS, "status", "fingerprint") or isinstance(value, str | int) or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m sparsesim.validate.publish", description=__doc__)
    parser.add_argument("protocol", help="such as quick@1")
    parser.add_argument("--store", type=Path, help="folder of the rows while they are computed")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the table goes (default: the package)")
    parser.add_argument("--engine", default="local", help="inline, local or local:WORKERS")
    options = parser.parse_args(arguments)
    protocol = find(options.protocol)
    store = Store(options.store or Path("build") / "references" / str(protocol))
    table = run(reference_study(protocol), store, engine=options.engine, on_event=progress())
    print(write(protocol, table, options.folder), file=sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
