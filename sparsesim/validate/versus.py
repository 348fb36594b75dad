"""Two validations as one: the later subject held against the earlier, paired over the seeds that both have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from sparsesim.study.table import Table
from sparsesim.validate.compare import SUBJECT, Rows, decide, paired_differences
from sparsesim.validate.measures import same_data
from sparsesim.validate.result import Comparison, Outcome, Validation


@final
@dataclass(frozen=True)
class Turn:
    """A comparison with a reference whose outcome is another one in the later validation."""

    world: str
    reference: str
    metric: str
    before: Outcome
    after: Outcome


def versus(before: Validation, after: Validation) -> Validation:
    """Return ``after`` with the subject of ``before`` in the place of all references.

    The earlier subject is read at the L0 of the later one where it was run on a grid. Rows are paired where world, seed
    and data agree; intervals and p-values are corrected for the number of these comparisons.

    Raises
    ------
    ValueError
        If the protocols differ, or there are no two seeds of a world that both have.
    """
    if before.protocol != after.protocol:
        raise ValueError(
            f"only validations under one protocol are paired; got {before.protocol} and {after.protocol}. "
            "Validate both under the same one."
        )
    name = f"{before.subject} (before)"
    own = [row for row in after.table.rows() if row["solver"] in (SUBJECT, "floor", "oracle", "genie")]
    earlier = [{**row, "solver": name} for row in _paired(before.table, own)]
    index = Rows.of([*own, *earlier])
    metrics = [metric for metric in _metrics(after) if metric in before.table.columns]
    worlds = [world for world in after.questions if world in before.questions]
    pairs = [paired_differences(index, world, name, metric) for world in worlds for metric in metrics]
    looks = tuple(sorted({*before.looks, *after.looks}))  # the seeds in common are as many as one of the two has
    made = [pair for pair in pairs if pair is not None]
    found = decide(made, after.margin, after.confidence, max(1, len(looks)))
    if not found:
        raise ValueError(
            f"{before.subject} and {after.subject} have no two seeds of a world in common; fresh seeds are shared only "
            "if both were given the same number."
        )
    columns = [column for column in after.table.columns if column in before.table.columns]
    rows = Table.of_rows(columns, [[row[column] for column in columns] for row in (*own, *earlier)])
    return replace(after, table=rows, comparisons=found, provenance=_both(before, after), looks=looks)


def turns(before: Validation, after: Validation) -> tuple[Turn, ...]:
    """Return the comparisons with references that both validations have and that turned out differently."""
    former = {_place(one): one.outcome for one in before.comparisons}
    return tuple(
        Turn(*_place(one), former[_place(one)], one.outcome)
        for one in after.comparisons
        if former.get(_place(one), one.outcome) is not one.outcome
    )


def _place(one: Comparison) -> tuple[str, str, str]:
    return one.world, one.reference, one.metric


def _metrics(validation: Validation) -> list[str]:
    return list(dict.fromkeys(one.metric for one in validation.comparisons))


def _paired(table: Table, own: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the subject's rows of ``table`` whose world and seed the later validation has with the same data."""
    known = {(row["world"], row["seed"]): row for row in own if row["solver"] == SUBJECT}
    for row in table.rows():
        other = known.get((row["world"], row["seed"]))
        if row["solver"] == SUBJECT and other is not None and _same(row, other):
            yield row


def _same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two rows saw the same samples, as far as their fingerprints say."""
    if "fingerprint" not in row or "fingerprint" not in other:
        return True
    return same_data(float(row["fingerprint"]), float(other["fingerprint"]))


def _both(before: Validation, after: Validation) -> dict[str, object]:
    """Return the provenance of the later validation, and beside it what was another in the earlier one."""
    changed = {
        f"{name} (before)": value
        for name, value in before.provenance.items()
        if name not in after.provenance or after.provenance[name] != value
    }
    return {**after.provenance, **changed}
