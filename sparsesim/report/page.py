"""One self-contained HTML page: verdicts first, then a card for each study; no script, no network, prints well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import final

from sparsesim.report.claims import Claim, Verdict
from sparsesim.study.table import write_whole


@final
@dataclass(frozen=True)
class Card:
    """One study on the page.

    Attributes
    ----------
    name : identifier, used for anchors.
    title, question : heading and the question that the study answers.
    figures : caption and ``<svg>`` text of each picture; the SVG is trusted, captions are escaped.
    claims : in the order in which they are shown.
    header, rows : a small table of text cells.
    command : the line that makes this card again.
    provenance : what the numbers were made with.
    """

    name: str
    title: str
    question: str
    figures: tuple[tuple[str, str], ...]
    claims: tuple[Claim, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    command: str
    provenance: Mapping[str, object]


STYLE = """
:root { --ink:#1d2430; --soft:#5b6675; --line:#dfe3e8; --paper:#ffffff; --wash:#f6f7f9; }
* { box-sizing:border-box }
body { margin:0; color:var(--ink); background:var(--wash); font:15px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif }
main { max-width:1300px; margin:0 auto; padding:24px 16px 64px }
h1 { font-size:26px; margin:8px 0 2px } h2 { font-size:20px; margin:0 0 4px } h3 { font-size:15px; margin:22px 0 6px }
p { margin:4px 0 10px; max-width:80ch } .soft { color:var(--soft) }
section { background:var(--paper); border:1px solid var(--line); border-radius:8px; padding:18px 20px; margin:18px 0 }
figure { margin:14px 0; overflow-x:auto } figure svg { width:100%; min-width:640px; height:auto; display:block }
figcaption { color:var(--soft); font-size:13px; max-width:100ch }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; font-size:13px; font-variant-numeric:tabular-nums }
th,td { text-align:left; padding:4px 10px 4px 0; border-bottom:1px solid var(--line); vertical-align:top }
th { color:var(--soft); font-weight:600; white-space:nowrap }
.scores table { font-size:12px }
.scores td { white-space:nowrap; padding-right:8px } .scores th { white-space:normal; vertical-align:bottom }
.chip { display:inline-block; min-width:104px; text-align:center; border-radius:999px; padding:1px 10px; font-size:11px;
  font-weight:700; letter-spacing:.04em; color:#fff }
.reproduced { background:#00735c } .drift { background:#9a6200 }
.failed { background:#b3261e } .inconclusive { background:#5b6675 }
code { background:var(--wash); border:1px solid var(--line); border-radius:4px; padding:1px 5px; font-size:12.5px }
dl { display:grid; grid-template-columns:max-content 1fr; gap:2px 16px; font-size:13px; margin:6px 0 }
dt { color:var(--soft) } dd { margin:0; overflow-wrap:anywhere }
@media print { body { background:#fff } section { border:0; padding:0; break-inside:auto }
  figure, tr { break-inside:avoid }
  .scroll, figure { overflow:visible } table { font-size:9px } .scores table { font-size:7px }
  .chip { color:#000; background:none; border:1px solid #000 } figure svg { min-width:0 } }
"""


def _chip(verdict: Verdict) -> str:
    return f'<span class="chip {verdict.value}">{verdict.name}</span>'


def _claim_row(claim: Claim) -> str:
    more = (
        f" ({claim.seeds_needed} seeds needed)"
        if claim.verdict is Verdict.INCONCLUSIVE and claim.measured.n > 1
        else ""
    )
    note = f'<br><span class="soft">{escape(claim.note)}</span>' if claim.note else ""
    return (
        f"<tr><td>{_chip(claim.verdict)}</td><td>{escape(claim.sentence)}{note}</td>"
        f"<td>{escape(claim.quantity)}</td><td>{escape(str(claim.measured))}{more}</td>"
        f"<td>{escape(str(claim.expectation))}</td><td>{escape(claim.source)}</td></tr>"
    )


def _claims(claims: Sequence[Claim]) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("verdict", "claim", "quantity", "measured, 95% interval", "expected", "source")
    )
    body = "".join(_claim_row(claim) for claim in claims)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll scores"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(values: Mapping[str, object]) -> str:
    """Return names and values as a list of definitions; both are escaped."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in values.items()) + "</dl>"


def _card(card: Card) -> str:
    figures = "".join(
        f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>" for caption, picture in card.figures
    )
    return (
        f'<section id="{escape(card.name)}"><h2>{escape(card.title)}</h2><p class="soft">{escape(card.question)}</p>'
        f"{figures}<h3>Claims</h3>{_claims(card.claims)}"
        f"<h3>Scores between floor and ceiling</h3>{_table(card.header, card.rows)}"
        f"<h3>Made again by</h3><p><code>{escape(card.command)}</code></p>"
        f"<h3>Provenance</h3>{facts(card.provenance)}</section>"
    )


def _summary(cards: Sequence[Card]) -> str:
    head = "<th>study</th>" + "".join(f"<th>{verdict.name.lower()}</th>" for verdict in Verdict)
    body = ""
    for card in cards:
        counts = [sum(claim.verdict is verdict for claim in card.claims) for verdict in Verdict]
        body += (
            f'<tr><td><a href="#{escape(card.name)}">{escape(card.title)}</a></td>'
            + "".join(f"<td>{count or '–'}</td>" for count in counts)
            + "</tr>"
        )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """Return a whole page around ``body``, which is trusted; its policy forbids the browser to load anything else."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}{style}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main>{script and f'<script>{script}</script>'}</body></html>\n"
    )


def render(title: str, cards: Sequence[Card]) -> str:
    """Return the page as text; everything but the SVG pictures is escaped."""
    return document(
        title,
        "<p>Every verdict on this page is computed from the numbers beside it. A score stands "
        "between its floor (what random directions reach) and its ceiling (what the true atoms reach).</p>"
        f"<section>{_summary(cards)}</section>{''.join(_card(card) for card in cards)}",
    )


def write(path: Path, title: str, cards: Sequence[Card]) -> Path:
    """Write the page to ``path`` in one atomic step and return the path."""
    return write_whole(path, render(title, cards))
