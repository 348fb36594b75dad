"""`validate`: a model that is not trained yet, on worlds with known truth, against references, paired over seeds."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from sparsesim._arrays import check_int
from sparsesim.study.interval import mean_interval
from sparsesim.study.provenance import provenance
from sparsesim.study.run import Event
from sparsesim.study.run import progress as bar
from sparsesim.study.store import Store
from sparsesim.study.table import Table
from sparsesim.validate.attribution import CAUSES, PROPERTIES, column_name
from sparsesim.validate.campaign import LABELS, Campaign
from sparsesim.validate.compare import SUBJECT, Rows, decide, more_seeds, paired_differences, standings
from sparsesim.validate.measures import MEASURED, SHOWN
from sparsesim.validate.outside import Outside
from sparsesim.validate.protocol import PROTOCOLS, REFERENCES, Protocol, find
from sparsesim.validate.references import Cached, cached
from sparsesim.validate.result import Cause, Comparison, Validation
from sparsesim.validate.surroundings import Known, identified, processes
from sparsesim.validate.trial import tried

if TYPE_CHECKING:
    import os

FRESH = 2**20  # seeds from here on are never published


def validate(
    factory: Callable[..., Any],
    fit: Callable[..., Any] | None = None,
    protocol: str | Protocol = "quick@1",
    *,
    name: str | None = None,
    references: Sequence[str] | None = None,
    seeds: int | None = None,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool | Callable[[Event], None] = True,
    fresh: bool | int | None = None,
) -> Validation:
    """Return where the models that ``factory`` makes are better than references, where worse, and why.

    Parameters
    ----------
    factory : ``factory(seed, width, dim)`` gives a torch module with ``encode`` and ``decode``, an estimator with
        ``fit`` and ``transform``, or one of our solvers. With a further argument ``k`` (or ``l0``) it is run on the
        grid of numbers of active latents, else at whatever L0 it has. A module is trained by our loop on its
        ``losses(x)`` or ``losses(x, step)``, or on the squared error plus its ``penalty(codes)``.
    fit : ``fit(model, stream, steps, seed)`` returns the trained model, where you train it yourself; ``stream`` yields
        batches ``(B, d)``.
    protocol : its name, such as ``"quick@1"``, or a `Protocol`.
    name : of the subject; by default that of the factory.
    references : names among those of the protocol; all by default.
    seeds : as many in each world; by default the protocol adds seeds until intervals are narrow or its budget is spent.
    store : folder in which rows are kept: an interrupted call goes on where it was, and another call computes only what
        has changed. Where the code reads files or cannot be followed, or two trainings with one seed differ, its own
        rows are computed anew by each call, and the provenance says why. By default rows live as long as the call.
    workers : processes; as many as there are cores by default, and with 1 everything runs in this process.
    progress : whether to show it, or what to call with its events.
    fresh : seeds that no published row has, references computed now: True draws them, a number chooses them again.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, or a trial of a few steps already shows what is wrong with the model.
    RuntimeError
        If every cell of the subject failed.
    """
    chosen = _chosen(find(protocol), references, seeds)
    start = _first_seed(fresh)
    subject = name or _name_of(factory)
    with ExitStack() as stack:
        engine, here = processes(workers, factory, fit, stack)
        known, folder = identified(factory, fit, store, stack)
        outside = Outside(known.digest, factory, fit)
        on_event = bar() if progress is True else (progress or None)
        campaign = Campaign(outside, chosen, chosen.references, Store(folder), engine, on_event)
        campaign, known, card = tried(campaign, known, start)
        counts = range(start, start + chosen.most)
        published = cached(chosen, counts) if start < FRESH else Cached(reasons=("fresh seeds: computed now.",))
        rows, failures, comparisons = _measured(campaign, published, start)
        portraits = [campaign.portrait(arena, start) for arena in chosen.arenas]
    failures = (*failures, *_missing(rows, chosen, comparisons))
    cards = [one[1] for one in portraits if one is not None]
    worlds = [arena.name for arena in chosen.arenas]
    index = Rows.of(rows)
    return Validation(
        subject,
        _label(chosen),
        cards[0] if cards else card,
        {arena.name: arena.question for arena in chosen.arenas},
        _table(rows),
        comparisons,
        standings(index, worlds, [metric.__name__ for metric in SHOWN]),
        _causes(index, worlds),
        tuple(one[0] for one in portraits if one is not None),
        failures,
        _command(factory, fit, chosen, {"name": name, "references": references, "seeds": seeds}, start),
        _provenance(chosen, published, known, here, start),
        chosen.margin,
        chosen.confidence,
        chosen.looks,
    )


def _chosen(protocol: Protocol, references: Sequence[str] | None, seeds: int | None) -> Protocol:
    """Return ``protocol`` with other references and another number of seeds, where they are given."""
    if references is not None:
        if isinstance(references, str) or not all(name in REFERENCES for name in references):
            raise ValueError(f"references must be a list of names among {', '.join(REFERENCES)}; got {references!r}.")
        protocol = replace(protocol, references=tuple(dict.fromkeys(references)))
    if seeds is not None:
        protocol = replace(protocol, least=check_int("seeds", seeds, 2), most=seeds)
    return protocol


def _label(protocol: Protocol) -> str:
    """Return the name of ``protocol``, with ``changed`` where it is not the published one in all that decides."""
    known = PROTOCOLS.get(str(protocol))
    free = ("references", "least", "most")  # they are in the command and in the rows
    same = known is None or replace(known, **{name: getattr(protocol, name) for name in free}) == protocol
    return str(protocol) if same else f"{protocol} (changed)"


def _first_seed(fresh: bool | int | None) -> int:
    if fresh is None or fresh is False:
        return 0
    number = secrets.randbelow(2**20) if fresh is True else check_int("fresh", fresh, 0, 2**20 - 1)
    return FRESH + 1024 * number  # no protocol has so many seeds, so that two numbers share none


def _name_of(factory: Callable[..., Any]) -> str:
    found = str(getattr(factory, "__name__", type(factory).__name__))
    return "subject" if found == "<lambda>" else found


def _measured(
    campaign: Campaign, published: Cached, start: int
) -> tuple[list[dict[str, Any]], tuple[str, ...], tuple[Comparison, ...]]:
    """Return all rows, the failures and the comparisons, after adding seeds where intervals are wide."""
    protocol = campaign.protocol
    counts = {arena.name: protocol.least for arena in protocol.arenas}
    while True:
        seeds = {world: range(start, start + count) for world, count in counts.items()}
        computed, failures = campaign.compute(campaign.cells(seeds, published.rows))
        if not any(row["solver"] == SUBJECT for row in computed):
            raise RuntimeError(f"every cell of the subject failed. The first: {failures[0]}")
        wanted = {*campaign.references, "floor", "oracle", "genie"}
        ready = [
            row for row in published.rows.values() if row["seed"] in seeds[row["world"]] and row["solver"] in wanted
        ]
        rows = [*computed, *map(dict, ready)]
        comparisons = _compared(rows, protocol)
        needed = more_seeds(comparisons, protocol.margin, protocol.looks)
        more = {world: max(count, needed.get(world, count)) for world, count in counts.items()}
        if more == counts:
            return rows, failures, comparisons
        counts = more


def _compared(rows: Sequence[Mapping[str, Any]], protocol: Protocol) -> tuple[Comparison, ...]:
    index = Rows.of(rows)
    pairs = [
        paired_differences(index, arena.name, reference, metric)
        for arena in protocol.arenas
        for reference in protocol.references
        for metric in protocol.compared
    ]
    made = [one for one in pairs if one is not None]
    return decide(made, protocol.margin, protocol.confidence, len(protocol.looks))


def _missing(rows: Sequence[Mapping[str, Any]], protocol: Protocol, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield a line on each comparison that is not there though the reference has scores, and one if there is none."""
    index, there = Rows.of(rows), {(one.world, one.reference, one.metric) for one in comparisons}
    for place in product([arena.name for arena in protocol.arenas], protocol.references, protocol.compared):
        own, other = (len(index.means(place[0], name, place[2])) for name in (SUBJECT, place[1]))
        if place not in there and other > 1:
            seeds = index.attempted(place[0])
            yield (
                f"world {place[0]} solver {SUBJECT}: not compared with {place[1]} by {place[2]}, which takes two seeds "
                f"in which both have a score; the subject has one in {own} of {seeds}, the reference in {other}"
            )
    if protocol.references and not there:
        yield "NO COMPARISON could be made: nothing was found out about the subject against its references"


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = [*LABELS, "status", *(metric.__name__ for metric in (*MEASURED, *CAUSES))]
    lines = [[row.get(name, float("nan")) for name in names] for row in rows]
    return Table.of_rows(names, lines).sorted(by=LABELS)


def _causes(rows: Rows, worlds: Sequence[str]) -> tuple[Cause, ...]:
    found = []
    for world in worlds:
        for name in PROPERTIES:
            slope, alone = (rows.means(world, SUBJECT, column_name(kind, name)) for kind in ("slope", "alone"))
            if len(slope) > 1 and len(alone) > 1:
                found.append(Cause(world, name, mean_interval(slope), mean_interval(alone)))
    return tuple(found)


def _command(factory: object, fit: object, protocol: Protocol, named: Mapping[str, object], start: int) -> str:
    """Return the line that makes this again, with the arguments that were given."""
    code = [getattr(one, "__name__", type(one).__name__) for one in (factory, fit) if one is not None]
    given = {"protocol": str(protocol), **{name: value for name, value in named.items() if value is not None}}
    if start >= FRESH:
        given["fresh"] = (start - FRESH) // 1024
    return f"sparsesim.validate({', '.join([*code, *(f'{name}={value!r}' for name, value in given.items())])})"


def _provenance(protocol: Protocol, published: Cached, known: Known, here: str, start: int) -> dict[str, object]:
    return {
        **provenance(),
        "protocol": str(protocol),
        "first seed": start,
        "fresh": start >= FRESH,
        "code of the subject": known.digest if not known.reason else known.reason,
        "reference rows from the package": len(published.rows),
        "notes": "; ".join(filter(None, (*published.reasons, here))),
    }
