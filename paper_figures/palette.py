"""The looks of `sparsesim.report.palette`, under the name by which the figures import them."""

from __future__ import annotations

from sparsesim.report.palette import CEILING, FLOOR, LOOKS, Look

__all__ = ["CEILING", "FLOOR", "LOOKS", "Look"]
