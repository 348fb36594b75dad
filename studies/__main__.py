"""``python -m studies list | names | run NAME | table NAME | status NAME | retry NAME | fsck NAME``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsesim._arrays import check_int
from sparsesim.study import Policy, Store, Study, StudyFailedError, grouped, progress, run, study_keys, table, upkeep
from sparsesim.study.engine import Inline, make_engine
from sparsesim.study.provenance import provenance
from sparsesim.study.store import StoreConflictError, StoreSchemaError
from studies.names import NAMES
from studies.tiers import Tier

TABLES = Path(__file__).parent / "tables"


class UsageError(ValueError):
    """The command line asks for what there is not; one line says what there is."""


def load(name: str, tier: Tier) -> Study:
    """Return the declared study ``name`` at ``tier``."""
    if name not in NAMES:
        raise UsageError(f"no study {name!r}; there are {', '.join(NAMES)}.")
    declared: Study = importlib.import_module(f"studies.{name}").study(tier)
    return declared


def computed_with(study: Study, store: Store) -> dict[str, object]:
    """Return what the rows of ``study`` were computed with; where they differ, every value that occurs.

    ``grouped`` says how many cells were trained together, 0 for those by themselves; it is left out where all were.
    """
    keys = set(study_keys(study).values())
    beside = [one.provenance for one in store.tail().new(last=True) if one.kind == "row" and one.key in keys]
    names = sorted(set(provenance()) - {"time"})
    facts = {name: ", ".join(sorted({str(one.get(name)) for one in beside})) for name in names}
    if any("grouped" in one for one in beside):
        facts["grouped"] = ", ".join(map(str, sorted({int(one.get("grouped", 0)) for one in beside})))
    times = sorted(str(one["time"]) for one in beside)
    seconds = round(sum(float(one["seconds"]) for one in beside), 1)
    return {"cells": len(keys), "seconds of all cells": seconds, "first row": times[0], "last row": times[-1], **facts}


def _write(name: str, study: Study, store: Store, tables: Path, tier: Tier) -> Path:
    tables.mkdir(parents=True, exist_ok=True)
    path = tables / f"{name}.csv"
    table(study, store).write(path)
    record = json.dumps({"tier": tier.value, **computed_with(study, store)}, indent=1)
    (tables / f"{name}.provenance.json").write_text(record + "\n", encoding="utf-8")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    commands = ("list", "names", "run", "table", "status", "retry", "fsck")
    parser.add_argument("command", choices=commands)
    parser.add_argument("name", nargs="?", help="a study; 'list' names them")
    parser.add_argument("--tier", type=Tier, choices=list(Tier), default=Tier.SMOKE, metavar="smoke|laptop|paper")
    parser.add_argument("--store", type=Path, help="folder of the rows (default build/studies/NAME-TIER)")
    parser.add_argument(
        "--tables", type=Path, help="folder of the tables (default: committed tables for laptop, else the store)"
    )
    parser.add_argument(
        "--engine", default="local", help="inline, local, local:WORKERS, dask:ADDRESS or slurm:FILE.toml"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="after which a cell is killed and has failed")
    parser.add_argument(
        "--group", type=int, metavar="N", help="train up to N cells of equal shape together; their rows are others'"
    )
    parser.add_argument("--repair", action="store_true", help="of fsck: set aside what is torn, corrupt or contradicts")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0; 1 if a cell failed, cells are missing from a table, or fsck leaves something wrong; 2 with one line on what can
    not be done; 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return _done(options)
    except (UsageError, StoreConflictError, StoreSchemaError, OSError) as error:  # of others the traceback is wanted
        print(f"studies: {error}", file=sys.stderr)
        return 2


def _check(options: argparse.Namespace) -> None:
    try:
        engine = make_engine(options.engine)
        Policy(timeout=options.timeout)
        if options.group is not None:
            check_int("--group", options.group, 2)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error
    if options.timeout is not None and isinstance(engine, Inline):
        raise UsageError("--timeout kills the worker of a cell, which --engine inline has not; take local:1.")


def _done(options: argparse.Namespace) -> int:
    """Do what ``options`` say and return the exit status."""
    _check(options)
    if options.command == "names":
        print("\n".join(NAMES))
        return 0
    if options.command == "list" or options.name is None:
        print("\n".join(f"{name:<12}{load(name, options.tier).question}" for name in NAMES))
        return 0 if options.command == "list" else 2
    store = Store(options.store or Path("build") / "studies" / f"{options.name}-{options.tier.value}")
    if options.command in ("retry", "fsck"):
        return _mended(store, options)
    study = load(options.name, options.tier)
    study = study if options.group is None else grouped(study, options.group)
    if options.command != "run":
        done = len(table(study, store))
        print(f"{done} of {len(study.cells)} cells are done in {store.path}")
        if options.command == "status":
            print(upkeep.status(store) if (store.path / "segments").is_dir() else "there is no store yet")
            return 0
        if done < len(study.cells):  # a part must not take the place of the whole table
            print(f"no table is written before all are; python -m studies run {options.name}", file=sys.stderr)
            return 1
    elif code := _run(study, store, options):
        return code
    tables = options.tables or (TABLES if options.tier is Tier.LAPTOP else store.path)
    print(f"table: {_write(options.name, study, store, tables, options.tier)}")
    return 0


def _run(study: Study, store: Store, options: argparse.Namespace) -> int:
    """Run the study and return 0, 1 if cells failed, or 130 if interrupted."""
    try:
        run(study, store, engine=options.engine, on_event=progress(), policy=Policy(timeout=options.timeout))
    except StudyFailedError as error:
        print(error, file=sys.stderr)
        print("\n".join(f"failed: {dict(labels)}" for labels in error.failures), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        done = len(table(study, store))
        print(f"\ninterrupted: {done} of {len(study.cells)} cells are kept; run it again to go on.", file=sys.stderr)
        return 130
    return 0


def _mended(store: Store, options: argparse.Namespace) -> int:
    if not (store.path / "segments").is_dir():
        raise UsageError(f"there is no store in {store.path} yet.")
    if options.command == "retry":
        print(f"{len(upkeep.retry(store))} cell(s) will run again")
        return 0
    health = upkeep.fsck(store, repair=options.repair)
    print(health)
    return 0 if health.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
