"""Code lengths against coders that go symbol by symbol, Kraft's sum, bounds, and worlds with a known best fit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsesim.metrics import (
    description_bits,
    description_length,
    fvu,
    quantised,
    quantised_fvu,
    select_by_description_length,
)
from tests.metrics.hand_made import evaluation, unit


def binary_entropy(p):
    return 0.0 if p in (0.0, 1.0) else -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def symbols(column, bins):
    """The signed bin of each non-zero value, by comparison with every edge."""
    largest = np.abs(column).max()
    edges = largest * np.arange(1, bins) / bins
    return [(int((abs(v) >= edges).sum()), v < 0) for v in column if v != 0]


def random_codes(seed, n, p, signed):
    rng = np.random.default_rng(seed)
    codes = (rng.random((n, p)) < 0.5) * rng.gamma(2.0, 1.0, (n, p))
    return codes * np.where(rng.random((n, p)) < 0.3, -1.0, 1.0) if signed else codes


cases = (st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4), st.booleans(), st.integers(1, 5))


@given(*cases)
def test_the_length_is_the_entropy_of_firing_and_of_the_bins_where_it_fires(seed, n, p, signed, bins):
    codes = random_codes(seed, n, p, signed)
    support = values = 0.0
    for column in codes.T:
        shown = symbols(column, bins) if column.any() else []
        support += binary_entropy(len(shown) / n)
        for symbol in set(shown):
            q = shown.count(symbol) / len(shown)
            values -= len(shown) / n * q * np.log2(q)
    found = description_length(csr_array(codes), bins)
    assert found.support == pytest.approx(support, abs=1e-12)  # rounding
    assert found.values == pytest.approx(values, abs=1e-12)
    assert found.shared == 0.0
    assert found.total == found.support + found.values >= 0.0


def coder(shown, letters):
    """Bits of a coder that gives each letter the share of what it saw before, plus half a count each."""
    seen, bits = dict.fromkeys(letters, 0.5), 0.0
    for symbol in shown:
        bits -= np.log2(seen[symbol] / sum(seen.values()))
        seen[symbol] += 1.0
    return bits


@given(*cases)
def test_the_adaptive_length_is_that_of_a_coder_which_goes_symbol_by_symbol(seed, n, p, signed, bins):
    codes = random_codes(seed, n, p, signed)
    support = values = 0.0
    for column in codes.T:
        support += coder(list(column != 0), [False, True])
        if column.any():
            signs = {bool(v < 0) for v in column if v}
            values += coder(symbols(column, bins), list(product(range(bins), signs)))
    found = description_length(csr_array(codes), bins, adaptive=True, atom_bits=7.0)
    assert found.support * n == pytest.approx(support, abs=1e-9)  # log-gammas of numbers of order ten
    # A latent of one sign needs letters of that sign alone
    assert found.values * n == pytest.approx(values, abs=1e-9)
    assert found.shared * n == pytest.approx((7.0 + 33.0) * (codes != 0).any(axis=0).sum(), abs=1e-12)


def test_the_adaptive_probabilities_of_all_supports_sum_to_one():
    # Kraft: a prefix code of this length exists.
    total = 0.0
    for pattern in product([0.0, 1.0], repeat=8):
        total += 2.0 ** (-4 * description_length(csr_array(np.reshape(pattern, (4, 2))), 1, adaptive=True).support)
    assert total == pytest.approx(1.0, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_learning_the_frequencies_costs_half_a_logarithm_each(seed, n):
    codes = csr_array(random_codes(seed, n, 3, False))
    known, learned = description_length(codes, 1), description_length(codes, 1, adaptive=True)
    # The redundancy of this estimator lies in [0, log2(n) / 2 + 1] for every sequence (Krichevsky and Trofimov).
    assert -1e-9 <= n * (learned.support - known.support) <= 3 * (np.log2(n) / 2 + 1) + 1e-9


def test_lengths_are_within_their_bounds():
    for seed in range(5):
        codes = random_codes(seed, 50, 20, False) * (np.random.default_rng(seed).random((50, 20)) < 0.2)
        found = description_length(csr_array(codes), 8)
        l0 = np.count_nonzero(codes) / 50
        assert found.support <= 20 * binary_entropy(l0 / 20) <= l0 * np.log2(np.e * 20 / l0)
        assert found.values <= l0 * 3.0
        assert description_bits(evaluation(np.eye(20), codes, np.eye(20), codes)) <= l0 * (np.log2(np.e * 20 / l0) + 4)


def test_a_dead_latent_costs_nothing_where_frequencies_are_known_and_a_logarithm_where_not():
    codes = random_codes(0, 64, 3, False)
    wide = np.concatenate([codes, np.zeros((64, 1))], axis=1)
    assert description_length(csr_array(wide), 8) == description_length(csr_array(codes), 8)
    more = description_length(csr_array(wide), 8, adaptive=True).total
    less = description_length(csr_array(codes), 8, adaptive=True).total
    # log2 of C(2n, n) / 4^n, by Stirling's formula with its relative error 1 / (8 n)
    assert 64 * (more - less) == pytest.approx(0.5 * np.log2(np.pi * 64), abs=0.01)


def test_a_latent_for_every_sample_costs_its_index_and_what_independence_wastes():
    n = 256
    bits = description_length(csr_array(np.eye(n)), 8).total
    assert bits == pytest.approx(n * binary_entropy(1 / n), abs=1e-9)
    assert bits == pytest.approx(np.log2(n) + np.log2(np.e), abs=0.01)  # (n - 1) log2(n / (n - 1)) = log2 e - O(1/n)


@given(*cases)
def test_rounding_moves_a_code_by_half_a_bin_at_most_and_no_zero(seed, n, p, signed, bins):
    codes = random_codes(seed, n, p, signed)
    rounded = quantised(csr_array(codes), bins).toarray()
    assert np.array_equal(np.sign(rounded), np.sign(codes))
    limit = np.abs(codes).max(axis=0) / (2 * bins)
    assert (np.abs(rounded - codes) <= limit + 1e-12).all()


def test_more_bins_cost_more_bits_and_leave_less_error():
    rng = np.random.default_rng(0)
    codes = random_codes(1, 2000, 6, False)
    atoms = unit(rng, 6, 8)
    e = evaluation(atoms, codes, atoms, codes)
    assert fvu(e) < 1e-25 < quantised_fvu(e) < 0.01
    lengths = [description_length(e.codes, bins).total for bins in (4, 8, 16, 32)]
    assert np.all(np.diff(lengths) > 0.5)  # up to one bit a non-zero, of which there are three


LEVELS = [1.0, 2.0, 3.0, 4.0]


def independent_world(n=2000):
    rng = np.random.default_rng(0)
    return (rng.random((n, 4)) < 0.25) * rng.choice(LEVELS, (n, 4))


def pair_world(n=600):
    rng, codes = np.random.default_rng(0), np.zeros((n, 8))
    for row in codes:
        row[rng.permutation(8)[:2]] = rng.choice(LEVELS, 2)
    return codes


def fits_of(codes):
    """Half of the features, a latent for every sample that occurs, a dense basis, each feature in two, the truth."""
    m = codes.shape[1]
    rows, place = np.unique(codes, axis=0, return_inverse=True)
    norms = np.linalg.norm(rows, axis=1)
    whole = np.zeros((len(codes), len(rows)))
    whole[np.arange(len(codes)), place.reshape(-1)] = norms[place.reshape(-1)]
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((m, m)))[0]
    split = np.concatenate([codes * (codes > 2), codes * (codes <= 2)], axis=1)
    solutions = [
        (np.eye(m)[: m // 2], codes[:, : m // 2]),
        (rows / np.where(norms > 0, norms, 1.0)[:, None], whole),
        (basis, codes @ basis.T),
        (np.concatenate([np.eye(m), np.eye(m)]), split),
        (np.eye(m), codes),
    ]
    return [evaluation(np.eye(m), codes, *solution) for solution in solutions]


@pytest.mark.parametrize(("adaptive", "price"), [(False, 0.0), (True, 64.0)])
def test_of_fits_that_are_good_enough_the_one_with_the_true_features_costs_least(adaptive, price):
    fits = fits_of(independent_world())
    found = select_by_description_length(fits, max_fvu=0.02, adaptive=adaptive, atom_bits=price)
    assert found.candidate == 4
    assert found.fvu <= 0.02
    assert found.bits == description_length(fits[4].codes, found.bins, adaptive=adaptive, atom_bits=price).total
    assert select_by_description_length(fits, max_fvu=0.9).candidate == 0  # cheap, if that is good enough


def test_unless_atoms_have_a_price_memory_may_be_cheaper_than_features_that_depend_on_one_another():
    # 448 samples exist, log2(448) = 8.8 bits; features that fire in pairs cost 8 H2(1/4) + 2 * 2 = 10.5 one by one.
    fits = fits_of(pair_world())
    assert select_by_description_length(fits, max_fvu=0.02).candidate == 1
    assert select_by_description_length(fits, max_fvu=0.02, adaptive=True, atom_bits=8 * 32.0).candidate == 4


def test_what_cannot_be_described_is_refused_with_a_remedy():
    atoms, codes = np.eye(8), pair_world(20)
    e = evaluation(atoms, codes, atoms, codes)
    with pytest.raises(ValueError, match="no candidate reaches max_fvu=1e-09; the best leaves"):
        select_by_description_length([e], max_fvu=1e-9)
    with pytest.raises(ValueError, match="the same samples"):
        select_by_description_length([e, evaluation(atoms, 2 * codes, atoms, codes)], max_fvu=1.0)
    with pytest.raises(ValueError, match="at least one candidate"):
        select_by_description_length([], max_fvu=1.0)
    with pytest.raises(ValueError, match="bins must lie in"):
        description_length(e.codes, 0)
    with pytest.raises(ValueError, match="at least one sample"):
        description_length(e.codes[:0], 4)
    with pytest.raises(ValueError, match="codes must be finite"):
        description_length(csr_array(np.array([[np.inf]])), 4)
