"""Ensembles join what they trained, chance is that of independent choices, and claims say what their sentences say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures.__main__ import TABLES
from paper_figures.ensembles import HEADER, claims, draw, rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.rates import ZipfRates
from sparsesim.generators.support import Bernoulli
from sparsesim.report.claims import Verdict
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.itda import shared_atoms
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.pursuit import MatchingPursuit
from sparsesim.study import run
from sparsesim.study.table import Table
from studies.ensembles import (
    METRICS,
    SIZES,
    Setting,
    SharedCell,
    UnionCell,
    chance_jaccard,
    found,
    fvu,
    hits,
    members,
    study,
)
from studies.tiers import Tier

NAMES = tuple(metric.__name__ for metric in METRICS)
LABELS = ("part", "kind", "place", "seed")


def invented(**changes: float) -> Table:
    """A table of the laptop tier in which all is as claimed, numbers replaced by name."""
    known = {"bag": 0.4, "wide": 0.6, "boost": 0.22, "independent": 0.8, "bag_fvu": 0.2, "boost_fvu": 0.1,
             "wide_fvu": 0.3, "unrelated": 0.1, "middle": 0.2, "late": 0.3, "near": 0.5, "same": 1.0, "topk": 0.8,
             "itda": 0.6, **changes}  # fmt: skip
    made = []
    for labels in study(Tier.LAPTOP).cells:
        own = dict(labels)
        kind, place, nan = str(own["kind"]), float(own["place"]), float("nan")
        tiny = 1e-4 * int(own["seed"])
        if own["part"] == "union":
            one = place == 1.0 and kind != "wide"
            found = 0.2 if one else known[kind]
            joint = nan if kind == "wide" else 0.2 if one else known["independent"]
            row = [found + tiny, joint, (0.5 if one else known[f"{kind}_fvu"]) + tiny, 3.0, 0.7, 0.5, nan, nan]
        elif own["part"] == "shared":
            name = "same" if place == 1 else "near" if place > 0.99 else "unrelated" if place == 0 else None
            value = known[name] if name else known["late"] if place > 0.93 else known["middle"]
            row = [nan] * 6 + [value + tiny * (place < 1), 0.1]
        else:
            row = [nan] * 6 + [known[kind] + tiny, 0.5]
        made.append([*own.values(), "done", *row])
    return Table.of_rows([*LABELS, "status", *NAMES], made)


def test_where_all_is_as_claimed_every_claim_is_reproduced():
    table = invented()
    assert [one.quantity for one in claims(table) if one.verdict is not Verdict.REPRODUCED] == []
    assert {len(row) for row in rows(table)} == {len(HEADER)} and len(draw(table).axes) == 3


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"bag_fvu": 0.7}, "Bagging improves"),
        ({"boost_fvu": 0.7}, "Boosting improves"),
        ({"wide_fvu": 0.05}, "Ensembles reconstruct"),
        ({"bag": 0.1}, "A single autoencoder"),
        ({"independent": 0.3}, "Members do not find"),
        ({"boost": 0.5}, "Boosting lowers"),
        ({"wide": 0.3}, "One autoencoder of as many"),
        ({"same": 0.5}, "Dictionaries of samples"),
        ({"unrelated": 0.5}, "The index of unrelated"),
        ({"late": 0.1}, "The index orders"),
        ({"near": 0.9}, "A thousandth of change"),
        ({"topk": 0.55}, "Trained atoms agree"),
    ],
)
def test_otherwise_they_are_not(changes, begins):
    found = [one.verdict for one in claims(invented(**changes)) if one.sentence.startswith(begins)]
    assert found == [Verdict.FAILED] * (2 if begins == "Ensembles reconstruct" else 1)


def chosen(rows_of: np.ndarray) -> FittedDictionary:
    """Return a fit whose atoms are these samples."""
    trace = {"rows": tuple(float(row) for row in rows_of)}
    return FittedDictionary(np.eye(4), np.zeros(4), MatchingPursuit(1), Status.CONVERGED, trace)


def test_the_chance_of_two_dictionaries_is_that_of_independent_choices_at_their_pace():
    rng, found, chance = np.random.default_rng(0), [], []
    for _ in range(2000):
        one, other = (np.concatenate([rng.permutation(16)[:12], 16 + rng.permutation(16)[:3]]) for _ in range(2))
        found.append(shared_atoms(chosen(one), chosen(other)))
        chance.append(chance_jaccard(chosen(one), chosen(other), 16))
    # a ratio of means is the mean of ratios up to the variance of the union, 1 part in 500 here
    assert abs(np.mean(found) - chance[0]) < 5 * np.std(found) / 2000**0.5 + 0.01 and len(set(chance)) == 1
    by_hand = 12 * 12 / 16 + 3 * 3 / 16
    assert chance[0] == pytest.approx(by_hand / (30 - by_hand))


def small(kind: str) -> list[UnionCell]:
    cells = study(Tier.SMOKE).cells
    return [cell for labels, cell in cells.items() if dict(labels)["kind"] == kind and dict(labels)["seed"] == 0]


def test_an_ensemble_holds_the_atoms_of_its_members_and_finds_what_some_member_finds():
    one, two = small("bag")
    parts = members(two.setting, "bag", 0)
    whole = two.evaluate()
    np.testing.assert_array_equal(whole.fitted.atoms, np.concatenate([part.atoms for part in parts]))
    np.testing.assert_array_equal(one.evaluate().fitted.atoms, parts[0].atoms)
    assert hits(whole.evaluation).shape == (16,)
    single = one.evaluate()
    assert single.independent == pytest.approx(hits(single.evaluation).mean())


def test_the_smoke_tier_can_be_drawn_and_rotations_are_not_seen(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(draw(table).axes) == 3 and len(claims(table)) == 13
    same = table.where(part="shared", place=1.0)
    assert (same.column("similarity") == 1.0).all() and (same.column("chance") < 1.0).all()
    assert isinstance(next(iter(study(Tier.SMOKE).cells.values())), UnionCell | SharedCell)


def test_the_committed_table_is_the_whole_laptop_tier():
    table = Table.read(TABLES / "ensembles.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in LABELS) for row in table.rows()} == cells
    assert json.loads((TABLES / "ensembles.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert SIZES[Tier.LAPTOP].common[-1] == 1.0
    assert (table.where(part="shared", place=1.0).column("similarity") > 0.99).all()


def bagged(table: Table, kind: str, count: int) -> np.ndarray:
    return np.asarray(table.where(part="union", kind=kind, place=float(count)).column("fvu"))


@pytest.mark.skipif(not (TABLES / "ensembles.csv").is_file(), reason="the laptop table is not made yet")
def test_the_diagnosis_of_a_bag_is_the_error_that_its_members_share():
    """Of n members alike in law the average errs by a + b / n; a is more than one wide autoencoder leaves."""
    table = Table.read(TABLES / "ensembles.csv")
    one = bagged(table, "bag", 1)
    shared = [(n * bagged(table, "bag", n) - one) / (n - 1) for n in (2, 4, 8)]
    # one of a seed's members stands for all of them: a twentieth of its error
    assert np.ptp([values.mean() for values in shared]) < 0.05 * one.mean()
    assert (np.min(shared, axis=0) > 1.5 * bagged(table, "wide", 8)).all()


@pytest.mark.slow
def test_the_diagnosis_of_a_wide_autoencoder_is_not_that_it_has_found_all_features():
    """Of 384 features 192 latents find a third, and yet leave less than eight members of 24."""
    size = SIZES[Tier.LAPTOP]
    d, _, width, k = size.world
    spec = FeatureSpec(d, Bernoulli(ZipfRates(384, 0.7, 0.08)), RandomSphere(), HalfNormal(1.0))
    setting = Setting(spec, TopK(width, k, training=size.training), size.n_train, size.n_test, 8)
    bag, wide = (UnionCell(setting, kind, 8, 0).evaluate() for kind in ("bag", "wide"))
    assert found(wide) < 0.5 and fvu(wide) < fvu(bag) - 0.05
