"""The map of failures: its worlds and scores by hand, the bound of half-spaces, its claims, and the committed table."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from paper_figures import spade_map
from paper_figures.__main__ import TABLES
from sparsesim._arrays import Codes
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.study.table import Table
from studies import spade_map as declared
from studies.tiers import Tier
from tests.figures.verdicts import assert_contradicted, assert_reproduced

NAMES = ("part", "solver", "level", "seed")
COLUMNS = (*NAMES, "status", *(one.__name__ for one in declared.METRICS))
SCORES = {  # apart, amid, tracking, sparse: as published, and as our sentences say
    "relu_l1": (0.99, 0.45, 0.95, 0.9),
    "jump_relu": (0.98, 0.45, 0.95, 0.85),
    "topk": (0.7, 0.7, 0.0, 0.9),
    "spade": (0.98, 0.97, 0.97, 0.9),
    "random": (0.4, 0.4, 0.1, 0.0),
}
AXES = (2.0, 4.0, 8.0, 16.0, 30.0)
NAN = float("nan")


def points(tier: Tier = Tier.LAPTOP) -> set[tuple[str, str, int, int]]:
    return {tuple(value for _, value in labels) for labels in declared.study(tier).cells}


def invented(**changes: tuple[float, float, float, float]) -> Table:
    """A table on which every sentence is true; the middle level is the best, and level 2 has the fewest latents."""
    rows = []
    for part, name, level, seed in sorted(points()):
        apart, amid, tracking, sparse = changes.get(name, SCORES[name])
        loss = 0.1 * (level != 1) - 1e-4 * seed
        l0 = (30.0, 12.0, 2.0)[level]
        own = {
            "ring": [apart - loss, amid - loss, NAN, NAN, 0.1, 3.0, *[NAN] * 15],
            "dims": [NAN, NAN, tracking - loss, NAN, 0.1, l0, *AXES, *[l0] * 5, *[0.5 if level == 2 else 0.1] * 5],
            "sparse": [NAN, NAN, NAN, sparse - loss, 0.3 if name == "spade" else 0.1, 3.0, *[NAN] * 15],
        }[part]
        rows.append([part, name, level, seed, "budget_spent", *own])
    return Table.of_rows(list(COLUMNS), rows)


def test_where_everything_is_as_they_say_every_claim_is_reproduced():
    table = invented()
    assert_reproduced(spade_map, table, rows=len({point[:3] for point in points()}), panels=2)


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"relu_l1": (0.5, 0.5, 0.9, 0.9)}, "A latent that is active on a half-space"),
        ({"relu_l1": (0.99, 0.9, 0.9, 0.9)}, "It cannot find one amid"),
        ({"spade": (0.98, 0.5, 0.97, 0.9)}, "SpaDE finds both"),
        ({"spade": (0.98, 0.5, 0.97, 0.9)}, "SpaDE finds clusters amid"),
        ({"topk": (0.99, 0.98, 0.0, 0.9)}, "TopK finds both"),
        ({"spade": (0.98, 0.97, 0.3, 0.9)}, "The active latents of SpaDE"),
        ({"topk": (0.7, 0.7, 0.9, 0.9)}, "Those of TopK"),
        ({"relu_l1": (0.99, 0.45, 0.3, 0.9)}, "So do those of ReLU"),
        ({"spade": (0.98, 0.97, 0.97, 0.2)}, "SpaDE has no failure"),
        ({"relu_l1": (0.99, 0.9, 0.95, 0.9)}, "Every other autoencoder"),
        ({"topk": (0.7, 0.7, 0.0, 0.1)}, "All autoencoders find"),
        ({"random": (0.4, 0.4, 0.1, 0.3)}, "Random directions find"),
    ],
)
def test_claims_fail_where_the_table_contradicts_them(changes, begins):
    assert_contradicted(spade_map.claims(invented(**changes)), begins)


def test_the_ring_of_the_figure_is_that_of_the_study():
    law = declared.Ring()
    assert np.array(spade_map.CENTRES) == pytest.approx(law.centres(), abs=1e-12)
    assert np.isclose(spade_map.DEVIATION**2, law.variance)
    drawn = law.draw(30_000, stream(0, Role.TEST))
    for kind, centre in enumerate(law.centres()):
        own = drawn.x[drawn.labels == kind]
        # 5,000 samples a cluster: five standard errors of a mean, and a variance to a tenth
        assert own.mean(axis=0) == pytest.approx(centre, abs=5 * np.sqrt(law.variance / 5_000))
        assert own.var(axis=0) == pytest.approx([law.variance] * 2, rel=0.1)


def test_scores_of_clusters_by_hand():
    labels = np.repeat(np.arange(6), 2)
    x = declared.Ring().centres()[labels]
    codes = np.zeros((12, 3))
    codes[labels == 0, 0] = 1.0  # a detector of cluster 0
    codes[labels % 2 == 1, 1] = 1.0  # one for all of the inner three
    seen = declared.Coded(None, declared.Clusters(x, labels), Codes(codes), x)
    assert declared.f1_apart(seen) == pytest.approx((1.0 + 0.0 + 0.0) / 3)
    assert declared.f1_amid(seen) == pytest.approx(2 * 2 / (2 + 6))
    assert declared.l0(seen) == pytest.approx(8 / 12) and np.isnan(declared.dim_tracking(seen))
    law = declared.UnlikeDims(12, (1, 2, 4, 8, 11), 0)
    wide = law.draw(4_000, stream(0, Role.TEST))
    half = declared.Clusters(wide.x, wide.labels)
    active = (np.arange(12)[None] < np.array(law.dims)[wide.labels][:, None]).astype(float)
    spread = declared.Coded(None, half, Codes(active), np.zeros_like(wide.x) + law.centres()[wide.labels])
    assert np.array_equal(declared.intrinsic(spread), law.dims)
    assert declared.dim_tracking(spread) == pytest.approx(1.0)
    # the centre reconstructs nothing of a cluster's variance, up to 800 samples' error of the mean
    assert declared._by_cluster(spread)[1] == pytest.approx(np.ones(5), abs=0.01)


def test_the_smoke_tier_runs_and_half_spaces_keep_to_their_bound():
    study = declared.study(Tier.SMOKE)
    rows = []
    for labels, cell in study.cells.items():
        seen = cell.evaluate()
        rows.append([*dict(labels).values(), "budget_spent", *(metric(seen) for metric in study.metrics)])
    table = Table.of_rows(list(COLUMNS), rows)
    ring = table.where(part="ring", solver="relu_l1")
    # the best of 24 latents on 100 samples a cluster: F1 errs by some hundredths
    assert (ring.column("f1_amid") < spade_map.bound(1) + 0.06).all()
    assert len(spade_map.claims(table)) > 10 and len(spade_map.draw(table).axes) == 2


@pytest.mark.slow
def test_the_diagnosis_of_jump_relu_on_the_ring_is_where_thresholds_start():
    """From a small threshold each outer cluster gets a latent, at either bandwidth; from a large one two do not."""
    size = declared.SIZES[Tier.LAPTOP]

    def apart(bandwidth: float, threshold: float, steps: int) -> tuple[list[float], float]:
        training = replace(size.training, steps=steps)
        solver = JumpReLU(size.widths[0], 1e-4, bandwidth, threshold, training=training)
        cells = [declared.ClusterCell(declared.Ring(), solver, seed, 3, size.n_train, size.n_test) for seed in range(3)]
        seen = [cell.evaluate() for cell in cells]
        return [declared.f1_apart(one) for one in seen], float(np.mean([declared.l0(one) for one in seen]))

    for bandwidth in (1e-3, 0.5):
        found, active = apart(bandwidth, 1e-3, 1_000)
        assert min(found) > 0.99 and active > 5.0
        found, active = apart(bandwidth, 0.5, 1_000)
        assert np.mean(found) < 0.8 and active < 2.0
    assert np.mean(apart(0.5, 0.5, 4_000)[0]) < 0.8  # no matter of the length of training


@pytest.mark.skipif(not (TABLES / "spade_map.csv").is_file(), reason="the laptop table is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_half_spaces_keep_to_their_bound():
    table = Table.read(TABLES / "spade_map.csv")
    assert {tuple(row[name] for name in NAMES) for row in table.rows()} == points()
    assert json.loads((TABLES / "spade_map.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    found = [one.verdict for one in spade_map.claims(table) if one.sentence.startswith("It cannot find one amid")]
    assert found == [Verdict.REPRODUCED] * 2
