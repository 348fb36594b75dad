"""What a validation found, as plain values: the contract between who computes it and who draws it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from sparsesim._arrays import FloatArray
from sparsesim.study.interval import Interval, seeds_needed
from sparsesim.study.table import Table


class Outcome(enum.Enum):
    """What a comparison says, after correction for the number of comparisons.

    SAME is a finding, not the lack of one: the whole simultaneous interval lies within the margin of the protocol,
    even where it leaves out zero. UNDECIDED is the lack of one: the interval holds both zero and a difference larger
    than the margin.
    """

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNDECIDED = "undecided"


@final
@dataclass(frozen=True)
class Comparison:
    """The subject against one reference in one world by one metric, at the subject's own L0, paired over seeds.

    Attributes
    ----------
    world, reference, metric : names.
    difference : subject minus reference, mean over the subject's points, turned so that positive is better for the
        subject; the interval is simultaneous over all comparisons of the validation, and over all numbers of seeds at
        which it could have stopped (Bonferroni).
    p_value : two-sided, of the paired t test; `adjusted` is Holm's over all comparisons, times those numbers.
    detectable : smallest true difference found with probability 0.8 at these seeds, spread and correction.
    outcome : computed from the above.
    l0 : mean L0 of the subject's points that were compared: those on the reference's grid in every seed, if any are.
    inside : False where none is, or some are dead (L0 = 0), so that the nearest end of the grid was taken.
    attempted : seeds that were run in this world; ``difference.n`` of them have both scores. 0 where it is not known.
    """

    world: str
    reference: str
    metric: str
    difference: Interval
    p_value: float
    adjusted: float
    detectable: float
    outcome: Outcome
    l0: float
    inside: bool
    attempted: int = 0

    @property
    def seeds(self) -> str:
        """Return the number of seeds that it rests on, and of how many where some are missing: ``7 of 10``."""
        n = self.difference.n
        return f"{n} of {self.attempted}" if self.attempted > n else str(n)

    def seeds_to_decide(self, margin: float, most: int = 100_000) -> int:
        """Return how many seeds would decide it, if its mean and its spread stay what they are.

        Whichever comes first: an interval that leaves out zero, or one that lies within the ``margin``.
        """
        mean = abs(self.difference.mean)
        return seeds_needed(self.difference, max(mean, margin - mean), most)


@final
@dataclass(frozen=True)
class Standing:
    """One metric of the subject in one world, between what chance gets and what the true atoms get, over seeds.

    ``floor`` is a random dictionary of the same width, ``oracle`` the true atoms with orthogonal matching pursuit at
    the subject's L0, ``genie`` the true atoms and the true support.
    """

    world: str
    metric: str
    score: Interval
    floor: Interval
    oracle: Interval
    genie: Interval


@final
@dataclass(frozen=True)
class Cause:
    """How the error of a true feature goes with one of its properties, in one world.

    Attributes
    ----------
    world : name.
    property : such as ``log rate``, ``variance``, ``coherence``, ``depth`` or ``correlation`` of a true feature.
    slope : standardised coefficient in a regression of the feature's error 1 - |cos| on all properties together,
        interval over seeds; negative means that features with more of it are learned better.
    alone : rank correlation (Spearman) of the error with this property alone, interval over seeds.
    """

    world: str
    property: str
    slope: Interval
    alone: Interval


@final
@dataclass(frozen=True, eq=False)
class Portrait:
    """The learned dictionary against the true one at one seed: rows true features, columns atoms in matched order.

    Attributes
    ----------
    world, seed : of the picture.
    cosines : (m, p) signed; column i is the atom matched to feature i, unmatched atoms stand last.
    error, rate : (m,) 1 - |cos| of each feature with its atom, and the feature's true firing rate.
    """

    world: str
    seed: int
    cosines: FloatArray
    error: FloatArray
    rate: FloatArray


@final
@dataclass(frozen=True, eq=False)
class Validation:
    """Everything one validation found; ``print`` it, ``write`` it as a page.

    Attributes
    ----------
    subject : name of what was validated.
    protocol : name and version, such as ``quick@1``.
    card : what probing found, as pairs of a name and a finding.
    questions : one sentence on each world by name, in the order of the protocol.
    table : a row for each (world, solver, budget, seed): labels, status, metrics. The subject's solver label is
        ``subject``, floor and ceilings are ``floor``, ``oracle`` and ``genie``.
    comparisons, standings, causes, portraits : see there.
    failures : one line on each cell that ended in an exception.
    command : the line that makes this again.
    provenance : what the numbers were made with.
    margin : difference below which two scores are called the same, and half-width at which seeds suffice.
    confidence : of all comparisons together.
    looks : numbers of seeds at which a world could have stopped, for which intervals are corrected; empty for one.
    """

    subject: str
    protocol: str
    card: tuple[tuple[str, str], ...]
    questions: Mapping[str, str]
    table: Table
    comparisons: tuple[Comparison, ...]
    standings: tuple[Standing, ...]
    causes: tuple[Cause, ...]
    portraits: tuple[Portrait, ...]
    failures: tuple[str, ...]
    command: str
    provenance: Mapping[str, object]
    margin: float = 0.05
    confidence: float = 0.95
    looks: tuple[int, ...] = ()

    def __str__(self) -> str:
        from sparsesim.validate.verdict import in_words

        return in_words(self)
