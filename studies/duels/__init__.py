"""Duels: for each variant the small world on which its paper says it wins, and the baseline it is said to beat."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import sparsesim.metrics
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.bakeoff import n_features, width
from studies.duels.base import Duel
from studies.tiers import Tier

FAMILIES = ("relu_family", "topk_family", "structured_family", "downstream_family")
SMOKE_STEPS, SMOKE_SAMPLES = 100, 500  # a smoke test shows that a duel runs, not who wins it


STANDARD = (
    n_features,
    width,
    recovery.mcc,
    recovery.mcc_chance,
    recovery.recovered_at_90,
    codes.support_f1,
    codes.l0,
    codes.true_l0,
    codes.dead_fraction,
    reconstruction.fvu,
)


def duels() -> dict[str, Duel]:
    """Return every duel by name, family by family."""
    found: dict[str, Duel] = {}
    for family in FAMILIES:
        entries = importlib.import_module(f"studies.duels.{family}").duels()
        clash = sorted(set(entries) & set(found))
        if clash:
            raise ValueError(
                f"{family} repeats the names {clash} of other families; give its duels names of their own."
            )
        found |= entries
    return found


def shortened(value: Any) -> Any:
    """Return the specification with every `Training` in it cut to `SMOKE_STEPS` steps."""
    if isinstance(value, Training):
        return dataclasses.replace(value, steps=min(value.steps, SMOKE_STEPS))
    if isinstance(value, tuple):
        return tuple(map(shortened, value))
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changed = {
        field.name: shortened(old)
        for field in dataclasses.fields(value)
        if field.init and shortened(old := getattr(value, field.name)) != old
    }
    return dataclasses.replace(value, **changed) if changed else value


def row_labels(name: str, duel: Duel, role: str, kind: str, seed: int, more: Labels = ()) -> Labels:
    """Return the labels of the row of ``role`` in ``duel``, those of ``more`` first; ``kind`` names its solver."""
    better = "larger" if duel.larger_is_better else "smaller"
    own = labels(duel=name, role=role, solver=kind, metric=duel.metric, better=better, claim=duel.claim, seed=seed)
    return (*more, *own)


def spent(duel: Duel, tier: Tier) -> tuple[int, int, int]:
    """Return the seeds, training and held-out samples of ``duel`` at ``tier``."""
    if tier is Tier.SMOKE:
        return 2, min(duel.n_train, SMOKE_SAMPLES), min(duel.n_test, SMOKE_SAMPLES)
    return duel.seeds if tier is Tier.LAPTOP else 4 * duel.seeds, duel.n_train, duel.n_test


def sides(name: str, duel: Duel, tier: Tier, more: Labels = ()) -> dict[Labels, Cell]:
    """Return the cells of ``duel`` at ``tier``: two rows a seed, told apart by ``role``; SMOKE cuts the training."""
    seeds, n_train, n_test = spent(duel, tier)
    cells: dict[Labels, Cell] = {}
    for role, solver in (("challenger", duel.challenger), ("baseline", duel.baseline)):
        trained = shortened(solver) if tier is Tier.SMOKE else solver
        for seed in range(seeds):
            label = row_labels(name, duel, role, type(solver).__name__, seed, more)
            cells[label] = FitCell(duel.world, seed, n_test, trained, n_train)
    return cells


def study(tier: Tier) -> Study:
    """Return the duels at ``tier``."""
    entries = duels()
    cells = {label: cell for name, duel in entries.items() for label, cell in sides(name, duel, tier).items()}
    named = {duel.metric for duel in entries.values()} - {metric.__name__ for metric in STANDARD}
    extra = tuple(getattr(sparsesim.metrics, name) for name in sorted(named))
    question = "Does each variant win where its paper says it wins?"
    return Study("duels", question, cells, (*STANDARD, *extra))
