"""The audit: ranks follow the truth or not, the floor is that of random orders, claims follow their numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import audit as figure
from paper_figures.__main__ import TABLES
from sparsesim.study import run
from sparsesim.study.table import Table
from studies import audit as declared
from studies.tiers import Tier
from tests.figures.verdicts import assert_contradicted, assert_reproduced

NAMES = ("world", "solver", "point", "steps", "seed", "status", *(one.__name__ for one in declared.METRICS))
SIGNS = {  # how a number goes with the truth where every sentence is true
    "scr_1": 0.3, "scr_5": -1.0, "scr_20": -1.0, "tpp_1": 0.3, "tpp_5": -0.3, "tpp_20": -0.6, "explained_variance": 0.2,
    "decoder_coherence": -1.0, "dead_fraction": -1.0,
}  # fmt: skip


def invented(**changes: float) -> Table:
    """Numbers that are their sign times the truth, mixed with an order of their own; the truth grows with training."""
    signs, made = {**SIGNS, **changes}, []
    for index, labels in enumerate(declared.study(Tier.LAPTOP).cells):
        own = dict(labels)
        rng = np.random.default_rng([index, own["seed"]])
        truth = {"random": 0.1, "oracle": 1.0}.get(own["solver"], 0.3 + 2e-4 * own["steps"] + 0.05 * own["point"])
        truth += 0.02 * declared.ARCHITECTURES.index(own["solver"]) if own["steps"] else 0.0
        scores = []
        for metric in declared.METRICS:
            sign = signs.get(metric.__name__, 1.0)
            other = 0.7 * rng.random() * (1.0 - abs(sign))
            scores.append(sign * truth + other if metric.__name__ != "mcc_chance" else 0.4)
        made.append([*(own[name] for name in NAMES[:5]), "done", *scores])
    return Table.of_rows(NAMES, made)


def test_every_claim_follows_its_number():
    assert_reproduced(figure, invented(), rows=2 * len(figure.NUMBERS), panels=5)
    for begins, changes in {
        "Spurious correlation removal does not": {"scr_20": 1.0},
        "With many latents spurious": {"scr_20": 1.0},
        "Targeted probe perturbation does not": {"tpp_20": 1.0},
        "Targeted probe perturbation falls": {"tpp_20": 1.0},
        "Reconstruction does not": {"explained_variance": 1.0},
        "Two scores": {"mcc_corrected": -1.0},
        "Probes on few": {"probe_auc_1": -1.0},
        "Agreement of two": {"seed_agreement": -1.0},
        "It does so within": {"seed_agreement": -1.0},
        "Spurious correlation removal prefers": {"scr_20": 1.0},
    }.items():
        assert_contradicted(figure.claims(invented(**changes)), begins)


def test_correlations_are_signed_over_the_panel_and_within_architectures():
    table = invented()
    for of in (figure.overall, figure.within, figure.alike):
        np.testing.assert_allclose(of(table, "tree", "mcc_corrected"), 1.0)
        np.testing.assert_allclose(of(table, "tree", "scr_20"), -1.0)
        np.testing.assert_allclose(of(table, "zipf", "dead_fraction"), 1.0)  # less is better, and is taken negative
    np.testing.assert_allclose(figure.along(table, "tree", "seed_agreement"), 1.0)


def test_what_goes_by_the_length_of_training_alone_ranks_nothing_at_one_length():
    table = invented()
    columns = {name: list(values) for name, values in table.columns.items()}
    columns["explained_variance"] = [float(steps) for steps in columns["steps"]]
    by_length = Table({name: tuple(values) for name, values in columns.items()})
    assert figure.overall(by_length, "tree", "explained_variance").min() > 0.7
    np.testing.assert_array_equal(figure.alike(by_length, "tree", "explained_variance"), 0.0)


def test_random_orders_stay_below_the_floor_as_often_as_is_said():
    table = invented()
    # The mean over 4 seeds of the coefficient of 45, of variance 1 / 44 each, is nearly normal.
    assert figure.chance(table, "tree", 1) == pytest.approx(1.96 / np.sqrt(4 * 44), rel=0.06)
    assert figure.chance(table, "tree", 5) == pytest.approx(1.96 / np.sqrt(20 * 8), rel=0.06)


def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(figure.claims(table)) == 10
    assert len(figure.draw(table).axes) == 5
    oracle = table.where(solver="oracle", point=1)
    # Uniform coefficients: a probe of one true latent orders nearly all pairs of samples.
    assert oracle.column("probe_auc_1").min() > 0.75
    assert np.isnan(oracle.column("seed_agreement")).all()


def test_the_committed_table_is_the_whole_laptop_tier():
    table = Table.read(TABLES / "audit.csv")
    cells = {tuple(value for _, value in labels) for labels in declared.study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in NAMES[:5]) for row in table.rows()} == cells
    assert json.loads((TABLES / "audit.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
