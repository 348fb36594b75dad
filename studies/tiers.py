"""The three sizes in which every study is declared."""

from __future__ import annotations

import enum


class Tier(enum.Enum):
    """SMOKE in seconds to minutes (in CI), LAPTOP for the committed tables, PAPER for a cluster or a GPU."""

    SMOKE = "smoke"
    LAPTOP = "laptop"
    PAPER = "paper"
