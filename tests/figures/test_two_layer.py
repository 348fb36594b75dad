"""The two-layer study trains on the lines of theory; its claims say what their sentences say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from paper_figures.__main__ import TABLES
from paper_figures.two_layer import HEADER, claims, draw, excess, rows, transition
from sparsesim.report.claims import Verdict
from sparsesim.study import run
from sparsesim.study.table import Table
from studies.tiers import Tier
from studies.two_layer import METRICS, SIZES, study, world
from theory.autoencoders import near_identity_mse, rotation_mse, sparse_rotation_mse

NAMES = tuple(metric.__name__ for metric in METRICS)
LABELS = ("part", "density", "rate", "d", "seed")


def invented(critical: float = 0.6, shift: float = 0.0) -> Table:
    """A table on the lines of theory for d = 1000, with the turn to features at ``critical``; ``shift`` is added."""
    made = []
    for labels in study(Tier.LAPTOP).cells:
        own = dict(labels)
        density, rate, seed = float(own["density"]), float(own["rate"]), int(own["seed"])
        signs = own["part"] == "signs"
        fourth = 1.0 if signs and density > critical else 3.0 / 1002
        fvu = near_identity_mse(density) if fourth == 1.0 else rotation_mse(rate)
        if not signs and rate <= 1:
            fvu = sparse_rotation_mse(rate, excess(density, signs=False), fourth)
        made.append([own["part"], density, rate, 1000, seed, "budget_spent", fvu + shift + 1e-5 * seed,
                     rotation_mse(rate) + 1e-5 * seed, fourth])  # fmt: skip
    return Table.of_rows([*LABELS, "status", *NAMES], made)


def test_on_the_lines_of_theory_every_claim_is_reproduced():
    table = invented()
    assert {one.verdict for one in claims(table)} == {Verdict.REPRODUCED}
    assert {len(row) for row in rows(table)} == {len(HEADER)} and len(draw(table).axes) == 3
    np.testing.assert_allclose(transition(table), 0.625)  # midway between the densities on its two sides


def test_another_error_and_another_turn_are_not_reproduced():
    failed = [one.sentence for one in claims(invented(shift=0.1)) if one.verdict is Verdict.FAILED]
    assert sum("bit a dimension" in sentence for sentence in failed) == 2
    assert any(sentence.startswith("On sparse normal data") for sentence in failed)
    (turn,) = [one for one in claims(invented(critical=0.3)) if "critical density is where" in one.sentence]
    assert turn.verdict in (Verdict.FAILED, Verdict.DRIFT)
    (early,) = [one for one in claims(invented(shift=-0.3)) if "rate-distortion" in one.sentence]
    assert early.verdict is Verdict.FAILED


@pytest.mark.parametrize(("density", "signs"), [(0.4, False), (0.4, True)])
def test_features_have_the_kurtosis_that_theory_is_given(density, signs):
    batch = world(8, density, signs).build(np.random.default_rng(0)).sample(200_000, np.random.default_rng(1))
    values = batch.codes.toarray() / math.sqrt(density)
    fourth = values**4
    error = fourth.mean(axis=0).std() / math.sqrt(8)  # the columns are independent
    assert abs(fourth.mean() - 3 - excess(density, signs)) < 5 * error


def test_the_smoke_tier_measures_the_encoder_it_trained(tmp_path):
    small = study(Tier.SMOKE)
    table = run(small, tmp_path, engine="inline")
    assert len(table) == len(small.cells) and len(draw(table).axes) == 3
    assert len(claims(table)) == 12 and rows(table)
    d = SIZES[Tier.SMOKE].d
    assert ((table.column("fourth_powers") > 1 / d - 1e-9) & (table.column("fourth_powers") <= 1 + 1e-9)).all()
    # no encoder is below the least error on normal data (to rounding), and 200 steps come within a tenth of it
    dense = table.where(part="rate", density=1.0)
    off = dense.column("gaussian_error") - [rotation_mse(float(rate)) for rate in dense.column("rate")]
    assert (off > -1e-9).all() and (off < 0.1).all()


def test_the_committed_table_is_the_whole_laptop_tier_and_lies_on_the_curve():
    table = Table.read(TABLES / "two_layer.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in LABELS) for row in table.rows()} == cells
    assert json.loads((TABLES / "two_layer.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert [one.verdict for one in claims(table)][:3] == [Verdict.REPRODUCED] * 3
