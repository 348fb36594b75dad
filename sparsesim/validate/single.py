"""The scorecard of one trained model as a validation without references, so that it has the same page."""

from __future__ import annotations

from sparsesim.study.provenance import provenance
from sparsesim.study.table import Table, Value
from sparsesim.validate.portrait import portrait
from sparsesim.validate.result import Standing, Validation
from sparsesim.validate.scorecard import Scorecard

PROTOCOL = "evaluate@1"


def scored(card: Scorecard, *, subject: str, world: str, command: str) -> Validation:
    """Return ``card`` as a `Validation` of one world, with its scores and its portrait and no comparisons.

    Its intervals are over held-out draws of the world, not over seeds.
    """
    standings = tuple(Standing(world, one.metric, one.score, one.floor, one.oracle, one.genie) for one in card.scores)
    means = {one.metric: one.score.mean for one in card.scores}
    row: list[Value] = [world, "subject", 0, card.seed, "done", *means.values()]
    draws = card.scores[0].score.n
    question = (
        f"One trained model, {draws} held-out draws of {card.evaluation.batch.x.shape[0]} samples: the intervals are "
        "over draws, and say nothing of another training."
    )
    return Validation(
        subject=subject,
        protocol=PROTOCOL,
        card=card.adapted.card,
        questions={world: question},
        table=Table.of_rows(["world", "solver", "budget", "seed", "status", *means], [row]),
        comparisons=(),
        standings=standings,
        causes=(),
        portraits=(portrait(world, card.seed, card.evaluation),),
        failures=(),
        command=command,
        provenance={**provenance(), "seed": card.seed},
    )
