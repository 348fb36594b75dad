"""What an assertion found, and the two ways in which it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sparsesim.testing.sequential import Decision


@final
@dataclass(frozen=True)
class Finding:
    """What was decided on a claim, and from what.

    Attributes
    ----------
    claim : the sentence.
    decision : SUPPORTED, REFUTED or UNDECIDED.
    values : one for each of the seeds 0, 1, 2, ...: the metric, or the paired difference; NaN where it is undefined.
    successes : in how many of them the claim's condition held; where a value is NaN it did not.
    low, high : bounds of the share of all seeds in which it holds, each wrong with probability <= 1 - confidence.
    confidence : of the decision, and of each bound.
    needed : seeds that decide if the share of successes stays as it is; None if no number does.
    """

    claim: str
    decision: Decision
    values: tuple[float, ...]
    successes: int
    low: float
    high: float
    confidence: float
    needed: int | None

    def __str__(self) -> str:
        return (
            f"{self.decision.value.upper()}: {self.claim}.\n"
            f"It is so in {self.successes} of {len(self.values)} seeds; of all seeds in a share "
            f"of [{self.low:.3f}, {self.high:.3f}], each bound at confidence {self.confidence}."
        )


class _NotSupported(AssertionError):
    def __init__(self, message: str, finding: Finding) -> None:
        super().__init__(message)
        self.finding = finding

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is rebuilt from its message alone otherwise
        return type(self), (str(self), self.finding)


@final
class Refuted(_NotSupported):
    """The claim is false, at the stated confidence; ``finding`` has the numbers."""


@final
class Undecided(_NotSupported):
    """The seeds did not suffice for either decision; ``finding`` has the numbers, the message how many would."""
