"""A few steps of training before a validation: what is wrong by then is raised, and luck is told from a seed."""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.study.run import study_keys
from sparsesim.study.store import StoreConflictError
from sparsesim.validate.adapter import Adapted
from sparsesim.validate.campaign import Campaign
from sparsesim.validate.outside import PROBE, Outside, OutsideSolver
from sparsesim.validate.surroundings import Known

TRIAL_STEPS = 20


def tried(campaign: Campaign, known: Known, first: int) -> tuple[Campaign, Known, tuple[tuple[str, str], ...]]:
    """Return the campaign, what the code is known by, and the card of a model that was trained for a few steps only.

    Where two trainings of one seed differ in a bit, or a store holds two different rows of one cell from seed ``first``
    on, no row of one call is that of another: the code is then known by a random name.

    Raises
    ------
    RuntimeError
        If the code ends the program by ``sys.exit``.
    Exception
        Whatever the code or probing raises, with a note on the trial.
    """
    arena = campaign.protocol.arenas[0]
    budgets = campaign.budgets(arena)
    solver = campaign.subject_solver(arena, budgets[len(budgets) // 2], min(TRIAL_STEPS, campaign.protocol.steps))
    x = arena.world.build(stream(0, Role.TRUTH)).sample(1_000, stream(0, Role.TRAIN)).x
    try:
        adapted = _trained(solver, x)
        doubt = "" if known.reason else _doubt(adapted, _trained(solver, x), x) or _dispute(campaign, first)
    except Exception as error:
        error.add_note(
            f"Raised in a trial of {solver.steps} steps before the validation: factory(seed, width={solver.width}, "
            f"dim={x.shape[1]}) in the world {arena.name!r}."
        )
        raise
    if not doubt:
        return campaign, known, adapted.card
    known = Known(secrets.token_hex(32), f"the subject's rows serve this call alone, since {doubt}.")
    return replace(campaign, outside=Outside(known.digest, *campaign.outside.code)), known, adapted.card


def _trained(solver: OutsideSolver, x: FloatArray) -> Adapted:
    try:
        return solver.adapted(x, rng=stream(0, Role.SOLVER))
    except SystemExit as error:
        raise RuntimeError(f"the model's code calls sys.exit({error.code!r}). Raise an exception instead.") from error


def _doubt(one: Adapted, other: Adapted, x: FloatArray) -> str:
    """Return in what two trainings of one seed differ; empty where all bits are the same."""
    mine, its = (
        (each.fitted.atoms, each.fitted.bias, each.fitted.encode(x[:PROBE]).toarray()) for each in (one, other)
    )
    same = all(np.array_equal(left, right) for left, right in zip(mine, its, strict=True))
    return "" if same else "two trainings with one seed differ: it draws from a generator that no seed of ours reaches"


def _dispute(campaign: Campaign, first: int) -> str:
    """Return which rows of the subject the store holds in two versions; empty where there are none."""
    protocol = campaign.protocol
    seeds = {arena.name: range(first, first + protocol.most) for arena in protocol.arenas}
    try:
        campaign.store.load(study_keys(campaign.study(campaign.cells(seeds, (), bounds=False))).values())
    except StoreConflictError as error:
        return f"it is not reproducible: {str(error).rstrip('.')}"
    return ""
