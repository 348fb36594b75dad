"""The page of the gallery: every figure with its picture, its claims and their verdicts, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsesim.report.claims import Claim, Verdict
from sparsesim.report.page import Card

MARKS = {Verdict.REPRODUCED: "✓", Verdict.DRIFT: "≈", Verdict.FAILED: "✗", Verdict.INCONCLUSIVE: "?"}
HEAD = """# Gallery

Figures of the literature and of our own, drawn from the committed tables of [`studies/tables`](../studies/tables).
Every verdict is computed from the interval beside it: **✓ reproduced** (the whole interval is where the claim says),
**≈ drift** (the right effect at another size), **✗ failed** (the whole interval is elsewhere), **? inconclusive** (more
seeds would decide). "Native" claims are ours. `make figures` makes everything again;
`python -m paper_figures NAME --out paper_figures/gallery` makes one figure and this page. The same with tables, floors
and ceilings is the HTML report of `python -m paper_figures`.
"""


def write(path: Path, cards: Sequence[Card]) -> None:
    """Write the page of ``cards`` to ``path``; pictures are linked in ``gallery/figures`` beside it."""
    parts = [HEAD, _summary(cards), *(_section(card) for card in cards)]
    path.write_text("\n".join(parts), encoding="utf-8")


def counts(claims: Sequence[Claim]) -> Mapping[Verdict, int]:
    """Return how many claims have each verdict."""
    return {verdict: sum(claim.verdict is verdict for claim in claims) for verdict in Verdict}


def _summary(cards: Sequence[Card]) -> str:
    lines = [
        "| figure | " + " | ".join(f"{MARKS[v]} {v.value}" for v in Verdict) + " |",
        "|---|" + "---:|" * len(Verdict),
    ]
    for card in cards:
        found = counts(card.claims)
        lines.append(
            f"| [{_cell(card.title)}](#{card.name}) | " + " | ".join(str(found[v] or "–") for v in Verdict) + " |"
        )
    total = counts([claim for card in cards for claim in card.claims])
    lines.append("| **all** | " + " | ".join(f"**{total[v]}**" for v in Verdict) + " |")
    return "\n".join(lines) + "\n"


def _section(card: Card) -> str:
    ((caption, _),) = card.figures
    found = " · ".join(f"{MARKS[v]} {count} {v.value}" for v, count in counts(card.claims).items() if count)
    picture = f"[![{_cell(card.title)}](gallery/figures/{card.name}.png)](gallery/figures/{card.name}.pdf)"
    return (
        f'<a id="{card.name}"></a>\n\n## {_cell(card.title)}\n\n*{card.question}*\n\n{picture}\n\n{caption}\n\n'
        f"{_provenance(card)}\n\n<details><summary>{len(card.claims)} claims: {found}</summary>\n\n"
        "| verdict | claim | measured, 95% interval | expected | source |\n|---|---|---|---|---|\n"
        + "\n".join(_claim(claim) for claim in card.claims)
        + "\n\n</details>\n"
    )


def _claim(claim: Claim) -> str:
    verdict = f"{MARKS[claim.verdict]} {claim.verdict.value}"
    note = f"<br>*{_cell(claim.note)}*" if claim.note else ""
    measured = f"{claim.quantity}: {claim.measured}"
    cells = (_cell(claim.sentence) + note, *(_cell(text) for text in (measured, str(claim.expectation), claim.source)))
    return f"| {verdict} | " + " | ".join(cells) + " |"


def _provenance(card: Card) -> str:
    known = card.provenance
    commit = str(known.get("commit", "unknown"))[:12]
    cost = f"{known.get('cells')} cells, {known.get('seconds of all cells')} s of computing"
    return f"`{card.command}` ({cost}, commit {commit})"


def _cell(text: str) -> str:
    """Return ``text`` as it may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
