"""Is a success at least this likely? Decided by looking after every trial, with one error probability for all looks."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import betaincc, betaln

from sparsesim._arrays import check_int, check_real

MOST_TRIALS = 10_000_000


class Decision(enum.Enum):
    """SUPPORTED and REFUTED hold at the stated confidence; UNDECIDED says that more trials are needed for either."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@final
@dataclass(frozen=True)
class ProportionTest:
    """Decides, after any number of independent trials, whether a success has probability p >= ``fraction``.

    Write f = fraction, alpha = 1 - confidence and L(q) = q^s (1-q)^(n-s) after s successes in n trials. The claim is
    SUPPORTED as soon as the mixture M = [L(1) + mean of L(q) over uniform q in (f, 1)] / (2 L(f)) reaches 1 / alpha,
    and REFUTED as soon as its mirror image (successes and failures, f and 1 - f exchanged) does.

    For p <= f < q a trial multiplies L(q)/L(f) by p q/f + (1-p)(1-q)/(1-f) <= 1 in the mean, so that M is a
    supermartingale from 1, and P(M >= 1/alpha at any n) <= alpha (Ville). Hence SUPPORTED is wrong (p < f) with
    probability <= alpha, REFUTED is wrong (p >= f) with probability <= alpha, over all looks together, whenever one
    stops or goes on; and since only one of them can be wrong, so is the probability of any error.

    Half of the mixture lies on "never fails", which makes flawless records cheap: 138 successes in a row support
    f = 0.9 at 1 - 1e-6, where the exact binomial test of a number fixed beforehand needs 132.

    Parameters
    ----------
    fraction : f, strictly between 0 and 1.
    confidence : 1 - alpha, at least 0.65 and below 1.

    References
    ----------
    Ville (1939); Robbins (1970), "Statistical methods related to the law of the iterated logarithm" (mixtures); Howard,
    Ramdas, McAuliffe and Sekhon (2021), arXiv:1810.08240 (confidence sequences).
    """

    fraction: float
    confidence: float

    def __post_init__(self) -> None:
        fraction = check_real("fraction", self.fraction, 0.0, 1.0, open_low=True)
        if fraction == 1.0:
            raise ValueError("fraction must be below 1: no number of trials shows that none ever fails. Use e.g. 0.99.")
        # From 0.65 on 1/alpha > e, which is what `bounds` asks of the mixture.
        if check_real("confidence", self.confidence, 0.65, 1.0) == 1.0:
            raise ValueError("confidence must be below 1: certainty needs infinitely many trials. Use e.g. 1 - 1e-6.")

    def evidence(self, successes: int, n: int) -> tuple[float, float]:
        """Return log M for the claim and log M against it; the larger, the more, and minus infinity is none."""
        check_int("successes", successes, 0, check_int("n", n, 0), high_name="n")
        return _for_at_least(successes, n, self.fraction), _for_at_least(n - successes, n, 1.0 - self.fraction)

    def decide(self, successes: int, n: int) -> Decision:
        """Return the decision after ``successes`` in ``n`` trials, to be asked after each of them."""
        support, against = self.evidence(successes, n)
        if support >= self._enough:
            return Decision.SUPPORTED
        return Decision.REFUTED if against >= self._enough else Decision.UNDECIDED

    @property
    def _enough(self) -> float:
        return -math.log1p(-self.confidence)

    def bounds(self, successes: int, n: int) -> tuple[float, float]:
        """Return a lower and an upper bound of p, each of which is wrong at any n with probability <= alpha.

        They are the fractions up to which, and from which on, this record decides. For any f between s/(n+1) and s/n it
        does not, since M <= (1 + 1/n)^n < e there, and below s/(n+1) M falls with f: the bound is found by bisection.
        """
        self.evidence(successes, n)
        return self._lower(successes, n), 1.0 - self._lower(n - successes, n)

    def _lower(self, successes: int, n: int) -> float:
        if not successes:
            return 0.0
        return _bisect(lambda f: _for_at_least(successes, n, f) >= self._enough, 0.0, successes / (n + 1))

    def trials_needed(self, successes: int, n: int) -> int | None:
        """Return how many trials in all decide if the share of successes stays as it is.

        None where that takes more than ten million, as it does for a share that equals ``fraction``.
        """
        self.evidence(successes, n)
        share = successes / n if n else 1.0

        def decided(trials: int) -> bool:
            kept = trials if share == 1.0 else share * trials
            support = _for_at_least(kept, trials, self.fraction)
            return max(support, _for_at_least(trials - kept, trials, 1.0 - self.fraction)) >= self._enough

        high = max(n, 1)
        while not decided(high):
            high *= 2
            if high > MOST_TRIALS:
                return None
        low = max(n, high // 2)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if decided(middle) else (middle, high)
        return high


def _for_at_least(successes: float, n: int, fraction: float) -> float:
    """Return log M of "p > fraction"; the mean of L over (f, 1) is B(s+1, n-s+1) (1 - I_f(s+1, n-s+1)) / (1-f)."""
    failures = n - successes
    with np.errstate(divide="ignore"):  # the upper tail of a Beta law may be zero in floating point: no evidence
        tail = float(np.log(betaincc(successes + 1.0, failures + 1.0, fraction)))
    spread = float(betaln(successes + 1.0, failures + 1.0)) + tail - math.log1p(-fraction)
    flawless = 0.0 if failures == 0 else -math.inf
    none = successes * math.log(fraction) + failures * math.log1p(-fraction)
    return float(np.logaddexp(flawless, spread)) - math.log(2.0) - none


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return the largest number in [low, high] below which ``holds`` is true, on the safe side of rounding."""
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
