"""Chance levels against independent integrals, enumeration and simulation; agreement between fits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ortho_group

from sparsesim.metrics import chance_mcc, chance_mcc_against, chance_mmcs, mcc, mmcs, pairwise_mcc, pairwise_mcc_chance
from tests.metrics.hand_made import Correlations, evaluation, fitted, unit
from theory.chance import mean_abs_cosine, mean_max_abs_cosine

Z = 4.9  # two-sided alpha = 1e-6


def simulate(m, p, d, repeats, signed=False, seed=1):
    """Chance level by enumeration of all matchings, on its own draws: (mean, standard error)."""
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(repeats):
        c = unit(rng, m, d) @ unit(rng, p, d).T
        c = np.maximum(c, 0) if signed else np.abs(c)
        c = c if m <= p else c.T
        rows = np.arange(len(c))
        scores.append(max(c[rows, list(cols)].sum() for cols in permutations(range(c.shape[1]), len(c))) / m)
    return np.mean(scores), np.std(scores, ddof=1) / math.sqrt(repeats)


@pytest.mark.parametrize("p", [1, 2, 7, 50, 1000, 10**5])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 16, 101, 768])
def test_mmcs_chance_agrees_with_an_integral_that_shares_nothing_with_it(p, d):
    # 1e-9: the oracle computes 1 - F^p with F known to 2^-52, a loss of p * 2^-52 = 2e-11 and a margin
    assert chance_mmcs(3, p, d) == pytest.approx(mean_max_abs_cosine(p, d), abs=1e-9)


def test_mmcs_chance_keeps_its_digits_where_the_largest_cosine_is_almost_one():
    # d = 2: angle to the nearest of p lines is pi/2 * (smallest of p uniforms), E[1 - cos] -> (pi/2)^2 / p^2
    assert 1 - chance_mmcs(1, 10**6, 2) == pytest.approx((math.pi / 2) ** 2 / 1e12, rel=1e-3)  # 1 - x has 2^-53/2.5e-12


@pytest.mark.parametrize(("d", "n", "matched", "largest"), [
    (8, 16, .627, .681), (16, 32, .521, .557), (32, 128, .457, .479), (64, 512, .378, .394),
    (100, 50, .233, .249), (256, 512, .193, .202),
])  # fmt: skip
def test_chance_levels_agree_with_reference_values(d, n, matched, largest):
    # The reference of the matched score is a simulation given to .01; that of the largest cosine is rounded to .001.
    level = chance_mcc(n, n, d)
    assert level.mean == pytest.approx(matched, abs=0.01)
    assert level.standard_error < 0.002
    assert chance_mmcs(n, n, d) == pytest.approx(largest, abs=0.0006)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("m", "p", "d"), [(2, 2, 2), (3, 5, 4), (5, 3, 4), (4, 4, 9)])
def test_chance_mcc_agrees_with_enumeration_on_other_draws(m, p, d, signed):
    mean, error = simulate(m, p, d, 2000, signed)
    level = chance_mcc(m, p, d, signed)
    assert abs(level.mean - mean) < Z * math.hypot(error, level.standard_error)


@pytest.mark.parametrize(("m", "p", "d"), [(1, 1, 2), (1, 6, 3), (6, 1, 3), (1, 1, 50), (4, 1, 1), (1, 3, 1)])
@pytest.mark.parametrize("signed", [False, True])
def test_a_single_row_or_column_is_exact_and_agrees_with_simulation(m, p, d, signed):
    level = chance_mcc(m, p, d, signed)
    assert (level.standard_error, level.repeats) == (0.0, 0)
    mean, error = simulate(m, p, d, 4000, signed)
    assert abs(level.mean - mean) <= Z * error + 1e-12  # no spread at all for d = 1, unsigned


def test_chance_mcc_of_one_pair_is_the_mean_cosine():
    for d in (2, 3, 10, 1000):
        assert chance_mcc(1, 1, d).mean == pytest.approx(mean_abs_cosine(d), abs=1e-12)
        assert chance_mcc(1, 1, d, signed=True).mean == pytest.approx(mean_abs_cosine(d) / 2, abs=1e-12)


@pytest.mark.parametrize(("m", "p"), [(3, 3), (2, 5), (6, 4)])
def test_signed_chance_on_the_line_is_a_binomial_count(m, p):
    # +1 and -1 match their like: with A ~ Bin(m, 1/2), B ~ Bin(p, 1/2) the sum is min(A, B) + min(m-A, p-B).
    expected = sum(
        binom.pmf(a, m, 0.5) * binom.pmf(b, p, 0.5) * (min(a, b) + min(m - a, p - b)) / m
        for a in range(m + 1)
        for b in range(p + 1)
    )
    level = chance_mcc(m, p, 1, signed=True)
    assert abs(level.mean - expected) < Z * level.standard_error


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 6))
def test_matching_costs_sign_costs_and_the_sum_is_symmetric(m, p, d):
    level, other = chance_mcc(m, p, d, repeats=200), chance_mcc(p, m, d, repeats=200)
    signed = chance_mcc(m, p, d, signed=True, repeats=200)
    assert level.mean <= min(1, p / m) * chance_mmcs(m, max(m, p), d) + Z * level.standard_error + 1e-12
    assert signed.mean <= level.mean + 1e-12  # on the same draws
    assert (
        abs(m * level.mean - p * other.mean)
        <= Z * math.hypot(m * level.standard_error, p * other.standard_error) + 1e-12
    )


def test_a_chance_level_is_the_same_in_every_call_and_can_be_made_finer():
    assert chance_mcc(5, 6, 4) == chance_mcc(np.int64(5), 6, 4)
    assert chance_mcc(5, 6, 4, repeats=50).repeats == 50
    assert chance_mcc(5, 6, 4, repeats=20).mean != chance_mcc(5, 6, 4, repeats=50).mean


@pytest.mark.parametrize("size", [(2, 3, 2), (5, 5, 3), (8, 40, 5), (40, 8, 5), (64, 64, 16), (128, 200, 64)])
@pytest.mark.parametrize("signed", [False, True])
def test_the_standard_error_is_below_what_is_promised(size, signed):
    assert 0 < chance_mcc(*size, signed=signed).standard_error < 0.002


@pytest.mark.parametrize(
    ("arguments", "message"), [((0, 1, 1), "m must lie"), ((1, 0, 1), "p must lie"), ((1, 1, 0), "d must lie")]
)
def test_sizes_below_one_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        chance_mcc(*arguments)
    with pytest.raises(ValueError, match=message):
        chance_mmcs(*arguments)


def test_the_floor_against_random_truths_averages_to_the_floor_of_their_size():
    rng = np.random.default_rng(5)
    levels = [chance_mcc_against(unit(rng, 6, 4), 8, repeats=20).mean for _ in range(200)]
    level = chance_mcc(6, 8, 4)
    # The levels share the draws of the learned side (one stream): 20 of them, beside 200 truths.
    spread = level.standard_error * math.sqrt(level.repeats)
    assert abs(np.mean(levels) - level.mean) < Z * math.hypot(spread / math.sqrt(20), level.standard_error)


def test_orthonormal_truths_have_a_higher_floor_and_clusters_a_lower_one():
    rng = np.random.default_rng(0)
    clusters = np.repeat(unit(rng, 4, 16), 8, axis=0)
    random, orthonormal, clustered = (
        chance_mcc(8, 8, 8), chance_mcc_against(np.eye(8), 8), chance_mcc_against(clusters, 32)
    )  # fmt: skip
    assert orthonormal.mean - random.mean > Z * math.hypot(orthonormal.standard_error, random.standard_error)
    assert chance_mcc(32, 32, 16).mean - clustered.mean > 0.05
    assert orthonormal == chance_mcc_against(3 * np.eye(8), 8)  # lengths are no directions
    with pytest.raises(ValueError, match="at least one row"):
        chance_mcc_against(np.zeros((0, 3)), 4)


def test_a_single_repeat_has_no_error_and_is_refused():
    with pytest.raises(ValueError, match="repeats must lie"):
        chance_mcc(2, 2, 2, repeats=1)


def test_random_fits_score_at_their_chance_levels():
    rng = np.random.default_rng(7)
    pairs = [evaluation(unit(rng, 10, 5), np.eye(10), unit(rng, 14, 5)) for _ in range(300)]
    for metric, level, own in (
        (mcc, chance_mcc(10, 14, 5).mean, chance_mcc(10, 14, 5).standard_error),
        (mmcs, chance_mmcs(10, 14, 5), 0.0),
    ):
        values = [metric(e) for e in pairs]
        error = np.std(values, ddof=1) / math.sqrt(len(values))
        assert abs(np.mean(values) - level) < Z * math.hypot(error, own)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_agreement_is_one_up_to_order_and_sign_and_invariant_to_rotation(seed, p):
    rng = np.random.default_rng(seed)
    a, b = unit(rng, p, 4), unit(rng, p, 4)
    shuffled = a[rng.permutation(p)] * rng.choice([-1.0, 1.0], (p, 1))
    assert pairwise_mcc([a, shuffled]) == pytest.approx(1.0, abs=1e-12)
    q = ortho_group.rvs(4, random_state=rng)
    assert pairwise_mcc([a @ q, b @ q]) == pytest.approx(pairwise_mcc([a, b]), abs=1e-10)
    assert pairwise_mcc([a, b]) == pytest.approx(mcc(evaluation(a, np.eye(p), b)), abs=1e-12)
    assert pairwise_mcc([b, a]) == pytest.approx(pairwise_mcc([a, b]), abs=1e-12)


def test_agreement_is_the_mean_over_pairs_and_counts_missing_partners_as_zero():
    e = np.eye(4)
    assert pairwise_mcc([e, e, e[[0, 1]]]) == pytest.approx((1 + 0.5 + 0.5) / 3, abs=1e-15)


@dataclass(frozen=True)
class Fits:
    dictionaries: tuple


def test_agreement_reads_arrays_fits_and_what_holds_fits():
    rng = np.random.default_rng(0)
    a, b = unit(rng, 3, 4), unit(rng, 3, 4)
    fits = (fitted(a, Correlations()), fitted(b, Correlations()))
    assert pairwise_mcc(fits) == pairwise_mcc([a, b]) == pairwise_mcc(Fits(fits))
    assert pairwise_mcc_chance(Fits(fits)) == chance_mcc(3, 3, 4).mean


def test_agreement_of_random_dictionaries_is_its_chance_level():
    rng = np.random.default_rng(3)
    values = [pairwise_mcc([unit(rng, 6, 4), unit(rng, 9, 4)]) for _ in range(300)]
    level = pairwise_mcc_chance([np.eye(4)[[0] * 6], np.eye(4)[[0] * 9]])
    # the level's own error is below .002; Z standard errors of the mean beside it
    assert abs(np.mean(values) - level) < Z * np.std(values, ddof=1) / math.sqrt(300) + 0.006


def test_dead_atoms_lower_agreement_and_its_floor_alike():
    e, padded = np.eye(3), np.concatenate([np.eye(3), np.zeros((3, 3))])
    assert pairwise_mcc([e, padded]) == 0.5
    assert pairwise_mcc_chance([e, padded]) == pytest.approx(chance_mcc(3, 3, 3).mean / 2, abs=1e-15)
    assert pairwise_mcc_chance([e, np.zeros((2, 3))]) == 0.0


def test_agreement_of_one_or_of_unlike_dimensions_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        pairwise_mcc([np.eye(2)])
    with pytest.raises(ValueError, match="one dimension"):
        pairwise_mcc([np.eye(2), np.eye(3)])
