"""Claims with computed verdicts, figures as inline SVG, and self-contained HTML pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.report.claims import Above as Above
    from sparsesim.report.claims import Below as Below
    from sparsesim.report.claims import Claim as Claim
    from sparsesim.report.claims import Near as Near
    from sparsesim.report.claims import Verdict as Verdict
    from sparsesim.report.figure import save_figure as save_figure
    from sparsesim.report.figure import style as style
    from sparsesim.report.figure import svg as svg
    from sparsesim.report.page import Card as Card
    from sparsesim.report.page import render as render
    from sparsesim.report.page import write as write
    from sparsesim.report.validation import render_validation as render_validation
    from sparsesim.report.validation import write_validation as write_validation
    from sparsesim.report.validation import write_versus as write_versus

__getattr__, __dir__ = lazy(
    __name__,
    {
        "claims": ("Above", "Below", "Claim", "Near", "Verdict"),
        "figure": ("save_figure", "style", "svg"),
        "page": ("Card", "render", "write"),
        "validation": ("render_validation", "write_validation", "write_versus"),
    },
)
