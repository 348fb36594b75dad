"""What tests of figures ask of an invented table: all claims reproduced where it bears them out, and not elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from sparsesim.report.claims import Claim, Verdict
from sparsesim.study.table import Table


def assert_reproduced(figure: ModuleType, table: Table, rows: int, panels: int) -> None:
    """Hold ``figure`` to a table on which its sentences are true: every claim, so many text rows and panels."""
    assert {one.verdict for one in figure.claims(table)} == {Verdict.REPRODUCED}
    found = figure.rows(table)
    assert len(found) == rows and {len(row) for row in found} == {len(figure.HEADER)}
    assert len(figure.draw(table).axes) == panels


def assert_contradicted(claims: Sequence[Claim], begins: str) -> None:
    """Hold the claims of a table that contradicts the sentences that begin so: at least one is not reproduced."""
    found = [one.verdict for one in claims if one.sentence.startswith(begins)]
    assert found and any(verdict is not Verdict.REPRODUCED for verdict in found)
