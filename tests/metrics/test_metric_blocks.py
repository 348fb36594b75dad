"""Scores of samples seen block by block are those of all samples at once, whatever the blocks."""

from __future__ import annotations

import inspect
import re
import tracemalloc
from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
from scipy.sparse import csr_array

import sparsesim.generators as generators
from sparsesim.kernels.energies import centred_energies, column_ranges, norm_sums
from sparsesim.metrics import evaluate_blocks, evaluate_stream
from sparsesim.metrics.blocks import StreamedEvaluation
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from tests.metrics.hand_made import METRICS, Samples, Truth, fitted, world

OF_SUMS = sorted(
    name
    for name, metric in METRICS.items()
    if inspect.signature(metric).parameters["evaluation"].annotation == "Judged"
)
COUNTS = {"support_precision", "support_recall", "support_f1", "l0", "true_l0", "dead_fraction"}
OF_ATOMS = {"mcc", "mcc_learned", "mcc_signed", "mmcs", "mmcs_learned", "recovered_at_90", "recovered_at_95",
            "recovered_at_99", "mcc_chance", "mcc_corrected", "uniqueness", "saelens_mcc",
            "saelens_uniqueness"}  # fmt: skip
EXACT = COUNTS | OF_ATOMS | {"latent_precision", "latent_recall", "latent_f1", "saelens_precision", "saelens_recall",
                             "saelens_f1", "saelens_accuracy"}  # fmt: skip


@dataclass(frozen=True)
class Shrunken:
    """Codes in an orthonormal dictionary, all times ``share``."""

    share: float

    def encode(self, x, atoms):
        return csr_array(x @ atoms.T * self.share)


def blocks(evaluation: Evaluation, sizes) -> list[Samples]:
    ends = np.cumsum(sizes)
    x, codes = evaluation.batch.x, evaluation.batch.codes
    return [Samples(x[a:b], csr_array(codes[a:b])) for a, b in zip([0, *ends], ends, strict=False)]


def streamed(evaluation: Evaluation, sizes, order=None) -> StreamedEvaluation:
    parts = blocks(evaluation, sizes)
    return evaluate_blocks(evaluation.truth, evaluation.fitted, parts if order is None else [parts[i] for i in order])


def test_the_scores_that_go_by_sums_are_these():
    assert {*EXACT, "code_correlation", "code_correlation_signed", "shrinkage", "code_error", "fvu", "relative_norm",
            "explained_variance", "saelens_shrinkage", "saelens_explained_variance"} == set(OF_SUMS)  # fmt: skip


@pytest.mark.parametrize("name", OF_SUMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_score_of_blocks_is_that_of_all_samples(name, seed):
    whole = world(seed).evaluation()
    expected = METRICS[name](whole)
    for sizes in ([60], [30, 30], [1] * 60, [7] * 8 + [4], [59, 1]):
        for order in (None, range(len(sizes))[::-1]):
            found = METRICS[name](streamed(whole, sizes, order))
            # Counts and atoms are the same numbers; of the rest sums of 60 terms come in another order.
            assert found == expected if name in EXACT else found == pytest.approx(expected, rel=1e-12, abs=1e-13)


# The peer's sums are about zero and in absolute units, which is its definition.
@pytest.mark.parametrize("name", [name for name in OF_SUMS if not name.startswith("saelens_")])
@pytest.mark.parametrize(("scale", "offset"), [(1e-150, 0.0), (1e150, 0.0), (1.0, 1e4)])
def test_blocks_keep_the_digits_of_tiny_huge_and_far_away_samples(name, scale, offset):
    w = world()
    far = replace(w, codes=w.codes * scale, bias=(w.bias + offset) * scale, noise=w.noise * scale).evaluation()
    # An offset of 1e4 costs eight of sixteen digits of the squares were they taken about zero, four of the samples.
    tolerance = 1e-12 if not offset else 1e-10
    assert METRICS[name](streamed(far, [1, 7, 20, 32])) == pytest.approx(
        METRICS[name](far), rel=tolerance, abs=tolerance
    )


def test_blocks_of_unequal_scale_add_up():
    # Each block has units of its own: the first is 1e9 times smaller than the second.
    w = world()
    grown = w.codes * np.where(np.arange(60) < 30, 1e-9, 1.0)[:, None]
    whole = replace(w, codes=grown).evaluation()
    for name in OF_SUMS:
        assert METRICS[name](streamed(whole, [30, 30])) == pytest.approx(METRICS[name](whole), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("scale", [1e-200, 1e-170, 1.0, 1e170, 1e200])
@pytest.mark.parametrize("share", [0.9, 1.0])
def test_blocks_without_a_scale_of_their_own_take_that_of_the_others(scale, share):
    # A silent sample has no unit, nor has a block of equal samples that are rebuilt exactly: squares of any other unit
    # vanish or overflow beside those of the data.
    codes = scale * np.array([[0, 0, 0], [1, 0, 0], [0, 2.0, 0], [0, 0, 0], [0, 1, 1.25]])
    truth = Truth(np.eye(3), np.zeros(3))
    parts = [Samples(codes[[i]], csr_array(codes[[i]])) for i in range(5)]
    solution = fitted(np.eye(3), Shrunken(share))
    whole = Evaluation(truth, solution, Samples(codes, csr_array(codes)))
    for name in set(OF_SUMS) - {"saelens_shrinkage", "saelens_explained_variance"}:  # which are in absolute units
        found = METRICS[name](evaluate_blocks(truth, solution, parts))
        assert found == pytest.approx(METRICS[name](whole), rel=1e-12, abs=1e-13), name
    assert METRICS["code_error"](whole) == pytest.approx((1 - share) ** 2, rel=1e-12)


def test_an_estimate_beyond_all_measure_is_infinitely_wrong():
    codes = np.array([[1.0, 0, 0], [0, 1, 0]])
    solution = fitted(np.eye(3), Shrunken(1e200))
    for parts in ([codes], [codes[:1], codes[1:]]):
        with np.errstate(over="ignore"):  # squares of 1e200
            found = evaluate_blocks(Truth(np.eye(3), np.zeros(3)), solution, [Samples(x, csr_array(x)) for x in parts])
        assert METRICS["fvu"](found) == np.inf


def test_what_never_varies_fires_or_is_matched_is_nan_or_zero_as_it_is_for_all_samples():
    w = world()
    silent = replace(w, codes=np.zeros_like(w.codes), noise=np.zeros_like(w.noise))
    constant = replace(w, codes=np.tile(w.codes[:1], (60, 1)), noise=np.zeros_like(w.noise))
    first_only = replace(w, codes=w.codes * (np.arange(60) < 5)[:, None])
    empty = replace(w, learned=np.zeros((0, w.atoms.shape[1])))
    for case in (silent, constant, first_only, empty):
        whole = case.evaluation()
        for name in set(OF_SUMS) - {"saelens_explained_variance"}:  # rounding alone decides that of constant samples
            expected, found = METRICS[name](whole), METRICS[name](streamed(whole, [20, 20, 20]))
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-13, nan_ok=True), name


def test_a_score_that_needs_all_samples_says_so_and_one_of_the_atoms_does_not():
    whole = world().evaluation()
    parts, of_atoms = streamed(whole, [30, 30]), set()
    for name in set(METRICS) - set(OF_SUMS):
        try:
            found = METRICS[name](parts)
        except AttributeError as error:
            assert re.search(r"needs all samples at once; 60 were seen .* Take an Evaluation", str(error)), name
        else:
            assert found == METRICS[name](whole)
            of_atoms.add(name)
    assert {"coherence", "decoder_coherence", "effective_rank"} <= of_atoms
    assert {"amortisation_gap", "absorption_rate", "dci_disentanglement"} <= set(METRICS) - set(OF_SUMS) - of_atoms


def test_blocks_that_are_none_or_do_not_fit_are_refused():
    whole = world().evaluation()
    with pytest.raises(ValueError, match="at least one block"):
        evaluate_blocks(whole.truth, whole.fitted, [])
    with pytest.raises(ValueError, match="Sample it from the truth"):
        evaluate_blocks(whole.truth, whole.fitted, [Samples(whole.batch.x[:, :3], whole.batch.codes)])


def model():
    law = generators.Bernoulli(generators.EqualRates(40, 0.1))
    spec = generators.FeatureSpec(16, law, generators.RandomSphere(), generators.HalfNormal(), bias=0.5)
    return spec.build(np.random.default_rng(0))


def test_fresh_samples_are_those_of_the_generator_and_the_memory_does_not_grow_with_them():
    truth = model()
    fitted = RandomDictionary(24, OrthogonalMatchingPursuit(3)).fit(truth.atoms, rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    drawn = [truth.sample(size, rng, dtype=np.float32) for size in (500, 500, 200)]
    expected = evaluate_blocks(truth, fitted, drawn)
    found = evaluate_stream(truth, fitted, 1200, rng=np.random.default_rng(2), block=500)
    for name in OF_SUMS:
        assert METRICS[name](found) == METRICS[name](expected)

    def peak(n: int) -> int:
        tracemalloc.start()
        evaluate_stream(truth, fitted, n, rng=np.random.default_rng(3), block=500)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    # All samples of the longer one would take 20 times as much; blocks differ in what fires by a few percent.
    assert peak(20_000) < 1.2 * peak(1000)


@pytest.mark.parametrize(("changed", "message"), [({"n": 0}, "n must lie in"), ({"block": 0}, "block must lie in")])
def test_sizes_are_checked(changed, message):
    truth = model()
    fitted = RandomDictionary(24, OrthogonalMatchingPursuit(3)).fit(truth.atoms, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match=message):
        evaluate_stream(truth, fitted, **{"n": 10, "rng": np.random.default_rng(0), **changed})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 255, 256, 900])
def test_energies_and_norms_equal_their_numpy_twins(n, dtype):
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((n, 5)) * [1, 2, 0, 4, 5] + 3).astype(dtype)
    x[n // 2] = 0.0  # a row without a norm
    estimate = (x + 0.1 * rng.standard_normal((n, 5))).astype(dtype)
    a, b = x.astype(np.float64), estimate.astype(np.float64)
    # Sums of 5 n terms in another order, of means one at a time: 4500 * 2^-53 = 5e-13.
    close = {"rtol": 1e-12, "atol": 1e-12}
    low, high, mean = column_ranges(x)
    np.testing.assert_array_equal(low, a.min(axis=0))
    np.testing.assert_array_equal(high, a.max(axis=0))
    np.testing.assert_allclose(mean, a.mean(axis=0), **close)
    sums, shift = centred_energies(x, estimate, mean, 3.0)
    twin = [np.square((a - b) / 3).sum(), np.square((a - mean) / 3).sum(), np.square((b - mean) / 3).sum()]
    np.testing.assert_allclose(sums, twin, **close)
    np.testing.assert_allclose(shift, ((b - mean) / 3).sum(axis=0), rtol=1e-12, atol=1e-11)
    sums, total = norm_sums(x, estimate, 1e-6)
    own, rebuilt = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    kept = own > 1e-6
    twin = [np.square(a).sum(), np.square(a - b).sum(), kept.sum(), (rebuilt[kept] / own[kept]).sum()]
    np.testing.assert_allclose(sums, twin, **close)
    np.testing.assert_allclose(total, a.sum(axis=0), **close)
    assert kept.sum() == n - 1


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads to compare with one")
def test_energies_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(0).standard_normal((1000, 7))
    found = []
    for threads in (1, 2):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            mean = column_ranges(x)[2]
            found.append([mean, *centred_energies(x, x**2, mean, 1.0), *norm_sums(x, x**2, 0.0)])
        finally:
            numba.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
