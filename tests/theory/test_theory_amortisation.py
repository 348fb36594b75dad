"""The amortisation gap: references, simulation of encoders, the genie's floor, and encoders that are exact."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from theory.amortisation import (
    clique_number,
    effective_noise,
    error_parts,
    errors,
    exact_encoder,
    genie_errors,
    genie_floor,
)
from theory.amp import evolve
from theory.denoisers import Gaussian, HalfNormal, SpikeSlab
from theory.frames import identity_hadamard, paley_etf, simplex
from theory.one_step import linear_noise, tied_noise

SLABS = {"gauss": Gaussian(), "half": HalfNormal()}

# slab, delta, eps, sigma2: oracle, one layer, tied, linear; computed independently, to the digits given.
REFERENCE = [
    ("gauss", 0.5, 0.1, 0.001, 0.0001888, 0.02107, 0.03827, 0.05049),
    ("gauss", 0.5, 0.2, 0.001, 0.0005826, 0.06562, 0.1059, 0.1005),
    ("gauss", 0.25, 0.1, 0.001, 0.0003458, 0.05129, 0.06086, 0.07508),
    ("gauss", 0.125, 0.02, 0.001, 4.077e-05, 0.007563, 0.008445, 0.01752),
    ("half", 0.5, 0.1, 0.01, 0.002437, 0.01995, 0.03261, 0.051),
    ("half", 0.5, 0.1, 0.001, 0.0001765, 0.01719, 0.0314, 0.04731),
    ("half", 0.5, 0.1, 0.0001, 1.459e-05, 0.01688, 0.03128, 0.04687),
    ("half", 0.25, 0.05, 0.001, 9.492e-05, 0.01479, 0.01875, 0.03639),
    ("half", 0.125, 0.02, 0.001, 3.815e-05, 0.006707, 0.007508, 0.01729),
]

frames = st.sampled_from(
    [simplex(5), identity_hadamard(4), identity_hadamard(8), paley_etf(6), paley_etf(14), paley_etf(18)]
)


def system(prior, n, d, noise_variance, rng):
    atoms = rng.normal(size=(n, d)) / math.sqrt(d)
    slab = np.abs(rng.normal(size=n)) if isinstance(prior.slab, HalfNormal) else rng.normal(size=n)
    codes = slab * (rng.random(n) < prior.eps)
    return atoms, codes, codes @ atoms + math.sqrt(noise_variance) * rng.normal(size=d)


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}-{row[3]}")
def test_the_errors_have_the_reference_values(row):
    slab, delta, eps, noise, *expected = row
    found = errors(SpikeSlab(eps, SLABS[slab]), delta, noise)
    # Four digits are given.
    assert [found.oracle, found.one_layer, found.tied, found.linear] == pytest.approx(expected, rel=5e-4)
    assert found.gap == found.one_layer - found.oracle


@given(st.sampled_from(sorted(SLABS)), st.floats(0.01, 0.5), st.floats(0.05, 1.5), st.floats(1e-4, 1.0))
@settings(max_examples=12)
def test_the_five_errors_are_ordered(slab, eps, delta, noise):
    prior = SpikeSlab(eps, SLABS[slab])
    found = errors(prior, delta, noise)
    chain = [found.oracle, found.algorithm, found.one_layer, min(found.tied, found.linear)]
    assert all(low <= high * (1 + 1e-7) for low, high in itertools.pairwise(chain))  # quadrature to 1e-8
    assert max(found.tied, found.linear) <= prior.variance * (1 + 1e-9)
    event("gap above half of the error" if found.gap > 0.5 * found.one_layer else "small gap")


@given(st.sampled_from(sorted(SLABS)), st.floats(0.02, 0.3), st.floats(0.1, 1.0), st.floats(1e-4, 0.1))
@settings(max_examples=6)
def test_depth_leads_from_the_tied_encoder_to_message_passing(slab, eps, delta, noise):
    prior = SpikeSlab(eps, SLABS[slab])
    found = errors(prior, delta, noise)
    path = delta * (evolve(prior.mmse, delta, noise, prior.variance, 15) - noise)  # error before the i-th layer
    assert path[0] == pytest.approx(prior.variance, rel=1e-12)
    assert path[1] == pytest.approx(found.tied, rel=1e-9)
    assert np.all(np.diff(path) <= 1e-9 * prior.variance)
    assert path[-1] >= found.algorithm * (1 - 1e-6)
    event("below the best one-layer encoder" if path[-1] < found.one_layer else "not yet")


@pytest.mark.parametrize("slab", sorted(SLABS))
def test_simulated_encoders_have_the_predicted_errors(slab):
    rng = np.random.default_rng(5)
    prior, n, d, noise = SpikeSlab(0.1, SLABS[slab]), 1200, 600, 1e-3
    measured = []
    for _ in range(3):
        atoms, codes, y = system(prior, n, d, noise, rng)
        centred = y - prior.mean * atoms.sum(axis=0)
        scores = atoms @ centred / np.square(atoms).sum(axis=1) + prior.mean
        tied = prior.posterior(scores, tied_noise(prior.variance, 0.5, noise))[1]
        front = np.linalg.solve(prior.variance * atoms.T @ atoms + noise * np.eye(d), atoms.T).T
        gain = (front * atoms).sum(axis=1)
        white = prior.posterior(front @ centred / gain + prior.mean, linear_noise(prior.variance, 0.5, noise))[1]
        linear = prior.variance * front @ centred + prior.mean
        measured.append([np.square(estimate - codes).mean() for estimate in (white, tied, linear)])
    mean, spread = np.mean(measured, axis=0), np.std(measured, axis=0, ddof=1) / math.sqrt(3)
    found = errors(prior, 0.5, noise)
    expected = np.array([found.one_layer, found.tied, found.linear])
    # Three systems give a rough standard error; the limit is approached within a few percent at n = 1200.
    assert np.all(np.abs(mean - expected) < 5 * spread + 0.06 * expected)
    assert mean[0] < mean[1] < mean[2] * 1.05


@given(st.floats(0.05, 1.0), st.floats(0.0, 0.5))
def test_a_perfect_dictionary_adds_no_noise_and_a_worse_one_more(cosine, noise):
    prior = SpikeSlab(0.1, HalfNormal())
    assert effective_noise(prior, 0.5, noise, 1.0) == noise
    assert effective_noise(prior, 0.5, noise, cosine) >= effective_noise(prior, 0.5, noise, cosine, centred=True)
    assert effective_noise(prior, 0.5, noise, 0.9 * cosine) > effective_noise(prior, 0.5, noise, cosine) >= noise


@pytest.mark.parametrize("centred", [False, True])
def test_what_a_learned_dictionary_leaves_unexplained_has_the_effective_variance(centred):
    rng = np.random.default_rng(2)
    prior, n, d, cosine, noise = SpikeSlab(0.4, HalfNormal()), 1000, 500, 0.8, 0.05
    atoms = rng.normal(size=(n, d)) / math.sqrt(d)
    learned = cosine * atoms + math.sqrt(1 - cosine**2) * rng.normal(size=(n, d)) / math.sqrt(d)
    codes = np.abs(rng.normal(size=(200, n))) * (rng.random((200, n)) < prior.eps)
    y = codes @ atoms + math.sqrt(noise) * rng.normal(size=(200, d))
    shift = prior.mean if centred else 0.0
    left = (y - shift * atoms.sum(0)) / cosine - (codes - shift) @ learned
    # 100,000 entries, of relative error 0.5 %; the dictionary itself adds sqrt(2 / 500) of the mean part, if left in.
    assert np.square(left).mean() == pytest.approx(
        effective_noise(prior, 0.5, noise, cosine, centred=centred), rel=0.02 if centred else 0.05
    )


@given(st.floats(0.3, 1.0), st.floats(0.0, 0.2))
@settings(max_examples=5)
def test_the_parts_of_an_error_sum_to_it_and_the_dictionary_never_helps(cosine, error):
    prior = SpikeSlab(0.1, HalfNormal())
    parts = error_parts(error, prior, 0.5, 1e-3, cosine)
    assert parts.oracle + parts.dictionary + parts.inference == pytest.approx(error, abs=1e-15)
    assert parts.dictionary >= -1e-12
    assert error_parts(error, prior, 0.5, 1e-3, 1.0).dictionary == 0.0


@pytest.mark.parametrize("centred", [False, True])
def test_message_passing_on_a_learned_dictionary_has_the_error_of_the_effective_noise(centred):
    rng = np.random.default_rng(7)
    prior, n, d, cosine = SpikeSlab(0.1, HalfNormal()), 2400, 1200, 0.98
    noise = effective_noise(prior, 0.5, 0.0, cosine, centred=centred)
    mistakes = []
    for _ in range(3):
        atoms, codes, y = system(prior, n, d, 0.0, rng)
        learned = cosine * atoms + math.sqrt(1 - cosine**2) * rng.normal(size=(n, d)) / math.sqrt(d)
        if centred:
            y = y - prior.mean * atoms.sum(axis=0) + cosine * prior.mean * learned.sum(axis=0)
        target, estimate, residual = y / cosine, np.zeros(n), y / cosine
        for _ in range(20):
            level = residual @ residual / d
            _, estimate, variance = prior.posterior(estimate + learned @ residual, level)
            residual = target - estimate @ learned + residual * variance.mean() / level / 0.5
        mistakes.append(np.square(estimate - codes).mean())
    expected = errors(prior, 0.5, noise).algorithm
    # A tenth for finite size, where the slope of the map at its fixed point doubles a deviation of the noise level.
    assert np.mean(mistakes) == pytest.approx(expected, rel=0.1)
    parts = error_parts(float(np.mean(mistakes)), prior, 0.5, 1e-6, cosine, centred=centred)
    assert parts.dictionary > 0.8 * np.mean(mistakes)  # nearly all of the error is the dictionary's
    assert abs(parts.inference) < 0.15 * parts.dictionary


@pytest.mark.parametrize(("n", "d", "k", "floor"), [(16, 8, 3, 0.1176), (32, 16, 3, 0.0606), (64, 16, 5, 0.1600)])
def test_the_genie_s_floor_has_the_reference_values(n, d, k, floor):
    assert genie_floor(n, d, k) == pytest.approx(floor, abs=5e-5)  # the digits given


@given(frames, st.integers(0, 2**32 - 1), st.floats(0.0, 1.0), st.data())
def test_no_dictionary_is_below_the_genie_s_floor_and_equal_leverage_attains_it(frame, seed, mix, data):
    n, d = frame.shape
    k = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    floor = genie_floor(n, d, k)
    # Any linear map of a unit-norm tight frame has equal leverage, however coherent it has become.
    squeezed = frame @ (np.eye(d) + 0.5 * rng.normal(size=(d, d)) / math.sqrt(d))
    assert genie_errors(frame, k).mean() == pytest.approx(floor, abs=1e-9)
    assert genie_errors(squeezed, k).mean() == pytest.approx(floor, abs=1e-6)  # the condition of the map
    other = frame + mix * rng.normal(size=(n, d))
    assert genie_errors(other, k).mean() >= floor - 1e-12
    if mix > 0.1 and 1 < k < n and d < n:
        assert genie_errors(other, k).mean() > floor + 1e-8  # the control: unequal leverage is worse


def test_regression_on_simulated_codes_attains_the_genie_s_error():
    rng = np.random.default_rng(1)
    n, d, k, count = 16, 8, 3, 60_000
    atoms = rng.normal(size=(n, d))
    supports = rng.random((count, n)).argsort(axis=1)[:, :k]
    codes = np.zeros((count, n))
    np.put_along_axis(codes, supports, rng.normal(size=(count, k)), axis=1)
    x = codes @ atoms
    expected = genie_errors(atoms, k)
    for i in range(n):
        on = codes[:, i] != 0
        weights = np.linalg.lstsq(x[on], codes[on, i], rcond=None)[0]
        squared = np.square(codes[on, i] - x[on] @ weights)
        error = squared.std() / math.sqrt(on.sum())
        # 16 entries at 5 standard errors; the fit of d = 8 weights lowers the error by 8 in 11,000.
        assert abs(squared.mean() - expected[i]) < 5 * error + 0.001
    assert expected.mean() > genie_floor(n, d, k)


def block_graph(blocks, size):
    return np.kron(np.eye(blocks), np.ones((size, size))) > 0


def cliques_codes(graph, count, rng):
    """Random codes on random cliques of the graph."""
    codes = np.zeros((count, len(graph)))
    for row in codes:
        members = []
        for j in rng.permutation(len(graph)):
            if all(graph[j, i] for i in members):
                members.append(j)
        row[members] = rng.uniform(0, 3, len(members)) * (rng.random(len(members)) < 0.8)
    return codes


@given(st.integers(2, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_exclusive_blocks_have_an_exact_encoder_in_fewer_dimensions(blocks, size, seed):
    atoms = np.kron(simplex(blocks - 1), np.eye(size))  # blocks * size atoms in (blocks - 1) * size dimensions
    graph = block_graph(blocks, size)
    weights = exact_encoder(atoms, graph)
    assert weights is not None
    codes = cliques_codes(graph | np.eye(len(graph), dtype=bool), 30, np.random.default_rng(seed))
    answer = np.maximum(codes @ atoms @ weights.T, 0.0)
    assert np.abs(answer - codes).max() < 1e-6  # the tolerance of the linear programme, times codes up to 3
    assert clique_number(graph) == size <= atoms.shape[1]


@given(frames)
def test_where_all_pairs_occur_no_overcomplete_dictionary_has_an_exact_encoder(frame):
    n, d = frame.shape
    assert exact_encoder(frame, np.ones((n, n))) is None
    assert clique_number(np.ones((n, n))) == n > d
    assert exact_encoder(frame[:d], np.ones((d, d))) is None or np.linalg.matrix_rank(frame[:d]) == d


@given(st.integers(2, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_one_active_feature_allows_twice_as_many_as_dimensions_and_no_more(d, seed):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(d, d)) + 2 * np.eye(d)
    pairs = np.concatenate([np.eye(d), -np.eye(d)]) @ basis
    alone = np.zeros((2 * d, 2 * d))
    if np.linalg.cond(basis) < 1e3:
        assert exact_encoder(pairs, alone) is not None
    crowd = np.concatenate([pairs, rng.normal(size=(1, d))])
    assert exact_encoder(crowd, np.zeros((2 * d + 1, 2 * d + 1))) is None


def test_an_exact_encoder_needs_as_many_dimensions_as_the_largest_clique():
    held = []

    @settings(max_examples=40)
    @given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
    def check(n, seed, density):
        rng = np.random.default_rng(seed)
        upper = np.triu(rng.random((n, n)) < density, 1)
        graph = upper | upper.T
        subsets = [[i for i in range(n) if bits >> i & 1] for bits in range(1, 2**n)]
        size = clique_number(graph)
        assert size == max(len(s) for s in subsets if graph[np.ix_(s, s)].sum() == len(s) * (len(s) - 1))
        atoms = rng.normal(size=(n, max(1, int(rng.integers(n // 2, n + 1)))))
        exists = exact_encoder(atoms, graph) is not None
        held.append(exists)
        event("an encoder exists" if exists else "none")
        assert not exists or size <= atoms.shape[1]
        assert exists or n > atoms.shape[1]  # independent atoms always have one

    check()
    assert 0.2 <= np.mean(held) <= 0.8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: errors(SpikeSlab(0.1, Gaussian()), 0.5, 0.0), "noise_variance"),
        (lambda: errors(SpikeSlab(0.1, Gaussian()), 0.0, 0.1), "delta"),
        (lambda: effective_noise(SpikeSlab(0.1, Gaussian()), 0.5, 0.1, 0.0), "cosine"),
        (lambda: effective_noise(SpikeSlab(0.1, Gaussian()), -0.5, 0.1, 0.5), "delta"),
        (lambda: error_parts(-1.0, SpikeSlab(0.1, Gaussian()), 0.5, 0.1, 0.5), "error"),
        (lambda: genie_floor(4, 5, 2), "d must"),
        (lambda: genie_floor(4, 3, 5), "k in"),
        (lambda: genie_errors([[0.0, 0.0], [1.0, 0.0]], 1), "zero rows"),
        (lambda: exact_encoder(np.eye(2), np.ones((3, 3))), "cooccurrence"),
        (lambda: clique_number([[0, 1], [0, 0]]), "symmetric"),
        (lambda: clique_number(np.zeros((65, 65))), "64"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
