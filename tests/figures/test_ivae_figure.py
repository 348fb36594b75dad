"""The study of labels: its worlds, its linear oracle, its claims, and the committed table."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from paper_figures import ivae
from paper_figures.__main__ import TABLES
from sparsesim._identity import Role, stream
from sparsesim.metrics.disentanglement_codes import code_mcc
from sparsesim.report.claims import Verdict
from sparsesim.study import run
from sparsesim.study.table import Table
from studies import ivae as declared
from studies.tiers import Tier

COLUMNS = ("mixing", "solver", "segments", "seed", "status", *(one.__name__ for one in declared.METRICS))
EXPECTED = {"ivae": 0.9, "idvae": 0.8, "vae": 0.6, "ica": 0.7, "random": 0.5, "unmixing": 0.99}


def points(tier: Tier = Tier.LAPTOP) -> set[tuple[str, str, int, int]]:
    return {tuple(value for _, value in labels) for labels in declared.study(tier).cells}


def invented(m: int = 3, **shift: float) -> Table:
    """A table of m sources in which everything is as the claims say, ``shift`` added to a solver of the nonlinear."""
    rows = []
    for mixing, name, segments, seed in sorted(points()):
        mcc = EXPECTED[name]
        if name == "ivae":
            mcc = {1: 0.6, 2: 0.8}.get(segments, 0.9)
        if mixing == "linear" and name == "ica":
            mcc = 0.99 if segments > 1 else 0.8
        if mixing == "nonlinear" and name == "unmixing":
            mcc = 0.85
        mcc += (shift.get(name, 0.0) if mixing == "nonlinear" else 0.0) + 1e-4 * seed
        rank = min(segments - 1, m)
        rows.append([mixing, name, segments, seed, "budget_spent", mcc, mcc, mcc**2, 0.01, float(rank)])
    return Table.of_rows(list(COLUMNS), rows)


def test_where_everything_is_as_they_say_every_claim_is_reproduced():
    table = invented()
    found = ivae.claims(table)
    assert {one.verdict for one in found} == {Verdict.REPRODUCED} and len(found) == 12
    assert {len(row) for row in ivae.rows(table)} == {len(ivae.HEADER)}
    assert len(ivae.rows(table)) == len({point[:3] for point in points()})
    assert len(ivae.draw(table).axes) == 2 and ivae.sources(table) == 3


@pytest.mark.parametrize(
    ("shift", "failed"),
    [
        ({"vae": 0.4}, ["a VAE does not find", "and ahead of a VAE", "With one label"]),
        ({"ica": 0.3}, ["Linear independent components"]),
        ({"idvae": -0.3}, ["The double VAE"]),
        ({"unmixing": 0.1}, ["A network undoes"]),
        (
            {"ivae": -0.35},
            ["a VAE does not find", "Linear independent components", "A network undoes", "With one label"],
        ),
    ],
)
def test_a_table_that_says_otherwise_fails_the_claims_that_it_contradicts_and_no_others(shift, failed):
    wrong = [one.sentence for one in ivae.claims(invented(**shift)) if one.verdict is not Verdict.REPRODUCED]
    assert len(wrong) == len(failed) and all(
        any(part in sentence for sentence in wrong) for part in failed
    ), wrong  # fmt: skip


def test_remembered_sizes_are_claimed_of_five_sources_alone():
    both = [one for one in ivae.claims(invented(m=5)) if one.source == ivae.REMEMBERED]
    assert [one.verdict for one in both] == [Verdict.REPRODUCED] * 2
    high = [one.verdict for one in ivae.claims(invented(m=5, vae=0.3)) if one.source == ivae.REMEMBERED]
    assert high[0] is Verdict.REPRODUCED and high[1] is not Verdict.REPRODUCED


def test_the_linear_oracle_undoes_a_linear_mixture_by_two_covariances():
    cell = declared.UnmixingCell(declared.world(3, 2, "linear"), 0, 500, 20_000)
    evaluation = cell.evaluate()
    # Covariances of 10,000 samples a label: their eigenvectors are a per cent or so off unless two ratios are near.
    assert code_mcc(evaluation) > 0.98
    assert declared.labels_rank(evaluation) == 1
    bent = dataclasses.replace(cell, world=declared.world(3, 2, "nonlinear")).evaluate()
    assert code_mcc(bent) < code_mcc(evaluation)
    with pytest.raises(ValueError, match="two labels at least"):
        dataclasses.replace(cell, world=declared.world(3, 1, "linear"))


def test_both_mixtures_are_injective_and_only_one_is_affine():
    codes = (
        declared.world(3, 4, "linear").build(stream(0, Role.TRUTH)).sample(200, stream(0, Role.TEST)).codes.toarray()
    )
    for mixing, affine in (("linear", True), ("nonlinear", False)):
        model = declared.world(3, 4, mixing).build(stream(0, Role.TRUTH))
        batch = model.sample(200, stream(0, Role.TEST))
        np.testing.assert_array_equal(batch.codes.toarray(), codes)  # the mixtures share their sources
        np.testing.assert_allclose(model.observation[0].inverse(batch.x), codes @ model.atoms, atol=1e-9)
        design = np.hstack([codes, np.ones((200, 1))])
        left = np.linalg.lstsq(design, batch.x, rcond=None)[1]
        assert bool((left < 1e-9).all()) == affine


@pytest.mark.slow
def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(ivae.claims(table)) == 12 and ivae.sources(table) == 2
    assert len(ivae.draw(table).axes) == 2


def test_a_part_of_the_smoke_tier_is_what_the_claims_read(tmp_path):
    whole = declared.study(Tier.SMOKE)
    kept = {key: cell for key, cell in whole.cells.items() if dict(key)["segments"] != 2 and dict(key)["seed"] == 0}
    table = run(dataclasses.replace(whole, cells=kept), tmp_path, engine="inline")
    assert set(table.columns) == set(COLUMNS)
    ranks = {int(row["segments"]): float(row["labels_rank"]) for row in table.rows()}
    assert ranks == {1: 0.0, 8: 2.0}
    linear = table.where(mixing="linear", segments=8, solver="ica").column("code_mcc")
    assert linear.min() > 0.95  # sources of eight scales have heavy tails, and 2000 samples are plenty for two


@pytest.mark.skipif(not (TABLES / "ivae.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    table = Table.read(TABLES / "ivae.csv")
    found = {(row["mixing"], row["solver"], row["segments"], row["seed"]) for row in table.rows()}
    assert found == points()
    assert json.loads((TABLES / "ivae.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
