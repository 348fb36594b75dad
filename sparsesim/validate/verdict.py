"""A validation in words, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from sparsesim.study.interval import Interval
from sparsesim.validate.result import Cause, Comparison, Outcome, Standing, Validation

MOST_LINES = 12  # of one kind of outcome; the page has all
HEADLINE = "mcc"
_MARKS = {Outcome.BETTER: "better", Outcome.WORSE: "worse", Outcome.SAME: "same", Outcome.UNDECIDED: "?"}
_SIDE_EFFECTS = ("dead_fraction", "absorption_score", "hedging_score", "feature_splitting", "amortisation_gap")


def in_words(validation: Validation) -> str:
    """Return the verdict as text: a table of worlds, then what is better, worse and undecided, then why."""
    return "\n".join(_lines(validation))


def summary(validation: Validation) -> str:
    """Return one sentence on how many comparisons came out how."""
    count = {outcome: sum(one.outcome is outcome for one in validation.comparisons) for outcome in Outcome}
    total = len(validation.comparisons)
    return (
        f"{validation.subject}, by {validation.protocol}: better in {count[Outcome.BETTER]}, worse in "
        f"{count[Outcome.WORSE]}, the same within {validation.margin:g} in {count[Outcome.SAME]} and undecided in "
        f"{count[Outcome.UNDECIDED]} of {total} comparisons."
    )


def _lines(validation: Validation) -> Iterator[str]:
    yield summary(validation)
    if validation.comparisons:
        yield f"All intervals of differences hold together with confidence {100 * validation.confidence:g}%."
    yield ""
    yield from _overview(validation)
    for outcome in (Outcome.BETTER, Outcome.WORSE):
        found = [one for one in validation.comparisons if one.outcome is outcome]
        if found:
            yield ""
            yield f"{outcome.value.capitalize()} than the reference at the same L0 (difference, simultaneous interval):"
            yield from _cut([_compared(one) for one in sorted(found, key=lambda one: -abs(one.difference.mean))])
    yield from _undecided(validation)
    yield from _causes(validation.causes)
    yield from _side_effects(validation.standings)
    if validation.failures:
        yield ""
        yield f"{len(validation.failures)} failed (cells, or comparisons that could not be made):"
        yield from _cut([f"  {line.splitlines()[0]}" for line in validation.failures])
    yield ""
    yield f"Again: {validation.command}"


def _overview(validation: Validation) -> Iterator[str]:
    references = list(dict.fromkeys(one.reference for one in validation.comparisons))
    marks = {(one.world, one.reference): one for one in validation.comparisons if one.metric == HEADLINE}
    width = max([len(world) for world in validation.questions], default=5)
    yield f"{HEADLINE:<{width}}{'subject':>10}{'floor':>8}{'oracle':>8}{'way up':>8}" + "".join(
        f"{name:>14}" for name in references
    )
    for one in validation.standings:
        if one.metric == HEADLINE:
            cells = [_marked(marks.get((one.world, name))) for name in references]
            scores = f"{one.score.mean:>10.3f}{one.floor.mean:>8.3f}{one.oracle.mean:>8.3f}{_way(one):>8}"
            yield f"{one.world:<{width}}{scores}" + "".join(f"{cell:>14}" for cell in cells)


def _way(one: Standing) -> str:
    """Return how much of the way from the floor to the oracle the subject has gone."""
    span = one.oracle.mean - one.floor.mean
    return f"{(one.score.mean - one.floor.mean) / span:.0%}" if span > 0 else "-"


def _marked(one: Comparison | None) -> str:
    return "-" if one is None else f"{_MARKS[one.outcome]} {one.difference.mean:+.2f}"


def _compared(one: Comparison) -> str:
    where = f"at L0 {one.l0:.1f}" + ("" if one.inside else ", outside of the reference's grid")
    return (
        f"  {one.world}, {one.metric}: {one.difference.mean:+.3f} {_span(one.difference)} against {one.reference} "
        f"({one.seeds} seeds, {where})"
    )


def _span(interval: Interval) -> str:
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def _undecided(validation: Validation) -> Iterator[str]:
    found = [one for one in validation.comparisons if one.outcome is Outcome.UNDECIDED]
    if not found:
        return
    yield ""
    yield "Undecided, with the seeds that would decide if mean and spread stay what they are:"
    lines = []
    for one in sorted(found, key=lambda one: -abs(one.difference.mean)):
        needed = one.seeds_to_decide(validation.margin)
        lines.append(
            f"  {one.world}, {one.metric}: {one.difference.mean:+.3f} {_span(one.difference)} against {one.reference}; "
            f"{needed} seeds (now {one.seeds}, which find a difference of {one.detectable:.3f})"
        )
    yield from _cut(lines)


def _causes(causes: Iterable[Cause]) -> Iterator[str]:
    """Yield the properties of features that go with their error, where the interval of the slope leaves out zero."""
    clear = [one for one in causes if one.slope.low > 0 or one.slope.high < 0]
    if clear:
        yield ""
        yield "Which features are learned worse (standardised slope of a feature's error on a property, 95 % each):"
        worst = sorted(clear, key=lambda one: -abs(one.slope.mean))
        yield from _cut(
            [
                f"  {one.world}: those of {'higher' if one.slope.mean > 0 else 'lower'} {one.property}, "
                f"{one.slope.mean:+.2f} {_span(one.slope)}"
                for one in worst
            ]
        )


def _side_effects(standings: Iterable[Standing]) -> Iterator[str]:
    """Yield what else is wrong with the dictionary: scores of which the truth has 0, at least 0.05."""
    high = [one for one in standings if one.metric in _SIDE_EFFECTS and one.score.mean >= 0.05 and _finite(one.score)]
    if high:
        yield ""
        yield "Beside recovery (the truth has 0):"
        worst = sorted(high, key=lambda one: -one.score.mean)
        yield from _cut([f"  {one.world}: {one.metric} {one.score.mean:.2f} {_span(one.score)}" for one in worst])


def _finite(interval: Interval) -> bool:
    return math.isfinite(interval.mean)


def _cut(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"  and {len(lines) - MOST_LINES} more"
