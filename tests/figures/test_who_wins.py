"""Who wins where: rates stay along the axes, a winner is alone, penalties go by L0, and claims follow their numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from paper_figures import who_wins as figure
from paper_figures import who_wins_numbers as numbers
from paper_figures.__main__ import TABLES
from paper_figures.seeds import rank_correlation
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.study import FitCell, Grouped, run
from sparsesim.study.grouping import fits_together
from sparsesim.study.table import Table
from studies import who_wins as declared
from studies.tiers import Tier

NAMES = ("axis", "strength", "k", "solver", "seed", "status", *(one.__name__ for one in declared.METRICS))
HEIGHT = {  # of the codes where an axis begins, with which every sentence is true
    "bayes": 0.99, "l1": 0.98, "oracle_omp": 0.97, "nnls": 0.96, "random": 0.3, "online": 0.93, "mod": 0.91,
    "mp": 0.85, "relu_l1_1": 0.8, "relu_l1_1.4": 0.79, "relu_l1_2": 0.78, "jump_relu": 0.75, "topk": 0.72,
    "batch_topk": 0.7, "matryoshka": 0.65,
}  # fmt: skip
LOSS = {  # along the whole axis, of codes and of atoms
    "bayes": 0.01, "l1": 0.01, "oracle_omp": 0.01, "nnls": 0.01, "random": 0.0, "online": 0.03, "mod": 0.04,
    "mp": 0.05, "topk": 0.08, "batch_topk": 0.09, "matryoshka": 0.06,
}  # fmt: skip
L0 = {"relu_l1_1": 2.0, "relu_l1_1.4": 1.0, "relu_l1_2": 0.5}  # over k


def invented(floor: float = 0.0, height: dict[str, float] | None = None, loss: dict[str, float] | None = None) -> Table:
    heights, losses, made = {**HEIGHT, **(height or {})}, {**LOSS, **(loss or {})}, []
    ends = {axis: points[-1] for axis, points in declared.AXES}
    for labels in declared.study(Tier.LAPTOP).cells:
        own = dict(labels)
        solver, seed, k = own["solver"], own["seed"], own["k"]
        lost = losses.get(solver, 0.07) * own["strength"] / ends[own["axis"]]
        code = heights[solver] - lost - 0.01 * k + 1e-4 * seed
        atoms = floor if solver == "random" else 0.9 - lost + 1e-4 * seed
        l0 = L0.get(solver, 1.0) * k
        scores = [32.0, code, code, l0, float(k), 0.6 + 0.4 * atoms, 0.6, atoms, atoms, 0.1]
        made.append([own["axis"], own["strength"], k, solver, seed, "converged", *scores])
    return Table.of_rows(NAMES, made)


def verdicts(begins: str, **changes) -> list[Verdict]:
    return [one.verdict for one in figure.claims(invented(**changes)) if one.sentence.startswith(begins)]


def test_every_claim_follows_its_number():
    found = figure.claims(invented())
    assert [one.verdict for one in found].count(Verdict.REPRODUCED) == len(found) == 20
    failed = Verdict.FAILED
    assert verdicts("A random dictionary", floor=0.5) == [failed]
    assert verdicts("No learner", height={"online": 1.2}) == 3 * [failed]
    assert verdicts("Who finds codes best", loss={"online": 0.5}) == 3 * [failed]
    assert verdicts("The order of the learners", loss={"online": 0.6, "mod": 0.5, "mp": 0.4}) == 3 * [failed]
    assert verdicts("Dictionary learning with", height={"mp": 0.99}) == 3 * [failed]
    assert verdicts("Nested prefixes", loss={"matryoshka": 0.2}) == [failed]
    assert verdicts("Pursuit gains", loss={"mp": 0.2}) == [failed]
    assert verdicts("A hierarchy costs", loss={"relu_l1_1.4": -0.1}) == [failed]
    assert verdicts("Correlation costs every learner more", loss={"online": 0.0}) == [failed]
    assert verdicts("Correlation costs every learner atoms", loss={"mod": -0.1}) == [failed]
    assert verdicts("Correlation costs a linear", loss={"topk": 0.0}) == [failed]
    assert verdicts("Unequal rates", loss={"mod": -0.1}) == [failed]


def test_the_penalty_goes_by_the_number_of_latents_and_the_ceiling_by_the_codes():
    table = invented(height={"relu_l1_1": 0.99})
    of = [numbers.field(table, "skew", name, "code_correlation") for name in ("relu_l1", "relu_l1_1.4")]
    np.testing.assert_array_equal(*of)
    ceiling, bayes = (numbers.field(table, "skew", name, "fvu") for name in ("ceiling", "bayes"))
    np.testing.assert_array_equal(ceiling, bayes)
    best = numbers.field(invented(height={"nnls": 0.999}), "skew", "ceiling", "code_correlation")
    assert best.max() > numbers.field(table, "skew", "bayes", "code_correlation").max()


def test_a_point_without_a_winner_holds_all_that_are_not_told_from_the_best():
    alone = numbers.running(invented(), "hierarchy", "code_correlation")
    assert all(names == ["online"] for line in alone for names in line)
    even = invented(height={"mod": HEIGHT["online"]}, loss={"mod": LOSS["online"]})
    both = numbers.running(even, "hierarchy", "code_correlation")
    assert all(sorted(names) == ["mod", "online"] for line in both for names in line)
    assert numbers.decided(invented(), "code_correlation") == (33, 33)
    assert numbers.decided(even, "code_correlation") == (0, 33)


def test_orders_are_compared_by_rank_within_each_seed():
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    assert rank_correlation(scores, scores**3).tolist() == pytest.approx([1.0, 1.0])
    assert rank_correlation(scores, scores[:, ::-1]).tolist() == pytest.approx([-1.0, -1.0])
    assert rank_correlation(scores, scores[[1, 0, 2]])[0] == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    assert rank_correlation(scores, 0 * scores).tolist() == [0.0, 0.0]
    tied = np.array([[1.0, 2.0], [1.0, 1.0], [2.0, 1.0], [3.0, 0.0]])
    expected = [spearmanr(*pair).statistic for pair in zip(tied.T, tied[::-1].T, strict=True)]
    np.testing.assert_allclose(rank_correlation(tied, tied[::-1]), expected, rtol=1e-12)


def test_a_family_keeps_its_rates_while_children_come_to_fire_with_their_parent():
    rate = 0.3
    for strength in (0.0, 0.4, 1.0):
        law = declared.family(rate, strength)
        joint = law.pairwise()
        np.testing.assert_allclose(law.marginals(), [rate] + 3 * [rate / 3], rtol=1e-12)
        share = rate + strength * (1 - rate)
        np.testing.assert_allclose(joint[0, 1:], share * rate / 3, rtol=1e-12)
        alone = 1 - law.marginals()[0]  # given the parent silent, children are independent too
        off = (rate / 3 - joint[0, 1]) / alone
        both = rate * (joint[0, 1] / rate) ** 2 + alone * off**2
        np.testing.assert_allclose(joint[1, 2], both, rtol=1e-12)


@pytest.mark.parametrize("tier", Tier)
def test_as_many_features_are_active_everywhere_and_correlations_are_those_said(tier):
    size = declared.SIZES[tier]
    for axis, points in size.axes:
        for k in size.actives:
            for strength in points:
                law = declared.world(size, axis, k, strength).support
                rates, joint = law.marginals(), law.pairwise()
                assert rates.sum() == pytest.approx(k, rel=1e-9)
                if axis == "correlation":
                    firing = (joint[0, 1] - rates[0] ** 2) / (rates[0] * (1 - rates[0]))
                    assert firing == pytest.approx(strength, abs=1e-8)  # latent correlations keep nine digits
                    assert joint[0, declared.BLOCK] == pytest.approx(rates[0] ** 2, rel=1e-9)


def test_two_axes_begin_in_one_world():
    size = declared.SIZES[Tier.LAPTOP]
    first, second = (declared.world(size, axis, 4, 0.0) for axis in ("correlation", "skew"))
    assert first == second
    x = [one.build(stream(0, Role.TRUTH)).sample(5, stream(0, Role.TRAIN)).x for one in (first, second)]
    np.testing.assert_array_equal(*x)


def test_models_of_an_axis_are_trained_together():
    groups = {cell.group for cell in declared.study(Tier.LAPTOP).cells.values() if isinstance(cell, Grouped)}
    assert sorted({len(group) for group in groups}) == [15, 20, 45, 60]
    small = {cell.group for cell in declared.study(Tier.SMOKE).cells.values() if isinstance(cell, Grouped)}
    assert all(fits_together(group) for group in small)


def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(figure.claims(table)) == 20
    assert len(figure.draw(table).axes) == 9
    assert {len(row) for row in figure.rows(table)} == {len(figure.HEADER)}
    for name in ("mod", "random"):  # where both axes hold the same cell
        begins = [numbers.field(table, axis, name, "mcc")[:, 0] for axis in ("correlation", "skew")]
        np.testing.assert_array_equal(*begins)


def test_a_floor_sees_no_more_of_the_truth_than_k():
    cells = declared.study(Tier.SMOKE).cells
    floors = [cell for labels, cell in cells.items() if dict(labels)["solver"] == "random"]
    assert floors and all(isinstance(cell, FitCell) for cell in floors)


@pytest.mark.skipif(not (TABLES / "who_wins.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier():
    table = Table.read(TABLES / "who_wins.csv")
    cells = {tuple(value for _, value in labels) for labels in declared.study(Tier.LAPTOP).cells}
    assert {tuple(row[name] for name in NAMES[:5]) for row in table.rows()} == cells
    assert json.loads((TABLES / "who_wins.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
