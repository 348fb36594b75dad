"""What is in the gallery is what the committed tables say."""

from __future__ import annotations

import importlib
import json
import re

import pytest

from paper_figures.__main__ import GALLERY, NAMES, TABLES, record
from paper_figures.overview import MARKS
from sparsesim.study.table import Table


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


def test_the_page_shows_every_figure_and_the_verdicts_of_the_claims():
    page = (GALLERY.parent / "README.md").read_text(encoding="utf-8")
    written = json.loads((GALLERY / "claims.json").read_text(encoding="utf-8"))
    assert list(written) == list(NAMES)
    for verdict, mark in MARKS.items():
        known = sum(one["verdict"] == verdict.name for claims in written.values() for one in claims)
        assert page.count(f"\n| {mark} {verdict.value} | ") == known
    for link in re.findall(r"\]\((gallery/[^)]+)\)", page):
        assert (GALLERY.parent / link).is_file()
    for name in NAMES:
        assert (
            f"(gallery/figures/{name}.png)" in page and importlib.import_module(f"paper_figures.{name}").TITLE in page
        )
