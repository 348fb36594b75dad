"""What seeds can see: the designs' deviations are those of their definition, theory meets simulation, claims follow."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from paper_figures import detectable as figure
from paper_figures.__main__ import TABLES
from sparsesim.report.claims import Verdict
from sparsesim.study import Grouped, run
from sparsesim.study.table import Table
from studies import detectable as declared
from studies.tiers import Tier

NAMES = ("solver", "luck", "seed", "status", *(one.__name__ for one in declared.METRICS))
N = 48


def normal(count: int, shift: int) -> np.ndarray:
    """Return the normal quantiles of ``count`` equal steps, in an order of their own: no tail is a surprise."""
    return stats.norm.ppf((np.arange(count) + 0.5) / count)[np.random.default_rng(shift).permutation(count)]


def invented(world: float = 0.1, weights: float = 0.9, kin: float = 0.99, fvu: float = 0.95) -> Table:
    """Scores of unit variance times 0.02: shares by world, by weights within a world, and the rest by the solver.

    A variant shares ``kin`` of the weights' part with TopK, an unlike solver nothing of it.
    """
    common, made = normal(N, 0), []
    luck = {place: normal(N, 1 + place) for place in (0, 1)}
    for index, solver in enumerate(declared.SOLVERS):
        for place in (0, 1):
            own = normal(N, 10 + 2 * index + place)
            share = kin if solver.startswith("topk") else 0.0
            own = own if solver != "topk" else luck[place]
            part = np.sqrt(share) * luck[place] + np.sqrt(1.0 - share) * own if solver != "topk" else luck[place]
            score = 0.9 + 0.02 * (np.sqrt(world) * common + np.sqrt(weights) * part)
            error = 0.2 + 0.02 * (np.sqrt(fvu) * common + np.sqrt(1.0 - fvu) * own)
            made += [
                [solver, place, seed, "budget_spent", 32.0, float(score[seed]), 0.52, 0.8, float(error[seed])]
                for seed in range(N)
            ]
    return Table.of_rows(NAMES, made)


def test_the_deviations_are_those_of_differences_and_of_single_runs():
    table = invented()
    known = figure.bank(table, ("topk", "mp"))
    first, second, other = (
        table.where(solver=name, luck=luck).column("mcc") for name, luck in (("topk", 0), ("mp", 0), ("mp", 1))
    )
    assert known.deviation("seed") == pytest.approx(np.std(first - second, ddof=1), rel=1e-12)
    assert known.deviation("world") == pytest.approx(np.std(first - other, ddof=1), rel=1e-12)
    pooled = np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2)
    assert known.deviation("unpaired") == pytest.approx(pooled, rel=1e-12)
    # With correlation r and equal variances the worth is 1 / (1 - r).
    ratio = 2 * np.std(first) * np.std(second) / (np.var(first) + np.var(second))
    r = np.corrcoef(first, second)[0, 1] * ratio
    assert known.worth("seed") == pytest.approx(1.0 / (1.0 - r), rel=1e-9)


def test_simulated_comparisons_are_t_tests():
    known = figure.bank(invented(), ("topk", "mp"))
    rng = np.random.default_rng([figure.STREAM, 5])
    first, second = known.first - known.first.mean(), known.second - known.second.mean()
    a, b = (one[rng.integers(N, size=(figure.RESAMPLES, 5))] for one in (first, second))
    pvalues = stats.ttest_ind(a[:500] + 0.02, b[:500], axis=1).pvalue
    found = figure.trials(known, "unpaired", 5)
    tested = np.abs(found.mean[:500] + 0.02) > found.critical * found.error[:500]
    np.testing.assert_array_equal(tested, pvalues < figure.LEVEL)


def test_on_normal_runs_simulation_meets_the_exact_power():
    known = figure.bank(invented(), ("topk", "mp"))
    for design in figure.DESIGNS:
        deviation = known.deviation(design) * np.sqrt(1 - 1 / N)
        for n in (5, 12):
            size = figure.detectable(design, deviation, n)
            # 0.003 by simulation; the rest is that 48 quantiles have no tails beyond 2.3 deviations.
            assert figure.trials(known, design, n).power(size) == pytest.approx(0.8, abs=0.03)


def verdicts(begins: str, **changes: float) -> list[Verdict]:
    return [one.verdict for one in figure.claims(invented(**changes)) if one.sentence.startswith(begins)]


def test_every_claim_follows_its_number():
    found = figure.claims(invented())
    assert [one.verdict for one in found].count(Verdict.REPRODUCED) == len(found)
    assert verdicts("Sharing world and initial weights", world=0.02, weights=0.98, kin=0.0) != [Verdict.REPRODUCED]
    assert verdicts("What pairs a solver", kin=0.0) != [Verdict.REPRODUCED]
    assert verdicts("Between unlike autoencoders pairing", world=0.9, weights=0.1) == [Verdict.FAILED]
    assert verdicts("Errors are paired better", fvu=0.01) == [Verdict.FAILED]


def test_seeds_are_trained_together_and_streams_apart():
    cells = declared.study(Tier.SMOKE).cells
    assert all(isinstance(cell, Grouped) for cell in cells.values())
    for labels, cell in cells.items():
        own, fit = dict(labels), cell.group[cell.index]
        assert (fit.seed, fit.replica) == (own["seed"], own["luck"])


def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(figure.claims(table)) == len(figure.claims(invented()))
    assert len(figure.draw(table).axes) == 3
    assert {len(row) for row in figure.rows(table)} == {len(figure.HEADER)}


@pytest.mark.skipif(not (TABLES / "detectable.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier():
    table = Table.read(TABLES / "detectable.csv")
    cells = {tuple(value for _, value in labels) for labels in declared.study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in NAMES[:3]) for row in table.rows()} == cells
    assert json.loads((TABLES / "detectable.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
