"""The study of features of either sign: its world and score, its claims on invented tables, and the committed table."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from paper_figures import bipolar
from paper_figures.__main__ import TABLES
from sparsesim._arrays import Codes
from sparsesim._identity import Role, stream
from sparsesim.metrics import codes, reconstruction
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.topk import TopK
from sparsesim.study.table import Table
from studies import bipolar as declared
from studies.tiers import Tier
from tests.figures.known_start import StartedAt
from tests.figures.verdicts import assert_contradicted, assert_reproduced
from theory.bipolar import one_sided_fvu, signed_fvu

NAMES = ("part", "solver", "share", "positive", "seed")
COLUMNS = (*NAMES, "status", *(one.__name__ for one in declared.METRICS))
SIZE = declared.SIZES[Tier.LAPTOP]


def points(tier: Tier = Tier.LAPTOP) -> set[tuple[str, str, float, float, int]]:
    return {tuple(value for _, value in labels) for labels in declared.study(tier).cells}


def invented(**changes: float) -> Table:
    """A table on which theory holds; ``changes`` are added to the FVU of a solver at p = m."""
    rows = []
    for part, name, share, positive, seed in sorted(points()):
        width = round(share * SIZE.m)
        signed = name == "abs_topk"
        left = signed_fvu(width, SIZE.m) if signed else one_sided_fvu(width, SIZE.m, SIZE.k / SIZE.m, positive)
        left += (0.2 if part == "superposed" and not signed else 0.0) + 1e-4 * seed * (1 + signed)
        left += changes.get(name, 0.0) if share == 1.0 else 0.0
        mcc = {"random": 0.45, "abs_topk": 0.98}.get(name, 0.75) + changes.get(f"{name}_mcc", 0.0)
        served = {"random": 0.0, "abs_topk": 1.0}.get(name, 0.4) + changes.get(f"{name}_served", 0.0)
        active = float(SIZE.k)
        rows.append(
            [part, name, share, positive, seed, "converged", SIZE.m, width, left, served, mcc, 0.45, active, active, 0]
        )
    return Table.of_rows(list(COLUMNS), rows)


def test_where_theory_is_met_every_claim_is_reproduced():
    table = invented()
    assert_reproduced(bipolar, table, rows=len({point[:4] for point in points()}), panels=3)


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"topk": -0.5}, "AbsTopK reconstructs better"),
        ({"topk": 0.3}, "An autoencoder with codes of one sign"),
        ({"abs_topk": 0.3}, "Where a latent of either sign does"),
        ({"nested_topk": -0.3}, "Nested training"),
        ({"topk_mcc": 0.2}, "With as many latents"),
        ({"abs_topk": -0.1}, "No autoencoder of p latents"),
        ({"topk_served": 0.3}, "Of the signed directions"),
        ({"abs_topk": 0.3}, "Where all features have one sign"),
        ({"abs_topk_mcc": -0.4}, "Training finds"),
    ],
)
def test_claims_fail_where_the_table_contradicts_them(changes, begins):
    assert_contradicted(bipolar.claims(invented(**changes)), begins)


@pytest.mark.parametrize("positive", [0.5, 0.9, 1.0])
def test_the_world_has_the_variance_and_signs_of_the_closed_form(positive):
    model = declared.orthonormal(12, 3, positive).build(stream(0, Role.TRUTH))
    batch = model.sample(20_000, stream(0, Role.TEST))
    codes, rate = batch.codes.toarray(), 3 / 12
    assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0} and (np.abs(codes).sum(axis=1) == 3).all()
    shares = (codes > 0).sum() / np.abs(codes).sum()
    assert abs(shares - positive) < 4 * np.sqrt(0.25 / 60_000) + 1e-12  # z of 4
    expected = rate - rate**2 * (2 * positive - 1) ** 2
    # of 20,000 samples of each of 12 features: the mean of their variances to a hundredth
    assert codes.var(axis=0).mean() == pytest.approx(expected, rel=0.01)


def test_a_latent_serves_the_side_it_points_to_and_both_where_its_codes_are_signed():
    cosines = np.array([[1.0, -0.95, 0.0], [0.0, 0.0, 0.95]])
    codes = Codes(np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]]))
    assert declared.served(SimpleNamespace(cosines=cosines, codes=codes)) == 0.75
    codes = Codes(np.array([[1.0, 2.0, -1.0], [0.0, 1.0, 3.0]]))
    assert declared.served(SimpleNamespace(cosines=cosines, codes=codes)) == 1.0
    with pytest.raises(ValueError, match="positive"):
        declared.Signs(1.5)


def test_the_smoke_tier_runs_and_is_drawn():
    study = declared.study(Tier.SMOKE)
    rows = []
    for labels, cell in study.cells.items():
        evaluation = cell.evaluate()
        rows.append([*dict(labels).values(), "budget_spent", *(metric(evaluation) for metric in study.metrics)])
    table = Table.of_rows(list(COLUMNS), rows)
    assert len(bipolar.claims(table)) > 10 and len(bipolar.draw(table).axes) == 3
    for name in ("topk", "abs_topk"):  # no latents but along features: untrained models cannot be below by much
        left = table.where(part="width", solver=name, share=1.0).column("fvu")
        assert (left > bipolar.exact(table, name, 1.0, 0.5) - 0.05).all()


@pytest.mark.slow
def test_the_diagnosis_of_less_error_than_latents_along_features_leave_is_latents_between_them():
    """Training that starts along features leaves them, and ends below their error, as from any other start."""
    model = declared.orthonormal(SIZE.m, SIZE.k, 0.5).build(stream(0, Role.TRUTH))
    x, test = model.sample(SIZE.n_train, stream(0, Role.TRAIN)).x, model.sample(2_000, stream(0, Role.TEST))
    narrow = SIZE.m // 2
    solver = TopK(narrow, SIZE.k, training=SIZE.training)
    known = one_sided_fvu(narrow, SIZE.m, SIZE.k / SIZE.m)
    assert known == pytest.approx(0.7333, abs=1e-4)
    for start in (solver, StartedAt(solver, model.atoms[:narrow])):
        seen = Evaluation(model, start.fit(x, rng=stream(0, Role.SOLVER)), test)
        assert 0.5 < reconstruction.fvu(seen) < known - 0.04  # below 1/2 none of half the width can be
        assert codes.l0(seen) > 2.9 and np.abs(seen.cosines).max(axis=0).mean() < declared.FOUND


@pytest.mark.skipif(not (TABLES / "bipolar.csv").is_file(), reason="the laptop table is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_shows_that_one_sign_costs_half():
    table = Table.read(TABLES / "bipolar.csv")
    assert {tuple(row[name] for name in NAMES) for row in table.rows()} == points()
    assert json.loads((TABLES / "bipolar.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    found = {one.sentence: one.verdict for one in bipolar.claims(table)}
    assert found["AbsTopK reconstructs better than TopK at equal width."] is Verdict.REPRODUCED
