"""What the table of training speeds says, in sentences whose numbers and verdicts are computed from it."""

from __future__ import annotations

from sparsesim.study.table import Table, Value

PLAIN, SAELENS, PRODUCT, TOYS = 3.0, 4.0, 2.0, 5.0  # least ratios, and the most times of the encoder's product
OTHERS = 1.0  # least ratio to the peer of those that do not select by size, and need dense products


def sentences(table: Table) -> list[str]:
    """Return a line a race and bound, judged by the end of the interval that speaks against us."""
    lines: list[str] = []
    for row in table.rows():
        if row["kind"] == "ensemble":
            lines.append(_ratio(row, "plain", TOYS, "one model after another"))
            continue
        selects = row["times_plain"] == row["times_plain"]  # NaN for the others
        if selects:
            lines.append(_ratio(row, "plain", PLAIN, "plain PyTorch"))
        if row["saelens"] != "none":
            lines.append(_ratio(row, "saelens", SAELENS if selects else OTHERS, f"sae-lens {row['saelens']}"))
        if selects:
            lines.append(_bound(row))
        if row["skipped"] != "no":
            lines.append(f"skipped: {_what(row)}: sae-lens: {row['skipped']}")
    return lines


def _what(row: dict[str, Value]) -> str:
    return f"{row['kind']} ({row['dim']}, {row['width']}, B {row['batch']}, k {row['k']}), threads {row['threads']}"


def _word(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def _ratio(row: dict[str, Value], who: str, least: float, name: str) -> str:
    """Judge by the lower end, which is missing, and so proves nothing, below six repetitions."""
    times, low, high = (float(row[f"times_{who}{end}"]) for end in ("", "_low", "_high"))
    return (
        f"{_word(low >= least)}: {_what(row)}: {times:.1f} times {name} [{low:.1f}, {high:.1f}] (at least {least:g}); "
        f"{float(row['our_steps_per_s']):.0f} steps a second"
    )


def _bound(row: dict[str, Value]) -> str:
    share, low = float(row["times_product"]), float(row["times_product_low"])
    return (
        f"{_word(1 / low <= PRODUCT)}: {_what(row)}: a step takes {1 / share:.2f} times the encoder's product alone "
        f"(at most {PRODUCT:g})"
    )
