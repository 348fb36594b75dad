"""What is in the gallery is what the committed tables say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import paper_figures
from paper_figures.__main__ import NAMES, TABLES, record
from sparsesim.study.table import Table

GALLERY = Path(paper_figures.__file__).parent / "gallery"


@pytest.mark.parametrize("name", NAMES)
def test_the_claims_are_those_of_the_committed_table_and_the_pictures_are_there(name):
    written = json.loads((GALLERY / "claims.json").read_text(encoding="utf-8"))[name]
    claims = importlib.import_module(f"paper_figures.{name}").claims(Table.read(TABLES / f"{name}.csv"))
    # Verdicts and words to the letter; numbers to the rounding of another machine's linear algebra.
    for old, new in zip(written, [json.loads(json.dumps(record(claim))) for claim in claims], strict=True):
        numbers = ("mean", "interval")
        assert {key: value for key, value in old.items() if key not in numbers} == {
            key: value for key, value in new.items() if key not in numbers
        }
        assert [old["mean"], *old["interval"]] == pytest.approx([new["mean"], *new["interval"]], rel=1e-9, nan_ok=True)
    for kind in ("pdf", "png", "svg"):
        assert (GALLERY / "figures" / f"{name}.{kind}").stat().st_size > 1000
