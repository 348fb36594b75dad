"""A claim is a sentence, a number measured here with its interval, and a verdict that is computed from the two."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from sparsesim.study.interval import Interval, seeds_needed


class Verdict(enum.Enum):
    """REPRODUCED and FAILED need the whole interval on one side; DRIFT is the right effect at another size."""

    REPRODUCED = "reproduced"
    DRIFT = "drift"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class Expectation(Protocol):
    """What a claim says of the measured number."""

    def verdict(self, measured: Interval) -> Verdict:
        """Return the verdict on an interval that is known to be finite."""
        ...

    def margin(self, measured: Interval) -> float:
        """Return the half-width at which the measured mean would decide."""
        ...

    def __str__(self) -> str: ...


@final
@dataclass(frozen=True)
class Above:
    """The number lies above ``bound``: reproduced if the whole interval does, failed if none of it does."""

    bound: float

    def verdict(self, measured: Interval) -> Verdict:
        if measured.low > self.bound:
            return Verdict.REPRODUCED
        return Verdict.FAILED if measured.high <= self.bound else Verdict.INCONCLUSIVE

    def margin(self, measured: Interval) -> float:
        return abs(measured.mean - self.bound)

    def __str__(self) -> str:
        return f"> {self.bound:g}"


@final
@dataclass(frozen=True)
class Below:
    """The number lies below ``bound``: reproduced if the whole interval does, failed if none of it does."""

    bound: float

    def verdict(self, measured: Interval) -> Verdict:
        if measured.high < self.bound:
            return Verdict.REPRODUCED
        return Verdict.FAILED if measured.low >= self.bound else Verdict.INCONCLUSIVE

    def margin(self, measured: Interval) -> float:
        return abs(measured.mean - self.bound)

    def __str__(self) -> str:
        return f"< {self.bound:g}"


@final
@dataclass(frozen=True)
class Near:
    """The number equals ``target`` to ``tolerance``.

    Reproduced if the whole interval lies within the tolerance; failed if all of it lies beyond three tolerances;
    drift if it lies wholly outside the tolerance, but not that far; inconclusive if it straddles the edge.
    """

    target: float
    tolerance: float

    def verdict(self, measured: Interval) -> Verdict:
        """Return REPRODUCED if the interval lies within the tolerance, and what stands against it otherwise."""
        nearest = max(0.0, measured.low - self.target, self.target - measured.high)
        farthest = max(abs(measured.low - self.target), abs(measured.high - self.target))
        if farthest <= self.tolerance:
            return Verdict.REPRODUCED
        if nearest <= self.tolerance:
            return Verdict.INCONCLUSIVE
        return Verdict.FAILED if nearest > 3 * self.tolerance else Verdict.DRIFT

    def margin(self, measured: Interval) -> float:
        return abs(abs(measured.mean - self.target) - self.tolerance)

    def __str__(self) -> str:
        return f"{self.target:g} ± {self.tolerance:g}"


@final
@dataclass(frozen=True)
class Claim:
    """A sentence of the literature (or of ours) held against a measured interval.

    Attributes
    ----------
    sentence : what is claimed, in one sentence.
    source : where it stands: arXiv id and section, a theorem, or "calibration" for a check of the ruler itself.
    quantity : what the measured number is.
    measured : mean and interval over seeds.
    expectation : `Above`, `Below` or `Near`.
    tier : the smallest tier of the study at which the claim is meant to be decided.
    note : what is thought to be the reason, where the verdict is not REPRODUCED.
    """

    sentence: str
    source: str
    quantity: str
    measured: Interval
    expectation: Expectation
    tier: str = "smoke"
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Computed; one seed, which has no interval, decides nothing."""
        if not np.isfinite([self.measured.low, self.measured.high]).all():
            return Verdict.INCONCLUSIVE
        return self.expectation.verdict(self.measured)

    @property
    def seeds_needed(self) -> int:
        """Seeds at which the interval would decide, were the mean and the deviation as measured."""
        return seeds_needed(self.measured, self.expectation.margin(self.measured))
