"""Scores against slow, obvious dense twins, known cases and adversarial ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsesim.metrics import (
    amortisation_gap,
    chance_mcc,
    code_correlation,
    code_correlation_signed,
    code_error,
    cosines,
    dead_fraction,
    explained_variance,
    fvu,
    l0,
    latent_f1,
    latent_precision,
    latent_recall,
    match_rows,
    mcc,
    mcc_chance,
    mcc_corrected,
    mcc_learned,
    mcc_signed,
    mmcs,
    relative_norm,
    shrinkage,
    support_f1,
    support_precision,
    support_recall,
    true_l0,
    uniqueness,
)
from sparsesim.metrics.evaluation import Evaluation
from tests.metrics.hand_made import (
    METRICS,
    NEED_ATOMS,
    NEED_CORRELATION,
    NEED_FEATURES,
    NEED_HIERARCHY,
    NEED_LIFE,
    NEED_SAMPLES,
    NEED_TARGETS,
    Correlations,
    Given,
    Samples,
    Truth,
    evaluation,
    fitted,
    unit,
    world,
)

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def random_case(seed, m, p, n, d=4, density=0.4):
    """Codes on a grid of quarters with many zeros, so that ties, constants and silent columns occur."""
    rng = np.random.default_rng(seed)
    true = (rng.random((n, m)) < density) * rng.integers(-4, 9, (n, m)) / 4
    learned = (rng.random((n, p)) < density) * rng.integers(-4, 9, (n, p)) / 4
    return evaluation(unit(rng, m, d), true, unit(rng, p, d), learned), true, learned


def dense_aligned(e, learned):
    out = np.zeros((len(learned), len(e.truth.atoms)))
    for i, j in zip(e.match.features, e.match.atoms, strict=True):
        out[:, i] = learned[:, j] * np.sign(e.truth.atoms[i] @ e.fitted.atoms[j])
    return out


def safe(a, b):
    return a / b if b else 0.0


@given(seeds, sizes, sizes)
def test_the_matching_is_the_best_of_all_by_enumeration(seed, m, p):
    rng = np.random.default_rng(seed)
    similarity = np.abs(cosines(unit(rng, m, 3), unit(rng, p, 3)))
    tall = similarity if m >= p else similarity.T
    best = max(sum(tall[i, j] for j, i in enumerate(rows)) for rows in permutations(range(len(tall)), tall.shape[1]))
    match = match_rows(similarity)
    assert match.similarity.sum() == pytest.approx(best, abs=1e-12)  # order of summation
    assert len(set(match.features)) == len(set(match.atoms)) == len(match.features)
    assert np.array_equal(similarity[match.features, match.atoms], match.similarity)


@given(seeds, sizes, sizes)
def test_recovery_scores_equal_their_definitions_by_enumeration(seed, m, p):
    rng = np.random.default_rng(seed)
    true, learned = unit(rng, m, 3), unit(rng, p, 3)
    e = evaluation(true, np.eye(m), learned)
    c = true @ learned.T
    padded = np.zeros((max(m, p), max(m, p)))
    padded[:m, :p] = c
    everyone = list(permutations(range(max(m, p))))
    total = max(sum(abs(padded[i, j]) for i, j in enumerate(order)) for order in everyone)
    signed = max(sum(max(padded[i, j], 0) for i, j in enumerate(order)) for order in everyone)
    # abs=1e-12: order of summation
    assert mcc(e) == pytest.approx(total / m, abs=1e-12)
    assert mcc_learned(e) == pytest.approx(total / p, abs=1e-12)
    assert mcc_signed(e) == pytest.approx(signed / m, abs=1e-12)
    assert mmcs(e) == pytest.approx(np.abs(c).max(axis=1).mean(), abs=1e-12)
    assert 0 <= mcc_signed(e) <= mcc(e) + 1e-12 <= mmcs(e) + 2e-12


@given(seeds, sizes, sizes, st.integers(1, 9))
def test_support_scores_equal_their_dense_twins(seed, m, p, n):
    e, true, learned = random_case(seed, m, p, n)
    on, partner = true != 0, dense_aligned(e, learned) != 0
    tp, said, real = (on & partner).sum(), (learned != 0).sum(), on.sum()
    assert support_precision(e) == safe(tp, said)
    assert support_recall(e) == safe(tp, real)
    assert support_f1(e) == safe(2 * tp, said + real)
    precision, recall, f1 = [], [], []
    for i in np.flatnonzero(on.any(axis=0)):
        hits = (on[:, i] & partner[:, i]).sum()
        precision.append(safe(hits, partner[:, i].sum()))
        recall.append(safe(hits, on[:, i].sum()))
        f1.append(safe(2 * hits, on[:, i].sum() + partner[:, i].sum()))
    for metric, values in ((latent_precision, precision), (latent_recall, recall), (latent_f1, f1)):
        assert metric(e) == pytest.approx(np.mean(values) if values else 0.0, abs=1e-14)  # order of summation
    assert l0(e) == said / n
    assert true_l0(e) == real / n
    assert dead_fraction(e) == pytest.approx(np.mean(~(learned != 0).any(axis=0)), abs=1e-15)


@given(seeds, sizes, sizes, st.integers(2, 9), st.sampled_from([0.4, 1.0]))
def test_coefficient_scores_equal_their_dense_twins(seed, m, p, n, density):
    e, true, learned = random_case(seed, m, p, n, density=density)
    partner = dense_aligned(e, learned)
    correlations, slopes = [], []
    for a, b in zip(true.T, partner.T, strict=True):
        if np.ptp(a):
            correlations.append(np.corrcoef(a, b)[0, 1] if np.ptp(b) else 0.0)
        both = (a != 0) & (b != 0)
        if both.any():
            slopes.append((a[both] @ b[both]) / (a[both] @ a[both]))
    # abs=1e-12: two-pass sums of at most nine values of order one
    assert code_correlation(e) == pytest.approx(np.mean(np.abs(correlations)) if correlations else 0.0, abs=1e-12)
    assert code_correlation_signed(e) == pytest.approx(np.mean(correlations) if correlations else 0.0, abs=1e-12)
    assert shrinkage(e) == pytest.approx(np.mean(slopes) if slopes else 0.0, abs=1e-12)
    if true.any():
        assert code_error(e) == pytest.approx(np.square(partner - true).sum() / np.square(true).sum(), abs=1e-12)
    else:
        assert np.isnan(code_error(e))


def test_code_correlation_keeps_its_digits_on_dense_codes_far_from_zero():
    rng = np.random.default_rng(3)
    a = rng.standard_normal(200)
    b = a + rng.standard_normal(200)
    offset = evaluation(np.eye(1), (1e6 + a)[:, None], np.eye(1), (1e6 + b)[:, None])
    # The inputs themselves are rounded at 1e6 * 2^-53 = 1e-10; a product of means would have lost 1e12 * 2^-52 = 2e-4.
    assert code_correlation(offset) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)


def test_constant_codes_correlate_with_nothing_whatever_their_rounding():
    varying = np.arange(1.0, 11.0)[:, None]
    assert code_correlation(evaluation(np.eye(1), varying, np.eye(1), np.full((10, 1), 0.1))) == 0.0
    assert code_correlation(evaluation(np.eye(1), np.full((10, 1), 0.1), np.eye(1), varying)) == 0.0


@pytest.mark.parametrize("bias", [0.0, 5.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_perfect_solution_has_perfect_scores(bias, sign):
    w = world(5)
    e = evaluation(w.atoms, w.codes, sign * w.atoms, sign * w.codes, bias=np.full(6, bias))
    ones = {"mcc", "mcc_learned", "mmcs", "mmcs_learned", "recovered_at_90", "recovered_at_95", "recovered_at_99",
            "uniqueness", "mcc_corrected", "support_precision", "support_recall", "support_f1", "latent_precision",
            "latent_recall", "latent_f1", "code_correlation", "code_correlation_signed", "shrinkage",
            "explained_variance", "relative_norm", "saelens_mcc", "saelens_uniqueness", "saelens_shrinkage",
            "saelens_explained_variance"}  # fmt: skip
    for name in ones:
        assert METRICS[name](e) == pytest.approx(1.0, abs=1e-12)  # rounding
    assert fvu(e) == pytest.approx(0.0, abs=1e-28)  # rounding, squared
    assert code_error(e) == pytest.approx(0.0, abs=1e-28)
    assert l0(e) == true_l0(e)
    assert dead_fraction(e) == 1 / 7  # the feature that never fires


def test_predicting_the_mean_explains_nothing():
    w = world(1)
    x = w.codes @ w.atoms + w.bias + w.noise
    silent = csr_array((60, 9))
    e = Evaluation(
        Truth(w.atoms, w.bias), fitted(w.learned, Given(silent), x.mean(axis=0)), Samples(x, csr_array(w.codes))
    )
    # abs: x.mean is summed in another order than the metric's own mean
    assert explained_variance(e) == pytest.approx(0.0, abs=1e-12)
    assert relative_norm(e) == pytest.approx(0.0, abs=1e-12)
    assert support_f1(e) == latent_f1(e) == code_correlation(e) == shrinkage(e) == l0(e) == 0.0
    assert code_error(e) == 1.0
    assert dead_fraction(e) == 1.0
    assert amortisation_gap(e) == pytest.approx(0.0, abs=1e-12)  # pursuit without non-zeros predicts the mean, too


def test_halved_codes_show_as_halved():
    w = world(2)
    e = evaluation(w.atoms, w.codes, w.atoms, w.codes / 2)
    assert shrinkage(e) == pytest.approx(0.5, abs=1e-15)
    assert code_error(e) == pytest.approx(0.25, abs=1e-15)
    assert code_correlation(e) == pytest.approx(1.0, abs=1e-12)


def test_a_soft_threshold_shows_as_shrinkage_though_an_intercept_would_hide_it():
    true = np.array([[1.0], [2.0], [3.0]])
    e = evaluation(np.eye(1), true, np.eye(1), true - 0.5)
    assert shrinkage(e) == pytest.approx(1 - 0.5 * 6 / 14, abs=1e-15)  # 1 - c sum a / sum a^2


@given(seeds)
def test_fvu_equals_its_dense_twin(seed):
    rng = np.random.default_rng(seed)
    e, _, _ = random_case(seed, 3, 4, int(rng.integers(2, 20)))
    x = e.batch.x
    variance = np.square(x - x.mean(axis=0)).sum()
    if np.ptp(x, axis=0).max() == 0:
        assert np.isnan(fvu(e))
    else:
        # rel: two-pass sums
        assert fvu(e) == pytest.approx(np.square(x - e.reconstruction).sum() / variance, rel=1e-10)
        assert explained_variance(e) == 1.0 - fvu(e)


def test_fvu_is_the_same_in_blocks_as_in_one():
    rng = np.random.default_rng(0)
    true = rng.standard_normal((9000, 2))  # three blocks of rows
    e = evaluation(np.eye(2), true, np.eye(2), true * [0.5, 1.0])
    centred = np.square(true - true.mean(axis=0)).sum()
    assert fvu(e) == pytest.approx(np.square(0.5 * true[:, 0]).sum() / centred, rel=1e-12)  # order of summation


def test_fvu_of_single_precision_far_from_zero_keeps_its_digits():
    rng = np.random.default_rng(0)
    spread = rng.integers(0, 17, (200_000, 3)).astype(np.float32)  # a float32 sum has steps of 256: it loses them
    x = np.float32(2**14) + spread  # exact in single precision
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    e = Evaluation(
        Truth(np.eye(3, dtype=np.float32), mean),
        fitted(np.eye(3, dtype=np.float32), Given(csr_array((200_000, 3), dtype=np.float32)), mean),
        Samples(x, csr_array((200_000, 3), dtype=np.float32)),
    )
    assert fvu(e) == pytest.approx(1.0, abs=1e-6)  # the bias is rounded to 2^14 * 2^-24 = 1e-3, squared over 24


@pytest.mark.parametrize("x", [np.ones((1, 2)), np.full((5, 2), 0.1), np.zeros((4, 2))])
def test_without_variance_reconstruction_scores_are_nan_and_not_an_accident(x):
    codes = csr_array((len(x), 2))
    e = Evaluation(Truth(np.eye(2), np.zeros(2)), fitted(np.eye(2), Correlations()), Samples(x, codes))
    for metric in (fvu, explained_variance, relative_norm, amortisation_gap):
        assert np.isnan(metric(e))


def test_the_amortisation_gap_of_a_poor_encoder_is_positive_and_of_pursuit_itself_zero():
    rng = np.random.default_rng(4)
    atoms = unit(rng, 12, 8)
    true = np.zeros((50, 12))
    for row in true:
        row[rng.permutation(12)[:2]] = 1.0 + rng.random(2)
    wrong = np.roll(true, 1, axis=1)
    poor = evaluation(atoms, true, atoms, wrong)
    assert amortisation_gap(poor) > 0.5
    best = evaluation(np.eye(8), true[:, :8], np.eye(8), true[:, :8])
    assert amortisation_gap(best) == pytest.approx(0.0, abs=1e-12)  # both exact on orthonormal atoms


def test_the_amortisation_gap_of_dense_codes_is_taken_at_full_rank():
    rng = np.random.default_rng(4)
    atoms, x = unit(rng, 7, 4), rng.standard_normal((20, 7))
    e = evaluation(atoms, x, atoms, rng.standard_normal((20, 7)))
    assert amortisation_gap(e) == pytest.approx(fvu(e), abs=1e-10)  # four independent atoms rebuild everything


def test_uniqueness_counts_copies_once_whatever_their_order():
    base = np.eye(4)
    near = np.array([[np.cos(0.2), np.sin(0.2), 0, 0]])  # cos 0.2 = 0.98
    for order in permutations(range(5)):
        learned = np.concatenate([base, near])[list(order)]
        assert uniqueness(evaluation(base, np.eye(4), learned)) == pytest.approx(1 - 1 / 5, abs=1e-15)
    copies = np.tile(base[:1], (10, 1)) * np.resize([1.0, -1.0], (10, 1))
    assert uniqueness(evaluation(base, np.eye(4), copies)) == pytest.approx(0.1, abs=1e-15)
    assert uniqueness(evaluation(base, np.eye(4), np.zeros((5, 4)))) == 1.0


@settings(max_examples=30)
@given(seeds, st.integers(2, 8))
def test_uniqueness_never_promises_more_distinct_atoms_than_there_are(seed, p):
    rng = np.random.default_rng(seed)
    atoms = unit(rng, p, 2)  # in the plane near copies chain
    near = np.abs(atoms @ atoms.T) > 0.95
    subsets = (np.flatnonzero([code >> i & 1 for i in range(p)]) for code in range(1, 2**p))
    most = max(len(s) for s in subsets if near[np.ix_(s, s)].sum() == len(s))
    value = uniqueness(evaluation(np.eye(2), np.eye(2), atoms))
    assert 1 - 1e-12 <= value * p <= most + 1e-12  # rounding


def test_the_corrected_score_is_near_zero_for_random_atoms_and_one_for_the_truth():
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        true = unit(rng, 12, 6)
        values.append(mcc_corrected(evaluation(true, np.eye(12), unit(rng, 12, 6))))
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    # 4.9 standard errors (alpha = 1e-6) and the 0.002 / (1 - 0.57) of the level's own, three times over
    assert abs(np.mean(values)) < 4.9 * error + 0.015
    assert mcc_corrected(evaluation(np.eye(3), np.eye(3), np.eye(3))) == pytest.approx(1.0, abs=1e-12)


def test_in_one_dimension_chance_reaches_all_and_nothing_is_claimed():
    e = evaluation(np.ones((2, 1)), np.eye(2), np.ones((3, 1)))
    assert mcc(e) == mcc_chance(e) == 1.0
    assert mcc_corrected(e) == 0.0


def test_missing_features_cost_and_surplus_atoms_do_not_help():
    truth = np.eye(8)
    narrow = evaluation(truth, np.eye(8), truth[:2])
    assert mcc(narrow) == 0.25
    assert mcc_learned(narrow) == 1.0
    wide = evaluation(truth[:2], np.eye(2), truth)
    assert mcc(wide) == 1.0
    assert mcc_learned(wide) == 0.25


def test_orthogonal_pairs_are_not_matched_so_no_rotation_can_choose_them():
    truth = np.eye(3)
    learned = truth[[0, 0, 0]]
    e = evaluation(truth, np.eye(3), learned, np.eye(3))
    assert list(e.match.features) == [0]
    assert support_recall(e) <= 1 / 3


def test_activations_of_unmatched_atoms_are_false_positives():
    e = evaluation(np.eye(3)[:1], np.ones((4, 1)), np.eye(3), np.ones((4, 3)))
    assert support_precision(e) == 1 / 3
    assert support_recall(e) == 1.0
    assert latent_f1(e) == 1.0


@pytest.mark.parametrize("learned", [np.zeros((4, 3)), np.eye(3), np.eye(3)[:1]])
@pytest.mark.parametrize("fires", [True, False])
def test_dead_codes_and_dead_atoms_give_finite_scores_but_for_those_of_what_is_not_there(learned, fires):
    true = np.eye(3) * fires
    silent = np.zeros((3, len(learned)))
    e = evaluation(np.eye(3), true, learned, silent, noise=np.arange(9.0).reshape(3, 3))
    undefined = NEED_TARGETS | NEED_HIERARCHY | NEED_LIFE | (set() if learned.any() else NEED_ATOMS | NEED_CORRELATION)
    assert {name for name, metric in METRICS.items() if not np.isfinite(metric(e))} == undefined | (
        NEED_SAMPLES if fires else NEED_FEATURES | NEED_CORRELATION
    )


def test_a_zero_true_atom_is_a_feature_that_nobody_finds():
    truth = np.concatenate([np.eye(3), np.zeros((1, 3))])
    e = evaluation(truth, np.eye(4), np.eye(3))
    assert mcc(e) == 0.75
    assert mcc_chance(e) == 0.75 * chance_mcc(3, 3, 3).mean
    assert mcc_corrected(e) == (0.75 - mcc_chance(e)) / (1 - mcc_chance(e))


def test_a_dictionary_without_atoms_scores_zero():
    e = evaluation(np.eye(2), np.eye(2), np.zeros((0, 2)), np.zeros((2, 0)))
    undefined = NEED_TARGETS | NEED_HIERARCHY | NEED_LIFE | NEED_ATOMS | NEED_CORRELATION | NEED_SAMPLES
    assert {name for name, metric in METRICS.items() if not np.isfinite(metric(e))} == undefined
    assert mcc(e) == mmcs(e) == support_f1(e) == 0.0


def test_explicit_zeros_unsorted_and_repeated_entries_are_read_as_the_matrix_they_are():
    ragged = csr_array(
        (np.array([2.0, 0.0, 1.0, 0.5, 0.5]), np.array([1, 0, 2, 0, 0]), np.array([0, 3, 5])), shape=(2, 3)
    )
    e = Evaluation(Truth(np.eye(3), np.zeros(3)), fitted(np.eye(3), Given(ragged)), Samples(ragged.toarray(), ragged))
    assert l0(e) == true_l0(e) == 1.5
    assert support_f1(e) == 1.0
    assert code_correlation(e) == pytest.approx(1.0, abs=1e-12)
    assert ragged.nnz == 5, "the encoder's own array was written to"


def test_what_does_not_fit_together_is_refused_with_a_remedy():
    codes, x = csr_array((4, 2)), np.zeros((4, 3))
    truth, good = Truth(np.eye(3)[:2], np.zeros(3)), fitted(np.eye(3), Correlations())
    with pytest.raises(ValueError, match="dimension d=3, but the fitted dictionary has d=2"):
        Evaluation(truth, fitted(np.eye(2), Correlations()), Samples(x, codes))
    with pytest.raises(ValueError, match="codes of shape"):
        Evaluation(truth, good, Samples(x, csr_array((4, 3))))
    with pytest.raises(ValueError, match="at least one feature and one sample"):
        Evaluation(truth, good, Samples(x[:0], codes[:0]))
    with pytest.raises(ValueError, match="encode must return"):
        _ = Evaluation(truth, fitted(np.eye(3), Given(csr_array((4, 5)))), Samples(x, codes)).codes
    with pytest.raises(ValueError, match="learned atoms hold 1 NaN"):
        cosines(np.eye(2), np.array([[np.nan, 1.0]]))


def test_a_wide_sparse_world_costs_its_non_zeros():
    # A dense (n, m) array of float64 would take 2 * 10^5 * 10^5 * 8 bytes = 160 GB.
    n = m = 100_000
    rng = np.random.default_rng(0)
    codes = csr_array((rng.random(n) + 0.5, rng.integers(0, m, n), np.arange(n + 1)), shape=(n, m))
    atoms = np.tile(np.eye(2), (m // 2, 1))
    learned = fitted(np.eye(2), Given(csr_array((np.ones(n), np.zeros(n, dtype=int), np.arange(n + 1)), shape=(n, 2))))
    e = Evaluation(Truth(atoms, np.zeros(2)), learned, Samples(np.zeros((n, 2)), codes))
    assert support_precision(e) <= 1e-3
    assert 0 <= code_correlation(e) < 1e-3
    assert latent_f1(e) < 1e-3
