"""What the table of speeds says, in sentences whose numbers and verdicts are computed from it."""

from __future__ import annotations

from sparsesim.study.table import Table, Value

FLAT, MARGIN, NEAR = 2.0, 20.0, 3.0  # times: growth with m, over the peer, of the memory's limit


def sentences(table: Table) -> list[str]:
    """Return a line a law (does a support take longer as m grows?), one a race and one a world (how far is memory?)."""
    grown = Table.of_rows(table.columns, (row.values() for row in table.rows() if row["law"] != "peer"))
    pairs = [(law, threads) for law in grown.levels("law") for threads in grown.levels("threads")]
    lines = [
        _growth(rows) for rows in (grown.where(law=law, threads=threads) for law, threads in pairs) if len(rows) > 1
    ]
    lines += [_race(row) for row in table.rows() if row["peer"] != "none"]
    return lines + [_memory(row) for row in table.rows()]


def _word(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def _number(row: dict[str, Value], name: str) -> float:
    return float(row[name])


def _growth(rows: Table) -> str:
    support, synthesis, m = (rows.column(name) for name in ("support_ns", "synthesis_ns", "n_features"))
    growth = float(support.max() / support.min())
    return (
        f"{_word(growth <= FLAT)}: {rows.values('law')[0]}, threads {rows.values('threads')[0]}: from m={m.min():.0f} "
        f"to {m.max():.0f} a support takes {support.min():.0f} to {support.max():.0f} ns, a factor {growth:.2f} (at "
        f"most {FLAT:g}); its synthesis, by the cache misses of the gather, {synthesis.max() / synthesis.min():.2f}"
    )


def _race(row: dict[str, Value]) -> str:
    """Judge by the lower end of the interval, which is missing, and so proves nothing, below six repetitions."""
    times, low, high = (_number(row, name) for name in ("times_peer", "times_peer_low", "times_peer_high"))
    return (
        f"{_word(low >= MARGIN)}: {row['world']}, threads {row['threads']}: {times:.1f} times {row['peer']} "
        f"[{low:.1f}, {high:.1f}] (at least {MARGIN:g}); mean L0 {_number(row, 'l0'):.2f} against "
        f"{_number(row, 'peer_l0'):.2f}"
    )


def _memory(row: dict[str, Value]) -> str:
    times = _number(row, "synthesis_over_gather_limit")
    return (
        f"{_word(times <= NEAR)}: {row['world']}, threads {row['threads']}: synthesis takes {times:.2f} times the "
        f"fetch of its atoms alone (at most {NEAR:g})"
    )
