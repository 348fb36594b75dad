"""``python -m studies list | run NAME | table NAME | status NAME``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sparsesim.study import Store, Study, StudyFailedError, progress, run, table
from sparsesim.study.provenance import provenance
from studies.tiers import Tier

NAMES = ("bakeoff",)
TABLES = Path(__file__).parent / "tables"


def load(name: str, tier: Tier) -> Study:
    """Return the declared study ``name`` at ``tier``."""
    if name not in NAMES:
        raise SystemExit(f"no study {name!r}; there are {', '.join(NAMES)}.")
    declared: Study = importlib.import_module(f"studies.{name}").study(tier)
    return declared


def _write(name: str, study: Study, store: Store, tables: Path, facts: dict[str, object]) -> Path:
    tables.mkdir(parents=True, exist_ok=True)
    path = tables / f"{name}.csv"
    table(study, store).write(path)
    record = {**facts, "cells": len(study.cells), **provenance()}
    (tables / f"{name}.provenance.json").write_text(
        json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 if a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    parser.add_argument("command", choices=("list", "run", "table", "status"))
    parser.add_argument("name", nargs="?", help="a study; 'list' names them")
    parser.add_argument("--tier", type=Tier, choices=list(Tier), default=Tier.SMOKE, metavar="smoke|laptop|paper")
    parser.add_argument("--store", type=Path, help="folder of the rows (default build/studies/NAME-TIER)")
    parser.add_argument(
        "--tables", type=Path, help="folder of the tables (default: committed tables for laptop, else the store)"
    )
    parser.add_argument("--engine", default="local", help="inline, local or local:WORKERS")
    options = parser.parse_args(arguments)
    if options.command == "list" or options.name is None:
        print("\n".join(f"{name:<12}{load(name, options.tier).question}" for name in NAMES))
        return 0 if options.command == "list" else 2
    study = load(options.name, options.tier)
    root = options.store or Path("build") / "studies" / f"{options.name}-{options.tier.value}"
    store = Store(root)
    if options.command == "status":
        print(f"{len(table(study, store))} of {len(study.cells)} cells are done in {root}")
        return 0
    started = time.perf_counter()
    if options.command == "run":
        try:
            run(study, store, engine=options.engine, on_event=progress())
        except StudyFailedError as error:
            print(error, file=sys.stderr)
            return 1
    tables = options.tables or (TABLES if options.tier is Tier.LAPTOP else root)
    facts = {"tier": options.tier.value, "seconds of this run": round(time.perf_counter() - started, 1)}
    print(f"table: {_write(options.name, study, store, tables, facts)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
