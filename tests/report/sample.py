"""A validation made by hand, as like to a real one as its tests need: three worlds, three references, five seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import stdtr

from sparsesim.study.interval import Interval, mean_interval, paired_interval
from sparsesim.study.table import Table
from sparsesim.validate.result import Cause, Comparison, Outcome, Portrait, Standing, Validation

WORLDS = {
    "flat": "As many orthonormal features as dimensions: everything here is identifiable.",
    "superposed": "Twice as many features as dimensions, three of them active in each sample.",
    "tree": "A child fires only with its parent, and lies near it.",
}
REFERENCES = {"topk": 0.0, "matryoshka": 0.02, "mp": 0.05}
METRICS = ("mcc", "support_f1", "explained_variance")
EVIL = "<img src=x onerror=\"alert('$x')\">&"


def _level(world: str, solver: str, metric: str, l0: float) -> float:
    top = {"flat": 0.97, "superposed": 0.86, "tree": 0.62}[world]
    bend = {"mcc": np.exp(-0.15 * np.log(l0 / 3) ** 2), "support_f1": np.exp(-0.6 * np.log(l0 / 3) ** 2)}
    shape = bend.get(metric, 1 - np.exp(-l0))
    lift = REFERENCES.get(solver, 0.09 if world == "tree" else -0.06 if world == "superposed" else 0.0)
    scale = {"floor": 0.35, "oracle": 1.02 / top, "genie": 1.03 / top}.get(solver, 1.0)
    return float(np.clip(top * shape * scale + lift * (scale == 1.0), -2.0, 1.0))


def _rows(seeds: int, shift: float) -> list[tuple[object, ...]]:
    rng = np.random.default_rng(7)
    rows: list[tuple[object, ...]] = []
    for world in WORLDS:
        for solver in ("subject", *REFERENCES, "floor", "oracle", "genie"):
            for budget in (2, 3, 4) if solver in REFERENCES else (3,):
                for seed in range(seeds):
                    l0 = budget * (1 + 0.02 * rng.standard_normal())
                    noise = 0.02 * rng.standard_normal(len(METRICS))
                    push = shift if solver == "subject" else 0.0
                    scores = [_level(world, solver, metric, l0) + push for metric in METRICS]
                    rows.append((world, solver, budget, seed, "done", l0, *np.add(scores, noise).tolist()))
    return rows


def sample_table(seeds: int = 5, shift: float = 0.0) -> Table:
    return Table.of_rows(["world", "solver", "budget", "seed", "status", "l0", *METRICS], _rows(seeds, shift))


def _at(table: Table, world: str, solver: str, metric: str) -> np.ndarray:
    return table.where(world=world, solver=solver, budget=3).column(metric)


def _outcome(difference: Interval, margin: float = 0.02) -> Outcome:
    if max(abs(difference.low), abs(difference.high)) < margin:
        return Outcome.SAME
    if difference.low > 0:
        return Outcome.BETTER
    return Outcome.WORSE if difference.high < 0 else Outcome.UNDECIDED


def _comparisons(table: Table) -> tuple[Comparison, ...]:
    found = []
    for world in WORLDS:
        for reference in REFERENCES:
            for metric in METRICS:
                ours, theirs = _at(table, world, "subject", metric), _at(table, world, reference, metric)
                difference = paired_interval(ours, theirs, confidence=0.99)
                deviation = (ours - theirs).std(ddof=1) / np.sqrt(len(ours))
                p_value = float(2 * stdtr(len(ours) - 1, -abs(difference.mean) / deviation))
                outcome = _outcome(difference)
                inside = world != "flat"
                found.append(
                    Comparison(
                        world,
                        reference,
                        metric,
                        difference,
                        p_value,
                        min(1.0, 27 * p_value),
                        0.05,
                        outcome,
                        3.0,
                        inside,
                    )
                )
    return tuple(found)


def _portrait(world: str, m: int = 24, p: int = 30) -> Portrait:
    rng = np.random.default_rng(len(world))
    error = np.clip(rng.exponential(0.1, m), 0, 1)
    cosines = 0.15 * rng.standard_normal((m, p))
    cosines[np.arange(m), np.arange(m)] = 1 - error
    return Portrait(world, 0, np.clip(cosines, -1, 1), error, 0.25 * (1 + rng.permutation(m)) ** -0.7)


def small_validation(subject: str = "MySAE", *, shift: float = 0.0, **changes: object) -> Validation:
    """Return the part of the validation in the world ``tree``, whose page is drawn fast."""
    whole = sample_validation(subject, shift=shift)
    mine = {
        name: tuple(one for one in getattr(whole, name) if one.world == "tree")
        for name in ("comparisons", "standings", "causes", "portraits")
    }
    table = whole.table.where(world="tree")
    return replace(whole, questions={"tree": WORLDS["tree"]}, table=table, **{**mine, **changes})


def sample_validation(
    subject: str = "MySAE", *, seeds: int = 5, shift: float = 0.0, failures: tuple[str, ...] = ()
) -> Validation:
    """Return the validation; ``shift`` is added to all scores of its subject."""
    table = sample_table(seeds, shift)
    rng = np.random.default_rng(3)
    standings = tuple(
        Standing(
            world,
            metric,
            *(mean_interval(_at(table, world, who, metric)) for who in ("subject", "floor", "oracle", "genie")),
        )
        for world in WORLDS
        for metric in METRICS
    )
    causes = tuple(
        Cause(
            world,
            name,
            mean_interval(centre + 0.1 * rng.standard_normal(seeds)),
            mean_interval(rng.normal(0, 0.2, seeds)),
        )
        for world in WORLDS
        for name, centre in (("log rate", -0.4), ("variance", -0.1), ("coherence", 0.25))
    )
    return Validation(
        subject=subject,
        protocol="quick@1",
        card=(("model", "my_sae.MySAE"), ("encode", "deterministic, row by row, non-negative")),
        questions=WORLDS,
        table=table,
        comparisons=_comparisons(table),
        standings=standings,
        causes=causes,
        portraits=tuple(_portrait(world) for world in WORLDS),
        failures=failures,
        command="sparsesim validate my_sae.py:MySAE --protocol quick@1 -o report",
        provenance={"sparsesim": "0.1.0", "numpy": "2.4.0", "seeds": seeds, "commit": None},
    )
