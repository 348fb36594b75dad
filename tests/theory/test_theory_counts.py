"""Counts: sufficient designs, a necessary one by the rank of the tangent map, coverage against an alternating sum."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.counts import (
    bernoulli_coverage,
    counting_samples,
    coverage,
    coverage_samples,
    cyclic_support_samples,
    every_support_samples,
    fixed_design_samples,
    fourth_cumulant_limit,
    third_cumulant_limit,
)
from theory.frames import spark, uniqueness_limit
from theory.power import clopper_pearson


def random_unit(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_counts_have_their_reference_values():
    assert every_support_samples(32, 3) == 19_840
    assert cyclic_support_samples(32, 3) == 317_472
    assert fixed_design_samples(32, 3) == 3 * 4960**2
    # d / (d - k) per atom, 39.4, in high dimension; exactly n (d - 1) / (d - k) = 36.9.
    assert counting_samples(32, 16, 3) == 37
    assert counting_samples(10**6, 10**5, 10**4) / 10**6 == pytest.approx(1 / 0.9, rel=1e-4)


@given(st.integers(2, 40), st.integers(1, 8), st.integers(1, 40))
def test_sufficient_counts_are_never_below_the_necessary_ones(n, k, d):
    if k < min(n, d) and d <= n:
        necessary = counting_samples(n, d, k)
        assert necessary >= n
        if n >= 2 * k and d >= 2 * k:  # where k-sparse codes can be unique
            assert necessary <= every_support_samples(n, k) <= fixed_design_samples(n, k)


def lines_common_to_all_subspaces(samples, n, k):
    """Recover the atoms from k + 1 samples on each support: the line common to the spans of all supports of an atom."""
    kept = {
        support: np.eye(x.shape[1]) - np.linalg.svd(x)[2][:k].T @ np.linalg.svd(x)[2][:k]
        for support, x in samples.items()
    }
    atoms, gaps = [], []
    for i in range(n):
        away = sum(projector for support, projector in kept.items() if i in support)
        values, vectors = np.linalg.eigh(away)
        atoms.append(vectors[:, 0])
        gaps.append(values[1])
    return np.array(atoms), min(gaps)


@pytest.mark.parametrize(("n", "d", "k"), [(6, 4, 2), (7, 6, 3), (5, 3, 1)])
def test_samples_on_every_support_fix_the_dictionary_if_the_spark_allows(n, d, k):
    rng = np.random.default_rng(n)
    atoms = random_unit(rng, n, d)
    assert k <= uniqueness_limit(spark(atoms))
    samples = {s: rng.standard_normal((k + 1, k)) @ atoms[list(s)] for s in combinations(range(n), k)}
    assert sum(map(len, samples.values())) == every_support_samples(n, k)
    found, gap = lines_common_to_all_subspaces(samples, n, k)
    assert gap > 1e-3
    np.testing.assert_allclose(np.abs((found * atoms).sum(axis=1)), 1, atol=1e-9)
    # Samples on a support lie in its k-space and in no other's, so the supports need not be told either.
    for support, x in samples.items():
        for other in combinations(range(n), k):
            tight = np.linalg.matrix_rank(np.concatenate([x, atoms[list(other)]]), tol=1e-9) == k
            assert tight == (other == support)


def test_with_too_small_a_spark_another_dictionary_explains_the_same_samples():
    # The sharpness control: three atoms of a plane. Every 2-sparse sample on them is one of the turned atoms too.
    rng = np.random.default_rng(0)
    angles = np.array([0.0, 1.0, 2.0])
    atoms, turned = (np.c_[np.cos(a), np.sin(a), 0 * a] for a in (angles, angles + 0.3))
    assert spark(atoms) == 3 and uniqueness_limit(spark(atoms)) == 1
    for pair in combinations(range(3), 2):
        x = rng.standard_normal((3, 2)) @ atoms[list(pair)]
        residual = x - x @ np.linalg.pinv(turned[list(pair)]) @ turned[list(pair)]
        np.testing.assert_allclose(residual, 0, atol=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), [(8, 5, 2), (10, 6, 3), (6, 6, 1), (12, 4, 2)])
def test_below_the_count_a_continuum_of_dictionaries_explains_the_samples(n, d, k):
    """The differential of (atoms, codes) -> samples has the n scales in its kernel, and more only below the count."""
    rng = np.random.default_rng(1)
    atoms, least = random_unit(rng, n, d), counting_samples(n, d, k)
    for samples, determined in ((least - 1, False), (3 * least, True)):
        order = np.concatenate([rng.permutation(n) for _ in range(samples * k // n + 2)])
        supports = [np.unique(order[i * k : (i + 1) * k]) for i in range(samples)]
        supports = [s if len(s) == k else rng.choice(n, k, replace=False) for s in supports]
        jacobian = np.zeros((samples, d, n * d + samples * k))
        for t, s in enumerate(supports):
            for value, i in zip(rng.standard_normal(k), s, strict=True):
                jacobian[t, :, i * d : (i + 1) * d] = value * np.eye(d)
            jacobian[t, :, n * d + t * k : n * d + (t + 1) * k] = atoms[s].T
        kernel = n * d + samples * k - np.linalg.matrix_rank(jacobian.reshape(samples * d, -1))
        assert (kernel == n) == determined
        assert kernel >= n


# Coverage


def alternating(n, k, samples):
    total = math.comb(n, k)
    return float(
        sum((-1) ** j * math.comb(n, j) * Fraction(math.comb(n - j, k), total) ** samples for j in range(n + 1))
    )


def test_coverage_has_its_reference_values():
    subsets = coverage(32, 3, 73)
    assert subsets[[36, 55, 73]] == pytest.approx([0.3705, 0.8654, 0.9760], abs=1e-4)
    assert [bernoulli_coverage(32, 3, t) for t in (36, 55, 73)] == pytest.approx([0.3912, 0.8669, 0.9761], abs=1e-4)


@settings(max_examples=40)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 60))
def test_the_chain_equals_the_alternating_sum_in_exact_arithmetic(n, k, samples):
    k = min(k, n)
    values = coverage(n, k, samples)
    assert values[-1] == pytest.approx(alternating(n, k, samples), abs=1e-12)  # rounding of N sums of positive terms
    assert np.all(np.diff(values) >= -1e-15)


def test_one_feature_a_sample_is_the_coupon_collector():
    # sum_N P(not all seen) = n H_n
    assert (1 - coverage(10, 1, 600)).sum() == pytest.approx(10 * sum(1 / i for i in range(1, 11)), abs=1e-9)
    assert coverage(5, 5, 1).tolist() == [0.0, 1.0]


def test_simulated_subsets_cover_as_often_as_the_chain_says():
    rng = np.random.default_rng(0)
    n, k, samples, draws = 12, 2, 15, 2000
    chosen = rng.permuted(np.tile(np.arange(n), (draws * samples, 1)), axis=1)[:, :k].reshape(draws, -1)
    seen = sum(len(np.unique(row)) == n for row in chosen)
    low, high = clopper_pearson(seen, draws, 1e-6)
    assert low <= coverage(n, k, samples)[-1] <= high


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.001, 0.999))
def test_the_wait_for_coverage_is_the_first_that_suffices(n, k, probability):
    k = min(k, n)
    wait = coverage_samples(n, k, probability)
    values = coverage(n, k, wait)
    assert values[-1] >= probability > values[-2]


# Cumulants


@pytest.mark.parametrize("d", [2, 3, 4, 5])
def test_the_tensors_of_foobi_are_independent_exactly_up_to_the_real_limit(d):
    def independent(n):
        outer = [np.outer(a, a) for a in np.random.default_rng(n).standard_normal((n, d))]
        rows = []
        for x, y in combinations(outer, 2):
            plus = np.einsum("ij,kl->ijkl", x, y) + np.einsum("ij,kl->ijkl", y, x)
            rows.append((plus - np.swapaxes(plus, 1, 3)).ravel())
        return np.linalg.matrix_rank(np.array(rows)) == len(rows)

    limit = fourth_cumulant_limit(d)
    assert independent(limit)
    assert not independent(limit + 1)


def test_the_limits_of_cumulants_are_known_numbers():
    assert [fourth_cumulant_limit(d) for d in range(2, 9)] == [2, 4, 6, 10, 15, 20, 26]
    assert [third_cumulant_limit(d) for d in range(1, 9)] == [1, 2, 3, 5, 6, 8, 9, 11]
    for d in range(2, 60):
        assert 3 * d >= 2 * third_cumulant_limit(d) + 2 > 3 * d - 2
        assert fourth_cumulant_limit(d) >= d


@pytest.mark.parametrize(
    "call",
    [
        lambda: every_support_samples(3, 4),
        lambda: fixed_design_samples(3, 0),
        lambda: cyclic_support_samples(0, 1),
        lambda: counting_samples(8, 3, 3),
        lambda: bernoulli_coverage(4, 5, 3),
        lambda: coverage(4, 5, 3),
        lambda: coverage(4, 2, -1),
        lambda: coverage_samples(4, 2, 1.0),
        lambda: fourth_cumulant_limit(0),
        lambda: third_cumulant_limit(0),
    ],
)
def test_outside_its_assumptions_a_count_raises(call):
    with pytest.raises(ValueError):
        call()
