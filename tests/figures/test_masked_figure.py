"""The masked study takes the truth as a start and nothing else; its claims say what their sentences say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from paper_figures import masked
from paper_figures.__main__ import TABLES
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Support
from sparsesim.report.claims import Verdict
from sparsesim.study.table import Table
from studies import masked as declared
from studies.tiers import Tier

NAMES = tuple(metric.__name__ for metric in declared.METRICS)


def invented(points=tuple(masked.PAPER["plain"]), seeds=3, **shift: float) -> Table:
    """A table of what the paper plots, ``shift`` added to an objective, on seeds that differ by a common 1e-4."""
    made = [
        [name, *point, seed, "budget_spent", masked.PAPER[name][point] + shift.get(name, 0) + 1e-4 * seed]
        for name in masked.SHOWN
        for point in points
        for seed in range(seeds)
    ]
    rows = [[*row, *[0.5] * (len(NAMES) - 1)] for row in made]
    return Table.of_rows(["solver", "width", "noise", "seed", "status", *NAMES], rows)


LAPTOP = declared.SIZES[Tier.LAPTOP].points


@pytest.mark.parametrize("points", [LAPTOP, declared.SIZES[Tier.PAPER].points])
def test_the_numbers_of_the_paper_reproduce_every_claim(points):
    table = invented(points)
    found = masked.claims(table)
    assert len(found) == 2 * len(points) + 6
    assert {one.verdict for one in found} == {Verdict.REPRODUCED}
    assert len(masked.rows(table)) == 2 * len(points) and {len(row) for row in masked.rows(table)} == {
        len(masked.HEADER)
    }
    assert len(masked.draw(table).axes) == 2


def test_another_size_and_another_order_are_not_reproduced():
    verdicts = [one.verdict for one in masked.claims(invented(LAPTOP, masked=0.5))]
    assert verdicts[:5] == [Verdict.REPRODUCED] * 5  # plain is where it was
    assert verdicts[5:10] == [Verdict.FAILED] * 5
    assert verdicts[10:13] == [Verdict.FAILED] * 3  # neither nearer to the truth, nor by that much
    swapped = [one.verdict for one in masked.claims(invented(LAPTOP, plain=0.1))]
    assert swapped[13] is Verdict.FAILED  # masking costs nothing then


def test_the_published_points_are_the_tiers():
    assert set(declared.SIZES[Tier.PAPER].points) == set(masked.PAPER["plain"]) == set(masked.PAPER["masked"])
    assert len(declared.study(Tier.LAPTOP).cells) == 2 * 5 * 5
    solvers = {(cell.solver.k, cell.solver.epochs, cell.n_train) for cell in declared.study(Tier.LAPTOP).cells.values()}
    assert solvers == {(5, 500, 1000)}


def test_codes_are_uniform_on_the_sphere():
    n, k = 4000, 3
    support = Support(np.arange(n + 1) * k, np.tile(np.arange(k, dtype=np.int32), n), k)
    codes = declared.UnitCodes().draw(support, np.random.default_rng(0)).reshape(n, k)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-14)
    second = codes.T @ codes / n
    # each entry of zz' has a standard deviation of at most sqrt(1/5 - 1/9) = 0.3; five standard errors
    np.testing.assert_allclose(second, np.eye(k) / k, atol=5 * 0.3 / np.sqrt(n))


def test_the_start_is_the_truth_and_samples_that_are_not_learned_from():
    cell = next(iter(declared.study(Tier.SMOKE).cells.values()))
    cell = dataclasses.replace(cell, solver=dataclasses.replace(cell.solver, width=60, epochs=1))
    model = cell.world.build(stream(cell.seed, Role.TRUTH))
    start = cell.start(model)
    assert start.shape == (60, 30) and np.array_equal(start[:40], model.atoms)
    np.testing.assert_allclose(np.linalg.norm(start, axis=1), 1, atol=1e-12)
    train = model.sample(cell.n_train, stream(cell.seed, Role.TRAIN)).x
    train = train / np.linalg.norm(train, axis=1, keepdims=True)
    assert np.abs(train @ start[40:].T).max() < 1 - 1e-6
    one, two = cell.evaluate(), cell.evaluate()
    assert np.array_equal(one.fitted.atoms, two.fitted.atoms)
    assert 0 < declared.distance(one) < 0.05  # one epoch of steps of 1e-3 from the truth
    with pytest.raises(ValueError, match="an atom for each"):
        dataclasses.replace(cell, solver=dataclasses.replace(cell.solver, width=39))


@pytest.mark.skipif(not (TABLES / "masked.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    table = Table.read(TABLES / "masked.csv")
    cells = {tuple(value for _, value in labels) for labels in declared.study(Tier.LAPTOP).cells}
    assert {(row["solver"], row["width"], row["noise"], row["seed"]) for row in table.rows()} == cells
    assert set(table.values("status")) == {"budget_spent"}
    assert json.loads((TABLES / "masked.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
