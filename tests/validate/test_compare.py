"""Curves are read at the subject's L0, intervals hold together, nulls are no differences, planted ones are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import sparsesim.metrics
from sparsesim.study import paired_power
from sparsesim.study.interval import Interval
from sparsesim.validate.compare import (
    SUBJECT,
    Differences,
    Rows,
    decide,
    more_seeds,
    outcome,
    paired_differences,
    read_curve,
    standings,
)
from sparsesim.validate.measures import LARGER, MEASURED, SMALLER, direction
from sparsesim.validate.result import Outcome

RNG = np.random.default_rng(0)


def row(solver, seed, l0, mcc, world="w", budget=0):
    return {"world": world, "solver": solver, "budget": budget, "seed": seed, "l0": l0, "mcc": mcc}


def differences(values, world="w", reference="topk", metric="mcc"):
    return Differences(world, reference, metric, tuple(float(value) for value in values), 3.0, True)


def test_a_curve_is_linear_in_the_logarithm_of_l0_and_flat_beyond_its_ends():
    curve = np.array([[2.0, 0.4], [8.0, 0.8]])
    values, inside = read_curve(curve, np.array([2.0, 4.0, 8.0]))
    np.testing.assert_allclose(values, [0.4, 0.6, 0.8], rtol=1e-14)  # rounding of two logarithms
    assert inside.all()
    values, inside = read_curve(curve, np.array([1.0, 4.0, 16.0]))
    np.testing.assert_allclose(values, [0.4, 0.6, 0.8], rtol=1e-14)
    assert inside.tolist() == [False, True, False]


def test_differences_are_paired_by_seed_and_read_at_the_l0_of_that_seed():
    rows = [row("topk", seed, l0, 0.1 * seed + 0.1 * math.log2(l0)) for seed in (0, 1, 2) for l0 in (2.0, 4.0, 8.0)]
    rows += [row(SUBJECT, 0, 3.0, 0.5), row(SUBJECT, 1, 5.0, 0.5), row(SUBJECT, 7, 5.0, 0.5)]
    found = paired_differences(Rows.of(rows), "w", "topk", "mcc")
    # The curve is exactly linear in log L0; rounding alone is left.
    expected = [0.5 - 0.1 * math.log2(3.0), 0.5 - 0.1 - 0.1 * math.log2(5.0)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert found.l0 == 4.0
    assert found.inside


def test_a_subject_on_a_grid_is_compared_at_each_of_its_points():
    rows = [row("topk", seed, l0, 0.5) for seed in (0, 1) for l0 in (2.0, 8.0)]
    rows += [row(SUBJECT, seed, l0, mcc) for seed in (0, 1) for l0, mcc in ((2.0, 0.6), (4.0, 0.7), (8.0, 0.8))]
    assert paired_differences(Rows.of(rows), "w", "topk", "mcc").values == pytest.approx([0.2, 0.2], rel=1e-12)


def test_points_beyond_the_grid_are_left_out_unless_all_are():
    rows = [row("topk", seed, l0, 0.5) for seed in (0, 1) for l0 in (2.0, 8.0)]
    far = [row(SUBJECT, seed, l0, mcc) for seed in (0, 1) for l0, mcc in ((0.5, 0.1), (4.0, 0.7), (30.0, 0.9))]
    found = paired_differences(Rows.of(rows + far), "w", "topk", "mcc")
    assert found.values == pytest.approx([0.2, 0.2])
    assert (found.l0, found.inside) == (4.0, True)
    dense = [row(SUBJECT, seed, 30.0, 0.9) for seed in (0, 1)]
    found = paired_differences(Rows.of(rows + dense), "w", "topk", "mcc")
    assert found.values == pytest.approx([0.4, 0.4])
    assert (found.l0, found.inside) == (30.0, False)


def test_the_same_points_are_compared_in_every_seed_unless_fits_failed():
    rows = [row("topk", seed, l0, 0.5) for seed in (0, 1) for l0 in (2.0, 8.0)]
    own = [row(SUBJECT, 0, 4.0, 0.7), row(SUBJECT, 0, 8.5, 0.1), row(SUBJECT, 1, 4.0, 0.8), row(SUBJECT, 1, 9.5, 0.1)]
    assert paired_differences(Rows.of(rows + own), "w", "topk", "mcc").values == pytest.approx([0.2, 0.3])
    failed = paired_differences(Rows.of(rows + own[:3]), "w", "topk", "mcc")
    assert failed.values == pytest.approx([(0.2 - 0.4) / 2, 0.3])  # 8.5 is within a tenth of the end
    assert failed.inside


def test_a_dead_fit_is_a_result_and_is_held_against_the_sparse_end_of_the_curve():
    rows = [row("topk", seed, l0, mcc) for seed in range(4) for l0, mcc in ((2.0, 0.5), (8.0, 0.9))]
    dead = [row(SUBJECT, seed, 0.0, 0.1 + 0.01 * seed) for seed in range(4)]
    found = paired_differences(Rows.of(rows + dead), "w", "topk", "mcc")
    assert found.values == pytest.approx([-0.4, -0.39, -0.38, -0.37])
    assert (found.l0, found.inside) == (0.0, False)
    assert decide([found], 0.05)[0].outcome is Outcome.WORSE
    some = [row(SUBJECT, seed, 0.0 if seed else 8.0, 0.1 if seed else 0.9) for seed in range(4)]
    assert paired_differences(Rows.of(rows + some), "w", "topk", "mcc").values == pytest.approx([0.0, -0.4, -0.4, -0.4])


def test_a_dead_point_of_the_subjects_grid_is_compared_beside_the_living_ones():
    rows = [row("topk", seed, l0, 0.5) for seed in (0, 1) for l0 in (2.0, 8.0)]
    own = [row(SUBJECT, 0, 0.0, 0.1, budget=2), row(SUBJECT, 1, 2.0, 0.6, budget=2)]
    own += [row(SUBJECT, seed, 8.0, 0.7, budget=8) for seed in (0, 1)]
    own += [row(SUBJECT, seed, 30.0, 0.0, budget=30) for seed in (0, 1)]  # beyond the grid in all seeds
    found = paired_differences(Rows.of(rows + own), "w", "topk", "mcc")
    assert found.values == pytest.approx([(-0.4 + 0.2) / 2, (0.1 + 0.2) / 2])
    assert not found.inside
    fewer = paired_differences(Rows.of(rows + own[:-1]), "w", "topk", "mcc")  # points differ: each seed has its own
    assert fewer.values == pytest.approx(found.values)


def test_a_dead_reference_is_no_logarithm_of_zero():
    rows = [row("before", seed, 0.0, 0.1, budget=budget) for seed in (0, 1) for budget in (1, 2)]
    own = [row(SUBJECT, seed, 2.0, 0.6) for seed in (0, 1)]
    assert paired_differences(Rows.of(rows + own), "w", "before", "mcc").values == pytest.approx([0.5, 0.5])
    values, inside = read_curve(np.array([[0.0, 0.1], [2.0, 0.5], [8.0, 0.9]]), np.array([0.0, 2.0, 4.0]))
    assert values == pytest.approx([0.1, 0.5, 0.7])
    assert inside.tolist() == [False, True, True]


def test_a_comparison_says_on_how_many_of_the_seeds_that_were_run_it_rests():
    rows = [row("topk", seed, 2.0, 0.5) for seed in range(5)]
    own = [row(SUBJECT, seed, 2.0, 0.6) for seed in range(3)]
    one = decide([paired_differences(Rows.of(rows + own), "w", "topk", "mcc")], 0.05)[0]
    assert (one.seeds, one.attempted, one.difference.n) == ("3 of 5", 5, 3)
    assert decide([differences([0.1, 0.2])], 0.05)[0].seeds == "2"


def test_differences_are_turned_so_that_positive_is_better():
    rows = [
        {**row(name, seed, 2.0, 0.5), "dead_fraction": share}
        for seed in (0, 1)
        for name, share in ((SUBJECT, 0.7), ("topk", 0.1))
    ]
    assert paired_differences(Rows.of(rows), "w", "topk", "dead_fraction").values == pytest.approx([-0.6, -0.6])


def test_every_measured_metric_has_a_direction_or_says_that_it_has_none():
    without = {metric.__name__ for metric in MEASURED if not direction(metric.__name__)}
    assert without == {"l0", "shrinkage", "absorption_gap", "hedging_score", "fingerprint"}
    known = dir(sparsesim.metrics)
    assert not set(LARGER) & set(SMALLER)
    assert set(LARGER) | set(SMALLER) <= set(known)


def test_the_seeds_that_decide_are_those_of_the_nearer_decision():
    values = np.array([-1.0, 1.0] * 5)
    for mean, margin, width in ((0.04, 0.05, 0.04), (0.01, 0.05, 0.04), (0.2, 0.05, 0.2)):
        one = decide([differences(mean + 0.1 * values)], margin)[0]
        needed = one.seeds_to_decide(margin)
        spread = 0.1 * values.std(ddof=1)
        assert stats.t.ppf(0.975, needed - 1) * spread / math.sqrt(needed) <= width
        fewer = needed * 0.9  # the search goes in steps of 5 %
        assert needed == 10 or stats.t.ppf(0.975, fewer - 1) * spread / math.sqrt(fewer) > width


def test_undefined_scores_and_single_seeds_are_left_out():
    rows = [row("topk", 0, 2.0, 0.5), row("topk", 1, 2.0, math.nan), row(SUBJECT, 0, 2.0, 0.5)]
    rows.append(row(SUBJECT, 1, 2.0, 0.5))
    assert paired_differences(Rows.of(rows), "w", "topk", "mcc") is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.2, Outcome.BETTER),
        (-0.2, -0.01, Outcome.WORSE),
        (-0.05, 0.05, Outcome.SAME),
        (0.01, 0.04, Outcome.SAME),
        (-0.06, 0.01, Outcome.UNDECIDED),
        (0.0, 0.2, Outcome.UNDECIDED),
    ],
)
def test_the_outcome_follows_from_interval_and_margin(low, high, expected):
    assert outcome(Interval((low + high) / 2, low, high, 5), 0.05) is expected


def test_intervals_and_p_values_are_corrected_for_their_number():
    values = [0.1, 0.12, 0.08, 0.11]
    alone = decide([differences(values)], 0.05)[0]
    many = decide([differences(values), *[differences(RNG.normal(size=4)) for _ in range(9)]], 0.05)[0]
    assert alone.difference.confidence == pytest.approx(0.95)
    assert many.difference.confidence == pytest.approx(0.995)
    assert many.difference.half_width > alone.difference.half_width
    assert many.adjusted == pytest.approx(10 * many.p_value)  # the smallest of ten
    assert many.detectable > alone.detectable
    assert decide([], 0.05) == ()


def test_only_the_width_of_the_intervals_asks_for_more_seeds():
    wide, narrow = RNG.normal(0.0, 0.05, 5), RNG.normal(0.0, 0.001, 5)
    rows = [differences(wide, "wide"), differences(narrow, "narrow")]
    assert more_seeds(decide(rows, 0.05), 0.05, (5, 8)) == {"wide": 8, "narrow": 5}
    shifted = [differences(wide + 9.0, "wide"), differences(narrow - 9.0, "narrow")]
    assert more_seeds(decide(shifted, 0.05), 0.05, (5, 8)) == {"wide": 8, "narrow": 5}
    assert more_seeds(decide(rows, 0.05), 0.05, (5, 6, 500))["wide"] == 500


def family(rng, effects, n, sd):
    """Differences of a validation's size in small: references share the subject's luck, as they do in one world."""
    luck = rng.normal(0.0, sd / math.sqrt(2), n)
    return [differences(e + luck + rng.normal(0.0, sd / math.sqrt(2), n), f"w{i}") for i, e in enumerate(effects)]


def test_no_null_difference_is_found_in_95_of_100_validations():
    runs = 400
    wrong = 0
    for _ in range(runs):
        found = decide(family(RNG, [0.0] * 12, 6, 0.1), 0.02)
        wrong += any(one.outcome in (Outcome.BETTER, Outcome.WORSE) for one in found)
    # At most 5 % by Bonferroni; 3 standard errors of a proportion of 400 above it.
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_planted_difference_is_found_with_the_power_that_is_stated():
    n, sd, effect, runs = 6, 0.02, 0.06, 400
    found = 0
    for _ in range(runs):
        results = decide(family(RNG, [effect] + [0.0] * 11, n, sd), 0.01)
        assert results[0].outcome is not Outcome.WORSE
        found += results[0].outcome is Outcome.BETTER
    stated = paired_power(effect, sd, n, comparisons=12)
    assert 0.5 < stated < 0.99
    # 4 standard errors of a proportion of 400.
    assert found / runs == pytest.approx(stated, abs=4 * math.sqrt(stated * (1 - stated) / runs))


@pytest.mark.parametrize("spread", [1.0, 1.5, 2.0, 3.0])
def test_intervals_keep_their_coverage_when_their_width_decides_the_number_of_seeds(spread):
    runs, count, looks, margin = 400_000, 8, (5, 8), 0.05
    factor = {}
    for n in looks:  # half-widths in standard errors, as `decide` makes them
        one = decide([differences(np.arange(float(n)))] * count, margin, looks=2)[0].difference
        factor[n] = one.half_width / (np.std(np.arange(n), ddof=1) / math.sqrt(n))
    sd = spread * margin / factor[5] * math.sqrt(5)  # the first half-width is `spread` margins, about
    drawn = np.random.default_rng(5).normal(0.0, sd, (runs, looks[-1]))
    half = {n: factor[n] * drawn[:, :n].std(axis=1, ddof=1) / math.sqrt(n) for n in looks}
    missed = {n: np.abs(drawn[:, :n].mean(axis=1)) > half[n] for n in looks}
    error = np.where(half[5] <= margin, missed[5], missed[8]).mean()
    # One comparison of eight may err with 0.05 / 8: then all eight hold together with 95 %. Simulated to 2 %; without
    # the correction for two looks it errs 1.02, 1.20, 1.43 and 1.46 times as often. 4 standard errors of a proportion.
    allowed = 0.05 / count
    assert error <= allowed + 4 * math.sqrt(allowed / runs)
    assert error >= allowed / 3  # nor is it wide without need


def test_a_family_whose_seeds_are_added_by_its_widths_holds_together():
    runs, looks, margin = 400, (5, 10, 12), 0.05
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(runs):
        drawn = rng.normal(0.3, 0.06, (4, looks[-1]))
        counts = dict.fromkeys([f"w{i}" for i in range(4)], looks[0])
        while True:
            made = [differences(values[: counts[name]], name) for name, values in zip(counts, drawn, strict=True)]
            found = decide(made, margin, looks=len(looks))
            wanted = more_seeds(found, margin, looks)
            if all(wanted[name] <= count for name, count in counts.items()):
                break
            counts = {name: max(count, wanted[name]) for name, count in counts.items()}
        missed += any(not one.difference.low <= 0.3 <= one.difference.high for one in found)
    assert missed / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)  # 3 standard errors of a proportion of 400


def test_looks_are_paid_for_by_every_number():
    values = [0.1, 0.12, 0.08, 0.11]
    one, three = (decide([differences(values)] * 2, 0.05, looks=looks)[0] for looks in (1, 3))
    assert three.difference.confidence == pytest.approx(1 - 0.05 / 6)
    assert three.adjusted == pytest.approx(3 * one.adjusted)
    assert three.detectable > one.detectable
    assert three.p_value == one.p_value


def test_standings_read_floor_and_oracle_at_the_subjects_l0():
    rows = [row(SUBJECT, seed, 4.0, 0.6) for seed in (0, 1)]
    rows += [row("floor", seed, l0, 0.1 * l0) for seed in (0, 1) for l0 in (2.0, 8.0)]
    rows += [row("oracle", seed, l0, 1.0) for seed in (0, 1) for l0 in (2.0, 8.0)]
    rows += [row("genie", seed, 3.0, 1.0) for seed in (0, 1)]
    one = standings(Rows.of(rows), ["w"], ["mcc"])[0]
    assert (one.score.mean, one.oracle.mean, one.genie.mean) == (0.6, 1.0, 1.0)
    assert one.floor.mean == pytest.approx(0.5, rel=1e-12)  # halfway in log L0 between 0.2 and 0.8
    assert standings(Rows.of(rows[:2]), ["w"], ["mcc"])[0].floor.n == 0
