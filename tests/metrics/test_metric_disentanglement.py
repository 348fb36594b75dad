"""Disentanglement scores against written-out sums, brute force, other implementations, closed forms and chance."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import entropy, spearmanr
from sklearn.linear_model import Lasso
from sklearn.metrics import mutual_info_score

from sparsesim.metrics import (
    active_units,
    active_units_by_divergence,
    chance_of_codes,
    code_mcc,
    code_mcc_spearman,
    code_r2,
    dci,
    dci_disentanglement,
    infoe,
    infom,
    infomec,
    matched_codes,
    mcc,
    mig,
    mutual_information,
    unit_divergences,
)
from sparsesim.metrics.disentanglement_information import states
from tests.metrics.hand_made import evaluation
from theory.vae import linear_vae


def codes(seed, n=300, m=4, p=5, rate=1.0):
    """True codes, signed and sparse at ``rate``, and noisy mixtures of them with a code that knows nothing."""
    rng = np.random.default_rng(seed)
    true = (rng.random((n, m)) < rate) * rng.standard_normal((n, m))
    learned = true @ rng.standard_normal((m, p)) + 0.5 * rng.standard_normal((n, p))
    learned[:, -1] = rng.standard_normal(n)
    return (rng.random((n, p)) < rate) * learned, true


def correlations(first, second):
    return np.array([[abs(np.corrcoef(a, b)[0, 1]) for b in second.T] for a in first.T])


@pytest.mark.parametrize("kind", ["pearson", "spearman", "r2"])
@pytest.mark.parametrize(("m", "p"), [(4, 5), (5, 3), (3, 3)])
def test_the_matching_is_the_best_of_all_permutations(kind, m, p):
    learned, true = codes(m + 10 * p, m=m, p=p, rate=0.6)
    if kind == "spearman":
        table = np.array([[abs(spearmanr(a, b).statistic) for b in learned.T] for a in true.T])
    else:
        table = correlations(true, learned) ** (2 if kind == "r2" else 1)
    padded = np.zeros((m, max(m, p)))
    padded[:, :p] = table
    best = max(padded[range(m), list(order)].sum() for order in permutations(range(max(m, p)), m))
    assert matched_codes(learned, true, kind).sum() == pytest.approx(best, abs=1e-12)  # rounding of correlations


def test_a_gauge_of_the_true_codes_scores_one_and_a_rotation_what_its_angle_gives():
    rng = np.random.default_rng(0)
    # columns that are orthogonal in the batch itself: correlations are then exactly those of the rotation
    true = rng.standard_normal((500, 2))
    true = np.linalg.qr(true - true.mean(axis=0))[0]
    gauged = -3.0 * true[:, ::-1] + 7.0
    assert matched_codes(gauged, true) == pytest.approx([1.0, 1.0], abs=1e-12)
    angle = np.pi / 6
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = true @ turn
    assert matched_codes(turned, true) == pytest.approx([np.cos(angle)] * 2, abs=1e-12)
    assert matched_codes(turned, true, "r2") == pytest.approx([np.cos(angle) ** 2] * 2, abs=1e-12)
    assert infomec(turned, true).infoe == pytest.approx(1.0, abs=1e-12)  # invertible: explicit, not disentangled
    squares = dci(turned, true, "correlation")
    expected = 1.0 - entropy([np.cos(angle) ** 2, np.sin(angle) ** 2], base=2)
    assert squares.disentanglement == pytest.approx(expected, abs=1e-12)
    assert squares.completeness == pytest.approx(expected, abs=1e-12)
    lasso = dci(turned, true, penalty=0.02)  # orthonormal codes: a soft threshold of the correlations
    weights = np.array([np.cos(angle), np.sin(angle)]) - 0.02
    assert np.sort(lasso.importance, axis=1)[:, ::-1] == pytest.approx(np.array([weights, weights]), abs=1e-12)
    assert lasso.disentanglement == pytest.approx(1.0 - entropy(weights / weights.sum(), base=2), abs=1e-12)
    assert lasso.explained == pytest.approx([1.0 - 2 * 0.02**2] * 2, abs=1e-12)


def test_ranks_see_through_an_increasing_function_and_lines_do_not():
    rng = np.random.default_rng(1)
    true = rng.standard_normal((400, 3))
    bent = np.exp(2.0 * true)[:, [2, 0, 1]]
    assert matched_codes(bent, true, "spearman") == pytest.approx([1.0] * 3, abs=1e-12)
    assert matched_codes(bent, true).max() < 0.9
    first, second = infomec(bent, true), infomec(true[:, [2, 0, 1]], true)
    assert first.mig == second.mig and first.infom == second.infom and first.infoc == second.infoc  # the same states
    assert np.array_equal(first.shares.max(axis=1), np.ones(3))


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("levels", [1, 4])
def test_information_is_that_of_the_counted_table_and_of_another_implementation(rate, levels):
    learned, true = codes(2, rate=rate)
    found, own = mutual_information(learned, csr_array(true), levels)
    a, b = states(true, levels), states(learned, levels)
    n = len(true)
    for i in range(true.shape[1]):
        assert own[i] == pytest.approx(entropy(list(Counter(a[:, i].tolist()).values())), abs=1e-12)
        for j in range(learned.shape[1]):
            pair = Counter(zip(a[:, i].tolist(), b[:, j].tolist(), strict=True))
            one, other = Counter(a[:, i].tolist()), Counter(b[:, j].tolist())
            total = sum(c / n * np.log(c * n / (one[u] * other[v])) for (u, v), c in pair.items())
            assert found[i, j] == pytest.approx(total, abs=1e-12)
            assert found[i, j] == pytest.approx(mutual_info_score(a[:, i], b[:, j]), abs=1e-12)


def test_states_are_silence_and_levels_of_equal_count():
    values = np.array([[0.0, -1.0], [3.0, 5.0], [1.0, 5.0], [0.0, 5.0], [2.0, 5.0], [4.0, -2.0]])
    assert states(values, 2)[:, 0].tolist() == [0, 2, 1, 0, 1, 2]
    assert states(values, 2)[:, 1].tolist() == [1, 2, 2, 2, 2, 1]  # ties share a level
    dense = np.random.default_rng(3).standard_normal((1000, 1))
    assert np.bincount(states(dense, 4)[:, 0]).tolist() == [0, 250, 250, 250, 250]


def test_the_excess_of_independent_codes_is_the_mean_of_chi_square():
    rng = np.random.default_rng(4)
    n, levels, p = 2000, 4, 40
    found, _ = mutual_information(rng.standard_normal((n, p)), rng.standard_normal((n, p)), levels)
    twice = 2 * n * found.ravel()  # about chi-square with (levels - 1)^2 degrees of freedom, exact margins
    dof = (levels - 1) ** 2
    assert abs(twice.mean() - dof) < 4 * np.sqrt(2 * dof / len(twice))  # four standard errors of 1600 tables


def test_scores_are_the_published_sums():
    learned, true = codes(5, n=500, m=3, p=4)
    found = infomec(learned, true)
    information, own = mutual_information(learned, true)
    shares = information / own[:, None]
    assert found.heard.all()
    m, p = shares.shape
    by_latent = np.mean([max(shares[:, j]) / sum(shares[:, j]) for j in range(p)])
    by_feature = np.mean([max(shares[i]) / sum(shares[i]) for i in range(m)])
    assert found.infom == pytest.approx((by_latent - 1 / m) / (1 - 1 / m), abs=1e-12)
    assert found.infoc == pytest.approx((by_feature - 1 / p) / (1 - 1 / p), abs=1e-12)
    assert found.mig == pytest.approx(np.mean([np.diff(sorted(row))[-1] for row in shares]), abs=1e-12)
    design = np.column_stack([np.ones(len(true)), learned])
    rest = true - design @ np.linalg.lstsq(design, true, rcond=None)[0]
    assert found.infoe == pytest.approx(1 - np.mean(rest.var(axis=0) / true.var(axis=0)), abs=1e-12)
    whisper = learned * np.array([1.0, 0.01, 1.0, 1.0])
    assert infomec(whisper, true).heard.tolist() == [True, False, True, True]
    assert infomec(whisper, true).mig == found.mig  # the gap counts every latent


def test_the_probe_is_the_lasso_of_another_implementation_and_its_scores_are_entropies():
    learned, true = codes(6)
    found = dci(learned, true, penalty=0.05)
    z = (learned - learned.mean(axis=0)) / learned.std(axis=0)
    s = (true - true.mean(axis=0)) / true.std(axis=0)
    probe = Lasso(0.05, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(z, s)
    np.testing.assert_allclose(found.importance, np.abs(probe.coef_), atol=1e-8)  # its tolerance is on the dual gap
    assert found.explained == pytest.approx(1 - np.square(s - probe.predict(z)).mean(axis=0), abs=1e-8)
    w = found.importance
    latents = [1 - entropy(w[:, j], base=4) for j in range(5) if w[:, j].any()]
    weights = [w[:, j].sum() for j in range(5) if w[:, j].any()]
    assert found.disentanglement == pytest.approx(np.average(latents, weights=weights), abs=1e-12)
    assert found.completeness == pytest.approx(np.mean([1 - entropy(row, base=5) for row in w]), abs=1e-12)
    assert found.informativeness == pytest.approx(found.explained.mean(), abs=1e-12)


def test_perfect_codes_score_one_and_two_latents_that_share_a_feature_have_no_gap():
    rng = np.random.default_rng(7)
    true = (rng.random((4000, 5)) < 0.3) * rng.standard_normal((4000, 5))
    found = infomec(-2.0 * true[:, ::-1], true)
    # what five independent features tell of each other by chance: 4 x (states-1)^2/2n = 4 x 16/8000 nats of about 1.0
    assert found.mig > 0.99 and found.infoe == pytest.approx(1.0, abs=1e-12)
    assert found.infom > 0.98 and found.infoc > 0.98
    assert dci(true, true, penalty=0.1).disentanglement == 1.0  # beyond every chance correlation, 6 / sqrt(n)
    twice = infomec(np.column_stack([true, true]), true)
    assert twice.mig == 0.0 and twice.infom > 0.98 and twice.infoc == pytest.approx(4 / 9, abs=0.02)  # (1/2-1/10)/0.9


def test_shuffled_codes_have_the_chance_that_is_known_exactly():
    learned, true = codes(8, n=101, p=5)
    level = chance_of_codes(lambda z, s: infomec(z, s).infoe, learned, true, 200)
    assert abs(level.mean - 5 / 100) < 4 * level.standard_error  # E R^2 = rank / (n - 1) under permutations
    assert level == chance_of_codes(lambda z, s: infomec(z, s).infoe, learned, true, 200)
    squares = chance_of_codes(lambda z, s: float(dci(z, s, "correlation").importance.mean()), learned, true, 200)
    assert abs(squares.mean - 1 / 100) < 4 * squares.standard_error
    rng = np.random.default_rng(12)
    dense = rng.standard_normal((1000, 5)), rng.standard_normal((1000, 5))
    assert 0.0 < chance_of_codes(lambda z, s: infomec(z, s).mig, *dense).mean < 0.003  # (2, 9) / 2n nats of ln 4
    # a lasso chooses few chance correlations, and few are peaked: no floor near zero
    assert chance_of_codes(lambda z, s: dci(z, s, penalty=0.15).disentanglement, learned, true).mean > 0.5


def test_scores_of_an_evaluation_are_those_of_its_codes_and_blind_to_atoms():
    learned, true = codes(9, m=4, p=4, rate=0.5)
    atoms = np.eye(4)
    first = evaluation(atoms, true, atoms, learned)
    second = evaluation(atoms, true, atoms[[1, 0, 3, 2]], learned)
    for metric in (code_mcc, code_mcc_spearman, code_r2, dci_disentanglement, infom, infoe, mig):
        assert metric(first) == metric(second)
    assert code_mcc(first) == matched_codes(learned, true).mean()
    exact = evaluation(atoms, true, atoms, true)
    assert mcc(exact) == 1.0 and code_mcc(exact) == pytest.approx(1.0, abs=1e-12)


def test_what_is_undefined_is_nan():
    rng = np.random.default_rng(10)
    true = rng.standard_normal((50, 2))
    constant = np.column_stack([true[:, 0], np.ones(50)])
    assert np.isnan(matched_codes(true, constant)).tolist() == [False, True]
    assert np.isnan(infomec(true, constant).infom) and np.isnan(dci(true, constant).disentanglement)
    assert np.isnan(infomec(constant, true).infoc) and np.isnan(dci(constant, true).completeness)
    silent = np.zeros((50, 3))
    assert infomec(silent, true).infoe == infomec(silent, true).mig == dci(silent, true).informativeness == 0.0
    assert np.isnan(infomec(silent, true).infom) and np.isnan(dci(silent, true).disentanglement)
    assert np.isnan(dci(true, np.ones((50, 2))).informativeness) and np.isnan(infomec(true, np.ones((50, 2))).mig)


def optimum(eigenvalues, theta, n, rng):
    """Posterior means ``(n, q)`` and variances of a linear VAE at its optimum, on Gaussian data in its own axes."""
    known = linear_vae(eigenvalues, len(eigenvalues), theta)
    x = rng.standard_normal((n, len(eigenvalues)))
    x = (x - x.mean(axis=0)) / x.std(axis=0) * np.sqrt(eigenvalues)  # variances of the batch are the eigenvalues
    gain = np.sqrt(known.gain)
    return x * gain / (known.gain + theta), np.tile(known.posterior_variance, (n, 1)), known


def test_a_feature_of_one_state_tells_nothing_and_counts_nowhere():
    rng = np.random.default_rng(4)
    sparse, dense = (rng.random((200, 3)) < 0.3) * rng.exponential(size=(200, 3)), rng.standard_normal((200, 1))
    both = infomec(np.hstack([sparse, dense]), np.hstack([sparse, dense]), levels=1)
    assert both.shares.shape == (3, 4) and not both.shares[:, 3].any()  # at one level a dense code is always there
    assert both.mig == infomec(sparse, sparse, levels=1).mig > 0.9
    assert np.isnan(infomec(dense, dense, levels=1).mig)


@pytest.mark.parametrize(("n", "apart"), [(400, 1e-12), (401, 0.01)])  # the median of 401 is on an edge
def test_states_of_dense_codes_hardly_change_under_increasing_functions(n, apart):
    rng = np.random.default_rng(5)
    codes = rng.standard_normal((n, 3))
    true = codes @ rng.standard_normal((3, 3))
    plain = mutual_information(codes, true)[0]
    for bent in (np.exp(codes), -np.exp(-codes), codes**3, -codes):
        assert np.abs(mutual_information(bent, true)[0] - plain).max() < apart


def test_active_units_of_the_linear_optimum_are_counted_where_the_closed_form_puts_the_threshold():
    ratios = np.array([3.0, 1.0203, 1.0201, 1.0102, 1.0100, 0.7])  # exp(0.02) = 1.02020, 1 / 0.99 = 1.01010
    means, variances, known = optimum(0.5 * ratios, 0.5, 200, np.random.default_rng(11))
    assert unit_divergences(means, variances) == pytest.approx(known.kl, abs=1e-12)
    assert active_units(means) == 4
    assert active_units_by_divergence(means, variances) == 2
    assert active_units(means, 0.0) == active_units_by_divergence(means, variances, 0.0) == known.active == 5
    fixed = np.full((10, 1), 3.0)  # the same mean for all: no information, but a divergence of 4.5 nats
    assert active_units(fixed) == 0 and active_units_by_divergence(fixed, np.ones((10, 1))) == 1
    assert unit_divergences(fixed, np.ones((10, 1))) == pytest.approx([4.5], abs=1e-12)


def test_wrong_arguments_are_refused_with_a_remedy():
    good = np.zeros((4, 2))
    with pytest.raises(ValueError, match="same samples"):
        matched_codes(good, good[:3])
    with pytest.raises(ValueError, match="kind must be"):
        matched_codes(good, good, "kendall")
    with pytest.raises(ValueError, match="importance must be"):
        dci(good, good, "forest")
    with pytest.raises(ValueError, match="penalty"):
        dci(good, good, penalty=0.0)
    with pytest.raises(ValueError, match="levels"):
        mutual_information(good, good, 0)
    with pytest.raises(ValueError, match="variances positive"):
        unit_divergences(good, good)
    with pytest.raises(ValueError, match="NaN"):
        infomec(np.full((4, 2), np.nan), good)
