"""``python -m paper_figures [NAMES]``: draw the tables, judge the claims, write figures and the report."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from paper_figures import overview
from sparsesim.report.claims import Claim
from sparsesim.report.figure import save_figure, style, svg
from sparsesim.report.page import Card, write
from sparsesim.study.table import Table
from studies.names import NAMES

HERE = Path(__file__).resolve().parent
TABLES = HERE.parent / "studies" / "tables"
GALLERY = HERE / "gallery"


def drawn(name: str, tables: Path, out: Path) -> str:
    """Draw figure ``name`` from its table into ``out`` and return it as SVG."""
    module: ModuleType = importlib.import_module(f"paper_figures.{name}")
    with style(name):
        figure = module.draw(Table.read(tables / f"{name}.csv"))
    save_figure(figure, out / "figures", name)
    return svg(figure, name)


def card(name: str, tables: Path, picture: str = "") -> Card:
    """Return the card of figure ``name``: what its table says, and its ``picture`` as SVG."""
    module: ModuleType = importlib.import_module(f"paper_figures.{name}")
    table = Table.read(tables / f"{name}.csv")
    provenance = json.loads((tables / f"{name}.provenance.json").read_text(encoding="utf-8"))
    return Card(
        name=name,
        title=module.TITLE,
        question=module.QUESTION,
        figures=((module.CAPTION, picture),),
        claims=tuple(module.claims(table)),
        header=module.HEADER,
        rows=tuple(module.rows(table)),
        command=f"python -m studies run {name} --tier {provenance['tier']} && python -m paper_figures {name}",
        provenance=provenance,
    )


def record(claim: Claim) -> dict[str, object]:
    """Return ``claim`` as it stands in ``claims.json``."""
    measured = claim.measured
    return {
        "sentence": claim.sentence,
        "source": claim.source,
        "quantity": claim.quantity,
        "mean": measured.mean,
        "interval": [measured.low, measured.high],
        "seeds": measured.n,
        "expected": str(claim.expectation),
        "verdict": claim.verdict.name,
    }


def _keep(path: Path, records: Mapping[str, object]) -> None:
    """Write ``records`` to ``path``, beside those of the figures that were not drawn this time."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = {**before, **records}
    ordered = {name: known[name] for name in NAMES if name in known}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, judge, report; print a line a claim and where the report is."""
    parser = argparse.ArgumentParser(prog="python -m paper_figures", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"figures to draw (default: all of {', '.join(NAMES)})")
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the tables")
    parser.add_argument("--out", type=Path, default=Path("build") / "report", help="folder of the report")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no figure {unknown[0]!r}; there are {', '.join(NAMES)}.")
    for name in options.names or NAMES:
        if not (options.tables / f"{name}.csv").is_file():
            parser.error(
                f"no table {name}.csv in {options.tables}; make it by: python -m studies run {name} --tier laptop"
            )
    names = options.names or NAMES
    cards = [card(name, options.tables, drawn(name, options.tables, options.out)) for name in names]
    for one in cards:
        for claim in one.claims:
            evidence = f"{claim.quantity}: {claim.measured}, expected {claim.expectation}"
            print(f"{claim.verdict.name:<13}{claim.sentence}  [{evidence}]")
    options.out.mkdir(parents=True, exist_ok=True)
    _keep(options.out / "claims.json", {one.name: [record(claim) for claim in one.claims] for one in cards})
    path = write(options.out / "report.html", "sparsesim: recovery of known truth", cards)
    if options.out.resolve() == GALLERY:
        known = {one.name: one for one in cards}
        overview.write(HERE / "README.md", [known.get(name) or card(name, options.tables) for name in NAMES])
    print(f"report: {path.resolve()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
