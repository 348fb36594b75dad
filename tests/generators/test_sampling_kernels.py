"""Each kernel against a slow twin in plain Python, and the same bits for any number of threads."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import chi2

from sparsesim.generators import Bernoulli, ExactlyK, FeatureSpec, Forest, HalfNormal, RandomSphere
from sparsesim.kernels import sampling
from sparsesim.kernels.synthesis import synthesise
from tests.generators.chance import ALPHA, assert_mean
from tests.generators.strategies import forests, rate_laws, seeds

WORD = 2**64 - 1


class Twin:
    """xoshiro256++ in Python integers, with the uniform, geometric and bounded numbers made from it."""

    def __init__(self, words):
        self.s = [int(word) for word in words]

    def word(self):
        s = self.s
        total = (s[0] + s[3]) & WORD
        result = (((total << 23) | (total >> 41)) + s[0]) & WORD
        t = (s[1] << 17) & WORD
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = ((s[3] << 45) | (s[3] >> 19)) & WORD
        return result

    def uniform(self):
        return (self.word() >> 11) / 2**53

    def misses(self, rate):
        u = 1.0 - self.uniform()
        if rate == 1.0:
            return 0
        value = math.log(u) * (1.0 / math.log1p(-rate)) if rate > 1e-300 else math.inf
        return int(value) if value < sampling.FAR else sampling.FAR

    def below(self, bound):
        while True:
            product = (self.word() >> 32) * bound
            if product % 2**32 >= 2**32 % bound:
                return product >> 32

    def walk(self, members, rates):
        """Members of a group that fire, in one pass of skipping and thinning."""
        largest = max(rates)
        place = self.misses(largest)
        while place < len(members):
            if rates[place] == largest or self.uniform() < rates[place] / largest:
                yield members[place]
            place += 1 + self.misses(largest)


def twin_block(words, parents, rates, exclusive, rows):
    """Samples of one block: the roots of ``rows`` copies of each class in one long walk, then the children."""
    twin, m = Twin(words), len(parents)
    groups: dict[int, list[int]] = {}
    for root in (node for node in range(m) if parents[node] < 0 and rates[node] > 0):
        groups.setdefault(-max(math.floor(math.log2(rates[root])), -60), []).append(root)
    classes = [groups[level] for level in sorted(groups)]
    largest = [max(rates[root] for root in members) for members in classes]
    ahead = [twin.misses(rate) for rate in largest]
    children = {node: [child for child in range(m) if parents[child] == node] for node in range(m)}
    for _ in range(rows):
        active = []
        for group, members in enumerate(classes):
            while ahead[group] < len(members):
                root = members[ahead[group]]
                if rates[root] == largest[group] or twin.uniform() < rates[root] / largest[group]:
                    active.append(root)
                ahead[group] += 1 + twin.misses(largest[group])
            ahead[group] -= len(members)
        for node in active:
            if not children[node]:
                continue
            if not exclusive:
                likely = [rates[child] for child in children[node]]
                if max(likely) > 0:
                    active.extend(twin.walk(children[node], likely))
                else:
                    twin.word()
                continue
            u, total = twin.uniform(), 0.0
            for child in children[node]:
                total += rates[child]
                if u < total:
                    active.append(child)
                    break
        yield sorted(active)


def assert_same_as_twin(law, parents, rates, exclusive, seed, n):
    support = law.draw(n, np.random.default_rng(seed))
    blocks = -(-n // sampling.BLOCK)
    seeds_ = np.random.default_rng(seed).integers(0, 2**64, size=(blocks, 4), dtype=np.uint64)
    expected = []
    for block in range(blocks):
        rows = min(sampling.BLOCK, n - block * sampling.BLOCK)
        expected.extend(twin_block(seeds_[block], parents, rates, exclusive, rows))
    assert np.array_equal(np.diff(support.indptr), [len(row) for row in expected])
    assert np.array_equal(support.indices, [feature for row in expected for feature in row])


@given(law=forests(), seed=seeds, n=st.integers(0, 600))
@settings(max_examples=40)
def test_forests_are_drawn_as_by_the_twin(law, seed, n):
    assert_same_as_twin(law, law.parents, law.rates, law.exclusive, seed, n)


@given(rates=rate_laws(), seed=seeds, n=st.integers(0, 600))
@settings(max_examples=40)
def test_independent_features_are_drawn_as_by_the_twin(rates, seed, n):
    m = rates.n_features
    assert_same_as_twin(Bernoulli(rates), (-1,) * m, rates.rates().tolist(), False, seed, n)


@given(m=st.integers(1, 40), data=st.data(), seed=seeds, n=st.integers(0, 300))
@settings(max_examples=40)
def test_subsets_are_drawn_as_by_the_twin(m, data, seed, n):
    k = data.draw(st.integers(1, m))
    support = ExactlyK(m, k).draw(n, np.random.default_rng(seed))
    words = np.random.default_rng(seed).integers(0, 2**64, size=(-(-n // sampling.BLOCK), 4), dtype=np.uint64)
    for row in range(n):
        if row % sampling.BLOCK == 0:
            twin = Twin(words[row // sampling.BLOCK])
        chosen = set()
        for last in range(m - k, m):
            pick = twin.below(last + 1)
            chosen.add(last if pick in chosen else pick)
        assert support.indices[row * k : (row + 1) * k].tolist() == sorted(chosen)


def test_xoshiro_gives_the_published_first_words():
    """From the state 1, 2, 3, 4; the values are those of the authors' C code, as in other libraries' test suites."""
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    words = [int(sampling.next64_(state)) for _ in range(4)]
    assert words == [41943041, 58720359, 3588806011781223, 3591011842654386]


@pytest.mark.parametrize("bound", [1, 3, 7, 1000])
def test_bounded_integers_are_uniform(bound):
    state, n = np.array([5, 6, 7, 8], dtype=np.uint64), 100 * bound + 20_000
    for _ in range(20):
        sampling.next64_(state)  # a state of few set bits needs some steps to fill
    counts = np.bincount([int(sampling.below_(state, np.uint64(bound))) for _ in range(n)], minlength=bound)
    assert len(counts) == bound
    statistic = np.square(counts - n / bound).sum() / (n / bound)
    assert statistic <= chi2.isf(ALPHA, max(bound - 1, 1))


@pytest.mark.parametrize("bound", [3 * 2**29, 2**31 - 1, 2**30 + 1])
def test_large_bounds_reject_what_would_be_biased(bound):
    """Here up to half of the numbers are rejected, where for small bounds almost none are."""
    words = np.random.default_rng(0).integers(0, 2**64, size=4, dtype=np.uint64)
    state, twin = words.copy(), Twin(words)
    assert [int(sampling.below_(state, np.uint64(bound))) for _ in range(500)] == [
        twin.below(bound) for _ in range(500)
    ]


def test_all_subsets_of_a_size_are_equally_likely():
    n = 60_000
    rows = ExactlyK(6, 3).draw(n, np.random.default_rng(0)).indices.reshape(n, 3)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == math.comb(6, 3)
    assert np.square(counts - n / 20).sum() / (n / 20) < chi2.isf(ALPHA, 19)


def test_gaps_are_geometric():
    state = np.random.default_rng(0).integers(0, 2**64, size=4, dtype=np.uint64)
    for rate in (0.03, 0.4, 0.97):
        gap = 1.0 / math.log1p(-rate)
        gaps = np.array([sampling.geometric_(state, gap) for _ in range(40_000)])
        assert_mean(gaps, (1 - rate) / rate, tests=6)
        assert_mean(gaps == 0, rate, tests=6)


@st.composite
def codes_and_atoms(draw):
    n, m, d = draw(st.integers(0, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(seeds))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    dense = rng.standard_normal((n, m)) * (rng.random((n, m)) < draw(st.floats(0.0, 1.0)))
    return csr_array(dense.astype(dtype)), rng.standard_normal((m, d)), rng.standard_normal(d), dtype


@given(case=codes_and_atoms())
@settings(max_examples=100)
def test_samples_are_the_codes_times_the_atoms_plus_the_offset(case):
    codes, atoms, offset, dtype = case
    x = synthesise(codes, atoms, offset)
    rounded = atoms.astype(dtype).astype(float)
    exact = offset.astype(dtype).astype(float) + np.zeros(x.shape)
    size = np.abs(exact)
    for row in range(codes.shape[0]):
        for place in range(codes.indptr[row], codes.indptr[row + 1]):
            exact[row] += float(codes.data[place]) * rounded[codes.indices[place]]
            size[row] += abs(float(codes.data[place])) * np.abs(rounded[codes.indices[place]])
    assert x.dtype == dtype
    # At most nine sums and nine products, each rounded once: 20 eps of the sum of magnitudes bounds both sides.
    assert np.all(np.abs(x - exact) <= 20 * np.finfo(dtype).eps * size)


def test_integer_codes_are_combined_in_double_precision():
    atoms = np.random.default_rng(0).standard_normal((3, 5))
    codes = csr_array(np.array([[1, 0, -2], [0, 3, 0]]))
    np.testing.assert_allclose(synthesise(codes, atoms), codes.toarray() @ atoms, rtol=1e-15)  # two terms: one rounding


def test_mismatched_shapes_are_refused_before_any_memory_is_read():
    codes = csr_array(np.eye(3))
    with pytest.raises(ValueError, match="codes have 3 columns, but there are 2 atoms"):
        synthesise(codes, np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"offset must have shape \(d,\)=\(4,\); got \(3,\)"):
        synthesise(codes, np.ones((3, 4)), np.ones(3))


@pytest.fixture
def threads():
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")
@pytest.mark.parametrize(
    "law",
    [Forest.regular(8, 3, 3, 0.4, 0.3), Forest.regular(8, 3, 2, 0.4, 0.5, False), ExactlyK(50, 7)],
    ids=["exclusive", "independent", "exactly"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_for_one_thread_and_two(law, dtype, threads):
    model = FeatureSpec(33, law, RandomSphere(), HalfNormal(), bias=1.0).build(np.random.default_rng(0))
    batches = []
    for count in (1, 2):
        threads(count)
        batches.append(model.sample(3_000, np.random.default_rng(1), dtype=dtype))
    first, second = batches
    assert np.array_equal(first.x, second.x)
    for part in ("indptr", "indices", "data"):
        assert np.array_equal(getattr(first.codes, part), getattr(second.codes, part))


def test_a_world_that_outgrows_the_first_guess_of_memory_is_drawn_again_with_the_same_bits():
    """A root of rate 0.004 that brings 400 features with it: some blocks need many times the mean."""
    law = Forest((-1, *((0,) * 400)), (0.004, *((1.0,) * 400)), exclusive=False)
    n = 2_000
    assert_same_as_twin(law, law.parents, law.rates, False, 3, n)
    fired = np.diff(law.draw(n, np.random.default_rng(3)).indptr)
    assert set(fired) == {0, 401}
    # The first guess is 1.1 times the mean of a block plus ten standard deviations of a Poisson number plus 64.
    mean = sampling.BLOCK * 0.004 * 401
    assert np.add.reduceat(fired, range(0, n, sampling.BLOCK)).max() > 1.1 * mean + 10 * math.sqrt(mean) + 64
